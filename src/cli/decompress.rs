//! `elbo decompress`: the images of a file that `elbo compress` wrote.

use std::collections::HashMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

use clap::Args;

use super::common::{Ending, Opened, with_progress};
use super::pictures::refuse_other;
use crate::compress::{Compressed, DecompressOptions, Decompressed};
use crate::data::{Image, write_npy_u8, write_png};
use crate::error::{Error, Result};
use crate::storage::atomic::{create_folder, refuse_existing, write_new};
use crate::storage::system::system;
use crate::train::DataOptions;
use crate::train::with_threads;

/// Decompress the images of a file that `elbo compress` wrote
#[derive(Debug, Args)]
pub(super) struct Decompress {
    /// The compressed file
    file: PathBuf,
    /// The run folder or model file that compressed it [default: the model inside the file, else the newest
    /// run]
    #[arg(long, value_name = "RUN")]
    model: Option<PathBuf>,
    /// Bytes (.npy: images × rows × columns, and × channels if there are several), or a folder of PNG files
    /// (a name without extension)
    #[arg(long, value_name = "FILE|FOLDER", help_heading = "Output")]
    out: PathBuf,
    /// Only the images from A to B − 1, counted from 0
    #[arg(long, value_name = "A..B", value_parser = parse_images)]
    images: Option<Range<usize>>,
    /// Decode the undamaged blocks; lost images are black in .npy, and missing in a folder
    #[arg(long)]
    salvage: bool,
    /// A table of the labels, if the file has them: image, name, label
    #[arg(long, value_name = "FILE.csv", help_heading = "Output")]
    labels: Option<PathBuf>,
    /// Number of threads [default: one per core]
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    threads: usize,
    /// Memory limit for the model and the images [default: 8GiB]
    #[arg(long, value_name = "SIZE")]
    max_memory: Option<String>,
}

impl Decompress {
    pub(super) fn run(self) -> Result<Ending> {
        let is_npy = match self.out.extension() {
            Some(ending) if ending.eq_ignore_ascii_case("npy") => true,
            Some(ending) => {
                return Err(Error::config(format!(
                    "--out {}: images are written as .npy or into a folder (a name without an ending), not as .{}",
                    self.out.display(),
                    crate::storage::printable(ending.to_string_lossy())
                )));
            }
            None => false,
        };
        refuse_existing(&self.out)?;
        if let Some(labels) = &self.labels {
            refuse_other("--labels", labels, "csv")?;
        }
        let data = DataOptions { max_memory: self.max_memory.clone(), ..DataOptions::default() };
        let max_memory = data.load_options()?.max_memory;
        let file = Compressed::open(&self.file, max_memory)?;
        let count = file.count()?;
        let inside = if self.model.is_none() { file.model()? } else { None };
        let model = match inside {
            Some(model) => model,
            None => Opened::new(self.model.as_deref(), max_memory)?.model,
        };
        let options = DecompressOptions { images: self.images.clone(), salvage: self.salvage, max_memory };
        let start = std::time::Instant::now();
        let total = self.images.as_ref().map_or(count, |images| images.len() as u64);
        let back = with_progress("decompressing", total, |progress| {
            with_threads(self.threads, || file.decompress(&model, &options, progress))?
        })?;
        let seconds = start.elapsed().as_secs_f64();
        if self.labels.is_some() && back.labels.is_none() {
            return Err(Error::data(&self.file, "has no labels; `elbo compress --labels` stores them"));
        }
        for (images, reason) in &back.missing {
            if images.is_empty() {
                note!("{reason}");
            } else {
                note!("images {} to {} are lost: {reason}", images.start, images.end - 1);
            }
        }
        if is_npy {
            write_array(&self.out, &back)?;
        } else {
            write_folder(&self.out, &back)?;
        }
        if let Some(path) = &self.labels {
            write_labels(path, &back)?;
        }
        say!(
            "wrote {} images to {} ({:.0} images/s)",
            back.images.count,
            self.out.display(),
            back.images.count as f64 / seconds
        );
        Ok(Ending::Done)
    }
}

/// `A..B`.
fn parse_images(text: &str) -> std::result::Result<Range<usize>, String> {
    let wrong = || "a range of images is needed, like 100..200".to_owned();
    let (start, end) = text.split_once("..").ok_or_else(wrong)?;
    Ok(start.trim().parse().map_err(|_| wrong())?..end.trim().parse().map_err(|_| wrong())?)
}

fn bytes(image: Image<'_>) -> &[u8] {
    match image {
        Image::U8(bytes) => bytes,
        Image::F32(_) => unreachable!("decompressed images are bytes"),
    }
}

fn write_array(path: &Path, back: &Decompressed) -> Result<()> {
    let images = &back.images;
    let mut shape = vec![images.count, images.height, images.width];
    if images.channels > 1 {
        shape.push(images.channels);
    }
    let crate::data::Pixels::U8(values) = &images.pixels else {
        unreachable!("decompressed images are bytes")
    };
    write_new(system(), path, |out| write_npy_u8(out, &shape, values))
}

/// The files of some images in the output folder: their own names with the ending .png, or their numbers.
/// Names that differ only in their endings keep them: x.jpg and x.png become x.jpg.png and x.png.png.
fn file_names(back: &Decompressed, images: &[usize]) -> Vec<PathBuf> {
    let own = |&at: &usize| match back.names.get(at) {
        Some(name) => Path::new(name).with_extension("png"),
        None => PathBuf::from(format!("{:05}.png", back.first + at)),
    };
    let mut uses = HashMap::new();
    images.iter().for_each(|at| *uses.entry(own(at)).or_insert(0) += 1);
    let name =
        |at| if uses[&own(at)] > 1 { PathBuf::from(format!("{}.png", back.names[*at])) } else { own(at) };
    images.iter().map(name).collect()
}

fn write_folder(folder: &Path, back: &Decompressed) -> Result<()> {
    let images = &back.images;
    if !matches!(images.channels, 1 | 3 | 4) {
        return Err(Error::config(format!(
            "images of {} channels cannot be written as PNG; --out FILE.npy can store them",
            images.channels
        )));
    }
    let is_lost = |at: usize| back.missing.iter().any(|(lost, _)| lost.contains(&(back.first + at)));
    let kept: Vec<usize> = (0..images.count).filter(|&at| !is_lost(at)).collect();
    let names = file_names(back, &kept);
    let mut sorted: Vec<&PathBuf> = names.iter().collect();
    sorted.sort();
    if let Some(pair) = sorted.windows(2).find(|pair| pair[0] == pair[1]) {
        return Err(Error::config(format!(
            "two images would become the file {}; --out FILE.npy avoids this",
            pair[0].display()
        )));
    }
    create_folder(system(), folder)?;
    for (at, name) in kept.into_iter().zip(&names) {
        let path = folder.join(name);
        create_folder(system(), path.parent().unwrap_or(folder))?;
        images.with_image(at, |image| {
            write_new(system(), &path, |out| {
                write_png(out, bytes(image), images.height, images.width, images.channels)
            })
        })?;
    }
    Ok(())
}

fn write_labels(path: &Path, back: &Decompressed) -> Result<()> {
    let Some(labels) = &back.labels else { return Ok(()) };
    let quoted = |text: &str| format!("\"{}\"", text.replace('"', "\"\""));
    write_new(system(), path, |out| {
        writeln!(out, "image,name,label")?;
        for (at, &id) in labels.ids.iter().enumerate() {
            let name = back.names.get(at).map_or(String::new(), |name| quoted(name));
            writeln!(out, "{},{name},{}", back.first + at, quoted(&labels.names[id as usize]))?;
        }
        Ok(())
    })
}

//! `elbo compress`: lossless compression of images into a file.

use std::path::{Path, PathBuf};

use clap::Args;

use super::common::{Ending, Opened, with_progress};
use crate::compress::{
    CompressOptions, Compressed, Contents, DecompressOptions, check_model, compress, memory,
};
use crate::data::{Images, Labels, Part};
use crate::error::{Error, Result};
use crate::storage::atomic::{refuse_existing, write_new};
use crate::storage::system::system;
use crate::train::DataOptions;
use crate::train::with_threads;

/// Compress images without loss, at the rate of the model's −ELBO (bits-back coding)
#[derive(Debug, Args)]
#[command(
    after_help = "Compresses the test images of the data, or all if there are none. The model must have been trained with a likelihood of bytes, \
                  such as --likelihood beta-binomial. `elbo decompress` needs the same model, unless --with-model puts it into the file."
)]
pub(super) struct Compress {
    /// A run folder or a model file [default: the newest run]
    run: Option<PathBuf>,
    /// The file to write
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    out: PathBuf,
    /// Compress the training images, of data that have test images too
    #[arg(long)]
    train: bool,
    /// Store the labels, too
    #[arg(long)]
    labels: bool,
    /// Include the model in the file
    #[arg(long)]
    with_model: bool,
    /// Do not check the file by decoding it before it gets its name
    #[arg(long)]
    no_verify: bool,
    /// Store codes instead of exact images: some tens of bytes each
    #[arg(long)]
    lossy: bool,
    /// With --lossy: the distance between neighbouring values of a code
    #[arg(long, value_name = "S", default_value_t = 0.5, allow_negative_numbers = true, requires = "lossy")]
    step: f64,
    /// With --lossy: improve the code of each image by N steps of gradient descent
    #[arg(long, value_name = "N", default_value_t = 0, requires = "lossy")]
    refine: usize,
    /// Images in a block, which is decoded as a whole [default: a 24th of all, from 128 to 512]
    #[arg(long, value_name = "N")]
    block: Option<usize>,
    /// A latent dimension is divided into 2^K buckets, K from 4 to 16
    #[arg(long, value_name = "K", default_value_t = CompressOptions::default().latent_bits)]
    latent_bits: u32,
    /// Threads [default: one for each core]
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    threads: usize,
    /// Print the result as JSON
    #[arg(long, help_heading = "Output")]
    json: bool,
    #[command(flatten)]
    data: DataOptions,
}

/// The images that are compressed.
struct Chosen {
    images: Images,
    names: Vec<String>,
    labels: Option<Labels>,
}

impl Compress {
    pub(super) fn run(self) -> Result<Ending> {
        refuse_existing(&self.out)?;
        let opened = Opened::new(self.run.as_deref(), self.data.load_options()?.max_memory)?;
        if !self.lossy {
            check_model(&opened.model)?;
        }
        let Chosen { images, names, labels } = self.chosen(&opened)?;
        let needs_labels = opened.model.config().classes() > 0;
        if self.labels && labels.is_none() {
            return Err(Error::config("--labels: the images have no labels; leave it out"));
        }
        let labels = labels.filter(|_| self.labels || needs_labels);
        let contents = Contents { images: &images, names: &names, labels: labels.as_ref() };
        let options = CompressOptions {
            latent_bits: self.latent_bits,
            block: self.block,
            with_model: self.with_model,
            lossy: self.lossy.then_some(self.step),
            refine: self.refine,
        };
        let bytes = images.memory() + memory(&opened.model, &images, &options, !self.no_verify);
        opened.room_for(
            bytes,
            &format!("compressing {} images takes", images.count),
            "a larger --max-memory, or a --data of fewer images,",
        )?;
        let start = std::time::Instant::now();
        let file = with_progress("compressing", images.count as u64, |progress| {
            with_threads(self.threads, || compress(&opened.model, &contents, &options, progress))?
        })?;
        let seconds = start.elapsed().as_secs_f64();
        let compressed = Compressed::from_bytes(file, &self.out);
        if !self.no_verify {
            let back = with_progress("verifying", images.count as u64, |progress| {
                let all = DecompressOptions { max_memory: u64::MAX, ..DecompressOptions::default() };
                with_threads(self.threads, || compressed.decompress(&opened.model, &all, progress))?
            })?;
            if (!self.lossy && back.images != images) || back.names != names || back.labels != labels {
                return Err(not_verified(&self.out));
            }
        }
        write_new(system(), &self.out, |out| out.write_all(compressed.bytes()))?;
        if !self.no_verify {
            let written = std::fs::read(&self.out).map_err(|error| Error::io("read", &self.out, error))?;
            if written != compressed.bytes() {
                return Err(not_verified(&self.out));
            }
        }
        let bytes = compressed.bytes().len();
        let values = images.count * images.image_len();
        let bits_per_dim = 8.0 * bytes as f64 / values as f64;
        if self.json {
            let result = serde_json::json!({
                "images": images.count,
                "bytes": bytes,
                "bits_per_dim": bits_per_dim,
                "values": values,
                "lossless": !self.lossy,
                "verified": !self.no_verify,
                "seconds": seconds,
            });
            say!("{result}");
        } else {
            say!(
                "{} images of {} bytes in {bytes} bytes: {bits_per_dim:.4} bits/dim, {:.2} times smaller; {:.0} images/s",
                images.count,
                images.image_len(),
                values as f64 / bytes as f64,
                images.count as f64 / seconds
            );
            say!("wrote {}", self.out.display());
        }
        Ok(Ending::Done)
    }

    fn chosen(&self, opened: &Opened) -> Result<Chosen> {
        let part = if self.train { Part::Train } else { Part::Both };
        // Blocks are slices of all bytes.
        let data = opened.images_in_memory(&self.data, part)?.data;
        let (images, labels, files) = match data.test {
            Some(test) if test.count > 0 && !self.train => (test, data.test_labels, data.test_files),
            _ => (data.train, data.labels, data.files),
        };
        if images.count == 0 {
            return Err(Error::data(&data.path, "there are no images to compress"));
        }
        let names = files.iter().map(|file| relative(file, &data.path)).collect::<Result<_>>()?;
        Ok(Chosen { images, names, labels })
    }
}

/// A file's name in its folder, with `/`.
fn relative(file: &Path, folder: &Path) -> Result<String> {
    let inside = file.strip_prefix(folder).unwrap_or(file);
    let parts: Option<Vec<&str>> = inside.iter().map(|part| part.to_str()).collect();
    parts.map(|parts| parts.join("/")).ok_or_else(|| {
        Error::data(file, "its name is not UTF-8, and names are stored as text; give it another name")
    })
}

fn not_verified(out: &Path) -> Error {
    Error::data(
        out,
        "the images decoded from it differ from the originals; remove it, and report this as a bug, or look for \
         faulty memory",
    )
}

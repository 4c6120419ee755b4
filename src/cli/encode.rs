//! `elbo encode`: encodes images, with a table that identifies the codes.

use std::io::Write;
use std::path::PathBuf;

use clap::Args;

use super::common::{Ending, Opened, named_values, with_progress};
use super::pictures::{Shown, refuse_other, write_numbers};
use super::score::field;
use crate::error::{Error, Result};
use crate::evaluate::judged::Subset;
use crate::model::Codec;
use crate::storage::atomic::write_new;
use crate::storage::system::system;
use crate::train::DataOptions;

/// Encode images into codes (.npy): μ, and optionally ln σ²
#[derive(Debug, Args)]
#[command(
    after_help = "Without --data and --split: the test images of the run's data; if there are none, the images that the run held out; else all."
)]
pub(super) struct Encode {
    /// A run folder or a model file [default: the newest run]
    run: Option<PathBuf>,
    /// The file for μ: images × latent dimensions, float32
    #[arg(long, value_name = "FILE", default_value = "codes.npy", help_heading = "Output")]
    out: PathBuf,
    /// A file for ln σ², of the same shape
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    log_variance: Option<PathBuf>,
    /// Encode the run's training images, its held-out images, the data's test images, or all, and write a
    /// table of them
    #[arg(long, value_parser = named_values::<Subset>())]
    split: Option<Subset>,
    /// The table: row of the codes, file, label, split, number in the data [default: with --split, the name
    /// of --out with .csv]
    #[arg(long, value_name = "FILE.csv", help_heading = "Output")]
    table: Option<PathBuf>,
    /// Number of images, from the first [default: all]
    #[arg(long, value_name = "N")]
    count: Option<usize>,
    /// Label of all images, for a conditional model [default: each image's own]
    #[arg(long, value_name = "L")]
    label: Option<String>,
    #[command(flatten)]
    data: DataOptions,
}

impl Encode {
    pub(super) fn run(self) -> Result<Ending> {
        refuse_other("--out", &self.out, "npy")?;
        if let Some(path) = &self.log_variance {
            refuse_other("--log-variance", path, "npy")?;
            if *path == self.out {
                return Err(Error::config("--out and --log-variance are the same file; each needs its own"));
            }
        }
        let beside = self.split.map(|_| self.out.with_extension("csv"));
        let table = self.table.clone().or(beside);
        if let Some(table) = &table {
            refuse_other("--table", table, "csv")?;
        }
        let opened = Opened::new(self.run.as_deref(), self.data.load_options()?.max_memory)?;
        let label = self.label.as_deref();
        let parts = match self.split {
            None => vec![Shown::new(&opened, &self.data, label)?.take(self.count, None)?],
            Some(split) => first(Shown::parts(&opened, &self.data, label, split)?, self.count)?,
        };
        let (count, latent) = (parts.iter().map(Shown::len).sum(), opened.model.config().latent);
        let bytes: u64 = parts.iter().map(|shown| shown.bytes(&opened, shown.len())).sum();
        opened.room_for(bytes, "the model, the images and their codes take", "a smaller --count")?;
        let room = || Vec::with_capacity(count * latent);
        let (mut mu, mut log_variance) = (room(), room());
        with_progress("encoding", count as u64, |progress| {
            let mut codec = Codec::new(&opened.model);
            for shown in &parts {
                let codes = shown.encode_watched(&mut codec, &shown.indices, progress);
                mu.extend_from_slice(&codes.mu);
                log_variance.extend_from_slice(&codes.log_variance);
            }
        });
        let shape = [count, latent];
        write_numbers(&self.out, &shape, &mu)?;
        if let Some(path) = &self.log_variance {
            write_numbers(path, &shape, &log_variance)?;
        }
        if let Some(path) = &table {
            write_new(system(), path, |out| write_table(out, &parts))?;
            say!("wrote {} ({count} rows)", path.display());
        }
        Ok(Ending::Done)
    }
}

/// The first images of some parts: as many as `--count` says, else all. A note says so if there are fewer.
fn first(parts: Vec<Shown>, asked: Option<usize>) -> Result<Vec<Shown>> {
    let all: usize = parts.iter().map(Shown::len).sum();
    if asked == Some(0) {
        return Err(Error::config("--count 0 leaves no images; it must be at least 1"));
    }
    if let Some(asked) = asked.filter(|&asked| asked > all) {
        note!("--count {asked} asks for more images than there are; all {all} are used");
    }
    let mut left = asked.unwrap_or(usize::MAX);
    let cut = |mut shown: Shown| {
        shown.truncate(left);
        left -= shown.len();
        shown
    };
    Ok(parts.into_iter().map(cut).collect())
}

/// The table of codes.
fn write_table(out: &mut dyn Write, parts: &[Shown]) -> std::io::Result<()> {
    writeln!(out, "row,file,label,split,index")?;
    let rows = parts.iter().flat_map(|shown| (0..shown.len()).map(|position| shown.row(position)));
    for (row, (index, file, label, subset)) in rows.enumerate() {
        let file = file.map_or(String::new(), |file| field(&file.to_string_lossy()));
        let (label, subset) = (label.map_or(String::new(), field), subset.map_or("", |subset| subset.name()));
        writeln!(out, "{row},{file},{label},{subset},{index}")?;
    }
    Ok(())
}

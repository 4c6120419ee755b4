//! `elbo encode`: images into codes.

use std::path::PathBuf;

use clap::Args;

use super::common::{Ending, Opened};
use super::pictures::{Shown, refuse_other, write_numbers};
use crate::error::{Error, Result};
use crate::model::Codec;
use crate::train::DataOptions;

/// Turn images into codes: μ, and ln σ² if asked for, as .npy
#[derive(Debug, Args)]
#[command(
    after_help = "Without --data: the test images of the run's data, or those that it held out, or all."
)]
pub(super) struct Encode {
    /// A run folder or a model file [default: the newest run]
    run: Option<PathBuf>,
    /// The file for μ: images × latent dimensions, float32
    #[arg(long, value_name = "FILE", default_value = "codes.npy")]
    out: PathBuf,
    /// A file for ln σ², of the same shape
    #[arg(long, value_name = "FILE")]
    log_variance: Option<PathBuf>,
    /// How many images; the first ones [default: all]
    #[arg(long, value_name = "N")]
    count: Option<usize>,
    /// Take all images to have this label, for a conditional model [default: each image's own]
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
        let opened = Opened::new(self.run.as_deref(), self.data.load_options()?.max_memory)?;
        let shown = Shown::new(&opened, &self.data, self.label.as_deref())?.take(self.count, None)?;
        let codes = shown.encode(&mut Codec::new(&opened.model), &shown.indices);
        let shape = [shown.len(), opened.model.config().latent];
        write_numbers(&self.out, &shape, &codes.mu)?;
        if let Some(path) = &self.log_variance {
            write_numbers(path, &shape, &codes.log_variance)?;
        }
        Ok(Ending::Done)
    }
}

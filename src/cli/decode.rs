//! `elbo decode`: codes into images.

use std::path::PathBuf;

use clap::Args;

use super::common::{Ending, Opened};
use super::pictures::Output;
use crate::data::read_matrix;
use crate::error::{Error, Result};
use crate::model::{Codec, ModelConfig};
use crate::train::DataOptions;

/// Decode codes (.npy) into images
#[derive(Debug, Args)]
#[command(allow_missing_positional = true)]
pub(super) struct Decode {
    /// A run folder or a model file [default: the newest run]
    run: Option<PathBuf>,
    /// The codes: images × latent dimensions, as `elbo encode` writes them
    codes: PathBuf,
    /// A sheet (.png), numbers (.npy), or a folder of PNG files (a name without extension)
    #[arg(long, value_name = "FILE", default_value = "decode.png", help_heading = "Output")]
    out: PathBuf,
    /// Pictures in a row of a sheet
    #[arg(long, value_name = "N", default_value_t = 8, help_heading = "Output")]
    columns: usize,
    /// Label of all codes; required for a conditional model
    #[arg(long, value_name = "L")]
    label: Option<String>,
    /// Memory limit for models and codes [default: 8GiB]
    #[arg(long, value_name = "SIZE")]
    max_memory: Option<String>,
}

/// The label for each of some codes, which a conditional model needs.
fn label_of_all(config: &ModelConfig, label: Option<&str>, count: usize) -> Result<Vec<u32>> {
    match label {
        Some(label) => Ok(config.same_label(config.label(label)?, count)),
        None if config.classes() == 0 => Ok(Vec::new()),
        None => Err(Error::config(format!(
            "the model is conditional, and codes do not contain their label; --label names it ({})",
            config.label_names()
        ))),
    }
}

impl Decode {
    pub(super) fn run(self) -> Result<Ending> {
        if self.columns == 0 {
            return Err(Error::config("--columns 0 leaves no room for pictures; it must be at least 1"));
        }
        let output = Output::new(&self.out)?;
        let options = DataOptions { max_memory: self.max_memory, ..DataOptions::default() };
        let max_memory = options.load_options()?.max_memory;
        let opened = Opened::new(self.run.as_deref(), max_memory)?;
        let codes = read_matrix(&self.codes, max_memory)?;
        let latent = opened.model.config().latent;
        if codes.columns != latent {
            return Err(Error::data(
                &self.codes,
                format!(
                    "it has codes of {} numbers, and the model's codes have {latent} ({} was made with another model)",
                    codes.columns,
                    if codes.rows == 1 { "it" } else { "this file" }
                ),
            ));
        }
        output.room_for(&opened, 0, (codes.rows, 1), "decoding a part of the codes at a time")?;
        let labels = label_of_all(opened.model.config(), self.label.as_deref(), codes.rows)?;
        let pictures = Codec::new(&opened.model).decode_as(&codes.values, &labels);
        output.write(&pictures, opened.model.config().image(), self.columns)?;
        Ok(Ending::Done)
    }
}

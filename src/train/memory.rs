//! What training takes in memory, estimated and compared with `--max-memory` before it is allocated.
//!
//! ```text
//! images
//! + parameters, their gradient, Adam's two moments
//! + activations of a batch, and the gradients that a backward pass needs besides
//! + judging and drawing, each with activations of its own
//! + a checkpoint, which is put together in memory
//! ```

use super::config::Config;
use crate::data::{Dataset, Images, Pixels, excess};
use crate::error::{Error, Result};
use crate::model::architecture::Architecture;
use crate::model::codec::{BATCH, Codec};
use crate::model::{ModelConfig, Vae};

/// The bytes that training a model on batches of `batch` images takes, without the images.
pub(crate) fn needed(model: &Vae<f32>, batch: usize) -> u64 {
    let parameters = model.parameters.len();
    let numbers = 3 * parameters + model.training_len(batch, rayon::current_num_threads());
    let judging = model.activations_len(BATCH.min(batch));
    // Parameters and moments once more, and as bytes.
    let saving = 6 * parameters;
    4 * (numbers + judging + saving) as u64 + Codec::memory(model)
}

/// Refuses a network whose parameters, gradient and moments alone are too many: before the first of them is made.
pub(super) fn check_parameters(config: &Config, model: &ModelConfig) -> Result<()> {
    let parameters = Architecture::<f32>::new(model)?.table.len() as u64;
    within(config, "this training takes at least", parameters.saturating_mul(4 * size_of::<f32>() as u64))
}

/// Refuses a training that takes more than `--max-memory`, images included.
///
/// `more` are numbers that are allocated besides.
pub(super) fn check(
    config: &Config,
    data: &Dataset,
    model: &Vae<f32>,
    batch: usize,
    more: usize,
) -> Result<()> {
    let images: usize = data.test.iter().chain([&data.train]).map(bytes).sum();
    within(config, "this training takes", needed(model, batch).saturating_add((images + 4 * more) as u64))
}

fn bytes(images: &Images) -> usize {
    match &images.pixels {
        Pixels::U8(values) => size_of_val(&values[..]),
        Pixels::F32(values) => size_of_val(&values[..]),
    }
}

fn within(config: &Config, what: &str, bytes: u64) -> Result<()> {
    match excess(what, bytes, config.load.max_memory) {
        Some(message) => {
            Err(Error::config(format!("{message}; a smaller --batch, --size, --channels or --hidden helps")))
        }
        None => Ok(()),
    }
}

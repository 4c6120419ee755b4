//! The number of steps of a run: epochs and batch for a number of images, if they are not given.

use super::Config;
use crate::error::{Error, Result};

/// The default number of images per step.
const DEFAULT_BATCH: usize = 128;
/// The default number of passes over the data, if there are enough images.
pub(crate) const DEFAULT_EPOCHS: u64 = 10;
/// The number of steps after which a model draws more than the mean image. Few images get more epochs than
/// [`DEFAULT_EPOCHS`], until there are this many steps, but at most [`MOST_EPOCHS`].
const ENOUGH_STEPS: u64 = 1000;
const MOST_EPOCHS: u64 = 200;
/// Few images also get smaller batches, down to the smallest, until an epoch has this many steps.
const STEPS_PER_EPOCH: u64 = 10;
const SMALLEST_BATCH: usize = 4;

impl Config {
    /// Passes over the data; ten by default.
    pub fn epochs(&self) -> u64 {
        self.epochs.unwrap_or(DEFAULT_EPOCHS)
    }

    /// Sets batch and epochs for a training set of this size. If neither epochs nor steps were given, they
    /// are chosen by the number of steps, which determines what a model can learn: ten epochs of few images
    /// are only a few steps.
    ///
    /// # Errors
    /// If the batch is larger than the number of images, or the values cannot be used together.
    pub fn settle(&mut self, images: usize) -> Result<()> {
        let mut batch = self.batch_for(images)?;
        let steps = |batch: usize| images.div_ceil(batch) as u64;
        if self.epochs.is_none() && self.max_steps.is_none() && self.batch.is_none() {
            while steps(batch) < STEPS_PER_EPOCH && batch > SMALLEST_BATCH {
                batch = (batch / 2).max(SMALLEST_BATCH);
            }
        }
        let epochs = match (self.epochs, self.max_steps) {
            (Some(epochs), _) => epochs,
            (None, Some(most)) => most.div_ceil(steps(batch)).max(DEFAULT_EPOCHS),
            (None, None) => ENOUGH_STEPS.div_ceil(steps(batch)).clamp(DEFAULT_EPOCHS, MOST_EPOCHS),
        };
        (self.batch, self.epochs) = (Some(batch), Some(epochs));
        self.validate()
    }

    /// Images per step for a training set of this size.
    ///
    /// # Errors
    /// If the batch is larger than the number of images.
    pub fn batch_for(&self, images: usize) -> Result<usize> {
        match self.batch {
            None => Ok(DEFAULT_BATCH.min(images)),
            Some(batch) if batch <= images => Ok(batch),
            Some(batch) => Err(Error::config(format!(
                "a batch of {batch} images, but there are only {images} to train on; --batch must be at most that"
            ))),
        }
    }
}

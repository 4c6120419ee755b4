//! Which images of a data set a model is judged on: its test images, else those that the run held out, else all.
//!
//! A data set's own test images are what a model is judged on. If there are none, the images that its run held out for validation; if
//! there are none of these either, all images, which the model has then seen: [`Judged::which`] says so. No other file decides this.

use crate::data::{Dataset, Images, Labels, Split};
use crate::error::{Error, Result};
use crate::model::{Labelled, ModelConfig};
use crate::text::names::named;

/// Which images a model is judged on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Which {
    /// The data set's own test images.
    Test,
    /// The images that the run held out.
    Validation,
    /// All images, those that the model was trained on included.
    All,
}

named!(Which, "set", Test => "test", Validation => "validation", All => "all");

/// A part of a data set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Subset {
    /// What the run was trained on; of other data, what the data give to train on.
    Train,
    /// What the run held out; of other data, their own validation part.
    Valid,
    /// The data's own test images.
    Test,
    /// All of them, the test images last.
    All,
}

named!(Subset, "split", Train => "train", Valid => "valid", Test => "test", All => "all");

/// How the run that trained a model split its data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunSplit {
    /// The run's seed.
    pub seed: u64,
    /// How many training images it held out for validation.
    pub validation: usize,
}

impl RunSplit {
    /// The split of a data set's training images. It cannot be that of the run, and is `None`, if the run held out as many images as
    /// there are, or more.
    pub fn of(self, data: &Dataset) -> Option<Split> {
        Split::of(data, self.seed, Some(self.validation)).ok()
    }
}

/// The images that a model is judged on, and those that it is compared with.
#[derive(Clone, Debug)]
pub struct Judged<'d> {
    /// Which they are.
    pub which: Which,
    /// Where they are.
    pub images: &'d Images,
    /// Which of them.
    pub indices: Vec<usize>,
    /// The labels of `images`.
    pub labels: Option<&'d Labels>,
    /// The training images' indices in `train_images`; with [`Which::All`] the same images.
    pub train: Vec<usize>,
    /// Where the training images are.
    pub train_images: &'d Images,
    /// The labels of `train_images`.
    pub train_labels: Option<&'d Labels>,
}

impl<'d> Judged<'d> {
    /// Chooses from a data set. `run` is the split of the run that was trained on these data, `None` for other data.
    ///
    /// # Errors
    /// [`Error::Data`] if there are no images.
    pub fn choose(data: &'d Dataset, run: Option<RunSplit>) -> Result<Self> {
        let split = run
            .and_then(|run| run.of(data))
            .unwrap_or_else(|| Split { train: (0..data.train.count).collect(), validation: Vec::new() });
        let all = |images: &Images| (0..images.count).collect::<Vec<usize>>();
        let (which, images, indices, labels) = match &data.test {
            Some(test) if test.count > 0 => (Which::Test, test, all(test), data.test_labels.as_ref()),
            _ if !split.validation.is_empty() => {
                (Which::Validation, &data.train, split.validation, data.labels.as_ref())
            }
            _ => (Which::All, &data.train, all(&data.train), data.labels.as_ref()),
        };
        if indices.is_empty() {
            return Err(Error::data(&data.path, "there are no images in it"));
        }
        let (train_images, train_labels) = (&data.train, data.labels.as_ref());
        Ok(Self { which, images, indices, labels, train: split.train, train_images, train_labels })
    }

    /// The judged images as a model takes them: with their labels if it is conditional.
    ///
    /// # Errors
    /// As [`ModelConfig::labelled`].
    pub fn labelled(&self, config: &ModelConfig) -> Result<Labelled<'d>> {
        config.labelled(self.images, self.labels)
    }

    /// The images that they are compared with, likewise.
    ///
    /// # Errors
    /// As [`ModelConfig::labelled`].
    pub fn train_labelled(&self, config: &ModelConfig) -> Result<Labelled<'d>> {
        config.labelled(self.train_images, self.train_labels)
    }
}

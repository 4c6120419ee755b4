//! The images of a data set that a model is judged on: its test images, else the run's validation images,
//! else all.
//!
//! A model is judged on the data set's own test images. If there are none, on the images that its run held
//! out for validation. If there are none of these either, on all images, which the model has then been
//! trained on: [`Judged::which`] says so. No other file decides this.

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
    /// All images, including those that the model was trained on.
    All,
}

named!(Which, "set", Test => "test", Validation => "validation", All => "all");

/// A part of a data set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Subset {
    /// The images that the run was trained on; of other data, their training part.
    Train,
    /// The images that the run held out; of other data, their validation part.
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
    /// The split of a data set's training images; `None` if the run held out as many images as there are, or
    /// more: then the split cannot be the run's.
    pub fn of(self, data: &Dataset) -> Option<Split> {
        Split::of(data, self.seed, Some(self.validation)).ok()
    }
}

/// The images that a model is judged on, and the training images that they are compared with.
#[derive(Clone, Debug)]
pub struct Judged<'d> {
    /// Which part of the data they are.
    pub which: Which,
    /// The images that contain them.
    pub images: &'d Images,
    /// Their indices in `images`.
    pub indices: Vec<usize>,
    /// The labels of `images`.
    pub labels: Option<&'d Labels>,
    /// The training images' indices in `train_images`; with [`Which::All`] the same as `indices`.
    pub train: Vec<usize>,
    /// The images that contain the training images.
    pub train_images: &'d Images,
    /// The labels of `train_images`.
    pub train_labels: Option<&'d Labels>,
}

impl<'d> Judged<'d> {
    /// Chooses from a data set. `run` is the split of the run that was trained on these data; `None` for
    /// other data.
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

    /// The judged images as model inputs: with their labels if the model is conditional.
    ///
    /// # Errors
    /// As [`ModelConfig::labelled`].
    pub fn labelled(&self, config: &ModelConfig) -> Result<Labelled<'d>> {
        config.labelled(self.images, self.labels)
    }

    /// The training images, likewise.
    ///
    /// # Errors
    /// As [`ModelConfig::labelled`].
    pub fn train_labelled(&self, config: &ModelConfig) -> Result<Labelled<'d>> {
        config.labelled(self.train_images, self.train_labels)
    }
}

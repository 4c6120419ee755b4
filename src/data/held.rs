//! The result of reading a source, and an outline of it beforehand.

use super::images::Images;
use super::labels::Labels;
use crate::tensor::ImageShape;
use std::path::PathBuf;

/// Properties of a source's images that are known before any is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outline {
    /// The shape of each image.
    pub shape: ImageShape,
    /// The number of training images, including those for validation; fewer if damaged ones are left out.
    pub train: usize,
    /// Bytes that all images need in memory, or a little less; 0 if they are kept in a cache file.
    pub memory: u64,
}

/// The images of one or two parts, one after the other.
#[derive(Default)]
pub(crate) struct Group {
    pub(crate) images: Option<Images>,
    pub(crate) labels: Option<Labels>,
    /// The file of each image, if each has its own.
    pub(crate) files: Vec<PathBuf>,
}

/// All images of a source.
pub(crate) struct Held {
    /// Training images, then validation images.
    pub(crate) train: Group,
    /// How many of them are validation images, if the data say so.
    pub(crate) validation: Option<usize>,
    pub(crate) test: Group,
    pub(crate) path: PathBuf,
    /// A name for what was read: "IDX", "PNG files".
    pub(crate) kind: String,
    pub(crate) notes: Vec<String>,
    /// Files that could not be read.
    pub(crate) skipped: Vec<PathBuf>,
}

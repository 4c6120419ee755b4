//! What reading a source gives.

use super::images::Images;
use super::labels::Labels;
use std::path::PathBuf;

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
    /// What was read: "IDX", "PNG files".
    pub(crate) kind: String,
    pub(crate) notes: Vec<String>,
    /// Files that could not be read.
    pub(crate) skipped: Vec<PathBuf>,
}

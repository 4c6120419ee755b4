//! A data set: the contents of `--data`, found, opened, loaded, and described.

use super::budget::{Budget, LONGEST_SIDE, human_bytes};
use super::find::{self, Found};
use super::fingerprint::Fingerprint;
use super::held::{Group, Held, Outline};
use super::hold::{hold, outline};
use super::images::{Images, Range};
use super::labels::Labels;
use super::open::open;
use super::options::LoadOptions;
use super::pixels::Pixels;
use crate::{Error, Result};
use std::path::{Path, PathBuf};

/// Images to learn from, and their labels and metadata.
#[derive(Clone, Debug, PartialEq)]
pub struct Dataset {
    /// The training images, or all images if the data set does not distinguish. Empty if only test images
    /// were requested.
    pub train: Images,
    /// Which images of `train` are for validation, in ascending order, if the data set has its own validation
    /// part.
    pub validation: Option<Vec<usize>>,
    /// The data set's own test images.
    pub test: Option<Images>,
    /// Classes of `train`.
    pub labels: Option<Labels>,
    /// Classes of `test`.
    pub test_labels: Option<Labels>,
    /// A one-line description of what was found.
    pub description: String,
    /// Notes for the user: files left out, values that look odd.
    pub notes: Vec<String>,
    /// The path that it was read from.
    pub path: PathBuf,
    /// The file of each image of `train`, if each has its own; otherwise empty.
    pub files: Vec<PathBuf>,
    /// The file of each image of `test`, likewise.
    pub test_files: Vec<PathBuf>,
    /// Files that could not be read and were left out.
    pub skipped: Vec<PathBuf>,
}

impl Dataset {
    /// A 64-bit hash that changes if a training image, its label or its size does.
    pub fn fingerprint(&self) -> u64 {
        let mut hash = Fingerprint::new();
        hash.number(self.train.fingerprint());
        if let Some(labels) = &self.labels {
            labels.add_to(&mut hash);
        }
        if let Some(validation) = &self.validation {
            hash.number(validation.len() as u64);
            validation.iter().for_each(|&index| hash.number(index as u64));
        }
        hash.finish()
    }

    /// Bytes of memory that all images use.
    pub(crate) fn memory(&self) -> u64 {
        self.test.iter().chain([&self.train]).map(Images::memory).sum()
    }

    /// Images that are in memory, with their classes.
    ///
    /// # Errors
    /// If there are no images, or the number of labels is not that of the images.
    ///
    /// ```
    /// use elbo::data::{Dataset, Images};
    /// let images = Images::from_bytes(vec![0; 10 * 8 * 8], 10, 8, 8, 1);
    /// let data = Dataset::from_images(images, None)?;
    /// assert_eq!(data.train.count, 10);
    /// # Ok::<(), elbo::Error>(())
    /// ```
    pub fn from_images(images: Images, labels: Option<Labels>) -> Result<Self> {
        if images.count == 0 || images.image_len() == 0 {
            return Err(Error::config("a data set needs at least one image of at least one pixel"));
        }
        if let Some(labels) = &labels {
            if labels.ids.len() != images.count {
                return Err(Error::config(format!(
                    "there are {} labels for {} images; there must be one for each",
                    labels.ids.len(),
                    images.count
                )));
            }
            if let Some(&id) = labels.ids.iter().find(|&&id| id as usize >= labels.names.len()) {
                return Err(Error::config(format!(
                    "there is no class {id}; the labels name {}",
                    labels.names.len()
                )));
            }
        }
        let train = Group { images: Some(images), labels, files: Vec::new() };
        let (test, path, kind) = (Group::default(), PathBuf::from("memory"), "images".into());
        let (notes, skipped) = (Vec::new(), Vec::new());
        describe(Held { train, validation: None, test, path, kind, notes, skipped })
    }
}

/// Reads the data at `path`: a folder of pictures or of files with the MNIST names, an archive of pictures or
/// arrays, or one picture or array. Formats are recognized by content. `progress(done, total)` is called
/// while images are read, from several threads.
///
/// # Errors
/// If it cannot be read, is damaged, holds no images, or its images do not fit each other or the options.
pub fn load(
    path: impl AsRef<Path>,
    options: &LoadOptions,
    progress: &(dyn Fn(usize, usize) + Sync),
) -> Result<Dataset> {
    load_if(path, options, progress, &|_| Ok(()))
}

/// [`load`] unless `check` refuses: it gets an outline before any image is decoded or written to a cache
/// file.
///
/// # Errors
/// As [`load`], or those of `check`.
pub fn load_if(
    path: impl AsRef<Path>,
    options: &LoadOptions,
    progress: &(dyn Fn(usize, usize) + Sync),
    check: &dyn Fn(&Outline) -> Result<()>,
) -> Result<Dataset> {
    check_options(options)?;
    finish(find::at(path.as_ref())?, options, progress, check)
}

/// [`load`] for a file that is in memory; `path` is for messages.
///
/// # Errors
/// As [`load`].
pub fn parse(bytes: &[u8], path: &Path, options: &LoadOptions) -> Result<Dataset> {
    check_options(options)?;
    finish(find::in_memory(bytes, path)?, options, &|_, _| (), &|_| Ok(()))
}

/// Opens, converts and loads what was found.
fn finish(
    found: Found<'_>,
    options: &LoadOptions,
    progress: &(dyn Fn(usize, usize) + Sync),
    check: &dyn Fn(&Outline) -> Result<()>,
) -> Result<Dataset> {
    let source = open(found, options)?;
    let mut budget = Budget::new(options.max_memory);
    let outline = outline(&source, options, &budget)?;
    // Too many images are refused when their memory is claimed.
    if outline.memory <= options.max_memory {
        check(&outline)?;
    }
    describe(hold(source, options, &mut budget, progress)?)
}

/// Checks that the requested sizes are possible.
fn check_options(options: &LoadOptions) -> Result<()> {
    match options.size {
        Some((height, width)) if height.min(width) == 0 || height.max(width) > LONGEST_SIDE => {
            Err(Error::config(format!("--size {height}x{width} must be from 1 to 65535 in both directions")))
        }
        _ => Ok(()),
    }
}

/// Puts a data set together.
fn describe(held: Held) -> Result<Dataset> {
    let Held { train, validation, test, path, kind, mut notes, skipped } = held;
    let Some(shown) = train.images.as_ref().or(test.images.as_ref()) else {
        return Err(Error::data(path, "it has no images"));
    };
    let size = |images: &Images| (images.count, images.bytes());
    let (count, bytes) = train.images.as_ref().map_or((0, 0), size);
    let (test_count, test_bytes) = test.images.as_ref().map_or((0, 0), size);
    let counts = match (count, validation, test_count) {
        (0, _, n) => format!("{n} test images"),
        (n, None, 0) => format!("{n} images"),
        (n, None, test) => format!("{n} images and {test} test images"),
        (n, Some(valid), 0) => format!("{} images and {valid} validation images", n - valid),
        (n, Some(valid), test) => {
            format!("{} images, {valid} validation images and {test} test images", n - valid)
        }
    };
    let colors = match shown.channels {
        1 => "grey".into(),
        3 => "RGB".into(),
        4 => "RGB and alpha".into(),
        n => format!("{n} channels"),
    };
    let type_name = if shown.pixels.is_bytes() { "bytes" } else { "floats" };
    let classes = (train.labels.as_ref())
        .or(test.labels.as_ref())
        .map_or("no labels".into(), |labels| format!("{} classes", labels.classes()));
    let description = format!(
        "{kind}: {counts} of {}×{}, {colors}, {type_name} from {} to {}, {classes}, {} in {}",
        shown.height,
        shown.width,
        shown.range.low,
        shown.range.high,
        human_bytes(bytes + test_bytes),
        if matches!(shown.pixels, Pixels::File(_)) { "a cache file" } else { "memory" }
    );
    let at_most_one = match &shown.pixels {
        Pixels::U8(values) => values.iter().all(|&v| v <= 1),
        other => other.is_bytes() && other.extent().1 <= 1.0,
    };
    if at_most_one && shown.range == Range::BYTES {
        let note = "all bytes are 0 or 1, which is nearly black out of 255; --range 0,1 takes 1 as white";
        notes.push(note.into());
    }
    let empty = Images { range: shown.range, ..Images::empty(shown.height, shown.width, shown.channels) };
    Ok(Dataset {
        validation: validation.map(|valid| (count - valid..count).collect()),
        train: train.images.unwrap_or(empty),
        test: test.images,
        labels: train.labels,
        test_labels: test.labels,
        description,
        notes,
        path,
        files: train.files,
        test_files: test.files,
        skipped,
    })
}

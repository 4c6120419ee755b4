//! Opens what was found as a source: the headers are known, the pixels are not yet read.

use super::array_source::ArraySource;
use super::find::Found;
use super::options::LoadOptions;
use super::picture_source::{self, PictureSource};
use super::{array_files, npz};
use crate::Result;

/// A source of images.
pub(crate) enum Source<'a> {
    /// Each part is an array.
    Arrays(Box<ArraySource<'a>>),
    /// Each image is a file.
    Pictures(PictureSource<'a>),
}

/// Opens the data found.
///
/// # Errors
/// If it has no images, or none that fit the options.
pub(crate) fn open<'a>(found: Found<'a>, options: &LoadOptions) -> Result<Source<'a>> {
    if let Some(arrays) = array_files::open(&found, options.part)? {
        return Ok(Source::Arrays(Box::new(arrays)));
    }
    if let Some(arrays) = npz::open(&found, options)? {
        return Ok(Source::Arrays(Box::new(arrays)));
    }
    Ok(Source::Pictures(picture_source::open(found, options)?))
}

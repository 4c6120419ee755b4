//! Arrays as a source of images: each part of the data set is an array, and its labels may be another.

use super::entry::Entry;
use super::find::Item;
use super::fingerprint::Fingerprint;
use super::format::ArrayFormat;
use super::formats::Format;
use super::header::Header;
use super::layout::View;
use super::options::{LoadOptions, Part};
use super::parts::Parts;
use super::stream::Stream;
use crate::Result;
use std::path::{Path, PathBuf};

/// A file with an array.
#[derive(Clone)]
pub(crate) struct Array<'a> {
    entry: Entry<'a>,
    pub(crate) format: &'static ArrayFormat,
    gzip: bool,
}

impl<'a> Array<'a> {
    pub(crate) fn new(item: &Item<'a>) -> Option<Self> {
        match item.format {
            Format::Array(format) => Some(Self { entry: item.entry.clone(), format, gzip: item.gzip }),
            _ => None,
        }
    }

    /// The file, for messages.
    pub(crate) fn path(&self) -> &Path {
        &self.entry.path
    }

    /// Adds the file's identity to a hash, to detect a changed file.
    pub(crate) fn stamp(&self, hash: &mut Fingerprint) {
        self.entry.stamp(hash);
    }

    /// Opens the file: returns its header, and the stream at the first element.
    pub(crate) fn open(&self) -> Result<(Header, Stream<'_>)> {
        let stream = self.entry.stream()?;
        let mut stream = if self.gzip { stream.gunzipped() } else { stream };
        let header = (self.format.read_header)(&mut stream)?;
        Ok((header, stream))
    }
}

/// The images of one part.
#[derive(Clone)]
pub(crate) struct ArrayPart<'a> {
    pub(crate) images: Array<'a>,
    pub(crate) labels: Option<Array<'a>>,
}

/// Arrays of images.
pub(crate) struct ArraySource<'a> {
    pub(crate) path: PathBuf,
    /// "IDX", "npy" or "npz".
    pub(crate) kind: &'static str,
    pub(crate) parts: Parts<ArrayPart<'a>>,
    pub(crate) notes: Vec<String>,
}

/// Interprets the array of `image` as images, by the options.
pub(crate) fn view(header: &Header, options: &LoadOptions, path: &Path) -> Result<View> {
    header.view(options.layout, options.size, path)
}

/// The requested parts. If there are no test images, all images serve for testing.
pub(crate) fn wanted<T>(parts: Parts<T>, part: Part) -> Parts<T> {
    match part {
        Part::Train => Parts { test: None, ..parts },
        Part::Test if parts.test.is_some() => Parts { train: None, validation: None, test: parts.test },
        _ => parts,
    }
}

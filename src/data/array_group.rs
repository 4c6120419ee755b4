//! The arrays of one group of images, read front to back: at once, or in pieces to save memory.

use super::array;
use super::array_source::{Array, ArrayPart, view};
use super::budget::{Budget, checked_size, zeros};
use super::cache::images_at_once;
use super::fingerprint::Fingerprint;
use super::header::Header;
use super::images::{Images, Range};
use super::layout::{Axes, View};
use super::options::LoadOptions;
use super::pixels::Pixels;
use super::range::Numbers;
use super::stream::Stream;
use crate::tensor::ImageShape;
use crate::{Error, Result};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

/// An array whose header is known.
struct Opened<'s> {
    array: &'s Array<'s>,
    header: Header,
    view: View,
}

/// The arrays of one or two parts, whose images follow each other.
pub(crate) struct ArrayGroup<'s> {
    arrays: Vec<Opened<'s>>,
    pub(crate) count: usize,
    /// The shape of an image, as it is stored.
    pub(crate) shape: ImageShape,
    /// Whether an element is read as a byte; otherwise as a float.
    bytes: bool,
}

impl<'s> ArrayGroup<'s> {
    /// Opens the arrays of the parts that exist.
    ///
    /// # Errors
    /// If an array does not have the length that its header promises, or their images have different shapes.
    pub(crate) fn new(
        parts: [&'s Option<ArrayPart<'s>>; 2],
        numbers: Numbers,
        options: &LoadOptions,
        path: &Path,
    ) -> Result<Option<Self>> {
        let mut arrays = Vec::new();
        for ArrayPart { images: array, .. } in parts.into_iter().flatten() {
            let (header, stream) = array.open()?;
            let view = view(&header, options, array.path())?;
            stream.expect(header.elements(array.path())? as u64 * header.kind.bytes() as u64)?;
            arrays.push(Opened { array, header, view });
        }
        let Some(shape) = arrays.first().map(|one| one.view.image) else { return Ok(None) };
        if let Some(other) = arrays.iter().find(|one| one.view.image != shape) {
            let message = format!(
                "its training images are {shape} and its validation images {}; both must be the same",
                other.view.image
            );
            return Err(Error::data(path, message));
        }
        let count = arrays.iter().map(|one| one.view.count).sum();
        if checked_size(count, shape).is_none() {
            let message = format!("its {count} images of {shape} are larger than any memory");
            return Err(Error::data(path, message));
        }
        let bytes = matches!(numbers, Numbers::Bits | Numbers::Bytes);
        Ok(Some(Self { arrays, count, shape, bytes }))
    }

    /// Bytes of memory for an element.
    pub(crate) fn each(&self) -> usize {
        if self.bytes { 1 } else { 4 }
    }

    /// Bytes of memory that all images take.
    pub(crate) fn memory(&self) -> u64 {
        (self.count * self.shape.len() * self.each()) as u64
    }

    /// Adds the files' identities to a hash, to detect changed files.
    pub(crate) fn stamp(&self, hash: &mut Fingerprint) {
        self.arrays.iter().for_each(|one| one.array.stamp(hash));
    }

    /// All images; their memory is claimed from the budget.
    ///
    /// # Errors
    /// If they are damaged, or need more memory than allowed.
    pub(crate) fn read(
        &self,
        budget: &mut Budget,
        path: &Path,
        progress: &(dyn Fn(usize, usize) + Sync),
    ) -> Result<Images> {
        for one in &self.arrays {
            let elements = one.header.elements(one.array.path())?;
            budget.take((elements * self.each()) as u64, one.array.path())?;
        }
        let stored = self.arrays.iter().map(|one| one.header.kind.bytes()).max().unwrap_or(1);
        let (done, each) = (AtomicU64::new(0), (stored * self.shape.len()).max(1) as u64);
        let watch = |bytes: u64| {
            let before = done.fetch_add(bytes, Ordering::Relaxed);
            if before / each < (before + bytes) / each {
                progress(((before + bytes) / each) as usize, self.count);
            }
        };
        let mut pixels = self.zeros(self.count, path)?;
        let mut start = 0;
        for one in &self.arrays {
            let (_, stream) = one.array.open()?;
            let mut stream = stream.watched(&watch);
            one.read(&mut stream, &one.view.axes, 0, start, &mut pixels)?;
            stream.finish()?;
            start += one.view.count * self.shape.len();
        }
        Ok(self.images(pixels, self.count))
    }

    /// Passes on all images, some at a time.
    ///
    /// # Errors
    /// Those of `task`; or if the images are damaged, or an array is stored column by column, so that each
    /// image is spread over all of it.
    pub(crate) fn pieces(
        &self,
        path: &Path,
        max_memory: u64,
        mut task: impl FnMut(Images) -> Result<()>,
    ) -> Result<()> {
        let at_once = images_at_once(self.shape.len() * self.each(), max_memory);
        for one in &self.arrays {
            if one.header.fortran {
                let message = "it is stored column by column, and is more than half of --max-memory; store it row by row (in NumPy: \
                               numpy.ascontiguousarray), or allow more memory";
                return Err(Error::data(one.array.path(), message));
            }
            let (_, mut stream) = one.array.open()?;
            let mut axes = one.view.axes.clone();
            for first in (0..one.view.count).step_by(at_once) {
                let count = at_once.min(one.view.count - first);
                axes.0[0].0 = count;
                let mut pixels = self.zeros(count, path)?;
                one.read(&mut stream, &axes, first, 0, &mut pixels)?;
                task(self.images(pixels, count))?;
            }
            stream.finish()?;
        }
        Ok(())
    }

    fn zeros(&self, count: usize, path: &Path) -> Result<Pixels> {
        let numbers = count * self.shape.len();
        Ok(if self.bytes { Pixels::U8(zeros(numbers, path)?) } else { Pixels::F32(zeros(numbers, path)?) })
    }

    fn images(&self, pixels: Pixels, count: usize) -> Images {
        let ImageShape { height, width, channels } = self.shape;
        Images { pixels, count, height, width, channels, range: Range::BYTES }
    }
}

impl Opened<'_> {
    /// Reads the next images of these axes, the first of which has the index `first`, to the numbers from
    /// `start` on.
    fn read(
        &self,
        stream: &mut Stream<'_>,
        axes: &Axes,
        first: usize,
        start: usize,
        out: &mut Pixels,
    ) -> Result<()> {
        let numbers = axes.0.iter().map(|axis| axis.0).product::<usize>();
        match out {
            Pixels::U8(out) => {
                array::read_bytes(stream, &self.header, axes, first, &mut out[start..][..numbers])
            }
            Pixels::F32(out) => {
                array::read_floats(stream, &self.header, axes, first, &mut out[start..][..numbers])
            }
            Pixels::File(_) => unreachable!("arrays are read into memory"),
        }
    }
}

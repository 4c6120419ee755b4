//! Converts the values of arrays: to bytes if they are bytes in all but their type, and to the requested
//! range, colours and size.

use super::budget::{Budget, checked_size, zeros};
use super::convert::{Converter, Scratch};
use super::images::{Images, Range};
use super::options::LoadOptions;
use super::pixels::Pixels;
use super::range::{self, Numbers};
use super::resize::Sample;
use crate::tensor::ImageShape;
use crate::{Error, Result};
use rayon::prelude::*;
use std::path::Path;

/// Properties of the values of all arrays.
pub(crate) struct Values {
    pub(crate) range: Range,
    /// Whether they become bytes.
    narrow: bool,
    /// Whether rounding moved some out of the range.
    clamp: bool,
}

impl Values {
    /// Determines the range for values within `extent`.
    ///
    /// # Errors
    /// As [`range::settle`].
    pub(crate) fn settle(
        numbers: Numbers,
        extent: (f32, f32),
        options: &LoadOptions,
        path: &Path,
        notes: &mut Vec<String>,
    ) -> Result<Self> {
        let (low, high) = extent;
        let narrow = numbers == Numbers::Integers && low >= 0.0 && high <= 255.0;
        let range = range::settle(numbers, extent, options, path, notes)?;
        Ok(Self { range, narrow, clamp: low < range.low || high > range.high })
    }

    /// Whether the pixels are bytes, if the elements of the arrays take `each` bytes.
    pub(crate) fn are_bytes(&self, each: usize) -> bool {
        each == 1 || self.narrow
    }

    /// Converts values, colours and size of images.
    ///
    /// # Errors
    /// If the colours cannot be converted, or memory is not enough.
    pub(crate) fn apply(
        &self,
        mut images: Images,
        path: &Path,
        options: &LoadOptions,
        budget: &mut Budget,
    ) -> Result<Images> {
        if self.narrow {
            narrow(&mut images, budget, path)?;
        }
        images.range = self.range;
        if self.clamp {
            range::clamp(&mut images.pixels, self.range);
        }
        converted(images, path, options, budget)
    }
}

/// Converts numbers that are bytes in all but their type to bytes.
fn narrow(images: &mut Images, budget: &mut Budget, path: &Path) -> Result<()> {
    if let Pixels::F32(values) = &images.pixels {
        budget.take(values.len() as u64, path)?;
        let bytes: Vec<u8> = values.iter().map(|&v| v as u8).collect();
        budget.give_back(4 * values.len() as u64);
        images.pixels = Pixels::U8(bytes);
    }
    Ok(())
}

/// The shape of images after the options' conversions.
///
/// # Errors
/// If they have no colours to convert.
pub(crate) fn target(from: ImageShape, options: &LoadOptions, path: &Path) -> Result<ImageShape> {
    let channels = match options.color {
        None => from.channels,
        Some(color) if matches!(from.channels, 1 | 3 | 4) => color.channels(),
        Some(color) => {
            return Err(Error::data(
                path,
                format!(
                    "the images have {} channels, and --{} takes images of 1 (grey), 3 (RGB) or 4 (RGB and alpha)",
                    from.channels, color
                ),
            ));
        }
    };
    let (height, width) = options.size.unwrap_or((from.height, from.width));
    Ok(ImageShape::new(height, width, channels))
}

/// Converts images to the requested colours and size; without such options they are returned unchanged.
fn converted(images: Images, path: &Path, options: &LoadOptions, budget: &mut Budget) -> Result<Images> {
    let (from, shape) = (images.shape(), target(images.shape(), options, path)?);
    if shape == from {
        return Ok(images);
    }
    let ImageShape { height, width, channels } = shape;
    let each = if images.pixels.is_bytes() { 1 } else { 4 };
    let size = checked_size(images.count, shape)
        .ok_or_else(|| Error::config(format!("--size {height}x{width} is too large")))?;
    budget.take(size as u64 * each, path)?;
    // Each thread has an image in its new colours, and a row of sums.
    let scratch = (from.pixels() * channels) as u64 * each + (from.width * channels) as u64 * 4;
    let scratch = scratch.saturating_mul(rayon::current_num_threads().min(images.count) as u64);
    budget.take(scratch, path)?;
    let converter = Converter::new(shape, images.range, images.range, options).within(images.range);
    let pixels = match &images.pixels {
        Pixels::U8(values) => Pixels::U8(convert_all(values, from, shape, &converter, path)?),
        Pixels::F32(values) => Pixels::F32(convert_all(values, from, shape, &converter, path)?),
        Pixels::File(_) => unreachable!("arrays are converted in memory"),
    };
    budget.give_back((images.count * images.image_len()) as u64 * each + scratch);
    Ok(Images { pixels, count: images.count, height, width, channels, range: images.range })
}

fn convert_all<V: Sample>(
    values: &[V],
    from: ImageShape,
    shape: ImageShape,
    converter: &Converter,
    path: &Path,
) -> Result<Vec<V>> {
    let mut out = zeros(values.len() / from.len() * shape.len(), path)?;
    values
        .par_chunks_exact(from.len())
        .zip(out.par_chunks_exact_mut(shape.len()))
        .try_for_each_init(Scratch::default, |scratch, (image, out)| converter.run(image, from, out, scratch))
        .map_err(|reason| Error::data(path, format!("it {reason}")))?;
    Ok(out)
}

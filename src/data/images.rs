//! Images: bytes (or floats, if the source has them), in memory or in a file. They are scaled to the
//! network's input range only when a batch is filled.
//!
//! Order is N·H·W·C: image after image, row after row, channels last. A pixel value v of a data set whose
//! values go from `low` to `high` stands for (v − low)/(high − low) in \[0, 1\]. 60,000 MNIST images take 47
//! MB as bytes, and would take 188 MB as floats; the conversion is a table of 256 numbers.

use super::budget::Budget;
use super::fingerprint::Fingerprint;
use super::image::Image;
use super::pixels::Pixels;
use crate::Result;
use crate::tensor::{Element, ImageShape};
use rayon::prelude::*;

/// The values that stand for black and for white in the data.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Range {
    /// The value that becomes 0.
    pub low: f32,
    /// The value that becomes 1.
    pub high: f32,
}

impl Range {
    /// 0 to 255, the range of bytes.
    pub const BYTES: Self = Self { low: 0.0, high: 255.0 };
    /// 0 to 1.
    pub const UNIT: Self = Self { low: 0.0, high: 1.0 };
    /// −1 to 1.
    pub const SYMMETRIC: Self = Self { low: -1.0, high: 1.0 };
}

/// The interval of a network's input and output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Span {
    /// \[0, 1\].
    Unit,
    /// \[−1, 1\].
    Symmetric,
}

impl Span {
    /// Maps a value from \[0, 1\] to this interval.
    #[inline(always)]
    pub fn from_unit(self, value: f64) -> f64 {
        match self {
            Self::Unit => value,
            Self::Symmetric => 2.0 * value - 1.0,
        }
    }
}

/// `count` images of height × width × channels, in N·H·W·C order.
#[derive(Clone, Debug, PartialEq)]
pub struct Images {
    /// All values, count · height · width · channels of them.
    pub pixels: Pixels,
    /// How many images.
    pub count: usize,
    /// Rows of each.
    pub height: usize,
    /// Columns of each.
    pub width: usize,
    /// 1 grey, 3 red-green-blue, 4 with alpha; any other number is used as it is.
    pub channels: usize,
    /// The values of black and white.
    pub range: Range,
}

/// Batches of this many numbers or more are filled by all threads: below, waking them costs more than they
/// save.
const PARALLEL_FROM: usize = 1 << 16;

impl Images {
    /// Byte images.
    ///
    /// # Panics
    /// If `pixels` does not have count · height · width · channels elements.
    pub fn from_bytes(pixels: Vec<u8>, count: usize, height: usize, width: usize, channels: usize) -> Self {
        let expected = count * height * width * channels;
        assert_eq!(pixels.len(), expected, "{count} images of {height}×{width}×{channels}");
        Self { pixels: Pixels::U8(pixels), count, height, width, channels, range: Range::BYTES }
    }

    /// No images, of the given size.
    pub fn empty(height: usize, width: usize, channels: usize) -> Self {
        Self::from_bytes(Vec::new(), 0, height, width, channels)
    }

    /// Rows, columns and channels of each image.
    pub fn shape(&self) -> ImageShape {
        ImageShape::new(self.height, self.width, self.channels)
    }

    /// Numbers per image: height · width · channels.
    pub fn image_len(&self) -> usize {
        self.height * self.width * self.channels
    }

    /// Bytes that the pixels use, in memory or in a file.
    pub fn bytes(&self) -> u64 {
        self.pixels.numbers().saturating_mul(if self.pixels.is_bytes() { 1 } else { 4 })
    }

    /// Bytes of memory that they use.
    pub fn memory(&self) -> u64 {
        self.pixels.memory()
    }

    /// Lends image `index`, height·width·channels values, to `task`, which must not request another.
    ///
    /// # Panics
    /// If the index is too large, or the images are in a file that cannot be read ([`Pixels::File`]).
    pub fn with_image<R>(&self, index: usize, task: impl FnOnce(Image<'_>) -> R) -> R {
        assert!(index < self.count, "image {index} of {}", self.count);
        self.pixels.image(index, self.image_len(), task)
    }

    /// A copy of some images, in the given order: for sheets and small selections. Training uses
    /// [`Images::gather`], which needs no copy.
    pub fn select(&self, indices: &[usize]) -> Self {
        let numbers = indices.len() * self.image_len();
        let pixels = if self.pixels.is_bytes() {
            let mut values = Vec::with_capacity(numbers);
            for &index in indices {
                self.with_image(index, |image| match image {
                    Image::U8(image) => values.extend_from_slice(image),
                    Image::F32(_) => unreachable!("all images are bytes"),
                });
            }
            Pixels::U8(values)
        } else {
            let mut values = Vec::with_capacity(numbers);
            for &index in indices {
                self.with_image(index, |image| match image {
                    Image::F32(image) => values.extend_from_slice(image),
                    Image::U8(_) => unreachable!("all images are floats"),
                });
            }
            Pixels::F32(values)
        };
        Self { pixels, count: indices.len(), ..*self }
    }

    /// Fills a batch: the images `indices`, scaled into `span`, one after the other. `out` is [indices.len()
    /// · H · W · C]. Nothing is allocated.
    ///
    /// # Panics
    /// If `out` has another length, or an index is too large.
    pub fn gather<T: Element>(&self, indices: &[usize], span: Span, out: &mut [T]) {
        self.gather_with(indices, out, |unit, _| span.from_unit(unit), |_| ());
    }

    /// The same images in memory, if they fit in `max_memory` bytes.
    ///
    /// # Errors
    /// If they do not, or their file cannot be read.
    pub fn in_memory(self, max_memory: u64) -> Result<Self> {
        let Pixels::File(file) = &self.pixels else { return Ok(self) };
        Budget::new(max_memory).take(self.bytes(), file.path())?;
        Ok(Self { pixels: self.pixels.in_memory()?, ..self })
    }

    /// [`Images::gather`] with a function in between: `value` maps a number in \[0, 1\] to the number in the
    /// batch, using a state that `state` makes for each image (a random generator).
    pub(crate) fn gather_with<T: Element, S>(
        &self,
        indices: &[usize],
        out: &mut [T],
        value: impl Fn(f64, &mut S) -> f64 + Sync,
        state: impl Fn(usize) -> S + Sync,
    ) {
        let size = self.image_len();
        assert_eq!(out.len(), indices.len() * size, "a batch of {} images of {size} numbers", indices.len());
        if size == 0 {
            return;
        }
        let Range { low, high } = self.range;
        let scale = 1.0 / (f64::from(high) - f64::from(low));
        let unit = |v: f32| (f64::from(v) - f64::from(low)) * scale;
        let stateless = size_of::<S>() == 0;
        // Division happens here, 256 times. If values do not depend on randomness, a table of results is
        // used.
        let units: [f64; 256] = std::array::from_fn(|v| unit(v as f32));
        let mut table = [T::ZERO; 256];
        if stateless {
            table = std::array::from_fn(|v| T::from_f64(value(units[v], &mut state(0))));
        }
        let fill = |(&index, out): (&usize, &mut [T])| {
            let mut state = state(index);
            self.with_image(index, |image| match image {
                Image::U8(from) if stateless => {
                    out.iter_mut().zip(from).for_each(|(out, &v)| *out = table[usize::from(v)]);
                }
                Image::U8(from) => {
                    for (out, &v) in out.iter_mut().zip(from) {
                        *out = T::from_f64(value(units[usize::from(v)], &mut state));
                    }
                }
                Image::F32(from) => {
                    for (out, &v) in out.iter_mut().zip(from) {
                        *out = T::from_f64(value(unit(v), &mut state));
                    }
                }
            });
        };
        if out.len() >= PARALLEL_FROM {
            indices.par_iter().zip(out.par_chunks_exact_mut(size)).for_each(fill);
        } else {
            indices.iter().zip(out.chunks_exact_mut(size)).for_each(fill);
        }
    }

    /// Image `index` as bytes in 0..=255, for pictures. Values outside of the range are clamped.
    pub fn to_bytes(&self, index: usize) -> Vec<u8> {
        let Range { low, high } = self.range;
        let byte = |v: f32| ((v - low) / (high - low) * 255.0).round().clamp(0.0, 255.0) as u8;
        self.with_image(index, |image| match image {
            Image::U8(values) if self.range == Range::BYTES => values.to_vec(),
            Image::U8(values) => values.iter().map(|&v| byte(f32::from(v))).collect(),
            Image::F32(values) => values.iter().map(|&v| byte(v)).collect(),
        })
    }

    /// A 64-bit hash that changes if the images do: to detect changed data on resuming. It does not protect
    /// against an adversary.
    pub fn fingerprint(&self) -> u64 {
        let mut hash = Fingerprint::new();
        for size in [self.count, self.height, self.width, self.channels] {
            hash.number(size as u64);
        }
        hash.number(u64::from(self.range.low.to_bits()));
        hash.number(u64::from(self.range.high.to_bits()));
        self.pixels.add_to(&mut hash);
        hash.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Images {
        Images::from_bytes((0..24).map(|v| v * 10).collect(), 2, 2, 2, 3)
    }

    #[test]
    fn a_batch_is_scaled_into_its_span() {
        let images = sample();
        let mut out = [0.0f32; 24];
        images.gather(&[1, 0], Span::Unit, &mut out);
        assert_eq!(out[0], 120.0 / 255.0);
        assert_eq!(out[12], 0.0);
        let mut out = [0.0f64; 12];
        images.gather(&[1], Span::Symmetric, &mut out);
        assert_eq!(out[1], 2.0 * (130.0 / 255.0) - 1.0);
        let floats = Images {
            pixels: Pixels::F32(vec![-1.0, 0.0, 1.0, 0.5]),
            count: 1,
            height: 2,
            width: 2,
            channels: 1,
            range: Range::SYMMETRIC,
        };
        let mut out = [0.0f32; 4];
        floats.gather(&[0], Span::Unit, &mut out);
        assert_eq!(out, [0.0, 0.5, 1.0, 0.75]);
        floats.gather(&[0], Span::Symmetric, &mut out);
        assert_eq!(out, [-1.0, 0.0, 1.0, 0.5]);
    }

    #[test]
    fn a_large_batch_is_the_same_as_small_ones() {
        let images =
            Images::from_bytes((0..200 * 1000).map(|v| (v * 7 % 251) as u8).collect(), 200, 25, 40, 1);
        let order: Vec<usize> = (0..200).rev().collect();
        let mut all = vec![0.0f32; 200_000];
        images.gather(&order, Span::Unit, &mut all);
        for (&index, expected) in order.iter().zip(all.chunks(1000)) {
            let mut one = vec![0.0f32; 1000];
            images.gather(&[index], Span::Unit, &mut one);
            assert_eq!(one, expected);
        }
    }

    #[test]
    fn any_change_changes_the_fingerprint() {
        let images = sample();
        let original = images.fingerprint();
        assert_eq!(original, sample().fingerprint());
        let Pixels::U8(values) = &images.pixels else { unreachable!() };
        for at in 0..24 {
            for bit in 0..8 {
                let mut values = values.clone();
                values[at] ^= 1 << bit;
                assert_ne!(Images { pixels: Pixels::U8(values), ..images.clone() }.fingerprint(), original);
            }
        }
        assert_ne!(Images { width: 3, channels: 2, ..images.clone() }.fingerprint(), original);
        assert_ne!(images.select(&[1, 0]).fingerprint(), original);
        assert_eq!(images.select(&[0, 1]).fingerprint(), original);
    }

    #[test]
    fn pictures_get_bytes() {
        let images = Images {
            pixels: Pixels::F32(vec![-1.0, 0.0, 1.0, 2.0]),
            count: 1,
            height: 2,
            width: 2,
            channels: 1,
            range: Range::SYMMETRIC,
        };
        assert_eq!(images.to_bytes(0), [0, 128, 255, 255]);
        assert_eq!(sample().to_bytes(1)[..2], [120, 130]);
    }
}

//! Images in memory: bytes (or floats, where the file has them), scaled to what a network takes only when a batch is filled.
//!
//! Order is N·H·W·C: image after image, row after row, channels last. A pixel value v of a data set whose values go from
//! `low` to `high` stands for (v − low)/(high − low) in \[0, 1\]. 60,000 MNIST images take 47 MB as bytes, and would take
//! 188 MB as floats; the conversion is a table of 256 numbers.

use super::fingerprint::Fingerprint;
use crate::tensor::{Element, ImageShape};
use rayon::prelude::*;

/// The values of the pixels, as the file has them.
#[derive(Clone, Debug, PartialEq)]
pub enum Pixels {
    /// One byte each.
    U8(Vec<u8>),
    /// Floats, in the range that [`Images::range`] states. All are finite.
    F32(Vec<f32>),
}

/// The values that stand for black and for white in the data.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Range {
    /// What becomes 0.
    pub low: f32,
    /// What becomes 1.
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

/// The interval that a network takes and gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Span {
    /// \[0, 1\].
    Unit,
    /// \[−1, 1\].
    Symmetric,
}

impl Span {
    /// Brings a value from \[0, 1\] into this interval.
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
    /// 1 grey, 3 red-green-blue, 4 with alpha; any other number is taken as it is.
    pub channels: usize,
    /// What the values stand for.
    pub range: Range,
}

/// One image's values, as they are stored.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Image<'a> {
    /// One byte each.
    U8(&'a [u8]),
    /// Floats.
    F32(&'a [f32]),
}

/// From this many numbers on a batch is filled by all threads: below, waking them costs more than they save.
const PARALLEL_FROM: usize = 1 << 16;

impl Images {
    /// Byte images.
    ///
    /// # Panics
    /// When `pixels` does not have count · height · width · channels elements.
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

    /// The bytes of memory that the pixels take.
    pub(crate) fn bytes(&self) -> usize {
        match &self.pixels {
            Pixels::U8(values) => size_of_val(&values[..]),
            Pixels::F32(values) => size_of_val(&values[..]),
        }
    }

    /// Image `index`, height·width·channels values.
    pub fn image(&self, index: usize) -> Image<'_> {
        let at = index * self.image_len()..(index + 1) * self.image_len();
        match &self.pixels {
            Pixels::U8(values) => Image::U8(&values[at]),
            Pixels::F32(values) => Image::F32(&values[at]),
        }
    }

    /// A copy of some images, in the order asked for: for sheets and small selections. Training uses [`Images::gather`], which
    /// needs no copy.
    pub fn select(&self, indices: &[usize]) -> Self {
        let size = self.image_len();
        fn pick<V: Copy>(values: &[V], size: usize, indices: &[usize]) -> Vec<V> {
            indices.iter().flat_map(|&i| &values[i * size..(i + 1) * size]).copied().collect()
        }
        let pixels = match &self.pixels {
            Pixels::U8(values) => Pixels::U8(pick(values, size, indices)),
            Pixels::F32(values) => Pixels::F32(pick(values, size, indices)),
        };
        Self { pixels, count: indices.len(), ..*self }
    }

    /// Fills a batch: the images `indices`, scaled into `span`, one after the other. `out` is [indices.len() · H · W · C].
    /// Nothing is allocated.
    ///
    /// # Panics
    /// When `out` has another length, or an index is too large.
    pub fn gather<T: Element>(&self, indices: &[usize], span: Span, out: &mut [T]) {
        self.gather_with(indices, out, |unit, _| span.from_unit(unit), |_| ());
    }

    /// [`Images::gather`] with something in between: `value` maps a number in \[0, 1\] to what the batch gets, with a state
    /// that `state` makes for each image (a generator of random numbers).
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
        // Division happens here, 256 times; a table of results serves whenever a value does not depend on chance.
        let units: [f64; 256] = std::array::from_fn(|v| unit(v as f32));
        let mut table = [T::ZERO; 256];
        if stateless {
            table = std::array::from_fn(|v| T::from_f64(value(units[v], &mut state(0))));
        }
        let fill = |(&index, out): (&usize, &mut [T])| {
            let mut state = state(index);
            match self.image(index) {
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
            }
        };
        if out.len() >= PARALLEL_FROM {
            indices.par_iter().zip(out.par_chunks_exact_mut(size)).for_each(fill);
        } else {
            indices.iter().zip(out.chunks_exact_mut(size)).for_each(fill);
        }
    }

    /// Image `index` as bytes in 0..=255, for pictures. Values outside of the range are cut off.
    pub fn to_bytes(&self, index: usize) -> Vec<u8> {
        let Range { low, high } = self.range;
        let byte = |v: f32| ((v - low) / (high - low) * 255.0).round().clamp(0.0, 255.0) as u8;
        match self.image(index) {
            Image::U8(values) if self.range == Range::BYTES => values.to_vec(),
            Image::U8(values) => values.iter().map(|&v| byte(f32::from(v))).collect(),
            Image::F32(values) => values.iter().map(|&v| byte(v)).collect(),
        }
    }

    /// 64 bits that change when the images do: to notice, on resuming, data that changed. Not for use against an adversary.
    pub fn fingerprint(&self) -> u64 {
        let mut hash = Fingerprint::new();
        for size in [self.count, self.height, self.width, self.channels] {
            hash.number(size as u64);
        }
        hash.number(u64::from(self.range.low.to_bits()));
        hash.number(u64::from(self.range.high.to_bits()));
        match &self.pixels {
            Pixels::U8(values) => hash.bytes(values),
            Pixels::F32(values) => {
                hash.number(1);
                for pair in values.chunks(2) {
                    let high = pair.get(1).map_or(0, |v| u64::from(v.to_bits()) << 32);
                    hash.number(high | u64::from(pair[0].to_bits()));
                }
            }
        }
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

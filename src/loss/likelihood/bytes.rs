//! Likelihoods of bytes: m numbers for each pixel value give the probability of each of its 256 levels,
//! exactly.
//!
//! A value x in [0, 1] is the byte 255·x, rounded. The decoder's output has, for each pixel, the m numbers of
//! its C channels; PyTorch's `output.chunk(m, dim=1)[k]` is number k of all channels:
//!
//! ```text
//! output  [B, H·W, m·C]     number k of channel c at k·C + c
//! target  [B, H·W, C]
//! ```
//!
//! The formulas process [`LANES`] adjacent values of `target` at a time. Their numbers are gathered into one
//! row per number, so the formulas are loops over a row, which become vector instructions for any m and C.

use super::family::{Family, MeanRule};
use super::single::{BLOCK, LANES};
use crate::kernels::simd::vectorized;
use crate::tensor::{Element, ImageShape};
use rayon::prelude::*;
use std::ops::Range;

/// The most numbers for a pixel value: 32 components of 3.
pub(super) const MAX_NUMBERS: usize = 96;

/// One row for each number, one column for each pixel value.
pub(super) type Rows<T> = [[T; LANES]];

/// A likelihood of bytes: its formulas for a row of values.
pub(super) trait ByteFamily: Copy + Sync {
    /// See [`Family::name`].
    fn name(&self) -> &'static str;

    /// m, at most [`MAX_NUMBERS`].
    fn numbers(&self) -> usize;

    /// See [`Family::settings`].
    fn settings(&self) -> Vec<(&'static str, f64)> {
        Vec::new()
    }

    /// See [`Family::with_setting`].
    fn with_setting(&self, _setting: &str, _value: f64) -> Option<Self> {
        None
    }

    /// See [`Family::validate`].
    fn validate(&self) -> crate::error::Result<()> {
        Ok(())
    }

    /// −ln p of the bytes (0 to 255) in nats. `rows` has m rows; each number is replaced by the derivative
    /// with respect to it.
    fn nats<T: Element>(&self, rows: &mut Rows<T>, bytes: &[T; LANES]) -> [T; LANES];

    /// The means, in [0, 1].
    fn means<T: Element>(&self, rows: &Rows<T>) -> [T; LANES];

    /// Replaces each number by the derivative of the [`means`](Self::means) with respect to it.
    fn mean_slopes<T: Element>(&self, rows: &mut Rows<T>);

    /// See [`Family::means_and_log_scales`].
    fn means_and_log_scales(&self) -> Option<[Range<usize>; 2]> {
        None
    }

    /// See [`Family::output_meaning`].
    fn output_meaning(&self) -> String;

    /// See [`Family::mean_rule`].
    fn mean_rule(&self) -> MeanRule;

    /// See [`Family::torch_mean`].
    fn torch_mean(&self) -> String;
}

/// A [`ByteFamily`] as a [`Family`].
#[derive(Clone, Copy)]
pub(super) struct Bytes<F>(pub(super) F);

impl<F: ByteFamily> Family for Bytes<F> {
    fn name(&self) -> &'static str {
        self.0.name()
    }

    fn numbers(&self) -> usize {
        self.0.numbers()
    }

    fn settings(&self) -> Vec<(&'static str, f64)> {
        self.0.settings()
    }

    fn with_setting(&self, setting: &str, value: f64) -> Option<Self> {
        self.0.with_setting(setting, value).map(Self)
    }

    fn validate(&self) -> crate::error::Result<()> {
        self.0.validate()
    }

    fn output_is_mean(&self) -> bool {
        false
    }

    fn is_exact_for_bytes(&self) -> bool {
        true
    }

    fn forward<T: Element>(&self, output: &[T], target: &[T], image: ImageShape, per_image: &mut [f64]) {
        let (inputs, values) = (output.len() / per_image.len(), image.len());
        per_image
            .par_iter_mut()
            .zip(output.par_chunks_exact(inputs))
            .zip(target.par_chunks_exact(values))
            .with_min_len(VALUES_PER_TASK.div_ceil(values))
            .for_each(|((sum, output), target)| {
                *sum = vectorized!(image_nats(&self.0, output, target, image.channels, |_, _, _| ()));
            });
    }

    fn forward_backward<T: Element>(
        &self,
        output: &[T],
        target: &[T],
        image: ImageShape,
        d_output: &mut [T],
        per_image: &mut [f64],
    ) -> Option<f64> {
        let (inputs, values, channels) = (output.len() / per_image.len(), image.len(), image.channels);
        let scale = T::from_f64(1.0 / per_image.len() as f64);
        per_image
            .par_iter_mut()
            .zip(output.par_chunks_exact(inputs))
            .zip(target.par_chunks_exact(values))
            .zip(d_output.par_chunks_exact_mut(inputs))
            .with_min_len(VALUES_PER_TASK.div_ceil(values))
            .for_each(|(((sum, output), target), d_output)| {
                *sum = vectorized!({
                    image_nats(
                        &self.0,
                        output,
                        target,
                        channels,
                        #[inline(always)]
                        |slopes, places, count| {
                            for (k, row) in slopes.iter().enumerate() {
                                for (&place, &slope) in places.iter().zip(row).take(count) {
                                    d_output[place + k * channels] = slope * scale;
                                }
                            }
                        },
                    )
                });
            });
        None
    }

    fn means<T: Element>(&self, output: &[T], image: ImageShape, means: &mut [T]) {
        let inputs = image.len() * self.numbers();
        output
            .par_chunks_exact(inputs)
            .zip(means.par_chunks_exact_mut(image.len()))
            .with_min_len(VALUES_PER_TASK.div_ceil(image.len()))
            .for_each(|(output, means)| {
                let mut rows = [[T::ZERO; LANES]; MAX_NUMBERS];
                let rows = &mut rows[..self.numbers()];
                for (group, means) in means.chunks_mut(LANES).enumerate() {
                    let places = places(group * LANES, means.len(), image.channels, self.numbers());
                    gather(output, &places, image.channels, rows);
                    means.copy_from_slice(&self.0.means(rows)[..means.len()]);
                }
            });
    }

    fn means_backward<T: Element>(&self, output: &[T], image: ImageShape, d_means: &[T], d_output: &mut [T]) {
        let (inputs, channels) = (image.len() * self.numbers(), image.channels);
        output
            .par_chunks_exact(inputs)
            .zip(d_means.par_chunks_exact(image.len()))
            .zip(d_output.par_chunks_exact_mut(inputs))
            .with_min_len(VALUES_PER_TASK.div_ceil(image.len()))
            .for_each(|((output, d_means), d_output)| {
                let mut rows = [[T::ZERO; LANES]; MAX_NUMBERS];
                let rows = &mut rows[..self.numbers()];
                for (group, d_means) in d_means.chunks(LANES).enumerate() {
                    let places = places(group * LANES, d_means.len(), channels, self.numbers());
                    gather(output, &places, channels, rows);
                    self.0.mean_slopes(rows);
                    for (k, row) in rows.iter().enumerate() {
                        for ((&place, &slope), &d_mean) in places.iter().zip(row).zip(d_means) {
                            d_output[place + k * channels] = slope * d_mean;
                        }
                    }
                }
            });
    }

    fn log_probabilities<T: Element>(&self, numbers: &[T], ln_p: &mut [T; 256]) {
        let mut rows = [[T::ZERO; LANES]; MAX_NUMBERS];
        let rows = &mut rows[..self.numbers()];
        for (group, ln_p) in ln_p.as_chunks_mut::<LANES>().0.iter_mut().enumerate() {
            for (row, &number) in rows.iter_mut().zip(numbers) {
                *row = [number; LANES];
            }
            let bytes = std::array::from_fn(|lane| T::from_f64((group * LANES + lane) as f64));
            *ln_p = vectorized!(self.0.nats(rows, &bytes)).map(|nats| -nats);
        }
    }

    fn means_and_log_scales(&self) -> Option<[Range<usize>; 2]> {
        self.0.means_and_log_scales()
    }

    fn output_meaning(&self) -> String {
        self.0.output_meaning()
    }

    fn mean_rule(&self) -> MeanRule {
        self.0.mean_rule()
    }

    fn torch_mean(&self) -> String {
        self.0.torch_mean()
    }
}

/// Threads get images with at least this many values together: about 100 µs of work.
const VALUES_PER_TASK: usize = 1024;

/// The nats of one image. `slopes` is given the derivatives by the numbers of each group of values, the
/// places of their first numbers, and how many of the [`LANES`] are values of the image.
///
/// One thread sums an image, lane by lane in `T` and block by block in `f64`, like the likelihoods with one
/// number.
#[inline(always)]
fn image_nats<T: Element>(
    family: &impl ByteFamily,
    output: &[T],
    target: &[T],
    channels: usize,
    mut slopes: impl FnMut(&Rows<T>, &[usize; LANES], usize),
) -> f64 {
    let numbers = family.numbers();
    let mut rows = [[T::ZERO; LANES]; MAX_NUMBERS];
    let rows = &mut rows[..numbers];
    let mut total = 0.0;
    let mut at = 0;
    for block in target.chunks(BLOCK) {
        let mut sums = [T::ZERO; LANES];
        for values in block.chunks(LANES) {
            let places = places(at, values.len(), channels, numbers);
            gather(output, &places, channels, rows);
            let mut bytes = [T::ZERO; LANES];
            for (byte, &value) in bytes.iter_mut().zip(values) {
                *byte = T::from_f64(round(value.to_f64() * 255.0));
            }
            let nats = family.nats(rows, &bytes);
            for (sum, &nats) in sums.iter_mut().zip(&nats).take(values.len()) {
                *sum += nats;
            }
            slopes(rows, &places, values.len());
            at += values.len();
        }
        total += sums.iter().map(|sum| sum.to_f64()).sum::<f64>();
    }
    total
}

/// The index in an image's output of the first number of each of `count` values from `first` on. Lanes
/// without a value get the index of the last value.
#[inline(always)]
fn places(first: usize, count: usize, channels: usize, numbers: usize) -> [usize; LANES] {
    std::array::from_fn(|lane| {
        let value = first + lane.min(count - 1);
        value / channels * (numbers * channels) + value % channels
    })
}

#[inline(always)]
fn gather<T: Element>(output: &[T], places: &[usize; LANES], channels: usize, rows: &mut Rows<T>) {
    for (k, row) in rows.iter_mut().enumerate() {
        for (number, &place) in row.iter_mut().zip(places) {
            *number = output[place + k * channels];
        }
    }
}

/// The nearest integer, for numbers below 2⁵¹: near 1.5·2⁵² the spacing of `f64` is 1.
#[inline(always)]
fn round(x: f64) -> f64 {
    const ROUNDING: f64 = 6_755_399_441_055_744.0;
    (x + ROUNDING) - ROUNDING
}

/// `number` limited to `bounds`; NaN stays NaN.
#[inline(always)]
pub(super) fn clamped<T: Element>(number: T, (low, high): (T, T)) -> T {
    let number = if number < low { low } else { number };
    if number > high { high } else { number }
}

/// The derivative of [`clamped`]: 0 outside the bounds, else 1.
#[inline(always)]
pub(super) fn clamped_slope<T: Element>(number: T, (low, high): (T, T), slope: T) -> T {
    let slope = if number < low { T::ZERO } else { slope };
    if number > high { T::ZERO } else { slope }
}

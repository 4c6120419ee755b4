//! The inputs of the context network: a row for each pixel, and a few more for each of its values.
//!
//! ```text
//! above      the R rows above, from R columns to the left to R to the right, all channels
//! left       the R pixels to the left, all channels
//! local      with differences: the C predictions p / 255, and ln s
//! features   the decoder's F numbers for this pixel
//!
//! here       this pixel's channels before this one, C − 1 numbers                          zeros from this one on
//! which      1 for this channel and 0 for the others, C numbers
//! ```
//!
//! **Values** are the pixels as they are, and 0 outside of the image. They suit drawings and digits, where a
//! pixel is black or white.
//!
//! **Differences** suit photographs, in which a pixel is close to its neighbours: within one grey level in a
//! sky, within fifty in a meadow. The prediction p of each channel is the median of W, N and W + N − NW, with
//! the bytes W to the left, N above and NW above to the left (the median edge predictor of LOCO-I;
//! Weinberger, Seroussi & Sapiro 2000, "The LOCO-I lossless image compression algorithm"). The scale s is the
//! local contrast,
//!
//! ```text
//! s = ½ + mean |x − p|        over W, NW, N, NE, WW, NN inside the image, and all channels
//! ```
//!
//! A byte x becomes the input 8·d/(8·s + |d|) with d = x − p, which is close to d/s if that is small, and
//! never beyond ±8; a pixel outside the image is 0. The network's output has the same scale: its mean μ of
//! value c stands for p_c + (x_{c−1} − p_{c−1}) + s·μ (the part in brackets only after the first channel,
//! because the channels have similar errors), and its log-scale is added to ln s. So what the network learns
//! in a meadow also holds in a sky.
//!
//! Predictions and scales depend only on data and need no gradient. They consist of whole numbers, sums and
//! one quotient, so both implementations of the network compute the same bits.

use crate::model::config::ContextInputs;
use crate::tensor::{Element, ImageShape};

/// F, the numbers that the decoder gives for each pixel.
pub const FEATURES: usize = 16;

/// The bound of a softened difference.
const BOUND: f64 = 8.0;

/// The pixels from which the scale is computed: rows up, columns to the right.
const NEAR: [(usize, isize); 6] = [(0, -1), (1, -1), (1, 0), (1, 1), (0, -2), (2, 0)];

/// Makes the rows of images of one shape.
#[derive(Clone, Copy, Debug)]
pub(super) struct Inputs {
    pub(super) kind: ContextInputs,
    pub(super) image: ImageShape,
}

impl Inputs {
    /// R, the pixels in the window above, to the left, and to the right above.
    pub(super) fn radius(&self) -> usize {
        match self.kind {
            ContextInputs::Values => 5,
            ContextInputs::Differences => 3,
        }
    }

    /// The numbers of the window: R rows of 2R + 1 pixels, and R pixels.
    fn window_len(&self) -> usize {
        let radius = self.radius();
        (radius * (2 * radius + 1) + radius) * self.image.channels
    }

    /// The inputs of a pixel.
    pub(super) fn row_len(&self) -> usize {
        let local = match self.kind {
            ContextInputs::Values => 0,
            ContextInputs::Differences => self.image.channels + 1,
        };
        self.window_len() + local + FEATURES
    }

    /// The inputs of a value besides its pixel's; none in a grey image.
    pub(super) fn here_len(&self) -> usize {
        if self.image.channels > 1 { 2 * self.image.channels - 1 } else { 0 }
    }

    /// The numbers that a pixel's differences refer to: predictions, s, ln s.
    pub(super) fn reference_len(&self) -> usize {
        self.image.channels + 2
    }

    /// A value as used in rows: for differences the byte, as a whole number.
    #[inline(always)]
    pub(super) fn seen<T: Element>(&self, value: T) -> T {
        match self.kind {
            ContextInputs::Values => value,
            ContextInputs::Differences => T::from_f64((value.to_f64() * 255.0).round()),
        }
    }

    /// A pixel's row and reference. `seen` is the image, of which the pixels before this one are read;
    /// `features` are the decoder's.
    #[inline(always)]
    pub(super) fn fill_row<T: Element>(
        &self,
        seen: &[T],
        features: &[T],
        pixel: usize,
        row: &mut [T],
        reference: &mut [T],
    ) {
        let (ImageShape { width, channels, .. }, radius) = (self.image, self.radius());
        let (y, x) = (pixel / width, pixel % width);
        if self.kind == ContextInputs::Differences {
            self.predict(seen, y, x, reference);
        }
        let line = (2 * radius + 1) * channels;
        let first = x.saturating_sub(radius);
        let past = (x + radius + 1).min(width);
        let skipped = (radius + first - x) * channels;
        let (above, rest) = row.split_at_mut(radius * line);
        for (up, line) in (1..=radius).rev().zip(above.chunks_exact_mut(line)) {
            line.fill(T::ZERO);
            if up <= y {
                let source = &seen[((y - up) * width + first) * channels..][..(past - first) * channels];
                self.refer(source, reference, &mut line[skipped..][..source.len()]);
            }
        }
        let (left, rest) = rest.split_at_mut(radius * channels);
        left[..skipped].fill(T::ZERO);
        self.refer(&seen[(y * width + first) * channels..pixel * channels], reference, &mut left[skipped..]);
        let (local, own) = rest.split_at_mut(rest.len() - FEATURES);
        if let [predictions @ .., ln_scale] = local {
            for (input, &prediction) in predictions.iter_mut().zip(&*reference) {
                *input = prediction * T::from_f64(1.0 / 255.0);
            }
            *ln_scale = reference[channels + 1];
        }
        own.copy_from_slice(&features[pixel * FEATURES..][..FEATURES]);
    }

    /// The inputs of a value besides its pixel's.
    #[inline(always)]
    pub(super) fn fill_here<T: Element>(&self, seen: &[T], at: usize, reference: &[T], here: &mut [T]) {
        let channels = self.image.channels;
        let channel = at % channels;
        here.fill(T::ZERO);
        self.refer(&seen[at - channel..at], reference, &mut here[..channel]);
        here[channels - 1 + channel] = T::ONE;
    }

    /// Whole pixels, or the first channels of one, as inputs.
    #[inline(always)]
    fn refer<T: Element>(&self, source: &[T], reference: &[T], target: &mut [T]) {
        if self.kind == ContextInputs::Values {
            return target.copy_from_slice(source);
        }
        let channels = self.image.channels;
        let bound = T::from_f64(BOUND);
        let far = bound * reference[channels];
        for (target, source) in target.chunks_mut(channels).zip(source.chunks(channels)) {
            for ((input, &value), &prediction) in target.iter_mut().zip(source).zip(reference) {
                let difference = value - prediction;
                *input = bound * difference / (far + difference.abs());
            }
        }
    }

    /// A pixel's reference: the prediction of each channel, s and ln s.
    #[inline(always)]
    fn predict<T: Element>(&self, seen: &[T], y: usize, x: usize, reference: &mut [T]) {
        let ImageShape { width, channels, .. } = self.image;
        let pixel = |up: usize, right: isize| {
            let column = x.checked_add_signed(right).filter(|&column| column < width)?;
            let row = y.checked_sub(up)?;
            Some(&seen[(row * width + column) * channels..][..channels])
        };
        let (left, above, corner) = (pixel(0, -1), pixel(1, 0), pixel(1, -1));
        for (channel, prediction) in reference[..channels].iter_mut().enumerate() {
            *prediction = match (left, above, corner) {
                (Some(left), Some(above), Some(corner)) => {
                    let (w, n) = (left[channel], above[channel]);
                    (w + n - corner[channel]).max(w.min(n)).min(w.max(n))
                }
                (Some(pixel), None, _) | (None, Some(pixel), _) => pixel[channel],
                _ => T::from_f64(128.0),
            };
        }
        let (mut sum, mut count) = (T::ZERO, 0);
        for near in NEAR.iter().filter_map(|&(up, right)| pixel(up, right)) {
            near.iter().zip(&*reference).for_each(|(&value, &prediction)| sum += (value - prediction).abs());
            count += channels;
        }
        // The first pixel has no neighbours.
        let mean = if count == 0 { T::from_f64(64.0) } else { sum / T::from_f64(count as f64) };
        let scale = mean + T::from_f64(0.5);
        reference[channels] = scale;
        reference[channels + 1] = T::from_f64(libm::log(scale.to_f64()));
    }

    /// The offsets of the network's means and log-scales for a value: the mean in [−1, 1], the factor of the
    /// network's mean, and the log-scale.
    #[inline(always)]
    pub(super) fn place<T: Element>(&self, seen: &[T], at: usize, reference: &[T]) -> (T, T, T) {
        let channels = self.image.channels;
        let channel = at % channels;
        let mut mean = reference[channel];
        if channel > 0 {
            let error = seen[at - 1] - reference[channel - 1];
            mean = (mean + error).max(T::ZERO).min(T::from_f64(255.0));
        }
        let log_scale = reference[channels + 1] + T::from_f64(LN_LEVEL);
        (mean * T::from_f64(LEVEL) - T::ONE, self.scale(reference), log_scale)
    }

    /// The factor of the network's means.
    #[inline(always)]
    pub(super) fn scale<T: Element>(&self, reference: &[T]) -> T {
        reference[self.image.channels] * T::from_f64(LEVEL)
    }
}

/// The distance of two levels in [−1, 1], and its logarithm.
const LEVEL: f64 = 2.0 / 255.0;
const LN_LEVEL: f64 = -4.848_116_364_598_481;

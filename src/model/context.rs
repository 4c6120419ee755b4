//! Pixels that are coded given the pixels before them, as in PixelVAE (Gulrajani et al. 2017, "PixelVAE: a latent variable model for natural
//! images"): p(x|z) = Π p(xᵢ | x₁ … xᵢ₋₁, z), rows from the top, pixels from the left, the channels of a pixel in order.
//!
//! The decoder gives F features for each pixel, and the context network the likelihood's m numbers for each value, from a row of inputs:
//!
//! ```text
//! above      the R rows above, from R columns to the left to R to the right, all channels      zeros beyond the image
//! left       the R pixels to the left, all channels                                            zeros beyond the image
//! here       this pixel's channels before this one, C − 1 numbers                              zeros from this one on
//! which      1 for this channel and 0 for the others, C numbers                                only if C > 1
//! features   the decoder's F numbers for this pixel
//!
//! h₁ = relu(A₁·row + b₁)      h₂ = relu(A₂·h₁ + b₂)      numbers = A₃·h₂ + b₃
//! ```
//!
//! This is a convolution over the upper and left places of a window of (2R + 1)×(2R + 1), and two convolutions 1×1. Every value depends on a
//! window of finished values and on nothing else that would have to be kept, so a reader computes a value at a time for what the network costs
//! at that value.
//!
//! Training has the image, makes all rows, and takes the layers' products. What a coder needs is the same bits for sender and reader, and both
//! compute it value by value with [`Exact`]: each sum in the order that is written there, a multiplication and an addition rounded one by one,
//! and no function but max(0, x). IEEE 754 then leaves no choice to the processor, and neither batch nor threads enter.

use crate::error::Result;
use crate::kernels::geometry::Geometry;
use crate::layers::{Activation, Conv2d, Describe, Layer, Sequence, Slot};
use crate::tensor::{Element, ImageShape};
use rayon::prelude::*;

/// R, the pixels that are seen above, to the left, and above to the right.
pub const RADIUS: usize = 5;

/// F, the numbers that the decoder gives for each pixel.
pub const FEATURES: usize = 16;

/// The network that gives the likelihood's numbers of each value from the values before it and the decoder's features.
#[derive(Debug)]
pub struct Context<T> {
    /// Three convolutions 1×1 over the H×W·C rows of an image.
    pub network: Sequence<T>,
    image: ImageShape,
    numbers: usize,
    hidden: usize,
}

/// The numbers in one row of inputs, for an image of `channels`.
fn row_len(channels: usize) -> usize {
    let which = if channels > 1 { channels } else { 0 };
    window_len(channels) + (channels - 1) + which + FEATURES
}

/// The numbers of the window: R rows of 2R + 1 pixels, and R pixels.
fn window_len(channels: usize) -> usize {
    (RADIUS * (2 * RADIUS + 1) + RADIUS) * channels
}

impl<T: Element> Context<T> {
    /// A network with `hidden` numbers in its two hidden layers and `numbers` in its output.
    ///
    /// # Errors
    /// If the image is too large for a layer.
    pub fn new(image: ImageShape, hidden: usize, numbers: usize) -> Result<Self> {
        let layer = |channels, filters, activation| -> Result<Box<dyn Layer<T>>> {
            let geometry =
                Geometry::new((image.height, image.width * image.channels, channels), (1, 1), 1, 0)?;
            Ok(Box::new(Conv2d { geometry, filters, activation }))
        };
        let network = Sequence::new(vec![
            ("context.conv1".into(), layer(row_len(image.channels), hidden, Activation::Relu)?),
            ("context.conv2".into(), layer(hidden, hidden, Activation::Relu)?),
            ("context.conv3".into(), layer(hidden, numbers, Activation::Identity)?),
        ]);
        Ok(Self { network, image, numbers, hidden })
    }

    /// The numbers of all rows of an image.
    pub fn rows_len(&self) -> usize {
        self.network.input().len()
    }

    /// The decoder's numbers for an image.
    pub fn features_len(&self) -> usize {
        self.image.height * self.image.width * FEATURES
    }

    /// The inputs of value `at`, the position in the image's H·W·C numbers. `features` are the image's.
    fn fill_row(&self, image: &[T], features: &[T], at: usize, row: &mut [T]) {
        let ImageShape { width, channels, .. } = self.image;
        let (pixel, channel) = (at / channels, at % channels);
        let (y, x) = (pixel / width, pixel % width);
        let line = (2 * RADIUS + 1) * channels;
        let first = x.saturating_sub(RADIUS);
        let past = (x + RADIUS + 1).min(width);
        let skipped = (RADIUS + first - x) * channels;
        let (above, rest) = row.split_at_mut(RADIUS * line);
        for (up, line) in (1..=RADIUS).rev().zip(above.chunks_exact_mut(line)) {
            line.fill(T::ZERO);
            if up <= y {
                let source = &image[((y - up) * width + first) * channels..][..(past - first) * channels];
                line[skipped..][..source.len()].copy_from_slice(source);
            }
        }
        let (left, rest) = rest.split_at_mut(RADIUS * channels);
        left[..skipped].fill(T::ZERO);
        left[skipped..].copy_from_slice(&image[(y * width + first) * channels..pixel * channels]);
        let (here, rest) = rest.split_at_mut(channels - 1);
        here.fill(T::ZERO);
        here[..channel].copy_from_slice(&image[pixel * channels..at]);
        let (which, own) = rest.split_at_mut(rest.len() - FEATURES);
        which.fill(T::ZERO);
        if let Some(which) = which.get_mut(channel) {
            *which = T::ONE;
        }
        own.copy_from_slice(&features[pixel * FEATURES..][..FEATURES]);
    }

    /// The rows of a batch: `images` B × H·W·C, `features` B × H·W × F, `rows` B × H·W·C × row.
    pub fn fill_rows(&self, images: &[T], features: &[T], rows: &mut [T]) {
        let (values, len) = (self.image.len(), row_len(self.image.channels));
        let images = images.par_chunks_exact(values).zip(features.par_chunks_exact(self.features_len()));
        rows.par_chunks_exact_mut(values * len).zip(images).for_each(|(rows, (image, features))| {
            for (at, row) in rows.chunks_exact_mut(len).enumerate() {
                self.fill_row(image, features, at, row);
            }
        });
    }

    /// The gradient of the features: that of a pixel is the sum over its channels' rows. What reaches the image's own values goes nowhere,
    /// since they are data.
    pub fn features_gradient(&self, d_rows: &[T], d_features: &mut [T]) {
        let len = row_len(self.image.channels);
        let pixels = d_features.par_chunks_exact_mut(FEATURES).with_min_len(256);
        pixels.zip(d_rows.par_chunks_exact(self.image.channels * len)).for_each(|(d, rows)| {
            d.fill(T::ZERO);
            for row in rows.chunks_exact(len) {
                d.iter_mut().zip(&row[len - FEATURES..]).for_each(|(d, &more)| *d += more);
            }
        });
    }

    /// From the network's order, values × m, to the likelihood's, pixels × m × C.
    pub fn to_output(&self, numbers: &[T], output: &mut [T]) {
        let (m, channels) = (self.numbers, self.image.channels);
        let pixels = output.par_chunks_exact_mut(m * channels).with_min_len(256);
        pixels.zip(numbers.par_chunks_exact(m * channels)).for_each(|(output, numbers)| {
            for (place, number) in output.iter_mut().enumerate() {
                *number = numbers[place % channels * m + place / channels];
            }
        });
    }

    /// The transpose of [`to_output`](Self::to_output), for gradients.
    pub fn from_output(&self, output: &[T], numbers: &mut [T]) {
        let (m, channels) = (self.numbers, self.image.channels);
        let pixels = numbers.par_chunks_exact_mut(m * channels).with_min_len(256);
        pixels.zip(output.par_chunks_exact(m * channels)).for_each(|(numbers, output)| {
            for (place, &number) in output.iter().enumerate() {
                numbers[place % channels * m + place / channels] = number;
            }
        });
    }

    /// The network for one value after the other. `parameters` are the model's and `slots` the network's.
    pub fn exact(&self, parameters: &[T], slots: &[Slot]) -> Exact<'_, T> {
        let sizes = [
            (row_len(self.image.channels), self.hidden),
            (self.hidden, self.hidden),
            (self.hidden, self.numbers),
        ];
        let layers = std::array::from_fn(|k| {
            let (inputs, outputs) = sizes[k];
            let weight = &parameters[slots[2 * k].range.clone()];
            let transposed = (0..inputs * outputs).map(|i| weight[i % outputs * inputs + i / outputs]);
            (transposed.collect(), parameters[slots[2 * k + 1].range.clone()].to_vec())
        });
        Exact { context: self, layers }
    }
}

/// The context network, value by value, with the same bits everywhere.
#[derive(Debug)]
pub struct Exact<'a, T> {
    context: &'a Context<T>,
    /// Weight `[inputs][outputs]` and bias of each layer.
    layers: [(Vec<T>, Vec<T>); 3],
}

impl<T: Element> Exact<'_, T> {
    /// Visits an image's values in order: `value` gets the position and the m numbers of each, and returns the value, which the next ones see.
    /// What lies in `image` before does not matter.
    pub fn visit(&self, features: &[T], image: &mut [T], mut value: impl FnMut(usize, &[T]) -> T) {
        let c = self.context;
        let mut row = vec![T::ZERO; row_len(c.image.channels)];
        let (mut h1, mut h2) = (vec![T::ZERO; c.hidden], vec![T::ZERO; c.hidden]);
        let mut numbers = vec![T::ZERO; c.numbers];
        for at in 0..c.image.len() {
            c.fill_row(image, features, at, &mut row);
            apply(&self.layers[0], &row, &mut h1);
            rectify(&mut h1);
            apply(&self.layers[1], &h1, &mut h2);
            rectify(&mut h2);
            apply(&self.layers[2], &h2, &mut numbers);
            image[at] = value(at, &numbers);
        }
    }
}

/// y = W·x + b: each sum starts with the bias and takes the inputs in order.
fn apply<T: Element>((weight, bias): &(Vec<T>, Vec<T>), x: &[T], y: &mut [T]) {
    y.copy_from_slice(bias);
    for (&x, weights) in x.iter().zip(weight.chunks_exact(bias.len())) {
        y.iter_mut().zip(weights).for_each(|(y, &w)| *y += w * x);
    }
}

fn rectify<T: Element>(numbers: &mut [T]) {
    for number in numbers {
        if !(*number > T::ZERO) {
            *number = T::ZERO;
        }
    }
}

#[cfg(test)]
#[path = "context_tests.rs"]
mod tests;

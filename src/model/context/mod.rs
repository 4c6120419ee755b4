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
//! There are two ways to compute it. Training has the whole image: [`pass`] makes all rows and takes the layers' products, forward and backward.
//! A coder needs the same bits for sender and reader: both compute value by value, with [`exact`].

pub mod exact;
pub mod pass;

pub use exact::Exact;
pub use pass::ContextSpace;

use std::collections::BTreeMap;

use crate::error::Result;
use crate::kernels::geometry::Geometry;
use crate::layers::{Activation, Conv2d, Describe, Layer, Sequence, Slot};
use crate::model::parameters::Table;
use crate::tensor::{Element, ImageShape};

/// R, the pixels that are seen above, to the left, and above to the right.
pub const RADIUS: usize = 5;

/// F, the numbers that the decoder gives for each pixel.
pub const FEATURES: usize = 16;

/// The network that gives the likelihood's numbers of each value from the values before it and the decoder's features.
#[derive(Debug)]
pub struct Context<T> {
    /// Three convolutions 1×1 over the H×W·C rows of an image.
    pub network: Sequence<T>,
    /// Where their parameters lie.
    pub slots: Vec<Slot>,
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
    /// A network with `hidden` numbers in its two hidden layers and `numbers` in its output, whose parameters get places in `table`.
    ///
    /// # Errors
    /// If the image is too large for a layer.
    pub fn new(image: ImageShape, hidden: usize, numbers: usize, table: &mut Table) -> Result<Self> {
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
        let slots = table.add(network.parameters(), &BTreeMap::new());
        Ok(Self { network, slots, image, numbers, hidden })
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
}

#[cfg(test)]
mod tests;

//! Pixels that are coded given the pixels before them, as in PixelVAE (Gulrajani et al. 2017, "PixelVAE: a
//! latent variable model for natural images"): p(x|z) = Π p(xᵢ | x₁ … xᵢ₋₁, z), rows from the top, pixels
//! from the left, the channels of a pixel in order.
//!
//! The decoder gives F features for each pixel, and the context network the likelihood's m numbers for each
//! value. It has a part that is computed once for each pixel and one for each of its values; `inputs` defines
//! their inputs, the row of a pixel and the `here` of a value:
//!
//! ```text
//! pixel    h₁ = relu(A₁·row + b₁)       v = A₂·h₁ + b₂
//! value    h₂ = relu(v + B·here + b)    numbers = A₃·h₂ + b₃            in a grey image h₂ = relu(v)
//! ```
//!
//! This is a convolution over the upper and left part of a window of (2R + 1)×(2R + 1), followed by
//! convolutions 1×1. Every value depends only on a window of earlier values, so a decoder computes one value
//! at a time, at the cost of the network at that value.
//!
//! There are two implementations. In training the whole image is known: [`pass`] computes all rows at once
//! with the layers' products, forward and backward. Compression needs the same bits for writing and reading:
//! both compute value by value, with [`exact`].

pub mod exact;
mod inputs;
pub mod pass;

pub use exact::Exact;
pub use inputs::FEATURES;
pub use pass::ContextSpace;

use std::collections::BTreeMap;
use std::ops::Range;

use crate::error::Result;
use crate::kernels::geometry::Geometry;
use crate::layers::{Activation, Conv2d, Describe, Layer, Sequence, Slot, WorkLen};
use crate::model::config::{ContextInputs, ModelConfig};
use crate::model::parameters::Table;
use crate::tensor::{Element, ImageShape};
use inputs::Inputs;

/// The network that computes the likelihood's numbers of each value from the values before it and the
/// decoder's features.
#[derive(Debug)]
pub struct Context<T> {
    /// A₁ and A₂, over the rows of an image's pixels.
    pixel: Part<T>,
    /// B, over its values; none in a grey image.
    here: Option<Part<T>>,
    /// A₃.
    value: Part<T>,
    inputs: Inputs,
    image: ImageShape,
    numbers: usize,
    hidden: usize,
    /// Which numbers are means and log-scales, if these are added to a prediction.
    placed: Option<[Range<usize>; 2]>,
}

/// Convolutions 1×1 and the positions of their parameters.
#[derive(Debug)]
struct Part<T> {
    network: Sequence<T>,
    slots: Vec<Slot>,
}

impl<T: Element> Context<T> {
    /// The network of a model with `hidden` numbers in its hidden layers, whose parameters are added to
    /// `table`.
    ///
    /// # Errors
    /// If the image is too large for a layer.
    pub fn new(config: &ModelConfig, hidden: usize, table: &mut Table) -> Result<Self> {
        let image = config.image();
        let inputs = Inputs { kind: config.context_inputs, image };
        let numbers = config.likelihood.numbers();
        // A layer over pixels (1) or over values (C).
        let layer =
            |name: &str, values, channels, filters, activation| -> Result<(String, Box<dyn Layer<T>>)> {
                let geometry = Geometry::new((image.height, image.width * values, channels), (1, 1), 1, 0)?;
                Ok((format!("context.{name}"), Box::new(Conv2d { geometry, filters, activation })))
            };
        let mut part = |layers| {
            let network = Sequence::new(layers);
            let slots = table.add(network.parameters(), &BTreeMap::new());
            Part { network, slots }
        };
        let (each, plain) = (image.channels, Activation::Identity);
        let pixel = part(vec![
            layer("conv1", 1, inputs.row_len(), hidden, Activation::Relu)?,
            layer("conv2", 1, hidden, hidden, plain)?,
        ]);
        let value = part(vec![layer("conv3", each, hidden, numbers, plain)?]);
        let here = match inputs.here_len() {
            0 => None,
            len => Some(part(vec![layer("here", each, len, hidden, plain)?])),
        };
        let placed = match inputs.kind {
            ContextInputs::Values => None,
            ContextInputs::Differences => config.likelihood.means_and_log_scales(),
        };
        Ok(Self { pixel, here, value, inputs, image, numbers, hidden, placed })
    }

    /// Its layers and their slots.
    pub fn parts(&self) -> impl Iterator<Item = (&Sequence<T>, &[Slot])> {
        let parts = [Some(&self.pixel), self.here.as_ref(), Some(&self.value)];
        parts.into_iter().flatten().map(|part| (&part.network, &part.slots[..]))
    }

    /// The decoder's numbers for an image.
    pub fn features_len(&self) -> usize {
        self.image.height * self.image.width * FEATURES
    }

    /// The operations of a forward pass over an image.
    pub fn flops(&self) -> usize {
        self.parts().map(|(network, _)| network.flops()).sum()
    }

    /// The numbers that a backward pass needs between layers.
    pub fn spare_len(&self, batch: usize) -> usize {
        self.parts().map(|(network, _)| network.spare_len(batch)).max().unwrap_or(0)
    }

    /// The working memory that the largest layer needs.
    pub fn work_len(&self) -> WorkLen {
        self.parts().map(|(network, _)| network.work_len()).fold(WorkLen::default(), WorkLen::max)
    }

    /// Adds a value's means and log-scales to its pixel's reference.
    fn place(&self, seen: &[T], at: usize, reference: &[T], numbers: &mut [T]) {
        let Some([means, log_scales]) = &self.placed else { return };
        let (mean, scale, log_scale) = self.inputs.place(seen, at, reference);
        numbers[means.clone()].iter_mut().for_each(|number| *number = mean + scale * *number);
        numbers[log_scales.clone()].iter_mut().for_each(|number| *number += log_scale);
    }
}

#[cfg(test)]
mod tests;

//! A chain of layers: each one's output is the next one's input.
//!
//! Forward keeps every output, because backward needs it. Backward walks the chain from its end: a layer turns the gradient of its
//! output into those of its parameters and of its input, which is the gradient of the output before. Two buffers take turns at
//! holding it.

use std::ops::Range;

use crate::layers::{Activation, Conv2d, ConvTranspose2d, Gradients, Linear, MaxPool2d, Work, WorkLen};
use crate::tensor::Element;

/// Any of the layers. A new one needs its file in [`layers`](crate::layers), a line here and one in each `match` below.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layer {
    /// Fully connected.
    Linear(Linear),
    /// Convolution.
    Conv2d(Conv2d),
    /// Transposed convolution.
    ConvTranspose2d(ConvTranspose2d),
    /// Max pooling.
    MaxPool2d(MaxPool2d),
}

impl Layer {
    /// Numbers per image that come in.
    pub fn input_len(&self) -> usize {
        match self {
            Self::Linear(l) => l.inputs,
            Self::Conv2d(l) => l.geometry.large_len(),
            Self::ConvTranspose2d(l) => l.geometry.places() * l.small_channels,
            Self::MaxPool2d(l) => l.height * l.width * l.channels,
        }
    }

    /// Numbers per image that go out.
    pub fn output_len(&self) -> usize {
        match self {
            Self::Linear(l) => l.outputs,
            Self::Conv2d(l) => l.geometry.places() * l.filters,
            Self::ConvTranspose2d(l) => l.geometry.large_len(),
            Self::MaxPool2d(l) => l.output_size().0 * l.output_size().1 * l.channels,
        }
    }

    /// The working memory that it needs.
    pub fn work_len(&self) -> WorkLen {
        match self {
            Self::Linear(_) | Self::MaxPool2d(_) => WorkLen::default(),
            Self::Conv2d(l) => l.work_len(),
            Self::ConvTranspose2d(l) => l.work_len(),
        }
    }

    /// Multiplications and additions of one forward pass on one image, counting each as an operation. A backward pass takes twice
    /// as many, or as many where no input gradient is needed.
    pub fn flops(&self) -> usize {
        match self {
            Self::Linear(l) => 2 * l.inputs * l.outputs,
            Self::Conv2d(l) => 2 * l.geometry.places() * l.geometry.patch_len() * l.filters,
            Self::ConvTranspose2d(l) => 2 * l.geometry.places() * l.geometry.patch_len() * l.small_channels,
            Self::MaxPool2d(_) => 0,
        }
    }
}

/// A layer with its activation, and where its parameters lie in the flat vector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stage {
    /// Its name in the model file: `encoder.conv1`.
    pub name: String,
    /// The layer.
    pub layer: Layer,
    /// What is applied to its output.
    pub activation: Activation,
    /// The weight; empty for a layer without.
    pub weight: Range<usize>,
    /// The bias; empty for a layer without.
    pub bias: Range<usize>,
    /// Whether a stage that comes earlier in the backward pass has written the weight's gradient already.
    pub accumulate: bool,
}

/// The outputs of every stage of a chain, for up to `images` images.
pub(super) fn outputs<T: Element>(stages: &[Stage], images: usize) -> Vec<Vec<T>> {
    stages.iter().map(|stage| vec![T::ZERO; images * stage.layer.output_len()]).collect()
}

/// Runs the chain on a batch. `outputs` has a buffer for each stage.
pub(super) fn forward<T: Element>(
    stages: &[Stage],
    parameters: &[T],
    batch: usize,
    input: &[T],
    outputs: &mut [Vec<T>],
    work: &mut Work<T>,
) {
    for (at, stage) in stages.iter().enumerate() {
        let (before, rest) = outputs.split_at_mut(at);
        let x = before.last().map_or(input, |output| &output[..batch * stage.layer.input_len()]);
        let y = &mut rest[0][..batch * stage.layer.output_len()];
        let (w, b) = (&parameters[stage.weight.clone()], &parameters[stage.bias.clone()]);
        match &stage.layer {
            Layer::Linear(layer) => layer.forward(x, w, b, stage.activation, y),
            Layer::Conv2d(layer) => layer.forward(x, w, b, stage.activation, y, work),
            Layer::ConvTranspose2d(layer) => layer.forward(x, w, b, stage.activation, y, work),
            Layer::MaxPool2d(layer) => layer.forward(x, y),
        }
    }
}

/// The gradients of a chain. On entry the front of `d` holds the gradient of the last output; on return that of `input`, unless
/// the input is the images, whose gradient nobody needs (`needs_input_gradient` false). `spare` is as large as `d`.
pub(super) fn backward<T: Element>(
    stages: &[Stage],
    parameters: &[T],
    batch: usize,
    input: &[T],
    outputs: &[Vec<T>],
    gradient: &mut [T],
    d: &mut Vec<T>,
    spare: &mut Vec<T>,
    needs_input_gradient: bool,
    work: &mut Work<T>,
) {
    for (at, stage) in stages.iter().enumerate().rev() {
        let (input_len, output_len) = (batch * stage.layer.input_len(), batch * stage.layer.output_len());
        let x = if at == 0 { input } else { &outputs[at - 1][..input_len] };
        let (y, dy, dx) = (&outputs[at][..output_len], &mut d[..output_len], &mut spare[..input_len]);
        let w = &parameters[stage.weight.clone()];
        let mut gradients = stage.gradients(gradient);
        let wanted = at > 0 || needs_input_gradient;
        match &stage.layer {
            Layer::Linear(layer) => {
                layer.backward(x, y, w, stage.activation, dy, &mut gradients, wanted.then_some(dx));
            }
            Layer::Conv2d(layer) => {
                layer.backward(x, y, w, stage.activation, dy, &mut gradients, wanted.then_some(dx), work);
            }
            Layer::ConvTranspose2d(layer) => {
                layer.backward(x, y, w, stage.activation, dy, &mut gradients, dx, work);
            }
            Layer::MaxPool2d(layer) => layer.backward(x, y, dy, dx),
        }
        std::mem::swap(d, spare);
    }
}

impl Stage {
    /// This stage's part of the flat gradient.
    pub(super) fn gradients<'a, T>(&self, gradient: &'a mut [T]) -> Gradients<'a, T> {
        gradients_at(gradient, &self.weight, &self.bias, self.accumulate)
    }
}

/// Two disjoint ranges of the flat gradient.
pub(super) fn gradients_at<'a, T>(
    gradient: &'a mut [T],
    weight: &Range<usize>,
    bias: &Range<usize>,
    accumulate: bool,
) -> Gradients<'a, T> {
    let [weight, bias] = gradient
        .get_disjoint_mut([weight.clone(), bias.clone()])
        .expect("a weight and a bias are different parameters");
    Gradients { weight, bias, accumulate }
}

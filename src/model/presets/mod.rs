//! The networks, one file each.
//!
//! ```text
//! conv      4×4 s2 convolutions C→widths · linear →hidden │ μ, ln σ² │ linear Z→hidden→ · 4×4 s2 transposed convolutions →C
//! mlp       linear H·W·C→hidden                           │ μ, ln σ² │ linear Z→hidden→H·W·C
//! article   (3×3 convolution, max pool 2)² C→64→128 ·     │ μ, ln σ² │ back by μ's weights Z→512 · transposed convolutions
//!           linear →1024→512                              │          │ from 1×1: H/4×W/4 512→128, 4×4 s2 →64, 4×4 s2 →C
//! residual  4×4 s2 convolutions with residual blocks      │ μ, ln σ² │ linear · residual blocks with nearest-neighbour upsampling
//! ```
//!
//! A preset says what its default sizes are, which configurations it refuses, and what its [`Plan`] is: the layers, and which weights are tied.
//! The plan becomes an [`Architecture`](super::Architecture). The decoder's last layer gives the numbers that the likelihood asks for, with the
//! activation that it asks for: none for raw numbers, else tanh in `article` and sigmoid in the others.

mod article;
mod conv;
mod mlp;

use super::config::{ModelConfig, Preset};
use crate::error::{Error, Result};
use crate::layers::{Activation, Concat, Layer, Linear, Sequence};
use crate::loss::Likelihood;
use crate::tensor::{Element, ImageShape};

/// A network before its parameters have places.
#[derive(Debug)]
pub struct Plan<T> {
    /// From images to features. Its layers have their full names: `encoder.conv1`.
    pub encoder: Sequence<T>,
    /// From features to μ, and the same again to ln σ².
    pub head: Linear,
    /// From codes to the likelihood's numbers.
    pub decoder: Sequence<T>,
    /// Parameters that are others: the decoder's name, and that of the encoder's or the head's.
    pub ties: Vec<(String, String)>,
}

/// What a preset is apart from its layers.
pub(super) struct Rules {
    /// Z if none is asked for.
    pub latent: usize,
    /// The channels of the convolutions for images of a shape, if none are asked for.
    pub widths: fn(ImageShape) -> Vec<usize>,
    /// The widths of the hidden linear layers if none are asked for.
    pub hidden: &'static [usize],
    /// The likelihood if none is asked for.
    pub likelihood: Likelihood,
    /// Refuses what the preset cannot be.
    pub check: fn(&ModelConfig) -> Result<()>,
}

impl Preset {
    pub(super) fn rules(self) -> Rules {
        match self {
            Self::Conv => conv::RULES,
            Self::Article => article::RULES,
            Self::Mlp => mlp::RULES,
        }
    }

    pub(super) fn plan<T: Element>(self, config: &ModelConfig) -> Result<Plan<T>> {
        match self {
            Self::Conv => conv::plan(config),
            Self::Article => article::plan(config),
            Self::Mlp => mlp::plan(config),
        }
    }
}

/// Layers with their names, as they are added.
struct Chain<T> {
    half: &'static str,
    layers: Vec<(String, Box<dyn Layer<T>>)>,
}

impl<T: Element> Chain<T> {
    fn new(half: &'static str) -> Self {
        Self { half, layers: Vec::new() }
    }

    /// Adds a layer of this half.
    fn push(&mut self, name: &str, layer: impl Layer<T> + 'static) {
        self.layers.push((format!("{}.{name}", self.half), Box::new(layer)));
    }

    /// Appends the label's numbers to what is taken as a row of numbers, if the model has labels. Returns how many these are.
    fn push_label(&mut self, config: &ModelConfig, input: ImageShape) -> usize {
        if config.classes() > 0 {
            self.push("label", Concat::row(input, config.classes()));
        }
        config.classes()
    }

    fn done(self) -> Sequence<T> {
        Sequence::new(self.layers)
    }
}

impl ModelConfig {
    /// The shape of the decoder's output: m numbers for each of the image's.
    fn output(&self) -> ImageShape {
        let image = self.image();
        ImageShape { channels: image.channels * self.likelihood.numbers(), ..image }
    }

    /// The activation of the decoder's last layer, if a mean is made by `squash`.
    fn last_activation(&self, squash: Activation) -> Activation {
        if self.likelihood.output_is_mean() { squash } else { Activation::Identity }
    }
}

/// The encoder's linear layers, from the image at the bottom, with ReLUs between them. Returns the number of features.
fn push_hidden<T: Element>(encoder: &mut Chain<T>, config: &ModelConfig, bottom: ImageShape) -> usize {
    let mut inputs = bottom.len();
    for (index, &outputs) in config.hidden.iter().enumerate() {
        let layer = if index == 0 {
            let labels = encoder.push_label(config, bottom);
            Linear::from_image_and_vector(bottom, labels, outputs, Activation::Relu)
        } else {
            Linear::new(inputs, outputs, Activation::Relu)
        };
        encoder.push(&format!("linear{}", index + 1), layer);
        inputs = outputs;
    }
    inputs
}

/// The decoder's linear layers: the encoder's mirror, Z → hidden reversed → the image at the bottom. Tied, layer k has the weight of the encoder's
/// linear layer n − k + 1, the first that of μ; `ties` gets their names.
fn push_mirrored_hidden<T: Element>(
    decoder: &mut Chain<T>,
    config: &ModelConfig,
    bottom: ImageShape,
    last: Activation,
    ties: &mut Vec<(String, String)>,
) {
    let count = config.hidden.len();
    let mut inputs = config.latent + decoder.push_label(config, ImageShape::vector(config.latent));
    for (index, hidden) in config.hidden.iter().rev().map(Some).chain([None]).enumerate() {
        let name = format!("linear{}", index + 1);
        let mut layer = match hidden {
            Some(&outputs) => Linear::new(inputs, outputs, Activation::Relu),
            None => Linear::to_image(inputs, bottom, last),
        };
        if config.tie_weights {
            let owner =
                if index == 0 { "shared.mu".into() } else { format!("encoder.linear{}", count + 1 - index) };
            ties.push((format!("decoder.{name}.weight"), format!("{owner}.weight")));
            layer = layer.with_reversed_weight();
        }
        decoder.push(&name, layer);
        inputs = layer.outputs;
    }
}

/// Refuses hidden layers that are missing.
fn check_hidden(config: &ModelConfig) -> Result<()> {
    if config.hidden.is_empty() {
        let preset = config.preset.name();
        return Err(Error::config(format!(
            "{preset} needs at least one hidden linear layer; hidden is empty"
        )));
    }
    Ok(())
}

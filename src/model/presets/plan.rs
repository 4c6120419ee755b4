//! What a preset is made of: its rules, its plan, and the parts that several presets share.

use crate::error::{Error, Result};
use crate::layers::{Activation, Concat, Layer, Linear, Sequence};
use crate::loss::Likelihood;
use crate::model::config::ModelConfig;
use crate::model::context::FEATURES;
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
pub(in crate::model) struct Rules {
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

/// Layers with their names, as they are added.
pub(super) struct Chain<T> {
    half: &'static str,
    pub(super) layers: Vec<(String, Box<dyn Layer<T>>)>,
}

impl<T: Element> Chain<T> {
    pub(super) fn new(half: &'static str) -> Self {
        Self { half, layers: Vec::new() }
    }

    /// Adds a layer of this half.
    pub(super) fn push(&mut self, name: &str, layer: impl Layer<T> + 'static) {
        self.layers.push((format!("{}.{name}", self.half), Box::new(layer)));
    }

    /// Appends the label's numbers to what is taken as a row of numbers, if the model has labels. Returns how many these are.
    pub(super) fn push_label(&mut self, config: &ModelConfig, input: ImageShape) -> usize {
        if config.classes() > 0 {
            self.push("label", Concat::row(input, config.classes()));
        }
        config.classes()
    }

    pub(super) fn done(self) -> Sequence<T> {
        Sequence::new(self.layers)
    }
}

impl ModelConfig {
    /// The shape of the decoder's output: m numbers for each of the image's, or the features of each pixel for the context network.
    pub(super) fn output(&self) -> ImageShape {
        let image = self.image();
        let numbers = image.channels * self.likelihood.numbers();
        ImageShape { channels: if self.context.is_some() { FEATURES } else { numbers }, ..image }
    }

    /// The activation of the decoder's last layer, if a mean is made by `squash`.
    pub(super) fn last_activation(&self, squash: Activation) -> Activation {
        if self.likelihood.output_is_mean() { squash } else { Activation::Identity }
    }
}

/// The encoder's linear layers, from the image at the bottom, with ReLUs between them. Returns the number of features.
pub(super) fn push_hidden<T: Element>(
    encoder: &mut Chain<T>,
    config: &ModelConfig,
    bottom: ImageShape,
) -> usize {
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
pub(super) fn push_mirrored_hidden<T: Element>(
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
pub(super) fn check_hidden(config: &ModelConfig) -> Result<()> {
    if config.hidden.is_empty() {
        let preset = config.preset.name();
        return Err(Error::config(format!(
            "{preset} needs at least one hidden linear layer; hidden is empty"
        )));
    }
    Ok(())
}

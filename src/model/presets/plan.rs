//! The parts of a preset: its rules, its plan, and functions that several presets share.

use crate::error::{Error, Result};
use crate::layers::{Activation, Concat, Layer, Linear, Sequence};
use crate::loss::Likelihood;
use crate::model::config::ModelConfig;
use crate::model::context::FEATURES;
use crate::tensor::{Element, ImageShape};

/// A network whose parameters do not have positions yet.
#[derive(Debug)]
pub struct Plan<T> {
    /// From images to features. Its layers have their full names: `encoder.conv1`.
    pub encoder: Sequence<T>,
    /// From features to μ; a second head of the same sizes leads to ln σ².
    pub head: Linear,
    /// From codes to the likelihood's parameters.
    pub decoder: Sequence<T>,
    /// Tied parameters: the decoder's name, and the name of the encoder's or the head's parameter that it
    /// shares.
    pub ties: Vec<(String, String)>,
}

/// The properties of a preset apart from its layers.
pub(in crate::model) struct Rules {
    /// The default Z.
    pub latent: usize,
    /// The default channels of the convolutions for images of a shape.
    pub widths: fn(ImageShape) -> Vec<usize>,
    /// The default widths of the hidden linear layers.
    pub hidden: &'static [usize],
    /// The default likelihood.
    pub likelihood: Likelihood,
    /// Refuses configurations that the preset does not support.
    pub check: fn(&ModelConfig) -> Result<()>,
}

/// Layers with their names, while the list is built.
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

    /// If the model has labels, appends the label's numbers to the flattened image. Returns their count.
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
    /// The shape of the decoder's output: m numbers for each of the image's, or the features of each pixel
    /// for the context network.
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

/// The encoder's linear layers, starting from the image at the bottom, with ReLUs between them. Returns the
/// number of features.
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

/// The decoder's linear layers: the encoder's mirror, Z → hidden reversed → the image at the bottom. If tied,
/// layer k has the weight of the encoder's linear layer n − k + 1, and the first layer that of μ; their names
/// are added to `ties`.
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

/// Refuses an empty list of hidden layers.
pub(super) fn check_hidden(config: &ModelConfig) -> Result<()> {
    if config.hidden.is_empty() {
        let preset = config.preset.name();
        return Err(Error::config(format!(
            "{preset} needs at least one hidden linear layer; hidden is empty"
        )));
    }
    Ok(())
}

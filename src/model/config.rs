//! The configuration of a model: the preset, the image, the widths, and the meaning of the decoder's output.
//!
//! It is stored in the model's file, so a model needs no other file. The settings of the training (threads,
//! paths, epochs) are not part of it: the same model is the same bytes.

use serde::{Deserialize, Serialize};

use crate::data::Span;
use crate::error::{Error, Result};
use crate::loss::Likelihood;
use crate::model::m2::M2Config;
use crate::tensor::ImageShape;
use crate::text::names::named;

/// The family of networks; [`presets`](super::presets) builds them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Preset {
    /// Strided convolutions down, transposed convolutions up.
    Conv,
    /// The network of the article: convolutions with pooling, and a latent layer whose weights the decoder
    /// shares.
    Article,
    /// Fully connected.
    Mlp,
    /// Convolutions with normalized residual blocks, with a depth that depends on the image.
    Residual,
}

named!(Preset, "preset", Conv => "conv", Article => "article", Mlp => "mlp", Residual => "residual");

impl Preset {
    /// The default of Z.
    pub fn default_latent(self) -> usize {
        self.rules().latent
    }

    /// The default channels of the convolutions for images of this shape.
    pub fn default_widths(self, image: ImageShape) -> Vec<usize> {
        (self.rules().widths)(image)
    }

    /// The default widths of the hidden linear layers.
    pub fn default_hidden(self) -> Vec<usize> {
        self.rules().hidden.to_vec()
    }

    /// The default likelihood: the article's squared error, else Bernoulli.
    pub fn default_likelihood(self) -> Likelihood {
        self.rules().likelihood
    }
}

/// The inputs of the context network from the pixels before a value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ContextInputs {
    /// The pixels as they are.
    #[default]
    Values,
    /// Their differences to a prediction, to which the network's output is added.
    Differences,
}

named!(ContextInputs, "context inputs", Values => "values", Differences => "differences");

/// The complete definition of a network.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct ModelConfig {
    /// The family of networks.
    pub preset: Preset,
    /// H, the images' rows.
    pub height: usize,
    /// W, their columns.
    pub width: usize,
    /// C, their channels.
    pub channels: usize,
    /// Z, the dimensions of a code.
    pub latent: usize,
    /// The channels of the convolutions, first to last (none in `mlp`).
    pub widths: Vec<usize>,
    /// The widths of the hidden linear layers, first to last.
    pub hidden: Vec<usize>,
    /// Whether the decoder's layers use the weights of the encoder's, transposed.
    pub tie_weights: bool,
    /// The distribution of a pixel given the decoder's output.
    pub likelihood: Likelihood,
    /// Residual blocks after each halving; only in `residual`, where one is the default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blocks: Option<usize>,
    /// The names of the labels that encoder and decoder are given; empty in a model without labels.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub labels: Vec<String>,
    /// The hidden numbers of the context network, which gives each pixel's distribution from the pixels
    /// before it; none in a model whose pixels are independent given the code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context: Option<usize>,
    /// The inputs of the context network from the pixels before a value.
    #[serde(default, skip_serializing_if = "is_values")]
    pub context_inputs: ContextInputs,
    /// The classifier that learns from few labels beside the model, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub m2: Option<M2Config>,
}

/// Whether the configuration of a model leaves the context's inputs out.
fn is_values(inputs: &ContextInputs) -> bool {
    *inputs == ContextInputs::Values
}

/// The smallest side of an image.
pub const SMALLEST_SIDE: usize = 8;
/// The largest accepted side, width or latent size, as a guard against a mistyped or hostile configuration.
const LARGEST: usize = 65_536;

impl ModelConfig {
    /// A preset with its default sizes for images of this shape.
    pub fn new(preset: Preset, image: impl Into<ImageShape>) -> Self {
        let image = image.into();
        let ImageShape { height, width, channels } = image;
        Self {
            preset,
            height,
            width,
            channels,
            latent: preset.default_latent(),
            widths: preset.default_widths(image),
            hidden: preset.default_hidden(),
            tie_weights: false,
            likelihood: preset.default_likelihood(),
            blocks: None,
            labels: Vec::new(),
            context: None,
            context_inputs: ContextInputs::Values,
            m2: None,
        }
    }

    /// The shape of an image.
    pub fn image(&self) -> ImageShape {
        ImageShape::new(self.height, self.width, self.channels)
    }

    /// Residual blocks after each halving.
    pub fn blocks(&self) -> usize {
        self.blocks.unwrap_or(1)
    }

    /// L, the labels that encoder and decoder are given; 0 in a model without labels.
    pub fn classes(&self) -> usize {
        self.labels.len()
    }

    /// H·W·m·C, the likelihood's numbers for an image.
    pub fn output_len(&self) -> usize {
        self.pixels() * self.likelihood.numbers()
    }

    /// D = H·W·C, the numbers of an image.
    pub fn pixels(&self) -> usize {
        self.height * self.width * self.channels
    }

    /// The range of the pixels that the network sees: [−1, 1] if its last layer is tanh.
    pub fn span(&self) -> Span {
        if self.preset == Preset::Article && self.likelihood.output_is_mean() {
            Span::Symmetric
        } else {
            Span::Unit
        }
    }

    /// Whether these sizes make sense together, before a network is built from them.
    ///
    /// # Errors
    /// One sentence about the first that does not.
    pub fn validate(&self) -> Result<()> {
        let fail = |message: String| Err(Error::config(message));
        let (height, width, preset) = (self.height, self.width, self.preset.name());
        if height.min(width) < SMALLEST_SIDE {
            return fail(format!(
                "images of {height}×{width} are too small for the preset {preset}; it takes {SMALLEST_SIDE}×{SMALLEST_SIDE} \
                 and larger"
            ));
        }
        if self.channels == 0 {
            return fail("images of 0 channels; there must be at least 1".into());
        }
        if self.latent == 0 {
            return fail("the latent size is 0; it must be at least 1".into());
        }
        if self.widths.iter().chain(&self.hidden).any(|&width| width == 0) {
            return fail("a layer of width 0; widths in channels and hidden must be at least 1".into());
        }
        let sizes = [height, width, self.channels, self.latent];
        if let Some(size) = sizes.iter().chain(&self.widths).chain(&self.hidden).find(|&&size| size > LARGEST)
        {
            return fail(format!("a size of {size} is more than the {LARGEST} that a layer may have"));
        }
        if self.widths.len() + self.hidden.len() > 32 {
            return fail(format!(
                "{} layers are more than the 32 that a half may have",
                self.widths.len() + self.hidden.len()
            ));
        }
        if self.tie_weights && self.likelihood.numbers() > 1 {
            return fail(format!(
                "--tie-weights makes the decoder the encoder's mirror, and the likelihood {} needs {} numbers for each of the image's; \
                 use either",
                self.likelihood.name(),
                self.likelihood.numbers()
            ));
        }
        if self.tie_weights && !self.labels.is_empty() {
            return fail(
                "--tie-weights makes the decoder the encoder's mirror, and labels are appended to both; use either".into(),
            );
        }
        if self.labels.len() > LARGEST {
            return fail(format!(
                "{} labels are more than the {LARGEST} that a model may have",
                self.labels.len()
            ));
        }
        if let Some(m2) = &self.m2 {
            let sizes = [m2.labels.len(), m2.hidden, m2.style];
            if m2.labels.len() < 2 || sizes.iter().any(|&size| size == 0 || size > LARGEST) {
                return fail(format!(
                    "a classifier of {} labels with layers of {} and {}; it needs at least 2 labels, and layers of 1 to {LARGEST}",
                    m2.labels.len(),
                    m2.hidden,
                    m2.style
                ));
            }
            if !self.labels.is_empty() {
                return fail("a classifier from few labels stands on a model without labels, and this one is conditional".into());
            }
        }
        if self.blocks.is_some() && self.preset != Preset::Residual {
            return fail("--blocks is for the preset residual".into());
        }
        if self.context.is_some() && !self.likelihood.is_exact_for_bytes() {
            return fail(format!(
                "--context needs a likelihood of bytes (discretized-logistic, logistic-mixture or beta-binomial), and this is {}",
                self.likelihood.name()
            ));
        }
        if let Some(hidden) = self.context.filter(|hidden| !(1..=1024).contains(hidden)) {
            return fail(format!(
                "--context {hidden}; the context network may have 1 to 1024 hidden numbers"
            ));
        }
        if self.context_inputs == ContextInputs::Differences {
            if self.context.is_none() {
                return fail("--context-inputs is for a model with --context".into());
            }
            if self.likelihood.means_and_log_scales().is_none() {
                return fail(format!(
                    "--context-inputs differences needs a likelihood with means (logistic-mixture or discretized-logistic), and this is {}",
                    self.likelihood.name()
                ));
            }
        }
        (self.preset.rules().check)(self)?;
        self.likelihood.validate()
    }
}

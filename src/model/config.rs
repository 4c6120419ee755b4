//! What has to be known to build a model: the preset, the image, the widths, and what the decoder's output means.
//!
//! It is stored in the model's file, so that one file is all that is needed to use a model. How the model was trained (threads,
//! paths, epochs) is not part of it: the same model is the same bytes.

use serde::{Deserialize, Serialize};

use crate::data::Span;
use crate::error::{Error, Result};
use crate::loss::Likelihood;
use crate::tensor::ImageShape;

/// Which family of networks; [`presets`](super::presets) builds them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Preset {
    /// Strided convolutions down, transposed convolutions up.
    Conv,
    /// The network of the article: convolutions with pooling, and a latent layer that goes back by its own weights.
    Article,
    /// Fully connected.
    Mlp,
}

impl Preset {
    /// The names, as options and configuration files have them.
    pub const NAMES: [&'static str; 3] = ["conv", "article", "mlp"];

    /// The preset of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "conv" => Some(Self::Conv),
            "article" => Some(Self::Article),
            "mlp" => Some(Self::Mlp),
            _ => None,
        }
    }

    /// Its name, one of [`NAMES`](Self::NAMES).
    pub fn name(self) -> &'static str {
        match self {
            Self::Conv => "conv",
            Self::Article => "article",
            Self::Mlp => "mlp",
        }
    }

    /// Z where none is asked for.
    pub fn default_latent(self) -> usize {
        if self == Self::Mlp { 20 } else { 32 }
    }

    /// The channels of the convolutions where none are asked for.
    pub fn default_widths(self) -> Vec<usize> {
        match self {
            Self::Conv => vec![32, 64],
            Self::Article => vec![64, 128],
            Self::Mlp => Vec::new(),
        }
    }

    /// The widths of the hidden linear layers where none are asked for.
    pub fn default_hidden(self) -> Vec<usize> {
        match self {
            Self::Conv => vec![256],
            Self::Article => vec![1024, 512],
            Self::Mlp => vec![400],
        }
    }

    /// The likelihood where none is asked for: the article's squared error, else Bernoulli.
    pub fn default_likelihood(self) -> Likelihood {
        if self == Self::Article { Likelihood::SquaredError } else { Likelihood::Bernoulli }
    }
}

/// All that a network is made of.
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
    /// What the decoder's output says about a pixel.
    pub likelihood: Likelihood,
}

/// The smallest side of an image.
pub const SMALLEST_SIDE: usize = 8;
/// The largest side, width or latent size that is believed: a guard against a mistyped or hostile configuration.
const LARGEST: usize = 65_536;

impl ModelConfig {
    /// A preset with its default widths for images of these sizes.
    pub fn new(preset: Preset, (height, width, channels): (usize, usize, usize)) -> Self {
        Self {
            preset,
            height,
            width,
            channels,
            latent: preset.default_latent(),
            widths: preset.default_widths(),
            hidden: preset.default_hidden(),
            tie_weights: false,
            likelihood: preset.default_likelihood(),
        }
    }

    /// D = H·W·C, the numbers of an image.
    pub fn pixels(&self) -> usize {
        self.height * self.width * self.channels
    }

    /// H×W×C.
    pub fn image(&self) -> ImageShape {
        ImageShape::new(self.height, self.width, self.channels)
    }

    /// The range of the pixels that the network sees: [−1, 1] where its last layer is tanh.
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
    /// One sentence on the first that does not.
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
        match self.preset {
            Preset::Article => {
                if self.widths != Preset::Article.default_widths()
                    || self.hidden != Preset::Article.default_hidden()
                {
                    return fail(
                        "the article's widths are fixed; channels and hidden are for conv and mlp".into(),
                    );
                }
                if self.tie_weights {
                    return fail(
                        "--tie-weights is for conv and mlp; the article's shared layer goes back by its own weights already"
                            .into(),
                    );
                }
            }
            Preset::Conv if self.widths.is_empty() => {
                return fail("conv needs at least one convolution; channels is empty".into());
            }
            Preset::Mlp if !self.widths.is_empty() => {
                return fail(
                    "mlp has no convolutions; channels is for conv (hidden sets the widths of mlp)".into(),
                );
            }
            _ => {}
        }
        if self.hidden.is_empty() {
            return fail(format!("{preset} needs at least one hidden linear layer; hidden is empty"));
        }
        if self.likelihood.numbers() != 1 {
            return fail(format!(
                "the likelihood {} needs {} numbers for each pixel value, and these networks give one",
                self.likelihood,
                self.likelihood.numbers()
            ));
        }
        self.likelihood.validate()
    }
}

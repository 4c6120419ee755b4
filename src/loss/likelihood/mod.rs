//! The reconstruction term, −ln p(x|z): the cost of an image given its decoded code.
//!
//! The decoder's last output gives m numbers for each pixel value, and the likelihood defines their meaning.
//! All likelihoods treat the D = H·W·C values of an image as independent, so the nats of an image are a sum
//! over its values:
//!
//! ```text
//! likelihood             the m numbers                    meaning                           file
//! bernoulli              logit                            black or white                    bernoulli.rs
//! squared-error          mean                             the article's Σ(x̂ − x)²           gaussian.rs
//! gaussian               mean                             a density of fixed width σ        gaussian.rs
//! optimal-gaussian       mean                             a density, σ the batch's best     gaussian.rs
//! laplace                mean                             a density of fixed width b        laplace.rs
//! discretized-logistic   mean, log-scale                  a probability for each byte       logistic.rs
//! logistic-mixture       K logits, K means, K log-scales  a probability for each byte       logistic.rs
//! beta-binomial          ln α, ln β                       a probability for each byte       beta_binomial.rs
//! ```
//!
//! The output of an image is H·W × m·C, channels last, with number k of colour channel c at k·C + c: in
//! PyTorch, `output.chunk(m, dim=1)[k]` is number k of all channels. With m = 1 it is the image's own layout.
//!
//! The last three are **exact for bytes**: the probabilities of the 256 levels of a value add up to 1. So
//! their −ELBO is a bound on the number of bits per image, comparable between models and with compressors
//! ([`Likelihood::bits_per_dim`]). The −ELBO of a density has no such meaning: it falls without limit as σ
//! shrinks.
//!
//! Each file has the formulas, their derivation and the derivatives. `single.rs` sums the likelihoods with
//! one number, `bytes.rs` those with several. docs/extending.md lists all places that change for a new
//! likelihood.

mod bernoulli;
mod beta_binomial;
mod bytes;
mod config;
mod family;
mod gaussian;
mod laplace;
mod logistic;
mod single;
pub(crate) mod special;

use crate::error::{Error, Result};
use crate::tensor::{Element, ImageShape};
use crate::text::names::unknown;
use family::Family;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::f64::consts::LN_2;
use std::fmt;
use std::ops::Range;
use std::str::FromStr;

pub use family::MeanRule;
pub use gaussian::VARIANCE_FLOOR;
pub(super) use gaussian::optimal_variance;

/// The distribution of a pixel value given the decoder's output. In configuration files: `kind = "gaussian"`,
/// `sigma = 0.1`.
///
/// ```
/// use elbo::loss::Likelihood;
/// let likelihood: Likelihood = "logistic-mixture".parse()?;
/// assert_eq!(likelihood.with_setting("components", 3.0)?.numbers(), 9);
/// # Ok::<(), elbo::error::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "config::Keys", into = "config::Keys")]
#[non_exhaustive]
pub enum Likelihood {
    /// Black or white (or grey read as their mixture); the output is the logit. Pixels must lie in [0, 1].
    Bernoulli,
    /// Σ(x − x̂)², the article's loss.
    SquaredError,
    /// A Gaussian of fixed width.
    Gaussian {
        /// σ, in units of the pixel values.
        sigma: f64,
    },
    /// A Gaussian whose width is the best for each training batch.
    OptimalGaussian {
        /// σ² for evaluation, in squared units of the pixel values: the mean of the last training epoch.
        /// `None` before the first one; evaluation then uses 1, the unit variance.
        variance: Option<f64>,
    },
    /// A Laplace distribution of fixed width.
    Laplace {
        /// b, in units of the pixel values.
        scale: f64,
    },
    /// Bytes: the mass of a logistic distribution in each of 256 bins, with a mean and a scale for each pixel
    /// value.
    DiscretizedLogistic,
    /// Bytes: a mixture of discretized logistics.
    LogisticMixture {
        /// K, from 1 to 32.
        components: usize,
    },
    /// Bytes: the number of heads in 255 throws of a coin whose bias has a Beta distribution.
    BetaBinomial,
}

/// Evaluates an expression with the [`Family`] of a likelihood.
macro_rules! with_family {
    (@ $made:expr, $family:ident => $value:expr) => {{
        let $family = $made;
        $value
    }};
    ($likelihood:expr, $family:ident => $value:expr) => {
        match *$likelihood {
            Likelihood::Bernoulli => with_family!(@ bernoulli::Bernoulli, $family => $value),
            Likelihood::SquaredError => with_family!(@ gaussian::SquaredError, $family => $value),
            Likelihood::Gaussian { sigma } => with_family!(@ gaussian::Gaussian { sigma }, $family => $value),
            Likelihood::OptimalGaussian { variance } => {
                with_family!(@ gaussian::OptimalGaussian { variance }, $family => $value)
            }
            Likelihood::Laplace { scale } => with_family!(@ laplace::Laplace { scale }, $family => $value),
            Likelihood::DiscretizedLogistic => {
                with_family!(@ bytes::Bytes(logistic::DiscretizedLogistic), $family => $value)
            }
            Likelihood::LogisticMixture { components } => {
                with_family!(@ bytes::Bytes(logistic::LogisticMixture { components }), $family => $value)
            }
            Likelihood::BetaBinomial => with_family!(@ bytes::Bytes(beta_binomial::BetaBinomial), $family => $value),
        }
    };
}

/// The likelihood of a family.
macro_rules! from_families {
    ($($family:ty, $pattern:pat => $likelihood:expr;)*) => {
        $(impl From<$family> for Likelihood {
            fn from($pattern: $family) -> Self {
                $likelihood
            }
        })*
    };
}

from_families! {
    bernoulli::Bernoulli, _ => Self::Bernoulli;
    gaussian::SquaredError, _ => Self::SquaredError;
    gaussian::Gaussian, gaussian::Gaussian { sigma } => Self::Gaussian { sigma };
    gaussian::OptimalGaussian, gaussian::OptimalGaussian { variance } => Self::OptimalGaussian { variance };
    laplace::Laplace, laplace::Laplace { scale } => Self::Laplace { scale };
    bytes::Bytes<logistic::DiscretizedLogistic>, _ => Self::DiscretizedLogistic;
    bytes::Bytes<logistic::LogisticMixture>, family => Self::LogisticMixture { components: family.0.components };
    bytes::Bytes<beta_binomial::BetaBinomial>, _ => Self::BetaBinomial;
}

impl Likelihood {
    /// All of them, with their default settings.
    pub const ALL: [Self; 8] = [
        Self::Bernoulli,
        Self::SquaredError,
        Self::Gaussian { sigma: 0.1 },
        Self::OptimalGaussian { variance: None },
        Self::Laplace { scale: 0.1 },
        Self::DiscretizedLogistic,
        Self::LogisticMixture { components: 5 },
        Self::BetaBinomial,
    ];

    /// Its name in options and configuration files.
    pub fn name(&self) -> &'static str {
        with_family!(self, family => family.name())
    }

    /// m, the numbers that the decoder gives for each pixel value: its last layer has m·C channels.
    pub fn numbers(&self) -> usize {
        with_family!(self, family => family.numbers())
    }

    /// Whether the decoder's output is the mean image itself. Then the network ends in a sigmoid or tanh;
    /// otherwise its output is unbounded, and images are scaled to [0, 1].
    pub fn output_is_mean(&self) -> bool {
        with_family!(self, family => family.output_is_mean())
    }

    /// Whether it gives the probability of each of the 256 bytes, so that they add up to 1.
    pub fn is_exact_for_bytes(&self) -> bool {
        with_family!(self, family => family.is_exact_for_bytes())
    }

    /// Its settings: name and value, as in `[("sigma", 0.1)]`.
    pub fn settings(&self) -> Vec<(&'static str, f64)> {
        with_family!(self, family => family.settings())
    }

    /// The value of a setting, if it exists.
    pub fn setting(&self, setting: &str) -> Option<f64> {
        self.settings().into_iter().find(|(name, _)| *name == setting).map(|(_, value)| value)
    }

    /// The same likelihood with a setting changed: `sigma` (gaussian), `variance` (optimal-gaussian), `scale`
    /// (laplace), `components` (logistic-mixture).
    ///
    /// # Errors
    /// [`Error::Config`] if it has no such setting, or the value is out of range.
    pub fn with_setting(&self, setting: &str, value: f64) -> Result<Self> {
        let changed = with_family!(self, family => family.with_setting(setting, value).map(Self::from));
        let changed =
            changed.ok_or_else(|| Error::config(format!("likelihood {} has no {setting}", self.name())))?;
        changed.validate().map(|()| changed)
    }

    /// [`Error::Config`] if a setting is out of range.
    pub fn validate(&self) -> Result<()> {
        with_family!(self, family => family.validate())
    }

    /// [`Error::Config`] if pixels from `low` to `high` cannot have this likelihood.
    pub fn check_range(&self, low: f64, high: f64) -> Result<()> {
        with_family!(self, family => family.check_range(low, high))
    }

    /// [`Error::Config`] if this likelihood is for bytes and a value is not one of the 256 evenly spaced
    /// levels from `low` to `high`, to within 1/1000 of their distance. Other likelihoods accept any value.
    pub fn check_levels(&self, values: &[f32], low: f32, high: f32) -> Result<()> {
        if !self.is_exact_for_bytes() {
            return Ok(());
        }
        let (low, high) = (f64::from(low), f64::from(high));
        let is_between = |value: &&f32| {
            let level = (f64::from(**value) - low) / (high - low) * 255.0;
            let nearest = level.round().clamp(0.0, 255.0);
            !((level - nearest).abs() <= 1e-3)
        };
        let Some(value) = values.par_iter().find_first(is_between) else { return Ok(()) };
        let others: Vec<&str> =
            Self::ALL.iter().filter(|l| !l.is_exact_for_bytes()).map(Self::name).collect();
        Err(Error::config(format!(
            "likelihood {} needs bytes, or the 256 evenly spaced levels of the range from {low} to {high}, and a pixel \
             is {value}; set the range (--range), or take one of {}",
            self.name(),
            others.join(", ")
        )))
    }

    /// The part of the −ELBO that the loss omits, in nats per image of `values` values.
    ///
    /// Only the squared error has such a part: (x̂ − x)² = −ln N(x; x̂, ½) − ½ ln π per value. Training does
    /// not need the normalizer, which no parameter can change, so the loss is the article's; but the −ELBO is
    /// a bound only with it.
    pub fn standard_offset(&self, values: usize) -> f64 {
        with_family!(self, family => family.standard_offset(values))
    }

    /// Bits per dimension of a −ELBO (or reconstruction) of `nats` per image of `values` = H·W·C values:
    /// nats/(values · ln 2). `None` for a likelihood that gives no probabilities of bytes.
    pub fn bits_per_dim(&self, nats: f64, values: usize) -> Option<f64> {
        self.is_exact_for_bytes().then(|| nats / (values as f64 * LN_2))
    }

    /// Evaluation: the nats of each image, without a gradient.
    ///
    /// `output` is B × H·W × m·C and `target` B × H·W × C, where B is the length of `per_image` and `image`
    /// H×W×C. Targets of byte likelihoods are bytes / 255. The optimal Gaussian uses its stored σ², not this
    /// batch's.
    ///
    /// # Panics
    ///
    /// If the lengths do not match.
    pub fn forward<T: Element>(&self, output: &[T], target: &[T], image: ImageShape, per_image: &mut [f64]) {
        self.assert_lengths(output, target, image, per_image.len());
        with_family!(self, family => family.forward(output, target, image, per_image));
    }

    /// Training: the nats of each image, and the gradient of their mean.
    ///
    /// Shapes as for [`forward`](Self::forward). `d_output`, of `output`'s length, is overwritten with ∂(mean
    /// over the batch)/∂output, that is, divided by B already. Returns the optimal Gaussian's σ² for this
    /// batch, `None` for other likelihoods.
    ///
    /// # Panics
    ///
    /// If the lengths do not match.
    pub fn forward_backward<T: Element>(
        &self,
        output: &[T],
        target: &[T],
        image: ImageShape,
        d_output: &mut [T],
        per_image: &mut [f64],
    ) -> Option<f64> {
        self.assert_lengths(output, target, image, per_image.len());
        assert_eq!(output.len(), d_output.len(), "d_output has {} numbers", d_output.len());
        with_family!(self, family => family.forward_backward(output, target, image, d_output, per_image))
    }

    /// The mean image of each output's distribution, in the range of the model's images:
    /// `output` is B × H·W × m·C, `means` B × H·W × C.
    ///
    /// # Panics
    ///
    /// If the lengths do not match.
    pub fn means<T: Element>(&self, output: &[T], image: ImageShape, means: &mut [T]) {
        self.assert_lengths(output, means, image, means.len() / image.len());
        with_family!(self, family => family.means(output, image, means));
    }

    /// The backward pass of [`means`](Self::means): `d_output` ← (∂means/∂output)ᵀ · `d_means`.
    ///
    /// # Panics
    ///
    /// If the lengths do not match.
    pub fn means_backward<T: Element>(
        &self,
        output: &[T],
        image: ImageShape,
        d_means: &[T],
        d_output: &mut [T],
    ) {
        self.assert_lengths(output, d_means, image, d_means.len() / image.len());
        assert_eq!(output.len(), d_output.len(), "d_output has {} numbers", d_output.len());
        with_family!(self, family => family.means_backward(output, image, d_means, d_output));
    }

    /// ln p of each of the 256 bytes, given the m numbers of one pixel value, for compression. These are bit
    /// for bit the terms of [`forward`](Self::forward).
    ///
    /// # Panics
    ///
    /// If the likelihood is not exact for bytes, or `numbers` are not m.
    pub fn log_probabilities<T: Element>(&self, numbers: &[T], ln_p: &mut [T; 256]) {
        assert!(self.is_exact_for_bytes(), "{self} has no probabilities of bytes");
        assert_eq!(numbers.len(), self.numbers(), "{self} has {} numbers", self.numbers());
        with_family!(self, family => family.log_probabilities(numbers, ln_p));
    }

    /// Which of the m numbers are means in [−1, 1] and which are log-scales on that axis, for likelihoods of
    /// logistic distributions.
    pub fn means_and_log_scales(&self) -> Option<[Range<usize>; 2]> {
        with_family!(self, family => family.means_and_log_scales())
    }

    /// A description of the m numbers: "the logit", "the mean in [-1, 1] and the log-scale".
    pub fn output_meaning(&self) -> String {
        with_family!(self, family => family.output_meaning())
    }

    /// The rule that makes the [`means`](Self::means), for an engine in another language.
    pub fn mean_rule(&self) -> MeanRule {
        with_family!(self, family => family.mean_rule())
    }

    /// PyTorch's expression for the [`means`](Self::means), in `output`, which is N × m·C × H × W.
    pub fn torch_mean(&self) -> String {
        with_family!(self, family => family.torch_mean())
    }

    fn assert_lengths<T>(&self, output: &[T], target: &[T], image: ImageShape, images: usize) {
        assert!(images > 0 && image.len() > 0, "a batch of {images} images of {image}");
        assert_eq!(
            target.len(),
            images * image.len(),
            "{} values for {images} images of {image}",
            target.len()
        );
        let outputs = target.len() * self.numbers();
        assert_eq!(output.len(), outputs, "{self}: {} outputs for {images} images of {image}", output.len());
    }
}

/// The name, without settings.
impl fmt::Display for Likelihood {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A name, as [`Likelihood::name`] gives it; the settings are the defaults.
impl FromStr for Likelihood {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        let named = Self::ALL.into_iter().find(|likelihood| likelihood.name() == name);
        named.ok_or_else(|| unknown("likelihood", name, Self::ALL.map(|likelihood| likelihood.name())))
    }
}

#[cfg(test)]
pub(crate) mod tests;

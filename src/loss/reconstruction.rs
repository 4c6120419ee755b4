//! The reconstruction term, −ln p(x|z): how far a decoded image is from the one it should be.
//!
//! The decoder's last output gives one number per pixel, and a likelihood says what it means. All of them treat the D
//! pixels of an image (height · width · channels) as independent, so an image's nats are
//!
//! ```text
//! −ln p(x|z) = factor · Σ term(output, x) + D · constant
//!
//! likelihood                    output    term                factor    constant
//! bernoulli                     logit l   softplus(l) − x·l   1         0
//! squared-error                 mean x̂    (x̂ − x)²            1         0  (½ ln π in the −ELBO)
//! gaussian, optimal-gaussian    mean x̂    (x̂ − x)²            1/(2σ²)   ½ ln(2πσ²)
//! laplace, scale b              mean x̂    |x̂ − x|             1/b       ln(2b)
//! ```
//!
//! and its derivative by one output is factor · term′, with
//!
//! ```text
//! bernoulli    sigmoid(l) − x        since d softplus(l)/dl = 1/(1 + e⁻ˡ)
//! squared      2(x̂ − x)
//! absolute     sign(x̂ − x), and 0 at the kink
//! ```
//!
//! So three terms, each a value and a slope in one line below, are all there is to differentiate; a new likelihood is a
//! row of this table, in `Likelihood::scale`.
//!
//! **Bernoulli** (Kingma & Welling 2014, appendix C.1): for a pixel with P(x=1) = sigmoid(l), −x·ln P − (1−x)·ln(1−P) =
//! softplus(l) − x·l. Computed from the logit, it never takes the logarithm of a rounded 0. Grey pixels, x in [0, 1],
//! are the usual reading of it as a cross-entropy.
//!
//! **Squared error** is the article's Σ(x − x̂)²: a Gaussian with σ² = ½ without its normalizer (see
//! [`Likelihood::standard_offset`]).
//!
//! **Optimal Gaussian** (Rybkin, Daniilidis & Levine 2021, the "optimal σ-VAE"): one σ² for all pixels, always at its
//! maximum-likelihood value. With m the mean of (x̂ − x)² over all pixels of all B images of the batch, the batch mean
//! of the loss is D·[½ ln(2πσ²) + m/(2σ²)], least at σ² = m, where it is D/2·(ln m + 1 + ln 2π). Since σ² = m depends on
//! the output, the chain rule has a second path, ∂loss/∂σ² · ∂m/∂x̂; but σ² is where ∂loss/∂σ² = 0, so that path adds
//! nothing, and the gradient is that of a Gaussian whose σ² is a given number: (x̂ − x)/σ². Below the floor of 10⁻⁶ the
//! other factor is the one that vanishes: σ² no longer moves with the output. The same formula holds, with σ² the
//! floor, and value and gradient are continuous where the two regimes meet.
//!
//! **Laplace** is the same with |x − x̂|/b + ln 2b: less impressed by single pixels that are far off.

mod config;

use crate::error::{Error, Result};
use crate::tensor::Element;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::f64::consts::{LN_2, PI};

/// The smallest σ² of the optimal Gaussian. A batch reproduced to better than 1/1000 of the range would otherwise drive
/// the loss to −∞ and the gradient to ∞.
pub const VARIANCE_FLOOR: f64 = 1e-6;

/// What the decoder's output says about a pixel. In configuration files: `kind = "gaussian"`, `sigma = 0.1`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "config::Keys", into = "config::Keys")]
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
        /// σ² for evaluation, in squared units of the pixel values: the mean of the last training epoch. `None` before
        /// there was one; evaluation then takes 1, the unit variance.
        variance: Option<f64>,
    },
    /// A Laplace distribution of fixed width.
    Laplace {
        /// b, in units of the pixel values.
        scale: f64,
    },
}

impl Likelihood {
    /// The names, as options and configuration files have them.
    pub const NAMES: [&'static str; 5] =
        ["bernoulli", "squared-error", "gaussian", "optimal-gaussian", "laplace"];

    /// The likelihood of that name with its default parameters (σ = b = 0.1); `None` if there is no such name.
    pub fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "bernoulli" => Self::Bernoulli,
            "squared-error" => Self::SquaredError,
            "gaussian" => Self::Gaussian { sigma: 0.1 },
            "optimal-gaussian" => Self::OptimalGaussian { variance: None },
            "laplace" => Self::Laplace { scale: 0.1 },
            _ => return None,
        })
    }

    /// Its name, one of [`NAMES`](Self::NAMES).
    pub fn name(&self) -> &'static str {
        match self {
            Self::Bernoulli => "bernoulli",
            Self::SquaredError => "squared-error",
            Self::Gaussian { .. } => "gaussian",
            Self::OptimalGaussian { .. } => "optimal-gaussian",
            Self::Laplace { .. } => "laplace",
        }
    }

    /// m, the numbers that the decoder gives for each number of the image.
    pub fn numbers(&self) -> usize {
        1
    }

    /// Whether the decoder's output is the mean of a pixel.
    pub fn output_is_mean(&self) -> bool {
        !self.takes_logits()
    }

    /// Whether the decoder's last output is a logit per pixel rather than a mean.
    pub fn takes_logits(&self) -> bool {
        matches!(self, Self::Bernoulli)
    }

    /// [`Error::Config`] where a width is not a positive, finite number.
    pub fn validate(&self) -> Result<()> {
        let (what, width) = match *self {
            Self::Gaussian { sigma } => ("gaussian: sigma", sigma),
            Self::Laplace { scale } => ("laplace: scale", scale),
            Self::OptimalGaussian { variance: Some(variance) } => ("optimal-gaussian: variance", variance),
            _ => return Ok(()),
        };
        if width.is_finite() && width > 0.0 {
            return Ok(());
        }
        Err(Error::config(format!("likelihood {what} must be a positive number, not {width}")))
    }

    /// [`Error::Config`] where pixels from `low` to `high` cannot have this likelihood.
    pub fn check_range(&self, low: f64, high: f64) -> Result<()> {
        if *self == Self::Bernoulli && !(low >= 0.0 && high <= 1.0) {
            return Err(Error::config(format!(
                "likelihood bernoulli needs pixels within [0, 1], and these reach from {low} to {high}: \
                 rescale them (--range), binarize them (--binarize), or take another likelihood"
            )));
        }
        Ok(())
    }

    /// What the −ELBO has, and the loss leaves out, in nats per image of `pixels` pixels.
    ///
    /// Only the squared error has such a part: (x̂ − x)² = −ln N(x; x̂, ½) − ½ ln π per pixel. A normalizer that no
    /// parameter can change does not matter to training, and so the article's loss stays the article's; but without it
    /// the −ELBO would be no bound on anything.
    pub fn standard_offset(&self, pixels: usize) -> f64 {
        if *self == Self::SquaredError { 0.5 * PI.ln() * pixels as f64 } else { 0.0 }
    }

    /// Bits per dimension for a −ELBO (or reconstruction) of `nats` per image of `pixels` pixels, whose values span
    /// `range_span` (1 for [0, 1], 2 for [−1, 1]); `None` for Bernoulli, which is no density.
    ///
    /// A pixel is taken as one of 256 equal bins of the range. The probability of a bin is about density · width, so
    /// each pixel costs −ln(width) = ln(256/span) nats more than its density says (Theis, van den Oord & Bethge 2016,
    /// section 3.1). `nats` includes the [`standard_offset`](Self::standard_offset).
    pub fn bits_per_dim(&self, nats: f64, pixels: usize, range_span: f64) -> Option<f64> {
        (*self != Self::Bernoulli).then(|| (nats / pixels as f64 + (256.0 / range_span).ln()) / LN_2)
    }

    /// The table at the top of this file. `variance` is the optimal Gaussian's σ², for the others unused.
    fn scale(&self, variance: f64) -> Scale {
        let gaussian =
            |variance: f64| Scale { factor: 0.5 / variance, constant: 0.5 * (2.0 * PI * variance).ln() };
        match *self {
            Self::Bernoulli | Self::SquaredError => Scale { factor: 1.0, constant: 0.0 },
            Self::Gaussian { sigma } => gaussian(sigma * sigma),
            Self::OptimalGaussian { .. } => gaussian(variance),
            Self::Laplace { scale } => Scale { factor: 1.0 / scale, constant: (2.0 * scale).ln() },
        }
    }

    /// Evaluation: the nats of each image, without a gradient.
    ///
    /// `output` and `target` are B × D, images one after the other, where B is the length of `per_image`. The optimal
    /// Gaussian takes the σ² that it carries, not this batch's.
    ///
    /// # Panics
    ///
    /// Where the lengths do not fit together.
    pub fn forward<T: Element>(&self, output: &[T], target: &[T], per_image: &mut [f64]) {
        let variance = match *self {
            Self::OptimalGaussian { variance } => variance.unwrap_or(1.0).max(VARIANCE_FLOOR),
            _ => 1.0,
        };
        self.term_sums(output, target, per_image);
        self.scale(variance).apply(per_image, output.len() / per_image.len());
    }

    /// Training: the nats of each image, and the gradient of their mean.
    ///
    /// `output`, `target` and `d_output` are B × D, images one after the other, where B is the length of `per_image`.
    /// `d_output` is overwritten with ∂(mean over the batch)/∂output, that is, divided by B already. Returns the σ² that
    /// the optimal Gaussian took for this batch, `None` for the others.
    ///
    /// # Panics
    ///
    /// Where the lengths do not fit together.
    pub fn forward_backward<T: Element>(
        &self,
        output: &[T],
        target: &[T],
        d_output: &mut [T],
        per_image: &mut [f64],
    ) -> Option<f64> {
        let batch = per_image.len();
        assert_eq!(output.len(), d_output.len(), "d_output has {} numbers", d_output.len());
        let variance = match self {
            Self::OptimalGaussian { .. } => {
                // σ² is needed before the first gradient can be written, so the errors are gone through twice.
                self.term_sums(output, target, per_image);
                let mean = per_image.iter().sum::<f64>() / output.len() as f64;
                // Not f64::max, which would replace NaN by the floor and hide it.
                Some(if mean < VARIANCE_FLOOR { VARIANCE_FLOOR } else { mean })
            }
            _ => None,
        };
        let scale = self.scale(variance.unwrap_or(1.0));
        let slope_scale = T::from_f64(scale.factor / batch as f64);
        match self {
            Self::Bernoulli => sums_and_slopes(output, target, d_output, per_image, slope_scale, bernoulli),
            Self::Laplace { .. } => {
                sums_and_slopes(output, target, d_output, per_image, slope_scale, absolute)
            }
            Self::SquaredError | Self::Gaussian { .. } | Self::OptimalGaussian { .. } => {
                sums_and_slopes(output, target, d_output, per_image, slope_scale, squared)
            }
        }
        scale.apply(per_image, output.len() / batch);
        variance
    }

    /// Σ term over the pixels of each image, without factor and constant.
    fn term_sums<T: Element>(&self, output: &[T], target: &[T], per_image: &mut [f64]) {
        match self {
            Self::Bernoulli => sums(output, target, per_image, bernoulli),
            Self::Laplace { .. } => sums(output, target, per_image, absolute),
            Self::SquaredError | Self::Gaussian { .. } | Self::OptimalGaussian { .. } => {
                sums(output, target, per_image, squared)
            }
        }
    }
}

/// How a sum of terms becomes nats: factor · sum + pixels · constant.
struct Scale {
    factor: f64,
    constant: f64,
}

impl Scale {
    fn apply(&self, per_image: &mut [f64], pixels: usize) {
        for value in per_image {
            *value = self.factor * *value + self.constant * pixels as f64;
        }
    }
}

/// softplus(l) − x·l and sigmoid(l) − x.
///
/// softplus(l) is max(l, 0) + ln(1 + e^−|l|). Together with −x·l its first part is |l|·(1 − x) for a positive logit and
/// |l|·x for a negative one. Written so, nothing large is subtracted from something large, and a pixel that the decoder
/// is sure of costs its true 10⁻⁹ nats rather than the rounding error of l.
///
/// With u = e^−|l|, the sigmoid is 1/(1 + u) for a positive logit and u/(1 + u) for a negative one: one exponential and
/// one division serve both. They are half of this loop's time, which is why it does not call `softplus` and `sigmoid`.
#[inline(always)]
fn bernoulli<T: Element>(logit: T, x: T) -> (T, T) {
    let size = logit.abs();
    let u = (-size).exp();
    let w = T::ONE + u;
    let inverse = T::ONE / w;
    // ln(1 + u): the logarithm of the rounded w, and the first order of what the rounding lost.
    let softplus = w.ln() + (u - (w - T::ONE)) * inverse;
    let positive = logit >= T::ZERO;
    let missed = if positive { T::ONE - x } else { x };
    let probability = if positive { inverse } else { u * inverse };
    (size.mul_add(missed, softplus), probability - x)
}

/// (x̂ − x)² and 2(x̂ − x).
#[inline(always)]
fn squared<T: Element>(mean: T, x: T) -> (T, T) {
    let error = mean - x;
    (error * error, error + error)
}

/// |x̂ − x| and sign(x̂ − x).
#[inline(always)]
fn absolute<T: Element>(mean: T, x: T) -> (T, T) {
    let error = mean - x;
    let positive = if error > T::ZERO { T::ONE } else { T::ZERO };
    let negative = if error < T::ZERO { T::ONE } else { T::ZERO };
    (error.abs(), positive - negative)
}

/// Running sums per image, two AVX2 registers of `f32`: one sum alone would wait for itself. With 8, the compiler unrolls
/// the inner loop before it looks for vectors in it, and Bernoulli takes five times as long.
const LANES: usize = 16;

/// Pixels that are summed in `T` before the sum goes on in `f64`: 64 additions per lane, which keeps the rounding of
/// `f32` at some 10⁻⁶ however large the image.
const BLOCK: usize = 64 * LANES;

/// Images go to threads in runs of at least this many pixels; a smaller task costs more to hand over than to do.
const PIXELS_PER_TASK: usize = 16 * 1024;

/// The images' shape, and how many of them to hand to a thread at least.
fn pieces<T>(output: &[T], target: &[T], images: usize) -> (usize, usize) {
    assert_eq!(output.len(), target.len(), "output and target have {} and {}", output.len(), target.len());
    assert!(images > 0 && !output.is_empty(), "a batch of {images} images and {} pixels", output.len());
    let pixels = output.len() / images;
    assert_eq!(pixels * images, output.len(), "{} pixels are not {images} equal images", output.len());
    (pixels, PIXELS_PER_TASK.div_ceil(pixels))
}

/// Writes Σ term(output, target) of each image. An image is summed by one thread, lane by lane and block by block, so
/// the order of additions does not depend on which.
fn sums<T: Element>(output: &[T], target: &[T], per_image: &mut [f64], term: impl Fn(T, T) -> (T, T) + Sync) {
    let (pixels, images_per_task) = pieces(output, target, per_image.len());
    per_image
        .par_iter_mut()
        .zip(output.par_chunks_exact(pixels))
        .zip(target.par_chunks_exact(pixels))
        .with_min_len(images_per_task)
        .for_each(|((sum, output), target)| {
            *sum = 0.0;
            for (output, target) in output.chunks(BLOCK).zip(target.chunks(BLOCK)) {
                let mut lanes = [T::ZERO; LANES];
                let (outputs, last_outputs) = output.as_chunks::<LANES>();
                let (targets, last_targets) = target.as_chunks::<LANES>();
                for (output, target) in outputs.iter().zip(targets) {
                    for lane in 0..LANES {
                        lanes[lane] += term(output[lane], target[lane]).0;
                    }
                }
                for ((lane, &output), &target) in lanes.iter_mut().zip(last_outputs).zip(last_targets) {
                    *lane += term(output, target).0;
                }
                *sum += lanes.iter().map(|lane| lane.to_f64()).sum::<f64>();
            }
        });
}

/// The same sums, bit for bit, and slope_scale · term′ of every pixel.
fn sums_and_slopes<T: Element>(
    output: &[T],
    target: &[T],
    d_output: &mut [T],
    per_image: &mut [f64],
    slope_scale: T,
    term: impl Fn(T, T) -> (T, T) + Sync,
) {
    let (pixels, images_per_task) = pieces(output, target, per_image.len());
    per_image
        .par_iter_mut()
        .zip(output.par_chunks_exact(pixels))
        .zip(target.par_chunks_exact(pixels))
        .zip(d_output.par_chunks_exact_mut(pixels))
        .with_min_len(images_per_task)
        .for_each(|(((sum, output), target), d_output)| {
            *sum = 0.0;
            let blocks = output.chunks(BLOCK).zip(target.chunks(BLOCK)).zip(d_output.chunks_mut(BLOCK));
            for ((output, target), d_output) in blocks {
                let mut lanes = [T::ZERO; LANES];
                let (outputs, last_outputs) = output.as_chunks::<LANES>();
                let (targets, last_targets) = target.as_chunks::<LANES>();
                let (d_outputs, last_d_outputs) = d_output.as_chunks_mut::<LANES>();
                for ((output, target), d_output) in outputs.iter().zip(targets).zip(d_outputs) {
                    for lane in 0..LANES {
                        let (value, slope) = term(output[lane], target[lane]);
                        lanes[lane] += value;
                        d_output[lane] = slope * slope_scale;
                    }
                }
                let last = last_outputs.iter().zip(last_targets).zip(last_d_outputs);
                for (lane, ((&output, &target), d_output)) in lanes.iter_mut().zip(last) {
                    let (value, slope) = term(output, target);
                    *lane += value;
                    *d_output = slope * slope_scale;
                }
                *sum += lanes.iter().map(|lane| lane.to_f64()).sum::<f64>();
            }
        });
}

#[cfg(test)]
pub(crate) mod tests;

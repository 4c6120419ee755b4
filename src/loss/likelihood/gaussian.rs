//! **Gaussians** around the decoder's mean x̂: all three are (x̂ − x)² with a factor and a constant.
//!
//! ```text
//! −ln N(x; x̂, σ²) = (x̂ − x)²/(2σ²) + ½ ln(2πσ²)         derivative: (x̂ − x)/σ²
//! ```
//!
//! **Squared error** is the article's Σ(x − x̂)²: a Gaussian with σ² = ½ without its normalizer.
//!
//! **Optimal Gaussian** (Rybkin, Daniilidis & Levine 2021, the "optimal σ-VAE"): one σ² for all pixels,
//! always at its maximum-likelihood value. With m the mean of (x̂ − x)² over all pixels of all B images of
//! the batch, the batch mean of the loss is D·[½ ln(2πσ²) + m/(2σ²)]. Its minimum is at σ² = m, with the
//! value D/2·(ln m + 1 + ln 2π). Since σ² = m depends on the output, the chain rule has a second path,
//! ∂loss/∂σ² · ∂m/∂x̂. But ∂loss/∂σ² = 0 at this σ², so that path adds nothing, and the gradient is that of a
//! Gaussian with constant σ²: (x̂ − x)/σ². Below the floor of 10⁻⁶ the other factor vanishes: σ² no longer
//! depends on the output. The same formula holds, with σ² the floor, and value and gradient are continuous at
//! the boundary of the two regimes.

use super::family::{Family, positive};
use super::single::{self, Scale};
use crate::error::Result;
use crate::tensor::{Element, ImageShape};
use std::f64::consts::PI;

/// The smallest σ² of the optimal Gaussian. A batch reproduced to better than 1/1000 of the range would
/// otherwise drive the loss to −∞ and the gradient to ∞.
pub const VARIANCE_FLOOR: f64 = 1e-6;

const MEANING: &str = "the mean";

#[derive(Clone, Copy)]
pub(super) struct SquaredError;

impl Family for SquaredError {
    fn name(&self) -> &'static str {
        "squared-error"
    }

    fn output_is_mean(&self) -> bool {
        true
    }

    /// (x̂ − x)² = −ln N(x; x̂, ½) − ½ ln π for each value.
    fn standard_offset(&self, values: usize) -> f64 {
        0.5 * libm::log(PI) * values as f64
    }

    fn forward<T: Element>(&self, output: &[T], target: &[T], _: ImageShape, per_image: &mut [f64]) {
        single::forward(&Scale::PLAIN, squared, output, target, per_image);
    }

    fn forward_backward<T: Element>(
        &self,
        output: &[T],
        target: &[T],
        _: ImageShape,
        d_output: &mut [T],
        per_image: &mut [f64],
    ) -> Option<f64> {
        single::forward_backward(&Scale::PLAIN, squared, output, target, d_output, per_image);
        None
    }

    fn output_meaning(&self) -> String {
        MEANING.into()
    }
}

#[derive(Clone, Copy)]
pub(super) struct Gaussian {
    pub(super) sigma: f64,
}

impl Gaussian {
    fn scale(&self) -> Scale {
        Scale::gaussian(self.sigma * self.sigma)
    }
}

impl Family for Gaussian {
    fn name(&self) -> &'static str {
        "gaussian"
    }

    fn settings(&self) -> Vec<(&'static str, f64)> {
        vec![("sigma", self.sigma)]
    }

    fn with_setting(&self, setting: &str, value: f64) -> Option<Self> {
        (setting == "sigma").then_some(Self { sigma: value })
    }

    fn validate(&self) -> Result<()> {
        positive("gaussian: sigma", self.sigma)
    }

    fn output_is_mean(&self) -> bool {
        true
    }

    fn forward<T: Element>(&self, output: &[T], target: &[T], _: ImageShape, per_image: &mut [f64]) {
        single::forward(&self.scale(), squared, output, target, per_image);
    }

    fn forward_backward<T: Element>(
        &self,
        output: &[T],
        target: &[T],
        _: ImageShape,
        d_output: &mut [T],
        per_image: &mut [f64],
    ) -> Option<f64> {
        single::forward_backward(&self.scale(), squared, output, target, d_output, per_image);
        None
    }

    fn output_meaning(&self) -> String {
        MEANING.into()
    }
}

/// The best σ² for a mean squared error.
pub fn optimal_variance(mean: f64) -> f64 {
    // Not f64::max, which would replace NaN by the floor and hide it.
    if mean < VARIANCE_FLOOR { VARIANCE_FLOOR } else { mean }
}

#[derive(Clone, Copy)]
pub(super) struct OptimalGaussian {
    pub(super) variance: Option<f64>,
}

impl Family for OptimalGaussian {
    fn name(&self) -> &'static str {
        "optimal-gaussian"
    }

    fn settings(&self) -> Vec<(&'static str, f64)> {
        self.variance.map(|variance| ("variance", variance)).into_iter().collect()
    }

    fn with_setting(&self, setting: &str, value: f64) -> Option<Self> {
        (setting == "variance").then_some(Self { variance: Some(value) })
    }

    fn validate(&self) -> Result<()> {
        self.variance.map_or(Ok(()), |variance| positive("optimal-gaussian: variance", variance))
    }

    fn output_is_mean(&self) -> bool {
        true
    }

    /// With the model's σ², not this batch's.
    fn forward<T: Element>(&self, output: &[T], target: &[T], _: ImageShape, per_image: &mut [f64]) {
        let variance = self.variance.unwrap_or(1.0).max(VARIANCE_FLOOR);
        single::forward(&Scale::gaussian(variance), squared, output, target, per_image);
    }

    fn forward_backward<T: Element>(
        &self,
        output: &[T],
        target: &[T],
        _: ImageShape,
        d_output: &mut [T],
        per_image: &mut [f64],
    ) -> Option<f64> {
        // σ² is needed before the first gradient can be written, so there are two passes over the errors.
        single::sums(output, target, per_image, squared);
        let variance = optimal_variance(per_image.iter().sum::<f64>() / output.len() as f64);
        single::forward_backward(&Scale::gaussian(variance), squared, output, target, d_output, per_image);
        Some(variance)
    }

    fn output_meaning(&self) -> String {
        MEANING.into()
    }
}

/// (x̂ − x)² and 2(x̂ − x).
#[inline(always)]
fn squared<T: Element>(mean: T, x: T) -> (T, T) {
    let error = mean - x;
    (error * error, error + error)
}

//! **Bernoulli**: black or white, or grey read as their mixture (Kingma & Welling 2014, appendix C.1).
//!
//! The output is the logit l of a pixel, P(x=1) = sigmoid(l), and
//!
//! ```text
//! −x·ln P − (1−x)·ln(1−P) = softplus(l) − x·l        derivative: sigmoid(l) − x, since d softplus(l)/dl = 1/(1 + e⁻ˡ)
//! ```
//!
//! It is computed from the logit, so it never takes the logarithm of a rounded 0. For grey pixels, x in [0,
//! 1], it is the usual cross-entropy.

use super::family::{Family, MeanRule};
use super::single::{self, Scale};
use crate::error::{Error, Result};
use crate::kernels::simd::vectorized;
use crate::tensor::{Element, ImageShape};

#[derive(Clone, Copy)]
pub(super) struct Bernoulli;

impl Family for Bernoulli {
    fn name(&self) -> &'static str {
        "bernoulli"
    }

    fn output_is_mean(&self) -> bool {
        false
    }

    fn check_range(&self, low: f64, high: f64) -> Result<()> {
        if low >= 0.0 && high <= 1.0 {
            return Ok(());
        }
        Err(Error::config(format!(
            "likelihood bernoulli needs pixels within [0, 1], and these reach from {low} to {high}: \
             rescale them (--range), binarize them (--binarize), or take another likelihood"
        )))
    }

    fn forward<T: Element>(&self, output: &[T], target: &[T], _: ImageShape, per_image: &mut [f64]) {
        single::forward(&Scale::PLAIN, bernoulli, output, target, per_image);
    }

    fn forward_backward<T: Element>(
        &self,
        output: &[T],
        target: &[T],
        _: ImageShape,
        d_output: &mut [T],
        per_image: &mut [f64],
    ) -> Option<f64> {
        single::forward_backward(&Scale::PLAIN, bernoulli, output, target, d_output, per_image);
        None
    }

    fn means<T: Element>(&self, output: &[T], _: ImageShape, means: &mut [T]) {
        vectorized!(means.iter_mut().zip(output).for_each(|(mean, &logit)| *mean = logit.sigmoid()));
    }

    /// sigmoid′ = p·(1 − p).
    fn means_backward<T: Element>(&self, output: &[T], _: ImageShape, d_means: &[T], d_output: &mut [T]) {
        vectorized!({
            for ((d, &logit), &d_mean) in d_output.iter_mut().zip(output).zip(d_means) {
                let p = logit.sigmoid();
                *d = d_mean * p * (T::ONE - p);
            }
        });
    }

    fn output_meaning(&self) -> String {
        "the logit".into()
    }

    fn mean_rule(&self) -> MeanRule {
        MeanRule { name: "sigmoid", settings: Vec::new() }
    }

    fn torch_mean(&self) -> String {
        "torch.sigmoid(output)".into()
    }
}

/// softplus(l) − x·l and sigmoid(l) − x.
///
/// softplus(l) is max(l, 0) + ln(1 + e^−|l|). Its first part minus x·l is |l|·(1 − x) for a positive logit
/// and |l|·x for a negative one. This form subtracts no large numbers from each other, so a pixel with a
/// certain prediction costs its true 10⁻⁹ nats rather than the rounding error of l.
///
/// With u = e^−|l|, the sigmoid is 1/(1 + u) for a positive logit and u/(1 + u) for a negative one: one
/// exponential and one division serve both. They take half of this loop's time; therefore it does not call
/// `softplus` and `sigmoid`.
#[inline(always)]
fn bernoulli<T: Element>(logit: T, x: T) -> (T, T) {
    let size = logit.abs();
    let u = (-size).exp();
    let w = T::ONE + u;
    let inverse = T::ONE / w;
    // ln(1 + u): the logarithm of the rounded w, and a first-order correction of the rounding.
    let softplus = w.ln() + (u - (w - T::ONE)) * inverse;
    let positive = logit >= T::ZERO;
    let missed = if positive { T::ONE - x } else { x };
    let probability = if positive { inverse } else { u * inverse };
    (size * missed + softplus, probability - x)
}

//! The divergence term: the distance of a posterior q = N(μ, σ²) from the prior p = N(0, 1), per latent
//! dimension.
//!
//! With s = ln σ², the two Kullback–Leibler divergences of one dimension are
//!
//! ```text
//! KL(q‖p) = ½(μ² + σ² − 1 − ln σ²)        = ½(μ² + φ(s))             φ(s) = eˢ − 1 − s ≥ 0
//! KL(p‖q) = ½((1 + μ²)/σ² − 1 + ln σ²)    = ½(μ²·e⁻ˢ + φ(−s))
//! ```
//!
//! **`kl`** is the first (Kingma & Welling 2014, appendix B), the one in the ELBO. **`jeffreys`** is half the
//! sum of both, ¼[μ² + σ² + (1+μ²)/σ² − 2] (half of Jeffreys 1946's symmetric divergence). It is the usable
//! reading of the article's ½[KL(q‖p) + a second, reversed term], whose second term as printed requires an
//! unknown density. Derivatives:
//!
//! ```text
//!             by μ               by s = ln σ²
//! kl          μ                  ½(eˢ − 1)
//! jeffreys    ½μ(1 + e⁻ˢ)        ¼[eˢ − (1+μ²)e⁻ˢ] = ¼[(eˢ − 1) − (e⁻ˢ − 1) − μ²e⁻ˢ]
//! ```
//!
//! Near the prior, where a VAE's unused dimensions are, μ² + σ² − 1 − ln σ² cancels: in `f32` only rounding
//! error remains, sometimes a negative one. In terms of φ every sum has terms of one sign, and φ is computed
//! by its power series there. The derivatives compute eˢ − 1 as s + φ(s), for the same reason. So values are
//! never negative, exactly 0 at μ = 0 and s = 0, and accurate to the last few digits all over [−20, 20].
//!
//! ln σ² is expected within [−20, 20]; the latent layer bounds it, and its backward pass stops the gradient
//! outside.
//!
//! Sums run on one thread: a batch has some thousand latent numbers, against millions of activations, and
//! waking another thread would take longer than summing them.

use crate::kernels::simd::vectorized;
use crate::tensor::Element;
use crate::text::names::named;
use serde::{Deserialize, Serialize};

/// The divergence in the objective.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Divergence {
    /// KL(q‖p), the standard one.
    #[default]
    Kl,
    /// ½[KL(q‖p) + KL(p‖q)], the article's.
    Jeffreys,
}

named!(Divergence, "divergence", Kl => "kl", Jeffreys => "jeffreys");

impl Divergence {
    /// The divergence in nats: of every image, summed over dimensions, and of every dimension, averaged over
    /// images.
    ///
    /// `mu`, `log_variance` and `values` are B × Z, images one after the other; B is the length of
    /// `per_image`, Z that of `per_dimension`. `values` is overwritten with every single divergence.
    ///
    /// # Panics
    ///
    /// If the lengths do not fit together.
    pub fn forward<T: Element>(
        &self,
        mu: &[T],
        log_variance: &[T],
        values: &mut [T],
        per_image: &mut [f64],
        per_dimension: &mut [f64],
    ) {
        let (images, latent) = (per_image.len(), per_dimension.len());
        assert_shape(mu, log_variance, values, images, latent);
        vectorized!(match self {
            Self::Kl => each_value(
                mu,
                log_variance,
                values,
                #[inline(always)]
                |mu, s| kl(mu, s)
            ),
            Self::Jeffreys => each_value(
                mu,
                log_variance,
                values,
                #[inline(always)]
                |mu, s| jeffreys(mu, s)
            ),
        });
        per_dimension.fill(0.0);
        for (sum, row) in per_image.iter_mut().zip(values.chunks_exact(latent)) {
            *sum = 0.0;
            for (dimension, value) in per_dimension.iter_mut().zip(row) {
                let value = value.to_f64();
                *dimension += value;
                *sum += value;
            }
        }
        for dimension in per_dimension {
            *dimension /= images as f64;
        }
    }

    /// The gradient of Σ_j weight_j · Σ_b divergence(μ_bj, ln σ²_bj).
    ///
    /// `mu`, `log_variance`, `d_mu` and `d_log_variance` are B × Z, `weights` Z: the objective's derivative
    /// by dimension j's mean divergence, divided by B. The gradients are overwritten.
    ///
    /// # Panics
    ///
    /// If the lengths do not fit together.
    pub fn backward<T: Element>(
        &self,
        mu: &[T],
        log_variance: &[T],
        weights: &[T],
        d_mu: &mut [T],
        d_log_variance: &mut [T],
    ) {
        assert!(!weights.is_empty(), "no latent dimensions");
        let images = mu.len() / weights.len();
        assert_shape(mu, log_variance, d_mu, images, weights.len());
        assert_eq!(mu.len(), d_log_variance.len(), "d_log_variance has {}", d_log_variance.len());
        vectorized!(match self {
            Self::Kl => each_slope(
                mu,
                log_variance,
                d_mu,
                d_log_variance,
                #[inline(always)]
                |mu, s| d_kl(mu, s)
            ),
            Self::Jeffreys => each_slope(
                mu,
                log_variance,
                d_mu,
                d_log_variance,
                #[inline(always)]
                |mu, s| d_jeffreys(mu, s)
            ),
        });
        for gradient in [d_mu, d_log_variance] {
            for row in gradient.chunks_exact_mut(weights.len()) {
                for (slope, &weight) in row.iter_mut().zip(weights) {
                    *slope *= weight;
                }
            }
        }
    }
}

fn assert_shape<T>(mu: &[T], log_variance: &[T], third: &[T], images: usize, latent: usize) {
    assert!(images > 0 && latent > 0, "{images} images of {latent} latent dimensions");
    let lengths = [mu.len(), log_variance.len(), third.len()];
    assert_eq!(lengths, [images * latent; 3], "μ, ln σ² and a third do not all have {images} × {latent}");
}

/// One flat loop over all B·Z, so that it fills vector registers for any Z.
#[inline(always)]
fn each_value<T: Element>(mu: &[T], log_variance: &[T], values: &mut [T], value: impl Fn(T, T) -> T) {
    for ((out, &mu), &s) in values.iter_mut().zip(mu).zip(log_variance) {
        *out = value(mu, s);
    }
}

#[inline(always)]
fn each_slope<T: Element>(
    mu: &[T],
    log_variance: &[T],
    d_mu: &mut [T],
    d_log_variance: &mut [T],
    slope: impl Fn(T, T) -> (T, T),
) {
    for (((d_mu, d_s), &mu), &s) in d_mu.iter_mut().zip(d_log_variance).zip(mu).zip(log_variance) {
        (*d_mu, *d_s) = slope(mu, s);
    }
}

#[inline(always)]
fn kl<T: Element>(mu: T, s: T) -> T {
    let half = T::from_f64(0.5);
    half * (mu * mu + exponential_excess(s).phi)
}

#[inline(always)]
fn d_kl<T: Element>(mu: T, s: T) -> (T, T) {
    (mu, T::from_f64(0.5) * exponential_excess(s).minus_one)
}

#[inline(always)]
fn jeffreys<T: Element>(mu: T, s: T) -> T {
    let (up, down) = (exponential_excess(s), exponential_excess(-s));
    let square = mu * mu;
    T::from_f64(0.25) * ((square * down.exponential + square) + (up.phi + down.phi))
}

#[inline(always)]
fn d_jeffreys<T: Element>(mu: T, s: T) -> (T, T) {
    let (up, down) = (exponential_excess(s), exponential_excess(-s));
    let d_mu = T::from_f64(0.5) * (mu * down.exponential + mu);
    let d_s = (up.minus_one - down.minus_one) - mu * mu * down.exponential;
    (d_mu, T::from_f64(0.25) * d_s)
}

/// eˢ, and eˢ without the first one and two terms of its series.
struct Exponential<T> {
    /// eˢ
    exponential: T,
    /// eˢ − 1
    minus_one: T,
    /// φ(s) = eˢ − 1 − s
    phi: T,
}

/// For |s| < 1, φ is the series s²/2! + s³/3! + … + s¹⁹/19!, with an error of 10⁻¹⁸, and eˢ − 1 is s + φ(s).
/// For larger |s| both are differences, which keep all but two bits there. Both ways are computed and one is
/// chosen, since a branch would prevent vectorization.
#[inline(always)]
fn exponential_excess<T: Element>(s: T) -> Exponential<T> {
    let exponential = s.exp();
    let near = s.abs() < T::ONE;
    let mut series = T::from_f64(INVERSE_FACTORIALS[0]);
    for &coefficient in &INVERSE_FACTORIALS[1..] {
        series = series * s + T::from_f64(coefficient);
    }
    let series = series * s * s;
    let difference = exponential - T::ONE;
    Exponential {
        exponential,
        minus_one: if near { s + series } else { difference },
        phi: if near { series } else { difference - s },
    }
}

/// 1/19!, 1/18!, …, 1/2!
const INVERSE_FACTORIALS: [f64; 18] = {
    let mut table = [0.0; 18];
    let mut factorial = 1.0;
    let mut n = 2;
    while n <= 19 {
        factorial *= n as f64;
        table[19 - n] = 1.0 / factorial;
        n += 1;
    }
    table
};

#[cfg(test)]
pub(crate) mod tests;

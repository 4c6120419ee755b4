//! Latent traversals: one number of a code varies, the others stay, and the pictures show what that dimension
//! does.
//!
//! Many dimensions of a large code may do nothing: a dimension that does not pay for its KL is switched off
//! (its posterior is the prior for every image). So the dimensions are shown in the order of their activity
//! over some images, which has two usual measures:
//!
//! ```text
//! variance   Var over images of μ_j; above 0.01 a dimension is active (Burda, Grosse & Salakhutdinov 2016)
//! KL         mean over images of ½(μ_j² + σ_j² − 1 − ln σ_j²), in nats
//! ```

use crate::error::{Error, Result};
use crate::model::codec::Codes;
use crate::text::names::named;

/// How much one dimension of the code says about images.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Activity {
    /// The dimension, from 0.
    pub dimension: usize,
    /// The variance of μ over the images.
    pub variance: f64,
    /// The mean KL(q‖p) in nats.
    pub kl: f64,
}

/// What the dimensions are sorted by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Measure {
    /// Mean KL to the prior.
    #[default]
    Kl,
    /// Variance of μ.
    Variance,
}

named!(Measure, "by", Kl => "kl", Variance => "variance");

/// The activity of all dimensions over the codes of some images, in descending order (stable).
///
/// # Panics
/// If the numbers are not whole codes.
pub fn activity(codes: &Codes, latent: usize, measure: Measure) -> Vec<Activity> {
    assert!(codes.mu.len().is_multiple_of(latent), "{} numbers for codes of {latent}", codes.mu.len());
    let count = (codes.mu.len() / latent).max(1) as f64;
    let of = |dimension: usize| {
        let column = |values: &[f32]| -> Vec<f64> {
            values[dimension..].iter().step_by(latent).map(|&v| f64::from(v)).collect()
        };
        let (mu, s) = (column(&codes.mu), column(&codes.log_variance));
        let mean = mu.iter().sum::<f64>() / count;
        let variance = mu.iter().map(|mu| (mu - mean) * (mu - mean)).sum::<f64>() / count;
        let kl = mu.iter().zip(&s).map(|(mu, s)| 0.5 * (mu * mu + s.exp() - 1.0 - s)).sum::<f64>() / count;
        Activity { dimension, variance, kl }
    };
    let mut all: Vec<Activity> = (0..latent).map(of).collect();
    all.sort_by(|a, b| match measure {
        Measure::Kl => b.kl.total_cmp(&a.kl),
        Measure::Variance => b.variance.total_cmp(&a.variance),
    });
    all
}

/// `steps` evenly spaced values from −range to range; if `steps` is odd, the middle one is 0.
///
/// # Errors
/// If there are fewer than two steps, or the range is not a positive number.
pub fn values(range: f64, steps: usize) -> Result<Vec<f32>> {
    if steps < 2 {
        return Err(Error::config(format!("a row of {steps} steps; there must be at least 2")));
    }
    if !(range.is_finite() && range > 0.0) {
        return Err(Error::config(format!("the range is {range}; it must be a positive number")));
    }
    Ok((0..steps).map(|i| (range * (2.0 * i as f64 / (steps - 1) as f64 - 1.0)) as f32).collect())
}

/// One row of codes per dimension: `start` with that dimension set to each of the values. dimensions × values
/// × Z.
///
/// ```
/// let codes = elbo::generate::traverse::rows(&[0.5, 0.5], &[1, 0], &[-1.0, 1.0]);
/// assert_eq!(codes, [0.5, -1.0, 0.5, 1.0, -1.0, 0.5, 1.0, 0.5]);
/// ```
///
/// # Panics
/// If a dimension is not one of the code's.
pub fn rows(start: &[f32], dimensions: &[usize], values: &[f32]) -> Vec<f32> {
    let mut codes = Vec::with_capacity(dimensions.len() * values.len() * start.len());
    for &dimension in dimensions {
        for &value in values {
            codes.extend_from_slice(start);
            let at = codes.len() - start.len() + dimension;
            codes[at] = value;
        }
    }
    codes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_dimension_that_says_most_comes_first() {
        // Dimension 0 is switched off, 1 varies, 2 has a large KL but never moves.
        let codes = Codes {
            mu: vec![0.0, 1.0, 3.0, 0.0, -1.0, 3.0],
            log_variance: vec![0.0, -2.0, -1.0, 0.0, -2.0, -1.0],
        };
        let order = |measure| activity(&codes, 3, measure).iter().map(|a| a.dimension).collect::<Vec<_>>();
        assert_eq!(order(Measure::Kl), [2, 1, 0]);
        assert_eq!(order(Measure::Variance), [1, 0, 2]);
        let first = activity(&codes, 3, Measure::Variance)[0];
        assert_eq!(first.variance, 1.0);
        assert!((first.kl - 0.5 * (1.0 + (-2.0_f64).exp() - 1.0 + 2.0)).abs() < 1e-12);
    }

    #[test]
    fn values_are_even_and_symmetric() {
        assert_eq!(values(3.0, 7).unwrap(), [-3.0, -2.0, -1.0, 0.0, 1.0, 2.0, 3.0]);
        assert!(values(3.0, 1).is_err() && values(0.0, 5).is_err() && values(f64::NAN, 5).is_err());
    }
}

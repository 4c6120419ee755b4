//! An exponential average of the weights, which is evaluated and saved instead of the weights themselves
//! (Polyak & Juditsky 1992; for generative models Karras et al. 2018, appendix A).
//!
//! ```text
//! a ← a + (1 − d)(w − a)          d = min(decay, (t − 1)/(t + 9))          after step t = 1, 2, …
//! ```
//!
//! The weights after a single step carry the noise of the last batches; their average does not. The first
//! steps take a smaller d (the ramp of TensorFlow's `ExponentialMovingAverage`, which has (1 + n)/(10 + n)),
//! so that the average never covers more than a tenth of the run. It starts as the weights after the first
//! step, and short runs need no other decay than long ones.

use rayon::prelude::*;

use super::adam::PIECE;
use crate::kernels::simd::vectorized;

/// d of the step t, counted from 1.
pub fn decay_at(decay: f64, step: u64) -> f64 {
    decay.min(step.saturating_sub(1) as f64 / step.saturating_add(9) as f64)
}

/// Updates the average with the weights after the step `step`, counted from 1.
///
/// ```
/// use elbo::optim::average;
/// let mut mean = [9.0];
/// average::update(&mut mean, &[1.0], 0.9, 1);
/// assert_eq!(mean, [1.0]); // begins with the weights after the first step
/// average::update(&mut mean, &[12.0], 0.9, 2); // d = 1/11
/// assert!((mean[0] - 11.0).abs() < 1e-6);
/// ```
///
/// # Panics
/// If the two differ in length.
pub fn update(average: &mut [f32], weights: &[f32], decay: f64, step: u64) {
    assert_eq!(average.len(), weights.len(), "an average of as many weights");
    let share = (1.0 - decay_at(decay, step)) as f32;
    average.par_chunks_mut(PIECE).zip(weights.par_chunks(PIECE)).for_each(|(average, weights)| {
        vectorized!(update_piece(average, weights, share));
    });
}

#[inline(always)]
fn update_piece(average: &mut [f32], weights: &[f32], share: f32) {
    for (average, &weight) in average.iter_mut().zip(weights) {
        // With a share of 1, exactly the weight.
        *average = if share == 1.0 { weight } else { *average + share * (weight - *average) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_average_is_its_definition() {
        let weights = |step: u64| -> Vec<f32> {
            (0..40_000u64).map(|i| ((i * 31 + step * 17) % 101) as f32 / 50.0 - 1.0).collect()
        };
        let (mut average, mut expected) = (vec![f32::NAN; 40_000], vec![0.0_f64; 40_000]);
        for step in 1..=60 {
            update(&mut average, &weights(step), 0.8, step);
            let decay = if step == 1 { 0.0 } else { (0.8_f64).min((step - 1) as f64 / (step + 9) as f64) };
            for (expected, weight) in expected.iter_mut().zip(weights(step)) {
                *expected = decay * *expected + (1.0 - decay) * f64::from(weight);
            }
        }
        for (found, expected) in average.iter().zip(&expected) {
            assert!((f64::from(*found) - expected).abs() < 1e-6, "{found} is not {expected}");
        }
        assert_eq!((decay_at(0.8, 1), decay_at(0.8, 1000)), (0.0, 0.8));
    }
}

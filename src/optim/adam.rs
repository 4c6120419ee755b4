//! Adam (Kingma & Ba 2015, algorithm 1): gradient descent with a step size per parameter.
//!
//! ```text
//! m ← β₁m + (1−β₁)g            the gradient's running mean
//! v ← β₂v + (1−β₂)g²           the running mean of its square
//! m̂ = m / (1−β₁ᵗ)              t counts steps from 1
//! v̂ = v / (1−β₂ᵗ)
//! θ ← θ − α·m̂ / (√v̂ + ε)
//! ```
//!
//! m and v start at 0 and so are too small at first. Both are sums with geometric weights (1−β)βᵏ, which add
//! up to 1 − βᵗ after t steps, so dividing by that makes them true weighted means. The step is about α
//! whatever the gradient's scale, and smaller if its sign changes.
//!
//! As in PyTorch, the corrections are computed outside the loop: √v̂ is √v / √(1−β₂ᵗ), and α/(1−β₁ᵗ) is one
//! number.
//!
//! Weight decay is decoupled (AdamW, Loshchilov & Hutter 2019, algorithm 2): θ ← θ·(1 − αλ) before the step,
//! on all parameters. Added to the gradient instead, it would be divided by √v̂, so the parameters that move
//! most would decay least.
//!
//! A step reads four arrays and writes three, 28 bytes for some ten operations, so it is bound by memory.
//! Everything that needs a pass over the arrays is done in this one: the decay, and the factor that clips the
//! gradient's norm.

use std::ops::Range;

use crate::kernels::simd::vectorized;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// Numbers per task. Four arrays of this length, 256 KiB, are read from memory once and fit in a core's
/// second-level cache. The fixed size also makes [`gradient_norm`]'s order of additions independent of the
/// number of threads.
pub const PIECE: usize = 16 * 1024;

/// Adam's constants. [`Default`] has the paper's, without weight decay.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Adam {
    /// β₁, the memory of the mean: 0.9.
    pub beta1: f64,
    /// β₂, the memory of the mean square: 0.999.
    pub beta2: f64,
    /// ε, which keeps the step finite if the gradient was always 0: 10⁻⁸.
    pub epsilon: f64,
    /// λ of the decoupled decay, per step and unit of learning rate: 0.
    pub weight_decay: f64,
}

impl Default for Adam {
    fn default() -> Self {
        Self { beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weight_decay: 0.0 }
    }
}

/// Adam's state for the parameters that it moves together; a checkpoint has all of it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AdamState {
    /// m, one number per parameter.
    pub first: Vec<f32>,
    /// v, one number per parameter.
    pub second: Vec<f32>,
    /// t, the steps taken.
    pub steps: u64,
}

impl AdamState {
    /// The state before the first step of `parameters` numbers.
    pub fn new(parameters: usize) -> Self {
        Self { first: vec![0.0; parameters], second: vec![0.0; parameters], steps: 0 }
    }
}

impl Adam {
    /// One step: moves `parameters` against `gradient · gradient_scale` and updates `state`.
    ///
    /// `learning_rate` is α. `gradient_scale` is 1 or the result of [`clip_factor`].
    ///
    /// # Panics
    ///
    /// If parameters, gradient and state differ in length.
    pub fn step(
        &self,
        parameters: &mut [f32],
        gradient: &[f32],
        state: &mut AdamState,
        learning_rate: f64,
        gradient_scale: f64,
    ) {
        let all = 0..parameters.len();
        self.step_part(parameters, gradient, state, all, learning_rate, gradient_scale);
    }

    /// [`step`](Self::step), but only the numbers of `part` move, with their moments; other processes move the
    /// others.
    ///
    /// # Panics
    ///
    /// If parameters, gradient and state differ in length, or `part` is not within them.
    pub fn step_part(
        &self,
        parameters: &mut [f32],
        gradient: &[f32],
        state: &mut AdamState,
        part: Range<usize>,
        learning_rate: f64,
        gradient_scale: f64,
    ) {
        let lengths = [gradient.len(), state.first.len(), state.second.len()];
        assert_eq!(
            lengths,
            [parameters.len(); 3],
            "gradient and moments of other lengths than the parameters"
        );
        state.steps += 1;
        let factors = self.factors(state.steps, learning_rate, gradient_scale);
        parameters[part.clone()]
            .par_chunks_mut(PIECE)
            .zip(gradient[part.clone()].par_chunks(PIECE))
            .zip(state.first[part.clone()].par_chunks_mut(PIECE))
            .zip(state.second[part].par_chunks_mut(PIECE))
            .for_each(|(((parameters, gradient), first), second)| {
                vectorized!(factors.step_piece(parameters, gradient, first, second));
            });
    }

    /// Everything that does not depend on the parameter. In f64 until the end: 1 − 0.999 has four digits in
    /// f32, and 1 − 0.999ᵗ hardly more.
    fn factors(&self, steps: u64, learning_rate: f64, gradient_scale: f64) -> Factors {
        let steps = steps as f64;
        Factors {
            gradient_scale: gradient_scale as f32,
            decay: (learning_rate * self.weight_decay) as f32,
            into_first: (1.0 - self.beta1) as f32,
            beta2: self.beta2 as f32,
            into_second: (1.0 - self.beta2) as f32,
            root_scale: (1.0 / (1.0 - libm::pow(self.beta2, steps)).sqrt()) as f32,
            epsilon: self.epsilon as f32,
            step: (learning_rate / (1.0 - libm::pow(self.beta1, steps))) as f32,
        }
    }
}

/// The numbers of one step.
struct Factors {
    gradient_scale: f32,
    decay: f32,       // αλ
    into_first: f32,  // 1 − β₁
    beta2: f32,       // β₂
    into_second: f32, // 1 − β₂
    root_scale: f32,  // 1/√(1−β₂ᵗ)
    epsilon: f32,     // ε
    step: f32,        // α/(1−β₁ᵗ)
}

impl Factors {
    #[inline(always)]
    fn step_piece(&self, parameters: &mut [f32], gradient: &[f32], first: &mut [f32], second: &mut [f32]) {
        // Copies, which no store to a slice can change.
        let Self { gradient_scale, decay, into_first, beta2, into_second, root_scale, epsilon, step } = *self;
        for (((parameter, &gradient), m), v) in parameters.iter_mut().zip(gradient).zip(first).zip(second) {
            let gradient = gradient * gradient_scale;
            // β₁m + (1−β₁)g, in the form that leaves m exactly unchanged if g = m.
            let first = *m + into_first * (gradient - *m);
            let second = beta2 * *v + into_second * gradient * gradient;
            // Decay and step are added before they are applied, so the parameter is rounded once. Besides, 1
            // − αλ, rounded to f32, would keep few of αλ's digits.
            let step = step * first / (second.sqrt() * root_scale + epsilon);
            *parameter -= decay * *parameter + step;
            (*m, *v) = (first, second);
        }
    }
}

/// The number of partial sums that [`gradient_norm`] needs for gradients of these lengths.
pub fn norm_partials(lengths: impl IntoIterator<Item = usize>) -> usize {
    lengths.into_iter().map(|length| length.div_ceil(PIECE)).sum()
}

/// The Euclidean norm of all `gradients` taken as one vector: the root of [`squared_norm`].
///
/// # Panics
///
/// If `partials` is too short.
pub fn gradient_norm<'a>(gradients: impl IntoIterator<Item = &'a [f32]>, partials: &mut [f64]) -> f64 {
    squared_norm(gradients, partials).sqrt()
}

/// The sum of the squares of all `gradients`, bit-identical for any number of threads.
///
/// Squares are added in f64, in which squares of f32 numbers neither overflow nor vanish. `partials` is the
/// caller's memory, at least [`norm_partials`] long.
///
/// # Panics
///
/// If `partials` is too short.
pub fn squared_norm<'a>(gradients: impl IntoIterator<Item = &'a [f32]>, partials: &mut [f64]) -> f64 {
    let mut used = 0;
    for gradient in gradients {
        let pieces = gradient.len().div_ceil(PIECE);
        assert!(partials.len() - used >= pieces, "{} partial sums are too few", partials.len());
        partials[used..used + pieces]
            .par_iter_mut()
            .zip(gradient.par_chunks(PIECE))
            .for_each(|(partial, piece)| *partial = vectorized!(sum_of_squares(piece)));
        used += pieces;
    }
    partials[..used].iter().sum()
}

#[inline(always)]
fn sum_of_squares(piece: &[f32]) -> f64 {
    let mut lanes = [0.0_f64; 16];
    let (whole, rest) = piece.as_chunks::<16>();
    for numbers in whole {
        for (lane, &number) in lanes.iter_mut().zip(numbers) {
            *lane += f64::from(number) * f64::from(number);
        }
    }
    for (lane, &number) in lanes.iter_mut().zip(rest) {
        *lane += f64::from(number) * f64::from(number);
    }
    lanes.iter().sum()
}

/// The factor that scales a gradient of this norm down to `max_norm` (Pascanu, Mikolov & Bengio 2013,
/// algorithm 1), 1 if the norm is no larger than that. The caller must refuse a norm that is not finite: see
/// [`super::spike`].
pub fn clip_factor(norm: f64, max_norm: f64) -> f64 {
    if norm > max_norm { max_norm / norm } else { 1.0 }
}

#[cfg(test)]
mod tests;

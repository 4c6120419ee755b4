//! Spectral normalization: a weight is divided by its largest singular value (Miyato, Kataoka, Koyama &
//! Yoshida 2018).
//!
//! ```text
//! W̄ = g·W/σ,   σ = uᵀWv          W as a matrix of outputs × inputs, u and v its first singular vectors
//! ```
//!
//! A layer with such a weight stretches no difference of inputs by more than g (a convolution by little more,
//! as its patches overlap). So the slope of the whole discriminator is bounded however long it trains, and
//! the decoder always gets a usable gradient from it. g compensates for the activations between layers, which
//! reduce differences: SiLU's slope is ½ at 0.
//!
//! # Power iteration
//!
//! u is kept from step to step, and each step does one iteration: v ← Wᵀu/‖Wᵀu‖, u ← Wv/‖Wv‖. W moves little
//! in a step, so that is enough. u belongs to the state of training and is saved with it.
//!
//! # Gradient
//!
//! At the first singular vectors, σ changes with W as if u and v were constant: dσ = uᵀ dW v. With G =
//! ∂L/∂W̄,
//!
//! ```text
//! ⟨G, dW̄⟩ = g·⟨G, dW⟩/σ − g·⟨G, W⟩·uᵀdWv/σ²      so      ∂L/∂W = (g·G − ⟨G, W̄⟩·u·vᵀ)/σ
//! ```

use std::ops::Range;

use rayon::prelude::*;

use crate::random::{Stream, fill_normal, stream};
use crate::tensor::Element;

/// g.
pub const GAIN: f64 = 1.5;
/// The least σ: a weight of zeros stays one of zeros.
const SMALLEST: f64 = 1e-12;

/// A weight that is normalized.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Weight {
    /// Its numbers in the flat vector, row after row.
    pub range: Range<usize>,
    /// Its outputs: the numbers of u.
    pub rows: usize,
    /// The range of u in the vector of all directions.
    pub left: Range<usize>,
    /// The range of v in [`Spectral::right`].
    pub right: Range<usize>,
}

/// The normalized weights of a step, and the data for their gradient.
#[derive(Debug)]
pub(super) struct Spectral<T> {
    /// All parameters with W̄ for W.
    pub normalized: Vec<T>,
    right: Vec<T>,
    sigma: Vec<f64>,
}

impl<T: Element> Spectral<T> {
    pub fn new(weights: &[Weight], parameters: usize) -> Self {
        let right = weights.last().map_or(0, |weight| weight.right.end);
        Self {
            normalized: vec![T::ZERO; parameters],
            right: vec![T::ZERO; right],
            sigma: vec![0.0; weights.len()],
        }
    }

    /// One power iteration of every weight.
    pub fn iterate(&mut self, weights: &[Weight], parameters: &[T], directions: &mut [T]) {
        for weight in weights {
            let w = &parameters[weight.range.clone()];
            let (u, v) = (&mut directions[weight.left.clone()], &mut self.right[weight.right.clone()]);
            v.fill(T::ZERO);
            for (row, &u) in w.chunks_exact(v.len()).zip(&*u) {
                v.iter_mut().zip(row).for_each(|(v, &w)| *v += u * w);
            }
            to_unit(v);
            times(w, v, u);
            to_unit(u);
        }
    }

    /// σ and W̄ of every weight, for the current u and v.
    pub fn normalize(&mut self, weights: &[Weight], parameters: &[T], directions: &[T]) {
        self.normalized.copy_from_slice(parameters);
        for (weight, sigma) in weights.iter().zip(&mut self.sigma) {
            let w = &parameters[weight.range.clone()];
            let (u, v) = (&directions[weight.left.clone()], &self.right[weight.right.clone()]);
            let rows = w.chunks_exact(v.len()).zip(u);
            *sigma = rows.map(|(row, u)| u.to_f64() * dot(row, v)).sum::<f64>().max(SMALLEST);
            let factor = T::from_f64(GAIN / *sigma);
            self.normalized[weight.range.clone()].iter_mut().for_each(|w| *w *= factor);
        }
    }

    /// ∂L/∂W̄ becomes ∂L/∂W.
    pub fn backward(&self, weights: &[Weight], directions: &[T], gradient: &mut [T]) {
        for (weight, &sigma) in weights.iter().zip(&self.sigma) {
            let (g, normalized) =
                (&mut gradient[weight.range.clone()], &self.normalized[weight.range.clone()]);
            let (u, v) = (&directions[weight.left.clone()], &self.right[weight.right.clone()]);
            let rows = g.chunks_exact(v.len()).zip(normalized.chunks_exact(v.len()));
            let inner: f64 = rows.map(|(g, w)| dot(g, w)).sum();
            let factor = T::from_f64(GAIN / sigma);
            for (row, &u) in g.chunks_exact_mut(v.len()).zip(u) {
                let along = T::from_f64(inner / sigma) * u;
                row.iter_mut().zip(v).for_each(|(g, &v)| *g = factor * *g - along * v);
            }
        }
    }
}

/// u before the first iteration: a draw of the normal distribution for each weight.
pub(super) fn first_directions<T: Element>(weights: &[Weight], seed: u64) -> Vec<T> {
    let mut all = Vec::new();
    for (index, weight) in weights.iter().enumerate() {
        let mut u = vec![0.0_f32; weight.rows];
        fill_normal(&mut stream(seed, Stream::Direction, index as u64), &mut u);
        let mut u: Vec<T> = u.into_iter().map(|x| T::from_f64(f64::from(x))).collect();
        to_unit(&mut u);
        all.extend(u);
    }
    all
}

/// y ← W·v.
fn times<T: Element>(w: &[T], v: &[T], y: &mut [T]) {
    y.par_iter_mut().zip(w.par_chunks_exact(v.len())).for_each(|(y, row)| *y = T::from_f64(dot(row, v)));
}

/// The inner product, in eight running sums that are added in order.
fn dot<T: Element>(a: &[T], b: &[T]) -> f64 {
    let mut sums = [0.0_f64; 8];
    for (a, b) in a.chunks(8).zip(b.chunks(8)) {
        for ((sum, &a), &b) in sums.iter_mut().zip(a).zip(b) {
            *sum += a.to_f64() * b.to_f64();
        }
    }
    sums.iter().sum()
}

/// x ← x/‖x‖; zeros stay zeros.
fn to_unit<T: Element>(x: &mut [T]) {
    let factor = T::from_f64(1.0 / dot(x, x).sqrt().max(SMALLEST));
    x.iter_mut().for_each(|x| *x *= factor);
}

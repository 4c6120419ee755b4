//! A linear probe: softmax regression on codes, trained here with a gradient derived by hand.
//!
//! ```text
//! x      (z − m) / s, each dimension with mean 0 and variance 1 over the references; 1 as bias; F = Z + 1
//! p      softmax(W·x), W is L × F
//! loss   −1/N Σ_n ln p_n[y_n] + 1/(2N)·Σ W²  (the bias apart)
//! ```
//!
//! The second term is a prior N(0, 1) for each weight: it decides if references are few and separable, and is
//! negligible if they are many.
//!
//! With a = W·x and ln p\[y\] = a\[y\] − ln Σ_k e^a\[k\], the derivative of −ln p\[y\] by a\[k\] is p\[k\] −
//! (1 if k = y). So
//!
//! ```text
//! ∂loss/∂W = 1/N Σ_n (p_n − onehot(y_n))·x_nᵀ + W/N
//! ```
//!
//! The loss is convex. It is minimized by Nesterov's accelerated gradient (Nesterov 1983; Beck & Teboulle
//! 2009, FISTA) with the step 1/Λ, where Λ = ½·λ_max(XᵀX/N) + 1/N bounds the curvature: the Hessian of −ln
//! softmax is at most ½ (Böhning 1992).

use rayon::prelude::*;

use crate::kernels::gemm::{Matrix, MatrixMut, gemm};

/// Steps of the minimization.
const STEPS: usize = 400;
/// References of a task.
const ROWS: usize = 2048;

/// A trained probe.
///
/// ```
/// use elbo::evaluate::probe::Probe;
/// let probe = Probe::fit(&[-2.0, -1.0, 1.0, 2.0], &[0, 0, 1, 1], 1, 2);
/// let p = probe.probabilities(&[-1.5, 0.0, 1.5]);
/// assert!(p[0] > 0.7 && (p[2] - 0.5).abs() < 1e-6 && p[5] > 0.7);
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Probe {
    classes: usize,
    mean: Vec<f64>,
    scale: Vec<f64>,
    /// L × F.
    weights: Vec<f64>,
}

impl Probe {
    /// Fits a probe to `codes`, N × Z, and their `labels`, N numbers below `classes`.
    ///
    /// # Panics
    /// If the lengths do not fit each other, there are no codes, or a label is not below `classes`.
    pub fn fit(codes: &[f32], labels: &[u32], latent: usize, classes: usize) -> Self {
        assert!(!labels.is_empty() && codes.len() == labels.len() * latent, "a code for each label");
        assert!(labels.iter().all(|&label| (label as usize) < classes), "labels below {classes}");
        let count = labels.len() as f64;
        let mut mean = vec![0.0; latent];
        for code in codes.chunks_exact(latent) {
            mean.iter_mut().zip(code).for_each(|(sum, &z)| *sum += f64::from(z) / count);
        }
        let mut variance = vec![0.0; latent];
        for code in codes.chunks_exact(latent) {
            let parts = variance.iter_mut().zip(code).zip(&mean);
            parts.for_each(|((sum, &z), mean)| *sum += (f64::from(z) - mean).powi(2) / count);
        }
        // A constant dimension carries no information.
        let scale = variance.iter().map(|&v| if v > 1e-12 { v.sqrt().recip() } else { 0.0 }).collect();
        let mut probe = Self { classes, mean, scale, weights: vec![0.0; classes * (latent + 1)] };
        let x = probe.features(codes);
        probe.weights = minimize(&x, labels, classes, latent + 1);
        probe
    }

    /// The probability of each class for `codes`, N × Z: N × L.
    ///
    /// # Panics
    /// If the numbers are not whole codes.
    pub fn probabilities(&self, codes: &[f32]) -> Vec<f64> {
        let x = self.features(codes);
        let features = self.mean.len() + 1;
        let mut p = vec![0.0; x.len() / features * self.classes];
        softmax_of(&x, &self.weights, self.classes, features, &mut p);
        p
    }

    /// Standardized codes with a 1 behind each: N × F.
    fn features(&self, codes: &[f32]) -> Vec<f64> {
        let latent = self.mean.len();
        assert!(codes.len().is_multiple_of(latent), "{} numbers for codes of {latent}", codes.len());
        let one = |code: &[f32]| -> Vec<f64> {
            let parts = code.iter().zip(&self.mean).zip(&self.scale);
            parts.map(|((&z, mean), scale)| (f64::from(z) - mean) * scale).chain([1.0]).collect()
        };
        codes.chunks_exact(latent).flat_map(one).collect()
    }
}

/// p ← softmax(W·x) for each row of `x`.
fn softmax_of(x: &[f64], weights: &[f64], classes: usize, features: usize, p: &mut [f64]) {
    let count = x.len() / features;
    let transposed = Matrix::new(weights, classes, features).transposed();
    gemm(Matrix::new(x, count, features), transposed, 0.0, &mut MatrixMut::new(p, count, classes));
    for row in p.chunks_exact_mut(classes) {
        softmax(row);
    }
}

/// e^a / Σ e^a in place.
pub(crate) fn softmax(row: &mut [f64]) {
    let largest = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    row.iter_mut().for_each(|a| *a = (*a - largest).exp());
    let sum: f64 = row.iter().sum();
    row.iter_mut().for_each(|a| *a /= sum);
}

/// The loss of `weights`, L × F, and its gradient, for features `x`, N × F.
fn loss_and_gradient(
    x: &[f64],
    labels: &[u32],
    weights: &[f64],
    classes: usize,
    features: usize,
    gradient: &mut [f64],
) -> f64 {
    let count = labels.len() as f64;
    // Partial sums over n, added in order: bit-identical for any number of threads.
    let parts: Vec<(f64, Vec<f64>)> = x
        .par_chunks(ROWS * features)
        .zip(labels.par_chunks(ROWS))
        .map(|(x, labels)| {
            let n = labels.len();
            let mut d = vec![0.0; n * classes];
            softmax_of(x, weights, classes, features, &mut d);
            let mut loss = 0.0;
            for (row, &label) in d.chunks_exact_mut(classes).zip(labels) {
                loss -= row[label as usize].max(f64::MIN_POSITIVE).ln();
                row[label as usize] -= 1.0; // p − onehot(y)
            }
            let mut product = vec![0.0; classes * features];
            let transposed = Matrix::new(&d, n, classes).transposed();
            let target = &mut MatrixMut::new(&mut product, classes, features);
            gemm(transposed, Matrix::new(x, n, features), 0.0, target);
            (loss, product)
        })
        .collect();
    gradient.fill(0.0);
    let mut loss = 0.0;
    for (part, product) in &parts {
        loss += part / count;
        gradient.iter_mut().zip(product).for_each(|(sum, g)| *sum += g / count);
    }
    for (g, w) in gradient.chunks_exact_mut(features).zip(weights.chunks_exact(features)) {
        for (g, w) in g.iter_mut().zip(w).take(features - 1) {
            loss += 0.5 * w * w / count;
            *g += w / count;
        }
    }
    loss
}

/// The weights with the smallest loss.
fn minimize(x: &[f64], labels: &[u32], classes: usize, features: usize) -> Vec<f64> {
    let count = labels.len() as f64;
    let step = 1.0 / (0.5 * largest_eigenvalue(x, features) / count + 1.0 / count);
    let mut weights = vec![0.0; classes * features];
    let (mut ahead, mut gradient) = (weights.clone(), weights.clone());
    let mut momentum = 1.0_f64;
    for _ in 0..STEPS {
        loss_and_gradient(x, labels, &ahead, classes, features, &mut gradient);
        let next_momentum = 0.5 * (1.0 + (1.0 + 4.0 * momentum * momentum).sqrt());
        let push = (momentum - 1.0) / next_momentum;
        for ((w, a), g) in weights.iter_mut().zip(&mut ahead).zip(&gradient) {
            let next = *a - step * g;
            *a = next + push * (next - *w);
            *w = next;
        }
        momentum = next_momentum;
    }
    weights
}

/// An upper bound on λ_max(XᵀX), times N: power iteration on the F × F matrix, plus a twentieth.
fn largest_eigenvalue(x: &[f64], features: usize) -> f64 {
    let mut square = vec![0.0; features * features];
    for row in x.chunks_exact(features) {
        for (i, a) in row.iter().enumerate() {
            let line = &mut square[i * features..][..features];
            line.iter_mut().zip(row).for_each(|(sum, b)| *sum += a * b);
        }
    }
    let mut v: Vec<f64> = (0..features).map(|i| 1.0 + i as f64 / features as f64).collect();
    let mut value = 0.0;
    for _ in 0..50 {
        let product: Vec<f64> =
            square.chunks_exact(features).map(|row| row.iter().zip(&v).map(|(a, b)| a * b).sum()).collect();
        value = product.iter().map(|a| a * a).sum::<f64>().sqrt();
        v = product.iter().map(|a| a / value.max(f64::MIN_POSITIVE)).collect();
    }
    1.05 * value
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gradient_check::{check, random_vec};
    use crate::random::{Stream, fill_normal, stream};

    #[test]
    fn the_gradient_is_that_of_the_loss() {
        let (count, features, classes) = (7, 4, 3);
        let x = random_vec(1, count * features);
        let labels: Vec<u32> = (0..count as u32).map(|n| n * 5 % 3).collect();
        let mut weights = random_vec(2, classes * features);
        let mut gradient = vec![0.0; weights.len()];
        loss_and_gradient(&x, &labels, &weights, classes, features, &mut gradient);
        let mut unused = gradient.clone();
        check("softmax regression", &mut weights, &gradient, |w| {
            loss_and_gradient(&x, &labels, w, classes, features, &mut unused)
        });
    }

    #[test]
    fn the_minimum_is_found_and_does_not_depend_on_the_threads() {
        let (latent, count) = (5, 3000);
        let mut codes = vec![0.0; count * latent];
        fill_normal(&mut stream(3, Stream::Sampling, 0), &mut codes);
        let labels: Vec<u32> = (0..count as u32).map(|n| n % 3).collect();
        for (code, &label) in codes.chunks_exact_mut(latent).zip(&labels) {
            code[label as usize] += 2.0;
        }
        let fit = || Probe::fit(&codes, &labels, latent, 3);
        let probe = fit();
        let x = probe.features(&codes);
        let mut gradient = vec![0.0; 3 * (latent + 1)];
        loss_and_gradient(&x, &labels, &probe.weights, 3, latent + 1, &mut gradient);
        assert!(gradient.iter().all(|g| g.abs() < 1e-5), "{gradient:?}");
        let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
        assert_eq!(pool.install(fit), probe);
        let p = probe.probabilities(&codes);
        let right = p
            .chunks_exact(3)
            .zip(&labels)
            .filter(|(p, label)| p.iter().all(|other| *other <= p[**label as usize]));
        assert!(right.count() > 2400);
    }
}

//! The features of codes, with which both steps of EM are matrix products; the module above has the formulas.

use rayon::prelude::*;
use std::f64::consts::PI;

use super::{BLOCKS, FULL_UP_TO, Mixture, SMALLEST_BLOCK};
use crate::error::{Error, Result};
use crate::generate::symmetric::{cholesky, invert_lower};
use crate::kernels::gemm::{Matrix, MatrixMut, gemm};
use crate::model::codec::Codes;

/// The features of a code: 1, z, and z_i·z_j with i ≤ j, or only z_i² for diagonal covariances.
#[derive(Clone, Copy, Debug)]
pub(super) struct Features {
    latent: usize,
    pub full: bool,
    /// Features of a code.
    pub len: usize,
}

impl Features {
    pub fn new(latent: usize) -> Self {
        let full = latent <= FULL_UP_TO;
        let squares = if full { latent * (latent + 1) / 2 } else { latent };
        Self { latent, full, len: 1 + latent + squares }
    }

    /// Calls `visit(i, j)` for the products in their order.
    fn for_each_product(&self, mut visit: impl FnMut(usize, usize)) {
        for i in 0..self.latent {
            for j in i..if self.full { self.latent } else { i + 1 } {
                visit(i, j);
            }
        }
    }

    /// E[φ(z)] under N(μ, diag σ²).
    fn expected(&self, mu: &[f32], log_variance: &[f32], row: &mut [f64]) {
        row[0] = 1.0;
        for (feature, &mu) in row[1..].iter_mut().zip(mu) {
            *feature = f64::from(mu);
        }
        let (linear, products) = row[1..].split_at_mut(self.latent);
        let mut products = products.iter_mut();
        self.for_each_product(|i, j| {
            let variance = if i == j { f64::from(log_variance[i]).exp() } else { 0.0 };
            if let Some(product) = products.next() {
                *product = linear[i] * linear[j] + variance;
            }
        });
    }

    /// The mean over the images of E[‖z‖²].
    pub fn mean_square(&self, codes: &Codes) -> f64 {
        let square = |(&mu, &s): (&f32, &f32)| f64::from(mu).powi(2) + f64::from(s).exp();
        codes.mu.iter().zip(&codes.log_variance).map(square).sum::<f64>() * self.latent as f64
            / codes.mu.len() as f64
    }

    /// Rᵀ·Φ, K × features, and the sum of what `respond` returns; `respond(first image, Φ, R)` fills a
    /// block's responsibilities.
    pub fn responsible_sums(
        &self,
        codes: &Codes,
        components: usize,
        respond: &(dyn Fn(usize, &[f64], &mut [f64]) -> f64 + Sync),
    ) -> (Vec<f64>, f64) {
        let images = codes.mu.len() / self.latent;
        let block = images.div_ceil(BLOCKS).max(SMALLEST_BLOCK);
        let blocks =
            codes.mu.par_chunks(block * self.latent).zip(codes.log_variance.par_chunks(block * self.latent));
        let partial: Vec<(Vec<f64>, f64)> = blocks
            .enumerate()
            .map(|(index, (mu, log_variance))| {
                let n = mu.len() / self.latent;
                let mut phi = vec![0.0; n * self.len];
                let rows = mu.chunks_exact(self.latent).zip(log_variance.chunks_exact(self.latent));
                for (row, (mu, log_variance)) in phi.chunks_exact_mut(self.len).zip(rows) {
                    self.expected(mu, log_variance, row);
                }
                let mut responsibilities = vec![0.0; n * components];
                let value = respond(index * block, &phi, &mut responsibilities);
                let mut sums = vec![0.0; components * self.len];
                gemm(
                    Matrix::new(&responsibilities, n, components).transposed(),
                    Matrix::new(&phi, n, self.len),
                    0.0,
                    &mut MatrixMut::new(&mut sums, components, self.len),
                );
                (sums, value)
            })
            .collect();
        let mut total = (vec![0.0; components * self.len], 0.0);
        for (sums, value) in partial {
            total.0.iter_mut().zip(sums).for_each(|(total, sum)| *total += sum);
            total.1 += value;
        }
        total
    }

    /// The E step, together with the sums that the M step needs; the second number is the bound's sum over
    /// the images.
    pub fn expect(&self, mixture: &Mixture, codes: &Codes) -> (Vec<f64>, f64) {
        let components = mixture.components();
        let theta = self.theta(mixture);
        self.responsible_sums(codes, components, &|_, phi, responsibilities| {
            let n = phi.len() / self.len;
            let theta = Matrix::new(&theta, components, self.len).transposed();
            gemm(
                Matrix::new(phi, n, self.len),
                theta,
                0.0,
                &mut MatrixMut::new(responsibilities, n, components),
            );
            // Rows of ln π_k + E[ln N_k] become shares that sum to 1.
            let normalize = |row: &mut [f64]| {
                let largest = row.iter().fold(f64::NEG_INFINITY, |a, &b| a.max(b));
                row.iter_mut().for_each(|x| *x = (*x - largest).exp());
                let sum: f64 = row.iter().sum();
                row.iter_mut().for_each(|x| *x /= sum);
                largest + sum.ln()
            };
            responsibilities.chunks_exact_mut(components).map(normalize).sum()
        })
    }

    /// Θ, K × features, with Θ_k·φ(z) = ln π_k + ln N(z; m_k, S_k). With P = S⁻¹:
    /// ln N = −½(Z·ln 2π + ln|S| + mᵀPm) + (Pm)ᵀz − ½·zᵀPz.
    pub fn theta(&self, mixture: &Mixture) -> Vec<f64> {
        let z = self.latent;
        let mut theta = vec![0.0; mixture.components() * self.len];
        for (k, row) in theta.chunks_exact_mut(self.len).enumerate() {
            let (mean, scale) = (&mixture.means[k * z..][..z], mixture.scale(k));
            let diagonal = |i: usize| if self.full { scale[i * z + i] } else { scale[i] };
            let ln_det: f64 = (0..z).map(|i| 2.0 * diagonal(i).ln()).sum();
            let inverse = if self.full { invert_lower(scale, z) } else { Vec::new() };
            let precision = |i: usize, j: usize| -> f64 {
                match (self.full, i == j) {
                    // P = L⁻ᵀ·L⁻¹, and row k of L⁻¹ ends at its diagonal.
                    (true, _) => (i.max(j)..z).map(|k| inverse[k * z + i] * inverse[k * z + j]).sum(),
                    (false, true) => scale[i].powi(-2),
                    (false, false) => 0.0,
                }
            };
            let mut at = 1 + z;
            self.for_each_product(|i, j| {
                let p = precision(i, j);
                row[1 + i] += p * mean[j];
                if i == j {
                    row[at] = -0.5 * p;
                } else {
                    row[1 + j] += p * mean[i];
                    row[at] = -p;
                }
                at += 1;
            });
            let square: f64 = mean.iter().zip(&row[1..]).map(|(m, pm)| m * pm).sum();
            row[0] = mixture.weights[k].ln() - 0.5 * (z as f64 * (2.0 * PI).ln() + ln_det + square);
        }
        theta
    }

    /// The M step, from Rᵀ·Φ.
    pub fn maximize(&self, sums: &[f64], images: usize) -> Result<Mixture> {
        let (z, components) = (self.latent, sums.len() / self.len);
        // The mean features of all images: one imaginary image for each component.
        let mut mean_features = vec![0.0; self.len];
        for row in sums.chunks_exact(self.len) {
            mean_features.iter_mut().zip(row).for_each(|(mean, x)| *mean += x / images as f64);
        }
        let mut mixture = Mixture { latent: z, weights: Vec::new(), means: Vec::new(), scales: Vec::new() };
        for row in sums.chunks_exact(self.len) {
            let row: Vec<f64> = row.iter().zip(&mean_features).map(|(x, mean)| x + mean).collect();
            let count = row[0];
            mixture.weights.push(count / (images + components) as f64);
            let mean: Vec<f64> = row[1..1 + z].iter().map(|x| x / count).collect();
            let mut covariance = vec![0.0; if self.full { z * z } else { z }];
            let mut at = 1 + z;
            self.for_each_product(|i, j| {
                let value = row[at] / count - mean[i] * mean[j];
                if self.full {
                    covariance[i * z + j] = value;
                    covariance[j * z + i] = value;
                } else {
                    covariance[i] = value;
                }
                at += 1;
            });
            let scale = if self.full {
                cholesky(&covariance, z)
            } else {
                let roots: Vec<f64> = covariance.iter().map(|x| x.sqrt()).collect();
                roots.iter().all(|&x| x > 0.0).then_some(roots)
            };
            let scale = scale.ok_or_else(|| {
                Error::Training(
                    "the training images' codes vary too little for a mixture to be fitted to them".into(),
                )
            })?;
            mixture.means.extend(mean);
            mixture.scales.extend(scale);
        }
        Ok(mixture)
    }
}

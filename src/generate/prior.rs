//! The distribution of the codes of samples: the standard normal, or a Gaussian mixture that is fitted to the
//! codes of the training images.
//!
//! A decoder is trained on the codes that the encoder returns. Over all training images these follow the
//! **aggregate posterior**
//!
//! ```text
//! q(z) = 1/N Σ_n q(z|x_n) = 1/N Σ_n N(z; μ_n, diag σ_n²)
//! ```
//!
//! which is only roughly the prior N(0, I): it has holes between the classes, and a code from a hole decodes
//! to a meaningless picture. So after training a mixture Σ_k π_k·N(z; m_k, S_k) is fitted to q(z), and
//! samples are drawn from that. (Ghosh et al. 2020 fit ten Gaussians to the codes of autoencoders.)
//!
//! # Fitting to posteriors, not to points
//!
//! Fitted to the μ_n alone, the mixture would be too narrow, since the decoder was trained with σ_n around
//! each. The quantity to maximize is the mean of E_{q(z|x_n)}[ln Σ_k π_k·N(z; m_k, S_k)]. With one set of
//! responsibilities r_nk for all of q(z|x_n), Jensen's inequality yields a lower bound for which both steps
//! of EM (Dempster, Laird & Rubin 1977) have a closed form:
//!
//! ```text
//! E   r_nk ∝ π_k·exp E_{q(z|x_n)}[ln N(z; m_k, S_k)]
//! M   R_k = Σ_n r_nk,   π_k = R_k/N,   m_k = Σ_n r_nk·μ_n / R_k,
//!     S_k = Σ_n r_nk·[(μ_n − m_k)(μ_n − m_k)ᵀ + diag σ_n²] / R_k
//! ```
//!
//! Both are matrix products. With the features φ(z) = (1, z, z·zᵀ) of a code, ln N(z; m_k, S_k) is linear in
//! φ. So only E\[φ\] under the posterior is needed, (1, μ, μ·μᵀ + diag σ²). The E step is Φ·Θᵀ for a matrix Φ
//! of images × features and a matrix Θ of components × features; the M step is Rᵀ·Φ.
//!
//! Each component gets the mean features of one imaginary image added (a prior on its parameters, so EM
//! becomes MAP-EM). So no component can shrink to a point or lose its last image. With more than
//! [`FULL_UP_TO`] dimensions S_k is diagonal, since there would be too many features. EM starts from
//! k-means++ (Arthur & Vassilvitskii 2007), seeded. The fit is the same for any number of threads.

use rand::rngs::ChaCha8Rng;
use rayon::prelude::*;
use std::f64::consts::PI;

use super::symmetric::{cholesky, invert_lower};
use crate::error::{Error, Result};
use crate::kernels::gemm::{Matrix, MatrixMut, gemm};
use crate::model::codec::Codes;
use crate::model::{ModelConfig, Preset};
use crate::random::{Stream, fill_normal, stream};

mod file;
mod memory;
mod start;

pub use file::{FILE_NAME, fingerprint};

/// The most latent dimensions for which covariances are full: those of the preset residual.
pub const FULL_UP_TO: usize = 128;
/// The default number of components, if there are enough images.
pub const COMPONENTS: usize = 50;
/// The least number of images per component; with fewer images there are fewer components.
const IMAGES_PER_COMPONENT: usize = 100;
/// Numbers of the images that a mixture is fitted to, if there are more than [`ENOUGH_IMAGES`].
const MOST_NUMBERS: usize = 50_000_000;
/// Images that are enough for the largest mixture.
const ENOUGH_IMAGES: usize = COMPONENTS * IMAGES_PER_COMPONENT;
/// EM ends when a step gains less than this, in nats per image, and at the latest after so many steps.
const TOLERANCE: f64 = 1e-3;
const STEPS: usize = 100;
/// Blocks of images that are processed in parallel; their sums are kept apart and then added in order.
const BLOCKS: usize = 64;
/// The smallest block.
const SMALLEST_BLOCK: usize = 256;

/// The distribution that codes are drawn from.
#[derive(Clone, Debug, PartialEq)]
pub enum Prior {
    /// N(0, I), the prior that the model was trained with.
    Normal,
    /// A mixture fitted to the aggregate posterior.
    Mixture(Mixture),
}

impl Prior {
    /// The names, as in the options.
    pub const NAMES: [&'static str; 2] = ["normal", "gmm"];

    /// Whether samples are drawn from a mixture if nothing else is asked for. The codes of colour pictures fill only a small part of N(0, I), and
    /// between them are blots.
    pub fn is_fitted_by_default(config: &ModelConfig) -> bool {
        config.preset == Preset::Residual
    }

    /// Draws codes of `latent` numbers one after another from one generator. Allocates nothing.
    pub fn fill(&self, rng: &mut ChaCha8Rng, latent: usize, codes: &mut [f32]) {
        match self {
            Self::Normal => fill_normal(rng, codes),
            Self::Mixture(mixture) => {
                codes.chunks_exact_mut(latent).for_each(|z| mixture.draw(rng, 1.0, z));
            }
        }
    }

    /// `count` codes of `latent` numbers. `temperature` scales their distance from the mean (of their
    /// component): below 1 samples are more typical and less varied. Each code has its own random stream, so
    /// the first ones do not depend on `count`.
    ///
    /// ```
    /// use elbo::generate::prior::Prior;
    /// let codes = Prior::Normal.draw(3, 2, 0, 1.0);
    /// assert_eq!(codes[..2], Prior::Normal.draw(1, 2, 0, 1.0));
    /// ```
    pub fn draw(&self, count: usize, latent: usize, seed: u64, temperature: f64) -> Vec<f32> {
        let mut codes = vec![0.0; count * latent];
        for (index, z) in codes.chunks_exact_mut(latent).enumerate() {
            let mut rng = stream(seed, Stream::Sampling, index as u64);
            match self {
                Self::Normal => {
                    fill_normal(&mut rng, z);
                    z.iter_mut().for_each(|z| *z *= temperature as f32);
                }
                Self::Mixture(mixture) => mixture.draw(&mut rng, temperature, z),
            }
        }
        codes
    }
}

/// A Gaussian mixture over codes of Z dimensions, with K components.
#[derive(Clone, Debug, PartialEq)]
pub struct Mixture {
    /// Z.
    pub latent: usize,
    /// π, K of them that sum to 1.
    pub weights: Vec<f64>,
    /// m, K × Z.
    pub means: Vec<f64>,
    /// L with S = L·Lᵀ, lower triangular, K × Z × Z; or, for diagonal covariances, their square roots, K × Z.
    pub scales: Vec<f64>,
}

/// The result of a fit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FitReport {
    /// EM steps.
    pub steps: usize,
    /// The mean over the images of a lower bound on E_{q(z|x)}[ln mixture(z)], in nats.
    pub bound: f64,
    /// The mean of E_{q(z|x)}[ln N(z; 0, I)]: the exact value of the same quantity for the plain prior.
    pub normal: f64,
}

impl Mixture {
    /// The default number of components for so many images.
    pub fn default_components(images: usize) -> usize {
        (images / IMAGES_PER_COMPONENT).clamp(1, COMPONENTS)
    }

    /// The training images that a mixture is fitted to: all, or of many large ones some, spread evenly.
    pub fn images_to_fit(train: &[usize], pixels: usize) -> Vec<usize> {
        let count = most_images(pixels).min(train.len());
        (0..count).map(|i| train[i * train.len() / count]).collect()
    }

    /// Fits `components` Gaussians to the posteriors of the training images.
    ///
    /// # Errors
    /// If there are fewer images than components, no components, or posteriors that are not finite.
    pub fn fit(codes: &Codes, latent: usize, components: usize, seed: u64) -> Result<(Self, FitReport)> {
        let images = codes.mu.len() / latent;
        if components == 0 || components > images {
            return Err(Error::config(format!(
                "a mixture of {components} components for {images} images; it must have at least 1, and at most as many as there are images"
            )));
        }
        if !codes.mu.iter().chain(&codes.log_variance).all(|x| x.is_finite()) {
            return Err(Error::Training(
                "the model's codes are not finite numbers, so no prior can be fitted to them".into(),
            ));
        }
        let features = Features::new(latent);
        let nearest = start::k_means_plus_plus(&codes.mu, latent, components, seed);
        let hard = |image: usize, row: &mut [f64]| row[nearest[image]] = 1.0;
        let mut sums = features.responsible_sums(codes, components, &|first, _, responsibilities| {
            for (row, image) in responsibilities.chunks_exact_mut(components).zip(first..) {
                row.fill(0.0);
                hard(image, row);
            }
            0.0
        });
        let normal = -0.5 * (features.mean_square(codes) + latent as f64 * (2.0 * PI).ln());
        let mut mixture = features.maximize(&sums.0, images)?;
        let mut bound = f64::NEG_INFINITY;
        for step in 1..=STEPS {
            sums = features.expect(&mixture, codes);
            let gain = sums.1 / images as f64 - bound;
            bound = sums.1 / images as f64;
            if gain < TOLERANCE || step == STEPS {
                return Ok((mixture.rounded(), FitReport { steps: step, bound, normal }));
            }
            mixture = features.maximize(&sums.0, images)?;
        }
        unreachable!("the last step returns")
    }

    /// The mixture rounded to the precision of its file, f32, so that it draws the same codes before saving
    /// and after loading.
    fn rounded(mut self) -> Self {
        for values in [&mut self.weights, &mut self.means, &mut self.scales] {
            values.iter_mut().for_each(|value| *value = f64::from(*value as f32));
        }
        self
    }

    /// K.
    pub fn components(&self) -> usize {
        self.weights.len()
    }

    /// Whether the covariances are full matrices, not diagonal ones.
    pub fn is_full(&self) -> bool {
        self.scales.len() == self.means.len() * self.latent
    }

    /// Draws a component by its weight, then z = m + temperature·L·ε.
    fn draw(&self, rng: &mut ChaCha8Rng, temperature: f64, z: &mut [f32]) {
        let latent = self.latent;
        let mut left = start::uniform(rng);
        let last = self.components() - 1;
        let passed = |weight: &&f64| {
            left -= **weight;
            left >= 0.0
        };
        let k = self.weights[..last].iter().take_while(passed).count();
        fill_normal(rng, z);
        let (mean, scale) = (&self.means[k * latent..][..latent], self.scale(k));
        // z begins as ε. From the last number on, since number i needs only ε_0 … ε_i.
        for i in (0..latent).rev() {
            let step: f64 = if self.is_full() {
                (0..=i).map(|j| scale[i * latent + j] * f64::from(z[j])).sum()
            } else {
                scale[i] * f64::from(z[i])
            };
            z[i] = (mean[i] + temperature * step) as f32;
        }
    }

    /// The numbers of L_k.
    fn scale(&self, k: usize) -> &[f64] {
        let len = self.scales.len() / self.components();
        &self.scales[k * len..][..len]
    }
}

/// The most images of so many numbers that a mixture is fitted to.
fn most_images(pixels: usize) -> usize {
    (MOST_NUMBERS / pixels).max(ENOUGH_IMAGES)
}

/// The features of a code: 1, z, and z_i·z_j with i ≤ j, or only z_i² for diagonal covariances.
#[derive(Clone, Copy, Debug)]
struct Features {
    latent: usize,
    full: bool,
    len: usize,
}

impl Features {
    fn new(latent: usize) -> Self {
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
    fn mean_square(&self, codes: &Codes) -> f64 {
        let square = |(&mu, &s): (&f32, &f32)| f64::from(mu).powi(2) + f64::from(s).exp();
        codes.mu.iter().zip(&codes.log_variance).map(square).sum::<f64>() * self.latent as f64
            / codes.mu.len() as f64
    }

    /// Rᵀ·Φ, K × features, and the sum of what `respond` returns; `respond(first image, Φ, R)` fills a
    /// block's responsibilities.
    fn responsible_sums(
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
    fn expect(&self, mixture: &Mixture, codes: &Codes) -> (Vec<f64>, f64) {
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
    fn theta(&self, mixture: &Mixture) -> Vec<f64> {
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
    fn maximize(&self, sums: &[f64], images: usize) -> Result<Mixture> {
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

#[cfg(test)]
mod tests;

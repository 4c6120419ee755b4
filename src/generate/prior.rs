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
use std::f64::consts::PI;

use crate::error::{Error, Result};
use crate::model::codec::Codes;
use crate::model::{ModelConfig, Preset};
use crate::random::{Stream, fill_normal, stream};

mod features;
mod file;
mod memory;
mod start;

use features::Features;
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

#[cfg(test)]
mod tests;

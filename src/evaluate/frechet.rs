//! The distance of samples from real images: a Fréchet distance between the features of both.
//!
//! ```text
//! d² = ‖m₁ − m₂‖² + tr(S₁ + S₂ − 2·(S₁·S₂)^½)          m, S: mean and covariance of each set's features
//! ```
//!
//! is the squared Wasserstein-2 distance of two Gaussians (Dowson & Landau 1982; Heusel et al. 2017 evaluate
//! generative models with it, as FID). It is reported as a share of the total variance tr S of the real
//! images' features: 0 is equal, and 1 is as far off as pictures that are right on average but have no
//! variety. (S₁·S₂)^½ has the trace Σ √λ over the eigenvalues λ of S₁^½·S₂·S₁^½.
//!
//! # The features
//!
//! FID's features are those of a network trained on photographs, which would be a download and means little
//! for digits. Here they are 128 numbers from an **untrained network**: three 4×4 convolutions of stride 2
//! (32, 64 and 128 channels) and a hidden layer of 256, with ReLU between layers. The weights are drawn once
//! from a fixed seed with He et al.'s width (uniform ±√(6/fan_in), no biases). It is this project's own
//! encoder without training, so it takes any size and number of channels.
//!
//! Why this is sound: random convolutions are a fair stand-in for edge and stroke detectors, and features of
//! an untrained network have been used to compare image sets for which no trained one is suitable (Naeem et
//! al. 2020). The network has seen neither the model nor the data, so no model can be good at it by
//! construction; and it is the same for everyone, from the seed. The tests of this file show that the
//! distance grows with noise, with blur, with a missing class of pictures, and with pictures put together
//! from halves of others. Its limits: it is not FID. Its figures compare only with figures for the same test
//! images and the same number of samples. And it hardly detects a single bad picture among good ones, which a
//! person notices most.
//!
//! Every estimate has a bias that falls with the number of pictures. So the floor (real training images
//! against the test images) must use as many pictures as there are samples.

use crate::error::Result;
use crate::generate::symmetric::jacobi;
use crate::kernels::gemm::{Matrix, MatrixMut, gemm};
use crate::model::codec::BATCH;
use crate::model::{Batch, ModelConfig, Preset, Vae, Workspace};

/// The number of features of a picture.
pub const FEATURES: usize = 128;
/// Channels of the convolutions and width of the hidden layer.
const WIDTHS: [usize; 3] = [32, 64, 128];
const HIDDEN: usize = 256;
/// The seed of the weights. It defines the distance, so it never changes.
const SEED: u64 = 0x0066_7265_6368_6574;

/// The fixed network, with memory for batches.
#[derive(Debug)]
pub struct FeatureSpace {
    network: Vae<f32>,
    workspace: Workspace<f32>,
}

impl FeatureSpace {
    /// For pictures of (H, W, C).
    ///
    /// # Errors
    /// If they are too small for the network.
    pub fn new(size: (usize, usize, usize)) -> Result<Self> {
        let mut config = ModelConfig::new(Preset::Conv, size);
        (config.widths, config.hidden, config.latent) = (WIDTHS.to_vec(), vec![HIDDEN], FEATURES);
        let mut network = Vae::new(config, SEED)?;
        let table = network.architecture().table.clone();
        for parameter in &table.parameters {
            // The default draws are ±1/√fan_in, so these are wider by √6.
            let factor = if parameter.name.ends_with(".bias") { 0.0 } else { 6.0_f32.sqrt() };
            network.parameters[parameter.range.clone()].iter_mut().for_each(|x| *x *= factor);
        }
        let workspace = network.inference_workspace(BATCH);
        Ok(Self { network, workspace })
    }

    /// The features of some pictures, `count × H·W·C` with values in [0, 1]: `count × `[`FEATURES`].
    ///
    /// # Panics
    /// If the numbers are not whole pictures.
    pub fn features(&mut self, pictures: &[f32]) -> Vec<f32> {
        let mut features = Vec::new();
        for chunk in pictures.chunks(BATCH * self.network.config().pixels()) {
            self.network.encode(Batch::new(chunk), &mut self.workspace);
            let count = chunk.len() / self.network.config().pixels();
            features.extend_from_slice(&self.workspace.latent.mu[..count * FEATURES]);
        }
        features
    }
}

/// Mean and covariance of some vectors.
///
/// ```
/// use elbo::evaluate::frechet::Moments;
/// // N(0, 1) and N(3, 4) on a line: d² = 3² + (2 − 1)².
/// let a = Moments::of(&[-1.0, 0.0, 1.0], 1);
/// let b = Moments::of(&[1.0, 3.0, 5.0], 1);
/// assert!((a.squared_distance(&b) - 10.0).abs() < 1e-9);
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Moments {
    mean: Vec<f64>,
    covariance: Vec<f64>,
}

impl Moments {
    /// The moments of N vectors of `len` numbers; the covariance is divided by N − 1.
    ///
    /// # Panics
    /// If there are fewer than two, or the numbers are not whole vectors.
    pub fn of(vectors: &[f32], len: usize) -> Self {
        let n = vectors.len() / len;
        assert!(n > 1 && n * len == vectors.len(), "{} numbers for vectors of {len}", vectors.len());
        let mut mean = vec![0.0; len];
        for vector in vectors.chunks_exact(len) {
            mean.iter_mut().zip(vector).for_each(|(mean, &x)| *mean += f64::from(x) / n as f64);
        }
        let centred: Vec<f64> = vectors
            .chunks_exact(len)
            .flat_map(|vector| vector.iter().zip(&mean).map(|(&x, mean)| f64::from(x) - mean))
            .collect();
        let mut covariance = vec![0.0; len * len];
        let centred = Matrix::new(&centred, n, len);
        gemm(centred.transposed(), centred, 0.0, &mut MatrixMut::new(&mut covariance, len, len));
        covariance.iter_mut().for_each(|x| *x /= (n - 1) as f64);
        Self { mean, covariance }
    }

    /// tr S.
    pub fn total_variance(&self) -> f64 {
        let n = self.mean.len();
        (0..n).map(|i| self.covariance[i * n + i]).sum()
    }

    /// The squared Fréchet distance.
    ///
    /// # Panics
    /// If the vectors of the two have different lengths.
    pub fn squared_distance(&self, other: &Self) -> f64 {
        let n = self.mean.len();
        assert_eq!(n, other.mean.len(), "vectors of the same length");
        let apart: f64 = self.mean.iter().zip(&other.mean).map(|(a, b)| (a - b).powi(2)).sum();
        // S₁^½ = V·diag(√λ)·Vᵀ. For a matrix without full rank, rounding leaves some λ just below 0.
        let (values, v) = jacobi(&self.covariance, n);
        let scaled: Vec<f64> = (0..n * n).map(|at| v[at] * values[at % n].max(0.0).sqrt()).collect();
        let mut root = vec![0.0; n * n];
        gemm(
            Matrix::new(&scaled, n, n),
            Matrix::new(&v, n, n).transposed(),
            0.0,
            &mut MatrixMut::new(&mut root, n, n),
        );
        let (mut half, mut middle) = (vec![0.0; n * n], vec![0.0; n * n]);
        gemm(
            Matrix::new(&root, n, n),
            Matrix::new(&other.covariance, n, n),
            0.0,
            &mut MatrixMut::new(&mut half, n, n),
        );
        gemm(Matrix::new(&half, n, n), Matrix::new(&root, n, n), 0.0, &mut MatrixMut::new(&mut middle, n, n));
        let symmetric: Vec<f64> =
            (0..n * n).map(|at| 0.5 * (middle[at] + middle[at % n * n + at / n])).collect();
        let trace: f64 = jacobi(&symmetric, n).0.into_iter().map(|value| value.max(0.0).sqrt()).sum();
        (apart + self.total_variance() + other.total_variance() - 2.0 * trace).max(0.0)
    }

    /// The distance of `other` from these moments, the real images': the squared Fréchet distance as a share
    /// of their total variance. NaN if they are all alike.
    pub fn relative_distance(&self, other: &Self) -> f64 {
        self.squared_distance(other) / self.total_variance()
    }
}

#[cfg(test)]
mod tests;

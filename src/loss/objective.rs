//! The objective: combines reconstruction and divergence into the one number that training minimizes.
//!
//! ```text
//! loss = R + penalty(D₁ … D_Z)                      mean over the B images of a batch, in nats
//!   R   = 1/B Σ_b −ln p(x_b|z_b)                    summed over pixels
//!   D_j = 1/B Σ_b divergence(μ_bj, ln σ²_bj)        of latent dimension j
//!
//! plain        penalty = β · Σ_j D_j
//! free bits    penalty = β · Σ_j max(λ, D_j)
//! capacity     penalty = β · |Σ_j max(λ, D_j) − C|
//! ```
//!
//! **This is the project's reduction convention, and it is implemented in this file**: sums over pixels and
//! latent dimensions, means over images. So the loss does not change with the batch size, and R and D have
//! the weights of the evidence bound. Gradients are those of this mean; no later step divides by B again.
//!
//! - **β** (Higgins et al. 2017): 1 is the ELBO, more favours simpler posteriors. It warms up from 0 so that
//!   the decoder does not learn to ignore z before z carries information (Sønderby et al. 2016).
//! - **Free bits** (Kingma et al. 2016, "objective with free bits"): the first λ nats of a dimension, on
//!   average over the batch, are free, so nothing is gained by emptying it. The derivative by D_j is 1 above
//!   λ and 0 up to it.
//! - **Capacity** (Burgess et al. 2018): the divergence is held at C nats, which grows during training; β
//!   then sets how strictly (their γ). The derivative by the sum is sign(Σ − C).
//!
//! So by the chain rule, with a weight per dimension that is known once all D_j are,
//!
//! ```text
//! ∂loss/∂μ_bj = weight_j · ∂divergence/∂μ_bj        weight_j = β/B · [D_j > λ] · [sign(Σ − C)]
//! ```
//!
//! and the same by ln σ². Both options use a mean over the batch, so the divergence completes its forward
//! pass over the whole batch before its backward pass begins.
//!
//! Whatever the loss, the standard KL(q‖p) is computed and reported too: the reported −ELBO is R + offset +
//! KL, without β, floors or targets.

use std::sync::Arc;

use super::divergence::Divergence;
use super::likelihood::Likelihood;
use super::whole_batch::{Part, WholeBatch, whole_variance};
use crate::error::{Error, Result};
use crate::tensor::{Element, ImageShape};
use serde::{Deserialize, Serialize};

/// The training objective, apart from the likelihood, which belongs to the model.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Objective {
    /// The measure of the posterior's distance from the prior.
    pub divergence: Divergence,
    /// The loss's weights and bounds for the divergence.
    pub terms: ObjectiveTerms,
}

/// The inputs of a batch's losses, images one after the other.
#[derive(Clone, Copy, Debug)]
pub struct LossInputs<'a, T> {
    /// The shape of an image, H×W×C.
    pub image: ImageShape,
    /// The decoder's output, B × H·W·(m·C).
    pub output: &'a [T],
    /// The images, B × H·W·C.
    pub target: &'a [T],
    /// μ, B × Z.
    pub mu: &'a [T],
    /// ln σ², B × Z, already bounded (see [`super::divergence`]).
    pub log_variance: &'a [T],
}

/// The weights and bounds of the divergence at this step; β and C may differ at the next.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ObjectiveTerms {
    /// The divergence's weight; 1 is the ELBO.
    pub beta: f64,
    /// λ: free nats per latent dimension; 0 disables it.
    pub free_bits: f64,
    /// C: nats per image that the divergence is held at; `None` disables it.
    pub capacity: Option<f64>,
}

impl ObjectiveTerms {
    /// The plain evidence bound.
    pub const ELBO: Self = Self { beta: 1.0, free_bits: 0.0, capacity: None };

    /// [`Error::Config`] if one of them is negative or not finite.
    pub fn validate(&self) -> Result<()> {
        let values =
            [("beta", self.beta), ("free-bits", self.free_bits), ("capacity", self.capacity.unwrap_or(0.0))];
        for (name, value) in values {
            if !(value.is_finite() && value >= 0.0) {
                return Err(Error::config(format!("{name} must be 0 or a positive number, not {value}")));
            }
        }
        Ok(())
    }
}

impl Default for ObjectiveTerms {
    fn default() -> Self {
        Self::ELBO
    }
}

/// The results for a batch: means over its images, in nats per image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LossValues {
    /// The minimized loss: reconstruction + divergence with the [`ObjectiveTerms`] applied.
    pub loss: f64,
    /// −ln p(x|z), as in the loss (the squared error without its normalizer).
    pub reconstruction: f64,
    /// The chosen divergence, summed over dimensions, before β, free bits and capacity.
    pub divergence: f64,
    /// The standard KL(q‖p), whichever was chosen.
    pub kl: f64,
    /// The standard −ELBO: reconstruction with its normalizer + kl.
    pub negative_elbo: f64,
    /// σ² of the optimal Gaussian, fitted to this batch by a training step; otherwise 0.
    pub variance: f64,
}

/// The sums of many batches, each weighted by its size, so that an epoch's means do not depend on its last
/// batch's size. A checkpoint in the middle of an epoch includes them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LossSums {
    /// Images so far.
    pub images: u64,
    /// Every value multiplied by its batch's images, summed.
    pub sums: LossValues,
}

impl LossSums {
    /// Adds a batch of `images`.
    pub fn add(&mut self, values: &LossValues, images: usize) {
        self.images += images as u64;
        let weight = images as f64;
        self.sums = self.sums.combine(values, |sum, value| sum + weight * value);
    }

    /// Means over all images so far; NaN if there were none.
    pub fn mean(&self) -> LossValues {
        let images = self.images as f64;
        self.sums.combine(&self.sums, |sum, _| sum / images)
    }
}

impl LossValues {
    /// All values, to modify each in the same way.
    pub(crate) fn each_mut(&mut self) -> [&mut f64; 6] {
        let Self { loss, reconstruction, divergence, kl, negative_elbo, variance } = self;
        [loss, reconstruction, divergence, kl, negative_elbo, variance]
    }

    fn combine(&self, other: &Self, f: impl Fn(f64, f64) -> f64) -> Self {
        Self {
            loss: f(self.loss, other.loss),
            reconstruction: f(self.reconstruction, other.reconstruction),
            divergence: f(self.divergence, other.divergence),
            kl: f(self.kl, other.kl),
            negative_elbo: f(self.negative_elbo, other.negative_elbo),
            variance: f(self.variance, other.variance),
        }
    }
}

/// Memory for the objective of up to a given number of images, allocated once, and a step's results for
/// reports.
#[derive(Clone, Debug)]
pub struct ObjectiveWorkspace<T> {
    images: usize,                      // of the last batch
    values: Vec<T>,                     // [B, Z] divergences
    weights: Vec<T>,                    // [Z] ∂loss / ∂(sum over the batch of dimension j's divergence)
    reconstruction_per_image: Vec<f64>, // [B]
    divergence_per_dimension: Vec<f64>, // [Z]
    kl_per_image: Vec<f64>,             // [B]
    kl_per_dimension: Vec<f64>,         // [Z]
    part: Option<Part>,                 // if the batch is shared with other processes
}

impl<T: Element> ObjectiveWorkspace<T> {
    /// Room for batches of up to `max_images` with `latent` dimensions.
    pub fn new(max_images: usize, latent: usize) -> Self {
        assert!(latent > 0, "a workspace for no latent dimensions");
        Self {
            images: 0,
            values: vec![T::ZERO; max_images * latent],
            weights: vec![T::ZERO; latent],
            reconstruction_per_image: vec![0.0; max_images],
            divergence_per_dimension: vec![0.0; latent],
            kl_per_image: vec![0.0; max_images],
            kl_per_dimension: vec![0.0; latent],
            part: None,
        }
    }

    /// The next steps' images are part of a larger batch, whose mean counts them as `images` images.
    pub(crate) fn take_part(&mut self, whole: Arc<dyn WholeBatch>, images: usize) {
        self.part = Some(Part { whole, images });
    }

    /// −ln p(x|z) of each image of the last batch, in nats, as in the loss.
    pub fn reconstruction_per_image(&self) -> &[f64] {
        &self.reconstruction_per_image[..self.images]
    }

    /// The standard KL of each image of the last batch, in nats.
    pub fn kl_per_image(&self) -> &[f64] {
        &self.kl_per_image[..self.images]
    }

    /// The standard KL of each latent dimension, in nats, averaged over the last batch.
    pub fn kl_per_dimension(&self) -> &[f64] {
        &self.kl_per_dimension
    }
}

impl Objective {
    /// The standard evidence bound.
    pub const ELBO: Self = Self { divergence: Divergence::Kl, terms: ObjectiveTerms::ELBO };

    /// Evaluation: the objective's values without a gradient. Z and the largest B are the workspace's. The
    /// optimal Gaussian uses the model's σ².
    ///
    /// # Panics
    ///
    /// If the lengths do not fit together or the batch is larger than the workspace.
    pub fn forward<T: Element>(
        &self,
        likelihood: &Likelihood,
        inputs: &LossInputs<'_, T>,
        workspace: &mut ObjectiveWorkspace<T>,
    ) -> LossValues {
        self.divergences(inputs.mu, inputs.log_variance, workspace);
        let per_image = &mut workspace.reconstruction_per_image[..workspace.images];
        likelihood.forward(inputs.output, inputs.target, inputs.image, per_image);
        self.values(likelihood, inputs, 0.0, workspace)
    }

    /// Training: the objective's values and its gradients.
    ///
    /// `d_output` (as the output), `d_mu` and `d_log_variance` (B × Z) are overwritten with the gradient of
    /// [`LossValues::loss`], a mean over the batch. `d_mu` and `d_log_variance` contain only the divergence's
    /// share; the latent layer adds the decoder's share through z.
    ///
    /// # Panics
    ///
    /// If the lengths do not fit together or the batch is larger than the workspace.
    pub fn forward_backward<T: Element>(
        &self,
        likelihood: &Likelihood,
        inputs: &LossInputs<'_, T>,
        d_output: &mut [T],
        d_mu: &mut [T],
        d_log_variance: &mut [T],
        workspace: &mut ObjectiveWorkspace<T>,
    ) -> LossValues {
        let (LossInputs { mu, log_variance, .. }, terms) = (*inputs, &self.terms);
        self.divergences(mu, log_variance, workspace);
        let images = workspace.images;
        let per_image = &mut workspace.reconstruction_per_image[..images];
        let LossInputs { output, target, image, .. } = *inputs;
        let mut trained = *likelihood;
        let mut variance = None;
        if let Some(part) = &workspace.part {
            variance = whole_variance(likelihood, (output, target), image, per_image, part);
            trained = variance.map_or(trained, |variance| Likelihood::Gaussian { sigma: variance.sqrt() });
            if terms.free_bits > 0.0 || terms.capacity.is_some() {
                part.mean(&mut workspace.divergence_per_dimension);
            }
        }
        let variance = trained.forward_backward(output, target, image, d_output, per_image).or(variance);

        let per_dimension = &workspace.divergence_per_dimension;
        let (_, slope) = terms.penalty(per_dimension);
        for (weight, &divergence) in workspace.weights.iter_mut().zip(per_dimension) {
            let free = divergence <= terms.free_bits;
            *weight = if free { T::ZERO } else { T::from_f64(slope / images as f64) };
        }
        self.divergence.backward(mu, log_variance, &workspace.weights, d_mu, d_log_variance);
        self.values(likelihood, inputs, variance.unwrap_or(0.0), workspace)
    }

    /// Fills the workspace with the chosen divergence and the standard one.
    fn divergences<T: Element>(&self, mu: &[T], log_variance: &[T], workspace: &mut ObjectiveWorkspace<T>) {
        let (latent, room) = (workspace.weights.len(), workspace.kl_per_image.len());
        let images = mu.len() / latent;
        assert_eq!(images * latent, mu.len(), "μ has {} numbers for {latent} dimensions", mu.len());
        assert!(images <= room, "{images} images in a workspace for {room}");
        workspace.images = images;
        let values = &mut workspace.values[..images * latent];
        let per_image = &mut workspace.kl_per_image[..images];
        if self.divergence != Divergence::Kl {
            let per_dimension = &mut workspace.divergence_per_dimension;
            self.divergence.forward(mu, log_variance, values, per_image, per_dimension);
        }
        // Last, so that the workspace's values per image are those of the standard one.
        Divergence::Kl.forward(mu, log_variance, values, per_image, &mut workspace.kl_per_dimension);
        if self.divergence == Divergence::Kl {
            workspace.divergence_per_dimension.copy_from_slice(&workspace.kl_per_dimension);
        }
    }

    /// Combines the batch's values.
    fn values<T: Element>(
        &self,
        likelihood: &Likelihood,
        inputs: &LossInputs<'_, T>,
        variance: f64,
        workspace: &ObjectiveWorkspace<T>,
    ) -> LossValues {
        let images = workspace.images;
        let reconstruction = workspace.reconstruction_per_image().iter().sum::<f64>() / images as f64;
        let kl = workspace.kl_per_dimension.iter().sum();
        LossValues {
            loss: reconstruction + self.terms.penalty(&workspace.divergence_per_dimension).0,
            reconstruction,
            divergence: workspace.divergence_per_dimension.iter().sum(),
            kl,
            negative_elbo: reconstruction + likelihood.standard_offset(inputs.image.len()) + kl,
            variance,
        }
    }
}

impl ObjectiveTerms {
    /// The penalty on the mean divergences of all dimensions, and its derivative by the divergence of a
    /// dimension above λ (it is 0 by the others).
    fn penalty(&self, per_dimension: &[f64]) -> (f64, f64) {
        // Not f64::max, which would replace NaN by λ and let training continue with it.
        let floored =
            |&divergence: &f64| if divergence <= self.free_bits { self.free_bits } else { divergence };
        let total = per_dimension.iter().map(floored).sum::<f64>();
        match self.capacity {
            None => (self.beta * total, self.beta),
            Some(capacity) => {
                let excess = total - capacity;
                // 0 at the kink, unlike f64::signum.
                let sign = f64::from(i8::from(excess > 0.0) - i8::from(excess < 0.0));
                (self.beta * excess.abs(), self.beta * sign)
            }
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;

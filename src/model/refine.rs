//! Refined codes: gradient steps on the code of each image, with the decoder fixed.
//!
//! The encoder maps any image to a code in one pass. For images unlike those that it has learned from, its μ
//! is not the code that the decoder reconstructs best: the amortization gap (Cremer, Li & Duvenaud 2018).
//! Gradient descent from z = μ finds a better one (Kim et al. 2018, "Semi-amortized variational
//! autoencoders"; Campos et al. 2019 for compression):
//!
//! ```text
//! L(z) = −ln p(x|z) + ½·β·|z|²          of one image, in nats
//! ∂L/∂z = Jᵀ·∂(−ln p)/∂output + β·z     J: the decoder's derivative, by its backward pass
//! z ← Adam's step, z₀ = μ
//! ```
//!
//! A file stores each z rounded to a grid. So L is computed at the rounded code, and its gradient moves the
//! one that is not rounded (the straight-through estimator, Bengio, Léonard & Courville 2013): the steps also
//! find out to which side to round. Of all rounded codes on the way, the first included, the one with the
//! smallest L is kept for each image.
//!
//! The code of an image does not depend on the other images. Likelihood and decoder give the gradient of a mean
//! over the batch; a batch has a power of two of images, so multiplying by it is exact.

use super::vae::{Batch, Vae};
use super::workspace::Workspace;
use crate::layers::shared::Latent;
use crate::loss::Likelihood;
use crate::optim::{Adam, AdamState};
use crate::tensor::Element;

/// How codes are refined.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Refine {
    /// Steps for each image.
    pub steps: usize,
    /// The distance between neighbouring values of a code.
    pub grid: f64,
    /// Adam's learning rate at the first step, in units of the code; it falls linearly to 0.
    pub rate: f64,
    /// β, the weight of ½·|z|².
    pub beta: f64,
}

impl Refine {
    /// `steps` steps to codes that are multiples of `grid`.
    pub fn new(steps: usize, grid: f64) -> Self {
        Self { steps, grid, rate: 0.3, beta: 1.0 }
    }

    fn rounded(&self, code: f32) -> f32 {
        ((f64::from(code) / self.grid).round() * self.grid) as f32
    }
}

impl<T: Element> Vae<T> {
    /// L of each of the images for the codes in `workspace.latent.z`. It leaves the gradient by the decoder's
    /// output of the mean of −ln p(x|z), whose backward pass [`code_gradient`](Self::code_gradient) runs.
    fn code_losses(
        &self,
        images: &[T],
        likelihood: &Likelihood,
        beta: f64,
        losses: &mut [f64],
        workspace: &mut Workspace<T>,
    ) {
        self.decode_given(images, workspace);
        let Workspace { output, training, latent, .. } = workspace;
        let d_output = &mut training.as_mut().expect("a workspace for training").d_output;
        let len = losses.len() * self.config().output_len();
        let (output, d_output) = (&output[..len], &mut d_output[..len]);
        likelihood.forward_backward(output, images, self.config().image(), d_output, losses);
        for (loss, z) in losses.iter_mut().zip(latent.z.chunks_exact(self.config().latent)) {
            *loss += 0.5 * beta * z.iter().map(|z| z.to_f64() * z.to_f64()).sum::<f64>();
        }
    }

    /// ∂L/∂z of `count` images, a power of two, in `workspace.latent.d_z`.
    fn code_gradient(&self, count: usize, beta: f64, workspace: &mut Workspace<T>) {
        self.decoder_backward(count, workspace);
        let Latent { z, d_z, .. } = &mut workspace.latent;
        let (images, beta) = (T::from_f64(count as f64), T::from_f64(beta));
        let codes = d_z.iter_mut().zip(z.iter()).take(count * self.config().latent);
        codes.for_each(|(d_z, &z)| *d_z = *d_z * images + beta * z);
    }

    /// The likelihood with everything that it would fit to a batch taken from the model.
    fn fixed_likelihood(&self) -> Likelihood {
        match self.config().likelihood {
            Likelihood::OptimalGaussian { variance } => {
                Likelihood::Gaussian { sigma: variance.unwrap_or(1.0).sqrt() }
            }
            likelihood => likelihood,
        }
    }
}

impl Vae<f32> {
    /// The images whose codes are refined together: as many as fit in 256 MiB, at most 32; a power of two.
    pub fn refine_batch(&self) -> usize {
        const NUMBERS: usize = (256 << 20) / size_of::<f32>();
        1 << (NUMBERS / self.activations_len(1)).clamp(1, 32).ilog2()
    }

    /// The bytes that refining takes: a workspace, images, codes and Adam's state.
    pub fn refine_memory(&self) -> u64 {
        let batch = self.refine_batch();
        let each = self.config().pixels() + 5 * self.config().latent;
        4 * (self.training_len(batch, rayon::current_num_threads()) + batch * each) as u64
    }

    /// Replaces the codes of some images, B × Z, by refined ones on the grid; returns L of the code that each
    /// image had, rounded, and of the one that it has now. `progress` is called with the number of images done.
    ///
    /// # Panics
    /// If the workspace is not for training, or has no room for an image.
    pub fn refine(
        &self,
        batch: Batch<'_, f32>,
        codes: &mut [f32],
        how: &Refine,
        workspace: &mut Workspace<f32>,
        progress: &dyn Fn(usize),
    ) -> Vec<[f64; 2]> {
        let (pixels, latent) = (self.config().pixels(), self.config().latent);
        let mut losses = Vec::with_capacity(codes.len() / latent);
        let mut at = 0;
        while at * latent < codes.len() {
            let left = codes.len() / latent - at;
            let count = 1 << left.min(workspace.max_batch).ilog2();
            let part = at..at + count;
            let labels = batch.labels.get(part.clone()).unwrap_or_default();
            let images = &batch.images[part.start * pixels..part.end * pixels];
            let codes = &mut codes[part.start * latent..part.end * latent];
            losses.extend(self.refine_together(Batch { images, labels }, codes, how, workspace, progress));
            at += count;
        }
        losses
    }

    /// [`refine`](Self::refine) for a power of two of images.
    fn refine_together(
        &self,
        batch: Batch<'_, f32>,
        codes: &mut [f32],
        how: &Refine,
        workspace: &mut Workspace<f32>,
        progress: &dyn Fn(usize),
    ) -> Vec<[f64; 2]> {
        let (latent, len, likelihood) = (self.config().latent, codes.len(), self.fixed_likelihood());
        let count = len / latent;
        let (adam, mut state) = (Adam::default(), AdamState::new(len));
        let mut exact = codes.to_vec();
        let (mut first, mut best) = (vec![0.0; count], vec![f64::INFINITY; count]);
        let mut losses = vec![0.0; count];
        self.set_condition(batch.labels, workspace);
        for step in 0..=how.steps {
            let z = &mut workspace.latent.z[..len];
            z.iter_mut().zip(&exact).for_each(|(z, &code)| *z = how.rounded(code));
            self.code_losses(batch.images, &likelihood, how.beta, &mut losses, workspace);
            if step == 0 {
                first.copy_from_slice(&losses);
            }
            let z = workspace.latent.z.chunks_exact(latent);
            let found = codes.chunks_exact_mut(latent).zip(z).zip(&mut best).zip(&losses);
            for (((code, z), best), &loss) in found {
                if loss < *best || step == 0 {
                    *best = loss;
                    code.copy_from_slice(z);
                }
            }
            if step < how.steps {
                self.code_gradient(count, how.beta, workspace);
                let rate = how.rate * (how.steps - step) as f64 / how.steps as f64;
                adam.step(&mut exact, &workspace.latent.d_z[..len], &mut state, rate, 1.0);
            }
            progress(count * (step + 1) / (how.steps + 1) - count * step / (how.steps + 1));
        }
        first.into_iter().zip(best).map(|(first, best)| [first, best]).collect()
    }
}

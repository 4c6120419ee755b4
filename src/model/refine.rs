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
//! The constants of [`Refine::new`] are measured, with a `residual` model with 256 dimensions on 32 of its
//! training images (icons of 64×64×3), 20 steps:
//!
//! | | grid | L, nats an image: μ rounded | refined |
//! |---|---|---|---|
//! | rate 0.3, β = 1, as in `new` | ½ | 32,335 | 31,069 |
//! | rate 0.1 | ½ | 32,335 | 31,160 |
//! | as in `new` | 1 | 32,675 | 31,529 |
//! | rounded only after the last step | 1 | 32,675 | 31,559 |
//!
//! In the first row a file of the codes takes 292 bytes an image, and one of μ 311, with the header. A penalty
//! by mean and standard deviation of each dimension, as the file codes it, instead of ½·|z|², gave 293 bytes at
//! the same quality.
//!
//! With a context network, −ln p(x|z) is that of each pixel given the true pixels before it, although
//! the decoder of a file sees only its own; so a smaller L need not mean a better picture there.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gradient_check::{check, random_vec};
    use crate::model::{ModelConfig, Preset};

    /// Small models of every kind: presets, labels, context, a likelihood that training fits to a batch.
    fn configs() -> Vec<ModelConfig> {
        let base =
            |preset, likelihood| ModelConfig { latent: 3, likelihood, ..ModelConfig::new(preset, (8, 9, 1)) };
        let small = |preset, widths: &[usize], hidden: &[usize], likelihood| ModelConfig {
            widths: widths.to_vec(),
            hidden: hidden.to_vec(),
            ..base(preset, likelihood)
        };
        let mlp = |likelihood| small(Preset::Mlp, &[], &[6], likelihood);
        let labels = vec!["a".to_owned(), "b".to_owned()];
        vec![
            mlp(Likelihood::OptimalGaussian { variance: Some(0.3) }),
            ModelConfig { labels, ..mlp(Likelihood::Bernoulli) },
            small(Preset::Conv, &[2, 3], &[6], Likelihood::Gaussian { sigma: 0.5 }),
            small(Preset::Residual, &[2, 3], &[], Likelihood::DiscretizedLogistic),
            ModelConfig {
                context: Some(8),
                ..small(Preset::Residual, &[2, 3], &[], Likelihood::LogisticMixture { components: 2 })
            },
        ]
    }

    /// Images of whole bytes, and a label for each if the model has any.
    fn images(config: &ModelConfig, count: usize) -> (Vec<f64>, Vec<u32>) {
        let span = config.span();
        let bytes = (0..count * config.pixels()).map(|at| (at * at * 7 + at / 72 * 31) % 256);
        let images = bytes.map(|byte| span.from_unit(byte as f64 / 255.0)).collect();
        let labels = if config.classes() > 0 { (0..count).map(|at| at as u32 % 2).collect() } else { vec![] };
        (images, labels)
    }

    #[test]
    fn the_gradient_is_that_of_finite_differences() {
        for (seed, config) in configs().into_iter().enumerate() {
            let name = format!("{} {} seed {seed}", config.preset, config.likelihood);
            let model = Vae::<f64>::new(config, seed as u64).unwrap();
            let (images, labels) = images(model.config(), 2);
            let likelihood = model.fixed_likelihood();
            let mut space = model.training_workspace(2);
            model.set_condition(&labels, &mut space);
            let mut losses = [0.0; 2];
            let mut codes = random_vec(seed as u64, 6);
            let mut loss = |codes: &[f64], space: &mut Workspace<f64>| {
                space.latent.z.copy_from_slice(codes);
                model.code_losses(&images, &likelihood, 0.7, &mut losses, space);
                losses.iter().sum()
            };
            let _: f64 = loss(&codes, &mut space);
            model.code_gradient(2, 0.7, &mut space);
            let gradient = space.latent.d_z.clone();
            check(&name, &mut codes, &gradient, |codes| loss(codes, &mut space));
        }
    }

    #[test]
    fn every_image_gets_a_better_code_that_does_not_depend_on_the_others() {
        const COUNT: usize = 7;
        // Untrained decoders bend more than trained ones.
        let how = Refine { rate: 0.03, ..Refine::new(24, 0.001) };
        for (seed, config) in configs().into_iter().enumerate() {
            let name = format!("{} {} seed {seed}", config.preset, config.likelihood);
            let model = Vae::<f32>::new(config, seed as u64).unwrap();
            let (pixels, latent) = (model.config().pixels(), model.config().latent);
            let (images, labels) = images(model.config(), COUNT);
            let images: Vec<f32> = images.into_iter().map(|value| value as f32).collect();
            let start: Vec<f32> = random_vec(seed as u64, COUNT * latent).iter().map(|&v| v as f32).collect();
            let of = |range: std::ops::Range<usize>| Batch {
                images: &images[range.start * pixels..range.end * pixels],
                labels: labels.get(range).unwrap_or_default(),
            };
            let refined = |threads: usize, room: usize| {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                pool.install(|| {
                    let (mut codes, mut space) = (start.clone(), model.training_workspace(room));
                    let done = std::cell::Cell::new(0);
                    let progress = |images: usize| done.set(done.get() + images);
                    let losses = model.refine(of(0..COUNT), &mut codes, &how, &mut space, &progress);
                    assert_eq!(done.get(), COUNT, "{name}");
                    (codes, losses)
                })
            };
            let (codes, losses) = refined(1, 4);
            assert_eq!(losses.len(), COUNT);
            for (image, [before, after]) in losses.iter().enumerate() {
                assert!(after < before, "{name}, image {image}: {before} and then {after}");
            }
            assert!(codes.iter().all(|&code| how.rounded(code) == code), "{name}: codes off the grid");
            assert!(refined(3, 2) == (codes.clone(), losses.clone()), "{name}: threads or room");
            let mut space = model.training_workspace(1);
            for image in 0..COUNT {
                let place = image * latent..(image + 1) * latent;
                let mut code = start[place.clone()].to_vec();
                model.refine(of(image..image + 1), &mut code, &how, &mut space, &|_| ());
                assert_eq!(code, codes[place], "{name}: image {image} alone");
            }
        }
    }
}

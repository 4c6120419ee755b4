//! A model's evaluation on images: the objective without a gradient, and the use of the latent dimensions.
//!
//! Each image has its own ε, drawn from its index. So an evaluation does not depend on batches, on threads,
//! or on earlier draws, and two models are judged with the same draws.
//!
//! **Posterior collapse** of a dimension means that its posterior is the prior for every image: its KL is 0
//! and its μ is constant. A dimension counts as active if the variance of μ over the images is above 0.01
//! (Burda, Grosse & Salakhutdinov 2016, section 5.2).

use crate::data::Filler;
use crate::loss::{LossSums, LossValues, Objective, ObjectiveWorkspace};
use crate::model::{Batch, Labelled, Vae, Workspace};
use crate::random::{Stream, fill_normal, stream};

/// Var(μ) above which a latent dimension is called active.
pub const ACTIVE_VARIANCE: f64 = 0.01;

/// Below this number of images a variance of μ says little: active dimensions are then determined from
/// training images ([`Judgement::with_activity_of`]).
pub const ENOUGH_IMAGES: usize = 50;

/// The evaluation of a model on a set of images.
#[derive(Clone, Debug, PartialEq)]
pub struct Judgement {
    /// Means over the images, nats per image.
    pub values: LossValues,
    /// KL(q‖p) of each latent dimension, mean over the images, in nats.
    pub kl_per_dimension: Vec<f64>,
    /// The variance of μ over the images, of each latent dimension.
    pub mean_variance: Vec<f64>,
    /// How many images there were.
    pub images: u64,
    /// How many images `mean_variance` is over.
    pub activity_images: u64,
}

impl Judgement {
    /// Dimensions whose variance of μ is above [`ACTIVE_VARIANCE`].
    pub fn active_units(&self) -> usize {
        self.mean_variance.iter().filter(|&&variance| variance > ACTIVE_VARIANCE).count()
    }

    /// The same judgement with the variance of μ from another one, on more images.
    #[must_use]
    pub fn with_activity_of(self, other: Self) -> Self {
        Self { mean_variance: other.mean_variance, activity_images: other.activity_images, ..self }
    }

    /// Whether the posterior has collapsed: fewer than a tenth of the dimensions are active. One image has no
    /// variance and never counts as collapsed.
    pub fn has_collapsed(&self) -> bool {
        self.activity_images > 1 && self.active_units() * 10 < self.mean_variance.len()
    }
}

/// Reusable memory for judging models of one shape.
#[derive(Debug)]
pub struct Evaluator {
    batch: Vec<f32>,
    labels: Vec<u32>,
    noise: Vec<f32>,
    space: ObjectiveWorkspace<f32>,
    workspace: Workspace<f32>,
}

impl Evaluator {
    /// For batches of `max_batch` images.
    pub fn new(model: &Vae<f32>, max_batch: usize) -> Self {
        Self {
            batch: vec![0.0; max_batch * model.config().pixels()],
            labels: Vec::with_capacity(max_batch),
            noise: vec![0.0; max_batch * model.config().latent],
            space: ObjectiveWorkspace::new(max_batch, model.config().latent),
            workspace: model.inference_workspace(max_batch),
        }
    }

    /// Judges `model` on the images `indices`, given their labels if it is conditional. Dynamic binarization
    /// always uses epoch 0. `progress` is repeatedly called with the number of images done.
    pub fn judge<'i>(
        &mut self,
        model: &Vae<f32>,
        images: impl Into<Labelled<'i>>,
        indices: &[usize],
        filler: &Filler,
        objective: &Objective,
        progress: &(dyn Fn(usize) + Sync),
    ) -> Judgement {
        let (latent, pixels) = (model.config().latent, model.config().pixels());
        let (images, mut sums) = (images.into(), LossSums::default());
        let [mut kl, mut mean, mut square] = [(); 3].map(|()| vec![0.0_f64; latent]);
        for chunk in indices.chunks(self.workspace.max_batch) {
            let batch = &mut self.batch[..chunk.len() * pixels];
            filler.fill(images.images, chunk, 0, batch);
            self.labels.clear();
            self.labels.extend(images.of(chunk));
            let noise = &mut self.noise[..chunk.len() * latent];
            for (noise, &image) in noise.chunks_exact_mut(latent).zip(chunk) {
                fill_normal(&mut stream(filler.seed, Stream::Evaluation, image as u64), noise);
            }
            let batch = Batch { images: batch, labels: &self.labels };
            let values = model.evaluate(batch, noise, objective, &mut self.space, &mut self.workspace);
            sums.add(&values, chunk.len());
            for (sum, &value) in kl.iter_mut().zip(self.space.kl_per_dimension()) {
                *sum += value * chunk.len() as f64;
            }
            for mu in self.workspace.latent.mu[..noise.len()].chunks_exact(latent) {
                for ((mean, square), &mu) in mean.iter_mut().zip(&mut square).zip(mu) {
                    *mean += f64::from(mu);
                    *square += f64::from(mu) * f64::from(mu);
                }
            }
            progress(chunk.len());
        }
        let count = indices.len().max(1) as f64;
        let variance =
            |(mean, square): (&f64, &f64)| (square / count - (mean / count) * (mean / count)).max(0.0);
        Judgement {
            values: sums.mean(),
            kl_per_dimension: kl.iter().map(|sum| sum / count).collect(),
            mean_variance: mean.iter().zip(&square).map(variance).collect(),
            images: sums.images,
            activity_images: sums.images,
        }
    }
}

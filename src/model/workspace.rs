//! The memory of a model's passes, allocated once for the largest batch, and its size.

use std::sync::Arc;

use super::architecture::Architecture;
use super::config::ModelConfig;
use super::context::ContextSpace;
use crate::kernels::precision::Precision;
use crate::layers::shared::Latent;
use crate::layers::{Describe, Work, WorkLen};
use crate::loss::WholeBatch;
use crate::loss::objective::ObjectiveWorkspace;
use crate::tensor::Element;

/// Everything that a pass over a batch reads and writes besides parameters and images.
#[derive(Debug)]
pub struct Workspace<T> {
    /// The most images that fit.
    pub max_batch: usize,
    /// The labels' numbers, B × L.
    pub(super) condition: Vec<T>,
    pub(super) encoder_kept: Vec<T>,
    pub(super) features: Vec<T>,
    /// μ, ln σ², z, and their gradients.
    pub latent: Latent<T>,
    pub(super) decoder_kept: Vec<T>,
    pub(super) output: Vec<T>,
    pub(super) means: Vec<T>,
    /// The decoder's features for the context network, and that network's memory; empty without one.
    pub(super) decoded: Vec<T>,
    pub(super) context: ContextSpace<T>,
    pub(super) work: Work<T>,
    pub(super) training: Option<TrainingSpace<T>>,
}

/// Memory that only a backward pass needs.
#[derive(Debug)]
pub(super) struct TrainingSpace<T> {
    pub(super) gradient: Vec<T>,
    pub(super) d_output: Vec<T>,
    pub(super) d_features: Vec<T>,
    pub(super) d_decoded: Vec<T>,
    pub(super) spare: Vec<T>,
    pub(super) objective: ObjectiveWorkspace<T>,
}

impl<T: Element> Workspace<T> {
    /// Memory for passes without a gradient.
    pub(super) fn for_inference(a: &Architecture<T>, c: &ModelConfig, max_batch: usize) -> Self {
        let numbers = |len: usize| vec![T::ZERO; len];
        Self {
            max_batch,
            condition: numbers(max_batch * c.classes()),
            encoder_kept: numbers(a.encoder.kept_len(max_batch)),
            features: numbers(max_batch * a.encoder.output().len()),
            latent: Latent::new(max_batch, c.latent),
            decoder_kept: numbers(a.decoder.kept_len(max_batch)),
            output: numbers(max_batch * c.output_len()),
            means: numbers(if c.likelihood.output_is_mean() { 0 } else { max_batch * c.pixels() }),
            decoded: numbers(max_batch * a.context_features_len()),
            context: ContextSpace::new(max_batch),
            work: Work::new(WorkLen { partials: 0, ..a.work_len() }),
            training: None,
        }
    }

    /// Memory for training steps.
    pub(super) fn for_training(a: &Architecture<T>, c: &ModelConfig, max_batch: usize) -> Self {
        let numbers = |len: usize| vec![T::ZERO; len];
        Self {
            work: Work::new(a.work_len()),
            training: Some(TrainingSpace {
                gradient: numbers(a.table.len()),
                d_output: numbers(max_batch * c.output_len()),
                d_features: numbers(max_batch * a.encoder.output().len()),
                d_decoded: numbers(max_batch * a.context_features_len()),
                spare: numbers(a.spare_len(max_batch)),
                objective: ObjectiveWorkspace::new(max_batch, c.latent),
            }),
            ..Self::for_inference(a, c, max_batch)
        }
    }

    /// The next training step's images are part of a batch that other processes share; they count as `images`
    /// images.
    pub(crate) fn take_part(&mut self, whole: Arc<dyn WholeBatch>, images: usize) {
        self.training.as_mut().expect("a workspace for training").objective.take_part(whole, images);
    }
}

/// The numbers that [`Workspace::for_inference`] keeps of `images` images: what each layer gives, and codes.
pub(crate) fn activations_len<T: Element>(a: &Architecture<T>, c: &ModelConfig, images: usize) -> usize {
    let kept = a.encoder.kept_len(images) + a.decoder.kept_len(images);
    let context = a.context.as_ref().map_or(0, |context| context.forward_len(images));
    let ends =
        a.encoder.output().len() + a.context_features_len() + c.output_len() + c.pixels() + 6 * c.latent;
    kept + context + images * ends
}

/// The numbers that [`Workspace::for_training`] needs for `images` images on `threads` threads.
pub(crate) fn training_len<T: Element>(
    a: &Architecture<T>,
    c: &ModelConfig,
    images: usize,
    threads: usize,
) -> usize {
    let (work, spare) = (a.work_len(), a.spare_len(images));
    let context = a.context.as_ref().map_or(0, |context| context.backward_len(images));
    let ends = images * (c.output_len() + a.encoder.output().len() + a.context_features_len());
    let shared = work.partials + work.transposed + (threads + 1) * work.scratch;
    activations_len(a, c, images) + a.table.len() + spare + context + ends + shared
}

impl<T: Element> Workspace<T> {
    /// The same workspace for passes whose products are in another precision.
    #[must_use]
    pub fn in_precision(self, precision: Precision) -> Self {
        Self { work: self.work.in_precision(precision), ..self }
    }
}

impl<T> Workspace<T> {
    /// The gradient of the last [`gradients`](super::Vae::gradients), in the order of the parameters.
    ///
    /// # Panics
    /// If the workspace is for inference.
    pub fn gradient(&self) -> &[T] {
        &self.training.as_ref().expect("a workspace for training").gradient
    }

    /// The gradient, so that a part trained beside the objective can write its own range.
    pub(crate) fn gradient_mut(&mut self) -> &mut [T] {
        &mut self.training.as_mut().expect("a workspace for training").gradient
    }

    /// The output of the last [`decode`](super::Vae::decode), for the largest batch: B × H·W·(m·C).
    pub(crate) fn output(&self) -> &[T] {
        &self.output
    }

    /// The condition that was set last, for the largest batch: B × L.
    pub(crate) fn condition(&self) -> &[T] {
        &self.condition
    }

    /// The decoder's features for the context network, for the largest batch; empty without one.
    pub(crate) fn decoded(&self) -> &[T] {
        &self.decoded
    }

    /// ∂L/∂output, from which [`decoder_backward`](super::Vae::decoder_backward) starts, for the largest
    /// batch: others may add to it.
    ///
    /// # Panics
    /// If the workspace is for inference.
    pub fn d_output(&mut self) -> &mut [T] {
        &mut self.training.as_mut().expect("a workspace for training").d_output
    }

    /// The divergences of the last training step.
    ///
    /// # Panics
    /// If the workspace is for inference.
    pub fn objective(&self) -> &ObjectiveWorkspace<T> {
        &self.training.as_ref().expect("a workspace for training").objective
    }
}

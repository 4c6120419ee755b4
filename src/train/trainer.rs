//! The loop: one step, and what an epoch adds up.
//!
//! ```text
//! for each epoch:  shuffle; for each batch:
//!     x ← images of the batch, ε ← draws of the step
//!     loss, gradient ← forward and backward
//!     stop where either is not finite; else  parameters ← Adam(parameters, gradient)
//! ```
//!
//! With the `alternating` schedule a step has two halves, the article's two steps: encoder and shared layer move on
//! reconstruction + divergence; then, after a second forward pass, the decoder on reconstruction alone.
//!
//! Everything that a step depends on is either in the parameters and Adam's moments or counted (seed, epoch, step), so a run that is
//! resumed continues as if it had never stopped.

use std::sync::Arc;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::config::{Config, Schedule};
use super::few_labels::{self, FewLabels};
use super::memory;
use super::ranks::{Alone, Ranks, Team};
use crate::data::{Dataset, Filler, Image, Labels, Range, Split, epoch_order};
use crate::error::{Error, Result};
use crate::loss::{Likelihood, LossSums, LossValues};
use crate::model::labels::labels_to_learn;
use crate::model::{Batch, Labelled, ModelConfig, Vae, Workspace};
use crate::optim::adam::norm_partials;
use crate::optim::{AdamState, LearningRate, SpikeDetector};
use crate::random::{Stream, fill_normal, stream};
use crate::tensor::ImageShape;

/// Where a run stands: all of it is in a checkpoint.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Progress {
    /// Steps taken, over all epochs.
    pub step: u64,
    /// Epochs finished.
    pub epoch: u64,
    /// Steps taken in the running epoch.
    pub step_in_epoch: u64,
    /// What the running epoch's steps have given.
    pub sums: LossSums,
    /// The gradient norms of the running epoch, summed.
    pub norm_sum: f64,
    /// Spikes in the run.
    pub spikes: u64,
    /// Steps left out because of one.
    pub skipped: u64,
    /// The best validation loss, at the final β, and its epoch.
    pub best: Option<Best>,
    /// Epochs since.
    pub stale: u64,
    /// Whether patience has run out.
    pub ended_early: bool,
}

/// The best model so far.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Best {
    /// Its epoch, counted from 1.
    pub epoch: u64,
    /// Its validation loss.
    pub loss: f64,
}

/// What one step did.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepReport {
    /// The batch's loss, before the step.
    pub values: LossValues,
    /// Images in the batch.
    pub images: usize,
    /// The gradient's norm.
    pub norm: f64,
    /// The learning rate.
    pub learning_rate: f64,
}

/// A model in training.
#[derive(Debug)]
pub struct Trainer {
    /// The run's configuration; batch, validation and widths are settled.
    pub config: Config,
    /// The images.
    pub data: Dataset,
    /// Which of them are for training and which for validation.
    pub split: Split,
    /// The model.
    pub model: Vae<f32>,
    /// Adam's moments: one for all parameters, or with the alternating schedule one for each half. If several
    /// processes share the steps, each keeps those of its part, and all get all of them when a checkpoint is
    /// written; the same is true of the average.
    pub adam: Vec<AdamState>,
    /// The average of the weights; empty if the run takes none.
    pub average: Vec<f32>,
    /// Where the run stands.
    pub progress: Progress,
    /// The last gradient norms.
    pub spikes: SpikeDetector,
    pub(super) workspace: Workspace<f32>,
    order: Vec<usize>,
    order_epoch: Option<u64>,
    batch: Vec<f32>,
    /// The label of each training image in the model's numbers; empty without labels.
    labels: Vec<u32>,
    batch_labels: Vec<u32>,
    noise: Vec<f32>,
    pub(super) norm_space: Vec<f64>,
    /// What learns from few labels beside the model.
    few: Option<FewLabels>,
    /// The processes that share each batch.
    pub(super) team: Team,
}

impl Trainer {
    /// A new model for these images, before its first step.
    ///
    /// # Errors
    /// Where configuration and images do not fit each other, or the processor lacks the precision.
    pub fn new(mut config: Config, data: Dataset) -> Result<Self> {
        let images = &data.train;
        config.precision.check()?;
        check_range(&config, &data)?;
        let split = Split::of(&data, config.seed, config.valid)?;
        let valid = split.validation.len();
        if config.patience.is_some() && valid == 0 {
            return Err(Error::config(
                "--patience judges by validation images, and there are too few to hold any out",
            ));
        }
        config.settle(split.train.len())?;
        config.valid = Some(valid);
        let batch = config.batch.expect("just settled");
        // The range that was found belongs to the model: test images have the same.
        if !images.pixels.is_bytes() || images.range != Range::BYTES {
            config.load.range.get_or_insert((images.range.low, images.range.high));
        }
        let labels = labels(&config, &data, &split)?;
        let shape = ImageShape::new(images.height, images.width, images.channels);
        let known = few_labels::known(&config, &data)?;
        let m2 = known.as_ref().map(few_labels::sizes);
        let network = ModelConfig { labels: labels.names, m2, ..config.model(shape) };
        memory::check_parameters(&config, &network)?;
        let model = Vae::new(network, config.seed)?;
        let more = known.as_ref().map_or(0, |known| few_labels::memory(known, &model, batch));
        memory::check(&config, &data, &model, batch, more)?;
        config.widths = Some(model.config().widths.clone());
        config.hidden = Some(model.config().hidden.clone());
        let n = model.parameters.len();
        let decoder = model.architecture().table.decoder_start;
        let adam = match config.schedule {
            Schedule::Joint => vec![AdamState::new(n)],
            Schedule::Alternating => vec![AdamState::new(decoder), AdamState::new(n - decoder)],
        };
        Ok(Self {
            workspace: model.training_workspace(batch).in_precision(config.precision),
            order: Vec::with_capacity(split.train.len()),
            order_epoch: None,
            batch: vec![0.0; batch * model.config().pixels()],
            labels: labels.ids,
            batch_labels: Vec::with_capacity(batch),
            noise: vec![0.0; batch * model.config().latent],
            norm_space: vec![0.0; norm_partials(adam.iter().map(|state| state.first.len()))],
            average: vec![0.0; if config.weight_average.is_some() { n } else { 0 }],
            few: known.and_then(|known| FewLabels::new(known, &model, batch)),
            team: Team::new(Arc::new(Alone)),
            progress: Progress::default(),
            spikes: SpikeDetector::new(),
            config,
            data,
            split,
            model,
            adam,
        })
    }

    /// From now on each step is taken together with these processes, whose trainers stand where this one does.
    ///
    /// # Errors
    /// If there are more of them than images in a batch.
    pub fn join(&mut self, ranks: Arc<dyn Ranks>) -> Result<()> {
        let (batch, count) = (self.batch_size(), ranks.count());
        if count > batch {
            return Err(Error::config(format!(
                "{count} processes cannot share batches of {batch} images; there must be at least one image for each"
            )));
        }
        self.team = Team::new(ranks);
        let share = self.team.largest_share(batch);
        self.workspace = self.model.training_workspace(share).in_precision(self.config.precision);
        self.batch = vec![0.0; share * self.model.config().pixels()];
        Ok(())
    }

    /// Steps of an epoch; the last may be on a smaller batch.
    pub fn steps_per_epoch(&self) -> u64 {
        self.split.train.len().div_ceil(self.batch_size()) as u64
    }

    /// Images of a full batch.
    pub fn batch_size(&self) -> usize {
        self.config.batch.expect("decided when the trainer was made")
    }

    /// Whether all that was asked for is done.
    pub fn is_done(&self) -> bool {
        let p = &self.progress;
        p.epoch >= self.config.epochs()
            || p.ended_early
            || self.config.max_steps.is_some_and(|most| p.step >= most)
    }

    /// The learning rate's curve.
    fn learning_rate(&self) -> LearningRate {
        self.config.learning_rate(self.steps_per_epoch())
    }

    /// How images become batches.
    pub fn filler(&self) -> Filler {
        Filler { span: self.model.config().span(), binarize: self.config.binarize, seed: self.config.seed }
    }

    /// The images, with their labels if the model is conditional.
    pub fn labelled(&self) -> Labelled<'_> {
        Labelled { images: &self.data.train, labels: &self.labels }
    }

    /// 64 bits that change with the labels of [`few_labels`], if there are any.
    pub(super) fn labels_fingerprint(&self) -> Option<u64> {
        self.few.as_ref().map(|few| few.fingerprint)
    }

    /// Takes the next step. Allocates nothing after the first one, if there is one process.
    ///
    /// # Errors
    /// The same on all processes that share the step.
    ///
    /// If the loss or the gradient is not finite, or on a spike with `--on-spike stop`. Neither parameters nor moments have moved then,
    /// except that with the alternating schedule the encoder's half has if the decoder's gradient is the one that is not finite. Steps
    /// and sums are not counted; the trainer is to be dropped, and training resumed from a checkpoint.
    pub fn step(&mut self) -> Result<StepReport> {
        let (epoch, at) = (self.progress.epoch, self.progress.step_in_epoch as usize);
        if self.order_epoch != Some(epoch) {
            epoch_order(self.config.seed, epoch, &self.split.train, &mut self.order);
            self.order_epoch = Some(epoch);
        }
        let size = self.batch_size();
        let (filler, epochs) = (self.filler(), self.progress.step as f64 / self.steps_per_epoch() as f64);
        let objective = self.config.objective(epochs);
        let rate = self.learning_rate().at(self.progress.step);
        let indices = &self.order[at * size..][..size.min(self.order.len() - at * size)];
        let images = indices.len();
        // What this process computes of the batch: all of it, unless other processes share it.
        let share = self.team.share(images);
        let indices = &indices[share.range.clone()];
        let (latent, pixels) = (self.model.config().latent, indices.len() * self.model.config().pixels());
        let augment = self.config.augment;
        filler.fill_augmented(&self.data.train, indices, epoch, augment, &mut self.batch[..pixels]);
        let labelled = Labelled { images: &self.data.train, labels: &self.labels };
        self.batch_labels.clear();
        self.batch_labels.extend(labelled.of(indices));
        let mut noise_stream = stream(self.config.seed, Stream::Noise, self.progress.step);
        fill_normal(&mut noise_stream, &mut self.noise[..images * latent]);
        let codes = share.range.start * latent..share.range.end * latent;
        if !self.team.is_alone() {
            self.workspace.take_part(self.team.ranks().clone(), share.weight);
        }

        let batch = Batch { images: &self.batch[..pixels], labels: &self.batch_labels };
        let noise = &self.noise[codes.clone()];
        let values = self.model.gradients(batch, noise, &objective, &mut self.workspace);
        let values = self.team.mean(images, values);
        let mut loss = values.loss;
        if let Some(few) = &mut self.few {
            let (data, step, team) = (&self.data.train, self.progress.step, &mut self.team);
            loss += few.gradients(&self.model, data, &filler, step, images, team, &mut self.workspace).loss;
        }
        self.sum(images, 0..self.model.parameters.len());
        let (norm, scale) = self.judge_gradient(loss)?;
        match (self.config.schedule, scale) {
            (_, None) => {}
            (Schedule::Joint, Some(scale)) => self.take_step(0, 0..self.model.parameters.len(), rate, scale),
            (Schedule::Alternating, Some(_)) => {
                let decoder = self.model.architecture().table.decoder_start;
                // Each half is clipped by its own norm: what it is the other has no part in.
                let (_, scale) = self.clip(0..decoder, values.loss)?;
                self.take_step(0, 0..decoder, rate, scale);
                let batch = Batch { images: &self.batch[..pixels], labels: &self.batch_labels };
                let noise = &self.noise[codes];
                let second = self.model.decoder_gradients(batch, noise, &objective, &mut self.workspace);
                let second = self.team.mean(images, second);
                // The encoder has moved by now, in memory only: what fails here leaves the checkpoint as it was.
                let half = decoder..self.model.parameters.len();
                self.sum(images, half.clone());
                let (_, scale) = self.clip(half.clone(), second.reconstruction)?;
                self.take_step(1, half, rate, scale);
            }
        }
        if scale.is_some() {
            self.update_average();
        }
        let report = StepReport { values, images, norm, learning_rate: rate };
        let p = &mut self.progress;
        p.sums.add(&values, images);
        p.norm_sum += report.norm;
        p.step += 1;
        p.step_in_epoch += 1;
        Ok(report)
    }

    /// Whether the running epoch has had all its steps.
    pub fn epoch_is_complete(&self) -> bool {
        self.progress.step_in_epoch >= self.steps_per_epoch()
    }

    /// The means of the running epoch's steps.
    pub fn epoch_means(&self) -> LossValues {
        self.progress.sums.mean()
    }

    /// The mean gradient norm of the running epoch's steps.
    pub fn epoch_norm(&self) -> f64 {
        self.progress.norm_sum / self.progress.step_in_epoch.max(1) as f64
    }

    /// Gives the model the σ² that evaluation uses with the optimal Gaussian: the mean of the epoch's batches.
    pub fn settle_variance(&mut self) {
        if let Likelihood::OptimalGaussian { .. } = self.model.config().likelihood {
            let variance = self.epoch_means().variance;
            self.model.set_optimal_variance(variance);
        }
    }

    /// Begins the next epoch.
    pub fn next_epoch(&mut self) {
        let p = &mut self.progress;
        p.epoch += 1;
        p.step_in_epoch = 0;
        p.sums = LossSums::default();
        p.norm_sum = 0.0;
    }

    /// Whether parameters and moments are all finite. (A step from finite gradients can still overflow one.)
    pub fn is_finite(&self) -> bool {
        let moments = self.adam.iter().flat_map(|state| [&state.first, &state.second]);
        moments.chain([&self.model.parameters, &self.average]).all(|numbers| {
            numbers.par_chunks(64 * 1024).all(|piece| piece.iter().fold(true, |all, x| all & x.is_finite()))
        })
    }
}

/// The labels of a conditional model, and that of each training image; none without `--conditional`.
fn labels(config: &Config, data: &Dataset, split: &Split) -> Result<Labels> {
    if !config.conditional {
        return Ok(Labels { ids: Vec::new(), names: Vec::new() });
    }
    let labels = labels_to_learn(data, "--conditional")?;
    let mut seen = vec![false; labels.names.len()];
    split.train.iter().for_each(|&image| seen[labels.ids[image] as usize] = true);
    if let Some(unseen) = seen.iter().position(|&seen| !seen) {
        return Err(Error::config(format!(
            "all images with the label {} are held out for validation, and none is left to train on; a smaller --valid leaves some",
            crate::text::printable(labels.names[unseen].as_str())
        )));
    }
    Ok(labels)
}

/// Whether the likelihood can have these pixels.
fn check_range(config: &Config, data: &Dataset) -> Result<()> {
    let range = data.train.range;
    if config.binarize.is_none() && config.load.range.is_none() && range == Range::SYMMETRIC {
        // Not stretched to [0, 1] unasked: who stores images so has a reason, and may not want cross-entropies of grey.
        config.likelihood.check_range(f64::from(range.low), f64::from(range.high))?;
    }
    if config.binarize.is_none() && config.likelihood.is_exact_for_bytes() {
        let mut found = [false; 256];
        let bytes = |found: [bool; 256]| -> Vec<f32> {
            (0..=u8::MAX).filter(|&v| found[usize::from(v)]).map(f32::from).collect()
        };
        for index in 0..data.train.count {
            data.train.with_image(index, |image| match image {
                Image::F32(values) => config.likelihood.check_levels(values, range.low, range.high),
                Image::U8(values) => {
                    values.iter().for_each(|&value| found[usize::from(value)] = true);
                    Ok(())
                }
            })?;
        }
        config.likelihood.check_levels(&bytes(found), range.low, range.high)?;
    }
    if data.train.pixels.is_bytes() {
        return Ok(());
    }
    let (low, high) = data.train.pixels.extent();
    let unit = |value: f32| f64::from((value - range.low) / (range.high - range.low));
    if config.binarize.is_none() { config.likelihood.check_range(unit(low), unit(high)) } else { Ok(()) }
}

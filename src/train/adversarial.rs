//! The adversarial stage: after the VAE has learned, a discriminator and the decoder learn from each other
//! ([`model::adversarial`](crate::model::adversarial) has the losses and their derivation).
//!
//! ```text
//! each step:  x ← images of the batch, with their labels                    D judges them
//!             x̂ ← decoded draws of the prior                                D judges them
//!             x̃ ← decoded draws of q(z|x)                                   D judges them
//!             the gradient of D's weights from all three; that of the decoder from x̂ and x̃
//!             stop if one is not finite; else Adam's step of D and of the decoder
//! ```
//!
//! Both sides' gradients are those before the step, so a step either moves both or neither. Encoder and latent layer do not move. As in
//! the loop of the VAE, everything that a step depends on is saved or counted.
//!
//! Samples come from what `elbo sample` draws from if nothing is asked for: N(0, I), or for the preset residual a mixture that is fitted to the codes of
//! the training images. The encoder does not move, so these codes and the mixture stay the same.
//!
//! The discriminator is shown images as they were read: of an image that is binarized by chance, the decoder's mean is the grey before the draw.

use serde::{Deserialize, Serialize};

use super::trainer::Trainer;
use crate::data::{Binarize, Filler, epoch_order};
use crate::error::{Error, Result};
use crate::generate::prior::Prior;
use crate::model::adversarial::losses::{self, Judged};
use crate::model::adversarial::{Discriminator, DiscriminatorSpace};
use crate::model::{Batch, Labelled, Vae};
use crate::optim::adam::{clip_factor, gradient_norm, norm_partials};
use crate::optim::{Adam, AdamState, OnSpike, SpikeDetector, Verdict};
use crate::random::{Stream, fill_normal, stream};
use crate::report::adversarial::StageLosses;

pub mod saved;

/// Adam's constants for both sides: what was right some steps ago is not any more, so moments forget faster (Radford et al. 2016).
const ADAM: Adam = Adam { beta1: 0.5, beta2: 0.99, epsilon: 1e-8, weight_decay: 0.0 };
/// The decoder's learning rate and the discriminator's, as shares of the VAE's.
const DECODER_RATE: f64 = 0.2;
const DISCRIMINATOR_RATE: f64 = 0.4;
/// The norm of the features' gradient at the decoder's output as a share of the likelihood's, and that of the discriminator's.
const FEATURES_SHARE: f64 = 1.0;
const ADVERSARIAL_SHARE: f64 = 1.0;

impl StageLosses {
    /// Adds `share` times other values.
    fn add(&mut self, other: &Self, share: f64) {
        self.discriminator += share * other.discriminator;
        self.adversarial += share * other.adversarial;
        self.reconstruction += share * other.reconstruction;
        self.features += share * other.features;
        self.weight += share * other.weight;
        self.accuracy.iter_mut().zip(other.accuracy).for_each(|(sum, value)| *sum += share * value);
        self.norms.iter_mut().zip(other.norms).for_each(|(sum, value)| *sum += share * value);
    }

    /// The sum of all, which is finite only if all are.
    fn sum(&self) -> f64 {
        let losses =
            self.discriminator + self.adversarial + self.reconstruction + self.features + self.weight;
        losses + self.norms.iter().sum::<f64>()
    }
}

/// Where the stage stands: all of it is in a checkpoint.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct AdversarialProgress {
    /// Steps of the stage.
    pub step: u64,
    /// Epochs of the stage that are finished.
    pub epoch: u64,
    /// Steps in the running epoch.
    pub step_in_epoch: u64,
    /// The sums over the running epoch's images.
    pub sums: StageLosses,
    /// The images of the running epoch's steps.
    pub images: u64,
    /// Spikes of either gradient's norm.
    pub spikes: u64,
    /// Steps left out because of one.
    pub skipped: u64,
    /// The distance of the VAE's samples from images, if it can be measured.
    pub first_distance: Option<f64>,
    /// The least distance, and its epoch of the stage, from 1; 0 for the VAE.
    pub best: Option<(u64, f64)>,
}

impl AdversarialProgress {
    /// The means over the running epoch.
    pub fn mean(&self) -> StageLosses {
        let mut mean = StageLosses::default();
        mean.add(&self.sums, 1.0 / self.images.max(1) as f64);
        mean
    }
}

/// What one step did.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdversarialStep {
    /// The values before the step.
    pub values: StageLosses,
    /// Images in the batch.
    pub images: usize,
}

/// Discriminator and decoder in training.
#[derive(Debug)]
pub struct Adversarial {
    /// The discriminator's layers.
    pub discriminator: Discriminator<f32>,
    /// Its parameters.
    pub parameters: Vec<f32>,
    /// The directions of its weights' power iterations.
    pub directions: Vec<f32>,
    /// Adam's moments of the discriminator and of the decoder.
    pub adam: [AdamState; 2],
    /// The last norms of both gradients.
    pub spikes: [SpikeDetector; 2],
    /// Where the stage stands.
    pub progress: AdversarialProgress,
    /// What samples are drawn from.
    pub prior: Prior,
    space: DiscriminatorSpace<f32>,
    order: Vec<usize>,
    order_epoch: Option<u64>,
    /// The batch as the encoder takes it, and as the discriminator is shown it if that is something else.
    images: Vec<f32>,
    grey: Vec<f32>,
    labels: Vec<u32>,
    noise: Vec<f32>,
    pictures: Vec<f32>,
    d_pictures: Vec<f32>,
    /// φ(x).
    features: Vec<f32>,
    /// The gradient of one term by the decoder's output.
    d_term: Vec<f32>,
    /// The gradient of the decoder's parameters from samples.
    sampled: Vec<f32>,
    per_image: Vec<f64>,
    norm_space: Vec<f64>,
}

/// The decoder's own parameters: what is shared with the encoder is not among them.
pub(super) fn decoder_range(model: &Vae<f32>) -> std::ops::Range<usize> {
    let table = &model.architecture().table;
    let mut own = table.parameters.iter().filter(|parameter| parameter.name.starts_with("decoder."));
    table.decoder_start..own.next_back().map_or(table.decoder_start, |last| last.range.end)
}

impl Adversarial {
    /// The stage before its first step.
    ///
    /// # Errors
    /// If the images are too small for a discriminator.
    pub fn new(trainer: &Trainer) -> Result<Self> {
        let (c, batch, seed) = (trainer.model.config(), trainer.batch_size(), trainer.config.seed);
        let discriminator = Discriminator::new(c.image(), c.classes())?;
        let (own, decoder) = (discriminator.table.len(), decoder_range(&trainer.model).len());
        let numbers = |len: usize| vec![0.0; batch * len];
        let is_drawn = matches!(trainer.config.binarize, Some(Binarize::Static | Binarize::Dynamic));
        Ok(Self {
            parameters: discriminator.initialize(seed),
            directions: discriminator.directions(seed),
            adam: [AdamState::new(own), AdamState::new(decoder)],
            spikes: [SpikeDetector::new(), SpikeDetector::new()],
            progress: AdversarialProgress::default(),
            prior: Prior::Normal,
            space: discriminator.space(batch),
            order: Vec::with_capacity(trainer.split.train.len()),
            order_epoch: None,
            images: numbers(c.pixels()),
            grey: if is_drawn { numbers(c.pixels()) } else { Vec::new() },
            labels: Vec::with_capacity(batch),
            noise: numbers(c.latent),
            pictures: numbers(c.pixels()),
            d_pictures: numbers(c.pixels()),
            features: numbers(discriminator.features_len()),
            d_term: numbers(c.output_len()),
            sampled: vec![0.0; decoder],
            per_image: vec![0.0; batch],
            norm_space: vec![0.0; norm_partials([(batch * c.output_len()).max(own).max(decoder)])],
            discriminator,
        })
    }

    /// Whether the running epoch has had all its steps.
    pub fn epoch_is_complete(&self, trainer: &Trainer) -> bool {
        self.progress.step_in_epoch >= trainer.steps_per_epoch()
    }

    /// Begins the next epoch.
    pub fn next_epoch(&mut self) {
        let p = &mut self.progress;
        (p.epoch, p.step_in_epoch, p.images) = (p.epoch + 1, 0, 0);
        p.sums = StageLosses::default();
    }

    /// Takes the next step. Allocates nothing of its own after the first one.
    ///
    /// # Errors
    /// If a loss or gradient is not finite, or on a spike with `--on-spike stop`; nothing has moved then.
    pub fn step(&mut self, trainer: &mut Trainer) -> Result<AdversarialStep> {
        let count = self.fill(trainer);
        // The step's number in the whole run names its draws.
        let step = trainer.progress.step + self.progress.step;
        let (seed, c) = (trainer.config.seed, trainer.model.config());
        let (pixels, latent, likelihood) = (c.pixels(), c.latent, c.likelihood);
        let (outputs, image, classes) = (count * c.output_len(), c.image(), c.classes());
        let decoder = decoder_range(&trainer.model);
        let (model, w) = (&mut trainer.model, &mut trainer.workspace);
        let (d, s) = (&self.discriminator, &mut self.space);
        d.prepare(&self.parameters, &mut self.directions, s);
        let mut values = StageLosses::default();

        // Real images.
        let images = &self.images[..count * pixels];
        let shown = if self.grey.is_empty() { images } else { &self.grey[..count * pixels] };
        model.set_condition(&self.labels, w);
        d.forward(shown, &w.condition()[..count * classes], s);
        let features = &mut self.features[..count * d.features_len()];
        features.copy_from_slice(s.features(d, count));
        let (logits, d_logits) = s.logits(count);
        let real = losses::real(logits, d_logits);
        d.backward(shown, None, s);

        // Samples; the gradient of the decoder from them is kept until its weight is known.
        let (pictures, d_pictures) =
            (&mut self.pictures[..count * pixels], &mut self.d_pictures[..count * pixels]);
        let d_term = &mut self.d_term[..outputs];
        let norm_space = &mut self.norm_space;
        let mut draws = stream(seed, Stream::Adversarial, step);
        self.prior.fill(&mut draws, latent, &mut w.latent.z[..count * latent]);
        pictures.copy_from_slice(model.decode_means(count, w));
        d.forward(pictures, &w.condition()[..count * classes], s);
        let sampled = judge(d, s, pictures, d_pictures);
        likelihood.means_backward(&w.output()[..outputs], image, d_pictures, d_term);
        let sampled_norm = gradient_norm([&*d_term], norm_space);
        w.d_output()[..outputs].copy_from_slice(d_term);
        model.decoder_backward(count, w);
        self.sampled.copy_from_slice(&w.gradient()[decoder.clone()]);

        // Reconstructions.
        let noise = &mut self.noise[..count * latent];
        fill_normal(&mut stream(seed, Stream::Noise, step), noise);
        model.encode(Batch { images, labels: &self.labels }, w);
        model.draw(noise, w);
        pictures.copy_from_slice(model.decode_means(count, w));
        d.forward(pictures, &w.condition()[..count * classes], s);
        let per_image = &mut self.per_image[..count];
        likelihood.forward_backward(&w.output()[..outputs], images, image, d_term, per_image);
        values.reconstruction = per_image.iter().sum::<f64>() / count as f64;
        let likelihood_norm = gradient_norm([&*d_term], norm_space);
        w.d_output()[..outputs].copy_from_slice(d_term);
        let (found, d_found) = s.features_and_gradient(d, count);
        values.features = losses::feature_distance(features, found, d_found, per_image);
        d.features_backward(pictures, d_pictures, s);
        likelihood.means_backward(&w.output()[..outputs], image, d_pictures, d_term);
        let features_norm = gradient_norm([&*d_term], norm_space);
        add(
            &mut w.d_output()[..outputs],
            d_term,
            losses::weight(FEATURES_SHARE, likelihood_norm, features_norm),
        );
        let reconstructed = judge(d, s, pictures, d_pictures);
        likelihood.means_backward(&w.output()[..outputs], image, d_pictures, d_term);
        let adversarial_norm = libm::hypot(sampled_norm, gradient_norm([&*d_term], norm_space));
        values.weight = losses::weight(ADVERSARIAL_SHARE, likelihood_norm, adversarial_norm);
        add(&mut w.d_output()[..outputs], d_term, values.weight);
        model.decoder_backward(count, w);
        add(&mut w.gradient_mut()[decoder.clone()], &self.sampled, values.weight);

        values.discriminator =
            real.discriminator + 0.5 * (reconstructed.discriminator + sampled.discriminator);
        values.adversarial = 0.5 * (reconstructed.decoder + sampled.decoder);
        values.accuracy = [real.accuracy, reconstructed.accuracy, sampled.accuracy];
        let gradient = d.gradient(&self.directions, s);
        values.norms = [gradient, &w.gradient()[decoder.clone()]].map(|g| gradient_norm([g], norm_space));
        if let Some([own, other]) = self.judge_gradients(trainer, &values)? {
            let (adam, lr) = (ADAM, trainer.config.lr);
            let gradient = self.space.gradient();
            adam.step(&mut self.parameters, gradient, &mut self.adam[0], lr * DISCRIMINATOR_RATE, own);
            let (p, g) =
                (&mut trainer.model.parameters[decoder.clone()], &trainer.workspace.gradient()[decoder]);
            adam.step(p, g, &mut self.adam[1], lr * DECODER_RATE, other);
        }
        let p = &mut self.progress;
        p.sums.add(&values, count as f64);
        p.images += count as u64;
        p.step += 1;
        p.step_in_epoch += 1;
        Ok(AdversarialStep { values, images: count })
    }

    /// The images of the next step, their labels, and how many they are.
    fn fill(&mut self, trainer: &Trainer) -> usize {
        let (t, size, at) = (trainer, trainer.batch_size(), self.progress.step_in_epoch as usize);
        // Epochs are counted on from those of the VAE: each has another order and other augmentations.
        let epoch = t.progress.epoch + self.progress.epoch;
        if self.order_epoch != Some(epoch) {
            epoch_order(t.config.seed, epoch, &t.split.train, &mut self.order);
            self.order_epoch = Some(epoch);
        }
        let indices = &self.order[at * size..][..size.min(self.order.len() - at * size)];
        let (pixels, augment) = (indices.len() * t.model.config().pixels(), t.config.augment);
        let (filler, data) = (t.filler(), &t.data.train);
        filler.fill_augmented(data, indices, epoch, augment, &mut self.images[..pixels]);
        if !self.grey.is_empty() {
            let grey = Filler { binarize: None, ..filler };
            grey.fill_augmented(data, indices, epoch, augment, &mut self.grey[..pixels]);
        }
        let Labelled { images, labels } = t.labelled();
        self.labels.clear();
        self.labels.extend(Labelled { images, labels }.of(indices));
        indices.len()
    }

    /// The factors for both gradients, `None` to leave the step out.
    fn judge_gradients(&mut self, trainer: &Trainer, values: &StageLosses) -> Result<Option<[f64; 2]>> {
        let step = self.progress.step + 1;
        if !values.sum().is_finite() {
            let StageLosses { discriminator, adversarial, norms: [own, decoder], .. } = values;
            return Err(Error::Training(format!(
                "at step {step} of the adversarial stage the losses of discriminator and decoder are {discriminator} and {adversarial}, \
                 and their gradients' norms {own} and {decoder}, not all of them finite; the step was not taken, and the last checkpoint \
                 is good. A smaller --lr or --clip-norm often helps"
            )));
        }
        let mut spike = None;
        for ((detector, norm), side) in
            self.spikes.iter_mut().zip(values.norms).zip(["discriminator", "decoder"])
        {
            if let Verdict::Spike { median } = detector.observe(norm) {
                spike = Some((side, norm, median));
            }
        }
        let c = &trainer.config;
        let factors = values.norms.map(|norm| c.clip_norm.map_or(1.0, |most| clip_factor(norm, most)));
        let Some((side, norm, median)) = spike else { return Ok(Some(factors)) };
        self.progress.spikes += 1;
        match c.on_spike {
            None => Ok(Some(factors)),
            Some(OnSpike::Skip) => {
                self.progress.skipped += 1;
                Ok(None)
            }
            Some(OnSpike::Stop) => Err(Error::Training(format!(
                "the norm of the {side}'s gradient is {norm:.3} at step {step} of the adversarial stage, and its median was \
                 {median:.3}; the step was not taken (--on-spike stop)"
            ))),
        }
    }

    /// Whether parameters and moments are all finite.
    pub fn is_finite(&self) -> bool {
        let moments = self.adam.iter().flat_map(|state| [&state.first, &state.second]);
        let mut all = moments.chain([&self.parameters, &self.directions]);
        all.all(|numbers| numbers.iter().all(|x| x.is_finite()))
    }
}

/// The discriminator's loss on pictures that it has judged, its gradient, and the decoder's by the pictures.
fn judge(
    discriminator: &Discriminator<f32>,
    space: &mut DiscriminatorSpace<f32>,
    pictures: &[f32],
    d_pictures: &mut [f32],
) -> Judged {
    let count = discriminator.count(pictures);
    let (logits, d_logits) = space.logits(count);
    let judged = losses::decoded(logits, d_logits);
    discriminator.backward(pictures, Some(&mut *d_pictures), space);
    losses::to_decoder(space.logits(count).0, d_pictures);
    judged
}

/// sum += share · term.
fn add(sum: &mut [f32], term: &[f32], share: f64) {
    let share = share as f32;
    sum.iter_mut().zip(term).for_each(|(sum, &term)| *sum += share * term);
}

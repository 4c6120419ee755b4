//! The complete configuration of a training: defaults are filled in for options that [`TrainOptions`] leave
//! open, and invalid combinations are refused, before anything is read or written.
//!
//! [`Config::to_options`] is the reverse: the complete config file of a run, with which `train --config`
//! repeats it. [`checks`] refuses invalid combinations, and [`steps`] chooses epochs and batch by the number
//! of images.

pub mod checks;
pub mod steps;

use std::path::PathBuf;
use std::time::Duration;

use super::data_options::read;
use super::options::{DataOptions, ModelOptions, TrainOptions};
use crate::data::{Augment, Binarize, Color, Fit, LoadOptions, Part};
use crate::error::{Error, Result};
use crate::kernels::precision::Precision;
use crate::loss::{Divergence, Likelihood, Objective, ObjectiveTerms};
use crate::model::{ContextInputs, ModelConfig, Preset};
use crate::optim::{Adam, LearningRate, LearningRateSchedule, OnSpike, Ramp};
use crate::tensor::ImageShape;
use crate::text::names::named;
use crate::text::values;

/// The order in which the two halves learn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Schedule {
    /// One step for all parameters.
    #[default]
    Joint,
    /// The article's two steps: encoder and shared layer on reconstruction + divergence, then the decoder on
    /// reconstruction.
    Alternating,
}

named!(Schedule, "schedule", Joint => "joint", Alternating => "alternating");

/// All settings of a training.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// The path of the images.
    pub data: PathBuf,
    /// The options for reading them.
    pub load: LoadOptions,
    /// Whether pixels become 0 or 1.
    pub binarize: Option<Binarize>,
    /// Random changes of training images.
    pub augment: Augment,
    /// The preset of the network.
    pub preset: Preset,
    /// Z.
    pub latent: usize,
    /// The channels of the convolutions; `None` for the default, until the images are known.
    pub widths: Option<Vec<usize>>,
    /// The hidden linear layers; `None` for the default, until the images are known.
    pub hidden: Option<Vec<usize>>,
    /// Residual blocks after each halving; `None` for the preset's own.
    pub blocks: Option<usize>,
    /// The hidden numbers of the context network; `None` for pixels that are independent given the code.
    pub context: Option<usize>,
    /// The inputs of that network; `None` for the default, until the images are known.
    pub context_inputs: Option<ContextInputs>,
    /// The model whose weights the run begins with, as an absolute path: a run folder or a model file.
    pub start_from: Option<PathBuf>,
    /// Whether the decoder uses the encoder's weights.
    pub tie_weights: bool,
    /// Whether encoder and decoder are given the label of each image.
    pub conditional: bool,
    /// A file with the labels of some images, from which a classifier learns.
    pub labels: Option<PathBuf>,
    /// The same with the labels of this number of images of each class.
    pub labelled: Option<usize>,
    /// The likelihood.
    pub likelihood: Likelihood,
    /// The divergence between posterior and prior.
    pub divergence: Divergence,
    /// β over the epochs.
    pub beta: Ramp,
    /// λ, nats per dimension.
    pub free_bits: f64,
    /// The final capacity in nats; it grows from 0 over all epochs.
    pub capacity: Option<f64>,
    /// Joint or alternating.
    pub schedule: Schedule,
    /// Passes over the data; `None` for the default, until the images are known.
    pub epochs: Option<u64>,
    /// Epochs of the adversarial stage after those; `None` for none.
    pub adversarial: Option<u64>,
    /// Images per step; `None` for the default, until the data are known.
    pub batch: Option<usize>,
    /// α.
    pub lr: f64,
    /// The schedule of α.
    pub lr_schedule: LearningRateSchedule,
    /// Epochs of warm-up.
    pub lr_warmup: f64,
    /// Adam's constants.
    pub adam: Adam,
    /// The largest gradient norm.
    pub clip_norm: Option<f64>,
    /// The decay per step of the average of the weights, if there is one.
    pub weight_average: Option<f64>,
    /// The reaction to a spike.
    pub on_spike: Option<OnSpike>,
    /// The seed of all random streams.
    pub seed: u64,
    /// Images held out; `None` for the default, until the data are known.
    pub valid: Option<usize>,
    /// Epochs without improvement before the run ends.
    pub patience: Option<u64>,
    /// Steps after which the run ends.
    pub max_steps: Option<u64>,
    /// The precision of the factors of products in a training step; everything else is in single precision.
    pub precision: Precision,
    /// Time between checkpoints.
    pub checkpoint_every: Duration,
    /// Threads; 0 for one a core.
    pub threads: usize,
}

impl Default for Config {
    /// The configuration without any options and without a path of images.
    fn default() -> Self {
        let preset = Preset::Conv;
        Self {
            data: PathBuf::new(),
            load: LoadOptions { part: Part::Train, ..LoadOptions::default() },
            binarize: None,
            augment: Augment::NONE,
            preset,
            latent: preset.default_latent(),
            widths: None,
            hidden: None,
            blocks: None,
            context: None,
            context_inputs: None,
            start_from: None,
            tie_weights: false,
            conditional: false,
            labels: None,
            labelled: None,
            likelihood: preset.default_likelihood(),
            divergence: Divergence::default(),
            beta: Ramp::constant(1.0),
            free_bits: 0.0,
            capacity: None,
            schedule: Schedule::default(),
            epochs: None,
            adversarial: None,
            batch: None,
            lr: 1e-3,
            lr_schedule: LearningRateSchedule::default(),
            lr_warmup: 0.0,
            adam: Adam::default(),
            clip_norm: None,
            weight_average: None,
            on_spike: None,
            seed: 0,
            valid: None,
            patience: None,
            max_steps: None,
            precision: Precision::default(),
            checkpoint_every: Duration::from_secs(300),
            threads: 0,
        }
    }
}

impl Config {
    /// Fills in defaults and refuses invalid combinations.
    ///
    /// # Errors
    /// One sentence on the first option that cannot be used.
    pub fn new(options: &TrainOptions) -> Result<Self> {
        let TrainOptions { data, model: o } = options;
        let defaults = Self::default();
        let preset = read(&o.preset, str::parse)?.unwrap_or(defaults.preset);
        let beta = o.beta.unwrap_or(defaults.beta.to);
        let config = Self {
            data: data.path()?,
            load: data.load_options()?,
            binarize: data.binarize()?,
            augment: data.augment()?,
            preset,
            latent: o.latent.unwrap_or_else(|| preset.default_latent()),
            widths: o.channels.clone(),
            hidden: o.hidden.clone(),
            blocks: o.blocks,
            context: o.context,
            context_inputs: read(&o.context_inputs, str::parse)?,
            // The run may be repeated or resumed from another folder.
            start_from: o.start_from.clone().map(|path| std::path::absolute(&path).unwrap_or(path)),
            tie_weights: o.tie_weights.unwrap_or(defaults.tie_weights),
            conditional: o.conditional.unwrap_or(defaults.conditional),
            labels: o.labels.clone(),
            labelled: o.labelled,
            likelihood: likelihood(o, preset)?,
            divergence: read(&o.divergence, str::parse)?.unwrap_or(defaults.divergence),
            beta: match values::not_negative("beta-warmup", o.beta_warmup)? {
                Some(epochs) if epochs > 0.0 => Ramp::from_zero(beta, epochs),
                _ => Ramp::constant(beta),
            },
            free_bits: o.free_bits.unwrap_or(defaults.free_bits),
            capacity: o.capacity,
            schedule: read(&o.schedule, str::parse)?.unwrap_or(defaults.schedule),
            // A model that has learned already needs only the stage.
            epochs: o.epochs.or((o.adversarial.is_some() && o.start_from.is_some()).then_some(0)),
            adversarial: o.adversarial,
            batch: o.batch,
            lr: o.lr.unwrap_or(defaults.lr),
            lr_schedule: read(&o.lr_schedule, str::parse)?.unwrap_or(defaults.lr_schedule),
            lr_warmup: values::not_negative("lr-warmup", o.lr_warmup)?.unwrap_or(defaults.lr_warmup),
            adam: Adam {
                weight_decay: values::not_negative("weight-decay", o.weight_decay)?
                    .unwrap_or(defaults.adam.weight_decay),
                ..defaults.adam
            },
            clip_norm: values::positive("clip-norm", o.clip_norm)?,
            weight_average: o.weight_average.filter(|&share| share != 0.0),
            on_spike: read(&o.on_spike, str::parse)?,
            seed: o.seed.unwrap_or(defaults.seed),
            valid: o.valid,
            patience: o.patience,
            max_steps: o.max_steps,
            precision: read(&o.precision, str::parse)?.unwrap_or(defaults.precision),
            checkpoint_every: read(&o.checkpoint_every, values::parse_duration)?
                .unwrap_or(defaults.checkpoint_every),
            threads: o.threads.unwrap_or(defaults.threads),
        };
        config.validate()?;
        Ok(config)
    }

    /// The network for images of this shape, with the preset's default widths if none were given. A
    /// conditional one has no labels yet: they come from the images.
    pub fn model(&self, image: ImageShape) -> ModelConfig {
        let preset = ModelConfig::new(self.preset, image);
        ModelConfig {
            latent: self.latent,
            widths: self.widths.clone().unwrap_or(preset.widths),
            hidden: self.hidden.clone().unwrap_or(preset.hidden),
            blocks: self.blocks,
            context: self.context,
            context_inputs: self.context_inputs.unwrap_or_else(|| self.default_context_inputs(image)),
            tie_weights: self.tie_weights,
            likelihood: self.likelihood,
            ..preset
        }
    }

    /// Colour pictures are mostly photographs, grey ones digits and drawings.
    fn default_context_inputs(&self, image: ImageShape) -> ContextInputs {
        let suits = image.channels > 1 && self.likelihood.means_and_log_scales().is_some();
        if self.context.is_some() && suits { ContextInputs::Differences } else { ContextInputs::Values }
    }

    /// The objective after this number of epochs, fractions included.
    pub fn objective(&self, epochs: f64) -> Objective {
        let capacity = |nats| Ramp::from_zero(nats, self.epochs() as f64).at(epochs);
        let terms = ObjectiveTerms {
            beta: self.beta.at(epochs),
            free_bits: self.free_bits,
            capacity: self.capacity.map(capacity),
        };
        Objective { divergence: self.divergence, terms }
    }

    /// The objective by which models are judged: that at the end of all ramps.
    pub fn final_objective(&self) -> Objective {
        let terms = ObjectiveTerms { beta: self.beta.to, free_bits: self.free_bits, capacity: self.capacity };
        Objective { divergence: self.divergence, terms }
    }

    /// The learning-rate schedule, for epochs of this number of steps.
    pub fn learning_rate(&self, steps_per_epoch: u64) -> LearningRate {
        LearningRate {
            base: self.lr,
            schedule: self.lr_schedule,
            warmup_steps: (self.lr_warmup * steps_per_epoch as f64).round() as u64,
            total_steps: self.epochs().saturating_mul(steps_per_epoch),
        }
    }

    /// All options with their values: a config file that repeats the run.
    pub fn to_options(&self) -> TrainOptions {
        let likelihood = self.likelihood;
        TrainOptions {
            data: DataOptions {
                data: Some(self.data.clone()),
                size: self.load.size.map(values::show_size),
                fit: (self.load.fit != Fit::Crop).then(|| self.load.fit.to_string()),
                grey: (self.load.color == Some(Color::Grey)).then_some(true),
                rgb: (self.load.color == Some(Color::Rgb)).then_some(true),
                background: Some(values::show_color(self.load.background)),
                layout: self.load.layout.map(|layout| layout.to_string()),
                array: self.load.array.clone(),
                range: self.load.range.map(values::show_range),
                skip_bad: Some(self.load.skip_bad),
                max_memory: Some(values::show_memory(self.load.max_memory)),
                binarize: self.binarize.map(|binarize| binarize.to_string()),
                augment: (self.augment != Augment::NONE).then(|| self.augment.to_string()),
            },
            model: ModelOptions {
                preset: Some(self.preset.name().into()),
                latent: Some(self.latent),
                channels: self.widths.clone(),
                hidden: self.hidden.clone(),
                start_from: self.start_from.clone(),
                tie_weights: Some(self.tie_weights),
                conditional: self.conditional.then_some(true),
                labels: self.labels.clone(),
                labelled: self.labelled,
                likelihood: Some(likelihood.name().into()),
                sigma: likelihood.setting("sigma"),
                scale: likelihood.setting("scale"),
                components: likelihood.setting("components").map(|components| components as usize),
                blocks: self.blocks,
                context: self.context,
                context_inputs: self.context_inputs.map(|inputs| inputs.name().into()),
                divergence: Some(self.divergence.name().into()),
                beta: Some(self.beta.to),
                beta_warmup: Some(self.beta.epochs),
                free_bits: Some(self.free_bits),
                capacity: self.capacity,
                schedule: Some(self.schedule.name().into()),
                epochs: self.epochs,
                adversarial: self.adversarial,
                batch: self.batch,
                lr: Some(self.lr),
                lr_schedule: Some(self.lr_schedule.name().into()),
                lr_warmup: Some(self.lr_warmup),
                weight_decay: Some(self.adam.weight_decay),
                clip_norm: self.clip_norm,
                weight_average: self.weight_average,
                on_spike: self.on_spike.map(|what| what.name().into()),
                seed: Some(self.seed),
                valid: self.valid,
                patience: self.patience,
                max_steps: self.max_steps,
                precision: (self.precision != Precision::default()).then(|| self.precision.to_string()),
                checkpoint_every: Some(values::show_duration(self.checkpoint_every)),
                threads: Some(self.threads),
            },
        }
    }
}

/// The likelihood with its width, if it has one.
fn likelihood(o: &ModelOptions, preset: Preset) -> Result<Likelihood> {
    let likelihood = read(&o.likelihood, str::parse)?.unwrap_or_else(|| preset.default_likelihood());
    let components = o.components.map(|components| components as f64);
    [("sigma", o.sigma), ("scale", o.scale), ("components", components)]
        .into_iter()
        .filter_map(|(setting, value)| Some((setting, value?)))
        .try_fold(likelihood, |likelihood, (setting, value)| {
            let owner = Likelihood::ALL.iter().find(|other| other.setting(setting).is_some());
            if let (None, Some(owner)) = (likelihood.setting(setting), owner) {
                return Err(Error::config(format!(
                    "--{setting} is for the {owner} likelihood, and this is {likelihood}"
                )));
            }
            likelihood.with_setting(setting, value)
        })
}

#[cfg(test)]
mod tests;

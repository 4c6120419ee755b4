//! A training's configuration with everything decided: what [`TrainOptions`] leave open has its default here, and what cannot be is
//! refused here, before anything is read or written.
//!
//! [`Config::to_options`] is the way back: the complete config file of a run, with which `train --config` repeats it.

use std::path::PathBuf;
use std::time::Duration;

use super::options::{DataOptions, ModelOptions, TrainOptions};
use crate::data::{Augment, Binarize, Color, Fit, LoadOptions, Part, cache_folder};
use crate::error::{Error, Result};
use crate::loss::{Divergence, Likelihood, Objective, ObjectiveTerms};
use crate::model::{ModelConfig, Preset};
use crate::optim::{Adam, LearningRate, LearningRateSchedule, OnSpike, Ramp};
use crate::tensor::ImageShape;
use crate::text::names::named;
use crate::text::values;

/// In which order the two halves learn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Schedule {
    /// One step for all parameters.
    #[default]
    Joint,
    /// The article's two steps: encoder and shared layer on reconstruction + divergence, then the decoder on reconstruction.
    Alternating,
}

named!(Schedule, "schedule", Joint => "joint", Alternating => "alternating");

/// Images per step where nothing else was asked for.
const DEFAULT_BATCH: usize = 128;
/// Passes over the data where nothing else was asked for, and there are enough images.
pub(crate) const DEFAULT_EPOCHS: u64 = 10;
/// Steps after which a model draws more than the mean image: few images get more epochs than [`DEFAULT_EPOCHS`], until there are as many
/// steps, but at most [`MOST_EPOCHS`].
const ENOUGH_STEPS: u64 = 1000;
const MOST_EPOCHS: u64 = 200;
/// Few images also get smaller batches, down to the smallest, until an epoch has as many steps.
const STEPS_PER_EPOCH: u64 = 10;
const SMALLEST_BATCH: usize = 4;

/// Everything about a training but the images themselves.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Where the images are.
    pub data: PathBuf,
    /// How they are read.
    pub load: LoadOptions,
    /// Whether pixels become 0 or 1.
    pub binarize: Option<Binarize>,
    /// What is done to training images by chance.
    pub augment: Augment,
    /// The network, but for the image's size.
    pub preset: Preset,
    /// Z.
    pub latent: usize,
    /// The channels of the convolutions; `None` until the images are known, if none were asked for.
    pub widths: Option<Vec<usize>>,
    /// The hidden linear layers; `None` until the images are known, if none were asked for.
    pub hidden: Option<Vec<usize>>,
    /// Residual blocks after each halving; `None` for the preset's own.
    pub blocks: Option<usize>,
    /// The hidden numbers of the context network; `None` for pixels that are independent given the code.
    pub context: Option<usize>,
    /// The model whose weights the run begins with, as an absolute path: a run folder or a model file.
    pub start_from: Option<PathBuf>,
    /// Whether the decoder uses the encoder's weights.
    pub tie_weights: bool,
    /// Whether encoder and decoder are given the label of each image.
    pub conditional: bool,
    /// A file with the labels of some images, from which a classifier learns.
    pub labels: Option<PathBuf>,
    /// The same with the labels of so many images of each class.
    pub labelled: Option<usize>,
    /// What the decoder's output says about a pixel.
    pub likelihood: Likelihood,
    /// How the posterior's distance from the prior is measured.
    pub divergence: Divergence,
    /// β over the epochs.
    pub beta: Ramp,
    /// λ, nats per dimension.
    pub free_bits: f64,
    /// The final capacity in nats; it grows from 0 over all epochs.
    pub capacity: Option<f64>,
    /// Joint or alternating.
    pub schedule: Schedule,
    /// Passes over the data; `None` until the images are known, if none were asked for.
    pub epochs: Option<u64>,
    /// Images per step; `None` until the data are known, if none was asked for.
    pub batch: Option<usize>,
    /// α.
    pub lr: f64,
    /// How α goes on.
    pub lr_schedule: LearningRateSchedule,
    /// Epochs of warm-up.
    pub lr_warmup: f64,
    /// Adam's constants.
    pub adam: Adam,
    /// The largest gradient norm.
    pub clip_norm: Option<f64>,
    /// What is done about a spike.
    pub on_spike: Option<OnSpike>,
    /// The seed of all random streams.
    pub seed: u64,
    /// Images held out; `None` until the data are known, if nothing was asked for.
    pub valid: Option<usize>,
    /// Epochs without improvement before the run ends.
    pub patience: Option<u64>,
    /// Steps after which the run ends.
    pub max_steps: Option<u64>,
    /// Time between checkpoints.
    pub checkpoint_every: Duration,
    /// Threads; 0 for one a core.
    pub threads: usize,
}

impl Default for Config {
    /// What a training is without any options, of images that are not named.
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
            batch: None,
            lr: 1e-3,
            lr_schedule: LearningRateSchedule::default(),
            lr_warmup: 0.0,
            adam: Adam::default(),
            clip_norm: None,
            on_spike: None,
            seed: 0,
            valid: None,
            patience: None,
            max_steps: None,
            checkpoint_every: Duration::from_secs(300),
            threads: 0,
        }
    }
}

impl Config {
    /// Fills in defaults and refuses what cannot be.
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
            epochs: o.epochs,
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
            on_spike: read(&o.on_spike, str::parse)?,
            seed: o.seed.unwrap_or(defaults.seed),
            valid: o.valid,
            patience: o.patience,
            max_steps: o.max_steps,
            checkpoint_every: read(&o.checkpoint_every, values::parse_duration)?
                .unwrap_or(defaults.checkpoint_every),
            threads: o.threads.unwrap_or(defaults.threads),
        };
        config.validate()?;
        Ok(config)
    }

    /// Whether these values can be used together.
    ///
    /// # Errors
    /// One sentence on the first that cannot.
    pub fn validate(&self) -> Result<()> {
        let fail = |message: &str| Err(Error::config(message));
        self.objective(0.0).terms.validate()?;
        self.final_objective().terms.validate()?;
        if let Some(epochs) = self.epochs.filter(|&epochs| self.lr_warmup > epochs as f64) {
            return Err(Error::config(format!(
                "a learning-rate warm-up of {} epochs is longer than the run's {}; --lr-warmup must be at most that",
                self.lr_warmup, epochs
            )));
        }
        // Epochs that are still to be chosen are as many as a warm-up takes.
        let epochs = self.epochs.or((self.lr_warmup > 0.0).then_some(u64::MAX));
        Self { epochs, ..self.clone() }.learning_rate(1).validate()?;
        // Everything about the network that does not depend on the images is known now.
        self.model(ImageShape::new(64, 64, 1)).validate()?;
        if self.batch == Some(0) {
            return fail("a batch of 0 images; it must be at least 1");
        }
        if self.epochs == Some(0) {
            return fail("0 epochs; there must be at least 1");
        }
        if self.patience == Some(0) {
            return fail("a patience of 0 epochs; it must be at least 1 (leave it out to train to the end)");
        }
        if self.patience.is_some() && self.valid == Some(0) {
            return fail("--patience judges by validation images, and --valid 0 holds out none");
        }
        if self.max_steps == Some(0) {
            return fail("--max-steps 0 trains nothing; it must be at least 1");
        }
        if i64::try_from(self.seed).is_err() {
            return fail("the seed is too large; it must be below 2^63");
        }
        if self.threads > 1024 {
            return fail("more than 1024 threads; leave --threads out for one on each core");
        }
        if self.schedule == Schedule::Alternating && self.tie_weights {
            return fail(
                "--schedule alternating trains the halves apart, and --tie-weights makes them one: use either",
            );
        }
        let few = match (&self.labels, self.labelled) {
            (Some(_), Some(_)) => {
                return fail("--labels and --labelled both say which images have a label; use either");
            }
            (None, Some(0)) => {
                return fail("--labelled 0 leaves no label to learn from; it must be at least 1");
            }
            (Some(_), None) => Some("--labels"),
            (None, Some(_)) => Some("--labelled"),
            (None, None) => None,
        };
        if let (Some(few), true) = (few, self.conditional) {
            return Err(Error::config(format!(
                "--conditional gives the model the label of each image, and {few} learns from a few; use either"
            )));
        }
        if let (Some(few), Schedule::Alternating) = (few, self.schedule) {
            return Err(Error::config(format!(
                "--schedule alternating has a step for each half of the model, and {few} adds a third part; use --schedule joint"
            )));
        }
        if self.conditional && self.tie_weights {
            return fail(
                "--tie-weights makes the decoder the encoder's mirror, and --conditional appends labels to both: use either",
            );
        }
        Ok(())
    }

    /// The network for images of this shape, with the preset's own widths if none were asked for. A conditional one has no labels yet: they
    /// are those of the images.
    pub fn model(&self, image: ImageShape) -> ModelConfig {
        let preset = ModelConfig::new(self.preset, image);
        ModelConfig {
            latent: self.latent,
            widths: self.widths.clone().unwrap_or(preset.widths),
            hidden: self.hidden.clone().unwrap_or(preset.hidden),
            blocks: self.blocks,
            context: self.context,
            tie_weights: self.tie_weights,
            likelihood: self.likelihood,
            ..preset
        }
    }

    /// The objective after so many epochs, fractions included.
    pub fn objective(&self, epochs: f64) -> Objective {
        let capacity = |nats| Ramp::from_zero(nats, self.epochs() as f64).at(epochs);
        let terms = ObjectiveTerms {
            beta: self.beta.at(epochs),
            free_bits: self.free_bits,
            capacity: self.capacity.map(capacity),
        };
        Objective { divergence: self.divergence, terms }
    }

    /// What models are judged by: the objective at the end of all ramps.
    pub fn final_objective(&self) -> Objective {
        let terms = ObjectiveTerms { beta: self.beta.to, free_bits: self.free_bits, capacity: self.capacity };
        Objective { divergence: self.divergence, terms }
    }

    /// The learning rate's curve, for epochs of so many steps.
    pub fn learning_rate(&self, steps_per_epoch: u64) -> LearningRate {
        LearningRate {
            base: self.lr,
            schedule: self.lr_schedule,
            warmup_steps: (self.lr_warmup * steps_per_epoch as f64).round() as u64,
            total_steps: self.epochs().saturating_mul(steps_per_epoch),
        }
    }

    /// Passes over the data, ten if nothing else is known.
    pub fn epochs(&self) -> u64 {
        self.epochs.unwrap_or(DEFAULT_EPOCHS)
    }

    /// Settles batch and epochs for a training set of this size. If neither epochs nor steps were asked for, they are chosen by the number of
    /// steps, on which it depends what a model learns: ten epochs of few images are a handful.
    ///
    /// # Errors
    /// If more images were asked for than there are, or the values cannot be used together.
    pub fn settle(&mut self, images: usize) -> Result<()> {
        let mut batch = self.batch_for(images)?;
        let steps = |batch: usize| images.div_ceil(batch) as u64;
        if self.epochs.is_none() && self.max_steps.is_none() && self.batch.is_none() {
            while steps(batch) < STEPS_PER_EPOCH && batch > SMALLEST_BATCH {
                batch = (batch / 2).max(SMALLEST_BATCH);
            }
        }
        let epochs = match (self.epochs, self.max_steps) {
            (Some(epochs), _) => epochs,
            (None, Some(most)) => most.div_ceil(steps(batch)).max(DEFAULT_EPOCHS),
            (None, None) => ENOUGH_STEPS.div_ceil(steps(batch)).clamp(DEFAULT_EPOCHS, MOST_EPOCHS),
        };
        (self.batch, self.epochs) = (Some(batch), Some(epochs));
        self.validate()
    }

    /// Images per step for a training set of this size.
    ///
    /// # Errors
    /// Where more were asked for than there are.
    pub fn batch_for(&self, images: usize) -> Result<usize> {
        match self.batch {
            None => Ok(DEFAULT_BATCH.min(images)),
            Some(batch) if batch <= images => Ok(batch),
            Some(batch) => Err(Error::config(format!(
                "a batch of {batch} images, and there are only {images} to train on; --batch must be at most that"
            ))),
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
                divergence: Some(self.divergence.name().into()),
                beta: Some(self.beta.to),
                beta_warmup: Some(self.beta.epochs),
                free_bits: Some(self.free_bits),
                capacity: self.capacity,
                schedule: Some(self.schedule.name().into()),
                epochs: self.epochs,
                batch: self.batch,
                lr: Some(self.lr),
                lr_schedule: Some(self.lr_schedule.name().into()),
                lr_warmup: Some(self.lr_warmup),
                weight_decay: Some(self.adam.weight_decay),
                clip_norm: self.clip_norm,
                on_spike: self.on_spike.map(|what| what.name().into()),
                seed: Some(self.seed),
                valid: self.valid,
                patience: self.patience,
                max_steps: self.max_steps,
                checkpoint_every: Some(values::show_duration(self.checkpoint_every)),
                threads: Some(self.threads),
            },
        }
    }
}

impl DataOptions {
    /// Where the images are: as asked for, else the bundled MNIST.
    ///
    /// # Errors
    /// Where nothing was asked for and the bundled files are not found.
    pub fn path(&self) -> Result<PathBuf> {
        match &self.data {
            Some(path) => Ok(path.clone()),
            None => crate::data::find_bundled().ok_or_else(|| {
                Error::config(
                    "the bundled data/mnist is not found from here; --data PATH names the images to use",
                )
            }),
        }
    }

    /// How the images are read.
    ///
    /// # Errors
    /// Where an option cannot be understood.
    pub fn load_options(&self) -> Result<LoadOptions> {
        let defaults = LoadOptions::default();
        let color = match (self.grey.unwrap_or(false), self.rgb.unwrap_or(false)) {
            (true, true) => return Err(Error::config("--grey and --rgb exclude each other")),
            (true, false) => Some(Color::Grey),
            (false, true) => Some(Color::Rgb),
            (false, false) => None,
        };
        Ok(LoadOptions {
            size: read(&self.size, values::parse_size)?,
            fit: read(&self.fit, str::parse)?.unwrap_or_default(),
            color,
            background: read(&self.background, values::parse_color)?.unwrap_or(defaults.background),
            layout: read(&self.layout, str::parse)?,
            range: read(&self.range, values::parse_range)?,
            trained_range: None,
            array: self.array.clone(),
            cache: cache_folder(),
            max_memory: read(&self.max_memory, values::parse_memory)?.unwrap_or(defaults.max_memory),
            skip_bad: self.skip_bad.unwrap_or(false),
            part: Part::Train,
        })
    }

    /// Whether pixels become 0 or 1.
    ///
    /// # Errors
    /// Where the name is none.
    pub fn binarize(&self) -> Result<Option<Binarize>> {
        read(&self.binarize, str::parse)
    }

    /// What is done to training images by chance.
    ///
    /// # Errors
    /// If a name is none of the augmentations.
    pub fn augment(&self) -> Result<Augment> {
        Ok(read(&self.augment, str::parse)?.unwrap_or_default())
    }
}

/// The value of an option's text, if the option is given.
fn read<T>(text: &Option<String>, parse: impl Fn(&str) -> Result<T>) -> Result<Option<T>> {
    text.as_deref().map(parse).transpose()
}

/// The likelihood with its width, where it has one.
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
mod tests {
    use super::*;

    fn refused(text: &str) -> String {
        let options = TrainOptions::parse(text, "c.toml".as_ref()).unwrap();
        Config::new(&options).unwrap_err().to_string()
    }

    #[test]
    fn a_complete_config_repeats_itself() {
        let text = "preset = \"conv\"\nlikelihood = \"laplace\"\nscale = 0.2\nbeta = 4.0\nbeta-warmup = 2.0\nsize = \"48x64\"\n\
                    rgb = true\nbackground = \"#102030\"\nbinarize = \"static\"\non-spike = \"skip\"\nmax-memory = \"2GiB\"\n\
                    checkpoint-every = \"0.1s\"\nrange = \"-3,5.5\"\nlayout = \"nchw\"\npatience = 3\nvalid = 9\nbatch = 7\n\
                    capacity = 25.0\nconditional = true\ndata = \"x\"\nmax-steps = 9\nfit = \"pad\"\narray = \"images\"\naugment = \"flip,shift\"";
        let config = Config::new(&TrainOptions::parse(text, "c".as_ref()).unwrap()).unwrap();
        let written = config.to_options().to_toml();
        let again = Config::new(&TrainOptions::parse(&written, "c".as_ref()).unwrap()).unwrap();
        assert_eq!(again, config);
        assert_eq!((config.objective(1.0).terms.beta, config.objective(2.0).terms.beta), (2.0, 4.0));
        assert_eq!(config.objective(5.0).terms.capacity, Some(12.5));
    }

    #[test]
    fn few_images_get_as_many_steps_as_it_takes() {
        let settled = |text: &str, images: usize| {
            let options = TrainOptions::parse(&format!("data = \"x\"\n{text}"), "c".as_ref()).unwrap();
            let mut config = Config::new(&options).unwrap();
            config.settle(images).unwrap();
            (config.batch.unwrap(), config.epochs())
        };
        // MNIST's 55,000, all of its images, and as many as make a thousand steps in ten epochs: as always.
        for images in [60_000, 55_000, 12_700] {
            assert_eq!(settled("", images), (128, 10), "{images}");
        }
        // 300 photos without those that are held out; a folder of ten; one.
        assert_eq!(settled("", 270), (16, 59));
        assert_eq!(settled("", 9), (4, 200));
        assert_eq!(settled("", 1), (1, 200));
        for images in 20..12_800 {
            let (batch, epochs) = settled("", images);
            let steps = images.div_ceil(batch) as u64;
            assert!(batch == 4 || steps >= 10, "{images}");
            assert!(
                (1000..2000).contains(&(epochs * steps)) || epochs == 200,
                "{images}: {epochs} of {steps}"
            );
        }
        // What is given stays, and the rest fits it.
        assert_eq!(settled("epochs = 3", 270), (128, 3));
        assert_eq!(settled("batch = 90", 270), (90, 200));
        assert_eq!(settled("max-steps = 9", 270), (128, 10));
        assert_eq!(settled("max-steps = 500", 270), (128, 167));
        // A warm-up is compared with the epochs that were chosen.
        assert_eq!(settled("lr-warmup = 20.0", 270), (16, 59));
        let options = TrainOptions::parse("data = \"x\"\nlr-warmup = 20.0", "c".as_ref()).unwrap();
        let error = Config::new(&options).unwrap().settle(60_000).unwrap_err().to_string();
        assert!(error.contains("longer than the run's 10"), "{error}");
    }

    #[test]
    fn what_cannot_be_is_refused_in_a_sentence() {
        for (text, expected) in [
            ("preset = \"cnov\"", "did you mean conv?"),
            ("likelihood = \"gausian\"", "did you mean gaussian?"),
            ("lr = nan", "positive number"),
            ("lr = -1.0", "positive number"),
            ("latent = 0", "latent size is 0"),
            ("batch = 0", "at least 1"),
            ("beta = -1.0", "beta"),
            ("sigma = 0.2", "--sigma is for the gaussian"),
            ("components = 2", "--components is for the logistic-mixture likelihood, and this is bernoulli"),
            ("likelihood = \"logistic-mixture\"\ncomponents = 33", "from 1 to 32 components, not 33"),
            ("likelihood = \"logistic-mixture\"\ncomponents = 0", "from 1 to 32 components, not 0"),
            ("likelihood = \"gaussian\"\nsigma = 0.0", "positive"),
            ("schedule = \"alternating\"\ntie-weights = true", "use either"),
            ("conditional = true\ntie-weights = true", "use either"),
            ("patience = 2\nvalid = 0", "holds out none"),
            ("checkpoint-every = \"5\"", "invalid duration"),
            ("checkpoint-every = \"-5s\"", "invalid duration"),
            ("checkpoint-every = \"5µ\"", "invalid duration"),
            ("size = \"0\"", "invalid size"),
            ("background = \"#12345é\"", "invalid colour"),
            ("range = \"1,1\"", "invalid range"),
            ("fit = \"squeeze\"", "(fit is one of crop, pad, stretch)"),
            ("augment = \"blur\"", "accepted are flip, shift and flip,shift"),
            ("max-memory = \"lots\"", "invalid amount of memory"),
            ("grey = true\nrgb = true", "exclude"),
            ("epochs = 10\nlr-warmup = 20.0", "20 epochs is longer than the run's 10"),
        ] {
            let error = refused(text);
            assert!(error.contains(expected), "{text}: {error}");
        }
    }
}

//! Training from a program: a builder from images to a trained model.
//!
//! The command line uses it too: its options become a [`Config`], and [`Training::from_config`] starts the
//! run.

use std::path::Path;
use std::sync::atomic::AtomicBool;

use super::config::Config;
use super::run::Run;
use super::threads::with_threads;
use crate::data::{Color, Dataset};
use crate::error::{Result, caught};
use crate::loss::{Divergence, Likelihood};
use crate::model::{Preset, Vae};
use crate::optim::Ramp;

/// A training that has not begun: images, and how a model learns from them.
///
/// Options that are not set have the defaults of `elbo train` on MNIST, also for other images
/// ([`defaults`](super::defaults) chooses options for the user's own): the preset `conv`, ten epochs, batches
/// of 128 (few images: more epochs and smaller batches), Adam at 10⁻³, a tenth of the images (at most 5000)
/// held out for validation.
///
/// ```
/// use elbo::data::{LoadOptions, load, write_npy_u8};
/// use elbo::{Preset, Training};
/// # let folder = tempfile::tempdir().unwrap();
/// # let (path, run) = (folder.path().join("images.npy"), folder.path().join("run"));
/// let bytes: Vec<u8> = (0..20 * 64).map(|i| if i % 64 < 4 * (i / 64 % 8) { 255 } else { 0 }).collect();
/// write_npy_u8(&mut std::fs::File::create(&path).unwrap(), &[20, 8, 8], &bytes).unwrap();
/// let data = load(&path, &LoadOptions::default(), &|_, _| ())?;
/// let training = Training::new(data).preset(Preset::Mlp).latent(2).epochs(2).threads(2);
/// let model = training.configure(|config| config.hidden = Some(vec![16])).run(&run)?;
/// assert_eq!(model.sample(3, 0).len(), 3 * 64);
/// # Ok::<(), elbo::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Training {
    data: Dataset,
    config: Config,
}

impl Training {
    /// A training on the images of a data set.
    pub fn new(data: Dataset) -> Self {
        let mut config = Config { data: data.path.clone(), ..Config::default() };
        // The run's config.toml stores how to read the same images again: their size, colours and range.
        let images = &data.train;
        config.load.size = Some((images.height, images.width));
        config.load.color = match images.channels {
            1 => Some(Color::Grey),
            3 => Some(Color::Rgb),
            _ => None,
        };
        if !images.pixels.is_bytes() {
            config.load.range = Some((images.range.low, images.range.high));
        }
        Self { data, config }
    }

    /// A training with all options from `config`.
    pub fn from_config(config: Config, data: Dataset) -> Self {
        Self { data, config }
    }

    /// The network. Latent size, widths and likelihood become the preset's own; set others after it.
    pub fn preset(self, preset: Preset) -> Self {
        self.configure(|config| {
            config.preset = preset;
            config.latent = preset.default_latent();
            config.likelihood = preset.default_likelihood();
            (config.widths, config.hidden) = (None, None);
        })
    }

    /// Z, the dimensions of a code.
    pub fn latent(self, latent: usize) -> Self {
        self.configure(|config| config.latent = latent)
    }

    /// The likelihood.
    pub fn likelihood(self, likelihood: Likelihood) -> Self {
        self.configure(|config| config.likelihood = likelihood)
    }

    /// The divergence between posterior and prior, and its weight β.
    pub fn divergence(self, divergence: Divergence, beta: f64) -> Self {
        self.configure(|config| {
            config.divergence = divergence;
            config.beta = Ramp::constant(beta);
        })
    }

    /// Passes over the training images.
    pub fn epochs(self, epochs: u64) -> Self {
        self.configure(|config| config.epochs = Some(epochs))
    }

    /// Ends the training after this number of steps, even within an epoch.
    pub fn max_steps(self, steps: u64) -> Self {
        self.configure(|config| config.max_steps = Some(steps))
    }

    /// Images per step.
    pub fn batch(self, images: usize) -> Self {
        self.configure(|config| config.batch = Some(images))
    }

    /// Adam's learning rate.
    pub fn learning_rate(self, rate: f64) -> Self {
        self.configure(|config| config.lr = rate)
    }

    /// Images held out for validation.
    pub fn validation(self, images: usize) -> Self {
        self.configure(|config| config.valid = Some(images))
    }

    /// The seed of all randomness: the same seed, images and options give the same model to the bit.
    pub fn seed(self, seed: u64) -> Self {
        self.configure(|config| config.seed = seed)
    }

    /// Begins with the weights of a saved model of the same network, a run folder or a model file, instead of
    /// random ones.
    pub fn start_from(self, model: impl AsRef<Path>) -> Self {
        let path = model.as_ref();
        let path = std::path::absolute(path).unwrap_or_else(|_| path.into());
        self.configure(|config| config.start_from = Some(path))
    }

    /// Threads; 0, the default, for those of the current rayon pool. The model is the same for any number.
    pub fn threads(self, threads: usize) -> Self {
        self.configure(|config| config.threads = threads)
    }

    /// Any option: see [`Config`].
    pub fn configure(mut self, change: impl FnOnce(&mut Config)) -> Self {
        change(&mut self.config);
        self
    }

    /// Trains to the end, in a new run folder, and gives the model that the run saved: the best on the
    /// validation images, or without any the last. The folder is that of `elbo train`: it has metrics.csv,
    /// report.html and samples of each epoch.
    ///
    /// # Errors
    /// If options and images do not fit each other, the folder exists or cannot be written, the threads
    /// cannot be had, or a number becomes infinite or NaN.
    pub fn run(self, folder: impl AsRef<Path>) -> Result<Vae<f32>> {
        let folder = folder.as_ref();
        let threads = self.config.threads;
        let work = || {
            let max_memory = self.config.load.max_memory;
            let mut run = self.start(folder)?;
            run.train(&AtomicBool::new(false), &mut ())?;
            Vae::load_within(folder.join("model.safetensors"), max_memory)
        };
        with_threads(threads, || caught(work))?
    }

    /// Begins a run in a new folder. [`Run::train`] does the rest, in the pool of threads in which it is
    /// called ([`with_threads`]), and can be observed and stopped.
    ///
    /// # Errors
    /// As [`run`](Self::run), except those of the training itself.
    pub fn start(self, folder: impl AsRef<Path>) -> Result<Run> {
        self.config.validate()?;
        Run::start(folder.as_ref(), self.config, self.data)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::run::read_config;
    use crate::train::tests::pictures;

    #[test]
    fn a_run_from_a_program_says_how_to_repeat_it() {
        let folder = tempfile::tempdir().unwrap();
        let run = folder.path().join("run");
        let training =
            Training::new(pictures(12, (9, 8, 3))).preset(Preset::Mlp).latent(3).epochs(1).batch(4);
        let training = training.configure(|config| config.hidden = Some(vec![5]));
        let one = training.clone().threads(1).run(&run).unwrap();
        let config = read_config(&run).unwrap();
        assert_eq!((config.load.size, config.load.color), (Some((9, 8)), Some(Color::Rgb)));
        assert_eq!((config.latent, config.hidden), (3, Some(vec![5])));
        let three = training.clone().threads(3).run(folder.path().join("again")).unwrap();
        assert_eq!(one.parameters, three.parameters);
        assert!(training.clone().run(&run).unwrap_err().to_string().contains("already exists"));
        let message = training.epochs(0).run(folder.path().join("none")).unwrap_err().to_string();
        assert!(message.contains("0 epochs") && !folder.path().join("none").exists(), "{message}");
    }
}

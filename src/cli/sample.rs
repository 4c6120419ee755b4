//! `elbo sample`: new pictures, from codes drawn from N(0, I) or from a mixture fitted to the training codes.

use std::path::PathBuf;

use clap::Args;

use super::common::{Ending, Loaded, Opened};
use super::pictures::Output;
use crate::data::{Filler, Part};
use crate::error::{Error, Result};
use crate::evaluate::judged::Judged;
use crate::generate::prior::{FILE_NAME, Mixture, Prior};
use crate::model::{Codec, ModelConfig};
use crate::train::DataOptions;

/// Draw codes from the prior or from a mixture fitted to the training codes, and decode them
#[derive(Debug, Args)]
#[command(
    after_help = "The options under Images are for --prior gmm: the mixture is fitted to the codes of the training images once, and kept beside the model."
)]
pub(super) struct Sample {
    /// A run folder or a model file [default: the newest run]
    run: Option<PathBuf>,
    /// Number of pictures
    #[arg(long, value_name = "N", default_value_t = 64, default_value_if("label", "all", "8"))]
    count: usize,
    /// FILE.png for a sheet; FILE.npy for N×H×W×C floats from 0 to 1; a name without extension for a new
    /// folder of PNG files [default: samples-SEED.png here, numbered if it exists]
    #[arg(long, value_name = "PATH", help_heading = "Output")]
    out: Option<PathBuf>,
    /// Seed of the draws; the first pictures are the same for any --count
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// Scale of the distance from the prior's mean: samples below 1 are more typical and less varied
    #[arg(long, value_name = "T", default_value_t = 1.0, allow_negative_numbers = true)]
    temperature: f64,
    /// normal: the prior of training; gmm: a Gaussian mixture fitted to the codes of the training images [default: gmm for the preset
    /// residual, else normal]
    #[arg(long, value_name = "NAME", value_parser = Prior::NAMES)]
    prior: Option<String>,
    /// Gaussians of the mixture [default: one for 100 training images, at most 50]
    #[arg(long, value_name = "N")]
    components: Option<usize>,
    /// Label of the pictures, or `all` for a row of each label from the same --count codes [default: the
    /// labels in turn]
    #[arg(long, value_name = "L")]
    label: Option<String>,
    #[command(flatten)]
    data: DataOptions,
}

impl Sample {
    pub(super) fn run(self) -> Result<Ending> {
        if self.count == 0 {
            return Err(Error::config("--count 0 draws nothing; it must be at least 1"));
        }
        if !(self.temperature.is_finite() && self.temperature >= 0.0) {
            return Err(Error::config(format!(
                "--temperature must be 0 or a positive number, not {}",
                self.temperature
            )));
        }
        let out = match &self.out {
            Some(out) => out.clone(),
            None => free_name(&format!("samples-{}", self.seed), "png"),
        };
        // Before any work, so that the message comes at once.
        let output = Output::new(&out)?;
        let max_memory = self.data.load_options()?.max_memory;
        let opened = Opened::new(self.run.as_deref(), max_memory)?;
        let c = opened.model.config();
        let is_fitted = match self.prior.as_deref() {
            None => Prior::is_fitted_by_default(c),
            Some(name) => name == "gmm",
        };
        if self.components.is_some() && !is_fitted {
            return Err(Error::config("--components is for --prior gmm"));
        }
        let count = self.count.saturating_mul(if self.every_label(c) { c.classes() } else { 1 });
        output.room_for(&opened, 0, (count, 1), "a smaller --count")?;
        let (labels, columns) = self.labels(c)?;
        let prior = if is_fitted { self.mixture(&opened, max_memory) } else { Ok(Prior::Normal) };
        let prior = match prior {
            // Nobody asked for the training images, and they may be gone.
            Err(error) if self.prior.is_none() && self.components.is_none() => {
                note!(
                    "samples are from N(0, I), since no mixture can be fitted to the training images: {error}"
                );
                Prior::Normal
            }
            prior => prior?,
        };
        let codes = prior.draw(self.count, c.latent, self.seed, self.temperature);
        // A column of the rows for all labels has one code: the same style in each class.
        let codes = codes.repeat(count / self.count);
        let pictures = Codec::new(&opened.model).decode_as(&codes, &labels);
        output.write(&pictures, c.image(), columns)?;
        Ok(Ending::Done)
    }

    /// Whether a row for each label is requested. A label with the name `all` takes precedence.
    fn every_label(&self, config: &ModelConfig) -> bool {
        self.label.as_deref().is_some_and(|label| config.is_every_label(label))
    }

    /// The label of each picture (empty without labels), and the number of pictures in a row.
    fn labels(&self, config: &ModelConfig) -> Result<(Vec<u32>, usize)> {
        // Rows of 8, or nearly square if there are many.
        let columns = ((self.count as f64).sqrt().ceil() as usize).max(8);
        match self.label.as_deref() {
            None => Ok((config.labels_in_turn(self.count), columns)),
            Some(_) if self.every_label(config) => {
                let labels = 0..config.classes() as u32;
                Ok((labels.flat_map(|label| std::iter::repeat_n(label, self.count)).collect(), self.count))
            }
            Some(label) => Ok((config.same_label(config.label(label)?, self.count), columns)),
        }
    }

    /// The mixture. It is fitted if none of this model is kept yet, if one of another size is asked for, or to the images of `--data`. That of the
    /// run's own images is kept beside the model; for a model file without a run, that of any images.
    fn mixture(&self, opened: &Opened, max_memory: u64) -> Result<Prior> {
        let path = opened.folder().join(FILE_NAME);
        let own = self.data.data.is_none() || opened.is_own(&self.data);
        let keep = own || opened.config.is_none();
        let found = if own { Mixture::load(&path, &opened.model, max_memory)? } else { None };
        if own && found.is_none() && path.symlink_metadata().is_ok() {
            note!("{} was fitted to another model, so it is fitted again", path.display());
        }
        let fits = |mixture: &Mixture| self.components.is_none_or(|asked| asked == mixture.components());
        if let Some(mixture) = found.filter(fits) {
            say!("samples are from the {} Gaussians kept in {}", mixture.components(), path.display());
            return Ok(Prior::Mixture(mixture));
        }
        let Loaded { data, split } = opened.images(&self.data, Part::Train)?;
        let judged = Judged::choose(&data, split)?;
        let seed = opened.config.as_ref().map_or(0, |config| config.seed);
        let span = opened.model.config().span();
        let filler = Filler { span, binarize: opened.binarize(&self.data)?, seed };
        let images = judged.train_labelled(opened.model.config())?;
        let fitted = Mixture::images_to_fit(&judged.train, opened.model.config().pixels());
        let components = self.components.unwrap_or(Mixture::default_components(fitted.len()));
        let (count, latent) = (fitted.len(), opened.model.config().latent);
        let fit = Mixture::memory(count, latent, components, rayon::current_num_threads());
        // The fit itself refuses more components than images.
        opened.room_for_codes(&data, count, if components > count { 0 } else { fit })?;
        let codes = Codec::new(&opened.model).encode_with(images, &fitted, &filler);
        let (mixture, report) = Mixture::fit(&codes, opened.model.config().latent, components, seed)?;
        let place = match keep.then(|| mixture.save(&path, &opened.model)) {
            None => "not kept, since these are not the run's images".into(),
            Some(Ok(())) => format!("kept in {}", path.display()),
            // A run in a read-only folder can still be used.
            Some(Err(error)) => format!("not kept: {error}"),
        };
        say!(
            "fitted {components} Gaussians to the codes of {} images in {} steps: ln p(z) {:.2} nats per image, and {:.2} under N(0, I); \
             {place}",
            count,
            report.steps,
            report.bound,
            report.normal
        );
        Ok(Prior::Mixture(mixture))
    }
}

/// STEM.EXTENSION in the current folder, with a number if that exists.
pub(super) fn free_name(stem: &str, extension: &str) -> PathBuf {
    let name = |number: usize| {
        let suffix = if number == 1 { String::new() } else { format!("-{number}") };
        PathBuf::from(format!("{stem}{suffix}.{extension}"))
    };
    (1..).map(name).find(|path| path.symlink_metadata().is_err()).expect("some number is free")
}

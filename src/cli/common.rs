//! Shared by several commands: the selected run or model, threads, progress while images load.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};

use clap::builder::{PossibleValuesParser, TypedValueParser};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::data::{Binarize, Dataset, LoadOptions, Outline, Part, Range, excess, load_if};
use crate::error::{Error, Result};
use crate::evaluate::RunSplit;
use crate::model::Vae;
use crate::model::codec::check_size;
use crate::report::Picture;
use crate::storage::tensor_file::TensorFile;
use crate::text::names::Named;
use crate::train::run::read_config;
use crate::train::{Config, DataOptions};

/// The folder of runs, unless `--out` is given.
pub(super) const RUNS: &str = "runs";

/// The outcome of a command without an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    Done,
    Interrupted,
}

/// Runs `work` with a progress bar if standard error is a terminal.
pub(super) fn with_progress<R>(
    what: &'static str,
    total: u64,
    work: impl FnOnce(&(dyn Fn(usize) + Sync)) -> R,
) -> R {
    let bar = ProgressBar::new(total);
    if !std::io::stderr().is_terminal() {
        bar.set_draw_target(ProgressDrawTarget::hidden());
    }
    bar.set_style(ProgressStyle::with_template("{msg} {bar:30} {pos}/{len}").expect("a template"));
    bar.set_message(what);
    let result = work(&|done| bar.inc(done as u64));
    bar.finish_and_clear();
    result
}

/// Loads images with a progress bar if standard error is a terminal, and prints notes about them. `check` may
/// refuse before any image is read.
pub(super) fn load_images(
    path: &Path,
    options: &LoadOptions,
    check: &dyn Fn(&Outline) -> Result<()>,
) -> Result<Dataset> {
    let bar = ProgressBar::new(0);
    if !std::io::stderr().is_terminal() {
        bar.set_draw_target(ProgressDrawTarget::hidden());
    }
    bar.set_style(ProgressStyle::with_template("loading images {bar:30} {pos}/{len}").expect("a template"));
    let progress = |done, total| {
        bar.set_length(total as u64);
        bar.set_position(done as u64);
    };
    let data = load_if(path, options, &progress, check);
    bar.finish_and_clear();
    let data = data?;
    for note in &data.notes {
        note!("{note}");
    }
    Ok(data)
}

/// The values of an option with a fixed set of names; `--help` lists them.
pub(super) fn named_values<T: Named + Send + Sync>() -> impl TypedValueParser<Value = T> {
    PossibleValuesParser::new(T::names()).map(|name| T::parse(&name).expect("one of the names"))
}

/// The model of a command, and the known facts about its run.
#[derive(Debug)]
pub(super) struct Opened {
    /// The model.
    pub model: Vae<f32>,
    /// Its file.
    pub path: PathBuf,
    /// The run's configuration, if the model is in a run folder.
    pub config: Option<Config>,
    /// What `--max-memory` allows, in bytes.
    max_memory: u64,
}

impl Opened {
    /// The model of RUN: a run folder or a model file; by default the newest run.
    ///
    /// # Errors
    /// If there is none, or it is damaged.
    pub(super) fn new(run: Option<&Path>, max_memory: u64) -> Result<Self> {
        let place = match run {
            Some(place) => place.to_path_buf(),
            None => newest_run()?,
        };
        if !place.exists() {
            return Err(Error::data(
                place,
                "there is no such run folder or model file; without RUN the newest run in runs/ is used",
            ));
        }
        let path = if place.is_dir() { place.join("model.safetensors") } else { place };
        let model = Vae::load_within(&path, max_memory)?;
        let folder = path.parent().unwrap_or(Path::new("."));
        let config = if folder.join("config.toml").is_file() { Some(read_config(folder)?) } else { None };
        Ok(Self { model, path, config, max_memory })
    }

    /// Checks that `--max-memory` allows so many bytes beside the model itself. `what` begins the message, as
    /// "8 pictures take"; `help` says how to need less.
    ///
    /// # Errors
    /// If it does not.
    pub(super) fn room_for(&self, bytes: u64, what: &str, help: &str) -> Result<()> {
        match excess(what, bytes.saturating_add(self.model.memory()), self.max_memory) {
            Some(message) => Err(Error::config(format!("{message}; {help} helps"))),
            None => Ok(()),
        }
    }

    /// Checks that `--max-memory` allows `pictures` of the model's size, held as numbers `copies` times, and
    /// drawn on a sheet. `beside` bytes are already in use.
    ///
    /// # Errors
    /// If it does not.
    pub(super) fn room_for_pictures(
        &self,
        beside: u64,
        (pictures, copies): (usize, usize),
        are_drawn: bool,
        help: &str,
    ) -> Result<()> {
        let c = self.model.config();
        let drawn = if are_drawn { Picture::bytes_of(c.image()) } else { 0 };
        let each = (4 * (c.latent + copies * c.pixels()) + drawn) as u64;
        let bytes = (pictures as u64).saturating_mul(each).saturating_add(beside);
        self.room_for(bytes, &format!("{pictures} pictures of {} take", c.image()), help)
    }

    /// Checks that `--max-memory` allows the images of some data, the codes of `codes` images, and `beside`
    /// bytes.
    ///
    /// # Errors
    /// If it does not.
    pub(super) fn room_for_codes(&self, data: &Dataset, codes: usize, beside: u64) -> Result<()> {
        let codes = (codes as u64).saturating_mul(8 * self.model.config().latent as u64);
        let bytes = codes.saturating_add(data.memory()).saturating_add(beside);
        self.room_for(bytes, "the model, the images and their codes take", "a --data of fewer images")
    }

    /// The model's folder, for files that belong beside it.
    pub(super) fn folder(&self) -> &Path {
        match self.path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        }
    }

    /// Whether the options name the run's own data, or none and there is a run.
    pub(super) fn is_own(&self, options: &DataOptions) -> bool {
        let same = |config: &Config| match &options.data {
            None => true,
            Some(path) => path
                .canonicalize()
                .ok()
                .zip(config.data.canonicalize().ok())
                .is_some_and(|(given, own)| given == own),
        };
        self.config.as_ref().is_some_and(same)
    }

    /// The run's split of these images, if it was trained on them; `--resume` checks the same fingerprint,
    /// from its checkpoint. A note says so if it was not.
    fn split(&self, config: &Config, data: &Dataset, max_memory: u64) -> Option<RunSplit> {
        let split = RunSplit { seed: config.seed, validation: config.valid.unwrap_or(0) };
        let path = self.folder().join("checkpoint.safetensors");
        let place = data.path.display();
        match TensorFile::load(&path, max_memory) {
            Ok(file)
                if file.description["state"]["data"].as_str()
                    == Some(&format!("{:016x}", data.fingerprint())) =>
            {
                Some(split)
            }
            Ok(_) => {
                note!(
                    "the images of {place} are not those that the run was trained on: some were added, removed or changed since, or \
                     are read with other options. Which of them the run held out is not known, so none counts as a validation image"
                );
                None
            }
            Err(error) => {
                note!("whether the images of {place} are still those of the run cannot be checked: {error}");
                Some(split)
            }
        }
    }

    /// Whether and how pixels are binarized: as given, else as in the run.
    pub(super) fn binarize(&self, options: &DataOptions) -> Result<Option<Binarize>> {
        Ok(options.binarize()?.or(self.config.as_ref().and_then(|config| config.binarize)))
    }

    /// The images of a command: those of `--data`, else those of the run. They get the run's size and colours
    /// unless the options differ.
    ///
    /// # Errors
    /// If they cannot be read, have another size than the model's, or have labels that a conditional model
    /// does not know; or if there is no run and no `--data`.
    pub(super) fn images(&self, options: &DataOptions, part: Part) -> Result<Loaded> {
        self.read_images(options, part, true)
    }

    /// [`images`](Self::images) for a command that needs all pixels at once: none stay in a cache file.
    pub(super) fn images_in_memory(&self, options: &DataOptions, part: Part) -> Result<Loaded> {
        self.read_images(options, part, false)
    }

    fn read_images(&self, options: &DataOptions, part: Part, may_cache: bool) -> Result<Loaded> {
        if self.config.is_none() && options.data.is_none() {
            return Err(Error::config(format!(
                "{} has no config.toml beside it, so its images are not known; --data PATH names the images to use",
                self.path.display()
            )));
        }
        let run = self.config.as_ref().map(|config| config.to_options().data).unwrap_or_default();
        // Another data set has its own axes and arrays. The model's range is used as far as it fits that data
        // set's values.
        let trained_range = self.config.as_ref().and_then(|config| config.load.range);
        let trained_range = trained_range.map(|(low, high)| Range { low, high });
        let merged = if self.is_own(options) {
            options.clone().or(run)
        } else {
            options.clone().or(DataOptions { data: None, layout: None, array: None, range: None, ..run })
        };
        let mut load = LoadOptions { part, trained_range, ..merged.load_options()? };
        load.cache = load.cache.filter(|_| may_cache);
        let room = |bytes| self.room_for(bytes, "the model and the images take", "a --data of fewer images");
        let mut data = load_images(&merged.path()?, &load, &|outline| room(outline.memory))?;
        // Without training images there is nothing to split. A conditional model changes the labels, so the
        // comparison comes first.
        let own = self.config.as_ref().filter(|_| self.is_own(options) && data.train.count > 0);
        let split = own.and_then(|config| self.split(config, &data, load.max_memory));
        room(data.memory())?;
        self.model.config().relabel(&mut data)?;
        for images in
            [Some(&data.train), data.test.as_ref()].into_iter().flatten().filter(|images| images.count > 0)
        {
            check_size(&self.model, images)?;
        }
        Ok(Loaded { data, split })
    }
}

/// Images read by a command.
#[derive(Debug)]
pub(super) struct Loaded {
    /// The images.
    pub data: Dataset,
    /// The run's split of them; `None` for images that it was not trained on.
    pub split: Option<RunSplit>,
}

impl Loaded {
    /// The images that the run held out; `None` if they are unknown, or there are none.
    pub(super) fn held_out(&self) -> Option<Vec<usize>> {
        let split = self.split?.of(&self.data)?;
        Some(split.validation).filter(|held_out| !held_out.is_empty())
    }
}

/// The most recently changed run folder.
///
/// # Errors
/// If there is none.
pub(super) fn newest_run() -> Result<PathBuf> {
    let none = || {
        Error::config(
            "there is no run in runs/ yet; train one with `elbo train`, or name a run folder or a model file",
        )
    };
    let entries = std::fs::read_dir(RUNS).map_err(|_| none())?;
    let runs =
        entries.flatten().map(|entry| entry.path()).filter(|path| path.join("model.safetensors").is_file());
    let changed =
        |path: &PathBuf| path.join("model.safetensors").metadata().and_then(|file| file.modified()).ok();
    runs.max_by_key(|path| (changed(path), path.clone())).ok_or_else(none)
}

/// Seconds since 1970 as `YYYYMMDD-HHMMSS` (UTC). Days to dates by the era arithmetic of Howard Hinnant's
/// "chrono-compatible low-level date algorithms": years begin in March, so that the leap day is the last of a
/// year.
pub(super) fn date_and_time(seconds: u64) -> String {
    let (days, time) = (seconds / 86_400, seconds % 86_400);
    let shifted = days + 719_468; // days since 0000-03-01
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    format!("{year:04}{month:02}{day:02}-{:02}{:02}{:02}", time / 3600, time / 60 % 60, time % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        assert_eq!(date_and_time(0), "19700101-000000");
        assert_eq!(date_and_time(951_827_696), "20000229-123456");
        assert_eq!(date_and_time(1_767_225_599), "20251231-235959");
    }
}

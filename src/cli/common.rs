//! What several commands need: the run or model that is meant, threads, progress while images load.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};

use clap::builder::{PossibleValuesParser, TypedValueParser};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::data::{Binarize, Dataset, LoadOptions, Part, Range, excess};
use crate::error::{Error, Result};
use crate::evaluate::RunSplit;
use crate::model::Vae;
use crate::model::codec::check_size;
use crate::report::Picture;
use crate::text::names::Named;
use crate::train::run::read_config;
use crate::train::{Config, DataOptions};

/// Where runs are, unless `--out` says otherwise.
pub(super) const RUNS: &str = "runs";

/// What a command ends with, if not with an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    Done,
    Interrupted,
}

/// Loads images with a progress bar where standard error is a terminal, and prints what a person should know about them.
pub(super) fn load_images(path: &Path, options: &LoadOptions) -> Result<Dataset> {
    let bar = ProgressBar::new(0);
    if !std::io::stderr().is_terminal() {
        bar.set_draw_target(ProgressDrawTarget::hidden());
    }
    bar.set_style(ProgressStyle::with_template("loading images {bar:30} {pos}/{len}").expect("a template"));
    let data = crate::data::load(path, options, &|done, total| {
        bar.set_length(total as u64);
        bar.set_position(done as u64);
    });
    bar.finish_and_clear();
    let data = data?;
    for note in &data.notes {
        eprintln!("note: {note}");
    }
    Ok(data)
}

/// The values of an option that is one of some names; `--help` lists them.
pub(super) fn named_values<T: Named + Send + Sync>() -> impl TypedValueParser<Value = T> {
    PossibleValuesParser::new(T::names()).map(|name| T::parse(&name).expect("one of the names"))
}

/// A model that a command was pointed at, and what is known about the run that made it.
#[derive(Debug)]
pub(super) struct Opened {
    /// The model.
    pub model: Vae<f32>,
    /// Its file.
    pub path: PathBuf,
    /// The run's configuration, where the model lies in a run folder.
    pub config: Option<Config>,
    /// What `--max-memory` allows, in bytes.
    max_memory: u64,
}

impl Opened {
    /// The model of RUN: a run folder, a model file, or the newest run where it is left out.
    ///
    /// # Errors
    /// Where there is none, or it is damaged.
    pub(super) fn new(run: Option<&Path>, max_memory: u64) -> Result<Self> {
        let place = match run {
            Some(place) => place.to_path_buf(),
            None => newest_run()?,
        };
        if !place.exists() {
            return Err(Error::data(
                place,
                "there is no such run folder or model file; left out, RUN is the newest run in runs/",
            ));
        }
        let path = if place.is_dir() { place.join("model.safetensors") } else { place };
        let model = Vae::load_within(&path, max_memory)?;
        let folder = path.parent().unwrap_or(Path::new("."));
        let config = if folder.join("config.toml").is_file() { Some(read_config(folder)?) } else { None };
        Ok(Self { model, path, config, max_memory })
    }

    /// Whether `--max-memory` allows `pictures` of the model's size, held as numbers `copies` times and drawn on a sheet, beside the model
    /// itself. `help` says what asks for fewer.
    ///
    /// # Errors
    /// If it does not.
    pub(super) fn room_for(&self, pictures: usize, copies: usize, help: &str) -> Result<()> {
        let c = self.model.config();
        let each = 4 * (c.latent + copies * c.pixels()) + Picture::bytes_of(c.image());
        let needed = (pictures as u64).saturating_mul(each as u64).saturating_add(self.model.memory());
        let what = format!("{pictures} pictures of {} take", c.image());
        match excess(&what, needed, self.max_memory) {
            Some(message) => Err(Error::config(format!("{message}; {help} helps"))),
            None => Ok(()),
        }
    }

    /// The folder that the model lies in, for files that belong beside it.
    pub(super) fn folder(&self) -> &Path {
        match self.path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        }
    }

    /// The run's split, if its own data are looked at.
    pub(super) fn split(&self, options: &DataOptions) -> Option<RunSplit> {
        let config = self.config.as_ref()?;
        let same = |path: &PathBuf| {
            path.canonicalize().ok().zip(config.data.canonicalize().ok()).is_some_and(|(a, b)| a == b)
        };
        let is_own = options.data.as_ref().is_none_or(same);
        is_own.then_some(RunSplit { seed: config.seed, validation: config.valid.unwrap_or(0) })
    }

    /// Whether pixels become 0 or 1: as asked for, else as in the run.
    pub(super) fn binarize(&self, options: &DataOptions) -> Result<Option<Binarize>> {
        Ok(options.binarize()?.or(self.config.as_ref().and_then(|config| config.binarize)))
    }

    /// The images that a command is about: those of `--data`, else those of the run, in the run's size and colours where nothing else is
    /// asked for.
    ///
    /// # Errors
    /// Where they cannot be read, are of another size than the model's, or have labels that a conditional model does not know.
    pub(super) fn images(&self, options: &DataOptions, part: Part) -> Result<Dataset> {
        let run = self.config.as_ref().map(|config| config.to_options().data).unwrap_or_default();
        // Another data set has its own axes and arrays, and the model's range as far as that fits its values.
        let trained_range = self.config.as_ref().and_then(|config| config.load.range);
        let trained_range = trained_range.map(|(low, high)| Range { low, high });
        let merged = match options.data {
            None => options.clone().or(run),
            Some(_) => {
                options.clone().or(DataOptions { data: None, layout: None, array: None, range: None, ..run })
            }
        };
        let load = LoadOptions { part, trained_range, ..merged.load_options()? };
        let mut data = load_images(&merged.path()?, &load)?;
        self.model.config().relabel(&mut data)?;
        for images in
            [Some(&data.train), data.test.as_ref()].into_iter().flatten().filter(|images| images.count > 0)
        {
            check_size(&self.model, images)?;
        }
        Ok(data)
    }
}

/// The run folder that was changed last.
///
/// # Errors
/// Where there is none.
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

/// Seconds since 1970 as `YYYYMMDD-HHMMSS` (UTC). Days to dates by the era arithmetic of Howard Hinnant's "chrono-compatible low-level
/// date algorithms": years begin in March, so that the leap day is the last of a year.
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

//! A run: the training loop inside its folder.
//!
//! ```text
//! RUN/
//!   config.toml               complete: `train --config` repeats the run
//!   metrics.csv               a row per epoch
//!   model.safetensors         the best on the validation images (without any, the last)
//!   checkpoint.safetensors    the training state; written before the first step, after each epoch and every few minutes
//!   samples/epoch-0001.png    samples, always from the same noise
//!   reconstructions/…         originals beside reconstructions
//!   adversarial.csv, vae.safetensors     if there is an adversarial stage: its rows, and the model before it
//!   report.html               everything on one page, updated after each epoch
//!   lock                      while a process writes here
//! ```
//!
//! # Order of writing at the end of an epoch
//!
//! Sheets, then the model, then the row of metrics, then the checkpoint, then the report. After a crash at
//! any moment, the run resumes bit-exactly from the checkpoint on disk; rows of metrics after the checkpoint
//! are dropped. The report is written from the files on disk; resuming a finished run writes it again.
//!
//! If `--max-steps` ends a run in the middle of an epoch, the current model is judged, but the checkpoint is
//! that of the middle of the epoch, and only whole epochs compete for the best model. So resuming continues
//! bit-exactly, as if the run had not ended.

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use super::adversarial::{Adversarial, AdversarialStep};
use super::checkpoint;
use super::config::Config;
use super::options::TrainOptions;
use super::start;
use super::together::{end_step, end_writing};
use super::trainer::{Best, StepReport, Trainer};
use crate::data::Dataset;
use crate::error::{Error, Result};
use crate::evaluate::judgement::{Evaluator, Judgement};
use crate::loss::LossValues;
use crate::model::codec::BATCH;
use crate::report::adversarial::AdversarialMetrics;
use crate::report::metrics::COLUMNS;
use crate::storage::atomic::{create_folder, remove_stale};
use crate::storage::filesystem::FileSystem;
use crate::storage::journal::Journal;
use crate::storage::lock::RunLock;
use crate::storage::system::system;

mod adversarial;
mod judging;
mod settings;

pub use settings::read_config;
pub(crate) use settings::resumed_config;
use settings::save_config;

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// After all epochs, or the requested number of steps.
    Finished,
    /// No improvement within `--patience`.
    EndedEarly,
    /// Stopped on request; the checkpoint is of the last step.
    Interrupted,
}

/// The result of an epoch.
#[derive(Clone, Debug)]
pub struct EpochReport {
    /// The epoch, from 1.
    pub epoch: u64,
    /// Steps so far.
    pub step: u64,
    /// Means over the epoch's batches, as they were trained on.
    pub train: LossValues,
    /// The judgement on the validation images; on some training images if none are held out.
    pub judgement: Judgement,
    /// Whether the judgement is on validation images.
    pub held_out: bool,
    /// Whether this is the best so far.
    pub is_best: bool,
    /// The time that the epoch's steps of this process took.
    pub time: Duration,
    /// Images of those steps, per second.
    pub images_per_second: f64,
}

/// An observer of a run. By default all methods do nothing.
pub trait Observer {
    /// After each step.
    fn step(&mut self, _trainer: &Trainer, _report: &StepReport) {}
    /// After each epoch.
    fn epoch(&mut self, _trainer: &Trainer, _report: &EpochReport) {}
    /// After each step of the adversarial stage.
    fn adversarial_step(&mut self, _trainer: &Trainer, _stage: &Adversarial, _step: &AdversarialStep) {}
    /// After each epoch of the adversarial stage; the first row is of the VAE.
    fn adversarial_epoch(&mut self, _trainer: &Trainer, _row: &AdversarialMetrics) {}
}

impl Observer for () {}

/// A run folder that this process may write to.
pub struct Run {
    folder: PathBuf,
    fs: &'static dyn FileSystem,
    pub(super) trainer: Trainer,
    fingerprint: u64,
    journal: Journal,
    evaluator: Evaluator,
    /// The adversarial stage, once it has begun.
    adversarial: Option<Adversarial>,
    // Last, so that it is given back when all else is closed.
    _lock: RunLock,
}

impl Run {
    /// An error if the folder of a new run already exists, to be checked before images are read.
    ///
    /// # Errors
    /// If there is.
    pub fn refuse_existing(folder: &Path) -> Result<()> {
        folder.symlink_metadata().map_or(Ok(()), |_| Err(is_there(folder)))
    }

    /// Starts a run in a new folder.
    ///
    /// # Errors
    /// If it already exists or cannot be written, or configuration and images do not fit each other (then
    /// nothing is written).
    pub fn start(folder: &Path, config: Config, data: Dataset) -> Result<Self> {
        let fs = system();
        Self::refuse_existing(folder)?;
        let mut trainer = Trainer::new(config, data)?;
        start::begin(&trainer.config, &mut trainer.model)?;
        let parent = create_own_folder(fs, folder)?;
        let synced = fs.sync_folder(&parent).map_err(|error| Error::io("sync the folder", &parent, error));
        // A failure here is before the first step: there is nothing to resume, so no files are left.
        synced.and_then(|()| Self::fill(fs, folder, trainer)).inspect_err(|_| {
            let _ = std::fs::remove_dir_all(folder);
        })
    }

    /// Writes the files of a new run. The checkpoint is the last file, so a folder with a checkpoint is
    /// complete.
    fn fill(fs: &'static dyn FileSystem, folder: &Path, trainer: Trainer) -> Result<Self> {
        let lock = RunLock::acquire(folder)?;
        for name in ["samples", "reconstructions"] {
            create_folder(fs, &folder.join(name))?;
        }
        save_config(fs, folder, &trainer.config)?;
        let journal = Journal::create(fs, &folder.join("metrics.csv"), &COLUMNS)?;
        let run = Self::new(folder, fs, trainer, journal, lock);
        // A run always has a usable model, even if it ends early.
        run.trainer.model.save_in(fs, &folder.join("model.safetensors"))?;
        run.save_checkpoint()?;
        Ok(run)
    }

    /// Resumes a run from its checkpoint. Only these `options` are used: epochs, those of the adversarial
    /// stage, steps, threads and the time between checkpoints. Everything else is the run's own. `load` reads
    /// the images that the configuration names.
    ///
    /// # Errors
    /// If there is no run, another process writes to it, one of its files is damaged, or its images have
    /// changed.
    pub fn resume(
        folder: &Path,
        options: TrainOptions,
        load: impl FnOnce(&Config) -> Result<Dataset>,
    ) -> Result<Self> {
        let fs = system();
        if !folder.join("checkpoint.safetensors").is_file() {
            let message = if folder.join("config.toml").is_file() {
                "has no checkpoint.safetensors: the run was ended before its first step; remove the folder, and start the run again"
            } else {
                "is not a run folder: it has no checkpoint.safetensors"
            };
            return Err(Error::data(folder, message));
        }
        let lock = RunLock::acquire(folder)?;
        for name in ["", "samples", "reconstructions"] {
            let part = folder.join(name);
            // A link would lead out of the run's folder.
            if !name.is_empty() && part.symlink_metadata().is_ok_and(|found| !found.is_dir()) {
                return Err(Error::data(part, "is not a folder, and the run's pictures need one; remove it"));
            }
            create_folder(fs, &part)?;
            remove_stale(fs, &part)?;
        }
        let end_is_given = options.model.max_steps.is_some();
        let config = resumed_config(folder, options)?;
        let data = load(&config)?;
        let mut trainer = Trainer::new(config, data)?;
        let fingerprint = trainer.data.fingerprint();
        let adversarial =
            checkpoint::restore(&mut trainer, fingerprint, &folder.join("checkpoint.safetensors"))?;
        // Resuming clears a reached `--max-steps`, so the run continues to its last epoch; one that is not
        // reached yet stays.
        let steps = trainer.progress.step + adversarial.as_ref().map_or(0, |stage| stage.progress.step);
        let is_over = |end: u64| end <= steps;
        if !end_is_given && trainer.config.max_steps.is_some_and(is_over) {
            trainer.config.max_steps = None;
        }
        // A row in the middle of an epoch belongs to a reached `--max-steps`, which resuming clears.
        let epoch_start = trainer.progress.step - trainer.progress.step_in_epoch;
        let (journal, _) = Journal::resume(fs, &folder.join("metrics.csv"), &COLUMNS, epoch_start)?;
        save_config(fs, folder, &trainer.config)?;
        Ok(Self { fingerprint, adversarial, ..Self::new(folder, fs, trainer, journal, lock) })
    }

    fn new(
        folder: &Path,
        fs: &'static dyn FileSystem,
        trainer: Trainer,
        journal: Journal,
        lock: RunLock,
    ) -> Self {
        let fingerprint = trainer.data.fingerprint();
        let evaluator = Evaluator::new(&trainer.model, BATCH.min(trainer.batch_size()));
        let folder = folder.into();
        Self { folder, fs, trainer, fingerprint, journal, evaluator, adversarial: None, _lock: lock }
    }

    /// The adversarial stage, once it has begun.
    pub fn adversarial(&self) -> Option<&Adversarial> {
        self.adversarial.as_ref()
    }

    /// The training inside.
    pub fn trainer(&self) -> &Trainer {
        &self.trainer
    }

    /// The same, for [`Leader`](super::Leader) to join other processes.
    pub(super) fn trainer_mut(&mut self) -> &mut Trainer {
        &mut self.trainer
    }

    /// The run's configuration, as in config.toml.
    pub(super) fn config_text(&self) -> String {
        settings::config_text(&self.trainer.config)
    }

    /// Trains until all requested epochs or steps are done, or `stop` becomes true; then the step is finished
    /// and a checkpoint written.
    ///
    /// # Errors
    /// If a number became infinite or NaN (before the step that would have used it), or the system refuses to
    /// write. The last checkpoint is valid in either case.
    pub fn train(&mut self, stop: &AtomicBool, observer: &mut dyn Observer) -> Result<Outcome> {
        let mut saved = Instant::now();
        let mut timer = EpochTimer::default();
        let begin = self.trainer.progress.step;
        // A checkpoint may have been written at the very end of an epoch, before the epoch was closed.
        while !self.trainer.is_done() {
            let started = Instant::now();
            let report = self.trainer.step()?;
            timer.add(started.elapsed(), report.images);
            observer.step(&self.trainer, &report);
            let is_over = self.trainer.epoch_is_complete();
            let due = saved.elapsed() >= self.trainer.config.checkpoint_every;
            let mut agreed = end_step(&mut self.trainer, stop, due);
            if agreed.save {
                let written =
                    if is_over { self.finish_epoch(&timer, observer) } else { self.save_checkpoint() };
                agreed.stop |= end_writing(&mut self.trainer, stop, written, is_over)?;
                saved = Instant::now();
                if is_over {
                    timer = EpochTimer::default();
                }
            }
            if agreed.stop && !self.trainer.is_done() {
                return Ok(Outcome::Interrupted);
            }
        }
        if self.trainer.progress.step_in_epoch > 0 {
            self.end_within_epoch(&timer, observer)?;
        } else if self.trainer.progress.step == begin {
            let judgement = self.with_saved_weights(Self::judge_model);
            super::report::save(&self.trainer, &judgement, self.fs, &self.folder)?;
        }
        if self.is_adversarial() {
            return self.sharpen(stop, observer);
        }
        Ok(if self.trainer.progress.ended_early { Outcome::EndedEarly } else { Outcome::Finished })
    }

    /// Everything at the end of a whole epoch, in the order that the module's header explains.
    fn finish_epoch(&mut self, timer: &EpochTimer, observer: &mut dyn Observer) -> Result<()> {
        let report = self.with_saved_weights(|run| run.judge_epoch(timer))?;
        self.trainer.next_epoch();
        self.save_checkpoint()?;
        super::report::save(&self.trainer, &report.judgement, self.fs, &self.folder)?;
        observer.epoch(&self.trainer, &report);
        Ok(())
    }

    /// Judges the model at the end of a whole epoch, and saves its sheets.
    fn judge_epoch(&mut self, timer: &EpochTimer) -> Result<EpochReport> {
        self.trainer.settle_variance();
        let mut report = self.judge(timer)?;
        let p = &mut self.trainer.progress;
        report.is_best =
            !report.held_out || p.best.is_none_or(|best| report.judgement.values.loss < best.loss);
        if report.is_best {
            p.best =
                report.held_out.then_some(Best { epoch: report.epoch, loss: report.judgement.values.loss });
            p.stale = 0;
        } else {
            p.stale += 1;
        }
        p.ended_early = self.trainer.config.patience.is_some_and(|patience| p.stale >= patience);
        self.write_epoch(&report, &format!("epoch-{:04}", report.epoch))?;
        Ok(report)
    }

    /// The end of a run in the middle of an epoch: the checkpoint stays in the middle.
    fn end_within_epoch(&mut self, timer: &EpochTimer, observer: &mut dyn Observer) -> Result<()> {
        self.save_checkpoint()?;
        let variance = self.trainer.model.config().likelihood;
        let report = self.with_saved_weights(|run| {
            run.trainer.settle_variance();
            let mut report = run.judge(timer)?;
            report.is_best = !report.held_out || run.trainer.progress.best.is_none();
            run.write_epoch(&report, &format!("step-{:06}", report.step))?;
            Ok(report)
        })?;
        super::report::save(&self.trainer, &report.judgement, self.fs, &self.folder)?;
        if let crate::loss::Likelihood::OptimalGaussian { variance: Some(variance) } = variance {
            self.trainer.model.set_optimal_variance(variance);
        }
        observer.epoch(&self.trainer, &report);
        Ok(())
    }

    fn write_epoch(&mut self, report: &EpochReport, name: &str) -> Result<()> {
        self.save_sheets(name)?;
        if report.is_best {
            self.trainer.model.save_in(self.fs, &self.folder.join("model.safetensors"))?;
        }
        self.journal.append(&self.row(report).cells())?;
        self.journal.sync()
    }

    fn save_checkpoint(&self) -> Result<()> {
        checkpoint::save(
            &self.trainer,
            self.adversarial.as_ref(),
            self.fingerprint,
            self.fs,
            &self.folder.join("checkpoint.safetensors"),
        )
    }
}

fn is_there(folder: &Path) -> Error {
    Error::data(
        folder,
        "already exists, and a run never overwrites anything; choose another --out, or continue it with train --resume",
    )
}

/// Creates the folder of a run, and returns its parent. If another process creates it at the same moment, it
/// belongs to that process.
fn create_own_folder(fs: &dyn FileSystem, folder: &Path) -> Result<PathBuf> {
    let absolute =
        std::path::absolute(folder).map_err(|error| Error::io("create the folder", folder, error))?;
    let parent = absolute.parent().unwrap_or(&absolute);
    create_folder(fs, parent)?;
    match fs.create_folder(folder) {
        Ok(()) => Ok(parent.to_path_buf()),
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Err(is_there(folder)),
        Err(error) => Err(Error::io("create the folder", folder, error)),
    }
}

/// The time and images of an epoch's steps in this process.
#[derive(Default)]
struct EpochTimer {
    time: Duration,
    images: usize,
}

impl EpochTimer {
    fn add(&mut self, time: Duration, images: usize) {
        self.time += time;
        self.images += images;
    }
}

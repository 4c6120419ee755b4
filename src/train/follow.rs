//! The ranks that do not write: how they join a run, and their loop.
//!
//! ```text
//! rank 0   options, images, run folder    broadcasts the configuration, or nothing if it could not begin
//! others                                  read the images that it names, and make a trainer
//! all      compare the images; take over rank 0's parameters, moments and progress
//!          each step: share, sum, agree whether to stop and whether rank 0 writes a checkpoint
//!          before that, gather everyone's moments; after an epoch, take over rank 0's judgement
//! ```
//!
//! So a run begins and resumes in the same way with any number of ranks, and only rank 0 needs its folder and
//! the model of `--start-from`. The images (and the file of `--labels`) must have the same path everywhere.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::config::Config;
use super::options::TrainOptions;
use super::ranks::{Ranks, Team};
use super::run::{Outcome, Run};
use super::threads::with_threads;
use super::together::{end_step, end_writing, enter};
use super::trainer::Trainer;
use crate::data::Dataset;
use crate::error::{Error, Result};

/// Rank 0's side of a run: the others wait until it has a run to lead, or is dropped without one.
#[derive(Debug)]
pub struct Leader {
    ranks: Arc<dyn Ranks>,
    has_begun: AtomicBool,
}

impl Leader {
    /// The leader of these processes.
    pub fn new(ranks: Arc<dyn Ranks>) -> Self {
        Self { ranks, has_begun: AtomicBool::new(false) }
    }

    /// The processes that are led.
    pub fn ranks(&self) -> &dyn Ranks {
        &*self.ranks
    }

    /// Refuses what several processes cannot do.
    ///
    /// # Errors
    /// If there is an adversarial stage: it runs in one process.
    pub fn check(&self, config: &Config) -> Result<()> {
        if self.ranks.count() > 1 && config.adversarial.is_some() {
            return Err(Error::config(
                "--adversarial runs in one process: train without it on several, and then with --adversarial and --start-from on one",
            ));
        }
        Ok(())
    }

    /// Has the other ranks take part in a run.
    ///
    /// # Errors
    /// If one of them cannot, or has other images.
    pub fn begin(&self, run: &mut Run) -> Result<()> {
        self.check(&run.trainer().config)?;
        self.has_begun.store(true, Ordering::Relaxed);
        if self.ranks.count() == 1 {
            return Ok(());
        }
        self.ranks.broadcast(&mut run.config_text().into_bytes());
        let joined = run.trainer_mut().join(self.ranks.clone());
        enter(run.trainer_mut(), joined)
    }
}

impl Drop for Leader {
    fn drop(&mut self) {
        if self.ranks.count() > 1 && !self.has_begun.load(Ordering::Relaxed) {
            self.ranks.broadcast(&mut Vec::new());
        }
    }
}

/// Takes part in the run that rank 0 leads, to its end. `load` reads the images that the configuration names.
/// `None` if rank 0 ends it with an error, which rank 0 reports.
///
/// # Errors
/// Errors of this rank alone: it cannot read the images, or they differ from rank 0's.
pub fn follow(
    ranks: Arc<dyn Ranks>,
    stop: &AtomicBool,
    load: impl FnOnce(&Config) -> Result<Dataset> + Send,
) -> Result<Option<Outcome>> {
    let mut text = Vec::new();
    ranks.broadcast(&mut text);
    if text.is_empty() {
        return Ok(None);
    }
    let options = TrainOptions::parse(&String::from_utf8_lossy(&text), "rank 0".as_ref());
    let config = options.and_then(|options| Config::new(&options));
    let threads = config.as_ref().map_or(1, |config| config.threads);
    let fails = |_: &Error| {
        Team::new(ranks.clone()).any([true]);
    };
    let work = || {
        let trainer = config.and_then(|config| load(&config).and_then(|data| Trainer::new(config, data)));
        let mut trainer = trainer.inspect_err(fails)?;
        let joined = trainer.join(ranks.clone());
        if enter(&mut trainer, joined).is_err() {
            return Ok(None);
        }
        Ok(take_part(&mut trainer, stop))
    };
    with_threads(threads, work).inspect_err(fails)?
}

/// All steps of a rank other than 0. Rank 0 also knows of anything that ends them early.
fn take_part(trainer: &mut Trainer, stop: &AtomicBool) -> Option<Outcome> {
    while !trainer.is_done() {
        trainer.step().ok()?;
        let is_over = trainer.epoch_is_complete();
        let mut agreed = end_step(trainer, stop, false);
        if agreed.save {
            agreed.stop |= end_writing(trainer, stop, Ok(()), is_over).ok()?;
        }
        if agreed.stop && !trainer.is_done() {
            return Some(Outcome::Interrupted);
        }
    }
    Some(if trainer.progress.ended_early { Outcome::EndedEarly } else { Outcome::Finished })
}

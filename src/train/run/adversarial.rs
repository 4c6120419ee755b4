//! The adversarial stage in the run's folder.
//!
//! It begins with the best model of the VAE's epochs, which is kept as vae.safetensors. Epochs are counted on from there. The end of an epoch is written in
//! the order of the VAE's: sheets, the model, the row of adversarial.csv, the checkpoint, the report.
//!
//! A discriminator's losses do not say how good samples are, so the best epoch is the one whose samples are nearest to the images that the run
//! watches, by the distance of `elbo eval --samples` ([`evaluate::frechet`](crate::evaluate::frechet)); model.safetensors is that one. If no
//! epoch is better than the VAE, it stays the VAE.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use super::judging::watched;
use super::{EpochTimer, Observer, Outcome, Run};
use crate::data::{Filler, Span};
use crate::error::{Error, Result};
use crate::evaluate::samples::{Reference, SampleQuality};
use crate::generate::prior::{Mixture, Prior};
use crate::model::Vae;
use crate::model::codec::Codec;
use crate::report::adversarial::{AdversarialMetrics, COLUMNS};
use crate::storage::journal::Journal;
use crate::train::adversarial::Adversarial;
use crate::train::trainer::Trainer;

/// The most samples, and images, of a distance.
const MOST_SAMPLES: usize = 2000;

/// Compares samples with the images that the run watches: the same draws each time.
struct SampleJudge {
    images: Vec<usize>,
    reference: Reference<'static>,
}

impl SampleJudge {
    /// `None` if there are too few images, or they are all alike.
    fn new(trainer: &Trainer) -> Option<Self> {
        let all = watched(&trainer.split);
        let count = all.len().min(MOST_SAMPLES);
        // Folders of pictures come class by class: some of all, not the first.
        let images: Vec<usize> = (0..count).map(|i| all[i * all.len() / count]).collect();
        let filler = Filler { span: Span::Unit, binarize: None, ..trainer.filler() };
        let reference = Reference::new(&trainer.data.train, &images, &filler, &|_| ()).ok()?;
        Some(Self { images, reference })
    }

    /// The quality of as many samples as there are images, with their labels if the model has any.
    fn judge(&mut self, trainer: &Trainer, prior: &Prior) -> SampleQuality {
        let latent = trainer.model.config().latent;
        let codes = prior.draw(self.images.len(), latent, trainer.config.seed, 1.0);
        let mut codec = Codec::new(&trainer.model);
        self.reference.codes(&mut codec, &codes, trainer.labelled(), &self.images)
    }
}

/// What the stage draws samples from: the same before and after it is resumed.
fn stage_prior(trainer: &Trainer) -> Result<Prior> {
    let c = trainer.model.config();
    if !Prior::is_fitted_by_default(c) {
        return Ok(Prior::Normal);
    }
    let images = Mixture::images_to_fit(&trainer.split.train, c.pixels());
    let codes = Codec::new(&trainer.model).encode_with(trainer.labelled(), &images, &trainer.filler());
    let components = Mixture::default_components(images.len());
    Ok(Prior::Mixture(Mixture::fit(&codes, c.latent, components, trainer.config.seed)?.0))
}

impl Run {
    /// Whether there is an adversarial stage, and the VAE has had its epochs.
    pub(super) fn is_adversarial(&self) -> bool {
        let (c, p) = (&self.trainer.config, &self.trainer.progress);
        c.adversarial.is_some() && (p.epoch >= c.epochs() || p.ended_early)
    }

    /// The steps of both parts of the run.
    fn all_steps(&self) -> u64 {
        self.trainer.progress.step + self.adversarial.as_ref().map_or(0, |stage| stage.progress.step)
    }

    fn adversarial_is_done(&self) -> bool {
        let c = &self.trainer.config;
        let epochs = self.adversarial.as_ref().map_or(0, |stage| stage.progress.epoch);
        c.adversarial.is_none_or(|all| epochs >= all)
            || c.max_steps.is_some_and(|most| self.all_steps() >= most)
    }

    /// The adversarial stage from where it stands to its end.
    pub(super) fn sharpen(&mut self, stop: &AtomicBool, observer: &mut dyn Observer) -> Result<Outcome> {
        if self.adversarial_is_done() {
            return Ok(Outcome::Finished);
        }
        let mut samples = SampleJudge::new(&self.trainer);
        let mut journal = match &self.adversarial {
            None => self.begin(samples.as_mut(), observer)?,
            Some(_) => {
                let prior = stage_prior(&self.trainer)?;
                let stage = self.adversarial.as_mut().expect("the stage has begun");
                stage.prior = prior;
                let step_in_epoch = stage.progress.step_in_epoch;
                let row = self.all_steps() - step_in_epoch;
                Journal::resume(self.fs, &self.folder.join("adversarial.csv"), &COLUMNS, row)?.0
            }
        };
        let (mut saved, mut timer) = (Instant::now(), EpochTimer::default());
        while !self.adversarial_is_done() {
            let started = Instant::now();
            let stage = self.adversarial.as_mut().expect("the stage has begun");
            let step = stage.step(&mut self.trainer)?;
            timer.add(started.elapsed(), step.images);
            observer.adversarial_step(&self.trainer, stage, &step);
            if stage.epoch_is_complete(&self.trainer) {
                self.finish_adversarial_epoch(&timer, samples.as_mut(), &mut journal, observer)?;
                timer = EpochTimer::default();
                saved = Instant::now();
            } else if saved.elapsed() >= self.trainer.config.checkpoint_every {
                self.save_checkpoint()?;
                saved = Instant::now();
            }
            if stop.load(Ordering::Relaxed) && !self.adversarial_is_done() {
                self.save_checkpoint()?;
                return Ok(Outcome::Interrupted);
            }
        }
        // An end within an epoch: only whole epochs compete for the best model.
        self.save_checkpoint()?;
        Ok(Outcome::Finished)
    }

    /// Begins the stage with the best model of the VAE.
    fn begin(&mut self, samples: Option<&mut SampleJudge>, observer: &mut dyn Observer) -> Result<Journal> {
        let t = &mut self.trainer;
        if t.progress.best.is_some_and(|best| best.epoch != t.progress.epoch) {
            let best = Vae::load_within(self.folder.join("model.safetensors"), t.config.load.max_memory)?;
            if let crate::loss::Likelihood::OptimalGaussian { variance: Some(variance) } =
                best.config().likelihood
            {
                t.model.set_optimal_variance(variance);
            }
            t.model.parameters = best.parameters;
        } else if !t.average.is_empty() && t.progress.step > 0 {
            t.model.parameters.clone_from(&t.average);
        }
        let mut stage = Adversarial::new(t)?;
        stage.prior = stage_prior(t)?;
        let samples = samples.map(|samples| samples.judge(t, &stage.prior));
        let distance = samples.map(|samples| samples.distance);
        stage.progress.first_distance = distance;
        stage.progress.best = distance.map(|distance| (0, distance));
        t.model.save_in(self.fs, &self.folder.join("vae.safetensors"))?;
        let row = AdversarialMetrics {
            step: t.progress.step,
            epoch: t.progress.epoch,
            valid_negative_elbo: self.judge_model().values.negative_elbo,
            samples,
            ..AdversarialMetrics::default()
        };
        self.adversarial = Some(stage);
        if row.epoch == 0 {
            self.save_sheets("epoch-0000")?;
        }
        // A crash may have left the row, and nothing else.
        let path = self.folder.join("adversarial.csv");
        let (mut journal, repair) = Journal::resume(self.fs, &path, &COLUMNS, row.step)?;
        if repair.kept == 0 {
            journal.append(&row.cells())?;
            journal.sync()?;
        }
        self.save_checkpoint()?;
        observer.adversarial_epoch(&self.trainer, &row);
        Ok(journal)
    }

    fn finish_adversarial_epoch(
        &mut self,
        timer: &EpochTimer,
        samples: Option<&mut SampleJudge>,
        journal: &mut Journal,
        observer: &mut dyn Observer,
    ) -> Result<()> {
        let judgement = self.judge_model();
        let stage = self.adversarial.as_ref().expect("the stage has begun");
        let samples = samples.map(|samples| samples.judge(&self.trainer, &stage.prior));
        let distance = samples.map(|samples| samples.distance);
        let (step, t) = (self.all_steps(), &self.trainer);
        if !judgement.values.negative_elbo.is_finite()
            || distance.is_some_and(|distance| !distance.is_finite())
        {
            return Err(Error::Training(format!(
                "after step {step}, in the adversarial stage, the model's pictures are not finite; the model was not saved, and the last \
                 checkpoint is good. A smaller --lr or --clip-norm often helps"
            )));
        }
        let stage = self.adversarial.as_mut().expect("the stage has begun");
        let p = &mut stage.progress;
        let epoch = p.epoch + 1;
        // Without a measure, the last model is the one to keep.
        let is_best = match (distance, p.best) {
            (Some(distance), Some((_, best))) => distance < best,
            _ => true,
        };
        if is_best {
            p.best = distance.map(|distance| (epoch, distance));
        }
        let row = AdversarialMetrics {
            step,
            epoch: t.progress.epoch + epoch,
            losses: Some(p.mean()),
            valid_negative_elbo: judgement.values.negative_elbo,
            samples,
            is_best,
            spikes: p.spikes,
            seconds: timer.time.as_secs_f64(),
            images_per_second: timer.images as f64 / timer.time.as_secs_f64().max(1e-9),
        };
        self.save_sheets(&format!("epoch-{:04}", row.epoch))?;
        if is_best {
            self.trainer.model.save_in(self.fs, &self.folder.join("model.safetensors"))?;
        }
        journal.append(&row.cells())?;
        journal.sync()?;
        self.adversarial.as_mut().expect("the stage has begun").next_epoch();
        self.save_checkpoint()?;
        crate::train::report::save(&self.trainer, &judgement, self.fs, &self.folder)?;
        observer.adversarial_epoch(&self.trainer, &row);
        Ok(())
    }
}

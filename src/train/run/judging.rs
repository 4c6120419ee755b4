//! Measures and draws at the end of an epoch: the model on the images that the run watches, a row of numbers,
//! two sheets.

use super::{EpochReport, EpochTimer, Run};
use crate::data::Split;
use crate::error::{Error, Result};
use crate::evaluate::judgement::{ENOUGH_IMAGES, Judgement};
use crate::generate::prior::Prior;
use crate::model::Vae;
use crate::model::codec::Codec;
use crate::report::metrics::EpochMetrics;
use crate::report::sheet::Picture;
use crate::train::start;

/// Pictures on a sheet of samples, in rows of 8.
const SAMPLES: usize = 64;
/// Pairs on a sheet of reconstructions, 4 in a row.
const PAIRS: usize = 32;
/// If no images are held out, this number of training images is used for sheets and active units.
const WATCHED: usize = 1000;

impl Run {
    pub(super) fn judge_model(&mut self) -> Judgement {
        let t = &self.trainer;
        let (filler, objective) = (t.filler(), t.config.final_objective());
        let watched = watched(&t.split);
        let judgement = self.evaluator.judge(&t.model, t.labelled(), watched, &filler, &objective, &|_| ());
        let more = &t.split.train[..t.split.train.len().min(WATCHED)];
        if watched.len() >= ENOUGH_IMAGES || watched.len() >= more.len() {
            return judgement;
        }
        // Few validation images: the variance of μ is that over training images.
        let more = self.evaluator.judge(&t.model, t.labelled(), more, &filler, &objective, &|_| ());
        judgement.with_activity_of(more)
    }

    /// The loss of the model that the run began with and that of the trained one, and on how many images:
    /// some that are watched. `None` after an adversarial stage, which raises the loss for sharper pictures.
    pub fn untrained_and_trained(&mut self) -> Option<(f64, f64, usize)> {
        if self.adversarial.is_some() {
            return None;
        }
        self.with_saved_weights(Self::losses_before_and_after)
    }

    fn losses_before_and_after(&mut self) -> Option<(f64, f64, usize)> {
        let t = &self.trainer;
        let mut untrained = Vae::new(t.model.config().clone(), t.config.seed).ok()?;
        start::begin(&t.config, &mut untrained).ok()?;
        let (filler, objective) = (t.filler(), t.config.final_objective());
        let images = &watched(&t.split)[..watched(&t.split).len().min(ENOUGH_IMAGES)];
        let mut loss = |model| {
            self.evaluator.judge(model, t.labelled(), images, &filler, &objective, &|_| ()).values.loss
        };
        Some((loss(&untrained), loss(&t.model), images.len()))
    }

    /// The current model, on the images that are watched.
    ///
    /// # Errors
    /// If the loss on them is not finite: neither such a model nor a checkpoint with it is saved.
    pub(super) fn judge(&mut self, timer: &EpochTimer) -> Result<EpochReport> {
        let judgement = self.judge_model();
        let t = &self.trainer;
        let held_out = !t.split.validation.is_empty();
        let values = &judgement.values;
        let sum = values.loss + values.negative_elbo + values.reconstruction + values.divergence + values.kl;
        if !sum.is_finite() {
            return Err(Error::Training(format!(
                "after step {} the loss on the {} images is {}; the model was not saved, and the last checkpoint is good. A \
                 smaller --lr or --clip-norm often helps",
                t.progress.step,
                if held_out { "validation" } else { "training" },
                values.loss
            )));
        }
        Ok(EpochReport {
            epoch: t.progress.epoch + 1,
            step: t.progress.step,
            train: t.epoch_means(),
            judgement,
            held_out,
            is_best: false,
            time: timer.time,
            images_per_second: timer.images as f64 / timer.time.as_secs_f64().max(1e-9),
        })
    }

    pub(super) fn row(&self, report: &EpochReport) -> EpochMetrics {
        let t = &self.trainer;
        let last = report.step - 1;
        let epochs = last as f64 / t.steps_per_epoch() as f64;
        EpochMetrics {
            step: report.step,
            epoch: report.epoch,
            train: report.train.into(),
            valid: report.held_out.then(|| report.judgement.values.into()),
            beta: t.config.objective(epochs).terms.beta,
            learning_rate: t.config.learning_rate(t.steps_per_epoch()).at(last),
            gradient_norm: t.epoch_norm(),
            active_units: report.judgement.active_units() as u64,
            spikes: t.progress.spikes,
            seconds: report.time.as_secs_f64(),
            images_per_second: report.images_per_second,
        }
    }

    pub(super) fn save_sheets(&self, name: &str) -> Result<()> {
        let t = &self.trainer;
        let c = t.model.config();
        let size = c.image();
        let mut codec = Codec::new(&t.model);
        let prior = self.adversarial.as_ref().map_or(&Prior::Normal, |stage| &stage.prior);
        let z = prior.draw(SAMPLES, c.latent, t.config.seed, 1.0);
        let file = format!("{name}.png");
        // A conditional model: its labels in turn.
        Picture::sheet(&codec.decode_as(&z, &c.labels_in_turn(SAMPLES)), size, 8)
            .save_in(self.fs, &self.folder.join("samples").join(&file))?;
        let watched = watched(&t.split);
        // Folders of pictures are sorted by class, so images are spread over all.
        let count = watched.len().min(PAIRS);
        let shown: Vec<usize> = (0..count).map(|i| watched[i * watched.len() / count]).collect();
        let codes = codec.encode_with(t.labelled(), &shown, &t.filler());
        let mut originals = vec![0.0; shown.len() * c.pixels()];
        let filler = crate::data::Filler { span: crate::data::Span::Unit, ..t.filler() };
        filler.fill(&t.data.train, &shown, 0, &mut originals);
        let labels: Vec<u32> = t.labelled().of(&shown).collect();
        let pairs = Picture::pairs(&originals, &codec.decode_as(&codes.mu, &labels), size, 4);
        pairs.save_in(self.fs, &self.folder.join("reconstructions").join(&file))
    }
}

/// The images of sheets and judgements.
pub(super) fn watched(split: &Split) -> &[usize] {
    if split.validation.is_empty() {
        &split.train[..split.train.len().min(WATCHED)]
    } else {
        &split.validation
    }
}

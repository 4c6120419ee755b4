//! What `elbo train` prints about the adversarial stage.

use crate::report::adversarial::{AdversarialMetrics, StageLosses};
use crate::train::adversarial::Adversarial;
use crate::train::{Run, Trainer};

/// The steps of the VAE and of the stage.
pub(super) fn all_steps(trainer: &Trainer) -> u64 {
    let epochs = trainer.config.epochs().saturating_add(trainer.config.adversarial.unwrap_or(0));
    epochs.saturating_mul(trainer.steps_per_epoch())
}

/// The steps and the whole epochs of the VAE and of the stage so far.
pub(super) fn place(run: &Run) -> (u64, u64) {
    let p = &run.trainer().progress;
    let (step, epoch) = run.adversarial().map_or((0, 0), |stage| (stage.progress.step, stage.progress.epoch));
    (p.step + step, p.epoch + epoch)
}

/// The losses of an epoch so far.
pub(super) fn progress(mean: &StageLosses) -> String {
    let [real, reconstructed, sampled] = mean.accuracy.map(|accuracy| 100.0 * accuracy);
    format!(
        "discriminator {:.3} (right on {real:.0}/{reconstructed:.0}/{sampled:.0} %), decoder {:.3}",
        mean.discriminator, mean.adversarial
    )
}

/// The lines about an epoch: the first row has the heading, later ones a warning if either side has won.
pub(super) fn lines(row: &AdversarialMetrics) -> Vec<String> {
    let shown = |figure: Option<f64>, digits: usize| {
        figure.map_or_else(|| "-".to_owned(), |figure| format!("{figure:.digits$}"))
    };
    let shares = row.samples.and_then(|samples| samples.precision_recall);
    let samples = format!(
        "{:>16} {:>10} {:>7}",
        shown(row.samples.map(|samples| samples.distance), 4),
        shown(shares.map(|shares| shares.precision), 3),
        shown(shares.map(|shares| shares.recall), 3)
    );
    let valid = row.valid_negative_elbo;
    let Some(l) = &row.losses else {
        return vec![
            "adversarial stage: the encoder stays, decoder and discriminator learn from each other".into(),
            "epoch discriminator loss right on real  recon. samples  decoder loss  weight valid −ELBO  sample distance  precision  recall images/s"
                .into(),
            format!("{:>5} {:>81} {samples} {:>8}", row.epoch, format!("{valid:.2}"), "VAE"),
        ];
    };
    let [real, reconstructed, sampled] = l.accuracy.map(|accuracy| format!("{:.1} %", 100.0 * accuracy));
    let best = if row.is_best { " best" } else { "" };
    let line = format!(
        "{:>5} {:>18.3} {real:>13} {reconstructed:>7} {sampled:>7} {:>13.3} {:>7.2} {valid:>11.2} {samples} {:>8.0}{best}",
        row.epoch, l.discriminator, l.adversarial, l.weight, row.images_per_second
    );
    std::iter::once(line).chain(row.warning().map(|warning| format!("warning: {warning}"))).collect()
}

/// What the stage came to.
pub(super) fn conclusion(trainer: &Trainer, stage: &Adversarial) -> String {
    let p = &stage.progress;
    match (p.first_distance, p.best) {
        _ if p.epoch == 0 => "the adversarial stage has no whole epoch yet, so the model is the VAE".into(),
        (Some(_), Some((0, _))) => {
            "warning: no epoch of the adversarial stage had better samples than the VAE, so the model is the VAE; a smaller --lr or more \
             epochs often help"
                .into()
        }
        (Some(first), Some((epoch, best))) => format!(
            "sharpest: epoch {}, sample distance {best:.4}; the VAE's is {first:.4}, and it is kept as vae.safetensors",
            trainer.progress.epoch + epoch
        ),
        _ => "the model is that of the last epoch; the VAE is kept as vae.safetensors".into(),
    }
}

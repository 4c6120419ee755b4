//! Builds a run's report from the trainer, its last judgement, and the files of the run folder.
//!
//! The history comes from metrics.csv, which survives interruptions; the latent dimensions are those of the
//! last judgement. So the report of a resumed run is that of an uninterrupted one.

use std::path::Path;

use super::trainer::Trainer;
use crate::error::Result;
use crate::evaluate::judgement::{ACTIVE_VARIANCE, Judgement};
use crate::report::adversarial::AdversarialMetrics;
use crate::report::{LayerCost, Metrics, Progress, RunReport, grouped};
use crate::storage::atomic::write_atomically;
use crate::storage::filesystem::FileSystem;

/// Writes `report.html` into the run's folder, and replaces an existing one.
///
/// # Errors
/// If the system refuses to write. Files that cannot be read are missing in the report.
pub fn save(trainer: &Trainer, judgement: &Judgement, fs: &dyn FileSystem, folder: &Path) -> Result<()> {
    let page = gather(trainer, judgement, folder).to_html();
    write_atomically(fs, &folder.join("report.html"), |out| out.write_all(page.as_bytes()))
}

/// The report of a run in its current state.
pub fn gather(trainer: &Trainer, judgement: &Judgement, folder: &Path) -> RunReport {
    let (t, p, c) = (trainer, &trainer.progress, trainer.model.config());
    let read = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap_or_default();
    let absolute = std::path::absolute(folder).unwrap_or_else(|_| folder.into());
    let name = absolute.file_name().unwrap_or(absolute.as_os_str()).to_string_lossy().into_owned();
    let steps = t.steps_per_epoch();
    let adversarial = AdversarialMetrics::parse(&read("adversarial.csv"));
    let now = adversarial.last().map_or(p.step, |row| row.step.max(p.step));
    let sheets = |kind: &str| Progress::read(&folder.join(kind), (c.height, c.width), steps, now);
    let judged = if t.split.validation.is_empty() { "training" } else { "validation" };
    RunReport {
        name,
        folder: folder.to_string_lossy().into_owned(),
        network: network(t),
        status: status(t) + &adversarial_status(t, &adversarial),
        warnings: warnings(t, judgement, &adversarial),
        metrics: Metrics::parse(&read("metrics.csv")),
        adversarial,
        steps_per_epoch: steps,
        epochs: t.config.epochs(),
        best_epoch: p.best.map(|best| best.epoch),
        likelihood: c.likelihood.name().into(),
        divergence: t.config.divergence.name().into(),
        judged_on: judged_on(judgement, judged),
        kl_per_dimension: judgement.kl_per_dimension.clone(),
        mean_variance: judgement.mean_variance.clone(),
        active_variance: ACTIVE_VARIANCE,
        samples: sheets("samples"),
        reconstructions: sheets("reconstructions"),
        layers: layers(t),
        is_done: p.ended_early || t.is_done(),
        has_explorer: folder.join("explore.html").is_file(),
        config: read("config.toml"),
    }
}

/// A description of the judged images.
fn judged_on(judgement: &Judgement, judged: &str) -> String {
    let images = format!("{} {judged} images", grouped(judgement.images as usize));
    if judgement.activity_images == judgement.images {
        return images;
    }
    let activity = grouped(judgement.activity_images as usize);
    format!("{images}, and the variance of μ on {activity} training images")
}

/// The cost of each layer.
fn layers(t: &Trainer) -> Vec<LayerCost> {
    let (a, mut layers) = (t.model.architecture(), Vec::new());
    a.for_each_layer(|name, layer, slots| {
        let parameters = a.len_of(slots, a.is_tied(name));
        layers.push(LayerCost { name: name.to_owned(), operations: layer.flops(), parameters });
    });
    layers
}

fn network(t: &Trainer) -> String {
    let c = t.model.config();
    format!(
        "Preset {} with {} parameters and {} latent dimensions, for images of {}×{}×{}; {} likelihood, {} divergence.{} {} images to \
         train on, {} to validate on, {} to a step, seed {}.",
        c.preset.name(),
        grouped(t.model.parameters.len()),
        c.latent,
        c.height,
        c.width,
        c.channels,
        c.likelihood.name(),
        t.config.divergence.name(),
        conditional(&c.labels),
        grouped(t.split.train.len()),
        grouped(t.split.validation.len()),
        t.batch_size(),
        t.config.seed
    )
}

/// The labels of a conditional model, up to twenty.
fn conditional(labels: &[String]) -> String {
    let shown = labels.iter().take(20).cloned().collect::<Vec<_>>().join(", ");
    match labels.len() {
        0 => String::new(),
        count @ ..=20 => format!(" Conditional on {count} labels: {shown}."),
        count => format!(" Conditional on {count} labels: {shown} and {} more.", count - 20),
    }
}

fn status(t: &Trainer) -> String {
    let (p, epochs) = (&t.progress, t.config.epochs());
    if p.ended_early {
        format!(
            "Ended after epoch {} of {epochs}, because {} epochs brought nothing better.",
            p.epoch, p.stale
        )
    } else if p.epoch >= epochs {
        format!("Finished: {epochs} epochs, {} steps.", grouped(p.step as usize))
    } else if t.is_done() {
        format!("Finished: the {} steps that were asked for, of {epochs} epochs.", p.step)
    } else {
        format!(
            "{} of {epochs} epochs are done, {} steps. While training runs, this page is written again after each epoch: reload it.",
            p.epoch, p.step
        )
    }
}

/// A sentence about the progress of the adversarial stage; empty without one.
fn adversarial_status(t: &Trainer, rows: &[AdversarialMetrics]) -> String {
    let Some(all) = t.config.adversarial else { return String::new() };
    let done = rows.iter().filter(|row| row.losses.is_some()).count();
    let best = match rows.iter().rev().find(|row| row.is_best) {
        Some(best) => format!("the saved model is that of epoch {}", best.epoch),
        None => "the saved model is the VAE".into(),
    };
    format!(" Adversarial stage: {done} of {all} epochs are done; {best}, and vae.safetensors has the VAE.")
}

/// The number of steps before which constant codes do not count as a collapse: the network has not learned to
/// use them yet.
const COLLAPSE_STEPS: u64 = 100;

/// Whether the posterior has collapsed; false before enough steps.
pub fn has_collapsed(t: &Trainer, judgement: &Judgement) -> bool {
    t.progress.step >= COLLAPSE_STEPS && judgement.has_collapsed()
}

/// Notes and warnings about a run.
pub fn warnings(t: &Trainer, judgement: &Judgement, adversarial: &[AdversarialMetrics]) -> Vec<String> {
    let (p, latent) = (&t.progress, t.model.config().latent);
    let mut warnings = Vec::new();
    if has_collapsed(t, judgement) {
        warnings.push(format!(
            "only {} of {latent} latent dimensions are active (variance of μ above {ACTIVE_VARIANCE}): the posterior has collapsed to \
             the prior. --beta-warmup or --free-bits often help.",
            judgement.active_units()
        ));
    }
    if !t.config.beta.ends_within(t.config.epochs() as f64) {
        warnings.push(format!(
            "β warms up over {} epochs, and the run has {}: it never reaches {}, by which models are judged.",
            t.config.beta.epochs,
            t.config.epochs(),
            t.config.beta.to
        ));
    }
    if p.spikes > 0 {
        let one = if p.spikes == 1 { "spike" } else { "spikes" };
        warnings.push(format!(
            "{} {one} of the gradient's norm, far above the usual; {} steps were left out. A smaller --lr, --lr-warmup or --clip-norm \
             often help.",
            p.spikes, p.skipped
        ));
    }
    warnings.extend(adversarial.last().and_then(AdversarialMetrics::warning));
    if let Some(best) = p.best.filter(|_| p.stale >= 3 && adversarial.is_empty()) {
        warnings.push(format!(
            "the validation loss was best at epoch {} and has not been lower in the {} epochs since; the saved model is that of epoch \
             {0}.",
            best.epoch, p.stale
        ));
    }
    warnings
}

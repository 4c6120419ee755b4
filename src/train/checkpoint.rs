//! The complete training state in one file: `checkpoint.safetensors`.
//!
//! | part | what |
//! |---|---|
//! | tensors `encoder.conv1.weight` … | the parameters, as in a model file |
//! | `adam.first.`…, `adam.second.`… | Adam's moments, in the same layouts |
//! | `average.`… | the average of the weights, with `--weight-average` |
//! | description: `model` | the network's configuration |
//! | `progress` | step, epoch, the sums of the running epoch, best value so far, patience |
//! | `adam-steps` | t of each Adam state |
//! | `norms` | the last gradient norms, for spikes |
//! | `settings` | the run's options, except those that `--resume` accepts or that depend on the computer, to detect an edited config.toml |
//! | `data` | a fingerprint of the images, to detect changed data |
//! | `labels` | one of the few labels, if the run has any |
//! | `adversarial` | the adversarial stage, if it has begun; its tensors are in `adversarial/saved.rs` |
//!
//! It has no state of a random generator, because none is ever kept (see [`random`](crate::random)), and no
//! time, thread count or path, so the same run gives the same bytes on every computer and with any
//! interruptions.

use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::adversarial::Adversarial;
use super::adversarial::saved::{self, Saved};
use super::config::Config;
use super::counts::miscounted;
use super::trainer::{Progress, Trainer};
use crate::error::{Error, Result};
use crate::model::file::{description, from_tensors, parse_description, to_tensors};
use crate::optim::{AdamState, SpikeDetector};
use crate::storage::filesystem::FileSystem;
use crate::storage::printable;
use crate::storage::tensor_file::TensorFile;

/// The part of a checkpoint's description that is not the model's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct State {
    settings: Map<String, Value>,
    data: String,
    progress: Progress,
    adam_steps: Vec<u64>,
    norms: Vec<f64>,
    /// Which images have a label, if few do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    labels: Option<String>,
    /// The adversarial stage, once it has begun.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    adversarial: Option<Saved>,
}

/// Options that may differ from a checkpoint: those that `--resume` accepts, the path and range of the images
/// (which have a fingerprint), and those that depend on the computer.
const FREE: [&str; 10] = [
    "epochs",
    "adversarial",
    "max-steps",
    "threads",
    "checkpoint-every",
    "data",
    "labels",
    "range",
    "max-memory",
    "skip-bad",
];

/// The prefixes of the names of Adam's second moments and of the average of the weights.
const SECOND: &str = "adam.second.";
const AVERAGE: &str = "average.";

/// The options that determine the result of a run, by name.
fn settings(config: &Config) -> Map<String, Value> {
    match serde_json::to_value(config.to_options()) {
        Ok(Value::Object(mut options)) => {
            options.retain(|key, _| !FREE.contains(&key.as_str()));
            options
        }
        _ => unreachable!("options are a table of numbers and texts"),
    }
}

/// Saves the training state; the previous checkpoint stays until the new one is complete.
///
/// # Errors
/// If a number is not finite, or the system refuses. The previous file at `path` then still exists.
pub fn save(
    trainer: &Trainer,
    stage: Option<&Adversarial>,
    fingerprint: u64,
    fs: &dyn FileSystem,
    path: &Path,
) -> Result<()> {
    if !trainer.is_finite() || stage.is_some_and(|stage| !stage.is_finite()) {
        return Err(Error::Training(format!(
            "a parameter, or a number of Adam's, became infinite or NaN by step {}; nothing was saved, and the last checkpoint is \
             good. A smaller --lr or --clip-norm often helps",
            trainer.progress.step
        )));
    }
    let table = &trainer.model.architecture().table;
    let joined = |part: fn(&AdamState) -> &Vec<f32>| -> std::borrow::Cow<'_, [f32]> {
        match trainer.adam.as_slice() {
            [all] => part(all).as_slice().into(),
            halves => halves.iter().flat_map(|half| part(half).iter().copied()).collect::<Vec<f32>>().into(),
        }
    };
    let (first, second) = (joined(|state| &state.first), joined(|state| &state.second));
    let mut tensors = to_tensors(table, &trainer.model.parameters, "");
    tensors.extend(to_tensors(table, &first, "adam.first."));
    tensors.extend(to_tensors(table, &second, SECOND));
    if !trainer.average.is_empty() {
        tensors.extend(to_tensors(table, &trainer.average, AVERAGE));
    }
    tensors.extend(stage.iter().flat_map(|stage| stage.tensors(&trainer.model)));
    let state = State {
        settings: settings(&trainer.config),
        data: format!("{fingerprint:016x}"),
        progress: trainer.progress.clone(),
        adam_steps: trainer.adam.iter().map(|state| state.steps).collect(),
        norms: trainer.spikes.history().to_vec(),
        labels: trainer.labels_fingerprint().map(|labels| format!("{labels:016x}")),
        adversarial: stage.map(Adversarial::saved),
    };
    let written = serde_json::to_value(&state).expect("numbers and texts");
    // JSON has no infinity and no NaN: they would be written as null, and the checkpoint could not be read.
    if serde_json::from_value::<State>(written.clone()).ok().as_ref() != Some(&state) {
        return Err(Error::Training(format!(
            "a sum of losses or gradient norms became infinite or NaN by step {}; nothing was saved, and the last checkpoint is good",
            trainer.progress.step
        )));
    }
    let mut description = description("checkpoint", trainer.model.config());
    description["state"] = written;
    TensorFile { description, tensors }.save(fs, path)
}

/// Restores the state of a new trainer from the checkpoint, and returns the adversarial stage, if it has
/// begun.
///
/// # Errors
/// If it is not a checkpoint, is damaged, or has another network, settings or data than the trainer.
pub fn restore(trainer: &mut Trainer, fingerprint: u64, path: &Path) -> Result<Option<Adversarial>> {
    let file = TensorFile::load(path, trainer.config.load.max_memory)?;
    restore_from(trainer, fingerprint, file, path)
}

/// [`restore`] from the contents of the file; `path` is for messages.
///
/// # Errors
/// As [`restore`]. The trainer is then unchanged.
pub fn restore_from(
    trainer: &mut Trainer,
    fingerprint: u64,
    mut file: TensorFile<'_>,
    path: &Path,
) -> Result<Option<Adversarial>> {
    let wrong = |message: String| Error::data(path, message);
    let config = parse_description(&file.description, "checkpoint", path)?;
    let state: State = serde_json::from_value(file.description["state"].take())
        .map_err(|error| wrong(format!("its state cannot be read: {error}")))?;
    // All but the σ² of the optimal Gaussian, which training sets.
    let found = crate::model::ModelConfig { likelihood: trainer.model.config().likelihood, ..config.clone() };
    if found != *trainer.model.config() || config.likelihood.name() != found.likelihood.name() {
        return Err(wrong(
            "its network is not that of the run's config.toml; one of the two was changed".into(),
        ));
    }
    let own = settings(&trainer.config);
    let key = own.keys().chain(state.settings.keys()).find(|&key| own.get(key) != state.settings.get(key));
    if let Some(key) = key {
        let shown =
            |value: Option<&Value>| value.map_or("none".to_string(), |value| printable(value.to_string()));
        let message = format!(
            "has {} {}, and config.toml {}; one of the two was changed, and a run can only continue with its own options",
            printable(key.as_str()),
            shown(state.settings.get(key)),
            shown(own.get(key))
        );
        return Err(wrong(message));
    }
    if state.data != format!("{fingerprint:016x}") {
        return Err(wrong(format!(
            "the images of {} are not those that the run began with; resuming needs the same ones",
            trainer.data.path.display()
        )));
    }
    if state.labels != trainer.labels_fingerprint().map(|labels| format!("{labels:016x}")) {
        return Err(wrong(
            "its few labels are not those that the run began with; resuming needs the same ones".into(),
        ));
    }
    if state.adam_steps.len() != trainer.adam.len() {
        let (found, needed) = (state.adam_steps.len(), trainer.adam.len());
        return Err(wrong(format!("has {found} states of Adam, and its schedule needs {needed}")));
    }
    if let Some(what) = contradiction(&state, trainer) {
        return Err(wrong(format!("{what}, which cannot be; resume from another copy, or train again")));
    }
    // v is a mean of squares, and the step divides by its root.
    let is_square = |name: &str| name.starts_with(SECOND) || name.starts_with(saved::SECOND);
    let squares = file.tensors.iter().filter(|tensor| is_square(&tensor.name));
    for tensor in squares {
        if let Some(value) = tensor.data.iter().find(|value| **value < 0.0) {
            let name = printable(&tensor.name);
            return Err(wrong(format!("{name} has the value {value}; a mean of squares is 0 or more")));
        }
    }
    let table = trainer.model.architecture().table.clone();
    let parameters = from_tensors(&table, &mut file, "", path)?;
    let mut first = from_tensors(&table, &mut file, "adam.first.", path)?;
    let mut second = from_tensors(&table, &mut file, SECOND, path)?;
    let average =
        if trainer.average.is_empty() { Vec::new() } else { from_tensors(&table, &mut file, AVERAGE, path)? };
    let stage = match state.adversarial {
        Some(_) if trainer.config.adversarial.is_none() => {
            return Err(wrong(
                "its adversarial stage has begun, and config.toml has no key adversarial".into(),
            ));
        }
        Some(_) if state.progress.epoch < trainer.config.epochs() && !state.progress.ended_early => {
            return Err(Error::config(format!(
                "the adversarial stage has begun after {} epochs of the VAE, so --epochs {} comes too late; --adversarial can be larger",
                state.progress.epoch,
                trainer.config.epochs()
            )));
        }
        Some(saved) => Some(Adversarial::restore(trainer, saved, &mut file, path)?),
        None => None,
    };
    file.expect_empty(path)?;
    for (adam, &steps) in trainer.adam.iter_mut().zip(&state.adam_steps) {
        let rest = (first.split_off(adam.first.len()), second.split_off(adam.second.len()));
        *adam = AdamState { first, second, steps };
        (first, second) = rest;
    }
    if let crate::loss::Likelihood::OptimalGaussian { variance: Some(variance) } = config.likelihood {
        trainer.model.set_optimal_variance(variance);
    }
    (trainer.model.parameters, trainer.average) = (parameters, average);
    trainer.progress = state.progress;
    trainer.spikes = SpikeDetector::from_history(&state.norms);
    Ok(stage)
}

/// A message about the first count of a checkpoint that does not fit the others or the trainer's images: such
/// a state cannot be continued. A completed epoch is closed before a checkpoint is saved.
fn contradiction(state: &State, trainer: &Trainer) -> Option<String> {
    let (p, steps) = (&state.progress, trainer.steps_per_epoch());
    if let Some(wrong) = miscounted(p.step, (p.epoch, p.step_in_epoch), steps) {
        return Some(wrong);
    }
    // Every step but those left out at a spike is one of Adam's.
    if p.skipped > p.spikes || p.spikes > p.step {
        return Some(format!("says {} spikes and {} steps left out, of {}", p.spikes, p.skipped, p.step));
    }
    if let Some(found) = state.adam_steps.iter().find(|&&found| found != p.step - p.skipped) {
        return Some(format!("says {found} steps of Adam, of {} steps, {} left out", p.step, p.skipped));
    }
    // Only an epoch's last batch is smaller, and it is not among these.
    let images = p.step_in_epoch * trainer.batch_size() as u64;
    if p.sums.images != images {
        return Some(format!("says {} images in {} steps", p.sums.images, p.step_in_epoch));
    }
    if p.stale > p.epoch || p.best.is_some_and(|best| best.epoch == 0 || best.epoch > p.epoch) {
        return Some(format!("says a best epoch that is none of its {}", p.epoch));
    }
    if state.norms.iter().any(|&norm| norm < 0.0) || p.norm_sum < 0.0 {
        return Some("says a gradient norm below 0".into());
    }
    None
}

//! What resuming needs, in one file: `checkpoint.safetensors`.
//!
//! | part | what |
//! |---|---|
//! | tensors `encoder.conv1.weight` … | the parameters, as in a model file |
//! | `adam.first.`…, `adam.second.`… | Adam's moments, in the same layouts |
//! | description: `model` | the network's configuration |
//! | `progress` | step, epoch, the sums of the running epoch, best value so far, patience |
//! | `adam-steps` | t of each Adam state |
//! | `norms` | the last gradient norms, for spikes |
//! | `seed`, `data` | the seed, and a fingerprint of the images: data that changed is noticed |
//!
//! No state of a random generator is here, because none is ever kept (see [`random`](crate::random)); no time, thread count or path
//! either, so the same run gives the same bytes wherever and however it ran.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::trainer::{Progress, Trainer};
use crate::error::{Error, Result};
use crate::model::file::{description, from_tensors, parse_description, to_tensors};
use crate::optim::{AdamState, SpikeDetector};
use crate::storage::filesystem::FileSystem;
use crate::storage::tensor_file::TensorFile;

/// The part of a checkpoint's description that is not the model's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct State {
    seed: u64,
    data: String,
    progress: Progress,
    adam_steps: Vec<u64>,
    norms: Vec<f64>,
}

/// Saves where a training stands; the previous checkpoint stays until the new one is safe.
///
/// # Errors
/// Where a number is not finite, or the system refuses.
pub fn save(trainer: &Trainer, fingerprint: u64, fs: &dyn FileSystem, path: &Path) -> Result<()> {
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
    tensors.extend(to_tensors(table, &second, "adam.second."));
    let state = State {
        seed: trainer.config.seed,
        data: format!("{fingerprint:016x}"),
        progress: trainer.progress.clone(),
        adam_steps: trainer.adam.iter().map(|state| state.steps).collect(),
        norms: trainer.spikes.history().to_vec(),
    };
    let mut description = description("checkpoint", trainer.model.config());
    description["state"] = serde_json::to_value(state).expect("numbers and texts");
    TensorFile { description, tensors }.save(fs, path)
}

/// Puts a new trainer where the checkpoint stands.
///
/// # Errors
/// Where it is no checkpoint or damaged, or is of another network, seed, schedule or data than the trainer's.
pub fn restore(trainer: &mut Trainer, fingerprint: u64, path: &Path) -> Result<()> {
    let wrong = |message: String| Error::data(path, message);
    let mut file = TensorFile::load(path, trainer.config.load.max_memory)?;
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
    if state.seed != trainer.config.seed {
        let message = format!(
            "has seed {}, and config.toml {}; one of the two was changed",
            state.seed, trainer.config.seed
        );
        return Err(wrong(message));
    }
    if state.data != format!("{fingerprint:016x}") {
        return Err(wrong(format!(
            "the images of {} are not those that the run began with; resuming needs the same ones",
            trainer.data.path.display()
        )));
    }
    if state.adam_steps.len() != trainer.adam.len() {
        return Err(wrong(
            "was made with another schedule than config.toml has; one of the two was changed".into(),
        ));
    }
    let p = &state.progress;
    let steps = trainer.steps_per_epoch();
    if p.step_in_epoch > steps
        || p.epoch.checked_mul(steps).and_then(|n| n.checked_add(p.step_in_epoch)) != Some(p.step)
    {
        let message = format!(
            "says step {} in epoch {} of {steps} steps, which cannot be; the batch size was changed",
            p.step, p.epoch
        );
        return Err(wrong(message));
    }
    let table = trainer.model.architecture().table.clone();
    let parameters = from_tensors(&table, &mut file, "", path)?;
    let mut first = from_tensors(&table, &mut file, "adam.first.", path)?;
    let mut second = from_tensors(&table, &mut file, "adam.second.", path)?;
    file.expect_empty(path)?;
    for (adam, &steps) in trainer.adam.iter_mut().zip(&state.adam_steps) {
        let rest = (first.split_off(adam.first.len()), second.split_off(adam.second.len()));
        *adam = AdamState { first, second, steps };
        (first, second) = rest;
    }
    if let crate::loss::Likelihood::OptimalGaussian { variance: Some(variance) } = config.likelihood {
        trainer.model.set_optimal_variance(variance);
    }
    trainer.model.parameters = parameters;
    trainer.progress = state.progress;
    trainer.spikes = SpikeDetector::from_history(&state.norms);
    Ok(())
}

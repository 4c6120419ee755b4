//! The adversarial stage's part of a checkpoint.
//!
//! | part | what |
//! |---|---|
//! | tensors `discriminator.conv1.weight` … | its parameters, in PyTorch's layouts |
//! | `discriminator.conv1.weight.direction` … | u of the power iterations |
//! | `adam.first.discriminator.…`, `adam.second.discriminator.…` | Adam's moments of the discriminator |
//! | `adversarial.first.decoder.…`, `adversarial.second.decoder.…` | those of the decoder in this stage |
//! | state `adversarial` | the progress of the stage, the steps of both Adam states, the last norms of both gradients |

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{Adversarial, AdversarialProgress, decoder_range};
use crate::error::{Error, Result};
use crate::model::Vae;
use crate::model::file::{from_tensors, to_tensors};
use crate::model::parameters::{Parameter, Table};
use crate::optim::{AdamState, SpikeDetector};
use crate::storage::tensor_file::{NamedTensor, TensorFile};
use crate::train::counts::miscounted;
use crate::train::trainer::Trainer;

/// The prefix of the names of the decoder's second moments.
pub const SECOND: &str = "adversarial.second.";

/// The stage in a checkpoint's description.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Saved {
    progress: AdversarialProgress,
    adam_steps: [u64; 2],
    norms: [Vec<f64>; 2],
}

/// The decoder's parameters as a table of their own.
fn decoder_table(model: &Vae<f32>) -> Table {
    let range = decoder_range(model);
    let own = model.architecture().table.parameters.iter();
    let own = own.filter(|parameter| range.contains(&parameter.range.start));
    let shifted = |parameter: &Parameter| {
        let place = parameter.range.start - range.start..parameter.range.end - range.start;
        Parameter { range: place, ..parameter.clone() }
    };
    Table { parameters: own.map(shifted).collect(), decoder_start: 0 }
}

impl Adversarial {
    /// The tensors to save.
    pub fn tensors(&self, model: &Vae<f32>) -> Vec<NamedTensor<'_>> {
        let (own, decoder) = (&self.discriminator.table, decoder_table(model));
        let [discriminator, moments] = &self.adam;
        let mut tensors = to_tensors(own, &self.parameters, "");
        tensors.extend(to_tensors(own, &discriminator.first, "adam.first."));
        tensors.extend(to_tensors(own, &discriminator.second, "adam.second."));
        tensors.extend(to_tensors(&decoder, &moments.first, "adversarial.first."));
        tensors.extend(to_tensors(&decoder, &moments.second, SECOND));
        let mut from = 0;
        for (name, len) in self.discriminator.direction_lengths() {
            let direction = &self.directions[from..from + len];
            tensors.push(NamedTensor::new(format!("{name}.direction"), &[len], direction));
            from += len;
        }
        tensors
    }

    /// The rest of it.
    pub fn saved(&self) -> Saved {
        Saved {
            progress: self.progress.clone(),
            adam_steps: [self.adam[0].steps, self.adam[1].steps],
            norms: [0, 1].map(|side: usize| self.spikes[side].history().to_vec()),
        }
    }

    /// The saved stage. The trainer has the state of its own part of the checkpoint.
    ///
    /// # Errors
    /// If a tensor is missing, or the counts do not fit each other.
    pub fn restore(trainer: &Trainer, saved: Saved, file: &mut TensorFile<'_>, path: &Path) -> Result<Self> {
        if let Some(what) = contradiction(&saved, trainer) {
            return Err(Error::data(
                path,
                format!(
                    "its adversarial stage {what}, which cannot be; resume from another copy, or train again"
                ),
            ));
        }
        let mut stage = Self::new(trainer)?;
        let (own, decoder) = (stage.discriminator.table.clone(), decoder_table(&trainer.model));
        stage.parameters = from_tensors(&own, file, "", path)?;
        let [discriminator, moments] = saved.adam_steps;
        stage.adam = [
            AdamState {
                first: from_tensors(&own, file, "adam.first.", path)?,
                second: from_tensors(&own, file, "adam.second.", path)?,
                steps: discriminator,
            },
            AdamState {
                first: from_tensors(&decoder, file, "adversarial.first.", path)?,
                second: from_tensors(&decoder, file, SECOND, path)?,
                steps: moments,
            },
        ];
        let mut directions = Vec::with_capacity(stage.directions.len());
        for (name, len) in stage.discriminator.direction_lengths() {
            directions.extend_from_slice(&file.take(&format!("{name}.direction"), &[len], path)?);
        }
        stage.directions = directions;
        stage.spikes = saved.norms.map(|norms| SpikeDetector::from_history(&norms));
        stage.progress = saved.progress;
        Ok(stage)
    }
}

/// A message about the first count that does not fit the others.
fn contradiction(saved: &Saved, trainer: &Trainer) -> Option<String> {
    let (p, steps) = (&saved.progress, trainer.steps_per_epoch());
    if let Some(wrong) = miscounted(p.step, (p.epoch, p.step_in_epoch), steps) {
        return Some(wrong);
    }
    if p.skipped > p.spikes || p.spikes > p.step || saved.adam_steps != [p.step - p.skipped; 2] {
        let adam = saved.adam_steps;
        return Some(format!("says {adam:?} steps of Adam, of {} steps, {} left out", p.step, p.skipped));
    }
    if p.images != p.step_in_epoch * trainer.batch_size() as u64 {
        return Some(format!("says {} images in {} steps", p.images, p.step_in_epoch));
    }
    if p.best.is_some_and(|(epoch, _)| epoch > p.epoch) {
        return Some(format!("says a best epoch that is none of its {}", p.epoch));
    }
    if saved.norms.iter().flatten().any(|&norm| !(norm >= 0.0)) {
        return Some("says a gradient norm below 0".into());
    }
    None
}

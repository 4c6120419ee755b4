//! The operations that all ranks of a run do together: entering it, and ending a step.

use std::sync::atomic::{AtomicBool, Ordering};

use serde::{Deserialize, Serialize};

use super::ranks::elsewhere;
use super::trainer::{Progress, Trainer};
use crate::data::Fingerprint;
use crate::error::{Error, Result};
use crate::loss::Likelihood;
use crate::optim::SpikeDetector;

/// What all ranks have agreed on after a step.
pub(super) struct Agreed {
    /// Whether all stop.
    pub stop: bool,
    /// Whether rank 0 writes a checkpoint, because it is due, or all stop, or the epoch or the training is over.
    /// This rank's moments are then complete.
    pub save: bool,
}

/// The end of a step on every rank. `due` is rank 0's answer to whether it is time for a checkpoint.
pub(super) fn end_step(trainer: &mut Trainer, stop: &AtomicBool, due: bool) -> Agreed {
    let [stop, due] = trainer.team.any([stop.load(Ordering::Relaxed), due]);
    let is_over = trainer.epoch_is_complete();
    if stop || due || is_over || trainer.is_done() {
        trainer.complete();
    }
    Agreed { stop, save: stop || due || is_over }
}

/// What follows after rank 0 has written: whether all stop. `written` is the result of it. If the epoch is over, the
/// others take over its judgement.
///
/// # Errors
/// If rank 0 has one.
pub(super) fn end_writing(
    trainer: &mut Trainer,
    stop: &AtomicBool,
    written: Result<()>,
    epoch_is_over: bool,
) -> Result<bool> {
    let stopped = trainer.team.agree(stop.load(Ordering::Relaxed), written)?;
    if epoch_is_over && !trainer.team.is_alone() {
        share_standing(trainer);
    }
    Ok(stopped)
}

/// Compares the images of all ranks, and copies rank 0's state to all.
pub(super) fn enter(trainer: &mut Trainer, joined: Result<()>) -> Result<()> {
    // A batch that is too small to be shared is too small on all ranks.
    let [failed] = match joined {
        Ok(()) => trainer.team.any([false]),
        Err(error) => return Err(error),
    };
    if failed {
        return Err(elsewhere());
    }
    let mut data = Fingerprint::new();
    data.number(trainer.data.fingerprint());
    data.number(trainer.labels_fingerprint().unwrap_or(0));
    if let Some(rank) = trainer.team.differing(data.finish()) {
        return Err(Error::data(
            &trainer.data.path,
            format!(
                "the images or labels that rank {rank} reads there are not those of rank 0; all need the same"
            ),
        ));
    }
    let Trainer { team, model, adam, average, .. } = trainer;
    team.broadcast(&mut model.parameters);
    team.broadcast(average);
    for state in adam {
        team.broadcast(&mut state.first);
        team.broadcast(&mut state.second);
    }
    share_standing(trainer);
    Ok(())
}

/// Rank 0's state, except parameters, their average and moments.
#[derive(Serialize, Deserialize)]
struct Standing {
    progress: Progress,
    adam_steps: Vec<u64>,
    norms: Vec<f64>,
    variance: Option<f64>,
}

/// All ranks take over rank 0's state.
fn share_standing(trainer: &mut Trainer) {
    let variance = match trainer.model.config().likelihood {
        Likelihood::OptimalGaussian { variance } => variance,
        _ => None,
    };
    let own = Standing {
        progress: trainer.progress.clone(),
        adam_steps: trainer.adam.iter().map(|state| state.steps).collect(),
        norms: trainer.spikes.history().to_vec(),
        variance,
    };
    let mut bytes = serde_json::to_vec(&own).expect("numbers");
    let ranks = trainer.team.ranks();
    ranks.broadcast(&mut bytes);
    if ranks.rank() == 0 {
        return;
    }
    let found: Standing =
        serde_json::from_slice(&bytes).expect("the state that rank 0 has just written, all of it finite");
    trainer.progress = found.progress;
    trainer.spikes = SpikeDetector::from_history(&found.norms);
    trainer.adam.iter_mut().zip(found.adam_steps).for_each(|(state, steps)| state.steps = steps);
    if let Some(variance) = found.variance {
        trainer.model.set_optimal_variance(variance);
    }
}

//! The second half of a step: from the gradient to the parameters.
//!
//! ```text
//! norm    ‖g‖, over all parameters or those of one of Adam's states
//! judge   stop if loss or norm is not finite; leave out or report a spike; scale by min(1, clip/‖g‖)
//! step    θ ← Adam(θ, scale·g)
//! ```
//!
//! Processes that share a batch share this too: each has the sum of its part of the gradient, adds up its squares
//! and moves its part of the parameters. A process alone has all parts.

use std::ops::Range;

use super::trainer::Trainer;
use crate::error::{Error, Result};
use crate::optim::adam::{clip_factor, squared_norm};
use crate::optim::{OnSpike, Verdict, average};

impl Trainer {
    /// The ranges of parameters that are divided among the processes, within `range`: each of Adam's states is
    /// divided by itself, so that all processes have work in either half of the alternating schedule.
    fn divided(&self, range: &Range<usize>) -> [Range<usize>; 2] {
        // A process alone adds the squares of all parameters in one order, whatever the schedule.
        let middle = if self.team.is_alone() { range.end } else { self.adam[0].first.len() };
        let middle = middle.clamp(range.start, range.end);
        [range.start..middle, middle..range.end]
    }

    /// This process's parameters within a range.
    fn own(&self, range: &Range<usize>) -> [Range<usize>; 2] {
        self.divided(range).map(|range| self.team.part(range))
    }

    /// Makes the gradient of some parameters that of the whole batch of `images` images; see [`Team::sum`](super::ranks).
    pub(super) fn sum(&mut self, images: usize, range: Range<usize>) {
        for range in self.divided(&range) {
            self.team.sum(images, &mut self.workspace.gradient_mut()[range]);
        }
    }

    /// Adam's step on the parameters of one of its states.
    pub(super) fn take_step(&mut self, state: usize, range: Range<usize>, rate: f64, scale: f64) {
        let part = self.team.part(0..range.len());
        let (p, g) = (&mut self.model.parameters[range.clone()], &self.workspace.gradient()[range]);
        self.config.adam.step_part(p, g, &mut self.adam[state], part, rate, scale);
        self.team.collect(p);
    }

    /// Adds the weights to their average, after a step of Adam's.
    pub(super) fn update_average(&mut self) {
        let Some(decay) = self.config.weight_average else { return };
        for part in self.own(&(0..self.average.len())) {
            let (average, weights) = (&mut self.average[part.clone()], &self.model.parameters[part]);
            average::update(average, weights, decay, self.adam[0].steps);
        }
    }

    /// Gives all processes everyone's moments and averages.
    pub(super) fn complete(&mut self) {
        for range in self.divided(&(0..self.average.len())) {
            self.team.collect(&mut self.average[range]);
        }
        for state in &mut self.adam {
            self.team.collect(&mut state.first);
            self.team.collect(&mut state.second);
        }
    }

    /// The norm of the gradient of some parameters, and the factor that clips it.
    pub(super) fn clip(&mut self, range: Range<usize>, loss: f64) -> Result<(f64, f64)> {
        let (own, gradient) = (self.own(&range), self.workspace.gradient());
        let squares = squared_norm(own.map(|part| &gradient[part]), &mut self.norm_space);
        let norm = self.team.total(squares).sqrt();
        let step = self.progress.step + 1;
        if !loss.is_finite() {
            return Err(Error::Training(format!(
                "the loss became {loss} at step {step}, which was not taken; the last checkpoint is good. A smaller --lr or \
                 --clip-norm often helps"
            )));
        }
        if !norm.is_finite() {
            return Err(Error::Training(format!(
                "the gradient's norm became {norm} at step {step}, which was not taken; the last checkpoint is good. A smaller \
                 --lr or --clip-norm often helps"
            )));
        }
        Ok((norm, self.config.clip_norm.map_or(1.0, |most| clip_factor(norm, most))))
    }

    /// The gradient's norm, and the factor for it, `None` to leave the step out.
    pub(super) fn judge_gradient(&mut self, loss: f64) -> Result<(f64, Option<f64>)> {
        let (norm, scale) = self.clip(0..self.model.parameters.len(), loss)?;
        let Verdict::Spike { median } = self.spikes.observe(norm) else { return Ok((norm, Some(scale))) };
        self.progress.spikes += 1;
        match self.config.on_spike {
            None => Ok((norm, Some(scale))),
            Some(OnSpike::Skip) => {
                self.progress.skipped += 1;
                Ok((norm, None))
            }
            Some(OnSpike::Stop) => Err(Error::Training(format!(
                "the gradient's norm is {norm:.3} at step {}, and its median was {median:.3}; the step was not taken \
                 (--on-spike stop)",
                self.progress.step + 1
            ))),
        }
    }
}

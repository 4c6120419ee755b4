//! The weights that a run judges and saves: those of the last step, or with `--weight-average` their
//! [average](crate::optim::average).
//!
//! Training itself always uses the weights of the last step, and a checkpoint has both. So the average is
//! swapped in for judging, and out again.

use super::run::Run;
use super::trainer::Trainer;

impl Trainer {
    /// Swaps weights and average, if there is one: there is none before the first step.
    fn swap_average(&mut self) {
        if self.config.weight_average.is_some() && self.adam[0].steps > 0 {
            std::mem::swap(&mut self.model.parameters, &mut self.average);
        }
    }
}

impl Run {
    /// Runs `work` with the weights that are judged and saved as the model's. In an adversarial stage, which
    /// begins with the average, these are the weights themselves.
    pub(super) fn with_saved_weights<R>(&mut self, work: impl FnOnce(&mut Self) -> R) -> R {
        if self.adversarial().is_some() {
            return work(self);
        }
        self.trainer.swap_average();
        let done = work(self);
        self.trainer.swap_average();
        done
    }
}

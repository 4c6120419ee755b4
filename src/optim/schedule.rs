//! Schedules: the learning rate, β, and the capacity.
//!
//! The learning rate is a function of the step, over the steps of all requested epochs. A run that is cut
//! short follows the same curve and just does not reach its end.
//!
//! ```text
//! warm-up    α·(k+1)/W                          for the first W steps k = 0 … W−1
//! constant   α
//! cosine     α·½(1 + cos πp)                    p = (k − W)/(K − W), for K steps in all
//! step       α, α/10 from p = ½, α/100 from p = ¾
//! ```
//!
//! Warm-up lets Adam's second moment become meaningful. The cosine is Loshchilov & Hutter's (2017,
//! equation 5) with one period; the steps are those of He et al. (2016, section 4.2).
//!
//! β and the capacity C follow a [`Ramp`], linear over epochs, including fractions of an epoch.

use crate::error::{Error, Result};
use crate::text::names::named;
use serde::{Deserialize, Serialize};
use std::f64::consts::PI;

/// The curve that the learning rate follows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum LearningRateSchedule {
    /// Constant.
    #[default]
    Constant,
    /// Down to 0 along half a cosine.
    Cosine,
    /// A tenth of it from half of the run on, a hundredth from three quarters on.
    Step,
}

named!(LearningRateSchedule, "lr-schedule", Constant => "constant", Cosine => "cosine", Step => "step");

/// The learning rate of every step of a run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LearningRate {
    /// α, the largest.
    pub base: f64,
    /// The curve after the warm-up.
    pub schedule: LearningRateSchedule,
    /// W, steps of linear warm-up; 0 for none.
    pub warmup_steps: u64,
    /// K, the steps of all requested epochs, warm-up included.
    pub total_steps: u64,
}

impl LearningRate {
    /// [`Error::Config`] if the rate is not a positive number or the warm-up is longer than the run.
    pub fn validate(&self) -> Result<()> {
        if !(self.base.is_finite() && self.base > 0.0) {
            return Err(Error::config(format!(
                "the learning rate must be a positive number, not {}",
                self.base
            )));
        }
        if self.warmup_steps > self.total_steps {
            return Err(Error::config(format!(
                "a learning-rate warm-up of {} steps is longer than the run's {}",
                self.warmup_steps, self.total_steps
            )));
        }
        Ok(())
    }

    /// The rate of a step, counted from 0. After the end of the run, the curve's last value.
    pub fn at(&self, step: u64) -> f64 {
        if step < self.warmup_steps {
            return self.base * (step + 1) as f64 / self.warmup_steps as f64;
        }
        let after = (step - self.warmup_steps) as f64;
        let length = self.total_steps.saturating_sub(self.warmup_steps).max(1) as f64;
        let progress = (after / length).min(1.0);
        match self.schedule {
            LearningRateSchedule::Constant => self.base,
            LearningRateSchedule::Cosine => self.base * 0.5 * (1.0 + libm::cos(PI * progress)),
            LearningRateSchedule::Step if progress < 0.5 => self.base,
            LearningRateSchedule::Step if progress < 0.75 => self.base / 10.0,
            LearningRateSchedule::Step => self.base / 100.0,
        }
    }
}

/// A value that changes linearly from one number to another and then stays: β in a warm-up (0 to β), the
/// capacity (0 to C).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ramp {
    /// The value at the beginning of training.
    pub from: f64,
    /// The value from the end of the ramp on.
    pub to: f64,
    /// Its length in epochs, not necessarily whole; 0 for none.
    pub epochs: f64,
}

impl Ramp {
    /// A constant value.
    pub fn constant(value: f64) -> Self {
        Self { from: value, to: value, epochs: 0.0 }
    }

    /// From 0 to `to` in `epochs` epochs.
    pub fn from_zero(to: f64, epochs: f64) -> Self {
        Self { from: 0.0, to, epochs }
    }

    /// The value after `epochs` epochs, fractions included (steps taken / steps of an epoch).
    pub fn at(&self, epochs: f64) -> f64 {
        if epochs >= self.epochs {
            return self.to;
        }
        self.from + (self.to - self.from) * (epochs / self.epochs)
    }

    /// Whether a run of `epochs` epochs reaches the end of the ramp. If not, it never trains with the value
    /// that it is judged by.
    pub fn ends_within(&self, epochs: f64) -> bool {
        self.epochs <= epochs
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(schedule: LearningRateSchedule, warmup_steps: u64) -> LearningRate {
        LearningRate { base: 0.01, schedule, warmup_steps, total_steps: 100 + warmup_steps }
    }

    fn assert_near(found: f64, expected: f64) {
        let difference = (found - expected).abs();
        assert!(difference <= 1e-15, "{found}, not {expected}");
    }

    #[test]
    fn rates_computed_by_hand() {
        use LearningRateSchedule::{Constant, Cosine, Step};
        for warmup in [0, 4] {
            assert_near(rate(Constant, warmup).at(warmup + 99), 0.01);
            let cosine = rate(Cosine, warmup);
            assert_near(cosine.at(warmup), 0.01);
            assert_near(cosine.at(warmup + 25), 0.01 * 0.5 * (1.0 + 0.5_f64.sqrt()));
            assert_near(cosine.at(warmup + 50), 0.005);
            assert_near(cosine.at(warmup + 100), 0.0);
            assert_near(cosine.at(warmup + 1000), 0.0);
            let step = rate(Step, warmup);
            for (k, expected) in [(0, 0.01), (49, 0.01), (50, 0.001), (74, 0.001), (75, 0.0001), (99, 0.0001)]
            {
                assert_near(step.at(warmup + k), expected);
            }
        }
        for schedule in [Constant, Cosine, Step] {
            let warm = rate(schedule, 4);
            for (k, expected) in [(0, 0.0025), (1, 0.005), (2, 0.0075), (3, 0.01), (4, 0.01)] {
                assert_near(warm.at(k), expected);
            }
        }
    }

    #[test]
    fn a_run_of_warm_up_only_and_an_empty_run_have_rates() {
        let only = LearningRate { total_steps: 4, ..rate(LearningRateSchedule::Cosine, 4) };
        only.validate().unwrap();
        assert_near(only.at(3), 0.01);
        assert_near(only.at(4), 0.01);
        let empty = LearningRate { total_steps: 0, ..rate(LearningRateSchedule::Cosine, 0) };
        assert!(empty.at(0).is_finite());
    }

    #[test]
    fn rates_that_are_none_are_refused() {
        for base in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert!(LearningRate { base, ..rate(LearningRateSchedule::Constant, 0) }.validate().is_err());
        }
        let long = LearningRate { total_steps: 3, ..rate(LearningRateSchedule::Constant, 4) };
        assert!(long.validate().is_err());
    }

    #[test]
    fn ramps_are_linear_and_stay() {
        let beta = Ramp::from_zero(4.0, 10.0);
        for (epochs, expected) in [(0.0, 0.0), (0.5, 0.2), (2.5, 1.0), (10.0, 4.0), (1e9, 4.0)] {
            assert_near(beta.at(epochs), expected);
        }
        assert!(beta.ends_within(10.0) && !beta.ends_within(9.9));
        assert_near(Ramp::constant(0.3).at(0.0), 0.3);
        assert_near(Ramp { from: 1.0, to: 0.5, epochs: 2.0 }.at(1.0), 0.75);
    }
}

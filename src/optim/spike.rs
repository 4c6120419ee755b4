//! Gradient spikes: a norm far above the recent ones, from a batch that would throw the parameters far off.
//!
//! The reference is the median of the last [`WINDOW`] norms: unlike a mean, it does not depend on how large
//! the few outliers are. A norm of more than [`FACTOR`] times the median is a spike, once [`LEAST`] norms are
//! known (in the first steps of training norms fall by orders of magnitude, which is normal). Adam's second
//! moment forgets in 1/(1−β₂) = 1000 steps, so taking one spike makes the steps small for a long time;
//! skipping it costs one batch.
//!
//! Norms are remembered whether they were spikes or not. If the scale changes permanently, the median follows
//! after half a window, so training does not skip every step from then on. A norm that is not finite never
//! gets here: it says nothing about scale, and training stops at it.

use crate::text::names::named;
use serde::{Deserialize, Serialize};

/// Norms that the median is taken over.
pub const WINDOW: usize = 101;

/// Norms that must be known before anything counts as a spike.
pub const LEAST: usize = 20;

/// How far above the median a spike is. Ordinary minibatch noise stays within a factor of three or so.
pub const FACTOR: f64 = 10.0;

/// What to do about a spike.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum OnSpike {
    /// Skip the step and continue with the next batch.
    Skip,
    /// Stop training before the step, with an error that names it.
    Stop,
}

named!(OnSpike, "on-spike", Skip => "skip", Stop => "stop");

/// The verdict on a gradient norm, given those before it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Verdict {
    /// Normal: take the step.
    Usual,
    /// More than [`FACTOR`] times the median.
    Spike {
        /// The median of the norms before it.
        median: f64,
    },
}

/// The last norms, and their median.
#[derive(Clone, Debug)]
pub struct SpikeDetector {
    history: Vec<f64>, // oldest first, at most WINDOW
    sorted: Vec<f64>,  // workspace of the median
}

impl Default for SpikeDetector {
    fn default() -> Self {
        Self::new()
    }
}

impl SpikeDetector {
    /// A detector that has seen no norms.
    pub fn new() -> Self {
        Self { history: Vec::with_capacity(WINDOW), sorted: Vec::with_capacity(WINDOW) }
    }

    /// A detector that continues from a [`history`](Self::history); of a longer one, only the newest norms
    /// count.
    pub fn from_history(history: &[f64]) -> Self {
        let mut detector = Self::new();
        detector.history.extend_from_slice(&history[history.len().saturating_sub(WINDOW)..]);
        detector
    }

    /// The last norms, oldest first, at most [`WINDOW`]: all of the detector's state. It must be saved
    /// bit-exactly.
    pub fn history(&self) -> &[f64] {
        &self.history
    }

    /// The median of the last norms (the upper one of an even number); `None` if there are none.
    pub fn median(&mut self) -> Option<f64> {
        self.sorted.clear();
        self.sorted.extend_from_slice(&self.history);
        self.sorted.sort_unstable_by(f64::total_cmp);
        self.sorted.get(self.sorted.len() / 2).copied()
    }

    /// Judges the norm of the step about to be taken by those before it, and remembers it.
    ///
    /// # Panics
    /// If the norm is infinite or NaN: no step can be taken then, and the caller must have refused it.
    pub fn observe(&mut self, norm: f64) -> Verdict {
        assert!(norm.is_finite(), "a gradient norm of {norm}");
        let known = self.history.len();
        let verdict = match self.median() {
            // A median of 0 gives no scale to compare with.
            Some(median) if known >= LEAST && median > 0.0 && norm > FACTOR * median => {
                Verdict::Spike { median }
            }
            _ => Verdict::Usual,
        };
        if known == WINDOW {
            self.history.copy_within(1.., 0);
            self.history[WINDOW - 1] = norm;
        } else {
            self.history.push(norm);
        }
        verdict
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spike_is_told_from_noise() {
        let mut detector = SpikeDetector::new();
        assert_eq!(detector.median(), None);
        for i in 0..LEAST {
            // Falling by a factor of 10⁴, as at the start of training, and a jump: too early to tell.
            let norm = if i == 10 { 1e6 } else { 1e4 * 0.6_f64.powi(i as i32) };
            assert_eq!(detector.observe(norm), Verdict::Usual);
        }
        for i in 0..200 {
            assert_eq!(detector.observe(1.0 + f64::from(i % 7) / 4.0), Verdict::Usual);
        }
        assert_eq!(detector.median(), Some(1.75));
        assert_eq!(detector.observe(17.5), Verdict::Usual);
        assert_eq!(detector.observe(17.6), Verdict::Spike { median: 1.75 });
        assert_eq!(detector.history().len(), WINDOW);
        assert_eq!(detector.history()[WINDOW - 2..], [17.5, 17.6]);
    }

    #[test]
    fn a_lasting_change_is_followed_after_half_a_window() {
        let mut detector = SpikeDetector::new();
        for _ in 0..WINDOW {
            detector.observe(1.0);
        }
        let skipped = (0..WINDOW).filter(|_| detector.observe(100.0) != Verdict::Usual).count();
        assert_eq!(skipped, WINDOW / 2 + 1);
    }

    #[test]
    fn a_restored_detector_judges_the_same() {
        let mut detector = SpikeDetector::new();
        for i in 0..250_u32 {
            let norm = f64::from(i * 7919 % 1000 + 1) * if i % 31 == 0 { 20.0 } else { 1.0 };
            let mut restored = SpikeDetector::from_history(detector.history());
            assert_eq!(restored.observe(norm), detector.observe(norm));
            assert_eq!(restored.history(), detector.history());
        }
    }
}

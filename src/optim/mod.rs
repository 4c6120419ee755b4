//! How parameters move: [`adam`] takes the step, [`schedule`] says how large it is, and how much the divergence counts
//! by then, [`spike`] says whether to take it at all.
//!
//! Plain `f32`: whether a gradient is right is known before it gets here.

pub mod adam;
pub mod average;
pub mod schedule;
pub mod spike;

pub use adam::{Adam, AdamState};
pub use schedule::{LearningRate, LearningRateSchedule, Ramp};
pub use spike::{OnSpike, SpikeDetector, Verdict};

//! The optimizer: [`adam`] takes the step, [`schedule`] sets the learning rate and the divergence's weight at
//! each step, and [`spike`] decides whether to take the step at all.
//!
//! Plain `f32`: gradients are verified before they get here.

pub mod adam;
pub mod average;
pub mod schedule;
pub mod spike;

pub use adam::{Adam, AdamState};
pub use schedule::{LearningRate, LearningRateSchedule, Ramp};
pub use spike::{OnSpike, SpikeDetector, Verdict};

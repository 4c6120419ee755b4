//! Training: from options and images to a run folder with a model in it.
//!
//! Reading order: [`options`] (what a person writes), [`config`] (what that comes to), [`evaluate`] (a model judged on images), [`trainer`] (the loop: one step, one epoch), [`checkpoint`] (what resuming
//! needs), [`run`] (the folder, and the loop inside it), [`report`] (what a person is told about it).

pub mod checkpoint;
pub mod config;
pub mod evaluate;
pub mod options;
pub mod report;
pub mod run;
pub mod trainer;

pub use config::{Config, Schedule};
pub use options::{DataOptions, ModelOptions, TrainOptions};
pub use run::{Outcome, Run};
pub use trainer::Trainer;

#[cfg(test)]
mod tests;

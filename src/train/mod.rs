//! Training: from options and images to a run folder with a model in it.
//!
//! Reading order: [`options`] (what a person writes), [`config`] (what that comes to), [`defaults`] (what is chosen for pictures of one's own),
//! [`trainer`] (the loop: one step, one epoch), `update` (its second half: from the gradient to the parameters), `few_labels` (what learns beside it from few labels), [`adversarial`] (the stage with a discriminator),
//! [`checkpoint`] (what resuming needs), [`run`] (the folder, and the loop inside it), [`training`] (the same from a program, on as many `threads` as are
//! asked for), [`ranks`] and [`follow`] (the same on several processes), [`start`] (the model that it begins with), `report` (what a person is told about it).

pub mod adversarial;
mod average;
#[doc(hidden)]
pub mod checkpoint;
pub mod config;
mod counts;
mod data_options;
pub mod defaults;
mod few_labels;
pub mod follow;
pub(crate) mod memory;
#[cfg(feature = "mpi")]
pub mod mpi;
pub mod options;
pub mod ranks;
pub(crate) mod report;
pub mod run;
pub mod start;
mod threads;
mod together;
pub mod trainer;
pub mod training;
mod update;

pub use config::{Config, Schedule};
pub use follow::Leader;
pub use options::{DataOptions, ModelOptions, TrainOptions};
pub use ranks::{Alone, Ranks};
pub use run::{Outcome, Run};
pub use threads::with_threads;
pub use trainer::Trainer;
pub use training::Training;

#[cfg(test)]
mod tests;

//! The network: its layers, their order, and their parameters.
//!
//! Reading order: [`config`] (what has to be known to build a model), [`presets`] (the networks), [`architecture`] (a network put together),
//! [`context`](mod@context) (pixels given the pixels before them), [`parameters`] (one flat vector, with a table of names and layouts),
//! [`vae`] (encoder, shared layer, decoder and objective, forward and backward), [`workspace`] (the memory of these passes),
//! [`file`](mod@file) (a model on disk), [`labels`] (images with their labels), [`m2`] (a classifier from few labels), [`adversarial`] (a discriminator beside the decoder), [`codec`] (images to
//! codes and back, in batches).

pub mod adversarial;
pub mod architecture;
pub mod codec;
pub mod config;
pub mod context;
pub mod file;
#[cfg(test)]
pub(crate) mod gradients;
pub mod labels;
pub mod m2;
pub mod parameters;
pub mod presets;
pub mod refine;
pub mod vae;
pub mod workspace;

pub use architecture::Architecture;
pub use codec::{Codec, Codes};
pub use config::{ContextInputs, ModelConfig, Preset};
pub use labels::Labelled;
pub use refine::Refine;
pub use vae::{Batch, Vae};
pub use workspace::Workspace;

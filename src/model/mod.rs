//! The network: which layers, in which order, with which parameters.
//!
//! Reading order: [`config`] (what has to be known to build a model), [`parameters`] (one flat vector, with a table of names and
//! layouts), [`presets`] (the three networks), [`network`] (a chain of layers, forward and backward), [`vae`] (encoder, shared
//! layer, decoder and objective together), [`file`](mod@file) (a model on disk), [`codec`] (images to codes and back, in batches).

pub mod codec;
pub mod config;
pub mod file;
#[cfg(test)]
pub(crate) mod gradients;
pub mod network;
pub mod parameters;
pub mod presets;
pub mod vae;

pub use codec::{Codec, Codes};
pub use config::{ModelConfig, Preset};
pub use vae::{Vae, Workspace};

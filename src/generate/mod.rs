//! What a trained model is used for.
//!
//! Reading order: [`codes`] (images to codes and back, in batches), which everything else here is built on.

pub mod codes;

pub use codes::{Codec, Codes};

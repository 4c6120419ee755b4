//! What a trained model is used for.
//!
//! Reading order: [`codes`] (images to codes and back, in batches), which everything else here is built on; then how a model is judged, [`bounds`]
//! (how probable images are), [`quality`] (how near reconstructions are), [`neighbours`] (what codes know about labels); then what it makes up,
//! [`prior`] (where codes of samples come from) and [`frechet`] (how far samples are from real images), both on [`symmetric`] matrices; and [`evaluation`],
//! which puts a judgement together.

pub mod bounds;
pub mod codes;
pub mod evaluation;
pub mod frechet;
pub mod neighbours;
pub mod prior;
pub mod quality;
pub mod symmetric;

pub use codes::{Codec, Codes};

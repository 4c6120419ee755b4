//! What a trained model is used for.
//!
//! Reading order: [`codes`] (images to codes and back, in batches), which everything else here is built on; then walks through
//! the latent space: [`interpolate`](mod@interpolate), [`traverse`], [`manifold`] with [`principal`] (components) and
//! [`quantile`] (of the normal distribution); then pictures changed: [`edit`] and [`inpaint`](mod@inpaint); and the model taken
//! elsewhere: [`export`](mod@export).

pub mod codes;
pub mod edit;
pub mod export;
pub mod inpaint;
pub mod interpolate;
pub mod manifold;
pub mod principal;
pub mod quantile;
pub mod traverse;

pub use codes::{Codec, Codes};

//! What a trained model is used for.
//!
//! Reading order: [`codes`] (images to codes and back, in batches), which everything else here is built on; then how a model is judged,
//! [`bounds`] (how probable images are), [`quality`] (how near reconstructions are), [`neighbours`] (what codes know about labels); then
//! what it makes up, [`prior`] (where codes of samples come from) and [`frechet`] (how far samples are from real images), both on
//! [`symmetric`] matrices ([`evaluation`] puts a judgement together); then walks through the latent space, [`interpolate`](mod@interpolate), [`traverse`], [`manifold`] with
//! [`principal`] (components) and [`quantile`] (of the normal distribution); then pictures changed, [`edit`] and
//! [`inpaint`](mod@inpaint); and the model taken elsewhere, [`export`](mod@export).

pub mod bounds;
pub mod codes;
pub mod edit;
pub mod evaluation;
pub mod export;
pub mod frechet;
pub mod inpaint;
pub mod interpolate;
pub mod manifold;
pub mod neighbours;
pub mod principal;
pub mod prior;
pub mod quality;
pub mod quantile;
pub mod symmetric;
pub mod traverse;

pub use codes::{Codec, Codes};

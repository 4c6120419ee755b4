//! What a trained model makes: new images, walks through the latent space, and changed images.
//!
//! Reading order: `sample` (new images), [`prior`] (where the codes of samples come from), on `symmetric` matrices; then the walks,
//! [`interpolate`](mod@interpolate), [`traverse`], [`manifold`] with [`principal`] (components) and [`quantile`] (of the normal
//! distribution); then [`edit`] and [`inpaint`](mod@inpaint), which change images. All of it works on codes: a
//! [`Codec`](crate::model::Codec) turns images into them and back.

pub mod edit;
pub mod inpaint;
pub mod interpolate;
pub mod manifold;
pub mod principal;
pub mod prior;
pub mod quantile;
mod sample;
pub(crate) mod symmetric;
pub mod traverse;

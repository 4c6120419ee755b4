//! Generation with a trained model: new images, walks through the latent space, and edited images.
//!
//! Reading order: `sample` (new images), [`prior`] (the distribution of their codes), based on `symmetric`
//! matrices. Then the walks, [`interpolate`](mod@interpolate), [`traverse`], and [`manifold`] with
//! [`principal`] (components) and [`quantile`] (of the normal distribution). Then [`edit`] and
//! [`inpaint`](mod@inpaint), which change images. All of it works on codes: a [`Codec`](crate::model::Codec)
//! encodes images and decodes codes.

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

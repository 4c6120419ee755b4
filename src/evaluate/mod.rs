//! How good a trained model is.
//!
//! Reading order: [`judgement`] (the objective on a set of images, and which latent dimensions are active), [`judged`] (which images a
//! model is judged on), [`bounds`] (how probable images are), [`quality`] (how near reconstructions are), [`neighbours`] (what codes know
//! about labels), [`probe`] (softmax regression) and [`classify`] (which class an image is of), [`heat`] and [`detect`] (which images are
//! anomalous, and where), [`frechet`] (how far samples are from real images), [`precision`]
//! (whether samples look like images, and all kinds of images are among them), [`sharpness`], and [`measures`] and [`samples`], which put
//! them together for `elbo eval`.

pub mod bounds;
pub mod classify;
pub mod detect;
pub mod frechet;
pub mod heat;
pub mod judged;
pub mod judgement;
pub mod measures;
pub mod neighbours;
pub mod precision;
pub mod probe;
pub mod quality;
pub mod samples;
pub mod sharpness;

pub use judged::{Judged, RunSplit, Which};
pub use judgement::{Evaluator, Judgement};

//! Evaluation of a trained model.
//!
//! Reading order: [`judgement`] (the objective on a set of images, and which latent dimensions are active),
//! [`judged`] (which images a model is judged on), [`bounds`] (how probable images are), [`quality`] (the
//! quality of reconstructions), [`neighbours`] (how well codes determine labels). Then [`probe`] (softmax
//! regression) and [`classify`] (the class of an image), [`expected`], [`heat`] and [`detect`] (which images
//! are anomalous, and where), [`frechet`] (the distance of samples from real images), [`precision`] (whether samples look
//! like images, and cover all kinds of images), [`sharpness`]. Finally [`measures`] and [`samples`], which
//! put them together for `elbo eval`.

pub mod bounds;
pub mod classify;
pub mod detect;
pub mod expected;
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

//! elbo
#[cfg(feature = "cli")]
pub mod cli;
pub mod data;
pub mod error;
pub mod generate;
#[cfg(test)]
pub(crate) mod gradient_check;
pub mod kernels;
pub mod layers;
pub mod loss;
pub mod model;
pub mod optim;
pub mod random;
pub mod report;
pub mod storage;
pub mod tensor;
pub mod train;
pub use error::{Error, Result};

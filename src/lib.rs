//! elbo
pub mod data;
pub mod error;
#[cfg(test)]
pub(crate) mod gradient_check;
pub mod kernels;
pub mod layers;
pub mod loss;
pub mod model;
pub mod optim;
pub mod random;
pub mod storage;
pub mod tensor;
pub use error::{Error, Result};

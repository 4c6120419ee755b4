//! elbo
pub mod error;
#[cfg(test)]
pub(crate) mod gradient_check;
pub mod kernels;
pub mod layers;
pub mod loss;
pub mod optim;
pub mod tensor;
pub use error::{Error, Result};

//! elbo
pub mod data;
pub mod error;
pub mod random;
pub mod tensor;
pub use error::{Error, Result};

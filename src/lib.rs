//! elbo
pub mod error;
pub mod tensor;
pub use error::{Error, Result};

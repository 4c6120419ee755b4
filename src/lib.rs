//! elbo
pub mod error;
pub mod storage;
pub mod tensor;
pub use error::{Error, Result};

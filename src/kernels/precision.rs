//! In which precision matrix products take their factors.

use std::sync::OnceLock;

use super::simd::Level;
use crate::error::{Error, Result};
use crate::text::names::named;

/// What factors are rounded to before they are multiplied. Sums are in single precision either way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Precision {
    /// Factors are multiplied as they are.
    #[default]
    Single,
    /// bf16: the exponents of single precision, and 8 binary digits instead of 24.
    Bf16,
}

named!(Precision, "precision", Single => "f32", Bf16 => "bf16");

impl Precision {
    /// Whether this processor has products in this precision.
    pub fn is_found(self) -> bool {
        static BF16: OnceLock<bool> = OnceLock::new();
        match self {
            Self::Single => true,
            Self::Bf16 => *BF16.get_or_init(|| {
                #[cfg(target_arch = "x86_64")]
                let found = Level::found() == Level::Avx512 && is_x86_feature_detected!("avx512bf16");
                #[cfg(not(target_arch = "x86_64"))]
                let found = false;
                found
            }),
        }
    }

    /// Whether products in this precision can be computed here.
    ///
    /// # Errors
    /// If the processor lacks the instructions.
    pub fn check(self) -> Result<()> {
        if self.is_found() {
            return Ok(());
        }
        Err(Error::config(format!(
            "--precision {self} needs a processor with AVX512-BF16, which this one lacks; --precision f32 runs on every processor"
        )))
    }
}

//! The header of an array: element type, byte order, shape.

use crate::{Error, Result};
use std::path::Path;

/// The type of an element.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// One byte, 0 or 1.
    Bool,
    /// Integers of 1, 2, 4 or 8 bytes.
    Int {
        signed: bool,
        bytes: usize,
    },
    F16,
    F32,
    F64,
}

impl Kind {
    pub(crate) fn bytes(self) -> usize {
        match self {
            Self::Bool => 1,
            Self::Int { bytes, .. } => bytes,
            Self::F16 => 2,
            Self::F32 => 4,
            Self::F64 => 8,
        }
    }

    pub(crate) fn is_float(self) -> bool {
        matches!(self, Self::F16 | Self::F32 | Self::F64)
    }

    /// Whether a pixel of this type is kept as one byte in memory. Every other type becomes a float.
    pub(crate) fn is_byte(self) -> bool {
        matches!(self, Self::Bool | Self::Int { signed: false, bytes: 1 })
    }

    /// The conversion of one element to a float. Integers beyond 2²⁴ are rounded.
    pub(crate) fn to_float(self, big_endian: bool) -> fn(&[u8]) -> f32 {
        /// The conversion of one type in both byte orders.
        macro_rules! number {
            ($type:ty) => {
                if big_endian {
                    |b| <$type>::from_be_bytes(std::array::from_fn(|i| b[i])) as f32
                } else {
                    |b| <$type>::from_le_bytes(std::array::from_fn(|i| b[i])) as f32
                }
            };
        }
        match self {
            Self::Bool | Self::Int { signed: false, bytes: 1 } => number!(u8),
            Self::Int { signed: true, bytes: 1 } => number!(i8),
            Self::Int { signed: false, bytes: 2 } => number!(u16),
            Self::Int { signed: true, bytes: 2 } => number!(i16),
            Self::Int { signed: false, bytes: 4 } => number!(u32),
            Self::Int { signed: true, bytes: 4 } => number!(i32),
            Self::Int { signed: false, .. } => number!(u64),
            Self::Int { signed: true, .. } => number!(i64),
            Self::F16 if big_endian => |b| half(u16::from_be_bytes([b[0], b[1]])),
            Self::F16 => |b| half(u16::from_le_bytes([b[0], b[1]])),
            Self::F32 => number!(f32),
            Self::F64 => number!(f64),
        }
    }
}

/// A number of 16 bits (IEEE 754 binary16: sign, 5 bits of exponent, 10 of fraction), exactly.
fn half(bits: u16) -> f32 {
    let sign = if bits >> 15 == 1 { -1.0 } else { 1.0 };
    let (exponent, fraction) = (i32::from(bits >> 10 & 31), f32::from(bits & 1023));
    match exponent {
        0 => sign * fraction * 2f32.powi(-24),
        31 if fraction == 0.0 => sign * f32::INFINITY,
        31 => f32::NAN,
        _ => sign * (1024.0 + fraction) * 2f32.powi(exponent - 25),
    }
}

/// The contents of a header.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Header {
    pub(crate) kind: Kind,
    pub(crate) big_endian: bool,
    pub(crate) shape: Vec<u64>,
    /// The first axis varies fastest, not the last.
    pub(crate) fortran: bool,
}

impl Header {
    /// The number of elements, if a machine can address them.
    pub(crate) fn elements(&self, path: &Path) -> Result<usize> {
        let elements = self.shape.iter().try_fold(1u64, |product, &n| product.checked_mul(n));
        elements.filter(|&n| n <= (isize::MAX / 8) as u64).map(|n| n as usize).ok_or_else(|| {
            Error::data(path, format!("its shape {} is larger than any memory", show(&self.shape)))
        })
    }
}

/// A shape as shown to users: 60000×28×28.
pub(crate) fn show(shape: &[u64]) -> String {
    let sizes: Vec<String> = shape.iter().map(u64::to_string).collect();
    sizes.join("×")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_sixteen_bits() {
        for (bits, value) in [
            (0x0000, 0.0),
            (0x3c00, 1.0),
            (0xc000, -2.0),
            (0x3555, 1365.0 / 4096.0),
            (0x7bff, 65504.0),
            (0x0001, 2f32.powi(-24)),
            (0x03ff, 1023.0 * 2f32.powi(-24)),
            (0x7c00, f32::INFINITY),
        ] {
            assert_eq!(half(bits), value, "{bits:04x}");
        }
        assert!(half(0x7e00).is_nan());
    }
}

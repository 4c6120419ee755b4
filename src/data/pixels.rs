//! The pixels of a data set: bytes or floats, in memory or in a file.

use super::fingerprint::Fingerprint;
use super::image::Image;
use super::pixel_file::{PixelFile, to_floats};
use rayon::prelude::*;

/// The values of the pixels, in the source's type.
#[derive(Clone, Debug)]
pub enum Pixels {
    /// One byte each.
    U8(Vec<u8>),
    /// Floats, in the range of [`Images::range`](super::Images::range). All are finite.
    F32(Vec<f32>),
    /// Bytes or floats too large for memory: they are read when they are needed.
    ///
    /// If that fails, the reading thread unwinds with an [`Error`](crate::Error) as its payload;
    /// [`Training::run`](crate::Training::run) and the program turn it into an `Err`.
    File(PixelFile),
}

/// The empty interval.
pub(crate) const NOTHING: (f32, f32) = (f32::INFINITY, f32::NEG_INFINITY);

/// The smallest interval that contains two others. It is exact, so the order does not matter.
pub(crate) fn wider(a: (f32, f32), b: (f32, f32)) -> (f32, f32) {
    (a.0.min(b.0), a.1.max(b.1))
}

impl Pixels {
    /// Whether they are bytes.
    pub fn is_bytes(&self) -> bool {
        match self {
            Self::U8(_) => true,
            Self::F32(_) => false,
            Self::File(file) => !file.is_float(),
        }
    }

    /// The total number of values.
    pub(crate) fn numbers(&self) -> u64 {
        match self {
            Self::U8(values) => values.len() as u64,
            Self::F32(values) => values.len() as u64,
            Self::File(file) => file.numbers(),
        }
    }

    /// Bytes of memory that they use.
    pub(crate) fn memory(&self) -> u64 {
        match self {
            Self::U8(values) => values.len() as u64,
            Self::F32(values) => 4 * values.len() as u64,
            Self::File(file) => file.memory(),
        }
    }

    /// The smallest and the largest value; the empty interval if there are none.
    pub fn extent(&self) -> (f32, f32) {
        match self {
            Self::U8(values) => values
                .par_chunks(1 << 16)
                .map(|values| values.iter().fold((u8::MAX, 0), |a, &v| (a.0.min(v), a.1.max(v))))
                .map(|(low, high)| (f32::from(low), f32::from(high)))
                .reduce(|| NOTHING, wider),
            Self::F32(values) => values
                .par_chunks(1 << 16)
                .map(|values| values.iter().fold(NOTHING, |a, &v| (a.0.min(v), a.1.max(v))))
                .reduce(|| NOTHING, wider),
            Self::File(file) => file.extent(),
        }
    }

    /// Lends the image `index`, of `len` numbers per image, to `task`.
    pub(crate) fn image<R>(&self, index: usize, len: usize, task: impl FnOnce(Image<'_>) -> R) -> R {
        let at = || index * len..(index + 1) * len;
        match self {
            Self::U8(values) => task(Image::U8(&values[at()])),
            Self::F32(values) => task(Image::F32(&values[at()])),
            Self::File(file) => file.image(index, task),
        }
    }

    /// Adds all values to a hash. Bytes in a file have the same hash as in memory.
    pub(crate) fn add_to(&self, hash: &mut Fingerprint) {
        match self {
            Self::U8(values) => hash.bytes(values),
            Self::F32(values) => {
                hash.number(1);
                for pair in values.chunks(2) {
                    let high = pair.get(1).map_or(0, |v| u64::from(v.to_bits()) << 32);
                    hash.number(high | u64::from(pair[0].to_bits()));
                }
            }
            Self::File(file) => {
                let after = file.hashed(hash.state(), |file| {
                    let mut hash = Fingerprint::at(hash.state());
                    let floats = file.is_float();
                    // As in the two cases above: bytes start with their number and always end with a last
                    // word, floats come in pairs.
                    hash.number(if floats { 1 } else { file.numbers() });
                    let mut last = [0; 8];
                    let mut left = 0;
                    file.pieces(|piece| {
                        let rest = hash.words(piece);
                        left = rest.len();
                        last[..left].copy_from_slice(rest);
                    })?;
                    if !floats || left > 0 {
                        hash.number(u64::from_le_bytes(last));
                    }
                    Ok(hash.state())
                });
                *hash = Fingerprint::at(after);
            }
        }
    }

    /// The same values in memory.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub(crate) fn in_memory(&self) -> crate::Result<Self> {
        let Self::File(file) = self else { return Ok(self.clone()) };
        let numbers = file.numbers() as usize;
        if file.is_float() {
            let mut values = Vec::with_capacity(numbers);
            file.pieces(|piece| {
                let start = values.len();
                values.resize(start + piece.len() / 4, 0.0);
                to_floats(piece, &mut values[start..]);
            })?;
            Ok(Self::F32(values))
        } else {
            let mut values = Vec::with_capacity(numbers);
            file.pieces(|piece| values.extend_from_slice(piece))?;
            Ok(Self::U8(values))
        }
    }
}

/// Equality of type and values, whether in memory or in a file.
impl PartialEq for Pixels {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::U8(a), Self::U8(b)) => a == b,
            (Self::F32(a), Self::F32(b)) => a == b,
            (Self::F32(_), Self::U8(_)) | (Self::U8(_), Self::F32(_)) => false,
            _ => {
                self.is_bytes() == other.is_bytes()
                    && self.numbers() == other.numbers()
                    && matches!((self.in_memory(), other.in_memory()), (Ok(a), Ok(b)) if a == b)
            }
        }
    }
}

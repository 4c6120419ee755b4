//! IDX, the format of the MNIST files: an array with a header of a few bytes.
//!
//! ```text
//! 0 0 · element type · number of axes · each axis as 4 bytes, big-endian · values, last axis fastest
//! ```
//!
//! Element types are 08 u8, 09 i8, 0B i16, 0C i32, 0D f32, 0E f64, big-endian.

use super::format::ArrayFormat;
use super::header::{Header, Kind};
use super::stream::Stream;
use crate::{Error, Result};

/// IDX.
pub(crate) const IDX: ArrayFormat =
    ArrayFormat { name: "IDX", is: |first| matches!(first, [0, 0, 0x08..=0x0e, 1..=255, ..]), read_header };

/// Reads a header, and leaves the stream at the first value.
fn read_header(stream: &mut Stream<'_>) -> Result<Header> {
    let path = stream.path;
    let mut magic = [0; 4];
    stream.read(&mut magic)?;
    let kind = match magic {
        [0, 0, 0x08, _] => Kind::Int { signed: false, bytes: 1 },
        [0, 0, 0x09, _] => Kind::Int { signed: true, bytes: 1 },
        [0, 0, 0x0b, _] => Kind::Int { signed: true, bytes: 2 },
        [0, 0, 0x0c, _] => Kind::Int { signed: true, bytes: 4 },
        [0, 0, 0x0d, _] => Kind::F32,
        [0, 0, 0x0e, _] => Kind::F64,
        [a, b, c, d] => {
            let message = format!(
                "it starts with {a:02x} {b:02x} {c:02x} {d:02x}; an IDX file of bytes starts with 00 00 08"
            );
            return Err(Error::data(path, message));
        }
    };
    if !matches!(magic[3], 1..=4) {
        return Err(Error::data(
            path,
            format!("its array has {} axes; 1 (labels), 3 or 4 (images) are expected", magic[3]),
        ));
    }
    let mut shape = Vec::new();
    for _ in 0..magic[3] {
        let mut size = [0; 4];
        stream.read(&mut size)?;
        shape.push(u64::from(u32::from_be_bytes(size)));
    }
    Ok(Header { kind, big_endian: true, shape, fortran: false })
}

//! NumPy's .npy files: one array, with a header that is a Python dictionary in text.
//!
//! ```text
//! 93 'NUMPY' major minor · length of the text (2 or 4 bytes, little-endian) · text · values
//! {'descr': '|u1', 'fortran_order': False, 'shape': (60000, 28, 28), }
//! ```
//!
//! The text is parsed by the npyz crate, which trusts its input. So the text is checked first: at most 10,000
//! bytes, at most two brackets, and no product of numbers that could overflow.

use super::array;
use super::budget::{Budget, zeros};
use super::format::ArrayFormat;
use super::header::{Header, Kind, show};
use super::layout::Axes;
use super::options::Layout;
use super::stream::{Length, Stream};
use crate::{Error, Result};
use npyz::WriterBuilder;
use std::fs::File;
use std::io::{BufReader, Write};
use std::path::Path;

/// A header of an array of numbers has about 100 bytes.
const LONGEST_HEADER: usize = 10_000;
/// One for the dictionary and one for the shape. Structured dtypes open more, and are not pixels.
const MOST_BRACKETS: usize = 2;

/// NumPy's .npy.
pub(crate) const NPY: ArrayFormat =
    ArrayFormat { name: "npy", is: |first| first.starts_with(b"\x93NUMPY"), read_header };

/// Reads a header, and leaves the stream at the first value.
pub(crate) fn read_header(stream: &mut Stream<'_>) -> Result<Header> {
    let path = stream.path;
    let bad = |message: String| Error::data(path, message);
    let mut bytes = vec![0; 8];
    stream.read(&mut bytes)?;
    if !bytes.starts_with(b"\x93NUMPY") {
        return Err(bad("it is not a .npy file: it does not start with 93 'NUMPY'".into()));
    }
    let length_bytes = match (bytes[6], bytes[7]) {
        (1, 0) => 2,
        (2 | 3, 0) => 4,
        (major, minor) => {
            return Err(bad(format!("its .npy version is {major}.{minor}; 1.0, 2.0 and 3.0 can be read")));
        }
    };
    let mut length = [0; 4];
    stream.read(&mut length[..length_bytes])?;
    bytes.extend_from_slice(&length[..length_bytes]);
    let length = u32::from_le_bytes(length) as usize;
    if length > LONGEST_HEADER {
        return Err(bad(format!(
            "its header has {length} bytes; an array of numbers needs no more than {LONGEST_HEADER}"
        )));
    }
    let start = bytes.len();
    bytes.resize(start + length, 0);
    stream.read(&mut bytes[start..])?;
    if has_fields(&bytes[start..]) {
        return Err(bad(
            "its elements have several fields (a structured dtype), and an array of plain numbers is needed: in NumPy, \
             numpy.save('images.npy', array['FIELD']) saves the field with the images by itself"
                .into(),
        ));
    }
    distrust(&bytes[start..]).map_err(|reason| bad(format!("its header {reason}")))?;
    let header = npyz::NpyHeader::from_reader(&bytes[..])
        .map_err(|e| bad(format!("its header cannot be read: {e}")))?;
    let unsupported = || {
        bad(format!(
            "its elements are {}; integers, bool, f16, f32 or f64 can be read",
            header.dtype().descr()
        ))
    };
    let npyz::DType::Plain(element) = header.dtype() else { return Err(unsupported()) };
    let kind = match (element.type_char(), element.size_field()) {
        (npyz::TypeChar::Bool, 1) => Kind::Bool,
        (npyz::TypeChar::Uint, n @ (1 | 2 | 4 | 8)) => Kind::Int { signed: false, bytes: n as usize },
        (npyz::TypeChar::Int, n @ (1 | 2 | 4 | 8)) => Kind::Int { signed: true, bytes: n as usize },
        (npyz::TypeChar::Float, 2) => Kind::F16,
        (npyz::TypeChar::Float, 4) => Kind::F32,
        (npyz::TypeChar::Float, 8) => Kind::F64,
        _ => return Err(unsupported()),
    };
    Ok(Header {
        kind,
        big_endian: element.endianness() == npyz::Endianness::Big,
        shape: header.shape().to_vec(),
        fortran: header.order() == npyz::Order::Fortran,
    })
}

/// Whether the element type is a list of fields: `'descr': [`, as NumPy writes it.
fn has_fields(text: &[u8]) -> bool {
    let dense: Vec<u8> = text.iter().copied().filter(|byte| !byte.is_ascii_whitespace()).collect();
    dense.starts_with(b"{'descr':[(")
}

/// The checks that a header must pass before it is parsed: nearly flat, and no numbers whose product
/// overflows.
fn distrust(text: &[u8]) -> std::result::Result<(), String> {
    // The grammar retries a nested text for every reading of its surroundings, which takes exponential time.
    // All opening brackets count, wherever they are, since a closing one may be part of a string.
    if text.iter().filter(|byte| b"([{".contains(byte)).count() > MOST_BRACKETS {
        return Err(format!(
            "opens more than {MOST_BRACKETS} brackets, and that of an array of numbers opens two"
        ));
    }
    let mut product = 1u64;
    for word in text.split(|b| !b.is_ascii_alphanumeric() && *b != b'_') {
        if !word.first().is_some_and(u8::is_ascii_digit) {
            continue;
        }
        let number = std::str::from_utf8(word).ok().and_then(|word| word.parse::<u64>().ok());
        let Some(number) = number else {
            return Err(format!("has '{}' where a number is expected", String::from_utf8_lossy(word)));
        };
        // A factor 0 must not hide the others: the parser also multiplies from left to right.
        product = product
            .checked_mul(number.max(1))
            .filter(|&p| p < 1 << 60)
            .ok_or("has a shape that is larger than any memory")?;
    }
    Ok(())
}

/// A matrix of numbers, `rows · columns`: the format in which latents are stored.
#[derive(Clone, Debug, PartialEq)]
pub struct Matrix {
    /// The values, row by row.
    pub values: Vec<f32>,
    /// How many rows: images.
    pub rows: usize,
    /// How many columns: latent dimensions.
    pub columns: usize,
}

/// Reads a .npy file with a matrix of f32 or f64 numbers (f64 are rounded), all of them finite. `max_memory`
/// bounds its size in bytes.
pub fn read_matrix(path: impl AsRef<Path>, max_memory: u64) -> Result<Matrix> {
    let path = path.as_ref();
    let file = File::open(path).map_err(|e| Error::io("read", path, e))?;
    let meta = file.metadata().map_err(|e| Error::io("read", path, e))?;
    if !meta.is_file() {
        return Err(Error::data(
            path,
            "it is not a file; a .npy file with a matrix of f32 numbers is expected",
        ));
    }
    parse_matrix(Stream::new(path, BufReader::new(file), Length::Exact(meta.len())), max_memory)
}

/// [`read_matrix`] on bytes in memory; `path` is for messages.
pub fn matrix_from_bytes(bytes: &[u8], path: &Path, max_memory: u64) -> Result<Matrix> {
    parse_matrix(Stream::new(path, bytes, Length::Exact(bytes.len() as u64)), max_memory)
}

fn parse_matrix(mut stream: Stream<'_>, max_memory: u64) -> Result<Matrix> {
    let path = stream.path;
    let header = read_header(&mut stream)?;
    let [rows, columns] = header.shape[..] else {
        let message = format!("its shape is {}; a matrix of rows×columns is expected", show(&header.shape));
        return Err(Error::data(path, message));
    };
    if rows == 0 || columns == 0 {
        return Err(Error::data(path, format!("its matrix of {rows}×{columns} is empty")));
    }
    if !header.kind.is_float() {
        return Err(Error::data(
            path,
            "its matrix is not of floating-point numbers; f32 or f64 are expected",
        ));
    }
    // For reading, its rows count as grey images of one row, so their number is not limited.
    let header = Header { shape: vec![rows, 1, columns], ..header };
    let elements = header.elements(path)?;
    Budget::new(max_memory).take(elements as u64 * 4, path)?;
    let mut values = zeros(elements, path)?;
    let axes = Axes::new(&header.shape, Layout::Nhw, header.fortran);
    array::read_floats(&mut stream, &header, &axes, 0, &mut values)?;
    stream.finish()?;
    Ok(Matrix { values, rows: rows as usize, columns: columns as usize })
}

/// Writes an array of f32 numbers as .npy (version 1, little-endian, last axis fastest). The caller supplies
/// the writer, so that the file can be a temporary one.
///
/// # Panics
/// If `values` does not have as many elements as `shape` says.
pub fn write_npy_f32(writer: impl Write, shape: &[usize], values: &[f32]) -> std::io::Result<()> {
    assert_eq!(values.len(), shape.iter().product::<usize>(), "values of shape {shape:?}");
    let shape: Vec<u64> = shape.iter().map(|&n| n as u64).collect();
    let mut out = npyz::WriteOptions::new().default_dtype().shape(&shape).writer(writer).begin_nd()?;
    out.extend(values.iter().copied())?;
    out.finish()
}

/// Writes an array of bytes as .npy, like [`write_npy_f32`].
///
/// # Panics
/// If `values` does not have as many elements as `shape` says.
pub fn write_npy_u8(writer: impl Write, shape: &[usize], values: &[u8]) -> std::io::Result<()> {
    assert_eq!(values.len(), shape.iter().product::<usize>(), "values of shape {shape:?}");
    let shape: Vec<u64> = shape.iter().map(|&n| n as u64).collect();
    let mut out = npyz::WriteOptions::new().default_dtype().shape(&shape).writer(writer).begin_nd()?;
    out.extend(values.iter().copied())?;
    out.finish()
}

//! The file format of models and checkpoints: named tensors, a JSON description, and a checksum over every
//! byte.
//!
//! It is a [safetensors](https://github.com/huggingface/safetensors) file, so Python's
//! `safetensors.torch.load_file` reads it and `load_state_dict` takes the result. Its structure is
//!
//! ```text
//! 8 bytes       length of the header, little-endian
//! the header    JSON: {"__metadata__":{KEY:TEXT,…},
//!                      NAME:{"dtype":"F32","shape":[…],"data_offsets":[BEGIN,END]},…}
//! the data      the tensors' numbers, little-endian, one tensor after the other without gaps
//! ```
//!
//! with two keys of this program in the metadata, in this order: `checksum`, eight hexadecimal digits, and
//! `elbo`, the description, itself JSON with sorted keys. Tensors are stored in the order in which they were
//! given. So the same content always produces the same bytes.
//!
//! **The checksum** is the CRC-32 of the whole file with zeros for its own eight digits. It comes first in
//! the header so that the digits have a fixed place, found before anything is trusted or parsed. A CRC is
//! guaranteed to detect every single-bit flip and every burst of damage up to 32 bits long, in a file of any
//! size; of worse damage it misses one in 2³². The header states where the data ends, so a truncated or
//! extended file is noticed without it. None of the longer checksums was already a dependency, and CRC-32
//! runs at the speed of memory.
//!
//! **The file must be canonical**: after the checksum the reader rewrites the header from its own
//! interpretation, and compares. This one rule refuses everything that two readers could interpret
//! differently: duplicate names, unknown keys, another order.
//!
//! Numbers in the description are preserved exactly, f64 and u64 included (serde_json's `float_roundtrip`).
//! Infinity and NaN do not exist in JSON and become `null`.

use super::atomic::write_atomically;
use super::filesystem::FileSystem;
use super::printable;
use crate::error::{Error, Result};
use safetensors::tensor::{Dtype, Metadata};
use serde_json::Value;
use std::borrow::Cow;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;

/// The longest header: some thousand tensors. It limits the cost of parsing an untrusted header, because JSON
/// in memory can be 70 times as large as its text.
const MAX_HEADER: usize = 512 * 1024;

/// How every file continues after the header's length, up to the checksum's digits.
const START: &str = r#"{"__metadata__":{"checksum":""#;

/// Where the checksum's digits are in the header.
const DIGITS: std::ops::Range<usize> = START.len()..START.len() + 8;

/// Numbers converted at a time.
const BLOCK: usize = 16 * 1024;

/// The contents of a model file or a checkpoint.
#[derive(Debug, Clone, PartialEq)]
pub struct TensorFile<'a> {
    /// What the tensors are: for a model its configuration, for a checkpoint also the training state.
    pub description: Value,
    /// The tensors, in the file's order.
    pub tensors: Vec<NamedTensor<'a>>,
}

/// A tensor in a file. One to be saved may borrow its numbers.
#[derive(Debug, Clone, PartialEq)]
pub struct NamedTensor<'a> {
    /// PyTorch's name for it, like `encoder.conv1.weight`.
    pub name: String,
    /// Its dimensions.
    pub shape: Vec<usize>,
    /// Its numbers, the last dimension fastest.
    pub data: Cow<'a, [f32]>,
}

impl<'a> NamedTensor<'a> {
    /// A tensor to be saved.
    ///
    /// # Panics
    ///
    /// If the shape does not match the number of elements or is empty, or the name is empty or
    /// `__metadata__`.
    pub fn new(name: impl Into<String>, shape: &[usize], data: impl Into<Cow<'a, [f32]>>) -> Self {
        let tensor = Self { name: name.into(), shape: shape.to_vec(), data: data.into() };
        tensor.assert_whole();
        tensor
    }

    /// A tensor that does not match its shape would make an unreadable file.
    fn assert_whole(&self) {
        let Self { name, shape, data } = self;
        assert!(!name.is_empty() && name != "__metadata__", "a tensor cannot have the name `{name}`");
        assert_eq!(shape.iter().product::<usize>(), data.len(), "tensor {name} has the shape {shape:?}");
        assert!(!data.is_empty(), "tensor {name} is empty");
    }

    /// The first element that is infinite or NaN, as (position, value).
    fn non_finite(&self) -> Option<(usize, f32)> {
        // Complete blocks first: a loop without an early exit is vectorized.
        let block = self
            .data
            .chunks(BLOCK)
            .position(|block| !block.iter().fold(true, |all, x| all & x.is_finite()))?;
        let start = block * BLOCK;
        let offset = self.data[start..].iter().position(|x| !x.is_finite())?;
        Some((start + offset, self.data[start + offset]))
    }
}

impl TensorFile<'_> {
    /// Saves to `path`, replacing an existing file only once everything is safely on the disk. The tensors
    /// are not copied as a whole.
    ///
    /// # Errors
    ///
    /// If a number is not finite, the description is too long, or the system refuses a step. The previous
    /// file under `path` is then kept.
    ///
    /// # Panics
    ///
    /// If two tensors have the same name, or one violates the rules of [`NamedTensor::new`].
    pub(crate) fn save(&self, fs: &dyn FileSystem, path: &Path) -> Result<()> {
        let header = self.checked_header(path)?;
        write_atomically(fs, path, |out| self.write(&header, out))
    }

    /// The bytes that `save` writes.
    ///
    /// # Errors
    ///
    /// As `save`, without the system's; `path` is for the message.
    pub fn encode(&self, path: &Path) -> Result<Vec<u8>> {
        let header = self.checked_header(path)?;
        let data: usize = self.tensors.iter().map(|tensor| size_of_val(&*tensor.data)).sum();
        let mut bytes = Vec::with_capacity(8 + header.len() + data);
        self.write(&header, &mut bytes).map_err(|error| Error::io("write", path, error))?;
        Ok(bytes)
    }

    /// Takes out the tensor `name`, which must have this shape.
    ///
    /// # Errors
    ///
    /// If it is missing or has another shape; `path` is for the message.
    pub fn take(&mut self, name: &str, shape: &[usize], path: &Path) -> Result<Vec<f32>> {
        let Some(index) = self.tensors.iter().position(|tensor| tensor.name == name) else {
            return Err(Error::data(
                path,
                format!("has no tensor {name}; its configuration needs one of {shape:?}"),
            ));
        };
        let found = &self.tensors[index].shape;
        if found != shape {
            let message = format!("tensor {name} has the shape {found:?}; its configuration needs {shape:?}");
            return Err(Error::data(path, message));
        }
        Ok(self.tensors.remove(index).data.into_owned())
    }

    /// To be called after the last [`take`](Self::take): no tensor should be left.
    ///
    /// # Errors
    ///
    /// If one is; `path` is for the message.
    pub fn expect_empty(&self, path: &Path) -> Result<()> {
        match self.tensors.first() {
            Some(tensor) => {
                let message =
                    format!("has a tensor {} that its configuration does not know", printable(&tensor.name));
                Err(Error::data(path, message))
            }
            None => Ok(()),
        }
    }

    /// The checksum that a file carries: its eight hexadecimal digits as a number. `None` if the bytes do not
    /// start like such a file.
    pub fn checksum_in(file: &[u8]) -> Option<u32> {
        let header = file.get(8..)?;
        let digits = header.starts_with(START.as_bytes()).then(|| header.get(DIGITS))??;
        u32::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
    }

    /// The header with zeros for the checksum, if the content can be saved.
    fn checked_header(&self, path: &Path) -> Result<Vec<u8>> {
        for (index, tensor) in self.tensors.iter().enumerate() {
            let name = &tensor.name;
            tensor.assert_whole();
            assert!(
                self.tensors[..index].iter().all(|other| other.name != *name),
                "two tensors are named {name}"
            );
            if let Some((position, value)) = tensor.non_finite() {
                return Err(Error::Training(format!(
                    "{name} has the value {value} at position {position}, so {} is not written: only finite \
                     numbers are saved",
                    path.display()
                )));
            }
        }
        let header = self.header();
        if header.len() > MAX_HEADER {
            let length = header.len();
            let message =
                format!("its description would take {length} bytes, and at most {MAX_HEADER} are written");
            return Err(Error::data(path, message));
        }
        Ok(header)
    }

    /// The header with zeros for the checksum, padded with spaces to a multiple of 8 bytes as the format
    /// requires.
    fn header(&self) -> Vec<u8> {
        let quoted = |text: &str| Value::from(text).to_string();
        let mut header = format!("{START}00000000\",\"elbo\":{}}}", quoted(&self.description.to_string()));
        let mut begin = 0;
        for tensor in &self.tensors {
            let end = begin + size_of_val(&*tensor.data);
            let (name, shape) = (quoted(&tensor.name), Value::from(tensor.shape.clone()));
            header += &format!(r#",{name}:{{"dtype":"F32","shape":{shape},"data_offsets":[{begin},{end}]}}"#);
            begin = end;
        }
        header.push('}');
        let mut header = header.into_bytes();
        header.resize(header.len().next_multiple_of(8), b' ');
        header
    }

    /// Writes the file in two passes over the tensors: the checksum precedes the data that it is computed
    /// from.
    fn write(&self, header: &[u8], out: &mut dyn Write) -> io::Result<()> {
        let length = (header.len() as u64).to_le_bytes();
        let mut checksum = crc32fast::Hasher::new();
        checksum.update(&length);
        checksum.update(header);
        self.for_each_block(|block| {
            checksum.update(block);
            Ok(())
        })?;
        out.write_all(&length)?;
        out.write_all(&header[..DIGITS.start])?;
        write!(out, "{:08x}", checksum.finalize())?;
        out.write_all(&header[DIGITS.end..])?;
        self.for_each_block(|block| out.write_all(block))
    }

    fn for_each_block(&self, mut take: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
        let mut bytes = vec![0; BLOCK * size_of::<f32>()];
        for block in self.tensors.iter().flat_map(|tensor| tensor.data.chunks(BLOCK)) {
            let bytes = &mut bytes[..size_of_val(block)];
            for (bytes, number) in bytes.as_chunks_mut().0.iter_mut().zip(block) {
                *bytes = number.to_le_bytes();
            }
            take(bytes)?;
        }
        Ok(())
    }
}

impl TensorFile<'static> {
    /// Loads a file that `save` wrote. It is read in blocks, straight into the tensors; a file longer than
    /// `max_memory` bytes is refused before anything is allocated.
    ///
    /// # Errors
    ///
    /// If the system refuses, or if a single bit of the file has changed since it was written.
    pub fn load(path: &Path, max_memory: u64) -> Result<Self> {
        let cannot_open = |error| Error::io("open", path, error);
        // Checked before it is opened: opening a pipe would block until somebody writes to it.
        if !path.metadata().map_err(cannot_open)?.is_file() {
            return Err(Error::data(path, "is not a file; a model or checkpoint file is needed"));
        }
        let file = File::open(path).map_err(cannot_open)?;
        let length = file.metadata().map_err(cannot_open)?.len();
        if length > max_memory {
            return Err(Error::data(
                path,
                format!("is {length} bytes long, and the limit is {max_memory}; --max-memory sets another"),
            ));
        }
        Self::read(file, length, path)
    }

    /// Reads the bytes of a file; `path` is for messages.
    ///
    /// # Errors
    ///
    /// If a single bit has changed since it was written.
    pub fn decode(bytes: &[u8], path: &Path) -> Result<Self> {
        Self::read(bytes, bytes.len() as u64, path)
    }

    /// Reads `length` bytes.
    fn read(mut input: impl Read, length: u64, path: &Path) -> Result<Self> {
        let wrong = |message: String| Error::data(path, message);
        let unreadable = |error| Error::io("read", path, error);

        // The header's length, the header, and what it says about the rest.
        let mut first = [0; 8];
        if length < 8 {
            return Err(wrong(format!("is {length} bytes long, too short for a model or checkpoint file")));
        }
        input.read_exact(&mut first).map_err(unreadable)?;
        let header_length = u64::from_le_bytes(first);
        if header_length > (length - 8).min(MAX_HEADER as u64) {
            return Err(wrong(format!(
                "is not a model or checkpoint file, or is damaged: its first 8 bytes give a header of \
                 {header_length} bytes, in a file of {length} bytes and with at most {MAX_HEADER} accepted"
            )));
        }
        let mut header = vec![0; header_length as usize];
        input.read_exact(&mut header).map_err(unreadable)?;
        let (layout, description) = parse_header(&header, path)?;
        let expected_length = (layout.data_len() as u64).saturating_add(8 + header_length);
        if length != expected_length {
            return Err(wrong(format!(
                "is {length} bytes long, and its header describes {expected_length}: it was cut short or added to"
            )));
        }

        // The tensors, and the checksum of all bytes read.
        let stated = header[DIGITS].to_vec();
        header[DIGITS].fill(b'0');
        let mut checksum = crc32fast::Hasher::new();
        checksum.update(&first);
        checksum.update(&header);
        let mut tensors = Vec::new();
        for name in layout.offset_keys() {
            let shape = &layout.info(&name).expect("the name comes from the same table").shape;
            let data = read_numbers(&mut input, shape.iter().product(), &mut checksum).map_err(unreadable)?;
            tensors.push(NamedTensor { name, shape: shape.clone(), data: data.into() });
        }
        let computed = format!("{:08x}", checksum.finalize());
        if stated != computed.as_bytes() {
            let stated = printable(String::from_utf8_lossy(&stated));
            return Err(wrong(format!(
                "is damaged: its checksum is {computed}, and {stated} was written; use another copy or an older \
                 checkpoint"
            )));
        }

        let description = serde_json::from_str(&description)
            .map_err(|error| wrong(format!("has a description that is not JSON: {}", printable(error))))?;
        let file = Self { description, tensors };
        if file.header() != header {
            return Err(wrong(
                "has a header that this program would not have written, such as one with a name given twice or an \
                 unknown key; a file made by `elbo train` is needed"
                    .to_string(),
            ));
        }
        if let Some((tensor, (position, value))) =
            file.tensors.iter().find_map(|tensor| Some(tensor).zip(tensor.non_finite()))
        {
            let name = printable(&tensor.name);
            return Err(wrong(format!(
                "{name} has the value {value} at position {position}; all must be finite"
            )));
        }
        Ok(file)
    }
}

/// The positions of the tensors, checked by the safetensors crate (names, shapes, offsets without gaps or
/// overlaps), and the text of the description.
fn parse_header(header: &[u8], path: &Path) -> Result<(Metadata, String)> {
    let wrong = |message: &str| Error::data(path, message);
    let layout: Metadata = serde_json::from_slice(header).map_err(|error| {
        Error::data(path, format!("is not a model or checkpoint file, or is damaged: {}", printable(error)))
    })?;
    let Some(description) = layout.metadata().as_ref().and_then(|metadata| metadata.get("elbo")) else {
        return Err(wrong(
            "is a safetensors file of another program (it has no `elbo` in its metadata); a file made by \
             `elbo train` is needed",
        ));
    };
    if !header.starts_with(START.as_bytes()) || header.len() < DIGITS.end {
        return Err(wrong(
            "has no checksum where this program writes it: it is damaged or was re-saved by another program; \
             a file made by `elbo train` is needed",
        ));
    }
    if let Some((name, tensor)) = layout.tensors().into_iter().find(|(_, tensor)| tensor.dtype != Dtype::F32)
    {
        let name = printable(name);
        return Err(Error::data(path, format!("tensor {name} is {:?}; only F32 is read", tensor.dtype)));
    }
    let description = description.clone();
    Ok((layout, description))
}

/// Reads `count` numbers and adds their bytes to the checksum.
fn read_numbers(
    input: &mut impl Read,
    count: usize,
    checksum: &mut crc32fast::Hasher,
) -> io::Result<Vec<f32>> {
    let mut bytes = vec![0; count.min(BLOCK) * size_of::<f32>()];
    let mut numbers = Vec::with_capacity(count);
    while numbers.len() < count {
        let block = (count - numbers.len()).min(BLOCK) * size_of::<f32>();
        input.read_exact(&mut bytes[..block])?;
        checksum.update(&bytes[..block]);
        numbers.extend(bytes[..block].as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)));
    }
    Ok(numbers)
}

#[cfg(test)]
mod tests;

//! The bytes of a compressed file, validated on reading. docs/format.md is the specification.
//!
//! ```text
//! 8 bytes      89 45 4C 42 4F 0D 0A 1A
//! 4            version, 1
//! 4            h, the header's length
//! h            the header, JSON
//! 4            n, the number of blocks
//! 12·n         the index: for each block its length, its CRC-32, the CRC-32 of its images' bytes
//! 4            CRC-32 of everything so far
//! …            the model's file, if included; names and labels, if any; the blocks; nothing else
//! ```
//!
//! Every byte is covered by a CRC-32, which detects any single changed bit. The lengths must add up to the
//! file's, which detects truncation.

use crate::error::{Error, Result};
use crate::model::ModelConfig;
use serde::{Deserialize, Serialize};
use std::ops::Range;
use std::path::Path;

/// The first bytes of a file. As in PNG's signature, the first byte is not text, and transfers as text damage
/// the line ends.
const MAGIC: [u8; 8] = *b"\x89ELBO\r\n\x1a";

/// The version of the format.
const VERSION: u32 = 1;

/// The longest header. Most of it is the model's configuration.
const MAX_HEADER: usize = 1 << 20;

/// Bytes of a block in the index.
const INDEX_ENTRY: usize = 12;

/// Codes instead of exact images.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Lossy {
    /// The distance between neighbouring values of a code.
    pub(super) step: f64,
    /// The mean and the standard deviation of each dimension over the file's images.
    pub(super) moments: Vec<[f32; 2]>,
}

/// The header of a file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Header {
    /// The number of images.
    pub(super) images: u64,
    /// Images in a block; the last one may have fewer.
    pub(super) block: u32,
    /// k, the bits of a latent dimension under the prior.
    pub(super) latent_bits: u32,
    /// The writer's arithmetic.
    pub(super) guarantee: String,
    /// The writer's result for a fixed picture and code.
    pub(super) probe: u32,
    /// The checksum of the model's file.
    pub(super) checksum: u32,
    /// The model's configuration; images are of its size.
    pub(super) model: ModelConfig,
    /// Bytes of the model's file in this one, or 0.
    pub(super) model_bytes: u64,
    /// Their CRC-32.
    pub(super) model_crc: u32,
    /// Bytes of names and labels, deflated, or 0.
    pub(super) extra_bytes: u64,
    /// Their CRC-32.
    pub(super) extra_crc: u32,
    /// Their length when inflated.
    pub(super) extra_length: u64,
    /// Present if images are stored as codes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) lossy: Option<Lossy>,
}

/// A block in the index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BlockEntry {
    pub(super) bytes: u32,
    pub(super) crc: u32,
    pub(super) images_crc: u32,
}

/// A file's parts.
#[derive(Clone, Debug)]
pub(super) struct Container<'f> {
    pub(super) header: Header,
    pub(super) index: Vec<BlockEntry>,
    /// The sections, as far as the file has them.
    pub(super) model: &'f [u8],
    pub(super) extra: &'f [u8],
    pub(super) blocks: Vec<&'f [u8]>,
}

impl Header {
    /// The images of each block.
    pub(super) fn ranges(&self) -> Vec<Range<usize>> {
        let (images, block) = (self.images as usize, self.block as usize);
        (0..images.div_ceil(block)).map(|at| at * block..images.min((at + 1) * block)).collect()
    }
}

/// A file's bytes.
pub(super) fn write(
    header: &Header,
    model: &[u8],
    extra: &[u8],
    blocks: &[Vec<u8>],
    images_crc: &[u32],
) -> Vec<u8> {
    let json = serde_json::to_vec(header).expect("a header is plain data");
    let mut file = MAGIC.to_vec();
    let number = |file: &mut Vec<u8>, number: usize| {
        file.extend(u32::try_from(number).expect("it fits").to_le_bytes());
    };
    number(&mut file, VERSION as usize);
    number(&mut file, json.len());
    file.extend(json);
    number(&mut file, blocks.len());
    for (block, &images_crc) in blocks.iter().zip(images_crc) {
        number(&mut file, block.len());
        number(&mut file, crc32fast::hash(block) as usize);
        number(&mut file, images_crc as usize);
    }
    let checksum = crc32fast::hash(&file);
    number(&mut file, checksum as usize);
    file.extend(model);
    file.extend(extra);
    blocks.iter().for_each(|block| file.extend(block));
    file
}

/// Reads numbers from the front of a file.
struct Front<'f> {
    file: &'f [u8],
    at: usize,
    path: &'f Path,
}

impl<'f> Front<'f> {
    fn take(&mut self, len: usize) -> Result<&'f [u8]> {
        let part = self.file.get(self.at..).and_then(|rest| rest.get(..len));
        self.at += len;
        part.ok_or_else(|| cut_off(self.path, self.file.len()))
    }

    fn number(&mut self) -> Result<u32> {
        let bytes = self.take(4)?;
        Ok(u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
    }
}

fn cut_off(path: &Path, length: usize) -> Error {
    Error::data(path, format!("it ends after {length} bytes, in the middle: it was cut off"))
}

/// Whether bytes begin like a compressed file.
pub(super) fn is_compressed(first: &[u8]) -> bool {
    first.starts_with(&MAGIC)
}

/// Splits a file into its parts. Blocks and sections are not compared with their checksums yet. With
/// `salvage` the blocks may be cut off.
///
/// # Errors
/// If it is not such a file, has another version, or its header or index is damaged.
pub(super) fn read<'f>(file: &'f [u8], salvage: bool, path: &'f Path) -> Result<Container<'f>> {
    let bad = |message: String| Error::data(path, message);
    if !is_compressed(file) {
        return Err(bad("it is no file of `elbo compress`: it does not start with 89 'ELBO'".into()));
    }
    let mut front = Front { file, at: MAGIC.len(), path };
    let version = front.number()?;
    // An unknown version cannot be told from damage. If the version alone is wrong, the checksum shows it.
    if version != VERSION {
        return Err(bad(format!(
            "it has version {version} of the format, and this program reads version {VERSION}; use the elbo that wrote it"
        )));
    }
    let header_length = front.number()? as usize;
    if header_length > MAX_HEADER {
        return Err(bad(format!(
            "its header of {header_length} bytes is longer than {MAX_HEADER}: it is damaged"
        )));
    }
    let json = front.take(header_length)?;
    let count = front.number()? as usize;
    let index = front.take(count.saturating_mul(INDEX_ENTRY))?;
    let end = front.at;
    let checksum = front.number()?;
    if crc32fast::hash(&file[..end]) != checksum {
        return Err(bad("its header and index do not have their checksum: it is damaged".into()));
    }
    let header: Header =
        serde_json::from_slice(json).map_err(|error| bad(format!("its header cannot be read: {error}")))?;
    header.model.validate().map_err(|error| bad(format!("its model: {error}")))?;
    let index: Vec<BlockEntry> = index
        .chunks_exact(INDEX_ENTRY)
        .map(|entry| {
            let number =
                |at: usize| u32::from_le_bytes([entry[at], entry[at + 1], entry[at + 2], entry[at + 3]]);
            BlockEntry { bytes: number(0), crc: number(4), images_crc: number(8) }
        })
        .collect();
    let blocks = if header.block == 0 { None } else { Some(header.images.div_ceil(u64::from(header.block))) };
    if blocks != Some(index.len() as u64) {
        return Err(bad(format!(
            "its {} images in blocks of {} do not make the {} blocks of its index: it is damaged",
            header.images,
            header.block,
            index.len()
        )));
    }
    let expected = [header.model_bytes, header.extra_bytes]
        .into_iter()
        .chain(index.iter().map(|entry| u64::from(entry.bytes)))
        .try_fold(front.at as u64, u64::checked_add);
    let length = file.len() as u64;
    match expected {
        Some(expected) if expected == length => {}
        Some(expected) if expected < length => {
            return Err(bad(format!(
                "it continues after the {expected} bytes that its index promises: it is damaged"
            )));
        }
        _ if salvage => {}
        _ => return Err(cut_off(path, file.len())),
    }
    // If the file is truncated, sections are shortened.
    let mut at = front.at;
    let mut section = |len: u64| {
        let end = (at as u64).saturating_add(len).min(length) as usize;
        let part = &file[at..end];
        at = end;
        part
    };
    let (model, extra) = (section(header.model_bytes), section(header.extra_bytes));
    let blocks = index.iter().map(|entry| section(u64::from(entry.bytes))).collect();
    Ok(Container { header, index, model, extra, blocks })
}

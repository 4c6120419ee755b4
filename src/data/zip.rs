//! Zip archives: their members, read in place.
//!
//! Names of members are never used as paths of the file system. Only requested members are inflated. A
//! directory may promise anything: a member's size is limited by the bytes that the archive has for it.

use super::stream::{DEFLATE_RATIO, Length, Stream};
use crate::{Error, Result};
use rawzip::{CompressionMethod, FileReader, ReaderAt, ZipArchive, ZipArchiveEntryWayfinder, ZipLocator};
use std::io::BufReader;
use std::path::{Path, PathBuf};

/// Holds the longest record of the directory: 46 bytes and three fields of up to 65,535.
const DIRECTORY_BUFFER: usize = 1 << 18;

/// Bytes that can be read at any place: an open file, or memory.
pub(crate) enum Blob<'a> {
    File(FileReader),
    Memory(&'a [u8]),
}

impl ReaderAt for Blob<'_> {
    fn read_at(&self, out: &mut [u8], offset: u64) -> std::io::Result<usize> {
        match self {
            Self::File(file) => file.read_at(out, offset),
            Self::Memory(bytes) => bytes.read_at(out, offset),
        }
    }
}

/// One member.
pub(crate) struct Member {
    /// Its name in the archive, folders included.
    pub(crate) name: Vec<u8>,
    method: CompressionMethod,
    encrypted: bool,
    place: ZipArchiveEntryWayfinder,
}

/// An open archive.
pub(crate) struct Archive<'a> {
    archive: ZipArchive<Blob<'a>>,
    /// The members that are files, in the order of the directory.
    pub(crate) members: Vec<Member>,
    length: u64,
}

impl<'a> Archive<'a> {
    /// Reads the directory of an archive of `length` bytes.
    ///
    /// # Errors
    /// If it is not a zip archive, or is damaged.
    pub(crate) fn open(blob: Blob<'a>, length: u64, path: &Path) -> Result<Self> {
        let mut buffer = vec![0; DIRECTORY_BUFFER];
        let damaged = |e: &rawzip::Error| damaged(path, e);
        let archive =
            ZipLocator::new().locate_in_reader(blob, &mut buffer, length).map_err(|(_, e)| damaged(&e))?;
        let mut members = Vec::new();
        let mut entries = archive.entries(&mut buffer);
        while let Some(entry) = entries.next_entry().map_err(|e| damaged(&e))? {
            if entry.is_dir() {
                continue;
            }
            members.push(Member {
                name: entry.file_path().as_bytes().to_vec(),
                method: entry.compression_method(),
                encrypted: entry.flags().is_encrypted(),
                place: entry.wayfinder(),
            });
        }
        Ok(Self { archive, members, length })
    }

    /// Opens a member: its bytes are inflated, and their checksum is compared at the end. `path` is for
    /// messages.
    ///
    /// # Errors
    /// If its record is damaged, it is encrypted, or it uses another method than deflate.
    pub(crate) fn stream<'s>(&'s self, index: usize, path: &'s Path) -> Result<Stream<'s>> {
        let member = &self.members[index];
        if member.encrypted {
            return Err(Error::data(path, "it is encrypted; archives without a password can be read"));
        }
        let entry = self.archive.get_entry(member.place).map_err(|e| damaged(path, &e))?;
        let (start, end) = entry.compressed_data_range();
        let compressed = end.min(self.length).saturating_sub(start);
        let reader = BufReader::with_capacity(1 << 13, entry.reader());
        match member.method {
            CompressionMethod::STORE => {
                let reader = BufReader::with_capacity(1 << 16, entry.verifying_reader(reader));
                Ok(Stream::new(path, reader, Length::Exact(compressed)))
            }
            CompressionMethod::DEFLATE => {
                let reader = entry.verifying_reader(flate2::bufread::DeflateDecoder::new(reader));
                let reader = BufReader::with_capacity(1 << 16, reader);
                Ok(Stream::new(path, reader, Length::AtMost(compressed.saturating_mul(DEFLATE_RATIO))))
            }
            other => Err(Error::data(
                path,
                format!("it is packed by method {other:?}; stored and deflated members can be read"),
            )),
        }
    }
}

fn damaged(path: &Path, error: &rawzip::Error) -> Error {
    Error::data(path, format!("it is not a zip archive, or is damaged ({error})"))
}

/// `archive.zip: member`, for messages.
pub(crate) fn shown(archive: &Path, name: &[u8]) -> PathBuf {
    let name: String = String::from_utf8_lossy(name).chars().filter(|c| !c.is_control()).take(200).collect();
    PathBuf::from(format!("{}: {name}", archive.display()))
}

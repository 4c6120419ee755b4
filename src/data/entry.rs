//! A source of bytes: a file, a member of an archive, or memory.

use super::fingerprint::Fingerprint;
use super::stream::{Length, Stream};
use super::zip::Archive;
use crate::{Error, Result};
use std::fs::File;
use std::io::{BufReader, Cursor, Read, Seek};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Bytes to read forwards, with seeking.
pub(crate) trait ReadSeek: Read + Seek {}

impl<T: Read + Seek> ReadSeek for T {}

/// Where the bytes of an entry are.
#[derive(Clone)]
enum Origin<'a> {
    /// In the file of the entry's path.
    File,
    Memory(&'a [u8]),
    Member(Arc<Archive<'a>>, usize),
}

/// A file, a member, or bytes in memory.
#[derive(Clone)]
pub(crate) struct Entry<'a> {
    /// The file, or `archive.zip: member`: for messages and for lists of files.
    pub(crate) path: PathBuf,
    /// The folders and the name below the searched root; the last one is the name.
    pub(crate) inside: Vec<Vec<u8>>,
    origin: Origin<'a>,
}

impl<'a> Entry<'a> {
    /// A file.
    pub(crate) fn file(path: PathBuf, inside: Vec<Vec<u8>>) -> Self {
        Self { path, inside, origin: Origin::File }
    }

    /// Bytes in memory.
    pub(crate) fn memory(path: PathBuf, bytes: &'a [u8]) -> Self {
        Self { path, inside: Vec::new(), origin: Origin::Memory(bytes) }
    }

    /// A member of an archive.
    pub(crate) fn member(archive: &Arc<Archive<'a>>, index: usize, path: PathBuf) -> Self {
        let name = &archive.members[index].name;
        let inside = name.split(|&b| b == b'/').map(<[u8]>::to_vec).collect();
        Self { path, inside, origin: Origin::Member(Arc::clone(archive), index) }
    }

    /// The name without folders.
    pub(crate) fn name(&self) -> &[u8] {
        self.inside.last().map_or(&[], Vec::as_slice)
    }

    /// Whether the name ends so, ignoring case.
    pub(crate) fn has_extension(&self, extensions: &[&str]) -> bool {
        let extension = self.name().rsplit(|&b| b == b'.').next().unwrap_or(&[]);
        self.name().contains(&b'.')
            && extensions.iter().any(|known| known.as_bytes().eq_ignore_ascii_case(extension))
    }

    /// Adds the entry's identity to a hash: its name, and for a file its length and times. A member's
    /// contents change with its archive.
    pub(crate) fn stamp(&self, hash: &mut Fingerprint) {
        self.inside.iter().for_each(|name| hash.bytes(name));
        match &self.origin {
            Origin::File => stamp_file(&self.path, hash),
            Origin::Memory(bytes) => hash.bytes(bytes),
            Origin::Member(_, index) => hash.number(*index as u64),
        }
    }

    /// The bytes, front to back.
    pub(crate) fn stream(&self) -> Result<Stream<'_>> {
        let path: &Path = &self.path;
        match &self.origin {
            Origin::File => {
                let (file, length) = open(path)?;
                Ok(Stream::new(path, BufReader::with_capacity(1 << 16, file), Length::Exact(length)))
            }
            Origin::Memory(bytes) => Ok(Stream::new(path, *bytes, Length::Exact(bytes.len() as u64))),
            Origin::Member(archive, index) => archive.stream(*index, path),
        }
    }

    /// The bytes with seeking, and their number. A member of an archive is inflated into memory for it, up to
    /// `limit` bytes.
    pub(crate) fn seekable(&self, limit: u64) -> Result<(Box<dyn ReadSeek + '_>, u64)> {
        match &self.origin {
            Origin::File => {
                let (file, length) = open(&self.path)?;
                Ok((Box::new(BufReader::with_capacity(1 << 12, file)), length))
            }
            Origin::Memory(bytes) => Ok((Box::new(Cursor::new(*bytes)), bytes.len() as u64)),
            Origin::Member(..) => {
                let mut bytes = Vec::new();
                self.read_all(limit, &mut bytes)?;
                let length = bytes.len() as u64;
                Ok((Box::new(Cursor::new(bytes)), length))
            }
        }
    }

    /// Reads all bytes, at most `limit`, into `out`.
    pub(crate) fn read_all(&self, limit: u64, out: &mut Vec<u8>) -> Result<()> {
        self.stream()?.read_all(limit, out)
    }
}

/// Adds the length of a file and its times to a hash. On Unix that includes the time of the last change of
/// any kind, which no program can set: a file that was replaced by another with the same length and date is
/// noticed.
pub(crate) fn stamp_file(path: &Path, hash: &mut Fingerprint) {
    let Ok(meta) = path.metadata() else { return };
    hash.number(meta.len());
    let since = meta.modified().ok().and_then(|time| time.duration_since(std::time::UNIX_EPOCH).ok());
    hash.number(since.map_or(0, |time| time.as_nanos() as u64));
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        hash.number(meta.ctime() as u64);
        hash.number(meta.ctime_nsec() as u64);
    }
}

fn open(path: &Path) -> Result<(File, u64)> {
    let error = |e| Error::io("read", path, e);
    let file = File::open(path).map_err(error)?;
    let length = file.metadata().map_err(error)?.len();
    Ok((file, length))
}

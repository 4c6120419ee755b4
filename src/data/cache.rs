//! The cache file: pixels of a data set too large for memory, converted once.
//!
//! ```text
//! 16 bytes  "elbo pixels v1", two zeros
//! …         the pixels: N·H·W·C bytes, or little-endian floats
//! …         JSON: a hash of their source, their number, their checksum
//!  8 bytes  the length of the JSON, little-endian
//! ```
//!
//! A data set's training and test images have a file each, in the user's cache folder: not in the run's
//! folder, because the same images serve many runs and commands, and not in the folder for temporary files,
//! which often is in memory. The name depends on the path of the data and on their conversion, so changed
//! data replace the old. The key in the file is made of names, lengths and times of the source's files: a
//! file with another key is written again, and so is a damaged one. The file may be removed whenever no
//! command runs.

use super::budget::human_bytes;
use super::entry::{Entry, stamp_file};
use super::fingerprint::Fingerprint;
use super::images::Range;
use super::options::LoadOptions;
use super::pixel_file::{PixelFile, Place};
use super::pixels::{NOTHING, Pixels, wider};
use crate::storage::atomic::{create_folder, remove_stale, write_atomically};
use crate::storage::system::system;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

const MAGIC: &[u8; 16] = b"elbo pixels v1\0\0";
/// The start of every version's magic.
const OURS: &[u8] = b"elbo pixels ";
/// The longest valid JSON: it names the pictures that could not be decoded.
const LONGEST: u64 = 64 << 20;

/// Bytes of pixels that are converted and written at once; fewer if memory is scarce.
const PIECE: u64 = 8 << 20;

/// How many images of `bytes_of_one` bytes are converted and written at once within `max_memory`.
pub(crate) fn images_at_once(bytes_of_one: usize, max_memory: u64) -> usize {
    (PIECE.min(max_memory / 8) as usize / bytes_of_one.max(1)).max(1)
}

/// The JSON description.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Description {
    /// A hash of the pixels' sources and their conversion.
    key: u64,
    floats: bool,
    numbers: u64,
    /// The bits of the smallest and the largest value.
    extent: (u32, u32),
    /// The same for the source, before it was converted.
    source: (u32, u32),
    /// The bits of the values of black and white with which it was converted.
    range: (u32, u32),
    /// Pictures that could not be decoded, by number, and why.
    failed: Vec<(usize, String)>,
    /// The checksum of the pixels.
    crc: u32,
}

fn bits((low, high): (f32, f32)) -> (u32, u32) {
    (low.to_bits(), high.to_bits())
}

fn floats((low, high): (u32, u32)) -> (f32, f32) {
    (f32::from_bits(low), f32::from_bits(high))
}

/// Why a file has no description.
#[derive(Debug, PartialEq)]
pub(crate) enum Unreadable {
    /// It does not begin like a cache of elbo.
    Foreign,
    /// It was truncated or changed, or has another version.
    Damaged,
}

impl Description {
    /// Reads the description of a file of `length` bytes.
    ///
    /// # Errors
    /// If the file is not a cache of this version, or is damaged. The pixels are not read.
    pub(crate) fn read(mut file: impl Read + Seek, length: u64) -> std::result::Result<Self, Unreadable> {
        let mut magic = [0; MAGIC.len()];
        file.read_exact(&mut magic).map_err(|_| Unreadable::Foreign)?;
        if !magic.starts_with(OURS) {
            return Err(Unreadable::Foreign);
        }
        Self::after_magic(file, length).filter(|_| magic == *MAGIC).ok_or(Unreadable::Damaged)
    }

    fn after_magic(mut file: impl Read + Seek, length: u64) -> Option<Self> {
        let end = length.checked_sub(8).filter(|&end| end >= MAGIC.len() as u64)?;
        file.seek(SeekFrom::Start(end)).ok()?;
        let mut size = [0; 8];
        file.read_exact(&mut size).ok()?;
        let size = u64::from_le_bytes(size);
        let start = end.checked_sub(size).filter(|_| size <= LONGEST)?;
        file.seek(SeekFrom::Start(start)).ok()?;
        let mut json = vec![0; size as usize];
        file.read_exact(&mut json).ok()?;
        let description: Self = serde_json::from_slice(&json).ok()?;
        let pixels = description.numbers.checked_mul(description.bytes_each())?;
        (pixels.checked_add(MAGIC.len() as u64)? == start).then_some(description)
    }

    fn bytes_each(&self) -> u64 {
        if self.floats { 4 } else { 1 }
    }
}

/// The hash for a name: the path of the data, the part, and the options that affect pixels.
pub(crate) fn name(path: &Path, part: &str, options: &LoadOptions) -> u64 {
    let mut hash = Fingerprint::new();
    let path = path.canonicalize().unwrap_or_else(|_| path.to_path_buf());
    hash.bytes(path.as_os_str().as_encoded_bytes());
    hash.bytes(part.as_bytes());
    let LoadOptions { size, color, fit, background, layout, array, .. } = options;
    hash.bytes(format!("{:?}", (size, color, fit, background, layout, array)).as_bytes());
    hash.finish()
}

/// The hash for a key, of entries of the data at `path`. Whatever else the pixels depend on is added by the
/// caller. The program's version is included, as another one may convert differently.
pub(crate) fn key<'e, 'a: 'e>(path: &Path, entries: impl IntoIterator<Item = &'e Entry<'a>>) -> Fingerprint {
    let mut hash = Fingerprint::new();
    hash.bytes(env!("CARGO_PKG_VERSION").as_bytes());
    if path.is_file() {
        stamp_file(path, &mut hash);
    }
    entries.into_iter().for_each(|entry| entry.stamp(&mut hash));
    hash
}

/// Where pixels are cached, and their source.
pub(crate) struct Cache {
    path: PathBuf,
    key: u64,
    /// Numbers of an image.
    image: usize,
}

/// Cached pixels.
pub(crate) struct Cached {
    pub(crate) file: PixelFile,
    /// The extent of the source.
    pub(crate) source: (f32, f32),
    /// Black and white, with which they were converted.
    pub(crate) range: Range,
    /// Pictures that could not be decoded, by number, and why.
    pub(crate) failed: Vec<(usize, String)>,
}

impl Cache {
    /// The cache in `folder` whose name derives from a hash; `image` is the length of an image.
    pub(crate) fn new(folder: &Path, name: u64, key: u64, image: usize) -> Self {
        Self { path: folder.join(format!("{name:016x}.pixels")), key, image }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The pixels, if they exist, are undamaged, and were made from exactly these images.
    ///
    /// # Errors
    /// If the file is not elbo's, or the system refuses to read it.
    pub(crate) fn open(&self) -> Result<Option<Cached>> {
        let file = match File::open(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            file => file.map_err(|error| Error::io("read", &self.path, error))?,
        };
        let length = file.metadata().map_err(|error| Error::io("read", &self.path, error))?.len();
        let found = match Description::read(io::BufReader::new(&file), length) {
            Ok(found) => found,
            Err(Unreadable::Damaged) => return Ok(None),
            Err(Unreadable::Foreign) => {
                let message = "is not a cache of elbo's, and pixels are to be kept under this name; remove it, or give it another name";
                return Err(Error::data(&self.path, message));
            }
        };
        if found.key != self.key || !found.numbers.is_multiple_of(self.image as u64) {
            return Ok(None);
        }
        let place = Place {
            start: MAGIC.len() as u64,
            floats: found.floats,
            numbers: found.numbers,
            image: self.image,
            extent: floats(found.extent),
        };
        let pixels = PixelFile::new(file, &self.path, place);
        let mut crc = crc32fast::Hasher::new();
        pixels.pieces(|piece| crc.update(piece))?;
        let (low, high) = floats(found.range);
        let cached = Cached {
            file: pixels,
            source: floats(found.source),
            range: Range { low, high },
            failed: found.failed,
        };
        Ok((crc.finalize() == found.crc).then_some(cached))
    }

    /// Writes the pixels that `fill` produces, about `bytes` of them, converted with `range`, and opens them.
    /// An existing file is replaced.
    ///
    /// # Errors
    /// Those of `fill`; or if the file cannot be written. The previous one then still exists.
    pub(crate) fn build(
        &self,
        bytes: u64,
        range: Range,
        fill: impl FnOnce(&mut Writer<'_>) -> Result<()>,
    ) -> Result<Cached> {
        // Errors about the cache's folder or its parents are the cache's; errors about other files are the
        // source's.
        let is_ours = |path: &Path| path.starts_with(self.folder()) || self.folder().starts_with(path);
        let no_room = |error: Error| match error {
            Error::Io { action, path, source } if is_ours(&path) => Error::data(
                &path,
                format!(
                    "cannot {action} it: {source}; the pixels take {bytes} bytes ({}) of disk. XDG_CACHE_HOME names another folder for caches, \
                     and with a larger --max-memory the pixels stay in memory",
                    human_bytes(bytes)
                ),
            ),
            other => other,
        };
        create_folder(system(), self.folder()).map_err(no_room)?;
        remove_stale(system(), self.folder()).map_err(no_room)?;
        let mut failure = None;
        let written = write_atomically(system(), &self.path, |out| {
            let mut writer = Writer::new(out, &self.path);
            match writer.begin().and_then(|()| fill(&mut writer)).and_then(|()| writer.end(self.key, range)) {
                Ok(()) => Ok(()),
                Err(error) => {
                    failure = Some(error);
                    Err(io::Error::other("the pixels could not be written"))
                }
            }
        });
        if let Some(error) = failure {
            return Err(no_room(error));
        }
        written.map_err(no_room)?;
        // Read once more: the following code relies on the contents of the disk.
        self.open()?.ok_or_else(|| {
            let message = "reading it back returns other data than was written: another process wrote it, \
                           or its disk is faulty";
            Error::data(&self.path, message)
        })
    }

    fn folder(&self) -> &Path {
        self.path.parent().unwrap_or(Path::new("."))
    }
}

/// A cache file being written.
pub(crate) struct Writer<'w> {
    out: &'w mut dyn Write,
    path: &'w Path,
    bytes: Vec<u8>,
    crc: crc32fast::Hasher,
    floats: bool,
    numbers: u64,
    extent: (f32, f32),
    source: Option<(f32, f32)>,
    failed: Vec<(usize, String)>,
}

impl<'w> Writer<'w> {
    fn new(out: &'w mut dyn Write, path: &'w Path) -> Self {
        let crc = crc32fast::Hasher::new();
        let (bytes, failed) = (Vec::new(), Vec::new());
        Self { out, path, bytes, crc, floats: false, numbers: 0, extent: NOTHING, source: None, failed }
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.out.write_all(bytes).map_err(|error| Error::io("write", self.path, error))
    }

    fn begin(&mut self) -> Result<()> {
        self.write(MAGIC)
    }

    /// Adds the pixels of the next images, always of the same kind.
    pub(crate) fn add(&mut self, pixels: &Pixels) -> Result<()> {
        self.extent = wider(self.extent, pixels.extent());
        let mut buffer = std::mem::take(&mut self.bytes);
        let bytes = match pixels {
            Pixels::U8(values) => &values[..],
            Pixels::F32(values) => {
                buffer.clear();
                buffer.extend(values.iter().flat_map(|v| v.to_le_bytes()));
                &buffer[..]
            }
            Pixels::File(_) => unreachable!("pieces are in memory"),
        };
        self.floats = !pixels.is_bytes();
        self.numbers += pixels.numbers();
        self.crc.update(bytes);
        self.write(bytes)?;
        self.bytes = buffer;
        Ok(())
    }

    /// Sets the extent of the source's values, if it differs from that of the written ones.
    pub(crate) fn source(&mut self, extent: (f32, f32)) {
        self.source = Some(extent);
    }

    /// Adds pictures that could not be decoded, by index.
    pub(crate) fn failed(&mut self, pictures: impl IntoIterator<Item = (usize, String)>) {
        self.failed.extend(pictures);
    }

    fn end(&mut self, key: u64, range: Range) -> Result<()> {
        let description = Description {
            key,
            floats: self.floats,
            numbers: self.numbers,
            extent: bits(self.extent),
            source: bits(self.source.unwrap_or(self.extent)),
            range: bits((range.low, range.high)),
            failed: std::mem::take(&mut self.failed),
            crc: self.crc.clone().finalize(),
        };
        let json = serde_json::to_vec(&description).expect("numbers and texts");
        self.write(&json)?;
        self.write(&(json.len() as u64).to_le_bytes())
    }
}

/// The user's cache folder: that of the XDG Base Directory Specification, and its counterparts on macOS and
/// Windows.
pub fn default_folder() -> Option<PathBuf> {
    let folder =
        |variable: &str| std::env::var_os(variable).map(PathBuf::from).filter(|folder| folder.is_absolute());
    let home = || folder("HOME");
    let caches = folder("XDG_CACHE_HOME").or_else(|| match std::env::consts::OS {
        "macos" => Some(home()?.join("Library/Caches")),
        "windows" => folder("LOCALAPPDATA"),
        _ => Some(home()?.join(".cache")),
    })?;
    Some(caches.join("elbo"))
}

/// Whether bytes are a cache file whose description can be read: for the fuzz tests.
#[doc(hidden)]
pub fn is_cache(bytes: &[u8]) -> bool {
    Description::read(io::Cursor::new(bytes), bytes.len() as u64).is_ok()
}

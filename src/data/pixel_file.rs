//! Pixels that stay in a file: a batch's pixels are read when it is filled.
//!
//! Every read names its position, so threads do not wait for each other, and uses a buffer that is kept, so
//! reading allocates nothing. The file is not memory-mapped: if a mapped file is truncated, a signal ends the
//! process, whereas a failed read is an error. The error must leave code that fills batches and returns no
//! results, so it unwinds as an [`Error`](crate::Error), which `caught` turns into a result again.

use super::image::Image;
use crate::error::unwind;
use crate::kernels::scratch::Scratch;
use crate::{Error, Result};
use std::fmt;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// Bytes that are read at once if all are wanted; a multiple of 8.
const PIECE: usize = 4 << 20;

/// Pixels in a file, from the position `start` on: bytes, or floats in little-endian order.
#[derive(Clone)]
pub struct PixelFile(Arc<Inner>);

struct Inner {
    path: PathBuf,
    file: File,
    start: u64,
    floats: bool,
    /// The total number of values.
    numbers: u64,
    /// The number of values per image.
    image: usize,
    /// The smallest and the largest value.
    extent: (f32, f32),
    bytes: Scratch<u8>,
    values: Scratch<f32>,
    /// A hash before these pixels and the same hash after them.
    hashed: Mutex<Option<(u64, u64)>>,
}

/// The position and properties of pixels in a file.
pub(crate) struct Place {
    pub(crate) start: u64,
    pub(crate) floats: bool,
    pub(crate) numbers: u64,
    pub(crate) image: usize,
    pub(crate) extent: (f32, f32),
}

impl PixelFile {
    pub(crate) fn new(file: File, path: &Path, place: Place) -> Self {
        let Place { start, floats, numbers, image, extent } = place;
        let each = if floats { 4 } else { 1 };
        Self(Arc::new(Inner {
            path: path.to_path_buf(),
            file,
            start,
            floats,
            numbers,
            image,
            extent,
            bytes: Scratch::new(image * each),
            values: Scratch::new(if floats { image } else { 0 }),
            hashed: Mutex::new(None),
        }))
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.0.path
    }

    /// Whether the pixels are floats.
    pub fn is_float(&self) -> bool {
        self.0.floats
    }

    /// The total number of values.
    pub(crate) fn numbers(&self) -> u64 {
        self.0.numbers
    }

    /// Bytes of memory that the buffers use.
    pub(crate) fn memory(&self) -> u64 {
        let each = if self.0.floats { 8 } else { 1 };
        (self.0.image * each * (rayon::current_num_threads() + 1)) as u64
    }

    /// The smallest and the largest value.
    pub(crate) fn extent(&self) -> (f32, f32) {
        self.0.extent
    }

    /// Lends image `index` to `task`.
    ///
    /// # Panics
    /// Unwinds with an [`Error`] if the file cannot be read.
    pub(crate) fn image<R>(&self, index: usize, task: impl FnOnce(Image<'_>) -> R) -> R {
        let Inner { image, floats, .. } = *self.0;
        let each = if floats { 4 } else { 1 };
        self.0.bytes.with(image * each, |bytes| {
            let position = (index * image * each) as u64;
            self.read(position, bytes).unwrap_or_else(|error| unwind(error));
            if !floats {
                return task(Image::U8(bytes));
            }
            self.0.values.with(image, |values| {
                to_floats(bytes, values);
                task(Image::F32(values))
            })
        })
    }

    /// All bytes in order, piece by piece; each piece but the last has a multiple of 8 bytes.
    pub(crate) fn pieces(&self, mut task: impl FnMut(&[u8])) -> Result<()> {
        let length = self.0.numbers * if self.0.floats { 4 } else { 1 };
        let mut buffer = vec![0; PIECE.min(length as usize)];
        let mut position = 0;
        while position < length {
            let piece = &mut buffer[..PIECE.min((length - position) as usize)];
            self.read(position, piece)?;
            task(piece);
            position += piece.len() as u64;
        }
        Ok(())
    }

    /// The hash continued over all [`pieces`](Self::pieces); it is remembered, since computing it reads the
    /// whole file.
    ///
    /// # Panics
    /// Unwinds with an [`Error`] if the file cannot be read.
    pub(crate) fn hashed(&self, before: u64, hash: impl FnOnce(&Self) -> Result<u64>) -> u64 {
        let mut hashed = self.0.hashed.lock().unwrap_or_else(PoisonError::into_inner);
        match *hashed {
            Some((known, after)) if known == before => after,
            _ => {
                let after = hash(self).unwrap_or_else(|error| unwind(error));
                *hashed = Some((before, after));
                after
            }
        }
    }

    fn read(&self, position: u64, out: &mut [u8]) -> Result<()> {
        let Inner { file, path, start, .. } = &*self.0;
        read_at(file, out, start + position).map_err(|error| Error::io("read", path, error))
    }
}

/// Bytes as little-endian floats.
pub(crate) fn to_floats(bytes: &[u8], out: &mut [f32]) {
    let (numbers, _) = bytes.as_chunks::<4>();
    out.iter_mut().zip(numbers).for_each(|(out, bytes)| *out = f32::from_le_bytes(*bytes));
}

#[cfg(unix)]
fn read_at(file: &File, out: &mut [u8], position: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, out, position)
}

#[cfg(not(unix))]
fn read_at(mut file: &File, out: &mut [u8], position: u64) -> io::Result<()> {
    use std::io::{Read, Seek, SeekFrom};
    // A file has one position, which all threads move.
    static MOVING: Mutex<()> = Mutex::new(());
    let _moving = MOVING.lock().unwrap_or_else(PoisonError::into_inner);
    file.seek(SeekFrom::Start(position))?;
    file.read_exact(out)
}

impl fmt::Debug for PixelFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PixelFile({:?}, {} numbers)", self.0.path, self.0.numbers)
    }
}

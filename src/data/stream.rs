//! Bytes of a file, an archive member or memory, read with limits.
//!
//! A stream has an upper bound on its length: a plain file's own length, and for a compressed one deflate's
//! limit of 1032 bytes out of one. [`Stream::expect`] compares this with the header's promise before a buffer
//! is allocated.

use crate::{Error, Result};
use std::io::{self, BufRead, Read};
use std::path::Path;

/// Deflate's highest ratio: 258 bytes from 2 bits.
pub(crate) const DEFLATE_RATIO: u64 = 1032;

/// The length of a stream.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Length {
    /// Exactly so many bytes.
    Exact(u64),
    /// At most so many bytes; the length of compressed data is known only at their end.
    AtMost(u64),
}

/// A stream of bytes with a known bound on its length, and its path for messages.
pub(crate) struct Stream<'a> {
    /// The file, for messages.
    pub(crate) path: &'a Path,
    reader: Box<dyn BufRead + 'a>,
    length: Length,
    position: u64,
    progress: Option<&'a (dyn Fn(u64) + Sync)>,
}

impl<'a> Stream<'a> {
    pub(crate) fn new(path: &'a Path, reader: impl BufRead + 'a, length: Length) -> Self {
        Self { path, reader: Box::new(reader), length, position: 0, progress: None }
    }

    /// The decompressed stream of `compressed` bytes of gzip data.
    pub(crate) fn gunzip(path: &'a Path, reader: impl BufRead + 'a, compressed: u64) -> Self {
        let most = compressed.saturating_mul(DEFLATE_RATIO);
        let inflated = io::BufReader::with_capacity(1 << 16, flate2::bufread::MultiGzDecoder::new(reader));
        Self::new(path, inflated, Length::AtMost(most))
    }

    /// Returns the next `count` bytes without consuming them: fewer only if the stream ends before.
    pub(crate) fn peek(&mut self, count: usize) -> Result<Vec<u8>> {
        let mut head = Vec::with_capacity(count);
        (&mut self.reader)
            .take(count as u64)
            .read_to_end(&mut head)
            .map_err(|e| failure(self.path, self.position, e))?;
        let rest = std::mem::replace(&mut self.reader, Box::new(io::empty()));
        self.reader = Box::new(io::Cursor::new(head.clone()).chain(rest));
        Ok(head)
    }

    /// The rest of the stream, decompressed from gzip.
    pub(crate) fn gunzipped(self) -> Self {
        let compressed = match self.length {
            Length::Exact(length) | Length::AtMost(length) => length,
        };
        Self::gunzip(self.path, self.reader, compressed)
    }

    /// The upper bound on the remaining bytes.
    pub(crate) fn most(&self) -> u64 {
        match self.length {
            Length::Exact(length) | Length::AtMost(length) => length,
        }
    }

    /// Reads the rest into `out`, which is cleared first; more than `limit` bytes are an error.
    pub(crate) fn read_all(mut self, limit: u64, out: &mut Vec<u8>) -> Result<()> {
        out.clear();
        let expected = usize::try_from(self.most().min(limit)).unwrap_or(0);
        if let Length::Exact(_) = self.length
            && out.try_reserve_exact(expected).is_err()
        {
            return Err(Error::data(self.path, "is larger than this machine's memory"));
        }
        (&mut self.reader)
            .take(limit.saturating_add(1))
            .read_to_end(out)
            .map_err(|e| failure(self.path, self.position, e))?;
        if out.len() as u64 > limit {
            let message = format!("it has more than {limit} bytes, which no picture of its size needs");
            return Err(Error::data(self.path, message));
        }
        Ok(())
    }

    /// Checks that exactly `bytes` more can follow, before memory is allocated for them.
    pub(crate) fn expect(&self, bytes: u64) -> Result<()> {
        let end = self.position.saturating_add(bytes);
        match self.length {
            Length::Exact(length) if length != end => Err(Error::data(
                self.path,
                format!("it has {length} bytes where its header promises {end}: it was cut off or damaged"),
            )),
            Length::AtMost(most) if most < end => Err(Error::data(
                self.path,
                format!(
                    "its header promises {end} bytes, more than its compressed size can hold: it was cut off or damaged"
                ),
            )),
            _ => Ok(()),
        }
    }

    /// Fills `out`.
    pub(crate) fn read(&mut self, out: &mut [u8]) -> Result<()> {
        let mut filled = 0;
        while filled < out.len() {
            match self.reader.read(&mut out[filled..]) {
                Ok(0) => return Err(cut_off(self.path, self.position + filled as u64)),
                Ok(n) => filled += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(failure(self.path, self.position + filled as u64, e)),
            }
        }
        self.position += filled as u64;
        if let Some(progress) = self.progress {
            progress(filled as u64);
        }
        Ok(())
    }

    /// The same stream; `progress` is told repeatedly how many bytes were read.
    pub(crate) fn watched(self, progress: &'a (dyn Fn(u64) + Sync)) -> Self {
        Self { progress: Some(progress), ..self }
    }

    /// Checks that nothing follows. For compressed data, this verifies the checksum.
    pub(crate) fn finish(mut self) -> Result<()> {
        match self.reader.read(&mut [0]) {
            Ok(0) => Ok(()),
            Ok(_) => Err(Error::data(
                self.path,
                format!(
                    "it continues after the {} bytes that its header promises: it is damaged",
                    self.position
                ),
            )),
            Err(e) => Err(failure(self.path, self.position, e)),
        }
    }
}

fn cut_off(path: &Path, position: u64) -> Error {
    Error::data(path, format!("it ends after {position} bytes, in the middle: it was cut off or damaged"))
}

/// Damaged compressed data are an error of the file, everything else of the system.
fn failure(path: &Path, position: u64, error: io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => cut_off(path, position),
        io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput | io::ErrorKind::Other => {
            Error::data(path, format!("its compressed data are damaged after {position} bytes ({error})"))
        }
        _ => Error::io("read", path, error),
    }
}

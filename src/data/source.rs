//! Bytes from a file, an archive member or memory, read with suspicion.
//!
//! Two rules keep hostile files harmless. A buffer is only made after it is known that the input can fill it: a plain file
//! by its length, a compressed one because deflate never makes more than 1032 bytes out of one. And what all buffers take
//! together stays below a limit (`--max-memory`).

use crate::{Error, Result};
use std::io::{self, BufRead, Read};
use std::path::Path;

/// Deflate's best: 258 bytes for 2 bits.
pub(crate) const DEFLATE_RATIO: u64 = 1032;

/// Rows or columns of an image: what takes memory per row or column stays small, too.
pub(crate) const LONGEST_SIDE: usize = 65_535;

/// Memory that the images may take.
pub(crate) struct Budget {
    limit: u64,
    used: u64,
}

impl Budget {
    pub(crate) fn new(limit: u64) -> Self {
        Self { limit, used: 0 }
    }

    /// Claims memory, or says which option would allow it.
    pub(crate) fn take(&mut self, bytes: u64, path: &Path) -> Result<()> {
        let wanted = self.used.saturating_add(bytes);
        if wanted > self.limit {
            let message = format!(
                "its images take {} of memory, more than the {} that --max-memory allows",
                human_bytes(wanted),
                human_bytes(self.limit)
            );
            return Err(Error::data(path, message));
        }
        self.used = wanted;
        Ok(())
    }

    pub(crate) fn give_back(&mut self, bytes: u64) {
        self.used = self.used.saturating_sub(bytes);
    }
}

/// 3 decimal digits and a binary unit.
pub(crate) fn human_bytes(bytes: u64) -> String {
    let units = ["bytes", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < units.len() {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 { format!("{bytes} bytes") } else { format!("{value:.1} {}", units[unit]) }
}

/// A buffer of zeros, or an error where the system has no memory for it. The system gives its pages when they are first written to,
/// so a file that is cut off costs no more than the bytes that it does have.
pub(crate) fn zeros<V: Clone + Default>(len: usize, path: &Path) -> Result<Vec<V>> {
    // Vec's macro asks for zeroed pages but ends the program if there are none: hence a question first.
    if Vec::<V>::new().try_reserve_exact(len).is_err() {
        let size = human_bytes((len as u64).saturating_mul(size_of::<V>() as u64));
        return Err(Error::data(
            path,
            format!("its images take {size} of memory, which this machine does not give"),
        ));
    }
    Ok(vec![V::default(); len])
}

/// How many bytes a source has.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Length {
    /// Just so many.
    Exact(u64),
    /// So many at most; compressed data tell only when they end.
    AtMost(u64),
}

/// A stream of bytes that knows what it may promise, and where it comes from.
pub(crate) struct Source<'a> {
    /// The file, for messages.
    pub(crate) path: &'a Path,
    reader: Box<dyn BufRead + 'a>,
    length: Length,
    position: u64,
}

impl<'a> Source<'a> {
    pub(crate) fn new(path: &'a Path, reader: impl BufRead + 'a, length: Length) -> Self {
        Self { path, reader: Box::new(reader), length, position: 0 }
    }

    /// What gzip data of `compressed` bytes become.
    pub(crate) fn gunzip(path: &'a Path, reader: impl BufRead + 'a, compressed: u64) -> Self {
        let most = compressed.saturating_mul(DEFLATE_RATIO);
        let inflated = io::BufReader::with_capacity(1 << 16, flate2::bufread::MultiGzDecoder::new(reader));
        Self::new(path, inflated, Length::AtMost(most))
    }

    /// The next bytes, without taking them: fewer than 8 only if there are no more.
    pub(crate) fn peek(&mut self) -> Result<[u8; 8]> {
        let mut first = [0; 8];
        let found = self.reader.fill_buf().map_err(|e| failure(self.path, self.position, e))?;
        let len = found.len().min(8);
        first[..len].copy_from_slice(&found[..len]);
        Ok(first)
    }

    /// Makes sure that just `bytes` more can follow, before room is made for them.
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
        Ok(())
    }

    /// Makes sure that nothing follows. Compressed data have their checksum compared here.
    pub(crate) fn finish(mut self) -> Result<()> {
        match self.reader.read(&mut [0]) {
            Ok(0) => Ok(()),
            Ok(_) => Err(Error::data(
                self.path,
                format!(
                    "it goes on after the {} bytes that its header promises: it is damaged",
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

/// Damaged compressed data are a matter of the file, everything else of the system.
fn failure(path: &Path, position: u64, error: io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => cut_off(path, position),
        io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput | io::ErrorKind::Other => {
            Error::data(path, format!("its compressed data are damaged after {position} bytes ({error})"))
        }
        _ => Error::io("read", path, error),
    }
}

/// What a file is, by its first bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Idx,
    Npy,
    Zip,
    Png,
    Gzip,
}

/// Finds the format, or says what was found instead.
pub(crate) fn sniff(first: &[u8], path: &Path) -> Result<Format> {
    let starts = |magic: &[u8]| first.starts_with(magic);
    let known = "what can be read is IDX (also .gz), .npy, .npz, and folders of PNG files";
    if starts(b"\x93NUMPY") {
        Ok(Format::Npy)
    } else if starts(b"PK\x03\x04") || starts(b"PK\x05\x06") {
        Ok(Format::Zip)
    } else if starts(b"\x89PNG") {
        Ok(Format::Png)
    } else if starts(b"\x1f\x8b") {
        Ok(Format::Gzip)
    } else if first.len() >= 4 && starts(b"\0\0") && matches!(first[2], 0x08..=0x0e) && first[3] != 0 {
        Ok(Format::Idx)
    } else if first.iter().all(|&b| b == 0) {
        Err(Error::data(path, format!("it is empty or starts with zeros, and is no image data; {known}")))
    } else {
        let guess = match first {
            [0xff, 0xd8, 0xff, ..] => " (a JPEG: convert it to PNG)",
            [b'G', b'I', b'F', b'8', ..] => " (a GIF: convert it to PNG)",
            [b'B', b'M', ..] => " (perhaps a BMP: convert it to PNG)",
            [b'R', b'I', b'F', b'F', ..] => " (perhaps a WebP: convert it to PNG)",
            [0x80, 2..=5, ..] => " (a Python pickle: save the array with numpy.save)",
            _ => "",
        };
        let shown: Vec<String> = first.iter().take(4).map(|b| format!("{b:02x}")).collect();
        Err(Error::data(path, format!("its first bytes are {}{guess}, and {known}", shown.join(" "))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_budget_names_its_option() {
        let mut budget = Budget::new(1 << 20);
        budget.take(1 << 19, Path::new("a")).unwrap();
        let message = budget.take(3 << 20, Path::new("a.npy")).unwrap_err().to_string();
        assert_eq!(
            message,
            "a.npy: its images take 3.5 MiB of memory, more than the 1.0 MiB that --max-memory allows"
        );
        budget.give_back(1 << 19);
        budget.take(1 << 20, Path::new("a")).unwrap();
        assert!(budget.take(u64::MAX, Path::new("a")).is_err());
    }

    #[test]
    fn formats_by_their_first_bytes() {
        let path = Path::new("x");
        assert_eq!(sniff(b"\x93NUMPY\x01\x00", path).unwrap(), Format::Npy);
        assert_eq!(sniff(&[0, 0, 8, 3, 0, 0, 0, 1], path).unwrap(), Format::Idx);
        assert_eq!(sniff(b"PK\x03\x04", path).unwrap(), Format::Zip);
        for (bytes, part) in [
            (&b"\xff\xd8\xff\xe0"[..], "x: its first bytes are ff d8 ff e0 (a JPEG: convert it to PNG), and"),
            (b"hello", "x: its first bytes are 68 65 6c 6c, and what can be read is IDX"),
            (b"", "x: it is empty or starts with zeros"),
            (&[0; 8], "x: it is empty or starts with zeros"),
        ] {
            let message = sniff(bytes, path).unwrap_err().to_string();
            assert!(message.starts_with(part), "{message}");
        }
    }
}

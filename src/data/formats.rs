//! The list of all formats, and the names of those that cannot be read.
//!
//! A format is recognized by the first bytes of a file, never by its name.

use super::format::{ArrayFormat, PictureFormat};
use super::idx::IDX;
use super::jpeg::JPEG;
use super::npy::NPY;
use super::png::PNG;
use super::webp::WEBP;

/// All formats of pictures.
pub(crate) const PICTURES: &[&PictureFormat] = &[&PNG, &JPEG, &WEBP];
/// All formats of arrays.
pub(crate) const ARRAYS: &[&ArrayFormat] = &[&NPY, &IDX];

/// The readable formats, for messages.
pub(crate) const READABLE: &str = "what can be read is PNG, JPEG, WebP, IDX (also .gz), .npy, .npz, and folders and .zip archives of pictures";

/// The number of bytes from the beginning of a file that identify it: tar has its mark at the end of the
/// first record.
pub(crate) const HEAD: usize = 264;

/// The format of a file.
#[derive(Clone, Copy)]
pub(crate) enum Format {
    Picture(&'static PictureFormat),
    Array(&'static ArrayFormat),
    Zip,
    Gzip,
}

impl Format {
    /// Its name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Picture(format) => format.name,
            Self::Array(format) => format.name,
            Self::Zip => "zip",
            Self::Gzip => "gzip",
        }
    }
}

/// Recognizes a file's format by its first bytes, [`HEAD`] of them if it has so many.
pub(crate) fn recognize(head: &[u8]) -> Option<Format> {
    if let Some(format) = PICTURES.iter().find(|format| (format.is)(head)) {
        return Some(Format::Picture(format));
    }
    if let Some(format) = ARRAYS.iter().find(|format| (format.is)(head)) {
        return Some(Format::Array(format));
    }
    match head {
        [b'P', b'K', 3, 4, ..] | [b'P', b'K', 5, 6, ..] => Some(Format::Zip),
        [0x1f, 0x8b, ..] => Some(Format::Gzip),
        _ => None,
    }
}

/// A format that cannot be read: its name, and the command that converts it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Foreign {
    pub(crate) name: &'static str,
    pub(crate) command: &'static str,
}

/// A magic number: its offset, its bytes, the format's name, and the command that converts it.
type Mark = (usize, &'static [u8], &'static str, &'static str);

/// ImageMagick; `magick mogrify` from version 7 on.
const TO_PNG: &str = "mogrify -format png FILES";
const HEIC_TO_PNG: &str = "heif-convert FILE.heic FILE.png";
const UNPACK: &str = "unpack it and name the folder";

/// Common formats that this program does not read.
const FOREIGN: &[Mark] = &[
    (0, b"II*\0", "TIFF", TO_PNG),
    (0, b"MM\0*", "TIFF", TO_PNG),
    (0, b"II+\0", "TIFF", TO_PNG),
    (0, b"MM\0+", "TIFF", TO_PNG),
    (0, b"GIF8", "GIF", TO_PNG),
    (0, b"BM", "BMP", TO_PNG),
    (0, b"\xff\x0a", "JPEG XL", "djxl FILE.jxl FILE.png"),
    (0, b"\0\0\0\x0cJXL ", "JPEG XL", "djxl FILE.jxl FILE.png"),
    (0, b"\0\0\0\x0cjP  ", "JPEG 2000", TO_PNG),
    (4, b"ftypheic", "HEIC", HEIC_TO_PNG),
    (4, b"ftypheix", "HEIC", HEIC_TO_PNG),
    (4, b"ftyphevc", "HEIC", HEIC_TO_PNG),
    (4, b"ftypmif1", "HEIC", HEIC_TO_PNG),
    (4, b"ftypmsf1", "HEIC", HEIC_TO_PNG),
    (4, b"ftypavif", "AVIF", "avifdec FILE.avif FILE.png"),
    (4, b"ftyp", "MP4", "ffmpeg -i FILE.mp4 %06d.png"),
    (
        0,
        b"\x89HDF\r\n\x1a\n",
        "HDF5",
        "python3 -c \"import h5py, numpy; numpy.save('images.npy', h5py.File('FILE.h5')['NAME'][:])\"",
    ),
    (
        0,
        b"PAR1",
        "Parquet",
        "python3 -c \"import pandas; [open(f'{i:06}.png', 'wb').write(x['bytes']) for i, x in enumerate(pandas.read_parquet('FILE.parquet')['image'])]\"",
    ),
    (
        0,
        b"MATLAB 5.0",
        "MATLAB",
        "python3 -c \"import scipy.io, numpy; numpy.save('images.npy', scipy.io.loadmat('FILE.mat')['NAME'])\"",
    ),
    (257, b"ustar", "tar", "tar xf FILE.tar"),
    (0, b"\xfd7zXZ\0", "xz", "tar xf FILE.tar.xz, or xz -d FILE.xz"),
    (0, b"BZh", "bzip2", "tar xf FILE.tar.bz2, or bzip2 -d FILE.bz2"),
    (0, b"\x28\xb5\x2f\xfd", "zstd", "tar xf FILE.tar.zst, or zstd -d FILE.zst"),
    (0, b"7z\xbc\xaf\x27\x1c", "7z", UNPACK),
    (0, b"Rar!\x1a\x07", "RAR", UNPACK),
    (0, b"%PDF", "PDF", "pdfimages -png FILE.pdf IMAGE"),
];

const PICKLE: Foreign = Foreign {
    name: "Python pickle",
    command: "python3 -c \"import pickle, numpy; numpy.save('images.npy', pickle.load(open('FILE', 'rb'), encoding='bytes')[b'data'])\"",
};
const CSV: Foreign = Foreign {
    name: "text",
    command: "python3 -c \"import numpy; numpy.save('images.npy', numpy.loadtxt('FILE.csv', delimiter=','))\"",
};

/// Recognizes a format that cannot be read.
pub(crate) fn foreign(head: &[u8]) -> Option<Foreign> {
    let marked = |(at, mark, ..): &&Mark| head.get(*at..).is_some_and(|rest| rest.starts_with(mark));
    if let Some(&(_, _, name, command)) = FOREIGN.iter().find(marked) {
        return Some(Foreign { name, command });
    }
    let number = |&b: &u8| b.is_ascii_digit() || b" ,.;+-eE\t\r\n\"".contains(&b);
    match head {
        [0x80, 2..=5, ..] => Some(PICKLE),
        [first, ..] if first.is_ascii_digit() && head.iter().all(number) => Some(CSV),
        _ => None,
    }
}

/// The error for a file that begins with `head`: the middle of a sentence.
pub(crate) fn unknown(head: &[u8]) -> String {
    if let Some(Foreign { name, command }) = foreign(head) {
        return format!("is {name}, which cannot be read; convert it: {command}");
    }
    if head.iter().take(8).all(|&b| b == 0) {
        return format!("is empty or starts with zeros, and is not image data; {READABLE}");
    }
    let shown: Vec<String> = head.iter().take(4).map(|b| format!("{b:02x}")).collect();
    format!("begins with the bytes {}, which no known image format does; {READABLE}", shown.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_by_their_first_bytes() {
        let name = |head: &[u8]| recognize(head).map(Format::name);
        assert_eq!(name(b"\x93NUMPY\x01\x00"), Some("npy"));
        assert_eq!(name(&[0, 0, 8, 3, 0, 0, 0, 1]), Some("IDX"));
        assert_eq!(name(b"PK\x03\x04"), Some("zip"));
        assert_eq!(name(b"\x1f\x8b\x08"), Some("gzip"));
        assert_eq!(name(b"\x89PNG\r\n\x1a\n"), Some("PNG"));
        for head in [&b""[..], b"\0", b"hello", &[0; 300]] {
            assert_eq!(name(head), None);
        }
    }

    #[test]
    fn formats_that_cannot_be_read_are_named() {
        let mut tar = vec![b'a'; 300];
        tar[257..262].copy_from_slice(b"ustar");
        for (head, name) in [
            (&b"II*\0abcd"[..], "TIFF"),
            (b"GIF89a", "GIF"),
            (b"BM\x36\0", "BMP"),
            (b"\0\0\0\x18ftypheic", "HEIC"),
            (b"\x89HDF\r\n\x1a\n", "HDF5"),
            (b"PAR1\x15", "Parquet"),
            (&tar, "tar"),
            (b"\x80\x04\x95", "Python pickle"),
            (b"0,0,12.5\n1,2,3", "text"),
        ] {
            let found = foreign(head).unwrap();
            assert_eq!(found.name, name);
            assert!(unknown(head).starts_with(&format!("is {name}, which cannot be read; convert it: ")));
        }
        assert!(unknown(b"hello").starts_with(
            "begins with the bytes 68 65 6c 6c, which no known image format does; what can be read is"
        ));
        assert!(unknown(b"").starts_with("is empty or starts with zeros"));
    }
}

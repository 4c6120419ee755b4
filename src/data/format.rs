//! The interface of a file format: how it is recognized, and how it is read.
//!
//! There are two kinds. A picture format has one image in a file; its header is read first
//! ([`PictureFormat::measure`]), and its pixels once there is room for them ([`PictureFormat::decode`]). An
//! array format has many images in a file; its header has the shape, and [`array`](super::array) reads the
//! elements. [`formats`](super::formats) lists both.

use super::entry::ReadSeek;
use super::header::Header;
use super::orientation::Orientation;
use super::stream::Stream;
use crate::Result;

/// A picture format. Errors are the middle of a sentence that begins with the file's name: "is damaged (…)".
pub(crate) struct PictureFormat {
    /// "PNG".
    pub(crate) name: &'static str,
    /// File name extensions. A file with such an extension but other contents is a bad file, not just another
    /// one.
    pub(crate) extensions: &'static [&'static str],
    /// Whether a file starts like this format; 12 bytes or more are passed if the file has them.
    pub(crate) is: fn(&[u8]) -> bool,
    /// Reads the size and the colours of a file of this length. Sizes that the file cannot hold are refused
    /// here.
    pub(crate) measure: fn(&mut dyn ReadSeek, u64) -> std::result::Result<PictureHeader, String>,
    /// Decodes a whole file. The header is the one that `measure` returned.
    pub(crate) decode: fn(&[u8], &PictureHeader, &mut Canvas) -> std::result::Result<(), String>,
}

/// The contents of a picture's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PictureHeader {
    /// Rows, as they are stored.
    pub(crate) height: usize,
    /// Columns, as they are stored.
    pub(crate) width: usize,
    /// Whether it has colours. A palette counts as colours.
    pub(crate) colored: bool,
    /// Whether it has 16 bits per sample.
    pub(crate) deep: bool,
    /// Which way up it is.
    pub(crate) orientation: Orientation,
}

impl PictureHeader {
    /// Height and width of the picture as displayed.
    pub(crate) fn size(&self) -> (usize, usize) {
        self.orientation.size(self.height, self.width)
    }

    /// An upper bound on the bytes that decoding needs, with four samples for each pixel: as the format keeps
    /// them while it decodes (a progressive JPEG: coefficients and samples), as decoded, rotated, and in
    /// their final colours.
    pub(crate) fn scratch(&self, deep: bool) -> u64 {
        let area = self.height as u64 * self.width as u64;
        area.saturating_mul(if deep { 8 + 8 + 16 + 12 } else { 12 + 4 + 4 + 3 })
    }
}

/// A decoded picture, in a buffer that is reused for the next one.
#[derive(Default)]
pub(crate) struct Canvas {
    /// Rows of pixels of samples: one byte each, or two (big-endian) if the header says that the picture is
    /// deep.
    pub(crate) samples: Vec<u8>,
    /// 1 grey, 2 grey and alpha, 3 RGB, 4 RGB and alpha.
    pub(crate) channels: usize,
}

impl Canvas {
    /// Makes room for a picture.
    pub(crate) fn prepare(
        &mut self,
        header: &PictureHeader,
        channels: usize,
    ) -> std::result::Result<(), String> {
        self.channels = channels;
        let bytes = header.height * header.width * channels * if header.deep { 2 } else { 1 };
        resize(&mut self.samples, bytes)
    }
}

/// Resizes a buffer; an error if there is no memory for it.
pub(crate) fn resize<V: Clone + Default>(buffer: &mut Vec<V>, len: usize) -> std::result::Result<(), String> {
    buffer.clear();
    buffer.try_reserve_exact(len).map_err(|_| "is larger than this machine's memory")?;
    buffer.resize(len, V::default());
    Ok(())
}

/// An array format.
pub(crate) struct ArrayFormat {
    /// "IDX".
    pub(crate) name: &'static str,
    /// Whether a file starts like this format; 8 bytes or more are passed if the file has them.
    pub(crate) is: fn(&[u8]) -> bool,
    /// Reads the header, and leaves the stream at the first element.
    pub(crate) read_header: fn(&mut Stream<'_>) -> Result<Header>,
}

//! PNG: one picture's bytes from and to a file.
//!
//! The png crate decodes; what is left to do here is to distrust. A header of 33 bytes may promise any size, so the size is compared with the
//! length of the file (deflate makes at most 1032 bytes out of one) before any buffer is made. Text and colour profiles are not
//! read. Palettes and 1, 2 and 4 bits become 8 bits, 16 bits lose their lower 8.

use super::source::{DEFLATE_RATIO, LONGEST_SIDE, human_bytes};
use png::{ColorType, Decoder, Limits, Transformations};
use std::io::{BufRead, Seek, Write};

/// What the first 33 bytes of a file say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PngHeader {
    pub(crate) height: u32,
    pub(crate) width: u32,
    bits: u8,
    color: u8,
}

/// The signature, and the chunk IHDR with its checksum.
pub(crate) const HEADER_BYTES: usize = 33;

impl PngHeader {
    /// Reads the header from the first bytes of a file of `length` bytes. The error is the middle of a sentence.
    pub(crate) fn parse(first: &[u8], length: u64) -> Result<Self, String> {
        if !first.starts_with(b"\x89PNG\r\n\x1a\n") {
            return Err("is no PNG file".into());
        }
        if first.len() < HEADER_BYTES || &first[12..16] != b"IHDR" {
            return Err("is a PNG file without a header".into());
        }
        let number = |at: usize| u32::from_be_bytes([first[at], first[at + 1], first[at + 2], first[at + 3]]);
        let header = Self { width: number(16), height: number(20), bits: first[24], color: first[25] };
        let samples = match (header.color, header.bits) {
            (0, 1 | 2 | 4 | 8 | 16) | (3, 1 | 2 | 4 | 8) => 1,
            (2, 8 | 16) => 3,
            (4, 8 | 16) => 2,
            (6, 8 | 16) => 4,
            (color, bits) => {
                return Err(format!("has colour type {color} with {bits} bits, which PNG does not have"));
            }
        };
        if header.width == 0 || header.height == 0 {
            return Err("has no pixels".into());
        }
        if header.width.max(header.height) as usize > LONGEST_SIDE {
            let (height, width) = (header.height, header.width);
            return Err(format!(
                "promises {height}×{width} pixels; {LONGEST_SIDE} in each direction are the most"
            ));
        }
        let row = 1 + (u64::from(header.width) * samples * u64::from(header.bits)).div_ceil(8);
        let raw = row.saturating_mul(u64::from(header.height));
        if raw > length.saturating_mul(DEFLATE_RATIO) {
            return Err(format!(
                "promises {}×{} pixels, more than its {} can hold",
                header.height,
                header.width,
                human_bytes(length)
            ));
        }
        Ok(header)
    }

    /// Does it have colours? A palette counts as colours.
    pub(crate) fn colored(self) -> bool {
        !matches!(self.color, 0 | 4)
    }

    /// Pixels.
    pub(crate) fn area(self) -> u64 {
        u64::from(self.width) * u64::from(self.height)
    }
}

/// A picture that is open: its colours are known, its pixels are still to be decoded.
pub(crate) struct Picture<R: BufRead + Seek> {
    reader: png::Reader<R>,
    header: PngHeader,
    /// 1 grey, 2 grey and alpha, 3 RGB, 4 RGB and alpha.
    pub(crate) channels: usize,
}

impl<R: BufRead + Seek> Picture<R> {
    /// Reads up to the pixels. `header` is what [`PngHeader::parse`] made of the same file. The error is the middle of a sentence.
    pub(crate) fn open(reader: R, header: PngHeader) -> Result<Self, String> {
        let row = u64::from(header.width) * 8; // 4 samples of 16 bits
        let limit = usize::try_from(row * 4 + (1 << 20)).unwrap_or(usize::MAX);
        let mut decoder = Decoder::new_with_limits(reader, Limits { bytes: limit });
        decoder.set_ignore_text_chunk(true);
        decoder.set_ignore_iccp_chunk(true);
        decoder.set_transformations(Transformations::EXPAND | Transformations::STRIP_16);
        let reader = decoder.read_info().map_err(damaged)?;
        if reader.info().size() != (header.width, header.height) {
            return Err("changed while it was read".into());
        }
        // png 0.18.1 ends the program for a palette that is not made of whole entries (image-png's issue 694).
        if reader.info().palette.as_ref().is_some_and(|palette| palette.len() % 3 != 0 || palette.len() > 768)
        {
            return Err("has a palette that is not made of up to 256 colours of 3 bytes".into());
        }
        let channels = match reader.output_color_type() {
            (color, png::BitDepth::Eight) => color.samples(),
            (color, depth) => return Err(format!("decodes as {color:?} of {depth:?} bits")),
        };
        Ok(Self { reader, header, channels })
    }

    /// Decodes into `out`, height · width · channels bytes. The error is the middle of a sentence.
    pub(crate) fn decode(mut self, out: &mut [u8]) -> Result<(), String> {
        if self.reader.output_buffer_size() != Some(out.len()) {
            return Err("changed while it was read".into());
        }
        let info = self.reader.next_frame(out).map_err(damaged)?;
        if (info.width, info.height) != (self.header.width, self.header.height) {
            return Err("has a first frame that is smaller than the picture".into());
        }
        Ok(())
    }
}

fn damaged(error: png::DecodingError) -> String {
    format!("is damaged ({error})")
}

/// Writes a picture of height × width × channels bytes (1 grey, 3 RGB, 4 RGB and alpha) as PNG.
///
/// # Panics
/// When `pixels` has another length, or `channels` is something else.
pub fn write_png(
    writer: impl Write,
    pixels: &[u8],
    height: usize,
    width: usize,
    channels: usize,
) -> std::io::Result<()> {
    assert_eq!(pixels.len(), height * width * channels, "a picture of {height}×{width}×{channels}");
    let color = match channels {
        1 => ColorType::Grayscale,
        3 => ColorType::Rgb,
        4 => ColorType::Rgba,
        n => panic!("a picture has 1, 3 or 4 channels, not {n}"),
    };
    let too_large = |_| {
        std::io::Error::new(
            std::io::ErrorKind::InvalidInput,
            "a PNG file has at most 2³¹ − 1 rows and columns",
        )
    };
    let (png_width, png_height) =
        (u32::try_from(width).map_err(too_large)?, u32::try_from(height).map_err(too_large)?);
    let mut encoder = png::Encoder::new(writer, png_width, png_height);
    encoder.set_color(color);
    encoder.set_depth(png::BitDepth::Eight);
    let mut body = encoder.write_header()?;
    body.write_image_data(pixels)?;
    body.finish()?;
    Ok(())
}

//! Reads and writes PNG pictures.
//!
//! The png crate decodes. A header of 33 bytes may promise any size, so the size is compared with the length
//! of the file (deflate expands a byte to at most 1032 bytes) before any buffer is allocated. Text and colour
//! profiles are not read. Palettes and 1, 2 and 4 bits become 8 bits; 16 bits stay. The orientation is that
//! of the chunk eXIf (PNG 3rd edition, 11.3.4.6), if it exists.

use super::budget::{LONGEST_SIDE, human_bytes};
use super::entry::ReadSeek;
use super::format::{Canvas, PictureFormat, PictureHeader};
use super::orientation::Orientation;
use super::stream::DEFLATE_RATIO;
use png::{ColorType, Decoder, Limits, Transformations};
use std::io::{Cursor, Read, SeekFrom, Write};

/// PNG.
pub(crate) const PNG: PictureFormat = PictureFormat {
    name: "PNG",
    extensions: &["png"],
    is: |first| first.starts_with(SIGNATURE),
    measure,
    decode,
};

const SIGNATURE: &[u8] = b"\x89PNG\r\n\x1a\n";
/// The signature, and the chunk IHDR with its checksum.
const HEADER_BYTES: usize = 33;
/// The chunk that ends a file. Some programs omit it.
const END: &[u8] = b"\0\0\0\0IEND\xae\x42\x60\x82";
/// A longer block of EXIF is ignored.
const LONGEST_EXIF: u64 = 1 << 20;

fn measure(reader: &mut dyn ReadSeek, length: u64) -> Result<PictureHeader, String> {
    let mut first = Vec::with_capacity(HEADER_BYTES);
    reader.take(HEADER_BYTES as u64).read_to_end(&mut first).map_err(unreadable)?;
    if first.len() < HEADER_BYTES || &first[12..16] != b"IHDR" {
        return Err("is a PNG file without a header".into());
    }
    let number = |at: usize| u32::from_be_bytes([first[at], first[at + 1], first[at + 2], first[at + 3]]);
    let (width, height, bits, color) = (number(16), number(20), first[24], first[25]);
    let samples = match (color, bits) {
        (0, 1 | 2 | 4 | 8 | 16) | (3, 1 | 2 | 4 | 8) => 1,
        (2, 8 | 16) => 3,
        (4, 8 | 16) => 2,
        (6, 8 | 16) => 4,
        (color, bits) => {
            return Err(format!("has colour type {color} with {bits} bits, which PNG does not have"));
        }
    };
    if width == 0 || height == 0 {
        return Err("has no pixels".into());
    }
    if width.max(height) as usize > LONGEST_SIDE {
        return Err(format!(
            "promises {height}×{width} pixels; {LONGEST_SIDE} in each direction are the most"
        ));
    }
    let row = 1 + (u64::from(width) * samples * u64::from(bits)).div_ceil(8);
    if row.saturating_mul(u64::from(height)) > length.saturating_mul(DEFLATE_RATIO) {
        let held = human_bytes(length);
        return Err(format!("promises {height}×{width} pixels, more than its {held} can hold"));
    }
    Ok(PictureHeader {
        height: height as usize,
        width: width as usize,
        colored: !matches!(color, 0 | 4),
        deep: bits == 16,
        orientation: orientation(reader, length).map_err(unreadable)?,
    })
}

/// Looks for the chunk eXIf, from the second chunk on. If the chain of chunks is broken, the decoder reports
/// it.
fn orientation(reader: &mut dyn ReadSeek, length: u64) -> std::io::Result<Orientation> {
    let mut position = HEADER_BYTES as u64;
    let mut head = [0; 8];
    while position + 12 <= length {
        reader.read_exact(&mut head)?;
        let size = u64::from(u32::from_be_bytes([head[0], head[1], head[2], head[3]]));
        match &head[4..] {
            b"eXIf" if size <= LONGEST_EXIF.min(length - position - 8) => {
                let mut exif = vec![0; size as usize];
                reader.read_exact(&mut exif)?;
                return Ok(Orientation::from_exif(&exif));
            }
            b"IEND" => break,
            _ => {}
        }
        position += 12 + size;
        if position < length {
            reader.seek(SeekFrom::Current(size as i64 + 4))?;
        }
    }
    Ok(Orientation::UPRIGHT)
}

fn unreadable(error: std::io::Error) -> String {
    format!("cannot be read ({error})")
}

/// Whether the file ends after a complete chunk that is not the last one of a PNG file.
fn lacks_end(file: &[u8]) -> bool {
    let mut position = SIGNATURE.len();
    while let Some(head) = file.get(position..position + 8) {
        if &head[4..] == b"IEND" {
            return false;
        }
        let size = u32::from_be_bytes([head[0], head[1], head[2], head[3]]) as usize;
        let Some(next) = size.checked_add(12).and_then(|size| size.checked_add(position)) else {
            return false;
        };
        position = next;
    }
    position == file.len()
}

fn decode(file: &[u8], header: &PictureHeader, canvas: &mut Canvas) -> Result<(), String> {
    let row = header.width as u64 * 8; // 4 samples of 16 bits
    let limit = usize::try_from(row * 4 + (1 << 20)).unwrap_or(usize::MAX);
    let whole;
    let file = if lacks_end(file) {
        whole = [file, END].concat();
        &whole
    } else {
        file
    };
    let mut decoder = Decoder::new_with_limits(Cursor::new(file), Limits { bytes: limit });
    decoder.set_ignore_text_chunk(true);
    decoder.set_ignore_iccp_chunk(true);
    decoder.set_transformations(Transformations::EXPAND);
    let mut reader = decoder.read_info().map_err(damaged)?;
    // png 0.18.1 aborts the program if a palette does not consist of complete entries (image-png's issue
    // 694).
    if reader.info().palette.as_ref().is_some_and(|palette| palette.len() % 3 != 0 || palette.len() > 768) {
        return Err("has a palette that is not made of up to 256 colours of 3 bytes".into());
    }
    let (color, depth) = reader.output_color_type();
    let expected = if header.deep { png::BitDepth::Sixteen } else { png::BitDepth::Eight };
    let same = reader.info().size() == (header.width as u32, header.height as u32);
    canvas.prepare(header, color.samples())?;
    if !same || depth != expected || reader.output_buffer_size() != Some(canvas.samples.len()) {
        return Err("changed while it was read".into());
    }
    let info = reader.next_frame(&mut canvas.samples).map_err(damaged)?;
    if (info.width as usize, info.height as usize) != (header.width, header.height) {
        return Err("has a first frame that is smaller than the picture".into());
    }
    Ok(())
}

fn damaged(error: png::DecodingError) -> String {
    format!("is damaged ({error})")
}

/// Writes a picture of height × width × channels bytes (1 grey, 3 RGB, 4 RGB and alpha) as PNG.
///
/// # Panics
/// If `pixels` has another length, or `channels` is another number.
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

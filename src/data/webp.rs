//! WebP: lossy and lossless, with alpha; of an animation, the first frame. The image-webp crate decodes.
//!
//! ```text
//! 'RIFF' · length · 'WEBP' · chunks: name, length (little-endian), contents, padded to an even length
//! ```
//!
//! The first chunk has the size. Both codings can encode a constant picture in very few bytes, so a small
//! file may be a large picture: any file may have up to a million pixels, plus 256 for each of its bytes. The
//! orientation is that of the chunk EXIF.

use super::budget::human_bytes;
use super::entry::ReadSeek;
use super::format::{Canvas, PictureFormat, PictureHeader};
use super::orientation::Orientation;
use image_webp::WebPDecoder;
use std::io::{Cursor, SeekFrom};

/// WebP.
pub(crate) const WEBP: PictureFormat = PictureFormat {
    name: "WebP",
    extensions: &["webp"],
    is: |first| first.starts_with(b"RIFF") && first.get(8..12).is_some_and(|name| name == b"WEBP"),
    measure,
    decode,
};

/// Pixels that are accepted for a file of any length.
const SMALL: u64 = 1 << 20;
/// Additional pixels for each of its bytes.
const PIXELS_PER_BYTE: u64 = 256;
/// A longer block of EXIF is ignored.
const LONGEST_EXIF: u64 = 1 << 20;

fn measure(reader: &mut dyn ReadSeek, length: u64) -> Result<PictureHeader, String> {
    let unreadable = |e: std::io::Error| match e.kind() {
        std::io::ErrorKind::UnexpectedEof => "is damaged (it ends before its picture)".to_string(),
        _ => format!("cannot be read ({e})"),
    };
    let damaged = |what: &str| format!("is damaged ({what})");
    let mut first = [0; 30];
    reader.read_exact(&mut first).map_err(unreadable)?;
    let (width, height) = match &first[12..16] {
        b"VP8X" => (three(&first, 24) + 1, three(&first, 27) + 1),
        _ => coded_size(&first[12..]).ok_or_else(|| damaged("its first chunk is not a picture"))?,
    };
    if width == 0 || height == 0 {
        return Err("has no pixels".into());
    }
    let area = width as u64 * height as u64;
    if width.max(height) > 16_384 || area > SMALL.saturating_add(length.saturating_mul(PIXELS_PER_BYTE)) {
        let held = human_bytes(length);
        return Err(format!("promises {height}×{width} pixels, more than its {held} can hold"));
    }
    let orientation = if &first[12..16] == b"VP8X" && first[20] & 8 != 0 {
        orientation(reader, length).map_err(unreadable)?
    } else {
        Orientation::UPRIGHT
    };
    Ok(PictureHeader { height, width, colored: true, deep: false, orientation })
}

/// A number of three bytes.
fn three(bytes: &[u8], at: usize) -> usize {
    usize::from(bytes[at]) | usize::from(bytes[at + 1]) << 8 | usize::from(bytes[at + 2]) << 16
}

/// Width and height of the coded picture whose chunk begins here.
fn coded_size(chunk: &[u8]) -> Option<(usize, usize)> {
    match chunk {
        [b'V', b'P', b'8', b'L', _, _, _, _, 0x2f, a, b, c, d, ..] => {
            let bits = u32::from_le_bytes([*a, *b, *c, *d]) as usize;
            Some(((bits & 0x3fff) + 1, (bits >> 14 & 0x3fff) + 1))
        }
        [b'V', b'P', b'8', b' ', _, _, _, _, _, _, _, 0x9d, 0x01, 0x2a, a, b, c, d, ..] => {
            let side = |low: &u8, high: &u8| usize::from(u16::from_le_bytes([*low, *high])) & 0x3fff;
            Some((side(a, b), side(c, d)))
        }
        _ => None,
    }
}

/// Looks for the chunk EXIF, after the first one.
fn orientation(reader: &mut dyn ReadSeek, length: u64) -> std::io::Result<Orientation> {
    let mut position = 30;
    let mut head = [0; 8];
    while position + 8 <= length {
        reader.seek(SeekFrom::Start(position))?;
        reader.read_exact(&mut head)?;
        let size = u64::from(u32::from_le_bytes([head[4], head[5], head[6], head[7]]));
        if &head[..4] == b"EXIF" && size <= LONGEST_EXIF.min(length - position - 8) {
            let mut exif = vec![0; size as usize];
            reader.read_exact(&mut exif)?;
            // Some programs write JPEG's marker before it.
            return Ok(Orientation::from_exif(exif.strip_prefix(b"Exif\0\0").unwrap_or(&exif)));
        }
        position += 8 + size + size % 2;
    }
    Ok(Orientation::UPRIGHT)
}

fn decode(file: &[u8], header: &PictureHeader, canvas: &mut Canvas) -> Result<(), String> {
    let damaged = |error: image_webp::DecodingError| format!("is damaged ({error})");
    let mut decoder = WebPDecoder::new(Cursor::new(file)).map_err(damaged)?;
    if decoder.dimensions() != (header.width as u32, header.height as u32) {
        return Err("is damaged (it names two sizes)".into());
    }
    // The decoder allocates memory according to a frame's own header. Chunks are searched everywhere, not
    // only where they should be.
    let mut frames = places(file).filter_map(coded_size);
    if frames.any(|(width, height)| width > header.width || height > header.height) {
        return Err("is damaged (a frame is larger than the picture)".into());
    }
    decoder.set_memory_limit(16 * header.width * header.height + (1 << 20));
    canvas.prepare(header, if decoder.has_alpha() { 4 } else { 3 })?;
    decoder.read_image(&mut canvas.samples).map_err(damaged)
}

/// All places where a coded picture may begin.
fn places(file: &[u8]) -> impl Iterator<Item = &[u8]> {
    (0..file.len()).filter(|&at| file[at] == b'V').map(|at| &file[at..])
}

//! WebP: lossy and lossless, with alpha; of an animation its first frame. The image-webp crate decodes.
//!
//! ```text
//! 'RIFF' · length · 'WEBP' · chunks: name, length (little-endian), contents, padded to an even length
//! ```
//!
//! The first chunk has the size. Both codings can say "all the same" in next to nothing, so a small file may be a large picture: up to
//! 4 million pixels are believed of any file, more only as many as deflate could make of it. The orientation is that of the chunk EXIF.

use super::budget::human_bytes;
use super::entry::ReadSeek;
use super::format::{Canvas, PictureFormat, PictureHeader};
use super::orientation::Orientation;
use super::stream::DEFLATE_RATIO;
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

/// Pixels that a file of any length may have.
const SMALL: u64 = 1 << 22;
/// A block of EXIF that is longer is not looked at.
const LONGEST_EXIF: u64 = 1 << 20;

fn measure(reader: &mut dyn ReadSeek, length: u64) -> Result<PictureHeader, String> {
    let unreadable = |e: std::io::Error| match e.kind() {
        std::io::ErrorKind::UnexpectedEof => "is damaged (it ends before its picture)".to_string(),
        _ => format!("cannot be read ({e})"),
    };
    let damaged = |what: &str| format!("is damaged ({what})");
    let mut first = [0; 30];
    reader.read_exact(&mut first).map_err(unreadable)?;
    let small = |at: usize| usize::from(u16::from_le_bytes([first[at], first[at + 1]]));
    let three = |at: usize| usize::from(first[at]) | small(at + 1) << 8;
    let (width, height) = match &first[12..16] {
        b"VP8X" => (three(24) + 1, three(27) + 1),
        b"VP8L" if first[20] == 0x2f => {
            let bits = u32::from_le_bytes([first[21], first[22], first[23], first[24]]) as usize;
            ((bits & 0x3fff) + 1, (bits >> 14 & 0x3fff) + 1)
        }
        b"VP8 " if first[23..26] == [0x9d, 0x01, 0x2a] => (small(26) & 0x3fff, small(28) & 0x3fff),
        _ => return Err(damaged("its first chunk is no picture")),
    };
    if width == 0 || height == 0 {
        return Err("has no pixels".into());
    }
    let area = width as u64 * height as u64;
    if width.max(height) > 16_384 || area > SMALL.saturating_add(length.saturating_mul(DEFLATE_RATIO)) {
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

/// Looks for the chunk EXIF, behind the first one.
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
            // Some programs write JPEG's mark before it.
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
    decoder.set_memory_limit(16 * header.width * header.height + (1 << 20));
    canvas.prepare(header, if decoder.has_alpha() { 4 } else { 3 })?;
    decoder.read_image(&mut canvas.samples).map_err(damaged)
}

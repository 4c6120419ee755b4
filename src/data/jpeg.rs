//! JPEG: baseline and progressive, grey, colour and CMYK (ITU-T T.81, JFIF, Adobe's APP14).
//!
//! Pixels are bit-identical to those of libjpeg-turbo, which Pillow, browsers and PyTorch's loaders use: its
//! accurate integer inverse transform, its smooth upsampling of chroma, its tables for colours. The crates
//! that decode JPEG differ from it by up to 50 grey levels in small pictures and by 3 in most (jpeg-decoder
//! 0.3.2, zune-jpeg 0.5.15), and a model sees the difference.
//!
//! `scan` decodes the entropy-coded data into blocks of coefficients, `pixels` turns blocks into pixels. A
//! block takes at least a bit, so a file cannot promise more than 512 pixels for each of its bytes.

mod header;
mod pixels;
mod scan;

use super::budget::{LONGEST_SIDE, human_bytes};
use super::entry::ReadSeek;
use super::format::{Canvas, PictureFormat, PictureHeader};
use super::orientation::Orientation;
use header::{Frame, Tables, frame, next_marker};
use std::io::SeekFrom;

/// JPEG.
pub(crate) const JPEG: PictureFormat = PictureFormat {
    name: "JPEG",
    extensions: &["jpg", "jpeg", "jpe", "jfif"],
    is: |first| first.starts_with(b"\xff\xd8\xff"),
    measure,
    decode,
};

/// A block takes at least one bit: the most pixels per byte.
const PIXELS_PER_BYTE: u64 = 8 * 64;
/// The most scans over the picture. Programs write about ten; more would be a way to keep a reader busy.
const MOST_SCANS: usize = 100;

/// Reads the segments up to the frame's header.
fn measure(reader: &mut dyn ReadSeek, length: u64) -> Result<PictureHeader, String> {
    let unreadable = |e: std::io::Error| match e.kind() {
        std::io::ErrorKind::UnexpectedEof => "is damaged (it ends before its picture)".to_string(),
        _ => format!("cannot be read ({e})"),
    };
    let mut orientation = Orientation::UPRIGHT;
    reader.seek(SeekFrom::Start(2)).map_err(unreadable)?;
    loop {
        let mut byte = [0];
        let mut next =
            |reader: &mut dyn ReadSeek| reader.read_exact(&mut byte).map(|()| byte[0]).map_err(unreadable);
        if next(reader)? != 0xff {
            return Err("is damaged (a marker was expected)".into());
        }
        let mut marker = next(reader)?;
        while marker == 0xff {
            marker = next(reader)?;
        }
        if matches!(marker, 0x01 | 0xd0..=0xd8) {
            continue;
        }
        if marker == 0xd9 || marker == 0xda {
            return Err("is damaged (it has no frame)".into());
        }
        let size = usize::from(u16::from_be_bytes([next(reader)?, next(reader)?]));
        let size = size.checked_sub(2).ok_or("is damaged (a segment is too short)")?;
        let is_frame = matches!(marker, 0xc0..=0xcf) && !matches!(marker, 0xc4 | 0xc8 | 0xcc);
        if !is_frame && marker != 0xe1 {
            reader.seek(SeekFrom::Current(size as i64)).map_err(unreadable)?;
            continue;
        }
        let mut segment = vec![0; size];
        reader.read_exact(&mut segment).map_err(unreadable)?;
        if let Some(exif) = segment.strip_prefix(b"Exif\0\0") {
            orientation = Orientation::from_exif(exif);
        }
        if !is_frame {
            continue;
        }
        let frame = frame(marker, &segment)?;
        let (height, width) = (frame.height, frame.width);
        if height.max(width) > LONGEST_SIDE {
            return Err(format!(
                "promises {height}×{width} pixels; {LONGEST_SIDE} in each direction are the most"
            ));
        }
        if (height * width) as u64 > length.saturating_mul(PIXELS_PER_BYTE) {
            let held = human_bytes(length);
            return Err(format!("promises {height}×{width} pixels, more than its {held} can hold"));
        }
        let colored = frame.components.len() > 1;
        return Ok(PictureHeader { height, width, colored, deep: false, orientation });
    }
}

/// Decodes a whole file.
fn decode(file: &[u8], header: &PictureHeader, canvas: &mut Canvas) -> Result<(), String> {
    let damaged = |what: &str| format!("is damaged ({what})");
    let mut tables = Tables::default();
    let mut picture: Option<Frame> = None;
    let (mut position, mut scans, mut ended) = (2, 0, false);
    // Up to the end marker. A baseline file without one is accepted if all of its components are complete.
    while let Some(marker) = next_marker(file, &mut position) {
        if marker == 0xd9 {
            ended = true;
            break;
        }
        if matches!(marker, 0x01 | 0xd0..=0xd8) {
            continue;
        }
        let segment = segment(file, &mut position).ok_or_else(|| damaged("it ends within a segment"))?;
        match marker {
            0xc4 => tables.read_huffman(segment)?,
            0xdb => tables.read_quantization(segment)?,
            0xdd => tables.read_restart(segment)?,
            0xe0 => tables.jfif |= segment.starts_with(b"JFIF\0"),
            0xee if segment.starts_with(b"Adobe") => tables.adobe = segment.get(11).copied(),
            0xc0..=0xcf if marker != 0xc8 && marker != 0xcc => {
                let mut frame = frame(marker, segment)?;
                if picture.is_some() || (frame.height, frame.width) != (header.height, header.width) {
                    return Err(damaged("it has two frames"));
                }
                frame.allocate()?;
                picture = Some(frame);
            }
            0xda => {
                let frame = picture.as_mut().ok_or_else(|| damaged("a scan comes before the frame"))?;
                scans += 1;
                if scans > MOST_SCANS {
                    return Err(format!("has more than {MOST_SCANS} scans, which no program writes"));
                }
                position += scan::read(frame, &tables, segment, &file[position..])?;
            }
            _ => {}
        }
    }
    let frame = picture.ok_or_else(|| damaged("it has no frame"))?;
    if frame.components.iter().any(|component| !component.seen) {
        return Err(damaged("it ends before all of its components"));
    }
    if frame.progressive && !ended {
        return Err(damaged("it ends before its last scan"));
    }
    pixels::write(frame, &tables, header, canvas)
}

/// The contents of a segment.
fn segment<'f>(file: &'f [u8], position: &mut usize) -> Option<&'f [u8]> {
    let size = file.get(*position..*position + 2)?;
    let size = usize::from(u16::from_be_bytes([size[0], size[1]]));
    let contents = file.get(*position + 2..*position + size.max(2))?;
    *position += size.max(2);
    Some(contents)
}

//! Many PNG files, decoded by all threads into one buffer.
//!
//! Every file is decoded straight into its place, so that nothing is held but the pixels of the data set; where colours or size have to
//! change, each thread holds one picture besides.

use super::array::Loaded;
use super::convert::{checked_size, convert_pixels};
use super::images::{Images, Range};
use super::png::{self, HEADER_BYTES, PngHeader};
use super::resize::Plan;
use super::source::{Budget, zeros};
use super::{Color, LoadOptions};
use crate::{Error, Result};
use rayon::prelude::*;
use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

/// A picture to decode.
pub(crate) struct Picture {
    pub(crate) path: PathBuf,
    pub(crate) header: PngHeader,
    /// Is it one of the test images?
    pub(crate) test: bool,
}

/// Height, width and channels that all pictures will have.
pub(crate) fn target(pictures: &[Picture], options: &LoadOptions) -> Result<(usize, usize, usize)> {
    let channels = match options.color {
        Some(color) => color.channels(),
        None if pictures.iter().any(|picture| picture.header.colored()) => Color::Rgb.channels(),
        None => Color::Grey.channels(),
    };
    let Some(first) = pictures.first() else { return Err(Error::config("no PNG files")) };
    let size = |picture: &Picture| (picture.header.height as usize, picture.header.width as usize);
    let (height, width) = match options.size {
        Some(size) => size,
        None => {
            if let Some(other) = pictures.iter().find(|picture| size(picture) != size(first)) {
                let ((h, w), (other_h, other_w)) = (size(first), size(other));
                let message = format!(
                    "it is {h}×{w} while {} is {other_h}×{other_w}; --size HxW brings all images to one size",
                    other.path.display()
                );
                return Err(Error::data(&first.path, message));
            }
            size(first)
        }
    };
    Ok((height, width, channels))
}

/// What came out of decoding.
pub(crate) struct Decoded<'a> {
    /// Those that could be decoded.
    pub(crate) images: Images,
    /// Where they are from, one for each.
    pub(crate) kept: Vec<&'a Picture>,
    /// The others, and why.
    pub(crate) failed: Vec<(PathBuf, String)>,
}

/// Decodes pictures in parallel, each into its place; the gaps of those that cannot be decoded are closed up.
pub(crate) fn decode_all<'a>(
    pictures: &[&'a Picture],
    shape: (usize, usize, usize),
    options: &LoadOptions,
    folder: &Path,
    progress: &(dyn Fn() + Sync),
) -> Result<Decoded<'a>> {
    let (height, width, channels) = shape;
    let size = height * width * channels;
    let mut pixels: Vec<u8> = zeros(pictures.len() * size, folder)?;
    let failures: Vec<Option<String>> = pictures
        .par_iter()
        .zip(pixels.par_chunks_exact_mut(size))
        .map_init(Scratch::default, |scratch, (picture, out)| {
            let result = File::open(&picture.path)
                .map_err(|e| format!("cannot be read ({e})"))
                .and_then(|file| scratch.decode(BufReader::new(file), picture.header, shape, options, out));
            progress();
            result.err()
        })
        .collect();
    let mut kept = Vec::with_capacity(pictures.len());
    let mut failed = Vec::new();
    for (index, (picture, failure)) in pictures.iter().zip(failures).enumerate() {
        match failure {
            Some(reason) => failed.push((picture.path.clone(), reason)),
            None => {
                let place = kept.len();
                if place != index {
                    pixels.copy_within(index * size..(index + 1) * size, place * size);
                }
                kept.push(*picture);
            }
        }
    }
    pixels.truncate(kept.len() * size);
    Ok(Decoded { images: Images::from_bytes(pixels, kept.len(), height, width, channels), kept, failed })
}

/// One thread's buffers: a picture as decoded, and in its final colours.
#[derive(Default)]
struct Scratch {
    decoded: Vec<u8>,
    colored: Vec<u8>,
}

impl Scratch {
    /// Decodes a picture and brings it to the colours and the size of the data set.
    fn decode(
        &mut self,
        reader: impl std::io::BufRead + Seek,
        header: PngHeader,
        (height, width, channels): (usize, usize, usize),
        options: &LoadOptions,
        out: &mut [u8],
    ) -> std::result::Result<(), String> {
        let picture = png::Picture::open(reader, header)?;
        let found = picture.channels;
        let from = (header.height as usize, header.width as usize);
        let same_size = from == (height, width);
        if same_size && found == channels {
            return picture.decode(out);
        }
        resize_buffer(&mut self.decoded, from.0 * from.1 * found)?;
        picture.decode(&mut self.decoded)?;
        let convert = |to: &mut [u8]| {
            convert_pixels(&self.decoded, found, to, channels, options.background, Range::BYTES);
        };
        if same_size {
            convert(out);
            return Ok(());
        }
        let colored = if found == channels {
            &self.decoded
        } else {
            resize_buffer(&mut self.colored, from.0 * from.1 * channels)?;
            convert(&mut self.colored);
            &self.colored
        };
        let plan = Plan::new(from, (height, width), channels);
        plan.run(colored, out, &mut plan.scratch());
        Ok(())
    }
}

fn resize_buffer(buffer: &mut Vec<u8>, size: usize) -> std::result::Result<(), String> {
    buffer.clear();
    buffer.try_reserve_exact(size).map_err(|_| "is larger than this machine's memory")?;
    buffer.resize(size, 0);
    Ok(())
}

/// Reads one PNG file as a data set of one image, in its own colours unless told otherwise.
pub(crate) fn single(
    mut reader: impl Read + Seek,
    length: u64,
    path: &Path,
    options: &LoadOptions,
    budget: &mut Budget,
) -> Result<Loaded> {
    let io_error = |e| Error::io("read", path, e);
    let mut first = Vec::with_capacity(HEADER_BYTES);
    (&mut reader).take(HEADER_BYTES as u64).read_to_end(&mut first).map_err(io_error)?;
    reader.seek(SeekFrom::Start(0)).map_err(io_error)?;
    let bad = |reason: String| Error::data(path, format!("it {reason}"));
    let header = PngHeader::parse(&first, length).map_err(bad)?;
    let picture = Picture { path: path.to_path_buf(), header, test: false };
    let shape = target(&[picture], options)?;
    let (height, width, channels) = shape;
    let size = checked_size(1, height, width, channels);
    budget.take(size.map_or(u64::MAX, |n| n as u64), path)?;
    let scratch = header.area().saturating_mul(7); // the picture as decoded, and in its final colours
    budget.take(scratch, path)?;
    budget.give_back(scratch);
    let mut pixels = zeros(height * width * channels, path)?;
    Scratch::default().decode(BufReader::new(reader), header, shape, options, &mut pixels).map_err(bad)?;
    Ok(Loaded { images: Images::from_bytes(pixels, 1, height, width, channels), extent: None })
}

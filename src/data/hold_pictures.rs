//! Many pictures, decoded by all threads into one buffer.
//!
//! Every picture is converted to the data set's colours and size as it is decoded, so memory holds only the
//! pixels of the data set and one picture per thread. If any picture has 16 bits, all values are floats from
//! 0 to 65535.

use super::budget::{Budget, checked_size, zeros};
use super::cache::{self, Cache, Cached, images_at_once};
use super::convert::{Converter, Scratch};
use super::find::reason;
use super::format::{Canvas, resize};
use super::held::{Group, Held, Outline};
use super::images::{Images, Range};
use super::labels::Labels;
use super::options::LoadOptions;
use super::orientation::Orientation;
use super::parts::Role;
use super::picture_source::{NOTHING_LEFT, Picture, PictureSource};
use super::pixels::Pixels;
use super::range::{self, Numbers};
use super::resize::Sample;
use crate::tensor::ImageShape;
use crate::{Error, Result};
use rayon::prelude::*;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

/// The range of 16-bit samples.
const DEEP: Range = Range { low: 0.0, high: 65535.0 };

/// The properties of the pictures that their headers state.
pub(crate) fn outline(source: &PictureSource<'_>, options: &LoadOptions, budget: &Budget) -> Outline {
    let bytes = bytes(source);
    let is_cached = options.cache.is_some() && !budget.holds(bytes);
    let train = source.pictures.iter().filter(|picture| picture.role != Role::Test).count();
    Outline { shape: source.shape, train, memory: if is_cached { 0 } else { bytes } }
}

/// Bytes of the pixels of all pictures.
fn bytes(source: &PictureSource<'_>) -> u64 {
    let each = if source.deep { 4 } else { 1 };
    checked_size(source.pictures.len(), source.shape).map_or(u64::MAX, |numbers| numbers as u64 * each)
}

/// Decodes the pictures of a source.
///
/// # Errors
/// If one is damaged, unless bad files are left out, or if the memory is not enough.
pub(crate) fn hold(
    source: PictureSource<'_>,
    options: &LoadOptions,
    budget: &mut Budget,
    progress: &(dyn Fn(usize, usize) + Sync),
) -> Result<Held> {
    let bytes = bytes(&source);
    let PictureSource { path, kind, pictures, classes, shape, deep, mut bad, mut notes } = source;
    let folder = options.cache.as_ref().filter(|_| !budget.holds(bytes));
    let held = if folder.is_some() { piece_bytes(shape, deep, options.max_memory).min(bytes) } else { bytes };
    reserve(&pictures, held, deep, &path, budget)?;
    let full = if deep { DEEP } else { Range::BYTES };
    let values = options.range.map_or(full, |(low, high)| Range { low, high });
    let converter = Converter::new(shape, values, full, options);
    let (done, total) = (AtomicUsize::new(0), pictures.len());
    let advance = || progress(done.fetch_add(1, Ordering::Relaxed) + 1, total);
    // Training, then validation; test.
    let of = |role: Role| pictures.iter().filter(move |picture| picture.role == role);
    let groups: [Vec<&Picture<'_>>; 2] =
        [of(Role::Train).chain(of(Role::Validation)).collect(), of(Role::Test).collect()];
    let mut validation = None;
    let decode = |pictures: &[_]| -> Result<Decoded<'_, '_>> {
        if deep {
            Decoded::new::<f32>(pictures, shape, &converter, &path, &advance)
        } else {
            Decoded::new::<u8>(pictures, shape, &converter, &path, &advance)
        }
    };
    let [train, test] = groups.map(|group| -> Result<Group> {
        if group.is_empty() {
            return Ok(Group::default());
        }
        let decoded = match folder {
            None => decode(&group)?,
            Some(folder) => {
                let part = if group[0].role == Role::Test { "test" } else { "train" };
                let mut key = cache::key(&path, group.iter().map(|picture| &picture.entry));
                key.bytes(format!("{shape} {deep}").as_bytes());
                let cache = Cache::new(folder, cache::name(&path, part, options), key.finish(), shape.len());
                // The background is a value of the same range.
                let range = if deep { full } else { values };
                let decoded =
                    Decoded::cached(&group, shape, deep, range, options.max_memory, &cache, decode)?;
                notes.push(budget.cached(decoded.images.bytes(), cache.path()));
                decoded
            }
        };
        bad.files.extend(decoded.failed.into_iter().map(|(_, path, reason)| (path, reason)));
        let labels = (!classes.is_empty()).then(|| Labels {
            ids: decoded.kept.iter().map(|picture| picture.class).collect(),
            names: classes.clone(),
        });
        let held_out = decoded.kept.iter().filter(|picture| picture.role == Role::Validation).count();
        if group.iter().any(|picture| picture.role == Role::Validation) {
            validation = Some(held_out);
        }
        let files = decoded.kept.iter().map(|picture| picture.entry.path.clone()).collect();
        Ok(Group { images: Some(decoded.images), labels, files })
    });
    let (mut train, mut test) = (train?, test?);
    bad.files.sort();
    bad.check(options)?;
    let parts = || [&train, &test].into_iter().filter_map(|group| group.images.as_ref());
    let nothing_left = parts().any(|images| images.count == 0) || validation == Some(0);
    if let (true, Some((path, reason))) = (nothing_left, bad.files.first()) {
        return Err(Error::data(path, format!("it {reason}; {NOTHING_LEFT}")));
    }
    let numbers = if deep { Numbers::Integers } else { Numbers::Bytes };
    let needed = deep || options.range.is_some() || options.trained_range.is_some();
    let extent = if needed { range::extent(parts().map(|images| &images.pixels)) } else { (0.0, 255.0) };
    let range = range::settle(numbers, extent, options, &path, &mut notes)?;
    for images in [&mut train, &mut test].into_iter().filter_map(|group| group.images.as_mut()) {
        images.range = range;
    }
    notes.extend(bad.note());
    let single = bad.single;
    let skipped = bad.files.into_iter().map(|(path, _)| path).collect();
    // A single picture is not a list of files.
    if single {
        train.files.clear();
    }
    Ok(Held { train, validation, test, path, kind, notes, skipped })
}

/// Bytes of the pixels that are decoded before they are written to a cache.
fn piece_bytes(shape: ImageShape, deep: bool, max_memory: u64) -> u64 {
    let one = shape.len() * if deep { 4 } else { 1 };
    (images_at_once(one, max_memory) * one) as u64
}

/// Claims the memory for the pixels, and checks that there is enough to decode them.
fn reserve(
    pictures: &[Picture<'_>],
    pixels: u64,
    deep: bool,
    path: &Path,
    budget: &mut Budget,
) -> Result<()> {
    budget.take(pixels, path)?;
    // Each thread may hold a file, the picture as decoded, rotated, and in its final colours.
    let largest = |of: fn(&Picture<'_>, bool) -> u64| pictures.iter().map(|picture| of(picture, deep)).max();
    let picture = largest(|picture, deep| picture.header.scratch(deep)).unwrap_or(0);
    let file = largest(|picture, _| picture.length).unwrap_or(0);
    let threads = rayon::current_num_threads().min(pictures.len()) as u64;
    let scratch = picture.saturating_add(file).saturating_mul(threads);
    budget.take(scratch, path)?;
    budget.give_back(scratch);
    Ok(())
}

/// The result of decoding.
struct Decoded<'a, 'p> {
    /// The pictures that could be decoded.
    images: Images,
    /// The source of each.
    kept: Vec<&'a Picture<'p>>,
    /// The others, by index, with the reason.
    failed: Vec<(usize, PathBuf, String)>,
}

impl<'a, 'p> Decoded<'a, 'p> {
    /// The pixels from a cache; if there is none, `decode` makes it piece by piece.
    fn cached(
        pictures: &[&'a Picture<'p>],
        shape: ImageShape,
        deep: bool,
        range: Range,
        max_memory: u64,
        cache: &Cache,
        decode: impl Fn(&[&'a Picture<'p>]) -> Result<Decoded<'a, 'p>>,
    ) -> Result<Self> {
        let one = shape.len() * if deep { 4 } else { 1 };
        let fits = |cached: &Cached| {
            let count = cached.file.numbers() as usize / shape.len();
            let ascending = cached.failed.windows(2).all(|pair| pair[0].0 < pair[1].0);
            let last = cached.failed.last().map_or(0, |(number, _)| *number);
            cached.range == range
                && cached.file.is_float() == deep
                && count + cached.failed.len() == pictures.len()
                && ascending
                && last < pictures.len()
        };
        let cached = match cache.open()?.filter(fits) {
            Some(cached) => cached,
            None => cache.build((one * pictures.len()) as u64, range, |writer| {
                let at_once = images_at_once(one, max_memory);
                for (piece, pictures) in pictures.chunks(at_once).enumerate() {
                    let decoded = decode(pictures)?;
                    writer.add(&decoded.images.pixels)?;
                    let failed = decoded.failed.into_iter();
                    writer.failed(failed.map(|(number, _, reason)| (piece * at_once + number, reason)));
                }
                Ok(())
            })?,
        };
        let mut reasons = cached.failed.into_iter().peekable();
        let (mut kept, mut failed) = (Vec::with_capacity(pictures.len()), Vec::new());
        for (number, picture) in pictures.iter().enumerate() {
            match reasons.next_if(|(failed, _)| *failed == number) {
                Some((_, reason)) => failed.push((number, picture.entry.path.clone(), reason)),
                None => kept.push(*picture),
            }
        }
        let (ImageShape { height, width, channels }, count) = (shape, kept.len());
        let pixels = Pixels::File(cached.file);
        Ok(Self {
            images: Images { pixels, count, height, width, channels, range: Range::BYTES },
            kept,
            failed,
        })
    }

    /// Decodes pictures in parallel, each into its place. The gaps of those that cannot be decoded are closed
    /// afterwards.
    fn new<V: Decodable>(
        pictures: &[&'a Picture<'p>],
        shape: ImageShape,
        converter: &Converter,
        path: &Path,
        progress: &(dyn Fn() + Sync),
    ) -> Result<Self> {
        let size = shape.len();
        let mut values: Vec<V> = zeros(pictures.len() * size, path)?;
        let failures: Vec<Option<String>> = pictures
            .par_iter()
            .zip(values.par_chunks_exact_mut(size))
            .map_init(Buffers::default, |buffers, (picture, out)| {
                let result = buffers.decode(picture, converter, out);
                progress();
                result.err()
            })
            .collect();
        let mut kept = Vec::with_capacity(pictures.len());
        let mut failed = Vec::new();
        for (index, (picture, failure)) in pictures.iter().zip(failures).enumerate() {
            match failure {
                Some(reason) => failed.push((index, picture.entry.path.clone(), reason)),
                None => {
                    let place = kept.len();
                    if place != index {
                        values.copy_within(index * size..(index + 1) * size, place * size);
                    }
                    kept.push(*picture);
                }
            }
        }
        values.truncate(kept.len() * size);
        let ImageShape { height, width, channels } = shape;
        let count = kept.len();
        let images =
            Images { pixels: V::pixels(values), count, height, width, channels, range: Range::BYTES };
        Ok(Self { images, kept, failed })
    }
}

/// A type of pixel in a data set.
trait Decodable: Sample {
    /// Takes the samples of a picture: of one byte, or of two.
    fn samples(canvas: &Canvas, deep: bool, out: &mut Vec<Self>) -> std::result::Result<(), String>;

    /// The pixels of the data set.
    fn pixels(values: Vec<Self>) -> Pixels;
}

impl Decodable for u8 {
    fn samples(canvas: &Canvas, deep: bool, out: &mut Vec<Self>) -> std::result::Result<(), String> {
        if deep {
            return Err("changed while it was read".into());
        }
        resize(out, canvas.samples.len())?;
        out.copy_from_slice(&canvas.samples);
        Ok(())
    }

    fn pixels(values: Vec<Self>) -> Pixels {
        Pixels::U8(values)
    }
}

impl Decodable for f32 {
    fn samples(canvas: &Canvas, deep: bool, out: &mut Vec<Self>) -> std::result::Result<(), String> {
        let from = &canvas.samples;
        if deep {
            resize(out, from.len() / 2)?;
            let (pairs, _) = from.as_chunks::<2>();
            out.iter_mut().zip(pairs).for_each(|(out, pair)| *out = Self::from(u16::from_be_bytes(*pair)));
        } else {
            resize(out, from.len())?;
            out.iter_mut().zip(from).for_each(|(out, &v)| *out = Self::from(u16::from(v) * 257));
        }
        Ok(())
    }

    fn pixels(values: Vec<Self>) -> Pixels {
        Pixels::F32(values)
    }
}

/// One thread's buffers.
#[derive(Default)]
struct Buffers<V> {
    file: Vec<u8>,
    canvas: Canvas,
    turned: Vec<u8>,
    samples: Vec<V>,
    scratch: Scratch<V>,
}

impl<V: Decodable> Buffers<V> {
    /// Decodes a picture and converts it to the data set's colours and size.
    fn decode(
        &mut self,
        picture: &Picture<'_>,
        converter: &Converter,
        out: &mut [V],
    ) -> std::result::Result<(), String> {
        let Picture { entry, format, header, length, .. } = picture;
        entry.read_all(*length, &mut self.file).map_err(reason)?;
        (format.decode)(&self.file, header, &mut self.canvas)?;
        if header.orientation != Orientation::UPRIGHT {
            let bytes = self.canvas.channels * if header.deep { 2 } else { 1 };
            resize(&mut self.turned, self.canvas.samples.len())?;
            header.orientation.apply(
                &self.canvas.samples,
                header.height,
                header.width,
                bytes,
                &mut self.turned,
            );
            std::mem::swap(&mut self.turned, &mut self.canvas.samples);
        }
        V::samples(&self.canvas, header.deep, &mut self.samples)?;
        let (height, width) = header.size();
        let from = ImageShape::new(height, width, self.canvas.channels);
        converter.run(&self.samples, from, out, &mut self.scratch)
    }
}

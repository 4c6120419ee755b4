//! Arrays, read as they are into memory and then converted by all threads.

use super::array;
use super::array_source::{Array, ArrayPart, ArraySource, view};
use super::budget::{Budget, checked_size, zeros};
use super::convert::{Converter, Scratch};
use super::header::{Header, Kind};
use super::held::{Group, Held};
use super::images::{Images, Pixels, Range};
use super::labels::Labels;
use super::layout::View;
use super::options::LoadOptions;
use super::range::{self, Numbers};
use super::resize::Sample;
use super::stream::Stream;
use crate::tensor::ImageShape;
use crate::{Error, Result};
use rayon::prelude::*;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

/// An array that is open.
struct Opened<'s> {
    header: Header,
    view: View,
    stream: Stream<'s>,
}

impl<'s> Opened<'s> {
    fn new(array: &'s Array<'_>, options: &LoadOptions) -> Result<Self> {
        let (header, stream) = array.open()?;
        let view = view(&header, options, array.path())?;
        let bytes = header.elements(array.path())? as u64 * header.kind.bytes() as u64;
        stream.expect(bytes)?;
        Ok(Self { header, view, stream })
    }
}

/// Reads the arrays of a source.
///
/// # Errors
/// If they are damaged, do not fit each other, or take more memory than allowed.
pub(crate) fn hold(
    source: &ArraySource<'_>,
    options: &LoadOptions,
    budget: &mut Budget,
    progress: &(dyn Fn(usize, usize) + Sync),
) -> Result<Held> {
    let path = &source.path;
    let open = |part: &'_ Option<ArrayPart<'_>>| -> Result<Vec<Header>> {
        part.iter().map(|part| part.images.open().map(|(header, _)| header)).collect()
    };
    let parts = &source.parts;
    let headers = [open(&parts.train)?, open(&parts.validation)?, open(&parts.test)?].concat();
    let numbers = numbers(&headers, path)?;
    let mut notes = source.notes.clone();
    let mut train = read(
        [&parts.train, &parts.validation].into_iter().flatten(),
        numbers,
        options,
        budget,
        path,
        progress,
    )?;
    let mut test = read(parts.test.iter(), numbers, options, budget, path, progress)?;
    if let (Some(train), Some(test)) = (&train, &test) {
        let (a, b) = (train.shape(), test.shape());
        if a != b && (options.size.is_none() || a.channels != b.channels) {
            let message =
                format!("its training images are {a} and its test images {b}; both must be the same");
            return Err(Error::data(path, message));
        }
    }
    let all = || train.iter().chain(&test).map(|images| &images.pixels);
    let (low, high) = range::extent(all());
    if numbers == Numbers::Integers && low >= 0.0 && high <= 255.0 {
        for images in train.iter_mut().chain(&mut test) {
            narrow(images, budget, path)?;
        }
    }
    let range = range::settle(numbers, (low, high), options, path, &mut notes)?;
    for images in train.iter_mut().chain(&mut test) {
        images.range = range;
        if low < range.low || high > range.high {
            range::clamp(&mut images.pixels, range);
        }
    }
    let mut convert = |images: Option<Images>| images.map(|images| converted(images, path, options, budget));
    let (train, test) = (convert(train).transpose()?, convert(test).transpose()?);
    let labels = |part: &Option<ArrayPart<'_>>, budget: &mut Budget| -> Result<Option<Vec<u32>>> {
        part.as_ref().map_or(Ok(None), |part| read_labels(part, budget))
    };
    let train_labels = labels(&parts.train, budget)?;
    let validation_labels = labels(&parts.validation, budget)?;
    let test_labels = labels(&parts.test, budget)?;
    let train_labels = match (train_labels, validation_labels, &parts.validation) {
        (Some(train), Some(validation), _) => Some([train, validation].concat()),
        (labels, None, None) => labels,
        _ => None,
    };
    let (labels, test_labels) = Labels::from_values(train_labels, test_labels);
    let validation = match &parts.validation {
        Some(part) => Some(Opened::new(&part.images, options)?.view.count),
        None => None,
    };
    let group = |images, labels| Group { images, labels, files: Vec::new() };
    Ok(Held {
        train: group(train, labels),
        validation,
        test: group(test, test_labels),
        path: path.clone(),
        kind: source.kind.into(),
        notes,
        skipped: Vec::new(),
    })
}

/// What the elements of all parts are.
fn numbers(headers: &[Header], path: &Path) -> Result<Numbers> {
    let all = |is: fn(Kind) -> bool| headers.iter().all(|header| is(header.kind));
    if all(|kind| kind == Kind::Bool) {
        Ok(Numbers::Bits)
    } else if all(Kind::is_byte) {
        Ok(Numbers::Bytes)
    } else if all(|kind| !kind.is_float()) {
        Ok(Numbers::Integers)
    } else if all(Kind::is_float) {
        Ok(Numbers::Floats)
    } else {
        let message =
            "of its training and test images one are bytes and the other floats; both must be the same";
        Err(Error::data(path, message))
    }
}

/// Reads the arrays of one or two parts into one buffer.
fn read<'s>(
    parts: impl Iterator<Item = &'s ArrayPart<'s>>,
    numbers: Numbers,
    options: &LoadOptions,
    budget: &mut Budget,
    path: &Path,
    progress: &(dyn Fn(usize, usize) + Sync),
) -> Result<Option<Images>> {
    let mut opened = Vec::new();
    let bytes = matches!(numbers, Numbers::Bits | Numbers::Bytes);
    for part in parts {
        let one = Opened::new(&part.images, options)?;
        let numbers = one.header.elements(part.images.path())? as u64;
        budget.take(numbers * if bytes { 1 } else { 4 }, part.images.path())?;
        opened.push(one);
    }
    let Some(shape) = opened.first().map(|one| one.view.image) else { return Ok(None) };
    if let Some(other) = opened.iter().find(|one| one.view.image != shape) {
        let message = format!(
            "its training images are {shape} and its validation images {}; both must be the same",
            other.view.image
        );
        return Err(Error::data(path, message));
    }
    let count = opened.iter().map(|one| one.view.count).sum();
    let size = checked_size(count, shape).ok_or_else(|| {
        Error::data(path, format!("its {count} images of {shape} are larger than any memory"))
    })?;
    let (done, each) =
        (AtomicU64::new(0), opened.iter().map(|one| one.header.kind.bytes()).max().unwrap_or(1));
    let each = (each * shape.len()).max(1) as u64;
    let watch = |bytes: u64| {
        let before = done.fetch_add(bytes, Ordering::Relaxed);
        if before / each < (before + bytes) / each {
            progress(((before + bytes) / each) as usize, count);
        }
    };
    let pixels = if bytes {
        let mut values = zeros(size, path)?;
        let mut rest = &mut values[..];
        for Opened { header, view, stream } in opened {
            let (own, others) = rest.split_at_mut(view.count * shape.len());
            array::read_bytes(stream.watched(&watch), &header, &view.axes, own)?;
            rest = others;
        }
        Pixels::U8(values)
    } else {
        let mut values = zeros(size, path)?;
        let mut rest = &mut values[..];
        for Opened { header, view, stream } in opened {
            let (own, others) = rest.split_at_mut(view.count * shape.len());
            array::read_floats(stream.watched(&watch), &header, &view.axes, own)?;
            rest = others;
        }
        Pixels::F32(values)
    };
    let ImageShape { height, width, channels } = shape;
    Ok(Some(Images { pixels, count, height, width, channels, range: Range::BYTES }))
}

/// Makes bytes of numbers that are bytes in all but their type.
fn narrow(images: &mut Images, budget: &mut Budget, path: &Path) -> Result<()> {
    if let Pixels::F32(values) = &images.pixels {
        budget.take(values.len() as u64, path)?;
        let bytes: Vec<u8> = values.iter().map(|&v| v as u8).collect();
        budget.give_back(4 * values.len() as u64);
        images.pixels = Pixels::U8(bytes);
    }
    Ok(())
}

/// The labels of a part, as many as its images.
fn read_labels(part: &ArrayPart<'_>, budget: &mut Budget) -> Result<Option<Vec<u32>>> {
    let Some(labels) = &part.labels else { return Ok(None) };
    let (header, stream) = labels.open()?;
    let values = array::read_labels(stream, &header, budget)?;
    let (images, _) = part.images.open()?;
    let count = images.shape.first().copied().unwrap_or(0);
    if values.len() as u64 != count {
        let message =
            format!("it has {} labels for {count} images; there must be one for each", values.len());
        return Err(Error::data(labels.path(), message));
    }
    Ok(Some(values))
}

/// Gives images the colours and the size that were asked for; without such options they come back as they are.
fn converted(images: Images, path: &Path, options: &LoadOptions, budget: &mut Budget) -> Result<Images> {
    let channels = match options.color {
        None => images.channels,
        Some(color) if matches!(images.channels, 1 | 3 | 4) => color.channels(),
        Some(color) => {
            return Err(Error::data(
                path,
                format!(
                    "the images have {} channels, and --{} takes images of 1 (grey), 3 (RGB) or 4 (RGB and alpha)",
                    images.channels, color
                ),
            ));
        }
    };
    let (height, width) = options.size.unwrap_or((images.height, images.width));
    let (from, shape) = (images.shape(), ImageShape::new(height, width, channels));
    if shape == from {
        return Ok(images);
    }
    let each = if matches!(images.pixels, Pixels::U8(_)) { 1 } else { 4 };
    let size = checked_size(images.count, shape)
        .ok_or_else(|| Error::config(format!("--size {height}x{width} is too large")))?;
    budget.take(size as u64 * each, path)?;
    // Each thread has an image in its new colours, and a row of sums.
    let scratch = (from.pixels() * channels) as u64 * each + (from.width * channels) as u64 * 4;
    let scratch = scratch.saturating_mul(rayon::current_num_threads().min(images.count) as u64);
    budget.take(scratch, path)?;
    let converter = Converter::new(shape, images.range, images.range, options).within(images.range);
    let pixels = match &images.pixels {
        Pixels::U8(values) => Pixels::U8(convert_all(values, from, shape, &converter, path)?),
        Pixels::F32(values) => Pixels::F32(convert_all(values, from, shape, &converter, path)?),
    };
    budget.give_back((images.count * images.image_len()) as u64 * each + scratch);
    Ok(Images { pixels, count: images.count, height, width, channels, range: images.range })
}

fn convert_all<V: Sample>(
    values: &[V],
    from: ImageShape,
    shape: ImageShape,
    converter: &Converter,
    path: &Path,
) -> Result<Vec<V>> {
    let mut out = zeros(values.len() / from.len() * shape.len(), path)?;
    values
        .par_chunks_exact(from.len())
        .zip(out.par_chunks_exact_mut(shape.len()))
        .try_for_each_init(Scratch::default, |scratch, (image, out)| converter.run(image, from, out, scratch))
        .map_err(|reason| Error::data(path, format!("it {reason}")))?;
    Ok(out)
}

//! Arrays, read and converted: all at once into memory, or in pieces into a cache file.

use super::array;
use super::array_group::ArrayGroup;
use super::array_source::{ArrayPart, ArraySource, view};
use super::array_values::{Values, target};
use super::budget::Budget;
use super::cache::{self, Cache};
use super::header::{Header, Kind};
use super::held::{Group, Held, Outline};
use super::images::Images;
use super::labels::Labels;
use super::options::LoadOptions;
use super::pixels::{NOTHING, Pixels, wider};
use super::range::{self, Numbers};
use crate::tensor::ImageShape;
use crate::{Error, Result};
use std::path::Path;

/// What is known of the arrays by their headers.
///
/// # Errors
/// If they do not fit each other or the options.
pub(crate) fn outline(source: &ArraySource<'_>, options: &LoadOptions, budget: &Budget) -> Result<Outline> {
    let arrays = Arrays::open(source, options)?;
    let mut outline = Outline { shape: ImageShape::new(0, 0, 0), train: 0, memory: 0 };
    // Integers may become bytes, which their values tell.
    let each = if arrays.numbers == Numbers::Floats { 4 } else { 1 };
    for (group, is_train) in arrays.groups.iter().zip([true, false]) {
        let Some(group) = group else { continue };
        outline.shape = target(group.shape, options, &source.path)?;
        outline.train += if is_train { group.count } else { 0 };
        let numbers = (group.count as u64).saturating_mul(outline.shape.len() as u64);
        outline.memory = outline.memory.saturating_add(numbers.saturating_mul(each));
    }
    if arrays.cache(budget)?.is_some() {
        outline.memory = 0;
    }
    Ok(outline)
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
    let (path, parts) = (&source.path, &source.parts);
    let mut notes = source.notes.clone();
    let arrays = Arrays::open(source, options)?;
    let [train, test] = match arrays.cache(budget)? {
        Some(folder) => arrays.cached(folder, budget, &mut notes, progress)?,
        None => arrays.in_memory(budget, &mut notes, progress)?,
    };
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
        Some(part) => Some(view(&part.images.open()?.0, options, part.images.path())?.count),
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

/// The arrays of training and test images.
struct Arrays<'s> {
    groups: [Option<ArrayGroup<'s>>; 2],
    numbers: Numbers,
    path: &'s Path,
    options: &'s LoadOptions,
}

impl<'s> Arrays<'s> {
    /// Opens all arrays.
    ///
    /// # Errors
    /// If they do not fit each other or the options.
    fn open(source: &'s ArraySource<'s>, options: &'s LoadOptions) -> Result<Self> {
        let (path, parts) = (&source.path, &source.parts);
        let open = |part: &Option<ArrayPart<'_>>| -> Result<Vec<Header>> {
            part.iter().map(|part| part.images.open().map(|(header, _)| header)).collect()
        };
        let headers = [open(&parts.train)?, open(&parts.validation)?, open(&parts.test)?].concat();
        let numbers = numbers(&headers, path)?;
        let groups = [
            ArrayGroup::new([&parts.train, &parts.validation], numbers, options, path)?,
            ArrayGroup::new([&parts.test, &None], numbers, options, path)?,
        ];
        if let [Some(train), Some(test)] = &groups {
            let (a, b) = (train.shape, test.shape);
            if a != b && (options.size.is_none() || a.channels != b.channels) {
                let message =
                    format!("its training images are {a} and its test images {b}; both must be the same");
                return Err(Error::data(path, message));
            }
        }
        Ok(Self { groups, numbers, path, options })
    }

    /// The folder for the cache file, if the images are kept in one.
    fn cache(&self, budget: &Budget) -> Result<Option<&'s Path>> {
        let folder = self.options.cache.as_deref();
        Ok(if budget.holds(self.memory()?) { None } else { folder })
    }

    /// Bytes that reading and converting take in memory.
    fn memory(&self) -> Result<u64> {
        let mut bytes = 0_u64;
        for group in self.groups.iter().flatten() {
            let shape = target(group.shape, self.options, self.path)?;
            let converted = if shape == group.shape { 0 } else { shape.len() * group.each() };
            let converted = (converted as u64).saturating_mul(group.count as u64);
            bytes = bytes.saturating_add(group.memory()).saturating_add(converted);
        }
        Ok(bytes)
    }

    /// All images in memory.
    fn in_memory(
        &self,
        budget: &mut Budget,
        notes: &mut Vec<String>,
        progress: &(dyn Fn(usize, usize) + Sync),
    ) -> Result<[Option<Images>; 2]> {
        let Self { numbers, path, options, .. } = *self;
        let [train, test] = &self.groups;
        let mut read = |group: &Option<ArrayGroup<'_>>| -> Result<Option<Images>> {
            group.as_ref().map(|group| group.read(budget, path, progress)).transpose()
        };
        let read = [read(train)?, read(test)?];
        let extent = range::extent(read.iter().flatten().map(|images| &images.pixels));
        let values = Values::settle(numbers, extent, options, path, notes)?;
        let mut apply = |images: Option<Images>| -> Result<Option<Images>> {
            images.map(|images| values.apply(images, path, options, budget)).transpose()
        };
        let [train, test] = read;
        Ok([apply(train)?, apply(test)?])
    }

    /// All images in a cache file. Arrays that are in no such file yet are read twice: for the extent of their values, on which the
    /// conversion depends, and to convert them.
    fn cached(
        &self,
        folder: &Path,
        budget: &Budget,
        notes: &mut Vec<String>,
        progress: &(dyn Fn(usize, usize) + Sync),
    ) -> Result<[Option<Images>; 2]> {
        let Self { numbers, path, options, .. } = *self;
        let cache = |group: &ArrayGroup<'_>, part: &str| -> Result<Cache> {
            let mut key = cache::key(path, None);
            group.stamp(&mut key);
            let shape = target(group.shape, options, path)?;
            let name = cache::name(path, part, options);
            Ok(Cache::new(folder, name, key.finish(), shape.len()))
        };
        // Half an image each time that it is read.
        let (mut halves, total) = (0, self.groups.iter().flatten().map(|group| group.count).sum());
        let mut advance = |count: usize| {
            halves += count;
            progress(halves / 2, total);
        };
        let mut known = [None, None];
        let mut extent = NOTHING;
        for ((group, known), part) in self.groups.iter().zip(&mut known).zip(["train", "test"]) {
            let Some(group) = group else { continue };
            let cache = cache(group, part)?;
            let cached = cache.open()?.filter(|cached| self.is_whole(group, cached.file.numbers()));
            let mut own = cached.as_ref().map_or(NOTHING, |cached| cached.source);
            if cached.is_none() {
                group.pieces(path, options.max_memory, |images| {
                    own = wider(own, images.pixels.extent());
                    advance(images.count);
                    Ok(())
                })?;
            } else {
                advance(group.count);
            }
            extent = wider(extent, own);
            *known = Some((group, cache, cached, own));
        }
        let values = Values::settle(numbers, extent, options, path, notes)?;
        let mut images = known.into_iter().map(|known| -> Result<Option<Images>> {
            let Some((group, cache, cached, own)) = known else { return Ok(None) };
            let as_now = |floats: bool| floats != values.are_bytes(group.each());
            let cached =
                cached.filter(|cached| cached.range == values.range && as_now(cached.file.is_float()));
            let shape = target(group.shape, options, path)?;
            let each = if values.are_bytes(group.each()) { 1 } else { 4 };
            let cached = match cached {
                Some(cached) => cached,
                None => cache.build((group.count * shape.len() * each) as u64, values.range, |writer| {
                    writer.source(own);
                    group.pieces(path, options.max_memory, |images| {
                        advance(images.count);
                        let images =
                            values.apply(images, path, options, &mut Budget::new(options.max_memory))?;
                        writer.add(&images.pixels)
                    })
                })?,
            };
            let (ImageShape { height, width, channels }, count) = (shape, group.count);
            let pixels = Pixels::File(cached.file);
            let images = Images { pixels, count, height, width, channels, range: values.range };
            notes.push(budget.cached(images.bytes(), cache.path()));
            Ok(Some(images))
        });
        Ok([images.next().transpose()?.flatten(), images.next().transpose()?.flatten()])
    }

    /// Whether so many numbers are those of all images of a group.
    fn is_whole(&self, group: &ArrayGroup<'_>, numbers: u64) -> bool {
        target(group.shape, self.options, self.path)
            .is_ok_and(|shape| numbers == (group.count * shape.len()) as u64)
    }
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

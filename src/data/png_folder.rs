//! A folder of PNG files: found, measured, and decoded by all threads into one buffer.
//!
//! The folder is walked in the order of names, so that image 7 is the same file wherever the folder is copied to. Subfolders are
//! labels. If there are just two, `train` and `test`, they are the two parts of the data set, and the labels are the
//! subfolders of these. First the headers of all files are read, which tells the colours, the sizes and the memory; then every file is
//! decoded straight into its place, so that nothing is held but the pixels and one picture for each thread.

use super::array::Loaded;
use super::convert::{checked_size, convert_pixels};
use super::dataset::{Dataset, describe};
use super::images::{Images, Range};
use super::labels::Labels;
use super::png::{HEADER_BYTES, PngHeader, decode};
use super::resize::Plan;
use super::source::{Budget, zeros};
use super::{Color, LoadOptions, Part};
use crate::{Error, Result};
use rayon::prelude::*;
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

/// Folders in folders in folders: deeper is a mistake.
const DEEPEST: usize = 32;

/// What a walk through a folder finds.
#[derive(Default)]
struct Found {
    /// Files named .png, or that start like one.
    pictures: Vec<PathBuf>,
    /// How many others, and one of them.
    others: usize,
    example: Option<PathBuf>,
    /// Folders as they really are, so that a circle of links ends.
    visited: BTreeSet<PathBuf>,
}

impl Found {
    fn walk(&mut self, folder: &Path, depth: usize) -> Result<()> {
        let io_error = |e| Error::io("read", folder, e);
        if !self.visited.insert(fs::canonicalize(folder).map_err(io_error)?) || depth > DEEPEST {
            return Ok(());
        }
        let mut entries =
            fs::read_dir(folder).map_err(io_error)?.collect::<std::io::Result<Vec<_>>>().map_err(io_error)?;
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            let path = entry.path();
            let hidden = entry.file_name().as_encoded_bytes().starts_with(b".");
            // A link that leads nowhere is as good as not there.
            let Some(meta) = fs::metadata(&path).ok().filter(|_| !hidden) else { continue };
            if meta.is_dir() {
                self.walk(&path, depth + 1)?;
            } else if meta.is_file() && is_picture(&path) {
                self.pictures.push(path);
            } else if meta.is_file() {
                self.others += 1;
                self.example.get_or_insert(path);
            }
        }
        Ok(())
    }
}

/// By name or by content: a .png that is none is then named as a bad file.
fn is_picture(path: &Path) -> bool {
    let named = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("png"));
    named || first_bytes(path).is_ok_and(|(first, _)| first.starts_with(b"\x89PNG\r\n\x1a\n"))
}

/// The beginning of a file, and its length.
fn first_bytes(path: &Path) -> std::io::Result<(Vec<u8>, u64)> {
    let file = File::open(path)?;
    let length = file.metadata()?.len();
    let mut first = Vec::with_capacity(HEADER_BYTES);
    file.take(HEADER_BYTES as u64).read_to_end(&mut first)?;
    Ok((first, length))
}

/// Reads the header of a file.
fn measure(path: &Path) -> std::result::Result<PngHeader, String> {
    let (first, length) = first_bytes(path).map_err(|e| format!("cannot be read ({e})"))?;
    PngHeader::parse(&first, length)
}

/// A picture to decode.
struct Picture {
    path: PathBuf,
    header: PngHeader,
    test: bool,
}

/// Loads a folder.
pub(crate) fn load(
    folder: &Path,
    options: &LoadOptions,
    budget: &mut Budget,
    progress: &(dyn Fn(usize, usize) + Sync),
) -> Result<Dataset> {
    let mut found = Found::default();
    found.walk(folder, 0)?;
    if found.pictures.is_empty() {
        let others = match (&found.example, found.others) {
            (Some(example), n) => format!(", among {n} other files such as {}", example.display()),
            _ => String::new(),
        };
        let message = format!(
            "it has no PNG files{others}; what can be read is IDX (also .gz), .npy, .npz, and folders of PNG files"
        );
        return Err(Error::data(folder, message));
    }
    let total = found.pictures.len();
    let (train_folder, test_folder) = (folder.join("train"), folder.join("test"));
    let inside = |part: &Path| found.pictures.iter().filter(|path| path.starts_with(part)).count();
    let (in_train, in_test) = (inside(&train_folder), inside(&test_folder));
    let split = in_train > 0 && in_test > 0 && in_train + in_test == total;

    let measured: Vec<_> = found.pictures.par_iter().map(|path| measure(path)).collect();
    let mut bad = Bad::default();
    let mut pictures = Vec::with_capacity(total);
    for (path, header) in found.pictures.into_iter().zip(measured) {
        let test = split && path.starts_with(&test_folder);
        match header {
            Ok(header) => pictures.push(Picture { path, header, test }),
            Err(reason) => bad.add(path, reason),
        }
    }
    if pictures.is_empty() {
        bad.check(total, options)?;
    }
    let (height, width, channels) = target(&pictures, options)?;
    let wanted = |part: Part, test: bool| !split || part == Part::Both || (part == Part::Test) == test;
    pictures.retain(|picture| wanted(options.part, picture.test));
    let count = pictures.len();
    let bytes = checked_size(count, height, width, channels);
    budget.take(bytes.map_or(u64::MAX, |n| n as u64), folder)?;
    let largest = pictures.iter().map(|picture| picture.header.area()).max().unwrap_or(0);
    // Each thread holds a picture as it was decoded, and one in its final colours.
    let scratch = largest.saturating_mul(7).saturating_mul(rayon::current_num_threads().min(count) as u64);
    budget.take(scratch, folder)?;
    budget.give_back(scratch);

    let done = AtomicUsize::new(0);
    let shape = (height, width, channels);
    let mut parts = [None, None];
    let mut nothing_left = false;
    for (part, slot) in parts.iter_mut().enumerate() {
        let of_part: Vec<&Picture> = pictures.iter().filter(|picture| picture.test == (part == 1)).collect();
        if of_part.is_empty() {
            continue;
        }
        let decoded = decode_all(&of_part, shape, options, folder, &mut bad, &|| {
            progress(done.fetch_add(1, Ordering::Relaxed) + 1, count);
        })?;
        nothing_left |= decoded.0.count == 0;
        *slot = Some(decoded);
    }
    bad.0.sort();
    bad.check(total, options)?;
    if let (true, Some((path, reason))) = (nothing_left, bad.0.first()) {
        return Err(Error::data(
            path,
            format!("it {reason}; nothing is left of the training or of the test images"),
        ));
    }
    let [train, test] = parts;
    let (mut train_images, mut test_images, mut values) = (None, None, [None, None]);
    let mut names = BTreeSet::new();
    let mut folders = [Vec::new(), Vec::new()];
    let mut paths = [Vec::new(), Vec::new()];
    for (index, (part, images)) in
        [(train, &mut train_images), (test, &mut test_images)].into_iter().enumerate()
    {
        let Some((decoded, files)) = part else { continue };
        let root = if split { [&train_folder, &test_folder][index] } else { folder };
        folders[index] = files.iter().map(|path| label(path, root)).collect();
        names.extend(folders[index].iter().cloned());
        paths[index] = files.into_iter().map(Path::to_path_buf).collect();
        *images = Some(decoded);
    }
    let names: Vec<String> = names.into_iter().collect();
    if names.iter().any(|name| name != ".") {
        for (values, folders) in values.iter_mut().zip(&folders).filter(|(_, folders)| !folders.is_empty()) {
            let ids = folders.iter().map(|name| names.binary_search(name).unwrap_or(0) as u32).collect();
            *values = Some(Labels { ids, names: names.clone() });
        }
    }
    let [labels, test_labels] = values;
    let mut dataset = describe(train_images, test_images, labels, test_labels, folder, "PNG files")?;
    if found.others > 0 {
        dataset.notes.push(format!("{} files that are no PNG files were left out", found.others));
    }
    if let Some((path, reason)) = bad.0.first() {
        let message = format!(
            "{} of {total} PNG files could not be read and were left out; the first is {}, which {reason}",
            bad.0.len(),
            path.display()
        );
        dataset.notes.push(message);
    }
    [dataset.files, dataset.test_files] = paths;
    dataset.skipped = bad.0.into_iter().map(|(path, _)| path).collect();
    Ok(dataset)
}

/// The label of a picture: the folder that it is in, as seen from the root.
fn label(path: &Path, root: &Path) -> String {
    let folder = path.parent().and_then(|folder| folder.strip_prefix(root).ok());
    let parts: Vec<_> =
        folder.iter().flat_map(|folder| folder.iter()).map(|part| part.to_string_lossy()).collect();
    if parts.is_empty() { ".".into() } else { parts.join("/") }
}

/// Files that cannot be read, and why.
#[derive(Default)]
struct Bad(Vec<(PathBuf, String)>);

impl Bad {
    fn add(&mut self, path: PathBuf, reason: String) {
        self.0.push((path, reason));
    }

    /// An error unless bad files are to be left out; or if nothing is left.
    fn check(&self, total: usize, options: &LoadOptions) -> Result<()> {
        let Some((path, reason)) = self.0.first() else { return Ok(()) };
        let bad = self.0.len();
        if !options.skip_bad {
            let message = format!(
                "it {reason}; {bad} of {total} PNG files cannot be read, and --skip-bad goes on without them"
            );
            return Err(Error::data(path, message));
        }
        if bad == total {
            return Err(Error::data(path, format!("it {reason}; none of {total} PNG files can be read")));
        }
        Ok(())
    }
}

/// Height, width and channels that all pictures will have.
fn target(pictures: &[Picture], options: &LoadOptions) -> Result<(usize, usize, usize)> {
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

/// Decodes pictures in parallel, each into its place; what cannot be decoded is added to `bad` and closed up.
fn decode_all<'a>(
    pictures: &[&'a Picture],
    shape: (usize, usize, usize),
    options: &LoadOptions,
    folder: &Path,
    bad: &mut Bad,
    progress: &(dyn Fn() + Sync),
) -> Result<(Images, Vec<&'a Path>)> {
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
    let mut kept = 0;
    let mut files = Vec::with_capacity(pictures.len());
    for (index, (picture, failure)) in pictures.iter().zip(failures).enumerate() {
        match failure {
            Some(reason) => bad.add(picture.path.clone(), reason),
            None => {
                if kept != index {
                    pixels.copy_within(index * size..(index + 1) * size, kept * size);
                }
                files.push(picture.path.as_path());
                kept += 1;
            }
        }
    }
    pixels.truncate(kept * size);
    Ok((Images::from_bytes(pixels, kept, height, width, channels), files))
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
        let found = decode(reader, header, &mut self.decoded)?;
        let from = (header.height as usize, header.width as usize);
        let convert = |to: &mut [u8]| {
            convert_pixels(&self.decoded, found, to, channels, options.background, Range::BYTES);
        };
        if from == (height, width) {
            convert(out);
            return Ok(());
        }
        let colored = if found == channels {
            &self.decoded
        } else {
            self.colored.clear();
            self.colored.resize(from.0 * from.1 * channels, 0);
            convert(&mut self.colored);
            &self.colored
        };
        let plan = Plan::new(from, (height, width), channels);
        plan.run(colored, out, &mut plan.scratch());
        Ok(())
    }
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

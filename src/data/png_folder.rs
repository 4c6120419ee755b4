//! A folder of PNG files: found, measured, and decoded by all threads into one buffer.
//!
//! The folder is walked in the order of names, so that image 7 is the same file wherever the folder is copied to. Subfolders are
//! labels. If there are just two, `train` and `test`, they are the two parts of the data set, and the labels are the
//! subfolders of these. First the headers of all files are read, which tells the colours, the sizes and the memory; then they are
//! decoded, as `pictures` does it.

use super::convert::checked_size;
use super::dataset::{Dataset, describe};
use super::images::Images;
use super::labels::Labels;
use super::pictures::{Decoded, Picture, decode_all, target};
use super::png::{HEADER_BYTES, PngHeader};
use super::source::Budget;
use super::{LoadOptions, Part};
use crate::{Error, Result};
use rayon::prelude::*;
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Read;
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
    let roots = Roots::new(folder, &found.pictures);
    let total = found.pictures.len();
    let (mut pictures, mut bad) = measure_all(found.pictures, &roots);
    if pictures.is_empty() {
        bad.check(total, options)?;
    }
    let shape = target(&pictures, options)?;
    // Names of all classes, whatever part is wanted, so that a class has the same number in each.
    let names: BTreeSet<String> = pictures.iter().map(|picture| roots.label(picture)).collect();
    let names: Vec<String> = names.into_iter().collect();
    let wanted =
        |test: bool| !roots.split || options.part == Part::Both || (options.part == Part::Test) == test;
    pictures.retain(|picture| wanted(picture.test));
    reserve(&pictures, shape, folder, budget)?;

    let (done, count) = (AtomicUsize::new(0), pictures.len());
    let mut files = [Vec::new(), Vec::new()];
    let mut read_part = |test: bool| -> Result<(Option<Images>, Option<Labels>)> {
        if test && !roots.split || !wanted(test) {
            return Ok((None, None));
        }
        let of_part: Vec<&Picture> = pictures.iter().filter(|picture| picture.test == test).collect();
        let progress = || progress(done.fetch_add(1, Ordering::Relaxed) + 1, count);
        let Decoded { images, kept, failed } = decode_all(&of_part, shape, options, folder, &progress)?;
        bad.0.extend(failed);
        let class = |picture: &&Picture| names.binary_search(&roots.label(picture)).unwrap_or(0) as u32;
        let labelled = names.iter().any(|name| name != ".");
        let labels = labelled.then(|| Labels { ids: kept.iter().map(class).collect(), names: names.clone() });
        files[usize::from(test)] = kept.iter().map(|picture| picture.path.clone()).collect();
        Ok((Some(images), labels))
    };
    let (train, labels) = read_part(false)?;
    let (test, test_labels) = read_part(true)?;
    bad.0.sort();
    bad.check(total, options)?;
    let nothing_left = train.iter().chain(&test).any(|images| images.count == 0);
    if let (true, Some((path, reason))) = (nothing_left, bad.0.first()) {
        let message = format!("it {reason}; no picture that can be read is left in train or in test");
        return Err(Error::data(path, message));
    }
    let mut dataset = describe(train, test, labels, test_labels, folder, "PNG files")?;
    if found.others > 0 {
        dataset.notes.push(format!("{} files that are no PNG files were left out", found.others));
    }
    [dataset.files, dataset.test_files] = files;
    dataset.notes.extend(bad.note(total));
    dataset.skipped = bad.0.into_iter().map(|(path, _)| path).collect();
    Ok(dataset)
}

/// The folder of the training images and that of the test images.
struct Roots {
    train: PathBuf,
    test: PathBuf,
    /// Whether there are test images.
    split: bool,
}

impl Roots {
    /// The subfolders `train` and `test` if all pictures are in them and neither is empty, otherwise the folder itself.
    fn new(folder: &Path, pictures: &[PathBuf]) -> Self {
        let (train, test) = (folder.join("train"), folder.join("test"));
        let inside = |part: &Path| pictures.iter().filter(|path| path.starts_with(part)).count();
        let (in_train, in_test) = (inside(&train), inside(&test));
        let split = in_train > 0 && in_test > 0 && in_train + in_test == pictures.len();
        Self { train: if split { train } else { folder.to_path_buf() }, test, split }
    }

    /// The label of a picture: the folder that it is in, as seen from its root.
    fn label(&self, picture: &Picture) -> String {
        let root = if picture.test { &self.test } else { &self.train };
        let folder = picture.path.parent().and_then(|folder| folder.strip_prefix(root).ok());
        let parts: Vec<_> =
            folder.iter().flat_map(|folder| folder.iter()).map(|part| part.to_string_lossy()).collect();
        if parts.is_empty() { ".".into() } else { parts.join("/") }
    }
}

/// Reads all headers.
fn measure_all(paths: Vec<PathBuf>, roots: &Roots) -> (Vec<Picture>, Bad) {
    let measured: Vec<_> = paths.par_iter().map(|path| measure(path)).collect();
    let mut bad = Bad::default();
    let mut pictures = Vec::with_capacity(paths.len());
    for (path, header) in paths.into_iter().zip(measured) {
        let test = roots.split && path.starts_with(&roots.test);
        match header {
            Ok(header) => pictures.push(Picture { path, header, test }),
            Err(reason) => bad.add(path, reason),
        }
    }
    (pictures, bad)
}

/// Claims the memory for the pixels, and makes sure that there is enough to decode them.
fn reserve(
    pictures: &[Picture],
    (height, width, channels): (usize, usize, usize),
    folder: &Path,
    budget: &mut Budget,
) -> Result<()> {
    let bytes = checked_size(pictures.len(), height, width, channels);
    budget.take(bytes.map_or(u64::MAX, |n| n as u64), folder)?;
    // Each thread may hold a picture as it was decoded, and one in its final colours.
    let largest = pictures.iter().map(|picture| picture.header.area()).max().unwrap_or(0);
    let threads = rayon::current_num_threads().min(pictures.len()) as u64;
    let scratch = largest.saturating_mul(7).saturating_mul(threads);
    budget.take(scratch, folder)?;
    budget.give_back(scratch);
    Ok(())
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

    /// What was left out, for a person.
    fn note(&self, total: usize) -> Option<String> {
        let (path, reason) = self.0.first()?;
        let bad = self.0.len();
        let path = path.display();
        Some(format!(
            "{bad} of {total} PNG files could not be read and were left out; the first is {path}, which {reason}"
        ))
    }
}

//! IDX, the format of the MNIST files: an array with a header of a few bytes.
//!
//! ```text
//! 0 0 · element type · number of axes · each axis as 4 bytes, big-endian · values, last axis fastest
//! ```
//!
//! Element types are 08 u8, 09 i8, 0B i16, 0C i32, 0D f32, 0E f64, big-endian. The data set's own names tell what a file is for:
//! train-images-idx3-ubyte and train-labels-idx1-ubyte, t10k-… for the test images, with or without .gz.

use super::array::{self, Header, Kind};
use super::dataset::{Contents, Labelled};
use super::source::{Budget, Format, Length, Source, sniff};
use super::{LoadOptions, Part};
use crate::{Error, Result};
use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

/// Reads a header, and leaves the source at the first value.
pub(crate) fn read_header(source: &mut Source<'_>) -> Result<Header> {
    let path = source.path;
    let mut magic = [0; 4];
    source.read(&mut magic)?;
    let kind = match magic {
        [0, 0, 0x08, _] => Kind::Int { signed: false, bytes: 1 },
        [0, 0, 0x09, _] => Kind::Int { signed: true, bytes: 1 },
        [0, 0, 0x0b, _] => Kind::Int { signed: true, bytes: 2 },
        [0, 0, 0x0c, _] => Kind::Int { signed: true, bytes: 4 },
        [0, 0, 0x0d, _] => Kind::F32,
        [0, 0, 0x0e, _] => Kind::F64,
        [a, b, c, d] => {
            let message = format!(
                "it starts with {a:02x} {b:02x} {c:02x} {d:02x}; an IDX file of bytes starts with 00 00 08"
            );
            return Err(Error::data(path, message));
        }
    };
    if !matches!(magic[3], 1..=4) {
        return Err(Error::data(
            path,
            format!("its array has {} axes; 1 (labels), 3 or 4 (images) are expected", magic[3]),
        ));
    }
    let mut shape = Vec::new();
    for _ in 0..magic[3] {
        let mut size = [0; 4];
        source.read(&mut size)?;
        shape.push(u64::from(u32::from_be_bytes(size)));
    }
    Ok(Header { kind, big_endian: true, shape, fortran: false })
}

/// Opens a file, compressed or not, checks that it is IDX, and hands it on.
fn with_file<T>(path: &Path, read: impl FnOnce(Source<'_>, Header) -> Result<T>) -> Result<T> {
    let file = File::open(path).map_err(|e| Error::io("read", path, e))?;
    let length = file.metadata().map_err(|e| Error::io("read", path, e))?.len();
    let mut source = Source::new(path, BufReader::with_capacity(1 << 16, file), Length::Exact(length));
    if source.peek()?.starts_with(b"\x1f\x8b") {
        let file = File::open(path).map_err(|e| Error::io("read", path, e))?;
        source = Source::gunzip(path, BufReader::with_capacity(1 << 16, file), length);
    }
    let format = sniff(&source.peek()?, path)?;
    if format != Format::Idx {
        return Err(Error::data(
            path,
            format!("its name is that of an IDX file, and its content is {format:?}"),
        ));
    }
    let header = read_header(&mut source)?;
    read(source, header)
}

/// The labels of one file.
fn labels_of_file(path: &Path, budget: &mut Budget) -> Result<Vec<u32>> {
    with_file(path, |source, header| array::read_labels(source, &header, budget))
}

/// Images and, where there are any, labels of two files.
fn part_of_files(
    images: &Path,
    labels: Option<&Path>,
    options: &LoadOptions,
    budget: &mut Budget,
) -> Result<Labelled> {
    let loaded = with_file(images, |source, header| array::read_images(source, &header, options, budget))?;
    let values = labels.map(|path| labels_of_file(path, budget)).transpose()?;
    Labelled::new(loaded, values, labels.unwrap_or(images))
}

/// The two ways in which the MNIST files are named.
const IMAGES: [&str; 2] = ["images-idx3-ubyte", "images.idx3-ubyte"];

/// The files of a folder with the MNIST names.
pub(crate) struct Files {
    train: Option<PathBuf>,
    test: Option<PathBuf>,
}

/// Looks for the MNIST names in a folder.
pub(crate) fn find_in(folder: &Path) -> Option<Files> {
    let find = |prefix: &str| {
        let names =
            IMAGES.iter().flat_map(|name| [format!("{prefix}-{name}"), format!("{prefix}-{name}.gz")]);
        names.map(|name| folder.join(name)).find(|path| path.is_file())
    };
    let (train, test) = (find("train"), find("t10k"));
    (train.is_some() || test.is_some()).then_some(Files { train, test })
}

/// Reads such a folder.
pub(crate) fn read_folder(files: &Files, options: &LoadOptions, budget: &mut Budget) -> Result<Contents> {
    // A folder with test images only is a data set all the same.
    let (train, test) = match (&files.train, &files.test) {
        (None, test) => (test, &None),
        both => both,
    };
    let read = |path: &Option<PathBuf>, wanted: bool, budget: &mut Budget| {
        let path = path.as_ref().filter(|_| wanted);
        path.map(|path| part_of_files(path, labels_beside(path).as_deref(), options, budget)).transpose()
    };
    let train = read(train, options.part != Part::Test || test.is_none(), budget)?;
    let test = read(test, options.part != Part::Train, budget)?;
    Ok(Contents { train, test, kind: "IDX" })
}

/// The file of labels that belongs to a file of images, if it is named as MNIST's are and is there.
pub(crate) fn labels_beside(images: &Path) -> Option<PathBuf> {
    let name = images.file_name()?.to_str()?;
    let stem = name.strip_suffix(".gz").unwrap_or(name);
    let prefix = IMAGES.iter().find_map(|known| stem.strip_suffix(known))?;
    let names = ["labels-idx1-ubyte", "labels.idx1-ubyte"];
    let candidates = names.iter().flat_map(|name| [format!("{prefix}{name}"), format!("{prefix}{name}.gz")]);
    candidates.map(|name| images.with_file_name(name)).find(|path| path.is_file())
}

/// Labels for a file of images that was read by itself.
pub(crate) fn read_labels_beside(images: &Path, budget: &mut Budget) -> Result<Option<(PathBuf, Vec<u32>)>> {
    let Some(path) = labels_beside(images) else { return Ok(None) };
    let values = labels_of_file(&path, budget)?;
    Ok(Some((path, values)))
}

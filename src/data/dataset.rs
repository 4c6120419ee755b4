//! A data set: what `--data` names, read, converted, and described.

use super::array::{self, Loaded};
use super::convert::convert;
use super::images::{Fingerprint, Images, Pixels};
use super::source::{Budget, Format, LONGEST_SIDE, Length, Source, human_bytes, sniff};
use super::{Labels, LoadOptions, idx, npy, npz, pictures, png_folder};
use crate::{Error, Result};
use std::fs::File;
use std::io::{BufReader, Cursor, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

/// Images to learn from, and what belongs to them.
#[derive(Clone, Debug, PartialEq)]
pub struct Dataset {
    /// The training images, or all images of a data set that makes no difference. Empty if only test images were asked for.
    pub train: Images,
    /// The data set's own test images.
    pub test: Option<Images>,
    /// Classes of `train`.
    pub labels: Option<Labels>,
    /// Classes of `test`.
    pub test_labels: Option<Labels>,
    /// What was found, in a line.
    pub description: String,
    /// What a person should know besides: files left out, values that look odd.
    pub notes: Vec<String>,
    /// Where it was read from.
    pub path: PathBuf,
    /// The file of each image of `train`, where each has its own; else empty.
    pub files: Vec<PathBuf>,
    /// The file of each image of `test`, likewise.
    pub test_files: Vec<PathBuf>,
    /// Files that could not be read and were left out.
    pub skipped: Vec<PathBuf>,
}

impl Dataset {
    /// 64 bits that change when a training image, its label or its size does.
    pub fn fingerprint(&self) -> u64 {
        let mut hash = Fingerprint::new();
        hash.number(self.train.fingerprint());
        if let Some(labels) = &self.labels {
            labels.add_to(&mut hash);
        }
        hash.finish()
    }
}

/// Images with the numbers of their labels, before anything is settled.
pub(crate) struct Labelled {
    loaded: Loaded,
    labels: Option<Vec<u32>>,
}

impl Labelled {
    /// `labels_path` is where the labels are from, for the message if they are not as many as the images.
    pub(crate) fn new(loaded: Loaded, labels: Option<Vec<u32>>, labels_path: &Path) -> Result<Self> {
        if let Some(labels) = labels.as_ref().filter(|labels| labels.len() != loaded.images.count) {
            let message = format!(
                "it has {} labels for {} images; there must be one for each",
                labels.len(),
                loaded.images.count
            );
            return Err(Error::data(labels_path, message));
        }
        Ok(Self { loaded, labels })
    }
}

/// What a file or a folder of arrays holds.
pub(crate) struct Contents {
    pub(crate) train: Option<Labelled>,
    pub(crate) test: Option<Labelled>,
    pub(crate) kind: &'static str,
}

/// Reads what is at `path`: a folder of PNG files or of files with the MNIST names, or one IDX (also .gz), .npy, .npz or PNG file. What it is
/// is found by content. `progress(done, total)` is called while PNG files are decoded, from several threads.
pub fn load(
    path: impl AsRef<Path>,
    options: &LoadOptions,
    progress: &(dyn Fn(usize, usize) + Sync),
) -> Result<Dataset> {
    let path = path.as_ref();
    check_options(options)?;
    let meta = std::fs::metadata(path).map_err(|e| Error::io("read", path, e))?;
    let mut budget = Budget::new(options.max_memory);
    if meta.is_dir() {
        return match idx::find_in(path) {
            Some(files) => {
                let contents = idx::read_folder(&files, options, &mut budget)?;
                settle(contents, path, options, &mut budget)
            }
            None => png_folder::load(path, options, &mut budget, progress),
        };
    }
    if !meta.is_file() {
        return Err(Error::data(path, "it is neither a file nor a folder"));
    }
    let file = File::open(path).map_err(|e| Error::io("read", path, e))?;
    let mut contents = read_stream(file, meta.len(), path, options, &mut budget)?;
    if contents.kind == "IDX"
        && let Some(images) = contents.train.take()
    {
        let found = idx::read_labels_beside(path, &mut budget)?;
        let (labels_path, values) = found.map_or((None, None), |(path, values)| (Some(path), Some(values)));
        let labels_path = labels_path.as_deref().unwrap_or(path);
        contents.train = Some(Labelled::new(images.loaded, values, labels_path)?);
    }
    settle(contents, path, options, &mut budget)
}

/// [`load`] for a file that is in memory; `path` is for messages.
pub fn parse(bytes: &[u8], path: &Path, options: &LoadOptions) -> Result<Dataset> {
    check_options(options)?;
    let mut budget = Budget::new(options.max_memory);
    let contents = read_stream(Cursor::new(bytes), bytes.len() as u64, path, options, &mut budget)?;
    settle(contents, path, options, &mut budget)
}

/// The sizes that were asked for must be possible.
fn check_options(options: &LoadOptions) -> Result<()> {
    match options.size {
        Some((height, width)) if height.min(width) == 0 || height.max(width) > LONGEST_SIDE => {
            Err(Error::config(format!("--size {height}x{width} must be from 1 to 65535 in both directions")))
        }
        _ => Ok(()),
    }
}

/// Reads one file of any format.
fn read_stream(
    mut reader: impl Read + Seek,
    length: u64,
    path: &Path,
    options: &LoadOptions,
    budget: &mut Budget,
) -> Result<Contents> {
    let mut first = Vec::new();
    let io_error = |e| Error::io("read", path, e);
    (&mut reader).take(8).read_to_end(&mut first).map_err(io_error)?;
    reader.seek(SeekFrom::Start(0)).map_err(io_error)?;
    let format = sniff(&first, path)?;
    let source = match format {
        Format::Zip => return npz::read(reader, length, path, options, budget),
        Format::Png => {
            let loaded = pictures::single(reader, length, path, options, budget)?;
            let train = Some(Labelled { loaded, labels: None });
            return Ok(Contents { train, test: None, kind: "PNG" });
        }
        Format::Gzip => Source::gunzip(path, BufReader::with_capacity(1 << 16, reader), length),
        Format::Idx | Format::Npy => {
            Source::new(path, BufReader::with_capacity(1 << 16, reader), Length::Exact(length))
        }
    };
    read_array(source, options, budget)
}

/// Reads IDX or npy, which may come out of gzip.
fn read_array(mut source: Source<'_>, options: &LoadOptions, budget: &mut Budget) -> Result<Contents> {
    let path = source.path;
    let (loaded, kind) = match sniff(&source.peek()?, path)? {
        Format::Npy => (npy::read_images(source, options, budget)?, "npy"),
        Format::Idx => {
            let header = idx::read_header(&mut source)?;
            (array::read_images(source, &header, options, budget)?, "IDX")
        }
        other => {
            return Err(Error::data(
                path,
                format!("it holds {other:?} data inside of gzip; IDX or npy can be read there"),
            ));
        }
    };
    Ok(Contents { train: Some(Labelled { loaded, labels: None }), test: None, kind })
}

/// Settles ranges and labels, converts, and describes.
fn settle(contents: Contents, path: &Path, options: &LoadOptions, budget: &mut Budget) -> Result<Dataset> {
    let Contents { mut train, mut test, kind } = contents;
    if let (Some(train), Some(test)) = (&train, &test) {
        let size = |part: &Labelled| {
            let images = &part.loaded.images;
            (images.height, images.width, images.channels)
        };
        let ((h, w, c), (test_h, test_w, test_c)) = (size(train), size(test));
        if (h, w, c) != (test_h, test_w, test_c) && (options.size.is_none() || c != test_c) {
            let message = format!(
                "its training images are {h}×{w}×{c} and its test images {test_h}×{test_w}×{test_c}; both must be the same"
            );
            return Err(Error::data(path, message));
        }
        if train.loaded.extent.is_some() != test.loaded.extent.is_some() {
            let message =
                "of its training and test images one are bytes and the other floats; both must be the same";
            return Err(Error::data(path, message));
        }
    }
    let mut parts: Vec<&mut Loaded> =
        train.iter_mut().chain(&mut test).map(|part| &mut part.loaded).collect();
    array::settle_range(&mut parts, options, path)?;
    let mut finish = |part: Option<Labelled>| -> Result<(Option<Images>, Option<Vec<u32>>)> {
        let Some(Labelled { loaded, labels }) = part else { return Ok((None, None)) };
        Ok((Some(convert(loaded.images, path, options, budget)?), labels))
    };
    let (train, train_values) = finish(train)?;
    let (test, test_values) = finish(test)?;
    let (labels, test_labels) = Labels::from_values(train_values, test_values);
    describe(train, test, labels, test_labels, path, kind)
}

/// Puts a data set together.
pub(crate) fn describe(
    train: Option<Images>,
    test: Option<Images>,
    labels: Option<Labels>,
    test_labels: Option<Labels>,
    path: &Path,
    kind: &str,
) -> Result<Dataset> {
    let Some(shown) = train.as_ref().or(test.as_ref()) else {
        return Err(Error::data(path, "it has no images"));
    };
    let size = |images: &Images| {
        let bytes =
            images.count * images.image_len() * if matches!(images.pixels, Pixels::U8(_)) { 1 } else { 4 };
        (images.count, bytes)
    };
    let (count, bytes) = train.as_ref().map_or((0, 0), size);
    let (test_count, test_bytes) = test.as_ref().map_or((0, 0), size);
    let counts = match (count, test_count) {
        (n, 0) => format!("{n} images"),
        (0, n) => format!("{n} test images"),
        (n, test) => format!("{n} images and {test} test images"),
    };
    let colors = match shown.channels {
        1 => "grey".into(),
        3 => "RGB".into(),
        4 => "RGB and alpha".into(),
        n => format!("{n} channels"),
    };
    let type_name = if matches!(shown.pixels, Pixels::U8(_)) { "bytes" } else { "floats" };
    let classes = labels
        .as_ref()
        .or(test_labels.as_ref())
        .map_or("no labels".into(), |labels| format!("{} classes", labels.classes()));
    let description = format!(
        "{kind}: {counts} of {}×{}, {colors}, {type_name} from {} to {}, {classes}, {} in memory",
        shown.height,
        shown.width,
        shown.range.low,
        shown.range.high,
        human_bytes((bytes + test_bytes) as u64)
    );
    let mut notes = Vec::new();
    if let (Pixels::U8(values), super::Range::BYTES) = (&shown.pixels, shown.range)
        && values.iter().all(|&v| v <= 1)
    {
        let note = "all bytes are 0 or 1, which is nearly black out of 255; --range 0,1 takes 1 as white";
        notes.push(note.into());
    }
    let empty = Images::empty(shown.height, shown.width, shown.channels);
    let empty = Images { range: shown.range, ..empty };
    Ok(Dataset {
        train: train.unwrap_or(empty),
        test,
        labels,
        test_labels,
        description,
        notes,
        path: path.to_path_buf(),
        files: Vec::new(),
        test_files: Vec::new(),
        skipped: Vec::new(),
    })
}

/// The MNIST files that come with the source: data/mnist of the package that the program runs in, else of where it was built.
pub fn find_bundled() -> Option<PathBuf> {
    let has_images = |folder: PathBuf| idx::find_in(&folder).is_some().then_some(folder);
    let here = std::env::current_dir().ok();
    let package = here.iter().flat_map(|here| here.ancestors()).find(|folder| {
        std::fs::read_to_string(folder.join("Cargo.toml")).is_ok_and(|text| {
            text.lines().any(|line| line.split_whitespace().collect::<String>() == "name=\"elbo\"")
        })
    });
    let built = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.into_iter().chain([built]).find_map(|folder| has_images(folder.join("data").join("mnist")))
}

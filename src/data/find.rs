//! Finds the files at a path and recognizes them by their content.
//!
//! Folders are walked in the order of names, so image 7 is the same file in every copy of the folder. The
//! members of an archive have the same order, so a folder and its archive are the same data.

use super::entry::Entry;
use super::formats::{self, Foreign, Format, HEAD};
use super::walk::{Walk, is_junk};
use super::zip::{self, Archive, Blob};
use crate::{Error, Result};
use rawzip::FileReader;
use rayon::prelude::*;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A file and its format.
#[derive(Clone)]
pub(crate) struct Item<'a> {
    pub(crate) entry: Entry<'a>,
    pub(crate) format: Format,
    /// Is it compressed by gzip? The format is that of the content.
    pub(crate) gzip: bool,
}

/// The result of a search.
#[derive(Default)]
pub(crate) struct Found<'a> {
    /// The file or folder that was searched.
    pub(crate) path: PathBuf,
    /// Files that can be read, in the order of their names.
    pub(crate) items: Vec<Item<'a>>,
    /// Files with the name of a picture or an array and another content, and what is wrong with them.
    pub(crate) bad: Vec<(Entry<'a>, String)>,
    /// How many other files there are.
    pub(crate) others: usize,
    /// One of them.
    pub(crate) example: Option<PathBuf>,
    /// How many of them have a known but unsupported format.
    pub(crate) foreign: BTreeMap<&'static str, (usize, Foreign)>,
    /// One of the other files that is read if its own path is given.
    pub(crate) archive: Option<PathBuf>,
    /// The kind of place that was searched.
    pub(crate) kind: Kind,
    /// The skipped files.
    pub(crate) notes: Vec<String>,
}

/// The kind of place that was searched.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Kind {
    /// One file, or files that are named as MNIST's are.
    #[default]
    Files,
    Folder,
    Archive,
}

/// Looks at a file or a folder.
///
/// # Errors
/// If it cannot be read, or is a file of no known format.
pub(crate) fn at(path: &Path) -> Result<Found<'static>> {
    let meta = fs::metadata(path).map_err(|e| Error::io("read", path, e))?;
    if meta.is_dir() {
        let mnist = mnist_files(path);
        if !mnist.is_empty() {
            let items = mnist.into_iter().map(|entry| {
                let (format, gzip) = recognize(&entry)?;
                Ok(Item { entry, format, gzip })
            });
            let items = items.collect::<Result<_>>()?;
            return Ok(Found { path: path.to_path_buf(), items, ..Found::default() });
        }
        let walk = Walk::through(path)?;
        let notes = walk.notes();
        let mut found = Found { notes, ..sort_out(path, walk.entries, false) };
        found.bad.extend(walk.unreadable);
        return Ok(found);
    }
    if !meta.is_file() {
        return Err(Error::data(path, "it is neither a file nor a folder"));
    }
    let inside = path.file_name().map(|name| vec![name.as_encoded_bytes().to_vec()]).unwrap_or_default();
    let open = || {
        let file = File::open(path).map_err(|e| Error::io("read", path, e))?;
        Archive::open(Blob::File(FileReader::from(file)), meta.len(), path)
    };
    let mut found = one(Entry::file(path.to_path_buf(), inside), open)?;
    // Labels are in a separate file.
    if let Some(labels) = labels_beside(path) {
        let inside = labels.file_name().map(|name| vec![name.as_encoded_bytes().to_vec()]);
        let entry = Entry::file(labels, inside.unwrap_or_default());
        found.items.extend(recognize(&entry).ok().map(|(format, gzip)| Item { entry, format, gzip }));
    }
    Ok(found)
}

/// Looks at a file in memory; `path` is for messages.
pub(crate) fn in_memory<'a>(bytes: &'a [u8], path: &Path) -> Result<Found<'a>> {
    let open = || Archive::open(Blob::Memory(bytes), bytes.len() as u64, path);
    one(Entry::memory(path.to_path_buf(), bytes), open)
}

/// One file: an archive, or something else that can be read.
fn one<'a>(entry: Entry<'a>, open: impl FnOnce() -> Result<Archive<'a>>) -> Result<Found<'a>> {
    let path = entry.path.clone();
    let (format, gzip) = recognize(&entry)?;
    if !matches!(format, Format::Zip) {
        let items = vec![Item { entry, format, gzip }];
        return Ok(Found { path, items, ..Found::default() });
    }
    if gzip {
        return Err(Error::data(&path, "it is a zip archive inside of gzip; unpack the gzip: gunzip"));
    }
    let archive = Arc::new(open()?);
    let entries = (0..archive.members.len())
        .map(|index| {
            let name = zip::shown(&path, &archive.members[index].name);
            Entry::member(&archive, index, name)
        })
        .filter(|entry| !entry.inside.iter().any(|part| is_junk(part)))
        .collect();
    Ok(sort_out(&path, entries, true))
}

/// Recognizes many files.
fn sort_out<'a>(path: &Path, mut entries: Vec<Entry<'a>>, archive: bool) -> Found<'a> {
    entries.sort_by(|a, b| a.inside.cmp(&b.inside));
    let pictures = formats::PICTURES.iter().flat_map(|format| format.extensions).copied();
    let extensions: Vec<&str> = pictures.chain(archive.then_some("npy")).collect();
    let recognized: Vec<_> = entries.par_iter().map(look).collect();
    let kind = if archive { Kind::Archive } else { Kind::Folder };
    let mut found = Found { path: path.to_path_buf(), kind, ..Found::default() };
    for (entry, looked) in entries.into_iter().zip(recognized) {
        let named = entry.has_extension(&extensions);
        match looked {
            // An archive inside a folder is not opened.
            Looked::Known(Format::Zip, _) => {
                found.others += 1;
                found.archive.get_or_insert_with(|| entry.path.clone());
                found.example.get_or_insert(entry.path);
            }
            Looked::Known(format, gzip) => found.items.push(Item { entry, format, gzip }),
            Looked::Unreadable(reason) => found.bad.push((entry, reason)),
            Looked::Other(head) if named => {
                let reason = match formats::foreign(&head) {
                    Some(_) => formats::unknown(&head),
                    None if head.is_empty() => "is empty".into(),
                    None => "is no picture that can be read".into(),
                };
                found.bad.push((entry, reason));
            }
            Looked::Other(head) => {
                found.others += 1;
                found.example.get_or_insert(entry.path);
                if let Some(foreign) = formats::foreign(&head) {
                    found.foreign.entry(foreign.name).or_insert((0, foreign)).0 += 1;
                }
            }
        }
    }
    found
}

/// The result of looking at a file.
enum Looked {
    Known(Format, bool),
    Other(Vec<u8>),
    Unreadable(String),
}

/// Looks at a file of many.
fn look(entry: &Entry<'_>) -> Looked {
    let head = entry.stream().and_then(|mut stream| stream.peek(HEAD));
    match head {
        Err(error) => Looked::Unreadable(reason(error)),
        Ok(head) => match formats::recognize(&head) {
            Some(Format::Gzip) => match recognize(entry) {
                Ok((format, gzip)) => Looked::Known(format, gzip),
                Err(_) => Looked::Other(head),
            },
            Some(format) => Looked::Known(format, false),
            None => Looked::Other(head),
        },
    }
}

/// An error about a file, as the middle of a sentence that begins with the file's name.
pub(crate) fn reason(error: Error) -> String {
    match error {
        Error::Io { source, .. } => format!("cannot be read ({source})"),
        Error::Data { message, .. } => message
            .strip_prefix("it ")
            .map(str::to_string)
            .unwrap_or_else(|| format!("cannot be read: {message}")),
        other => format!("cannot be read: {other}"),
    }
}

/// The format of a file, and whether it is inside of gzip.
fn recognize(entry: &Entry<'_>) -> Result<(Format, bool)> {
    let unknown = |head: &[u8]| Error::data(&entry.path, format!("it {}", formats::unknown(head)));
    let mut stream = entry.stream()?;
    let head = stream.peek(HEAD)?;
    match formats::recognize(&head).ok_or_else(|| unknown(&head))? {
        Format::Gzip => {
            let head = stream.gunzipped().peek(HEAD)?;
            match formats::recognize(&head).ok_or_else(|| unknown(&head))? {
                format @ (Format::Array(_) | Format::Zip) => Ok((format, true)),
                other => {
                    let message = format!(
                        "it holds {} data inside of gzip; IDX or npy can be read there",
                        other.name()
                    );
                    Err(Error::data(&entry.path, message))
                }
            }
        }
        format => Ok((format, false)),
    }
}

/// The two ways in which the MNIST files are named.
const IMAGES: [&str; 2] = ["images-idx3-ubyte", "images.idx3-ubyte"];
const LABELS: [&str; 2] = ["labels-idx1-ubyte", "labels.idx1-ubyte"];

/// The first file of a folder with this name, compressed or not.
fn named(folder: &Path, prefix: &str, names: [&str; 2]) -> Option<PathBuf> {
    let names = names.iter().flat_map(|name| [format!("{prefix}{name}"), format!("{prefix}{name}.gz")]);
    names.map(|name| folder.join(name)).find(|path| path.is_file())
}

/// The files of a folder with the names that MNIST's have, and their labels.
fn mnist_files(folder: &Path) -> Vec<Entry<'static>> {
    let images = ["train-", "t10k-"].into_iter().filter_map(|prefix| named(folder, prefix, IMAGES));
    let all = images.flat_map(|images| {
        let labels = labels_beside(&images);
        [Some(images), labels].into_iter().flatten()
    });
    all.map(|path| {
        let name = path.file_name().map(|name| name.as_encoded_bytes().to_vec()).unwrap_or_default();
        Entry::file(path, vec![name])
    })
    .collect()
}

/// The file of labels that belongs to a file of images, if it is named as MNIST's are and exists.
fn labels_beside(images: &Path) -> Option<PathBuf> {
    let name = images.file_name()?.to_str()?;
    let stem = name.strip_suffix(".gz").unwrap_or(name);
    let prefix = IMAGES.iter().find_map(|known| stem.strip_suffix(known))?;
    named(images.parent()?, prefix, LABELS)
}

/// The meaning of an MNIST file's name: the part ("train-" or "t10k-"), and whether it holds labels.
pub(crate) fn mnist_name(name: &[u8]) -> Option<(&str, bool)> {
    let name = std::str::from_utf8(name).ok()?;
    let stem = name.strip_suffix(".gz").unwrap_or(name);
    let prefix = |names: [&str; 2]| names.iter().find_map(|known| stem.strip_suffix(known));
    let images = prefix(IMAGES).map(|prefix| (prefix, false));
    images.or_else(|| prefix(LABELS).map(|prefix| (prefix, true)))
}

/// The MNIST files of the source: data/mnist of the package in which the program runs, else of the package
/// from which it was built.
pub fn find_bundled() -> Option<PathBuf> {
    let has_images = |folder: PathBuf| (!mnist_files(&folder).is_empty()).then_some(folder);
    let here = std::env::current_dir().ok();
    let package = here.iter().flat_map(|here| here.ancestors()).find(|folder| {
        fs::read_to_string(folder.join("Cargo.toml")).is_ok_and(|text| {
            text.lines().any(|line| line.split_whitespace().collect::<String>() == "name=\"elbo\"")
        })
    });
    let built = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.into_iter().chain([built]).find_map(|folder| has_images(folder.join("data").join("mnist")))
}

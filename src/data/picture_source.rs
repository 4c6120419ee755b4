//! Pictures as a source of images: their headers, their classes, their parts.
//!
//! Subfolders are classes. If all pictures are in folders that are named train, val (valid, validation) and
//! test, in upper or lower case, these are the parts of the data set, and classes are the subfolders of
//! these. The headers of all pictures are read here, to know colours, sizes and memory.

use super::budget::checked_size;
use super::entry::Entry;
use super::find::{Found, Kind, reason};
use super::format::{PictureFormat, PictureHeader};
use super::formats::{Format, READABLE};
use super::options::{Color, LoadOptions, Part};
use super::parts::Role;
use crate::tensor::ImageShape;
use crate::{Error, Result};
use rayon::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

/// A picture to decode.
pub(crate) struct Picture<'a> {
    pub(crate) entry: Entry<'a>,
    pub(crate) format: &'static PictureFormat,
    pub(crate) header: PictureHeader,
    /// Bytes of the file.
    pub(crate) length: u64,
    pub(crate) role: Role,
    /// Its index in [`PictureSource::classes`].
    pub(crate) class: u32,
}

/// An error if all files of a part are bad.
pub(crate) const NOTHING_LEFT: &str = "no picture that can be read is left in one of the parts";

/// Pictures.
pub(crate) struct PictureSource<'a> {
    pub(crate) path: PathBuf,
    /// "PNG files", or "PNG" if it is one file.
    pub(crate) kind: String,
    /// The pictures of the requested parts, in the order of their names.
    pub(crate) pictures: Vec<Picture<'a>>,
    /// The names of the classes of all parts, so that a class has the same number in each. Empty if there are
    /// no subfolders.
    pub(crate) classes: Vec<String>,
    /// The shape that all images will have.
    pub(crate) shape: ImageShape,
    /// Has any of them 16 bits?
    pub(crate) deep: bool,
    pub(crate) bad: Bad,
    pub(crate) notes: Vec<String>,
}

/// Reads the headers of all pictures that were found.
///
/// # Errors
/// If there are none, bad ones without `--skip-bad`, or sizes differ without `--size`.
pub(crate) fn open<'a>(found: Found<'a>, options: &LoadOptions) -> Result<PictureSource<'a>> {
    let mut found = found;
    let path = found.path.clone();
    let mut others = found.others;
    let mut items = Vec::new();
    for item in std::mem::take(&mut found.items) {
        match item.format {
            Format::Picture(format) => items.push((item.entry, format)),
            _ => {
                others += 1;
                found.archive.get_or_insert(item.entry.path);
            }
        }
    }
    let mut bad =
        Bad { files: Vec::new(), total: items.len() + found.bad.len(), single: found.kind == Kind::Files };
    if bad.total == 0 {
        let mut message = "it has no pictures".to_string();
        if let Some(example) = found.example.as_ref().or(found.archive.as_ref()) {
            message += &format!(", among {others} other files such as {}", example.display());
        }
        if let (Some(archive), Kind::Folder) = (&found.archive, found.kind) {
            message += &format!(
                "; an archive or an array is read if it is named itself: --data {}",
                archive.display()
            );
        }
        for (count, foreign) in found.foreign.values() {
            message += &format!("; {count} of them are {} (convert them: {})", foreign.name, foreign.command);
        }
        return Err(Error::data(path, format!("{message}; {READABLE}")));
    }
    let folders = |entry: &Entry<'a>| entry.inside[..entry.inside.len().saturating_sub(1)].to_vec();
    let all = items.iter().map(|item| &item.0).chain(found.bad.iter().map(|bad| &bad.0));
    let all: Vec<Vec<Vec<u8>>> = all.map(folders).collect();
    let roots = Roots::new(&all, found.kind);
    let roles: BTreeSet<Role> = all.iter().map(|folders| roots.place(folders).0).collect();
    bad.files = found.bad.into_iter().map(|(entry, reason)| (entry.path, reason)).collect();

    let limit = options.max_memory / (2 * rayon::current_num_threads() as u64);
    let measured: Vec<_> = items.par_iter().map(|(entry, format)| measure(entry, format, limit)).collect();
    let mut pictures = Vec::with_capacity(items.len());
    let mut labels = Vec::with_capacity(items.len());
    for ((entry, format), header) in items.into_iter().zip(measured) {
        match header {
            Ok((header, length)) => {
                let (role, label) = roots.place(&folders(&entry));
                labels.push(label);
                pictures.push(Picture { entry, format, header, length, role, class: 0 });
            }
            Err(reason) => bad.files.push((entry.path, reason)),
        }
    }
    bad.files.sort();
    if pictures.is_empty() {
        bad.check(options)?;
    }
    let found_roles: BTreeSet<Role> = pictures.iter().map(|picture| picture.role).collect();
    if let (true, Some((path, reason))) = (options.skip_bad && roles != found_roles, bad.files.first()) {
        return Err(Error::data(path, format!("it {reason}; {NOTHING_LEFT}")));
    }
    let classes: BTreeSet<&Vec<u8>> = labels.iter().collect();
    let numbers: BTreeMap<&Vec<u8>, u32> = classes.iter().copied().zip(0..).collect();
    for (picture, label) in pictures.iter_mut().zip(&labels) {
        picture.class = numbers[label];
    }
    let mut classes: Vec<String> = classes.into_iter().map(|name| shown(name)).collect();
    if classes.iter().all(|name| name == ".") {
        classes.clear();
    }
    let shape = target(&pictures, options)?;
    let deep = pictures.iter().any(|picture| picture.header.deep);
    let formats: BTreeSet<&str> = pictures.iter().map(|picture| picture.format.name).collect();
    let formats = formats.into_iter().collect::<Vec<_>>().join(" and ");
    let has_test = pictures.iter().any(|picture| picture.role == Role::Test);
    pictures.retain(|picture| match options.part {
        Part::Train => picture.role != Role::Test,
        Part::Test => !has_test || picture.role == Role::Test,
        _ => true,
    });
    let mut notes = found.notes;
    if others > 0 {
        let mut note = format!("{others} files that are not pictures were ignored");
        for (count, foreign) in found.foreign.values() {
            note += &format!("; {count} of them are {} (convert them: {})", foreign.name, foreign.command);
        }
        notes.push(note);
    }
    let kind = if bad.single { formats } else { format!("{formats} files") };
    Ok(PictureSource { path, kind, pictures, classes, shape, deep, bad, notes })
}

/// Reads the header of a picture, and the length of the file.
fn measure(
    entry: &Entry<'_>,
    format: &PictureFormat,
    limit: u64,
) -> std::result::Result<(PictureHeader, u64), String> {
    let (mut reader, length) = entry.seekable(limit).map_err(reason)?;
    let header = (format.measure)(&mut *reader, length)?;
    let size = header.size();
    // What is addressed later can be addressed.
    checked_size(4, ImageShape::new(size.0, size.1, 4)).ok_or("is larger than any memory")?;
    Ok((header, length))
}

/// The level of the folders at which the classes begin.
struct Roots {
    /// How many folders are above the classes, the part's included.
    depth: usize,
    /// Is the last of them the part?
    parts: bool,
}

impl Roots {
    /// `folders` are those of each picture, below what was searched.
    fn new(folders: &[Vec<Vec<u8>>], kind: Kind) -> Self {
        let mut depth = 0;
        loop {
            let at: BTreeSet<Option<&Vec<u8>>> = folders.iter().map(|folders| folders.get(depth)).collect();
            let roles: Option<BTreeSet<Role>> =
                at.iter().map(|name| name.and_then(|name| Role::of(name))).collect();
            if roles.is_some_and(|roles| roles.len() > 1 && roles.contains(&Role::Train)) {
                return Self { depth: depth + 1, parts: true };
            }
            // One folder around everything is no part and no class.
            if at.len() != 1 || at.contains(&None) {
                return Self { depth: if kind == Kind::Archive { depth } else { 0 }, parts: false };
            }
            depth += 1;
        }
    }

    /// The part and the class of a picture in these folders.
    fn place(&self, folders: &[Vec<u8>]) -> (Role, Vec<u8>) {
        let part = folders.get(self.depth.wrapping_sub(1)).filter(|_| self.parts);
        let role = part.and_then(|name| Role::of(name)).unwrap_or(Role::Train);
        let class = folders[self.depth.min(folders.len())..].join(&b'/');
        (role, if class.is_empty() { b".".to_vec() } else { class })
    }
}

/// A printable name: bytes that are not UTF-8 are written as `\xe9`, so that different names stay different.
fn shown(name: &[u8]) -> String {
    let mut text = String::new();
    for chunk in name.utf8_chunks() {
        text += chunk.valid();
        chunk.invalid().iter().for_each(|byte| text += &format!("\\x{byte:02x}"));
    }
    text
}

/// Height, width and channels that all pictures will have.
fn target(pictures: &[Picture<'_>], options: &LoadOptions) -> Result<ImageShape> {
    let channels = match options.color {
        Some(color) => color.channels(),
        None if pictures.iter().any(|picture| picture.header.colored) => Color::Rgb.channels(),
        None => Color::Grey.channels(),
    };
    let Some(first) = pictures.first() else { return Err(Error::config("there are no pictures")) };
    let (height, width) = match options.size {
        Some(size) => size,
        None => {
            let size = first.header.size();
            if let Some(other) = pictures.iter().find(|picture| picture.header.size() != size) {
                let ((h, w), (other_h, other_w)) = (size, other.header.size());
                let message = format!(
                    "it is {h}×{w} while {} is {other_h}×{other_w}; --size HxW brings all images to one size",
                    other.entry.path.display()
                );
                return Err(Error::data(&first.entry.path, message));
            }
            size
        }
    };
    Ok(ImageShape::new(height, width, channels))
}

/// Files that cannot be read, and why.
pub(crate) struct Bad {
    pub(crate) files: Vec<(PathBuf, String)>,
    /// How many pictures there are, these included.
    total: usize,
    /// Was a single file requested?
    pub(crate) single: bool,
}

impl Bad {
    /// An error unless bad files are to be left out; or if nothing is left.
    pub(crate) fn check(&self, options: &LoadOptions) -> Result<()> {
        let Some((path, reason)) = self.files.first() else { return Ok(()) };
        let (bad, total) = (self.files.len(), self.total);
        if self.single {
            return Err(Error::data(path, format!("it {reason}")));
        }
        if !options.skip_bad {
            let message =
                format!("it {reason}; {bad} of {total} pictures cannot be read, and --skip-bad ignores them");
            return Err(Error::data(path, message));
        }
        if bad == total {
            return Err(Error::data(path, format!("it {reason}; none of {total} pictures can be read")));
        }
        Ok(())
    }

    /// A message about the skipped files.
    pub(crate) fn note(&self) -> Option<String> {
        let (path, reason) = self.files.first()?;
        let (bad, total, path) = (self.files.len(), self.total, path.display());
        Some(format!(
            "{bad} of {total} pictures could not be read and were left out; the first is {path}, which {reason}"
        ))
    }
}

//! NumPy's .npz files: a zip archive of .npy files.
//!
//! Keras' mnist.npz has x_train, y_train, x_test and y_test; any other archive must have just one array with the shape of
//! images, and may have one of as many labels. Members are found by name and never written anywhere, so a name is no path.
//! What is not asked for is not inflated.

use super::array::{self, Header};
use super::dataset::{Contents, Labelled};
use super::source::{Budget, DEFLATE_RATIO, Length, Source};
use super::{LoadOptions, Part, npy};
use crate::{Error, Result};
use rawzip::{CompressionMethod, ReaderAt, ZipArchive, ZipArchiveEntryWayfinder};
use std::io::{BufReader, Read, Seek};
use std::path::{Path, PathBuf};

/// An archive of arrays has a handful.
const MOST_MEMBERS: usize = 1000;
/// Names of an array of labels.
const NAMES: [&str; 4] = ["labels", "label", "y", "targets"];
/// Holds the longest record of the directory: 46 bytes and three fields of up to 65,535.
const DIRECTORY_BUFFER: usize = 1 << 18;

/// One array of the archive.
struct Member {
    /// Without ".npy".
    name: String,
    /// archive.npz/name.npy, for messages.
    path: PathBuf,
    method: CompressionMethod,
    place: ZipArchiveEntryWayfinder,
    /// The whole archive's length, which bounds what the directory says of a member.
    archive_length: u64,
}

/// Reads an archive of `length` bytes from anything that can be read at any place.
pub(crate) fn read(
    reader: impl Read + Seek,
    length: u64,
    path: &Path,
    options: &LoadOptions,
    budget: &mut Budget,
) -> Result<Contents> {
    let mut buffer = vec![0; DIRECTORY_BUFFER];
    let archive = ZipArchive::from_seekable(reader, &mut buffer).map_err(|e| damaged(path, &e))?;
    let members = members(&archive, &mut buffer, length, path)?;
    let find = |name: &str| members.iter().find(|member| member.name == name);
    if let Some(train) = find("x_train") {
        let pair = |images: &Member, labels: Option<&Member>, budget: &mut Budget| -> Result<Labelled> {
            let labels_path = labels.map(|member| member.path.clone());
            let loaded = npy::read_images(open(&archive, images)?, options, budget)?;
            let labels = labels.map(|member| {
                let mut source = open(&archive, member)?;
                let header = npy::read_header(&mut source)?;
                array::read_labels(source, &header, budget)
            });
            Labelled::new(loaded, labels.transpose()?, labels_path.as_deref().unwrap_or(path))
        };
        let test = find("x_test");
        let read_train = options.part != Part::Test || test.is_none();
        let read_test = options.part != Part::Train;
        let train = read_train.then(|| pair(train, find("y_train"), budget)).transpose()?;
        let test = test.filter(|_| read_test).map(|test| pair(test, find("y_test"), budget)).transpose()?;
        return Ok(Contents { train, test, kind: "npz" });
    }
    let mut headers: Vec<(&Member, Header)> = Vec::new();
    let mut unreadable = None;
    for member in &members {
        match open(&archive, member).and_then(|mut source| npy::read_header(&mut source)) {
            Ok(header) => headers.push((member, header)),
            Err(error) => unreadable = Some(error),
        }
    }
    let of_images: Vec<_> =
        headers.iter().filter(|(_, header)| matches!(header.shape.len(), 3 | 4)).collect();
    let [(images, header)] = of_images[..] else {
        if let (Some(error), true) = (unreadable, of_images.is_empty()) {
            return Err(error);
        }
        let names: Vec<String> =
            headers.iter().take(8).map(|(m, h)| format!("{} ({})", m.name, array::show(&h.shape))).collect();
        let message = format!(
            "it has {} arrays with the shape of images where one, or x_train and x_test, is expected; its arrays are: {}",
            of_images.len(),
            if names.is_empty() { "none".into() } else { names.join(", ") }
        );
        return Err(Error::data(path, message));
    };
    // What is called so is meant to be the labels.
    let named = |(m, h): &&(&Member, Header)| NAMES.contains(&m.name.as_str()) && array::is_labels(h);
    if let Some((member, h)) = headers.iter().find(named).filter(|(_, h)| h.shape[0] != header.shape[0]) {
        let message = format!(
            "it has {} labels for {} images; there must be one for each",
            h.shape[0], header.shape[0]
        );
        return Err(Error::data(&member.path, message));
    }
    let fitting: Vec<_> =
        headers.iter().filter(|(_, h)| array::is_labels(h) && h.shape[0] == header.shape[0]).collect();
    let loaded = npy::read_images(open(&archive, images)?, options, budget)?;
    let labels = match fitting[..] {
        [(member, header)] => {
            let mut source = open(&archive, member)?;
            npy::read_header(&mut source)?;
            Some(array::read_labels(source, header, budget)?)
        }
        _ => None,
    };
    Ok(Contents { train: Some(Labelled::new(loaded, labels, path)?), test: None, kind: "npz" })
}

fn damaged(path: &Path, error: &rawzip::Error) -> Error {
    Error::data(path, format!("it is no zip archive, or a damaged one ({error})"))
}

/// Lists the arrays of the archive.
fn members<R: ReaderAt>(
    archive: &ZipArchive<R>,
    buffer: &mut [u8],
    length: u64,
    path: &Path,
) -> Result<Vec<Member>> {
    let mut members: Vec<Member> = Vec::new();
    let mut entries = archive.entries(buffer);
    let mut seen = 0;
    while let Some(entry) = entries.next_entry().map_err(|e| damaged(path, &e))? {
        seen += 1;
        if seen > MOST_MEMBERS {
            return Err(Error::data(
                path,
                format!("it has more than {MOST_MEMBERS} members, which no archive of arrays has"),
            ));
        }
        let raw = entry.file_path();
        let Some(name) = std::str::from_utf8(raw.as_ref()).ok().and_then(|name| name.strip_suffix(".npy"))
        else {
            continue;
        };
        if members.iter().any(|member| member.name == name) {
            return Err(Error::data(path, format!("it has two arrays with the name {name}")));
        }
        let shown: String = name.chars().filter(|c| !c.is_control()).take(80).collect();
        members.push(Member {
            path: PathBuf::from(format!("{}: {shown}.npy", path.display())),
            name: name.to_string(),
            method: entry.compression_method(),
            place: entry.wayfinder(),
            archive_length: length,
        });
    }
    Ok(members)
}

/// Opens an array for reading: its bytes come out inflated, and their checksum is compared at the end.
fn open<'a, R: ReaderAt>(archive: &'a ZipArchive<R>, member: &'a Member) -> Result<Source<'a>> {
    let path = &member.path;
    let entry = archive.get_entry(member.place).map_err(|e| damaged(path, &e))?;
    let (start, end) = entry.compressed_data_range();
    let compressed = end.min(member.archive_length).saturating_sub(start);
    let reader = BufReader::new(entry.reader());
    match member.method {
        CompressionMethod::Store => {
            let reader = BufReader::with_capacity(1 << 16, entry.verifying_reader(reader));
            Ok(Source::new(path, reader, Length::Exact(compressed)))
        }
        CompressionMethod::Deflate => {
            let reader = entry.verifying_reader(flate2::bufread::DeflateDecoder::new(reader));
            let reader = BufReader::with_capacity(1 << 16, reader);
            Ok(Source::new(path, reader, Length::AtMost(compressed.saturating_mul(DEFLATE_RATIO))))
        }
        other => Err(Error::data(
            path,
            format!(
                "it is packed by method {other:?}; stored and deflated members can be read, as numpy.savez writes them"
            ),
        )),
    }
}

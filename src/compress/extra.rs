//! Names and labels in a compressed file: JSON, deflated. Names become file names, so they are validated.

use crate::data::Labels;
use crate::error::{Error, Result};
use crate::text::printable;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::path::Path;

/// The parts of a file besides the images' values.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Extra {
    /// A name for each image, or none: a path with `/`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) names: Vec<String>,
    /// The names of the labels.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) classes: Vec<String>,
    /// A label for each image, or none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) labels: Vec<u32>,
}

impl Extra {
    /// The section's bytes, and their length when inflated. An empty section takes no bytes.
    pub(super) fn write(&self) -> (Vec<u8>, usize) {
        if *self == Self::default() {
            return (Vec::new(), 0);
        }
        let json = serde_json::to_vec(self).expect("names and numbers are plain data");
        let mut out = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::best());
        out.write_all(&json).expect("memory can be written to");
        (out.finish().expect("memory can be written to"), json.len())
    }

    /// Reads the section of a file with this many images; `length` is the stated length when inflated.
    pub(super) fn read(bytes: &[u8], length: u64, images: usize, path: &Path) -> Result<Self> {
        if bytes.is_empty() && length == 0 {
            return Ok(Self::default());
        }
        let bad = |message: String| Error::data(path, format!("its names and labels {message}"));
        // Deflate makes at most 1032 bytes out of one, so a wrong length does not cause a large allocation.
        if length > 1032 * bytes.len() as u64 + 1032 {
            return Err(bad(format!("cannot take {length} bytes: it is damaged")));
        }
        let mut json = Vec::new();
        let inflated =
            flate2::read::DeflateDecoder::new(bytes).take(length.saturating_add(1)).read_to_end(&mut json);
        inflated.map_err(|error| bad(format!("are damaged ({error})")))?;
        if json.len() as u64 != length {
            return Err(bad(format!("do not take the {length} bytes stated in its header")));
        }
        let extra: Self =
            serde_json::from_slice(&json).map_err(|error| bad(format!("cannot be read: {error}")))?;
        let of_each = |count: usize| count == 0 || count == images;
        if !of_each(extra.names.len()) || !of_each(extra.labels.len()) {
            return Err(bad(format!(
                "are {} and {} for {images} images; there must be one for each",
                extra.names.len(),
                extra.labels.len()
            )));
        }
        if let Some(label) = extra.labels.iter().find(|&&label| label as usize >= extra.classes.len()) {
            return Err(bad(format!(
                "have the label {label}, and there are {} classes",
                extra.classes.len()
            )));
        }
        check_names(&extra.names, path)?;
        Ok(extra)
    }

    /// The labels with their names.
    pub(super) fn labels(&self) -> Option<Labels> {
        (!self.labels.is_empty()).then(|| Labels { ids: self.labels.clone(), names: self.classes.clone() })
    }
}

/// Whether names can become files of one folder: relative, inside it, and all different.
///
/// # Errors
/// If not, with the first invalid one.
pub(super) fn check_names(names: &[String], path: &Path) -> Result<()> {
    let mut seen = BTreeSet::new();
    for name in names {
        let is_safe = |part: &str| {
            !part.is_empty()
                && part.len() <= 255
                && part != "."
                && part != ".."
                && !part.contains(['\\', ':'])
                && !part.chars().any(char::is_control)
        };
        if !name.split('/').all(is_safe) || name.len() > 4096 {
            return Err(Error::data(
                path,
                format!(
                    "an image is named {}, which is no file inside of the output folder; names are relative paths without \"..\"",
                    printable(name)
                ),
            ));
        }
        if !seen.insert(name.as_str()) {
            return Err(Error::data(
                path,
                format!("two images are named {}; each needs its own name", printable(name)),
            ));
        }
    }
    // A file cannot also be a folder.
    for name in names {
        for (at, _) in name.match_indices('/') {
            if seen.contains(&name[..at]) {
                return Err(Error::data(
                    path,
                    format!(
                        "{} is the name of an image and of a folder; each needs its own",
                        printable(&name[..at])
                    ),
                ));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_in_their_folder() {
        let check = |names: &[&str]| {
            check_names(&names.iter().map(|name| name.to_string()).collect::<Vec<_>>(), Path::new("x"))
        };
        check(&["a.png", "b/a.png", "b/c/ä b.png", "...png"]).unwrap();
        for name in ["", "/a", "../a", "a/../b", "a//b", "./a", "a/", "a\\b", "C:a", "a\nb", ".."] {
            let message = check(&["good.png", name]).unwrap_err().to_string();
            assert!(message.contains("no file inside of the output folder"), "{message}");
        }
        assert!(check(&["a", "a"]).unwrap_err().to_string().contains("two images are named a"));
        assert!(check(&["a/b", "a"]).unwrap_err().to_string().contains("of a folder"));
    }

    #[test]
    fn what_is_written_is_read() {
        let extra = Extra {
            names: vec!["a.png".into(), "b.png".into()],
            classes: vec!["x".into()],
            labels: vec![0, 0],
        };
        let (bytes, length) = extra.write();
        assert_eq!(Extra::read(&bytes, length as u64, 2, Path::new("x")).unwrap(), extra);
        assert!(Extra::read(&bytes, length as u64, 3, Path::new("x")).is_err());
        assert!(Extra::read(&bytes, length as u64 - 1, 2, Path::new("x")).is_err());
        assert!(Extra::read(&bytes, u64::MAX, 2, Path::new("x")).is_err());
        assert!(Extra::default().write().0.is_empty());
    }
}

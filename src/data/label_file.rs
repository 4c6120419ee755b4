//! The labels of some images, from a file: a table of images and labels, or a list.
//!
//! ```text
//! file,label          a table: a line for each labelled image. An image is its file, as a path or relative
//! cats/3.png,cat      to the data's folder, or its number from 0 if the images have no files of their own.
//!                     The first line may be this header.
//!
//! cat                 a list: a line for each image, in order; an empty line for an image without a label
//! ```
//!
//! A file is a table if its first line has a comma. A quoted field may contain commas; `""` stands for a
//! quote.

use std::collections::HashMap;
use std::path::Path;

use super::dataset::Dataset;
use super::labels::Labels;
use crate::text::printable;
use crate::{Error, Result};

/// The longest file that is accepted.
const LONGEST: u64 = 64 << 20;

/// Labels of some images of a data set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SomeLabels {
    /// The images that have a label, in ascending order.
    pub images: Vec<usize>,
    /// Their labels; the names are sorted, and each is used.
    pub labels: Labels,
}

impl SomeLabels {
    /// Reads the labels of training images.
    ///
    /// # Errors
    /// If the file cannot be read, names an image that does not exist or occurs twice, is a list of another
    /// length, or has no label.
    pub fn read(path: &Path, data: &Dataset) -> Result<Self> {
        let length = path.metadata().map_err(|error| Error::io("read", path, error))?.len();
        if length > LONGEST {
            let message = format!("is {length} bytes long; a file of labels has at most {LONGEST}");
            return Err(Error::data(path, message));
        }
        let text = std::fs::read(path).map_err(|error| Error::io("read", path, error))?;
        let text = String::from_utf8(text).map_err(|_| {
            Error::data(path, "is not UTF-8 text; a file of labels is a table of file,label or a list")
        })?;
        Self::parse(&text, data).map_err(|message| Error::data(path, message))
    }

    /// [`read`](Self::read) from a file's text; the error is a sentence.
    fn parse(text: &str, data: &Dataset) -> std::result::Result<Self, String> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let is_table = text.lines().next().is_some_and(|line| line.contains(','));
        let found = if is_table { table(text, data)? } else { list(text, data.train.count)? };
        let mut named: Vec<(usize, String)> =
            found.into_iter().filter(|(_, name)| !name.is_empty()).collect();
        named.sort_unstable();
        let mut names: Vec<String> = named.iter().map(|(_, name)| name.clone()).collect();
        names.sort_unstable();
        names.dedup();
        if names.len() < 2 {
            let found = names
                .first()
                .map_or("no label".into(), |name| format!("the label {} only", printable(name.as_str())));
            return Err(format!("has {found}; a classifier needs images of at least two labels"));
        }
        let id = |name: &String| names.binary_search(name).unwrap_or(0) as u32;
        let ids = named.iter().map(|(_, name)| id(name)).collect();
        Ok(Self {
            images: named.into_iter().map(|(image, _)| image).collect(),
            labels: Labels { ids, names },
        })
    }
}

/// Image and label for each line of a list.
fn list(text: &str, images: usize) -> std::result::Result<Vec<(usize, String)>, String> {
    let lines: Vec<&str> = text.lines().collect();
    if lines.len() != images {
        return Err(format!(
            "has {} lines, and there are {images} images; a list has a line for each image, and a table lines of file,label",
            lines.len()
        ));
    }
    Ok(lines.iter().map(|line| line.trim().to_owned()).enumerate().collect())
}

/// Image and label for each line of a table.
fn table(text: &str, data: &Dataset) -> std::result::Result<Vec<(usize, String)>, String> {
    let known = known(data);
    let mut seen: HashMap<usize, usize> = HashMap::new();
    let mut found = Vec::new();
    for (number, line) in (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty()) {
        let Some([name, label]) = fields(line) else {
            return Err(format!("line {number} is not of the form file,label"));
        };
        if number == 1 && (name.as_str(), label.as_str()) == ("file", "label") {
            continue;
        }
        let image = if data.files.is_empty() {
            name.parse().ok().filter(|&image: &usize| image < data.train.count)
        } else {
            known.get(name.as_str()).copied().flatten()
        };
        let Some(image) = image else {
            let accepted = match (data.files.is_empty(), known.get(name.as_str())) {
                (true, _) => format!("the images are numbers from 0 to {}", data.train.count - 1),
                (false, Some(None)) => {
                    "several files have that name, and its folder belongs before it".into()
                }
                (false, _) => {
                    format!(
                        "an image is named as its file is in {}",
                        printable(data.path.display().to_string())
                    )
                }
            };
            return Err(format!("line {number}: no image is called {}; {accepted}", printable(name)));
        };
        if let Some(before) = seen.insert(image, number) {
            return Err(format!(
                "line {number}: the image {} has a label on line {before} already; one line for each image is accepted",
                printable(name)
            ));
        }
        if label.is_empty() {
            return Err(format!(
                "line {number}: the image {} has no label; leave the line out",
                printable(name)
            ));
        }
        found.push((image, label));
    }
    Ok(found)
}

/// The images by their paths, their paths within the data's folder, and their file names; `None` for an
/// ambiguous name.
fn known(data: &Dataset) -> HashMap<String, Option<usize>> {
    let mut known: HashMap<String, Option<usize>> = HashMap::new();
    for (image, file) in data.files.iter().enumerate() {
        let within = file.strip_prefix(&data.path).unwrap_or(file);
        let mut names = vec![file.as_path(), within];
        names.extend(file.file_name().map(Path::new));
        names.dedup();
        for name in names {
            let name = name.to_string_lossy().into_owned();
            known
                .entry(name)
                .and_modify(|known| *known = known.filter(|&known| known == image))
                .or_insert(Some(image));
        }
    }
    known
}

/// The two fields of a line, quoted or not.
fn fields(line: &str) -> Option<[String; 2]> {
    let mut fields = vec![String::new()];
    let (mut quoted, mut letters) = (false, line.trim().chars().peekable());
    while let Some(letter) = letters.next() {
        let field = fields.last_mut()?;
        match letter {
            '"' if quoted && letters.peek() == Some(&'"') => field.extend(letters.next()),
            '"' => quoted = !quoted,
            ',' if !quoted => fields.push(String::new()),
            _ => field.push(letter),
        }
    }
    let fields: [String; 2] = fields.try_into().ok()?;
    (!quoted).then(|| fields.map(|field| field.trim().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Images;

    fn data(files: &[&str]) -> Dataset {
        let images = Images::from_bytes(vec![0; 4 * 64], 4, 8, 8, 1);
        let mut data = Dataset::from_images(images, None).unwrap();
        data.path = "folder".into();
        data.files = files.iter().map(|file| Path::new("folder").join(file)).collect();
        data
    }

    fn labels(images: &[usize], ids: &[u32], names: &[&str]) -> SomeLabels {
        let names = names.iter().map(|name| (*name).to_owned()).collect();
        SomeLabels { images: images.into(), labels: Labels { ids: ids.into(), names } }
    }

    #[test]
    fn a_list_and_a_table_say_the_same() {
        let files = data(&["a/1.png", "a/2.png", "b/1.png", "b/3,4.png"]);
        let expected = labels(&[0, 3], &[1, 0], &["cat", "dog"]);
        assert_eq!(SomeLabels::parse("dog\n\n\ncat\n", &files), Ok(expected.clone()));
        for table in [
            "file,label\r\na/1.png,dog\r\n\"b/3,4.png\",cat\r\n",
            "\u{feff}folder/a/1.png, dog\n\n\"3,4.png\",\"cat\"",
        ] {
            assert_eq!(SomeLabels::parse(table, &files), Ok(expected.clone()), "{table}");
        }
        assert_eq!(SomeLabels::parse("3,cat\n0,dog", &data(&[])), Ok(expected));
    }

    #[test]
    fn what_does_not_fit_the_images_is_refused_in_a_sentence() {
        let files = data(&["a/1.png", "a/2.png", "b/1.png", "b/3.png"]);
        for (text, expected) in [
            ("a\nb\nc", "has 3 lines, and there are 4 images"),
            ("a\n\n\na", "the label a only"),
            ("\n\n\n\n", "has no label"),
            ("", "has 0 lines"),
            ("file,label\n", "has no label"),
            (
                "file,label\na/4.png,x",
                "line 2: no image is called a/4.png; an image is named as its file is in folder",
            ),
            ("1.png,x", "several files have that name"),
            ("a/1.png,x\na/2.png,y\na/1.png,x", "line 3: the image a/1.png has a label on line 1 already"),
            ("a/1.png,x\na/2.png", "line 2 is not of the form file,label"),
            ("a/1.png,x,0.9", "line 1 is not of the form"),
            ("a/1.png,\"x", "line 1 is not of the form"),
            ("a/1.png,", "line 1: the image a/1.png has no label"),
        ] {
            let error = SomeLabels::parse(text, &files).unwrap_err();
            assert!(error.contains(expected), "{text:?}: {error}");
        }
        let numbers = SomeLabels::parse("0,a\n4,b", &data(&[])).unwrap_err();
        assert!(numbers.contains("no image is called 4; the images are numbers from 0 to 3"), "{numbers}");
    }
}

//! NumPy's .npz files, archives of arrays, and the role of each array.
//!
//! ```text
//! x_train y_train x_test y_test                             Keras
//! train_images train_labels val_images … test_labels        MedMNIST
//! train test                                                parts without labels
//! ```
//!
//! Any other archive must have exactly one array with the shape of images, or `--array` names it. An array of
//! as many whole numbers has the labels. Unrequested members stay compressed.

use super::array;
use super::array_source::{Array, ArrayPart, ArraySource, view, wanted};
use super::find::{Found, Item, Kind};
use super::formats::Format;
use super::header::{Header, show};
use super::npy::NPY;
use super::options::LoadOptions;
use super::parts::{ArrayName, Parts, Role};
use crate::{Error, Result};
use std::path::{Path, PathBuf};

/// An archive of arrays usually has only a few members.
const MOST_MEMBERS: usize = 1000;

/// An array of an archive.
struct Member<'a> {
    /// The name without ".npy".
    name: String,
    by_name: ArrayName,
    array: std::result::Result<(Array<'a>, Header), String>,
    path: PathBuf,
}

impl<'a> Member<'a> {
    fn new(item: &Item<'a>) -> Option<Self> {
        let array = Array::new(item)?;
        let header = array.open().map(|(header, _)| header).map_err(|error| match error {
            Error::Data { message, .. } => message,
            other => other.to_string(),
        });
        let (name, path) = (name(&item.entry.inside), item.entry.path.clone());
        Some(Self {
            by_name: ArrayName::parse(&name),
            name,
            array: header.map(|header| (array, header)),
            path,
        })
    }

    /// The array and its header.
    ///
    /// # Errors
    /// If it is damaged.
    fn get(&self) -> Result<&(Array<'a>, Header)> {
        self.array.as_ref().map_err(|reason| Error::data(&self.path, reason.clone()))
    }

    fn header(&self) -> Option<&Header> {
        self.array.as_ref().ok().map(|(_, header)| header)
    }

    /// Whether it could be labels.
    fn is_labels(&self) -> bool {
        self.header().is_some_and(|h| array::is_labels(h) || (self.by_name.labels && array::is_flat(h)))
    }

    /// Whether it has the shape of images.
    fn is_images(&self, options: &LoadOptions) -> bool {
        self.header().is_some_and(|header| match header.shape.len() {
            3 | 4 => true,
            2 => !self.by_name.labels && view(header, options, &self.path).is_ok(),
            _ => false,
        })
    }
}

/// The name of an array: its member's name without ".npy".
fn name(inside: &[Vec<u8>]) -> String {
    let name = String::from_utf8_lossy(&inside.join(&b'/')).into_owned();
    name.strip_suffix(".npy").map(str::to_string).unwrap_or(name)
}

/// Determines the roles of an archive's arrays. `None` if it has none.
///
/// # Errors
/// If there is no array of images, or the choice is ambiguous.
pub(crate) fn open<'a>(found: &Found<'a>, options: &LoadOptions) -> Result<Option<ArraySource<'a>>> {
    let is_array = |item: &&Item<'_>| matches!(item.format, Format::Array(format) if format.name == NPY.name);
    let of_bad = found.bad.iter().filter(|(entry, _)| entry.has_extension(&["npy"]));
    let count = found.items.iter().filter(is_array).count() + of_bad.clone().count();
    if found.kind != Kind::Archive || count == 0 {
        return Ok(None);
    }
    if count > MOST_MEMBERS {
        let message = format!("it has {count} arrays; an archive of images has at most {MOST_MEMBERS}");
        return Err(Error::data(&found.path, message));
    }
    let mut members: Vec<Member<'a>> = found.items.iter().filter(is_array).filter_map(Member::new).collect();
    members.extend(of_bad.map(|(entry, reason)| {
        let name = name(&entry.inside);
        let (path, array) = (entry.path.clone(), Err(format!("it {reason}")));
        Member { by_name: ArrayName::parse(&name), name, array, path }
    }));
    members.sort_by(|a, b| a.name.cmp(&b.name));
    if let Some(pair) = members.windows(2).find(|pair| pair[0].name == pair[1].name) {
        return Err(Error::data(&found.path, format!("it has two arrays with the name {}", pair[0].name)));
    }
    let mut notes = Vec::new();
    let parts = choose(&members, options, &found.path, &mut notes)?;
    Ok(Some(ArraySource { path: found.path.clone(), kind: "npz", parts, notes }))
}

/// Chooses the arrays of the requested parts.
fn choose<'a>(
    members: &[Member<'a>],
    options: &LoadOptions,
    path: &Path,
    notes: &mut Vec<String>,
) -> Result<Parts<ArrayPart<'a>>> {
    if let Some(asked) = &options.array {
        let member = members.iter().find(|member| member.name == *asked).ok_or_else(|| {
            Error::data(path, format!("it has no array {asked} (--array); its arrays are: {}", list(members)))
        })?;
        return Ok(Parts { train: Some(one(member, members)?), ..Parts::default() });
    }
    let for_role = |role: Role, labels: bool| {
        members.iter().filter(move |m| m.by_name.role == Some(role) && m.by_name.labels == labels)
    };
    let has_training =
        for_role(Role::Train, false).any(|m| m.array.is_err() || m.by_name.images || m.is_images(options));
    if !has_training {
        let member = the_images(members, options, path, notes)?;
        return Ok(Parts { train: Some(one(member, members)?), ..Parts::default() });
    }
    let mut parts = Parts::default();
    for role in [Role::Train, Role::Validation, Role::Test] {
        let of_role: Vec<_> = for_role(role, false).collect();
        let named: Vec<_> = of_role.iter().copied().filter(|m| m.by_name.images).collect();
        let images = match (&named[..], &of_role[..]) {
            ([images], _) | ([], [images]) => *images,
            ([], []) => continue,
            ([], several) | (several, _) => {
                let names: Vec<&str> = several.iter().map(|m| m.name.as_str()).collect();
                let message = format!(
                    "its arrays {} could all be images of one part; --array NAME chooses",
                    names.join(", ")
                );
                return Err(Error::data(path, message));
            }
        };
        let labels: Vec<_> = for_role(role, true).collect();
        let labels = match labels[..] {
            [labels] if labels.array.is_err() || labels.is_labels() => Some(labels),
            [] => None,
            _ => {
                notes.push(format!("{} has no labels of one number for each image", path.display()));
                None
            }
        };
        *parts.get_mut(role) = Some((images, labels));
    }
    // Headers of unrequested parts may be damaged.
    let parts = wanted(parts, options.part);
    let get = |part: Option<(&Member<'a>, Option<&Member<'a>>)>| -> Result<Option<ArrayPart<'a>>> {
        let Some((images, labels)) = part else { return Ok(None) };
        let labels = labels.map(|labels| labels.get().map(|(array, _)| array.clone())).transpose()?;
        Ok(Some(ArrayPart { images: images.get()?.0.clone(), labels }))
    };
    Ok(Parts { train: get(parts.train)?, validation: get(parts.validation)?, test: get(parts.test)? })
}

/// The one array of images.
fn the_images<'m, 'a>(
    members: &'m [Member<'a>],
    options: &LoadOptions,
    path: &Path,
    notes: &mut Vec<String>,
) -> Result<&'m Member<'a>> {
    let of_images: Vec<_> = members.iter().filter(|member| member.is_images(options)).collect();
    let named: Vec<_> = of_images.iter().copied().filter(|m| m.by_name.images).collect();
    match (&of_images[..], &named[..]) {
        ([images], _) => Ok(images),
        ([_, _, ..], [images]) => {
            let others: Vec<&str> =
                of_images.iter().filter(|m| m.name != images.name).map(|m| m.name.as_str()).collect();
            notes.push(format!(
                "the images are the array {}; --array chooses another: {}",
                images.name,
                others.join(", ")
            ));
            Ok(images)
        }
        (found, _) => {
            // An unreadable array, or a matrix whose rows might be images, explains why none was found.
            if found.is_empty() {
                if let Some(damaged) = members.iter().find(|member| member.array.is_err()) {
                    damaged.get()?;
                }
                let matrices = members.iter().filter(|m| m.header().is_some_and(|h| h.shape.len() == 2));
                let matrices: Vec<_> = matrices.filter(|member| !member.is_labels()).collect();
                if let [matrix] = matrices[..] {
                    view(&matrix.get()?.1, options, &matrix.path)?;
                }
            }
            let message = if found.is_empty() {
                let labels = members.iter().all(|member| member.is_labels());
                let hint = if labels { ": one axis is what labels have" } else { "" };
                format!(
                    "it has no array of images, whose shape is N×H×W, N×H×W×C or N×C×H×W (or N×P with --size); its arrays are {}{hint}",
                    list(members)
                )
            } else {
                format!(
                    "it has {} arrays with the shape of images, and it is not clear which one to use; --array NAME chooses one of: {}",
                    found.len(),
                    list(members)
                )
            };
            Err(Error::data(path, message))
        }
    }
}

/// An array of images with its array of labels, if there is exactly one.
fn one<'a>(images: &Member<'a>, members: &[Member<'a>]) -> Result<ArrayPart<'a>> {
    let (array, header) = images.get()?;
    let count = header.shape.first().copied().unwrap_or(0);
    let same_role = |m: &&Member<'a>| m.by_name.role == images.by_name.role && m.name != images.name;
    let candidates: Vec<_> = members.iter().filter(same_role).filter(|m| m.is_labels()).collect();
    let fits = |m: &&Member<'a>| m.header().is_some_and(|h| h.shape[0] == count);
    // An array with one of these names is meant to be the labels.
    const NAMES: [&str; 4] = ["labels", "label", "y", "targets"];
    if let Some(wrong) = candidates.iter().find(|m| NAMES.contains(&m.name.as_str()) && !fits(m)) {
        let labels = wrong.header().map_or(0, |h| h.shape[0]);
        let message = format!("it has {labels} labels for {count} images; there must be one for each");
        return Err(Error::data(&wrong.path, message));
    }
    let fitting: Vec<_> = candidates.into_iter().filter(fits).collect();
    let labels = match fitting[..] {
        [labels] => Some(labels.get()?.0.clone()),
        _ => None,
    };
    Ok(ArrayPart { images: array.clone(), labels })
}

/// Names and shapes, for messages.
fn list(members: &[Member<'_>]) -> String {
    let shown = |m: &Member<'_>| m.header().map(|h| format!("{} ({})", m.name, show(&h.shape)));
    let names: Vec<String> = members.iter().filter_map(shown).take(8).collect();
    if names.is_empty() { "none".into() } else { names.join(", ") }
}

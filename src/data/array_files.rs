//! A file with one array, or the MNIST files, whose names tell their roles.

use super::array_source::{Array, ArrayPart, ArraySource, wanted};
use super::find::{Found, Kind, mnist_name};
use super::options::Part;
use super::parts::{Parts, Role};
use crate::{Error, Result};

/// Determines the roles of the arrays found. `None` if there are none.
///
/// # Errors
/// If there is no array of images, or the choice is ambiguous.
pub(crate) fn open<'a>(found: &Found<'a>, part: Part) -> Result<Option<ArraySource<'a>>> {
    if found.kind != Kind::Files {
        return Ok(None);
    }
    let Some(first) = found.items.first().and_then(Array::new) else { return Ok(None) };
    let kind = first.format.name;
    let (mut images, mut labels) = (Parts::default(), Parts::default());
    for item in &found.items {
        let named = mnist_name(item.entry.name());
        if let (Some(_), Some(array)) = (named, Array::new(item).filter(|array| array.format.name != "IDX"))
            && found.items.len() > 1
        {
            let message =
                format!("its name is that of an IDX file, and its content is {}", array.format.name);
            return Err(Error::data(array.path(), message));
        }
        let (part, is_labels) = match named {
            Some((prefix, is_labels)) if found.items.len() > 1 => (prefix, is_labels),
            _ => ("train-", false),
        };
        let role = if part == "t10k-" { Role::Test } else { Role::Train };
        *if is_labels { &mut labels } else { &mut images }.get_mut(role) = Array::new(item);
    }
    let mut parts = Parts::default();
    for role in [Role::Train, Role::Test] {
        let labels = labels.get_mut(role).take();
        *parts.get_mut(role) = images.get_mut(role).take().map(|images| ArrayPart { images, labels });
    }
    // Test images alone are a data set like any other.
    if parts.train.is_none() {
        parts.train = parts.test.take();
    }
    Ok(Some(ArraySource { path: found.path.clone(), kind, parts: wanted(parts, part), notes: Vec::new() }))
}

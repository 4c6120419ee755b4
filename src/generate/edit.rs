//! Attributes: a direction in the latent space along which pictures gain something.
//!
//! ```text
//! a = mean of μ over examples with it − mean of μ over examples without it
//! x′ = decode(μ(x) + s·a)      s, the strength: 0 is the plain reconstruction, 1 the whole difference,
//!                                a negative s the opposite
//! ```
//!
//! The difference of means as an attribute is from Larsen et al. 2016 ("Autoencoding beyond pixels using a
//! learned similarity metric"), who add glasses and beards to faces with it.

use crate::data::Labels;
use crate::error::{Error, Result};

/// The mean of some codes (N × Z); `None` if there are none.
pub fn mean_code(codes: &[f32], latent: usize) -> Option<Vec<f64>> {
    let count = codes.len() / latent;
    let mut mean = vec![0.0; latent];
    for code in codes.chunks_exact(latent) {
        mean.iter_mut().zip(code).for_each(|(sum, &z)| *sum += f64::from(z));
    }
    (count > 0).then(|| mean.iter().map(|sum| sum / count as f64).collect())
}

/// The direction from examples without an attribute to examples with it; both N × Z, N may differ.
///
/// ```
/// use elbo::generate::edit::{apply, attribute};
/// let direction = attribute(&[0.0, 0.0, 2.0, 0.0], &[1.0, 3.0], 2)?;
/// assert_eq!(direction, [0.0, 3.0]);
/// assert_eq!(apply(&[5.0, 5.0], &direction, &[0.0, 2.0]), [5.0, 5.0, 5.0, 11.0]);
/// # Ok::<(), elbo::Error>(())
/// ```
///
/// # Errors
/// If one side has no examples.
pub fn attribute(without: &[f32], with: &[f32], latent: usize) -> Result<Vec<f32>> {
    let none =
        || Error::config("an attribute is a difference of two groups of examples, and one of them is empty");
    let (from, to) =
        (mean_code(without, latent).ok_or_else(none)?, mean_code(with, latent).ok_or_else(none)?);
    Ok(from.iter().zip(&to).map(|(from, to)| (to - from) as f32).collect())
}

/// Each code with each strength of the attribute added: codes × strengths × Z.
///
/// # Panics
/// If the attribute is empty.
pub fn apply(codes: &[f32], attribute: &[f32], strengths: &[f32]) -> Vec<f32> {
    let mut edited = Vec::with_capacity(codes.len() * strengths.len());
    for code in codes.chunks_exact(attribute.len()) {
        for strength in strengths {
            edited.extend(code.iter().zip(attribute).map(|(z, a)| z + strength * a));
        }
    }
    edited
}

/// The images of one class, by its name: positions in `labels.ids`.
///
/// # Errors
/// If there is no such class, no image of it, or only one class.
pub fn of_class(labels: &Labels, name: &str) -> Result<Vec<usize>> {
    if labels.classes() < 2 {
        return Err(Error::config(
            "all images have the same label; an attribute needs two classes, or two folders with --without and --with",
        ));
    }
    let members = |id: usize| -> Vec<usize> {
        labels.ids.iter().enumerate().filter(|(_, found)| **found as usize == id).map(|(at, _)| at).collect()
    };
    let found = labels.names.iter().position(|known| known == name).map(members).unwrap_or_default();
    if found.is_empty() {
        let used = |(id, _): &(usize, &String)| labels.ids.contains(&(*id as u32));
        let mut names: Vec<&str> =
            labels.names.iter().enumerate().filter(used).map(|(_, name)| name.as_str()).collect();
        let more = names.len().saturating_sub(20);
        names.truncate(20);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        return Err(Error::config(format!(
            "no image has the label {}; there are {}{more}",
            crate::storage::printable(name),
            crate::storage::printable(names.join(", "))
        )));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_are_found_by_their_names() {
        let labels = Labels { ids: vec![1, 0, 1], names: vec!["cat".into(), "dog".into(), "cow".into()] };
        assert_eq!(of_class(&labels, "dog").unwrap(), [0, 2]);
        let message = of_class(&labels, "cow").unwrap_err().to_string();
        assert_eq!(message, "no image has the label cow; there are cat, dog");
        let one = Labels { ids: vec![1, 1], ..labels };
        assert!(of_class(&one, "dog").unwrap_err().to_string().contains("two classes"));
        assert!(attribute(&[], &[1.0], 1).is_err());
    }
}

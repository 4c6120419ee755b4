//! Images with their labels, the input of a conditional model.
//!
//! A conditional model stores the names of its labels ([`ModelConfig::labels`]); a label's number is its
//! position there. A data set numbers its labels by itself, so the two are matched by name:
//! [`ModelConfig::relabel`] converts a data set to the model's numbers, and refuses a name that the model
//! does not know.

use super::config::ModelConfig;
use crate::data::{Dataset, Images, Labels};
use crate::error::{Error, Result};
use crate::text::printable;

/// Images with the label of each, in the model's numbers.
///
/// ```
/// use elbo::data::Images;
/// use elbo::model::Labelled;
/// let images = Images::from_bytes(vec![0; 3 * 64], 3, 8, 8, 1);
/// assert!(Labelled::from(&images).labels.is_empty()); // for a model without labels
/// assert_eq!(Labelled { images: &images, labels: &[2, 0, 1] }.of(&[0, 2]).collect::<Vec<_>>(), [2, 1]);
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Labelled<'a> {
    /// The images.
    pub images: &'a Images,
    /// The label of each image; empty for a model without labels.
    pub labels: &'a [u32],
}

impl<'a> From<&'a Images> for Labelled<'a> {
    fn from(images: &'a Images) -> Self {
        Self { images, labels: &[] }
    }
}

impl<'a> Labelled<'a> {
    /// The labels of the images `indices`; none for a model without labels.
    ///
    /// # Panics
    /// If there are labels, but none for one of the images.
    pub fn of<'i>(self, indices: &'i [usize]) -> impl Iterator<Item = u32> + use<'a, 'i> {
        let indices = if self.labels.is_empty() { &[] } else { indices };
        indices.iter().map(move |&index| self.labels[index])
    }
}

impl ModelConfig {
    /// The number of a label.
    ///
    /// # Errors
    /// If the model has no labels, or none of this name.
    pub fn label(&self, name: &str) -> Result<u32> {
        if self.labels.is_empty() {
            return Err(Error::config(format!(
                "the label {} is for a conditional model, and this one was trained without labels (train --conditional)",
                printable(name)
            )));
        }
        let found = self.labels.iter().position(|known| known == name);
        found.map(|label| label as u32).ok_or_else(|| {
            Error::config(format!(
                "the model does not know the label {}; its labels are {}",
                printable(name),
                shown(&self.labels)
            ))
        })
    }

    /// Converts the labels of a data set to the model's numbers and names; for a model without labels they
    /// stay unchanged.
    ///
    /// # Errors
    /// If an image has a label that the model does not know.
    pub fn relabel(&self, data: &mut Dataset) -> Result<()> {
        if self.classes() == 0 {
            return Ok(());
        }
        for labels in [&mut data.labels, &mut data.test_labels].into_iter().flatten() {
            let numbers = match_names(&self.labels, labels)
                .map_err(|error| Error::data(&data.path, error.to_string()))?;
            *labels = Labels { ids: numbers, names: self.labels.clone() };
        }
        Ok(())
    }

    /// Images as input of this model: with their labels if it is conditional, otherwise without.
    ///
    /// # Errors
    /// If the model needs labels and there are none, or they are not in the model's numbers
    /// ([`relabel`](Self::relabel)).
    pub fn labelled<'a>(&self, images: &'a Images, labels: Option<&'a Labels>) -> Result<Labelled<'a>> {
        if self.classes() == 0 {
            return Ok(Labelled::from(images));
        }
        let labels = labels.ok_or_else(|| {
            Error::config(format!(
                "the model is conditional and needs the label of each image, and these images have none; its labels are {}",
                shown(&self.labels)
            ))
        })?;
        if labels.names != self.labels {
            return Err(Error::config(
                "the images' labels are not in the model's numbers; ModelConfig::relabel matches them",
            ));
        }
        Ok(Labelled { images, labels: &labels.ids })
    }

    /// Whether this word stands for all labels: `all`, unless a label has this name.
    pub(crate) fn is_every_label(&self, word: &str) -> bool {
        word == "all" && self.classes() > 0 && self.label(word).is_err()
    }

    /// The number of the label of this name; for `all` (unless a label has this name), the numbers of all
    /// labels.
    ///
    /// # Errors
    /// As [`label`](Self::label).
    pub fn labels_called(&self, word: &str) -> Result<Vec<u32>> {
        if self.is_every_label(word) {
            return Ok((0..self.classes() as u32).collect());
        }
        Ok(vec![self.label(word)?])
    }

    /// The names of the labels for a message: up to twenty, separated by commas.
    pub fn label_names(&self) -> String {
        shown(&self.labels)
    }

    /// Cyclic labels for `count` codes without a label of their own; none for a model without labels.
    pub fn labels_in_turn(&self, count: usize) -> Vec<u32> {
        let classes = self.classes() as u32;
        if classes == 0 { Vec::new() } else { (0..count as u32).map(|at| at % classes).collect() }
    }

    /// The same label for `count` codes; none for a model without labels.
    pub fn same_label(&self, label: u32, count: usize) -> Vec<u32> {
        if self.classes() == 0 { Vec::new() } else { vec![label; count] }
    }
}

/// Renumbers the labels of images to their positions in `known`, matched by name.
///
/// # Errors
/// If an image has a label that is not known.
pub fn match_names(known: &[String], labels: &Labels) -> Result<Vec<u32>> {
    let number = |name: &String| known.iter().position(|other| other == name).map(|at| at as u32);
    let numbers: Vec<Option<u32>> = labels.names.iter().map(number).collect();
    let number = |&id: &u32| {
        numbers[id as usize].ok_or_else(|| {
            Error::config(format!(
                "an image has the label {}, which the model does not know; the known labels are {}",
                printable(labels.names[id as usize].as_str()),
                shown(known)
            ))
        })
    };
    labels.ids.iter().map(number).collect()
}

/// The labels for training a conditional model: the label names that occur, and the number of each training
/// image.
///
/// `option` is the option that requires them, for messages.
///
/// # Errors
/// If the images have no labels, or fewer than two different ones.
pub fn labels_to_learn(data: &Dataset, option: &str) -> Result<Labels> {
    let refuse = |message: String| Err(Error::data(&data.path, message));
    let Some(labels) = &data.labels else {
        return refuse(format!(
            "its images have no labels, and {option} needs one for each: subfolders with the labels' names, or a file of labels \
             beside the images"
        ));
    };
    let mut used = vec![false; labels.names.len()];
    labels.ids.iter().for_each(|&id| used[id as usize] = true);
    let names: Vec<String> =
        labels.names.iter().zip(&used).filter(|(_, used)| **used).map(|(name, _)| name.clone()).collect();
    if names.len() < 2 {
        return refuse(format!(
            "all its images have the label {}; {option} needs at least two labels",
            shown(&names)
        ));
    }
    let numbers: Vec<u32> = used
        .iter()
        .scan(0, |next, &used| {
            *next += u32::from(used);
            Some(*next - u32::from(used))
        })
        .collect();
    Ok(Labels { ids: labels.ids.iter().map(|&id| numbers[id as usize]).collect(), names })
}

/// Up to twenty names.
fn shown(names: &[String]) -> String {
    let more = names.len().saturating_sub(20);
    let first: Vec<String> = names.iter().take(20).map(|name| printable(name.as_str()).to_string()).collect();
    if more > 0 { format!("{} and {more} more", first.join(", ")) } else { first.join(", ") }
}

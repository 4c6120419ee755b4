//! The images that `elbo detect` examines, its references, and its findings.

use crate::cli::common::Opened;
use crate::data::Dataset;
use crate::error::Result;
use crate::evaluate::detect::Threshold;
use crate::evaluate::expected::Expected;
use crate::evaluate::heat::{HotBox, Usual};
use crate::evaluate::judged::Which;
use crate::model::Labelled;

/// Images of one kind.
pub(super) struct Group {
    pub(super) data: Dataset,
    pub(super) which: Which,
    pub(super) indices: Vec<usize>,
}

/// An image and its findings.
pub(super) struct Finding {
    pub(super) group: usize,
    pub(super) index: usize,
    /// Whether it is known to be anomalous.
    pub(super) truth: Option<bool>,
    pub(super) score: f64,
    pub(super) boxes: Vec<HotBox>,
}

/// The reference values, from normal images.
pub(super) struct Reference {
    pub(super) usual: Usual,
    pub(super) hot: Threshold,
    pub(super) score: Threshold,
    /// The expected score, if it is subtracted.
    pub(super) expected: Option<Expected>,
    pub(super) images: usize,
    pub(super) of: &'static str,
}

pub(super) fn labels(group: &Group) -> Option<&crate::data::Labels> {
    if group.which == Which::Test { group.data.test_labels.as_ref() } else { group.data.labels.as_ref() }
}

/// The images of a group as model inputs.
pub(super) fn labelled<'g>(opened: &Opened, group: &'g Group) -> Result<Labelled<'g>> {
    let images = match (&group.data.test, group.which) {
        (Some(test), Which::Test) => test,
        _ => &group.data.train,
    };
    opened.model.config().labelled(images, labels(group))
}

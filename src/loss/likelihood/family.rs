//! The interface of a likelihood. docs/extending.md lists all places that change for a new one.

use crate::error::Result;
use crate::tensor::{Element, ImageShape};
use std::ops::Range;

/// A likelihood with its settings.
///
/// Letters: an `image` has H·W pixels of C channels, D = H·W·C values. A batch has B images; `target` is B ×
/// D; `output` and `d_output` are B × H·W × m·C with m = [`numbers`](Self::numbers), number k of channel c at
/// k·C + c.
pub(super) trait Family: Copy {
    /// Its name in options and files, kebab-case.
    fn name(&self) -> &'static str;

    /// m, the decoder's numbers for each pixel value.
    fn numbers(&self) -> usize {
        1
    }

    /// Its settings with their values, those without a value left out.
    fn settings(&self) -> Vec<(&'static str, f64)> {
        Vec::new()
    }

    /// The same likelihood with a setting changed; `None` if it has no such setting.
    fn with_setting(&self, _setting: &str, _value: f64) -> Option<Self> {
        None
    }

    /// [`Error::Config`](crate::error::Error::Config) if a setting is out of range.
    fn validate(&self) -> Result<()> {
        Ok(())
    }

    /// Whether the decoder's output is the mean image itself, so that the network ends in a sigmoid or tanh.
    fn output_is_mean(&self) -> bool;

    /// Whether it gives the probability of each of the 256 bytes.
    fn is_exact_for_bytes(&self) -> bool {
        false
    }

    /// [`Error::Config`](crate::error::Error::Config) if values from `low` to `high` cannot have this
    /// likelihood.
    fn check_range(&self, _low: f64, _high: f64) -> Result<()> {
        Ok(())
    }

    /// The part of −ln p that the loss omits, in nats per image of `values` values.
    fn standard_offset(&self, _values: usize) -> f64 {
        0.0
    }

    /// The nats of each image.
    fn forward<T: Element>(&self, output: &[T], target: &[T], image: ImageShape, per_image: &mut [f64]);

    /// The nats of each image, and the gradient of their mean. Returns the fitted variance, if it fits one.
    fn forward_backward<T: Element>(
        &self,
        output: &[T],
        target: &[T],
        image: ImageShape,
        d_output: &mut [T],
        per_image: &mut [f64],
    ) -> Option<f64>;

    /// The mean image of each output, B × D.
    fn means<T: Element>(&self, output: &[T], _image: ImageShape, means: &mut [T]) {
        means.copy_from_slice(output);
    }

    /// The backward pass of [`means`](Self::means): the gradient with respect to the output, from that with
    /// respect to the means.
    fn means_backward<T: Element>(
        &self,
        _output: &[T],
        _image: ImageShape,
        d_means: &[T],
        d_output: &mut [T],
    ) {
        d_output.copy_from_slice(d_means);
    }

    /// ln p of the 256 bytes, given the m numbers of one pixel value. Only for likelihoods that are exact for
    /// bytes.
    fn log_probabilities<T: Element>(&self, _numbers: &[T], _ln_p: &mut [T; 256]) {}

    /// Which of the m numbers are means in [−1, 1], and which are the log-scales on that axis; `None` if it
    /// has other numbers.
    fn means_and_log_scales(&self) -> Option<[Range<usize>; 2]> {
        None
    }

    /// A description of the numbers: "the logit", "the mean and the log-scale".
    fn output_meaning(&self) -> String;

    /// The rule that makes the means of the output, for an engine in another language.
    fn mean_rule(&self) -> MeanRule {
        MeanRule { name: "identity", settings: Vec::new() }
    }

    /// PyTorch's expression for the means, in `output` (N × m·C × H × W).
    fn torch_mean(&self) -> String {
        "output".into()
    }
}

/// The function from a decoder's output to the mean image, for an engine in another language: the page of
/// `elbo explore` has a function for each name (`src/explore/engine.js`).
#[derive(Clone, Debug, PartialEq)]
pub struct MeanRule {
    /// The function's name.
    pub name: &'static str,
    /// Its numbers.
    pub settings: Vec<f64>,
}

/// Checks that a setting is a positive, finite number. `what` is "gaussian: sigma".
pub(super) fn positive(what: &str, value: f64) -> Result<()> {
    if value.is_finite() && value > 0.0 {
        return Ok(());
    }
    Err(crate::error::Error::config(format!("likelihood {what} must be a positive number, not {value}")))
}

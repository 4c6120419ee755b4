//! A batch that several processes share: the exchange of means that the objective needs.
//!
//! Most losses are sums over images, so each process computes its own, and only gradients are added up. Three
//! terms depend on means over the whole batch before their gradient is known: free bits and capacity on the
//! divergence of each dimension, the optimal Gaussian on the squared error. For those the processes exchange
//! some numbers between the forward and the backward pass.

use std::fmt::Debug;
use std::sync::Arc;

use super::likelihood::{Likelihood, optimal_variance};
use crate::tensor::{Element, ImageShape};

/// The processes that share a batch.
pub trait WholeBatch: Debug + Send + Sync {
    /// Replaces `values`, means over this process's images, by the means over the whole batch, in which this
    /// process counts as `images` images. All processes call it at the same point, with the same number of
    /// values, and get bit-identical results.
    fn mean(&self, images: usize, values: &mut [f64]);
}

/// This process's part of a batch.
#[derive(Clone, Debug)]
pub(super) struct Part {
    /// The processes that share it.
    pub whole: Arc<dyn WholeBatch>,
    /// Its own images; 0 for a process without images, whose results do not count.
    pub images: usize,
}

impl Part {
    /// Replaces means over this part by those over the whole batch.
    pub fn mean(&self, values: &mut [f64]) {
        self.whole.mean(self.images, values);
    }
}

/// σ² of the optimal Gaussian for the whole batch, `None` for other likelihoods. `per_image` is overwritten.
pub(super) fn whole_variance<T: Element>(
    likelihood: &Likelihood,
    (output, target): (&[T], &[T]),
    image: ImageShape,
    per_image: &mut [f64],
    part: &Part,
) -> Option<f64> {
    if !matches!(likelihood, Likelihood::OptimalGaussian { .. }) {
        return None;
    }
    Likelihood::SquaredError.forward(output, target, image, per_image);
    let mut mean = [per_image.iter().sum::<f64>() / output.len() as f64];
    part.mean(&mut mean);
    Some(optimal_variance(mean[0]))
}

//! Named random streams: every draw comes from the generator of a (seed, stream, index).
//!
//! A generator is created when it is needed and dropped afterwards, so the state of a generator is never
//! saved: the shuffle of epoch 7 is the same for a run without interruption, for a resumed run, and for any
//! number of threads. ChaCha8 is used because its specification fixes its output; the "standard" generators
//! of the rand crate may change between versions.

use rand::SeedableRng;
use rand::rngs::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};

/// The purpose of the numbers. The discriminants determine the draws of a seed, so they never change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u64)]
pub enum Stream {
    /// Initial weights; the index is the layer's.
    Weights = 1,
    /// The order of the training images; the index is the epoch.
    Shuffle = 2,
    /// ε of the reparameterization; the index is the step.
    Noise = 3,
    /// Which images are held out for validation.
    Validation = 4,
    /// Pixels drawn as 0 or 1; the index is the image's, with the epoch in the upper bits if they are drawn
    /// in every epoch.
    Binarize = 5,
    /// ε of an evaluation; the index is the image's.
    Evaluation = 6,
    /// Draws from the prior; the index is the image's.
    Sampling = 7,
    /// Noise added to the pixels of an input; the index is the image's.
    Corruption = 8,
    /// Starting points of a prior that is fitted to the posterior.
    Prior = 9,
    /// Flips and shifts of a training image; the index is the image's, with the epoch in the upper bits.
    Augment = 12,
    /// Which images keep their label; the index is the class.
    Labelled = 20,
    /// Which of the labelled images a step takes; the index is the step.
    LabelledBatch = 21,
    /// ε of a classifier's own code; the index is the step.
    Style = 22,
    /// Initial weights of a discriminator; the index is the layer's.
    Discriminator = 31,
    /// The start of the power iteration of a discriminator's weight; the index is the weight's.
    Direction = 32,
    /// Draws from the prior for a discriminator; the index is the step.
    Adversarial = 33,
}

/// The generator of (`seed`, `stream`, `index`): ChaCha8 with a key made of the three numbers, little-endian,
/// and a constant.
///
/// ```
/// use elbo::random::{Stream, stream};
/// use rand::Rng;
/// let first = stream(0, Stream::Shuffle, 7).next_u64();
/// assert_eq!(first, stream(0, Stream::Shuffle, 7).next_u64());
/// assert_ne!(first, stream(0, Stream::Shuffle, 8).next_u64());
/// ```
pub fn stream(seed: u64, stream: Stream, index: u64) -> ChaCha8Rng {
    let mut key = *b"........................elbo v.1";
    key[0..8].copy_from_slice(&seed.to_le_bytes());
    key[8..16].copy_from_slice(&(stream as u64).to_le_bytes());
    key[16..24].copy_from_slice(&index.to_le_bytes());
    ChaCha8Rng::from_seed(key)
}

/// Fills a slice with draws from the standard normal distribution, in order.
pub fn fill_normal(rng: &mut ChaCha8Rng, numbers: &mut [f32]) {
    numbers.iter_mut().for_each(|number| *number = StandardNormal.sample(rng));
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::Rng;

    /// The draws of fixed seeds. If this test fails, every seed gives another run than before.
    #[test]
    fn the_first_draws_never_change() {
        let draws: Vec<u64> = [
            (0, Stream::Weights, 0),
            (0, Stream::Shuffle, 0),
            (1, Stream::Shuffle, 0),
            (0, Stream::Shuffle, 1),
        ]
        .into_iter()
        .map(|(seed, name, index)| stream(seed, name, index).next_u64())
        .collect();
        assert_eq!(
            draws,
            [2199250788520320757, 15799863936471607812, 6179035388085830405, 5553178649304116398]
        );
    }
}

//! Training/validation split, shuffling, and the contents of batches.
//!
//! Everything is a function of the seed and of counters (epoch, image), never of earlier draws: an epoch can
//! be resumed in its middle, and a batch does not depend on the threads or the batch size.

use super::augment::Augment;
use super::dataset::Dataset;
use super::images::{Images, Span};
use super::options::Binarize;
use crate::random::{Stream, stream};
use crate::tensor::Element;
use crate::{Error, Result};
use rand::Rng;
use rand::rngs::ChaCha8Rng;

/// Training images and held-out validation images. Both are sorted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Split {
    /// Indices to train on.
    pub train: Vec<usize>,
    /// Indices to validate on.
    pub validation: Vec<usize>,
}

impl Split {
    /// The default number of held-out images: 5000, at most a tenth.
    pub fn default_validation(count: usize) -> usize {
        (count / 10).min(5000)
    }

    /// The split of a data set: its own validation part, if it has one. Otherwise `valid` of its images are
    /// held out, or [`default_validation`](Self::default_validation), chosen by [`Split::new`].
    ///
    /// # Errors
    /// If no image is left to train on, or the data set's own part does not have `valid` images.
    pub fn of(data: &Dataset, seed: u64, valid: Option<usize>) -> Result<Self> {
        let count = data.train.count;
        let Some(own) = &data.validation else {
            let valid = valid.unwrap_or_else(|| Self::default_validation(count));
            if valid >= count {
                return Err(Error::config(format!(
                    "--valid {valid} leaves no image to train on; there are {count}, so it must be below that"
                )));
            }
            return Ok(Self::new(seed, count, valid));
        };
        if let Some(valid) = valid.filter(|&valid| valid != own.len()) {
            return Err(Error::config(format!(
                "--valid {valid} is not the number of images in the data's own validation part, which is {}; leave it out",
                own.len()
            )));
        }
        if own.len() >= count {
            return Err(Error::data(&data.path, "it has no images to train on besides its validation part"));
        }
        let train = (0..count).filter(|index| own.binary_search(index).is_err()).collect();
        Ok(Self { train, validation: own.clone() })
    }

    /// Holds out `validation` of `count` images, a random choice that depends on the seed alone. At most all
    /// are held out.
    pub fn new(seed: u64, count: usize, validation: usize) -> Self {
        let mut order: Vec<usize> = (0..count).collect();
        shuffle(&mut order, &mut stream(seed, Stream::Validation, 0));
        let mut train = order.split_off(validation.min(count));
        train.sort_unstable();
        order.sort_unstable();
        Self { train, validation: order }
    }
}

/// Fills `order` with `indices` in the order of epoch `epoch`. Batches are its chunks; the last one may be
/// smaller and is kept. Nothing is allocated if `order` has enough capacity.
///
/// ```
/// let (indices, mut order): (Vec<usize>, _) = ((0..10).collect(), Vec::new());
/// elbo::data::epoch_order(1, 0, &indices, &mut order);
/// let batches: Vec<&[usize]> = order.chunks(4).collect();
/// assert_eq!(batches.iter().map(|batch| batch.len()).collect::<Vec<_>>(), [4, 4, 2]);
/// ```
pub fn epoch_order(seed: u64, epoch: u64, indices: &[usize], order: &mut Vec<usize>) {
    order.clear();
    order.extend_from_slice(indices);
    shuffle(order, &mut stream(seed, Stream::Shuffle, epoch));
}

/// Fisher–Yates shuffle: from the last position down, each is exchanged with a random one up to it. A 64-bit
/// draw u becomes the position ⌊u·n/2⁶⁴⌋. It is written out here so that no crate's version can change an
/// order.
fn shuffle(order: &mut [usize], rng: &mut impl Rng) {
    for last in (1..order.len()).rev() {
        let n = last as u128 + 1;
        let chosen = (u128::from(rng.next_u64()) * n) >> 64;
        order.swap(last, chosen as usize);
    }
}

/// The stream of draws that binarizes the images in an epoch: 0 for static binarization, epochs from 1 on;
/// none without randomness.
fn period(binarize: Binarize, epoch: u64) -> Option<u64> {
    match binarize {
        Binarize::Threshold => None,
        Binarize::Static => Some(0),
        Binarize::Dynamic => Some(epoch.wrapping_add(1)),
    }
}

/// An image's random generator. The index of its stream has the image in the low bits and the period in the
/// high bits.
fn draws(seed: u64, period: u64, image: usize) -> ChaCha8Rng {
    stream(seed, Stream::Binarize, (period << 32).wrapping_add(image as u64))
}

/// u < x·2³² for a 32-bit draw u: never for x = 0, always for x = 1.
fn draw(unit: f64, rng: &mut ChaCha8Rng) -> bool {
    f64::from(rng.next_u32()) < unit * 4_294_967_296.0
}

fn above_half(unit: f64) -> bool {
    unit > 0.5
}

/// Fills batches: scaling, and binarization if requested. Each image has its own random stream.
#[derive(Clone, Copy, Debug)]
pub struct Filler {
    /// The interval of the network's input.
    pub span: Span,
    /// Whether and how pixels become 0 or 1 (the ends of the span).
    pub binarize: Option<Binarize>,
    /// The run's seed.
    pub seed: u64,
}

impl Filler {
    /// Fills `out`, [indices.len() · H · W · C], with the images `indices` as they are in epoch `epoch`.
    /// Nothing is allocated.
    ///
    /// # Panics
    /// If `out` has another length, or an index is too large.
    pub fn fill<T: Element>(&self, images: &Images, indices: &[usize], epoch: u64, out: &mut [T]) {
        let Self { span, seed, .. } = *self;
        let Some(binarize) = self.binarize else { return images.gather(indices, span, out) };
        let bit = |one: bool| span.from_unit(f64::from(u8::from(one)));
        match period(binarize, epoch) {
            None => images.gather_with(indices, out, |unit, _: &mut ()| bit(above_half(unit)), |_| ()),
            Some(period) => {
                let value = |unit: f64, rng: &mut ChaCha8Rng| bit(draw(unit, rng));
                images.gather_with(indices, out, value, |image| draws(seed, period, image));
            }
        }
    }

    /// Binarizes pictures with values in [0, 1] in place, [indices.len() · H · W · C] numbers, as
    /// [`fill`](Self::fill) does for the images of these indices in epoch 0. It is for pictures derived from
    /// images after they were read.
    pub fn binarize(&self, pictures: &mut [f32], indices: &[usize]) {
        let Some(binarize) = self.binarize.filter(|_| !indices.is_empty()) else { return };
        let bit = |one: bool| f32::from(u8::from(one));
        for (picture, &image) in pictures.chunks_exact_mut(pictures.len() / indices.len()).zip(indices) {
            match period(binarize, 0) {
                None => picture.iter_mut().for_each(|v| *v = bit(above_half(f64::from(*v)))),
                Some(period) => {
                    let mut rng = draws(self.seed, period, image);
                    picture.iter_mut().for_each(|v| *v = bit(draw(f64::from(*v), &mut rng)));
                }
            }
        }
    }

    /// [`fill`](Self::fill) for training: each image is flipped and shifted according to `augment`, by draws
    /// that depend on the seed, the epoch and the image alone.
    ///
    /// # Panics
    /// As [`fill`](Self::fill).
    pub fn fill_augmented<T: Element>(
        &self,
        images: &Images,
        indices: &[usize],
        epoch: u64,
        augment: Augment,
        out: &mut [T],
    ) {
        self.fill(images, indices, epoch, out);
        if augment != Augment::NONE {
            augment.apply(images.shape(), self.seed, epoch, indices, out);
        }
    }
}

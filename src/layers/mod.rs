//! One file per operation: the formula, the forward pass, the backward pass and their tests.
//!
//! # Conventions
//!
//! - Activations are B·H·W·C (channels last), one image after another. [`crate`] has the legend of letters.
//! - Outputs come first in formulas and last in argument lists; a gradient is called `d_<name>`.
//! - A layer knows sizes, not numbers: weights, biases and gradients are slices that the caller owns. So two layers can share
//!   a weight, and an optimizer sees plain memory.
//! - `forward` applies the layer, its bias and its [`Activation`] while the rows are in the cache. `backward` takes the
//!   gradient with respect to the activation's *output* in `d_output`, and leaves there the gradient before the activation.
//! - Parameter gradients are written, or added where the same weight is used twice ([`Gradients::accumulate`]).
//!
//! # Where the parallelism is
//!
//! A batch is cut into chunks of images (`chunk_images`), or for sums over the batch into at most [`LANES`] lanes, each
//! with a partial sum of its own; the partial sums are added in order. Both cuts depend on sizes only, never on the number of
//! threads, so every run gives the same bits.
//!
//! Reading order: [`linear`], [`conv2d`], [`conv_transpose2d`], [`max_pool2d`], [`activation`], [`shared`].

pub mod activation;
pub mod conv2d;
pub mod conv_transpose2d;
pub mod linear;
pub mod max_pool2d;
pub mod shared;

pub use activation::Activation;
pub use conv_transpose2d::ConvTranspose2d;
pub use conv2d::Conv2d;
pub use linear::Linear;
pub use max_pool2d::MaxPool2d;
pub use shared::Shared;

use rayon::prelude::*;

use crate::kernels::scratch::Scratch;
use crate::tensor::Element;

/// The most pieces that a batch is cut into where each needs a partial gradient of its own.
pub const LANES: usize = 16;

/// A chunk of columns has about this many numbers (1 MiB in single precision): the second- and third-level caches hold it, and its
/// product has rows enough. Half of it cost the article preset 3 % of a step, a quarter 6 %; conv does not mind.
const CHUNK_NUMBERS: usize = 256 * 1024;

/// The most images in one chunk, where one needs `numbers_per_image` numbers of scratch.
fn most_images(numbers_per_image: usize) -> usize {
    (CHUNK_NUMBERS / numbers_per_image.max(1)).max(1)
}

/// The images in one chunk of `images`, at most `most`: in equal chunks, and as many of them as `multiple` or a multiple of it.
fn chunk_images(images: usize, most: usize, multiple: usize) -> usize {
    images.div_ceil(images.div_ceil(most).next_multiple_of(multiple)).max(1)
}

/// The number of chunks of a batch is a multiple of this, so that few threads have equally many: 13 chunks on two threads cost what
/// 14 do.
const EVEN: usize = 8;

/// The images in one lane of a batch.
fn lane_images(batch: usize) -> usize {
    batch.div_ceil(LANES).max(1)
}

/// Where a layer's parameter gradients go.
#[derive(Debug)]
pub struct Gradients<'a, T> {
    /// ∂L/∂weight, in the layout of the weight.
    pub weight: &'a mut [T],
    /// ∂L/∂bias.
    pub bias: &'a mut [T],
    /// Whether the weight's gradient is added to what is there (the second use of a tied weight) or written over it.
    pub accumulate: bool,
}

/// Working memory that the layers of a network share: made once, for the largest of them.
#[derive(Debug)]
pub struct Work<T> {
    /// A block for each thread, for the columns of a chunk.
    pub scratch: Scratch<T>,
    /// A partial weight and bias gradient for each lane.
    pub partials: Vec<T>,
}

impl<T: Element> Work<T> {
    /// For layers that need at most these many numbers.
    pub fn new(scratch: usize, partials: usize) -> Self {
        Self { scratch: Scratch::new(scratch), partials: vec![T::ZERO; partials] }
    }
}

/// Adds the lanes' partial gradients, `[lane][weight … bias]`, in order.
fn reduce_lanes<T: Element>(partials: &[T], gradients: &mut Gradients<'_, T>) {
    const PIECE: usize = 4096;
    let (weight_len, bias_len) = (gradients.weight.len(), gradients.bias.len());
    let lane_len = weight_len + bias_len;
    let accumulate = gradients.accumulate;
    gradients.weight.par_chunks_mut(PIECE).enumerate().for_each(|(piece, sum)| {
        if !accumulate {
            sum.fill(T::ZERO);
        }
        for lane in partials.chunks_exact(lane_len) {
            add(sum, &lane[piece * PIECE..][..sum.len()]);
        }
    });
    gradients.bias.fill(T::ZERO);
    for lane in partials.chunks_exact(lane_len) {
        add(gradients.bias, &lane[weight_len..]);
    }
}

/// sum += values.
fn add<T: Element>(sum: &mut [T], values: &[T]) {
    for (s, &v) in sum.iter_mut().zip(values) {
        *s += v;
    }
}

/// sums[c] += Σ over rows of `values[row][c]`: the gradient of a bias that every row was given.
fn add_rows<T: Element>(values: &[T], sums: &mut [T]) {
    let width = sums.len();
    if width > BLOCK / 2 {
        return values.chunks_exact(width).for_each(|row| add(sums, row));
    }
    // Rows of a few channels: as many together as fill some vectors, or each sum would wait for the one before it.
    let block = BLOCK / width * width;
    let mut lanes = [T::ZERO; BLOCK];
    let blocks = values.chunks_exact(block);
    let rest = blocks.remainder();
    for values in blocks {
        add(&mut lanes[..block], values);
    }
    for row in lanes[..block].chunks_exact(width).chain(rest.chunks_exact(width)) {
        add(sums, row);
    }
}

/// Numbers in a few vector registers.
const BLOCK: usize = 64;

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
//! Convolutions cut a batch into tasks of some images (`task_images`), at most [`MOST_TASKS`], each with a partial sum of the parameters'
//! gradients; the partial sums are added in order. Linear layers cut the products' columns. Both cuts depend on sizes only, never on the
//! number of threads, so every run gives the same bits.
//!
//! Reading order: [`linear`], `patches`, [`conv2d`], [`conv_transpose2d`], [`max_pool2d`], [`activation`], [`shared`].

pub mod activation;
pub mod conv2d;
pub mod conv_transpose2d;
pub mod linear;
pub mod max_pool2d;
mod patches;
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

/// The most tasks that a batch is cut into; each needs a partial gradient of its own.
pub const MOST_TASKS: usize = 16;

/// The images in one task of a batch: 16, in a batch of 128. Fewer give work to more threads, but each task copies the weights anew for
/// its products; so a small batch is cut into eight tasks, of at least four images, and a large one into at most [`MOST_TASKS`].
fn task_images(batch: usize) -> usize {
    batch.div_ceil(8).clamp(4, 16).max(batch.div_ceil(MOST_TASKS))
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
    /// A block for each thread, for the columns of a group of images.
    scratch: Scratch<T>,
    /// A partial weight and bias gradient for each task.
    partials: Vec<T>,
    /// A weight, transposed.
    transposed: Vec<T>,
}

/// How much of it a layer needs, in numbers.
#[derive(Clone, Copy, Debug, Default)]
pub struct WorkLen {
    /// Of each thread's block.
    pub scratch: usize,
    /// Of the partial gradients.
    pub partials: usize,
    /// Of the transposed weight.
    pub transposed: usize,
}

impl WorkLen {
    /// What is enough for both.
    pub fn max(self, other: Self) -> Self {
        Self {
            scratch: self.scratch.max(other.scratch),
            partials: self.partials.max(other.partials),
            transposed: self.transposed.max(other.transposed),
        }
    }
}

impl<T: Element> Work<T> {
    /// For layers that need at most this much.
    pub fn new(len: WorkLen) -> Self {
        Self {
            scratch: Scratch::new(len.scratch),
            partials: vec![T::ZERO; len.partials],
            transposed: vec![T::ZERO; len.transposed],
        }
    }
}

/// Adds the tasks' partial gradients, `[task][weight … bias]`, in order.
fn add_partials<T: Element>(partials: &[T], gradients: &mut Gradients<'_, T>) {
    const PIECE: usize = 4096;
    let (weight_len, bias_len) = (gradients.weight.len(), gradients.bias.len());
    let partial_len = weight_len + bias_len;
    let accumulate = gradients.accumulate;
    gradients.weight.par_chunks_mut(PIECE).enumerate().for_each(|(piece, sum)| {
        if !accumulate {
            sum.fill(T::ZERO);
        }
        for partial in partials.chunks_exact(partial_len) {
            add(sum, &partial[piece * PIECE..][..sum.len()]);
        }
    });
    gradients.bias.fill(T::ZERO);
    for partial in partials.chunks_exact(partial_len) {
        add(gradients.bias, &partial[weight_len..]);
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

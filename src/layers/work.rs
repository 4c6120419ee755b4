//! Working memory that the layers of a network share, and the division of a batch into tasks.
//!
//! Convolutions divide a batch into tasks of some images (`task_images`), at most [`MOST_TASKS`], each with a
//! partial sum of the parameters' gradients; the partial sums are added in order (`add_partials`). The
//! division depends only on sizes, never on the number of threads, so every run gives the same bits.

use rayon::prelude::*;

use super::parameter::Gradients;
use crate::kernels::precision::Precision;
use crate::kernels::scratch::Scratch;
use crate::kernels::simd::vectorized;
use crate::tensor::Element;

/// The most tasks of a batch; each needs its own partial gradient.
pub const MOST_TASKS: usize = 16;

/// The images in one task of a batch: 16, in a batch of 128. Smaller tasks occupy more threads, but each task
/// copies the weights for its products; so a small batch has eight tasks, of at least four images, and a
/// large one at most [`MOST_TASKS`].
pub(super) fn task_images(batch: usize) -> usize {
    batch.div_ceil(8).clamp(4, 16).max(batch.div_ceil(MOST_TASKS))
}

/// Working memory, allocated once for the largest of the layers.
#[derive(Debug)]
pub struct Work<T> {
    /// A block for each thread, for the columns of a group of images.
    pub(super) scratch: Scratch<T>,
    /// A partial weight and bias gradient for each task.
    pub(super) partials: Vec<T>,
    /// A weight, transposed.
    pub(super) transposed: Vec<T>,
    /// The precision to which factors of products are rounded.
    pub(super) precision: Precision,
}

/// The working memory that a layer needs, in numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WorkLen {
    /// In each thread's block.
    pub scratch: usize,
    /// In each task's partial gradients.
    pub partials: usize,
    /// In the transposed weight.
    pub transposed: usize,
}

impl WorkLen {
    /// Enough for both.
    pub fn max(self, other: Self) -> Self {
        Self {
            scratch: self.scratch.max(other.scratch),
            partials: self.partials.max(other.partials),
            transposed: self.transposed.max(other.transposed),
        }
    }
}

impl<T: Element> Work<T> {
    /// Memory for layers that need at most this much.
    pub fn new(len: WorkLen) -> Self {
        Self {
            scratch: Scratch::new(len.scratch),
            partials: vec![T::ZERO; len.partials],
            transposed: vec![T::ZERO; len.transposed],
            precision: Precision::Single,
        }
    }

    /// The same memory for products in another precision. Layers of few channels stay in single precision
    /// (`patches`).
    #[must_use]
    pub fn in_precision(self, precision: Precision) -> Self {
        Self { precision, ..self }
    }
}

/// A length rounded up so that the next part of a shared buffer starts at a cache line.
pub(super) fn padded(len: usize) -> usize {
    len.next_multiple_of(16)
}

/// Numbers in one task of an element-wise loop: few enough for the first-level cache, enough to be worth a
/// task.
pub(super) const PIECE: usize = 4096;

/// Adds the tasks' partial gradients, `[task][weight … bias]`, in order.
pub(super) fn add_partials<T: Element>(partials: &[T], gradients: &mut Gradients<'_, T>) {
    let (weight_len, bias_len) = (gradients.weight.len(), gradients.bias.len());
    let partial_len = weight_len + bias_len;
    let accumulate = gradients.accumulate;
    gradients.weight.par_chunks_mut(PIECE).enumerate().for_each(|(piece, sum)| {
        if !accumulate {
            sum.fill(T::ZERO);
        }
        vectorized!({
            for partial in partials.chunks_exact(partial_len) {
                add(sum, &partial[piece * PIECE..][..sum.len()]);
            }
        });
    });
    gradients.bias.fill(T::ZERO);
    for partial in partials.chunks_exact(partial_len) {
        add(gradients.bias, &partial[weight_len..]);
    }
}

/// sum += values.
#[inline(always)]
pub(super) fn add<T: Element>(sum: &mut [T], values: &[T]) {
    for (s, &v) in sum.iter_mut().zip(values) {
        *s += v;
    }
}

/// sums[c] += Σ over rows of `values[row][c]`: the gradient of a bias that was added to every row.
pub(super) fn add_rows<T: Element>(values: &[T], sums: &mut [T]) {
    vectorized!(add_rows_here(values, sums));
}

#[inline(always)]
fn add_rows_here<T: Element>(values: &[T], sums: &mut [T]) {
    let width = sums.len();
    if width > BLOCK / 2 {
        return values.chunks_exact(width).for_each(|row| add(sums, row));
    }
    // Rows of few channels are combined to fill several vectors; otherwise each sum would wait for the
    // previous one.
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
pub(super) const BLOCK: usize = 64;

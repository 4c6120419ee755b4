//! The three products with image patches that a convolution and its transpose share.
//!
//! Let X̂ be the patches of the large side, `[places × K·K·C]`, R the small side's pixels as rows,
//! `[places × S]`, and W the weight, `[S × K·K·C]`. Both layers, forward and backward, are made of
//!
//! ```text
//! R  = X̂·Wᵀ          Patches::times              forward of a convolution, input gradient of its transpose
//! dW += Rᵀ·X̂         Patches::weight_gradient    the weight gradient of both
//! X  = im2colᵀ(R·W)   Patches::spread           input gradient of a convolution, forward of its transpose
//! ```
//!
//! There are four ways to compute them. Kernel, stride, channels, image size and precision decide:
//!
//! - **By Winograd's tiles**, if the kernel is 3×3 with stride 1, both channel counts are multiples of 16,
//!   the precision is not bf16, and the image is large enough: 16 multiplications instead of 36
//!   ([`tiles`](super::tiles)).
//! - **In place**, if both sides have 16 channels or more. A patch is then a few long runs of the image. The
//!   products read it there, region by region, so that almost nothing is multiplied by the padding's zeros
//!   ([`windows`](crate::kernels::windows)). The third product is computed as a convolution of the small side
//!   by the kernel's taps in reverse, phase by phase. The first product alone is in place too if only the
//!   large side has 16 channels or more.
//! - **By im2col and col2im**, the definition, if a side has fewer channels: the runs are then too short to
//!   read in place, and X̂ is small. A task's images are processed in groups, so small that their X̂ fits the
//!   scratch memory. These products are never in bf16: there is little to multiply.
//! - **By the reversed convolution**, only for the third product of the layers of the last kind: if the
//!   stride is 1 and only the small side has few channels, X is the convolution of the small side by the
//!   reversed kernel, by im2col.

use std::ops::Range;

use super::tiles::Tiles;
use super::work::{MOST_TASKS, WorkLen};
use crate::kernels::columns::{col2im, im2col};
use crate::kernels::gemm::{Matrix, MatrixMut, gemm, padded_stride, transpose};
use crate::kernels::geometry::Geometry;
use crate::kernels::precision::Precision;
use crate::kernels::scratch::Scratch;
use crate::tensor::Element;

/// With fewer channels than this on either side, im2col copies the patches.
const FEWEST_CHANNELS: usize = 16;

/// The columns of a group of images have at most about this many numbers (1 MiB in single precision): few
/// enough for the second- and third-level caches, and enough rows for fast products.
const GROUP_NUMBERS: usize = 256 * 1024;

/// The products of one layer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patches {
    pub(super) geometry: Geometry,
    /// S, the channels of the small side.
    pub(super) small_channels: usize,
    /// The precision of the products in place.
    pub(super) precision: Precision,
}

/// An image side: its rows, columns and channels.
#[derive(Clone, Copy)]
pub(super) struct Side {
    pub(super) height: usize,
    pub(super) width: usize,
    pub(super) channels: usize,
}

impl Side {
    pub(super) fn len(&self) -> usize {
        self.height * self.width * self.channels
    }
}

impl Patches {
    /// Between the large side of a geometry and `small_channels` on its small side.
    pub fn new(geometry: Geometry, small_channels: usize) -> Self {
        Self { geometry, small_channels, precision: Precision::Single }
    }

    /// The same products in another precision, if they are computed in place; otherwise unchanged.
    pub fn in_precision(self, precision: Precision) -> Self {
        if self.are_read_in_place() { Self { precision, ..self } } else { self }
    }

    fn are_read_in_place(&self) -> bool {
        self.geometry.channels.min(self.small_channels) >= FEWEST_CHANNELS
    }

    /// The reversed convolution, if [`Self::spread`] is computed by it: a convolution of the small side by
    /// the reversed kernel. It needs stride 1. If the small side has few channels and the large side many,
    /// its patches are much smaller than those that col2im would add up.
    fn reversed(&self) -> Option<Self> {
        let g = &self.geometry;
        let suits = g.stride == 1 && !self.are_read_in_place() && self.times_is_in_place();
        let padding = g.kernel_height.checked_sub(1 + g.padding)?;
        if !suits || g.kernel_height != g.kernel_width {
            return None;
        }
        let small = (g.small_height, g.small_width, self.small_channels);
        let geometry = Geometry::new(small, (g.kernel_height, g.kernel_width), 1, padding).ok()?;
        Some(Self { geometry, small_channels: g.channels, ..*self })
    }

    /// The tiles, if the products are computed by them. They are not in bf16, since rounding would lose more
    /// digits of transformed numbers.
    fn tiles(&self) -> Option<Tiles> {
        let suits = self.precision == Precision::Single && self.are_read_in_place();
        if suits { Tiles::new(self.geometry, self.small_channels) } else { None }
    }

    /// The multiplications of an image for each pair of a channel and a filter, in one product.
    pub fn multiplications(&self) -> usize {
        self.tiles().map_or_else(|| self.geometry.pairs(), |tiles| tiles.multiplications())
    }

    /// Whether [`Self::times`] reads patches in place, if not by tiles. The length of the runs depends on the
    /// large side's channels alone.
    fn times_is_in_place(&self) -> bool {
        self.geometry.channels >= FEWEST_CHANNELS
    }

    pub(super) fn large(&self) -> Side {
        let g = &self.geometry;
        Side { height: g.height, width: g.width, channels: g.channels }
    }

    pub(super) fn small(&self) -> Side {
        let g = &self.geometry;
        Side { height: g.small_height, width: g.small_width, channels: self.small_channels }
    }

    /// W as a matrix `[S × K·K·C]`.
    pub fn weight<'a, T: Element>(&self, weight: &'a [T]) -> Matrix<'a, T> {
        Matrix::new(weight, self.small_channels, self.geometry.patch_len())
    }

    /// The working memory of a layer with so many `biases`: columns or transformed tiles for each thread, a
    /// weight and a bias gradient for each task, and a transposed, arranged or transformed weight.
    pub fn work_len(&self, biases: usize) -> WorkLen {
        let weight = self.small_channels * self.geometry.patch_len();
        let columns = if self.are_read_in_place() { 0 } else { self.most_images() * self.columns_len() };
        let reversed = self.reversed().map_or(0, |reversed| reversed.most_images() * reversed.columns_len());
        let tiles = self.tiles();
        WorkLen {
            scratch: tiles.map_or(columns.max(reversed), |tiles| tiles.scratch_len()),
            partials: MOST_TASKS * (weight + biases),
            transposed: tiles.map_or(weight, |tiles| tiles.weight_len()),
        }
    }

    /// The numbers of an image's columns, with the gaps between rows.
    fn columns_len(&self) -> usize {
        self.geometry.places() * padded_stride(self.geometry.patch_len())
    }

    /// The most images in one group: at least one.
    fn most_images(&self) -> usize {
        (GROUP_NUMBERS / self.columns_len()).max(1)
    }

    /// The right factor of [`Self::times`], in `memory`: Wᵀ, or by tiles U.
    pub fn transposed<'a, T: Element>(&self, weight: &[T], memory: &'a mut [T]) -> Matrix<'a, T> {
        if let Some(tiles) = self.tiles() {
            return tiles.transposed(weight, memory);
        }
        transpose(self.weight(weight), memory)
    }

    /// R ← X̂·Wᵀ for a task's images, given [`Self::transposed`].
    pub fn times<T: Element>(&self, large: &[T], wt: Matrix<'_, T>, small: &mut [T], scratch: &Scratch<T>) {
        if let Some(tiles) = self.tiles() {
            return tiles.times(large, wt, small, scratch);
        }
        if self.times_is_in_place() {
            return self.times_in_place(large, wt, small);
        }
        self.for_each_group(large.len() / self.large().len(), scratch, |images, columns| {
            self.im2col(&large[images.of(self.large())], columns);
            self.times_columns(columns, wt, &mut small[images.of(self.small())]);
        });
    }

    /// dW += Rᵀ·X̂ for a task's images.
    pub fn weight_gradient<T: Element>(
        &self,
        small: &[T],
        large: &[T],
        dw: &mut MatrixMut<'_, T>,
        scratch: &Scratch<T>,
    ) {
        if let Some(tiles) = self.tiles() {
            return tiles.weight_gradient(small, large, dw, None, scratch);
        }
        if self.are_read_in_place() {
            return self.weight_gradient_in_place(small, large, dw);
        }
        self.for_each_group(large.len() / self.large().len(), scratch, |images, columns| {
            self.im2col(&large[images.of(self.large())], columns);
            self.weight_gradient_of_columns(&small[images.of(self.small())], columns, dw);
        });
    }

    /// Both of the above: dW += Rᵀ·X̂ for the pixels R of `small`, and `product` ← X̂·Wᵀ. By im2col, X̂ is
    /// made once for both.
    pub fn weight_gradient_and_times<T: Element>(
        &self,
        small: &[T],
        large: &[T],
        dw: &mut MatrixMut<'_, T>,
        (wt, product): (Matrix<'_, T>, &mut [T]),
        scratch: &Scratch<T>,
    ) {
        if let Some(tiles) = self.tiles() {
            tiles.weight_gradient(small, large, dw, None, scratch);
            return tiles.times(large, wt, product, scratch);
        }
        if self.are_read_in_place() {
            self.weight_gradient_in_place(small, large, dw);
            return self.times_in_place(large, wt, product);
        }
        self.for_each_group(large.len() / self.large().len(), scratch, |images, columns| {
            self.im2col(&large[images.of(self.large())], columns);
            self.weight_gradient_of_columns(&small[images.of(self.small())], columns, dw);
            self.times_columns(columns, wt, &mut product[images.of(self.small())]);
        });
    }

    /// dW += Rᵀ·X̂, and X ← im2colᵀ(R·W) into `spread`, given [`Self::arranged`]. By tiles, R is transformed
    /// once for both.
    pub fn weight_gradient_and_spread<T: Element>(
        &self,
        small: &[T],
        large: &[T],
        dw: &mut MatrixMut<'_, T>,
        (arranged, spread): (&[T], &mut [T]),
        scratch: &Scratch<T>,
    ) {
        if let Some(tiles) = self.tiles() {
            return tiles.weight_gradient(small, large, dw, Some((arranged, spread)), scratch);
        }
        self.weight_gradient(small, large, dw, scratch);
        self.spread(small, arranged, spread, scratch);
    }

    /// The right factor of [`Self::spread`], in `memory`. By tiles it is U. In place and by the reversed
    /// convolution it has the taps of each phase's window in order, `[tap row][tap column][S][C]` for a phase.
    /// By col2im it is W itself.
    pub fn arranged<'a, T: Element>(&self, weight: &'a [T], memory: &'a mut [T]) -> &'a [T] {
        if let Some(tiles) = self.tiles() {
            return tiles.arranged(weight, memory);
        }
        if !self.are_read_in_place() && self.reversed().is_none() {
            return weight;
        }
        let (g, channels) = (&self.geometry, self.geometry.channels);
        let memory = &mut memory[..weight.len()];
        let mut rows = memory.chunks_exact_mut(channels);
        for phase in g.phases() {
            for (y, x) in (0..phase.rows.taps).flat_map(|y| (0..phase.columns.taps).map(move |x| (y, x))) {
                let tap =
                    (phase.last_tap.0 - g.stride * y) * g.kernel_width + phase.last_tap.1 - g.stride * x;
                for kernel in weight.chunks_exact(g.patch_len()) {
                    let row = rows.next().expect("a tap is in one phase");
                    row.copy_from_slice(&kernel[tap * channels..][..channels]);
                }
            }
        }
        memory
    }

    /// X ← im2colᵀ(R·W) for a task's images, given [`Self::arranged`].
    pub fn spread<T: Element>(&self, small: &[T], arranged: &[T], large: &mut [T], scratch: &Scratch<T>) {
        if let Some(tiles) = self.tiles() {
            return tiles.spread(small, arranged, large, scratch);
        }
        if self.are_read_in_place() {
            return self.spread_in_place(small, arranged, large);
        }
        if let Some(reversed) = self.reversed() {
            let weight = Matrix::new(arranged, reversed.geometry.patch_len(), reversed.small_channels);
            return reversed.for_each_group(small.len() / self.small().len(), scratch, |images, columns| {
                reversed.im2col(&small[images.of(self.small())], columns);
                reversed.times_columns(columns, weight, &mut large[images.of(self.large())]);
            });
        }
        large.fill(T::ZERO);
        let (patch_len, row_stride) = (self.geometry.patch_len(), padded_stride(self.geometry.patch_len()));
        self.for_each_group(large.len() / self.large().len(), scratch, |images, columns| {
            let small = &small[images.of(self.small())];
            let rows = small.len() / self.small_channels;
            let mut product = MatrixMut::strided(columns, rows, patch_len, row_stride);
            gemm(Matrix::new(small, rows, self.small_channels), self.weight(arranged), T::ZERO, &mut product);
            let large = large[images.of(self.large())].chunks_exact_mut(self.large().len());
            for (image, columns) in large.zip(columns.chunks_exact(self.columns_len())) {
                col2im(&self.geometry, columns, row_stride, image);
            }
        });
    }
}

/// By im2col and col2im.
impl Patches {
    /// Calls `visit` for each group of a task's images, with memory for the group's columns.
    fn for_each_group<T: Element>(
        &self,
        images: usize,
        scratch: &Scratch<T>,
        mut visit: impl FnMut(Images, &mut [T]),
    ) {
        let groups = images.div_ceil(self.most_images());
        let at_once = images.div_ceil(groups.max(1));
        scratch.with(at_once * self.columns_len(), |columns| {
            for first in (0..images).step_by(at_once) {
                let images = Images { first, count: at_once.min(images - first) };
                visit(images, &mut columns[..images.count * self.columns_len()]);
            }
        });
    }

    fn im2col<T: Element>(&self, large: &[T], columns: &mut [T]) {
        let row_stride = padded_stride(self.geometry.patch_len());
        let images = large.chunks_exact(self.large().len());
        for (image, columns) in images.zip(columns.chunks_exact_mut(self.columns_len())) {
            im2col(&self.geometry, image, columns, row_stride);
        }
    }

    fn columns<'a, T: Element>(&self, columns: &'a [T]) -> Matrix<'a, T> {
        let (patch_len, row_stride) = (self.geometry.patch_len(), padded_stride(self.geometry.patch_len()));
        Matrix::strided(columns, columns.len() / row_stride, patch_len, row_stride)
    }

    fn times_columns<T: Element>(&self, columns: &[T], wt: Matrix<'_, T>, small: &mut [T]) {
        let rows = small.len() / self.small_channels;
        gemm(self.columns(columns), wt, T::ZERO, &mut MatrixMut::new(small, rows, self.small_channels));
    }

    fn weight_gradient_of_columns<T: Element>(&self, small: &[T], columns: &[T], dw: &mut MatrixMut<'_, T>) {
        let rows = Matrix::new(small, small.len() / self.small_channels, self.small_channels);
        gemm(rows.transposed(), self.columns(columns), T::ONE, dw);
    }
}

/// Some images of a task.
#[derive(Clone, Copy)]
struct Images {
    first: usize,
    count: usize,
}

impl Images {
    /// Their position among the task's images.
    fn of(self, side: Side) -> Range<usize> {
        self.first * side.len()..(self.first + self.count) * side.len()
    }
}

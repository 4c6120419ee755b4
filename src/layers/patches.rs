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
//! There are two ways, and the number of channels decides ([`Patches::are_read_in_place`]):
//!
//! - **In place.** With many channels a patch is a few long runs of the image. The products read it there, region by region, so that
//!   nothing is multiplied by the padding's zeros ([`windows`](crate::kernels::windows)). The third product is a convolution too, of the small side by the
//!   kernel's taps in reverse, phase by phase.
//! - **By im2col and col2im**, the definition: with few channels the runs are too short for that, and X̂ is small. A task's images are taken in groups,
//!   of which X̂ fits the scratch. These products are always in single precision: there is little to multiply.

use std::ops::Range;

use super::work::{MOST_TASKS, WorkLen};
use crate::kernels::columns::{col2im, im2col};
use crate::kernels::dispatch::product_of_parts;
use crate::kernels::factors::{Left, Part, Right, Rows};
use crate::kernels::gemm::{Matrix, MatrixMut, gemm, padded_stride, transpose};
use crate::kernels::geometry::Geometry;
use crate::kernels::grid::Grid;
use crate::kernels::precision::Precision;
use crate::kernels::scratch::Scratch;
use crate::kernels::windows::{Phase, Region, regions};
use crate::tensor::Element;

/// With fewer channels than this on either side, patches are copied.
const FEWEST_CHANNELS: usize = 16;

/// The columns of a group have about this many numbers (1 MiB in single precision): they fit into the second-
/// and third-level caches, and the products have enough rows.
const GROUP_NUMBERS: usize = 256 * 1024;

/// The most regions that share one copy of the weight.
const MOST_PARTS: usize = 9;

/// The products of one layer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patches {
    geometry: Geometry,
    /// S, the channels of the small side.
    small_channels: usize,
    /// The precision of the products in place.
    precision: Precision,
}

/// An image side: its rows, columns and channels.
#[derive(Clone, Copy)]
struct Side {
    height: usize,
    width: usize,
    channels: usize,
}

impl Side {
    fn len(&self) -> usize {
        self.height * self.width * self.channels
    }
}

impl Patches {
    /// Between the large side of a geometry and `small_channels` on its small side.
    pub fn new(geometry: Geometry, small_channels: usize) -> Self {
        Self { geometry, small_channels, precision: Precision::Single }
    }

    /// The same products with their factors rounded, if they are read in place.
    pub fn in_precision(self, precision: Precision) -> Self {
        if self.are_read_in_place() { Self { precision, ..self } } else { self }
    }

    fn are_read_in_place(&self) -> bool {
        self.geometry.channels.min(self.small_channels) >= FEWEST_CHANNELS
    }

    /// Whether [`Self::times`] reads patches in place: that has long runs whatever the small side's channels, and the same sums.
    fn times_is_in_place(&self) -> bool {
        self.geometry.channels >= FEWEST_CHANNELS
    }

    fn large(&self) -> Side {
        let g = &self.geometry;
        Side { height: g.height, width: g.width, channels: g.channels }
    }

    fn small(&self) -> Side {
        let g = &self.geometry;
        Side { height: g.small_height, width: g.small_width, channels: self.small_channels }
    }

    /// W as a matrix `[S × K·K·C]`.
    pub fn weight<'a, T: Element>(&self, weight: &'a [T]) -> Matrix<'a, T> {
        Matrix::new(weight, self.small_channels, self.geometry.patch_len())
    }

    /// The working memory of a layer with `biases`: columns for each thread, a weight and bias gradient for
    /// each task, and an arranged weight.
    pub fn work_len(&self, biases: usize) -> WorkLen {
        let weight = self.small_channels * self.geometry.patch_len();
        let scratch = if self.are_read_in_place() { 0 } else { self.most_images() * self.columns_len() };
        WorkLen { scratch, partials: MOST_TASKS * (weight + biases), transposed: weight }
    }

    /// The numbers of an image's columns, with the gaps between rows.
    fn columns_len(&self) -> usize {
        self.geometry.places() * padded_stride(self.geometry.patch_len())
    }

    /// The most images in one group.
    fn most_images(&self) -> usize {
        (GROUP_NUMBERS / self.columns_len()).max(1)
    }

    /// The right factor of [`Self::times`]: Wᵀ, in `memory`.
    pub fn transposed<'a, T: Element>(&self, weight: &[T], memory: &'a mut [T]) -> Matrix<'a, T> {
        transpose(self.weight(weight), memory)
    }

    /// R ← X̂·Wᵀ for a task's images, given [`Self::transposed`].
    pub fn times<T: Element>(&self, large: &[T], wt: Matrix<'_, T>, small: &mut [T], scratch: &Scratch<T>) {
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
        if self.are_read_in_place() {
            return self.weight_gradient_in_place(small, large, dw);
        }
        self.for_each_group(large.len() / self.large().len(), scratch, |images, columns| {
            self.im2col(&large[images.of(self.large())], columns);
            self.weight_gradient_of_columns(&small[images.of(self.small())], columns, dw);
        });
    }

    /// Both of the above with one X̂: dW += Rᵀ·X̂ for the pixels R of `small`, and `product` ← X̂·Wᵀ.
    pub fn weight_gradient_and_times<T: Element>(
        &self,
        small: &[T],
        large: &[T],
        dw: &mut MatrixMut<'_, T>,
        (wt, product): (Matrix<'_, T>, &mut [T]),
        scratch: &Scratch<T>,
    ) {
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

    /// What [`Self::spread`] multiplies by, in `memory`. In place, that is for each phase the taps that its window sees, first to last:
    /// `[tap row][tap column][S][C]`. By columns it is W.
    pub fn arranged<'a, T: Element>(&self, weight: &'a [T], memory: &'a mut [T]) -> &'a [T] {
        if !self.are_read_in_place() {
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
        if self.are_read_in_place() {
            return self.spread_in_place(small, arranged, large);
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
    /// Calls `visit` for the images of a task, a group of them at a time, with room for their columns.
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

/// In place.
impl Patches {
    fn times_in_place<T: Element>(&self, large: &[T], wt: Matrix<'_, T>, small: &mut [T]) {
        let (rows, columns) = self.geometry.windows();
        let images = large.len() / self.large().len();
        let source = Source {
            data: large,
            side: self.large(),
            images,
            step: self.geometry.stride,
            taps: columns.taps,
        };
        let parts = regions(rows, columns).map(|region| Part {
            left: source.left(&region),
            rows: places(&region, images, self.small(), (0, 0), 1),
        });
        let mut c = MatrixMut::new(small, images * self.geometry.places(), self.small_channels);
        in_groups(self.precision, parts, Right::from(wt), &mut c);
    }

    /// For each row of the kernel, the places at which it lies inside the image, over the whole width.
    /// Numbers beyond the left and right edge count as zeros: longer chains of additions gain more than those
    /// zeros cost.
    fn weight_gradient_in_place<T: Element>(&self, small: &[T], large: &[T], dw: &mut MatrixMut<'_, T>) {
        let (g, side) = (&self.geometry, self.large());
        let images = large.len() / side.len();
        let (line_len, run) = (side.width * side.channels, g.kernel_width * side.channels);
        for tap in 0..g.kernel_height {
            // Place y sees row y·S + tap − P.
            let from = g.padding.saturating_sub(tap).div_ceil(g.stride);
            let to = (side.height + g.padding).saturating_sub(tap).div_ceil(g.stride).min(g.small_height);
            if from >= to {
                continue;
            }
            let lines = Grid {
                first: (from * g.stride + tap - g.padding) * line_len,
                images,
                image_stride: side.len(),
                height: to - from,
                row_stride: g.stride * line_len,
                width: g.small_width,
                place_stride: g.stride * side.channels,
            };
            let patches = Right::Padded {
                rows: Rows::new(large, lines, run),
                offset: -((g.padding * side.channels) as isize),
                line_len,
            };
            let pixels = Grid {
                first: from * g.small_width,
                images,
                image_stride: g.places(),
                height: to - from,
                row_stride: g.small_width,
                width: g.small_width,
                place_stride: 1,
            };
            let left = Left::Columns(Rows::new(
                small,
                pixels.times(self.small_channels).merged(),
                self.small_channels,
            ));
            let part = Part { left, rows: Grid::line(self.small_channels, 1) };
            product_of_parts(
                self.precision,
                &[part],
                patches,
                T::ONE,
                &mut dw.column_range(tap * run..(tap + 1) * run),
            );
        }
    }

    fn spread_in_place<T: Element>(&self, small: &[T], arranged: &[T], large: &mut [T]) {
        let (stride, channels) = (self.geometry.stride, self.geometry.channels);
        let images = large.len() / self.large().len();
        let mut c = MatrixMut::new(large, images * self.geometry.height * self.geometry.width, channels);
        let mut rest = arranged;
        for Phase { first, rows, columns, .. } in self.geometry.phases() {
            let depth = rows.taps * columns.taps * self.small_channels;
            let (weight, after) = rest.split_at(depth * channels);
            rest = after;
            let source = Source { data: small, side: self.small(), images, step: 1, taps: columns.taps };
            let parts = regions(rows, columns).map(|region| Part {
                left: source.left(&region),
                rows: places(&region, images, self.large(), first, stride),
            });
            in_groups(self.precision, parts, Right::from(Matrix::new(weight, depth, channels)), &mut c);
        }
    }
}

/// The rows of a matrix for the places of a region, one for each pixel of a side: every `stride`-th pixel
/// from `first` on.
fn places(region: &Region, images: usize, side: Side, first: (usize, usize), stride: usize) -> Grid {
    let (rows, columns) = (&region.rows.places, &region.columns.places);
    Grid {
        first: (first.0 + stride * rows.start) * side.width + first.1 + stride * columns.start,
        images,
        image_stride: side.height * side.width,
        height: rows.len(),
        row_stride: stride * side.width,
        width: columns.len(),
        place_stride: stride,
    }
}

/// Images over which windows slide.
#[derive(Clone, Copy)]
struct Source<'a, T> {
    data: &'a [T],
    side: Side,
    images: usize,
    /// Pixels from one place to the next.
    step: usize,
    /// The taps in a row of the window.
    taps: usize,
}

impl<'a, T: Element> Source<'a, T> {
    /// The patches at a region's places: a run for each row of taps.
    fn patches(&self, region: &Region) -> Rows<'a, T> {
        let Side { width, channels, .. } = self.side;
        let grid = Grid {
            first: (region.rows.first_pixel * width + region.columns.first_pixel) * channels,
            images: self.images,
            image_stride: self.side.len(),
            height: region.rows.places.len(),
            row_stride: self.step * width * channels,
            width: region.columns.places.len(),
            place_stride: self.step * channels,
        };
        let run = region.columns.taps.len() * channels;
        Rows {
            segments: region.rows.taps.len(),
            segment_stride: width * channels,
            ..Rows::new(self.data, grid, run)
        }
    }

    /// The row of the weight, or the column of its gradient, at which a run of the patches begins.
    fn depth(&self, region: &Region, segment: usize) -> usize {
        ((region.rows.taps.start + segment) * self.taps + region.columns.taps.start) * self.side.channels
    }

    /// The patches as a left factor.
    fn left(&self, region: &Region) -> Left<'a, T> {
        let (first_depth, depth_stride) = (self.depth(region, 0), self.taps * self.side.channels);
        Left::Rows { rows: self.patches(region), first_depth, depth_stride }
    }
}

/// Multiplies some parts at a time.
fn in_groups<'a, T: Element>(
    precision: Precision,
    mut parts: impl Iterator<Item = Part<'a, T>>,
    b: Right<'_, T>,
    c: &mut MatrixMut<'_, T>,
) {
    while let Some(first) = parts.next() {
        let mut group = [first; MOST_PARTS];
        let mut count = 1;
        for (place, part) in group[1..].iter_mut().zip(&mut parts) {
            *place = part;
            count += 1;
        }
        product_of_parts(precision, &group[..count], b, T::ZERO, c);
    }
}

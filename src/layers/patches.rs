//! What a convolution and its transpose share: the columns of a task's images, region by region, and the three products with them.
//!
//! Let X̂ = im2col(large side), `[places × K·K·C]`, a matrix R of the small side's pixels, `[places × S]`, and the weight W,
//! `[S × K·K·C]`. Both layers, forward and backward, are made of
//!
//! ```text
//! R  = X̂·Wᵀ      Columns::times                 forward of a convolution, input gradient of its transpose
//! dW += Rᵀ·X̂     Columns::add_weight_gradient   the weight gradient of both
//! X̂  = R·W       Columns::assign_product        what col2im adds up: input gradient of a convolution, forward of its transpose
//! ```
//!
//! Each multiplies only the blocks of X̂ that are not zero (see [`regions`](crate::kernels::regions)). For that, a task takes its images
//! region by region, and of a region as many images at once as fit the scratch. The more images, the fewer times W is
//! copied for a product.

use std::ops::Range;

use super::work::{MOST_TASKS, WorkLen};
use crate::kernels::columns::{col2im, im2col};
use crate::kernels::gemm::{Matrix, MatrixMut, gemm, padded_stride};
use crate::kernels::geometry::Geometry;
use crate::kernels::regions::Region;
use crate::kernels::scratch::Scratch;
use crate::tensor::Element;

/// A group has about this many numbers of columns and rows (1 MiB in single precision): the second- and third-level caches hold it, and
/// its products have rows enough. (With half of it, a step of the article preset took 3 % longer, with a quarter 6 %.)
const GROUP_NUMBERS: usize = 256 * 1024;

/// The most images of a region in one group.
fn most_images(geometry: &Geometry, region: &Region, small_channels: usize) -> usize {
    (GROUP_NUMBERS / image_len(geometry, region, small_channels)).max(1)
}

/// The numbers of scratch that a region of one image takes: its columns, with the gaps, and its gathered rows.
fn image_len(geometry: &Geometry, region: &Region, small_channels: usize) -> usize {
    region.places() * (padded_stride(geometry.patch_len()) + small_channels)
}

/// The working memory of a layer of this geometry: scratch for [`for_each_group`], a weight and bias gradient for each task, and a
/// transposed weight.
pub(super) fn work_len(geometry: &Geometry, small_channels: usize, biases: usize) -> WorkLen {
    let len = |region| {
        most_images(geometry, &region, small_channels) * image_len(geometry, &region, small_channels)
    };
    let weight = small_channels * geometry.patch_len();
    WorkLen {
        scratch: geometry.regions().map(len).max().unwrap_or(0),
        partials: MOST_TASKS * (weight + biases),
        transposed: weight,
    }
}

/// Calls `visit` for every region of a task's `images` images, a group of them at a time.
pub(super) fn for_each_group<T: Element>(
    geometry: &Geometry,
    small_channels: usize,
    images: usize,
    scratch: &Scratch<T>,
    mut visit: impl FnMut(Columns<'_, T>, Rows<'_, T>),
) {
    let row_stride = padded_stride(geometry.patch_len());
    for region in geometry.regions() {
        let groups = images.div_ceil(most_images(geometry, &region, small_channels));
        let at_once = images.div_ceil(groups.max(1));
        scratch.with(at_once * image_len(geometry, &region, small_channels), |scratch| {
            for first in (0..images).step_by(at_once) {
                let images = first..(first + at_once).min(images);
                let places = images.len() * region.places();
                let (columns, rows) = scratch.split_at_mut(places * row_stride);
                let rows = &mut rows[..places * small_channels];
                visit(
                    Columns {
                        geometry,
                        region: &region,
                        images: images.clone(),
                        numbers: columns,
                        row_stride,
                    },
                    Rows { geometry, region: &region, images, numbers: rows, channels: small_channels },
                );
            }
        });
    }
}

/// X̂: the columns of a group.
pub(super) struct Columns<'a, T> {
    geometry: &'a Geometry,
    region: &'a Region,
    images: Range<usize>,
    numbers: &'a mut [T],
    row_stride: usize,
}

impl<T: Element> Columns<'_, T> {
    /// X̂ ← im2col of the group's images; `large` has all of the task's.
    pub fn im2col(&mut self, large: &[T]) {
        let image_len = self.geometry.large_len();
        let images =
            large[self.images.start * image_len..self.images.end * image_len].chunks_exact(image_len);
        for (image, columns) in
            images.zip(self.numbers.chunks_exact_mut(self.region.places() * self.row_stride))
        {
            im2col(self.geometry, self.region, image, columns, self.row_stride);
        }
    }

    /// Adds X̂ to the group's images: col2im.
    pub fn col2im(&self, large: &mut [T]) {
        let image_len = self.geometry.large_len();
        let images =
            large[self.images.start * image_len..self.images.end * image_len].chunks_exact_mut(image_len);
        for (image, columns) in images.zip(self.numbers.chunks_exact(self.region.places() * self.row_stride))
        {
            col2im(self.geometry, self.region, columns, self.row_stride, image);
        }
    }

    /// The group's places: the rows of the matrix.
    fn places(&self) -> usize {
        self.images.len() * self.region.places()
    }

    fn matrix(&self) -> Matrix<'_, T> {
        Matrix::strided(self.numbers, self.places(), self.geometry.patch_len(), self.row_stride)
    }

    /// rows ← X̂·Wᵀ, given Wᵀ.
    pub fn times(&self, transposed_weight: Matrix<'_, T>, rows: &mut MatrixMut<'_, T>) {
        let mut beta = T::ZERO; // the first block overwrites
        for block in self.region.blocks(self.geometry) {
            let columns = self.matrix().column_range(block.clone());
            gemm(columns, transposed_weight.row_range(block), beta, rows);
            beta = T::ONE;
        }
    }

    /// dW += rowsᵀ·X̂.
    pub fn add_weight_gradient(&self, rows: Matrix<'_, T>, d_weight: &mut MatrixMut<'_, T>) {
        for block in self.region.blocks(self.geometry) {
            let d_weight = &mut d_weight.column_range(block.clone());
            gemm(rows.transposed(), self.matrix().column_range(block), T::ONE, d_weight);
        }
    }

    /// X̂ ← rows·W.
    pub fn assign_product(&mut self, rows: Matrix<'_, T>, weight: Matrix<'_, T>) {
        let (places, patch_len) = (self.places(), self.geometry.patch_len());
        let mut columns = MatrixMut::strided(self.numbers, places, patch_len, self.row_stride);
        for block in self.region.blocks(self.geometry) {
            gemm(rows, weight.column_range(block.clone()), T::ZERO, &mut columns.column_range(block));
        }
    }
}

/// R: a group's pixels of the small side as rows. They are where they are if the region is everything, else in the scratch.
pub(super) struct Rows<'a, T> {
    geometry: &'a Geometry,
    region: &'a Region,
    images: Range<usize>,
    numbers: &'a mut [T],
    channels: usize,
}

impl<T: Element> Rows<'_, T> {
    /// The rows; `small` has all of the task's images.
    pub fn gather<'s>(&'s mut self, small: &'s [T]) -> Matrix<'s, T> {
        let small = &small[self.range()];
        let rows = self.images.len() * self.region.places();
        if self.region.is_everything(self.geometry) {
            return Matrix::new(small, rows, self.channels);
        }
        self.region.gather(self.geometry, self.channels, small, self.numbers);
        Matrix::new(self.numbers, rows, self.channels)
    }

    /// Lets `write` make the rows and puts them where they belong.
    pub fn write(&mut self, small: &mut [T], write: impl FnOnce(&mut [T])) {
        let small = &mut small[self.range()];
        if self.region.is_everything(self.geometry) {
            return write(small);
        }
        write(self.numbers);
        self.region.scatter(self.geometry, self.channels, self.numbers, small);
    }

    /// Where the group's images lie in a task's.
    fn range(&self) -> Range<usize> {
        let image_len = self.geometry.places() * self.channels;
        self.images.start * image_len..self.images.end * image_len
    }
}

//! The products of [`Patches`] in place: they read patches in the image, region by region. A region is all
//! places whose windows have the same taps inside the image ([`windows`](crate::kernels::windows)).

use super::patches::{Patches, Side};
use crate::kernels::dispatch::product_of_parts;
use crate::kernels::factors::{Left, Part, Right, Rows};
use crate::kernels::gemm::{Matrix, MatrixMut};
use crate::kernels::grid::Grid;
use crate::kernels::precision::Precision;
use crate::kernels::windows::{Phase, Region, regions};
use crate::tensor::Element;

/// The most regions that are multiplied at a time, with one copy of the weight in the cache.
const MOST_PARTS: usize = 9;

impl Patches {
    /// R ← X̂·Wᵀ: each region's patches, times the rows of Wᵀ for the taps that are inside the image there.
    pub(super) fn times_in_place<T: Element>(&self, large: &[T], wt: Matrix<'_, T>, small: &mut [T]) {
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

    /// dW += Rᵀ·X̂, one row of the kernel at a time: a product over all places at which that row is inside
    /// the image. Pixels beyond the left and right edges count as zeros, since leaving them out would divide
    /// the sums over places into shorter ones, which costs more than multiplying by those zeros.
    pub(super) fn weight_gradient_in_place<T: Element>(
        &self,
        small: &[T],
        large: &[T],
        dw: &mut MatrixMut<'_, T>,
    ) {
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

    /// X ← im2colᵀ(R·W) given [`Patches::arranged`]: for each phase of X's pixels, a convolution of the small
    /// side by the taps that reach these pixels. Each pixel of X is written once.
    pub(super) fn spread_in_place<T: Element>(&self, small: &[T], arranged: &[T], large: &mut [T]) {
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

/// The rows of a matrix that belong to a region's places. The matrix has one row for each pixel of a side,
/// and the places are every `stride`-th pixel from `first` on.
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

    /// The row of the right factor that the first number of a run of the patches is multiplied by.
    fn depth(&self, region: &Region, segment: usize) -> usize {
        ((region.rows.taps.start + segment) * self.taps + region.columns.taps.start) * self.side.channels
    }

    /// The patches as a left factor.
    fn left(&self, region: &Region) -> Left<'a, T> {
        let (first_depth, depth_stride) = (self.depth(region, 0), self.taps * self.side.channels);
        Left::Rows { rows: self.patches(region), first_depth, depth_stride }
    }
}

/// C ← the product of all parts with B, at most [`MOST_PARTS`] of them at a time.
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

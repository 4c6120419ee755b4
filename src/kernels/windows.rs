//! The pixels that a kernel window sees at each place of an image: convolutions and their transposes without
//! zeros.
//!
//! Along one side of an image, the window at place t covers the pixels `t·step + offset + k`, k < taps. At
//! the edges a part of it lies outside the image, and there is nothing to multiply. Neighbouring places that
//! see the same taps form a *span*, and a span of rows with a span of columns a rectangle of places with the
//! same taps: a [`Region`]. Its patches have no zeros.
//!
//! Both directions of a convolution are windows on an image:
//!
//! - Forward, place o sees pixel o·S + k − P of the large side ([`Geometry::windows`]).
//! - Backward, the gradient of the large pixel i sums over every place o with o·S + k − P = i, so k ≡ i + P
//!   (mod S): pixels of one *phase* `i mod S` see the same taps k₀, k₀ + S, …. With i = S·t + p, tap k₀ + S·q
//!   is at o = t + (p + P − k₀)/S − q: a window of step 1 on the small side, whose taps count down
//!   ([`Geometry::phases`]). No zeros are inserted and nothing is accumulated in memory. The article's
//!   transposed convolution is the same, forward.

use std::ops::Range;

use super::geometry::Geometry;

/// Windows along one side of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// The places.
    pub places: usize,
    /// The distance in pixels from one place to the next.
    pub step: usize,
    /// The pixel that the first place's first tap sees; negative in the padding.
    pub offset: isize,
    /// The taps.
    pub taps: usize,
    /// The pixels of the side.
    pub size: usize,
}

/// Places that see the same taps, along one side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// The places.
    pub places: Range<usize>,
    /// The taps that see a pixel there.
    pub taps: Range<usize>,
    /// The pixel that the first place's first of these taps sees; 0 without taps.
    pub first_pixel: usize,
}

impl Window {
    /// The taps that see a pixel at a place.
    fn taps_inside(&self, place: usize) -> Range<usize> {
        let start = place as isize * self.step as isize + self.offset;
        let from = (-start).clamp(0, self.taps as isize) as usize;
        let to = (self.size as isize - start).clamp(0, self.taps as isize) as usize;
        if from < to { from..to } else { 0..0 }
    }

    /// The spans, in order. Every place is in exactly one.
    pub fn spans(&self) -> impl Iterator<Item = Span> + Clone + use<> {
        let window = *self;
        let mut next = 0;
        std::iter::from_fn(move || {
            let first = next;
            if first == window.places {
                return None;
            }
            let taps = window.taps_inside(first);
            while next < window.places && window.taps_inside(next) == taps {
                next += 1;
            }
            let pixel = first as isize * window.step as isize + window.offset + taps.start as isize;
            let first_pixel = if taps.is_empty() { 0 } else { pixel as usize };
            Some(Span { places: first..next, taps, first_pixel })
        })
    }
}

/// A rectangle of places with the same taps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Region {
    /// Along the rows.
    pub rows: Span,
    /// Along the columns.
    pub columns: Span,
}

/// The regions of windows along both sides.
pub fn regions(rows: Window, columns: Window) -> impl Iterator<Item = Region> {
    rows.spans()
        .flat_map(move |rows| columns.spans().map(move |columns| Region { rows: rows.clone(), columns }))
}

/// Every S-th pixel of the large side, along both sides, and the windows on the small side that its gradient
/// sums over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Phase {
    /// The first pixel's row and column.
    pub first: (usize, usize),
    /// Along the rows; its places are the phase's pixels.
    pub rows: Window,
    /// Along the columns.
    pub columns: Window,
    /// The kernel rows of the window's taps, from the last down: `last_tap − S·tap`; the same for its
    /// columns.
    pub last_tap: (usize, usize),
}

impl Geometry {
    /// The convolution's windows on the large side, along rows and columns.
    pub fn windows(&self) -> (Window, Window) {
        let window = |places, taps, size| Window {
            places,
            step: self.stride,
            offset: -(self.padding as isize),
            taps,
            size,
        };
        (
            window(self.small_height, self.kernel_height, self.height),
            window(self.small_width, self.kernel_width, self.width),
        )
    }

    /// The phases of the large side. Every pixel is in one, and every tap of the kernel in one.
    pub fn phases(&self) -> impl Iterator<Item = Phase> + use<> {
        let g = *self;
        (0..g.stride.min(g.height)).flat_map(move |y| {
            (0..g.stride.min(g.width)).map(move |x| {
                let (rows, last_row) = g.phase(y, g.kernel_height, g.height, g.small_height);
                let (columns, last_column) = g.phase(x, g.kernel_width, g.width, g.small_width);
                Phase { first: (y, x), rows, columns, last_tap: (last_row, last_column) }
            })
        })
    }

    /// A phase along one side, and the kernel tap of the window's first tap.
    fn phase(&self, first: usize, kernel: usize, large: usize, small: usize) -> (Window, usize) {
        let first_tap = (first + self.padding) % self.stride;
        let taps = kernel.saturating_sub(first_tap).div_ceil(self.stride);
        let last_tap = first_tap + taps.saturating_sub(1) * self.stride;
        let offset = (first + self.padding) as isize - last_tap as isize;
        let window = Window {
            places: (large - first).div_ceil(self.stride),
            step: 1,
            offset: offset.div_euclid(self.stride as isize),
            taps,
            size: small,
        };
        (window, last_tap)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn geometries() -> impl Iterator<Item = Geometry> {
        let sizes = [
            (14, 4, 2, 1),
            (7, 3, 1, 1),
            (5, 5, 1, 4),
            (33, 4, 2, 1),
            (8, 2, 2, 0),
            (2, 4, 2, 1),
            (3, 5, 2, 2),
        ];
        let odd = [(1, 3, 1, 2), (9, 2, 3, 0), (10, 3, 4, 1), (11, 5, 3, 2), (4, 1, 3, 0)];
        sizes.into_iter().chain(odd).map(|(size, kernel, stride, padding)| {
            Geometry::new((size, size + 1, 1), (kernel, kernel), stride, padding).unwrap()
        })
    }

    /// All pairs of a place and a tap that sees a pixel, with that pixel, along one side.
    fn seen(window: &Window) -> Vec<(usize, usize, usize)> {
        let all = |span: Span| {
            let step = window.step;
            let taps = span.taps.clone();
            span.places.clone().flat_map(move |place| {
                let (span, taps) = (span.clone(), taps.clone());
                taps.clone().map(move |tap| {
                    (place, tap, span.first_pixel + (place - span.places.start) * step + tap - taps.start)
                })
            })
        };
        window.spans().flat_map(all).collect()
    }

    #[test]
    fn a_window_sees_the_pixels_of_the_formula() {
        for g in geometries() {
            let (rows, columns) = g.windows();
            for (window, size, places, kernel) in [
                (rows, g.height, g.small_height, g.kernel_height),
                (columns, g.width, g.small_width, g.kernel_width),
            ] {
                let expected: Vec<_> = (0..places)
                    .flat_map(|place| (0..kernel).map(move |tap| (place, tap)))
                    .filter_map(|(place, tap)| {
                        let pixel = (place * g.stride + tap).checked_sub(g.padding)?;
                        (pixel < size).then_some((place, tap, pixel))
                    })
                    .collect();
                assert_eq!(seen(&window), expected, "{g:?}");
            }
        }
    }

    #[test]
    fn phases_are_the_same_pairs_from_the_other_side() {
        for g in geometries() {
            let mut forward: Vec<_> = seen(&g.windows().0);
            let mut backward: Vec<_> = g
                .phases()
                .filter(|phase| phase.first.1 == 0)
                .flat_map(|phase| {
                    let pixel = move |(place, tap, small): (usize, usize, usize)| {
                        (small, phase.last_tap.0 - g.stride * tap, phase.first.0 + g.stride * place)
                    };
                    seen(&phase.rows).into_iter().map(pixel)
                })
                .collect();
            forward.sort_unstable();
            backward.sort_unstable();
            assert_eq!(forward, backward, "{g:?}");
            let pixels: usize = g.phases().map(|phase| phase.rows.places * phase.columns.places).sum();
            assert_eq!(pixels, g.height * g.width, "{g:?}");
        }
    }

    #[test]
    fn regions_of_a_4x4_kernel_are_corners_edges_and_the_middle() {
        let g = Geometry::new((14, 14, 1), (4, 4), 2, 1).unwrap();
        let (rows, columns) = g.windows();
        let spans: Vec<_> = rows.spans().map(|span| (span.places, span.taps, span.first_pixel)).collect();
        assert_eq!(spans, [(0..1, 1..4, 0), (1..6, 0..4, 1), (6..7, 0..3, 11)]);
        assert_eq!(regions(rows, columns).count(), 9);
    }
}

//! Where the rows of a matrix lie, if they are pixels of images.
//!
//! A convolution multiplies patches of images. In a channels-last image the patches of neighbouring places begin a few pixels apart, those
//! of the next row of places a few rows of the image apart, those of the next image an image apart. A [`Grid`] says just that. A product
//! that takes its rows from a grid reads patches where they are, and writes pixels where they belong.

use std::ops::Range;

/// The starts of a matrix's rows in a slice, or their numbers among the rows of another matrix: `images` × `height` × `width` places, row-major, each step with a stride of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grid {
    /// Where the first row begins.
    pub first: usize,
    /// The images.
    pub images: usize,
    /// From one image to the next.
    pub image_stride: usize,
    /// The rows of places in an image.
    pub height: usize,
    /// From one row of places to the next.
    pub row_stride: usize,
    /// The places in a row.
    pub width: usize,
    /// From one place to the next.
    pub place_stride: usize,
}

impl Grid {
    /// The rows of a plain matrix, `stride` apart.
    pub fn line(rows: usize, stride: usize) -> Self {
        Self {
            first: 0,
            images: 1,
            image_stride: 0,
            height: 1,
            row_stride: 0,
            width: rows,
            place_stride: stride,
        }
    }

    /// The rows of the matrix.
    pub fn rows(&self) -> usize {
        self.images * self.height * self.width
    }

    /// The grid of the same places where each is `factor` numbers long.
    pub fn times(&self, factor: usize) -> Self {
        Self {
            first: self.first * factor,
            image_stride: self.image_stride * factor,
            row_stride: self.row_stride * factor,
            place_stride: self.place_stride * factor,
            ..*self
        }
    }

    /// Where R rows begin, from `row` on. What lies beyond the last row continues the pattern.
    #[inline(always)]
    pub(super) fn starts<const R: usize>(&self, row: usize) -> [usize; R] {
        if self.height * self.images == 1 {
            return std::array::from_fn(|r| self.first + (row + r) * self.place_stride);
        }
        let (mut x, line) = (row % self.width, row / self.width);
        let (mut y, image) = (line % self.height, line / self.height);
        let mut image_start = self.first + image * self.image_stride;
        let mut line_start = image_start + y * self.row_stride;
        std::array::from_fn(|_| {
            let start = line_start + x * self.place_stride;
            x += 1;
            if x == self.width {
                (x, y) = (0, y + 1);
                line_start += self.row_stride;
                if y == self.height {
                    y = 0;
                    image_start += self.image_stride;
                    line_start = image_start;
                }
            }
            start
        })
    }

    /// Some of the rows, as runs of places: where each begins, and how many places it has, `place_stride` apart.
    pub(super) fn runs(&self, rows: Range<usize>) -> impl Iterator<Item = (usize, usize)> + use<> {
        let grid = *self;
        let mut row = rows.start;
        std::iter::from_fn(move || {
            if row >= rows.end {
                return None;
            }
            let [start] = grid.starts::<1>(row);
            let count = (grid.width - row % grid.width).min(rows.end - row);
            row += count;
            Some((start, count))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRID: Grid = Grid {
        first: 5,
        images: 3,
        image_stride: 1000,
        height: 4,
        row_stride: 100,
        width: 6,
        place_stride: 7,
    };

    fn start(row: usize) -> usize {
        5 + row / 24 * 1000 + row / 6 % 4 * 100 + row % 6 * 7
    }

    #[test]
    fn starts_and_runs_are_the_formula() {
        assert_eq!(GRID.rows(), 72);
        for row in 0..72 - 8 {
            assert_eq!(GRID.starts::<8>(row), std::array::from_fn(|r| start(row + r)));
            let found: Vec<usize> = GRID
                .runs(row..row + 8)
                .flat_map(|(start, count)| (0..count).map(move |i| start + 7 * i))
                .collect();
            assert_eq!(found, (row..row + 8).map(start).collect::<Vec<_>>());
        }
    }
}

//! The positions of a matrix's rows that are pixels of images.
//!
//! A convolution multiplies patches of images. In a channels-last image the patches of neighbouring places
//! begin a few pixels apart, those of the next row of places a few rows apart, those of the next image an
//! image apart. A [`Grid`] describes exactly that. A product that takes its rows from a grid reads patches in
//! place, and writes pixels in place.

/// The starts of a matrix's rows in a slice, or their indices among the rows of another matrix: `images` ×
/// `height` × `width` places, row-major, with a stride for each dimension.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grid {
    /// The start of the first row.
    pub first: usize,
    /// The number of images.
    pub images: usize,
    /// The distance from one image to the next.
    pub image_stride: usize,
    /// The rows of places in an image.
    pub height: usize,
    /// The distance from one row of places to the next.
    pub row_stride: usize,
    /// The places in a row.
    pub width: usize,
    /// The distance from one place to the next.
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

    /// The grid of the same places if each is `factor` numbers long.
    pub fn times(&self, factor: usize) -> Self {
        Self {
            first: self.first * factor,
            image_stride: self.image_stride * factor,
            row_stride: self.row_stride * factor,
            place_stride: self.place_stride * factor,
            ..*self
        }
    }

    /// The starts of R rows, from `row` on. Rows beyond the last one continue the pattern.
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

    /// The same rows with lines as long as possible: lines, or images, that continue each other are merged.
    pub fn merged(self) -> Self {
        let mut grid = self;
        if grid.height > 1 && grid.row_stride == grid.width * grid.place_stride {
            grid = Self { width: grid.width * grid.height, height: 1, ..grid };
        }
        if grid.height == 1 && grid.images > 1 && grid.image_stride == grid.width * grid.place_stride {
            grid = Self { width: grid.width * grid.images, images: 1, ..grid };
        }
        grid
    }

    /// The lines of places, starting with that of a given row, and the row's place in it.
    #[inline(always)]
    pub(super) fn lines_from(&self, row: usize) -> (Lines, usize) {
        let (x, line) = (row % self.width, row / self.width);
        let (y, image) = (line % self.height, line / self.height);
        let image_start = self.first + image * self.image_stride;
        (Lines { grid: *self, y, image_start, start: image_start + y * self.row_stride }, x)
    }
}

/// A line of places.
pub(super) struct Lines {
    grid: Grid,
    y: usize,
    image_start: usize,
    /// The start of its first place.
    pub start: usize,
}

impl Lines {
    /// Moves to the next line.
    #[inline(always)]
    pub fn advance(&mut self) {
        self.y += 1;
        self.start += self.grid.row_stride;
        if self.y == self.grid.height {
            self.y = 0;
            self.image_start += self.grid.image_stride;
            self.start = self.image_start;
        }
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
    fn starts_and_lines_are_the_formula() {
        assert_eq!(GRID.rows(), 72);
        for row in 0..72 - 8 {
            assert_eq!(GRID.starts::<8>(row), std::array::from_fn(|r| start(row + r)));
            let (mut lines, x) = GRID.lines_from(row);
            assert_eq!(lines.start + 7 * x, start(row));
            lines.advance();
            assert_eq!(lines.start, start((row / 6 + 1) * 6));
        }
    }

    #[test]
    fn merging_keeps_the_rows() {
        let images = Grid { row_stride: 42, image_stride: 168, ..GRID };
        let apart = Grid { row_stride: 42, ..GRID };
        for (grid, merged) in [(images, (1, 1, 72)), (apart, (3, 1, 24)), (GRID, (3, 4, 6))] {
            let found = grid.merged();
            assert_eq!((found.images, found.height, found.width), merged);
            assert!((0..72).all(|row| found.starts::<1>(row) == grid.starts::<1>(row)));
        }
    }
}

//! The factors of a product whose numbers are read in place: rows of plain matrices, or patches of images.
//!
//! A patch of a channels-last image is K runs of K·C contiguous numbers, and the patches of a region begin on
//! a [`Grid`]. So a left factor can be the columns of a convolution without im2col. A right factor can be the
//! same, with zeros beside the image.

use super::grid::Grid;
use super::matrix::Matrix;
use crate::tensor::Element;

/// A as rows of a slice: each row is `segments` runs of `columns` contiguous numbers.
#[derive(Clone, Copy, Debug)]
pub struct Rows<'a, T> {
    /// The slice with the numbers.
    pub data: &'a [T],
    /// The start of each row.
    pub grid: Grid,
    /// The numbers of a run.
    pub columns: usize,
    /// The runs of a row.
    pub segments: usize,
    /// The distance from one run of a row to the next.
    pub segment_stride: usize,
}

impl<'a, T: Element> Rows<'a, T> {
    /// Rows of one run each.
    pub fn new(data: &'a [T], grid: Grid, columns: usize) -> Self {
        Self { data, grid, columns, segments: 1, segment_stride: columns }
    }
}

/// The left factor.
#[derive(Clone, Copy, Debug)]
pub enum Left<'a, T> {
    /// A itself. Its runs meet rows of B that are `depth_stride` apart from run to run, starting at
    /// `first_depth`.
    Rows {
        /// The rows of A.
        rows: Rows<'a, T>,
        /// The row of B that the first run's first number meets.
        first_depth: usize,
        /// The distance from there to the row that the next run's first number meets.
        depth_stride: usize,
    },
    /// Aᵀ, of one run per row: its rows are A's columns.
    Columns(Rows<'a, T>),
}

impl<T: Element> Left<'_, T> {
    pub(super) fn rows(&self) -> usize {
        match self {
            Self::Rows { rows, .. } => rows.grid.rows(),
            Self::Columns(columns) => columns.columns,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        match self {
            Self::Rows { rows, .. } => rows.segments * rows.columns == 0,
            Self::Columns(columns) => columns.grid.rows() == 0,
        }
    }

    /// Whether every run meets rows of B.
    pub(super) fn fits(&self, depth: usize) -> bool {
        match *self {
            Self::Rows { rows, first_depth, depth_stride } => {
                self.is_empty() || first_depth + (rows.segments - 1) * depth_stride + rows.columns <= depth
            }
            Self::Columns(columns) => columns.grid.rows() == depth,
        }
    }

    /// Whether some terms lie in a piece of the depth, and if so, whether none lies before it.
    pub(super) fn begins_in(&self, first: usize, last: usize) -> Option<bool> {
        match *self {
            Self::Rows { rows, first_depth, depth_stride } => (0..rows.segments)
                .any(|segment| {
                    let start = first_depth + segment * depth_stride;
                    start.max(first) < (start + rows.columns).min(last)
                })
                .then_some(first_depth >= first),
            Self::Columns(_) => Some(first == 0),
        }
    }
}

/// The right factor.
#[derive(Clone, Copy, Debug)]
pub enum Right<'a, T> {
    /// B, of one run per row.
    Rows(Rows<'a, T>),
    /// A matrix whose columns are contiguous: Bᵀ is row-major.
    Columns(Matrix<'a, T>),
    /// B's rows are runs of lines of `line_len` numbers, and zero beyond a line's ends. The grid has the
    /// starts of the lines, and the distance between their places.
    Padded {
        /// B, of one run per row.
        rows: Rows<'a, T>,
        /// The distance from a line's start to the first place's run; negative if the run begins before the
        /// line.
        offset: isize,
        /// The numbers of a line.
        line_len: usize,
    },
}

impl<'a, T: Element> From<Matrix<'a, T>> for Right<'a, T> {
    fn from(b: Matrix<'a, T>) -> Self {
        if b.column_stride == 1 {
            Self::Rows(Rows::new(b.data, Grid::line(b.rows, b.row_stride), b.columns))
        } else {
            Self::Columns(b)
        }
    }
}

impl<T: Element> Right<'_, T> {
    pub(super) fn depth(&self) -> usize {
        match self {
            Self::Rows(rows) | Self::Padded { rows, .. } => rows.grid.rows(),
            Self::Columns(matrix) => matrix.rows,
        }
    }

    pub(super) fn columns(&self) -> usize {
        match self {
            Self::Rows(rows) | Self::Padded { rows, .. } => rows.columns,
            Self::Columns(matrix) => matrix.columns,
        }
    }
}

/// Some rows of C, and their factors.
#[derive(Clone, Copy, Debug)]
pub struct Part<'a, T> {
    /// The left factor.
    pub left: Left<'a, T>,
    /// Which rows of C: their indices, which a grid counts like places in a slice.
    pub rows: Grid,
}

//! C ← A·B + β·C with A read in place, in the processor's widest vectors: most of a training step consists of
//! such products.
//!
//! `matrixmultiply` copies ("packs") both factors before it multiplies, so that its innermost loop reads
//! memory in order. A copied number of A is used once for each column of B. With the 16 columns of a grey
//! image's 4×4 patches the copy costs as much as the multiplications. So only B is copied here, a block at a
//! time, and A's rows are read in place: a few streams, which the processor prefetches. A need not be stored
//! as a matrix at all: the patches of a convolution are read from the image itself
//! ([`factors`](super::factors)). docs/performance.md has the figures.
//!
//! # The scheme
//!
//! Except for A, it is the usual one (Goto & van de Geijn 2008, "Anatomy of high-performance matrix
//! multiplication"): a block of B in the first-level cache, and a tile of C that stays in registers while
//! outer products are added to it:
//!
//! ```text
//! tile[r][j] += a[r][l]·b[l][j]      r < 8, j < 2 vectors
//! ```
//!
//! Vectors of sixteen numbers need 16 vectors of sums, two of b and one of a, of 32 registers. Vectors of
//! eight numbers have tiles of six rows, and need 15 of 16 registers. The multiply-adds of a step are
//! independent, and there are enough of them to hide their latency (two start per cycle, and each takes four
//! cycles).
//!
//! # The order of additions
//!
//! The depth K is split into the fewest equal pieces of at most 512 rows of B. In each piece, an element of C
//! is one chain of fused multiply-adds from zero, in the order of A's columns; the sums of the pieces are
//! added to C in order. Terms outside a region are left out of the chain. The order does not depend on the
//! vector width, the tile's rows or the number of threads, so every processor with fused multiply-adds gives
//! the same bits.

use std::ops::Range;

use super::factors::{Left, Part, Right, Rows};
use super::grid::Grid;
use super::matrix::{Matrix, MatrixMut};
use super::simd::{Block, DEPTH, Vector};
use crate::tensor::Element;

/// A product that is to be computed.
pub(super) struct Product<'a, 'c, T> {
    pub parts: &'a [Part<'a, T>],
    pub b: Right<'a, T>,
    pub beta: T,
    pub c: &'a mut MatrixMut<'c, T>,
}

impl<T: Element> Product<'_, '_, T> {
    /// Asserts that the factors fit each other, and scales the rows of C to which nothing is added.
    pub(super) fn begin(&mut self) {
        let (depth, columns) = (self.b.depth(), self.b.columns());
        assert!(columns == self.c.columns, "{columns} columns of B and {} of C", self.c.columns);
        for part in self.parts {
            assert!(part.left.fits(depth), "a left factor that does not fit B's {depth} rows");
            assert!(
                part.left.rows() == part.rows.rows(),
                "{} rows of A for {} of C",
                part.left.rows(),
                part.rows.rows()
            );
            if part.left.is_empty() {
                scale(self.c, &part.rows, self.beta);
            }
        }
    }

    /// Computes it with vectors of one kind.
    #[inline(always)]
    pub fn compute<X: Vector<Number = T>>(mut self) {
        self.begin();
        let (depth, columns) = (self.b.depth(), self.b.columns());
        let (mut left, mut right) = (Block::<X>::new(), Block::<X>::new());
        let at_once = depth.div_ceil(depth.div_ceil(DEPTH).max(1)).max(1);
        for first in (0..depth).step_by(at_once) {
            let last = (first + at_once).min(depth);
            // Two adjacent blocks are copied at once, because the processor fetches the neighbouring cache
            // lines of their rows together.
            for column in (0..columns).step_by(4 * X::LANES) {
                copy_blocks(&self.b, (first, last), column, &mut left, &mut right);
                for (block, column) in [(&left, column), (&right, column + 2 * X::LANES)] {
                    if column >= columns {
                        continue;
                    }
                    let width = (2 * X::LANES).min(columns - column);
                    for part in self.parts {
                        let beta = match part.left.begins_in(first, last) {
                            Some(true) => self.beta,
                            Some(false) => T::ONE,
                            None => continue,
                        };
                        let at = At { part, block: block.rows(), first, last, beta, column, width };
                        if width > X::LANES { at.all_rows::<2>(self.c) } else { at.all_rows::<1>(self.c) }
                    }
                }
            }
        }
    }
}

/// Rows of C to which nothing is added.
fn scale<T: Element>(c: &mut MatrixMut<'_, T>, rows: &Grid, beta: T) {
    for row in 0..rows.rows() {
        let [row] = rows.starts::<1>(row);
        let c = c.row(row);
        if beta == T::ZERO { c.fill(T::ZERO) } else { c.iter_mut().for_each(|c| *c = beta * *c) }
    }
}

/// Copies a piece of B's rows, at most four vectors of each from `column` on, padded with zeros.
#[inline(always)]
fn copy_blocks<X: Vector>(
    b: &Right<'_, X::Number>,
    (first, last): (usize, usize),
    column: usize,
    left: &mut Block<X>,
    right: &mut Block<X>,
) {
    let width = (4 * X::LANES).min(b.columns() - column);
    left.clear();
    right.clear();
    let (rows, padding) = match b {
        Right::Rows(rows) => (rows, None),
        &Right::Padded { ref rows, offset, line_len } => (rows, Some((offset, line_len))),
        Right::Columns(matrix) => {
            for (block, from) in [(left, 0), (right, 2 * X::LANES)] {
                if from < width {
                    for _ in first..last {
                        block.push([X::splat(X::Number::ZERO); 2]);
                    }
                    let columns = column + from..column + width.min(from + 2 * X::LANES);
                    copy_columns(matrix, first, columns, block.numbers(), 2 * X::LANES);
                }
            }
            return;
        }
    };
    for_each_row(
        rows,
        padding,
        (first, last),
        column..column + width,
        #[inline(always)]
        |numbers| push_row(numbers, left, right),
    );
}

/// Calls `visit` for a piece of B's rows, with some columns of each. If the rows extend beyond lines of
/// numbers, `padding` is the start of their first place in a line, and a line's length.
#[inline(always)]
pub(super) fn for_each_row<T: Element>(
    rows: &Rows<'_, T>,
    padding: Option<(isize, usize)>,
    (first, last): (usize, usize),
    columns: Range<usize>,
    mut visit: impl FnMut(&[T]),
) {
    let (column, width) = (columns.start, columns.len());
    let (mut lines, mut x) = rows.grid.lines_from(first);
    for _ in first..last {
        let (line, place) = (lines.start, x * rows.grid.place_stride);
        x += 1;
        if x == rows.grid.width {
            x = 0;
            lines.advance();
        }
        match padding {
            None => visit(&rows.data[line + place + column..][..width]),
            Some((offset, line_len)) => {
                let start = offset + (place + column) as isize;
                if start >= 0 && start as usize + width <= line_len {
                    visit(&rows.data[line + start as usize..][..width]);
                } else {
                    let numbers = padded(&rows.data[line..][..line_len], start, width);
                    visit(&numbers[..width]);
                }
            }
        }
    }
}

/// Adds a row of up to four vectors; its right half only if it exists.
#[inline(always)]
fn push_row<X: Vector>(numbers: &[X::Number], left: &mut Block<X>, right: &mut Block<X>) {
    let lanes = X::LANES;
    if numbers.len() == 4 * lanes {
        left.push([X::load(numbers), X::load(&numbers[lanes..])]);
        right.push([X::load(&numbers[2 * lanes..]), X::load(&numbers[3 * lanes..])]);
        return;
    }
    let from = |v: usize| &numbers[numbers.len().min(v * lanes)..];
    left.push([load(from(0)), load(from(1))]);
    if numbers.len() > 2 * lanes {
        right.push([load(from(2)), load(from(3))]);
    }
}

/// `count` numbers of a line from `start` on, with zeros beyond its ends.
#[inline(never)]
fn padded<T: Element>(line: &[T], start: isize, count: usize) -> [T; 64] {
    let mut numbers = [T::ZERO; 64];
    let missing = (-start).clamp(0, count as isize) as usize;
    let inside = (line.len() as isize - start).clamp(missing as isize, count as isize) as usize;
    if missing < inside {
        let from = (start + missing as isize) as usize;
        numbers[missing..inside].copy_from_slice(&line[from..from + inside - missing]);
    }
    numbers
}

/// A vector of a slice's first numbers, padded with zeros.
#[inline(always)]
pub(super) fn load<X: Vector>(from: &[X::Number]) -> X {
    if from.len() >= X::LANES {
        return X::load(from);
    }
    let mut numbers = [X::Number::ZERO; 16];
    numbers[..from.len()].copy_from_slice(from);
    X::load(&numbers)
}

/// Copies columns of a transposed B, which are contiguous, to the rows of a block.
///
/// Not inlined, so that it is compiled for the baseline processor: with scatter instructions, the compiler
/// would use them here, and they are slow. Eight columns at a time, since a first-level cache has room for
/// eight lines whose addresses are a power of two apart.
#[inline(never)]
fn copy_columns<T: Element>(
    b: &Matrix<'_, T>,
    first: usize,
    columns: Range<usize>,
    block: &mut [T],
    width: usize,
) {
    let depth = block.len() / width;
    let column = |j: usize| &b.data[first + j * b.column_stride..][..depth];
    let mut at = 0;
    let mut next = columns.start;
    while next + 8 <= columns.end {
        let from: [&[T]; 8] = std::array::from_fn(|j| column(next + j));
        for (l, row) in block.chunks_exact_mut(width).enumerate() {
            for (to, from) in row[at..at + 8].iter_mut().zip(&from) {
                *to = from[l];
            }
        }
        (at, next) = (at + 8, next + 8);
    }
    for (at, j) in (at..).zip(next..columns.end) {
        for (row, &number) in block.chunks_exact_mut(width).zip(column(j)) {
            row[at] = number;
        }
    }
}

/// Some rows and columns of C, and a piece of the factors for them.
struct At<'a, X, T> {
    part: &'a Part<'a, T>,
    block: &'a [[X; 2]],
    /// The rows of B that the block has.
    first: usize,
    last: usize,
    beta: T,
    column: usize,
    width: usize,
}

impl<T: Element, X: Vector<Number = T>> At<'_, X, T> {
    /// All rows, tile by tile, V vectors wide.
    #[inline(always)]
    fn all_rows<const V: usize>(&self, c: &mut MatrixMut<'_, T>) {
        let rows = self.part.rows.rows();
        let mut row = 0;
        while row < rows {
            // Equal heights, because a tile of only one or two rows cannot hide the latency of its additions.
            let left = rows - row;
            let height = left.div_ceil(left.div_ceil(X::ROWS));
            match height {
                1 => self.tile::<1, V>(row, c),
                2 => self.tile::<2, V>(row, c),
                3 => self.tile::<3, V>(row, c),
                4 => self.tile::<4, V>(row, c),
                5 if X::ROWS >= 5 => self.tile::<5, V>(row, c),
                6 if X::ROWS >= 6 => self.tile::<6, V>(row, c),
                7 if X::ROWS >= 7 => self.tile::<7, V>(row, c),
                _ if X::ROWS >= 8 => self.tile::<8, V>(row, c),
                _ => unreachable!("a tile of {height} rows"),
            }
            row += height;
        }
    }

    /// R rows.
    #[inline(always)]
    fn tile<const R: usize, const V: usize>(&self, row: usize, c: &mut MatrixMut<'_, T>) {
        let sums = match &self.part.left {
            Left::Rows { rows, first_depth, depth_stride } => {
                self.row_tile::<R, V>(rows, (*first_depth, *depth_stride), row)
            }
            Left::Columns(columns) => self.column_tile::<R, V>(columns, row),
        };
        let starts = self.part.rows.starts::<R>(row);
        store_tile(sums, &starts, self.column..self.column + self.width, self.beta, c);
    }

    /// The sums of a tile whose rows of A are contiguous.
    #[inline(always)]
    fn row_tile<const R: usize, const V: usize>(
        &self,
        a: &Rows<'_, T>,
        (first_depth, depth_stride): (usize, usize),
        row: usize,
    ) -> [[X; V]; R] {
        let starts = a.grid.starts::<R>(row);
        let mut tile = [[X::splat(T::ZERO); V]; R];
        for segment in 0..a.segments {
            let depth = first_depth + segment * depth_stride;
            let (from, to) = (depth.max(self.first), (depth + a.columns).min(self.last));
            if from >= to {
                continue;
            }
            let (offset, len) = (segment * a.segment_stride + from - depth, to - from);
            let mut rows: [&[T]; R] = [&[]; R];
            for r in 0..R {
                rows[r] = &a.data[starts[r] + offset..][..len];
            }
            tile = add_rows(tile, &rows, &self.block[from - self.first..][..len]);
        }
        tile
    }

    /// The sums of a tile whose columns of A are contiguous.
    #[inline(always)]
    fn column_tile<const R: usize, const V: usize>(&self, a: &Rows<'_, T>, row: usize) -> [[X; V]; R] {
        let mut tile = [[X::splat(T::ZERO); V]; R];
        let mut next = 0;
        let (mut lines, mut x) = a.grid.lines_from(self.first);
        while next < self.block.len() {
            let count = (a.grid.width - x).min(self.block.len() - next);
            let columns = &a.data[lines.start + x * a.grid.place_stride + row..];
            tile = add_columns(tile, columns, a.grid.place_stride, &self.block[next..][..count]);
            next += count;
            x = 0;
            lines.advance();
        }
        tile
    }
}

/// C ← sums + β·C for some rows and columns of C.
#[inline(always)]
pub(super) fn store_tile<X: Vector, const R: usize, const V: usize>(
    sums: [[X; V]; R],
    rows: &[usize; R],
    columns: Range<usize>,
    beta: X::Number,
    c: &mut MatrixMut<'_, X::Number>,
) {
    for r in 0..R {
        let c = &mut c.row(rows[r])[columns.clone()];
        for v in 0..V {
            let c = &mut c[v * X::LANES..];
            let sum = if beta == X::Number::ZERO {
                sums[r][v]
            } else {
                X::splat(beta).mul_add(load(c), sums[r][v])
            };
            if c.len() >= X::LANES {
                sum.store(c);
            } else {
                let mut numbers = [X::Number::ZERO; 16];
                sum.store(&mut numbers);
                c.copy_from_slice(&numbers[..c.len()]);
            }
        }
    }
}

/// The innermost loop, if A's rows are contiguous. It takes and returns the tile, so that the compiler keeps
/// it in registers.
#[inline(always)]
fn add_rows<X: Vector, const R: usize, const V: usize>(
    mut tile: [[X; V]; R],
    rows: &[&[X::Number]; R],
    block: &[[X; 2]],
) -> [[X; V]; R] {
    for r in 0..R {
        assert!(rows[r].len() == block.len()); // so that `l` need not be compared with each length in the loop
    }
    for l in 0..block.len() {
        let b = &block[l];
        for r in 0..R {
            let a = X::splat(rows[r][l]);
            for v in 0..V {
                tile[r][v] = a.mul_add(b[v], tile[r][v]);
            }
        }
    }
    tile
}

/// The innermost loop, if A's columns are contiguous.
#[inline(always)]
fn add_columns<X: Vector, const R: usize, const V: usize>(
    mut tile: [[X; V]; R],
    columns: &[X::Number],
    stride: usize,
    block: &[[X; 2]],
) -> [[X; V]; R] {
    for (l, b) in block.iter().enumerate() {
        let column: &[X::Number; R] = columns[l * stride..].first_chunk().expect("a tile's rows of A");
        for r in 0..R {
            let a = X::splat(column[r]);
            for v in 0..V {
                tile[r][v] = a.mul_add(b[v], tile[r][v]);
            }
        }
    }
    tile
}

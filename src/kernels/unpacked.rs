//! C ← A·B + β·C with A read where it is: the product for a B of few columns, or of few rows, or transposed.
//!
//! `matrixmultiply` copies ("packs") both factors before it multiplies, so that its innermost loop reads memory in order. A copied
//! number of A is used once for each column of B. With the 16 columns of a grey image's 4×4 patches the copy costs as much as the
//! multiplications, and with the 64 channels of a convolution it still shows (74 GFLOP/s against 95 here). So only B is copied here, a
//! block at a time, and A's rows are read where they are: six streams, which a processor fetches ahead. docs/performance.md has both ways,
//! shape by shape.
//!
//! # The scheme
//!
//! It is the usual one (Goto & van de Geijn 2008, "Anatomy of high-performance matrix multiplication") but for A: a block of B in the
//! first-level cache, and a tile of C that stays in registers while outer products are added to it:
//!
//! ```text
//! tile[r][j] += a[r][l]·b[l][j]      r < 6, j < 16
//! ```
//!
//! With eight numbers to a vector that is twelve vectors of sums, two of b and one of a, 15 of the 16 registers; twelve multiply-adds for
//! eight loads; and twelve that do not wait for each other, where two a cycle with a latency of four need eight.
//!
//! All of this is safe code. The tile's sizes are constants, so that the compiler unrolls its loops, keeps the sums in registers and makes
//! vectors of them. What helps it is said where it does: it was found by reading what it made.

use super::matrix::{Matrix, MatrixMut, check_shapes};
use crate::tensor::Element;

/// The rows of a tile, at most.
const ROWS: usize = 6;
/// Its columns.
const WIDTH: usize = 16;

/// The rows of a block of B, at most: 512 × 16 floats are 32 KiB. A tile's start and end cost some ten steps of its loop, so a deep block is
/// worth more than one that leaves room for other things in the cache: 256 rows ran at 88 GFLOP/s, 512 at 92.
const DEPTH: usize = 512;
/// The same for a B of few rows, so that there is less to clear first.
const LITTLE_DEPTH: usize = 128;

/// A row of a block, where no vector of it lies in two cache lines.
#[derive(Clone, Copy)]
#[repr(align(64))]
struct Line<T>([T; WIDTH]);

/// C ← A·B + β·C on the calling thread.
///
/// # Panics
/// Where the shapes do not fit each other, or there is nothing to add up (A has no columns).
pub fn product<T: Element>(a: Matrix<'_, T>, b: Matrix<'_, T>, beta: T, c: &mut MatrixMut<'_, T>) {
    check_shapes(&a, &b, c);
    assert!(b.rows > 0, "a product over no rows of B");
    if b.rows <= LITTLE_DEPTH {
        product_in_blocks(a, b, beta, c, &mut [Line([T::ZERO; WIDTH]); 2 * LITTLE_DEPTH]);
    } else {
        product_in_blocks(a, b, beta, c, &mut [Line([T::ZERO; WIDTH]); 2 * DEPTH]);
    }
}

fn product_in_blocks<T: Element>(
    a: Matrix<'_, T>,
    b: Matrix<'_, T>,
    beta: T,
    c: &mut MatrixMut<'_, T>,
    memory: &mut [Line<T>],
) {
    let most = memory.len() / 2;
    for first in (0..b.rows).step_by(most) {
        let depth = most.min(b.rows - first);
        let beta = if first == 0 { beta } else { T::ONE };
        // Two blocks side by side are copied at once, as a row of both is two cache lines, which a processor fetches together.
        let (left, right) = memory[..2 * depth].split_at_mut(depth);
        for column in (0..b.columns).step_by(2 * WIDTH) {
            copy_blocks(b, first, column, left, right);
            for (block, column) in [(&*left, column), (&*right, column + WIDTH)] {
                if column < b.columns {
                    let width = WIDTH.min(b.columns - column);
                    all_rows(&At { a, first, block, beta, row: 0, column, width }, c);
                }
            }
        }
    }
}

/// All rows of some columns of C, tile by tile.
fn all_rows<T: Element>(at: &At<'_, T>, c: &mut MatrixMut<'_, T>) {
    let mut row = 0;
    while row < at.a.rows {
        let at = At { row, ..*at };
        // Equal heights: a tile of one or two rows waits for its own additions.
        let left = at.a.rows - row;
        row += match left.div_ceil(left.div_ceil(ROWS)) {
            1 => at.tile::<1>(c),
            2 => at.tile::<2>(c),
            3 => at.tile::<3>(c),
            4 => at.tile::<4>(c),
            5 => at.tile::<5>(c),
            _ => at.tile::<ROWS>(c),
        };
    }
}

/// Copies rows of B from `first` on, and 2·WIDTH of its columns from `column` on, or as many as there are. What lies right of them stays,
/// and its products are not used.
fn copy_blocks<T: Element>(
    b: Matrix<'_, T>,
    first: usize,
    column: usize,
    left: &mut [Line<T>],
    right: &mut [Line<T>],
) {
    let width = (2 * WIDTH).min(b.columns - column);
    if b.column_stride == 1 {
        for (l, (left, right)) in left.iter_mut().zip(right).enumerate() {
            let from = &b.data[(first + l) * b.row_stride + column..][..width];
            copy_row(left, &from[..width.min(WIDTH)]);
            if width > WIDTH {
                copy_row(right, &from[WIDTH..]);
            }
        }
        return;
    }
    // B is transposed, its columns are contiguous. Eight at a time: a first-level cache has places for eight lines whose addresses are
    // a power of two apart.
    let eights = width / 8 * 8;
    for at in (0..eights).step_by(8) {
        let block = if at < WIDTH { &mut *left } else { &mut *right };
        copy_columns::<T, 8>(b, (first, column + at), block, at % WIDTH);
    }
    for at in eights..width {
        let block = if at < WIDTH { &mut *left } else { &mut *right };
        copy_columns::<T, 1>(b, (first, column + at), block, at % WIDTH);
    }
}

/// Copies a line or less. A whole one is two moves; for a length that the compiler doesn't know it calls `memcpy`.
fn copy_row<T: Element>(Line(to): &mut Line<T>, from: &[T]) {
    match <&[T; WIDTH]>::try_from(from) {
        Ok(from) => *to = *from,
        Err(_) => to[..from.len()].copy_from_slice(from),
    }
}

/// Copies N columns of a transposed B to the block, from its column `at` on.
fn copy_columns<T: Element, const N: usize>(
    b: Matrix<'_, T>,
    (first, column): (usize, usize),
    block: &mut [Line<T>],
    at: usize,
) {
    let columns: [&[T]; N] =
        std::array::from_fn(|j| &b.data[first + (column + j) * b.column_stride..][..block.len()]);
    for (l, Line(row)) in block.iter_mut().enumerate() {
        for j in 0..N {
            row[at + j] = columns[j][l];
        }
    }
}

/// Some columns of C, from a row on, and what they are made of.
struct At<'a, T> {
    a: Matrix<'a, T>,
    /// Where the block begins in B's rows and A's columns.
    first: usize,
    block: &'a [Line<T>],
    beta: T,
    row: usize,
    column: usize,
    width: usize,
}

impl<T: Element> At<'_, T> {
    /// Computes R rows; returns R.
    fn tile<const R: usize>(&self, c: &mut MatrixMut<'_, T>) -> usize {
        if self.width == WIDTH {
            self.whole_tile::<R>(self.beta, c, (self.row, self.column));
            return R;
        }
        let mut tile = [T::ZERO; ROWS * WIDTH];
        self.whole_tile::<R>(T::ZERO, &mut MatrixMut::new(&mut tile[..R * WIDTH], R, WIDTH), (0, 0));
        for (r, tile) in tile.chunks_exact(WIDTH).take(R).enumerate() {
            let c = &mut c.row(self.row + r)[self.column..self.column + self.width];
            if self.beta == T::ZERO {
                c.copy_from_slice(&tile[..self.width]);
            } else {
                c.iter_mut().zip(tile).for_each(|(c, &sum)| *c = self.beta.mul_add(*c, sum));
            }
        }
        R
    }

    /// The same for all columns of a tile, at any place of a C.
    fn whole_tile<const R: usize>(&self, beta: T, c: &mut MatrixMut<'_, T>, at: (usize, usize)) {
        let (a, depth) = (&self.a, self.block.len());
        if a.column_stride == 1 {
            let rows =
                std::array::from_fn(|r| &a.data[(self.row + r) * a.row_stride + self.first..][..depth]);
            row_tile::<T, R>(&rows, self.block, beta, c, at);
        } else {
            let columns = &a.data[self.first * a.column_stride + self.row..];
            column_tile::<T, R>(columns, a.column_stride, self.block, beta, c, at);
        }
    }
}

/// A tile where A's rows are contiguous.
///
/// Not inlined: among its callers' variables the compiler does not keep the sums in registers, which made it three times as slow.
#[inline(never)]
fn row_tile<T: Element, const R: usize>(
    rows: &[&[T]; R],
    block: &[Line<T>],
    beta: T,
    c: &mut MatrixMut<'_, T>,
    at: (usize, usize),
) {
    let depth = block.len();
    for r in 0..R {
        assert!(rows[r].len() == depth); // so that `l` need not be compared with each length in the loop
    }
    let mut tile = [[T::ZERO; WIDTH]; R];
    for l in 0..depth {
        let b = block[l].0;
        for r in 0..R {
            let a = rows[r][l];
            for j in 0..WIDTH {
                tile[r][j] = a.mul_add(b[j], tile[r][j]);
            }
        }
    }
    store(&tile, beta, c, at);
}

/// A tile where A's columns are contiguous.
#[inline(never)]
fn column_tile<T: Element, const R: usize>(
    columns: &[T],
    stride: usize,
    block: &[Line<T>],
    beta: T,
    c: &mut MatrixMut<'_, T>,
    at: (usize, usize),
) {
    let mut tile = [[T::ZERO; WIDTH]; R];
    for (column, Line(b)) in columns.chunks(stride).zip(block) {
        let a: [T; R] = *column.first_chunk().expect("a tile's rows of A");
        for r in 0..R {
            for j in 0..WIDTH {
                tile[r][j] = a[r].mul_add(b[j], tile[r][j]);
            }
        }
    }
    store(&tile, beta, c, at);
}

/// C ← tile + β·C.
#[inline(always)]
fn store<T: Element, const R: usize>(
    tile: &[[T; WIDTH]; R],
    beta: T,
    c: &mut MatrixMut<'_, T>,
    (row, column): (usize, usize),
) {
    let c = c.tile::<R, WIDTH>(row, column);
    for r in 0..R {
        if beta == T::ZERO {
            *c[r] = tile[r];
        } else {
            for j in 0..WIDTH {
                c[r][j] = beta.mul_add(c[r][j], tile[r][j]);
            }
        }
    }
}

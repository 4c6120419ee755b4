//! C ← A·B + β·C: matrix products, on one thread ([`gemm`]) and cut into tasks ([`product`]).
//!
//! # Two implementations
//!
//! [`packed`] is that of `matrixmultiply`, which copies both factors first; [`unpacked`](super::unpacked) is
//! ours, which copies only B. [`gemm`] chooses the faster one for the shape: packed for the weight gradients
//! of wide layers, unpacked for everything else.
//!
//! `matrixmultiply` copies ("packs") blocks of A and B into panels of eight rows or columns before it
//! multiplies them. The copy runs at full speed if A's rows (row stride 1) or B's columns (column stride 1)
//! are adjacent. It is slow if a stride is a multiple of a large power of two, because the rows of a panel
//! then map to the same few sets of the cache: a weight gradient at a stride of 512 floats ran at 69 GFLOP/s,
//! at 528 at 83. See [`padded_stride`].
//!
//! # Why this file may use `unsafe`
//!
//! `matrixmultiply` takes raw pointers; a [`Matrix`] or [`MatrixMut`] has asserted that they stay inside its
//! slice.
#![allow(unsafe_code)]

use std::any::TypeId;

use super::dispatch;
use super::matrix::check_shapes;
pub use super::matrix::{Matrix, MatrixMut};
use super::precision::Precision;
use crate::tensor::Element;

/// C ← A·B + β·C on the calling thread.
///
/// With `beta` 0, the previous content of C is ignored.
///
/// # Panics
/// If the shapes do not fit each other.
pub fn gemm<T: Element>(a: Matrix<'_, T>, b: Matrix<'_, T>, beta: T, c: &mut MatrixMut<'_, T>) {
    if is_better_unpacked(&a, &b) {
        dispatch::product(Precision::Single, a, b, beta, c);
    } else {
        packed(a, b, beta, c);
    }
}

/// If A's rows are contiguous, the unpacked product copies less. If A's columns are contiguous, as in a
/// weight gradient, `matrixmultiply` is faster, unless a column fits into a few cache lines (otherwise a
/// tile's rows are a few numbers from each of many lines) and B is wide enough for a tile.
///
/// For contiguous rows the choice does not depend on their number, so an image gives the same bits in a batch
/// of any size.
fn is_better_unpacked<T>(a: &Matrix<'_, T>, b: &Matrix<'_, T>) -> bool {
    a.column_stride == 1 || (a.rows <= 64 && b.columns > 16)
}

/// The most terms passed to `matrixmultiply` at once. It splits longer sums itself, but at positions that
/// depend on its build; so the order of additions is fixed here: chains of at most this length, added in
/// order.
const PACKED_DEPTH: usize = 256;

/// [`gemm`] by `matrixmultiply`.
///
/// # Panics
/// If the shapes do not fit each other.
pub fn packed<T: Element>(a: Matrix<'_, T>, b: Matrix<'_, T>, beta: T, c: &mut MatrixMut<'_, T>) {
    check_shapes(&a, &b, c);
    if a.columns > PACKED_DEPTH {
        for first in (0..a.columns).step_by(PACKED_DEPTH) {
            let piece = first..a.columns.min(first + PACKED_DEPTH);
            packed(
                a.column_range(piece.clone()),
                b.row_range(piece),
                if first == 0 { beta } else { T::ONE },
                c,
            );
        }
        return;
    }
    let (m, k, n) = (a.rows, a.columns, b.columns);
    let stride = |s: usize| isize::try_from(s).expect("a stride within a slice fits isize");
    let (rsa, csa) = (stride(a.row_stride), stride(a.column_stride));
    let (rsb, csb) = (stride(b.row_stride), stride(b.column_stride));
    let rsc = stride(c.row_stride);
    let (pa, pb, pc) = (a.data.as_ptr(), b.data.as_ptr(), c.pointer);
    // SAFETY: the requirements of the two functions, point by point.
    // - A and B can be read at i·rs + j·cs for all i < rows, j < columns: `Matrix::strided` asserted that the
    //   last of these is inside the slice; `transposed` exchanges the pairs and so the same elements;
    //   `column_range` asserts its columns to be among the existing ones, and slices safely.
    // - C can be read and written at i·rsc + j: asserted by `MatrixMut::strided`, kept by `split_at_column`.
    // - A is m × k, B k × n, C m × n: asserted above.
    // - No element of C has two places: its column stride is 1, and `strided` asserted row_stride ≥ columns.
    // - C overlaps neither A nor B: these are shared borrows and C is an exclusive one, all alive during the
    //   call.
    // - Strides fit isize (checked above), and so does every offset, which lies inside a slice.
    // - The casts change no type: T is f32 or f64, as `Element` is sealed, and each branch has the one it has
    //   tested for.
    unsafe {
        if TypeId::of::<T>() == TypeId::of::<f32>() {
            let beta = beta.to_f64() as f32;
            let (pa, pb, pc) = (pa.cast::<f32>(), pb.cast::<f32>(), pc.cast::<f32>());
            matrixmultiply::sgemm(m, k, n, 1.0, pa, rsa, csa, pb, rsb, csb, beta, pc, rsc, 1);
        } else {
            let (pa, pb, pc) = (pa.cast::<f64>(), pb.cast::<f64>(), pc.cast::<f64>());
            matrixmultiply::dgemm(m, k, n, 1.0, pa, rsa, csa, pb, rsb, csb, beta.to_f64(), pc, rsc, 1);
        }
    }
}

/// C ← A·B + β·C as parallel tasks, each with a range of C's columns; then `finish(piece, first_column)` for
/// each piece while it is in the cache.
///
/// The columns are split because A is the batch, which is small and read by every task, while B is the
/// weights or the images, of which each task copies only its own part. The split depends only on the shape,
/// and each element is computed by one task in one order: the same bits for any number of threads.
pub fn product<T: Element>(
    precision: Precision,
    a: Matrix<'_, T>,
    b: Matrix<'_, T>,
    beta: T,
    c: MatrixMut<'_, T>,
    finish: &(impl Fn(MatrixMut<'_, T>, usize) + Sync),
) {
    let pieces = pieces(c.columns);
    for_column_pieces(c, pieces, 0, &|mut piece, first| {
        let b = b.column_range(first..first + piece.columns);
        match precision {
            Precision::Single => gemm(a, b, beta, &mut piece),
            Precision::Bf16 => dispatch::product(precision, a, b, beta, &mut piece),
        }
        finish(piece, first);
    });
}

/// Writes the transposed matrix to `memory` without gaps and returns it. Useful for a factor that many
/// products copy, because copying by rows is fastest.
///
/// # Panics
/// If `memory` is too short.
pub fn transpose<'a, T: Element>(matrix: Matrix<'_, T>, memory: &'a mut [T]) -> Matrix<'a, T> {
    const TILE: usize = 16; // the numbers of a cache line
    let (rows, columns) = (matrix.columns, matrix.rows);
    let memory = &mut memory[..rows * columns];
    for first_row in (0..rows).step_by(TILE) {
        for column in 0..columns {
            for row in first_row..rows.min(first_row + TILE) {
                memory[row * columns + column] =
                    matrix.data[column * matrix.row_stride + row * matrix.column_stride];
            }
        }
    }
    Matrix::new(memory, rows, columns)
}

/// The `finish` of a [`product`] without further work on a piece.
pub fn nothing<T>(_: MatrixMut<'_, T>, _: usize) {}

/// Columns are split between vectors of 16.
const UNIT: usize = 16;

/// The number of pieces into which columns are split: at most eight, of about 128 columns or more, since each
/// piece reads all of A (packed, 64 columns ran at 71 GFLOP/s, 128 at 76, 392 at 84). If there are several,
/// their number is even: two threads take as long for seven as for eight.
pub fn pieces(columns: usize) -> usize {
    match columns.div_ceil(columns.div_ceil(8).max(128)) {
        0 | 1 => 1,
        pieces => pieces.next_multiple_of(2),
    }
}

/// Calls `task(piece, first_column)` in parallel for this number of pieces of the columns, as equal as units
/// of 16 columns allow: with pieces of 256 and 144 columns, two threads take as long as for 512.
pub fn for_column_pieces<T: Element>(
    matrix: MatrixMut<'_, T>,
    pieces: usize,
    first: usize,
    task: &(impl Fn(MatrixMut<'_, T>, usize) + Sync),
) {
    let (units, left_pieces) = (matrix.columns.div_ceil(UNIT), pieces.div_ceil(2));
    let middle = UNIT * (units * left_pieces).div_ceil(pieces);
    if pieces == 1 || middle >= matrix.columns {
        task(matrix, first);
        return;
    }
    let (left, right) = matrix.split_at_column(middle);
    rayon::join(
        || for_column_pieces(left, left_pieces, first, task),
        || for_column_pieces(right, pieces - left_pieces, first + middle, task),
    );
}

/// A row stride of at least `columns` at which colliding cache sets do not slow down packing: a multiple of 8
/// floats (one vector), and for many columns not of 64.
pub fn padded_stride(columns: usize) -> usize {
    let stride = columns.next_multiple_of(8);
    if stride >= 128 && stride.is_multiple_of(64) { stride + 16 } else { stride }
}

#[cfg(test)]
mod tests;

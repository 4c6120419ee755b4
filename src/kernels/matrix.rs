//! Matrix views into slices: the factors and the output of a product.
//!
//! # Why this file may use `unsafe`
//!
//! A [`Matrix`] borrows a slice and asserts on construction that every element of the matrix lies inside. A
//! [`MatrixMut`] does the same and can be split into disjoint ranges of columns, which no slice method can
//! express, so that several tasks can write at the same time. Everything else in the project but the call of
//! `matrixmultiply` ([`gemm`](super::gemm)) is safe code built on these two.
#![allow(unsafe_code)]

use std::marker::PhantomData;
use std::ops::Range;

use crate::tensor::Element;

/// A read-only matrix inside a slice: element (i, j) is `data[i * row_stride + j * column_stride]`.
#[derive(Clone, Copy, Debug)]
pub struct Matrix<'a, T> {
    pub(super) data: &'a [T],
    pub(super) rows: usize,
    pub(super) columns: usize,
    pub(super) row_stride: usize,
    pub(super) column_stride: usize,
}

/// The number of slice elements that a matrix of these sizes spans; `None` on overflow.
fn extent(rows: usize, columns: usize, row_stride: usize, column_stride: usize) -> Option<usize> {
    if rows == 0 || columns == 0 {
        return Some(0);
    }
    let last = (rows - 1).checked_mul(row_stride)?.checked_add((columns - 1).checked_mul(column_stride)?)?;
    last.checked_add(1)
}

impl<'a, T: Element> Matrix<'a, T> {
    /// Row-major `rows × columns` without gaps.
    pub fn new(data: &'a [T], rows: usize, columns: usize) -> Self {
        Self::strided(data, rows, columns, columns)
    }

    /// Row-major with `row_stride ≥ columns` elements from one row to the next.
    ///
    /// # Panics
    /// If the slice is too short for the matrix, or rows would overlap.
    pub fn strided(data: &'a [T], rows: usize, columns: usize, row_stride: usize) -> Self {
        assert!(row_stride >= columns, "a row of {columns} does not fit a row stride of {row_stride}");
        let needed = extent(rows, columns, row_stride, 1);
        assert!(
            needed.is_some_and(|n| n <= data.len()),
            "a {rows} × {columns} matrix of row stride {row_stride} does not fit a slice of {}",
            data.len()
        );
        Self { data, rows, columns, row_stride, column_stride: 1 }
    }

    /// The transposed matrix: the same memory with rows and columns exchanged.
    pub fn transposed(self) -> Self {
        Self {
            rows: self.columns,
            columns: self.rows,
            row_stride: self.column_stride,
            column_stride: self.row_stride,
            ..self
        }
    }

    /// Some of its rows.
    ///
    /// # Panics
    /// If it does not have them.
    pub fn row_range(self, range: Range<usize>) -> Self {
        self.transposed().column_range(range).transposed()
    }

    /// Some of its columns.
    ///
    /// # Panics
    /// If it does not have them.
    pub fn column_range(self, Range { start: from, end }: Range<usize>) -> Self {
        let count = end - from;
        assert!(from + count <= self.columns, "columns {from}..{} of {}", from + count, self.columns);
        let offset = if count == 0 || self.rows == 0 { 0 } else { from * self.column_stride };
        Self { data: &self.data[offset..], columns: count, ..self }
    }
}

/// A writable matrix: row-major, `row_stride` elements from one row to the next.
///
/// It has exclusive access to its own elements only, not to the gaps between its rows, which may belong to
/// another `MatrixMut` of the same slice.
#[derive(Debug)]
pub struct MatrixMut<'a, T> {
    pub(super) pointer: *mut T,
    pub(super) rows: usize,
    pub(super) columns: usize,
    pub(super) row_stride: usize,
    lifetime: PhantomData<&'a mut [T]>,
}

// SAFETY: a MatrixMut is an exclusive borrow of its elements, like `&mut [T]`, and no other MatrixMut that
// can be used at the same time reaches them: `split_at_column` gives each half disjoint columns, and
// `column_range` borrows the one that it comes from. So it may be sent to another thread if its elements may.
unsafe impl<T: Send> Send for MatrixMut<'_, T> {}

impl<'a, T: Element> MatrixMut<'a, T> {
    /// Row-major `rows × columns` without gaps.
    pub fn new(data: &'a mut [T], rows: usize, columns: usize) -> Self {
        Self::strided(data, rows, columns, columns)
    }

    /// Row-major with `row_stride ≥ columns` elements from one row to the next.
    ///
    /// # Panics
    /// If the slice is too short for the matrix, or rows would overlap.
    pub fn strided(data: &'a mut [T], rows: usize, columns: usize, row_stride: usize) -> Self {
        assert!(row_stride >= columns, "a row of {columns} does not fit a row stride of {row_stride}");
        let needed = extent(rows, columns, row_stride, 1);
        assert!(
            needed.is_some_and(|n| n <= data.len()),
            "a {rows} × {columns} matrix of row stride {row_stride} does not fit a slice of {}",
            data.len()
        );
        Self { pointer: data.as_mut_ptr(), rows, columns, row_stride, lifetime: PhantomData }
    }

    /// The number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// One row as a slice.
    pub fn row(&mut self, row: usize) -> &mut [T] {
        assert!(row < self.rows, "row {row} of {}", self.rows);
        // Without columns there may be no element to point at: `strided` then requires none.
        let offset = if self.columns == 0 { 0 } else { row * self.row_stride };
        // SAFETY: with no columns, the slice is empty and its pointer that of a borrowed slice, so aligned
        // and not null. Else row < rows, and `strided` asserted that (rows−1)·row_stride + columns elements,
        // a product that does not overflow, lie inside the slice that `self` borrows (`split_at_column` keeps
        // this: it moves the pointer by as many elements as it takes from the columns). So the elements
        // offset .. offset + columns lie inside too. They belong to no other MatrixMut, and the borrow of
        // `self` prevents a second slice of them while this one lives.
        unsafe { std::slice::from_raw_parts_mut(self.pointer.add(offset), self.columns) }
    }

    /// Some of its columns; `self` is borrowed meanwhile.
    ///
    /// # Panics
    /// If it does not have them.
    pub fn column_range(&mut self, Range { start, end }: Range<usize>) -> MatrixMut<'_, T> {
        let all = MatrixMut { lifetime: PhantomData, ..*self };
        all.split_at_column(end).0.split_at_column(start).1
    }

    /// The columns before `at`, and those from `at` on.
    pub fn split_at_column(self, at: usize) -> (Self, Self) {
        assert!(at <= self.columns, "column {at} of {}", self.columns);
        // With no rows, or no columns on the right, there may be no element to point at.
        let offset = if self.rows == 0 || at == self.columns { 0 } else { at };
        // SAFETY: with offset 0 the pointer does not move. Else offset = at < columns, and there is a first
        // row, all of which `strided` asserted to lie inside the slice, and so the element `offset`. The
        // halves have disjoint columns of the same rows, and `self` is consumed, so no element has two
        // owners.
        let right = unsafe { self.pointer.add(offset) };
        (Self { columns: at, ..self }, Self { pointer: right, columns: self.columns - at, ..self })
    }
}

/// Asserts that A is m × k, B k × n and C m × n.
pub(super) fn check_shapes<T>(a: &Matrix<'_, T>, b: &Matrix<'_, T>, c: &MatrixMut<'_, T>) {
    assert!(
        b.rows == a.columns && c.rows == a.rows && c.columns == b.columns,
        "{} × {} times {} × {} is not {} × {}",
        a.rows,
        a.columns,
        b.rows,
        b.columns,
        c.rows,
        c.columns
    );
}

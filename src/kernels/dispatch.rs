//! The unpacked product, compiled for each kind of processor, and the choice of the right one.
//!
//! # Why this file may use `unsafe`
//!
//! A function compiled for some instructions may be called only if they were detected, which the compiler
//! cannot check. And a product of `T` is cast to one of `f32` if `T` is `f32`.
#![allow(unsafe_code)]

use std::any::TypeId;
#[cfg(target_arch = "x86_64")]
use std::marker::PhantomData;
use std::mem::MaybeUninit;

use super::factors::{Left, Part, Right, Rows};
use super::grid::Grid;
use super::matrix::{Matrix, MatrixMut, check_shapes};
use super::precision::Precision;
use super::simd::{Array, Level, Vector};
use super::unpacked::Product;
use crate::tensor::Element;

/// C ← A·B + β·C on the calling thread.
///
/// # Panics
/// If the shapes do not fit each other, or the processor lacks the precision.
pub fn product<T: Element>(
    precision: Precision,
    a: Matrix<'_, T>,
    b: Matrix<'_, T>,
    beta: T,
    c: &mut MatrixMut<'_, T>,
) {
    product_at(Level::found(), precision, a, b, beta, c);
}

/// [`product`] at a level that the processor supports.
pub(super) fn product_at<T: Element>(
    level: Level,
    precision: Precision,
    a: Matrix<'_, T>,
    b: Matrix<'_, T>,
    beta: T,
    c: &mut MatrixMut<'_, T>,
) {
    check_shapes(&a, &b, c);
    let plain = |rows, stride, columns, data| Rows::new(data, Grid::line(rows, stride), columns);
    let left = if a.column_stride == 1 {
        let rows = plain(a.rows, a.row_stride, a.columns, a.data);
        Left::Rows { rows, first_depth: 0, depth_stride: 0 }
    } else {
        Left::Columns(plain(a.columns, a.column_stride, a.rows, a.data))
    };
    let parts = &[Part { left, rows: Grid::line(a.rows, 1) }];
    multiply(level, precision, Product { parts, b: Right::from(b), beta, c });
}

/// C ← A·B + β·C for some parts of C, which share B.
///
/// # Panics
/// If rows, or rows of C, do not exist, or the processor lacks the precision.
pub fn product_of_parts<T: Element>(
    precision: Precision,
    parts: &[Part<'_, T>],
    b: Right<'_, T>,
    beta: T,
    c: &mut MatrixMut<'_, T>,
) {
    multiply(Level::found(), precision, Product { parts, b, beta, c });
}

/// Multiplies at a level that this processor supports. Only `f32` has a choice of precision.
fn multiply<T: Element>(level: Level, precision: Precision, product: Product<'_, '_, T>) {
    assert!(level <= Level::found(), "{level:?} on a processor that has {:?}", Level::found());
    #[cfg(target_arch = "x86_64")]
    {
        use super::bf16;
        use super::simd::x86::{Eight, Sixteen};
        #[target_feature(enable = "avx2,fma")]
        fn eight(product: Product<'_, '_, f32>) {
            product.compute::<Eight>();
        }
        #[target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512dq,avx512vl")]
        fn sixteen(product: Product<'_, '_, f32>) {
            product.compute::<Sixteen>();
        }
        #[target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")]
        fn pairs(product: Product<'_, '_, f32>) {
            bf16::compute(product);
        }
        #[target_feature(enable = "avx2,fma")]
        fn any<T: Element>(product: Product<'_, '_, T>) {
            product.compute::<Array<T, true>>();
        }
        if level == Level::Portable {
            return product.compute::<Array<T, false>>();
        }
        if TypeId::of::<T>() != TypeId::of::<f32>() {
            // SAFETY: the level is at least `Fused`, for which `found` has seen AVX2 and FMA.
            return unsafe { any(product) };
        }
        // SAFETY: T is f32, so source and target are the same type; the source is never used again.
        let product: Product<'_, '_, f32> = unsafe { std::mem::transmute_copy(&MaybeUninit::new(product)) };
        if precision == Precision::Bf16 {
            assert!(precision.is_found(), "products in bf16 on a processor without them");
            // SAFETY: `is_found` has seen AVX512-BF16 and the level of AVX-512.
            return unsafe { pairs(product) };
        }
        // Few columns fill only half a vector of sixteen, which takes as long as two vectors of eight.
        match level {
            // SAFETY: `found` has seen the five of AVX-512 and FMA.
            Level::Avx512 if product.c.columns > 8 => unsafe { sixteen(product) },
            // SAFETY: `found` has seen AVX2 and FMA.
            _ => unsafe { eight(product) },
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    match level {
        Level::Portable => product.compute::<Array<T, false>>(),
        _ => product.compute::<Array<T, true>>(),
    }
}

/// A loop over slices with explicit vectors: where `vectorized!` leaves it to the compiler which numbers make a vector, and it takes the wrong ones.
pub(super) trait Task<T> {
    /// Computes with vectors `X`. It and what it calls must be marked `#[inline(always)]`.
    fn run<X: Vector<Number = T>>(self);
}

/// Runs a task with the vectors of this processor.
pub(super) fn with_vectors<T: Element>(task: impl Task<T>) {
    #[cfg(target_arch = "x86_64")]
    {
        use super::simd::x86::{Eight, Sixteen};
        #[target_feature(enable = "avx2,fma")]
        fn eight<T: Element>(task: impl Task<T>) {
            task.run::<Of<T, Eight>>();
        }
        #[target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512dq,avx512vl")]
        fn sixteen<T: Element>(task: impl Task<T>) {
            task.run::<Of<T, Sixteen>>();
        }
        #[target_feature(enable = "avx2,fma")]
        fn any<T: Element>(task: impl Task<T>) {
            task.run::<Array<T, true>>();
        }
        match (Level::found(), TypeId::of::<T>() == TypeId::of::<f32>()) {
            (Level::Portable, _) => task.run::<Array<T, false>>(),
            // SAFETY: `found` has seen AVX2 and FMA.
            (_, false) => unsafe { any(task) },
            // SAFETY: `found` has seen AVX2 and FMA.
            (Level::Fused, true) => unsafe { eight(task) },
            // SAFETY: `found` has seen the five of AVX-512 and FMA.
            (Level::Avx512, true) => unsafe { sixteen(task) },
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    match Level::found() {
        Level::Portable => task.run::<Array<T, false>>(),
        _ => task.run::<Array<T, true>>(),
    }
}

/// A vector of `f32` as one of `T`, which is `f32`, as only [`with_vectors`] knows.
#[cfg(target_arch = "x86_64")]
#[derive(Clone, Copy)]
struct Of<T, X>(X, PhantomData<T>);

#[cfg(target_arch = "x86_64")]
impl<T: Element, X: Vector<Number = f32>> Vector for Of<T, X> {
    type Number = T;
    const LANES: usize = X::LANES;
    const ROWS: usize = X::ROWS;

    #[inline(always)]
    fn splat(number: T) -> Self {
        Self(X::splat(number.to_f64() as f32), PhantomData)
    }

    #[inline(always)]
    fn load(from: &[T]) -> Self {
        // SAFETY: T is f32, so both are the same type.
        Self(X::load(unsafe { &*(std::ptr::from_ref(from) as *const [f32]) }), PhantomData)
    }

    #[inline(always)]
    fn store(self, to: &mut [T]) {
        // SAFETY: as in `load`, and the numbers are borrowed exclusively.
        self.0.store(unsafe { &mut *(std::ptr::from_mut(to) as *mut [f32]) });
    }

    #[inline(always)]
    fn mul_add(self, factor: Self, addend: Self) -> Self {
        Self(self.0.mul_add(factor.0, addend.0), PhantomData)
    }

    #[inline(always)]
    fn add(self, other: Self) -> Self {
        Self(self.0.add(other.0), PhantomData)
    }

    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        Self(self.0.sub(other.0), PhantomData)
    }
}

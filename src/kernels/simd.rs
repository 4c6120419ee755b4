//! The vector instructions of this processor, detected once at run time, and the vectors made of them.
//!
//! One build runs on every processor, whatever the compiler flags. Hot code is compiled several times, once
//! for each [`Level`], and the right copy is called: matrix products with explicit `Vector`s by
//! [`dispatch`](super::dispatch); loops over slices, which the compiler vectorizes, by `vectorized!`.
//!
//! # The same bits at every level
//!
//! A fused multiply-add rounds once; a multiplication and an addition round twice. So one never replaces the
//! other. Matrix products are fused, and their order of summation does not depend on the vector width (see
//! [`unpacked`](super::unpacked)). ln Γ is fused because it needs the precision. Everything else multiplies
//! and adds separately, which IEEE 754 defines to the last bit. [`Level::Portable`] is for processors without
//! fused multiply-add: there a product rounds twice, and its bits differ.
//!
//! # Why this file may use `unsafe`
//!
//! A function compiled for some instructions may be called only after they were detected; intrinsics that
//! load and store take pointers; and a block of B is not cleared before it is filled.
#![allow(unsafe_code)]

use std::hint::black_box;
use std::mem::MaybeUninit;
use std::sync::OnceLock;

use crate::tensor::Element;

/// Levels of vector instructions, in increasing order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// The instructions of every processor of this architecture, without fused multiply-add.
    Portable,
    /// Fused multiply-add; on x86-64 also AVX2, with vectors of 8 single-precision numbers.
    Fused,
    /// AVX-512, with vectors of 16.
    Avx512,
}

impl Level {
    /// The best level of this processor.
    pub fn found() -> Self {
        static FOUND: OnceLock<Level> = OnceLock::new();
        *FOUND.get_or_init(|| {
            #[cfg(target_arch = "x86_64")]
            {
                let fused = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
                let wide = is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512bw")
                    && is_x86_feature_detected!("avx512dq")
                    && is_x86_feature_detected!("avx512vl");
                if fused && wide {
                    Self::Avx512
                } else if fused {
                    Self::Fused
                } else {
                    Self::Portable
                }
            }
            #[cfg(not(target_arch = "x86_64"))]
            {
                if cfg!(target_arch = "aarch64") { Self::Fused } else { Self::Portable }
            }
        })
    }

    /// All levels that this processor supports.
    #[cfg(test)]
    pub fn all() -> impl Iterator<Item = Self> {
        [Self::Portable, Self::Fused, Self::Avx512].into_iter().filter(|&level| level <= Self::found())
    }
}

/// Computes an expression, a loop over slices, with code compiled for the processor's vectors. Functions that
/// it calls must be marked `#[inline(always)]`; others are compiled for any processor, which is correct but
/// slow.
macro_rules! vectorized {
    ($expression:expr) => {
        $crate::kernels::simd::compiled_for_each_level(
            #[inline(always)]
            || $expression,
        )
    };
}
pub(crate) use vectorized;

/// The implementation of [`vectorized!`].
#[inline(always)]
pub(crate) fn compiled_for_each_level<R>(task: impl FnOnce() -> R) -> R {
    #[cfg(target_arch = "x86_64")]
    {
        #[target_feature(enable = "avx2,fma")]
        fn fused<R>(task: impl FnOnce() -> R) -> R {
            task()
        }
        #[target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512dq,avx512vl")]
        fn avx512<R>(task: impl FnOnce() -> R) -> R {
            task()
        }
        match Level::found() {
            Level::Portable => task(),
            // SAFETY: `found` has seen AVX2 and FMA.
            Level::Fused => unsafe { fused(task) },
            // SAFETY: `found` has seen these five and FMA.
            Level::Avx512 => unsafe { avx512(task) },
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    task()
}

/// Independent multiply-adds without loads, in the processor's widest vectors: `rounds` times twelve. Returns
/// the floating-point operations, two for each number. For benches: the upper limit of a product's speed.
pub fn multiply_adds(rounds: usize) -> usize {
    /// x ← x·factor + term: it converges to term/(1 − factor), so no number becomes subnormal.
    #[inline(always)]
    fn chains<X: Vector<Number = f32>>(rounds: usize) -> usize {
        let (factor, term) = black_box((0.9, 0.1));
        let (factor, term) = (X::splat(factor), X::splat(term));
        let mut sums = [X::splat(0.5); 12];
        for _ in 0..black_box(rounds) {
            for sum in &mut sums {
                *sum = sum.mul_add(factor, term);
            }
        }
        for sum in sums {
            let mut numbers = [0.0; 16];
            sum.store(&mut numbers);
            black_box(numbers);
        }
        2 * rounds * sums.len() * X::LANES
    }
    #[cfg(target_arch = "x86_64")]
    {
        #[target_feature(enable = "avx2,fma")]
        fn eight(rounds: usize) -> usize {
            chains::<x86::Eight>(rounds)
        }
        #[target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512dq,avx512vl")]
        fn sixteen(rounds: usize) -> usize {
            chains::<x86::Sixteen>(rounds)
        }
        match Level::found() {
            Level::Portable => chains::<Array<f32, false>>(rounds),
            // SAFETY: `found` has seen AVX2 and FMA.
            Level::Fused => unsafe { eight(rounds) },
            // SAFETY: `found` has seen the five of AVX-512 and FMA.
            Level::Avx512 => unsafe { sixteen(rounds) },
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    match Level::found() {
        Level::Portable => chains::<Array<f32, false>>(rounds),
        _ => chains::<Array<f32, true>>(rounds),
    }
}

/// A vector register of numbers, or an array in its place. Vectors of instructions that not every processor
/// has are private to the kernels, and are used only inside functions for processors that have them
/// ([`dispatch`](super::dispatch), [`multiply_adds`]).
pub(super) trait Vector: Copy {
    /// The type of its numbers.
    type Number: Element;
    /// The number of lanes.
    const LANES: usize;
    /// The rows of a tile: two vectors for each row, two vectors of B and one of A fill the registers.
    const ROWS: usize;

    /// The number in every lane.
    fn splat(number: Self::Number) -> Self;
    /// The first numbers of a slice.
    ///
    /// # Panics
    /// If it has too few.
    fn load(from: &[Self::Number]) -> Self;
    /// Writes the first numbers of a slice.
    ///
    /// # Panics
    /// If it has too few.
    fn store(self, to: &mut [Self::Number]);
    /// `self · factor + addend`, fused if the level is.
    fn mul_add(self, factor: Self, addend: Self) -> Self;
    /// `self + other`.
    fn add(self, other: Self) -> Self;
    /// `self − other`.
    fn sub(self, other: Self) -> Self;
}

/// A vector without instructions of its own.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub(super) struct Array<T, const FUSED: bool>([T; 4]);

impl<T: Element, const FUSED: bool> Vector for Array<T, FUSED> {
    type Number = T;
    const LANES: usize = 4;
    const ROWS: usize = 4;

    #[inline(always)]
    fn splat(number: T) -> Self {
        Self([number; 4])
    }

    #[inline(always)]
    fn load(from: &[T]) -> Self {
        Self(*from.first_chunk().expect("a vector"))
    }

    #[inline(always)]
    fn store(self, to: &mut [T]) {
        *to.first_chunk_mut().expect("a vector") = self.0;
    }

    #[inline(always)]
    fn mul_add(self, factor: Self, addend: Self) -> Self {
        Self(std::array::from_fn(|i| {
            if FUSED {
                self.0[i].mul_add(factor.0[i], addend.0[i])
            } else {
                self.0[i] * factor.0[i] + addend.0[i]
            }
        }))
    }

    #[inline(always)]
    fn add(self, other: Self) -> Self {
        Self(std::array::from_fn(|i| self.0[i] + other.0[i]))
    }

    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        Self(std::array::from_fn(|i| self.0[i] - other.0[i]))
    }
}

#[cfg(target_arch = "x86_64")]
pub(super) mod x86 {
    use std::arch::x86_64::*;

    use super::Vector;

    /// A vector of instructions that were found: its names are the type, its register, lanes and rows, and six intrinsics.
    macro_rules! vector {
        ($(#[$doc:meta])* $name:ident($register:ty), $lanes:literal, $rows:literal, $splat:ident, $load:ident, $store:ident, $fused:ident, $add:ident, $sub:ident) => {
            $(#[$doc])*
            #[derive(Clone, Copy)]
            pub struct $name(pub(in crate::kernels) $register);

            impl Vector for $name {
                type Number = f32;
                const LANES: usize = $lanes;
                const ROWS: usize = $rows;

                #[inline(always)]
                fn splat(number: f32) -> Self {
                    // SAFETY: a value of this type is made only on a processor that has the instructions (see
                    // the trait).
                    Self(unsafe { $splat(number) })
                }

                #[inline(always)]
                fn load(from: &[f32]) -> Self {
                    let from: &[f32; $lanes] = from.first_chunk().expect("a vector");
                    // SAFETY: as in `splat`; the pointer is to as many numbers as there are lanes, and need
                    // not be aligned.
                    Self(unsafe { $load(from.as_ptr()) })
                }

                #[inline(always)]
                fn store(self, to: &mut [f32]) {
                    let to: &mut [f32; $lanes] = to.first_chunk_mut().expect("a vector");
                    // SAFETY: as in `load`, and the numbers are borrowed exclusively.
                    unsafe { $store(to.as_mut_ptr(), self.0) }
                }

                #[inline(always)]
                fn mul_add(self, factor: Self, addend: Self) -> Self {
                    // SAFETY: as in `splat`.
                    Self(unsafe { $fused(self.0, factor.0, addend.0) })
                }

                #[inline(always)]
                fn add(self, other: Self) -> Self {
                    // SAFETY: as in `splat`.
                    Self(unsafe { $add(self.0, other.0) })
                }

                #[inline(always)]
                fn sub(self, other: Self) -> Self {
                    // SAFETY: as in `splat`.
                    Self(unsafe { $sub(self.0, other.0) })
                }
            }
        };
    }

    vector!(
        /// AVX2's vector.
        Eight(__m256), 8, 6, _mm256_set1_ps, _mm256_loadu_ps, _mm256_storeu_ps, _mm256_fmadd_ps, _mm256_add_ps, _mm256_sub_ps
    );
    vector!(
        /// AVX-512's vector.
        Sixteen(__m512), 16, 8, _mm512_set1_ps, _mm512_loadu_ps, _mm512_storeu_ps, _mm512_fmadd_ps, _mm512_add_ps, _mm512_sub_ps
    );
}

/// Rows of two vectors each: a block of B. It is not cleared when created, since most products fill only a
/// part of it.
pub(super) struct Block<X> {
    rows: [MaybeUninit<[X; 2]>; DEPTH],
    len: usize,
}

/// The most rows of a block. The start and end of a tile cost about ten steps of its loop, so a deep block is
/// better than one that leaves room for other data in the first-level cache.
pub(super) const DEPTH: usize = 512;

impl<X> Block<X> {
    /// An empty block.
    #[inline(always)]
    pub fn new() -> Self {
        Self { rows: [const { MaybeUninit::uninit() }; DEPTH], len: 0 }
    }

    /// Removes all rows.
    #[inline(always)]
    pub fn clear(&mut self) {
        self.len = 0;
    }

    /// Adds a row.
    ///
    /// # Panics
    /// If there are [`DEPTH`] already.
    #[inline(always)]
    pub fn push(&mut self, row: [X; 2]) {
        self.rows[self.len].write(row);
        self.len += 1;
    }

    /// The rows.
    #[inline(always)]
    pub fn rows(&self) -> &[[X; 2]] {
        // SAFETY: `push` has written the first `len` rows, and counts a row only after writing it.
        unsafe { std::slice::from_raw_parts(self.rows.as_ptr().cast(), self.len) }
    }

    /// The rows, mutable.
    #[inline(always)]
    pub fn rows_mut(&mut self) -> &mut [[X; 2]] {
        // SAFETY: as in `rows`.
        unsafe { std::slice::from_raw_parts_mut(self.rows.as_mut_ptr().cast(), self.len) }
    }
}

impl<X: Vector> Block<X> {
    /// The rows as numbers, 2·LANES each.
    pub fn numbers(&mut self) -> &mut [X::Number] {
        // SAFETY: as in `rows`. A vector is LANES numbers and nothing else, aligned at least as they are, and
        // any numbers are a vector.
        unsafe { std::slice::from_raw_parts_mut(self.rows.as_mut_ptr().cast(), self.len * 2 * X::LANES) }
    }
}

//! bf16, the upper half of an f32 (the same exponents with 8 significant bits instead of 24), and vectors of
//! pairs of such numbers.
//!
//! [`round`] is the definition: to nearest, ties to even. A processor with AVX512-BF16 rounds 32 numbers with
//! one instruction, and adds the products of 16 pairs to 16 sums with another:
//!
//! ```text
//! sum ← sum + a₀·b₀ + a₁·b₁          in single precision
//! ```
//!
//! The product of two bf16 numbers has at most 16 significant bits, so it is exact in single precision; the
//! two additions round. Descriptions of the instruction differ about their order, and it treats subnormal
//! numbers as 0. So sums are bit-identical only among processors that have the instruction.
//!
//! # Why this file may use `unsafe`
//!
//! Intrinsics may be called only if the instructions were detected, and those that load and store take
//! pointers.
#![allow(unsafe_code)]

use std::arch::x86_64::*;

use super::simd::x86::Sixteen;

/// The upper 16 bits of the nearest bf16 number, ties to even. A number below 2⁻¹²⁶ becomes 0 with its sign,
/// as the instruction does it.
#[inline(always)]
pub(super) fn round(number: f32) -> u16 {
    let bits = number.to_bits();
    let magnitude = bits & 0x7fff_ffff;
    if magnitude > 0x7f80_0000 {
        return (bits >> 16) as u16 | 0x40; // not a number, and quiet
    }
    if magnitude < 0x0080_0000 {
        return (bits >> 16) as u16 & 0x8000;
    }
    // A carry out of the mantissa increments the exponent, and the largest number becomes infinity: both are
    // correct.
    ((bits + 0x7fff + (bits >> 16 & 1)) >> 16) as u16
}

/// Sixteen pairs of bf16 numbers, each in the place of an f32: the first in its lower half. Only for
/// functions that were compiled for AVX512-BF16 ([`dispatch`](super::dispatch)).
#[derive(Clone, Copy)]
pub(super) struct Pairs(__m512i);

impl Pairs {
    /// The same pair sixteen times.
    #[inline(always)]
    pub fn splat(pair: u32) -> Self {
        // SAFETY: a value of this type is made only on a processor that has the instructions.
        Self(unsafe { _mm512_set1_epi32(pair.cast_signed()) })
    }

    /// Writes the pairs to the start of a slice.
    ///
    /// # Panics
    /// If it is too short.
    #[inline(always)]
    pub fn store(self, to: &mut [u32]) {
        let to: &mut [u32; 16] = to.first_chunk_mut().expect("a vector");
        // SAFETY: as in `splat`; the pointer is to sixteen numbers that are borrowed exclusively.
        unsafe { _mm512_storeu_si512(to.as_mut_ptr().cast(), self.0) }
    }

    /// Numbers 0 and 1, 2 and 3, … of thirty-two.
    #[inline(always)]
    pub fn of_neighbours(first: Sixteen, second: Sixteen) -> Self {
        // SAFETY: as in `splat`; both types are 512 bits of plain numbers.
        Self(unsafe { std::mem::transmute::<__m512bh, __m512i>(_mm512_cvtne2ps_pbh(second.0, first.0)) })
    }

    /// Number 0 of both, number 1 of both, …
    #[inline(always)]
    pub fn of_rows(first: Sixteen, second: Sixteen) -> Self {
        const ORDER: [u16; 32] = {
            let mut order = [0; 32];
            let mut i = 0;
            while i < 32 {
                order[i] = (i / 2 + i % 2 * 16) as u16;
                i += 1;
            }
            order
        };
        // SAFETY: as in `splat`; the pointer is to thirty-two numbers of 16 bits.
        Self(unsafe {
            let order = _mm512_loadu_si512(ORDER.as_ptr().cast());
            _mm512_permutexvar_epi16(order, Self::of_neighbours(first, second).0)
        })
    }

    /// sums + the products of both pairs.
    #[inline(always)]
    pub fn add_products(self, other: Self, sums: Sixteen) -> Sixteen {
        // SAFETY: as in `splat`; the types are 512 bits of plain numbers.
        Sixteen(unsafe {
            let [a, b] = [self.0, other.0].map(|pairs| std::mem::transmute::<__m512i, __m512bh>(pairs));
            _mm512_dpbf16_ps(sums.0, a, b)
        })
    }

    /// Transposes sixteen by sixteen pairs: exchanges the off-diagonal quarters, then those within each
    /// quarter, and so on.
    #[inline(always)]
    pub fn transpose(rows: &mut [Self; 16]) {
        const fn order(side: u32) -> [[u32; 16]; 2] {
            // Lane t of the upper row is its own, or the lower row's (from 16 on) that stands `side` before.
            let mut order = [[0; 16]; 2];
            let mut t = 0;
            while t < 16 {
                let is_left = t & side == 0;
                order[0][t as usize] = if is_left { t } else { 16 + t - side };
                order[1][t as usize] = if is_left { t + side } else { 16 + t };
                t += 1;
            }
            order
        }
        const ORDERS: [[[u32; 16]; 2]; 4] = [order(8), order(4), order(2), order(1)];
        for (step, orders) in ORDERS.iter().enumerate() {
            let side = 8 >> step;
            for i in 0..16 {
                if i & side == 0 {
                    let (upper, lower) = (rows[i].0, rows[i + side].0);
                    // SAFETY: as in `splat`; the pointers are to sixteen numbers.
                    unsafe {
                        let [a, b] = orders.each_ref().map(|order| _mm512_loadu_si512(order.as_ptr().cast()));
                        rows[i] = Self(_mm512_permutex2var_epi32(upper, a, lower));
                        rows[i + side] = Self(_mm512_permutex2var_epi32(upper, b, lower));
                    }
                }
            }
        }
    }
}

/// sum + a₀·b₀ + a₁·b₁ as the instruction adds them, for numbers that are bf16's and far from the subnormal.
#[cfg(test)]
pub(super) fn add_pair(sum: f32, first: [f32; 2], second: [f32; 2]) -> f32 {
    first[0].mul_add(first[1], second[0].mul_add(second[1], sum))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::precision::Precision;
    use crate::kernels::simd::Vector;

    /// Rounds sixteen pairs of neighbours by the instruction.
    fn by_instruction(numbers: &[f32; 32]) -> [u32; 16] {
        #[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
        fn compiled(numbers: &[f32; 32]) -> [u32; 16] {
            let mut pairs = [0; 16];
            Pairs::of_neighbours(Sixteen::load(numbers), Sixteen::load(&numbers[16..])).store(&mut pairs);
            pairs
        }
        // SAFETY: the test has detected the instructions.
        unsafe { compiled(numbers) }
    }

    #[test]
    fn rounding_is_to_the_nearest_and_of_two_to_the_even() {
        for (number, expected) in [
            (0.0, 0x0000),
            (-0.0, 0x8000),
            (1.0, 0x3f80),
            (-1.5, 0xbfc0),
            (f32::INFINITY, 0x7f80),
            (f32::MAX, 0x7f80),
            (f32::MIN_POSITIVE, 0x0080),
            (-1e-40, 0x8000),
            (1.0 + 1.0 / 256.0, 0x3f80),
            (1.0 + 3.0 / 256.0, 0x3f82),
            (1.0 + 1.001 / 256.0, 0x3f81),
        ] {
            assert_eq!(round(number), expected, "{number:e}");
        }
        assert!(f32::from_bits(u32::from(round(f32::NAN)) << 16).is_nan());
    }

    #[test]
    fn the_instruction_rounds_as_the_definition() {
        if !Precision::Bf16.is_found() {
            println!("this processor has no AVX512-BF16, so its rounding is not tested");
            return;
        }
        // Every upper half, with lower halves below, at and above the middle.
        let lower = [0, 1, 0x7fff, 0x8000, 0x8001, 0xffff];
        let all: Vec<f32> =
            lower.iter().flat_map(|&l| (0..=0xffff_u32).map(move |h| f32::from_bits(h << 16 | l))).collect();
        for numbers in all.as_chunks::<32>().0 {
            for (pair, numbers) in by_instruction(numbers).iter().zip(numbers.chunks(2)) {
                let expected = u32::from(round(numbers[0])) | u32::from(round(numbers[1])) << 16;
                assert_eq!(*pair, expected, "{numbers:?}");
            }
        }
    }
}

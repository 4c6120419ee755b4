//! The two number types that the engine computes with.
//!
//! Training runs in `f32`. Everything from the kernels to the objective is generic over [`Element`]
//! nevertheless, because a finite difference needs the sixteen digits of `f64` to verify a gradient.
//!
//! `exp` and `ln` of `f32` are written here as short polynomials without branches, so that a loop over a
//! slice becomes vector instructions; the standard library's are function calls, one number at a time. `f64`,
//! which only tests use, has the standard library's.

use std::fmt::{Debug, Display};
use std::ops::{Add, AddAssign, Div, DivAssign, Mul, MulAssign, Neg, Sub, SubAssign};

mod sealed {
    pub trait Sealed {}
    impl Sealed for f32 {}
    impl Sealed for f64 {}
}

/// A floating-point number: `f32` or `f64`.
pub trait Element:
    sealed::Sealed
    + Copy
    + Default
    + PartialEq
    + PartialOrd
    + Debug
    + Display
    + Send
    + Sync
    + 'static
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Div<Output = Self>
    + Neg<Output = Self>
    + AddAssign
    + SubAssign
    + MulAssign
    + DivAssign
{
    /// 0.
    const ZERO: Self;
    /// 1.
    const ONE: Self;
    /// A number near the largest; its product with any number up to 1 is finite.
    const HUGE: Self;

    /// The nearest number of this type.
    fn from_f64(value: f64) -> Self;
    /// The same number in double precision.
    fn to_f64(self) -> f64;
    /// `self · factor + addend` in one rounding. Only for matrix products: without the instruction it is a
    /// slow function call.
    fn mul_add(self, factor: Self, addend: Self) -> Self;
    /// e to the power of `self`. 0 for large negative numbers, infinity above the type's range, NaN for NaN.
    fn exp(self) -> Self;
    /// The natural logarithm of a positive, normal number, in `f32` to about 1 unit in the last place. For 0,
    /// negative, subnormal or non-finite arguments `f32` calls the standard library.
    fn ln(self) -> Self;
    /// The square root.
    fn sqrt(self) -> Self;
    /// The hyperbolic tangent.
    fn tanh(self) -> Self;
    /// The absolute value.
    fn abs(self) -> Self;
    /// The larger of two numbers that are not NaN.
    fn max(self, other: Self) -> Self;
    /// The smaller of two numbers that are not NaN.
    fn min(self, other: Self) -> Self;
    /// Neither infinite nor NaN.
    fn is_finite(self) -> bool;
    /// Not a number.
    fn is_nan(self) -> bool;

    /// 1/(1 + e⁻ˣ).
    #[inline(always)]
    fn sigmoid(self) -> Self {
        Self::ONE / (Self::ONE + (-self).exp())
    }
}

impl Element for f32 {
    const ZERO: Self = 0.0;
    const ONE: Self = 1.0;
    const HUGE: Self = 1e38;

    #[inline(always)]
    fn from_f64(value: f64) -> Self {
        value as Self
    }

    #[inline(always)]
    fn to_f64(self) -> f64 {
        f64::from(self)
    }

    #[inline(always)]
    fn mul_add(self, factor: Self, addend: Self) -> Self {
        self.mul_add(factor, addend)
    }

    /// eˣ = 2ⁿ·eʳ with n = round(x / ln 2) and |r| ≤ ½ ln 2, where eight terms of the exponential series
    /// leave an error of r⁸/8! ≈ 5·10⁻⁹. The product n·ln 2 is subtracted in two parts so that r keeps all
    /// its digits.
    #[inline(always)]
    fn exp(self) -> Self {
        const LN_2_HIGH: f32 = 0.693_359_4; // ln 2 to 9 bits: n times this is exact
        const LN_2_LOW: f32 = -2.121_944_4e-4; // the rest
        const SMALLEST: f32 = -87.336_54; // ln of the smallest normal number
        const LARGEST: f32 = 88.722_83; // ln of the largest number
        const ROUNDING: f32 = 12_582_912.0; // 1.5·2²³
        let x = self.max(SMALLEST).min(LARGEST);
        // Near 1.5·2²³ the last place of an f32 is 1: adding it rounds to the nearest integer and leaves that
        // integer in the low bits. A conversion by `as` would also check for values that an i32 cannot hold.
        let shifted = x * std::f32::consts::LOG2_E + ROUNDING;
        let n = shifted - ROUNDING;
        let r = (x - n * LN_2_HIGH) - n * LN_2_LOW;
        let mut series = 1.0 / 5040.0;
        for coefficient in [1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0] {
            series = series * r + coefficient;
        }
        // 2ⁿ in two factors, since n can be 128 and the exponent field ends at 127. Wrapping, because a test
        // for overflow, in builds that have one, keeps a loop from becoming vector instructions.
        let n = (shifted.to_bits() as i32).wrapping_sub(ROUNDING.to_bits() as i32);
        let half = n >> 1;
        let power = |n: i32| f32::from_bits((n.wrapping_add(127) << 23) as u32);
        let value = series * power(half) * power(n.wrapping_sub(half));
        let value = if self < SMALLEST { 0.0 } else { value };
        let value = if self > LARGEST { f32::INFINITY } else { value };
        if self.is_nan() { self } else { value }
    }

    /// ln x = k·ln 2 + ln m with m in [√½, √2), and ln m = 2·artanh(s) = 2(s + s³/3 + s⁵/5 + …) for s =
    /// (m−1)/(m+1),
    /// |s| ≤ 0.172: five terms leave an error of 2s¹¹/11 ≈ 7·10⁻¹⁰.
    #[inline(always)]
    fn ln(self) -> Self {
        const TINY: f32 = f32::MIN_POSITIVE;
        let subnormal = self < TINY;
        let x = if subnormal { self * 8_388_608.0 } else { self };
        let bits = x.to_bits() as i32;
        // Adding 1 − √½ (in bits) carries into the exponent exactly when the mantissa passes √2.
        let shifted = bits.wrapping_add(0x3f80_0000 - 0x3f35_04f3);
        let exponent = (shifted >> 23) - 127;
        let m = f32::from_bits(((shifted & 0x007f_ffff) + 0x3f35_04f3) as u32);
        let s = (m - 1.0) / (m + 1.0);
        let square = s * s;
        let mut series = 1.0 / 9.0;
        for coefficient in [1.0 / 7.0, 1.0 / 5.0, 1.0 / 3.0] {
            series = series * square + coefficient;
        }
        let artanh = series * square * s + s;
        let exponent = exponent as f32 - if subnormal { 23.0 } else { 0.0 };
        let value = exponent * std::f32::consts::LN_2 + 2.0 * artanh;
        let value = if self == 0.0 { f32::NEG_INFINITY } else { value };
        let value = if self == f32::INFINITY { self } else { value };
        if self >= 0.0 { value } else { f32::NAN }
    }

    #[inline(always)]
    fn sqrt(self) -> Self {
        self.sqrt()
    }

    /// 1 − 2/(e²ˣ + 1): an absolute error of 10⁻⁷, enough for a pixel.
    #[inline(always)]
    fn tanh(self) -> Self {
        1.0 - 2.0 / (Element::exp(2.0 * self) + 1.0)
    }

    #[inline(always)]
    fn abs(self) -> Self {
        self.abs()
    }

    #[inline(always)]
    fn max(self, other: Self) -> Self {
        self.max(other)
    }

    #[inline(always)]
    fn min(self, other: Self) -> Self {
        self.min(other)
    }

    #[inline(always)]
    fn is_finite(self) -> bool {
        self.is_finite()
    }

    #[inline(always)]
    fn is_nan(self) -> bool {
        self.is_nan()
    }
}

impl Element for f64 {
    const ZERO: Self = 0.0;
    const ONE: Self = 1.0;
    const HUGE: Self = 1e300;

    #[inline(always)]
    fn from_f64(value: f64) -> Self {
        value
    }

    #[inline(always)]
    fn to_f64(self) -> f64 {
        self
    }

    #[inline(always)]
    fn mul_add(self, factor: Self, addend: Self) -> Self {
        self.mul_add(factor, addend)
    }

    fn exp(self) -> Self {
        self.exp()
    }

    fn ln(self) -> Self {
        self.ln()
    }

    #[inline(always)]
    fn sqrt(self) -> Self {
        self.sqrt()
    }

    fn tanh(self) -> Self {
        self.tanh()
    }

    #[inline(always)]
    fn abs(self) -> Self {
        self.abs()
    }

    #[inline(always)]
    fn max(self, other: Self) -> Self {
        self.max(other)
    }

    #[inline(always)]
    fn min(self, other: Self) -> Self {
        self.min(other)
    }

    #[inline(always)]
    fn is_finite(self) -> bool {
        self.is_finite()
    }

    #[inline(always)]
    fn is_nan(self) -> bool {
        self.is_nan()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Distance in units of the last place of `expected`.
    fn ulps(found: f32, expected: f64) -> f64 {
        let unit = f64::from((expected as f32).abs().max(f32::MIN_POSITIVE)) * f64::from(f32::EPSILON);
        (f64::from(found) - expected).abs() / unit
    }

    #[test]
    fn exp_and_ln_are_right_to_the_last_places() {
        let mut worst = (0.0_f64, 0.0_f64);
        for i in 0..200_000 {
            let x = (f64::from(i) / 200_000.0 * 174.0 - 87.0) as f32;
            worst.0 = worst.0.max(ulps(Element::exp(x), f64::from(x).exp()));
            let y = ((f64::from(i) / 200_000.0 - 0.5) * 170.0).exp() as f32;
            worst.1 = worst.1.max(ulps(Element::ln(y), f64::from(y).ln()));
        }
        println!("largest errors in units of the last place: exp {:.2}, ln {:.2}", worst.0, worst.1);
        assert!(worst.0 <= 2.0 && worst.1 <= 2.5, "{worst:?}");
    }

    #[test]
    fn the_edges_are_the_standard_librarys() {
        for x in [f32::NEG_INFINITY, -1000.0, 0.0, 1000.0, f32::INFINITY, 88.72] {
            let (found, expected) = (Element::exp(x), x.exp());
            assert!(found == expected || (found / expected - 1.0).abs() < 1e-6, "exp({x}) = {found}");
        }
        assert!(Element::exp(f32::NAN).is_nan());
        for x in [0.0, -0.0, 1.0, f32::INFINITY, f32::MIN_POSITIVE, 1e-40, f32::MAX] {
            let (found, expected) = (Element::ln(x), x.ln());
            assert!(
                found == expected || (found / expected - 1.0).abs() < 1e-6,
                "ln({x}) = {found}, not {expected}"
            );
        }
        assert!(Element::ln(-1.0_f32).is_nan() && Element::ln(f32::NAN).is_nan());
    }

    #[test]
    fn sigmoid_and_tanh_keep_their_digits() {
        for i in -4000..4000 {
            let x = i as f32 / 50.0;
            let exact = f64::from(x);
            assert!(ulps(x.sigmoid(), 1.0 / (1.0 + (-exact).exp())) <= 4.0, "sigmoid({x})");
            let difference = (f64::from(Element::tanh(x)) - exact.tanh()).abs();
            assert!(difference <= 2e-7, "tanh({x}) is off by {difference}");
        }
    }
}

//! Functions related to Γ, in `f64` for every number type of the engine, from arithmetic alone: bit-identical
//! wherever `f64` and fused multiply-adds follow IEEE 754.
//!
//! A beta-binomial never needs ln Γ itself but the logarithm of a rising factorial, and its derivative:
//!
//! ```text
//! ln x·(x+1)·…·(x+n−1) = ln Γ(x+n) − ln Γ(x)    by x: ψ(x+n) − ψ(x)    ψ = (ln Γ)′, the digamma function
//! ```
//!
//! For y of 8 and more, Stirling's series (DLMF 5.11.1 and 5.11.2) has the full precision of `f64`:
//!
//! ```text
//! ln Γ(y) = (y − ½)·ln y − y + ½ ln 2π + 1/(12y) − 1/(360y³) + 1/(1260y⁵) − …
//! ψ(y)    = ln y − 1/(2y) − 1/(12y²) + 1/(120y⁴) − 1/(252y⁶) + …
//! ```
//!
//! Every x is shifted there by Γ(x) = Γ(x+8) / P(x), P(x) = x·(x+1)·…·(x+7), so there is no case distinction
//! and loops become vector instructions. In the difference, P(x+n)/P(x) takes one logarithm. The values reach
//! 10⁵ and cancel to a few nats, which costs five digits: f32 would have two left, and f64 has eleven.

use crate::tensor::Element;

/// ln Γ(x+n) − ln Γ(x) and ψ(x+n) − ψ(x), for x from 10⁻⁵ to 10⁶ and n from 0 to 10⁶.
#[inline(always)]
pub(crate) fn ln_rising(x: f64, n: f64) -> (f64, f64) {
    let (low, d_low) = shift(x);
    let (high, d_high) = shift(x + n);
    let (value_low, slope_low) = stirling(x + SHIFT);
    let (value_high, slope_high) = stirling(x + n + SHIFT);
    (value_high - value_low - ln(high / low), (slope_high - slope_low) - (d_high / high - d_low / low))
}

/// The shift of [`stirling`]'s argument.
const SHIFT: f64 = 8.0;

/// P(x) = x·(x+1)·…·(x+7) and P′(x).
#[inline(always)]
fn shift(x: f64) -> (f64, f64) {
    let (mut product, mut slope) = (x, 1.0);
    for i in 1..SHIFT as usize {
        let factor = x + i as f64;
        // (P·f)′ = P′·f + P
        slope = Element::mul_add(slope, factor, product);
        product *= factor;
    }
    (product, slope)
}

/// ln Γ(y) − ½ ln 2π and ψ(y) for y ≥ 8; the constant cancels in differences.
///
/// The coefficients are B₂ₖ/(2k(2k−1)) of 1/y²ᵏ⁻¹, with the Bernoulli numbers B; times −(2k−1), of 1/y²ᵏ,
/// they are ψ's. The first omitted one, of 1/y¹⁵, amounts to 10⁻¹⁵.
#[inline(always)]
fn stirling(y: f64) -> (f64, f64) {
    const SERIES: [f64; 7] = [
        1.0 / 156.0,
        -691.0 / 360_360.0,
        1.0 / 1188.0,
        -1.0 / 1680.0,
        1.0 / 1260.0,
        -1.0 / 360.0,
        1.0 / 12.0,
    ];
    let (inverse, log) = (1.0 / y, ln(y));
    let square = inverse * inverse;
    let (mut value, mut slope) = (0.0, 0.0);
    for (k, coefficient) in SERIES.into_iter().enumerate() {
        value = Element::mul_add(value, square, coefficient);
        slope = Element::mul_add(slope, square, coefficient * (13 - 2 * k) as f64);
    }
    (
        Element::mul_add(y - 0.5, log, value * inverse - y),
        log - Element::mul_add(slope, square, 0.5 * inverse),
    )
}

/// The natural logarithm of a positive, normal, finite number, to about 1 unit in the last place; NaN for
/// NaN.
///
/// ln x = k·ln 2 + ln m with m in [√½, √2), and ln m = 2·artanh(s) = 2(s + s³/3 + s⁵/5 + …) for s =
/// (m−1)/(m+1),
/// |s| ≤ 0.172: eleven terms leave an error of 2s²³/23 ≈ 2·10⁻¹⁹.
#[inline(always)]
pub(crate) fn ln(x: f64) -> f64 {
    const SQRT_HALF: u64 = 0x3fe6_a09e_667f_3bcd;
    const SERIES: [f64; 9] = [
        1.0 / 19.0,
        1.0 / 17.0,
        1.0 / 15.0,
        1.0 / 13.0,
        1.0 / 11.0,
        1.0 / 9.0,
        1.0 / 7.0,
        1.0 / 5.0,
        1.0 / 3.0,
    ];
    // Adding 1 − √½ (in bits) carries into the exponent exactly when the mantissa passes √2.
    let shifted = x.to_bits().wrapping_add(0x3ff0_0000_0000_0000 - SQRT_HALF);
    // Below 2⁵² an integer equals a number's low bits: no conversion, for which AVX2 has no instruction.
    let k = f64::from_bits(0x4330_0000_0000_0000 | (shifted >> 52)) - (4_503_599_627_370_496.0 + 1023.0);
    let m = f64::from_bits((shifted & 0x000f_ffff_ffff_ffff).wrapping_add(SQRT_HALF));
    let s = (m - 1.0) / (m + 1.0);
    let square = s * s;
    let mut series = 1.0 / 21.0;
    for coefficient in SERIES {
        series = Element::mul_add(series, square, coefficient);
    }
    let artanh = Element::mul_add(series * square, s, s);
    let low = Element::mul_add(k, LN_2_LOW, 2.0 * artanh);
    let value = Element::mul_add(k, LN_2_HIGH, low);
    if x.is_nan() { x } else { value }
}

/// ln 2 in two parts; k times the first is exact for |k| < 2¹¹.
const LN_2_HIGH: f64 = 0.693_147_180_369_123_8;
const LN_2_LOW: f64 = 1.908_214_929_270_587_7e-10;

/// eˣ for |x| ≤ 700, to about 1 unit in the last place; NaN for NaN.
///
/// eˣ = 2ᵏ·eʳ with k = round(x / ln 2) and |r| ≤ ½ ln 2, for which 14 terms of the exponential series have an
/// error of r¹⁴/14! ≈ 4·10⁻¹⁸.
#[inline(always)]
pub(crate) fn exp(x: f64) -> f64 {
    const ROUNDING: f64 = 6_755_399_441_055_744.0; // 1.5·2⁵²
    const SERIES: [f64; 14] = [
        1.0 / 6_227_020_800.0,
        1.0 / 479_001_600.0,
        1.0 / 39_916_800.0,
        1.0 / 3_628_800.0,
        1.0 / 362_880.0,
        1.0 / 40_320.0,
        1.0 / 5_040.0,
        1.0 / 720.0,
        1.0 / 120.0,
        1.0 / 24.0,
        1.0 / 6.0,
        0.5,
        1.0,
        1.0,
    ];
    let shifted = Element::mul_add(x, std::f64::consts::LOG2_E, ROUNDING);
    let k = shifted - ROUNDING;
    let r = Element::mul_add(k, -LN_2_LOW, Element::mul_add(k, -LN_2_HIGH, x));
    let mut series = 0.0;
    for coefficient in SERIES {
        series = Element::mul_add(series, r, coefficient);
    }
    let power = shifted.to_bits().wrapping_sub(ROUNDING.to_bits()).wrapping_add(1023) << 52;
    series * f64::from_bits(power)
}

#[cfg(test)]
mod tests;

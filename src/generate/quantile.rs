//! The quantiles of the standard normal distribution: Φ⁻¹(p), the z below which a draw falls with probability
//! p.
//!
//! There is no closed form. This is algorithm AS 241 (PPND16) of Wichura 1988, "The percentage points of the
//! normal distribution", Applied Statistics 37(3): quotients of two polynomials of degree 7, one for the
//! centre, two for the tails. Its relative error is about 10⁻¹⁶, the precision of f64.

/// Two polynomials, highest power first.
struct Quotient {
    numerator: [f64; 8],
    denominator: [f64; 8],
}

impl Quotient {
    /// The value at r, by Horner's scheme for both.
    fn at(&self, r: f64) -> f64 {
        let polynomial = |c: &[f64; 8]| c.iter().fold(0.0, |sum, &c| sum * r + c);
        polynomial(&self.numerator) / polynomial(&self.denominator)
    }
}

/// For |p − ½| ≤ 0.425, in 0.425² − (p − ½)².
const CENTRE: Quotient = Quotient {
    numerator: [
        2509.0809287301227,
        33430.57558358813,
        67265.7709270087,
        45921.95393154987,
        13731.69376550946,
        1971.5909503065513,
        133.14166789178438,
        3.3871328727963665,
    ],
    denominator: [
        5226.495278852854,
        28729.085735721943,
        39307.89580009271,
        21213.794301586597,
        5394.196021424751,
        687.1870074920579,
        42.31333070160091,
        1.0,
    ],
};
/// For r = √(−ln min(p, 1 − p)) up to 5, in r − 1.6.
const MIDDLE: Quotient = Quotient {
    numerator: [
        0.0007745450142783414,
        0.022723844989269184,
        0.2417807251774506,
        1.2704582524523684,
        3.6478483247632045,
        5.769497221460691,
        4.630337846156546,
        1.4234371107496835,
    ],
    denominator: [
        1.0507500716444169e-09,
        0.0005475938084995345,
        0.015198666563616457,
        0.14810397642748008,
        0.6897673349851,
        1.6763848301838038,
        2.053191626637759,
        1.0,
    ],
};
/// For larger r, in r − 5.
const TAIL: Quotient = Quotient {
    numerator: [
        2.0103343992922881e-07,
        2.7115555687434876e-05,
        0.0012426609473880784,
        0.026532189526576124,
        0.29656057182850487,
        1.7848265399172913,
        5.463784911164114,
        6.657904643501103,
    ],
    denominator: [
        2.0442631033899397e-15,
        1.421511758316446e-07,
        1.8463183175100548e-05,
        0.0007868691311456133,
        0.014875361290850615,
        0.1369298809227358,
        0.599832206555888,
        1.0,
    ],
};

/// Φ⁻¹(p) for p in (0, 1); −∞ and ∞ at the ends, NaN outside.
///
/// ```
/// use elbo::generate::quantile::inverse_normal;
/// assert_eq!(inverse_normal(0.5), 0.0);
/// assert!((inverse_normal(0.975) - 1.959963984540054).abs() < 1e-15);
/// ```
pub fn inverse_normal(p: f64) -> f64 {
    if !(0.0..=1.0).contains(&p) {
        return f64::NAN;
    }
    let q = p - 0.5;
    if q.abs() <= 0.425 {
        return q * CENTRE.at(0.180625 - q * q);
    }
    let tail = p.min(1.0 - p);
    if tail == 0.0 {
        return f64::INFINITY.copysign(q);
    }
    let r = (-tail.ln()).sqrt();
    let z = if r <= 5.0 { MIDDLE.at(r - 1.6) } else { TAIL.at(r - 5.0) };
    z.copysign(q)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_those_of_the_tables() {
        // Python's statistics.NormalDist().inv_cdf, one in each region.
        for (p, z) in [(0.3, -0.5244005127080407), (0.05, -1.6448536269514726), (1e-12, -7.034483825301132)] {
            assert!((inverse_normal(p) - z).abs() < 1e-14 * z.abs(), "{p}: {}", inverse_normal(p));
            if p > 1e-6 {
                assert!((inverse_normal(1.0 - p) + z).abs() < 1e-13);
            }
        }
        assert_eq!(inverse_normal(0.0), f64::NEG_INFINITY);
        assert_eq!(inverse_normal(1.0), f64::INFINITY);
        assert!(inverse_normal(1.1).is_nan() && inverse_normal(f64::NAN).is_nan());
    }

    #[test]
    fn the_probability_between_two_quantiles_is_that_of_the_density() {
        // Simpson's rule over the density, between quantiles that cross from the centre into a tail.
        let (from, to) = (inverse_normal(0.5), inverse_normal(0.999));
        let (n, h) = (2000, (to - from) / 2000.0);
        let density = |z: f64| (-0.5 * z * z).exp() / (2.0 * std::f64::consts::PI).sqrt();
        let weight = |i: usize| if i == 0 || i == n { 1.0 } else { 2.0 + 2.0 * (i % 2) as f64 };
        let area: f64 = (0..=n).map(|i| weight(i) * density(from + i as f64 * h)).sum::<f64>() * h / 3.0;
        assert!((area - 0.499).abs() < 1e-12, "{area}");
    }
}

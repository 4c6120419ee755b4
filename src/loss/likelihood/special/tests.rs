use super::super::tests::torch::{fixture, numbers};
use super::*;

#[test]
fn rising_factorials_are_those_of_many_digits() {
    let fixture = fixture();
    let rows = fixture["ln_rising"].as_array().unwrap();
    let (mut worst, mut worst_slope) = (0.0_f64, 0.0_f64);
    for entry in rows {
        let entry = numbers(entry);
        let (x, n, expected, expected_slope) = (entry[0], entry[1], entry[2], entry[3]);
        let (value, slope) = ln_rising(x, n);
        // One rounding of ln Γ(x), which is about x·ln x.
        let difference = (value - expected).abs() / (x + n).max(1.0);
        let slope_difference = (slope - expected_slope).abs() / expected_slope.max(1.0);
        assert!(difference <= 1e-14, "x = {x}, n = {n}: {value} is not {expected}");
        assert!(slope_difference <= 1e-14, "x = {x}, n = {n}: slope {slope} is not {expected_slope}");
        worst = worst.max(difference);
        worst_slope = worst_slope.max(slope_difference);
    }
    println!("{} rising factorials: to {worst:.1e}·(x + n), slopes to {worst_slope:.1e}", rows.len());
}

#[test]
fn exp_and_ln_are_right_to_the_last_places() {
    let ulps =
        |found: f64, expected: f64| (found - expected).abs() / (expected.abs() * f64::EPSILON).max(1e-300);
    let (mut worst_exp, mut worst_ln) = (0.0_f64, 0.0_f64);
    for i in 0..=100_000 {
        let x = f64::from(i - 50_000) / 50_000.0 * 700.0;
        worst_exp = worst_exp.max(ulps(exp(x), x.exp()));
        let y = (x + 0.1).exp();
        worst_ln = worst_ln.max(ulps(ln(y), y.ln()));
        let near_one = 1.0 + f64::from(i - 50_000) / 100_000.0;
        worst_ln = worst_ln.max(if i == 50_000 { 0.0 } else { ulps(ln(near_one), near_one.ln()) });
    }
    println!("largest errors in units of the last place: exp {worst_exp:.2}, ln {worst_ln:.2}");
    assert!(worst_exp <= 1.5 && worst_ln <= 2.0);
    assert_eq!((ln(1.0), exp(0.0)), (0.0, 1.0));
    assert!(ln(f64::NAN).is_nan() && exp(f64::NAN).is_nan());
}

//! Values, gradients and means against PyTorch: `tests/fixtures/torch_likelihoods.json`, made in float64 by
//! `tests/fixtures/make_likelihood_fixtures.py`, and mpmath's probabilities at the ends.

use super::*;
use serde_json::Value;

pub(in crate::loss::likelihood) fn fixture() -> Value {
    let path = format!("{}/tests/fixtures/torch_likelihoods.json", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_str(&std::fs::read_to_string(path).expect("the fixture")).expect("JSON")
}

pub(in crate::loss::likelihood) fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().expect("an array").iter().map(|v| v.as_f64().expect("a number")).collect()
}

#[test]
fn every_likelihood_agrees_with_pytorch() {
    let fixture = fixture();
    let size = |key: &str| fixture[key].as_u64().expect(key) as usize;
    let (images, image) = (size("batch"), ImageShape::new(size("height"), size("width"), size("channels")));
    let mut seen = Vec::new();
    for case in fixture["likelihoods"].as_array().unwrap() {
        let mut likelihood: Likelihood = case["name"].as_str().unwrap().parse().unwrap();
        for (setting, value) in case["settings"].as_object().unwrap() {
            likelihood = likelihood.with_setting(setting, value.as_f64().unwrap()).unwrap();
        }
        seen.push(likelihood.name());
        // The fixture's script has evaluated this expression and compared the result with the means.
        assert_eq!(likelihood.torch_mean(), case["torch_mean"].as_str().unwrap());
        let (output, target) = (numbers(&case["output"]), numbers(&case["target"]));
        assert!(target.contains(&0.0) && target.contains(&1.0), "bytes 0 and 255");
        let (mut d_output, mut per_image) = (vec![9.0; output.len()], vec![9.0; images]);
        likelihood.forward_backward(&output, &target, image, &mut d_output, &mut per_image);
        let mut means = vec![9.0; target.len()];
        likelihood.means(&output, image, &mut means);
        // In single precision the inputs are rounded too: one part in 10⁷ of numbers up to 10, times slopes
        // of some hundred.
        let (mut d_single, mut nats_single) = (vec![9.0; output.len()], vec![9.0; images]);
        likelihood.forward_backward(
            &single(&output),
            &single(&target),
            image,
            &mut d_single,
            &mut nats_single,
        );
        let d_single: Vec<f64> = d_single.into_iter().map(f64::from).collect();
        for (what, found, tolerance) in [
            ("nats", &per_image, 1e-9),
            ("gradient", &d_output, 1e-9),
            ("means", &means, 1e-9),
            ("nats", &nats_single, 1e-5),
            ("gradient", &d_single, 1e-4),
        ] {
            let expected = numbers(&case[what]);
            assert_eq!(found.len(), expected.len());
            for (i, (found, expected)) in found.iter().zip(&expected).enumerate() {
                let difference = (found - expected).abs();
                assert!(
                    difference <= tolerance * expected.abs().max(1.0),
                    "{likelihood}, {what} {i}: {found} is not {expected}"
                );
            }
        }
    }
    assert_eq!(seen, Likelihood::ALL.map(|likelihood| likelihood.name()), "the fixture has every likelihood");
}

#[test]
fn probabilities_at_the_ends_keep_their_digits() {
    let fixture = fixture();
    let rows = fixture["exact"].as_array().unwrap();
    let (mut worst, mut worst_single) = (0.0_f64, 0.0_f64);
    for entry in rows {
        let likelihood: Likelihood = entry[0].as_str().unwrap().parse().unwrap();
        let (given, byte) = (numbers(&entry[1]), entry[2].as_u64().unwrap() as usize);
        let expected = entry[3].as_f64().unwrap();
        let (mut ln_p, mut ln_p_single) = ([0.0; 256], [0.0; 256]);
        likelihood.log_probabilities(&given, &mut ln_p);
        likelihood.log_probabilities(&single(&given), &mut ln_p_single);
        // β = 8103 has ln Γ of 10⁵, so f64 keeps 11 digits of a difference; f32 has 7 digits of the inputs.
        let difference = (-ln_p[byte] - expected).abs() / expected.abs().max(1.0);
        worst = worst.max(difference);
        assert!(
            difference <= 2e-10,
            "{likelihood} {given:?}, byte {byte}: {} is not {expected}",
            -ln_p[byte]
        );
        let difference = (-f64::from(ln_p_single[byte]) - expected).abs() / expected.abs().max(1.0);
        worst_single = worst_single.max(difference);
        assert!(
            difference <= 2e-5,
            "{likelihood} {given:?}, byte {byte}: {} is not {expected}",
            -ln_p_single[byte]
        );
    }
    println!("{} probabilities: to {worst:.1e} in f64, {worst_single:.1e} in f32", rows.len());
}

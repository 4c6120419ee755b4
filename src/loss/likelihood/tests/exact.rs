//! The byte likelihoods are exact: the probabilities of the 256 bytes add up to 1 for any parameters, and the
//! loss is computed from them.

use super::*;

fn byte_likelihoods() -> impl Iterator<Item = Likelihood> {
    all().filter(|likelihood| likelihood.is_exact_for_bytes())
}

/// Parameters within and beyond a network's usual output: all combinations of extremes, or random ones for a
/// mixture.
fn extremes(likelihood: &Likelihood) -> Vec<Vec<f64>> {
    let firsts =
        [-1000.0, -20.0, -3.0, -1.0, -0.999, -0.3, 0.0, 0.0039, 0.5, 0.7, 1.0, 1.004, 4.0, 20.0, 1000.0];
    let seconds = [-1000.0, -9.0, -7.0, -6.9, -5.0, -4.0, -2.5, -1.0, 0.0, 1.0, 3.0, 6.0, 7.0, 9.0, 1000.0];
    if likelihood.numbers() == 2 {
        return firsts.iter().flat_map(|&a| seconds.map(|b| vec![a, b])).collect();
    }
    let mut random = ChaCha8Rng::seed_from_u64(51);
    let k = likelihood.numbers() / 3;
    (0..300)
        .map(|_| {
            let pick = |numbers: &[f64], at: usize| numbers[at % numbers.len()];
            let logits = [-60.0, -5.0, 0.0, 0.3, 2.0, 40.0];
            let groups = [&logits[..], &firsts, &seconds];
            groups
                .iter()
                .flat_map(|group| {
                    (0..k).map(|_| pick(group, random.random_range(0..1000))).collect::<Vec<_>>()
                })
                .collect()
        })
        .collect()
}

fn sum_of_probabilities<T: Element>(likelihood: &Likelihood, numbers: &[f64]) -> f64 {
    let numbers: Vec<T> = numbers.iter().map(|&n| T::from_f64(n)).collect();
    let mut ln_p = [T::ZERO; 256];
    likelihood.log_probabilities(&numbers, &mut ln_p);
    assert!(ln_p.iter().all(|p| p.is_finite()), "{likelihood} {numbers:?}");
    ln_p.iter().map(|p| p.to_f64().exp()).sum()
}

#[test]
fn the_probabilities_of_all_bytes_add_up_to_one() {
    for likelihood in byte_likelihoods() {
        let (mut worst, mut worst_single) = (0.0_f64, 0.0_f64);
        let cases = extremes(&likelihood);
        for numbers in &cases {
            let double = (sum_of_probabilities::<f64>(&likelihood, numbers) - 1.0).abs();
            let single = (sum_of_probabilities::<f32>(&likelihood, numbers) - 1.0).abs();
            assert!(double <= 1e-10, "{likelihood} {numbers:?}: off by {double} in f64");
            assert!(single <= 1e-6, "{likelihood} {numbers:?}: off by {single} in f32");
            worst = worst.max(double);
            worst_single = worst_single.max(single);
        }
        println!(
            "{likelihood}: {} sums, off by {worst:.1e} in f64 and {worst_single:.1e} in f32",
            cases.len()
        );
    }
}

#[test]
fn the_reconstruction_is_the_sum_of_the_bytes_log_probabilities() {
    let (images, image) = (2, ImageShape::new(3, 5, 3));
    for likelihood in byte_likelihoods() {
        let (output, target) = batch_for(&likelihood, 52, images * image.len());
        let (output, target) = (single(&output), single(&target));
        let mut per_image = vec![0.0; images];
        likelihood.forward(&output, &target, image, &mut per_image);
        let m = likelihood.numbers();
        for (b, &found) in per_image.iter().enumerate() {
            let mut sum = 0.0;
            for pixel in 0..image.pixels() {
                for c in 0..image.channels {
                    let first = (b * image.pixels() + pixel) * m * image.channels + c;
                    let numbers: Vec<f32> = (0..m).map(|k| output[first + k * image.channels]).collect();
                    let value = target[(b * image.pixels() + pixel) * image.channels + c];
                    let mut ln_p = [0.0; 256];
                    likelihood.log_probabilities(&numbers, &mut ln_p);
                    sum -= f64::from(ln_p[(value * 255.0).round() as usize]);
                }
            }
            // Only the order of the additions differs.
            assert!((found - sum).abs() <= 1e-6 * sum, "{likelihood}: {found}, and the bytes cost {sum}");
        }
    }
}

#[test]
fn gradients_at_extreme_numbers_are_finite_and_zero_beyond_the_bounds() {
    for likelihood in byte_likelihoods() {
        for numbers in extremes(&likelihood) {
            for byte in [0.0_f32, 1.0, 127.0, 254.0, 255.0] {
                let (mut d_output, mut per_image) = (vec![9.0; numbers.len()], [9.0]);
                likelihood.forward_backward(
                    &single(&numbers),
                    &[byte / 255.0],
                    row(1),
                    &mut d_output,
                    &mut per_image,
                );
                let finite = per_image[0].is_finite() && d_output.iter().all(|d| d.is_finite());
                assert!(
                    finite && per_image[0] >= 0.0,
                    "{likelihood} {numbers:?} {byte}: {per_image:?}, {d_output:?}"
                );
                if likelihood.numbers() == 2 && numbers[1].abs() > 10.0 {
                    assert_eq!(d_output[1], 0.0, "{likelihood} {numbers:?}");
                }
            }
        }
    }
}

#[test]
fn an_untrained_decoder_starts_with_a_broad_distribution() {
    for likelihood in byte_likelihoods() {
        let mut ln_p = [0.0_f32; 256];
        likelihood.log_probabilities(&vec![0.0; likelihood.numbers()], &mut ln_p);
        // 5.55 nats are 8 bits: no byte is much worse than with equal probabilities.
        assert!(ln_p.iter().all(|&p| p > -6.6), "{likelihood}: {ln_p:?}");
        let mut mean = [9.0];
        likelihood.means(&vec![0.0; likelihood.numbers()], row(1), &mut mean);
        assert_eq!(mean, [0.5], "{likelihood}");
    }
}

#[test]
fn adam_fits_the_numbers_of_a_few_pixels() {
    use crate::optim::{Adam, AdamState};
    // Four images of 6 values: constant black, constant white, constant grey, either end, a small step, a
    // large one.
    let bytes = [
        0, 255, 128, 0, 100, 20, 0, 255, 128, 255, 101, 220, 0, 255, 128, 0, 102, 40, 0, 255, 128, 255, 101,
        180,
    ];
    let target: Vec<f32> = bytes.iter().map(|&byte| byte as f32 / 255.0).collect();
    for likelihood in byte_likelihoods() {
        let mut random = ChaCha8Rng::seed_from_u64(53);
        let n = 6 * likelihood.numbers();
        let mut parameters: Vec<f32> = (0..n).map(|_| random.random_range(-0.1..0.1)).collect();
        let (adam, mut state) = (Adam::default(), AdamState::new(n));
        let (mut d_output, mut per_image, mut losses) = (vec![0.0; 4 * n], [0.0; 4], Vec::new());
        for _ in 0..4000 {
            let output = parameters.repeat(4);
            likelihood.forward_backward(&output, &target, row(6), &mut d_output, &mut per_image);
            losses.push(per_image.iter().sum::<f64>() / 4.0);
            let gradient: Vec<f32> = (0..n).map(|i| (0..4).map(|b| d_output[b * n + i]).sum()).collect();
            adam.step(&mut parameters, &gradient, &mut state, 1e-3, 1.0);
        }
        let rises = losses.windows(100).filter(|w| w[99] > w[0] + 0.05).count();
        println!("{likelihood}: from {:.2} to {:.2} nats, {rises} rises", losses[0], losses[3999]);
        assert!(losses[0] <= 6.0 * 6.3 && losses[3999] < 0.7 * losses[0] && rises == 0, "{likelihood}");
    }
}

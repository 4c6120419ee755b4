use super::*;
use crate::gradient_check::check;
use rand::{RngExt, SeedableRng, rngs::ChaCha8Rng};
use single::BLOCK;
use std::f64::consts::PI;

mod exact;
pub(super) mod torch;

/// Every likelihood, with settings that suit the batches below.
fn all() -> impl Iterator<Item = Likelihood> {
    Likelihood::ALL.into_iter().map(|likelihood| {
        let set = |setting, value| likelihood.with_setting(setting, value);
        set("sigma", 0.3)
            .or_else(|_| set("scale", 0.25))
            .or_else(|_| set("variance", 0.04))
            .or_else(|_| set("components", 3.0))
            .unwrap_or(likelihood)
    })
}

/// A row of `values` values of one channel.
fn row(values: usize) -> ImageShape {
    ImageShape::new(1, values, 1)
}

/// Outputs and targets of a number of images. With one number per value they keep away from |x̂ − x| = 0, where the
/// absolute error has no derivative. Byte likelihoods get bytes, 0 and 255 among them, and numbers from −1.5 to 1.5.
fn batch_for(likelihood: &Likelihood, seed: u64, values: usize) -> (Vec<f64>, Vec<f64>) {
    if !likelihood.is_exact_for_bytes() {
        return batch(seed, values);
    }
    println!("seed {seed}");
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let output = (0..values * likelihood.numbers()).map(|_| random.random_range(-1.5..1.5)).collect();
    let byte =
        |_| [0, 255, random.random_range(0..256), random.random_range(0..256)][random.random_range(0..4)];
    (output, (0..values).map(byte).map(|byte| f64::from(byte) / 255.0).collect())
}

/// Outputs and targets that keep away from |x̂ − x| = 0.
fn batch(seed: u64, count: usize) -> (Vec<f64>, Vec<f64>) {
    println!("seed {seed}");
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    (0..count)
        .map(|_| {
            let target: f64 = random.random_range(0.0..1.0);
            let distance = random.random_range(0.01..0.8);
            (if random.random::<bool>() { target + distance } else { target - distance }, target)
        })
        .unzip()
}

/// The same numbers in single precision.
fn single(numbers: &[f64]) -> Vec<f32> {
    numbers.iter().map(|&x| x as f32).collect()
}

/// −ln p of one pixel, written down from the densities.
fn density(likelihood: Likelihood, output: f64, x: f64, variance: f64) -> f64 {
    let normal = |variance: f64| 0.5 * (2.0 * PI * variance).ln() + (x - output).powi(2) / (2.0 * variance);
    match likelihood {
        Likelihood::Bernoulli => {
            let p = 1.0 / (1.0 + (-output).exp());
            -x * p.ln() - (1.0 - x) * (1.0 - p).ln()
        }
        Likelihood::SquaredError => normal(0.5) - 0.5 * PI.ln(),
        Likelihood::Gaussian { sigma } => normal(sigma * sigma),
        Likelihood::OptimalGaussian { .. } => normal(variance),
        Likelihood::Laplace { scale } => (x - output).abs() / scale + (2.0 * scale).ln(),
        other => unreachable!("{other} has several numbers"),
    }
}

#[test]
fn nats_are_those_of_the_densities() {
    for likelihood in all().filter(|likelihood| likelihood.numbers() == 1) {
        // Fewer pixels than lanes, a whole number of lanes, some over, and more than one block.
        for (images, pixels) in [(1, 1), (3, 15), (2, 32), (3, 37), (2, 2 * BLOCK + 5)] {
            let (output, target) = batch(41, images * pixels);
            let mut per_image = vec![9.0; images];
            likelihood.forward(&output, &target, row(pixels), &mut per_image);
            for (image, &found) in per_image.iter().enumerate() {
                let range = image * pixels..(image + 1) * pixels;
                let expected: f64 = range.map(|i| density(likelihood, output[i], target[i], 0.04)).sum();
                let difference = (found - expected).abs();
                assert!(difference <= 1e-11 * expected.abs().max(1.0), "{likelihood:?}: {found}, {expected}");
            }
            // f32 to its own precision.
            let mut found = vec![9.0; images];
            likelihood.forward(&single(&output), &single(&target), row(pixels), &mut found);
            for (found, expected) in found.iter().zip(&per_image) {
                let difference = (found - expected).abs();
                // The inputs' own rounding, times slopes of up to 0.8/0.04, over the number of pixels.
                assert!(difference <= 1e-5 * (pixels as f64).max(1.0), "{likelihood:?}: {found}, {expected}");
            }
        }
    }
}

#[test]
pub(crate) fn gradients_are_those_of_finite_differences() {
    let mut cases = 0;
    for likelihood in all() {
        for (images, image) in
            [(1, row(1)), (1, row(5)), (4, row(3)), (3, row(16)), (2, row(19)), (2, ImageShape::new(2, 3, 3))]
        {
            let (mut output, target) = batch_for(&likelihood, 42, images * image.len());
            let (mut d_output, mut per_image) = (vec![9.0; output.len()], vec![9.0; images]);
            likelihood.forward_backward(&output, &target, image, &mut d_output, &mut per_image);
            let mut unused = vec![0.0; output.len()];
            check(&format!("{likelihood} {images} × {image}"), &mut output, &d_output, |output| {
                // The optimal Gaussian's σ² moves with the output here, as it does in training.
                likelihood.forward_backward(output, &target, image, &mut unused, &mut per_image);
                per_image.iter().sum::<f64>() / images as f64
            });
            cases += 1;
        }
    }
    println!("{cases} gradients of {} likelihoods", Likelihood::ALL.len());
    assert_eq!(cases, 6 * Likelihood::ALL.len());
}

#[test]
pub(crate) fn gradients_through_the_means_are_those_of_finite_differences() {
    for likelihood in all() {
        for (images, image) in [(1, row(1)), (3, row(37)), (2, ImageShape::new(2, 3, 3))] {
            let (mut output, upstream) = batch_for(&likelihood, 43, images * image.len());
            let (mut d_output, mut means) = (vec![9.0; output.len()], vec![9.0; upstream.len()]);
            likelihood.means_backward(&output, image, &upstream, &mut d_output);
            check(&format!("{likelihood}: means"), &mut output, &d_output, |output| {
                likelihood.means(output, image, &mut means);
                means.iter().zip(&upstream).map(|(mean, upstream)| mean * upstream).sum()
            });
        }
    }
}

#[test]
fn training_and_evaluation_agree() {
    let image = ImageShape::new(5, 5, 2);
    for likelihood in all() {
        let (output, target) = batch_for(&likelihood, 43, 3 * image.len());
        let (mut d_output, mut trained, mut evaluated) = (vec![0.0; output.len()], [0.0; 3], [0.0; 3]);
        let variance = likelihood.forward_backward(&output, &target, image, &mut d_output, &mut trained);
        let fitted = variance.map(|variance| likelihood.with_setting("variance", variance).unwrap());
        fitted.unwrap_or(likelihood).forward(&output, &target, image, &mut evaluated);
        assert_eq!(trained, evaluated, "{likelihood:?}");
    }
}

#[test]
fn the_optimal_gaussian_takes_the_variance_that_is_best() {
    let (output, target) = batch(44, 4 * 30);
    let (mut d_output, mut per_image) = (vec![0.0; 120], [0.0; 4]);
    let optimal = Likelihood::OptimalGaussian { variance: None };
    let variance =
        optimal.forward_backward(&output, &target, row(30), &mut d_output, &mut per_image).unwrap();
    let mean_square = output.iter().zip(&target).map(|(o, t)| (o - t).powi(2)).sum::<f64>() / 120.0;
    assert!((variance - mean_square).abs() <= 1e-14);
    let loss = per_image.iter().sum::<f64>() / 4.0;
    let formula = 15.0 * (variance.ln() + 1.0 + (2.0 * PI).ln());
    assert!((loss - formula).abs() <= 1e-11, "{loss} and {formula}");
    for factor in [0.9_f64, 1.1] {
        let sigma = (variance * factor).sqrt();
        Likelihood::Gaussian { sigma }.forward(&output, &target, row(30), &mut per_image);
        assert!(per_image.iter().sum::<f64>() / 4.0 > loss);
    }
}

#[test]
fn below_the_floor_the_variance_is_a_constant() {
    let (output, target) = batch(45, 2 * 6);
    // A thousandth of the distances: a mean square of some 10⁻⁷.
    let mut output: Vec<f64> = output.iter().zip(&target).map(|(o, t)| t + (o - t) * 1e-3).collect();
    let (mut d_output, mut per_image) = (vec![0.0; 12], [0.0; 2]);
    let optimal = Likelihood::OptimalGaussian { variance: None };
    let variance = optimal.forward_backward(&output, &target, row(6), &mut d_output, &mut per_image);
    assert_eq!(variance, Some(VARIANCE_FLOOR));
    let mut unused = vec![0.0; 12];
    // The floor's curvature is 10⁶, but a parabola's central difference has no error of the step.
    check("optimal-gaussian below its floor", &mut output, &d_output, |output| {
        optimal.forward_backward(output, &target, row(6), &mut unused, &mut per_image);
        per_image.iter().sum::<f64>() / 2.0
    });
}

#[test]
fn bernoulli_keeps_its_digits_at_any_logit() {
    let mut per_image = [0.0];
    for (logit, x, expected) in [
        (0.0, 0.5, LN_2),
        (20.0, 1.0, 2.061_153_620_314_381e-9),
        (-20.0, 0.0, 2.061_153_620_314_381e-9),
        (20.0, 0.0, 20.000_000_002_061_153),
        (-1000.0, 1.0, 1000.0),
        (1000.0, 0.25, 750.0),
        (1000.0, 1.0, 0.0),
    ] {
        Likelihood::Bernoulli.forward(&[logit as f32], &[x as f32], row(1), &mut per_image);
        assert!((per_image[0] - expected).abs() <= 4e-7 * expected, "{} at {logit}, {x}", per_image[0]);
        let mut d_output = [9.0_f32];
        let (logits, pixels) = ([logit as f32], [x as f32]);
        Likelihood::Bernoulli.forward_backward(&logits, &pixels, row(1), &mut d_output, &mut per_image);
        let slope = 1.0 / (1.0 + (-logit).exp()) - x;
        assert!((f64::from(d_output[0]) - slope).abs() <= 1e-7, "{} at {logit}, {x}", d_output[0]);
    }
}

#[test]
fn nan_is_not_lost() {
    for likelihood in all() {
        // Each of the numbers of the first value in turn.
        for number in 0..likelihood.numbers() {
            let mut output = vec![0.2_f32; 2 * likelihood.numbers()];
            output[number] = f32::NAN;
            let (mut d_output, mut per_image) = (vec![0.0; output.len()], [0.0; 2]);
            likelihood.forward_backward(&output, &[0.4, 0.6], row(1), &mut d_output, &mut per_image);
            assert!(per_image[0].is_nan(), "{likelihood:?}: number {number}, {per_image:?}");
            assert!(
                d_output[number].is_nan() || matches!(likelihood, Likelihood::Laplace { .. }),
                "{likelihood:?}"
            );
            likelihood.forward(&output, &[0.4, 0.6], row(1), &mut per_image);
            assert!(per_image[0].is_nan(), "{likelihood:?}: number {number}, {per_image:?}");
        }
    }
}

#[test]
fn any_number_of_threads_gives_the_same_bits() {
    let (images, image) = (37, ImageShape::new(33, 16, 3));
    for likelihood in all() {
        let (output, target) = batch_for(&likelihood, 46, images * image.len());
        let (output, target) = (single(&output), single(&target));
        let run = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let (mut d_output, mut per_image) = (vec![0.0; output.len()], vec![0.0; images]);
            let mut means = vec![0.0; target.len()];
            pool.install(|| {
                likelihood.forward_backward(&output, &target, image, &mut d_output, &mut per_image);
                likelihood.means(&output, image, &mut means);
            });
            (d_output, per_image, means)
        };
        let one = run(1);
        assert!(run(2) == one && run(5) == one, "{likelihood:?}");
    }
}

#[test]
fn the_squared_error_with_its_offset_is_the_gaussian_of_variance_one_half() {
    let (output, target) = batch(47, 12);
    let (mut article, mut normal) = ([0.0], [0.0]);
    Likelihood::SquaredError.forward(&output, &target, row(12), &mut article);
    Likelihood::Gaussian { sigma: 0.5_f64.sqrt() }.forward(&output, &target, row(12), &mut normal);
    let offset = Likelihood::SquaredError.standard_offset(12);
    assert!((article[0] + offset - normal[0]).abs() <= 1e-12);
    assert_eq!(Likelihood::Bernoulli.standard_offset(12), 0.0);
}

#[test]
fn bits_per_dimension_are_those_of_byte_probabilities_only() {
    for likelihood in all() {
        let bits = likelihood.bits_per_dim(8.0 * LN_2 * 784.0, 784);
        assert_eq!(bits.is_some(), likelihood.is_exact_for_bytes(), "{likelihood}");
        assert!(bits.is_none_or(|bits| (bits - 8.0).abs() <= 1e-12), "{likelihood}: {bits:?}");
    }
}

#[test]
fn names_configuration_and_what_is_refused() {
    for likelihood in Likelihood::ALL {
        let name = likelihood.name();
        assert_eq!(name.parse::<Likelihood>().unwrap(), likelihood);
        assert_eq!(likelihood.to_string(), name);
        likelihood.validate().unwrap();
        let text = toml::to_string(&likelihood).unwrap();
        assert!(text.contains(&format!("kind = \"{name}\"")), "{text}");
        assert_eq!(toml::from_str::<Likelihood>(&text).unwrap(), likelihood);
        let text = serde_json::to_string(&likelihood).unwrap();
        assert_eq!(serde_json::from_str::<Likelihood>(&text).unwrap(), likelihood);
    }
    assert!("bernouli".parse::<Likelihood>().is_err());
    let read = |text: &str| toml::from_str::<Likelihood>(text).map_err(|error| error.to_string());
    assert_eq!(read("kind = \"gaussian\"\nsigma = 1"), Ok(Likelihood::Gaussian { sigma: 1.0 }));
    assert_eq!(read("kind = \"laplace\""), Ok(Likelihood::Laplace { scale: 0.1 }));
    let mixture = Likelihood::LogisticMixture { components: 7 };
    assert_eq!(read("kind = \"logistic-mixture\"\ncomponents = 7"), Ok(mixture));
    assert_eq!(serde_json::to_string(&mixture).unwrap(), "{\"kind\":\"logistic-mixture\",\"components\":7}");
    for (text, complaint) in [
        ("kind = \"gaussian\"\nsgima = 0.2", "sgima"),
        ("kind = \"bernoulli\"\nsigma = 0.2", "likelihood bernoulli has no sigma"),
        ("kind = \"beta-binomial\"\ncomponents = 2", "likelihood beta-binomial has no components"),
        ("kind = \"gaussian\"\nsigma = -0.2", "must be a positive number, not -0.2"),
        ("kind = \"logistic-mixture\"\ncomponents = 0", "from 1 to 32 components, not 0"),
        ("kind = \"logistic-mixture\"\ncomponents = 33", "from 1 to 32 components, not 33"),
        ("kind = \"logistic-mixture\"\ncomponents = 2.5", "components"),
        (
            "kind = \"gauss\"",
            "one of bernoulli, squared-error, gaussian, optimal-gaussian, laplace, discretized-",
        ),
        ("sigma = 0.2", "kind"),
    ] {
        let error = read(text).unwrap_err();
        assert!(error.contains(complaint), "{error}");
    }
    for width in [0.0, -0.1, f64::NAN, f64::INFINITY] {
        assert!(Likelihood::Gaussian { sigma: width }.validate().is_err());
        assert!(Likelihood::Laplace { scale: width }.validate().is_err());
    }
    assert!(mixture.with_setting("components", 2.5).is_err());
    assert!(mixture.with_setting("components", -1.0).is_err());
    assert!(mixture.with_setting("components", f64::NAN).is_err());
}

#[test]
fn pixels_that_do_not_suit_the_likelihood_are_refused() {
    Likelihood::Bernoulli.check_range(0.0, 1.0).unwrap();
    Likelihood::SquaredError.check_range(-1.0, 1.0).unwrap();
    assert!(Likelihood::Bernoulli.check_range(-1.0, 1.0).is_err());
    let unit: Vec<f32> = (0..=255_u8).map(|byte| f32::from(byte) / 255.0).collect();
    let symmetric: Vec<f32> = unit.iter().map(|value| 2.0 * value - 1.0).collect();
    for likelihood in all() {
        likelihood.check_levels(&unit, 0.0, 1.0).unwrap();
        likelihood.check_levels(&symmetric, -1.0, 1.0).unwrap();
        likelihood.check_levels(&[0.0, 3.0, 255.0], 0.0, 255.0).unwrap();
        for (pixel, low, high) in
            [(0.5, 0.0, 1.0), (1.0 + 1.0 / 255.0, 0.0, 1.0), (1.0, 0.0, 100.0), (-1.0, 0.0, 255.0)]
        {
            let checked = likelihood.check_levels(&[0.0, pixel], low, high);
            assert_eq!(checked.is_err(), likelihood.is_exact_for_bytes(), "{likelihood}: {pixel}");
            if let Err(error) = checked {
                let error = error.to_string();
                assert!(
                    error.contains(&format!("a pixel is {pixel}")) && error.contains("--range"),
                    "{error}"
                );
            }
        }
    }
}

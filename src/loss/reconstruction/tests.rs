use super::*;
use crate::gradient_check::check;
use rand::{RngExt, SeedableRng, rngs::ChaCha8Rng};

const ALL: [Likelihood; 5] = [
    Likelihood::Bernoulli,
    Likelihood::SquaredError,
    Likelihood::Gaussian { sigma: 0.3 },
    Likelihood::OptimalGaussian { variance: Some(0.04) },
    Likelihood::Laplace { scale: 0.25 },
];

/// Outputs and targets that keep away from |x̂ − x| = 0, where the absolute error has no derivative.
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
    }
}

#[test]
fn nats_are_those_of_the_densities() {
    for likelihood in ALL {
        // Fewer pixels than lanes, a whole number of lanes, some over, and more than one block.
        for (images, pixels) in [(1, 1), (3, 15), (2, 32), (3, 37), (2, 2 * BLOCK + 5)] {
            let (output, target) = batch(41, images * pixels);
            let mut per_image = vec![9.0; images];
            likelihood.forward(&output, &target, &mut per_image);
            for (image, &found) in per_image.iter().enumerate() {
                let range = image * pixels..(image + 1) * pixels;
                let expected: f64 = range.map(|i| density(likelihood, output[i], target[i], 0.04)).sum();
                let difference = (found - expected).abs();
                assert!(difference <= 1e-11 * expected.abs().max(1.0), "{likelihood:?}: {found}, {expected}");
            }
            // f32 to its own precision.
            let single = |numbers: &[f64]| numbers.iter().map(|&x| x as f32).collect::<Vec<_>>();
            let mut found = vec![9.0; images];
            likelihood.forward(&single(&output), &single(&target), &mut found);
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
    for likelihood in ALL {
        for (images, pixels) in [(1, 1), (1, 5), (4, 3), (3, 16), (2, 19)] {
            let (mut output, target) = batch(42, images * pixels);
            let (mut d_output, mut per_image) = (vec![9.0; output.len()], vec![9.0; images]);
            likelihood.forward_backward(&output, &target, &mut d_output, &mut per_image);
            let mut unused = vec![0.0; output.len()];
            check(&format!("{} {images} × {pixels}", likelihood.name()), &mut output, &d_output, |output| {
                // The optimal Gaussian's σ² moves with the output here, as it does in training.
                likelihood.forward_backward(output, &target, &mut unused, &mut per_image);
                per_image.iter().sum::<f64>() / images as f64
            });
        }
    }
}

#[test]
fn training_and_evaluation_agree() {
    for likelihood in ALL {
        let (output, target) = batch(43, 3 * 50);
        let (mut d_output, mut trained, mut evaluated) = (vec![0.0; 150], [0.0; 3], [0.0; 3]);
        let variance = likelihood.forward_backward(&output, &target, &mut d_output, &mut trained);
        let likelihood = match likelihood {
            Likelihood::OptimalGaussian { .. } => Likelihood::OptimalGaussian { variance },
            other => other,
        };
        likelihood.forward(&output, &target, &mut evaluated);
        assert_eq!(trained, evaluated, "{likelihood:?}");
    }
}

#[test]
fn the_optimal_gaussian_takes_the_variance_that_is_best() {
    let (output, target) = batch(44, 4 * 30);
    let (mut d_output, mut per_image) = (vec![0.0; 120], [0.0; 4]);
    let optimal = Likelihood::OptimalGaussian { variance: None };
    let variance = optimal.forward_backward(&output, &target, &mut d_output, &mut per_image).unwrap();
    let mean_square = output.iter().zip(&target).map(|(o, t)| (o - t).powi(2)).sum::<f64>() / 120.0;
    assert!((variance - mean_square).abs() <= 1e-14);
    let loss = per_image.iter().sum::<f64>() / 4.0;
    let formula = 15.0 * (variance.ln() + 1.0 + (2.0 * PI).ln());
    assert!((loss - formula).abs() <= 1e-11, "{loss} and {formula}");
    for factor in [0.9_f64, 1.1] {
        let sigma = (variance * factor).sqrt();
        Likelihood::Gaussian { sigma }.forward(&output, &target, &mut per_image);
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
    let variance = optimal.forward_backward(&output, &target, &mut d_output, &mut per_image);
    assert_eq!(variance, Some(VARIANCE_FLOOR));
    let mut unused = vec![0.0; 12];
    // The floor's curvature is 10⁶, but a parabola's central difference has no error of the step.
    check("optimal-gaussian below its floor", &mut output, &d_output, |output| {
        optimal.forward_backward(output, &target, &mut unused, &mut per_image);
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
        Likelihood::Bernoulli.forward(&[logit as f32], &[x as f32], &mut per_image);
        assert!((per_image[0] - expected).abs() <= 4e-7 * expected, "{} at {logit}, {x}", per_image[0]);
        let mut d_output = [9.0_f32];
        Likelihood::Bernoulli.forward_backward(&[logit as f32], &[x as f32], &mut d_output, &mut per_image);
        let slope = 1.0 / (1.0 + (-logit).exp()) - x;
        assert!((f64::from(d_output[0]) - slope).abs() <= 1e-7, "{} at {logit}, {x}", d_output[0]);
    }
}

#[test]
fn nan_is_not_lost() {
    for likelihood in ALL {
        let (mut d_output, mut per_image) = ([0.0_f32; 2], [0.0; 2]);
        likelihood.forward_backward(&[f32::NAN, 0.2], &[0.5, 0.5], &mut d_output, &mut per_image);
        assert!(per_image[0].is_nan(), "{likelihood:?}");
        likelihood.forward(&[f32::NAN, 0.2], &[0.5, 0.5], &mut per_image);
        assert!(per_image[0].is_nan(), "{likelihood:?}");
    }
}

#[test]
fn any_number_of_threads_gives_the_same_bits() {
    let (images, pixels) = (37, 3 * 33 * 47);
    let (output, target) = batch(46, images * pixels);
    let single = |numbers: &[f64]| numbers.iter().map(|&x| x as f32).collect::<Vec<_>>();
    let (output, target) = (single(&output), single(&target));
    for likelihood in ALL {
        let run = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let (mut d_output, mut per_image) = (vec![0.0; output.len()], vec![0.0; images]);
            pool.install(|| likelihood.forward_backward(&output, &target, &mut d_output, &mut per_image));
            (d_output, per_image)
        };
        let one = run(1);
        assert!(run(2) == one && run(5) == one, "{likelihood:?}");
    }
}

#[test]
fn offsets_and_bits_per_dimension() {
    // A pixel known to within its bin, uniformly: density 256 over [0, 1], no bits at all.
    let certain = -(256.0_f64.ln()) * 784.0;
    let bits = Likelihood::SquaredError.bits_per_dim(certain, 784, 1.0).unwrap();
    assert!(bits.abs() <= 1e-12);
    // A uniform density over the range: 8 bits, whatever the range.
    for span in [1.0, 2.0] {
        let bits = Likelihood::Laplace { scale: 1.0 }.bits_per_dim(784.0 * span.ln(), 784, span).unwrap();
        assert!((bits - 8.0).abs() <= 1e-12);
    }
    assert_eq!(Likelihood::Bernoulli.bits_per_dim(90.0, 784, 1.0), None);
    // Squared error and its offset are the Gaussian of σ² = ½.
    let (output, target) = batch(47, 12);
    let (mut article, mut normal) = ([0.0], [0.0]);
    Likelihood::SquaredError.forward(&output, &target, &mut article);
    Likelihood::Gaussian { sigma: 0.5_f64.sqrt() }.forward(&output, &target, &mut normal);
    let offset = Likelihood::SquaredError.standard_offset(12);
    assert!((article[0] + offset - normal[0]).abs() <= 1e-12);
    assert_eq!(Likelihood::Bernoulli.standard_offset(12), 0.0);
}

#[test]
fn names_configuration_and_what_is_refused() {
    for name in Likelihood::NAMES {
        let likelihood = Likelihood::from_name(name).unwrap();
        assert_eq!(likelihood.name(), name);
        likelihood.validate().unwrap();
        let text = toml::to_string(&likelihood).unwrap();
        assert!(text.contains(&format!("kind = \"{name}\"")), "{text}");
        assert_eq!(toml::from_str::<Likelihood>(&text).unwrap(), likelihood);
    }
    assert_eq!(Likelihood::from_name("bernouli"), None);
    let read = |text: &str| toml::from_str::<Likelihood>(text).map_err(|error| error.to_string());
    assert_eq!(read("kind = \"gaussian\"\nsigma = 1"), Ok(Likelihood::Gaussian { sigma: 1.0 }));
    assert_eq!(read("kind = \"laplace\""), Ok(Likelihood::Laplace { scale: 0.1 }));
    for (text, complaint) in [
        ("kind = \"gaussian\"\nsgima = 0.2", "sgima"),
        ("kind = \"bernoulli\"\nsigma = 0.2", "likelihood bernoulli has no sigma"),
        ("kind = \"gaussian\"\nsigma = -0.2", "must be a positive number, not -0.2"),
        ("kind = \"gauss\"", "one of bernoulli, squared-error, gaussian, optimal-gaussian, laplace"),
        ("sigma = 0.2", "kind"),
    ] {
        let error = read(text).unwrap_err();
        assert!(error.contains(complaint), "{error}");
    }
    for width in [0.0, -0.1, f64::NAN, f64::INFINITY] {
        assert!(Likelihood::Gaussian { sigma: width }.validate().is_err());
        assert!(Likelihood::Laplace { scale: width }.validate().is_err());
    }
    Likelihood::Bernoulli.check_range(0.0, 1.0).unwrap();
    Likelihood::SquaredError.check_range(-1.0, 1.0).unwrap();
    assert!(Likelihood::Bernoulli.check_range(-1.0, 1.0).is_err());
}

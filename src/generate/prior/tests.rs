use super::*;
use crate::model::{ModelConfig, Preset, Vae};

/// Points from Gaussians at the given places with the given spread.
fn points(places: &[[f32; 2]], spread: f32, each: usize) -> Codes {
    let mut mu = vec![0.0; places.len() * each * 2];
    fill_normal(&mut stream(5, Stream::Sampling, 0), &mut mu);
    for (z, place) in mu.chunks_exact_mut(2).zip(places.iter().cycle()) {
        z[0] = place[0] + spread * z[0];
        z[1] = place[1] + spread * z[1];
    }
    let log_variance = vec![-20.0; mu.len()];
    Codes { mu, log_variance }
}

fn assert_near(found: f64, expected: f64, tolerance: f64) {
    let within = (found - expected).abs() <= tolerance;
    assert!(within, "{found} is not {expected} ± {tolerance}");
}

#[test]
fn clusters_are_found_with_their_weights_and_widths() {
    let places = [[-3.0, 0.0], [3.0, 1.0], [3.0, 1.0], [0.0, 5.0]];
    let (mixture, report) = Mixture::fit(&points(&places, 0.5, 1000), 2, 3, 0).unwrap();
    let mut order: Vec<usize> = vec![0, 1, 2];
    order.sort_by(|&a, &b| mixture.means[2 * a].total_cmp(&mixture.means[2 * b]));
    for (k, (place, weight)) in
        order.into_iter().zip([([-3.0, 0.0], 0.25), ([0.0, 5.0], 0.25), ([3.0, 1.0], 0.5)])
    {
        assert_near(mixture.weights[k], weight, 0.01);
        for axis in 0..2 {
            assert_near(mixture.means[2 * k + axis], place[axis], 0.05);
            let scale = mixture.scale(k);
            assert_near(scale[2 * axis..][..2].iter().map(|x| x * x).sum::<f64>().sqrt(), 0.5, 0.05);
        }
    }
    assert!(report.bound > report.normal + 1.0, "{report:?}");
}

/// The posteriors' own widths are modelled too: if all μ are equal, they are the whole variance.
#[test]
fn a_single_gaussian_has_the_moments_of_the_aggregate_posterior() {
    let mut codes = points(&[[1.0, 2.0]], 0.3, 5000);
    codes.log_variance.chunks_exact_mut(2).for_each(|s| s.copy_from_slice(&[0.5_f32.ln(), 0.2_f32.ln()]));
    let (mixture, report) = Mixture::fit(&codes, 2, 1, 0).unwrap();
    let scale = mixture.scales.clone();
    assert_near(scale[0] * scale[0], 0.5 + 0.09, 0.01);
    assert_near(scale[2] * scale[2] + scale[3] * scale[3], 0.2 + 0.09, 0.01);
    // Draws have these moments too.
    let draws = Prior::Mixture(mixture.clone()).draw(20_000, 2, 1, 1.0);
    let moment = |f: &dyn Fn(&[f32]) -> f64| draws.chunks_exact(2).map(f).sum::<f64>() / 20_000.0;
    assert_near(moment(&|z| f64::from(z[0])), 1.0, 0.02);
    assert_near(moment(&|z| f64::from(z[0] - 1.0).powi(2)), 0.59, 0.03);
    assert_near(moment(&|z| f64::from(z[1] - 2.0).powi(2)), 0.29, 0.02);
    // For one component the bound is exact: E ln N = −½(2 ln 2π + ln|S| + 2).
    let exact = -0.5 * (2.0 * (2.0 * PI).ln() + 2.0 * (scale[0] * scale[3]).ln() + 2.0);
    assert_near(report.bound, exact, 1e-3);
}

#[test]
fn every_step_raises_the_bound_full_and_diagonal() {
    for (latent, components) in [(6, 4), (FULL_UP_TO + 1, 3)] {
        let images = 800;
        let mut codes = Codes { mu: vec![0.0; images * latent], log_variance: vec![-2.0; images * latent] };
        fill_normal(&mut stream(2, Stream::Sampling, 0), &mut codes.mu);
        for (image, mu) in codes.mu.chunks_exact_mut(latent).enumerate() {
            mu[0] += 3.0 * (image % 3) as f32;
            mu[1] += mu[0] * 0.5;
        }
        let features = Features::new(latent);
        let nearest = start::k_means_plus_plus(&codes.mu, latent, components, 0);
        let mut sums = features.responsible_sums(&codes, components, &|first, _, r| {
            r.chunks_exact_mut(components).zip(first..).for_each(|(row, image)| row[nearest[image]] = 1.0);
            0.0
        });
        // The bound plus the log density of the imaginary images increases.
        let mut before = f64::NEG_INFINITY;
        for _ in 0..20 {
            let mixture = features.maximize(&sums.0, images).unwrap();
            sums = features.expect(&mixture, &codes);
            let mut mean = vec![0.0; features.len];
            for row in sums.0.chunks_exact(features.len) {
                mean.iter_mut().zip(row).for_each(|(mean, x)| *mean += x / images as f64);
            }
            let imaginary: f64 = features
                .theta(&mixture)
                .chunks_exact(features.len)
                .map(|row| row.iter().zip(&mean).map(|(a, b)| a * b).sum::<f64>())
                .sum();
            let value = sums.1 + imaginary;
            assert!(value >= before - 1e-6, "{latent} dimensions: {value} after {before}");
            before = value;
        }
    }
}

#[test]
fn the_fit_and_the_draws_do_not_depend_on_threads() {
    let codes = points(&[[-3.0, 0.0], [3.0, 1.0], [0.0, 5.0]], 0.7, 700);
    let fit = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| Mixture::fit(&codes, 2, 5, 7).unwrap())
    };
    let (mixture, report) = fit(1);
    assert_eq!(fit(4), (mixture.clone(), report));
    let prior = Prior::Mixture(mixture);
    assert_eq!(prior.draw(10, 2, 3, 1.0)[..8], prior.draw(4, 2, 3, 1.0));
    let cold = prior.draw(50, 2, 3, 0.0);
    let Prior::Mixture(mixture) = &prior else { unreachable!() };
    for z in cold.chunks_exact(2) {
        assert!(mixture.means.chunks_exact(2).any(|m| z[0] == m[0] as f32 && z[1] == m[1] as f32));
    }
}

#[test]
fn what_cannot_be_fitted_is_refused() {
    let codes = points(&[[0.0, 0.0]], 1.0, 5);
    let refused = |codes: &Codes, k| Mixture::fit(codes, 2, k, 0).unwrap_err().to_string();
    assert!(refused(&codes, 6).contains("6 components for 5 images"));
    assert!(refused(&codes, 0).contains("0 components"));
    let broken = Codes { mu: vec![f32::NAN; 10], ..codes.clone() };
    assert!(refused(&broken, 2).contains("not finite numbers"));
    // As many components as images is unusual, and allowed.
    assert!(Mixture::fit(&codes, 2, 5, 0).is_ok());
}

#[test]
fn a_prior_belongs_to_its_model() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(FILE_NAME);
    let mut config = ModelConfig::new(Preset::Mlp, (8, 8, 1));
    config.latent = 2;
    let mut model = Vae::new(config, 0).unwrap();
    let memory = 1 << 20;
    assert_eq!(Mixture::load(&path, &model, memory).unwrap(), None);
    let (mixture, _) = Mixture::fit(&points(&[[0.0, 0.0], [2.0, 2.0]], 0.4, 100), 2, 2, 0).unwrap();
    mixture.save(&path, &model).unwrap();
    let loaded = Mixture::load(&path, &model, memory).unwrap().unwrap();
    assert_eq!(loaded.components(), 2);
    for (a, b) in loaded.scales.iter().zip(&mixture.scales) {
        assert_near(*a, *b, 1e-6);
    }
    loaded.save(&path, &model).unwrap();
    assert_eq!(Mixture::load(&path, &model, memory).unwrap().as_ref(), Some(&loaded));
    model.parameters[5] += 0.1;
    assert_eq!(Mixture::load(&path, &model, memory).unwrap(), None);
    model.save(&path).unwrap();
    assert!(Mixture::load(&path, &model, memory).unwrap_err().to_string().contains("not a fitted prior"));
}

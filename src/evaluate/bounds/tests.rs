//! The bounds against models whose p(x) is known in closed form: with p(z) = N(0, I) and p(x|z) = N(W·z + b,
//! σ²·I), p(x) = N(b, W·Wᵀ + σ²·I).

use super::*;
use crate::data::Images;
use crate::data::Span;
use crate::generate::symmetric::{cholesky, invert_lower};
use crate::loss::Likelihood;
use crate::model::{ModelConfig, Preset};
use std::f64::consts::PI;

/// W is D × Z, row by row.
struct Linear {
    w: Vec<f64>,
    b: Vec<f64>,
    variance: f64,
    x: Vec<f64>,
}

const D: usize = 3;
const Z: usize = 2;

impl LogLikelihood for Linear {
    fn latent(&self) -> usize {
        Z
    }

    fn log_likelihood(&mut self, codes: &[f32], images: &[usize], out: &mut [f64]) {
        for ((z, _), out) in codes.chunks_exact(Z).zip(images).zip(out) {
            let mean =
                |d: usize| self.b[d] + (0..Z).map(|j| self.w[d * Z + j] * f64::from(z[j])).sum::<f64>();
            let squares: f64 = (0..D).map(|d| (self.x[d] - mean(d)).powi(2)).sum();
            *out = -0.5 * (squares / self.variance + D as f64 * (2.0 * PI * self.variance).ln());
        }
    }
}

/// ln N(x; b, W·Wᵀ + σ²·I).
fn ln_p(w: &[f64], b: &[f64], variance: f64, x: &[f64], latent: usize) -> f64 {
    let n = x.len();
    let entry = |i: usize, j: usize| {
        let dot: f64 = (0..latent).map(|k| w[i * latent + k] * w[j * latent + k]).sum();
        dot + if i == j { variance } else { 0.0 }
    };
    let covariance: Vec<f64> = (0..n * n).map(|at| entry(at / n, at % n)).collect();
    let l = cholesky(&covariance, n).unwrap();
    let inverse = invert_lower(&l, n);
    let y =
        (0..n).map(|i| (0..n).map(|j| inverse[i * n + j] * (x[j] - b[j])).sum::<f64>().powi(2)).sum::<f64>();
    let ln_det: f64 = (0..n).map(|i| 2.0 * l[i * n + i].ln()).sum();
    -0.5 * (y + ln_det + n as f64 * (2.0 * PI).ln())
}

fn linear() -> (Linear, Codes) {
    let model = Linear {
        w: vec![0.9, -0.3, 0.2, 0.7, -0.5, 0.4],
        b: vec![0.1, -0.2, 0.3],
        variance: 0.3,
        x: vec![0.8, 0.5, -0.4],
    };
    // Not the true posterior: the bound is loose, and the weights vary.
    (model, Codes { mu: vec![0.7, 0.2], log_variance: vec![-1.0, -0.6] })
}

/// The same image many times: independent draws, since each has a stream of its own.
fn repeated(posterior: &Codes, times: usize) -> (Codes, Vec<usize>) {
    let all = Codes { mu: posterior.mu.repeat(times), log_variance: posterior.log_variance.repeat(times) };
    (all, (0..times).collect())
}

fn assert_within(found: f64, error: f64, expected: f64, errors: f64) {
    let within = (found - expected).abs() <= errors * error;
    assert!(within, "{found} ± {error} is not {expected}");
}

#[test]
fn the_mean_weight_is_p_of_x() {
    let (mut model, posterior) = linear();
    let truth = ln_p(&model.w, &model.b, model.variance, &model.x, Z);
    let (codes, images) = repeated(&posterior, 100_000);
    let weights: Vec<f64> =
        importance_weighted(&mut model, &codes, &images, 1, 1).iter().map(|l| l.exp()).collect();
    let (mean, error) = mean_and_error(&weights);
    let error = error.unwrap();
    assert_within(mean, error, truth.exp(), 3.0);
    // The tolerance is tight enough to detect a normalizer that is off by a hundredth.
    assert!(error < 0.003 * truth.exp(), "{error}");
}

#[test]
fn one_sample_is_the_elbo_in_closed_form() {
    let (mut model, posterior) = linear();
    let (codes, images) = repeated(&posterior, 100_000);
    // E_q[ln p(x|z)] = ln N(x; Wμ + b, σ²) − Σ_dj W_dj² σ_j² / (2σ²), and KL(q‖p) as always.
    let mut at_mean = [0.0];
    model.log_likelihood(&posterior.mu, &[0], &mut at_mean);
    let spread: f64 =
        (0..D * Z).map(|i| model.w[i].powi(2) * f64::from(posterior.log_variance[i % Z]).exp()).sum();
    let kl: f64 = (0..Z)
        .map(|j| (f64::from(posterior.mu[j]), f64::from(posterior.log_variance[j])))
        .map(|(mu, s)| 0.5 * (mu * mu + s.exp() - 1.0 - s))
        .sum();
    let elbo = at_mean[0] - spread / (2.0 * model.variance) - kl;
    let single = importance_weighted(&mut model, &codes, &images, 1, 2);
    let (mean, error) = mean_and_error(&single);
    assert_within(mean, error.unwrap(), elbo, 3.0);
    let half_closed = negative_elbos(&mut model, &codes, &images, 2);
    let (mean, error) = mean_and_error(&half_closed);
    assert_within(mean, error.unwrap(), -elbo, 3.0);
}

#[test]
fn more_samples_raise_the_bound_towards_ln_p() {
    let (mut model, posterior) = linear();
    let truth = ln_p(&model.w, &model.b, model.variance, &model.x, Z);
    let (codes, images) = repeated(&posterior, 4000);
    let bounds: Vec<(f64, f64)> = [1, 2, 5, 20, 100]
        .into_iter()
        .map(|k| mean_and_error(&importance_weighted(&mut model, &codes, &images, k, 3)))
        .map(|(mean, error)| (mean, error.unwrap()))
        .collect();
    println!("ln p {truth}, bounds {bounds:?}");
    for pair in bounds.windows(2) {
        assert!(pair[1].0 > pair[0].0 + 2.0 * pair[0].1.hypot(pair[1].1) / 10.0, "{bounds:?}");
    }
    assert!(truth - bounds[0].0 > 0.1, "a loose bound to begin with");
    let (last, error) = bounds[4];
    assert!(last < truth + 3.0 * error && last > truth - 0.01, "{last} is not just below {truth}");
}

#[test]
fn the_true_posterior_makes_every_weight_p_of_x() {
    // One latent dimension whose posterior is known: precision 1 + Σw²/σ², mean Σw(x−b)/σ² over that. The
    // second one is unused.
    let (model, _) = linear();
    let mut model = Linear { w: model.w.chunks(2).flat_map(|row| [row[0], 0.0]).collect(), ..model };
    let precision = 1.0 + model.w.iter().map(|w| w * w).sum::<f64>() / model.variance;
    let pull: f64 = (0..D).map(|d| model.w[d * Z] * (model.x[d] - model.b[d])).sum::<f64>() / model.variance;
    let posterior =
        Codes { mu: vec![(pull / precision) as f32, 0.0], log_variance: vec![-precision.ln() as f32, 0.0] };
    let truth = ln_p(&model.w, &model.b, model.variance, &model.x, Z);
    let (codes, images) = repeated(&posterior, 200);
    for bound in importance_weighted(&mut model, &codes, &images, 3, 4) {
        let within = (bound - truth).abs() <= 1e-5;
        assert!(within, "{bound} is not {truth}");
    }
}

/// A real network that is linear where it is used: a hidden bias so large that no ReLU cuts anything off, and
/// a sigmoid so near its middle that it is a straight line, sigmoid(a) = ½ + a/4 − a³/48 with |a| < 0.2.
#[test]
fn a_network_that_is_linear_has_the_p_of_x_of_its_formula() {
    let (pixels, latent, sigma) = (64, 2, 0.05);
    let mut config = ModelConfig::new(Preset::Mlp, (8, 8, 1));
    (config.latent, config.hidden) = (latent, vec![latent]);
    config.likelihood = Likelihood::Gaussian { sigma };
    let mut model = Vae::<f32>::new(config, 0).unwrap();
    // a = 4·W·z with a column of ones and one of alternating signs.
    let w: Vec<f64> = (0..pixels).flat_map(|d| [0.008, if d % 2 == 0 { 0.006 } else { -0.006 }]).collect();
    let table = model.architecture().table.clone();
    let mut set = |name: &str, values: Vec<f64>| {
        let parameter = table.parameters.iter().find(|p| p.name == name).unwrap();
        let memory = &mut model.parameters[parameter.range.clone()];
        assert_eq!(memory.len(), values.len(), "{name}");
        memory.iter_mut().zip(values).for_each(|(p, value)| *p = value as f32);
    };
    set("decoder.linear1.weight", vec![1.0, 0.0, 0.0, 1.0]);
    set("decoder.linear1.bias", vec![16.0; 2]);
    set("decoder.linear2.weight", w.iter().map(|w| 4.0 * w).collect());
    set("decoder.linear2.bias", w.chunks(2).map(|row| -4.0 * 16.0 * (row[0] + row[1])).collect());
    // A picture, and a posterior near the true one.
    let z = [0.9, -0.6];
    let noise = |d: usize| ((d * 37 % 64) as f64 / 64.0 - 0.5) * 0.16;
    let x: Vec<f32> =
        (0..pixels).map(|d| (0.5 + w[d * 2] * z[0] + w[d * 2 + 1] * z[1] + noise(d)) as f32).collect();
    let truth = {
        let x: Vec<f64> = x.iter().map(|&x| f64::from(x)).collect();
        ln_p(&w, &vec![0.5; pixels], sigma * sigma, &x, latent)
    };
    let posterior = Codes { mu: vec![0.6, -0.3], log_variance: vec![-0.7, -0.5] };
    let times = 20_000;
    let (codes, indices) = repeated(&posterior, times);
    let images = Images {
        pixels: crate::data::Pixels::F32(x.repeat(times)),
        count: times,
        height: 8,
        width: 8,
        channels: 1,
        range: crate::data::Range::UNIT,
    };
    let filler = Filler { span: Span::Unit, binarize: None, seed: 0 };
    let mut likelihood = VaeLikelihood::new(&model, &images, filler);
    let single = importance_weighted(&mut likelihood, &codes, &indices, 1, 5);
    let weights: Vec<f64> = single.iter().map(|l| (l - truth).exp()).collect();
    let (mean, error) = mean_and_error(&weights);
    println!("p(x) is {truth}, mean weight {mean} ± {error:?} of it");
    assert_within(mean, error.unwrap(), 1.0, 3.0);
    assert!(error.unwrap() < 0.02);
    let many = importance_weighted(&mut likelihood, &repeated(&posterior, 100).0, &indices[..100], 200, 5);
    let (bound, _) = mean_and_error(&many);
    assert!(bound > mean_and_error(&single).0 && (bound - truth).abs() < 0.02, "{bound} {truth}");
}

#[test]
fn more_samples_go_on_from_those_before() {
    let (mut model, posterior) = linear();
    let (codes, images) = repeated(&posterior, 100); // 300 pairs are batches of 128, 128 and 44
    let three = importance_weighted(&mut model, &codes, &images, 3, 6);
    for (at, image) in images.iter().enumerate() {
        let one = importance_weighted(&mut model, &posterior, &[*image], 3, 6);
        assert_eq!(one[0], three[at]);
    }
    let mean = ln_mean_exp(&[-5.0, f64::NEG_INFINITY]);
    assert!((mean - (-5.0 - 2.0_f64.ln())).abs() < 1e-15);
    assert!(ln_mean_exp(&[1.0, f64::NAN]).is_nan());
    assert_eq!(quantile(&[], 0.5), None);
    assert_eq!(quantile(&[4.0, 1.0], 1.0), Some(4.0));
}

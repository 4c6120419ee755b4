//! The gradient of the whole objective against finite differences, ε frozen: every preset, tied and untied if
//! it can be tied, with every likelihood, every divergence, and with free bits, capacity, both, or neither.
//!
//! Presets are made so narrow that every parameter can be moved by itself. The article's widths are fixed, so
//! its one and a half million parameters are moved together: for a random direction v of ±1 the derivative
//! along v must be v·gradient. Once per likelihood, for each tensor, the parameter with the largest of some
//! sampled gradients is moved alone. The step along v is 10⁻⁸ (larger for the byte likelihoods), so that the
//! thousands of ReLUs and poolings are unlikely to meet a kink on the way. As v·gradient is of order 10,
//! rounding stays far below the tolerance nevertheless.
//!
//! Seeds are fixed, and a kink (of ReLU, max, |·|) within a step could only fail a check, never pass it: it
//! bends the difference, not the gradient. The terms have kinks of their own, at a dimension's divergence of
//! λ or a sum of C. They are avoided by choosing λ halfway between two dimensions' divergences, so that some
//! are at the floor and some above it.

use rand::RngExt;
use rand::{SeedableRng, rngs::ChaCha8Rng};

use super::{Batch, ModelConfig, Preset, Vae};
use crate::gradient_check::{agree, check_in_steps, random_vec};
use crate::loss::{Divergence, Likelihood, Objective, ObjectiveTerms};

/// Three images a batch: a mean over images differs from a sum.
const BATCH: usize = 3;

/// A model, a batch and the objective as a function of the parameters.
struct Setting {
    model: Vae<f64>,
    images: Vec<f64>,
    noise: Vec<f64>,
    objective: Objective,
}

impl Setting {
    fn new(config: ModelConfig, divergence: Divergence, kind: usize, seed: u64) -> (Self, &'static str) {
        let objective = Objective { divergence, terms: ObjectiveTerms::ELBO };
        let model = Vae::new(config, seed).unwrap();
        let pixels = random_vec(seed + 1, BATCH * model.config().pixels());
        // Within the span of either range, and away from the ends.
        let images = pixels.iter().map(|x| 0.5 + 0.45 * x).collect();
        let noise = random_vec(seed + 2, BATCH * model.config().latent);
        let mut setting = Self { model, images, noise, objective };
        let (name, terms) = setting.kinds_of_terms()[kind];
        setting.objective.terms = terms;
        (setting, name)
    }

    /// The kinds of terms: plain, free bits, capacity, both. The capacity is once above and once below the
    /// divergences' sum, so that every branch is taken.
    fn kinds_of_terms(&self) -> [(&'static str, ObjectiveTerms); 4] {
        let mut means = self.divergences();
        means.sort_by(f64::total_cmp);
        let below = if means[1] - means[0] > means[2] - means[1] { 0 } else { 1 };
        let gap = means[below + 1] - means[below];
        assert!(gap > 1e-5 && means.iter().sum::<f64>() < 2.5, "no room for λ and C beside {means:?}");
        let lambda = means[below] + 0.5 * gap;
        let terms = |beta, free_bits, capacity| ObjectiveTerms { beta, free_bits, capacity };
        [
            ("plain", terms(1.0, 0.0, None)),
            ("free bits", terms(0.7, lambda, None)),
            ("capacity", terms(2.0, 0.0, Some(3.0))),
            ("free bits and capacity", terms(1.3, lambda, Some(0.5 * means[2]))),
        ]
    }

    /// The mean divergence of each latent dimension.
    fn divergences(&self) -> Vec<f64> {
        let latent = self.model.config().latent;
        let mut space = self.model.inference_workspace(BATCH);
        self.model.encode(self.batch(), &mut space);
        let (mu, log_variance) = (&space.latent.mu, &space.latent.log_variance);
        let (mut values, mut per_image) = (vec![0.0; BATCH * latent], [0.0; BATCH]);
        let mut per_dimension = vec![0.0; latent];
        self.objective.divergence.forward(mu, log_variance, &mut values, &mut per_image, &mut per_dimension);
        per_dimension
    }

    fn batch(&self) -> Batch<'_, f64> {
        Batch { images: &self.images, labels: labels(&self.model) }
    }

    /// The distance by which a parameter is moved: larger for the beta-binomial, whose nats are hundreds and
    /// sums of special functions.
    fn step(&self) -> f64 {
        if self.model.config().likelihood == Likelihood::BetaBinomial { 4e-6 } else { 1e-6 }
    }

    fn gradient(&self) -> Vec<f64> {
        let mut space = self.model.training_workspace(BATCH);
        self.model.gradients(self.batch(), &self.noise, &self.objective, &mut space);
        space.gradient().to_vec()
    }

    /// The loss as a function of the parameters, with the backward pass never run.
    fn loss(&self) -> impl FnMut(&[f64]) -> f64 {
        let (mut model, images, noise) = (self.model.clone(), self.images.clone(), self.noise.clone());
        let objective = self.objective;
        // The training workspace: the optimal Gaussian fits its σ² to the batch only in training.
        let mut space = model.training_workspace(BATCH);
        move |parameters| {
            model.parameters.copy_from_slice(parameters);
            let batch = Batch { images: &images, labels: labels(&model) };
            model.gradients(batch, &noise, &objective, &mut space).loss
        }
    }
}

fn likelihoods() -> impl Iterator<Item = Likelihood> {
    Likelihood::ALL.into_iter().map(|likelihood| {
        // Wider than the default, so that the objective stays of order 10 to 100.
        let set = |setting, value| likelihood.with_setting(setting, value);
        set("sigma", 0.6)
            .or_else(|_| set("scale", 0.5))
            .or_else(|_| set("components", 2.0))
            .unwrap_or(likelihood)
    })
}

/// The labels of a batch, if the model has any: the last is used twice.
fn labels(model: &Vae<f64>) -> &'static [u32] {
    if model.config().classes() > 0 { &[1, 0, 1] } else { &[] }
}

/// A preset so narrow that every parameter can be moved by itself; `None` if its widths are fixed.
fn narrow(preset: Preset) -> Option<ModelConfig> {
    let (size, widths, hidden) = match preset {
        Preset::Conv => ((9, 8, 2), vec![2, 3], vec![6]),
        Preset::Mlp => ((8, 8, 1), vec![], vec![6]),
        Preset::Article => return None,
        Preset::Residual => ((9, 8, 1), vec![2, 3], vec![]),
    };
    Some(ModelConfig { latent: 3, widths, hidden, ..ModelConfig::new(preset, size) })
}

/// The whole objective of a preset's network: tied if it can be, with labels, with every likelihood,
/// divergence and kind of terms.
pub(crate) fn of_preset(preset: Preset) {
    let mut seed = 100_000 * (1 + preset as u64);
    let two = vec!["a".to_owned(), "b".to_owned()];
    for likelihood in likelihoods() {
        for (tie_weights, labels) in [(false, vec![]), (true, vec![]), (false, two.clone())] {
            for (divergence, kind) in
                [Divergence::Kl, Divergence::Jeffreys].into_iter().flat_map(|d| (0..4).map(move |k| (d, k)))
            {
                let is_narrow = narrow(preset).is_some();
                let base = narrow(preset)
                    .unwrap_or_else(|| ModelConfig { latent: 3, ..ModelConfig::new(preset, (8, 9, 1)) });
                let config = ModelConfig { tie_weights, likelihood, labels: labels.clone(), ..base };
                if config.validate().is_err() {
                    assert!(tie_weights, "{preset:?} with {likelihood:?}");
                    continue;
                }
                // The terms do not depend on labels.
                if !labels.is_empty() && (divergence, kind) != (Divergence::Kl, 0) {
                    continue;
                }
                seed += 10;
                let (setting, kind) = Setting::new(config, divergence, kind, seed);
                let name = format!(
                    "{preset:?} tied {tie_weights} {} labels {likelihood:?} {divergence:?} {kind} seed {seed}",
                    labels.len()
                );
                let is_plain = kind == "plain" && divergence == Divergence::Kl;
                // Residual blocks have so many parameters that each is moved once for each likelihood.
                let each = is_narrow && (preset != Preset::Residual || (is_plain && labels.len() == 2));
                if each {
                    let mut parameters = setting.model.parameters.clone();
                    check_in_steps(
                        setting.step(),
                        &name,
                        &mut parameters,
                        &setting.gradient(),
                        setting.loss(),
                    );
                } else {
                    along_and_some(&name, &setting, seed, is_plain);
                }
            }
        }
    }
}

/// A wide network along a random direction; if `of_each`, also one parameter of every tensor.
fn along_and_some(name: &str, setting: &Setting, seed: u64, of_each: bool) {
    let (gradient, mut loss) = (setting.gradient(), setting.loss());
    along_a_direction(name, setting, &gradient, &mut loss, seed);
    for parameter in setting.model.architecture().table.parameters.iter().filter(|_| of_each) {
        let sample = parameter.range.clone().step_by(1 + parameter.range.len() / 40);
        let largest = sample.max_by(|&a, &b| gradient[a].abs().total_cmp(&gradient[b].abs())).unwrap();
        let mut all = setting.model.parameters.clone();
        let mut alone = [all[largest]];
        check_in_steps(
            setting.step(),
            &format!("{name} {}", parameter.name),
            &mut alone,
            &[gradient[largest]],
            |value| {
                all[largest] = value[0];
                loss(&all)
            },
        );
    }
}

/// ∂L/∂v = v·gradient, for v of ±1.
fn along_a_direction(
    name: &str,
    setting: &Setting,
    gradient: &[f64],
    loss: &mut impl FnMut(&[f64]) -> f64,
    seed: u64,
) {
    let (likelihood, parameters) = (setting.model.config().likelihood, &setting.model.parameters);
    // The nats of the byte likelihoods are some eight times those of the others, and so is their rounding.
    // The beta-binomial's are also differences of large logarithms, so it needs a larger step. Only the last
    // layer can take that, as no kink comes after it.
    let tail = &setting.model.architecture().decoder_slots;
    let (step, moving) = match likelihood {
        Likelihood::BetaBinomial => (1e-5, tail[tail.len() - 2].range.start..parameters.len()),
        _ if likelihood.is_exact_for_bytes() => (6e-8, 0..parameters.len()),
        _ => (1e-8, 0..parameters.len()),
    };
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut v: Vec<f64> = parameters.iter().map(|_| if rng.random::<bool>() { 1.0 } else { -1.0 }).collect();
    v[..moving.start].fill(0.0);
    let moved = |by: f64| parameters.iter().zip(&v).map(|(p, v)| p + by * v).collect::<Vec<f64>>();
    let numeric = (loss(&moved(step)) - loss(&moved(-step))) / (2.0 * step);
    let analytic: f64 = v.iter().zip(gradient).map(|(v, g)| v * g).sum();
    agree(&format!("{name} along a direction"), analytic, numeric);
}

//! The gradient of the whole objective against finite differences, ε frozen: every preset, tied or not where it can be, with every
//! likelihood, every divergence, and with free bits, capacity, both, or neither.
//!
//! `conv` and `mlp` are made so narrow that every parameter can be moved by itself. The article's widths are fixed, so its one and a half
//! million parameters are moved together: for a random direction v of ±1 the derivative along v must be v·gradient, and once a likelihood, for each tensor,
//! the parameter with the largest of some sampled gradients is moved alone. The step along v is 10⁻⁸, so that the thousands of ReLUs and
//! poolings are unlikely to meet a kink on the way; as v·gradient is of order 10, rounding stays far below the tolerance all the same.

use rand::RngExt;
use rand::{SeedableRng, rngs::ChaCha8Rng};

use super::{ModelConfig, Preset, Vae};
use crate::gradient_check::{agree, check, random_vec};
use crate::loss::{Divergence, Likelihood, Objective, ObjectiveTerms};

/// Three images a batch: the mean over images must be one.
const BATCH: usize = 3;

/// A model, a batch and the objective as a function of the parameters.
struct Setting {
    model: Vae<f64>,
    images: Vec<f64>,
    noise: Vec<f64>,
    objective: Objective,
    terms: ObjectiveTerms,
}

impl Setting {
    fn new(config: ModelConfig, divergence: Divergence, terms: ObjectiveTerms, seed: u64) -> Self {
        let objective = Objective { likelihood: config.likelihood, divergence };
        let model = Vae::new(config, seed).unwrap();
        let pixels = random_vec(seed + 1, BATCH * model.config().pixels());
        // Within the span of either range, and away from the ends.
        let images = pixels.iter().map(|x| 0.5 + 0.45 * x).collect();
        let noise = random_vec(seed + 2, BATCH * model.config().latent);
        Self { model, images, noise, objective, terms }
    }

    fn gradient(&self) -> Vec<f64> {
        let mut space = self.model.training_workspace(BATCH);
        self.model.gradients(&self.images, &self.noise, &self.objective, &self.terms, &mut space);
        space.gradient().to_vec()
    }

    /// The loss as a function of the parameters, with the backward pass never run.
    fn loss(&self) -> impl FnMut(&[f64]) -> f64 {
        let (mut model, images, noise) = (self.model.clone(), self.images.clone(), self.noise.clone());
        let (objective, terms) = (self.objective, self.terms);
        // The training workspace: the optimal Gaussian fits its σ² to the batch in training only.
        let mut space = model.training_workspace(BATCH);
        move |parameters| {
            model.parameters.copy_from_slice(parameters);
            model.gradients(&images, &noise, &objective, &terms, &mut space).loss
        }
    }
}

/// The kinds of terms: plain, free bits, capacity, both. The floor lies between the dimensions' divergences, and the capacity once above
/// and once below their sum, so that every branch is taken.
fn kinds_of_terms() -> [(&'static str, ObjectiveTerms); 4] {
    let terms = |beta, free_bits, capacity| ObjectiveTerms { beta, free_bits, capacity };
    [
        ("plain", terms(1.0, 0.0, None)),
        ("free bits", terms(0.7, 0.02, None)),
        ("capacity", terms(2.0, 0.0, Some(3.0))),
        ("free bits and capacity", terms(1.3, 0.02, Some(0.001))),
    ]
}

fn likelihoods() -> [Likelihood; 5] {
    Likelihood::NAMES.map(|name| match Likelihood::from_name(name).unwrap() {
        // Wider than the default, so that the objective stays of order 10 to 100.
        Likelihood::Gaussian { .. } => Likelihood::Gaussian { sigma: 0.6 },
        Likelihood::Laplace { .. } => Likelihood::Laplace { scale: 0.5 },
        other => other,
    })
}

/// Every parameter of narrow networks.
pub(crate) fn of_narrow_networks() {
    let mut seed = 0;
    for (preset, tie_weights, likelihood) in [Preset::Conv, Preset::Mlp]
        .into_iter()
        .flat_map(|preset| [false, true].map(|tied| (preset, tied)))
        .flat_map(|(preset, tied)| likelihoods().map(|likelihood| (preset, tied, likelihood)))
    {
        for divergence in [Divergence::Kl, Divergence::Jeffreys] {
            for (kind, terms) in kinds_of_terms() {
                let (size, widths) = match preset {
                    Preset::Conv => ((9, 8, 2), vec![2, 3]),
                    _ => ((8, 8, 1), vec![]),
                };
                let config = ModelConfig {
                    latent: 3,
                    widths,
                    hidden: vec![6],
                    tie_weights,
                    likelihood,
                    ..ModelConfig::new(preset, size)
                };
                seed += 10;
                let setting = Setting::new(config, divergence, terms, seed);
                let name =
                    format!("{preset:?} tied {tie_weights} {likelihood:?} {divergence:?} {kind} seed {seed}");
                let mut parameters = setting.model.parameters.clone();
                check(&name, &mut parameters, &setting.gradient(), setting.loss());
            }
        }
    }
}

/// The article's network along random directions, and some parameters of every tensor.
pub(crate) fn of_the_article() {
    let mut seed = 100_000;
    for likelihood in likelihoods() {
        for divergence in [Divergence::Kl, Divergence::Jeffreys] {
            for (kind, terms) in kinds_of_terms() {
                let config =
                    ModelConfig { latent: 3, likelihood, ..ModelConfig::new(Preset::Article, (8, 9, 1)) };
                seed += 10;
                let setting = Setting::new(config, divergence, terms, seed);
                let name = format!("article {likelihood:?} {divergence:?} {kind} seed {seed}");
                let (gradient, mut loss) = (setting.gradient(), setting.loss());
                along_a_direction(&name, &setting.model.parameters, &gradient, &mut loss, seed);
                if kind == "plain" && divergence == Divergence::Kl {
                    for parameter in &setting.model.architecture().table.parameters {
                        let sample = parameter.range.clone().step_by(1 + parameter.range.len() / 40);
                        let largest =
                            sample.max_by(|&a, &b| gradient[a].abs().total_cmp(&gradient[b].abs())).unwrap();
                        let mut all = setting.model.parameters.clone();
                        let mut alone = [all[largest]];
                        check(
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
            }
        }
    }
}

/// ∂L/∂v = v·gradient, for v of ±1.
fn along_a_direction(
    name: &str,
    parameters: &[f64],
    gradient: &[f64],
    loss: &mut impl FnMut(&[f64]) -> f64,
    seed: u64,
) {
    const STEP: f64 = 1e-8;
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let v: Vec<f64> = parameters.iter().map(|_| if rng.random::<bool>() { 1.0 } else { -1.0 }).collect();
    let moved = |by: f64| parameters.iter().zip(&v).map(|(p, v)| p + by * v).collect::<Vec<f64>>();
    let numeric = (loss(&moved(STEP)) - loss(&moved(-STEP))) / (2.0 * STEP);
    let analytic: f64 = v.iter().zip(gradient).map(|(v, g)| v * g).sum();
    agree(&format!("{name} along a direction"), analytic, numeric);
}

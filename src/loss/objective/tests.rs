use super::*;
use crate::gradient_check::check;
use rand::{RngExt, SeedableRng, rngs::ChaCha8Rng};

const IMAGES: usize = 3;
const PIXELS: usize = 11;
const LATENT: usize = 6;

const LIKELIHOODS: [Likelihood; 5] = [
    Likelihood::Bernoulli,
    Likelihood::SquaredError,
    Likelihood::Gaussian { sigma: 0.4 },
    Likelihood::OptimalGaussian { variance: None },
    Likelihood::Laplace { scale: 0.3 },
];

const DIVERGENCES: [Divergence; 2] = [Divergence::Kl, Divergence::Jeffreys];

struct Batch {
    output: Vec<f64>,
    target: Vec<f64>,
    mu: Vec<f64>,
    log_variance: Vec<f64>,
}

/// A batch whose outputs keep away from their targets (Laplace's kink).
fn batch(seed: u64) -> Batch {
    println!("seed {seed}");
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let target: Vec<f64> = (0..IMAGES * PIXELS).map(|_| random.random_range(0.0..1.0)).collect();
    let output = target
        .iter()
        .map(|x| {
            let distance = random.random_range(0.02..0.7);
            if random.random::<bool>() { x + distance } else { x - distance }
        })
        .collect();
    let mut latent = || (0..IMAGES * LATENT).map(|_| random.random_range(-1.2..1.2)).collect::<Vec<f64>>();
    let (mu, log_variance) = (latent(), latent());
    Batch { output, target, mu, log_variance }
}

fn inputs<'a>(
    output: &'a [f64],
    target: &'a [f64],
    mu: &'a [f64],
    log_variance: &'a [f64],
) -> LossInputs<'a, f64> {
    LossInputs { image: ImageShape::vector(PIXELS), output, target, mu, log_variance }
}

/// The means of both divergences per dimension, straight from the formulas.
fn naive_means(divergence: Divergence, batch: &Batch) -> Vec<f64> {
    (0..LATENT)
        .map(|j| {
            let of = |b: usize| {
                let (m, s) = (batch.mu[b * LATENT + j], batch.log_variance[b * LATENT + j]);
                match divergence {
                    Divergence::Kl => 0.5 * (m * m + s.exp() - 1.0 - s),
                    Divergence::Jeffreys => 0.25 * (m * m + s.exp() + (1.0 + m * m) * (-s).exp() - 2.0),
                }
            };
            (0..IMAGES).map(of).sum::<f64>() / IMAGES as f64
        })
        .collect()
}

/// λ halfway between two dimensions' means, so that some are at the floor, some above it, and none near it.
fn floor_in_the_middle(means: &[f64]) -> f64 {
    let mut sorted = means.to_vec();
    sorted.sort_by(f64::total_cmp);
    let below = LATENT / 2 - 1;
    assert!(sorted[below + 1] - sorted[below] > 1e-3, "means too close to put λ between: {sorted:?}");
    0.5 * (sorted[below] + sorted[below + 1])
}

/// Every kind of penalty, with its expected value: plain, β, free bits, capacity from both sides, and all at
/// once.
fn all_terms(means: &[f64]) -> Vec<(&'static str, ObjectiveTerms, f64)> {
    let total: f64 = means.iter().sum();
    let lambda = floor_in_the_middle(means);
    let floored: f64 = means.iter().map(|d| d.max(lambda)).sum();
    let terms = |beta, free_bits, capacity| ObjectiveTerms { beta, free_bits, capacity };
    vec![
        ("plain", ObjectiveTerms::ELBO, total),
        ("β", terms(2.5, 0.0, None), 2.5 * total),
        ("β = 0", terms(0.0, 0.0, None), 0.0),
        ("free bits", terms(1.0, lambda, None), floored),
        ("free bits over all", terms(1.0, 100.0, None), 100.0 * LATENT as f64),
        ("capacity above", terms(3.0, 0.0, Some(total + 0.4)), 3.0 * 0.4),
        ("capacity below", terms(3.0, 0.0, Some(total - 0.4)), 3.0 * 0.4),
        ("free bits, capacity and β", terms(0.7, lambda, Some(floored + 0.3)), 0.7 * 0.3),
    ]
}

#[test]
pub(crate) fn gradients_of_every_combination_are_those_of_finite_differences() {
    let mut combinations = 0;
    for (index, likelihood) in LIKELIHOODS.into_iter().enumerate() {
        for divergence in DIVERGENCES {
            let Batch { mut output, target, mut mu, mut log_variance } = batch(61 + index as u64);
            let means = naive_means(
                divergence,
                &Batch { output: vec![], target: vec![], mu: mu.clone(), log_variance: log_variance.clone() },
            );
            for (kind, terms, _) in all_terms(&means) {
                let objective = Objective { divergence, terms };
                let name = format!("{} + {}, {kind}", likelihood.name(), divergence.name());
                let mut workspace = ObjectiveWorkspace::new(IMAGES, LATENT);
                let mut d_output = vec![9.0; output.len()];
                let (mut d_mu, mut d_log_variance) = (vec![9.0; mu.len()], vec![9.0; mu.len()]);
                objective.forward_backward(
                    &likelihood,
                    &inputs(&output, &target, &mu, &log_variance),
                    &mut d_output,
                    &mut d_mu,
                    &mut d_log_variance,
                    &mut workspace,
                );
                // The training pass is differentiated, since its σ² depends on the output.
                let mut unused = [vec![0.0; output.len()], vec![0.0; mu.len()], vec![0.0; mu.len()]];
                let [unused_output, unused_mu, unused_s] = &mut unused;
                let mut loss = |output: &[f64], mu: &[f64], s: &[f64]| {
                    objective
                        .forward_backward(
                            &likelihood,
                            &inputs(output, &target, mu, s),
                            unused_output,
                            unused_mu,
                            unused_s,
                            &mut workspace,
                        )
                        .loss
                };
                check(&format!("{name}: output"), &mut output, &d_output, |p| loss(p, &mu, &log_variance));
                check(&format!("{name}: μ"), &mut mu, &d_mu, |p| loss(&output, p, &log_variance));
                check(&format!("{name}: ln σ²"), &mut log_variance, &d_log_variance, |p| {
                    loss(&output, &mu, p)
                });
                combinations += 1;
            }
        }
    }
    assert_eq!(combinations, 80);
}

#[test]
fn values_are_the_formulas() {
    let batch = batch(71);
    let offset = 0.5 * std::f64::consts::PI.ln() * PIXELS as f64;
    let reconstruction =
        batch.output.iter().zip(&batch.target).map(|(o, t)| (o - t).powi(2)).sum::<f64>() / IMAGES as f64;
    let kl: f64 = naive_means(Divergence::Kl, &batch).iter().sum();
    for divergence in DIVERGENCES {
        let means = naive_means(divergence, &batch);
        for (kind, terms, penalty) in all_terms(&means) {
            let objective = Objective { divergence, terms };
            let mut workspace = ObjectiveWorkspace::new(IMAGES + 2, LATENT);
            let Batch { output, target, mu, log_variance } = &batch;
            let of = inputs(output, target, mu, log_variance);
            let found = objective.forward(&Likelihood::SquaredError, &of, &mut workspace);
            let expected = LossValues {
                loss: reconstruction + penalty,
                reconstruction,
                divergence: means.iter().sum(),
                kl,
                negative_elbo: reconstruction + offset + kl,
                variance: 0.0,
            };
            let differences = found.combine(&expected, |a, b| (a - b).abs() / b.abs().max(1.0));
            let worst = [
                differences.loss,
                differences.reconstruction,
                differences.divergence,
                differences.kl,
                differences.negative_elbo,
                differences.variance,
            ];
            assert!(worst.iter().all(|&d| d <= 1e-13), "{kind}: {found:?}, not {expected:?}");
            assert_eq!(workspace.kl_per_image().len(), IMAGES);
            let per_dimension: f64 = workspace.kl_per_dimension().iter().sum();
            let per_image = workspace.kl_per_image().iter().sum::<f64>() / IMAGES as f64;
            assert!((per_dimension - kl).abs() <= 1e-13 && (per_image - kl).abs() <= 1e-13);
        }
    }
}

#[test]
fn the_loss_of_a_bernoulli_evidence_bound_is_the_negative_elbo() {
    let Batch { output, target, mu, log_variance } = batch(72);
    let mut workspace = ObjectiveWorkspace::new(IMAGES, LATENT);
    let of = inputs(&output, &target, &mu, &log_variance);
    let values = Objective::ELBO.forward(&Likelihood::Bernoulli, &of, &mut workspace);
    assert_eq!(values.loss, values.negative_elbo);
    assert_eq!(values.divergence, values.kl);
}

#[test]
fn no_floor_hides_nan() {
    let Batch { output, target, mut mu, log_variance } = batch(73);
    mu[3] = f64::NAN;
    let mut workspace = ObjectiveWorkspace::new(IMAGES, LATENT);
    for capacity in [None, Some(3.0)] {
        let terms = ObjectiveTerms { beta: 1.0, free_bits: 0.5, capacity };
        let objective = Objective { divergence: Divergence::Kl, terms };
        let of = inputs(&output, &target, &mu, &log_variance);
        let values = objective.forward(&Likelihood::Bernoulli, &of, &mut workspace);
        assert!(values.loss.is_nan());
    }
}

#[test]
fn an_epochs_mean_weighs_batches_by_their_size() {
    let batch = |loss: f64| LossValues { loss, kl: 2.0 * loss, ..LossValues::default() };
    let mut sums = LossSums::default();
    assert!(sums.mean().loss.is_nan());
    sums.add(&batch(1.0), 128);
    sums.add(&batch(9.0), 32);
    assert_eq!(sums.images, 160);
    assert_eq!((sums.mean().loss, sums.mean().kl), (2.6, 5.2));
}

#[test]
fn terms_that_make_no_sense_are_refused() {
    ObjectiveTerms::ELBO.validate().unwrap();
    for bad in [-1.0, f64::NAN, f64::INFINITY] {
        assert!(ObjectiveTerms { beta: bad, ..ObjectiveTerms::ELBO }.validate().is_err());
        assert!(ObjectiveTerms { free_bits: bad, ..ObjectiveTerms::ELBO }.validate().is_err());
        assert!(ObjectiveTerms { capacity: Some(bad), ..ObjectiveTerms::ELBO }.validate().is_err());
    }
}

#[test]
#[should_panic(expected = "in a workspace for 2")]
fn a_batch_larger_than_the_workspace_is_a_bug() {
    let Batch { output, target, mu, log_variance } = batch(74);
    let mut workspace = ObjectiveWorkspace::new(2, LATENT);
    let of = inputs(&output, &target, &mu, &log_variance);
    Objective::ELBO.forward(&Likelihood::Bernoulli, &of, &mut workspace);
}

//! How probable an image is under a model: bounds on ln p(x) from draws of the posterior.
//!
//! For an image x with posterior q(z|x) = N(μ, diag σ²), draws z_k = μ + σ·ε_k have the importance weights
//!
//! ```text
//! w_k = p(x|z_k)·p(z_k) / q(z_k|x)                     E[w_k] = p(x), whatever q is
//! ln p(z_k) − ln q(z_k|x) = ½ Σ_j (ε_kj² + ln σ_j² − z_kj²)
//!
//! L_K = ln (1/K Σ_k w_k)                               E[L_K] ≤ E[L_{K+1}] ≤ ln p(x)
//! ```
//!
//! (Burda, Grosse & Salakhutdinov 2016). By Jensen's inequality E\[L_K\] is a lower bound on ln p(x). L_1 has
//! the ELBO as its expectation. As K grows the bound rises to ln p(x), the faster the nearer q is to the true
//! posterior. The weights span hundreds of nats, so the mean is computed from logarithms: ln Σ e^a = m + ln Σ
//! e^(a−m) with m the largest ([`ln_mean_exp`]).
//!
//! Everything here uses the model through [`LogLikelihood`], one number ln p(x|z) for a pair of code and
//! image. [`VaeLikelihood`] is that of a trained model. The tests use a linear Gaussian model instead, whose
//! p(x) is known in closed form.
//!
//! The ε of an image are its own random stream. The first ε is the one that the −ELBO of
//! [`evaluate`](crate::evaluate::judgement) draws, and more samples never change the earlier ones.

use rand::rngs::ChaCha8Rng;

use crate::data::Filler;
use crate::loss::Divergence;
use crate::model::codec::{BATCH, Codes};
use crate::model::{Labelled, Vae, Workspace};
use crate::random::{Stream, fill_normal, stream};

/// ln p(x|z) for pairs of a code and an image.
pub trait LogLikelihood {
    /// Z, the numbers of a code.
    fn latent(&self) -> usize;

    /// For each pair b: `out[b]` ← ln p(image `images[b]` | code b), in nats. `codes` is B × Z; B is at most
    /// [`BATCH`].
    fn log_likelihood(&mut self, codes: &[f32], images: &[usize], out: &mut [f64]);
}

/// The likelihood of a trained model on some images.
#[derive(Debug)]
pub struct VaeLikelihood<'a> {
    model: &'a Vae<f32>,
    images: Labelled<'a>,
    filler: Filler,
    workspace: Workspace<f32>,
    targets: Vec<f32>, // [BATCH, H, W, C]
    labels: Vec<u32>,
}

impl<'a> VaeLikelihood<'a> {
    /// For the images of a data set; `filler` fills batches with them as in training. With their labels it is
    /// ln p(x|z, y).
    ///
    /// # Panics
    /// Later, if they have another size than the model's (see
    /// [`check_size`](crate::model::codec::check_size)).
    pub fn new(model: &'a Vae<f32>, images: impl Into<Labelled<'a>>, filler: Filler) -> Self {
        let targets = vec![0.0; BATCH * model.config().pixels()];
        let (images, workspace) = (images.into(), model.inference_workspace(BATCH));
        Self { model, images, filler, workspace, targets, labels: Vec::with_capacity(BATCH) }
    }
}

impl LogLikelihood for VaeLikelihood<'_> {
    fn latent(&self) -> usize {
        self.model.config().latent
    }

    fn log_likelihood(&mut self, codes: &[f32], images: &[usize], out: &mut [f64]) {
        let config = self.model.config();
        let targets = &mut self.targets[..images.len() * config.pixels()];
        self.filler.fill(self.images.images, images, 0, targets);
        self.labels.clear();
        self.labels.extend(self.images.of(images));
        self.model.set_condition(&self.labels, &mut self.workspace);
        self.workspace.latent.z[..codes.len()].copy_from_slice(codes);
        let output = self.model.decode_given(targets, &mut self.workspace);
        config.likelihood.forward(output, targets, config.image(), out);
        let offset = config.likelihood.standard_offset(config.pixels());
        out.iter_mut().for_each(|nats| *nats = -(*nats + offset));
    }
}

/// −ELBO of each image, in nats: −ln p(x|z) of one draw, and the KL in closed form. Higher is stranger.
///
/// `posteriors` are those of the images `images` of the likelihood, in this order. With the same seed, the
/// mean is the −ELBO of [`Evaluator`](crate::evaluate::judgement::Evaluator).
///
/// # Panics
/// If the number of posteriors differs from the number of images.
pub fn negative_elbos(
    likelihood: &mut impl LogLikelihood,
    posteriors: &Codes,
    images: &[usize],
    seed: u64,
) -> Vec<f64> {
    let latent = likelihood.latent();
    let mut scores = vec![0.0; images.len()];
    if images.is_empty() {
        return scores;
    }
    let (mut values, mut dimensions) = (vec![0.0; posteriors.mu.len()], vec![0.0; latent]);
    Divergence::Kl.forward(
        &posteriors.mu,
        &posteriors.log_variance,
        &mut values,
        &mut scores,
        &mut dimensions,
    );
    let mut add = |image: usize, log_p: f64, _: f64| scores[image] -= log_p;
    for_each_weight(likelihood, posteriors, images, 1, seed, &mut add);
    scores
}

/// The importance-weighted bound L_K of each image, in nats: a lower bound on ln p(x). Lower is stranger.
///
/// # Panics
/// If K is 0, or the number of posteriors differs from the number of images.
pub fn importance_weighted(
    likelihood: &mut impl LogLikelihood,
    posteriors: &Codes,
    images: &[usize],
    samples: usize,
    seed: u64,
) -> Vec<f64> {
    assert!(samples > 0, "a bound from no samples");
    let mut sums = vec![LnSumExp::default(); images.len()];
    let mut add = |image: usize, log_p: f64, log_ratio: f64| sums[image].add(log_p + log_ratio);
    for_each_weight(likelihood, posteriors, images, samples, seed, &mut add);
    let count = (samples as f64).ln();
    sums.iter().map(|sum| sum.value() - count).collect()
}

/// Calls `take(position of the image, ln p(x|z), ln p(z) − ln q(z|x))` for K draws of each image; the draws
/// of an image come in order.
fn for_each_weight(
    likelihood: &mut impl LogLikelihood,
    posteriors: &Codes,
    images: &[usize],
    samples: usize,
    seed: u64,
    take: &mut dyn FnMut(usize, f64, f64),
) {
    let latent = likelihood.latent();
    assert_eq!(
        posteriors.mu.len(),
        images.len() * latent,
        "a posterior of {latent} dimensions for each image"
    );
    let mut codes = vec![0.0; BATCH * latent];
    let mut noise = vec![0.0; latent];
    let mut log_p = [0.0; BATCH];
    // Pairs of image and draw, image by image; a batch may begin in the middle of an image's draws.
    let (mut positions, mut pictures, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    let mut flush =
        |positions: &mut Vec<usize>, pictures: &mut Vec<usize>, ratios: &mut Vec<f64>, codes: &[f32]| {
            let n = positions.len();
            likelihood.log_likelihood(&codes[..n * latent], pictures, &mut log_p[..n]);
            for ((position, ratio), log_p) in positions.drain(..).zip(ratios.drain(..)).zip(log_p) {
                take(position, log_p, ratio);
            }
            pictures.clear();
        };
    for (position, &image) in images.iter().enumerate() {
        let mut rng: ChaCha8Rng = stream(seed, Stream::Evaluation, image as u64);
        let mu = &posteriors.mu[position * latent..][..latent];
        let log_variance = &posteriors.log_variance[position * latent..][..latent];
        for _ in 0..samples {
            fill_normal(&mut rng, &mut noise);
            let z = &mut codes[positions.len() * latent..][..latent];
            ratios.push(draw(mu, log_variance, &noise, z));
            positions.push(position);
            pictures.push(image);
            if positions.len() == BATCH {
                flush(&mut positions, &mut pictures, &mut ratios, &codes);
            }
        }
    }
    if !positions.is_empty() {
        flush(&mut positions, &mut pictures, &mut ratios, &codes);
    }
}

/// z ← μ + σ·ε; returns ln p(z) − ln q(z|x), in which the two normalizers' ln 2π have cancelled.
fn draw(mu: &[f32], log_variance: &[f32], noise: &[f32], z: &mut [f32]) -> f64 {
    crate::layers::shared::reparameterize(mu, log_variance, noise, z);
    let terms = noise.iter().zip(log_variance).zip(z.iter());
    let term = |((&e, &s), &z): ((&f32, &f32), &f32)| {
        let (e, s, z) = (f64::from(e), f64::from(s), f64::from(z));
        e * e + s - z * z
    };
    0.5 * terms.map(term).sum::<f64>()
}

/// ln Σ e^a of a sequence of numbers, without leaving the range of f64.
#[derive(Clone, Copy, Debug)]
struct LnSumExp {
    largest: f64,
    sum: f64, // of e^(a − largest)
}

impl Default for LnSumExp {
    fn default() -> Self {
        Self { largest: f64::NEG_INFINITY, sum: 0.0 }
    }
}

impl LnSumExp {
    fn add(&mut self, a: f64) {
        if a > self.largest {
            self.sum = self.sum * (self.largest - a).exp() + 1.0;
            self.largest = a;
        } else {
            // A NaN is added here, so the result is NaN too.
            self.sum += (a - self.largest).exp();
        }
    }

    fn value(&self) -> f64 {
        self.largest + self.sum.ln()
    }
}

/// ln of the mean of e^a.
///
/// ```
/// let mean = elbo::evaluate::bounds::ln_mean_exp(&[-1000.0, -1000.0 + 2.0_f64.ln()]);
/// assert!((mean - (-1000.0 + 1.5_f64.ln())).abs() < 1e-12);
/// ```
pub fn ln_mean_exp(values: &[f64]) -> f64 {
    let mut sum = LnSumExp::default();
    values.iter().for_each(|&value| sum.add(value));
    sum.value() - (values.len() as f64).ln()
}

/// The mean of independent numbers and its standard error, s/√n with s² = Σ(x − mean)²/(n − 1); the error of
/// one number is unknown (`None`).
pub fn mean_and_error(values: &[f64]) -> (f64, Option<f64>) {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let squares: f64 = values.iter().map(|x| (x - mean).powi(2)).sum();
    (mean, (values.len() > 1).then(|| (squares / (n - 1.0) / n).sqrt()))
}

/// The value below which a share `q` of the numbers lies, by linear interpolation between two numbers; `None`
/// if there are none.
///
/// ```
/// assert_eq!(elbo::evaluate::bounds::quantile(&[3.0, 1.0, 2.0], 0.75), Some(2.5));
/// ```
pub fn quantile(values: &[f64], q: f64) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let at = q.clamp(0.0, 1.0) * (sorted.len().checked_sub(1)?) as f64;
    let (low, high) = (sorted[at.floor() as usize], sorted[at.ceil() as usize]);
    Some(low + (at - at.floor()) * (high - low))
}

#[cfg(test)]
mod tests;

//! The losses of discriminator and decoder, in logits and features, and the weights between them.
//!
//! # One backward pass for both sides
//!
//! For a picture with the logit f, the discriminator lowers softplus(f) = −ln(1 − σ(f)) and the decoder
//! softplus(−f) = −ln σ(f) (the loss "that does not saturate", Goodfellow et al. 2014, section 3). Their
//! derivatives by the logit are σ(f) and −σ(−f). A backward pass is linear in its initial gradient, and no
//! layer mixes images, so the gradient of the decoder's loss at picture i is that of the discriminator's loss
//! times
//!
//! ```text
//! −σ(−f)/σ(f) = −e⁻ᶠ
//! ```
//!
//! One pass gives the gradient of the discriminator's weights from its own loss and, picture by picture
//! scaled, the decoder's gradient. For this, f is clamped to [−30, 30] in both derivatives, which changes
//! them by less than 10⁻¹².
//!
//! # Weights
//!
//! No fixed weight suits terms whose gradients vary in size: the likelihood's gradient depends on the
//! likelihood and the images, and the discriminator's gradient varies while both learn. So the weight of a
//! term makes its gradient a fixed share of the likelihood's ([`weight`]). The norms are taken at the
//! decoder's output, where all gradients are known before the decoder's own backward pass; Esser et al. take
//! them at its last layer, which would need a backward pass of that layer for each term.

use rayon::prelude::*;

use crate::tensor::Element;

/// The bound to which logits are clamped in derivatives.
const LARGEST_LOGIT: f64 = 30.0;
/// The largest weight of a term, for terms whose gradient vanishes (Esser et al. 2021).
const LARGEST_WEIGHT: f64 = 1e4;

/// The losses of a set of pictures.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Judged {
    /// The discriminator's mean loss on them.
    pub discriminator: f64,
    /// The decoder's mean loss, if they are its own.
    pub decoder: f64,
    /// The share of pictures that the discriminator is right about: real ones have a logit above 0, others
    /// one of 0 or below.
    pub accuracy: f64,
}

/// ln(1 + eˣ).
fn softplus(x: f64) -> f64 {
    x.max(0.0) + libm::log1p(libm::exp(-x.abs()))
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + libm::exp(-x))
}

fn bounded<T: Element>(logit: T) -> f64 {
    logit.to_f64().clamp(-LARGEST_LOGIT, LARGEST_LOGIT)
}

/// Real images: mean softplus(−r), and its gradient by the logits.
pub fn real<T: Element>(logits: &[T], d_logits: &mut [T]) -> Judged {
    let share = 1.0 / logits.len() as f64;
    let right = logits.iter().filter(|&&r| r > T::ZERO).count();
    let mut judged = Judged { accuracy: right as f64 / logits.len() as f64, ..Judged::default() };
    for (&r, d) in logits.iter().zip(d_logits) {
        judged.discriminator += share * softplus(-r.to_f64());
        *d = T::from_f64(-share * sigmoid(-bounded(r)));
    }
    judged
}

/// Pictures of the decoder: mean softplus(f), which counts half, and the gradient of that half by the logits.
pub fn decoded<T: Element>(logits: &[T], d_logits: &mut [T]) -> Judged {
    let share = 1.0 / logits.len() as f64;
    let wrong = logits.iter().filter(|&&f| f > T::ZERO).count();
    let mut judged = Judged { accuracy: 1.0 - wrong as f64 / logits.len() as f64, ..Judged::default() };
    for (&f, d) in logits.iter().zip(d_logits) {
        judged.discriminator += share * softplus(f.to_f64());
        judged.decoder += share * softplus(-f.to_f64());
        *d = T::from_f64(0.5 * share * sigmoid(bounded(f)));
    }
    judged
}

/// The gradient by the pictures of the discriminator's loss ([`decoded`]) becomes that of the decoder's:
/// times −e⁻ᶠ, picture by picture.
pub fn to_decoder<T: Element>(logits: &[T], d_pictures: &mut [T]) {
    let len = d_pictures.len() / logits.len();
    d_pictures.par_chunks_exact_mut(len).zip(logits).for_each(|(d, &f)| {
        let factor = T::from_f64(-libm::exp(-bounded(f)));
        d.iter_mut().for_each(|d| *d *= factor);
    });
}

/// ½·E‖φ(x) − φ(x̃)‖² over as many images as `per_image` has numbers, and its gradient φ(x̃) − φ(x), over B,
/// by the features of the reconstructions. `per_image` gets each image's square.
pub fn feature_distance<T: Element>(
    real: &[T],
    decoded: &[T],
    d_decoded: &mut [T],
    per_image: &mut [f64],
) -> f64 {
    let count = per_image.len();
    let len = real.len() / count;
    let share = T::from_f64(1.0 / count as f64);
    let images = real.par_chunks_exact(len).zip(decoded.par_chunks_exact(len));
    images.zip(d_decoded.par_chunks_exact_mut(len)).zip(&mut *per_image).for_each(
        |(((real, decoded), d), sum)| {
            *sum = 0.0;
            for ((&real, &decoded), d) in real.iter().zip(decoded).zip(d) {
                let difference = decoded - real;
                *sum += difference.to_f64() * difference.to_f64();
                *d = share * difference;
            }
        },
    );
    // In order: the same bits for any number of threads.
    0.5 * per_image.iter().sum::<f64>() / count as f64
}

/// The weight that makes a gradient of norm `own` as long as `share` times one of norm `reference`.
pub fn weight(share: f64, reference: f64, own: f64) -> f64 {
    let ratio = reference / own;
    // Written so that NaN stays NaN; a gradient of 0 has no weight.
    match ratio {
        _ if own == 0.0 => 0.0,
        _ if ratio > LARGEST_WEIGHT => share * LARGEST_WEIGHT,
        _ => share * ratio,
    }
}

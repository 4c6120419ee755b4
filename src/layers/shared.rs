//! The shared layer between encoder and decoder: it learns the parameters of a Gaussian over codes, and draws
//! from it.
//!
//! For the encoder's output h, with noise ε from a standard normal (Kingma & Welling 2014, sections 2.4 and
//! 3):
//!
//! ```text
//! μ = h·W_μᵀ + b_μ                   the mean of q(z|x)                       [B×Z]
//! s = bound(h·W_sᵀ + b_s)            s = ln σ², within [−20, 20]             [B×Z]
//! z = μ + σ·ε,  σ = e^(s/2)          the draw, written so that it has a derivative
//! r = ReLU(z·W_μ + b_r)              the article's decoder: μ's own weights, transposed
//! ```
//!
//! # Backward
//!
//! Because of the draw this is a layer of its own: with ε as an input, z is a deterministic function of μ and
//! s. For the decoder's gradient dz:
//!
//! ```text
//! ∂z/∂μ = 1              so dμ = dz                 (reconstruction)  + ∂D/∂μ   (divergence)
//! ∂z/∂s = ½·σ·ε          so ds = dz·½·σ·ε           (reconstruction)  + ∂D/∂s   (divergence)
//! ```
//!
//! Outside of [−20, 20] the bounded s does not change with the layer's output, so ds is 0 there. μ and s are
//! linear in h: dh = dμ·W_μ + ds·W_s. If the decoder shares W_μ, its gradient is the sum over both uses.

use super::{Linear, ParameterGradients, Slot};
use crate::kernels::simd::vectorized;
use crate::tensor::Element;

/// The bound of |ln σ²|: σ stays between 4.5·10⁻⁵ and 22,026, so that neither e^s nor e^−s leaves single
/// precision.
pub const LOG_VARIANCE_BOUND: f64 = 20.0;

/// The sizes of the latent layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shared {
    /// The heads: `mu` and `log_variance` have the same sizes, from the encoder's features to Z.
    pub head: Linear,
}

/// The numbers of a latent layer for one batch, `B × Z` each.
#[derive(Debug)]
pub struct Latent<T> {
    /// μ.
    pub mu: Vec<T>,
    /// ln σ², bounded.
    pub log_variance: Vec<T>,
    /// z, the draw.
    pub z: Vec<T>,
    /// ∂L/∂μ.
    pub d_mu: Vec<T>,
    /// ∂L/∂ln σ².
    pub d_log_variance: Vec<T>,
    /// ∂L/∂z.
    pub d_z: Vec<T>,
}

impl<T: Element> Latent<T> {
    /// For a batch of at most `images`.
    pub fn new(images: usize, latent: usize) -> Self {
        let numbers = || vec![T::ZERO; images * latent];
        Self {
            mu: numbers(),
            log_variance: numbers(),
            z: numbers(),
            d_mu: numbers(),
            d_log_variance: numbers(),
            d_z: numbers(),
        }
    }
}

impl Shared {
    /// μ and bounded ln σ² of a batch of features. `mu` and `log_variance` are (weight, bias) each.
    pub fn forward<T: Element>(
        &self,
        features: &[T],
        mu: (&[T], &[T]),
        log_variance: (&[T], &[T]),
        out: &mut Latent<T>,
    ) {
        let numbers = features.len() / self.head.inputs * self.head.outputs;
        self.head.apply(features, mu.0, mu.1, &mut out.mu[..numbers]);
        let s = &mut out.log_variance[..numbers];
        self.head.apply(features, log_variance.0, log_variance.1, s);
        let bound = T::from_f64(LOG_VARIANCE_BOUND);
        for s in s {
            // Not min and max, which would turn a NaN into a bound and hide it.
            *s = if *s < -bound {
                -bound
            } else if *s > bound {
                bound
            } else {
                *s
            };
        }
    }

    /// dh and the heads' gradients, from `d_mu` and `d_log_variance`, which already contain the
    /// reconstruction's and the divergence's parts (see [`reparameterize_backward`]). `weights` and `slots`
    /// are those of μ and of ln σ²; the gradients go to the slots of `gradient`.
    pub fn backward<T: Element>(
        &self,
        features: &[T],
        latent: &mut Latent<T>,
        weights: [&[T]; 2],
        gradient: &mut [T],
        slots: [&[Slot]; 2],
        d_features: &mut [T],
    ) {
        let numbers = features.len() / self.head.inputs * self.head.outputs;
        let bound = T::from_f64(LOG_VARIANCE_BOUND);
        for (ds, &s) in latent.d_log_variance[..numbers].iter_mut().zip(&latent.log_variance) {
            *ds = if s.abs() >= bound { T::ZERO } else { *ds };
        }
        let d_heads = [&latent.d_mu[..numbers], &latent.d_log_variance[..numbers]];
        for (d, slots) in d_heads.into_iter().zip(slots) {
            let mut gradients = ParameterGradients { all: &mut *gradient, slots };
            self.head.parameter_gradients(features, d, &mut gradients.weight_and_bias());
        }
        self.head.input_gradient(weights[0], d_heads[0], T::ZERO, d_features);
        self.head.input_gradient(weights[1], d_heads[1], T::ONE, d_features);
    }
}

/// z ← μ + e^(s/2)·ε. All are B × Z.
pub fn reparameterize<T: Element>(mu: &[T], log_variance: &[T], noise: &[T], z: &mut [T]) {
    let half = T::from_f64(0.5);
    vectorized!({
        for (((z, &m), &s), &e) in z.iter_mut().zip(mu).zip(log_variance).zip(noise) {
            *z = (half * s).exp() * e + m;
        }
    });
}

/// dμ ← dμ + dz and ds ← ds + dz·½·σ·ε: the gradient of z reaches both parameters.
pub fn reparameterize_backward<T: Element>(
    log_variance: &[T],
    noise: &[T],
    d_z: &[T],
    d_mu: &mut [T],
    d_log_variance: &mut [T],
) {
    let half = T::from_f64(0.5);
    let gradients = d_mu.iter_mut().zip(d_log_variance).zip(d_z);
    vectorized!({
        for (((d_mu, d_s), &d_z), (&s, &e)) in gradients.zip(log_variance.iter().zip(noise)) {
            *d_mu += d_z;
            *d_s += d_z * half * (half * s).exp() * e;
        }
    });
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::gradient_check::{check, random_vec};
    use crate::layers::Activation;

    /// Σ u·z + Σ v·μ² + Σ w·s of a draw with frozen noise: every path by which training reaches μ and s.
    #[test]
    pub(crate) fn gradients_through_the_draw_and_beside_it() {
        for (seed, (features, latent, batch)) in [(1, 1, 1), (4, 3, 2), (6, 2, 5)].into_iter().enumerate() {
            let seed = 40 * seed as u64;
            let shared = Shared { head: Linear::new(features, latent, Activation::Identity) };
            let (h, noise) = (random_vec(seed, batch * features), random_vec(seed + 1, batch * latent));
            let (wm, ws) = (random_vec(seed + 2, latent * features), random_vec(seed + 3, latent * features));
            let (bm, mut bs) = (random_vec(seed + 4, latent), random_vec(seed + 5, latent));
            if latent > 1 {
                bs[1] = 60.0; // one dimension beyond the bound, where the gradient must be 0
            }
            let [u, v, w] = [6, 7, 8].map(|k| random_vec(seed + k, batch * latent));
            let objective = |h: &[f64], wm: &[f64], ws: &[f64], bm: &[f64], bs: &[f64]| -> f64 {
                let mut l = Latent::new(batch, latent);
                shared.forward(h, (wm, bm), (ws, bs), &mut l);
                reparameterize(&l.mu, &l.log_variance, &noise, &mut l.z);
                (0..batch * latent)
                    .map(|i| 1e-3 * u[i] * l.z[i] + v[i] * l.mu[i] * l.mu[i] + w[i] * l.log_variance[i])
                    .sum()
            };
            let mut l = Latent::new(batch, latent);
            shared.forward(&h, (&wm, &bm), (&ws, &bs), &mut l);
            for i in 0..batch * latent {
                l.d_z[i] = 1e-3 * u[i];
                l.d_mu[i] = 2.0 * v[i] * l.mu[i];
                l.d_log_variance[i] = w[i];
            }
            let Latent { log_variance, d_z, d_mu, d_log_variance, .. } = &mut l;
            reparameterize_backward(log_variance, &noise, d_z, d_mu, d_log_variance);
            // μ's weight and bias, then those of ln σ².
            let lens = [wm.len(), bm.len(), ws.len(), bs.len()];
            let start = |index: usize| lens[..index].iter().sum::<usize>();
            let slots: Vec<Slot> =
                (0..4).map(|i| Slot { range: start(i)..start(i + 1), accumulate: false }).collect();
            let (mut gradient, mut dh) = (vec![f64::NAN; start(4)], vec![f64::NAN; h.len()]);
            shared.backward(&h, &mut l, [&wm, &ws], &mut gradient, [&slots[..2], &slots[2..]], &mut dh);
            let [dwm, dbm, dws, dbs] = [0, 1, 2, 3].map(|i: usize| gradient[slots[i].range.clone()].to_vec());
            let name = format!("shared {features}→{latent} batch {batch}");
            check(&name, &mut h.clone(), &dh, |h| objective(h, &wm, &ws, &bm, &bs));
            check(&name, &mut wm.clone(), &dwm, |wm| objective(&h, wm, &ws, &bm, &bs));
            check(&name, &mut ws.clone(), &dws, |ws| objective(&h, &wm, ws, &bm, &bs));
            check(&name, &mut bm.clone(), &dbm, |bm| objective(&h, &wm, &ws, bm, &bs));
            check(&name, &mut bs.clone(), &dbs, |bs| objective(&h, &wm, &ws, &bm, bs));
        }
    }

    #[test]
    fn a_broken_log_variance_is_not_bounded_away() {
        let shared = Shared { head: Linear::new(1, 1, Activation::Identity) };
        let mut l = Latent::new(1, 1);
        shared.forward(&[1.0], (&[1.0], &[0.0]), (&[f64::NAN], &[0.0]), &mut l);
        assert!(l.log_variance[0].is_nan());
    }
}

//! VAE-GAN: a discriminator learns to distinguish decoded pictures from real ones, and the decoder learns to
//! draw sharper ones (Larsen, Sønderby, Larochelle & Winther 2016; Goodfellow et al. 2014).
//!
//! A VAE's decoder gives the mean of all pictures that a code can stand for, and a mean of sharp pictures is
//! blurred, which a discriminator easily detects. The encoder does not change, so codes keep their meaning;
//! the decoder learns from three kinds of pictures in each step:
//!
//! ```text
//! x                      a real image
//! x̃ = mean(decode(z)),   z ~ q(z|x)     its reconstruction
//! x̂ = mean(decode(z)),   z ~ N(0, I)    a sample
//!
//! D lowers           L_D = E softplus(−D(x)) + ½·E softplus(D(x̃)) + ½·E softplus(D(x̂))
//! the decoder lowers L_R + λ·L_A:
//!                    L_A = ½·E softplus(−D(x̃)) + ½·E softplus(−D(x̂))              look real
//!                    L_R = −ln p(x|z) + κ·½·E‖φ(x) − φ(x̃)‖²                        look like x
//! ```
//!
//! - D(x) is a logit, and φ(x) the discriminator's features below its last convolution, in which Larsen et
//!   al. (equation 7) measure reconstructions. A stroke that is one pixel off has similar features, but
//!   entirely different pixels.
//! - Pictures are the likelihood's mean, as in `elbo sample`. The gradient goes back through it
//!   ([`Likelihood::means_backward`](crate::loss::Likelihood::means_backward)).
//! - λ and κ balance the gradients' norms at the decoder's output (Esser, Rombach & Ommer 2021, equation 7);
//!   see [`losses`].
//! - The discriminator's weights have a spectral norm of 1 (Miyato et al. 2018): its slope is bounded, so it
//!   cannot win outright; see [`spectral`].
//!
//! Reading order: [`losses`], [`spectral`], [`discriminator`]. `src/train/adversarial.rs` has the step.

pub mod discriminator;
pub mod losses;
pub mod spectral;

pub use discriminator::{Discriminator, DiscriminatorSpace};

#[cfg(test)]
pub(crate) mod tests;

//! The training loss: the negative evidence lower bound and its variants.
//!
//! For an image x, an encoder q(z|x) = N(μ, diag σ²), a decoder p(x|z) and the prior p(z) = N(0, I), Kingma &
//! Welling (2014, section 2.2) bound the evidence from below:
//!
//! ```text
//! −ln p(x) ≤ −ELBO = E_q[−ln p(x|z)] + KL(q(z|x) ‖ p(z))
//!                    reconstruction     divergence
//! ```
//!
//! with the expectation estimated by one draw of z per image. Read [`likelihood`] and [`divergence`] for the
//! two terms and [`objective`] for how they are added, averaged and modified (β, free bits, capacity).
//!
//! Two rules hold throughout this module. Values are in nats, **summed over pixels and latent dimensions,
//! averaged over images**. And results are bit-identical for any number of threads: no order of
//! floating-point additions depends on them.

pub mod divergence;
pub mod likelihood;
pub mod objective;
mod whole_batch;

pub use divergence::Divergence;
pub use likelihood::Likelihood;
pub use objective::{LossInputs, LossSums, LossValues, Objective, ObjectiveTerms, ObjectiveWorkspace};
pub use whole_batch::WholeBatch;

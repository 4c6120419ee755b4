//! A likelihood as configuration and model files have it: a `kind`, and the one number that some kinds have.
//!
//! ```toml
//! kind = "gaussian"
//! sigma = 0.1
//! ```
//!
//! Serde's own form of an enum does not see a key that a kind has no use for (`sigma` with `bernoulli`), and a
//! setting that silently does nothing is worse than an error.

use super::Likelihood;
use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};

/// All keys of all kinds.
#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Keys {
    kind: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    sigma: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    variance: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    scale: Option<f64>,
}

impl From<Likelihood> for Keys {
    fn from(likelihood: Likelihood) -> Self {
        let keys = Self { kind: likelihood.name().to_owned(), ..Self::default() };
        match likelihood {
            Likelihood::Bernoulli | Likelihood::SquaredError => keys,
            Likelihood::Gaussian { sigma } => Self { sigma: Some(sigma), ..keys },
            Likelihood::OptimalGaussian { variance } => Self { variance, ..keys },
            Likelihood::Laplace { scale } => Self { scale: Some(scale), ..keys },
        }
    }
}

impl TryFrom<Keys> for Likelihood {
    type Error = Error;

    /// What is left out has its default; what the kind has no use for, or cannot be, is an [`Error::Config`].
    fn try_from(keys: Keys) -> Result<Self> {
        let mut likelihood = Self::from_name(&keys.kind).ok_or_else(|| {
            Error::config(format!("no likelihood \"{}\": it is one of {}", keys.kind, Self::NAMES.join(", ")))
        })?;
        for (key, value) in [("sigma", keys.sigma), ("variance", keys.variance), ("scale", keys.scale)] {
            let Some(value) = value else { continue };
            match (&mut likelihood, key) {
                (Self::Gaussian { sigma }, "sigma") => *sigma = value,
                (Self::OptimalGaussian { variance }, "variance") => *variance = Some(value),
                (Self::Laplace { scale }, "scale") => *scale = value,
                _ => return Err(Error::config(format!("likelihood {} has no {key}", keys.kind))),
            }
        }
        likelihood.validate()?;
        Ok(likelihood)
    }
}

//! The form of a likelihood in configuration and model files: a `kind`, and the one number that some kinds
//! have.
//!
//! ```toml
//! kind = "gaussian"
//! sigma = 0.1
//! ```
//!
//! Serde's own form of an enum ignores a key that a kind does not use (`sigma` with `bernoulli`). A setting
//! that silently does nothing is worse than an error.

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
    #[serde(skip_serializing_if = "Option::is_none")]
    components: Option<u64>,
}

impl From<Likelihood> for Keys {
    fn from(likelihood: Likelihood) -> Self {
        Self {
            kind: likelihood.name().to_owned(),
            sigma: likelihood.setting("sigma"),
            variance: likelihood.setting("variance"),
            scale: likelihood.setting("scale"),
            components: likelihood.setting("components").map(|components| components as u64),
        }
    }
}

impl TryFrom<Keys> for Likelihood {
    type Error = Error;

    /// A missing setting has its default; a setting that the kind does not have, or a value out of range, is
    /// an [`Error::Config`].
    fn try_from(keys: Keys) -> Result<Self> {
        let settings = [
            ("sigma", keys.sigma),
            ("variance", keys.variance),
            ("scale", keys.scale),
            ("components", keys.components.map(|components| components as f64)),
        ];
        settings
            .into_iter()
            .filter_map(|(setting, value)| Some((setting, value?)))
            .try_fold(keys.kind.parse::<Self>()?, |likelihood, (setting, value)| {
                likelihood.with_setting(setting, value)
            })
    }
}

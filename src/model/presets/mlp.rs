//! `mlp`: fully connected layers, the usual introductory example (Kingma & Welling 2014, appendix C).

use super::plan::{Chain, Plan, Rules, check_hidden, push_hidden, push_mirrored_hidden};
use crate::error::{Error, Result};
use crate::layers::{Activation, Linear};
use crate::loss::Likelihood;
use crate::model::config::ModelConfig;
use crate::tensor::Element;

pub(super) const RULES: Rules = Rules {
    latent: 20,
    widths: |_| Vec::new(),
    hidden: &[400],
    likelihood: Likelihood::Bernoulli,
    check: |config| {
        if !config.widths.is_empty() {
            return Err(Error::config(
                "mlp has no convolutions; channels is for conv and residual (hidden sets the widths of mlp)",
            ));
        }
        check_hidden(config)
    },
};

pub(super) fn plan<T: Element>(config: &ModelConfig) -> Result<Plan<T>> {
    let (mut encoder, mut decoder, mut ties) = (Chain::new("encoder"), Chain::new("decoder"), Vec::new());
    let features = push_hidden(&mut encoder, config, config.image());
    let last = config.last_activation(Activation::Sigmoid);
    push_mirrored_hidden(&mut decoder, config, config.output(), last, &mut ties);
    let head = Linear::new(features, config.latent, Activation::Identity);
    Ok(Plan { encoder: encoder.done(), head, decoder: decoder.done(), ties })
}

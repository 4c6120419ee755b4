//! `article`: the network that the article describes, with a latent layer whose weights are shared with the
//! decoder. docs/article.md maps its lines to the article's, and lists the corrections.

use super::plan::{Chain, Plan, Rules, push_hidden};
use crate::error::{Error, Result};
use crate::kernels::geometry::Geometry;
use crate::layers::{Activation, Concat, Conv2d, ConvTranspose2d, Describe, Linear, MaxPool2d};
use crate::loss::Likelihood;
use crate::model::config::ModelConfig;
use crate::tensor::{Element, ImageShape};

const WIDTHS: [usize; 2] = [64, 128];
const HIDDEN: [usize; 2] = [1024, 512];

pub(super) const RULES: Rules = Rules {
    latent: 32,
    widths: |_| WIDTHS.to_vec(),
    hidden: &HIDDEN,
    likelihood: Likelihood::SquaredError,
    check: |config| {
        if config.widths != WIDTHS || config.hidden != HIDDEN {
            return Err(Error::config(
                "the article's widths are fixed; channels and hidden are for the other presets",
            ));
        }
        if config.tie_weights {
            return Err(Error::config(
                "--tie-weights is for conv and mlp; the article's shared layer always shares its weights",
            ));
        }
        Ok(())
    },
};

/// Back up: from 1×1×512 to a quarter of the image, to a half, to the image. The last two are the mirrors of
/// 4×4 convolutions of stride 2 and halve as the encoder's pooling does, so odd sizes fit.
pub(super) fn plan<T: Element>(config: &ModelConfig) -> Result<Plan<T>> {
    let mut encoder = Chain::new("encoder");
    let mut size = config.image();
    let mut sizes = Vec::new();
    for (index, filters) in WIDTHS.into_iter().enumerate() {
        sizes.push(size);
        let geometry = Geometry::new((size.height, size.width, size.channels), (3, 3), 1, 1)?;
        let conv = Conv2d { geometry, filters, activation: Activation::Relu };
        let pool = MaxPool2d { input: conv.output(), window: 2 };
        size = Describe::output(&pool);
        encoder.push(&format!("conv{}", index + 1), conv);
        encoder.push(&format!("pool{}", index + 1), pool);
    }
    let features = push_hidden(&mut encoder, config, size);

    let mut decoder = Chain::new("decoder");
    let back = Linear::new(config.latent, features, Activation::Relu).with_reversed_weight();
    decoder.layers.push(("shared.back".into(), Box::new(back)));
    let labels = config.classes();
    if labels > 0 {
        decoder.push("label", Concat::row(ImageShape::vector(features), labels));
    }
    let [narrow, wide] = WIDTHS;
    let steps = [
        (Geometry::new((size.height, size.width, wide), (size.height, size.width), 1, 0)?, features + labels),
        (Geometry::new((sizes[1].height, sizes[1].width, narrow), (4, 4), 2, 1)?, wide),
        (Geometry::new((sizes[0].height, sizes[0].width, config.output().channels), (4, 4), 2, 1)?, narrow),
    ];
    for (index, (geometry, small_channels)) in steps.into_iter().enumerate() {
        let last = config.last_activation(Activation::Tanh);
        let activation = if index == 2 { last } else { Activation::Relu };
        decoder
            .push(&format!("deconv{}", index + 1), ConvTranspose2d { geometry, small_channels, activation });
    }
    let head = Linear::new(features, config.latent, Activation::Identity);
    let ties = vec![("shared.back.weight".to_owned(), "shared.mu.weight".to_owned())];
    Ok(Plan { encoder: encoder.done(), head, decoder: decoder.done(), ties })
}

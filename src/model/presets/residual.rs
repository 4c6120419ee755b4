//! `residual`: convolutions with residual blocks, for colour pictures (He et al. 2016; the blocks as in Ho,
//! Jain & Abbeel 2020, without attention).
//!
//! ```text
//! block    x + f(x),  f = norm · SiLU · 3×3 convolution · norm · SiLU · 3×3 convolution
//!
//! encoder  for each width:  3×3 s2 convolution · blocks                 then norm · SiLU · the heads, linear from the bottom
//! decoder  linear to the bottom · for each width:  blocks · upsampling · 3×3 convolution      before the last of them norm · SiLU
//! ```
//!
//! The depth follows from the image: it is halved until the bottom has 8 pixels or less, so the heads do not
//! grow with its area. H pixels are halved to ⌈H/2⌉, which upsampling reverses exactly.

use super::conv::halvings;
use super::plan::{Chain, Plan, Rules};
use crate::error::{Error, Result};
use crate::kernels::geometry::Geometry;
use crate::layers::group_norm::{GroupNorm, MOST_CHANNELS};
use crate::layers::{Activation, Concat, Conv2d, Describe, Layer, Linear, Residual, Sequence, Upsample};
use crate::loss::Likelihood;
use crate::model::config::ModelConfig;
use crate::tensor::{Element, ImageShape};

/// The most blocks after each halving.
const MOST_BLOCKS: usize = 16;

pub(super) const RULES: Rules = Rules {
    latent: 128,
    widths: |image| (0..halvings(image).max(1)).map(|index| (32 << index).min(128)).collect(),
    hidden: &[],
    likelihood: Likelihood::Bernoulli,
    check: |config| {
        let fail = |message: String| Err(Error::config(message));
        if config.widths.is_empty() {
            return fail("residual needs at least one convolution; channels is empty".into());
        }
        if !config.hidden.is_empty() {
            return fail("residual has no hidden linear layers; hidden is for conv and mlp".into());
        }
        if config.tie_weights {
            return fail(
                "--tie-weights is for conv and mlp; the decoder of residual is not its encoder's mirror"
                    .into(),
            );
        }
        if let Some(width) = config.widths.iter().find(|&&width| width > MOST_CHANNELS) {
            return fail(format!(
                "{width} channels are more than the {MOST_CHANNELS} that residual normalizes"
            ));
        }
        match config.blocks() {
            1..=MOST_BLOCKS => Ok(()),
            blocks => {
                fail(format!("{blocks} residual blocks; there must be 1 to {MOST_BLOCKS} after each halving"))
            }
        }
    },
};

pub(super) fn plan<T: Element>(config: &ModelConfig) -> Result<Plan<T>> {
    let mut encoder = Chain::new("encoder");
    let mut size = config.image();
    if config.classes() > 0 {
        let label = Concat::planes(size, config.classes());
        size = Describe::output(&label);
        encoder.push("label", label);
    }
    let mut sizes = Vec::new();
    for (level, &width) in (1..).zip(&config.widths) {
        sizes.push(size);
        let down = halving(size, width)?;
        size = down.output();
        encoder.push(&format!("down{level}"), down);
        push_blocks(&mut encoder, config.blocks(), &format!("level{level}"), size)?;
    }
    encoder.push("norm", GroupNorm::new(size).with_silu());

    let mut decoder = Chain::new("decoder");
    let mut inputs = config.latent;
    if config.classes() > 0 {
        let label = Concat::row(ImageShape::vector(config.latent), config.classes());
        inputs = Describe::output(&label).len();
        decoder.push("label", label);
    }
    let bottom = size;
    decoder.push("linear", Linear::to_image(inputs, bottom, Activation::Identity));
    for (index, larger) in sizes.iter().enumerate().rev() {
        let level = index + 1;
        push_blocks(&mut decoder, config.blocks(), &format!("level{level}"), size)?;
        let (mut filters, mut activation) = (config.output().channels, Activation::Identity);
        if index > 0 {
            filters = config.widths[index - 1];
        } else {
            activation = config.last_activation(Activation::Sigmoid);
            decoder.push("norm", GroupNorm::new(size).with_silu());
        }
        let up = Upsample::new(size, larger.height, larger.width);
        let conv = same(up.output(), filters, activation)?;
        size = conv.output();
        decoder.push(&format!("up{level}"), up);
        decoder.push(&format!("conv{level}"), conv);
    }
    let head = Linear::from_image(bottom, config.latent, Activation::Identity);
    Ok(Plan { encoder: encoder.done(), head, decoder: decoder.done(), ties: Vec::new() })
}

/// A 3×3 convolution of stride 2 from H to ⌈H/2⌉ pixels.
fn halving(size: ImageShape, filters: usize) -> Result<Conv2d> {
    let geometry = Geometry::new((size.height, size.width, size.channels), (3, 3), 2, 1)?;
    Ok(Conv2d { geometry, filters, activation: Activation::Identity })
}

/// A 3×3 convolution that keeps the size.
fn same(size: ImageShape, filters: usize, activation: Activation) -> Result<Conv2d> {
    let geometry = Geometry::new((size.height, size.width, size.channels), (3, 3), 1, 1)?;
    Ok(Conv2d { geometry, filters, activation })
}

/// The residual blocks of a level, called `NAME.block1` and so on.
fn push_blocks<T: Element>(chain: &mut Chain<T>, count: usize, name: &str, size: ImageShape) -> Result<()> {
    let mut blocks: Vec<(String, Box<dyn Layer<T>>)> = Vec::new();
    for block in 1..=count {
        let mut layers: Vec<(String, Box<dyn Layer<T>>)> = Vec::new();
        for half in 1..=2 {
            let conv = same(size, size.channels, Activation::Identity)?;
            layers.push((format!("norm{half}"), Box::new(GroupNorm::new(size).with_silu())));
            layers.push((format!("conv{half}"), Box::new(conv)));
        }
        blocks.push((format!("block{block}"), Box::new(Residual::new(Sequence::new(layers)))));
    }
    chain.push(name, Sequence::new(blocks));
    Ok(())
}

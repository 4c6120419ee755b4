//! `conv`: strided convolutions down, a hidden layer, and the mirror of both up (Radford, Metz & Chintala
//! 2016, without normalization).
//!
//! Each 4×4 convolution of stride 2 halves the image. Up to 32 pixels there are two; larger images have as
//! many as reduce the bottom to 8 pixels or less, so that the linear layers do not grow with the image.

use super::plan::{Chain, Plan, Rules, check_hidden, push_hidden, push_mirrored_hidden};
use crate::error::{Error, Result};
use crate::kernels::geometry::Geometry;
use crate::layers::{Activation, Conv2d, ConvTranspose2d, Describe, Linear};
use crate::loss::Likelihood;
use crate::model::config::ModelConfig;
use crate::tensor::{Element, ImageShape};

pub(super) const RULES: Rules = Rules {
    latent: 32,
    widths,
    hidden: &[256],
    likelihood: Likelihood::Bernoulli,
    check: |config| {
        if config.widths.is_empty() {
            return Err(Error::config("conv needs at least one convolution; channels is empty"));
        }
        check_hidden(config)
    },
};

/// 32, 64, and for images above 32 pixels 128, 256, 256 … up to the number of [`halvings`].
fn widths(image: ImageShape) -> Vec<usize> {
    let count = if image.height.max(image.width) <= 32 { 2 } else { halvings(image) };
    (0..count).map(|index| (32 << index).min(256)).collect()
}

/// The number of times that an image is halved until its longer side has at most 8 pixels, or its shorter one
/// fewer than 8.
pub(super) fn halvings(image: ImageShape) -> usize {
    let (mut long, mut short) = (image.height.max(image.width), image.height.min(image.width));
    let mut count = 0;
    while long > 8 && short >= 8 {
        (long, short, count) = (long / 2, short / 2, count + 1);
    }
    count
}

pub(super) fn plan<T: Element>(config: &ModelConfig) -> Result<Plan<T>> {
    let (mut encoder, mut decoder, mut ties) = (Chain::new("encoder"), Chain::new("decoder"), Vec::new());
    let mut size = config.image();
    let mut geometries = Vec::new();
    for (index, &filters) in config.widths.iter().enumerate() {
        let geometry = Geometry::new((size.height, size.width, size.channels), (4, 4), 2, 1)?;
        let layer = Conv2d { geometry, filters, activation: Activation::Relu };
        size = layer.output();
        encoder.push(&format!("conv{}", index + 1), layer);
        geometries.push(geometry);
    }
    let features = push_hidden(&mut encoder, config, size);
    push_mirrored_hidden(&mut decoder, config, size, Activation::Relu, &mut ties);
    let count = geometries.len();
    for (index, mut geometry) in geometries.into_iter().rev().enumerate() {
        let (name, level) = (format!("deconv{}", index + 1), count - index);
        let mut activation = Activation::Relu;
        if level == 1 {
            geometry.channels = config.output().channels;
            activation = config.last_activation(Activation::Sigmoid);
        }
        if config.tie_weights {
            ties.push((format!("decoder.{name}.weight"), format!("encoder.conv{level}.weight")));
        }
        let small_channels = config.widths[level - 1];
        decoder.push(&name, ConvTranspose2d { geometry, small_channels, activation });
    }
    let head = Linear::new(features, config.latent, Activation::Identity);
    Ok(Plan { encoder: encoder.done(), head, decoder: decoder.done(), ties })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bottom_of_large_images_has_four_to_eight_pixels() {
        for side in 33..=256 {
            let mut bottom = side;
            widths(ImageShape::new(side, side, 3)).iter().for_each(|_| bottom /= 2);
            assert!((4..=8).contains(&bottom), "{side} pixels end at {bottom}");
        }
        assert_eq!(widths(ImageShape::new(28, 32, 1)), [32, 64]);
        assert_eq!(widths(ImageShape::new(64, 64, 3)), [32, 64, 128]);
        assert_eq!(widths(ImageShape::new(256, 256, 3)), [32, 64, 128, 256, 256]);
    }
}

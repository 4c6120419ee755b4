//! The three networks, layer for layer.
//!
//! ```text
//! conv     4×4 s2 convolutions C→widths · linear →hidden │ μ, ln σ² │ linear Z→hidden→ · 4×4 s2 transposed convolutions →C
//! mlp      linear H·W·C→hidden                           │ μ, ln σ² │ linear Z→hidden→H·W·C
//! article  (3×3 convolution, max pool 2)² C→64→128 ·     │ μ, ln σ² │ back by μ's weights Z→512 · transposed convolutions
//!          linear →1024→512                              │          │ from 1×1: H/4×W/4 512→128, 4×4 s2 →64, 4×4 s2 →C
//! ```
//!
//! ReLU between layers. The last layer's activation is what the likelihood asks for: none for Bernoulli's logits, else tanh in
//! `article` and sigmoid in the others. Each decoder layer is the mirror of an encoder layer; tied, it uses that one's weight.

use std::ops::Range;

use super::config::{ModelConfig, Preset};
use super::network::{Layer, Stage};
use super::parameters::{Layout, Table};
use crate::error::Result;
use crate::kernels::geometry::Geometry;
use crate::layers::{Activation, Conv2d, ConvTranspose2d, Linear, MaxPool2d, Shared};

/// A network's layers and the table of its parameters; no numbers yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Architecture {
    /// From images to features.
    pub encoder: Vec<Stage>,
    /// From features to μ and ln σ².
    pub shared: Shared,
    /// The head of μ: (weight, bias).
    pub mu: (Range<usize>, Range<usize>),
    /// The head of ln σ².
    pub log_variance: (Range<usize>, Range<usize>),
    /// Whether the decoder uses μ's weight as well, so that its gradient is a sum.
    pub mu_is_shared: bool,
    /// From codes to logits or means. In `article` its first stage is the shared layer's way back.
    pub decoder: Vec<Stage>,
    /// All parameters.
    pub table: Table,
}

/// (H, W, C) of what flows between layers.
type Size = (usize, usize, usize);

impl Architecture {
    /// The network of a configuration.
    ///
    /// # Errors
    /// Where the configuration contradicts itself, or the image is too small for so many layers.
    pub fn new(config: &ModelConfig) -> Result<Self> {
        config.validate()?;
        let mut builder =
            Builder { config, table: Table::default(), encoder: Vec::new(), decoder: Vec::new() };
        let image = (config.height, config.width, config.channels);
        let (geometries, bottom) = builder.convolutions(image)?;
        let features = builder.hidden(bottom);

        let shared = Shared::new(features, config.latent);
        let mu = builder.parameters("shared.mu", &Layer::Linear(shared.head), None);
        let log_variance = builder.parameters("shared.log_variance", &Layer::Linear(shared.head), None);
        if config.preset == Preset::Article {
            let back = Linear::with_weight_of(&shared.head);
            // Zero at the start (fan_in 0): the weight is no draw of this layer's own.
            let bias = builder.table.add("shared.back.bias".into(), &[features], Layout::plain(features), 0);
            builder.decoder.push(Stage {
                name: "shared.back".into(),
                layer: Layer::Linear(back),
                activation: Activation::Relu,
                weight: mu.0.clone(),
                bias,
                accumulate: false,
            });
        }
        builder.table.decoder_start = builder.table.len();
        builder.decoder(&geometries, bottom, &mu.0)?;

        let output = match (config.likelihood.output_is_mean(), config.preset) {
            (false, _) => Activation::Identity,
            (true, Preset::Article) => Activation::Tanh,
            (true, _) => Activation::Sigmoid,
        };
        let Builder { table, mut encoder, mut decoder, .. } = builder;
        decoder.last_mut().expect("every decoder has layers").activation = output;
        // The decoder comes first in the backward pass, so its use of a tied weight writes and the encoder's adds.
        let decoder_uses = |weight: &Range<usize>| decoder.iter().any(|s| s.weight == *weight);
        for stage in encoder.iter_mut().filter(|stage| !stage.weight.is_empty()) {
            stage.accumulate = decoder_uses(&stage.weight);
        }
        let mu_is_shared = decoder_uses(&mu.0);
        Ok(Self { encoder, shared, mu, log_variance, mu_is_shared, decoder, table })
    }

    /// Encoder, heads and decoder: the operations of one forward pass on one image (see [`Layer::flops`]).
    pub fn forward_flops(&self) -> usize {
        let stages = self.encoder.iter().chain(&self.decoder).map(|stage| stage.layer.flops()).sum::<usize>();
        stages + 2 * Layer::Linear(self.shared.head).flops()
    }

    /// The operations of a training step on one image: forward, and for each layer a weight gradient and an input gradient, which
    /// the first layer does not need.
    pub fn step_flops(&self) -> usize {
        3 * self.forward_flops() - self.encoder[0].layer.flops()
    }
}

struct Builder<'a> {
    config: &'a ModelConfig,
    table: Table,
    encoder: Vec<Stage>,
    decoder: Vec<Stage>,
}

impl Builder<'_> {
    /// The encoder's convolutions (and pooling). Returns the geometry of each step down, and the size at the bottom.
    fn convolutions(&mut self, image: Size) -> Result<(Vec<Geometry>, Size)> {
        let mut size = image;
        let mut geometries = Vec::new();
        let pooled = self.config.preset == Preset::Article;
        for (index, &filters) in self.config.widths.iter().enumerate() {
            let geometry =
                if pooled { Geometry::new(size, (3, 3), 1, 1)? } else { Geometry::new(size, (4, 4), 2, 1)? };
            self.encode(&format!("conv{}", index + 1), Layer::Conv2d(Conv2d { geometry, filters }), None);
            size = (geometry.small_height, geometry.small_width, filters);
            if pooled {
                let pool = MaxPool2d { height: size.0, width: size.1, channels: filters, window: 2 };
                self.encoder.push(Stage {
                    name: format!("encoder.pool{}", index + 1),
                    layer: Layer::MaxPool2d(pool),
                    activation: Activation::Identity,
                    weight: 0..0,
                    bias: 0..0,
                    accumulate: false,
                });
                size = (pool.output_size().0, pool.output_size().1, filters);
            }
            geometries.push(geometry);
        }
        Ok((geometries, size))
    }

    /// The encoder's linear layers, from the image at the bottom. Returns the number of features.
    fn hidden(&mut self, bottom: Size) -> usize {
        let mut inputs = bottom.0 * bottom.1 * bottom.2;
        for (index, &outputs) in self.config.hidden.iter().enumerate() {
            let image = (index == 0).then_some(bottom);
            self.encode(&format!("linear{}", index + 1), Layer::Linear(Linear::new(inputs, outputs)), image);
            inputs = outputs;
        }
        inputs
    }

    /// The decoder: the encoder's mirror.
    fn decoder(&mut self, geometries: &[Geometry], bottom: Size, mu: &Range<usize>) -> Result<()> {
        if self.config.preset == Preset::Article {
            return self.article_decoder(geometries, bottom);
        }
        // Z → hidden reversed → the image at the bottom; layer k mirrors the encoder's linear layer n − k, the first μ.
        let flat = bottom.0 * bottom.1 * bottom.2;
        let widths: Vec<usize> = self.config.hidden.iter().rev().copied().chain([flat]).collect();
        let linears: Vec<Range<usize>> = self.encoder_weights(|layer| matches!(layer, Layer::Linear(_)));
        let mut mirrored = std::iter::once(mu.clone()).chain(linears.into_iter().rev());
        let mut inputs = self.config.latent;
        for (index, &outputs) in widths.iter().enumerate() {
            let image = (index + 1 == widths.len()).then_some(bottom);
            let layer = Linear { inputs, outputs, transposed: self.config.tie_weights };
            self.decode(&format!("linear{}", index + 1), Layer::Linear(layer), image, mirrored.next());
            inputs = outputs;
        }
        let convs: Vec<Range<usize>> = self.encoder_weights(|layer| matches!(layer, Layer::Conv2d(_)));
        for (index, geometry) in geometries.iter().rev().enumerate() {
            let small_channels = self.config.widths[geometries.len() - 1 - index];
            let layer = Layer::ConvTranspose2d(ConvTranspose2d { geometry: *geometry, small_channels });
            self.decode(&format!("deconv{}", index + 1), layer, None, convs.iter().rev().nth(index).cloned());
        }
        Ok(())
    }

    /// From 1×1×512 to a quarter of the image, to a half, to the image. The last two are the mirrors of 4×4 convolutions of stride 2
    /// and halve as the encoder's pooling does, so odd sizes fit.
    fn article_decoder(&mut self, geometries: &[Geometry], bottom: Size) -> Result<()> {
        let [first, second] = [geometries[0], geometries[1]];
        let features = self.config.hidden[1];
        let [wide, narrow] = [self.config.widths[1], self.config.widths[0]];
        let steps = [
            (Geometry::new((bottom.0, bottom.1, wide), (bottom.0, bottom.1), 1, 0)?, features),
            (Geometry::new((second.height, second.width, narrow), (4, 4), 2, 1)?, wide),
            (Geometry::new((first.height, first.width, self.config.channels), (4, 4), 2, 1)?, narrow),
        ];
        for (index, (geometry, small_channels)) in steps.into_iter().enumerate() {
            let layer = Layer::ConvTranspose2d(ConvTranspose2d { geometry, small_channels });
            self.decode(&format!("deconv{}", index + 1), layer, None, None);
        }
        Ok(())
    }

    /// The weights of the encoder's layers of one kind, in order.
    fn encoder_weights(&self, kind: impl Fn(&Layer) -> bool) -> Vec<Range<usize>> {
        self.encoder.iter().filter(|stage| kind(&stage.layer)).map(|stage| stage.weight.clone()).collect()
    }

    /// Adds an encoder stage. `image` is the size of the image that a linear layer reads.
    fn encode(&mut self, name: &str, layer: Layer, image: Option<Size>) {
        let name = format!("encoder.{name}");
        let (weight, bias) = self.parameters(&name, &layer, image);
        self.encoder.push(Stage {
            name,
            layer,
            activation: Activation::Relu,
            weight,
            bias,
            accumulate: false,
        });
    }

    /// Adds a decoder stage. `image` is the size of the image that a linear layer writes, `mirrored` the weight that it uses where
    /// weights are tied.
    fn decode(&mut self, name: &str, layer: Layer, image: Option<Size>, mirrored: Option<Range<usize>>) {
        let name = format!("decoder.{name}");
        let (weight, bias) = match mirrored.filter(|_| self.config.tie_weights) {
            Some(weight) => (weight, self.bias(&name, &layer, image)),
            None => self.parameters(&name, &layer, image),
        };
        self.decoder.push(Stage {
            name,
            layer,
            activation: Activation::Relu,
            weight,
            bias,
            accumulate: false,
        });
    }

    /// A weight and a bias of the layer's own. `image`: see [`encode`](Self::encode) and [`decode`](Self::decode).
    fn parameters(&mut self, name: &str, layer: &Layer, image: Option<Size>) -> (Range<usize>, Range<usize>) {
        let (shape, layout) = match layer {
            Layer::Linear(l) => {
                let shape = vec![l.outputs, l.inputs];
                let layout = match image {
                    Some((h, w, c)) if h * w * c == l.inputs && name.starts_with("encoder") => {
                        Layout { outer: l.outputs, pixels: h * w, channels: c, inner: 1 }
                    }
                    Some((h, w, c)) => Layout { outer: 1, pixels: h * w, channels: c, inner: l.inputs },
                    None => Layout::plain(l.outputs * l.inputs),
                };
                (shape, layout)
            }
            Layer::Conv2d(Conv2d { geometry: g, filters: outer })
            | Layer::ConvTranspose2d(ConvTranspose2d { geometry: g, small_channels: outer }) => {
                let taps = g.kernel_height * g.kernel_width;
                let layout = Layout { outer: *outer, pixels: taps, channels: g.channels, inner: 1 };
                (vec![*outer, g.channels, g.kernel_height, g.kernel_width], layout)
            }
            Layer::MaxPool2d(_) => unreachable!("pooling has no parameters"),
        };
        let weight = self.table.add(format!("{name}.weight"), &shape, layout, fan_in(layer));
        (weight, self.bias(name, layer, image))
    }

    /// A bias of the layer's own.
    fn bias(&mut self, name: &str, layer: &Layer, image: Option<Size>) -> Range<usize> {
        let (len, layout) = match layer {
            Layer::Linear(l) => match image {
                Some((h, w, c)) if name.starts_with("decoder") => {
                    (l.outputs, Layout { outer: 1, pixels: h * w, channels: c, inner: 1 })
                }
                _ => (l.outputs, Layout::plain(l.outputs)),
            },
            Layer::Conv2d(l) => (l.filters, Layout::plain(l.filters)),
            Layer::ConvTranspose2d(l) => (l.geometry.channels, Layout::plain(l.geometry.channels)),
            Layer::MaxPool2d(_) => unreachable!("pooling has no parameters"),
        };
        self.table.add(format!("{name}.bias"), &[len], layout, fan_in(layer))
    }
}

/// PyTorch's fan_in: what one output sums over, where a transposed convolution counts its output channels (its weight read as a
/// convolution's).
fn fan_in(layer: &Layer) -> usize {
    match layer {
        Layer::Linear(l) => l.inputs,
        Layer::Conv2d(l) => l.geometry.patch_len(),
        Layer::ConvTranspose2d(l) => l.geometry.patch_len(),
        Layer::MaxPool2d(_) => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parameters(preset: Preset, size: Size, change: impl FnOnce(&mut ModelConfig)) -> usize {
        let mut config = ModelConfig::new(preset, size);
        change(&mut config);
        Architecture::new(&config).unwrap().table.len()
    }

    #[test]
    fn parameter_counts_are_those_of_the_same_networks_elsewhere() {
        assert_eq!(parameters(Preset::Conv, (28, 28, 1), |_| {}), 1_700_609);
        assert_eq!(parameters(Preset::Conv, (28, 28, 1), |c| c.tie_weights = true), 856_321);
        assert_eq!(parameters(Preset::Mlp, (28, 28, 1), |_| {}), 652_824);
        assert_eq!(parameters(Preset::Article, (28, 28, 3), |_| {}), 10_402_947);
        assert_eq!(parameters(Preset::Article, (13, 22, 1), |c| c.latent = 4), 3_686_345);
        assert_eq!(parameters(Preset::Conv, (33, 47, 3), |c| c.latent = 5), 2_962_317);
        assert!(parameters(Preset::Article, (128, 128, 3), |_| {}) > 200_000_000);
    }

    #[test]
    fn every_preset_takes_every_size_from_eight_up_and_gives_it_back() {
        for (preset, size) in [Preset::Conv, Preset::Article, Preset::Mlp].into_iter().flat_map(|preset| {
            [(8, 8, 1), (9, 8, 2), (28, 28, 1), (33, 47, 3), (11, 31, 4)].map(|size| (preset, size))
        }) {
            let a = Architecture::new(&ModelConfig::new(preset, size)).unwrap();
            assert_eq!(a.encoder[0].layer.input_len(), size.0 * size.1 * size.2);
            assert_eq!(a.decoder.last().unwrap().layer.output_len(), size.0 * size.1 * size.2);
            for pair in a.encoder.windows(2).chain(a.decoder.windows(2)) {
                assert_eq!(pair[0].layer.output_len(), pair[1].layer.input_len(), "{preset:?} {size:?}");
            }
            assert_eq!(a.encoder.last().unwrap().layer.output_len(), a.shared.head.inputs);
            assert_eq!(a.decoder[0].layer.input_len(), a.shared.head.outputs);
        }
    }

    #[test]
    fn what_cannot_be_built_is_refused_in_a_sentence() {
        let refused = |preset, size, change: fn(&mut ModelConfig)| {
            let mut config = ModelConfig::new(preset, size);
            change(&mut config);
            Architecture::new(&config).unwrap_err().to_string()
        };
        assert!(refused(Preset::Conv, (7, 28, 1), |_| {}).contains("7×28"));
        assert!(refused(Preset::Conv, (28, 28, 1), |c| c.latent = 0).contains("latent size is 0"));
        assert!(refused(Preset::Article, (28, 28, 1), |c| c.tie_weights = true).contains("--tie-weights"));
        assert!(refused(Preset::Article, (28, 28, 1), |c| c.hidden = vec![10]).contains("fixed"));
        assert!(refused(Preset::Mlp, (28, 28, 1), |c| c.hidden.clear()).contains("hidden is empty"));
        assert!(refused(Preset::Conv, (8, 8, 1), |c| c.widths = vec![8; 4]).contains("4×4 kernel"));
    }
}

//! The assembled network: the layers of a preset's plan, with a position for every parameter.

use std::collections::BTreeMap;
use std::ops::Range;

use super::config::ModelConfig;
use super::context::Context;
use super::m2::M2;
use super::parameters::Table;
use super::presets::Plan;
use crate::error::Result;
use crate::layers::{Child, Describe, Init, Layer, ParameterSpec, Sequence, Shared, Slot, WorkLen};
use crate::tensor::Element;

/// A network's layers and the table of its parameters; no numbers yet.
#[derive(Debug)]
pub struct Architecture<T> {
    /// From images to features.
    pub encoder: Sequence<T>,
    /// The positions of its parameters.
    pub encoder_slots: Vec<Slot>,
    /// From features to μ and ln σ².
    pub shared: Shared,
    /// The positions of the weight and the bias of μ.
    pub mu: Vec<Slot>,
    /// The positions of those of ln σ².
    pub log_variance: Vec<Slot>,
    /// From codes to the likelihood's numbers, or to the context network's features. In `article` its first
    /// layer is the last part of the shared layer.
    pub decoder: Sequence<T>,
    /// The positions of its parameters.
    pub decoder_slots: Vec<Slot>,
    /// From finished pixels and the decoder's features to the likelihood's numbers, for a model with context.
    pub context: Option<Context<T>>,
    /// The classifier from few labels, if the model has one. Its parameters come last.
    pub m2: Option<M2>,
    /// The tied parameters: name, and the name of the parameter that they share.
    pub ties: BTreeMap<String, String>,
    /// All parameters.
    pub table: Table,
}

impl<T: Element> Architecture<T> {
    /// The network of a configuration.
    ///
    /// # Errors
    /// If the configuration contradicts itself, or the image is too small for so many layers.
    pub fn new(config: &ModelConfig) -> Result<Self> {
        config.validate()?;
        let Plan { encoder, head, decoder, ties } = config.preset.plan(config)?;
        let ties: BTreeMap<String, String> = ties.into_iter().collect();
        let shared = Shared { head };
        let mut table = Table::default();
        let mut encoder_slots = table.add(encoder.parameters(), &ties);
        let [mut mu, log_variance] =
            ["shared.mu", "shared.log_variance"].map(|name| table.add(named(name, head.parameters()), &ties));
        let decoder_slots = table.add(biases_of_tied_from_zero(decoder.parameters(), &ties), &ties);
        let context = match config.context {
            Some(hidden) => Some(Context::new(config, hidden, &mut table)?),
            None => None,
        };
        let mut m2 = config.m2.as_ref().map(|sizes| M2::new(sizes, config.latent));
        m2.iter_mut().for_each(|m2| m2.place(|parameters| table.add(parameters, &ties)));
        // The decoder comes first in the backward pass, so its use of a tied weight writes and the encoder's
        // adds.
        for slot in encoder_slots.iter_mut().chain(&mut mu) {
            slot.accumulate = decoder_slots.iter().any(|other| other.range == slot.range);
        }
        Ok(Self {
            encoder,
            encoder_slots,
            shared,
            mu,
            log_variance,
            decoder,
            decoder_slots,
            context,
            m2,
            ties,
            table,
        })
    }

    /// Encoder, heads and decoder: the operations of one forward pass on one image (see [`Describe::flops`]).
    pub fn forward_flops(&self) -> usize {
        let context = self.context.as_ref().map_or(0, Context::flops);
        self.encoder.flops() + 2 * self.shared.head.flops() + self.decoder.flops() + context
    }

    /// The operations of a training step on one image: forward, and for each layer a weight gradient and an
    /// input gradient, which the first layer does not need.
    pub fn step_flops(&self) -> usize {
        3 * self.forward_flops() - self.encoder.children()[0].layer.flops()
    }

    /// H·W·F, the numbers that the decoder gives of an image for the context network; 0 without one.
    pub fn context_features_len(&self) -> usize {
        self.context.as_ref().map_or(0, Context::features_len)
    }

    /// The numbers that the backward passes need between layers, for `batch` images; the passes run one after
    /// the other and share them.
    pub fn spare_len(&self, batch: usize) -> usize {
        let context = self.context.as_ref().map_or(0, |context| context.spare_len(batch));
        self.encoder.spare_len(batch).max(self.decoder.spare_len(batch)).max(context)
    }

    /// The working memory that the largest layer needs.
    pub fn work_len(&self) -> WorkLen {
        let context = self.context.as_ref().map_or(WorkLen::default(), Context::work_len);
        self.encoder.work_len().max(self.decoder.work_len()).max(context)
    }

    /// Every layer that is not a container, from images to images, with its full name and its slots. The
    /// heads are among them, as `shared.mu` and `shared.log_variance`; a classifier's layers come last.
    pub fn for_each_layer<'a>(&'a self, mut visit: impl FnMut(&str, &'a dyn Describe, &'a [Slot])) {
        leaves("", self.encoder.children(), &self.encoder_slots, &mut visit);
        visit("shared.mu", &self.shared.head, &self.mu);
        visit("shared.log_variance", &self.shared.head, &self.log_variance);
        leaves("", self.decoder.children(), &self.decoder_slots, &mut visit);
        for (network, slots) in self.context.iter().flat_map(Context::parts) {
            leaves("", network.children(), slots, &mut visit);
        }
        self.m2.iter().for_each(|m2| m2.for_each_layer(&mut visit));
    }

    /// Whether a slot is a parameter that the layer `name` shares with another.
    pub fn is_tied(&self, name: &str) -> bool {
        self.ties.contains_key(&format!("{name}.weight"))
    }

    /// The parameters that lie in the range of a slot.
    pub fn len_of(&self, slots: &[Slot], is_tied: bool) -> usize {
        let own: Vec<&Range<usize>> =
            slots.iter().skip(usize::from(is_tied)).map(|slot| &slot.range).collect();
        own.iter().map(|range| range.len()).sum()
    }
}

/// Calls `visit` for the layers inside containers.
fn leaves<'a, T: Element>(
    prefix: &str,
    children: &'a [Child<T>],
    slots: &'a [Slot],
    visit: &mut dyn FnMut(&str, &'a dyn Describe, &'a [Slot]),
) {
    for child in children {
        let name = format!("{prefix}{}", child.name);
        let slots = &slots[child.slots.clone()];
        match child.layer.children() {
            [] => visit(&name, &*child.layer, slots),
            inner => leaves(&format!("{name}."), inner, slots, visit),
        }
    }
}

/// Parameters with the layer's name as a prefix.
fn named(layer: &str, specs: Vec<ParameterSpec>) -> Vec<ParameterSpec> {
    let named = |spec: ParameterSpec| ParameterSpec { name: format!("{layer}.{}", spec.name), ..spec };
    specs.into_iter().map(named).collect()
}

/// The last part of the shared layer starts with a bias of 0: its weight is shared, so no fan-in determines
/// the range of its bias.
fn biases_of_tied_from_zero(
    mut specs: Vec<ParameterSpec>,
    ties: &BTreeMap<String, String>,
) -> Vec<ParameterSpec> {
    for spec in
        specs.iter_mut().filter(|spec| spec.name.starts_with("shared.") && !ties.contains_key(&spec.name))
    {
        spec.init = Init::Zero;
    }
    specs
}

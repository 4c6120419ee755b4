//! The discriminator: a few convolutions from a picture to one logit.
//!
//! ```text
//! trunk   (4×4 s2 convolution · SiLU) …      each halves the picture; 32, 64, 128, 128 … channels         gives the features φ
//! head    4×4 s2 convolution · SiLU · linear to the logit
//! ```
//!
//! The picture is halved until its longer side has 4 pixels or less, at least twice. In a model with labels
//! it gets the label of each picture as planes, so it judges whether a picture is a real one of its class
//! (Mirza & Osindero 2014). It consists of the engine's layers and is used only in training; the model file
//! does not contain it.
//!
//! Weights are normalized before each step ([`prepare`](Discriminator::prepare)), so passes and gradients use
//! W̄; at the end [`gradient`](Discriminator::gradient) converts the gradient to that of W.

use super::spectral::{Spectral, Weight, first_directions};
use crate::error::Result;
use crate::kernels::geometry::Geometry;
use crate::layers::{
    Activation, Backward, Concat, Conv2d, Describe, Forward, Layer, Linear, ParameterGradients,
    ParameterSpec, Parameters, Sequence, Silu, Slot, Work,
};
use crate::model::parameters::Table;
use crate::random::Stream;
use crate::tensor::{Element, ImageShape};

/// The channels after the first halving, and the most.
const CHANNELS: (usize, usize) = (32, 128);
/// The longest side of the last convolution's output.
const SMALLEST: usize = 4;

/// The layers, and the positions of their parameters.
#[derive(Debug)]
pub struct Discriminator<T> {
    trunk: Sequence<T>,
    trunk_slots: Vec<Slot>,
    head: Sequence<T>,
    head_slots: Vec<Slot>,
    /// All parameters.
    pub table: Table,
    weights: Vec<Weight>,
    pixels: usize,
    labels: usize,
}

/// Memory for passes over a batch of pictures.
#[derive(Debug)]
pub struct DiscriminatorSpace<T> {
    spectral: Spectral<T>,
    trunk_kept: Vec<T>,
    features: Vec<T>,
    head_kept: Vec<T>,
    logits: Vec<T>,
    d_logits: Vec<T>,
    d_features: Vec<T>,
    spare: Vec<T>,
    work: Work<T>,
    /// ∂L/∂W̄ of one pass, and of all passes of a step.
    pass_gradient: Vec<T>,
    gradient: Vec<T>,
}

impl<T: Element> Discriminator<T> {
    /// For pictures of this shape with `labels` classes; 0 in a model without labels.
    ///
    /// # Errors
    /// If the pictures are too small for two halvings.
    pub fn new(image: ImageShape, labels: usize) -> Result<Self> {
        let mut trunk: Vec<(String, Box<dyn Layer<T>>)> = Vec::new();
        let mut size = image;
        if labels > 0 {
            let label = Concat::planes(image, labels);
            size = Describe::output(&label);
            trunk.push(("label".into(), Box::new(label)));
        }
        let halvings = halvings(image);
        let mut head: Vec<(String, Box<dyn Layer<T>>)> = Vec::new();
        for level in 1..=halvings {
            let geometry = Geometry::new((size.height, size.width, size.channels), (4, 4), 2, 1)?;
            let filters = (CHANNELS.0 << (level - 1)).min(CHANNELS.1);
            let conv = Conv2d { geometry, filters, activation: Activation::Identity };
            size = Describe::output(&conv);
            let part = if level < halvings { &mut trunk } else { &mut head };
            part.push((format!("conv{level}"), Box::new(conv)));
            part.push((format!("silu{level}"), Box::new(Silu { shape: size })));
        }
        head.push(("linear".into(), Box::new(Linear::from_image(size, 1, Activation::Identity))));
        let (trunk, head) = (Sequence::new(trunk), Sequence::new(head));
        let mut table = Table::default();
        let mut add = |sequence: &Sequence<T>| {
            let named =
                |spec: ParameterSpec| ParameterSpec { name: format!("discriminator.{}", spec.name), ..spec };
            table.add(sequence.parameters().into_iter().map(named).collect(), &Default::default())
        };
        let (trunk_slots, head_slots) = (add(&trunk), add(&head));
        let mut weights: Vec<Weight> = Vec::new();
        for parameter in table.parameters.iter().filter(|parameter| parameter.name.ends_with(".weight")) {
            let (rows, len) = (parameter.shape[0], parameter.range.len());
            let (left, right) = weights.last().map_or((0, 0), |last| (last.left.end, last.right.end));
            weights.push(Weight {
                range: parameter.range.clone(),
                rows,
                left: left..left + rows,
                right: right..right + len / rows,
            });
        }
        Ok(Self { trunk, trunk_slots, head, head_slots, table, weights, pixels: image.len(), labels })
    }

    /// Parameters before the first step.
    pub fn initialize(&self, seed: u64) -> Vec<T> {
        self.table.initialize_from(seed, Stream::Discriminator)
    }

    /// The directions u of the power iterations before the first step.
    pub fn directions(&self, seed: u64) -> Vec<T> {
        first_directions(&self.weights, seed)
    }

    /// The length of each weight's u, with the weight's name.
    pub fn direction_lengths(&self) -> impl Iterator<Item = (&str, usize)> {
        let weights = self.table.parameters.iter().filter(|parameter| parameter.name.ends_with(".weight"));
        weights.zip(&self.weights).map(|(parameter, weight)| (parameter.name.as_str(), weight.rows))
    }

    /// F, the numbers of an image's features.
    pub fn features_len(&self) -> usize {
        self.trunk.output().len()
    }

    /// The numbers that a [`DiscriminatorSpace`] for `batch` pictures has, on `threads` threads.
    pub fn space_len(&self, batch: usize, threads: usize) -> usize {
        let kept = self.trunk.kept_len(batch) + self.head.kept_len(batch);
        let work = self.trunk.work_len().max(self.head.work_len());
        let shared = work.partials + work.transposed + (threads + 1) * work.scratch;
        let spare = self.trunk.spare_len(batch).max(self.head.spare_len(batch));
        kept + spare + shared + 3 * self.table.len() + batch * (2 * self.features_len() + 2)
    }

    /// Memory for `batch` pictures.
    pub fn space(&self, batch: usize) -> DiscriminatorSpace<T> {
        let numbers = |len: usize| vec![T::ZERO; len];
        DiscriminatorSpace {
            spectral: Spectral::new(&self.weights, self.table.len()),
            trunk_kept: numbers(self.trunk.kept_len(batch)),
            features: numbers(batch * self.features_len()),
            head_kept: numbers(self.head.kept_len(batch)),
            logits: numbers(batch),
            d_logits: numbers(batch),
            d_features: numbers(batch * self.features_len()),
            spare: numbers(self.trunk.spare_len(batch).max(self.head.spare_len(batch))),
            work: Work::new(self.trunk.work_len().max(self.head.work_len())),
            pass_gradient: numbers(self.table.len()),
            gradient: numbers(self.table.len()),
        }
    }

    /// Begins a step: a power iteration, the normalized weights, and a gradient of 0.
    pub fn prepare(&self, parameters: &[T], directions: &mut [T], space: &mut DiscriminatorSpace<T>) {
        space.spectral.iterate(&self.weights, parameters, directions);
        self.normalize(parameters, directions, space);
    }

    /// [`prepare`](Self::prepare) without the iteration.
    pub(super) fn normalize(&self, parameters: &[T], directions: &[T], space: &mut DiscriminatorSpace<T>) {
        space.spectral.normalize(&self.weights, parameters, directions);
        space.gradient.fill(T::ZERO);
    }

    /// Judges pictures, B × H·W·C in the model's span, with the numbers of their labels, B × L: features and
    /// logits are then in the space.
    ///
    /// # Panics
    /// If the pictures are of another size or more than fit the space.
    pub fn forward(&self, pictures: &[T], condition: &[T], space: &mut DiscriminatorSpace<T>) {
        let batch = self.count(pictures);
        assert_eq!(condition.len(), batch * self.labels, "a label for each picture");
        let s = space;
        let (features, logits) = (&mut s.features[..batch * self.features_len()], &mut s.logits[..batch]);
        let parameters = Parameters { all: &s.spectral.normalized, slots: &self.trunk_slots };
        let kept = &mut s.trunk_kept;
        self.trunk.forward(
            pictures,
            features,
            Forward { batch, parameters, condition, kept, work: &mut s.work },
        );
        let parameters = Parameters { all: &s.spectral.normalized, slots: &self.head_slots };
        let kept = &mut s.head_kept;
        self.head.forward(
            features,
            logits,
            Forward { batch, parameters, condition, kept, work: &mut s.work },
        );
    }

    /// The backward pass of the pictures judged last, from the gradient in [`DiscriminatorSpace::logits`]:
    /// adds to the weights' gradient, and returns that of the pictures if requested.
    pub fn backward(&self, pictures: &[T], d_pictures: Option<&mut [T]>, space: &mut DiscriminatorSpace<T>) {
        let batch = self.count(pictures);
        let s = space;
        let features = batch * self.features_len();
        let pass = Backward {
            batch,
            parameters: Parameters { all: &s.spectral.normalized, slots: &self.head_slots },
            gradients: ParameterGradients { all: &mut s.pass_gradient, slots: &self.head_slots },
            kept: &s.head_kept[..self.head.kept_len(batch)],
            spare: &mut s.spare,
            work: &mut s.work,
        };
        let (features, d_features) = (&s.features[..features], &mut s.d_features[..features]);
        self.head.backward(features, &s.logits[..batch], &mut s.d_logits[..batch], Some(d_features), pass);
        self.trunk_backward(pictures, d_pictures, s);
        s.gradient.iter_mut().zip(&s.pass_gradient).for_each(|(sum, &gradient)| *sum += gradient);
    }

    /// The backward pass of the pictures judged last, from the gradient of their features to that of the
    /// pictures.
    pub fn features_backward(&self, pictures: &[T], d_pictures: &mut [T], space: &mut DiscriminatorSpace<T>) {
        // The weights' gradient is computed too, but not used.
        self.trunk_backward(pictures, Some(d_pictures), space);
    }

    fn trunk_backward(
        &self,
        pictures: &[T],
        d_pictures: Option<&mut [T]>,
        space: &mut DiscriminatorSpace<T>,
    ) {
        let batch = self.count(pictures);
        let (s, features) = (space, batch * self.features_len());
        let pass = Backward {
            batch,
            parameters: Parameters { all: &s.spectral.normalized, slots: &self.trunk_slots },
            gradients: ParameterGradients { all: &mut s.pass_gradient, slots: &self.trunk_slots },
            kept: &s.trunk_kept[..self.trunk.kept_len(batch)],
            spare: &mut s.spare,
            work: &mut s.work,
        };
        let (features, d_features) = (&s.features[..features], &mut s.d_features[..features]);
        self.trunk.backward(pictures, features, d_features, d_pictures, pass);
    }

    /// Ends a step: the gradient of the weights from all its passes, in [`DiscriminatorSpace::gradient`].
    pub fn gradient<'s>(&self, directions: &[T], space: &'s mut DiscriminatorSpace<T>) -> &'s [T] {
        space.spectral.backward(&self.weights, directions, &mut space.gradient);
        &space.gradient
    }

    /// The number of these pictures.
    ///
    /// # Panics
    /// If they are of another size.
    pub fn count(&self, pictures: &[T]) -> usize {
        assert!(
            pictures.len().is_multiple_of(self.pixels),
            "pictures of another size than the discriminator's"
        );
        pictures.len() / self.pixels
    }
}

impl<T: Element> DiscriminatorSpace<T> {
    /// All parameters with W̄ for W.
    #[cfg(test)]
    pub(super) fn normalized(&self) -> &[T] {
        &self.spectral.normalized
    }

    /// The gradient of the weights, after [`Discriminator::gradient`].
    pub fn gradient(&self) -> &[T] {
        &self.gradient
    }

    /// φ of the first `count` pictures that were judged last.
    pub fn features<'s>(&'s self, discriminator: &Discriminator<T>, count: usize) -> &'s [T] {
        &self.features[..count * discriminator.features_len()]
    }

    /// The features and their gradient, from which [`features_backward`](Discriminator::features_backward)
    /// starts.
    pub fn features_and_gradient(
        &mut self,
        discriminator: &Discriminator<T>,
        count: usize,
    ) -> (&[T], &mut [T]) {
        let len = count * discriminator.features_len();
        (&self.features[..len], &mut self.d_features[..len])
    }

    /// The logits of the first `count` pictures that were judged last, and their gradient, from which
    /// [`backward`](Discriminator::backward) starts.
    pub fn logits(&mut self, count: usize) -> (&[T], &mut [T]) {
        (&self.logits[..count], &mut self.d_logits[..count])
    }
}

/// The number of halvings of a picture: see the module.
fn halvings(image: ImageShape) -> usize {
    let (mut long, mut short) = (image.height.max(image.width), image.height.min(image.width));
    let mut count = 0;
    while (long > SMALLEST || count < 2) && short >= 2 {
        (long, short, count) = (long / 2, short / 2, count + 1);
    }
    count
}

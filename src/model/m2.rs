//! M2: a classifier that learns from few labelled and many unlabelled images (Kingma, Rezende, Mohamed &
//! Welling 2014).
//!
//! Its input is the code of a model without labels, as in the paper's section 2.3 ("M1+M2"): its x is a code
//! drawn from q(z|image), and its own code w encodes everything except the class.
//!
//! ```text
//! generate   p(y) = 1/L,  p(w) = N(0, 1),  p(x|w, y) = N(x; μ_x(w, y), σ²_x(w, y))
//! infer      q(y|x) = softmax(classifier(x)),  q(w|x, y) = N(w; μ_w(x, y), σ²_w(x, y))
//! bound      F(x, y) = ln p(x|w, y) − KL(q(w|x, y)‖p(w)) + ln p(y) ≤ ln p(x, y)           one draw of w
//!
//! loss = −1/B Σ_b Σ_y q(y|x_b)·(F(x_b, y) − ln q(y|x_b))   without labels: over classes, and q's entropy (7)
//!        −λ/B' Σ_b F(x_b, y_b)                             with labels; λ is their share of images       (6)
//!        −α/B' Σ_b ln q(y_b|x_b)                           with labels: the classifier's own term        (9)
//! ```
//!
//! The numbers on the right are the paper's equations. Its α is 0.1 for a mean over images. Here it is
//! [`ALPHA`], because on the codes of MNIST with 100 labels 0.1 let classes be exchanged.
//!
//! # Layers
//!
//! ```text
//! classifier   linear Z→H · ReLU · linear H→L
//! encoder      linear Z→H + V[y] · ReLU · linear H→2K: μ_w, ln σ²_w
//! decoder      linear K→H + U[y] · ReLU · linear H→2Z: μ_x, ln σ²_x
//! ```
//!
//! A row of V or U for each class equals a linear layer's contribution for a condition that is 1 at y. In
//! this form, the first product is computed once per image and not once per class. Log-variances are bounded
//! by [`LOG_VARIANCE_BOUND`](crate::layers::shared::LOG_VARIANCE_BOUND) (their gradient is 0 beyond).
//!
//! The forward and backward pass are in [`pass`].

pub mod pass;

use serde::{Deserialize, Serialize};

use crate::layers::{
    Activation, Describe, Init, Layout, Linear, ParameterGradients, ParameterSpec, Parameters, Slot,
};
use crate::tensor::Element;

/// α, the weight of the classifier's own term, for a mean over images.
pub const ALPHA: f64 = 1.0;

/// Rows of a task.
const ROWS: usize = 64;
/// ln 2π.
const LN_2_PI: f64 = 1.837_877_066_409_345_3;

/// The configuration of an M2.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct M2Config {
    /// The names of the classes.
    pub labels: Vec<String>,
    /// H, the width of the hidden layers.
    pub hidden: usize,
    /// K, the dimensions of w.
    pub style: usize,
}

impl M2Config {
    /// The default sizes for these classes.
    pub fn new(labels: Vec<String>) -> Self {
        Self { labels, hidden: 256, style: 16 }
    }
}

/// The layers, with the positions of their parameters.
#[derive(Clone, Debug)]
pub struct M2 {
    classes: usize,
    hidden: usize,
    style: usize,
    latent: usize,
    /// Linear layers by name; V and U are the third parameters of the layers whose output they are added to.
    layers: [(&'static str, Linear); 6],
    slots: [Vec<Slot>; 6],
}

// The positions in `layers`.
const CLASSIFIER: usize = 0;
const ENCODER: usize = 2;
const DECODER: usize = 4;

/// The input of a step: codes, with and without labels, and draws of the normal distribution for w.
#[derive(Clone, Copy, Debug)]
pub struct M2Batch<'a, T> {
    /// B × Z codes without labels, then B' × Z with.
    pub codes: &'a [T],
    /// The classes of the last B' codes.
    pub labels: &'a [u32],
    /// (B + B') × K.
    pub noise: &'a [T],
    /// λ, the share of images that have a label.
    pub share: f64,
    /// α, the weight of the classifier's own term.
    pub alpha: f64,
}

/// The results of a step, in nats per image.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct M2Values {
    /// The whole loss.
    pub loss: f64,
    /// The bound on ln p(x) of codes without labels.
    pub bound: f64,
    /// −ln q(y|x) of codes with labels.
    pub cross_entropy: f64,
}

/// Memory for a step, allocated once. A row is an image with a class: B·L of those without labels, then B' of
/// the others.
#[derive(Debug)]
pub struct M2Space<T> {
    first: Vec<T>,     // [images, H] output of the first linear layers
    hidden: Vec<T>,    // [rows, H] of the encoder
    posterior: Vec<T>, // [rows, 2K] μ_w, ln σ²_w
    w: Vec<T>,         // [rows, K]
    back: Vec<T>,      // [rows, H] of the decoder
    output: Vec<T>,    // [rows, 2Z] μ_x, ln σ²_x
    bounds: Vec<T>,    // [rows] F, then ∂loss/∂F
    logits: Vec<T>,    // [images, L], then ∂loss/∂logits
    d_hidden: Vec<T>,  // [rows, H]
    d_w: Vec<T>,       // [rows, K]
}

impl<T: Element> M2Space<T> {
    /// Room for at most `plain` codes without labels and `labelled` with.
    pub fn new(m2: &M2, plain: usize, labelled: usize) -> Self {
        let M2 { classes, hidden, style, latent, .. } = *m2;
        let (images, rows) = (plain + labelled, plain * classes + labelled);
        let numbers = |len: usize| vec![T::ZERO; len];
        Self {
            first: numbers(images * hidden),
            hidden: numbers(rows * hidden),
            posterior: numbers(rows * 2 * style),
            w: numbers(rows * style),
            back: numbers(rows * hidden),
            output: numbers(rows * 2 * latent),
            bounds: numbers(rows),
            logits: numbers(images * classes),
            d_hidden: numbers(rows * hidden),
            d_w: numbers(rows * style),
        }
    }
}

impl M2 {
    /// The layers for codes of `latent` dimensions; their parameters do not have positions yet.
    pub fn new(config: &M2Config, latent: usize) -> Self {
        let (classes, hidden, style) = (config.labels.len(), config.hidden, config.style);
        let linear = |inputs, outputs| Linear::new(inputs, outputs, Activation::Identity);
        let layers = [
            ("m2.classifier.linear1", Linear::new(latent, hidden, Activation::Relu)),
            ("m2.classifier.linear2", linear(hidden, classes)),
            ("m2.encoder.linear1", linear(latent, hidden)),
            ("m2.encoder.linear2", linear(hidden, 2 * style)),
            ("m2.decoder.linear1", linear(style, hidden)),
            ("m2.decoder.linear2", linear(hidden, 2 * latent)),
        ];
        Self { classes, hidden, style, latent, layers, slots: Default::default() }
    }

    /// Assigns every parameter a position: `add` takes the parameters of a layer and returns where they lie.
    pub(super) fn place(&mut self, mut add: impl FnMut(Vec<ParameterSpec>) -> Vec<Slot>) {
        for (index, (name, layer)) in self.layers.iter().enumerate() {
            let mut parameters = layer.parameters();
            if [ENCODER, DECODER].contains(&index) {
                let (shape, init) = ([self.classes, self.hidden], Init::Uniform { fan_in: layer.inputs });
                let layout = Layout::plain(self.classes * self.hidden);
                parameters.push(ParameterSpec::new("label", &shape, layout, init));
            }
            parameters.iter_mut().for_each(|spec| spec.name = format!("{name}.{}", spec.name));
            self.slots[index] = add(parameters);
        }
    }

    /// Every layer with its name and its positions.
    pub fn for_each_layer<'a>(&'a self, mut visit: impl FnMut(&str, &'a dyn Describe, &'a [Slot])) {
        self.layers.iter().zip(&self.slots).for_each(|((name, layer), slots)| visit(name, layer, slots));
    }

    /// The size of an [`M2Space`] in numbers.
    pub fn space_len(&self, plain: usize, labelled: usize) -> usize {
        let (images, rows) = (plain + labelled, plain * self.classes + labelled);
        images * (self.hidden + self.classes)
            + rows * (3 * self.hidden + 4 * self.style + 2 * self.latent + 1)
    }

    /// K, the dimensions of w.
    pub fn style(&self) -> usize {
        self.style
    }

    /// q(y|x) for N × Z codes: N × L.
    ///
    /// # Panics
    /// If the length is not a whole number of codes.
    pub fn probabilities<T: Element>(&self, parameters: &[T], codes: &[T]) -> Vec<f64> {
        assert!(
            codes.len().is_multiple_of(self.latent),
            "{} numbers for codes of {}",
            codes.len(),
            self.latent
        );
        let images = codes.len() / self.latent;
        let (mut hidden, mut logits) =
            (vec![T::ZERO; images * self.hidden], vec![T::ZERO; images * self.classes]);
        self.apply(CLASSIFIER, parameters, codes, &mut hidden);
        self.apply(CLASSIFIER + 1, parameters, &hidden, &mut logits);
        let mut p: Vec<f64> = logits.iter().map(|a| a.to_f64()).collect();
        for row in p.chunks_exact_mut(self.classes) {
            let largest = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            row.iter_mut().for_each(|a| *a = libm::exp(*a - largest));
            let sum: f64 = row.iter().sum();
            row.iter_mut().for_each(|a| *a /= sum);
        }
        p
    }

    fn parameter<'a, T>(&'a self, layer: usize, index: usize, all: &'a [T]) -> &'a [T] {
        Parameters { all, slots: &self.slots[layer] }.get(index)
    }

    fn apply<T: Element>(&self, layer: usize, parameters: &[T], input: &[T], output: &mut [T]) {
        let (weight, bias) = (self.parameter(layer, 0, parameters), self.parameter(layer, 1, parameters));
        self.layers[layer].1.apply(input, weight, bias, output);
    }

    fn input_gradient<T: Element>(&self, layer: usize, parameters: &[T], d_output: &[T], d_input: &mut [T]) {
        self.layers[layer].1.input_gradient(self.parameter(layer, 0, parameters), d_output, T::ZERO, d_input);
    }

    fn parameter_gradients<T: Element>(&self, layer: usize, input: &[T], d_output: &[T], gradient: &mut [T]) {
        let mut gradients = ParameterGradients { all: gradient, slots: &self.slots[layer][..2] };
        self.layers[layer].1.parameter_gradients(input, d_output, &mut gradients.weight_and_bias());
    }
}

#[cfg(test)]
mod tests;

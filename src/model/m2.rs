//! M2: a classifier that learns from few labels and many images without (Kingma, Rezende, Mohamed & Welling 2014).
//!
//! It stands on the codes of a model without labels, as in the paper's section 2.3 ("M1+M2"): its x is a code that q(z|image) draws, and its own
//! code w says what the class leaves open.
//!
//! ```text
//! generate   p(y) = 1/L,  p(w) = N(0, 1),  p(x|w, y) = N(x; μ_x(w, y), σ²_x(w, y))
//! infer      q(y|x) = softmax(classifier(x)),  q(w|x, y) = N(w; μ_w(x, y), σ²_w(x, y))
//! bound      F(x, y) = ln p(x|w, y) − KL(q(w|x, y)‖p(w)) + ln p(y) ≤ ln p(x, y)           one draw of w
//!
//! loss = −1/B Σ_b Σ_y q(y|x_b)·(F(x_b, y) − ln q(y|x_b))       without labels: the sum over the classes, and the entropy of q(y|x)   (7)
//!        −λ/B' Σ_b F(x_b, y_b)                                 with labels; λ is their share of all images                          (6)
//!        −α/B' Σ_b ln q(y_b|x_b)                               with labels: the classifier learns from them directly                (9)
//! ```
//!
//! The numbers on the right are the paper's equations. Its α is 0.1 for a mean over images; here it is [`ALPHA`], as on the codes
//! of MNIST with 100 labels 0.1 let the classes change places.
//!
//! # Layers
//!
//! ```text
//! classifier   linear Z→H · ReLU · linear H→L
//! encoder      linear Z→H + V[y] · ReLU · linear H→2K: μ_w, ln σ²_w
//! decoder      linear K→H + U[y] · ReLU · linear H→2Z: μ_x, ln σ²_x
//! ```
//!
//! A row of V or U for each class is what a linear layer would add for a condition that is 1 at y. Written so, the first product is taken once
//! for an image and not once for each class. Logarithms of variances are kept within [`LOG_VARIANCE_BOUND`] (their gradient is 0 beyond).
//!
//! # Backward
//!
//! With G = F − ln q, the derivative of Σ_y q·G by the classifier's output k is q_k·(G_k − Σ_y q_y·G_y), since that of −ln q sums to 0; by
//! F(x, y) it is q(y|x). A row's F leads to, for r = x − μ_x and s = ln σ²,
//!
//! ```text
//! ∂F/∂μ_x = r·e^(−s_x)          ∂F/∂s_x = −½·(1 − r²·e^(−s_x))
//! ∂F/∂μ_w = −μ_w + ∂F/∂w        ∂F/∂s_w = −½·(e^(s_w) − 1) + ∂F/∂w·½·σ_w·ε
//! ```
//!
//! and through the layers as always. The codes are taken as given: no gradient leaves through x.

use std::ops::Range;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::layers::shared::LOG_VARIANCE_BOUND;
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

/// What has to be known to build an M2.
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

/// The layers, with the places of their parameters.
#[derive(Clone, Debug)]
pub struct M2 {
    classes: usize,
    hidden: usize,
    style: usize,
    latent: usize,
    /// Linear layers by name; V and U are the third parameters of those after which they are added.
    layers: [(&'static str, Linear); 6],
    slots: [Vec<Slot>; 6],
}

// The places in `layers`.
const CLASSIFIER: usize = 0;
const ENCODER: usize = 2;
const DECODER: usize = 4;

/// What a step is given: codes, with labels and without, and draws of the normal distribution for w.
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

/// What a step gave, in nats per image.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct M2Values {
    /// The whole loss.
    pub loss: f64,
    /// The bound on ln p(x) of codes without labels.
    pub bound: f64,
    /// −ln q(y|x) of codes with labels.
    pub cross_entropy: f64,
}

/// Memory for a step, made once. A row is an image with a class: B·L of those without labels, then B' of the others.
#[derive(Debug)]
pub struct M2Space<T> {
    first: Vec<T>,     // [images, H] what the first linear layers give
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
    /// The layers for codes of `latent` dimensions; their parameters have no places yet.
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

    /// Gives every parameter a place: `add` takes the parameters of a layer and tells where they lie.
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

    /// Every layer with its name and its places.
    pub fn for_each_layer<'a>(&'a self, mut visit: impl FnMut(&str, &'a dyn Describe, &'a [Slot])) {
        self.layers.iter().zip(&self.slots).for_each(|((name, layer), slots)| visit(name, layer, slots));
    }

    /// The numbers that an [`M2Space`] has.
    pub fn space_len(&self, plain: usize, labelled: usize) -> usize {
        let (images, rows) = (plain + labelled, plain * self.classes + labelled);
        images * (self.hidden + self.classes)
            + rows * (3 * self.hidden + 4 * self.style + 2 * self.latent + 1)
    }

    /// K, the dimensions of w.
    pub fn style(&self) -> usize {
        self.style
    }

    /// q(y|x) for codes, N × Z: N × L.
    ///
    /// # Panics
    /// If the numbers do not come out as whole codes.
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

    /// One forward and backward pass: the values, and the gradient of the loss in the places of M2's parameters in `gradient`.
    ///
    /// # Panics
    /// If the lengths do not fit each other, or the space is too small.
    pub fn gradients<T: Element>(
        &self,
        parameters: &[T],
        batch: M2Batch<'_, T>,
        gradient: &mut [T],
        space: &mut M2Space<T>,
    ) -> M2Values {
        let images = batch.codes.len() / self.latent;
        let plain = images - batch.labels.len();
        let rows = Rows { classes: self.classes, plain, labels: batch.labels };
        assert_eq!(batch.noise.len(), images * self.style, "draws for each code");
        self.bounds(parameters, batch, &rows, space);
        let values = self.classify(parameters, batch, &rows, gradient, space);
        self.backward(parameters, batch, &rows, gradient, space);
        values
    }

    /// F of every row, in `space.bounds`.
    fn bounds<T: Element>(
        &self,
        parameters: &[T],
        batch: M2Batch<'_, T>,
        rows: &Rows<'_>,
        space: &mut M2Space<T>,
    ) {
        let Self { hidden, style, latent, .. } = *self;
        let (n, s) = (rows.count(), space);
        let first = &mut s.first[..rows.images() * hidden];
        self.apply(ENCODER, parameters, batch.codes, first);
        let labels = self.parameter(ENCODER, 2, parameters);
        let h = &mut s.hidden[..n * hidden];
        h.par_chunks_mut(hidden).enumerate().with_min_len(ROWS).for_each(|(row, h)| {
            let (image, label) = rows.of(row);
            let parts = first[image * hidden..][..hidden].iter().zip(&labels[label * hidden..]);
            h.iter_mut().zip(parts).for_each(|(h, (&a, &v))| *h = relu(a + v));
        });
        let posterior = &mut s.posterior[..n * 2 * style];
        self.apply(ENCODER + 1, parameters, h, posterior);
        let w = &mut s.w[..n * style];
        w.par_chunks_mut(style)
            .zip(posterior.par_chunks_mut(2 * style))
            .enumerate()
            .with_min_len(ROWS)
            .for_each(|(row, (w, posterior))| {
                let (image, _) = rows.of(row);
                let (mu, log_variance) = posterior.split_at_mut(style);
                let noise = &batch.noise[image * style..][..style];
                for (((w, &m), s), &e) in w.iter_mut().zip(&*mu).zip(log_variance).zip(noise) {
                    *s = bounded(*s);
                    *w = (T::from_f64(0.5) * *s).exp() * e + m;
                }
            });
        let back = &mut s.back[..n * hidden];
        self.apply(DECODER, parameters, w, back);
        let labels = self.parameter(DECODER, 2, parameters);
        back.par_chunks_mut(hidden).enumerate().with_min_len(ROWS).for_each(|(row, h)| {
            let (_, label) = rows.of(row);
            h.iter_mut().zip(&labels[label * hidden..]).for_each(|(h, &u)| *h = relu(*h + u));
        });
        let output = &mut s.output[..n * 2 * latent];
        self.apply(DECODER + 1, parameters, back, output);
        let constant = T::from_f64(0.5 * latent as f64 * LN_2_PI + (self.classes as f64).ln());
        let half = T::from_f64(0.5);
        s.bounds[..n]
            .par_iter_mut()
            .zip(output.par_chunks_mut(2 * latent))
            .zip(posterior.par_chunks(2 * style))
            .enumerate()
            .with_min_len(ROWS)
            .for_each(|(row, ((bound, output), posterior))| {
                let (image, _) = rows.of(row);
                let (mu, log_variance) = output.split_at_mut(latent);
                let mut sum = T::ZERO;
                for ((&x, &m), s) in
                    batch.codes[image * latent..][..latent].iter().zip(&*mu).zip(log_variance)
                {
                    *s = bounded(*s);
                    sum += *s + (x - m) * (x - m) * (-*s).exp();
                }
                let (mu, log_variance) = posterior.split_at(style);
                for (&m, &s) in mu.iter().zip(log_variance) {
                    sum += m * m + s.exp() - T::ONE - s;
                }
                *bound = -(half * sum) - constant;
            });
    }

    /// The values, the classifier's gradient, and ∂loss/∂F in `space.bounds`.
    fn classify<T: Element>(
        &self,
        parameters: &[T],
        batch: M2Batch<'_, T>,
        rows: &Rows<'_>,
        gradient: &mut [T],
        space: &mut M2Space<T>,
    ) -> M2Values {
        let Self { classes, hidden, .. } = *self;
        let (images, s) = (rows.images(), space);
        let first = &mut s.first[..images * hidden];
        let logits = &mut s.logits[..images * classes];
        self.apply(CLASSIFIER, parameters, batch.codes, first);
        self.apply(CLASSIFIER + 1, parameters, first, logits);
        let mut values = M2Values::default();
        let (without, with) = (1.0 / rows.plain.max(1) as f64, 1.0 / rows.labels.len().max(1) as f64);
        let (plain_bounds, labelled_bounds) = s.bounds[..rows.count()].split_at_mut(rows.plain * classes);
        let (plain, labelled) = logits.split_at_mut(rows.plain * classes);
        for (row, bounds) in plain.chunks_exact_mut(classes).zip(plain_bounds.chunks_exact_mut(classes)) {
            log_softmax(row);
            // q and G replace ln q and F; then the mean of G under q is known, and both become gradients.
            let mut mean = T::ZERO;
            for (q, bound) in row.iter_mut().zip(&mut *bounds) {
                *bound += -*q;
                *q = q.exp();
                mean += *q * *bound;
            }
            values.bound += without * mean.to_f64();
            let scale = T::from_f64(-without);
            for (q, bound) in row.iter_mut().zip(bounds) {
                let share = scale * *q;
                (*q, *bound) = (share * (*bound - mean), share);
            }
        }
        let (alpha, share) = (T::from_f64(batch.alpha * with), T::from_f64(-batch.share * with));
        let mut labelled_bound = 0.0;
        let labelled = labelled.chunks_exact_mut(classes).zip(labelled_bounds).zip(rows.labels);
        for ((row, bound), &label) in labelled {
            log_softmax(row);
            values.cross_entropy -= with * row[label as usize].to_f64();
            labelled_bound += with * bound.to_f64();
            row.iter_mut().for_each(|q| *q = alpha * q.exp());
            row[label as usize] += -alpha;
            *bound = share;
        }
        values.loss = batch.alpha * values.cross_entropy - values.bound - batch.share * labelled_bound;
        let (weight, d_first) =
            (self.parameter(CLASSIFIER + 1, 0, parameters), &mut s.d_hidden[..images * hidden]);
        self.parameter_gradients(CLASSIFIER + 1, first, logits, gradient);
        self.layers[CLASSIFIER + 1].1.input_gradient(weight, logits, T::ZERO, d_first);
        Activation::Relu.backward(first, d_first);
        self.parameter_gradients(CLASSIFIER, batch.codes, d_first, gradient);
        values
    }

    /// The gradients of encoder and decoder, from ∂loss/∂F in `space.bounds`.
    fn backward<T: Element>(
        &self,
        parameters: &[T],
        batch: M2Batch<'_, T>,
        rows: &Rows<'_>,
        gradient: &mut [T],
        space: &mut M2Space<T>,
    ) {
        let Self { hidden, style, latent, .. } = *self;
        let (n, s, half) = (rows.count(), space, T::from_f64(0.5));
        let (d_bounds, bound) = (&s.bounds[..n], T::from_f64(LOG_VARIANCE_BOUND));
        let output = &mut s.output[..n * 2 * latent];
        output.par_chunks_mut(2 * latent).zip(d_bounds).enumerate().with_min_len(ROWS).for_each(
            |(row, (output, &d))| {
                let (image, _) = rows.of(row);
                let (mu, log_variance) = output.split_at_mut(latent);
                for ((&x, m), s) in batch.codes[image * latent..][..latent].iter().zip(mu).zip(log_variance) {
                    let (r, precision) = (x - *m, (-*s).exp());
                    *m = d * r * precision;
                    *s = if s.abs() < bound { d * half * (r * r * precision - T::ONE) } else { T::ZERO };
                }
            },
        );
        let (back, d_hidden) = (&s.back[..n * hidden], &mut s.d_hidden[..n * hidden]);
        self.parameter_gradients(DECODER + 1, back, output, gradient);
        self.input_gradient(DECODER + 1, parameters, output, d_hidden);
        d_hidden.par_chunks_mut(ROWS * hidden).zip(back.par_chunks(ROWS * hidden)).for_each(|(d, y)| {
            Activation::Relu.backward(y, d);
        });
        self.label_gradient(DECODER, rows, d_hidden, gradient);
        let (w, d_w) = (&s.w[..n * style], &mut s.d_w[..n * style]);
        self.parameter_gradients(DECODER, w, d_hidden, gradient);
        self.input_gradient(DECODER, parameters, d_hidden, d_w);
        let posterior = &mut s.posterior[..n * 2 * style];
        posterior
            .par_chunks_mut(2 * style)
            .zip(d_w.par_chunks(style))
            .zip(d_bounds)
            .enumerate()
            .with_min_len(ROWS)
            .for_each(|(row, ((posterior, d_w), &d))| {
                let (image, _) = rows.of(row);
                let (mu, log_variance) = posterior.split_at_mut(style);
                let noise = &batch.noise[image * style..][..style];
                for (((m, s), &dw), &e) in mu.iter_mut().zip(log_variance).zip(d_w).zip(noise) {
                    *m = dw - d * *m;
                    let sigma = (half * *s).exp();
                    let slope = half * (dw * sigma * e - d * (sigma * sigma - T::ONE));
                    *s = if s.abs() < bound { slope } else { T::ZERO };
                }
            });
        let h = &s.hidden[..n * hidden];
        self.parameter_gradients(ENCODER + 1, h, posterior, gradient);
        self.input_gradient(ENCODER + 1, parameters, posterior, d_hidden);
        d_hidden.par_chunks_mut(ROWS * hidden).zip(h.par_chunks(ROWS * hidden)).for_each(|(d, y)| {
            Activation::Relu.backward(y, d);
        });
        self.label_gradient(ENCODER, rows, d_hidden, gradient);
        let first = &mut s.first[..rows.images() * hidden];
        first.par_chunks_mut(hidden).enumerate().with_min_len(ROWS / 8).for_each(|(image, sum)| {
            sum.fill(T::ZERO);
            for d in d_hidden[hidden * rows.of_image(image).start..hidden * rows.of_image(image).end]
                .chunks_exact(hidden)
            {
                sum.iter_mut().zip(d).for_each(|(sum, &d)| *sum += d);
            }
        });
        self.parameter_gradients(ENCODER, batch.codes, first, gradient);
    }

    /// The gradient of V or U: the sum over the rows of each class.
    fn label_gradient<T: Element>(&self, layer: usize, rows: &Rows<'_>, d_hidden: &[T], gradient: &mut [T]) {
        let sums = &mut gradient[self.slots[layer][2].range.clone()];
        // A task for each class adds its rows in order.
        sums.par_chunks_mut(self.hidden).enumerate().for_each(|(class, sum)| {
            sum.fill(T::ZERO);
            let mut add = |row: usize| {
                let d = &d_hidden[row * self.hidden..][..self.hidden];
                sum.iter_mut().zip(d).for_each(|(sum, &d)| *sum += d);
            };
            (0..rows.plain).for_each(|image| add(image * rows.classes + class));
            let labelled = rows.labels.iter().enumerate().filter(|(_, label)| **label as usize == class);
            labelled.for_each(|(at, _)| add(rows.plain * rows.classes + at));
        });
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

/// Which image and class each row is.
struct Rows<'a> {
    classes: usize,
    plain: usize,
    labels: &'a [u32],
}

impl Rows<'_> {
    fn images(&self) -> usize {
        self.plain + self.labels.len()
    }

    fn count(&self) -> usize {
        self.plain * self.classes + self.labels.len()
    }

    /// The image and the class of a row.
    fn of(&self, row: usize) -> (usize, usize) {
        match row.checked_sub(self.plain * self.classes) {
            None => (row / self.classes, row % self.classes),
            Some(labelled) => (self.plain + labelled, self.labels[labelled] as usize),
        }
    }

    /// The rows of an image.
    fn of_image(&self, image: usize) -> Range<usize> {
        match image.checked_sub(self.plain) {
            None => image * self.classes..(image + 1) * self.classes,
            Some(labelled) => self.plain * self.classes + labelled..self.plain * self.classes + labelled + 1,
        }
    }
}

fn relu<T: Element>(value: T) -> T {
    if value > T::ZERO { value } else { T::ZERO }
}

/// A logarithm of a variance within its bound; NaN stays NaN.
fn bounded<T: Element>(s: T) -> T {
    let bound = T::from_f64(LOG_VARIANCE_BOUND);
    if s < -bound {
        -bound
    } else if s > bound {
        bound
    } else {
        s
    }
}

/// a ← a − ln Σ e^a.
fn log_softmax<T: Element>(row: &mut [T]) {
    let largest = row.iter().copied().fold(row[0], |a, b| if b > a { b } else { a });
    let mut sum = T::ZERO;
    row.iter().for_each(|&a| sum += (a - largest).exp());
    let shift = largest + sum.ln();
    row.iter_mut().for_each(|a| *a -= shift);
}

#[cfg(test)]
mod tests;

//! M2's forward and backward pass over a batch of codes: the bound of every row, the classifier's gradient,
//! and the gradients of encoder and decoder.
//!
//! With G = F − ln q, the derivative of Σ_y q·G by the classifier's output k is q_k·(G_k − Σ_y q_y·G_y),
//! since that of −ln q sums to 0; by F(x, y) it is q(y|x). The gradients of a row's F are, for r = x − μ_x
//! and s = ln σ²,
//!
//! ```text
//! ∂F/∂μ_x = r·e^(−s_x)          ∂F/∂s_x = −½·(1 − r²·e^(−s_x))
//! ∂F/∂μ_w = −μ_w + ∂F/∂w        ∂F/∂s_w = −½·(e^(s_w) − 1) + ∂F/∂w·½·σ_w·ε
//! ```
//!
//! and then through the layers as usual. The codes are constants: no gradient flows back through x.

use std::ops::Range;

use rayon::prelude::*;

use super::{CLASSIFIER, DECODER, ENCODER, LN_2_PI, M2, M2Batch, M2Space, M2Values, ROWS};
use crate::layers::Activation;
use crate::layers::shared::LOG_VARIANCE_BOUND;
use crate::tensor::Element;

impl M2 {
    /// One forward and backward pass: returns the values, and writes the gradient of the loss to the
    /// positions of M2's parameters in `gradient`.
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
}

/// The image and class of each row.
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

/// Bounds a log-variance; NaN stays NaN.
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

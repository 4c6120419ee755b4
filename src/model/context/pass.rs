//! The context network over a batch of whole images, for training and evaluation: all rows at once, then the
//! layers' products, and backward.
//!
//! ```text
//! forward    rows(images, features) → v       heres(images) → B·here + b       h₂ = relu(their sum) → numbers
//! backward   d_numbers → d_h₂ → d = d_h₂ where h₂ > 0                          d_v = Σ d over a pixel's C values → d_rows → d_features
//! ```
//!
//! The other inputs are the image's own values, which are data and need no gradient.

use super::{Context, FEATURES, Part};
use crate::kernels::simd::vectorized;
use crate::layers::{Backward, Describe, Forward, Layer, ParameterGradients, Parameters, Work};
use crate::tensor::Element;
use rayon::prelude::*;

/// The memory of the two passes besides images and features. It is allocated at the first use, because
/// decoding value by value does not need it.
#[derive(Debug)]
pub struct ContextSpace<T> {
    max_batch: usize,
    seen: Vec<T>,
    rows: Vec<T>,
    references: Vec<T>,
    kept: Vec<T>,
    v: Vec<T>,
    heres: Vec<T>,
    h2: Vec<T>,
    numbers: Vec<T>,
    d_rows: Vec<T>,
    d_v: Vec<T>,
    d_h2: Vec<T>,
    d_numbers: Vec<T>,
}

impl<T: Element> ContextSpace<T> {
    /// Memory for at most `max_batch` images.
    pub fn new(max_batch: usize) -> Self {
        let none = Vec::new;
        Self {
            max_batch,
            seen: none(),
            rows: none(),
            references: none(),
            kept: none(),
            v: none(),
            heres: none(),
            h2: none(),
            numbers: none(),
            d_rows: none(),
            d_v: none(),
            d_h2: none(),
            d_numbers: none(),
        }
    }
}

/// Makes a buffer long enough for `most` images of `len` numbers, and gives those of `batch`.
fn grown<T: Element>(buffer: &mut Vec<T>, most: usize, batch: usize, len: usize) -> &mut [T] {
    if buffer.len() < most * len {
        buffer.resize(most * len, T::ZERO);
    }
    &mut buffer[..batch * len]
}

/// Pixels that one task rectifies.
const PIXELS: usize = 256;

/// The numbers of one image in each buffer.
#[derive(Clone, Copy)]
struct Sizes {
    values: usize,
    rows: usize,
    references: usize,
    v: usize,
    heres: usize,
    h2: usize,
    numbers: usize,
}

impl<T: Element> Context<T> {
    fn sizes(&self) -> Sizes {
        let values = self.image.len();
        let pixels = values / self.image.channels;
        Sizes {
            values,
            rows: pixels * self.inputs.row_len(),
            references: pixels * self.inputs.reference_len(),
            v: pixels * self.hidden,
            heres: values * self.inputs.here_len(),
            h2: values * self.hidden,
            numbers: values * self.numbers,
        }
    }

    /// The numbers that a [`ContextSpace`] has after a forward pass over its largest batch.
    pub fn forward_len(&self, max_batch: usize) -> usize {
        let s = self.sizes();
        let own = s.values + s.rows + s.references + s.v + s.heres + s.h2 + s.numbers;
        self.pixel.network.kept_len(max_batch) + max_batch * own
    }

    /// The numbers that a backward pass adds.
    pub fn backward_len(&self, max_batch: usize) -> usize {
        let s = self.sizes();
        max_batch * (s.rows + s.v + s.h2 + s.numbers)
    }

    /// The likelihood's numbers of every value given those before it: `images` B × H·W·C, `features` B × H·W
    /// × F, `output` B × H·W·(m·C).
    pub fn forward(
        &self,
        images: &[T],
        features: &[T],
        output: &mut [T],
        parameters: &[T],
        space: &mut ContextSpace<T>,
        work: &mut Work<T>,
    ) {
        let (s, batch, most) = (self.sizes(), images.len() / self.image.len(), space.max_batch);
        let seen = grown(&mut space.seen, most, batch, s.values);
        let pairs = seen.par_iter_mut().with_min_len(1024).zip(images);
        pairs.for_each(|(seen, &value)| *seen = self.inputs.seen(value));
        let rows = grown(&mut space.rows, most, batch, s.rows);
        let references = grown(&mut space.references, most, batch, s.references);
        self.fill_rows(seen, features, rows, references);
        let v = grown(&mut space.v, most, batch, s.v);
        let network = &self.pixel.network;
        let kept = &mut grown(&mut space.kept, 1, 1, network.kept_len(most))[..network.kept_len(batch)];
        self.pixel.forward(batch, rows, v, parameters, kept, work);
        let h2 = grown(&mut space.h2, most, batch, s.h2);
        match &self.here {
            None => h2.fill(T::ZERO),
            Some(here) => {
                let heres = grown(&mut space.heres, most, batch, s.heres);
                self.fill_heres(seen, references, heres);
                here.forward(batch, heres, h2, parameters, &mut [], work);
            }
        }
        self.add_and_rectify(v, h2);
        let numbers = grown(&mut space.numbers, most, batch, s.numbers);
        self.value.forward(batch, h2, numbers, parameters, &mut [], work);
        self.place_all(seen, references, numbers);
        self.to_output(numbers, output);
    }

    /// The gradients of the network's parameters, into `gradient`, and of the features, from that of the
    /// output, after [`forward`](Self::forward) of the same batch. `spare` is memory between the layers
    /// ([`spare_len`](Self::spare_len)).
    #[allow(clippy::too_many_arguments)]
    pub fn backward(
        &self,
        d_output: &[T],
        d_features: &mut [T],
        parameters: &[T],
        gradient: &mut [T],
        space: &mut ContextSpace<T>,
        spare: &mut [T],
        work: &mut Work<T>,
    ) {
        let (s, batch, most) = (self.sizes(), d_features.len() / self.features_len(), space.max_batch);
        let mut given = Given { batch, parameters, gradient, spare, work };
        let d_numbers = grown(&mut space.d_numbers, most, batch, s.numbers);
        self.to_numbers(d_output, d_numbers);
        self.scale_means(&space.references[..batch * s.references], d_numbers);
        let (h2, numbers) = (&space.h2[..batch * s.h2], &space.numbers[..batch * s.numbers]);
        let d_h2 = grown(&mut space.d_h2, most, batch, s.h2);
        self.value.backward(h2, numbers, d_numbers, Some(&mut *d_h2), &[], &mut given);
        let d_v = grown(&mut space.d_v, most, batch, s.v);
        self.rectified_gradient(h2, d_h2, d_v);
        if let Some(here) = &self.here {
            // Its output was overwritten, but is not needed: the layer has no activation.
            here.backward(&space.heres[..batch * s.heres], h2, d_h2, None, &[], &mut given);
        }
        let d_rows = grown(&mut space.d_rows, most, batch, s.rows);
        let kept = &space.kept[..self.pixel.network.kept_len(batch)];
        let (rows, v) = (&space.rows[..batch * s.rows], &space.v[..batch * s.v]);
        self.pixel.backward(rows, v, d_v, Some(&mut *d_rows), kept, &mut given);
        let features = d_features.par_chunks_exact_mut(FEATURES).with_min_len(256);
        let len = self.inputs.row_len();
        features
            .zip(d_rows.par_chunks_exact(len))
            .for_each(|(d, row)| d.copy_from_slice(&row[len - FEATURES..]));
    }

    /// The rows and references of a batch.
    fn fill_rows(&self, seen: &[T], features: &[T], rows: &mut [T], references: &mut [T]) {
        let (s, row, reference) = (self.sizes(), self.inputs.row_len(), self.inputs.reference_len());
        let images = seen.par_chunks_exact(s.values).zip(features.par_chunks_exact(self.features_len()));
        let targets = rows.par_chunks_exact_mut(s.rows).zip(references.par_chunks_exact_mut(s.references));
        targets.zip(images).for_each(|((rows, references), (seen, features))| {
            vectorized!({
                let pixels = rows.chunks_exact_mut(row).zip(references.chunks_exact_mut(reference));
                for (pixel, (row, reference)) in pixels.enumerate() {
                    self.inputs.fill_row(seen, features, pixel, row, reference);
                }
            });
        });
    }

    /// The inputs of all values besides their pixels'.
    fn fill_heres(&self, seen: &[T], references: &[T], heres: &mut [T]) {
        let (s, len) = (self.sizes(), self.inputs.here_len());
        let images = seen.par_chunks_exact(s.values).zip(references.par_chunks_exact(s.references));
        heres.par_chunks_exact_mut(s.heres).zip(images).for_each(|(heres, (seen, references))| {
            for (at, here) in heres.chunks_exact_mut(len).enumerate() {
                self.inputs.fill_here(seen, at, self.reference(references, at), here);
            }
        });
    }

    /// The reference of a value's pixel.
    fn reference<'r>(&self, references: &'r [T], at: usize) -> &'r [T] {
        let len = self.inputs.reference_len();
        &references[at / self.image.channels * len..][..len]
    }

    /// h₂ ← relu(v + h₂), v of the value's pixel.
    fn add_and_rectify(&self, v: &[T], h2: &mut [T]) {
        let (n, pixel) = (self.hidden, self.hidden * self.image.channels);
        let tasks = h2.par_chunks_mut(PIXELS * pixel).zip(v.par_chunks(PIXELS * n));
        tasks.for_each(|(h2, v)| {
            vectorized!({
                for (h2, v) in h2.chunks_exact_mut(pixel).zip(v.chunks_exact(n)) {
                    for h2 in h2.chunks_exact_mut(n) {
                        for (h2, &v) in h2.iter_mut().zip(v) {
                            let sum = *h2 + v;
                            *h2 = if sum > T::ZERO { sum } else { T::ZERO };
                        }
                    }
                }
            });
        });
    }

    /// The transpose of [`add_and_rectify`](Self::add_and_rectify): d_h₂ ← d_h₂ where h₂ > 0, and d_v ← their
    /// sum over a pixel's values.
    fn rectified_gradient(&self, h2: &[T], d_h2: &mut [T], d_v: &mut [T]) {
        let (n, pixel) = (self.hidden, self.hidden * self.image.channels);
        let tasks = d_h2.par_chunks_mut(PIXELS * pixel).zip(h2.par_chunks(PIXELS * pixel));
        tasks.zip(d_v.par_chunks_mut(PIXELS * n)).for_each(|((d_h2, h2), d_v)| {
            vectorized!({
                let pixels = d_h2.chunks_exact_mut(pixel).zip(h2.chunks_exact(pixel));
                for ((d_h2, h2), d_v) in pixels.zip(d_v.chunks_exact_mut(n)) {
                    d_v.fill(T::ZERO);
                    for (d_h2, h2) in d_h2.chunks_exact_mut(n).zip(h2.chunks_exact(n)) {
                        for ((d, &h), sum) in d_h2.iter_mut().zip(h2).zip(&mut *d_v) {
                            *d = if h > T::ZERO { *d } else { T::ZERO };
                            *sum += *d;
                        }
                    }
                }
            });
        });
    }

    /// Adds means and log-scales of all values to their pixels' references.
    fn place_all(&self, seen: &[T], references: &[T], numbers: &mut [T]) {
        if self.placed.is_none() {
            return;
        }
        let s = self.sizes();
        let images = seen.par_chunks_exact(s.values).zip(references.par_chunks_exact(s.references));
        numbers.par_chunks_exact_mut(s.numbers).zip(images).for_each(|(numbers, (seen, references))| {
            for (at, numbers) in numbers.chunks_exact_mut(self.numbers).enumerate() {
                self.place(seen, at, self.reference(references, at), numbers);
            }
        });
    }

    /// The backward pass of [`place_all`](Self::place_all): the gradient of a mean is multiplied by its
    /// scale.
    fn scale_means(&self, references: &[T], d_numbers: &mut [T]) {
        let Some([means, _]) = &self.placed else { return };
        let s = self.sizes();
        let images = references.par_chunks_exact(s.references);
        d_numbers.par_chunks_exact_mut(s.numbers).zip(images).for_each(|(d_numbers, references)| {
            for (at, d) in d_numbers.chunks_exact_mut(self.numbers).enumerate() {
                let scale = self.inputs.scale(self.reference(references, at));
                d[means.clone()].iter_mut().for_each(|d| *d *= scale);
            }
        });
    }

    /// From the network's order, values × m, to the likelihood's, pixels × m × C.
    fn to_output(&self, numbers: &[T], output: &mut [T]) {
        let (m, channels) = (self.numbers, self.image.channels);
        let pixels = output.par_chunks_exact_mut(m * channels).with_min_len(256);
        pixels.zip(numbers.par_chunks_exact(m * channels)).for_each(|(output, numbers)| {
            for (place, number) in output.iter_mut().enumerate() {
                *number = numbers[place % channels * m + place / channels];
            }
        });
    }

    /// The transpose of [`to_output`](Self::to_output), for gradients.
    fn to_numbers(&self, output: &[T], numbers: &mut [T]) {
        let (m, channels) = (self.numbers, self.image.channels);
        let pixels = numbers.par_chunks_exact_mut(m * channels).with_min_len(256);
        pixels.zip(output.par_chunks_exact(m * channels)).for_each(|(numbers, output)| {
            for (place, &number) in output.iter().enumerate() {
                numbers[place % channels * m + place / channels] = number;
            }
        });
    }
}

/// The arguments of every layer's backward pass.
struct Given<'a, T> {
    batch: usize,
    parameters: &'a [T],
    gradient: &'a mut [T],
    spare: &'a mut [T],
    work: &'a mut Work<T>,
}

impl<T: Element> Part<T> {
    fn forward(
        &self,
        batch: usize,
        x: &[T],
        y: &mut [T],
        parameters: &[T],
        kept: &mut [T],
        work: &mut Work<T>,
    ) {
        let parameters = Parameters { all: parameters, slots: &self.slots };
        self.network.forward(x, y, Forward { batch, parameters, condition: &[], kept, work });
    }

    fn backward(
        &self,
        x: &[T],
        y: &[T],
        dy: &mut [T],
        dx: Option<&mut [T]>,
        kept: &[T],
        given: &mut Given<'_, T>,
    ) {
        let pass = Backward {
            batch: given.batch,
            parameters: Parameters { all: given.parameters, slots: &self.slots },
            gradients: ParameterGradients { all: &mut *given.gradient, slots: &self.slots },
            kept,
            spare: &mut *given.spare,
            work: &mut *given.work,
        };
        self.network.backward(x, y, dy, dx, pass);
    }
}

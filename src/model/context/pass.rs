//! The context network over a batch of whole images, as training and evaluation use it: all rows at once, then three products, and back.
//!
//! ```text
//! forward    rows(images, features) → numbers                          decode_given, through the three layers
//! backward   d_numbers → d_rows → d_features = Σ d_rows[features]      a pixel's features are in the rows of its C values
//! ```
//!
//! The gradient by the other inputs ends here: these are the image's own values, which are data.

use super::{Context, FEATURES, row_len};
use crate::layers::{Backward, Describe, Forward, Layer, ParameterGradients, Parameters, Work};
use crate::tensor::Element;
use rayon::prelude::*;

/// What the two passes read and write besides images and features. Nothing is allocated before the first use: decoding value by value needs
/// none of it.
#[derive(Debug)]
pub struct ContextSpace<T> {
    max_batch: usize,
    rows: Vec<T>,
    kept: Vec<T>,
    numbers: Vec<T>,
    d_rows: Vec<T>,
    d_numbers: Vec<T>,
}

impl<T: Element> ContextSpace<T> {
    /// Memory for at most `max_batch` images.
    pub fn new(max_batch: usize) -> Self {
        let none = Vec::new;
        Self { max_batch, rows: none(), kept: none(), numbers: none(), d_rows: none(), d_numbers: none() }
    }
}

/// Makes a buffer at least `len` long, and gives its first `used` numbers.
fn grown<T: Element>(buffer: &mut Vec<T>, len: usize, used: usize) -> &mut [T] {
    if buffer.len() < len {
        buffer.resize(len, T::ZERO);
    }
    &mut buffer[..used]
}

impl<T: Element> Context<T> {
    /// The numbers that a [`ContextSpace`] has after a forward pass over its largest batch.
    pub fn forward_len(&self, max_batch: usize) -> usize {
        let network = &self.network;
        network.kept_len(max_batch) + max_batch * (network.input().len() + network.output().len())
    }

    /// The numbers that a backward pass adds.
    pub fn backward_len(&self, max_batch: usize) -> usize {
        max_batch * (self.network.input().len() + self.network.output().len())
    }

    /// The likelihood's numbers of every value given those before it: `images` B × H·W·C, `features` B × H·W × F, `output` B × H·W·(m·C).
    pub fn forward(
        &self,
        images: &[T],
        features: &[T],
        output: &mut [T],
        parameters: &[T],
        space: &mut ContextSpace<T>,
        work: &mut Work<T>,
    ) {
        let (network, batch, most) = (&self.network, images.len() / self.image.len(), space.max_batch);
        let row = network.input().len();
        let rows = grown(&mut space.rows, most * row, batch * row);
        self.fill_rows(images, features, rows);
        let numbers = grown(&mut space.numbers, most * network.output().len(), output.len());
        let pass = Forward {
            batch,
            parameters: Parameters { all: parameters, slots: &self.slots },
            condition: &[],
            kept: grown(&mut space.kept, network.kept_len(most), network.kept_len(batch)),
            work,
        };
        network.forward(rows, numbers, pass);
        self.to_output(numbers, output);
    }

    /// The gradients of the network's parameters, into `gradient`, and of the features, from that of the output, after
    /// [`forward`](Self::forward) of the same batch. `spare` is memory between the layers ([`spare_len`](Describe::spare_len)).
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
        let (network, batch, most) = (&self.network, d_features.len() / self.features_len(), space.max_batch);
        let row = network.input().len();
        let d_numbers = grown(&mut space.d_numbers, most * network.output().len(), d_output.len());
        self.to_numbers(d_output, d_numbers);
        let d_rows = grown(&mut space.d_rows, most * row, batch * row);
        let pass = Backward {
            batch,
            parameters: Parameters { all: parameters, slots: &self.slots },
            gradients: ParameterGradients { all: gradient, slots: &self.slots },
            kept: &space.kept[..network.kept_len(batch)],
            spare,
            work,
        };
        let (rows, numbers) = (&space.rows[..batch * row], &space.numbers[..d_output.len()]);
        network.backward(rows, numbers, d_numbers, Some(&mut *d_rows), pass);
        self.features_gradient(d_rows, d_features);
    }

    /// The rows of a batch: `images` B × H·W·C, `features` B × H·W × F, `rows` B × H·W·C × row.
    fn fill_rows(&self, images: &[T], features: &[T], rows: &mut [T]) {
        let (values, len) = (self.image.len(), row_len(self.image.channels));
        let images = images.par_chunks_exact(values).zip(features.par_chunks_exact(self.features_len()));
        rows.par_chunks_exact_mut(values * len).zip(images).for_each(|(rows, (image, features))| {
            for (at, row) in rows.chunks_exact_mut(len).enumerate() {
                self.fill_row(image, features, at, row);
            }
        });
    }

    /// The gradient of the features: that of a pixel is the sum over its channels' rows.
    fn features_gradient(&self, d_rows: &[T], d_features: &mut [T]) {
        let len = row_len(self.image.channels);
        let pixels = d_features.par_chunks_exact_mut(FEATURES).with_min_len(256);
        pixels.zip(d_rows.par_chunks_exact(self.image.channels * len)).for_each(|(d, rows)| {
            d.fill(T::ZERO);
            for row in rows.chunks_exact(len) {
                d.iter_mut().zip(&row[len - FEATURES..]).for_each(|(d, &more)| *d += more);
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

//! The context network value by value, with the same bits for the writer and the reader of a file. Each sum
//! starts with the bias and adds the inputs in order, products and sums are rounded separately (no fused
//! multiply-add), and the only other function is max(0, x). (Predictions and scales of differences use only
//! rounded operations and one logarithm of our own.) So IEEE 754 defines every bit, and the result does not
//! depend on the batch or the threads.

use super::{Context, Part};
use crate::kernels::simd::vectorized;
use crate::loss::Likelihood;
use crate::tensor::{Element, ImageShape};
use rayon::prelude::*;

impl<T: Element> Context<T> {
    /// The network for single values in order. `parameters` are the model's.
    pub fn exact(&self, parameters: &[T]) -> Exact<'_, T> {
        let layer = |part: &Part<T>, index: usize| {
            let weight = &parameters[part.slots[2 * index].range.clone()];
            let bias = &parameters[part.slots[2 * index + 1].range.clone()];
            let (outputs, inputs) = (bias.len(), weight.len() / bias.len());
            let (columns, mut all) = (padded(outputs), bias.to_vec());
            all.resize(columns, T::ZERO);
            let mut transposed = vec![T::ZERO; inputs * columns];
            for (output, row) in weight.chunks_exact(inputs).enumerate() {
                for (input, &w) in row.iter().enumerate() {
                    transposed[input * columns + output] = w;
                }
            }
            (transposed, all)
        };
        Exact {
            context: self,
            pixel: [layer(&self.pixel, 0), layer(&self.pixel, 1)],
            here: self.here.as_ref().map(|here| layer(here, 0)),
            value: layer(&self.value, 0),
        }
    }
}

/// The outputs of a layer are padded with zeros to a multiple of this, for vectors.
const LANES: usize = 16;

fn padded(outputs: usize) -> usize {
    outputs.next_multiple_of(LANES)
}

/// Weight `[inputs][outputs]` and bias of a layer.
type Weights<T> = (Vec<T>, Vec<T>);

/// The context network with its weights as [`visit`](Self::visit) reads them.
#[derive(Debug)]
pub struct Exact<'a, T> {
    context: &'a Context<T>,
    pixel: [Weights<T>; 2],
    here: Option<Weights<T>>,
    value: Weights<T>,
}

impl<T: Element> Exact<'_, T> {
    /// Visits an image's values in order: `value` gets the position and the m numbers of each, and returns
    /// the value, which is an input of the next ones. The previous content of `image` is ignored.
    pub fn visit(&self, features: &[T], image: &mut [T], mut value: impl FnMut(usize, &[T]) -> T) {
        let c = self.context;
        let zeros = |len: usize| vec![T::ZERO; len];
        let (mut row, mut reference) = (zeros(c.inputs.row_len()), zeros(c.inputs.reference_len()));
        let mut here = zeros(c.inputs.here_len());
        let hidden = padded(c.hidden);
        let (mut h1, mut v, mut h2) = (zeros(hidden), zeros(hidden), zeros(hidden));
        let (mut numbers, mut seen) = (zeros(padded(c.numbers)), zeros(image.len()));
        for at in 0..c.image.len() {
            if at % c.image.channels == 0 {
                c.inputs.fill_row(&seen, features, at / c.image.channels, &mut row, &mut reference);
                apply(&self.pixel[0], &row, &mut h1);
                rectify(&mut h1);
                apply(&self.pixel[1], &h1, &mut v);
            }
            match &self.here {
                None => h2.copy_from_slice(&v),
                Some(weights) => {
                    c.inputs.fill_here(&seen, at, &reference, &mut here);
                    apply(weights, &here, &mut h2);
                    h2.iter_mut().zip(&v).for_each(|(h2, &v)| *h2 += v);
                }
            }
            rectify(&mut h2);
            apply(&self.value, &h2, &mut numbers);
            let numbers = &mut numbers[..c.numbers];
            c.place(&seen, at, &reference, numbers);
            image[at] = value(at, numbers);
            seen[at] = c.inputs.seen(image[at]);
        }
    }

    /// Images value by value, each the mean of its distribution, rounded to a byte, given those before it:
    /// `features` B × H·W × F, `images` B × H·W·C.
    pub fn means(&self, likelihood: &Likelihood, features: &[T], images: &mut [T]) {
        let c = self.context;
        let images = images.par_chunks_exact_mut(c.image.len());
        images.zip(features.par_chunks_exact(c.features_len())).for_each(|(image, features)| {
            self.visit(features, image, |_, numbers| {
                let mut mean = [T::ZERO];
                likelihood.means(numbers, ImageShape::new(1, 1, 1), &mut mean);
                T::from_f64((mean[0].to_f64() * 255.0).round() / 255.0)
            });
        });
    }
}

/// y = W·x + b: each sum starts with the bias and takes the inputs in order. The rest of `x` is not read.
fn apply<T: Element>((weight, bias): &Weights<T>, x: &[T], y: &mut [T]) {
    vectorized!({
        let mut first = 0;
        while first < bias.len() {
            first += match bias.len() - first {
                64.. => sums::<T, 64>(weight, bias, first, x, y),
                _ => sums::<T, LANES>(weight, bias, first, x, y),
            };
        }
    });
}

/// N sums from `first` on, side by side in registers: the order between different sums is free.
#[inline(always)]
fn sums<T: Element, const N: usize>(weight: &[T], bias: &[T], first: usize, x: &[T], y: &mut [T]) -> usize {
    let mut sums: [T; N] = std::array::from_fn(|i| bias[first + i]);
    for (&x, weights) in x.iter().zip(weight.chunks_exact(bias.len())) {
        sums.iter_mut().zip(&weights[first..first + N]).for_each(|(sum, &w)| *sum += w * x);
    }
    y[first..first + N].copy_from_slice(&sums);
    N
}

fn rectify<T: Element>(numbers: &mut [T]) {
    for number in numbers {
        if !(*number > T::ZERO) {
            *number = T::ZERO;
        }
    }
}

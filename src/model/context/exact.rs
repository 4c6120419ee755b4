//! The context network value by value, with the same bits for whoever writes a file and whoever reads it: each sum starts with the bias and
//! takes the inputs in order, a product and a sum are rounded one by one (no fused multiply-add), and the only other function is max(0, x).
//! IEEE 754 then leaves no choice to the processor, and neither batch nor threads enter.

use super::{Context, row_len};
use crate::loss::Likelihood;
use crate::tensor::{Element, ImageShape};
use rayon::prelude::*;

impl<T: Element> Context<T> {
    /// The network for one value after the other. `parameters` are the model's.
    pub fn exact(&self, parameters: &[T]) -> Exact<'_, T> {
        let sizes = [
            (row_len(self.image.channels), self.hidden),
            (self.hidden, self.hidden),
            (self.hidden, self.numbers),
        ];
        let layers = std::array::from_fn(|k| {
            let (inputs, outputs) = sizes[k];
            let weight = &parameters[self.slots[2 * k].range.clone()];
            let transposed = (0..inputs * outputs).map(|i| weight[i % outputs * inputs + i / outputs]);
            (transposed.collect(), parameters[self.slots[2 * k + 1].range.clone()].to_vec())
        });
        Exact { context: self, layers }
    }
}

/// The context network with its weights as [`visit`](Self::visit) reads them.
#[derive(Debug)]
pub struct Exact<'a, T> {
    context: &'a Context<T>,
    /// Weight `[inputs][outputs]` and bias of each layer.
    layers: [(Vec<T>, Vec<T>); 3],
}

impl<T: Element> Exact<'_, T> {
    /// Visits an image's values in order: `value` gets the position and the m numbers of each, and returns the value, which the next ones see.
    /// What lies in `image` before does not matter.
    pub fn visit(&self, features: &[T], image: &mut [T], mut value: impl FnMut(usize, &[T]) -> T) {
        let c = self.context;
        let mut row = vec![T::ZERO; row_len(c.image.channels)];
        let (mut h1, mut h2) = (vec![T::ZERO; c.hidden], vec![T::ZERO; c.hidden]);
        let mut numbers = vec![T::ZERO; c.numbers];
        for at in 0..c.image.len() {
            c.fill_row(image, features, at, &mut row);
            apply(&self.layers[0], &row, &mut h1);
            rectify(&mut h1);
            apply(&self.layers[1], &h1, &mut h2);
            rectify(&mut h2);
            apply(&self.layers[2], &h2, &mut numbers);
            image[at] = value(at, &numbers);
        }
    }

    /// Images value by value, each the mean of its distribution, rounded to a byte, given those before it: `features` B × H·W × F, `images`
    /// B × H·W·C.
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

/// y = W·x + b: each sum starts with the bias and takes the inputs in order.
fn apply<T: Element>((weight, bias): &(Vec<T>, Vec<T>), x: &[T], y: &mut [T]) {
    y.copy_from_slice(bias);
    for (&x, weights) in x.iter().zip(weight.chunks_exact(bias.len())) {
        y.iter_mut().zip(weights).for_each(|(y, &w)| *y += w * x);
    }
}

fn rectify<T: Element>(numbers: &mut [T]) {
    for number in numbers {
        if !(*number > T::ZERO) {
            *number = T::ZERO;
        }
    }
}

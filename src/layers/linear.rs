//! The fully connected layer: y = x·Wᵀ + b for each image.
//!
//! ```text
//! forward           Y [B×out] = X [B×in] · Wᵀ + 1·bᵀ
//! weight gradient  dW [out×in] = dYᵀ · X        each weight met one input and fed one output in every image
//! bias gradient    db [out]    = Σ over images of dY
//! input gradient   dX [B×in]   = dY · W
//! ```
//!
//! Derivation: L depends on W through yᵢ = Σⱼ Wᵢⱼ xⱼ + bᵢ, so ∂L/∂Wᵢⱼ = Σ over images of dyᵢ·xⱼ and ∂L/∂xⱼ = Σᵢ dyᵢ·Wᵢⱼ. The
//! convolutions are these same three products, with columns in the place of X.
//!
//! W is [out, in], as in PyTorch. With `transposed` the layer reads a weight that lies in memory as [in, out]: the way
//! back of a layer whose weight it shares.

use rayon::prelude::*;

use super::{Activation, Gradients, add_rows};
use crate::kernels::gemm::{Matrix, MatrixMut, nothing, product};
use crate::tensor::Element;

/// The sizes of a fully connected layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Linear {
    /// Numbers per image that come in.
    pub inputs: usize,
    /// Numbers per image that go out.
    pub outputs: usize,
    /// Whether the weight lies in memory as `[inputs][outputs]`, because the layer that it belongs to goes the other way.
    pub transposed: bool,
}

impl Linear {
    /// A layer with a weight of its own.
    pub fn new(inputs: usize, outputs: usize) -> Self {
        Self { inputs, outputs, transposed: false }
    }

    /// A layer that uses the weight of a layer from `outputs` to `inputs`.
    pub fn with_weight_of(reversed: &Self) -> Self {
        Self { inputs: reversed.outputs, outputs: reversed.inputs, transposed: !reversed.transposed }
    }

    /// W as a matrix `[outputs × inputs]`, however it lies in memory.
    fn weight<'a, T: Element>(&self, weight: &'a [T]) -> Matrix<'a, T> {
        if self.transposed {
            Matrix::new(weight, self.inputs, self.outputs).transposed()
        } else {
            Matrix::new(weight, self.outputs, self.inputs)
        }
    }

    /// output ← activation(input·Wᵀ + bias), for a batch: `input` is B × inputs, `output` B × outputs.
    pub fn forward<T: Element>(
        &self,
        input: &[T],
        weight: &[T],
        bias: &[T],
        activation: Activation,
        output: &mut [T],
    ) {
        let batch = output.len() / self.outputs;
        let x = Matrix::new(input, batch, self.inputs);
        let y = MatrixMut::new(output, batch, self.outputs);
        product(x, self.weight(weight).transposed(), T::ZERO, y, &|mut piece: MatrixMut<'_, T>, first| {
            for row in 0..piece.rows() {
                let values = piece.row(row);
                let width = values.len();
                activation.forward_with_bias(values, &bias[first..first + width]);
            }
        });
    }

    /// The three gradients. `output` is what `forward` gave; `d_output` comes in as the gradient of it and leaves as the gradient
    /// before the activation.
    pub fn backward<T: Element>(
        &self,
        input: &[T],
        output: &[T],
        weight: &[T],
        activation: Activation,
        d_output: &mut [T],
        gradients: &mut Gradients<'_, T>,
        d_input: Option<&mut [T]>,
    ) {
        self.activation_gradient(output, activation, d_output);
        self.parameter_gradients(input, d_output, gradients);
        if let Some(d_input) = d_input {
            self.input_gradient(weight, d_output, T::ZERO, d_input);
        }
    }

    fn activation_gradient<T: Element>(&self, output: &[T], activation: Activation, d_output: &mut [T]) {
        if activation != Activation::Identity {
            const ROWS: usize = 16;
            let pieces = d_output.par_chunks_mut(ROWS * self.outputs);
            pieces.zip(output.par_chunks(ROWS * self.outputs)).for_each(|(d, y)| activation.backward(y, d));
        }
    }

    /// dW = dYᵀ·X and db = Σ dY, from the gradient before the activation.
    pub fn parameter_gradients<T: Element>(
        &self,
        input: &[T],
        d_output: &[T],
        gradients: &mut Gradients<'_, T>,
    ) {
        let batch = d_output.len() / self.outputs;
        let x = Matrix::new(input, batch, self.inputs);
        let dy = Matrix::new(d_output, batch, self.outputs);
        let beta = if gradients.accumulate { T::ONE } else { T::ZERO };
        if self.transposed {
            // In memory the weight is [in, out], and (dYᵀ·X)ᵀ = Xᵀ·dY.
            let dw = MatrixMut::new(gradients.weight, self.inputs, self.outputs);
            product(x.transposed(), dy, beta, dw, &nothing);
        } else {
            let dw = MatrixMut::new(gradients.weight, self.outputs, self.inputs);
            product(dy.transposed(), x, beta, dw, &nothing);
        }
        gradients.bias.fill(T::ZERO);
        add_rows(d_output, gradients.bias);
    }

    /// dX = dY·W + `beta`·dX.
    pub fn input_gradient<T: Element>(&self, weight: &[T], d_output: &[T], beta: T, d_input: &mut [T]) {
        let batch = d_output.len() / self.outputs;
        let dy = Matrix::new(d_output, batch, self.outputs);
        let dx = MatrixMut::new(d_input, batch, self.inputs);
        product(dy, self.weight(weight), beta, dx, &nothing);
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::gradient_check::{check, random_vec};

    #[test]
    pub(crate) fn gradients_over_sizes_batches_and_activations() {
        let activations = [Activation::Identity, Activation::Relu, Activation::Sigmoid, Activation::Tanh];
        for (case, &(inputs, outputs, batch)) in
            [(1, 1, 1), (3, 5, 2), (7, 4, 3), (2, 70, 2)].iter().enumerate()
        {
            for transposed in [false, true] {
                let layer = Linear { inputs, outputs, transposed };
                let activation = activations[case];
                let seed = 10 * case as u64;
                let x = random_vec(seed, batch * inputs);
                let w = random_vec(seed + 1, inputs * outputs);
                let b = random_vec(seed + 2, outputs);
                let upstream = random_vec(seed + 3, batch * outputs);
                let objective = |x: &[f64], w: &[f64], b: &[f64]| -> f64 {
                    let mut y = vec![0.0; batch * outputs];
                    layer.forward(x, w, b, activation, &mut y);
                    y.iter().zip(&upstream).map(|(y, u)| y * u).sum()
                };
                let mut y = vec![0.0; batch * outputs];
                layer.forward(&x, &w, &b, activation, &mut y);
                let (mut d, mut dx) = (upstream.clone(), vec![f64::NAN; x.len()]);
                let (mut dw, mut db) = (vec![1.0; w.len()], vec![f64::NAN; b.len()]);
                let mut gradients = Gradients { weight: &mut dw, bias: &mut db, accumulate: true };
                layer.backward(&x, &y, &w, activation, &mut d, &mut gradients, Some(&mut dx));
                dw.iter_mut().for_each(|v| *v -= 1.0); // accumulated onto ones
                let name = format!("{layer:?} batch {batch} {activation:?}");
                check(&name, &mut x.clone(), &dx, |x| objective(x, &w, &b));
                check(&name, &mut w.clone(), &dw, |w| objective(&x, w, &b));
                check(&name, &mut b.clone(), &db, |b| objective(&x, &w, b));
            }
        }
    }

    #[test]
    fn the_way_back_multiplies_by_the_transposed_weight() {
        let there = Linear::new(2, 3);
        let back = Linear::with_weight_of(&there);
        let weight = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]; // rows (1 2), (3 4), (5 6)
        let mut y = [0.0; 2];
        back.forward(&[1.0, 0.0, 1.0], &weight, &[0.0; 2], Activation::Identity, &mut y);
        assert_eq!(y, [6.0, 8.0]);
    }
}

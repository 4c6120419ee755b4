//! The fully connected layer: y = x·Wᵀ + b for each image.
//!
//! ```text
//! forward           Y [B×out] = X [B×in] · Wᵀ + 1·bᵀ
//! weight gradient  dW [out×in] = dYᵀ · X        each weight met one input and fed one output in every image
//! bias gradient    db [out]    = Σ over images of dY
//! input gradient   dX [B×in]   = dY · W
//! ```
//!
//! Derivation: L depends on W through yᵢ = Σⱼ Wᵢⱼ xⱼ + bᵢ, so ∂L/∂Wᵢⱼ = Σ over images of dyᵢ·xⱼ and ∂L/∂xⱼ =
//! Σᵢ dyᵢ·Wᵢⱼ. The convolutions consist of the same three products, with columns in the place of X.
//!
//! W is [out, in], as in PyTorch. With `transposed` the layer reads a weight that is stored as [in, out],
//! which it shares with a layer in the opposite direction.
//!
//! If the input or the output is an image, the layer takes its numbers in their order in memory, channels
//! last. PyTorch flattens channels first, so in files the weight's rows or columns have another order.

use rayon::prelude::*;

use super::work::add_rows;
use super::{
    Activation, Backward, Describe, Forward, Gradients, Init, Layer, Layout, ParameterSpec, Steps, Torch,
};
use crate::kernels::gemm::{Matrix, MatrixMut, nothing, product};
use crate::kernels::precision::Precision;
use crate::tensor::{Element, ImageShape};

/// A fully connected layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Linear {
    /// Inputs per image.
    pub inputs: usize,
    /// Outputs per image.
    pub outputs: usize,
    /// The shape of the image at the start of the input, if there is one.
    pub from_image: Option<ImageShape>,
    /// The shape of the output, if it is an image.
    pub to_image: Option<ImageShape>,
    /// Whether the weight is stored as `[inputs][outputs]`, because it belongs to a layer in the opposite
    /// direction.
    pub transposed: bool,
    /// The activation of the output.
    pub activation: Activation,
}

impl Linear {
    /// From one vector to another.
    pub fn new(inputs: usize, outputs: usize, activation: Activation) -> Self {
        Self { inputs, outputs, from_image: None, to_image: None, transposed: false, activation }
    }

    /// From an image to a vector.
    pub fn from_image(image: ImageShape, outputs: usize, activation: Activation) -> Self {
        Self { from_image: Some(image), ..Self::new(image.len(), outputs, activation) }
    }

    /// From an image and `more` numbers after it to a vector.
    pub fn from_image_and_vector(
        image: ImageShape,
        more: usize,
        outputs: usize,
        activation: Activation,
    ) -> Self {
        Self { from_image: Some(image), ..Self::new(image.len() + more, outputs, activation) }
    }

    /// From a vector to an image.
    pub fn to_image(inputs: usize, image: ImageShape, activation: Activation) -> Self {
        Self { to_image: Some(image), ..Self::new(inputs, image.len(), activation) }
    }

    /// The same layer with the weight of a layer in the opposite direction.
    pub fn with_reversed_weight(self) -> Self {
        Self { transposed: true, ..self }
    }

    /// W as a matrix `[outputs × inputs]`, for both orders in memory.
    fn weight<'a, T: Element>(&self, weight: &'a [T]) -> Matrix<'a, T> {
        if self.transposed {
            Matrix::new(weight, self.inputs, self.outputs).transposed()
        } else {
            Matrix::new(weight, self.outputs, self.inputs)
        }
    }

    /// output ← activation(input·Wᵀ + bias), for a batch: `input` is B × inputs, `output` B × outputs.
    pub fn apply<T: Element>(&self, input: &[T], weight: &[T], bias: &[T], output: &mut [T]) {
        self.apply_in(Precision::Single, input, weight, bias, output);
    }

    fn apply_in<T: Element>(
        &self,
        precision: Precision,
        input: &[T],
        weight: &[T],
        bias: &[T],
        output: &mut [T],
    ) {
        let batch = output.len() / self.outputs;
        let x = Matrix::new(input, batch, self.inputs);
        let y = MatrixMut::new(output, batch, self.outputs);
        let weight = self.weight(weight).transposed();
        product(precision, x, weight, T::ZERO, y, &|mut piece: MatrixMut<'_, T>, first| {
            for row in 0..piece.rows() {
                let values = piece.row(row);
                let width = values.len();
                self.activation.forward_with_bias(values, &bias[first..first + width]);
            }
        });
    }

    /// d ← the gradient before the activation.
    fn activation_gradient<T: Element>(&self, output: &[T], d_output: &mut [T]) {
        if self.activation != Activation::Identity {
            const ROWS: usize = 16;
            let pieces = d_output.par_chunks_mut(ROWS * self.outputs);
            pieces
                .zip(output.par_chunks(ROWS * self.outputs))
                .for_each(|(d, y)| self.activation.backward(y, d));
        }
    }

    /// dW = dYᵀ·X and db = Σ dY, from the gradient before the activation.
    pub fn parameter_gradients<T: Element>(
        &self,
        input: &[T],
        d_output: &[T],
        gradients: &mut Gradients<'_, T>,
    ) {
        self.parameter_gradients_in(Precision::Single, input, d_output, gradients);
    }

    fn parameter_gradients_in<T: Element>(
        &self,
        precision: Precision,
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
            product(precision, x.transposed(), dy, beta, dw, &nothing);
        } else {
            let dw = MatrixMut::new(gradients.weight, self.outputs, self.inputs);
            product(precision, dy.transposed(), x, beta, dw, &nothing);
        }
        gradients.bias.fill(T::ZERO);
        add_rows(d_output, gradients.bias);
    }

    /// dX = dY·W + `beta`·dX.
    pub fn input_gradient<T: Element>(&self, weight: &[T], d_output: &[T], beta: T, d_input: &mut [T]) {
        self.input_gradient_in(Precision::Single, weight, d_output, beta, d_input);
    }

    fn input_gradient_in<T: Element>(
        &self,
        precision: Precision,
        weight: &[T],
        d_output: &[T],
        beta: T,
        d_input: &mut [T],
    ) {
        let batch = d_output.len() / self.outputs;
        let dy = Matrix::new(d_output, batch, self.outputs);
        let dx = MatrixMut::new(d_input, batch, self.inputs);
        product(precision, dy, self.weight(weight), beta, dx, &nothing);
    }
}

impl Describe for Linear {
    fn input(&self) -> ImageShape {
        self.from_image.filter(|image| image.len() == self.inputs).unwrap_or(ImageShape::vector(self.inputs))
    }

    fn output(&self) -> ImageShape {
        self.to_image.unwrap_or(ImageShape::vector(self.outputs))
    }

    fn parameters(&self) -> Vec<ParameterSpec> {
        let layout = match (self.from_image, self.to_image) {
            (Some(image), _) => Layout {
                outer: self.outputs,
                pixels: image.pixels(),
                channels: image.channels,
                inner: 1,
                tail: self.inputs - image.len(),
            },
            (None, Some(image)) => Layout {
                outer: 1,
                pixels: image.pixels(),
                channels: image.channels,
                inner: self.inputs,
                tail: 0,
            },
            (None, None) => Layout::plain(self.outputs * self.inputs),
        };
        let bias = match self.to_image {
            Some(image) => Layout { pixels: image.pixels(), channels: image.channels, ..Layout::plain(1) },
            None => Layout::plain(self.outputs),
        };
        let init = Init::Uniform { fan_in: self.inputs };
        vec![
            ParameterSpec::new("weight", &[self.outputs, self.inputs], layout, init),
            ParameterSpec::new("bias", &[self.outputs], bias, init),
        ]
    }

    fn flops(&self) -> usize {
        2 * self.inputs * self.outputs
    }

    fn summary(&self) -> String {
        "linear".into()
    }

    fn activation(&self) -> Activation {
        self.activation
    }

    fn torch(&self, name: &str, torch: &mut Torch<'_>) {
        torch.need_vector();
        let constructor = format!("nn.Linear({}, {})", self.inputs, self.outputs);
        let call = torch.module(name, constructor, self.outputs, "F.linear({x}, {weight}.t(), {bias})");
        torch.apply(call, self.activation, Describe::output(self));
    }

    fn steps(&self, name: &str, steps: &mut Steps<'_>) {
        let transposed = usize::from(self.transposed);
        let sizes = [("inputs", self.inputs), ("outputs", self.outputs), ("transposed", transposed)];
        steps.push_weighted("linear", &sizes, name, self.activation);
    }
}

impl<T: Element> Layer<T> for Linear {
    fn forward(&self, x: &[T], y: &mut [T], pass: Forward<'_, T>) {
        let (weight, bias) = (pass.parameters.get(0), pass.parameters.get(1));
        self.apply_in(pass.work.precision, x, weight, bias, y);
    }

    fn backward(&self, x: &[T], y: &[T], dy: &mut [T], dx: Option<&mut [T]>, mut pass: Backward<'_, T>) {
        self.activation_gradient(y, dy);
        let precision = pass.work.precision;
        self.parameter_gradients_in(precision, x, dy, &mut pass.gradients.weight_and_bias());
        if let Some(dx) = dx {
            self.input_gradient_in(precision, pass.parameters.get(0), dy, T::ZERO, dx);
        }
    }
}

#[cfg(test)]
pub(crate) fn examples() -> Vec<super::proof::Example> {
    use super::proof::Example;
    use Activation::{Identity, Relu, Sigmoid, Tanh};
    let image = ImageShape::new(3, 2, 2);
    let mut examples = Vec::new();
    for (case, (inputs, outputs, batch)) in
        [(1, 1, 1), (3, 5, 2), (7, 4, 3), (2, 70, 2)].into_iter().enumerate()
    {
        let layer = Linear::new(inputs, outputs, [Identity, Relu, Sigmoid, Tanh][case]);
        examples.push(Example::new(layer, batch));
        examples.push(Example::new(layer.with_reversed_weight(), batch).tied());
    }
    examples.push(Example::new(Linear::from_image(image, 4, Tanh), 3));
    examples.push(Example::new(Linear::to_image(5, image, Sigmoid), 2));
    examples
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_back_multiplies_by_the_transposed_weight() {
        let back = Linear::new(3, 2, Activation::Identity).with_reversed_weight();
        let weight = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]; // rows (1 2), (3 4), (5 6)
        let mut y = [0.0; 2];
        back.apply(&[1.0, 0.0, 1.0], &weight, &[0.0; 2], &mut y);
        assert_eq!(y, [6.0, 8.0]);
    }
}

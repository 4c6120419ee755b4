//! Transposed convolution: [`conv2d`](super::conv2d) with its passes reversed.
//!
//! It takes the geometry of the convolution that it reverses, and maps the small side of that convolution to
//! the large side. As a linear map it is the transpose of the convolution: its forward pass is the
//! convolution's input gradient, and its input gradient is the convolution's forward pass (Zeiler et al.
//! 2010; Dumoulin & Visin 2016, section 4). With S channels on the small side, C on the large, the weight W
//! `[S × K·K·C]` (the convolution's own layout, so the two can share it), and for the large side's gradient
//! D̂ = im2col(dY):
//!
//! ```text
//! forward           Y              = col2im(X · W) + b      each small pixel adds a K×K patch
//! input gradient   dX [places×S]   = D̂ · Wᵀ                 a convolution of dY
//! weight gradient  dW [S×K·K·C]    = Xᵀ · D̂                 the convolution's dYᵀ·X̂ with the roles exchanged
//! bias gradient    db [C]          = Σ over pixels and images of dY
//! ```
//!
//! The products are the convolution's own, in `patches`. No inserted zeros are multiplied, and odd sizes are
//! restored exactly, without an `output_padding`.
//!
//! If the kernel covers the whole image (the article's first upsampling, from 1×1), every patch is an image
//! and the layer is a plain product. Then the weight is far larger than the batch, and the product is divided
//! along the weight instead of the batch.
//!
//! W is stored in memory as `[S][KH][KW][C]`, and converted to PyTorch's `[S, C, KH, KW]` for files.

use rayon::prelude::*;

use super::conv2d::{convolution_arguments, geometry_sizes, kernel_parameters};
use super::patches::Patches;
use super::torch::pair;
use super::work::{add_partials, add_rows, task_images};
use super::{
    Activation, Backward, Describe, Forward, Gradients, Layer, ParameterSpec, Steps, Torch, Work, WorkLen,
};
use crate::kernels::gemm::{Matrix, MatrixMut, nothing, product};
use crate::kernels::geometry::Geometry;
use crate::kernels::precision::Precision;
use crate::tensor::{Element, ImageShape};

/// A transposed convolution from `small_channels` on the small side of its geometry to the large side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConvTranspose2d {
    /// The sizes of the convolution that is reversed; its channels are those of the output.
    pub geometry: Geometry,
    /// S, the channels of the input.
    pub small_channels: usize,
    /// The activation of the output.
    pub activation: Activation,
}

impl ConvTranspose2d {
    /// The numbers of one image on the small side.
    fn small_len(&self) -> usize {
        self.geometry.places() * self.small_channels
    }

    fn patches(&self) -> Patches {
        Patches::new(self.geometry, self.small_channels)
    }

    /// W as a matrix `[S × K·K·C]`.
    fn weight<'a, T: Element>(&self, weight: &'a [T]) -> Matrix<'a, T> {
        Matrix::new(weight, self.small_channels, self.geometry.patch_len())
    }

    /// In PyTorch the small side does not determine the large side, and `output_padding` chooses it: the
    /// missing part of H is H − ((h − 1)·S − 2P + K).
    fn output_padding(&self) -> String {
        let g = &self.geometry;
        let missing = |large: usize, small: usize, kernel: usize| {
            (large + 2 * g.padding).saturating_sub((small - 1) * g.stride + kernel)
        };
        let rows = missing(g.height, g.small_height, g.kernel_height);
        let columns = missing(g.width, g.small_width, g.kernel_width);
        if rows + columns == 0 { String::new() } else { format!(", output_padding={}", pair(rows, columns)) }
    }
}

impl Describe for ConvTranspose2d {
    fn input(&self) -> ImageShape {
        ImageShape::new(self.geometry.small_height, self.geometry.small_width, self.small_channels)
    }

    fn output(&self) -> ImageShape {
        let g = &self.geometry;
        ImageShape::new(g.height, g.width, g.channels)
    }

    fn parameters(&self) -> Vec<ParameterSpec> {
        kernel_parameters(&self.geometry, self.small_channels, self.geometry.channels)
    }

    fn work_len(&self) -> WorkLen {
        if self.geometry.is_whole_image() {
            return WorkLen::default();
        }
        self.patches().work_len(self.geometry.channels)
    }

    fn flops(&self) -> usize {
        2 * self.patches().multiplications() * self.geometry.channels * self.small_channels
    }

    fn columns(&self) -> Option<(Geometry, usize)> {
        (!self.geometry.is_whole_image()).then_some((self.geometry, self.small_channels))
    }

    fn summary(&self) -> String {
        let g = &self.geometry;
        format!("transposed convolution {}×{}, stride {}", g.kernel_height, g.kernel_width, g.stride)
    }

    fn activation(&self) -> Activation {
        self.activation
    }

    fn torch(&self, name: &str, torch: &mut Torch<'_>) {
        torch.need_image(self.input());
        let (g, kernel) = (&self.geometry, pair(self.geometry.kernel_height, self.geometry.kernel_width));
        let arguments = convolution_arguments(g) + &self.output_padding();
        let constructor =
            format!("nn.ConvTranspose2d({}, {}, {kernel}{arguments})", self.small_channels, g.channels);
        let function = format!("F.conv_transpose2d({{x}}, {{weight}}, {{bias}}{arguments})");
        let call = torch.module(name, constructor, g.channels, &function);
        torch.apply(call, self.activation, self.output());
    }

    fn steps(&self, name: &str, steps: &mut Steps<'_>) {
        let mut sizes = geometry_sizes(&self.geometry);
        sizes.push(("small_channels", self.small_channels));
        steps.push_weighted("conv_transpose2d", &sizes, name, self.activation);
    }
}

impl<T: Element> Layer<T> for ConvTranspose2d {
    /// y ← activation(col2im(x·W) + bias): B·h·w·S → B·H·W·C.
    fn forward(&self, x: &[T], y: &mut [T], pass: Forward<'_, T>) {
        let (weight, bias) = (pass.parameters.get(0), pass.parameters.get(1));
        let (g, image, small) = (&self.geometry, self.geometry.large_len(), self.small_len());
        if g.is_whole_image() {
            let matrix = MatrixMut::new(y, pass.batch, image);
            let (x, precision) = (Matrix::new(x, pass.batch, small), pass.work.precision);
            product(precision, x, self.weight(weight), T::ZERO, matrix, &nothing);
            y.par_chunks_mut(image).for_each(|y| self.activation.forward_with_bias(y, bias));
            return;
        }
        let Work { scratch, transposed, precision, .. } = pass.work;
        let (patches, task) = (self.patches().in_precision(*precision), task_images(pass.batch));
        let arranged = patches.arranged(weight, transposed);
        y.par_chunks_mut(task * image).zip(x.par_chunks(task * small)).for_each(|(y, x)| {
            patches.spread(x, arranged, y, scratch);
            self.activation.forward_with_bias(y, bias);
        });
    }

    fn backward(&self, x: &[T], y: &[T], dy: &mut [T], dx: Option<&mut [T]>, mut pass: Backward<'_, T>) {
        let (g, image, small) = (&self.geometry, self.geometry.large_len(), self.small_len());
        let weight = pass.parameters.get(0);
        let mut gradients = pass.gradients.weight_and_bias();
        if g.is_whole_image() {
            let precision = pass.work.precision;
            return self.backward_whole_image(precision, (x, y), self.weight(weight), dy, &mut gradients, dx);
        }
        let Work { scratch, partials, transposed, precision } = pass.work;
        let patches = self.patches().in_precision(*precision);
        let (wt, task) = (patches.transposed(weight, transposed), task_images(pass.batch));
        let (weight_len, partial_len) =
            (gradients.weight.len(), gradients.weight.len() + gradients.bias.len());
        let used = &mut partials[..pass.batch.div_ceil(task) * partial_len];
        // Each task adds up dW = Xᵀ·D̂ and db = Σ dY of its own images, and makes dX = D̂·Wᵀ of them.
        let one_task = |sums: &mut [T], d: &mut [T], y: &[T], x: &[T], dx: Option<&mut [T]>| {
            sums.fill(T::ZERO);
            let (dw, db) = sums.split_at_mut(weight_len);
            let mut dw = MatrixMut::new(dw, self.small_channels, g.patch_len());
            self.activation.backward(y, d);
            add_rows(d, db);
            match dx {
                Some(dx) => patches.weight_gradient_and_times(x, d, &mut dw, (wt, dx), scratch),
                None => patches.weight_gradient(x, d, &mut dw, scratch),
            }
        };
        let large = dy.par_chunks_mut(task * image).zip(y.par_chunks(task * image));
        let tasks = used.par_chunks_mut(partial_len).zip(large).zip(x.par_chunks(task * small));
        match dx {
            Some(dx) => tasks
                .zip(dx.par_chunks_mut(task * small))
                .for_each(|(((sums, (d, y)), x), dx)| one_task(sums, d, y, x, Some(dx))),
            None => tasks.for_each(|((sums, (d, y)), x)| one_task(sums, d, y, x, None)),
        }
        add_partials(used, &mut gradients);
    }
}

impl ConvTranspose2d {
    /// The backward pass if im2col(dY) is dY itself.
    fn backward_whole_image<T: Element>(
        &self,
        precision: Precision,
        (x, y): (&[T], &[T]),
        weight: Matrix<'_, T>,
        dy: &mut [T],
        gradients: &mut Gradients<'_, T>,
        dx: Option<&mut [T]>,
    ) {
        let (image, small) = (self.geometry.large_len(), self.small_len());
        let batch = y.len() / image;
        dy.par_chunks_mut(image).zip(y.par_chunks(image)).for_each(|(d, y)| self.activation.backward(y, d));
        gradients.bias.fill(T::ZERO);
        add_rows(dy, gradients.bias);
        let (x, dy) = (Matrix::new(x, batch, small), Matrix::new(dy, batch, image));
        let beta = if gradients.accumulate { T::ONE } else { T::ZERO };
        product(
            precision,
            x.transposed(),
            dy,
            beta,
            MatrixMut::new(gradients.weight, small, image),
            &nothing,
        );
        if let Some(dx) = dx {
            product(precision, dy, weight.transposed(), T::ZERO, MatrixMut::new(dx, batch, small), &nothing);
        }
    }
}

/// Over kernels, strides, paddings, sizes, channels and batches, and the whole-image case of the article's
/// first upsampling.
#[cfg(test)]
pub(crate) fn examples() -> Vec<super::proof::Example> {
    use super::proof::Example;
    let activations = [Activation::Identity, Activation::Tanh, Activation::Sigmoid];
    let mut grid = vec![(Geometry::new((3, 4, 2), (3, 4), 1, 0).unwrap(), 5, 3)];
    grid.extend(crate::gradient_check::convolution_grid(48));
    // By tiles, forward and backward.
    grid.push((Geometry::new((5, 6, 16), (3, 3), 1, 1).unwrap(), 32, 2));
    let one = |(case, (geometry, small_channels, batch)): (usize, (Geometry, usize, usize))| {
        let layer = ConvTranspose2d { geometry, small_channels, activation: activations[case % 3] };
        Example::new(layer, batch).accumulating()
    };
    grid.into_iter().enumerate().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gradient_check::{convolution_grid, random_vec};
    use crate::layers::proof::apply;

    /// The definition: every small pixel, times the weight, added to the large pixels under the kernel.
    fn naive(layer: &ConvTranspose2d, batch: usize, x: &[f64], w: &[f64], b: &[f64]) -> Vec<f64> {
        let (g, s_count) = (&layer.geometry, layer.small_channels);
        let mut y: Vec<f64> = b.iter().copied().cycle().take(batch * g.large_len()).collect();
        for n in 0..batch {
            for (sy, sx) in (0..g.small_height).flat_map(|sy| (0..g.small_width).map(move |sx| (sy, sx))) {
                for (kh, kw) in
                    (0..g.kernel_height).flat_map(|kh| (0..g.kernel_width).map(move |kw| (kh, kw)))
                {
                    let row = (sy * g.stride + kh) as isize - g.padding as isize;
                    let column = (sx * g.stride + kw) as isize - g.padding as isize;
                    if !(0..g.height as isize).contains(&row) || !(0..g.width as isize).contains(&column) {
                        continue;
                    }
                    for (s, c) in (0..s_count).flat_map(|s| (0..g.channels).map(move |c| (s, c))) {
                        y[n * g.large_len() + (row as usize * g.width + column as usize) * g.channels + c] +=
                            x[(n * g.places() + sy * g.small_width + sx) * s_count + s]
                                * w[((s * g.kernel_height + kh) * g.kernel_width + kw) * g.channels + c];
                    }
                }
            }
        }
        y
    }

    #[test]
    fn random_shapes_equal_the_naive_loop() {
        for (seed, (geometry, small_channels, batch)) in convolution_grid(1200).into_iter().enumerate() {
            let layer = ConvTranspose2d { geometry, small_channels, activation: Activation::Identity };
            let seed = 50_000 + 4 * seed as u64;
            let x = random_vec(seed, batch * layer.small_len());
            let w = random_vec(seed + 1, small_channels * geometry.patch_len());
            let b = random_vec(seed + 2, geometry.channels);
            let y = apply(&layer, batch, &x, &[&w, &b]);
            for (found, expected) in y.iter().zip(naive(&layer, batch, &x, &w, &b)) {
                let difference = (found - expected).abs();
                assert!(difference <= 1e-11, "{layer:?}: {found} not {expected}");
            }
        }
    }
}

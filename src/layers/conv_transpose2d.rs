//! Transposed convolution: [`conv2d`](super::conv2d) with its passes reversed.
//!
//! It takes the geometry of the convolution that it reverses and goes from that one's small side to its large side. As a
//! linear map it is the transpose of the convolution, so what was the input gradient there is the forward pass here, and the other
//! way round (Zeiler et al. 2010; Dumoulin & Visin 2016, section 4). With S channels on the small side, C on the large, the weight
//! W `[S × K·K·C]` (the convolution's own layout, so the two can share it), and for the large side's gradient
//! D̂ = im2col(dY):
//!
//! ```text
//! forward           Y              = col2im(X · W) + b      each small pixel stamps a K×K patch; overlaps add
//! input gradient   dX [places×S]   = D̂ · Wᵀ                 a convolution of dY
//! weight gradient  dW [S×K·K·C]    = Xᵀ · D̂                 the convolution's dYᵀ·X̂ with the roles exchanged
//! bias gradient    db [C]          = Σ over pixels and images of dY
//! ```
//!
//! The products are the convolution's own, in `patches`. Nothing is multiplied by inserted zeros, and odd sizes come back exactly, with
//! no `output_padding` to guess.
//!
//! Where the kernel is the whole image (the article's first step up, from 1×1), every patch is an image and the layer is a plain
//! product; then the weight is far larger than the batch, and the product is cut along the weight instead of the batch.
//!
//! W lies in memory as `[S][KH][KW][C]`; PyTorch's `[S, C, KH, KW]` is made on saving.

use rayon::prelude::*;

use super::patches::{for_each_group, work_len};
use super::{Activation, Gradients, Work, WorkLen, add_partials, add_rows, task_images};
use crate::kernels::gemm::{Matrix, MatrixMut, nothing, product, transpose};
use crate::kernels::geometry::Geometry;
use crate::tensor::Element;

/// A transposed convolution from `small_channels` on the small side of its geometry to the large side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConvTranspose2d {
    /// The sizes of the convolution that is reversed; its channels are those of the output.
    pub geometry: Geometry,
    /// S, the channels of the input.
    pub small_channels: usize,
}

impl ConvTranspose2d {
    /// The working memory that it needs.
    pub fn work_len(&self) -> WorkLen {
        if self.geometry.is_whole_image() {
            return WorkLen::default();
        }
        work_len(&self.geometry, self.small_channels, self.geometry.channels)
    }

    /// The numbers of one image on the small side.
    fn small_len(&self) -> usize {
        self.geometry.places() * self.small_channels
    }

    /// output ← activation(col2im(input·W) + bias): B·h·w·S → B·H·W·C.
    pub fn forward<T: Element>(
        &self,
        input: &[T],
        weight: &[T],
        bias: &[T],
        activation: Activation,
        output: &mut [T],
        work: &mut Work<T>,
    ) {
        let (g, image, small) = (&self.geometry, self.geometry.large_len(), self.small_len());
        if g.is_whole_image() {
            let batch = output.len() / image;
            let y = MatrixMut::new(output, batch, image);
            product(Matrix::new(input, batch, small), self.weight(weight), T::ZERO, y, &nothing);
            output.par_chunks_mut(image).for_each(|y| activation.forward_with_bias(y, bias));
            return;
        }
        let (w, task, scratch) = (self.weight(weight), task_images(output.len() / image), &work.scratch);
        output.par_chunks_mut(task * image).zip(input.par_chunks(task * small)).for_each(|(y, x)| {
            y.fill(T::ZERO);
            for_each_group(g, self.small_channels, x.len() / small, scratch, |mut columns, mut rows| {
                columns.assign_product(rows.gather(x), w);
                columns.col2im(y);
            });
            activation.forward_with_bias(y, bias);
        });
    }

    /// The three gradients; `output` is what `forward` gave, `d_output` leaves as the gradient before the activation.
    pub fn backward<T: Element>(
        &self,
        input: &[T],
        output: &[T],
        weight: &[T],
        activation: Activation,
        d_output: &mut [T],
        gradients: &mut Gradients<'_, T>,
        d_input: &mut [T],
        work: &mut Work<T>,
    ) {
        let (g, image, small) = (&self.geometry, self.geometry.large_len(), self.small_len());
        let batch = output.len() / image;
        if g.is_whole_image() {
            self.backward_whole_image(batch, input, output, weight, activation, d_output, gradients, d_input);
            return;
        }
        let Work { scratch, partials, transposed } = work;
        let (wt, task) = (transpose(self.weight(weight), transposed), task_images(batch));
        let (weight_len, partial_len) =
            (gradients.weight.len(), gradients.weight.len() + gradients.bias.len());
        let used = &mut partials[..batch.div_ceil(task) * partial_len];
        let large = d_output.par_chunks_mut(task * image).zip(output.par_chunks(task * image));
        let smalls = d_input.par_chunks_mut(task * small).zip(input.par_chunks(task * small));
        // Each task adds up dW = Xᵀ·D̂ and db = Σ dY of its own images, and makes dX = D̂·Wᵀ of them.
        used.par_chunks_mut(partial_len).zip(large).zip(smalls).for_each(|((sums, (d, y)), (dx, x))| {
            sums.fill(T::ZERO);
            let (dw, db) = sums.split_at_mut(weight_len);
            let mut dw = MatrixMut::new(dw, self.small_channels, g.patch_len());
            activation.backward(y, d);
            add_rows(d, db);
            for_each_group(g, self.small_channels, x.len() / small, scratch, |mut columns, mut rows| {
                columns.im2col(d);
                columns.add_weight_gradient(rows.gather(x), &mut dw);
                rows.write(dx, |dx| {
                    let rows = dx.len() / self.small_channels;
                    columns.times(wt, &mut MatrixMut::new(dx, rows, self.small_channels));
                });
            });
        });
        add_partials(used, gradients);
    }

    /// The same where im2col(dY) is dY itself.
    fn backward_whole_image<T: Element>(
        &self,
        batch: usize,
        input: &[T],
        output: &[T],
        weight: &[T],
        activation: Activation,
        d_output: &mut [T],
        gradients: &mut Gradients<'_, T>,
        d_input: &mut [T],
    ) {
        let (image, small) = (self.geometry.large_len(), self.small_len());
        d_output
            .par_chunks_mut(image)
            .zip(output.par_chunks(image))
            .for_each(|(d, y)| activation.backward(y, d));
        gradients.bias.fill(T::ZERO);
        add_rows(d_output, gradients.bias);
        let (x, dy) = (Matrix::new(input, batch, small), Matrix::new(d_output, batch, image));
        let beta = if gradients.accumulate { T::ONE } else { T::ZERO };
        product(x.transposed(), dy, beta, MatrixMut::new(gradients.weight, small, image), &nothing);
        product(
            dy,
            self.weight(weight).transposed(),
            T::ZERO,
            MatrixMut::new(d_input, batch, small),
            &nothing,
        );
    }

    /// W as a matrix `[S × K·K·C]`.
    fn weight<'a, T: Element>(&self, weight: &'a [T]) -> Matrix<'a, T> {
        Matrix::new(weight, self.small_channels, self.geometry.patch_len())
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::gradient_check::{check, convolution_grid, random_vec};

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
            let layer = ConvTranspose2d { geometry, small_channels };
            let seed = 50_000 + 4 * seed as u64;
            let x = random_vec(seed, batch * layer.small_len());
            let w = random_vec(seed + 1, small_channels * geometry.patch_len());
            let b = random_vec(seed + 2, geometry.channels);
            let mut y = vec![f64::NAN; batch * geometry.large_len()];
            layer.forward(&x, &w, &b, Activation::Identity, &mut y, &mut Work::new(layer.work_len()));
            for (found, expected) in y.iter().zip(naive(&layer, batch, &x, &w, &b)) {
                let difference = (found - expected).abs();
                assert!(difference <= 1e-11, "{layer:?}: {found} not {expected}");
            }
        }
    }

    #[test]
    pub(crate) fn gradients_over_kernels_strides_paddings_sizes_channels_and_batches() {
        let mut grid = convolution_grid(48);
        // The whole-image case of the article's first step up.
        grid.push((Geometry::new((3, 4, 2), (3, 4), 1, 0).unwrap(), 5, 3));
        for (seed, (geometry, small_channels, batch)) in grid.into_iter().enumerate() {
            let layer = ConvTranspose2d { geometry, small_channels };
            let activation = [Activation::Identity, Activation::Tanh, Activation::Sigmoid][seed % 3];
            let seed = 20_000 + 4 * seed as u64;
            let mut work = Work::new(layer.work_len());
            let x = random_vec(seed, batch * layer.small_len());
            let w = random_vec(seed + 1, small_channels * geometry.patch_len());
            let b = random_vec(seed + 2, geometry.channels);
            let upstream = random_vec(seed + 3, batch * geometry.large_len());
            let mut y = vec![0.0; upstream.len()];
            layer.forward(&x, &w, &b, activation, &mut y, &mut work);
            let (mut d, mut dx) = (upstream.clone(), vec![f64::NAN; x.len()]);
            let (mut dw, mut db) = (vec![1.0; w.len()], vec![f64::NAN; b.len()]);
            let mut gradients = Gradients { weight: &mut dw, bias: &mut db, accumulate: true };
            layer.backward(&x, &y, &w, activation, &mut d, &mut gradients, &mut dx, &mut work);
            dw.iter_mut().for_each(|v| *v -= 1.0);
            let mut objective = |x: &[f64], w: &[f64], b: &[f64]| -> f64 {
                let mut y = vec![0.0; upstream.len()];
                layer.forward(x, w, b, activation, &mut y, &mut work);
                y.iter().zip(&upstream).map(|(y, u)| y * u).sum()
            };
            let name = format!("{layer:?} batch {batch} {activation:?}");
            check(&name, &mut x.clone(), &dx, |x| objective(x, &w, &b));
            check(&name, &mut w.clone(), &dw, |w| objective(&x, w, &b));
            check(&name, &mut b.clone(), &db, |b| objective(&x, &w, b));
        }
    }
}

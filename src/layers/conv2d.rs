//! Convolution by im2col: every place of the kernel is a row of a matrix, and the layer one product.
//!
//! With the columns X̂ = im2col(X), `[places × K·K·C]`, and the weight W, `[O × K·K·C]`:
//!
//! ```text
//! forward           Y [places×O] = X̂ · Wᵀ + 1·bᵀ
//! weight gradient  dW [O×K·K·C]  = dYᵀ · X̂            summed over images
//! bias gradient    db [O]        = Σ over places and images of dY
//! input gradient   dX            = col2im(dY · W)     col2im is im2col's transpose
//! ```
//!
//! These are the passes of a [`Linear`](super::Linear) layer on X̂; what is new is only that a pixel's gradient collects from every
//! patch that the pixel was part of, which is what col2im adds up.
//!
//! (What deep learning calls a convolution is a cross-correlation: the kernel is not flipped.)
//!
//! W lies in memory as `[O][KH][KW][C]`, so that its rows fit the columns' order. PyTorch's `[O, C, KH, KW]` is made on saving.

use rayon::prelude::*;

use super::{
    Activation, EVEN, Gradients, Work, add_rows, chunk_images, lane_images, most_images, reduce_lanes,
};
use crate::kernels::columns::{col2im, im2col};
use crate::kernels::gemm::{Matrix, MatrixMut, gemm, padded_stride};
use crate::kernels::geometry::Geometry;
use crate::tensor::Element;

/// A convolution from the large side of its geometry to `filters` channels on the small side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conv2d {
    /// The sizes; its channels are those of the input.
    pub geometry: Geometry,
    /// O, the channels of the output.
    pub filters: usize,
}

impl Conv2d {
    /// Scratch for the columns of a chunk, and partial gradients for the lanes of a batch.
    pub fn work_len(&self) -> (usize, usize) {
        let columns = self.columns_len();
        (most_images(columns) * columns, super::LANES * self.filters * (self.geometry.patch_len() + 1))
    }

    /// The numbers of one image's columns, with the gaps.
    fn columns_len(&self) -> usize {
        self.geometry.places() * padded_stride(self.geometry.patch_len())
    }

    /// output ← activation(conv(input) + bias): B·H·W·C → B·H′·W′·O.
    pub fn forward<T: Element>(
        &self,
        input: &[T],
        weight: &[T],
        bias: &[T],
        activation: Activation,
        output: &mut [T],
        work: &Work<T>,
    ) {
        let (image, small) = (self.geometry.large_len(), self.geometry.places() * self.filters);
        let chunk = chunk_images(output.len() / small, most_images(self.columns_len()), EVEN);
        output.par_chunks_mut(chunk * small).zip(input.par_chunks(chunk * image)).for_each(|(y, x)| {
            self.with_columns(x, work, |columns| {
                let rows = y.len() / self.filters;
                gemm(
                    columns,
                    self.weight(weight).transposed(),
                    T::ZERO,
                    &mut MatrixMut::new(y, rows, self.filters),
                );
            });
            activation.forward_with_bias(y, bias);
        });
    }

    /// The three gradients; `output` is what `forward` gave, `d_output` leaves as the gradient before the activation.
    /// The first layer of a network needs no `d_input`.
    pub fn backward<T: Element>(
        &self,
        input: &[T],
        output: &[T],
        weight: &[T],
        activation: Activation,
        d_output: &mut [T],
        gradients: &mut Gradients<'_, T>,
        d_input: Option<&mut [T]>,
        work: &mut Work<T>,
    ) {
        self.parameter_gradients(input, output, activation, d_output, gradients, work);
        if let Some(d_input) = d_input {
            self.input_gradient(weight, d_output, d_input, work);
        }
    }

    /// dW = dYᵀ·X̂ and db = Σ dY. Each lane of images adds up its own; the lanes are added in order.
    fn parameter_gradients<T: Element>(
        &self,
        input: &[T],
        output: &[T],
        activation: Activation,
        d_output: &mut [T],
        gradients: &mut Gradients<'_, T>,
        work: &mut Work<T>,
    ) {
        let (image, small) = (self.geometry.large_len(), self.geometry.places() * self.filters);
        let batch = output.len() / small;
        let lane = lane_images(batch);
        let chunk = chunk_images(lane, most_images(self.columns_len()), 1);
        let (weight_len, lane_len) = (gradients.weight.len(), gradients.weight.len() + gradients.bias.len());
        let mut partials = std::mem::take(&mut work.partials);
        let used = &mut partials[..batch.div_ceil(lane) * lane_len];
        let inputs = input.par_chunks(lane * image).zip(output.par_chunks(lane * small));
        let lanes = used.par_chunks_mut(lane_len).zip(d_output.par_chunks_mut(lane * small)).zip(inputs);
        lanes.for_each(|((sums, d), (x, y))| {
            let (dw, db) = sums.split_at_mut(weight_len);
            let mut dw = MatrixMut::new(dw, self.filters, self.geometry.patch_len());
            db.fill(T::ZERO);
            let mut beta = T::ZERO; // the first chunk overwrites what the lane held
            let chunks =
                d.chunks_mut(chunk * small).zip(y.chunks(chunk * small)).zip(x.chunks(chunk * image));
            for ((d, y), x) in chunks {
                activation.backward(y, d);
                add_rows(d, db);
                self.with_columns(x, work, |columns| {
                    gemm(
                        Matrix::new(d, d.len() / self.filters, self.filters).transposed(),
                        columns,
                        beta,
                        &mut dw,
                    );
                });
                beta = T::ONE;
            }
        });
        reduce_lanes(used, gradients);
        work.partials = partials;
    }

    /// dX = col2im(dY·W).
    fn input_gradient<T: Element>(&self, weight: &[T], d_output: &[T], d_input: &mut [T], work: &Work<T>) {
        let (image, small) = (self.geometry.large_len(), self.geometry.places() * self.filters);
        let (columns_len, row_stride) = (self.columns_len(), padded_stride(self.geometry.patch_len()));
        let chunk = chunk_images(d_output.len() / small, most_images(columns_len), EVEN);
        d_input.par_chunks_mut(chunk * image).zip(d_output.par_chunks(chunk * small)).for_each(|(dx, dy)| {
            let rows = dy.len() / self.filters;
            work.scratch.with(rows * row_stride, |columns| {
                let mut c = MatrixMut::strided(columns, rows, self.geometry.patch_len(), row_stride);
                gemm(Matrix::new(dy, rows, self.filters), self.weight(weight), T::ZERO, &mut c);
                for (dx, columns) in dx.chunks_exact_mut(image).zip(columns.chunks_exact(columns_len)) {
                    dx.fill(T::ZERO);
                    col2im(&self.geometry, columns, row_stride, dx);
                }
            });
        });
    }

    /// W as a matrix `[O × K·K·C]`.
    fn weight<'a, T: Element>(&self, weight: &'a [T]) -> Matrix<'a, T> {
        Matrix::new(weight, self.filters, self.geometry.patch_len())
    }

    /// Lends `task` the columns of some images, in the thread's scratch.
    fn with_columns<T: Element>(&self, images: &[T], work: &Work<T>, task: impl FnOnce(Matrix<'_, T>)) {
        with_columns(&self.geometry, images, work, task);
    }
}

/// Lends `task` the columns of some images, `[images·places × K·K·C]`, in the thread's scratch.
pub(super) fn with_columns<T: Element>(
    geometry: &Geometry,
    images: &[T],
    work: &Work<T>,
    task: impl FnOnce(Matrix<'_, T>),
) {
    let row_stride = padded_stride(geometry.patch_len());
    let columns_len = geometry.places() * row_stride;
    let count = images.len() / geometry.large_len();
    work.scratch.with(count * columns_len, |columns| {
        for (image, columns) in
            images.chunks_exact(geometry.large_len()).zip(columns.chunks_exact_mut(columns_len))
        {
            im2col(geometry, image, columns, row_stride);
        }
        task(Matrix::strided(columns, count * geometry.places(), geometry.patch_len(), row_stride));
    });
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::gradient_check::{check, convolution_grid, random_vec};

    /// The definition, one multiplication at a time.
    pub(crate) fn naive(layer: &Conv2d, batch: usize, x: &[f64], w: &[f64], b: &[f64]) -> Vec<f64> {
        let g = &layer.geometry;
        let mut y = vec![0.0; batch * g.places() * layer.filters];
        for n in 0..batch {
            for (oy, ox) in (0..g.small_height).flat_map(|oy| (0..g.small_width).map(move |ox| (oy, ox))) {
                for o in 0..layer.filters {
                    let mut sum = b[o];
                    for (kh, kw) in
                        (0..g.kernel_height).flat_map(|kh| (0..g.kernel_width).map(move |kw| (kh, kw)))
                    {
                        let iy = (oy * g.stride + kh) as isize - g.padding as isize;
                        let ix = (ox * g.stride + kw) as isize - g.padding as isize;
                        if (0..g.height as isize).contains(&iy) && (0..g.width as isize).contains(&ix) {
                            for c in 0..g.channels {
                                let pixel = (iy as usize * g.width + ix as usize) * g.channels + c;
                                sum += x[n * g.large_len() + pixel]
                                    * w[((o * g.kernel_height + kh) * g.kernel_width + kw) * g.channels + c];
                            }
                        }
                    }
                    y[(n * g.places() + oy * g.small_width + ox) * layer.filters + o] = sum;
                }
            }
        }
        y
    }

    #[test]
    fn random_shapes_equal_the_naive_loop() {
        let mut cases = 0;
        for (seed, (geometry, filters, batch)) in convolution_grid(1200).into_iter().enumerate() {
            let layer = Conv2d { geometry, filters };
            let seed = 100 + 4 * seed as u64;
            let x = random_vec(seed, batch * geometry.large_len());
            let w = random_vec(seed + 1, filters * geometry.patch_len());
            let b = random_vec(seed + 2, filters);
            let mut y = vec![f64::NAN; batch * geometry.places() * filters];
            let (scratch, partials) = layer.work_len();
            layer.forward(&x, &w, &b, Activation::Identity, &mut y, &Work::new(scratch, partials));
            for (found, expected) in y.iter().zip(naive(&layer, batch, &x, &w, &b)) {
                let difference = (found - expected).abs();
                assert!(difference <= 1e-11, "{layer:?}: {found} not {expected}");
            }
            cases += 1;
        }
        println!("{cases} random convolutions");
    }

    #[test]
    pub(crate) fn gradients_over_kernels_strides_paddings_sizes_channels_and_batches() {
        for (seed, (geometry, filters, batch)) in convolution_grid(48).into_iter().enumerate() {
            let layer = Conv2d { geometry, filters };
            let activation = [Activation::Identity, Activation::Tanh, Activation::Sigmoid][seed % 3];
            let seed = 9000 + 4 * seed as u64;
            let (scratch, partials) = layer.work_len();
            let mut work = Work::new(scratch, partials);
            let x = random_vec(seed, batch * geometry.large_len());
            let w = random_vec(seed + 1, filters * geometry.patch_len());
            let b = random_vec(seed + 2, filters);
            let upstream = random_vec(seed + 3, batch * geometry.places() * filters);
            let mut y = vec![0.0; upstream.len()];
            layer.forward(&x, &w, &b, activation, &mut y, &work);
            let (mut d, mut dx) = (upstream.clone(), vec![f64::NAN; x.len()]);
            let (mut dw, mut db) = (vec![1.0; w.len()], vec![f64::NAN; b.len()]);
            let mut gradients = Gradients { weight: &mut dw, bias: &mut db, accumulate: true };
            layer.backward(&x, &y, &w, activation, &mut d, &mut gradients, Some(&mut dx), &mut work);
            dw.iter_mut().for_each(|v| *v -= 1.0);
            let objective = |x: &[f64], w: &[f64], b: &[f64]| -> f64 {
                let mut y = vec![0.0; upstream.len()];
                layer.forward(x, w, b, activation, &mut y, &work);
                y.iter().zip(&upstream).map(|(y, u)| y * u).sum()
            };
            let name = format!("{layer:?} batch {batch} {activation:?}");
            check(&name, &mut x.clone(), &dx, |x| objective(x, &w, &b));
            check(&name, &mut w.clone(), &dw, |w| objective(&x, w, &b));
            check(&name, &mut b.clone(), &db, |b| objective(&x, &w, b));
        }
    }
}

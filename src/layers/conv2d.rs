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
//! The three products are in `patches`, since [`ConvTranspose2d`](super::ConvTranspose2d) is made of the same ones.
//!
//! (What deep learning calls a convolution is a cross-correlation: the kernel is not flipped.)
//!
//! W lies in memory as `[O][KH][KW][C]`, so that its rows fit the columns' order. PyTorch's `[O, C, KH, KW]` is made on saving.

use rayon::prelude::*;

use super::patches::{for_each_group, work_len};
use super::{Activation, Gradients, Work, WorkLen, add_partials, add_rows, task_images};
use crate::kernels::gemm::{Matrix, MatrixMut, transpose};
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
    /// The working memory that it needs.
    pub fn work_len(&self) -> WorkLen {
        work_len(&self.geometry, self.filters, self.filters)
    }

    /// output ← activation(conv(input) + bias): B·H·W·C → B·H′·W′·O.
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
        let Work { scratch, transposed, .. } = work;
        let (wt, task) = (transpose(self.weight(weight), transposed), task_images(output.len() / small));
        output.par_chunks_mut(task * small).zip(input.par_chunks(task * image)).for_each(|(y, x)| {
            for_each_group(g, self.filters, x.len() / image, scratch, |mut columns, mut rows| {
                columns.im2col(x);
                rows.write(y, |y| {
                    columns.times(wt, &mut MatrixMut::new(y, y.len() / self.filters, self.filters));
                    activation.forward_with_bias(y, bias);
                });
            });
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
        let (g, image, small) = (&self.geometry, self.geometry.large_len(), self.small_len());
        let batch = output.len() / small;
        let (w, task) = (self.weight(weight), task_images(batch));
        let (weight_len, partial_len) =
            (gradients.weight.len(), gradients.weight.len() + gradients.bias.len());
        let Work { scratch, partials, .. } = work;
        let used = &mut partials[..batch.div_ceil(task) * partial_len];

        // Each task adds up dW = dYᵀ·X̂ and db = Σ dY of its own images, and makes dX = col2im(dY·W) of them.
        let one_task = |sums: &mut [T], d: &mut [T], y: &[T], x: &[T], mut dx: Option<&mut [T]>| {
            sums.fill(T::ZERO);
            let (dw, db) = sums.split_at_mut(weight_len);
            let mut dw = MatrixMut::new(dw, self.filters, g.patch_len());
            activation.backward(y, d);
            add_rows(d, db);
            if let Some(dx) = &mut dx {
                dx.fill(T::ZERO);
            }
            for_each_group(g, self.filters, x.len() / image, scratch, |mut columns, mut rows| {
                let dy = rows.gather(d);
                columns.im2col(x);
                columns.add_weight_gradient(dy, &mut dw);
                if let Some(dx) = &mut dx {
                    columns.assign_product(dy, w);
                    columns.col2im(dx);
                }
            });
        };
        let inputs = input.par_chunks(task * image).zip(output.par_chunks(task * small));
        let tasks = used.par_chunks_mut(partial_len).zip(d_output.par_chunks_mut(task * small)).zip(inputs);
        match d_input {
            Some(d_input) => tasks
                .zip(d_input.par_chunks_mut(task * image))
                .for_each(|(((sums, d), (x, y)), dx)| one_task(sums, d, y, x, Some(dx))),
            None => tasks.for_each(|((sums, d), (x, y))| one_task(sums, d, y, x, None)),
        }
        add_partials(used, gradients);
    }

    /// The numbers of one image on the small side.
    fn small_len(&self) -> usize {
        self.geometry.places() * self.filters
    }

    /// W as a matrix `[O × K·K·C]`.
    fn weight<'a, T: Element>(&self, weight: &'a [T]) -> Matrix<'a, T> {
        Matrix::new(weight, self.filters, self.geometry.patch_len())
    }
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
            layer.forward(&x, &w, &b, Activation::Identity, &mut y, &mut Work::new(layer.work_len()));
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
            let mut work = Work::new(layer.work_len());
            let x = random_vec(seed, batch * geometry.large_len());
            let w = random_vec(seed + 1, filters * geometry.patch_len());
            let b = random_vec(seed + 2, filters);
            let upstream = random_vec(seed + 3, batch * geometry.places() * filters);
            let mut y = vec![0.0; upstream.len()];
            layer.forward(&x, &w, &b, activation, &mut y, &mut work);
            let (mut d, mut dx) = (upstream.clone(), vec![f64::NAN; x.len()]);
            let (mut dw, mut db) = (vec![1.0; w.len()], vec![f64::NAN; b.len()]);
            let mut gradients = Gradients { weight: &mut dw, bias: &mut db, accumulate: true };
            layer.backward(&x, &y, &w, activation, &mut d, &mut gradients, Some(&mut dx), &mut work);
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

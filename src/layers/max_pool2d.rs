//! Max pooling: each output is the largest number in a K×K window; windows lie side by side (stride K).
//!
//! Backward, the gradient of an output goes to its maximal input: ∂y/∂xᵢ is 1 for the largest and 0 for the
//! others. If several are equally large it goes to the first, row by row (any choice is a subgradient; this
//! one is PyTorch's). The maximum's position is not stored: it is the first number of the window that equals
//! the output.
//!
//! Rows and columns that do not fill a window are left out, as usual: the output has ⌊H/K⌋ × ⌊W/K⌋ pixels.

use rayon::prelude::*;

use super::{Backward, Describe, Forward, Layer, Steps, Torch};
use crate::kernels::simd::vectorized;
use crate::tensor::{Element, ImageShape};

/// A pooling layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MaxPool2d {
    /// H×W×C; each channel is pooled separately.
    pub input: ImageShape,
    /// K, the side of a window, and the stride.
    pub window: usize,
}

impl MaxPool2d {
    /// For each output pixel of an image: its offset in the output, and those of its window's pixels in the
    /// input.
    fn for_each_window(&self, mut visit: impl FnMut(usize, &mut dyn Iterator<Item = usize>)) {
        let ImageShape { height: rows, width: columns, channels: c } = Describe::output(self);
        let k = self.window;
        for (row, column) in (0..rows).flat_map(|row| (0..columns).map(move |column| (row, column))) {
            let pixel = move |dy, dx| ((row * k + dy) * self.input.width + column * k + dx) * c;
            visit(
                (row * columns + column) * c,
                &mut (0..k).flat_map(move |dy| (0..k).map(move |dx| pixel(dy, dx))),
            );
        }
    }
}

impl Describe for MaxPool2d {
    fn input(&self) -> ImageShape {
        self.input
    }

    fn output(&self) -> ImageShape {
        let ImageShape { height, width, channels } = self.input;
        ImageShape::new(height / self.window, width / self.window, channels)
    }

    fn summary(&self) -> String {
        format!("max pooling {0}×{0}", self.window)
    }

    fn torch(&self, _name: &str, torch: &mut Torch<'_>) {
        torch.need_image(self.input);
        torch.apply(format!("F.max_pool2d(x, {})", self.window), self.activation(), Describe::output(self));
    }

    fn steps(&self, _name: &str, steps: &mut Steps<'_>) {
        let ImageShape { height, width, channels } = self.input;
        let sizes = [("height", height), ("width", width), ("channels", channels), ("window", self.window)];
        steps.push("max_pool2d", &sizes);
    }
}

impl<T: Element> Layer<T> for MaxPool2d {
    /// y ← the largest of each window: B·H·W·C → B·H′·W′·C. A NaN in a window makes its output NaN.
    fn forward(&self, x: &[T], y: &mut [T], _pass: Forward<'_, T>) {
        let (image, pooled, c) = (self.input.len(), Describe::output(self).len(), self.input.channels);
        y.par_chunks_mut(pooled).zip(x.par_chunks(image)).for_each(|(y, x)| {
            vectorized!({
                self.for_each_window(
                    #[inline(always)]
                    |at, window| {
                        let y = &mut y[at..at + c];
                        y.copy_from_slice(&x[window.next().expect("a window has pixels")..][..c]);
                        for pixel in window {
                            for (y, &x) in y.iter_mut().zip(&x[pixel..pixel + c]) {
                                // False for a NaN on either side: the current value stays, so a later NaN is
                                // checked for.
                                *y = if x > *y || x.is_nan() { x } else { *y };
                            }
                        }
                    },
                )
            });
        });
    }

    /// dx ← the outputs' gradients at the maxima, 0 elsewhere. `dy` is zeroed, because the gradient passed to
    /// a maximum is removed from it.
    fn backward(&self, x: &[T], y: &[T], dy: &mut [T], dx: Option<&mut [T]>, _pass: Backward<'_, T>) {
        let Some(dx) = dx else { return };
        let (image, pooled, c) = (self.input.len(), Describe::output(self).len(), self.input.channels);
        let outputs = y.par_chunks(pooled).zip(dy.par_chunks_mut(pooled));
        dx.par_chunks_mut(image).zip(x.par_chunks(image)).zip(outputs).for_each(|((dx, x), (y, dy))| {
            // Pixels outside all windows have gradient 0.
            if self.input.height % self.window + self.input.width % self.window > 0 {
                dx.fill(T::ZERO);
            }
            vectorized!({
                self.for_each_window(
                    #[inline(always)]
                    |at, window| {
                        let (y, dy) = (&y[at..at + c], &mut dy[at..at + c]);
                        for pixel in window {
                            let inputs = dx[pixel..pixel + c].iter_mut().zip(&x[pixel..pixel + c]);
                            for ((dx, &x), (&y, dy)) in inputs.zip(y.iter().zip(dy.iter_mut())) {
                                // Products rather than branches, which would store one number at a time.
                                *dx = *dy * if x == y { T::ONE } else { T::ZERO };
                                *dy -= *dx;
                            }
                        }
                    },
                )
            });
        });
    }
}

/// Covers windows, odd sizes, channels and batches.
#[cfg(test)]
pub(crate) fn examples() -> Vec<super::proof::Example> {
    use super::proof::Example;
    use crate::gradient_check::random_vec;
    let shapes = [(2, 2, 1, 2), (5, 7, 3, 2), (4, 4, 18, 2), (9, 6, 2, 3), (3, 3, 1, 3), (4, 3, 2, 1)];
    let cases = shapes.into_iter().enumerate().flat_map(|case| [1, 3].map(|batch| (case, batch)));
    cases
        .map(|((seed, (height, width, channels, window)), batch)| {
            let input = ImageShape::new(height, width, channels);
            // A permutation of spaced numbers: the largest of a window is far from the others, so no kink is
            // near.
            let noise = random_vec(seed as u64, batch * input.len());
            let mut order: Vec<usize> = (0..noise.len()).collect();
            order.sort_by(|&a, &b| noise[a].total_cmp(&noise[b]));
            let mut x = vec![0.0; noise.len()];
            order.iter().enumerate().for_each(|(rank, &i)| x[i] = rank as f64 / noise.len() as f64);
            Example::new(MaxPool2d { input, window }, batch).at(x)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layers::proof::{apply, input_gradient};

    #[test]
    fn of_equals_the_first_gets_the_gradient_and_leftover_pixels_get_none() {
        let pool = MaxPool2d { input: ImageShape::new(2, 3, 1), window: 2 };
        let x = [1.0, 1.0, 9.0, 1.0, 0.0, 9.0];
        assert_eq!(apply(&pool, 1, &x, &[]), [1.0]);
        assert_eq!(input_gradient(&pool, 1, &x, &[5.0]), [5.0, 0.0, 0.0, 0.0, 0.0, 0.0]);
    }

    #[test]
    fn a_broken_number_comes_out() {
        let pool = MaxPool2d { input: ImageShape::new(2, 2, 1), window: 2 };
        for at in 0..4 {
            let mut x = [0.0, 1.0, 2.0, 3.0];
            x[at] = f64::NAN;
            let y = apply(&pool, 1, &x, &[]);
            assert!(y[0].is_nan(), "NaN at {at} gave {}", y[0]);
        }
    }
}

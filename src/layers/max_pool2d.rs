//! Max pooling: each output is the largest of the numbers under a K×K window; windows lie side by side (stride K).
//!
//! Backward, the gradient of an output goes to the one input that it was: ∂y/∂xᵢ is 1 for the largest and 0 for the
//! others. Where several are equally large it goes to the first, row by row (any choice is a subgradient; this one is
//! PyTorch's). The winner is not stored: it is the first number of the window that equals the output.
//!
//! Rows and columns that don't fill a window are left out, as usual: ⌊H/K⌋ × ⌊W/K⌋ pixels come out.

use rayon::prelude::*;

use crate::tensor::Element;

/// The sizes of a pooling layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MaxPool2d {
    /// H, the rows of the input.
    pub height: usize,
    /// W, its columns.
    pub width: usize,
    /// C, its channels, each pooled alone.
    pub channels: usize,
    /// K, the side of a window, and the stride.
    pub window: usize,
}

impl MaxPool2d {
    /// (H′, W′), the pixels that come out.
    pub fn output_size(&self) -> (usize, usize) {
        (self.height / self.window, self.width / self.window)
    }

    fn lens(&self) -> (usize, usize) {
        let (rows, columns) = self.output_size();
        (self.height * self.width * self.channels, rows * columns * self.channels)
    }

    /// For each output pixel of an image: its offset in the output, and those of its window's pixels in the input.
    fn for_each_window(&self, mut visit: impl FnMut(usize, &mut dyn Iterator<Item = usize>)) {
        let (rows, columns) = self.output_size();
        let (k, c) = (self.window, self.channels);
        for (row, column) in (0..rows).flat_map(|row| (0..columns).map(move |column| (row, column))) {
            let pixel = move |dy, dx| ((row * k + dy) * self.width + column * k + dx) * c;
            visit(
                (row * columns + column) * c,
                &mut (0..k).flat_map(move |dy| (0..k).map(move |dx| pixel(dy, dx))),
            );
        }
    }

    /// output ← the largest of each window: B·H·W·C → B·H′·W′·C. A NaN under a window comes out.
    pub fn forward<T: Element>(&self, input: &[T], output: &mut [T]) {
        let (image, pooled) = self.lens();
        let c = self.channels;
        output.par_chunks_mut(pooled).zip(input.par_chunks(image)).for_each(|(y, x)| {
            self.for_each_window(|at, window| {
                let y = &mut y[at..at + c];
                y.copy_from_slice(&x[window.next().expect("a window has pixels")..][..c]);
                for pixel in window {
                    for (y, &x) in y.iter_mut().zip(&x[pixel..pixel + c]) {
                        // False for a NaN on either side: the first keeps, so a NaN that comes later is looked for.
                        *y = if x > *y || x.is_nan() { x } else { *y };
                    }
                }
            });
        });
    }

    /// d_input ← the outputs' gradients at the winners, 0 elsewhere. `output` is what `forward` gave; `d_output` leaves as zeros,
    /// because what a winner takes is taken from there.
    pub fn backward<T: Element>(&self, input: &[T], output: &[T], d_output: &mut [T], d_input: &mut [T]) {
        let (image, pooled) = self.lens();
        let c = self.channels;
        let outputs = output.par_chunks(pooled).zip(d_output.par_chunks_mut(pooled));
        d_input.par_chunks_mut(image).zip(input.par_chunks(image)).zip(outputs).for_each(
            |((dx, x), (y, dy))| {
                dx.fill(T::ZERO);
                self.for_each_window(|at, window| {
                    let (y, dy) = (&y[at..at + c], &mut dy[at..at + c]);
                    for pixel in window {
                        let inputs = dx[pixel..pixel + c].iter_mut().zip(&x[pixel..pixel + c]);
                        for ((dx, &x), (&y, dy)) in inputs.zip(y.iter().zip(dy.iter_mut())) {
                            // Products rather than choices, which would be stores one at a time.
                            *dx = *dy * if x == y { T::ONE } else { T::ZERO };
                            *dy -= *dx;
                        }
                    }
                });
            },
        );
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::gradient_check::{check, random_vec};

    #[test]
    pub(crate) fn gradients_over_windows_odd_sizes_channels_and_batches() {
        let shapes = [(2, 2, 1, 2), (5, 7, 3, 2), (4, 4, 18, 2), (9, 6, 2, 3), (3, 3, 1, 3), (4, 3, 2, 1)];
        for (seed, (height, width, channels, window)) in shapes.into_iter().enumerate() {
            for batch in [1, 3] {
                let pool = MaxPool2d { height, width, channels, window };
                let (image, pooled) = pool.lens();
                // A permutation of spaced numbers: the largest of a window is far from the others, so no kink is near.
                let noise = random_vec(seed as u64, batch * image);
                let mut order: Vec<usize> = (0..noise.len()).collect();
                order.sort_by(|&a, &b| noise[a].total_cmp(&noise[b]));
                let mut x = vec![0.0; noise.len()];
                order.iter().enumerate().for_each(|(rank, &i)| x[i] = rank as f64 / noise.len() as f64);
                let upstream = random_vec(seed as u64 + 50, batch * pooled);
                let mut y = vec![f64::NAN; upstream.len()];
                pool.forward(&x, &mut y);
                let mut dx = vec![f64::NAN; x.len()];
                pool.backward(&x, &y, &mut upstream.clone(), &mut dx);
                check(&format!("{pool:?} batch {batch}"), &mut x, &dx, |x| {
                    let mut y = vec![0.0; upstream.len()];
                    pool.forward(x, &mut y);
                    y.iter().zip(&upstream).map(|(y, u)| y * u).sum()
                });
            }
        }
    }

    #[test]
    fn of_equals_the_first_gets_the_gradient_and_leftover_pixels_get_none() {
        let pool = MaxPool2d { height: 2, width: 3, channels: 1, window: 2 };
        let x = [1.0, 1.0, 9.0, 1.0, 0.0, 9.0];
        let mut y = [0.0];
        pool.forward(&x, &mut y);
        assert_eq!(y, [1.0]);
        let mut dx = [f64::NAN; 6];
        pool.backward(&x, &y, &mut [5.0], &mut dx);
        assert_eq!(dx, [5.0, 0.0, 0.0, 0.0, 0.0, 0.0]);
    }

    #[test]
    fn a_broken_number_comes_out() {
        let pool = MaxPool2d { height: 2, width: 2, channels: 1, window: 2 };
        for at in 0..4 {
            let mut x = [0.0, 1.0, 2.0, 3.0];
            x[at] = f64::NAN;
            let mut y = [0.0];
            pool.forward(&x, &mut y);
            assert!(y[0].is_nan(), "NaN at {at} gave {}", y[0]);
        }
    }
}

//! The similarity of pictures and originals: mean squared error, PSNR and SSIM, for values in [0, 1].
//!
//! ```text
//! MSE  = mean of (x − y)²                                      0 is equal
//! PSNR = 10·log₁₀(1 / MSE) dB                                   of the MSE over all images and pixels
//! SSIM = mean over windows of (2·m_x·m_y + C₁)(2·s_xy + C₂) / ((m_x² + m_y² + C₁)(s_x² + s_y² + C₂))
//!                                                              1 is equal
//! ```
//!
//! **SSIM** (Wang, Bovik, Sheikh & Simoncelli 2004) compares means m, variances s² and the covariance s_xy
//! within a window that moves over the image pixel by pixel. As in that paper, the window has 11×11 weights,
//! a Gaussian of σ = 1.5 that sums to 1; C₁ = 0.01² and C₂ = 0.03² for values that span 1; and only windows
//! wholly inside the image count. An image with a side below 11 uses the largest odd window that fits.
//! Channels are compared one by one, and the result is the mean over all windows of all channels.

use rayon::prelude::*;

/// Pixels of a window's side, and its σ.
const WINDOW: usize = 11;
const SIGMA: f64 = 1.5;
const C1: f64 = 0.01 * 0.01;
const C2: f64 = 0.03 * 0.03;

/// The similarity of some pictures to their originals.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Quality {
    /// The mean squared error.
    pub mse: f64,
    /// Its peak signal-to-noise ratio in dB; `None` if the pictures are equal.
    pub psnr: Option<f64>,
    /// Mean SSIM.
    pub ssim: f64,
}

/// Sums over pictures, added batch by batch.
///
/// ```
/// use elbo::evaluate::quality::QualitySums;
/// let mut sums = QualitySums::new((8, 8, 1));
/// sums.add(&[0.5; 64], &[0.4; 64]);
/// let quality = sums.mean();
/// assert!((quality.psnr.unwrap() - 20.0).abs() < 1e-5);
/// ```
#[derive(Clone, Debug)]
pub struct QualitySums {
    size: (usize, usize, usize),
    weights: Vec<f64>,
    squares: f64,
    ssim: f64,
    images: usize,
}

impl QualitySums {
    /// For pictures of (H, W, C).
    ///
    /// # Panics
    /// If one of the sizes is 0.
    pub fn new(size: (usize, usize, usize)) -> Self {
        assert!(size.0.min(size.1).min(size.2) > 0, "pictures of {size:?}");
        let side = size.0.min(size.1).min(WINDOW);
        Self { size, weights: window(side - (side + 1) % 2), squares: 0.0, ssim: 0.0, images: 0 }
    }

    /// Adds pictures and their originals, B × H·W·C each.
    ///
    /// # Panics
    /// If the numbers are not the same number of whole pictures.
    pub fn add(&mut self, originals: &[f32], pictures: &[f32]) {
        let len = self.size.0 * self.size.1 * self.size.2;
        assert_eq!(originals.len(), pictures.len(), "as many pictures as originals");
        assert!(originals.len().is_multiple_of(len), "{} numbers for pictures of {len}", originals.len());
        let of_pair = |(x, y): (&[f32], &[f32])| {
            let square = |(&x, &y): (&f32, &f32)| (f64::from(x) - f64::from(y)).powi(2);
            (x.iter().zip(y).map(square).sum::<f64>(), ssim(x, y, self.size, &self.weights))
        };
        // Collected, then added in order: bit-identical for any number of threads.
        let pairs: Vec<(f64, f64)> =
            originals.par_chunks_exact(len).zip(pictures.par_chunks_exact(len)).map(of_pair).collect();
        for (squares, ssim) in pairs {
            self.squares += squares;
            self.ssim += ssim;
            self.images += 1;
        }
    }

    /// Means over everything that was added.
    pub fn mean(&self) -> Quality {
        let images = self.images.max(1) as f64;
        let mse = self.squares / images / (self.size.0 * self.size.1 * self.size.2) as f64;
        Quality { mse, psnr: (mse > 0.0).then(|| -10.0 * mse.log10()), ssim: self.ssim / images }
    }
}

/// One axis of the window: a Gaussian of `side` weights that sum to 1.
fn window(side: usize) -> Vec<f64> {
    let middle = (side / 2) as f64;
    let weights: Vec<f64> = (0..side).map(|i| (-0.5 * ((i as f64 - middle) / SIGMA).powi(2)).exp()).collect();
    let sum: f64 = weights.iter().sum();
    weights.into_iter().map(|weight| weight / sum).collect()
}

/// Mean SSIM of two pictures, H·W·C each.
fn ssim(x: &[f32], y: &[f32], (height, width, channels): (usize, usize, usize), weights: &[f64]) -> f64 {
    let side = weights.len();
    let (rows, columns) = (height - side + 1, width - side + 1);
    let mut across = vec![[0.0; 5]; height * columns];
    let mut sum = 0.0;
    for channel in 0..channels {
        // The window is a product of its axes. First come weighted sums along rows, of x, y, x², y² and xy.
        for (row, line) in across.chunks_exact_mut(columns).enumerate() {
            for (column, sums) in line.iter_mut().enumerate() {
                *sums = [0.0; 5];
                for (k, weight) in weights.iter().enumerate() {
                    let at = (row * width + column + k) * channels + channel;
                    let (x, y) = (f64::from(x[at]), f64::from(y[at]));
                    for (sum, value) in sums.iter_mut().zip([x, y, x * x, y * y, x * y]) {
                        *sum += weight * value;
                    }
                }
            }
        }
        // Then along columns.
        for row in 0..rows {
            for column in 0..columns {
                let mut m = [0.0; 5];
                for (k, weight) in weights.iter().enumerate() {
                    for (m, value) in m.iter_mut().zip(across[(row + k) * columns + column]) {
                        *m += weight * value;
                    }
                }
                let [mx, my, mxx, myy, mxy] = m;
                let (sx, sy, sxy) = (mxx - mx * mx, myy - my * my, mxy - mx * my);
                sum += (2.0 * mx * my + C1) * (2.0 * sxy + C2) / ((mx * mx + my * my + C1) * (sx + sy + C2));
            }
        }
    }
    sum / (rows * columns * channels) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture(size: (usize, usize, usize), phase: usize) -> Vec<f32> {
        (0..size.0 * size.1 * size.2).map(|i| ((i * 29 + phase * 13) % 97) as f32 / 96.0).collect()
    }

    /// The definition, window by window with two-dimensional weights and centred moments.
    fn naive(x: &[f32], y: &[f32], (h, w, c): (usize, usize, usize), side: usize) -> f64 {
        let weights = window(side);
        let mut values = Vec::new();
        for (channel, top, left) in
            (0..c).flat_map(|k| (0..=h - side).flat_map(move |t| (0..=w - side).map(move |l| (k, t, l))))
        {
            let taps =
                || (0..side * side).map(|i| (weights[i / side] * weights[i % side], i / side, i % side));
            let at = |v: &[f32], i: usize, j: usize| f64::from(v[((top + i) * w + left + j) * c + channel]);
            let mean = |v: &[f32]| taps().map(|(g, i, j)| g * at(v, i, j)).sum::<f64>();
            let (mx, my) = (mean(x), mean(y));
            let moment = |u: &[f32], mu: f64, v: &[f32], mv: f64| {
                taps().map(|(g, i, j)| g * (at(u, i, j) - mu) * (at(v, i, j) - mv)).sum::<f64>()
            };
            let (sx, sy, sxy) = (moment(x, mx, x, mx), moment(y, my, y, my), moment(x, mx, y, my));
            values
                .push((2.0 * mx * my + C1) * (2.0 * sxy + C2) / ((mx * mx + my * my + C1) * (sx + sy + C2)));
        }
        values.iter().sum::<f64>() / values.len() as f64
    }

    #[test]
    fn ssim_is_its_definition_in_every_size() {
        for (size, side) in [((11, 11, 1), 11), ((17, 13, 3), 11), ((8, 9, 2), 7), ((10, 28, 1), 9)] {
            let (x, y) = (picture(size, 0), picture(size, 5));
            let mut sums = QualitySums::new(size);
            sums.add(&x, &y);
            let expected = naive(&x, &y, size, side);
            let within = (sums.mean().ssim - expected).abs() <= 1e-9;
            assert!(within, "{size:?}: {} is not {expected}", sums.mean().ssim);
        }
    }

    #[test]
    fn equal_pictures_are_perfect_and_worse_ones_worse() {
        let size = (16, 16, 1);
        let x = picture(size, 0);
        let quality = |y: &[f32]| {
            let mut sums = QualitySums::new(size);
            sums.add(&x, y);
            sums.mean()
        };
        let equal = quality(&x);
        assert!(equal.mse == 0.0 && equal.psnr.is_none() && (equal.ssim - 1.0).abs() < 1e-9);
        let shifted: Vec<f32> = x.iter().map(|v| v + 0.01).collect();
        let near = quality(&shifted);
        assert!((near.mse - 1e-4).abs() < 1e-7 && (near.psnr.unwrap() - 40.0).abs() < 0.01);
        let inverted: Vec<f32> = x.iter().map(|v| 1.0 - v).collect();
        assert!(near.ssim > 0.99 && quality(&inverted).ssim < 0.0);
    }
}

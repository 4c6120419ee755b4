//! The sharpness of pictures compared with real images: the slope of their power spectrum.
//!
//! ```text
//! P(u, v) = |Σ_y Σ_x w(y)·w(x)·(g(y, x) − mean)·e^(−2πi(uy/H + vx/W))|²        g: mean of the channels, w(i) = sin²(π(i + ½)/n)
//! P(r)    = mean of P(u, v) over the ring r − ½ ≤ s·√((u/H)² + (v/W)²) < r + ½    s = min(H, W), r = 1 … s/2
//! slope   = that of the straight line through ln P(r) over ln r, by least squares
//!
//! sharpness = slope of the samples − slope of the images                          0: as sharp, below 0: blurred, above 0: noisy
//! ```
//!
//! P(r) is averaged over all pictures of a set before the logarithm. Photographs have slopes near −2 (Field
//! 1987), blur makes the slope steeper and noise flatter; Vu, Phan & Chandler (2012) judge the sharpness of
//! photographs by it. A sharpness of −1 says that the power at four times the frequency is four times lower
//! than it should be. The window w removes the jump between opposite edges of a picture, which a Fourier
//! series treats as an edge, and which would hide the blur.
//!
//! It does not detect edges in the wrong place (noise can compensate for blur, but then the precision is
//! low), wrong colours, or the contrast of the whole picture.
//!
//! Pictures are small, so the transform is a product with a matrix of cosines and sines along each axis, not
//! a fast transform: about 4·H·W·(H + W) multiplications for H×W pixels, few compared with those of the
//! network that draws them.

use std::f64::consts::PI;

use rayon::prelude::*;

use crate::kernels::gemm::{Matrix, MatrixMut, gemm};
use crate::tensor::ImageShape;

/// The least pixels of a side: smaller pictures have too few rings to fit a line.
pub const SMALLEST: usize = 8;

/// The mean power spectrum of pictures that come in batches.
///
/// ```
/// use elbo::evaluate::sharpness::Spectrum;
/// let mut spectrum = Spectrum::new((16, 16, 1));
/// let stripes: Vec<f32> = (0..256).map(|i| if i % 4 < 2 { 1.0 } else { 0.0 }).collect(); // four pixels a period
/// spectrum.add(&stripes);
/// let power = spectrum.rings();
/// let strongest = (0..power.len()).max_by(|&a, &b| power[a].total_cmp(&power[b])).unwrap();
/// assert_eq!(strongest + 1, 4); // four periods in 16 pixels
/// ```
#[derive(Clone, Debug)]
pub struct Spectrum {
    shape: ImageShape,
    /// The windows and transforms of the two axes: of columns v the cosines, then the sines; of rows u both
    /// in one matrix.
    windows: [Vec<f64>; 2],
    columns: Vec<f64>,
    rows: Vec<f64>,
    /// The ring of each frequency (u, v), 0 for none.
    ring: Vec<usize>,
    sums: Vec<f64>,
    pictures: usize,
}

impl Spectrum {
    /// For pictures of (H, W, C).
    ///
    /// # Panics
    /// If a side is below [`SMALLEST`].
    pub fn new(shape: impl Into<ImageShape>) -> Self {
        let shape = shape.into();
        let (height, width) = (shape.height, shape.width);
        let side = height.min(width);
        assert!(side >= SMALLEST, "pictures of {height}×{width}");
        let window = |n: usize| -> Vec<f64> {
            (0..n).map(|i| libm::sin(PI * (i as f64 + 0.5) / n as f64).powi(2)).collect()
        };
        // Reduced before it becomes an angle, which is then exact for whole turns.
        let angle = |product: usize, n: usize| 2.0 * PI * (product % n) as f64 / n as f64;
        let half = width / 2 + 1;
        let mut columns = vec![0.0; width * 2 * half];
        for (x, row) in columns.chunks_exact_mut(2 * half).enumerate() {
            for v in 0..half {
                row[v] = libm::cos(angle(x * v, width));
                row[half + v] = libm::sin(angle(x * v, width));
            }
        }
        // e^(−iφ)(a − ib) = (cos φ·a − sin φ·b) − i(sin φ·a + cos φ·b)
        let mut rows = vec![0.0; 4 * height * height];
        for u in 0..height {
            for y in 0..height {
                let (cos, sin) = (libm::cos(angle(u * y, height)), libm::sin(angle(u * y, height)));
                let (real, imaginary) = (2 * height * u, 2 * height * (height + u));
                (rows[real + y], rows[real + height + y]) = (cos, -sin);
                (rows[imaginary + y], rows[imaginary + height + y]) = (sin, cos);
            }
        }
        let ring = |u: usize, v: usize| {
            let (down, across) = (u.min(height - u) as f64 / height as f64, v as f64 / width as f64);
            let ring = (side as f64 * libm::hypot(down, across)).round() as usize;
            if ring <= side / 2 { ring } else { 0 }
        };
        Self {
            shape,
            windows: [window(height), window(width)],
            columns,
            rows,
            ring: (0..height).flat_map(|u| (0..half).map(move |v| (u, v))).map(|(u, v)| ring(u, v)).collect(),
            sums: vec![0.0; side / 2 + 1],
            pictures: 0,
        }
    }

    /// The bytes that the spectrum of such pictures takes, with what each thread needs for a picture.
    pub fn memory(shape: ImageShape, threads: usize) -> u64 {
        let (height, width) = (shape.height as u64, shape.width as u64);
        let axes = 4 * height * height + width * (width + 2);
        let picture = 4 * height * (width + 2);
        (size_of::<f64>() as u64).saturating_mul(axes + picture * (threads as u64 + 1))
    }

    /// Adds pictures, B × H·W·C.
    ///
    /// # Panics
    /// If the numbers are not whole pictures.
    pub fn add(&mut self, pictures: &[f32]) {
        let len = self.shape.len();
        assert!(pictures.len().is_multiple_of(len), "{} numbers for pictures of {len}", pictures.len());
        // Collected, then added in order: the same bits for any number of threads.
        let all: Vec<Vec<f64>> = pictures.par_chunks_exact(len).map(|picture| self.of_one(picture)).collect();
        for powers in &all {
            self.sums.iter_mut().zip(powers).for_each(|(sum, power)| *sum += power);
        }
        self.pictures += all.len();
    }

    /// The mean power in each ring of a picture; that of ring 0 is not used.
    fn of_one(&self, picture: &[f32]) -> Vec<f64> {
        let ImageShape { height, width, channels } = self.shape;
        let half = width / 2 + 1;
        let grey = |pixel: &[f32]| pixel.iter().map(|&x| f64::from(x)).sum::<f64>() / channels as f64;
        let mut plane: Vec<f64> = picture.chunks_exact(channels).map(grey).collect();
        let mean = plane.iter().sum::<f64>() / plane.len() as f64;
        for (row, down) in plane.chunks_exact_mut(width).zip(&self.windows[0]) {
            row.iter_mut().zip(&self.windows[1]).for_each(|(x, across)| *x = (*x - mean) * down * across);
        }
        let mut across = vec![0.0; height * 2 * half];
        gemm(
            Matrix::new(&plane, height, width),
            Matrix::new(&self.columns, width, 2 * half),
            0.0,
            &mut MatrixMut::new(&mut across, height, 2 * half),
        );
        // The cosine's part of all rows, then the sine's.
        let mut parts = vec![0.0; 2 * height * half];
        for (y, row) in across.chunks_exact(2 * half).enumerate() {
            parts[y * half..][..half].copy_from_slice(&row[..half]);
            parts[(height + y) * half..][..half].copy_from_slice(&row[half..]);
        }
        let mut spectrum = vec![0.0; 2 * height * half];
        gemm(
            Matrix::new(&self.rows, 2 * height, 2 * height),
            Matrix::new(&parts, 2 * height, half),
            0.0,
            &mut MatrixMut::new(&mut spectrum, 2 * height, half),
        );
        let (real, imaginary) = spectrum.split_at(height * half);
        let (mut powers, mut counts) = (vec![0.0; self.sums.len()], vec![0.0; self.sums.len()]);
        for (at, (re, im)) in real.iter().zip(imaginary).enumerate() {
            // The right half of the plane; the left half is its mirror image, except for the self-symmetric
            // columns.
            let v = at % half;
            let weight = if v == 0 || 2 * v == width { 1.0 } else { 2.0 };
            powers[self.ring[at]] += weight * (re * re + im * im);
            counts[self.ring[at]] += weight;
        }
        powers.iter().zip(counts).map(|(power, count)| power / f64::max(count, 1.0)).collect()
    }

    /// P(r) for r = 1 … s/2.
    pub fn rings(&self) -> Vec<f64> {
        self.sums[1..].iter().map(|sum| sum / self.pictures.max(1) as f64).collect()
    }

    /// The slope of ln P(r) over ln r; `None` if some ring has no power, as in pictures of one colour.
    pub fn slope(&self) -> Option<f64> {
        let power = self.rings();
        if !power.iter().all(|&power| power > 0.0 && power.is_finite()) {
            return None;
        }
        let points: Vec<(f64, f64)> =
            (1..).zip(power).map(|(r, power)| (libm::log(f64::from(r)), libm::log(power))).collect();
        let n = points.len() as f64;
        let (mx, my) = points.iter().fold((0.0, 0.0), |(x, y), point| (x + point.0 / n, y + point.1 / n));
        let covariance: f64 = points.iter().map(|(x, y)| (x - mx) * (y - my)).sum();
        let variance: f64 = points.iter().map(|(x, _)| (x - mx).powi(2)).sum();
        Some(covariance / variance)
    }

    /// The sharpness of these pictures compared with `images`: 0 is equal, below 0 blurred, above 0 noisy.
    pub fn sharpness(&self, images: &Self) -> Option<f64> {
        Some(self.slope()? - images.slope()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture(shape: ImageShape) -> Vec<f32> {
        (0..shape.len()).map(|i| ((i * i * 29 + i * 13) % 97) as f32 / 96.0).collect()
    }

    #[test]
    fn the_spectrum_is_its_definition_in_every_size() {
        for (height, width, channels) in [(8, 8, 1), (9, 14, 3), (16, 11, 2)] {
            let shape = ImageShape::new(height, width, channels);
            let pixels = picture(shape);
            let mut spectrum = Spectrum::new(shape);
            spectrum.add(&pixels);
            let grey: Vec<f64> = pixels
                .chunks_exact(channels)
                .map(|p| p.iter().map(|&x| f64::from(x)).sum::<f64>() / channels as f64)
                .collect();
            let mean = grey.iter().sum::<f64>() / grey.len() as f64;
            let w = |i: usize, n: usize| (PI * (i as f64 + 0.5) / n as f64).sin().powi(2);
            let side = height.min(width);
            let (mut power, mut count) = (vec![0.0; side / 2 + 1], vec![0.0; side / 2 + 1]);
            for (u, v) in (0..height).flat_map(|u| (0..width).map(move |v| (u, v))) {
                let (mut re, mut im) = (0.0, 0.0);
                for (at, value) in grey.iter().enumerate() {
                    let (y, x) = (at / width, at % width);
                    let phase = 2.0 * PI * ((u * y) as f64 / height as f64 + (v * x) as f64 / width as f64);
                    let value = (value - mean) * w(y, height) * w(x, width);
                    re += value * phase.cos();
                    im -= value * phase.sin();
                }
                let fold = |k: usize, n: usize| k.min(n - k) as f64 / n as f64;
                let ring = (side as f64 * fold(u, height).hypot(fold(v, width))).round() as usize;
                if (1..=side / 2).contains(&ring) {
                    power[ring] += re * re + im * im;
                    count[ring] += 1.0;
                }
            }
            for (r, found) in (1..).zip(spectrum.rings()) {
                let expected = power[r] / count[r];
                assert!((found - expected).abs() < 1e-9 * expected.max(1.0), "{shape:?} ring {r}: {found}");
            }
        }
    }

    #[test]
    fn one_colour_has_no_sharpness() {
        let mut flat = Spectrum::new((8, 8, 1));
        flat.add(&[0.25; 64]);
        let mut other = Spectrum::new((8, 8, 1));
        other.add(&picture(ImageShape::new(8, 8, 1)));
        assert_eq!((flat.slope(), flat.sharpness(&other)), (None, None));
        assert_eq!(other.sharpness(&other.clone()), Some(0.0));
    }
}

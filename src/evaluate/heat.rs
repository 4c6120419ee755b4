//! Where an image is anomalous: a heat map over its pixels, and boxes around the hot ones.
//!
//! ```text
//! e    smoothed (x − x̂)², mean over channels, x̂ the reconstruction from μ          H × W, values of x in [0, 1]
//! m, s mean and standard deviation of e at that pixel over normal (validation) images
//! heat (e − m) / (s + s̄)                              s̄ the mean of s over the pixels
//! ```
//!
//! An edge that normal images have in many places is reconstructed badly in all of them, and is not hot for that: the error is measured against
//! what is usual for the pixel. s̄ keeps pixels that never change from burning at the slightest error.
//!
//! A pixel is hot above a threshold on the largest heat of an image, a quantile over the normal images: so the share of normal images with a
//! box is known, too.

use crate::data::{Filler, Span};
use crate::model::Labelled;
use crate::model::codec::{BATCH, Codec};

/// The weights of the smoothing along an axis: a binomial window.
const WINDOW: [f64; 3] = [0.25, 0.5, 0.25];
/// Hot regions of fewer pixels are no box.
const SMALLEST: usize = 2;

/// What error is usual at each pixel.
#[derive(Clone, Debug, PartialEq)]
pub struct Usual {
    /// m, H × W.
    mean: Vec<f64>,
    /// s + s̄, H × W.
    scale: Vec<f64>,
}

/// A box around a hot region: its upper left pixel, its height and its width.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HotBox {
    /// The first row.
    pub y: usize,
    /// The first column.
    pub x: usize,
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
}

/// The smoothed squared errors of some images' reconstructions: count × H × W.
///
/// # Panics
/// If the images are of another size than the model's, or a conditional model gets no labels.
pub fn errors(codec: &mut Codec<'_>, images: Labelled<'_>, indices: &[usize], filler: &Filler) -> Vec<f64> {
    let config = codec.model().config();
    let (shape, len) = (config.image(), config.pixels());
    let mut originals = vec![0.0; BATCH * len];
    let mut all = Vec::with_capacity(indices.len() * shape.pixels());
    for chunk in indices.chunks(BATCH) {
        let originals = &mut originals[..chunk.len() * len];
        Filler { span: Span::Unit, ..*filler }.fill(images.images, chunk, 0, originals);
        let codes = codec.encode_with(images, chunk, filler);
        let labels: Vec<u32> = images.of(chunk).collect();
        let pictures = codec.decode_as(&codes.mu, &labels);
        for (original, picture) in originals.chunks_exact(len).zip(pictures.chunks_exact(len)) {
            let square = |(x, y): (&f32, &f32)| f64::from(x - y).powi(2) / shape.channels as f64;
            let squares: Vec<f64> = original.iter().zip(picture).map(square).collect();
            let pixels = squares.chunks_exact(shape.channels).map(|channels| channels.iter().sum());
            all.extend(smooth(&pixels.collect::<Vec<f64>>(), shape.height, shape.width));
        }
    }
    all
}

/// The window laid over each pixel; at an edge, over what there is.
fn smooth(values: &[f64], height: usize, width: usize) -> Vec<f64> {
    let at = |y: usize, x: usize| {
        let (mut sum, mut weights) = (0.0, 0.0);
        for (dy, dx) in (0..3).flat_map(|dy| (0..3).map(move |dx| (dy, dx))) {
            let (row, column) = ((y + dy).wrapping_sub(1), (x + dx).wrapping_sub(1));
            if row < height && column < width {
                let weight = WINDOW[dy] * WINDOW[dx];
                sum += weight * values[row * width + column];
                weights += weight;
            }
        }
        sum / weights
    };
    (0..height * width).map(|pixel| at(pixel / width, pixel % width)).collect()
}

impl Usual {
    /// From the errors of normal images, count × H·W, for images of `pixels` = H·W.
    ///
    /// # Panics
    /// If there are no images.
    pub fn of(errors: &[f64], pixels: usize) -> Self {
        let count = errors.len() / pixels;
        assert!(count > 0, "the usual error of no images");
        let (mut mean, mut variance) = (vec![0.0; pixels], vec![0.0; pixels]);
        for image in errors.chunks_exact(pixels) {
            mean.iter_mut().zip(image).for_each(|(sum, e)| *sum += e / count as f64);
        }
        for image in errors.chunks_exact(pixels) {
            let parts = variance.iter_mut().zip(image).zip(&mean);
            parts.for_each(|((sum, e), mean)| *sum += (e - mean).powi(2) / count as f64);
        }
        let deviations: Vec<f64> = variance.into_iter().map(f64::sqrt).collect();
        let usual = (deviations.iter().sum::<f64>() / pixels as f64).max(1e-9);
        Self { mean, scale: deviations.iter().map(|s| s + usual).collect() }
    }

    /// Errors to heat, in place.
    pub fn heat(&self, errors: &mut [f64]) {
        for image in errors.chunks_exact_mut(self.mean.len()) {
            for ((e, mean), scale) in image.iter_mut().zip(&self.mean).zip(&self.scale) {
                *e = (*e - mean) / scale;
            }
        }
    }
}

/// The largest heat of each image; `heat` is count × H·W.
pub fn largest(heat: &[f64], pixels: usize) -> Vec<f64> {
    heat.chunks_exact(pixels).map(|image| image.iter().copied().fold(f64::NEG_INFINITY, f64::max)).collect()
}

/// Boxes around the connected regions of pixels hotter than the threshold (neighbours touch at a side or a corner), the hottest region first.
///
/// ```
/// use elbo::evaluate::heat::{HotBox, boxes};
/// let heat = [9.0, 9.0, 0.0, 0.0, 0.0, 0.0, 0.0, 5.0, 0.0, 0.0, 0.0, 5.0];
/// let found = boxes(&heat, 4, 1.0);
/// assert_eq!(found[0], HotBox { y: 0, x: 0, height: 1, width: 2 });
/// assert_eq!(found[1], HotBox { y: 1, x: 3, height: 2, width: 1 });
/// ```
///
/// # Panics
/// If the heat does not come out as whole rows.
pub fn boxes(heat: &[f64], width: usize, threshold: f64) -> Vec<HotBox> {
    assert!(heat.len().is_multiple_of(width), "{} pixels in rows of {width}", heat.len());
    let height = heat.len() / width;
    let mut seen = vec![false; heat.len()];
    let mut found: Vec<(f64, HotBox)> = Vec::new();
    for start in 0..heat.len() {
        if seen[start] || !(heat[start] > threshold) {
            continue;
        }
        seen[start] = true;
        let (mut open, mut region) = (vec![start], Vec::new());
        while let Some(pixel) = open.pop() {
            region.push(pixel);
            let (y, x) = (pixel / width, pixel % width);
            for row in y.saturating_sub(1)..(y + 2).min(height) {
                for column in x.saturating_sub(1)..(x + 2).min(width) {
                    let next = row * width + column;
                    if !seen[next] && heat[next] > threshold {
                        seen[next] = true;
                        open.push(next);
                    }
                }
            }
        }
        if region.len() < SMALLEST {
            continue;
        }
        let span = |of: fn(usize, usize) -> usize| {
            let low = region.iter().map(|&pixel| of(pixel, width)).min().unwrap_or(0);
            let high = region.iter().map(|&pixel| of(pixel, width)).max().unwrap_or(0);
            (low, high - low + 1)
        };
        let ((y, height), (x, width)) =
            (span(|pixel, width| pixel / width), span(|pixel, width| pixel % width));
        let hottest = region.iter().map(|&pixel| heat[pixel]).fold(f64::NEG_INFINITY, f64::max);
        found.push((hottest, HotBox { y, x, height, width }));
    }
    found.sort_by(|a, b| b.0.total_cmp(&a.0));
    found.into_iter().map(|(_, hot)| hot).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unusual_error_is_hot_and_a_usual_one_is_not() {
        // Two pixels: one whose error varies between 0 and 2, one that is always 0.
        let usual = Usual::of(&[0.0, 0.0, 2.0, 0.0], 2);
        let mut errors = [2.0, 1.0];
        usual.heat(&mut errors);
        assert!((errors[0] - 1.0 / 1.5).abs() < 1e-12 && (errors[1] - 2.0).abs() < 1e-12, "{errors:?}");
        assert_eq!(largest(&errors, 2), [errors[1]]);
    }

    #[test]
    fn smoothing_keeps_what_is_even() {
        assert!(smooth(&[3.0; 12], 3, 4).iter().all(|v| (v - 3.0).abs() < 1e-12));
        assert_eq!(smooth(&[0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0], 3, 3)[4], 0.25);
    }

    #[test]
    fn a_single_hot_pixel_is_no_box() {
        assert!(boxes(&[0.0, 9.0, 0.0, 0.0], 2, 1.0).is_empty());
        assert_eq!(boxes(&[0.0, 9.0, 9.0, 0.0], 2, 1.0), [HotBox { y: 0, x: 0, height: 2, width: 2 }]);
    }
}

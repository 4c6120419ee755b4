//! Where an image is anomalous: a heat map over its pixels, and boxes around the hot ones.
//!
//! ```text
//! e    (smoothed x − x̂)², mean over channels, x̂ the reconstruction from μ          H × W, values of x in [0, 1]
//! m, s mean and standard deviation of e at that pixel over normal (validation) images
//! heat (e − m) / (s + s̄)                              s̄ the mean of s over the pixels
//! ```
//!
//! An edge that normal images have in many places is reconstructed badly in all of them, and is not hot for that: the error is measured against
//! what is usual for the pixel. s̄ keeps pixels that never change from burning at the slightest error.
//!
//! The differences are smoothed with their signs, before they are squared: a stroke that is reconstructed beside its place leaves a bright line
//! next to a dark one, and the two cancel; a defect differs in one direction all over. For n independent differences of variance v the square of
//! their mean is about v/n, and for a defect of contrast c it stays c²: with 5 × 5 pixels, noise falls to a twenty-fifth.
//!
//! The threshold says whether there is a defect, and the peak how far it reaches: smoothed, a defect's heat falls from its middle to its border
//! gradually, so a box around what is above the threshold would be large if the defect is strong, and small if it is weak. On MNIST with the
//! patches of `benches/labels/drawn.py` (10 epochs of conv), 0.2 of the peak gave the most boxes with an overlap of 0.3 or more.
//!
//! A pixel is hot above a threshold on the largest heat of an image, a quantile over the normal images: so the share of normal images with a
//! box is known, too.

use crate::data::{Filler, Span};
use crate::model::Labelled;
use crate::model::codec::{BATCH, Codec};

/// How far the smoothing reaches along an axis: the mean over 5 × 5 pixels.
const REACH: usize = 2;
/// A region grows over pixels hotter than this share of its hottest.
const GROWN: f64 = 0.2;
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

/// The squares of the smoothed errors of some images' reconstructions: count × H × W.
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
            let differences: Vec<f64> = original.iter().zip(picture).map(|(x, y)| f64::from(x - y)).collect();
            let mut squares = vec![0.0; shape.pixels()];
            for channel in 0..shape.channels {
                let plane: Vec<f64> =
                    differences.iter().skip(channel).step_by(shape.channels).copied().collect();
                for (sum, e) in squares.iter_mut().zip(smooth(&plane, shape.height, shape.width)) {
                    *sum += e * e / shape.channels as f64;
                }
            }
            all.extend(squares);
        }
    }
    all
}

/// The mean over the window around each pixel; at an edge, over what there is of it.
fn smooth(values: &[f64], height: usize, width: usize) -> Vec<f64> {
    let window = |at: usize, end: usize| at.saturating_sub(REACH)..(at + REACH + 1).min(end);
    let at = |y: usize, x: usize| {
        let (rows, columns) = (window(y, height), window(x, width));
        let count = rows.len() * columns.len();
        let sum: f64 = rows.map(|row| values[row * width..][columns.clone()].iter().sum::<f64>()).sum();
        sum / count as f64
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

/// Boxes around hot regions, the hottest first.
///
/// A region starts from a pixel hotter than the threshold, and grows over connected pixels (at a side or a corner) hotter than 0.2 of the first.
/// Hot pixels on the slope of a region do not start a second one.
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
    let mut found = Vec::new();
    let around = |pixel: usize| {
        let (y, x) = (pixel / width, pixel % width);
        let columns = x.saturating_sub(1)..(x + 2).min(width);
        let rows = y.saturating_sub(1)..(y + 2).min(height);
        rows.flat_map(move |row| columns.clone().map(move |column| row * width + column))
    };
    let mut hot: Vec<usize> = (0..heat.len()).filter(|&pixel| heat[pixel] > threshold).collect();
    hot.sort_by(|&a, &b| heat[b].total_cmp(&heat[a]));
    for start in hot {
        if seen[start] {
            continue;
        }
        seen[start] = true;
        if around(start).any(|next| next != start && seen[next]) {
            continue;
        }
        let (mut open, mut region) = (vec![start], Vec::new());
        while let Some(pixel) = open.pop() {
            region.push(pixel);
            for next in around(pixel) {
                if !seen[next] && heat[next] > GROWN * heat[start] {
                    seen[next] = true;
                    open.push(next);
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
        found.push(HotBox { y, x, height, width });
    }
    found
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
    fn smoothing_keeps_what_is_even_and_cancels_neighbours_of_opposite_sign() {
        assert!(smooth(&[3.0; 12], 3, 4).iter().all(|v| (v - 3.0).abs() < 1e-12));
        assert!((smooth(&[0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0], 3, 3)[8] - 1.0 / 9.0).abs() < 1e-12);
        // A line that came back one column to the right, and a patch of the same squared error.
        let (mut moved, mut patch) = ([0.0; 49], [0.0; 49]);
        for y in 0..7 {
            (moved[y * 7 + 3], moved[y * 7 + 4]) = (1.0, -1.0);
            (patch[y * 7 + 3], patch[y * 7 + 4]) = (1.0, 1.0);
        }
        let largest = |values: &[f64]| smooth(values, 7, 7).iter().fold(0.0, |a: f64, e| a.max(e * e));
        assert!(largest(&patch) > 2.0 * largest(&moved), "{} {}", largest(&patch), largest(&moved));
    }

    #[test]
    fn a_region_reaches_below_the_threshold_and_its_slope_does_not_start_a_second() {
        // Peaks of 10 and 8; the threshold is 5, and a region grows down to 0.2 of its peak.
        let heat = [1.0, 4.0, 10.0, 4.0, 1.0, 0.0, 0.0, 3.0, 8.0, 1.0];
        let found = boxes(&heat, 10, 5.0);
        let expected = [(1, 3), (7, 2)].map(|(x, width)| HotBox { y: 0, x, height: 1, width });
        assert_eq!(found, expected);
        // Far above the threshold, the region ends at 0.2 of the peak: 15 is hot, but on the slope of 100.
        assert_eq!(
            boxes(&[40.0, 100.0, 15.0, 6.0, 0.0], 5, 5.0),
            [HotBox { y: 0, x: 0, height: 1, width: 2 }]
        );
    }

    #[test]
    fn a_single_hot_pixel_is_no_box() {
        assert!(boxes(&[0.0, 9.0, 0.0, 0.0], 2, 1.0).is_empty());
        assert_eq!(boxes(&[0.0, 9.0, 9.0, 0.0], 2, 1.0), [HotBox { y: 0, x: 0, height: 2, width: 2 }]);
    }
}

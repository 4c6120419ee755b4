//! Anomaly localization: a heat map over an image's pixels, and boxes around the hot regions.
//!
//! ```text
//! e      (x − x̂)², mean over channels     H × W, x̂ the reconstruction from μ, x in [0, 1]
//! usual  T[shade of x̂, contrast of x̂]·Rᵢ  the error of normal images at such a pixel i
//! heat   min(e / (usual + ē/4), 20)       about 1 for a normal pixel; ē the mean of e over normal images
//! ```
//!
//! A reconstruction error means little at the edge of a stroke, where normal images have errors too, and much
//! on an even background. So a pixel's error is compared with the usual error of pixels that are
//! *reconstructed like it*. T is the mean of e over the pixels of normal (validation) images whose
//! reconstruction has the same shade (8 steps) and the same contrast within 3 × 3 pixels (8 steps). Rᵢ
//! corrects this for the position: it is the mean of e at pixel i over normal images, divided by the mean of
//! T there. ē/4 keeps a pixel that never changes from becoming hot at the slightest error.
//!
//! **Boxes.** A defect is a region in which the heat is high on the whole, although some of its pixels may
//! have the right value by chance. A box is the rectangle with the largest sum of heat − 3: each pixel adds
//! its excess over three times the usual error, or subtracts its deficit ([`hottest`]). This is a scan
//! statistic (Kulldorff 1997, "A spatial scan statistic"). The sum is found with Kadane's algorithm in
//! O(H²·W) (Bentley 1984, "Programming pearls: algorithm design techniques").
//!
//! The score of an image is its largest sum. The threshold is a quantile of this score over normal images, so
//! the share of normal images with a box is known, too.

use rayon::prelude::*;

use crate::data::{Filler, Span};
use crate::model::Labelled;
use crate::model::codec::{BATCH, Codec};
use crate::tensor::ImageShape;

/// Steps of the shade, and of the contrast.
const STEPS: usize = 8;
/// A pixel counts for a box if its heat is above this, and against it otherwise.
const UNUSUAL: f64 = 3.0;
/// The upper limit of a pixel's heat.
const MOST: f64 = 20.0;
/// The most boxes in an image.
const BOXES: usize = 8;

/// Images compared with their reconstructions: count × H·W.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Compared {
    /// e.
    pub errors: Vec<f64>,
    /// The index in T: 8 · shade + contrast.
    pub kinds: Vec<u8>,
}

/// The usual error at each pixel.
#[derive(Clone, Debug, PartialEq)]
pub struct Usual {
    /// T, 8 × 8.
    by_kind: Vec<f64>,
    /// R, H × W.
    by_place: Vec<f64>,
    /// ē.
    mean: f64,
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

/// Compares images with their reconstructions.
///
/// # Panics
/// If the images have another size than the model's, or a conditional model gets no labels.
pub fn compare(codec: &mut Codec<'_>, images: Labelled<'_>, indices: &[usize], filler: &Filler) -> Compared {
    let config = codec.model().config();
    let (shape, len) = (config.image(), config.pixels());
    let mut originals = vec![0.0; BATCH * len];
    let mut all = Compared::default();
    for chunk in indices.chunks(BATCH) {
        let originals = &mut originals[..chunk.len() * len];
        Filler { span: Span::Unit, ..*filler }.fill(images.images, chunk, 0, originals);
        let codes = codec.encode_with(images, chunk, filler);
        let labels: Vec<u32> = images.of(chunk).collect();
        let pictures = codec.decode_as(&codes.mu, &labels);
        for (original, picture) in originals.chunks_exact(len).zip(pictures.chunks_exact(len)) {
            let pixels = original.chunks_exact(shape.channels).zip(picture.chunks_exact(shape.channels));
            all.errors.extend(pixels.map(|(x, y)| {
                let squares = x.iter().zip(y).map(|(x, y)| f64::from(x - y).powi(2));
                squares.sum::<f64>() / shape.channels as f64
            }));
            all.kinds.extend(kinds(picture, shape));
        }
    }
    all
}

/// The index in T of each pixel of a reconstruction, H·W·C numbers in [0, 1].
fn kinds(picture: &[f32], shape: ImageShape) -> impl Iterator<Item = u8> {
    let ImageShape { height, width, channels } = shape;
    let grey: Vec<f32> =
        picture.chunks_exact(channels).map(|pixel| pixel.iter().sum::<f32>() / channels as f32).collect();
    let step = |value: f32| ((value * STEPS as f32) as usize).min(STEPS - 1) as u8;
    (0..height * width).map(move |pixel| {
        let (y, x) = (pixel / width, pixel % width);
        let columns = x.saturating_sub(1)..(x + 2).min(width);
        let around =
            (y.saturating_sub(1)..(y + 2).min(height)).flat_map(|row| &grey[row * width..][columns.clone()]);
        let (low, high) =
            around.fold((f32::INFINITY, f32::NEG_INFINITY), |(low, high), &v| (low.min(v), high.max(v)));
        step(grey[pixel]) * STEPS as u8 + step(high - low)
    })
}

impl Usual {
    /// From normal images of `pixels` = H·W.
    ///
    /// # Panics
    /// If there are no images.
    pub fn of(normal: &Compared, pixels: usize) -> Self {
        let count = normal.errors.len() / pixels;
        assert!(count > 0, "the usual error of no images");
        let mean = normal.errors.iter().sum::<f64>() / normal.errors.len() as f64;
        // A kind that hardly occurs gets about the mean error.
        let (mut sums, mut counts) = (vec![mean; STEPS * STEPS], vec![1.0; STEPS * STEPS]);
        for (e, &kind) in normal.errors.iter().zip(&normal.kinds) {
            sums[usize::from(kind)] += e;
            counts[usize::from(kind)] += 1.0;
        }
        let by_kind: Vec<f64> = sums.iter().zip(&counts).map(|(sum, count)| sum / count).collect();
        let (mut found, mut expected) = (vec![0.0; pixels], vec![0.0; pixels]);
        for (at, (e, &kind)) in normal.errors.iter().zip(&normal.kinds).enumerate() {
            found[at % pixels] += e / count as f64;
            expected[at % pixels] += by_kind[usize::from(kind)] / count as f64;
        }
        // A tenth of ē is added to both, for pixels with nearly no error found or expected.
        let little = (0.1 * mean).max(1e-9);
        let by_place = found.iter().zip(&expected).map(|(f, e)| (f + little) / (e + little)).collect();
        Self { by_kind, by_place, mean }
    }

    /// The heat of each pixel, count × H·W.
    pub fn heat(&self, compared: &Compared) -> Vec<f64> {
        let pixels = self.by_place.len();
        let least = (0.25 * self.mean).max(1e-9);
        let each = compared.errors.iter().zip(&compared.kinds).enumerate();
        each.map(|(at, (e, &kind))| {
            (e / (self.by_kind[usize::from(kind)] * self.by_place[at % pixels] + least)).min(MOST)
        })
        .collect()
    }
}

/// The rectangle of an image with the largest sum of heat − 3, and this sum. It has at least one pixel, so
/// the sum can be below 0.
///
/// For each pair of a first and a last row, the columns' sums between them form one row of numbers. Kadane's
/// algorithm finds the segment of it with the largest sum: once a segment's sum has fallen to 0 or less, it
/// cannot help what follows, and a new one begins there.
///
/// ```
/// use elbo::evaluate::heat::{HotBox, hottest};
/// // Above 3 are a pair that touch, and one pixel beyond a gap that costs more than the pixel adds.
/// let heat = [0.0, 9.0, 8.0, 0.0, 0.0, 5.0];
/// assert_eq!(hottest(&heat, 6), (HotBox { y: 0, x: 1, height: 1, width: 2 }, 11.0));
/// ```
///
/// # Panics
/// If the heat is not whole rows.
pub fn hottest(heat: &[f64], width: usize) -> (HotBox, f64) {
    assert!(heat.len().is_multiple_of(width), "{} pixels in rows of {width}", heat.len());
    let height = heat.len() / width;
    let mut best = (HotBox { y: 0, x: 0, height: 1, width: 1 }, f64::NEG_INFINITY);
    let mut columns = vec![0.0; width];
    for y in 0..height {
        columns.fill(0.0);
        for last in y..height {
            let row = &heat[last * width..][..width];
            columns.iter_mut().zip(row).for_each(|(sum, heat)| *sum += heat - UNUSUAL);
            let (mut sum, mut x) = (0.0, 0);
            for (at, column) in columns.iter().enumerate() {
                if sum <= 0.0 {
                    (sum, x) = (0.0, at);
                }
                sum += column;
                if sum > best.1 {
                    best = (HotBox { y, x, height: last - y + 1, width: at - x + 1 }, sum);
                }
            }
        }
    }
    best
}

/// The largest sum of each image: its score; `heat` is count × H·W.
pub fn scores(heat: &[f64], pixels: usize, width: usize) -> Vec<f64> {
    heat.par_chunks_exact(pixels).map(|image| hottest(image, width).1).collect()
}

/// Rectangles whose sums are above the threshold, the hottest first; no two have a pixel in common.
///
/// # Panics
/// If the heat is not whole rows.
pub fn boxes(heat: &[f64], width: usize, threshold: f64) -> Vec<HotBox> {
    let mut heat = heat.to_vec();
    let mut found = Vec::new();
    while found.len() < BOXES {
        let (hot, sum) = hottest(&heat, width);
        if sum <= threshold {
            break;
        }
        // A box that was found counts against every further rectangle that overlaps it.
        let enough = -MOST * heat.len() as f64;
        (hot.y..hot.y + hot.height).for_each(|y| heat[y * width + hot.x..][..hot.width].fill(enough));
        found.push(hot);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_hot_where_it_is_unusual() {
        // Two pixels in two images: the first is reconstructed as kind 0 and always right, the second as kind
        // 9 and always off by 2.
        let normal = Compared { errors: vec![0.0, 2.0, 0.0, 2.0], kinds: vec![0, 9, 0, 9] };
        let usual = Usual::of(&normal, 2);
        let heat = usual.heat(&Compared { errors: vec![2.0, 2.0], kinds: vec![0, 9] });
        assert!(heat[0] > 3.0 && heat[1] < 1.1, "{heat:?}");
        // The same kind at the other place is unusual for the place.
        let moved = usual.heat(&Compared { errors: vec![2.0, 2.0], kinds: vec![9, 9] });
        assert!(moved[0] > moved[1], "{moved:?}");
        assert_eq!(usual.heat(&Compared { errors: vec![1e9, 0.0], kinds: vec![0, 0] })[0], MOST);
    }

    #[test]
    fn kinds_are_shades_and_contrasts() {
        let shape = ImageShape::new(2, 3, 1);
        let found: Vec<u8> = kinds(&[0.0, 0.0, 1.0, 0.0, 0.0, 1.0], shape).collect();
        assert_eq!(found, [0, 7, 63, 0, 7, 63]);
        // Colours are averaged.
        let colour: Vec<u8> = kinds(&[0.0, 0.3, 0.6], ImageShape::new(1, 1, 3)).collect();
        assert_eq!(colour, [16]);
    }

    #[test]
    fn the_hottest_rectangle_is_the_best_of_all() {
        let (height, width) = (5, 6);
        let mut state = 12345_u64;
        for _ in 0..50 {
            let mut next = || {
                state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                ((state >> 33) % 9) as f64
            };
            let heat: Vec<f64> = (0..height * width).map(|_| next()).collect();
            let sum = |b: &HotBox| -> f64 {
                let rows = b.y..b.y + b.height;
                rows.map(|y| heat[y * width + b.x..][..b.width].iter().map(|h| h - UNUSUAL).sum::<f64>())
                    .sum()
            };
            let mut best = f64::NEG_INFINITY;
            for (y, x) in (0..height).flat_map(|y| (0..width).map(move |x| (y, x))) {
                for (rows, columns) in (1..=height - y).flat_map(|r| (1..=width - x).map(move |c| (r, c))) {
                    best = best.max(sum(&HotBox { y, x, height: rows, width: columns }));
                }
            }
            let (found, value) = hottest(&heat, width);
            assert_eq!((sum(&found), value), (best, best), "{heat:?}");
        }
    }

    #[test]
    fn boxes_do_not_meet_and_end_at_the_threshold() {
        let mut heat = vec![0.0; 64];
        for (y, x, value) in
            [(1, 1, 20.0), (1, 2, 20.0), (2, 1, 20.0), (2, 2, 2.0), (5, 6, 15.0), (6, 6, 15.0), (7, 0, 9.0)]
        {
            heat[y * 8 + x] = value;
        }
        let found = boxes(&heat, 8, 10.0);
        let expected =
            [(1, 1, 2, 2), (5, 6, 2, 1)].map(|(y, x, height, width)| HotBox { y, x, height, width });
        assert_eq!(found, expected);
        assert!(boxes(&heat, 8, 60.0).is_empty());
        assert_eq!(boxes(&[20.0; 30], 6, 0.0), [HotBox { y: 0, x: 0, height: 5, width: 6 }]);
    }
}

//! Resizes an image: area averaging to shrink, bilinear interpolation to enlarge.
//!
//! With [`Fit::Crop`] the largest centred part of the image with the target's aspect ratio fills it, and the
//! rest is cut off. With [`Fit::Pad`] the whole image is centred in the target, and the rest has the
//! background's colour. With [`Fit::Stretch`] the aspect ratio is not kept.
//!
//! Each output row is a weighted sum of input rows, and each of its pixels a weighted sum of that row's
//! pixels: with weights a (rows) and b (columns), out(i, j) = Σₛ a(i, s) Σₜ b(j, t) in(s, t). The scale is s
//! = source/target.
//!
//! - s > 1: pixel j covers the source from j·s to (j+1)·s; a source pixel's weight is its covered part,
//!   divided by s.
//! - s < 1: pixel j lies at (j + ½)·s − ½ between two source pixels, weighted by their nearness; edges are
//!   repeated.
//! - s = 1: pixels are copied; if an odd number is cut off, the kept part begins half a pixel before the
//!   middle.

use super::options::Fit;

/// A pixel value that can be averaged.
pub(crate) trait Sample: Copy + Default + Send + Sync {
    fn to_f32(self) -> f32;
    fn from_f32(value: f32) -> Self;
}

impl Sample for u8 {
    fn to_f32(self) -> f32 {
        f32::from(self)
    }

    fn from_f32(value: f32) -> Self {
        (value + 0.5) as Self // cuts off below 0 and above 255
    }
}

impl Sample for f32 {
    fn to_f32(self) -> f32 {
        self
    }

    fn from_f32(value: f32) -> Self {
        value
    }
}

/// The source positions of one target position: `weights` from `start` on.
struct Taps {
    start: usize,
    weights: Vec<f32>,
}

/// The plan for resizing images of one size to another. Made once for many images.
pub(crate) struct Plan {
    /// The sizes before and after.
    from: (usize, usize),
    to: (usize, usize),
    channels: usize,
    /// The target's rows and columns before the first one that shows the image.
    top: usize,
    left: usize,
    rows: Vec<Taps>,
    columns: Vec<Taps>,
}

impl Plan {
    /// From (height, width) to (height, width), all nonzero.
    pub(crate) fn new(from: (usize, usize), to: (usize, usize), channels: usize, fit: Fit) -> Self {
        let (scale_y, scale_x) = (from.0 as f64 / to.0 as f64, from.1 as f64 / to.1 as f64);
        // Rows and columns of the target that show the image.
        let shown = match fit {
            Fit::Crop | Fit::Stretch => to,
            Fit::Pad => {
                let scale = scale_y.max(scale_x);
                let side = |from: usize, to: usize| ((from as f64 / scale).round() as usize).clamp(1, to);
                (side(from.0, to.0), side(from.1, to.1))
            }
        };
        let (rows, columns) = match fit {
            _ if from == to => (Vec::new(), Vec::new()),
            Fit::Crop => {
                let scale = scale_y.min(scale_x);
                (axis(from.0, to.0, scale), axis(from.1, to.1, scale))
            }
            Fit::Pad | Fit::Stretch => (
                axis(from.0, shown.0, from.0 as f64 / shown.0 as f64),
                axis(from.1, shown.1, from.1 as f64 / shown.1 as f64),
            ),
        };
        let (top, left) = ((to.0 - shown.0) / 2, (to.1 - shown.1) / 2);
        Self { from, to, channels, top, left, rows, columns }
    }

    /// Whether this is the plan for these sizes.
    pub(crate) fn is_for(&self, from: (usize, usize), to: (usize, usize)) -> bool {
        (self.from, self.to) == (from, to)
    }

    /// A row of sums, the working memory of [`run`](Self::run).
    pub(crate) fn scratch(&self) -> Vec<f32> {
        vec![0.0; if self.from == self.to { 0 } else { self.from.1 * self.channels }]
    }

    /// Resizes one image. `from` and `to` have the sizes given to [`Plan::new`] times the channels;
    /// `background` is a pixel.
    pub(crate) fn run<V: Sample>(&self, from: &[V], to: &mut [V], background: &[V], scratch: &mut [f32]) {
        if self.from == self.to {
            to.copy_from_slice(from);
            return;
        }
        if (self.rows.len(), self.columns.len()) != self.to {
            to.chunks_exact_mut(self.channels).for_each(|pixel| pixel.copy_from_slice(background));
        }
        let (stride, begin) = (self.from.1 * self.channels, self.left * self.channels);
        let rows = to.chunks_exact_mut(self.to.1 * self.channels).skip(self.top);
        for (taps, out) in self.rows.iter().zip(rows) {
            scratch.fill(0.0);
            for (row, &weight) in from[taps.start * stride..].chunks_exact(stride).zip(&taps.weights) {
                scratch.iter_mut().zip(row).for_each(|(sum, v)| *sum += weight * v.to_f32());
            }
            for (taps, pixel) in self.columns.iter().zip(out[begin..].chunks_exact_mut(self.channels)) {
                let from = &scratch[taps.start * self.channels..][..taps.weights.len() * self.channels];
                for (channel, value) in pixel.iter_mut().enumerate() {
                    let mut sum = 0.0;
                    for (source, weight) in from.chunks_exact(self.channels).zip(&taps.weights) {
                        sum += source[channel] * weight;
                    }
                    *value = V::from_f32(sum);
                }
            }
        }
    }
}

/// The weights along one axis of `from` source pixels, of which the middle `to · scale` become `to`.
fn axis(from: usize, to: usize, scale: f64) -> Vec<Taps> {
    let origin = (from as f64 - to as f64 * scale) / 2.0;
    // Pixels that keep their size are copied, not shifted by half a pixel.
    let origin = if scale == 1.0 { origin.floor() } else { origin };
    let last = from - 1;
    (0..to)
        .map(|j| {
            if scale > 1.0 {
                let begin = (origin + j as f64 * scale).clamp(0.0, from as f64);
                let end = (begin + scale).min(from as f64);
                let start = (begin.floor() as usize).min(last);
                let stop = (end.ceil() as usize).clamp(start + 1, from);
                let covered = |s: usize| (end.min(s as f64 + 1.0) - begin.max(s as f64)).max(0.0);
                let total: f64 = (start..stop).map(covered).sum();
                Taps { start, weights: (start..stop).map(|s| (covered(s) / total) as f32).collect() }
            } else {
                let center = (origin + (j as f64 + 0.5) * scale - 0.5).clamp(0.0, last as f64);
                let start = (center.floor() as usize).min(last);
                let part = (center - start as f64) as f32;
                let weights = if start == last { vec![1.0] } else { vec![1.0 - part, part] };
                Taps { start, weights }
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resized(
        from: &[f32],
        from_size: (usize, usize),
        to_size: (usize, usize),
        channels: usize,
    ) -> Vec<f32> {
        let plan = Plan::new(from_size, to_size, channels, Fit::Crop);
        let mut out = vec![0.0; to_size.0 * to_size.1 * channels];
        plan.run(from, &mut out, &[], &mut plan.scratch());
        out
    }

    #[test]
    fn halving_averages_blocks() {
        let from = [1.0, 3.0, 0.0, 0.0, 5.0, 7.0, 0.0, 8.0];
        assert_eq!(resized(&from, (2, 4), (1, 2), 1), [4.0, 2.0]);
    }

    #[test]
    fn three_to_two_weighs_by_the_covered_part() {
        let out = resized(&[0.0, 3.0, 6.0, 0.0, 3.0, 6.0, 0.0, 3.0, 6.0], (3, 3), (2, 2), 1);
        // Each covers one pixel and half of the next: (0 + 3/2)/1.5 = 1, (3/2 + 6)/1.5 = 5.
        for (found, expected) in out.iter().zip([1.0, 5.0, 1.0, 5.0]) {
            assert!((found - expected).abs() < 1e-6, "{out:?}");
        }
    }

    #[test]
    fn doubling_interpolates_and_repeats_the_edge() {
        assert_eq!(resized(&[0.0, 4.0, 0.0, 4.0], (2, 2), (2, 4), 1)[..4], [0.0, 1.0, 3.0, 4.0]);
    }

    #[test]
    fn the_centre_is_what_is_kept() {
        // 2×6 to 1×1: the middle 2×2.
        let from = [9.0, 9.0, 1.0, 2.0, 9.0, 9.0, 9.0, 9.0, 3.0, 4.0, 9.0, 9.0];
        assert_eq!(resized(&from, (2, 6), (1, 1), 1), [2.5]);
        // The same in a column, two channels.
        let from: Vec<f32> = from.iter().flat_map(|&v| [v, -v]).collect();
        assert_eq!(resized(&from, (2, 6), (1, 1), 2), [2.5, -2.5]);
    }

    #[test]
    fn a_constant_image_stays_constant_at_any_size() {
        for from in [(1, 1), (3, 7), (28, 28), (33, 47), (64, 5)] {
            for to in [(1, 1), (8, 8), (28, 28), (31, 17), (100, 3)] {
                let values = vec![200u8; from.0 * from.1 * 3];
                let plan = Plan::new(from, to, 3, Fit::Crop);
                let mut out = vec![0; to.0 * to.1 * 3];
                plan.run(&values, &mut out, &[], &mut plan.scratch());
                assert!(out.iter().all(|&v| v == 200), "{from:?} to {to:?}");
            }
        }
    }

    #[test]
    fn a_crop_of_an_odd_number_of_pixels_copies() {
        let from = [1.0, 9.0, 2.0, 8.0, 3.0, 7.0];
        assert_eq!(resized(&from, (1, 6), (1, 3), 1).len(), 3);
        assert_eq!(resized(&[1.0, 9.0, 2.0, 8.0], (2, 2), (2, 1), 1), [1.0, 2.0]);
        assert_eq!(resized(&from, (1, 6), (1, 1), 1), [2.0]);
        assert_eq!(resized(&from, (2, 3), (2, 2), 1), [1.0, 9.0, 8.0, 3.0]);
    }

    #[test]
    fn the_whole_image_is_padded_or_stretched() {
        let mut out = [0.0f32; 16];
        let mut run = |fit| {
            let plan = Plan::new((2, 4), (4, 4), 1, fit);
            plan.run(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0], &mut out, &[9.0], &mut plan.scratch());
            out
        };
        let bar = [9.0; 4];
        assert_eq!(run(Fit::Pad), *[bar, [1.0, 2.0, 3.0, 4.0], [5.0, 6.0, 7.0, 8.0], bar].as_flattened());
        let stretched = run(Fit::Stretch);
        assert_eq!([stretched[0], stretched[4], stretched[8], stretched[12]], [1.0, 2.0, 4.0, 5.0]);
        let cropped = run(Fit::Crop);
        assert_eq!(cropped[..4], [1.75, 2.25, 2.75, 3.25]);
    }
}

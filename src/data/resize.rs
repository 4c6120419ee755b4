//! Another size for an image: area averaging where it gets smaller, bilinear interpolation where it gets larger.
//!
//! The aspect is kept: the largest centred part of the image with the aspect of the target is what fills it, and the rest is cut off.
//! Each output row is a weighted sum of input rows, and each of its pixels a weighted sum of what that gives: with weights
//! a (rows) and b (columns), out(i, j) = Σₛ a(i, s) Σₜ b(j, t) in(s, t). One scale s = source/target serves both axes.
//!
//! - s > 1: pixel j covers the source from j·s to (j+1)·s, and each source pixel weighs by the part of it that is covered, over s.
//! - s < 1: pixel j lies at (j + ½)·s − ½ between two source pixels, which weigh by their nearness; edges are repeated.

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

/// Which source positions make up one target position: `weights` from `start` on.
struct Taps {
    start: usize,
    weights: Vec<f32>,
}

/// How images of one size become images of another. Made once for many images.
pub(crate) struct Plan {
    /// Nothing to do but copy.
    same: bool,
    width: usize,
    channels: usize,
    rows: Vec<Taps>,
    columns: Vec<Taps>,
}

impl Plan {
    /// From (height, width) to (height, width), none of them 0.
    pub(crate) fn new(from: (usize, usize), to: (usize, usize), channels: usize) -> Self {
        let same = from == to;
        // The larger side of the part that is used is the whole side of the image.
        let scale = (from.0 as f64 / to.0 as f64).min(from.1 as f64 / to.1 as f64);
        let (rows, columns) = match same {
            true => (Vec::new(), Vec::new()),
            false => (axis(from.0, to.0, scale), axis(from.1, to.1, scale)),
        };
        Self { same, width: from.1, channels, rows, columns }
    }

    /// Room for one row of sums.
    pub(crate) fn scratch(&self) -> Vec<f32> {
        vec![0.0; if self.same { 0 } else { self.width * self.channels }]
    }

    /// Resizes one image. `from` and `to` have the sizes given to [`Plan::new`] times the channels.
    pub(crate) fn run<V: Sample>(&self, from: &[V], to: &mut [V], scratch: &mut [f32]) {
        if self.same {
            to.copy_from_slice(from);
            return;
        }
        let stride = self.width * self.channels;
        for (taps, out) in self.rows.iter().zip(to.chunks_exact_mut(self.columns.len() * self.channels)) {
            scratch.fill(0.0);
            for (row, &weight) in from[taps.start * stride..].chunks_exact(stride).zip(&taps.weights) {
                scratch.iter_mut().zip(row).for_each(|(sum, v)| *sum += weight * v.to_f32());
            }
            for (taps, pixel) in self.columns.iter().zip(out.chunks_exact_mut(self.channels)) {
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
        let plan = Plan::new(from_size, to_size, channels);
        let mut out = vec![0.0; to_size.0 * to_size.1 * channels];
        plan.run(from, &mut out, &mut plan.scratch());
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
                let plan = Plan::new(from, to, 3);
                let mut out = vec![0; to.0 * to.1 * 3];
                plan.run(&values, &mut out, &mut plan.scratch());
                assert!(out.iter().all(|&v| v == 200), "{from:?} to {to:?}");
            }
        }
    }
}

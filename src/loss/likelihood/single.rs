//! Likelihoods with one number per pixel value, D numbers for D values:
//!
//! ```text
//! −ln p(x|z) = factor · Σ term(output, x) + D · constant          ∂/∂output = factor · term′(output, x)
//! ```
//!
//! A likelihood supplies its `term`, a function returning a value and a slope, and its [`Scale`]; the sums
//! are made here.

use crate::kernels::simd::vectorized;
use crate::tensor::Element;
use rayon::prelude::*;
use std::f64::consts::PI;

/// The conversion of a sum of terms to nats: factor · sum + values · constant.
pub(super) struct Scale {
    pub(super) factor: f64,
    pub(super) constant: f64,
}

impl Scale {
    /// The sum itself.
    pub(super) const PLAIN: Self = Self { factor: 1.0, constant: 0.0 };

    /// −ln N(x; x̂, σ²) from (x̂ − x)².
    pub(super) fn gaussian(variance: f64) -> Self {
        Self { factor: 0.5 / variance, constant: 0.5 * libm::log(2.0 * PI * variance) }
    }

    /// Sums of terms → nats, for images of `values` values.
    fn apply(&self, per_image: &mut [f64], values: usize) {
        for value in per_image {
            *value = self.factor * *value + self.constant * values as f64;
        }
    }
}

/// The nats of each image. `output` and `target` are B × D.
pub(super) fn forward<T: Element>(
    scale: &Scale,
    term: impl Fn(T, T) -> (T, T) + Sync,
    output: &[T],
    target: &[T],
    per_image: &mut [f64],
) {
    sums(output, target, per_image, term);
    scale.apply(per_image, output.len() / per_image.len());
}

/// The nats of each image, and the gradient of their mean in `d_output`.
pub(super) fn forward_backward<T: Element>(
    scale: &Scale,
    term: impl Fn(T, T) -> (T, T) + Sync,
    output: &[T],
    target: &[T],
    d_output: &mut [T],
    per_image: &mut [f64],
) {
    let slope_scale = T::from_f64(scale.factor / per_image.len() as f64);
    sums_and_slopes(output, target, d_output, per_image, slope_scale, term);
    scale.apply(per_image, output.len() / per_image.len());
}

/// Running sums per image, two AVX2 registers of `f32`, because each addition to a single sum would wait for
/// the previous one. With 8, the compiler unrolls the inner loop before it looks for vectors in it, and
/// Bernoulli takes five times as long.
pub(super) const LANES: usize = 32;

/// Pixels that are summed in `T` before the sum continues in `f64`: 64 additions per lane, which keeps the
/// rounding error of `f32` at some 10⁻⁶ for images of any size.
pub(super) const BLOCK: usize = 64 * LANES;

/// Images are distributed to threads in runs of at least this many pixels; a smaller task costs more to
/// distribute than to compute.
const PIXELS_PER_TASK: usize = 16 * 1024;

/// The images' shape, and the minimum number of them for a thread.
fn pieces<T>(output: &[T], target: &[T], images: usize) -> (usize, usize) {
    assert_eq!(output.len(), target.len(), "output and target have {} and {}", output.len(), target.len());
    assert!(images > 0 && !output.is_empty(), "a batch of {images} images and {} pixels", output.len());
    let pixels = output.len() / images;
    assert_eq!(pixels * images, output.len(), "{} pixels are not {images} equal images", output.len());
    (pixels, PIXELS_PER_TASK.div_ceil(pixels))
}

/// Writes Σ term(output, target) of each image. An image is summed by one thread, lane by lane and block by
/// block, so the order of additions does not depend on the thread.
pub(super) fn sums<T: Element>(
    output: &[T],
    target: &[T],
    per_image: &mut [f64],
    term: impl Fn(T, T) -> (T, T) + Sync,
) {
    let (pixels, images_per_task) = pieces(output, target, per_image.len());
    per_image
        .par_iter_mut()
        .zip(output.par_chunks_exact(pixels))
        .zip(target.par_chunks_exact(pixels))
        .with_min_len(images_per_task)
        .for_each(|((sum, output), target)| {
            vectorized!({
                *sum = 0.0;
                for (output, target) in output.chunks(BLOCK).zip(target.chunks(BLOCK)) {
                    let mut lanes = [T::ZERO; LANES];
                    let (outputs, last_outputs) = output.as_chunks::<LANES>();
                    let (targets, last_targets) = target.as_chunks::<LANES>();
                    for (output, target) in outputs.iter().zip(targets) {
                        for lane in 0..LANES {
                            lanes[lane] += term(output[lane], target[lane]).0;
                        }
                    }
                    for ((lane, &output), &target) in lanes.iter_mut().zip(last_outputs).zip(last_targets) {
                        *lane += term(output, target).0;
                    }
                    *sum += lanes.iter().map(|lane| lane.to_f64()).sum::<f64>();
                }
            })
        });
}

/// The same sums, bit-identical, and slope_scale · term′ of every pixel.
fn sums_and_slopes<T: Element>(
    output: &[T],
    target: &[T],
    d_output: &mut [T],
    per_image: &mut [f64],
    slope_scale: T,
    term: impl Fn(T, T) -> (T, T) + Sync,
) {
    let (pixels, images_per_task) = pieces(output, target, per_image.len());
    per_image
        .par_iter_mut()
        .zip(output.par_chunks_exact(pixels))
        .zip(target.par_chunks_exact(pixels))
        .zip(d_output.par_chunks_exact_mut(pixels))
        .with_min_len(images_per_task)
        .for_each(|(((sum, output), target), d_output)| {
            vectorized!({
                *sum = 0.0;
                let blocks = output.chunks(BLOCK).zip(target.chunks(BLOCK)).zip(d_output.chunks_mut(BLOCK));
                for ((output, target), d_output) in blocks {
                    let mut lanes = [T::ZERO; LANES];
                    let (outputs, last_outputs) = output.as_chunks::<LANES>();
                    let (targets, last_targets) = target.as_chunks::<LANES>();
                    let (d_outputs, last_d_outputs) = d_output.as_chunks_mut::<LANES>();
                    for ((output, target), d_output) in outputs.iter().zip(targets).zip(d_outputs) {
                        for lane in 0..LANES {
                            let (value, slope) = term(output[lane], target[lane]);
                            lanes[lane] += value;
                            d_output[lane] = slope * slope_scale;
                        }
                    }
                    let last = last_outputs.iter().zip(last_targets).zip(last_d_outputs);
                    for (lane, ((&output, &target), d_output)) in lanes.iter_mut().zip(last) {
                        let (value, slope) = term(output, target);
                        *lane += value;
                        *d_output = slope * slope_scale;
                    }
                    *sum += lanes.iter().map(|lane| lane.to_f64()).sum::<f64>();
                }
            })
        });
}

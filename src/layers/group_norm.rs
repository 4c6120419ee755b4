//! Group normalization: each group of channels of an image gets mean 0 and variance 1, then a scale and a
//! shift for each channel (Wu & He 2018).
//!
//! For a group of n = H·W·C/G numbers of one image, with mean m and variance v over the group:
//!
//! ```text
//! forward     r = 1/√(v + ε),  x̂ = (x − m)·r,  y = γ·x̂ + β                     γ and β of the channel
//! backward    dγ = Σ dy·x̂,  dβ = Σ dy                                          over pixels and images
//!             dx = r·(γ·dy − mean(γ·dy) − x̂·mean(γ·dy·x̂))                      means over the group
//! ```
//!
//! Derivation of dx: let g = γ·dy be the gradient with respect to x̂. x affects the loss in three ways.
//! Directly: ∂x̂/∂x = r gives r·g. Through m: every x̂ has ∂x̂/∂m = −r, and ∂m/∂x = 1/n, which gives
//! −r·mean(g). Through v: ∂x̂ᵢ/∂v = −½·x̂ᵢ·r² and ∂v/∂x = 2(x − m)/n = 2·x̂/(n·r), which gives
//! −r·x̂·mean(g·x̂). (v also depends on m, but ∂v/∂m = −2·mean(x − m) = 0.)
//!
//! No statistics are kept between batches, so an image gets the same numbers in a batch of any size. ε =
//! 10⁻⁵, PyTorch's default.
//!
//! m and v are summed channel by channel in blocks of 64 pixels, the blocks in double precision; v from the
//! differences to m, in a second pass, since E\[x²\] − m² loses precision if m is large. One thread processes
//! an image, so the order is always the same.
//!
//! [`GroupNorm::with_silu`] combines the layer with a following SiLU in one pass over memory. Forward, SiLU
//! is applied to a block of pixels right after its normalization. Backward, the input of SiLU is computed
//! from x again, instead of being stored and read. The results are those of the two separate layers.

use rayon::prelude::*;

use super::silu::{Silu, silu, silu_gradient};
use super::work::{MOST_TASKS, add_partials, task_images};
use super::{Backward, Describe, Forward, Init, Layer, ParameterSpec, Steps, Torch, WorkLen};
use crate::kernels::simd::vectorized;
use crate::tensor::{Element, ImageShape};

/// ε, which keeps the root away from 0.
const EPSILON: f64 = 1e-5;

/// Pixels summed in single precision before they are added to a sum in double precision.
const ROWS: usize = 64;

/// Channels that fill a vector.
const LANES: usize = 16;

/// Normalization of an image's channels in groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupNorm {
    /// The shape of input and output.
    pub shape: ImageShape,
    /// G, the groups; C is a multiple of it.
    pub groups: usize,
    /// Whether [SiLU](super::silu) is applied to the output, while it is in the cache.
    pub silu: bool,
}

impl GroupNorm {
    /// At most eight groups of at least four channels; fewer if the channels are not a multiple.
    pub fn new(shape: ImageShape) -> Self {
        let fits = |groups: &usize| shape.channels.is_multiple_of(*groups) && shape.channels / groups >= 4;
        Self { shape, groups: (1..=8).rev().find(fits).unwrap_or(1), silu: false }
    }

    /// The same with SiLU after it.
    pub fn with_silu(self) -> Self {
        Self { silu: true, ..self }
    }

    /// Numbers of a thread's block: four for each channel, and with SiLU its input at some pixels.
    fn scratch_len(&self) -> usize {
        self.shape.channels * (4 + if self.silu { ROWS } else { 0 })
    }

    /// a = γ·r and b = β − m·a of each channel, with which the normalized and scaled x is x·a + b.
    fn scale_and_shift<T: Element>(
        &self,
        [gamma, beta]: [&[T]; 2],
        [mean, inverse]: [&[T]; 2],
        a: &mut [T],
        b: &mut [T],
    ) {
        for c in 0..self.shape.channels {
            let group = c / self.width();
            a[c] = gamma[c] * inverse[group];
            b[c] = beta[c] - mean[group] * a[c];
        }
    }

    /// Channels of a group.
    fn width(&self) -> usize {
        self.shape.channels / self.groups
    }

    /// n, the numbers of a group of one image.
    fn count(&self) -> f64 {
        (self.shape.pixels() * self.width()) as f64
    }

    /// Σ over the group of the sums of its channels.
    fn group_sums<'a>(&self, channels: &'a [f64]) -> impl Iterator<Item = f64> + 'a {
        channels.chunks_exact(self.width()).map(|group| group.iter().sum::<f64>())
    }
}

impl Describe for GroupNorm {
    fn input(&self) -> ImageShape {
        self.shape
    }

    fn output(&self) -> ImageShape {
        self.shape
    }

    fn parameters(&self) -> Vec<ParameterSpec> {
        let vector = |name, init| ParameterSpec::vector(name, self.shape.channels, init);
        vec![vector("weight", Init::One), vector("bias", Init::Zero)]
    }

    /// m and r of every group of every image.
    fn kept_len(&self, batch: usize) -> usize {
        2 * batch * self.groups
    }

    fn work_len(&self) -> WorkLen {
        // For each task partial sums of dγ and dβ; the thread's block has also the sums of one image.
        let channels = self.shape.channels;
        WorkLen { scratch: self.scratch_len(), partials: MOST_TASKS * 2 * channels, transposed: 0 }
    }

    fn summary(&self) -> String {
        format!("group normalization, {} groups{}", self.groups, if self.silu { ", SiLU" } else { "" })
    }

    fn torch(&self, name: &str, torch: &mut Torch<'_>) {
        torch.need_image(self.shape);
        let constructor = format!("nn.GroupNorm({}, {})", self.groups, self.shape.channels);
        let call = torch.module(name, constructor, self.shape.channels, "");
        torch.apply(call, self.activation(), self.shape);
        if self.silu {
            Silu { shape: self.shape }.torch(name, torch);
        }
    }

    fn steps(&self, name: &str, steps: &mut Steps<'_>) {
        let sizes =
            [("pixels", self.shape.pixels()), ("channels", self.shape.channels), ("groups", self.groups)];
        steps.push_weighted("group_norm", &sizes, name, self.activation());
        if self.silu {
            Silu { shape: self.shape }.steps(name, steps);
        }
    }
}

/// sums[n][c] ← sums[n][c] + Σ over pixels of `term`(x[c], y[c], shift[c])[n], where `shift` is a number for
/// each channel, for up to [`ROWS`] pixels.
#[inline(always)]
fn add_channel_sums<T: Element, const N: usize>(
    x: &[T],
    y: &[T],
    shift: &[T],
    sums: &mut [&mut [f64]; N],
    term: impl Fn(T, T, T) -> [T; N],
) {
    let channels = shift.len();
    let mut first = 0;
    while first < channels {
        let left = channels - first;
        // Several channels at once, so that additions do not wait for each other.
        if left >= 2 * LANES {
            add_lanes::<T, N, { 2 * LANES }>(x, y, shift, first, sums, &term);
            first += 2 * LANES;
        } else if left >= LANES {
            add_lanes::<T, N, LANES>(x, y, shift, first, sums, &term);
            first += LANES;
        } else if left >= 4 {
            add_lanes::<T, N, 4>(x, y, shift, first, sums, &term);
            first += 4;
        } else {
            add_lanes::<T, N, 1>(x, y, shift, first, sums, &term);
            first += 1;
        }
    }
}

/// The sums of W channels from `first` on.
#[inline(always)]
fn add_lanes<T: Element, const N: usize, const W: usize>(
    x: &[T],
    y: &[T],
    shift: &[T],
    first: usize,
    sums: &mut [&mut [f64]; N],
    term: &impl Fn(T, T, T) -> [T; N],
) {
    let channels = shift.len();
    let mut lanes = [[T::ZERO; W]; N];
    let shift: &[T; W] = shift[first..].first_chunk().expect("as many channels");
    for (x, y) in x.chunks_exact(channels).zip(y.chunks_exact(channels)) {
        let (x, y) = (&x[first..first + W], &y[first..first + W]);
        for lane in 0..W {
            let terms = term(x[lane], y[lane], shift[lane]);
            for n in 0..N {
                lanes[n][lane] += terms[n];
            }
        }
    }
    for (sums, lanes) in sums.iter_mut().zip(lanes) {
        for (sum, lane) in sums[first..first + W].iter_mut().zip(lanes) {
            *sum += lane.to_f64();
        }
    }
}

/// out[p, c] ← `f`(p's numbers of channel c, a[c], b[c], e[c]).
#[inline(always)]
fn for_each_row<T: Element>(
    x: &[T],
    y: &[T],
    out: &mut [T],
    [a, b, e]: [&[T]; 3],
    f: impl Fn(T, T, T, T, T) -> T,
) {
    let channels = a.len();
    let rows = x.chunks_exact(channels).zip(y.chunks_exact(channels)).zip(out.chunks_exact_mut(channels));
    for ((x, y), out) in rows {
        let (x, y, out) = (&x[..channels], &y[..channels], &mut out[..channels]);
        let (a, b, e) = (&a[..channels], &b[..channels], &e[..channels]);
        for c in 0..channels {
            out[c] = f(x[c], y[c], a[c], b[c], e[c]);
        }
    }
}

/// The most channels whose sums fit on the stack of a task.
pub const MOST_CHANNELS: usize = 1024;

impl<T: Element> Layer<T> for GroupNorm {
    fn forward(&self, x: &[T], y: &mut [T], pass: Forward<'_, T>) {
        let (len, channels, groups) = (self.shape.len(), self.shape.channels, self.groups);
        let (gamma, beta) = (pass.parameters.get(0), pass.parameters.get(1));
        let scratch = &pass.work.scratch;
        let kept = pass.kept[..2 * pass.batch * groups].par_chunks_exact_mut(2 * groups);
        y.par_chunks_exact_mut(len).zip(x.par_chunks_exact(len)).zip(kept).for_each(|((y, x), kept)| {
            scratch.with(2 * channels, |numbers| {
                let mut sums = [0.0; MOST_CHANNELS];
                let sums = &mut sums[..channels];
                let (mean, inverse) = kept.split_at_mut(groups);
                let (a, b) = numbers.split_at_mut(channels);
                let block = ROWS * channels;
                sums.fill(0.0);
                vectorized!(for x in x.chunks(block) {
                    add_channel_sums(x, x, gamma, &mut [&mut *sums], |x, _, _| [x]);
                });
                for (mean, sum) in mean.iter_mut().zip(self.group_sums(sums)) {
                    *mean = T::from_f64(sum / self.count());
                }
                spread(mean, a);
                sums.fill(0.0);
                vectorized!(for x in x.chunks(block) {
                    add_channel_sums(x, x, a, &mut [&mut *sums], |x, _, mean| [(x - mean) * (x - mean)]);
                });
                for (inverse, sum) in inverse.iter_mut().zip(self.group_sums(sums)) {
                    *inverse = T::from_f64(1.0 / (sum / self.count() + EPSILON).sqrt());
                }
                self.scale_and_shift([gamma, beta], [&*mean, &*inverse], a, b);
                let (a, b) = (&*a, &*b);
                vectorized!(for (x, y) in x.chunks(block).zip(y.chunks_mut(block)) {
                    for_each_row(x, x, y, [a, b, b], |x, _, a, b, _| x * a + b);
                    if self.silu {
                        y.iter_mut().for_each(|y| *y = silu(*y));
                    }
                });
            });
        });
    }

    fn backward(&self, x: &[T], _y: &[T], dy: &mut [T], dx: Option<&mut [T]>, mut pass: Backward<'_, T>) {
        let (len, channels, groups) = (self.shape.len(), self.shape.channels, self.groups);
        let (gamma, beta) = (pass.parameters.get(0), pass.parameters.get(1));
        let task = task_images(pass.batch);
        let scratch = &pass.work.scratch;
        let partials = &mut pass.work.partials[..pass.batch.div_ceil(task) * 2 * channels];
        let one_image = |sums: &mut [T], x: &[T], dy: &mut [T], kept: &[T], dx: Option<&mut [T]>| {
            scratch.with(self.scratch_len(), |numbers| {
                let mut of_channels = [[0.0; MOST_CHANNELS]; 2];
                let [of_dy, of_product] = &mut of_channels;
                let (of_dy, of_product) = (&mut of_dy[..channels], &mut of_product[..channels]);
                let (mean, inverse) = kept.split_at(groups);
                let (means, rest) = numbers.split_at_mut(channels);
                spread(mean, means);
                let (p, rest) = rest.split_at_mut(channels);
                let (q, rest) = rest.split_at_mut(channels);
                let (t, before) = rest.split_at_mut(channels);
                self.scale_and_shift([gamma, beta], [mean, inverse], p, q);
                let (block, means, a, b) = (ROWS * channels, &*means, &*p, &*q);
                vectorized!(for (x, dy) in x.chunks(block).zip(dy.chunks_mut(block)) {
                    if self.silu {
                        // The input of SiLU, and the gradient with respect to it, in the place of dy.
                        let before = &mut before[..x.len()];
                        for_each_row(x, x, before, [a, b, b], |x, _, a, b, _| x * a + b);
                        dy.iter_mut().zip(before).for_each(|(dy, before)| *dy = silu_gradient(*before, *dy));
                    }
                    // Σ dy·x̂ = r·Σ dy·(x − m).
                    let sums = &mut [&mut *of_dy, &mut *of_product];
                    add_channel_sums(x, dy, means, sums, |x, dy, mean| [dy, dy * (x - mean)]);
                });
                for c in 0..channels {
                    of_product[c] *= inverse[c / self.width()].to_f64();
                    sums[c] += T::from_f64(of_product[c]);
                    sums[channels + c] += T::from_f64(of_dy[c]);
                    of_product[c] *= gamma[c].to_f64();
                    of_dy[c] *= gamma[c].to_f64();
                }
                let Some(dx) = dx else { return };
                // dx = dy·p + x·q + t with p = r·γ, q = −r²·mean(g·x̂), t = −r·mean(g) − m·q.
                let mut constants = [[0.0; 2]; MOST_CHANNELS];
                let of_groups = self.group_sums(of_dy).zip(self.group_sums(of_product));
                for ((constant, (g, product)), (m, r)) in
                    constants.iter_mut().zip(of_groups).zip(mean.iter().zip(inverse))
                {
                    let (m, r) = (m.to_f64(), r.to_f64());
                    let q = -r * r * product / self.count();
                    *constant = [q, -r * g / self.count() - m * q];
                }
                for c in 0..channels {
                    let group = c / self.width();
                    p[c] = gamma[c] * inverse[group];
                    (q[c], t[c]) = (T::from_f64(constants[group][0]), T::from_f64(constants[group][1]));
                }
                let (p, q, t) = (&*p, &*q, &*t);
                vectorized!(for_each_row(x, dy, dx, [p, q, t], |x, dy, p, q, t| dy * p + (x * q + t)));
            });
        };
        let images = x.par_chunks(task * len).zip(dy.par_chunks_mut(task * len));
        let tasks = partials
            .par_chunks_exact_mut(2 * channels)
            .zip(images)
            .zip(pass.kept[..2 * pass.batch * groups].par_chunks(task * 2 * groups));
        let images_of = |x: &[T], dy: &mut [T], kept: &[T], visit: &mut dyn FnMut(&[T], &mut [T], &[T])| {
            let images = x.chunks_exact(len).zip(dy.chunks_exact_mut(len)).zip(kept.chunks_exact(2 * groups));
            images.for_each(|((x, dy), kept)| visit(x, dy, kept));
        };
        match dx {
            Some(dx) => {
                tasks.zip(dx.par_chunks_mut(task * len)).for_each(|(((sums, (x, dy)), kept), dx)| {
                    sums.fill(T::ZERO);
                    let mut dx = dx.chunks_exact_mut(len);
                    images_of(x, dy, kept, &mut |x, dy, kept| one_image(sums, x, dy, kept, dx.next()));
                });
            }
            None => tasks.for_each(|((sums, (x, dy)), kept)| {
                sums.fill(T::ZERO);
                images_of(x, dy, kept, &mut |x, dy, kept| one_image(sums, x, dy, kept, None));
            }),
        }
        add_partials(partials, &mut pass.gradients.weight_and_bias());
    }
}

/// A number for each group, repeated for each of its channels.
fn spread<T: Copy>(groups: &[T], channels: &mut [T]) {
    let width = channels.len() / groups.len();
    for (channels, &value) in channels.chunks_exact_mut(width).zip(groups) {
        channels.fill(value);
    }
}

#[cfg(test)]
pub(crate) fn examples() -> Vec<super::proof::Example> {
    use super::proof::Example;
    let shapes = [
        ((3, 2, 4), 2, 2),
        ((5, 4, 6), 3, 5),
        ((4, 4, 3), 1, 1),
        ((2, 3, 8), 8, 3),
        ((9, 8, 20), 5, 2),
        ((1, 1, 6), 2, 2),
    ];
    shapes
        .into_iter()
        .map(|((h, w, c), groups, batch)| {
            let silu = groups != 2;
            Example::new(GroupNorm { shape: ImageShape::new(h, w, c), groups, silu }, batch)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layers::proof::apply;

    #[test]
    fn a_large_mean_costs_no_digits_and_equal_numbers_become_the_bias() {
        let norm = GroupNorm { shape: ImageShape::new(8, 8, 4), groups: 1, silu: false };
        let x: Vec<f64> = (0..256).map(|i| 1e8 + f64::from(i % 7)).collect();
        let y = apply(&norm, 1, &x, &[&[1.0; 4], &[0.0; 4]]);
        let square = y.iter().map(|y| y * y).sum::<f64>() / 256.0;
        assert!((square - 1.0).abs() < 1e-4 && y.iter().sum::<f64>().abs() < 1e-5, "{square}");
        assert_eq!(apply(&norm, 1, &[5.0; 256], &[&[2.0; 4], &[0.25; 4]]), [0.25; 256]);
    }

    #[test]
    fn groups_have_four_channels_or_more() {
        let groups = |channels| GroupNorm::new(ImageShape::new(8, 8, channels)).groups;
        assert_eq!([3, 4, 8, 32, 64, 12, 30].map(groups), [1, 1, 2, 8, 8, 3, 6]);
    }
}

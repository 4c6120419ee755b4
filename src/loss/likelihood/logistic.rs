//! **Discretized logistic** and **logistic mixture** (Kingma et al. 2016, appendix C.1; Salimans et al. 2017,
//! section 2.1, without its autoregressive part).
//!
//! Bytes are scaled to [−1, 1], where neighbours are 2/255 apart. A byte has the mass that a logistic
//! distribution with mean μ and scale s has in its bin; the first bin reaches to −∞ and the last to +∞. In
//! units of bins, with the mean at c = 127.5·(μ + 1) and δ = 2/(255·s), byte k lies between the edges
//!
//! ```text
//! a = (k − ½ − c)·δ      b = (k + ½ − c)·δ = a + δ
//!
//! p = sigmoid(b) − sigmoid(a) = sigmoid(b)·sigmoid(−a)·(1 − e⁻ᵟ)
//!
//! −ln p = softplus(−b) + softplus(a) − ln(1 − e⁻ᵟ)          of byte 0: softplus(−b), of byte 255: softplus(a)
//! ```
//!
//! The product is exact (use the common denominator (1 + eᵃ)(1 + eᵇ)), and its logarithm has terms of one
//! sign only: nothing cancels, and there is no logarithm of a rounded 0, however far the mean is from the
//! byte. Adjacent bins share their edge, so the 256 probabilities add up to 1. With ∂a/∂c = −δ, ∂a/∂ln s = −a
//! and ∂δ/∂ln s = −δ,
//!
//! ```text
//! ∂/∂μ    = (sigmoid(−b) − sigmoid(a)) / s
//! ∂/∂ln s = b·sigmoid(−b) − a·sigmoid(a) + δ/(eᵟ − 1)       for bytes 0 and 255 the remaining terms
//! ```
//!
//! The decoder gives μ and ln s directly; ln s is clamped to [−7, 7], with derivative 0 outside. At −7 a bin
//! in the middle holds 0.973 of the mass, at 7 the two ends hold all but 0.0005 of it. An output of 0 is a
//! mean of mid-grey and a scale of half the range: 6.2 nats for grey, 1.3 for black and white, against 5.5
//! for equal probabilities. The mean of the distribution is approximated by μ, clamped to [−1, 1].
//!
//! **A mixture** of K of them has weights π = softmax(l):
//!
//! ```text
//! −ln p = ln Σ e^lᵢ − ln Σ e^(lᵢ + ln pᵢ)
//! ∂/∂lᵢ = πᵢ − rᵢ        for component i's μ and ln s: rᵢ times its own derivative       r = softmax(l + ln p)
//! ```
//!
//! Its numbers are K logits, K means, K log-scales.

use super::bytes::{ByteFamily, Rows, clamped, clamped_slope};
use super::family::MeanRule;
use super::single::LANES;
use crate::error::{Error, Result};
use crate::tensor::Element;
use std::ops::Range;

/// The bounds of ln s.
const LOG_SCALE: (f64, f64) = (-7.0, 7.0);

/// The most components of a mixture.
const MAX_COMPONENTS: usize = super::bytes::MAX_NUMBERS / 3;

#[derive(Clone, Copy)]
pub(super) struct DiscretizedLogistic;

impl ByteFamily for DiscretizedLogistic {
    fn name(&self) -> &'static str {
        "discretized-logistic"
    }

    fn numbers(&self) -> usize {
        2
    }

    #[inline(always)]
    fn nats<T: Element>(&self, rows: &mut Rows<T>, bytes: &[T; LANES]) -> [T; LANES] {
        let [means, log_scales] = rows else { unreachable!("two numbers") };
        logistic(means, log_scales, bytes)
    }

    fn means<T: Element>(&self, rows: &Rows<T>) -> [T; LANES] {
        rows[0].map(unit)
    }

    fn mean_slopes<T: Element>(&self, rows: &mut Rows<T>) {
        rows[0] = rows[0].map(unit_slope);
        rows[1] = [T::ZERO; LANES];
    }

    fn means_and_log_scales(&self) -> Option<[Range<usize>; 2]> {
        Some([0..1, 1..2])
    }

    fn output_meaning(&self) -> String {
        "the mean in [-1, 1] and the log-scale".into()
    }

    fn mean_rule(&self) -> MeanRule {
        MeanRule { name: "first_number", settings: Vec::new() }
    }

    fn torch_mean(&self) -> String {
        "(output.chunk(2, dim=1)[0].clamp(-1, 1) + 1) / 2".into()
    }
}

#[derive(Clone, Copy)]
pub(super) struct LogisticMixture {
    pub(super) components: usize,
}

impl ByteFamily for LogisticMixture {
    fn name(&self) -> &'static str {
        "logistic-mixture"
    }

    fn numbers(&self) -> usize {
        3 * self.components
    }

    fn settings(&self) -> Vec<(&'static str, f64)> {
        vec![("components", self.components as f64)]
    }

    fn with_setting(&self, setting: &str, value: f64) -> Option<Self> {
        // A value other than a whole number from 1 becomes 0, which `validate` refuses.
        let components = if value.fract() == 0.0 { value as usize } else { 0 };
        (setting == "components").then_some(Self { components })
    }

    fn validate(&self) -> Result<()> {
        if (1..=MAX_COMPONENTS).contains(&self.components) {
            return Ok(());
        }
        Err(Error::config(format!(
            "likelihood logistic-mixture has from 1 to {MAX_COMPONENTS} components, not {}",
            self.components
        )))
    }

    #[inline(always)]
    fn nats<T: Element>(&self, rows: &mut Rows<T>, bytes: &[T; LANES]) -> [T; LANES] {
        let k = self.components;
        let (logits, rest) = rows.split_at_mut(k);
        let (means, log_scales) = rest.split_at_mut(k);
        // l − max l, and then weights e^(l − max l); joint = l − max l + ln p of each component.
        subtract_largest(logits);
        let mut joint = [[T::ZERO; LANES]; MAX_COMPONENTS];
        let joint = &mut joint[..k];
        for (i, joint) in joint.iter_mut().enumerate() {
            let nats = logistic(&mut means[i], &mut log_scales[i], bytes);
            for lane in 0..LANES {
                joint[lane] = logits[i][lane] - nats[lane];
            }
        }
        let largest = subtract_largest(joint);
        let prior_sum = exp_and_sum(logits);
        let joint_sum = exp_and_sum(joint);
        let mut nats = [T::ZERO; LANES];
        for lane in 0..LANES {
            nats[lane] = prior_sum[lane].ln() - joint_sum[lane].ln() - largest[lane];
        }
        for i in 0..k {
            for lane in 0..LANES {
                let responsibility = joint[i][lane] / joint_sum[lane];
                logits[i][lane] = logits[i][lane] / prior_sum[lane] - responsibility;
                means[i][lane] *= responsibility;
                log_scales[i][lane] *= responsibility;
            }
        }
        nats
    }

    fn means<T: Element>(&self, rows: &Rows<T>) -> [T; LANES] {
        let k = self.components;
        let mut weights = [[T::ZERO; LANES]; MAX_COMPONENTS];
        let weights = &mut weights[..k];
        weights.copy_from_slice(&rows[..k]);
        subtract_largest(weights);
        let sum = exp_and_sum(weights);
        let mut mean = [T::ZERO; LANES];
        for (weight, component) in weights.iter().zip(&rows[k..2 * k]) {
            for lane in 0..LANES {
                mean[lane] += weight[lane] / sum[lane] * unit(component[lane]);
            }
        }
        mean
    }

    /// m = Σ πᵢuᵢ has ∂m/∂lᵢ = πᵢ·(uᵢ − m) and ∂m/∂μᵢ = πᵢ·u′ᵢ; it does not depend on the scales.
    fn mean_slopes<T: Element>(&self, rows: &mut Rows<T>) {
        let k = self.components;
        let mean = self.means(rows);
        let (logits, rest) = rows.split_at_mut(k);
        let (means, log_scales) = rest.split_at_mut(k);
        subtract_largest(logits);
        let sum = exp_and_sum(logits);
        for (logits, means) in logits.iter_mut().zip(means) {
            for lane in 0..LANES {
                let weight = logits[lane] / sum[lane];
                logits[lane] = weight * (unit(means[lane]) - mean[lane]);
                means[lane] = weight * unit_slope(means[lane]);
            }
        }
        log_scales.fill([T::ZERO; LANES]);
    }

    fn means_and_log_scales(&self) -> Option<[Range<usize>; 2]> {
        let k = self.components;
        Some([k..2 * k, 2 * k..3 * k])
    }

    fn output_meaning(&self) -> String {
        format!("the logits, means in [-1, 1] and log-scales of {} components", self.components)
    }

    fn mean_rule(&self) -> MeanRule {
        MeanRule { name: "mixture", settings: vec![self.components as f64] }
    }

    fn torch_mean(&self) -> String {
        let parts = format!("output.unflatten(1, (3, {}, -1))", self.components);
        format!("({parts}[:, 0].softmax(1) * (({parts}[:, 1].clamp(-1, 1) + 1) / 2)).sum(1)")
    }
}

/// −ln p of one logistic in each lane; `means` and `log_scales` are replaced by the derivatives with respect
/// to them.
#[inline(always)]
fn logistic<T: Element>(
    means: &mut [T; LANES],
    log_scales: &mut [T; LANES],
    bytes: &[T; LANES],
) -> [T; LANES] {
    let mut nats = [T::ZERO; LANES];
    for lane in 0..LANES {
        (nats[lane], means[lane], log_scales[lane]) = bin(means[lane], log_scales[lane], bytes[lane]);
    }
    nats
}

/// −ln p of a byte, and its derivatives with respect to μ and ln s.
#[inline(always)]
fn bin<T: Element>(mean: T, log_scale: T, byte: T) -> (T, T, T) {
    let number = T::from_f64;
    let bounds = (number(LOG_SCALE.0), number(LOG_SCALE.1));
    let inverse_scale = (-clamped(log_scale, bounds)).exp();
    let delta = number(2.0 / 255.0) * inverse_scale;
    let from_mean = byte - (mean + T::ONE) * number(127.5);
    let a = (from_mean - number(0.5)) * delta;
    let b = (from_mean + number(0.5)) * delta;
    let (below, s_below) = softplus(a);
    let (above, s_above) = softplus(-b);
    let (bin, s_bin) = log_width(delta);
    // The first bin has no lower edge and the last no upper one; neither has a width.
    let keep = |condition: bool, value: T| if condition { value } else { T::ZERO };
    let (lower, upper) = (byte > number(0.5), byte < number(254.5));
    let nats = keep(lower, below) + keep(upper, above) + keep(lower & upper, bin);
    let (s_below, s_above) = (keep(lower, s_below), keep(upper, s_above));
    let d_mean = (s_above - s_below) * inverse_scale;
    let d_log_scale = b * s_above - a * s_below + keep(lower & upper, s_bin);
    (nats, d_mean, clamped_slope(log_scale, bounds, d_log_scale))
}

/// softplus(x) = ln(1 + eˣ) and its derivative sigmoid(x), from one exponential: with u = e^−|x| they are
/// max(x, 0) + ln(1 + u), and 1/(1 + u) or u/(1 + u).
#[inline(always)]
fn softplus<T: Element>(x: T) -> (T, T) {
    let u = (-x.abs()).exp();
    let w = T::ONE + u;
    let inverse = T::ONE / w;
    // The logarithm of the rounded w, and a first-order correction of the rounding.
    let log = w.ln() + (u - (w - T::ONE)) * inverse;
    let positive = x >= T::ZERO;
    (if positive { log + x } else { log }, if positive { inverse } else { u * inverse })
}

/// −ln(1 − e⁻ᵟ) and δ/(eᵟ − 1), for δ from 7·10⁻⁶ to 8.6. Below ½ the difference is the series
/// δ·(1 − δ/2! + δ²/3! − …), of which 14 terms leave an error of ½¹⁴/15! < 10⁻¹⁶.
#[inline(always)]
fn log_width<T: Element>(delta: T) -> (T, T) {
    const SERIES: [f64; 14] = [
        -1.0 / 87_178_291_200.0,
        1.0 / 6_227_020_800.0,
        -1.0 / 479_001_600.0,
        1.0 / 39_916_800.0,
        -1.0 / 3_628_800.0,
        1.0 / 362_880.0,
        -1.0 / 40_320.0,
        1.0 / 5_040.0,
        -1.0 / 720.0,
        1.0 / 120.0,
        -1.0 / 24.0,
        1.0 / 6.0,
        -1.0 / 2.0,
        1.0,
    ];
    let mut series = T::ZERO;
    for coefficient in SERIES {
        series = series * delta + T::from_f64(coefficient);
    }
    let u = (-delta).exp();
    let width = if delta < T::from_f64(0.5) { delta * series } else { T::ONE - u };
    (-width.ln(), delta * u / width)
}

/// μ in [−1, 1] → [0, 1].
#[inline(always)]
fn unit<T: Element>(mean: T) -> T {
    (clamped(mean, (-T::ONE, T::ONE)) + T::ONE) * T::from_f64(0.5)
}

/// The derivative of [`unit`].
#[inline(always)]
fn unit_slope<T: Element>(mean: T) -> T {
    clamped_slope(mean, (-T::ONE, T::ONE), T::from_f64(0.5))
}

/// Subtracts the largest number of each column from it, and returns these. (The maximum may ignore a NaN; the
/// column still has it.)
#[inline(always)]
fn subtract_largest<T: Element>(rows: &mut Rows<T>) -> [T; LANES] {
    let mut largest = rows[0];
    for row in rows[1..].iter() {
        for lane in 0..LANES {
            largest[lane] = if row[lane] > largest[lane] { row[lane] } else { largest[lane] };
        }
    }
    for row in rows {
        for lane in 0..LANES {
            row[lane] -= largest[lane];
        }
    }
    largest
}

/// Numbers → their exponentials; returns the sums of the columns.
#[inline(always)]
fn exp_and_sum<T: Element>(rows: &mut Rows<T>) -> [T; LANES] {
    let mut sum = [T::ZERO; LANES];
    for row in rows {
        for lane in 0..LANES {
            row[lane] = row[lane].exp();
            sum[lane] += row[lane];
        }
    }
    sum
}

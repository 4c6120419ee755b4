//! The byte of a pixel value in integers: its slots of 2²⁴, computed from the decoder's numbers for it.
//!
//! The 256 levels are put in an order (see below), and the s-th of them, counted from 0, gets the slots from
//! F(s) to F(s+1):
//!
//! ```text
//! F(s) = min(G(s), S) + s          F(0) = 0, F(256) = 2²⁴          S = 2²⁴ − 256
//! ```
//!
//! G is the likelihood's integer distribution function. It starts at 0 and never falls, so every level has at
//! least one slot and any byte can be coded. The 256 slots of 2²⁴ that are reserved for this cost 0.00002
//! bits.
//!
//! **logistic-mixture, discretized-logistic.** The levels keep their order. With Λ̃, the logistic function
//! from a table as in [`normal`](super::normal) (1/64 steps from −20 to 20 in units of 2⁻³², linear
//! interpolation):
//!
//! ```text
//! v(k) = Σᵢ wᵢ·Λ̃((k − ½ − 127.5·(μᵢ + 1))·2/(255·sᵢ)) / 2²⁴          G(k) = ⌊v(k)·S/2³²⌋
//! ```
//!
//! The integer weights wᵢ are ⌊πᵢ·2²⁴⌋, and the remainder to 2²⁴ is added to the first. Any G(k) takes K
//! evaluations, and a reader finds a level by bisection.
//!
//! **beta-binomial.** Its distribution function has no closed form, but neighbours have a simple ratio:
//!
//! ```text
//! p(s+1)/p(s) = (255 − s)/(s + 1) · (α + s)/(β + 254 − s)          p(0) = exp(R(β, 255) − R(α+β, 255))
//! ```
//!
//! with R from the likelihood's own file. So a walk from 0 to the level computes G(s) = Σₜ ⌊p(t)·S⌋ for t <
//! s. If α > β, the levels are reversed and α and β are exchanged. The mass is then near the start of the
//! walk, and p(0) is at least 10⁻⁷⁷; otherwise it could be 10⁻⁵⁰⁰, which is 0 in an `f64`.
//!
//! **Any other likelihood of bytes**: the levels keep their order, G(s) = Σₜ ⌊exp(ln p(t))·S⌋.
//!
//! All of this is computed in `f64` from the decoder's `f32` numbers, value by value, in the order written
//! here.

use super::normal::interpolate;
use super::rans::{Coder, Interval};
use crate::loss::Likelihood;
use crate::loss::likelihood::special::{exp, ln_rising};
use std::sync::LazyLock;

/// r: a level's slots are out of 2ʳ.
const BITS: u32 = 24;
const SLOTS: u32 = 1 << BITS;
/// S.
const SCALE: u32 = SLOTS - 256;

/// The most numbers of a pixel value in any likelihood.
const MAX_NUMBERS: usize = 96;

/// Pushes an image: `output` are the decoder's H·W × m·C numbers, `bytes` the H·W × C values.
pub(super) fn push(
    likelihood: &Likelihood,
    output: &[f32],
    channels: usize,
    bytes: &[u8],
    coder: &mut Coder,
) {
    with_levels(likelihood, Push { output, channels, bytes, coder });
}

/// Pops the image that [`push`] pushed with the same numbers.
pub(super) fn pop(
    likelihood: &Likelihood,
    output: &[f32],
    channels: usize,
    bytes: &mut [u8],
    coder: &mut Coder,
) {
    with_levels(likelihood, Pop { output, channels, bytes, coder });
}

/// The distribution of a level, made from the m numbers of its pixel value.
trait Levels: Sized {
    fn new(family: &Likelihood, numbers: &[f32]) -> Self;

    /// The slots of a byte.
    fn interval(&self, byte: u8) -> Interval;

    /// The byte of a slot.
    fn find(&self, slot: u32) -> (u8, Interval);
}

/// Work with one kind of distribution.
trait Job {
    fn run<L: Levels>(self, likelihood: &Likelihood);
}

fn with_levels(likelihood: &Likelihood, job: impl Job) {
    match likelihood {
        Likelihood::BetaBinomial => job.run::<BetaBinomial>(likelihood),
        Likelihood::DiscretizedLogistic => job.run::<Logistic>(likelihood),
        Likelihood::LogisticMixture { .. } => job.run::<Mixture>(likelihood),
        _ => job.run::<Table>(likelihood),
    }
}

/// Makes the distribution of each value, in the order in which values are pushed or popped.
fn distribution<L: Levels>(likelihood: &Likelihood, output: &[f32], channels: usize, value: usize) -> L {
    let m = likelihood.numbers();
    let first = value / channels * (m * channels) + value % channels;
    let mut numbers = [0.0; MAX_NUMBERS];
    for (k, number) in numbers[..m].iter_mut().enumerate() {
        *number = output[first + k * channels];
    }
    L::new(likelihood, &numbers[..m])
}

struct Push<'a> {
    output: &'a [f32],
    channels: usize,
    bytes: &'a [u8],
    coder: &'a mut Coder,
}

impl Job for Push<'_> {
    /// The last value is pushed first, so that values are popped in order.
    fn run<L: Levels>(self, likelihood: &Likelihood) {
        for (value, &byte) in self.bytes.iter().enumerate().rev() {
            let levels: L = distribution(likelihood, self.output, self.channels, value);
            self.coder.push(levels.interval(byte), BITS);
        }
    }
}

struct Pop<'a> {
    output: &'a [f32],
    channels: usize,
    bytes: &'a mut [u8],
    coder: &'a mut Coder,
}

impl Job for Pop<'_> {
    fn run<L: Levels>(self, likelihood: &Likelihood) {
        for (value, byte) in self.bytes.iter_mut().enumerate() {
            let levels: L = distribution(likelihood, self.output, self.channels, value);
            *byte = self.coder.pop(BITS, |slot| levels.find(slot));
        }
    }
}

/// A number limited to ±`bound`; NaN stays NaN.
fn bounded(number: f32, bound: f64) -> f64 {
    f64::from(number).clamp(-bound, bound)
}

/// α, β and p(0); whether the levels are reversed.
struct BetaBinomial {
    alpha: f64,
    beta: f64,
    first: f64,
    reversed: bool,
}

/// (255 − s)/(s + 1).
static RATIOS: LazyLock<[f64; 255]> =
    LazyLock::new(|| std::array::from_fn(|s| (255 - s) as f64 / (s + 1) as f64));

impl BetaBinomial {
    /// Walks over the levels until `is_there(place, start, frequency)`.
    #[inline(always)]
    fn walk(&self, is_there: impl Fn(u32, u32, u32) -> bool) -> (u32, Interval) {
        let ratios = &*RATIOS;
        let (mut p, mut sum, mut start) = (self.first * f64::from(SCALE), 0, 0);
        for (place, ratio) in ratios.iter().enumerate() {
            sum = SCALE.min(sum + (p as u32).min(SCALE));
            let end = sum + place as u32 + 1;
            if is_there(place as u32, start, end - start) {
                return (place as u32, Interval { start, frequency: end - start });
            }
            start = end;
            let s = place as f64;
            p *= ratio * ((self.alpha + s) / (self.beta + (254.0 - s)));
        }
        (255, Interval { start, frequency: SLOTS - start })
    }
}

impl Levels for BetaBinomial {
    #[inline(always)]
    fn new(_: &Likelihood, numbers: &[f32]) -> Self {
        let (a, b) = (bounded(numbers[0], 9.0), bounded(numbers[1], 9.0));
        let reversed = a > b;
        let (a, b) = if reversed { (b, a) } else { (a, b) };
        let (alpha, beta) = (exp(a), exp(b));
        let first = exp(ln_rising(beta, 255.0).0 - ln_rising(alpha + beta, 255.0).0);
        Self { alpha, beta, first, reversed }
    }

    #[inline(always)]
    fn interval(&self, byte: u8) -> Interval {
        let wanted = u32::from(if self.reversed { 255 - byte } else { byte });
        self.walk(|place, _, _| place == wanted).1
    }

    #[inline(always)]
    fn find(&self, slot: u32) -> (u8, Interval) {
        let (place, interval) = self.walk(|_, start, frequency| slot - start < frequency);
        let byte = place as u8;
        (if self.reversed { 255 - byte } else { byte }, interval)
    }
}

/// Entries of the logistic table per unit of x, and its ends.
const STEPS: usize = 64;
const END: usize = 20;

/// 2³²/(1 + e⁻ˣ) at x = i/STEPS − END.
static LOGISTIC: LazyLock<Vec<u64>> = LazyLock::new(|| {
    let place = |i: usize| i as f64 / STEPS as f64 - END as f64;
    let mut table: Vec<u64> =
        (0..=2 * END * STEPS).map(|i| (4_294_967_296.0 / (1.0 + exp(-place(i)))).round() as u64).collect();
    // Beyond the table the function is 0 or 1.
    table[0] = 0;
    *table.last_mut().expect("it has entries") = 1 << 32;
    table
});

/// The logistic table, for a checksum.
pub(super) fn table() -> &'static [u64] {
    &LOGISTIC
}

/// The position of level 0's lower edge on the x axis of one logistic, and the distance between edges.
#[derive(Clone, Copy, Default)]
struct Edges {
    first: f64,
    distance: f64,
}

impl Edges {
    fn new(mean: f32, log_scale: f32) -> Self {
        let distance = exp(-bounded(log_scale, 7.0)) * (2.0 / 255.0);
        Self { first: 0.5 + (f64::from(mean) + 1.0) * 127.5, distance }
    }

    /// Λ̃ at the lower edge of a level, times 2³².
    #[inline(always)]
    fn below(&self, table: &[u64], level: u32) -> u64 {
        interpolate(table, (f64::from(level) - self.first) * self.distance, STEPS, END)
    }
}

/// Levels whose distribution function can be evaluated at any place.
trait Distribution {
    /// v(level)·2³².
    fn below(&self, level: u32) -> u64;

    /// F(level).
    #[inline(always)]
    fn cumulative(&self, level: u32) -> u32 {
        match level {
            0 => 0,
            256 => SLOTS,
            _ => ((self.below(level) * u64::from(SCALE)) >> 32) as u32 + level,
        }
    }

    #[inline(always)]
    fn interval_of(&self, byte: u8) -> Interval {
        let start = self.cumulative(u32::from(byte));
        Interval { start, frequency: self.cumulative(u32::from(byte) + 1) - start }
    }

    #[inline(always)]
    fn bisect(&self, slot: u32) -> (u8, Interval) {
        let (mut low, mut high, mut start, mut end) = (0, 256, 0, SLOTS);
        while high - low > 1 {
            let middle = (low + high) / 2;
            let value = self.cumulative(middle);
            if value <= slot {
                (low, start) = (middle, value);
            } else {
                (high, end) = (middle, value);
            }
        }
        (low as u8, Interval { start, frequency: end - start })
    }
}

struct Logistic {
    edges: Edges,
    table: &'static [u64],
}

impl Distribution for Logistic {
    #[inline(always)]
    fn below(&self, level: u32) -> u64 {
        self.edges.below(self.table, level)
    }
}

impl Levels for Logistic {
    fn new(_: &Likelihood, numbers: &[f32]) -> Self {
        Self { edges: Edges::new(numbers[0], numbers[1]), table: &LOGISTIC }
    }

    fn interval(&self, byte: u8) -> Interval {
        self.interval_of(byte)
    }

    fn find(&self, slot: u32) -> (u8, Interval) {
        self.bisect(slot)
    }
}

/// Integer weights, which add up to 2²⁴, and edges.
struct Mixture {
    parts: [(u64, Edges); MAX_NUMBERS / 3],
    count: usize,
    table: &'static [u64],
}

impl Distribution for Mixture {
    #[inline(always)]
    fn below(&self, level: u32) -> u64 {
        let parts = self.parts[..self.count].iter();
        parts.map(|(weight, edges)| weight * edges.below(self.table, level)).sum::<u64>() >> BITS
    }
}

impl Levels for Mixture {
    fn new(_: &Likelihood, numbers: &[f32]) -> Self {
        let k = numbers.len() / 3;
        let (logits, rest) = numbers.split_at(k);
        let mut parts = [(0, Edges::default()); MAX_NUMBERS / 3];
        let largest =
            logits.iter().fold(f32::NEG_INFINITY, |largest, &l| if l > largest { l } else { largest });
        // e⁻⁷⁰⁰ is far below one unit of a weight, and within the range of `exp`.
        let mut weights = [0.0; MAX_NUMBERS / 3];
        let mut sum = 0.0;
        for (weight, &logit) in weights.iter_mut().zip(logits) {
            *weight = exp((f64::from(logit) - f64::from(largest)).max(-700.0).min(0.0));
            sum += *weight;
        }
        let mut missing = u64::from(SLOTS);
        for i in 0..k {
            let weight = ((weights[i] / sum * f64::from(SLOTS)) as u64).min(missing);
            missing -= weight;
            parts[i] = (weight, Edges::new(rest[i], rest[k + i]));
        }
        parts[0].0 += missing;
        Self { parts, count: k, table: &LOGISTIC }
    }

    fn interval(&self, byte: u8) -> Interval {
        self.interval_of(byte)
    }

    fn find(&self, slot: u32) -> (u8, Interval) {
        self.bisect(slot)
    }
}

/// F of all levels.
struct Table {
    cumulative: [u32; 257],
}

impl Levels for Table {
    fn new(likelihood: &Likelihood, numbers: &[f32]) -> Self {
        let mut ln_p = [0.0_f32; 256];
        likelihood.log_probabilities(numbers, &mut ln_p);
        let mut cumulative = [SLOTS; 257];
        let mut sum = 0;
        for (level, &ln_p) in ln_p.iter().enumerate() {
            cumulative[level] = sum + level as u32;
            let p = exp(f64::from(ln_p).max(-700.0).min(0.0));
            sum = SCALE.min(sum + ((p * f64::from(SCALE)) as u32).min(SCALE));
        }
        Self { cumulative }
    }

    fn interval(&self, byte: u8) -> Interval {
        let (start, end) = (self.cumulative[usize::from(byte)], self.cumulative[usize::from(byte) + 1]);
        Interval { start, frequency: end - start }
    }

    fn find(&self, slot: u32) -> (u8, Interval) {
        let byte = (self.cumulative.partition_point(|&start| start <= slot) - 1) as u8;
        (byte, self.interval(byte))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::{Stream, stream};
    use rand::Rng;

    const KINDS: [Likelihood; 4] = [
        Likelihood::BetaBinomial,
        Likelihood::DiscretizedLogistic,
        Likelihood::LogisticMixture { components: 3 },
        Likelihood::LogisticMixture { components: 32 },
    ];

    /// The slots of all 256 bytes; checks that they cover all slots and are found again.
    fn intervals<L: Levels>(likelihood: &Likelihood, numbers: &[f32]) -> Vec<Interval> {
        let levels = L::new(likelihood, numbers);
        let all: Vec<Interval> = (0..=255).map(|byte| levels.interval(byte)).collect();
        let mut sorted = all.clone();
        sorted.sort_by_key(|interval| interval.start);
        let mut next = 0;
        for interval in &sorted {
            assert_eq!(interval.start, next, "{likelihood} {numbers:?}");
            assert!(interval.frequency > 0, "{likelihood} {numbers:?}");
            next += interval.frequency;
        }
        assert_eq!(next, SLOTS);
        for (byte, &interval) in all.iter().enumerate() {
            for slot in [interval.start, interval.start + interval.frequency - 1] {
                assert_eq!(levels.find(slot), (byte as u8, interval), "{likelihood} {numbers:?}");
            }
        }
        all
    }

    fn of(likelihood: &Likelihood, numbers: &[f32]) -> Vec<Interval> {
        match likelihood {
            Likelihood::BetaBinomial => intervals::<BetaBinomial>(likelihood, numbers),
            Likelihood::DiscretizedLogistic => intervals::<Logistic>(likelihood, numbers),
            _ => intervals::<Mixture>(likelihood, numbers),
        }
    }

    /// The same numbers from Python's `math.exp`.
    #[test]
    fn the_logistic_table_is_that_of_the_specification() {
        let mut checksum = crc32fast::Hasher::new();
        table().iter().for_each(|entry| checksum.update(&entry.to_le_bytes()));
        assert_eq!(checksum.finalize(), 0xc2d8_1659);
    }

    #[test]
    fn slots_are_the_likelihoods_probabilities() {
        for likelihood in KINDS {
            let mut rng = stream(5, Stream::Noise, 0);
            let mut draw = || f64::from(rng.next_u32()) / 2_147_483_648.0 - 1.0;
            let mut worst = 0.0_f64;
            for trial in 0..60 {
                let width = [1.0, 4.0, 9.5][trial % 3];
                let numbers: Vec<f32> = (0..likelihood.numbers()).map(|_| (width * draw()) as f32).collect();
                let slots = of(&likelihood, &numbers);
                let general = intervals::<Table>(&likelihood, &numbers);
                let mut ln_p = [0.0_f32; 256];
                likelihood.log_probabilities(&numbers, &mut ln_p);
                let mut excess = 0.0;
                for byte in 0..256 {
                    let p = f64::from(ln_p[byte]).exp();
                    let coded = |slots: &[Interval]| f64::from(slots[byte].frequency) / f64::from(SLOTS);
                    assert!((coded(&general) - p).abs() < 4e-5, "{likelihood} {byte}");
                    excess += p * (f64::from(ln_p[byte]) - coded(&slots).ln());
                }
                worst = worst.max(excess);
            }
            println!("{likelihood}: at most {worst:.6} nats more than the entropy");
            assert!(worst < 2e-4, "{likelihood}: {worst}");
        }
    }

    #[test]
    fn every_byte_has_slots_whatever_the_numbers_are() {
        let hostile = [0.0, -0.0, 1e38, -1e38, f32::INFINITY, f32::NEG_INFINITY, f32::NAN, 9.0, -9.0, 88.0];
        for likelihood in KINDS {
            let m = likelihood.numbers();
            for (i, a) in hostile.iter().enumerate() {
                for b in &hostile {
                    let mut numbers = vec![*a; m];
                    numbers[m - 1] = *b;
                    numbers[i % m] = *b;
                    of(&likelihood, &numbers);
                    intervals::<Table>(&likelihood, &numbers);
                }
            }
        }
    }
}

//! The latent variable in integers: buckets of equal prior mass, and the mass of a posterior in each.
//!
//! Each dimension of z is divided into K = 2ᵏ buckets of equal probability under the prior N(0, 1), so that a
//! bucket costs k bits under it (Townsend, Bird & Barber 2019, section 2.5.1). A bucket's z is its median:
//!
//! ```text
//! edge_j = Φ⁻¹(j/K), j = 1 … K−1     z_j = Φ⁻¹((2j+1)/2K), j = 0 … K−1     (rounded to multiples of 2⁻²⁰)
//! ```
//!
//! The posterior N(μ, σ²) assigns bucket j the slots from F(j) to F(j+1) of 2²⁸:
//!
//! ```text
//! F(j) = ⌊Φ̃((edge_j − μ)/σ)·(2²⁸ − K)⌋ + j          F(0) = 0, F(K) = 2²⁸
//! ```
//!
//! Φ̃ is a table of Φ in steps of 1/256, in units of 2⁻³², with linear interpolation between its entries, in
//! integers. It never falls, so every bucket has at least one slot for any μ and σ. (With 2²⁴ slots and K =
//! 2¹⁶ these reserved slots would choose a bucket far from the posterior for every eighth image of 32
//! dimensions: 0.6 % more bytes on MNIST.) The interpolation has no measurable cost: each step has its exact
//! mass, and inside it the density is off by less than 1/512 of |x|.
//!
//! These numbers are made by IEEE additions, multiplications and divisions only, and by the exponential of
//! [`special`], whose last digits are rounded away. docs/format.md and a test have the checksums of the
//! tables.

use super::rans::Interval;
use crate::loss::likelihood::special::exp;
use std::f64::consts::{PI, SQRT_2};
use std::sync::LazyLock;

/// r: the posterior's slots are 2ʳ.
pub(super) const BITS: u32 = 28;

/// The allowed numbers of bits k in a file.
pub(super) const LATENT_BITS: std::ops::RangeInclusive<u32> = 4..=16;

/// One unit of edges and medians.
const UNIT: f64 = 1.0 / (1 << 20) as f64;

/// Entries of the table per unit of x, and its ends.
const STEPS: usize = 256;
const END: usize = 8;

/// Φ and its density at x = i/STEPS − END.
static NORMAL: LazyLock<Vec<(f64, f64)>> = LazyLock::new(|| {
    let place = |i: usize| i as f64 / STEPS as f64 - END as f64;
    (0..=2 * END * STEPS).map(|i| normal(place(i))).collect()
});

/// Φ(x)·2³².
static TABLE: LazyLock<Vec<u64>> = LazyLock::new(|| {
    let mut table: Vec<u64> = NORMAL.iter().map(|(p, _)| (p * 4_294_967_296.0).round() as u64).collect();
    // Beyond the table the function is 0 or 1.
    table[0] = 0;
    *table.last_mut().expect("it has entries") = 1 << 32;
    table
});

/// Φ(x) and φ(x): Φ(x) = ½ + φ(x)·(x + x³/3 + x⁵/(3·5) + x⁷/(3·5·7) + …) (Abramowitz & Stegun 26.2.11).
fn normal(x: f64) -> (f64, f64) {
    let density = exp(-0.5 * x * x) / (SQRT_2 * PI.sqrt());
    let (mut term, mut sum, mut odd) = (x, x, 1.0);
    while term.abs() > 1e-18 * sum.abs() {
        odd += 2.0;
        term *= x * x / odd;
        sum += term;
    }
    (0.5 + density * sum, density)
}

/// Φ⁻¹(p) in units of 2⁻²⁰: from the table's entry at or below p with the series of Φ⁻¹ around it, u = (p −
/// Φ(x))/φ(x): x + u + x·u²/2 + (2x² + 1)·u³/6 + (6x³ + 7x)·u⁴/24.
fn quantile(p: f64) -> i32 {
    // The upper half mirrors the lower one.
    if p > 0.5 {
        return -quantile(1.0 - p);
    }
    let at = NORMAL.partition_point(|(value, _)| *value <= p).max(1) - 1;
    let (value, density) = NORMAL[at];
    let x = at as f64 / STEPS as f64 - END as f64;
    let u = (p - value) / density;
    let fourth = (6.0 * x * x * x + 7.0 * x) / 24.0;
    let third = (2.0 * x * x + 1.0) / 6.0;
    let z = x + u * (1.0 + u * (0.5 * x + u * (third + u * fourth)));
    (z / UNIT).round() as i32
}

/// The buckets of a dimension.
#[derive(Clone, Debug)]
pub(super) struct Buckets {
    /// k.
    bits: u32,
    /// Edges 0 to K; the first and last are never read.
    edges: Vec<f64>,
    /// z of each bucket.
    medians: Vec<f32>,
}

impl Buckets {
    /// 2^`bits` buckets.
    pub(super) fn new(bits: u32) -> Self {
        assert!(LATENT_BITS.contains(&bits), "{bits} bits");
        let count = 1_u32 << bits;
        let at = |numerator: u32| f64::from(quantile(f64::from(numerator) / f64::from(2 * count))) * UNIT;
        let edges = (0..=count).map(|j| if j == 0 || j == count { 0.0 } else { at(2 * j) }).collect();
        let medians = (0..count).map(|j| at(2 * j + 1) as f32).collect();
        Self { bits, edges, medians }
    }

    /// k.
    pub(super) fn bits(&self) -> u32 {
        self.bits
    }

    /// K.
    fn count(&self) -> u32 {
        1 << self.bits
    }

    /// z of a bucket.
    pub(super) fn median(&self, bucket: u32) -> f32 {
        self.medians[bucket as usize]
    }

    /// A bucket under the prior, in 2^k slots.
    pub(super) fn prior(bucket: u32) -> Interval {
        Interval { start: bucket, frequency: 1 }
    }

    /// All numbers, for a checksum.
    pub(super) fn numbers(&self) -> impl Iterator<Item = u32> {
        let inner = self.edges[1..self.edges.len() - 1].iter().map(|edge| (*edge as f32).to_bits());
        inner.chain(self.medians.iter().map(|median| median.to_bits()))
    }
}

/// One dimension of q(z|x), over buckets.
#[derive(Clone, Copy, Debug)]
pub(super) struct Posterior<'b> {
    buckets: &'b Buckets,
    table: &'b [u64],
    mu: f64,
    inverse_sigma: f64,
}

impl<'b> Posterior<'b> {
    /// N(μ, e^`log_variance`).
    pub(super) fn new(buckets: &'b Buckets, mu: f32, log_variance: f32) -> Self {
        let inverse_sigma = exp(-0.5 * f64::from(log_variance));
        Self { buckets, table: &TABLE, mu: f64::from(mu), inverse_sigma }
    }

    /// F(j).
    #[inline(always)]
    fn cumulative(&self, bucket: u32) -> u32 {
        let count = self.buckets.count();
        if bucket == 0 {
            return 0;
        }
        if bucket == count {
            return 1 << BITS;
        }
        let x = (self.buckets.edges[bucket as usize] - self.mu) * self.inverse_sigma;
        let slots = (u64::from((1 << BITS) - count) * cdf(self.table, x)) >> 32;
        slots as u32 + bucket
    }

    /// The slots of a bucket.
    pub(super) fn interval(&self, bucket: u32) -> Interval {
        let start = self.cumulative(bucket);
        Interval { start, frequency: self.cumulative(bucket + 1) - start }
    }

    /// The bucket of a slot.
    pub(super) fn find(&self, slot: u32) -> (u32, Interval) {
        let (mut low, mut high) = (0, self.buckets.count());
        let (mut start, mut end) = (0, 1 << BITS);
        while high - low > 1 {
            let middle = low + (high - low) / 2;
            let value = self.cumulative(middle);
            if value <= slot {
                (low, start) = (middle, value);
            } else {
                (high, end) = (middle, value);
            }
        }
        (low, Interval { start, frequency: end - start })
    }
}

/// Φ̃(x)·2³². It never falls as x grows; NaN counts as 0.
#[inline(always)]
pub(super) fn cdf(table: &[u64], x: f64) -> u64 {
    interpolate(table, x, STEPS, END)
}

/// Linear interpolation at x in a table of a distribution function from −`end` to `end` with `steps` entries
/// per unit, times 2³²; in units of 1/65536 of a step, rounded down.
#[inline(always)]
pub(super) fn interpolate(table: &[u64], x: f64, steps: usize, end: usize) -> u64 {
    let scale = (steps << 16) as f64;
    let last = ((2 * end * steps) << 16) as i64 - 1;
    // A conversion by `as` saturates at the ends of an i64, and makes NaN 0.
    let floor = (x * scale).floor() as i64;
    let place = floor.saturating_add(((end * steps) << 16) as i64).clamp(0, last) as usize;
    let (step, part) = (place >> 16, (place & 0xffff) as u64);
    table[step] + (((table[step + 1] - table[step]) * part) >> 16)
}

/// The table of Φ.
pub(super) fn table() -> &'static [u64] {
    &TABLE
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The same numbers from Python's `math.erfc` and `statistics.NormalDist`.
    #[test]
    fn the_tables_are_those_of_the_specification() {
        let mut checksum = crc32fast::Hasher::new();
        TABLE.iter().for_each(|entry| checksum.update(&entry.to_le_bytes()));
        assert_eq!(checksum.finalize(), 0xcab2_7b8e);
        for (bits, expected) in [(4, 0xde8d_d44e), (12, 0xacae_53b6), (16, 0xc69f_7190)] {
            let mut checksum = crc32fast::Hasher::new();
            Buckets::new(bits).numbers().for_each(|number| checksum.update(&number.to_le_bytes()));
            assert_eq!(checksum.finalize(), expected, "{bits} bits");
        }
    }

    #[test]
    fn the_normal_distribution_is_right() {
        // Python's statistics.NormalDist: cdf and inv_cdf.
        for (x, p) in [(-3.0, 0.0013498980316301035), (0.0, 0.5), (1.0, 0.8413447460685429), (7.0, 1.0)] {
            assert!((normal(x).0 - p).abs() < 1e-11, "{x}: {}", normal(x).0);
        }
        let quantiles = [
            (0.5, 0.0),
            (0.3, -0.5244005127080407),
            (1.0 / 65536.0, -4.169_569_330_2),
            (0.975, 1.959963984540054),
        ];
        for (p, z) in quantiles {
            assert!(
                (f64::from(quantile(p)) * UNIT - z).abs() < 1e-6,
                "{p}: {}",
                f64::from(quantile(p)) * UNIT
            );
        }
        assert!(TABLE.windows(2).all(|pair| pair[0] <= pair[1]));
    }

    #[test]
    fn every_bucket_has_slots_and_every_slot_a_bucket() {
        for bits in [4, 10] {
            let buckets = Buckets::new(bits);
            let numbers = [0.0, 0.3, -2.0, 3.9, 50.0, -1e30, f32::INFINITY, f32::NAN];
            for mu in numbers {
                for log_variance in [0.0, -20.0, 20.0, -4.0, f32::NAN] {
                    let posterior = Posterior::new(&buckets, mu, log_variance);
                    let mut next = 0;
                    for bucket in 0..1 << bits {
                        let interval = posterior.interval(bucket);
                        assert_eq!(interval.start, next, "{mu} {log_variance} {bucket}");
                        assert!(interval.frequency > 0, "{mu} {log_variance} {bucket}");
                        next += interval.frequency;
                        for slot in [interval.start, next - 1] {
                            assert_eq!(posterior.find(slot), (bucket, interval));
                        }
                    }
                    assert_eq!(next, 1 << BITS);
                }
            }
        }
    }

    #[test]
    fn a_posterior_like_the_prior_gives_all_buckets_the_same() {
        let buckets = Buckets::new(12);
        let posterior = Posterior::new(&buckets, 0.0, 0.0);
        for bucket in 0..1 << 12 {
            let frequency = f64::from(posterior.interval(bucket).frequency);
            assert!((frequency / 65536.0 - 1.0).abs() < 0.02, "{bucket}: {frequency}");
        }
    }
}

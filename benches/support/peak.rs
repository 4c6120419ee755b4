//! The processor's peak: fused multiply-adds per second, without loads or dependencies.
//!
//! A fused multiply-add has a latency of about four cycles, and two can start in each. So only at least eight
//! independent ones keep a core busy. The engine's own [`multiply_adds`] runs twelve, with the vectors that
//! its products use.
//!
//! The clock changes with temperature and load, so the peak is measured in the same run as the times compared
//! with it, on one thread and on all of them at once.

use std::sync::Barrier;
use std::time::Instant;

use elbo::kernels::simd::multiply_adds;

/// Runs; the best counts.
const RUNS: usize = 25;
/// Rounds of one timed run, about 2 ms.
const ROUNDS: usize = 1_000_000;

/// Floating-point operations per second, a multiply-add counted as two.
#[derive(Clone, Copy, Debug)]
pub struct Peak {
    /// One thread alone.
    pub one: f64,
    /// All threads at once.
    pub all: f64,
    /// The mean of the runs on all threads, as a share of the best: less than 1 if something else is running.
    /// (Not the median: another program spoils a few runs wholly and leaves the others alone.)
    pub quiet: f64,
}

impl Peak {
    /// Measures both, best of some runs, and warns if the machine is busy.
    pub fn measure(pool: &rayon::ThreadPool) -> Self {
        let sorted = |rate: &dyn Fn() -> f64| {
            let mut rates: Vec<f64> = (0..RUNS).map(|_| rate()).collect();
            rates.sort_by(f64::total_cmp);
            rates
        };
        let threads = pool.current_num_threads();
        let barrier = Barrier::new(threads);
        let all = || {
            let rates = pool.broadcast(|_| {
                barrier.wait();
                rate()
            });
            rates.iter().sum()
        };
        let (one, all) = (sorted(&rate), sorted(&all));
        let peak = Self { one: one[RUNS - 1], all: all[RUNS - 1], quiet: mean_rate(&all) / all[RUNS - 1] };
        if peak.quiet < 0.9 {
            eprintln!(
                "warning: the peak itself was {:.0} % of its best on average: something else is running, and the times are too long",
                100.0 * peak.quiet
            );
        }
        peak
    }

    /// The peak of some threads.
    pub fn of(&self, threads: usize) -> f64 {
        if threads == 1 { self.one } else { self.all }
    }
}

/// The rate over all runs together: equal work per run, so the harmonic mean.
fn mean_rate(rates: &[f64]) -> f64 {
    rates.len() as f64 / rates.iter().map(|rate| 1.0 / rate).sum::<f64>()
}

/// Operations per second of the current thread.
fn rate() -> f64 {
    let start = Instant::now();
    let operations = multiply_adds(ROUNDS);
    operations as f64 / start.elapsed().as_secs_f64()
}

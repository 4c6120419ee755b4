//! The most that this processor can do: fused multiply-adds per second, with nothing to load and nothing to wait for.
//!
//! A fused multiply-add has a latency of about four cycles, and two can start in each; so a core is busy only with
//! at least eight that don't depend on each other. [`chains`] runs twelve, as many as 16 vector registers hold beside
//! the two operands. The compiler makes vectors of them (build with `target-cpu=native`, as .cargo/config.toml has it).
//!
//! The clock changes with temperature and neighbours, so the peak is measured in the run whose shares it is for, on one
//! thread and on all of them at once.

use std::hint::black_box;
use std::sync::Barrier;
use std::time::Instant;

/// Numbers in a vector register.
const WIDTH: usize = if cfg!(target_feature = "avx512f") {
    16
} else if cfg!(target_feature = "avx") {
    8
} else {
    4
};
/// Multiply-adds that don't wait for each other.
const CHAINS: usize = 12;
/// Rounds of one timed run, about 2 ms.
const ROUNDS: usize = 1_000_000;

/// Floating-point operations per second, a multiply-add counted as two.
#[derive(Clone, Copy, Debug)]
pub struct Peak {
    /// One thread alone.
    pub one: f64,
    /// All threads at once.
    pub all: f64,
}

impl Peak {
    /// Measures both, best of some runs.
    pub fn measure(pool: &rayon::ThreadPool) -> Self {
        let best = |rate: &dyn Fn() -> f64| (0..9).map(|_| rate()).fold(0.0, f64::max);
        let threads = pool.current_num_threads();
        let barrier = Barrier::new(threads);
        let all = || {
            let rates = pool.broadcast(|_| {
                barrier.wait();
                rate()
            });
            rates.iter().sum()
        };
        Self { one: best(&rate), all: best(&all) }
    }

    /// The peak of some threads.
    pub fn of(&self, threads: usize) -> f64 {
        if threads == 1 { self.one } else { self.all }
    }
}

/// Operations per second of the current thread.
fn rate() -> f64 {
    let (factor, term) = black_box((0.9_f32, 0.1_f32));
    let start = Instant::now();
    black_box(chains(black_box(ROUNDS), factor, term));
    (2 * ROUNDS * CHAINS * WIDTH) as f64 / start.elapsed().as_secs_f64()
}

/// x ← x·factor + term in every lane of every chain: it settles at term/(1 − factor), so no number gets denormal.
#[inline(never)]
fn chains(rounds: usize, factor: f32, term: f32) -> f32 {
    let mut sums = [[0.5_f32; WIDTH]; CHAINS];
    for _ in 0..rounds {
        for sum in &mut sums {
            for lane in sum {
                *lane = multiply_add(*lane, factor, term);
            }
        }
    }
    sums.iter().flatten().sum()
}

/// Where there is no such instruction, `mul_add` would be a function call.
#[inline(always)]
fn multiply_add(x: f32, factor: f32, term: f32) -> f32 {
    if cfg!(any(target_feature = "fma", target_arch = "aarch64")) {
        x.mul_add(factor, term)
    } else {
        x * factor + term
    }
}

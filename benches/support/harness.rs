//! Time measurement: warm up, run many times, keep the minimum and the median.
//!
//! Machine noise has one direction only: other programs can make a run slower, nothing makes it faster. The
//! minimum is what the code can do, the median what it usually does; ratios between programs use medians.
//!
//! State that must be restored before every run is restored by `prepare`, which is not timed. (A backward
//! pass scales its gradient in place; after a thousand rounds it would consist of denormal numbers.)

use std::time::{Duration, Instant};

use super::options::Options;
use super::peak::Peak;
use super::table::{Row, Work};

/// How long to measure.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    /// Runs whose time is discarded, at least one.
    pub warm_up: Duration,
    /// Time for the runs that count.
    pub time: Duration,
    /// The least number of runs, even if they take longer.
    pub fewest: usize,
    /// The most runs, even if time is left.
    pub most: usize,
}

impl Budget {
    /// For one kernel.
    pub fn kernel(quick: bool) -> Self {
        let (warm_up, time) = if quick { (10, 60) } else { (40, 300) };
        Self {
            warm_up: Duration::from_millis(warm_up),
            time: Duration::from_millis(time),
            fewest: if quick { 3 } else { 7 },
            most: 400,
        }
    }

    /// For whole steps: they take longer and vary more.
    pub fn step(quick: bool) -> Self {
        let (warm_up, time) = if quick { (50, 500) } else { (300, 2500) };
        Self {
            warm_up: Duration::from_millis(warm_up),
            time: Duration::from_millis(time),
            fewest: 3,
            most: 60,
        }
    }
}

impl Budget {
    /// For a single row of a step or of generation.
    pub fn line(seconds: f64) -> Self {
        Self { time: Duration::from_secs_f64(seconds), most: 1000, ..Self::step(false) }
    }
}

/// The times of one thing, in seconds.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    /// The fastest run.
    pub min: f64,
    /// The middle one.
    pub median: f64,
}

/// Times `run`, with `prepare` before each.
pub fn measure<S>(
    budget: Budget,
    state: &mut S,
    mut prepare: impl FnMut(&mut S),
    mut run: impl FnMut(&mut S),
) -> Timing {
    let started = Instant::now();
    loop {
        prepare(state);
        run(state);
        if started.elapsed() >= budget.warm_up {
            break;
        }
    }
    let mut samples = Vec::with_capacity(budget.most);
    let started = Instant::now();
    while samples.len() < budget.fewest || (started.elapsed() < budget.time && samples.len() < budget.most) {
        prepare(state);
        let start = Instant::now();
        run(state);
        samples.push(start.elapsed().as_secs_f64());
    }
    samples.sort_by(f64::total_cmp);
    Timing { min: samples[0], median: samples[samples.len() / 2] }
}

/// Collects rows as they are measured.
#[derive(Debug)]
pub struct Bench<'a> {
    /// The command line.
    pub options: &'a Options,
    /// The processor's peak, measured again at intervals.
    pub peak: Peak,
    /// What has been measured.
    pub rows: Vec<Row>,
    /// The group of the next rows.
    group: String,
    /// The threads that they run on.
    pub threads: usize,
}

impl<'a> Bench<'a> {
    /// No rows yet.
    pub fn new(options: &'a Options, peak: Peak) -> Self {
        Self { options, peak, rows: Vec::new(), group: String::new(), threads: 1 }
    }

    /// Begins a group of rows. Call it in the pool of `threads` threads that runs the rows.
    pub fn begin(&mut self, group: &str, threads: usize) {
        self.group = group.into();
        self.threads = threads;
    }

    /// Whether any row whose name begins like this is selected; asked before its inputs are built.
    pub fn wants(&self, name: &str) -> bool {
        self.options.wants(&self.group, name)
    }

    /// Measures a row with the budget for kernels, if it is selected.
    pub fn row<S>(
        &mut self,
        name: &str,
        shape: &str,
        work: Work,
        state: &mut S,
        prepare: impl FnMut(&mut S),
        run: impl FnMut(&mut S),
    ) -> Option<Timing> {
        let budget = Budget::kernel(self.options.quick);
        self.measured(name, shape, work, || measure(budget, state, prepare, run))
    }

    /// Measures a row with its own budget and nothing to prepare, if it is selected.
    pub fn row_within<S>(
        &mut self,
        budget: Budget,
        name: &str,
        shape: &str,
        work: Work,
        state: &mut S,
        run: impl FnMut(&mut S),
    ) -> Option<Timing> {
        self.measured(name, shape, work, || measure(budget, state, |_| (), run))
    }

    fn measured(
        &mut self,
        name: &str,
        shape: &str,
        work: Work,
        measure: impl FnOnce() -> Timing,
    ) -> Option<Timing> {
        if !self.wants(name) {
            return None;
        }
        if self.options.list {
            println!("{} · {name}", self.group);
            return None;
        }
        let timing = measure();
        self.push(name, shape, work, timing);
        Some(timing)
    }

    /// Adds a row whose time is known, such as a difference of two others.
    pub fn push(&mut self, name: &str, shape: &str, work: Work, timing: Timing) {
        let peak = self.peak.of(self.threads);
        let row = Row {
            group: self.group.clone(),
            name: name.into(),
            shape: shape.into(),
            work,
            timing,
            threads: self.threads,
            peak,
        };
        row.print(self.rows.last().is_none_or(|last| last.group != row.group));
        self.rows.push(row);
    }
}

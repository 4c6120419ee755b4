//! `cargo bench`: every kernel at the presets' layer shapes, whole training steps, and generation.
//!
//! Each row has its time, its rate, and the rate's share of the FMA peak, which is measured in the same run
//! ([`support::peak`]). A row of a layer runs on all threads, as it does in training; kernels that run inside
//! a task use one. The last tables show the distribution of a step's time, and a summary.
//! `cargo bench -- --help` lists the options; benches/peers compares with PyTorch.

mod support;

use std::io;

use elbo::model::Preset;
use rayon::{ThreadPool, ThreadPoolBuilder};

use support::harness::Bench;
use support::layers::{group, preset_rows};
use support::options::{Mode, Options};
use support::peak::Peak;
use support::table::{Row, time, where_the_time_goes};
use support::{passes, products, steps};

/// Images in a training step.
const BATCH: usize = 128;
/// In the order in which they are printed.
const PRESETS: [Preset; 4] = [Preset::Conv, Preset::Mlp, Preset::Article, Preset::Residual];

fn main() -> io::Result<()> {
    let options = Options::from_arguments();
    let all = pool(options.threads)?;
    match options.mode {
        Mode::Table => table(&options, &all)?,
        Mode::Step(preset) => steps::print_step(&steps::config(preset, options.size), &options, &all),
        Mode::Sample(preset) => {
            steps::print_sample(&steps::config(preset, options.size), options.seconds, &all)
        }
        Mode::Growth => steps::print_growth(&all)?,
    }
    Ok(())
}

fn pool(threads: usize) -> io::Result<ThreadPool> {
    ThreadPoolBuilder::new().num_threads(threads).build().map_err(io::Error::other)
}

fn table(options: &Options, all: &ThreadPool) -> io::Result<()> {
    let one = pool(1)?;
    let mut bench = Bench::new(options, Peak::measure(all));
    println!(
        "FMA peak: {:.1} GFLOP/s on one thread, {:.1} on {}",
        bench.peak.one / 1e9,
        bench.peak.all / 1e9,
        options.threads
    );
    let usual = PRESETS.map(|preset| steps::config(preset, None));
    let large = PRESETS.map(|preset| steps::config(preset, Some((64, 64, 3))));

    for config in &usual {
        bench.peak = Peak::measure(all);
        all.install(|| preset_rows(&mut bench, config, BATCH));
    }
    let convolutional = [Preset::Conv, Preset::Article];
    for config in usual.iter().filter(|config| convolutional.contains(&config.preset)) {
        bench.peak = Peak::measure(all);
        one.install(|| passes::convolution_rows(&mut bench, config, BATCH));
    }
    one.install(|| products::product_rows(&mut bench));
    one.install(|| passes::elementwise_rows(&mut bench, BATCH));
    all.install(|| passes::loss_rows(&mut bench, BATCH));
    all.install(|| passes::data_rows(&mut bench, BATCH));

    // With one thread and with all threads, in turn for each preset, because the speed of machines drifts.
    let large =
        large.iter().filter(|c| c.preset != Preset::Residual && (!options.quick || c.preset == Preset::Conv));
    let steps = usual.iter().chain(large);
    let mut summary = Vec::new();
    for config in steps {
        bench.peak = Peak::measure(all);
        let mut on = |pool: &ThreadPool| {
            pool.install(|| {
                bench.begin("whole steps", pool.current_num_threads());
                steps::step_row(&mut bench, config, BATCH)?;
                bench.rows.last().cloned()
            })
        };
        let single = on(&one);
        let many = if options.threads > 1 { on(all) } else { single.clone() };
        summary.push((group(config), single, many));
    }
    for config in usual.iter().filter(|c| !options.quick || c.preset != Preset::Residual) {
        all.install(|| {
            bench.begin("generation", all.current_num_threads());
            steps::sample_row(&mut bench, config);
        });
    }
    if !options.list {
        print_summary(options, &bench, &summary);
    }
    refuse_impossible_shares(options, &bench.rows)
}

/// A rate above the peak is impossible: then the peak was measured wrongly, or too many operations were
/// counted. (Differences of two times and quick runs are too noisy for this check.)
fn refuse_impossible_shares(options: &Options, rows: &[Row]) -> io::Result<()> {
    let is_impossible = |row: &&Row| row.share() > 1.05 && !row.name.ends_with('≈');
    match rows.iter().find(is_impossible) {
        Some(row) if !options.quick => Err(io::Error::other(format!(
            "{}, {}: {:.0} % of the peak is more than there is; the machine was not quiet, or the bench is wrong",
            row.group,
            row.name,
            100.0 * row.share()
        ))),
        _ => Ok(()),
    }
}

fn print_summary(options: &Options, bench: &Bench<'_>, steps: &[(String, Option<Row>, Option<Row>)]) {
    for (group, _, many) in steps {
        where_the_time_goes(&bench.rows, group, many.as_ref().map(|row| row.timing.median));
    }
    let measured: Vec<_> =
        steps.iter().filter_map(|(name, one, many)| Some((name, one.as_ref()?, many.as_ref()?))).collect();
    if !measured.is_empty() {
        let threads = options.threads;
        println!("\nSummary: training steps, batch {BATCH}, medians");
        println!(
            "  {:<20} {:>10} {:>10} {:>8} {:>8} {:>8} {:>9}",
            "",
            "1 thread",
            format!("{threads} threads"),
            "speed-up",
            "peak 1",
            format!("peak {threads}"),
            "images/s"
        );
        for (name, one, many) in measured {
            println!(
                "  {name:<20} {:>10} {:>10} {:>8} {:>8} {:>8} {:>9.0}",
                time(one.timing.median),
                time(many.timing.median),
                format!("{:.2}", one.timing.median / many.timing.median),
                format!("{:.0} %", 100.0 * one.share()),
                format!("{:.0} %", 100.0 * many.share()),
                BATCH as f64 / many.timing.median,
            );
        }
    }
    let generation: Vec<&Row> = bench.rows.iter().filter(|row| row.group == "generation").collect();
    if !generation.is_empty() {
        println!("\nSummary: generation");
        for row in generation {
            println!("  {:<30} {:>10} for {}", row.name, time(row.timing.median), row.shape);
        }
    }
    println!(
        "\nFMA peak: {:.1} GFLOP/s on one thread, {:.1} on {} (measured last)",
        bench.peak.one / 1e9,
        bench.peak.all / 1e9,
        options.threads
    );
}

//! Whole training steps, generation, and how both grow.

use elbo::kernels::precision::Precision;
use elbo::layers::Describe;
use elbo::loss::Objective;
use elbo::model::Workspace;
use elbo::model::{Batch, ModelConfig, Preset, Vae};
use elbo::optim::adam::{Adam, AdamState, gradient_norm, norm_partials};

use super::harness::{Bench, Budget, Timing, measure};
use super::layers::group;
use super::options::Options;
use super::passes::{fill_noise, uniform};
use super::peak::Peak;
use super::table::{Work, time};

/// A model in training, and its batch.
struct Training {
    model: Vae<f32>,
    space: Workspace<f32>,
    images: Vec<f32>,
    noise: Vec<f32>,
    adam: AdamState,
    partials: Vec<f64>,
}

impl Training {
    fn new(config: &ModelConfig, batch: usize, precision: Precision) -> Self {
        let model = Vae::new(config.clone(), 0).expect("a preset");
        let images = uniform(1, batch * config.pixels());
        let unit = config.span() == elbo::data::Span::Unit;
        Self {
            space: model.training_workspace(batch).in_precision(precision),
            images: if unit { images.into_iter().map(f32::abs).collect() } else { images },
            noise: vec![0.0; batch * config.latent],
            adam: AdamState::new(model.parameters.len()),
            partials: vec![0.0; norm_partials([model.parameters.len()])],
            model,
        }
    }

    /// What training does for every batch: noise, forward, backward, the gradient's norm, Adam.
    fn step(&mut self) {
        fill_noise(0, self.adam.steps, &mut self.noise);
        let batch = Batch::new(&self.images);
        let values = self.model.gradients(batch, &self.noise, &Objective::ELBO, &mut self.space);
        let norm = gradient_norm([self.space.gradient()], &mut self.partials);
        assert!(values.loss.is_finite() && norm.is_finite(), "loss {}, gradient norm {norm}", values.loss);
        Adam::default().step(&mut self.model.parameters, self.space.gradient(), &mut self.adam, 1e-3, 1.0);
    }
}

/// The work of a step: its products' operations, and the images.
fn step_work(config: &ModelConfig, batch: usize) -> Work {
    let model: Vae<f32> = Vae::new(config.clone(), 0).expect("a preset");
    Work {
        flops: (batch * model.architecture().step_flops()) as f64,
        images: batch as f64,
        ..Work::default()
    }
}

/// One row: a training step of a preset, on the threads of the current pool.
pub fn step_row(bench: &mut Bench<'_>, config: &ModelConfig, batch: usize) -> Option<Timing> {
    let name = format!("{} step", group(config));
    if !bench.wants(&name) {
        return None;
    }
    let mut training = Training::new(config, batch, Precision::Single);
    let budget = Budget::step(bench.options.quick);
    let work = step_work(config, batch);
    bench.row_within(budget, &name, &format!("batch {batch}"), work, &mut training, Training::step)
}

/// Images generated at once, and in all.
const AT_ONCE: usize = 125;
const GENERATED: usize = 10_000;

struct Sampling {
    model: Vae<f32>,
    space: Workspace<f32>,
}

impl Sampling {
    fn new(config: &ModelConfig) -> Self {
        let model = Vae::new(config.clone(), 0).expect("a preset");
        Self { space: model.inference_workspace(AT_ONCE), model }
    }

    /// Noise, the decoder, and a sigmoid if it gives logits.
    fn generate(&mut self) {
        for part in 0..GENERATED / AT_ONCE {
            fill_noise(0, part as u64, &mut self.space.latent.z);
            std::hint::black_box(self.model.decode_means(AT_ONCE, &mut self.space));
        }
    }
}

/// One row: 10,000 images.
pub fn sample_row(bench: &mut Bench<'_>, config: &ModelConfig) -> Option<Timing> {
    let name = format!("{} generation", group(config));
    if !bench.wants(&name) {
        return None;
    }
    let mut sampling = Sampling::new(config);
    let flops = GENERATED * sampling.model.architecture().decoder.flops();
    let work = Work { flops: flops as f64, images: GENERATED as f64, ..Work::default() };
    let budget = Budget { fewest: 3, ..Budget::step(bench.options.quick) };
    let sizes = format!("{GENERATED} images");
    bench.row_within(budget, &name, &sizes, work, &mut sampling, Sampling::generate)
}

/// A preset at a size, or at the one that it is usually timed with.
pub fn config(preset: Preset, size: Option<(usize, usize, usize)>) -> ModelConfig {
    let usual = match preset {
        Preset::Article => (28, 28, 3),
        Preset::Residual => (64, 64, 3),
        _ => (28, 28, 1),
    };
    ModelConfig::new(preset, size.unwrap_or(usual))
}

/// `--step`: one line for scripts.
pub fn print_step(config: &ModelConfig, options: &Options, pool: &rayon::ThreadPool) {
    let Options { batch, precision, seconds, .. } = *options;
    let threads = pool.current_num_threads();
    let timing = pool.install(|| {
        measure(Budget::line(seconds), &mut Training::new(config, batch, precision), |_| (), Training::step)
    });
    let memory = peak_memory().map_or(String::new(), |bytes| format!(", peak memory {:.0} MB", bytes / 1e6));
    println!(
        "{} step {precision} threads {threads}: min {:.2} ms, median {:.2} ms, {:.0} images/s{memory}",
        config.preset.name(),
        1e3 * timing.min,
        1e3 * timing.median,
        batch as f64 / timing.median
    );
}

/// `--sample`: one line for scripts.
pub fn print_sample(config: &ModelConfig, seconds: f64, pool: &rayon::ThreadPool) {
    let timing = pool
        .install(|| measure(Budget::line(seconds), &mut Sampling::new(config), |_| (), Sampling::generate));
    println!(
        "{} sample threads {}: min {:.3} s, median {:.3} s for {GENERATED} images",
        config.preset.name(),
        pool.current_num_threads(),
        timing.min,
        timing.median
    );
}

/// `--growth`: every case in a process of its own, so that its peak memory is its own.
pub fn print_growth(pool: &rayon::ThreadPool) -> std::io::Result<()> {
    let threads = pool.current_num_threads();
    let peak = Peak::measure(pool).of(threads);
    println!(
        "A conv training step as images and batches grow · {threads} threads, peak {:.0} GFLOP/s\n",
        peak / 1e9
    );
    println!(
        "  {:<10} {:>6} {:>10} {:>9} {:>6} {:>12}",
        "image", "batch", "median", "images/s", "peak", "peak memory"
    );
    for side in [28, 64, 128] {
        let config = config(Preset::Conv, Some((side, side, 3)));
        for batch in [16, 128, 512] {
            let output = std::process::Command::new(std::env::current_exe()?)
                .args(["--step", "conv", "--size", &side.to_string(), "--batch", &batch.to_string()])
                .args(["--threads", &threads.to_string()])
                .output()?;
            let line = String::from_utf8_lossy(&output.stdout);
            let (Some(median), memory) =
                (number_after(&line, "median "), number_after(&line, "peak memory "))
            else {
                println!(
                    "  {side}×{side}×3 {batch:>6} failed: {}",
                    String::from_utf8_lossy(&output.stderr).trim()
                );
                continue;
            };
            let seconds = median / 1e3;
            println!(
                "  {:<10} {batch:>6} {:>10} {:>9.0} {:>6} {:>12}",
                format!("{side}×{side}×3"),
                time(seconds),
                batch as f64 / seconds,
                format!("{:.0} %", 100.0 * step_work(&config, batch).flops / seconds / peak),
                memory.map_or("·".into(), |mb| format!("{mb:.0} MB")),
            );
        }
    }
    Ok(())
}

fn number_after(line: &str, label: &str) -> Option<f64> {
    line.split_once(label)?.1.split_whitespace().next()?.parse().ok()
}

/// The peak memory of this process, if the system reports it (Linux).
fn peak_memory() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<f64>().ok()? * 1024.0)
}

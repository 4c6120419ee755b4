//! `elbo train`: trains a model, and resumes a run with `--resume`.

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};

use super::adversarial;
use super::common::{Ending, RUNS, load_images};
use super::notes;
use crate::error::{Error, Result};
use crate::report::adversarial::AdversarialMetrics;
use crate::report::grouped;
use crate::report::html::shell_word;
use crate::tensor::ImageShape;
use crate::train::adversarial::{Adversarial, AdversarialStep};
use crate::train::memory::needed;
use crate::train::report::has_collapsed;
use crate::train::run::{EpochReport, Observer, read_config, resumed_config};
use crate::train::start::with_network;
use crate::train::trainer::StepReport;
use crate::train::{
    Alone, Config, Leader, Outcome, Ranks, Run, TrainOptions, Trainer, Training, defaults, with_threads,
};

/// Train a model on images, into a new run folder
#[derive(Debug, Args)]
#[command(
    after_help = "Without options: the preset conv on the bundled MNIST digits, ten epochs, into runs/. Fewer than 13,000 images get more \
                  epochs.\nFor colour pictures, and those above 32 pixels, the training is chosen from the data, and a line for each choice \
                  gives the reason; options that you give take precedence, and with --preset nothing is chosen."
)]
pub(super) struct Train {
    #[command(flatten)]
    options: TrainOptions,
    /// Read options from a TOML file; flags take precedence
    #[arg(long, value_name = "FILE", conflicts_with = "resume", help_heading = "Run")]
    config: Option<PathBuf>,
    /// The new run folder [default: runs/DATE-TIME-PRESET]
    #[arg(long, value_name = "DIR", conflicts_with = "resume", help_heading = "Run")]
    out: Option<PathBuf>,
    /// Resume a run bit-exactly; only --epochs, --adversarial, --max-steps, --threads and --checkpoint-every
    /// can be changed
    #[arg(long, value_name = "RUN", help_heading = "Run")]
    resume: Option<PathBuf>,
}

impl Train {
    pub(super) fn run(self) -> Result<Ending> {
        let stop = watch_for_interrupts(true)?;
        self.lead(&Leader::new(Arc::new(Alone)), &stop)
    }

    /// The run of rank 0, which other processes may follow.
    pub(super) fn lead(self, leader: &Leader, stop: &AtomicBool) -> Result<Ending> {
        match self.resume {
            Some(folder) => resume(&folder, self.options, leader, stop),
            None => start(self.options, self.config.as_deref(), self.out, leader, stop),
        }
    }
}

fn start(
    mut options: TrainOptions,
    file: Option<&Path>,
    out: Option<PathBuf>,
    leader: &Leader,
    stop: &AtomicBool,
) -> Result<Ending> {
    if let Some(path) = file {
        options = options.or(TrainOptions::read(path)?);
    }
    let options = with_network(options)?;
    // Before the images are read: nobody should wait for these messages.
    let config = Config::new(&options).or_else(|error| {
        let assumed = defaults::assumed(&options, 1000, ImageShape::new(64, 64, 3));
        assumed.and_then(|assumed| Config::new(&assumed)).map_err(|_| error)
    })?;
    out.as_deref().map_or(Ok(()), Run::refuse_existing)?;
    with_threads(config.threads, || {
        let data = load_images(&config.data, &config.load, &|images| {
            let assumed = defaults::assumed(&options, images.train, images.shape)?;
            Config::new(&assumed)?.check_memory(images)
        })?;
        say!("{}", data.description);
        let chosen = defaults::choose(&options, &data)?;
        notes::choices(chosen.as_ref()).into_iter().for_each(|line| say!("{line}"));
        let config = Config::new(chosen.as_ref().map_or(&options, |chosen| &chosen.options))?;
        leader.check(&config)?;
        let folder = out.unwrap_or_else(|| new_folder(config.preset.name()));
        let is_open = config.epochs.is_none() && config.max_steps.is_none();
        let holds_out = config.valid.is_none();
        let run = Training::from_config(config, data).start(&folder)?;
        is_open.then(|| notes::chosen(run.trainer())).flatten().into_iter().for_each(|note| say!("{note}"));
        holds_out
            .then(|| notes::few_held_out(run.trainer()))
            .flatten()
            .into_iter()
            .for_each(|note| say!("{note}"));
        notes::few_steps(run.trainer()).into_iter().for_each(|warning| say!("{warning}"));
        train(run, &folder, leader, stop, chosen.is_some())
    })?
}

fn resume(folder: &Path, options: TrainOptions, leader: &Leader, stop: &AtomicBool) -> Result<Ending> {
    let mut rest = options.clone();
    let m = &mut rest.model;
    (m.epochs, m.adversarial, m.max_steps, m.threads, m.checkpoint_every) = (None, None, None, None, None);
    if rest != TrainOptions::default() {
        return Err(Error::config(
            "--resume continues with the run's own options; only --epochs, --adversarial, --max-steps, --threads and --checkpoint-every \
             may be given again",
        ));
    }
    // Resuming reports errors in the folder.
    let threads = resumed_config(folder, options.clone()).map_or(0, |config| config.threads);
    with_threads(threads, || {
        let before = read_config(folder);
        let load =
            |config: &Config| load_images(&config.data, &config.load, &|images| config.check_memory(images));
        let run = Run::resume(folder, options, load)?;
        let note = before.ok().and_then(|before| notes::schedule_jump(&before, run.trainer()));
        note.into_iter().for_each(|note| say!("{note}"));
        train(run, folder, leader, stop, false)
    })?
}

/// `says_how_long`: whether a line after the first steps gives the expected duration.
fn train(
    mut run: Run,
    folder: &Path,
    leader: &Leader,
    stop: &AtomicBool,
    says_how_long: bool,
) -> Result<Ending> {
    leader.begin(&mut run)?;
    announce(&run, leader.ranks(), folder);
    let mut watcher = Watcher { says_how_long, ..Watcher::new(run.trainer()) };
    let outcome = run.train(stop, &mut watcher);
    watcher.finish();
    let outcome = outcome?;
    conclude(&run, folder, outcome);
    if outcome != Outcome::Interrupted {
        notes::learned_nothing(&mut run).into_iter().for_each(|warning| say!("{warning}"));
    }
    Ok(if outcome == Outcome::Interrupted { Ending::Interrupted } else { Ending::Done })
}

/// `runs/DATE-TIME-PRESET`, with a number if two start in the same second.
fn new_folder(preset: &str) -> PathBuf {
    let seconds =
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default().as_secs();
    let name = format!("{}-{preset}", super::common::date_and_time(seconds));
    let folder = |number: usize| {
        let suffix = if number == 1 { String::new() } else { format!("-{number}") };
        Path::new(RUNS).join(format!("{name}{suffix}"))
    };
    (1..).map(folder).find(|folder| folder.symlink_metadata().is_err()).expect("some number is free")
}

/// Becomes true on the first Ctrl-C; a second one ends the process at once. With several processes, one
/// `tells` it.
pub(super) fn watch_for_interrupts(tells: bool) -> Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&stop);
    ctrlc::set_handler(move || {
        if seen.swap(true, Ordering::Relaxed) {
            std::process::exit(130);
        }
        if tells {
            let text = "\nfinishing the step and saving; press Ctrl-C again to leave at once";
            let _ = writeln!(std::io::stderr(), "{text}");
        }
    })
    .map_err(|error| Error::config(format!("cannot watch for Ctrl-C: {error}")))?;
    Ok(stop)
}

fn announce(run: &Run, ranks: &dyn Ranks, folder: &Path) {
    let t = run.trainer();
    let c = t.model.config();
    say!(
        "{} with {} parameters, latent size {}, {} likelihood, {} divergence",
        c.preset.name(),
        grouped(t.model.parameters.len()),
        c.latent,
        c.likelihood.name(),
        t.config.divergence.name()
    );
    let memory = needed(&t.config, &t.model, t.batch_size());
    if memory > 1 << 30 {
        say!(
            "note: this network grows with the image; training it takes about {:.1} GiB of memory",
            memory as f64 / (1u64 << 30) as f64
        );
    }
    say!(
        "{} images to train on, {} to validate on, {} steps of {} images an epoch, {}{} threads",
        grouped(t.split.train.len()),
        grouped(t.split.validation.len()),
        grouped(t.steps_per_epoch() as usize),
        t.batch_size(),
        if ranks.count() > 1 { format!("{} processes of ", ranks.count()) } else { String::new() },
        rayon::current_num_threads()
    );
    let (step, epoch) = adversarial::place(run);
    if step > 0 {
        say!("resuming at step {step} (epoch {})", epoch + 1);
    }
    if !t.config.beta.ends_within(t.config.epochs() as f64) {
        say!(
            "warning: β warms up over {} epochs, and the run has {}: it never reaches {}",
            t.config.beta.epochs,
            t.config.epochs(),
            t.config.beta.to
        );
    }
    say!("run folder: {}", folder.display());
}

fn conclude(run: &Run, folder: &Path, outcome: Outcome) {
    let t = run.trainer();
    let shown = shell_word(&folder.to_string_lossy());
    match outcome {
        Outcome::Interrupted => {
            say!("stopped at step {}; resume with: elbo train --resume {shown}", adversarial::place(run).0);
            return;
        }
        Outcome::EndedEarly => {
            say!("no better for {} epochs, so the run ends here", t.progress.stale);
        }
        Outcome::Finished => {}
    }
    if let Some(best) = t.progress.best {
        let within = if t.progress.step_in_epoch > 0 { " (only whole epochs compete)" } else { "" };
        say!("best on the validation images: epoch {}, loss {:.2}{within}", best.epoch, best.loss);
    }
    run.adversarial().into_iter().for_each(|stage| say!("{}", adversarial::conclusion(t, stage)));
    if t.progress.spikes > 0 {
        say!("{} gradient spikes, {} steps left out", t.progress.spikes, t.progress.skipped);
    }
    say!("model:   {shown}/model.safetensors");
    say!("report:  {shown}/report.html  (open it in a browser)");
    say!("next:    elbo sample {shown}   elbo eval {shown}");
}

/// Shows progress: a bar on a terminal, plain lines elsewhere.
struct Watcher {
    bar: Option<ProgressBar>,
    shown: Instant,
    images: f64,
    seconds: f64,
    last: Instant,
    heading: bool,
    /// Whether the line with the expected duration is still to be printed.
    says_how_long: bool,
    /// Whether the latent dimensions were collapsed after the epoch before.
    collapsed: bool,
}

/// The seconds of steps, and the least number of steps, from which the duration is estimated.
const TELLING: (f64, u64) = (3.0, 5);

/// Time between plain lines within an epoch.
const LINE_EVERY: Duration = Duration::from_secs(30);

impl Watcher {
    fn new(trainer: &Trainer) -> Self {
        let bar = std::io::stdout().is_terminal().then(|| {
            let steps = adversarial::all_steps(trainer);
            let length = trainer.config.max_steps.unwrap_or(steps).min(steps);
            let bar =
                ProgressBar::with_draw_target(Some(length), indicatif::ProgressDrawTarget::stdout_with_hz(8));
            // One line even in a narrow terminal: with two, the bar would erase the message of Ctrl-C.
            let template = "{bar:12} step {pos}/{len} {wide_msg}";
            bar.set_style(ProgressStyle::with_template(template).expect("a template"));
            bar.set_position(trainer.progress.step);
            bar
        });
        let now = Instant::now();
        Self {
            bar,
            shown: now,
            images: 0.0,
            seconds: 0.0,
            last: now,
            heading: true,
            says_how_long: false,
            collapsed: false,
        }
    }

    fn steps_left(trainer: &Trainer) -> u64 {
        let all = adversarial::all_steps(trainer);
        trainer.config.max_steps.unwrap_or(all).min(all).saturating_sub(trainer.progress.step)
    }

    fn print(&self, line: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| say!("{line}")),
            None => say!("{line}"),
        }
        let _ = std::io::stdout().flush();
    }

    /// Counts the images of a step; their rate if it is time to show it.
    fn rate_if_due(&mut self, images: usize) -> Option<f64> {
        let now = Instant::now();
        let elapsed = now.duration_since(self.last).as_secs_f64();
        self.last = now;
        // A running mean over about a hundred steps.
        self.images = 0.99 * self.images + images as f64;
        self.seconds = 0.99 * self.seconds + elapsed;
        let every = if self.bar.is_some() { Duration::from_millis(120) } else { LINE_EVERY };
        (self.shown.elapsed() >= every).then(|| {
            self.shown = now;
            self.images / self.seconds.max(1e-9)
        })
    }

    fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// 75 s as 1m15s.
fn duration(seconds: f64) -> String {
    let s = seconds.round() as u64;
    match s {
        0..60 => format!("{s}s"),
        60..3600 => format!("{}m{:02}s", s / 60, s % 60),
        _ => format!("{}h{:02}m", s / 3600, s / 60 % 60),
    }
}

impl Observer for Watcher {
    fn adversarial_step(&mut self, trainer: &Trainer, stage: &Adversarial, step: &AdversarialStep) {
        let Some(rate) = self.rate_if_due(step.images) else { return };
        let (done, epoch) =
            (trainer.progress.step + stage.progress.step, trainer.progress.epoch + stage.progress.epoch + 1);
        let text = adversarial::progress(&stage.progress.mean());
        match &self.bar {
            Some(bar) => {
                bar.set_position(done);
                bar.set_message(format!("epoch {epoch} · {text} · {rate:.0} images/s"));
            }
            None => self.print(&format!("epoch {epoch} step {done}: {text}, {rate:.0} images/s")),
        }
    }

    fn adversarial_epoch(&mut self, _trainer: &Trainer, row: &AdversarialMetrics) {
        for line in adversarial::lines(row) {
            self.print(&line);
        }
        self.last = Instant::now();
    }

    fn step(&mut self, trainer: &Trainer, report: &StepReport) {
        let due = self.rate_if_due(report.images);
        if self.says_how_long && self.seconds >= TELLING.0 && trainer.progress.step >= TELLING.1 {
            self.says_how_long = false;
            let per_step = trainer.batch_size() as f64 * self.seconds / self.images;
            let left = duration(Self::steps_left(trainer) as f64 * per_step);
            self.print(&format!("a step takes {per_step:.2} s, so the run will take about {left}"));
        }
        let Some(rate) = due else { return };
        let p = &trainer.progress;
        let left = duration(Self::steps_left(trainer) as f64 * trainer.batch_size() as f64 / rate);
        let loss = trainer.epoch_means().loss;
        match &self.bar {
            Some(bar) => {
                bar.set_position(p.step);
                bar.set_message(format!(
                    "epoch {} · loss {loss:.2} · {rate:.0} images/s · {left} left",
                    p.epoch + 1
                ));
            }
            None => self.print(&format!(
                "epoch {} step {}: loss {loss:.2}, {rate:.0} images/s, {left} left",
                p.epoch + 1,
                p.step
            )),
        }
    }

    fn epoch(&mut self, trainer: &Trainer, report: &EpochReport) {
        if self.heading {
            self.print("epoch train −ELBO   recon     KL valid −ELBO   recon     KL active images/s");
            self.heading = false;
        }
        let (t, v) = (&report.train, &report.judgement.values);
        // The −ELBO's own reconstruction, with the normalizer that the loss of the squared error omits.
        let parts = |v: &crate::loss::LossValues| {
            format!("{:11.2} {:7.2} {:6.2}", v.negative_elbo, v.negative_elbo - v.kl, v.kl)
        };
        let valid = if report.held_out { parts(v) } else { format!("{:>26}", "-") };
        let latent = trainer.model.config().latent;
        let active = format!("{}/{latent}", report.judgement.active_units());
        let best = if report.is_best && report.held_out { " best" } else { "" };
        self.print(&format!(
            "{:>5} {} {valid} {active:>6} {:>8.0}{best}",
            report.epoch,
            parts(t),
            report.images_per_second
        ));
        // One warning for each collapse.
        let was_collapsed = std::mem::replace(&mut self.collapsed, has_collapsed(trainer, &report.judgement));
        if self.collapsed && !was_collapsed {
            let active = report.judgement.active_units();
            self.print(&format!(
                "warning: only {active} of {latent} latent dimensions are active (variance of μ above 0.01): the posterior has \
                 collapsed to the prior; --beta-warmup or --free-bits often help"
            ));
        }
        self.last = Instant::now();
    }
}

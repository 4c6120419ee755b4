//! The command line of `cargo bench -- …`.

use elbo::kernels::precision::Precision;
use elbo::model::Preset;

/// What `--help` prints.
const HELP: &str = "\
cargo bench [-- [OPTIONS] [FILTER]...]

Times every kernel at the presets' layer shapes, whole training steps and generation, and prints a table with the
share of the processor's FMA peak, which is measured in the same run.

  FILTER           only rows whose group and name contain all of these: conv backward, 'whole steps', adam
  --quick          fewer samples, and 64×64 images for conv only: under a minute
  --threads N      threads of the rows that use all of them (default: all that there are)
  --list           print the rows' names, time nothing

Instead of the table:
  --step PRESET    one line on a training step: min, median, images/s, peak memory  (conv, article, mlp, residual)
  --sample PRESET  one line on generating 10,000 images
      --size N | HxWxC    the images' size for these two (default 28x28x1, article 28x28x3, residual 64x64x3; N is NxNx3)
      --batch N           images in a step (default 128)
      --precision P       f32 or bf16, for a step (default f32)
      --seconds F         time for them (default 2.5)
  --growth         conv steps at 28, 64 and 128 pixels and batches of 16, 128 and 512, each in a process of its own
";

/// What is to be timed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// The table of everything.
    Table,
    /// One line on a training step.
    Step(Preset),
    /// One line on generation.
    Sample(Preset),
    /// Steps of growing sizes.
    Growth,
}

/// The parsed command line.
#[derive(Clone, Debug)]
pub struct Options {
    /// What is to be timed.
    pub mode: Mode,
    /// Fewer samples, and less that takes long.
    pub quick: bool,
    /// Names only.
    pub list: bool,
    /// Words that a row's name must contain, all of them, in lower case.
    pub filters: Vec<String>,
    /// Threads of the rows that use all of them.
    pub threads: usize,
    /// H, W, C if given.
    pub size: Option<(usize, usize, usize)>,
    /// Images in a step.
    pub batch: usize,
    /// In which precision a step multiplies.
    pub precision: Precision,
    /// Time for the one line on a step or on generation.
    pub seconds: f64,
}

impl Options {
    /// From the program's arguments; ends the program on `--help` and on what can't be understood.
    pub fn from_arguments() -> Self {
        match Self::parse(std::env::args().skip(1)) {
            Ok(Some(options)) => options,
            Ok(None) => {
                print!("{HELP}");
                std::process::exit(0)
            }
            Err(message) => {
                eprintln!("{message}\n\n{HELP}");
                std::process::exit(2)
            }
        }
    }

    fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Option<Self>, String> {
        let threads = std::thread::available_parallelism().map_or(1, |n| n.get());
        let mut options = Self {
            mode: Mode::Table,
            quick: false,
            list: false,
            filters: Vec::new(),
            threads,
            size: None,
            batch: 128,
            precision: Precision::Single,
            seconds: 2.5,
        };
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().ok_or_else(|| format!("{argument} needs a value after it"));
            match argument.as_str() {
                "--help" | "-h" => return Ok(None),
                "--bench" => {} // cargo passes it on
                "--quick" => options.quick = true,
                "--list" => options.list = true,
                "--growth" => options.mode = Mode::Growth,
                "--step" => options.mode = Mode::Step(preset(&value()?)?),
                "--sample" => options.mode = Mode::Sample(preset(&value()?)?),
                "--threads" => options.threads = number(&value()?)?,
                "--batch" => options.batch = number(&value()?)?,
                "--precision" => {
                    let precision: Precision =
                        value()?.parse().map_err(|error: elbo::Error| error.to_string())?;
                    precision.check().map_err(|error| error.to_string())?;
                    options.precision = precision;
                }
                "--seconds" => {
                    let text = value()?;
                    let seconds = text.parse().ok().filter(|&s: &f64| s.is_finite() && s > 0.0);
                    options.seconds = seconds.ok_or_else(|| format!("{text} is no number of seconds"))?;
                }
                "--size" => options.size = Some(size(&value()?)?),
                flag if flag.starts_with('-') => return Err(format!("there is no option {flag}")),
                word => options.filters.push(word.to_lowercase()),
            }
        }
        Ok(Some(options))
    }

    /// Whether a row of this group and name is wanted.
    pub fn wants(&self, group: &str, name: &str) -> bool {
        let full = format!("{group} {name}").to_lowercase();
        self.filters.iter().all(|word| full.contains(word.as_str()))
    }
}

fn preset(name: &str) -> Result<Preset, String> {
    name.parse().map_err(|error: elbo::Error| error.to_string())
}

fn number(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|&n| n > 0).ok_or_else(|| format!("{text} is not a number of at least 1"))
}

fn size(text: &str) -> Result<(usize, usize, usize), String> {
    let numbers = text.split('x').map(number).collect::<Result<Vec<_>, _>>()?;
    match numbers[..] {
        [side] => Ok((side, side, 3)),
        [height, width, channels] => Ok((height, width, channels)),
        _ => Err(format!("{text} is not a size such as 64 or 64x64x3")),
    }
}

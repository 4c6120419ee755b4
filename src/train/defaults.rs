//! What a training of one's own pictures is, if nothing but `--data` and `--size` says so: `elbo train --data FOLDER --size 64`.
//!
//! | pictures | chosen | why |
//! |---|---|---|
//! | grey, sides up to 32 | nothing: the plain defaults, `conv` with `bernoulli` | they are those of MNIST |
//! | colour, or a side above 32 | `--preset residual --latent 128` | normalized blocks learn more in the same time (measured in docs/performance.md) |
//! | of these, bytes | `--likelihood discretized-logistic` | exact for bytes, and learns which pixels are sure |
//! | 512 and more to train on | `--batch 16` | eight times the steps of 128 in the same time (measured) |
//! | 20,000 and more | `--batch 32` | there are enough steps |
//! | fewer than 512 | `--batch 8` or `4` | at least 32 steps an epoch, if there are 128 pictures |
//! | any number | as many epochs as show [`SEEN`] pictures, 5 to 300 | few pictures are seen often, many a few times |
//! | sides above 64 | fewer epochs, by the side | a step takes longer with the area |
//! | any | `--lr-schedule cosine --weight-average 0.999` | steps that end small, and their average |
//! | any | `--on-spike skip` | a step far off is left out |
//!
//! A flag or a key that a person gave wins, and with `--preset` or few labels nothing is chosen at all. With `--start-from` the network is the model's
//! ([`start`](super::start)); the rest is chosen if that is `residual`. The run's config.toml has every choice as if it had been given.

use std::path::Path;

use serde_json::Value;

use super::options::TrainOptions;
use crate::data::{Dataset, Range, Split};
use crate::error::Result;
use crate::model::Preset;
use crate::report::grouped;
use crate::tensor::ImageShape;

/// Pictures of up to 64×64 that a run sees in all.
pub const SEEN: usize = 80_000;
/// Epochs of a run.
const EPOCHS: (usize, usize) = (5, 300);
/// The longest side of grey pictures that are treated as MNIST's.
const LIKE_MNIST: usize = 32;
/// Up to this side a run sees [`SEEN`] pictures.
const USUAL_SIDE: usize = 64;

/// An option that was chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// Its name, as in a config file.
    pub option: &'static str,
    /// Its value, likewise.
    pub value: String,
    /// Why.
    pub reason: String,
}

/// The options of a training with everything chosen that was left open.
#[derive(Clone, Debug, PartialEq)]
pub struct Chosen {
    /// All options: the given and the chosen ones.
    pub options: TrainOptions,
    /// The pictures that the choice is for, in words.
    pub pictures: String,
    /// The chosen ones.
    pub choices: Vec<Choice>,
}

/// What the choice depends on.
#[derive(Clone, Copy, Debug)]
struct Pictures {
    /// Pictures to train on.
    count: usize,
    shape: ImageShape,
    /// Whether the values are bytes that stay bytes.
    are_bytes: bool,
}

/// Chooses what `options` leave open for these images; `None` if nothing is to be chosen, and the plain defaults hold.
///
/// # Errors
/// If the options cannot be understood, or leave no image to train on.
pub fn choose(options: &TrainOptions, data: &Dataset) -> Result<Option<Chosen>> {
    let images = &data.train;
    let split = Split::of(data, options.model.seed.unwrap_or(0), options.model.valid)?;
    let are_bytes =
        images.pixels.is_bytes() && images.range == Range::BYTES && options.data.binarize.is_none();
    choose_for(options, Pictures { count: split.train.len(), shape: images.shape(), are_bytes })
}

/// Whether something can be chosen at all: pictures are named, and no network but that of a model for such pictures.
fn is_open(options: &TrainOptions) -> bool {
    let m = &options.model;
    let is_for_these = m.start_from.is_some() && m.preset.as_deref() == Some(Preset::Residual.name());
    let is_decided = (m.preset.is_some() || m.start_from.is_some()) && !is_for_these;
    options.data.data.is_some() && !is_decided && m.labels.is_none() && m.labelled.is_none()
}

fn choose_for(options: &TrainOptions, pictures: Pictures) -> Result<Option<Chosen>> {
    let Pictures { count, shape, are_bytes } = pictures;
    let side = shape.height.max(shape.width);
    if !is_open(options) || (shape.channels == 1 && side <= LIKE_MNIST) {
        return Ok(None);
    }
    let m = &options.model;
    let mut choices = Vec::new();
    let mut choose = |option: &'static str, value: String, reason: String| {
        choices.push(Choice { option, value, reason });
    };
    let word = |word: &str| format!("\"{word}\"");
    // What only conv has was asked for.
    let needs_conv = m.hidden.is_some() || m.tie_weights == Some(true);
    let has_network = m.start_from.is_some();
    match (has_network, needs_conv) {
        (true, _) => {}
        (false, true) => choose("preset", word("conv"), "--hidden and --tie-weights are for it".into()),
        (false, false) => {
            let reason = "normalized blocks learn more of such pictures in the same time";
            choose("preset", word("residual"), reason.into());
            choose("latent", "128".into(), "enough for colour and outline".into());
        }
    }
    if are_bytes && m.tie_weights != Some(true) && !has_network {
        choose(
            "likelihood",
            word("discretized-logistic"),
            "exact for bytes, with a width for every pixel".into(),
        );
    }
    let batch = m.batch.unwrap_or_else(|| batch_for(count)).max(1);
    choose("batch", batch.to_string(), "small batches make more steps in the same time".into());
    let per_epoch = count.div_ceil(batch);
    let (epochs, reason) = match m.max_steps {
        Some(steps) => {
            (steps.div_ceil(per_epoch.max(1) as u64) as usize, "as many as --max-steps takes".into())
        }
        None => {
            let epochs = epochs_for(count, side);
            (
                epochs,
                format!(
                    "{} steps; {} pictures are seen",
                    grouped(epochs * per_epoch),
                    grouped(epochs * count)
                ),
            )
        }
    };
    // A model that has learned already may need only the adversarial stage, in which the rate is constant and no average is taken.
    if !(has_network && m.adversarial.is_some() && m.epochs.is_none()) {
        choose("epochs", epochs.max(1).to_string(), reason);
        choose("lr-schedule", word("cosine"), "large steps first, small ones at the end".into());
        choose(
            "weight-average",
            "0.999".into(),
            "the average of the last steps is better than the last".into(),
        );
    }
    choose("on-spike", word("skip"), "one bad batch does no harm".into());
    let Ok(Value::Object(given)) = serde_json::to_value(options) else {
        unreachable!("options are a table of numbers and texts")
    };
    choices.retain(|choice| !given.contains_key(choice.option));
    let text: String =
        choices.iter().map(|choice| format!("{} = {}\n", choice.option, choice.value)).collect();
    let chosen = TrainOptions::parse(&text, Path::new("the defaults"))?;
    let kind = if shape.channels == 1 { "grey" } else { "colour" };
    Ok(Some(Chosen {
        options: options.clone().or(chosen),
        pictures: format!("{} {kind} pictures of {}×{}", grouped(count), shape.height, shape.width),
        choices,
    }))
}

/// Images per step.
fn batch_for(count: usize) -> usize {
    match count {
        20_000.. => 32,
        512.. => 16,
        256.. => 8,
        _ => count.clamp(1, 4),
    }
}

/// Passes over the pictures.
fn epochs_for(count: usize, side: usize) -> usize {
    let seen = SEEN * USUAL_SIDE / side.max(USUAL_SIDE);
    seen.div_ceil(count.max(1)).clamp(EPOCHS.0, EPOCHS.1)
}

/// Options as they will be for `count` images of this shape, as far as that can be said before they are read: what cannot be is refused early.
///
/// # Errors
/// As [`choose`].
pub fn assumed(options: &TrainOptions, count: usize, shape: ImageShape) -> Result<TrainOptions> {
    let pictures = Pictures { count, shape, are_bytes: true };
    Ok(choose_for(options, pictures)?.map_or_else(|| options.clone(), |chosen| chosen.options))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::Config;

    fn options(text: &str) -> TrainOptions {
        TrainOptions::parse(&format!("data = \"pictures\"\n{text}"), Path::new("c.toml")).unwrap()
    }

    fn pictures(count: usize, side: usize, channels: usize) -> Pictures {
        Pictures { count, shape: ImageShape::new(side, side, channels), are_bytes: true }
    }

    fn chosen(text: &str, pictures: Pictures) -> Config {
        Config::new(&choose_for(&options(text), pictures).unwrap().unwrap().options).unwrap()
    }

    #[test]
    fn pictures_decide() {
        let icons = chosen("", pictures(3000, 64, 3));
        assert_eq!((icons.preset.name(), icons.latent, icons.batch), ("residual", 128, Some(16)));
        assert_eq!((icons.likelihood.name(), icons.epochs), ("discretized-logistic", Some(27)));
        assert_eq!((icons.lr_schedule.name(), icons.weight_average), ("cosine", Some(0.999)));
        // Few pictures are seen more often, many at least five times, large ones less often.
        let epochs = |count, side| chosen("", pictures(count, side, 3)).epochs.unwrap();
        assert_eq!([epochs(30, 64), epochs(270, 64), epochs(295_000, 64)], [300, 297, 5]);
        assert_eq!([epochs(3000, 28), epochs(3000, 128), epochs(3000, 256)], [27, 14, 7]);
        let batch = |count| chosen("", pictures(count, 64, 3)).batch.unwrap();
        assert_eq!([batch(2), batch(30), batch(270), batch(600), batch(300_000)], [2, 4, 8, 16, 32]);
        // Large grey pictures, too; those like MNIST's are left alone, and so is MNIST.
        assert_eq!(chosen("", pictures(3000, 64, 1)).preset.name(), "residual");
        assert_eq!(choose_for(&options(""), pictures(60_000, 28, 1)).unwrap(), None);
        assert_eq!(choose_for(&TrainOptions::default(), pictures(3000, 64, 3)).unwrap(), None);
        let densities = Pictures { are_bytes: false, ..pictures(3000, 64, 3) };
        assert_eq!(chosen("", densities).likelihood.name(), "bernoulli");
    }

    #[test]
    fn what_is_given_wins() {
        let text = "latent = 16\nlikelihood = \"optimal-gaussian\"\nepochs = 60\nbatch = 64\nlr-schedule = \"constant\"\n\
                    weight-average = 0.0\non-spike = \"stop\"\n";
        let config = chosen(text, pictures(3000, 64, 3));
        assert_eq!((config.latent, config.epochs, config.batch), (16, Some(60), Some(64)));
        assert_eq!((config.likelihood.name(), config.lr_schedule.name()), ("optimal-gaussian", "constant"));
        assert_eq!((config.weight_average, config.on_spike), (None, Some(crate::optim::OnSpike::Stop)));
        let conv = "start-from = \"run\"\npreset = \"conv\"";
        for text in ["preset = \"residual\"", "preset = \"conv\"", conv, "labelled = 10"] {
            assert_eq!(choose_for(&options(text), pictures(3000, 64, 3)).unwrap(), None, "{text}");
        }
        assert_eq!(chosen("hidden = [64]", pictures(3000, 64, 3)).preset.name(), "conv");
        assert_eq!(chosen("tie-weights = true", pictures(3000, 64, 3)).likelihood.name(), "bernoulli");
        assert_eq!(chosen("blocks = 2", pictures(3000, 64, 3)).blocks, Some(2));
        // The learning rate falls to 0 at the end that is asked for.
        assert_eq!(chosen("max-steps = 1000", pictures(3200, 64, 3)).epochs, Some(5));
    }

    #[test]
    fn a_model_keeps_its_network() {
        let text = "start-from = \"run\"\npreset = \"residual\"\nlatent = 8\nhidden = []\nlikelihood = \"laplace\"\n";
        let options = |more: &str| {
            let chosen =
                choose_for(&options(&format!("{text}{more}")), pictures(3000, 64, 3)).unwrap().unwrap();
            let names: Vec<&str> = chosen.choices.iter().map(|choice| choice.option).collect();
            (names.join(" "), Config::new(&chosen.options).unwrap())
        };
        let (names, config) = options("");
        assert_eq!(names, "batch epochs lr-schedule weight-average on-spike");
        assert_eq!((config.latent, config.likelihood.name(), config.batch), (8, "laplace", Some(16)));
        let (names, config) = options("adversarial = 2\n");
        assert_eq!(names, "batch on-spike");
        assert_eq!((config.epochs, config.adversarial), (Some(0), Some(2)));
    }

    #[test]
    fn every_choice_has_a_reason_and_is_written_to_the_file() {
        let chosen = choose_for(&options("latent = 16"), pictures(3000, 64, 3)).unwrap().unwrap();
        assert_eq!(chosen.pictures, "3,000 colour pictures of 64×64");
        assert!(chosen.choices.iter().all(|choice| !choice.reason.is_empty() && choice.option != "latent"));
        let file = Config::new(&chosen.options).unwrap().to_options().to_toml();
        for choice in chosen.choices {
            let line = format!("{} = {}", choice.option, choice.value);
            assert!(file.lines().any(|written| written == line), "{line} is not in {file}");
        }
    }
}

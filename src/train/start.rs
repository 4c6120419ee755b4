//! `--start-from`: a run that begins with the weights of a saved model instead of random ones.
//!
//! The network is the model's: options about it that are left out are taken from the model ([`with_network`]), and those that contradict it are
//! refused. Only the weights are taken besides: Adam's moments, schedules and the data begin as in any run. A resumed run has its weights from its
//! checkpoint, so the model is not needed again.

use std::path::{Path, PathBuf};

use super::config::Config;
use super::options::{ModelOptions, TrainOptions};
use crate::error::{Error, Result};
use crate::model::{ModelConfig, Vae};

/// The options of a training with those about the network taken from the model that it begins with, as far as they are left out. Without
/// `start_from`, the options as they are.
///
/// # Errors
/// If the model cannot be read, or a given option contradicts it.
pub fn with_network(options: TrainOptions) -> Result<TrainOptions> {
    let Some(place) = &options.model.start_from else { return Ok(options) };
    let path = model_path(place);
    let model = Vae::load_within(&path, options.data.load_options()?.max_memory)?;
    let found = model.config();
    let network = network(found, &options.model);
    let options = options.or(TrainOptions { model: network, ..TrainOptions::default() });
    let wanted = Config::new(&options)?.model(found.image());
    // Labels come from the data, which are not read yet.
    let wanted = ModelConfig { labels: found.labels.clone(), m2: found.m2.clone(), ..wanted };
    refuse_differences(&path, found, &wanted)?;
    Ok(options)
}

/// The options that describe a network, but for those which make no sense beside the given ones.
fn network(found: &ModelConfig, given: &ModelOptions) -> ModelOptions {
    let differs = |given: &Option<String>, own: &str| given.as_deref().is_some_and(|given| given != own);
    if differs(&given.preset, found.preset.name()) {
        return ModelOptions::default();
    }
    let config = Config {
        preset: found.preset,
        latent: found.latent,
        widths: Some(found.widths.clone()),
        hidden: Some(found.hidden.clone()),
        blocks: found.blocks,
        context: found.context,
        context_inputs: found.context.map(|_| found.context_inputs),
        tie_weights: found.tie_weights,
        conditional: !found.labels.is_empty(),
        likelihood: found.likelihood,
        ..Config::default()
    };
    let all = config.to_options().model;
    let own = ModelOptions {
        preset: all.preset,
        latent: all.latent,
        channels: all.channels,
        hidden: all.hidden,
        blocks: all.blocks,
        context: all.context,
        context_inputs: all.context_inputs,
        tie_weights: all.tie_weights,
        conditional: all.conditional,
        ..ModelOptions::default()
    };
    if differs(&given.likelihood, found.likelihood.name()) {
        return own;
    }
    let ModelOptions { likelihood, sigma, scale, components, .. } = all;
    ModelOptions { likelihood, sigma, scale, components, ..own }
}

/// Gives a new model the weights of the one that the configuration names, if it does.
///
/// # Errors
/// If that one cannot be read, or is another network.
pub(super) fn begin(config: &Config, model: &mut Vae<f32>) -> Result<()> {
    let Some(place) = &config.start_from else { return Ok(()) };
    let path = model_path(place);
    let found = Vae::load_within(&path, config.load.max_memory)?;
    refuse_differences(&path, found.config(), model.config())?;
    model.parameters = found.parameters;
    Ok(())
}

/// The model file of a run folder, or the file itself.
fn model_path(place: &Path) -> PathBuf {
    if place.is_dir() { place.join("model.safetensors") } else { place.to_path_buf() }
}

fn refuse_differences(path: &Path, found: &ModelConfig, wanted: &ModelConfig) -> Result<()> {
    let differences = differences(found, wanted);
    if differences.is_empty() {
        return Ok(());
    }
    Err(Error::data(
        path,
        format!(
            "--start-from keeps the network of this model, which has {}; options about the network that are left out are the model's",
            differences.join(", ")
        ),
    ))
}

/// What a network has where another has something else: "latent size 16 instead of 32".
fn differences(found: &ModelConfig, wanted: &ModelConfig) -> Vec<String> {
    let mut all = Vec::new();
    let labels =
        |config: &ModelConfig| if config.labels.is_empty() { "none".into() } else { config.label_names() };
    let mut differ =
        |what: &str, found: String, wanted: String| all.push(format!("{what} {found} instead of {wanted}"));
    // Long lists of labels are shown cut.
    if found.labels != wanted.labels {
        differ("the labels", labels(found), labels(wanted));
    }
    let mut compare = |what: &str, found: String, wanted: String| {
        if found != wanted {
            differ(what, found, wanted);
        }
    };
    let list = |numbers: &[usize]| {
        let texts: Vec<String> = numbers.iter().map(usize::to_string).collect();
        if texts.is_empty() { "none".to_owned() } else { texts.join(",") }
    };
    let yes = |yes: bool| if yes { "yes" } else { "no" }.to_owned();
    compare("the preset", found.preset.name().into(), wanted.preset.name().into());
    compare("images of", found.image().to_string(), wanted.image().to_string());
    compare("--latent", found.latent.to_string(), wanted.latent.to_string());
    compare("--channels", list(&found.widths), list(&wanted.widths));
    compare("--hidden", list(&found.hidden), list(&wanted.hidden));
    compare("--blocks", found.blocks().to_string(), wanted.blocks().to_string());
    compare("--tie-weights", yes(found.tie_weights), yes(wanted.tie_weights));
    // Its settings may be others, but its numbers and its span decide what the last layer means.
    compare("--likelihood", found.likelihood.name().into(), wanted.likelihood.name().into());
    let numbers = |config: &ModelConfig| config.likelihood.numbers().to_string();
    compare("numbers for a pixel value", numbers(found), numbers(wanted));
    let context =
        |config: &ModelConfig| config.context.map_or("none".to_owned(), |hidden| hidden.to_string());
    compare("--context", context(found), context(wanted));
    compare("--context-inputs", found.context_inputs.to_string(), wanted.context_inputs.to_string());
    let classes = |config: &ModelConfig| {
        let m2 = config.m2.as_ref();
        m2.map_or("none".to_owned(), |m2| format!("{:?} of {} and {}", m2.labels, m2.hidden, m2.style))
    };
    compare("a classifier for the classes", classes(found), classes(wanted));
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::m2::M2Config;
    use crate::model::{ContextInputs, Preset};

    #[test]
    fn every_part_of_a_network_is_compared() {
        let own = ModelConfig::new(Preset::Conv, (28, 28, 1));
        assert!(differences(&own, &own).is_empty());
        let others = [
            ModelConfig { latent: 7, ..own.clone() },
            ModelConfig { widths: vec![8, 8], ..own.clone() },
            ModelConfig { hidden: vec![], ..own.clone() },
            ModelConfig { height: 32, ..own.clone() },
            ModelConfig { tie_weights: true, ..own.clone() },
            ModelConfig { labels: vec!["a".into(), "b".into()], ..own.clone() },
            ModelConfig { likelihood: crate::loss::Likelihood::SquaredError, ..own.clone() },
            ModelConfig { preset: Preset::Residual, blocks: Some(2), ..own.clone() },
            ModelConfig { context: Some(64), ..own.clone() },
            ModelConfig { context_inputs: ContextInputs::Differences, ..own.clone() },
            ModelConfig { m2: Some(M2Config::new(vec!["a".into()])), ..own.clone() },
        ];
        let texts: Vec<String> = others.iter().map(|other| differences(other, &own).join(", ")).collect();
        assert_eq!(
            texts,
            [
                "--latent 7 instead of 32",
                "--channels 8,8 instead of 32,64",
                "--hidden none instead of 256",
                "images of 32×28×1 instead of 28×28×1",
                "--tie-weights yes instead of no",
                "the labels a, b instead of none",
                "--likelihood squared-error instead of bernoulli",
                "the preset residual instead of conv, --blocks 2 instead of 1",
                "--context 64 instead of none",
                "--context-inputs differences instead of values",
                "a classifier for the classes [\"a\"] of 256 and 16 instead of none",
            ]
        );
        let mixture = |components| ModelConfig {
            likelihood: crate::loss::Likelihood::LogisticMixture { components },
            ..own.clone()
        };
        assert_eq!(differences(&mixture(2), &mixture(5)), ["numbers for a pixel value 6 instead of 15"]);
    }
}

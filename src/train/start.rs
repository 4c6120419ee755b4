//! `--start-from`: a run that begins with the weights of a saved model instead of random ones.
//!
//! Only the weights are taken: Adam's moments, schedules and the data begin as in any run. The two networks have to be the same. A resumed
//! run has its weights from its checkpoint, so the model is not needed again.

use super::config::Config;
use crate::error::{Error, Result};
use crate::model::{ModelConfig, Vae};

/// Gives a new model the weights of the one that the configuration names, if it does.
///
/// # Errors
/// If that one cannot be read, or is another network.
pub(super) fn begin(config: &Config, model: &mut Vae<f32>) -> Result<()> {
    let Some(place) = &config.start_from else { return Ok(()) };
    let path = if place.is_dir() { place.join("model.safetensors") } else { place.clone() };
    let found = Vae::load_within(&path, config.load.max_memory)?;
    let differences = differences(found.config(), model.config());
    if !differences.is_empty() {
        return Err(Error::data(
            path,
            format!(
                "--start-from needs a model of the network that is trained, and this one has {}",
                differences.join(", ")
            ),
        ));
    }
    model.parameters = found.parameters;
    Ok(())
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

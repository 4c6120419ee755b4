//! The network for the page: its steps and parameters in JSON.

use serde_json::{Value, json};

use super::weights::{bits_of, bytes_of, pack};
use crate::data::Span;
use crate::error::Result;
use crate::layers::{Describe, Step, Steps};
use crate::model::Vae;
use crate::model::parameters::Parameter;

/// The bits of the large parameters of encoder and decoder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Precision {
    pub encoder: u32,
    pub decoder: u32,
}

impl Precision {
    /// From the finest to the coarsest. An error in a code changes the picture a little; an error in the
    /// decoder is visible at once, so the decoder has more bits.
    pub const ALL: [Self; 5] = [
        Self { encoder: 16, decoder: 16 },
        Self { encoder: 12, decoder: 12 },
        Self { encoder: 10, decoder: 11 },
        Self { encoder: 9, decoder: 10 },
        Self { encoder: 8, decoder: 10 },
    ];

    /// The bits of a parameter.
    fn of(self, model: &Vae<f32>, parameter: &Parameter) -> u32 {
        let a = model.architecture();
        // A tied weight counts as the decoder's.
        let is_decoders = a.decoder_slots.iter().any(|slot| slot.range == parameter.range);
        bits_of(parameter.range.len(), if is_decoders { self.decoder } else { self.encoder })
    }

    /// The bytes of all parameters.
    pub fn bytes(self, model: &Vae<f32>) -> usize {
        let parameters = model.architecture().table.parameters.iter();
        parameters.map(|p| bytes_of(p.range.len(), self.of(model, p))).sum()
    }

    /// A description.
    pub fn name(self) -> String {
        if self == Self::ALL[0] {
            return "half precision".into();
        }
        format!("tables of {} bits (encoder) and {} bits (decoder)", self.encoder, self.decoder)
    }
}

/// All parameters, packed.
pub(super) fn weights(model: &Vae<f32>, precision: Precision) -> Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(precision.bytes(model));
    for parameter in &model.architecture().table.parameters {
        let numbers = &model.parameters[parameter.range.clone()];
        pack(&parameter.name, numbers, precision.of(model, parameter), &mut bytes)?;
    }
    Ok(bytes)
}

/// The network: sizes, parameters, and the steps of encoder, heads and decoder.
pub(super) fn describe(model: &Vae<f32>, precision: Precision) -> Value {
    let (c, a) = (model.config(), model.architecture());
    let parameters: Vec<Value> = a
        .table
        .parameters
        .iter()
        .map(|p| json!({ "len": p.range.len(), "bits": precision.of(model, p) }))
        .collect();
    let steps = |write: &dyn Fn(&mut Steps<'_>)| {
        let mut steps = Steps::new(&a.ties);
        write(&mut steps);
        steps.list.iter().map(|step| to_json(model, step)).collect::<Vec<Value>>()
    };
    let rule = c.likelihood.mean_rule();
    json!({
        "model": {
            "height": c.height,
            "width": c.width,
            "channels": c.channels,
            "latent": c.latent,
            "labels": c.classes(),
            "numbers": c.likelihood.numbers(),
            "symmetric": c.span() == Span::Symmetric,
            "mean": { "name": rule.name, "settings": rule.settings },
        },
        "parameters": parameters,
        "encoder": steps(&|steps| a.encoder.steps("", steps)),
        "heads": steps(&|steps| {
            ["shared.mu", "shared.log_variance"].iter().for_each(|name| a.shared.head.steps(name, steps));
        }),
        "decoder": steps(&|steps| a.decoder.steps("", steps)),
    })
}

/// A step, with the parameters' indices in the table instead of their names.
fn to_json(model: &Vae<f32>, step: &Step) -> Value {
    let parameters = &model.architecture().table.parameters;
    let place = |name: &String| {
        parameters.iter().position(|parameter| parameter.name == *name).expect("a parameter of the table")
    };
    let sizes: serde_json::Map<String, Value> =
        step.sizes.iter().map(|&(name, size)| (name.to_owned(), size.into())).collect();
    json!({
        "operation": step.operation,
        "sizes": sizes,
        "parameters": step.parameters.iter().map(place).collect::<Vec<usize>>(),
        "activation": step.activation.name(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layers::Activation;
    use crate::loss::Likelihood;
    use crate::model::{ModelConfig, Preset};

    const ENGINE: &str = include_str!("engine.js");

    /// Whether a table of engine.js has a function of this name.
    fn engine_has(table: &str, name: &str) -> bool {
        let from = ENGINE.find(&format!("const {table} = {{")).expect("the table");
        let text = &ENGINE[from..from + ENGINE[from..].find("\n};").expect("its end")];
        [format!("\n  {name}("), format!("\n  {name}:")].iter().any(|begin| text.contains(begin))
    }

    #[test]
    fn the_engine_has_every_operation_activation_and_mean() {
        let mut names: Vec<String> = Vec::new();
        for &preset in Preset::ALL {
            let labels = vec!["a".to_owned(), "b".to_owned()];
            let config = ModelConfig { labels, ..ModelConfig::new(preset, (32, 32, 3)) };
            let described = describe(&Vae::new(config, 0).unwrap(), Precision::ALL[0]);
            for half in ["encoder", "heads", "decoder"] {
                for step in described[half].as_array().unwrap() {
                    names.push(step["operation"].as_str().unwrap().into());
                }
            }
        }
        // Operations outside all presets would be missed here: each layer's source names its operation.
        for entry in std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/src/layers")).unwrap() {
            let source = std::fs::read_to_string(entry.unwrap().path()).unwrap();
            for call in ["steps.push(\"", "steps.push_weighted(\""] {
                let calls = source.split(call).skip(1);
                names.extend(calls.map(|rest| rest[..rest.find('"').unwrap()].to_owned()));
            }
        }
        assert!(names.len() > 50, "{names:?}");
        for name in names {
            assert!(engine_has("OPERATIONS", &name), "engine.js has no operation {name}");
        }
        for activation in [Activation::Identity, Activation::Relu, Activation::Sigmoid, Activation::Tanh] {
            assert!(engine_has("ACTIVATIONS", activation.name()), "engine.js has no {}", activation.name());
        }
        for likelihood in Likelihood::ALL {
            let rule = likelihood.mean_rule().name;
            assert!(engine_has("MEANS", rule), "engine.js has no mean {rule} for {likelihood}");
        }
        assert!(!engine_has("OPERATIONS", "conv3d") && !engine_has("MEANS", "silu"));
    }

    #[test]
    fn tied_layers_name_the_parameter_of_their_owner() {
        let config = ModelConfig { tie_weights: true, ..ModelConfig::new(Preset::Mlp, (8, 8, 1)) };
        let model = Vae::new(config, 0).unwrap();
        let described = describe(&model, Precision::ALL[0]);
        let parameter = |half: &str, step: usize| described[half][step]["parameters"][0].clone();
        assert_eq!(parameter("decoder", 1), parameter("encoder", 0));
        assert_eq!(parameter("decoder", 0), parameter("heads", 0));
        assert_eq!(described["decoder"][0]["sizes"]["transposed"], 1);
        assert_eq!(weights(&model, Precision::ALL[0]).unwrap().len(), 2 * model.parameters.len());
    }
}

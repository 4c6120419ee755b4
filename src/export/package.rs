//! Export to PyTorch: a folder with the weights and a Python file that needs only them and `torch`.
//!
//! ```text
//! DIR/
//!   model.safetensors    the model file, byte for byte: names and layouts are PyTorch's already
//!   model.py             the network, written out layer by layer; run as a program, it checks itself
//!   check.safetensors    some images and codes, and what this engine makes of them
//! ```
//!
//! `python model.py` compares with the stored results, so anyone who gets the folder can check that the two
//! engines agree, without elbo.

use std::path::Path;

use rand::RngExt;

use crate::data::{Images, Pixels, Range};
use crate::error::{Error, Result};
use crate::model::codec::Codec;
use crate::model::file::{description, to_tensors};
use crate::model::{Labelled, Vae};
use crate::random::{Stream, fill_normal, stream};
use crate::storage::atomic::{create_folder, refuse_existing, write_new};
use crate::storage::system::system;
use crate::storage::tensor_file::{NamedTensor, TensorFile};

/// Images of noise, and the same number of samples of the model.
const CHECKED: usize = 2;

/// Writes the folder, which must not exist yet. A classifier from few labels is left out.
///
/// # Errors
/// If it exists, a parameter is not finite, or the system refuses.
pub fn export(model: &Vae<f32>, folder: &Path) -> Result<()> {
    if model.config().context.is_some() {
        return Err(Error::config(
            "a model with --context decodes pixels one by one, which the PyTorch module cannot; export takes models without it",
        ));
    }
    let fs = system();
    refuse_existing(folder)?;
    let model = &model.without_classifier();
    // Everything is built before anything is written.
    let weights = TensorFile {
        description: description("model", model.config()),
        tensors: to_tensors(&model.architecture().table, &model.parameters, ""),
    };
    let files = [
        ("model.safetensors", weights.encode(&folder.join("model.safetensors"))?),
        ("check.safetensors", check(model).encode(&folder.join("check.safetensors"))?),
        ("model.py", python_source(model).into_bytes()),
    ];
    create_folder(fs, folder)?;
    for (name, bytes) in files {
        write_new(fs, &folder.join(name), |out| out.write_all(&bytes))?;
    }
    Ok(())
}

/// The Python file.
///
/// ```
/// use elbo::model::{ModelConfig, Preset, Vae};
/// let model = Vae::new(ModelConfig::new(Preset::Conv, (9, 8, 1)), 0)?;
/// let text = elbo::export::python_source(&model);
/// // The row that rounding loses on the way down is added on the way up.
/// assert!(text.contains("nn.ConvTranspose2d(32, 1, 4, stride=2, padding=1, output_padding=(1, 0))"));
/// # Ok::<(), elbo::Error>(())
/// ```
pub fn python_source(model: &Vae<f32>) -> String {
    super::python::write(model)
}

/// Inputs and their results. Images (noise, then samples of the model) with μ, ln σ² and reconstructions;
/// codes with their pictures; with labels, the condition of each. Images are N×C×H×W in the network's range.
fn check(model: &Vae<f32>) -> TensorFile<'static> {
    let c = model.config();
    let (count, pixels) = (2 * CHECKED, c.pixels());
    let mut codec = Codec::new(model);
    let mut codes = vec![0.0; count * c.latent];
    fill_normal(&mut stream(0, Stream::Sampling, 0), &mut codes);
    let labels = c.labels_in_turn(count);
    let samples = codec.decode_as(&codes, &labels);
    let mut noise = stream(0, Stream::Corruption, 0);
    let mut pictures: Vec<f32> = (0..CHECKED * pixels).map(|_| noise.random::<f32>()).collect();
    pictures.extend_from_slice(&samples[..CHECKED * pixels]);
    let images = Images {
        pixels: Pixels::F32(pictures),
        count,
        height: c.height,
        width: c.width,
        channels: c.channels,
        range: Range::UNIT,
    };
    let indices: Vec<usize> = (0..count).collect();
    let encoded = codec.encode(Labelled { images: &images, labels: &labels }, &indices, None);
    let reconstructions = codec.decode_as(&encoded.mu, &labels);
    let mut inputs = vec![0.0_f32; count * pixels];
    images.gather(&indices, c.span(), &mut inputs);

    let in_span = |values: &[f32]| -> Vec<f32> {
        values.iter().map(|&v| c.span().from_unit(f64::from(v)) as f32).collect()
    };
    let shape = [count, c.channels, c.height, c.width];
    let channels_first = |values: &[f32]| -> Vec<f32> {
        let plane = c.height * c.width;
        let of = |image: &[f32]| -> Vec<f32> {
            (0..pixels).map(|at| image[at % plane * c.channels + at / plane]).collect()
        };
        values.chunks_exact(pixels).flat_map(of).collect()
    };
    let picture = |name: &str, values: &[f32]| NamedTensor::new(name, &shape, channels_first(values));
    let code = |name: &str, values: Vec<f32>| NamedTensor::new(name, &[count, c.latent], values);
    let mut condition = vec![0.0; labels.len() * c.classes()];
    for (row, &label) in condition.chunks_exact_mut(c.classes().max(1)).zip(&labels) {
        row[label as usize] = 1.0;
    }
    let condition =
        (c.classes() > 0).then(|| NamedTensor::new("condition", &[count, c.classes()], condition));
    TensorFile {
        description: description("check", c),
        tensors: [
            picture("images", &inputs),
            picture("reconstructions", &in_span(&reconstructions)),
            picture("samples", &in_span(&samples)),
            code("mu", encoded.mu),
            code("log_variance", encoded.log_variance),
            code("codes", codes),
        ]
        .into_iter()
        .chain(condition)
        .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{ModelConfig, Preset};

    #[test]
    fn no_gap_of_the_template_is_left_and_tied_layers_have_biases_only() {
        for preset in [Preset::Conv, Preset::Article, Preset::Mlp] {
            for tied in [false, true] {
                if tied && preset == Preset::Article {
                    continue;
                }
                let mut config = ModelConfig::new(preset, (11, 8, 3));
                config.tie_weights = tied;
                let text = python_source(&Vae::new(config, 0).unwrap());
                let gap = text.split('@').skip(1).find(|rest| rest.starts_with(|c: char| c.is_uppercase()));
                assert_eq!(gap, None, "{text}");
                assert_eq!(text.contains("Bias("), tied || preset == Preset::Article);
                assert!(!text.contains("labels") && text.contains("def encode(self, x):"), "{text}");
            }
        }
    }

    #[test]
    fn a_conditional_model_takes_a_condition_in_both_halves() {
        for preset in [Preset::Conv, Preset::Article, Preset::Mlp, Preset::Residual] {
            let labels = vec!["cat".to_owned(), "a \"dog\"".to_owned(), "@MEAN@".to_owned()];
            let model = Vae::new(ModelConfig { labels, ..ModelConfig::new(preset, (16, 16, 1)) }, 0).unwrap();
            let text = python_source(&model);
            let expected = [
                "labels = (\"cat\", \"a \\\"dog\\\"\", \"@MEAN@\")",
                "def encode(self, x, c):",
                "def decode(self, z, c):",
            ];
            assert!(expected.iter().all(|part| text.contains(part)), "{text}");
            let tensors = check(&model).tensors;
            let condition = tensors.iter().find(|tensor| tensor.name == "condition").unwrap();
            assert_eq!(condition.shape, [4, 3]);
            assert_eq!(condition.data[..6], [1.0, 0.0, 0.0, 0.0, 1.0, 0.0]);
        }
    }
}

//! A model on disk: `model.safetensors`, with PyTorch's names and layouts.
//!
//! The description in the file's metadata is the [`ModelConfig`] and a version, so the file alone is enough
//! to use the model, and the same model is always the same bytes. `torch.nn.Module.load_state_dict` takes the
//! tensors unchanged; a tied weight is stored once, under its encoder's name.

use std::borrow::Cow;
use std::path::Path;

use serde_json::{Value, json};

use super::architecture::Architecture;
use super::codec::Codec;
use super::config::ModelConfig;
use super::parameters::Table;
use super::vae::Vae;
use crate::data::excess;
use crate::error::{Error, Result};
use crate::storage::filesystem::FileSystem;
use crate::storage::system::system;
use crate::storage::tensor_file::{NamedTensor, TensorFile};

/// The version of the description. It is increased if an older program would misread a newer file.
pub const FORMAT_VERSION: u64 = 1;

/// The most numbers per image that a file may request, 4 GiB. Up to here no size of a network overflows.
const LARGEST_IMAGE: usize = 1 << 30;

/// A flat vector of parameters (or of values of the same shape, such as Adam's moments) as named tensors in
/// PyTorch's layout.
pub fn to_tensors<'a>(table: &Table, values: &'a [f32], prefix: &str) -> Vec<NamedTensor<'a>> {
    let parameters = table.parameters.iter();
    parameters
        .map(|parameter| {
            let memory = &values[parameter.range.clone()];
            let data: Cow<'a, [f32]> = if parameter.layout.is_plain() {
                memory.into()
            } else {
                let mut tensor = vec![0.0; memory.len()];
                parameter.layout.to_tensor(memory, &mut tensor);
                tensor.into()
            };
            NamedTensor::new(format!("{prefix}{}", parameter.name), &parameter.shape, data)
        })
        .collect()
}

/// The inverse of [`to_tensors`]: takes the table's tensors out of a file.
///
/// # Errors
/// If one is missing or has another shape.
pub fn from_tensors(table: &Table, file: &mut TensorFile<'_>, prefix: &str, path: &Path) -> Result<Vec<f32>> {
    let mut values = vec![0.0; table.len()];
    for parameter in &table.parameters {
        let tensor = file.take(&format!("{prefix}{}", parameter.name), &parameter.shape, path)?;
        parameter.layout.to_memory(&tensor, &mut values[parameter.range.clone()]);
    }
    Ok(values)
}

/// The description of a file: its kind, the version, and the model's configuration.
pub fn description(kind: &str, config: &ModelConfig) -> Value {
    json!({ "kind": kind, "version": FORMAT_VERSION, "model": config })
}

/// Reads the configuration from a description, and checks that the file is of the expected kind ("model" or
/// "checkpoint").
///
/// # Errors
/// If it is of another kind or a newer version, or the configuration is not a valid network.
pub fn parse_description(description: &Value, kind: &str, path: &Path) -> Result<ModelConfig> {
    let found = description["kind"].as_str().unwrap_or("an unknown kind of file");
    if found != kind {
        let hint = if kind == "model" { ", such as the model.safetensors of a run" } else { "" };
        return Err(Error::data(path, format!("is of the kind {found}, and a {kind} is needed{hint}")));
    }
    match description["version"].as_u64() {
        Some(version) if version <= FORMAT_VERSION => {}
        Some(version) => {
            return Err(Error::data(
                path,
                format!(
                    "has version {version}, written by a newer elbo; this one reads up to {FORMAT_VERSION}"
                ),
            ));
        }
        None => return Err(Error::data(path, "has no version; it is not an elbo file")),
    }
    let config: ModelConfig = serde_json::from_value(description["model"].clone())
        .map_err(|error| Error::data(path, format!("its model configuration cannot be read: {error}")))?;
    config.validate().map_err(|error| Error::data(path, error.to_string()))?;
    if config.pixels().saturating_mul(config.likelihood.numbers()) > LARGEST_IMAGE {
        let message = format!("asks for images of {}; at most 2³⁰ numbers each are accepted", config.image());
        return Err(Error::data(path, message));
    }
    Ok(config)
}

impl Vae<f32> {
    /// Saves the model as safetensors with PyTorch's names and layouts. An existing file of that name is
    /// replaced only once the new one is safely on the disk.
    ///
    /// # Errors
    /// If a parameter is not finite, or the system refuses.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        self.save_in(system(), path.as_ref())
    }

    /// [`save`](Self::save) through a file system that tests can make fail.
    pub(crate) fn save_in(&self, fs: &dyn FileSystem, path: &Path) -> Result<()> {
        let table = &self.architecture().table;
        let tensors = to_tensors(table, &self.parameters, "");
        TensorFile { description: description("model", self.config()), tensors }.save(fs, path)
    }

    /// Loads a model written by [`save`](Self::save), or by `elbo train` as model.safetensors; at most 8 GiB.
    ///
    /// # Errors
    /// If it is not a model, is damaged or too large, or the system refuses.
    pub fn load(path: impl AsRef<Path>) -> Result<Self> {
        Self::load_within(path, 8 << 30)
    }

    /// [`load`](Self::load) with a limit of `max_memory` bytes for the file, and for the parameters and a
    /// [`Codec`]'s memory together: a network with few parameters can have huge activations.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub fn load_within(path: impl AsRef<Path>, max_memory: u64) -> Result<Self> {
        let path = path.as_ref();
        let model = Self::from_file(TensorFile::load(path, max_memory)?, path)?;
        match excess("its network takes", model.memory(), max_memory) {
            Some(message) => Err(Error::data(path, message)),
            None => Ok(model),
        }
    }

    /// The bytes needed to use the model: its parameters, and a [`Codec`]'s memory.
    pub fn memory(&self) -> u64 {
        4 * self.parameters.len() as u64 + Codec::memory(self)
    }

    /// A model from the contents of its file; `path` is for messages.
    ///
    /// # Errors
    /// If it is not a model, or its tensors do not fit its configuration.
    pub fn from_file(mut file: TensorFile<'_>, path: &Path) -> Result<Self> {
        let config = parse_description(&file.description, "model", path)?;
        let architecture =
            Architecture::new(&config).map_err(|error| Error::data(path, error.to_string()))?;
        // Checked before a vector of that size is allocated: the file's own contents limit what it may
        // request.
        let stored: usize = file.tensors.iter().map(|tensor| tensor.data.len()).sum();
        if stored != architecture.table.len() {
            let needed = architecture.table.len();
            return Err(Error::data(
                path,
                format!("has {stored} parameters, and its configuration needs {needed}"),
            ));
        }
        let parameters = from_tensors(&architecture.table, &mut file, "", path)?;
        file.expect_empty(path)?;
        Ok(Self::from_parts(config, architecture, parameters))
    }
}

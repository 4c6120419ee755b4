//! A fitted prior on disk: `prior.safetensors`, beside its model.
//!
//! It names its model by a [`fingerprint`] of the model's numbers. A mixture fitted to another model's codes,
//! or to those of an earlier epoch, would be meaningless. So it is refused, and a command that can fits a new
//! one.

use std::path::Path;

use serde_json::json;

use super::{Features, Mixture};
use crate::data::Fingerprint;
use crate::error::{Error, Result};
use crate::model::Vae;
use crate::storage::system::system;
use crate::storage::tensor_file::{NamedTensor, TensorFile};

/// The name of the file.
pub const FILE_NAME: &str = "prior.safetensors";
/// Increased whenever an older program would misread a newer file.
const VERSION: u64 = 1;

/// 64 bits that change if a parameter of the model changes.
pub fn fingerprint(model: &Vae<f32>) -> u64 {
    let mut hash = Fingerprint::new();
    hash.number(model.parameters.len() as u64);
    model.parameters.iter().for_each(|x| hash.number(u64::from(x.to_bits())));
    hash.finish()
}

impl Mixture {
    /// Saves the prior of a model, replacing an existing file.
    ///
    /// # Errors
    /// If the system refuses.
    pub fn save(&self, path: &Path, model: &Vae<f32>) -> Result<()> {
        let (k, z) = (self.components(), self.latent);
        let single = |values: &[f64]| values.iter().map(|&x| x as f32).collect::<Vec<f32>>();
        let scale_shape = if self.is_full() { vec![k, z, z] } else { vec![k, z] };
        let tensors = vec![
            NamedTensor::new("weight", &[k], single(&self.weights)),
            NamedTensor::new("mean", &[k, z], single(&self.means)),
            NamedTensor::new("scale", &scale_shape, single(&self.scales)),
        ];
        let description = json!({
            "kind": "prior",
            "version": VERSION,
            "components": k,
            "latent": z,
            "model": format!("{:016x}", fingerprint(model)),
        });
        TensorFile { description, tensors }.save(system(), path)
    }

    /// The prior of `model` from the file at `path`; `None` if there is no file or it was fitted to another
    /// model.
    ///
    /// # Errors
    /// If the file is not a prior or is damaged.
    pub fn load(path: &Path, model: &Vae<f32>, max_memory: u64) -> Result<Option<Self>> {
        if path.symlink_metadata().is_err() {
            return Ok(None);
        }
        Self::from_file(TensorFile::load(path, max_memory)?, path, model)
    }

    /// [`load`](Self::load) for a file's contents; `path` is for messages.
    ///
    /// # Errors
    /// If it is not a prior.
    pub fn from_file(mut file: TensorFile<'_>, path: &Path, model: &Vae<f32>) -> Result<Option<Self>> {
        let wrong = |message: String| Error::data(path, message);
        let d = &file.description;
        if d["kind"] != "prior" {
            return Err(wrong(
                "is not a fitted prior; remove it, and `elbo sample --prior gmm` fits a new one".into(),
            ));
        }
        if d["version"].as_u64() != Some(VERSION) {
            return Err(wrong(format!("has version {}; this program reads version {VERSION}", d["version"])));
        }
        if d["model"] != format!("{:016x}", fingerprint(model)) {
            return Ok(None);
        }
        let (stored, z) = (file.tensors.iter().map(|t| t.data.len()).sum::<usize>(), model.config().latent);
        let k = d["components"].as_u64().and_then(|k| usize::try_from(k).ok());
        // The size of the file limits the number of components that is accepted.
        let Some(k) = k.filter(|&k| k > 0 && k <= stored) else {
            return Err(wrong(format!("has an impossible number of components, {}", d["components"])));
        };
        // An older program had diagonal covariances for fewer dimensions.
        let scale = file.tensors.iter().find(|tensor| tensor.name == "scale");
        let is_full = scale.map_or(Features::new(z).full, |scale| scale.shape.len() == 3);
        let shape = if is_full { vec![k, z, z] } else { vec![k, z] };
        let double = |values: Vec<f32>| values.into_iter().map(f64::from).collect::<Vec<f64>>();
        let weights = double(file.take("weight", &[k], path)?);
        let means = double(file.take("mean", &[k, z], path)?);
        let scales = double(file.take("scale", &shape, path)?);
        file.expect_empty(path)?;
        if !weights.iter().all(|&weight| weight >= 0.0) || weights.iter().sum::<f64>() <= 0.0 {
            return Err(wrong("has weights that are negative or all 0".into()));
        }
        Ok(Some(Self { latent: z, weights, means, scales }))
    }
}

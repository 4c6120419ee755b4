//! Encodes images and decodes codes, any number of them, in batches.
//!
//! A [`Codec`] is a trained model with the memory for using it. It takes images as they are stored
//! ([`Images`]), returns pictures with values in [0, 1], and is deterministic: encoding returns μ and ln σ²,
//! and draws nothing.

use super::labels::Labelled;
use super::vae::{Batch, Vae};
use super::workspace::Workspace;
use crate::data::{Binarize, Filler, Images, Span};
use crate::error::{Error, Result};

/// Images or codes per pass: enough for the products to be efficient, few enough to use little memory.
pub const BATCH: usize = 128;

/// The posteriors of some images, `count × Z` each.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Codes {
    /// μ.
    pub mu: Vec<f32>,
    /// ln σ².
    pub log_variance: Vec<f32>,
}

/// A model with working memory.
///
/// ```
/// use elbo::model::Codec;
/// use elbo::model::{ModelConfig, Preset, Vae};
/// let model = Vae::new(ModelConfig::new(Preset::Mlp, (8, 8, 1)), 0)?;
/// let mut codec = Codec::new(&model);
/// let picture = codec.decode(&[0.0; 20]); // one code of 20 zeros: the prior's mean
/// assert_eq!(picture.len(), 8 * 8);
/// assert!(picture.iter().all(|pixel| (0.0..=1.0).contains(pixel)));
/// # Ok::<(), elbo::Error>(())
/// ```
#[derive(Debug)]
pub struct Codec<'m> {
    model: &'m Vae<f32>,
    workspace: Workspace<f32>,
    batch: Vec<f32>,
    labels: Vec<u32>,
}

impl<'m> Codec<'m> {
    /// Allocates memory for batches of [`BATCH`], or of as many images as fit in 256 MiB: an image's results
    /// do not depend on its batch.
    pub fn new(model: &'m Vae<f32>) -> Self {
        let images = Self::batch(model);
        let workspace = model.inference_workspace(images);
        let batch = vec![0.0; images * model.config().pixels()];
        Self { model, workspace, batch, labels: Vec::with_capacity(images) }
    }

    /// The images of a pass.
    pub(crate) fn batch(model: &Vae<f32>) -> usize {
        const NUMBERS: usize = (256 << 20) / size_of::<f32>();
        (NUMBERS / model.activations_len(1)).clamp(1, BATCH)
    }

    /// The bytes that a codec of a model allocates: activations, a batch of images with their conditions, and
    /// each thread's columns.
    pub fn memory(model: &Vae<f32>) -> u64 {
        let (images, work) = (Self::batch(model), model.architecture().work_len());
        let batch = images * (model.config().pixels() + model.config().classes());
        let shared = work.transposed + (rayon::current_num_threads() + 1) * work.scratch;
        4 * (model.activations_len(images) + batch + shared) as u64
    }

    /// The model.
    pub fn model(&self) -> &'m Vae<f32> {
        self.model
    }

    /// The posteriors of the images `indices`, which come with their labels if the model is conditional
    /// ([`Labelled`]).
    ///
    /// # Panics
    /// If the images' size differs from the model's (see [`check_size`]), or a conditional model gets no
    /// labels.
    pub fn encode<'i>(
        &mut self,
        images: impl Into<Labelled<'i>>,
        indices: &[usize],
        binarize: Option<Binarize>,
    ) -> Codes {
        self.encode_with(images, indices, &Filler { span: self.model.config().span(), binarize, seed: 0 })
    }

    /// [`encode`](Self::encode) with a given method of filling batches: images that were binarized randomly
    /// in training must be encoded with the same draws.
    ///
    /// # Panics
    /// As [`encode`](Self::encode).
    pub fn encode_with<'i>(
        &mut self,
        images: impl Into<Labelled<'i>>,
        indices: &[usize],
        filler: &Filler,
    ) -> Codes {
        let images = images.into();
        let (pixels, latent) = (self.model.config().pixels(), self.model.config().latent);
        let room = || Vec::with_capacity(indices.len() * latent);
        let mut codes = Codes { mu: room(), log_variance: room() };
        for chunk in indices.chunks(self.workspace.max_batch) {
            let batch = &mut self.batch[..chunk.len() * pixels];
            filler.fill(images.images, chunk, 0, batch);
            self.labels.clear();
            self.labels.extend(images.of(chunk));
            self.model.encode(Batch { images: batch, labels: &self.labels }, &mut self.workspace);
            codes.mu.extend_from_slice(&self.workspace.latent.mu[..chunk.len() * latent]);
            codes.log_variance.extend_from_slice(&self.workspace.latent.log_variance[..chunk.len() * latent]);
        }
        codes
    }

    /// The pictures of some codes, `count × Z`: the means of p(x|z), `count × H·W·C`, in [0, 1]. The model
    /// must have no labels.
    ///
    /// # Panics
    /// If the length is not a whole number of codes, or the model is conditional
    /// ([`decode_as`](Self::decode_as)).
    pub fn decode(&mut self, codes: &[f32]) -> Vec<f32> {
        self.decode_as(codes, &[])
    }

    /// [`decode`](Self::decode) for any model: the means of p(x|z, y) with a label y for each code; a model
    /// without labels takes none.
    ///
    /// # Panics
    /// If the length is not a whole number of codes, or the number of labels is not that of the codes.
    pub fn decode_as(&mut self, codes: &[f32], labels: &[u32]) -> Vec<f32> {
        let latent = self.model.config().latent;
        let needed = if self.model.config().classes() > 0 { codes.len() / latent } else { 0 };
        assert_eq!(labels.len(), needed, "a label for each code of a conditional model");
        assert!(codes.len().is_multiple_of(latent), "{} numbers for codes of {latent}", codes.len());
        let mut pictures = Vec::with_capacity(codes.len() / latent * self.model.config().pixels());
        let batch = self.workspace.max_batch;
        for (at, chunk) in codes.chunks(batch * latent).enumerate() {
            let labels = labels.iter().skip(at * batch).take(batch).copied();
            self.labels.clear();
            self.labels.extend(labels);
            self.model.set_condition(&self.labels, &mut self.workspace);
            self.workspace.latent.z[..chunk.len()].copy_from_slice(chunk);
            let means = self.model.decode_means(chunk.len() / latent, &mut self.workspace);
            pictures.extend_from_slice(means);
        }
        if self.model.config().span() == Span::Symmetric {
            pictures.iter_mut().for_each(|pixel| *pixel = 0.5 * (*pixel + 1.0));
        }
        pictures
    }
}

/// Checks that images have the model's size.
///
/// # Errors
/// If they do not; the message has both sizes.
pub fn check_size(model: &Vae<f32>, images: &Images) -> Result<()> {
    let c = model.config();
    if (images.height, images.width, images.channels) == (c.height, c.width, c.channels) {
        return Ok(());
    }
    Err(Error::config(format!(
        "the model is for images of {}×{}×{}, and these are {}×{}×{} (height × width × channels); --size, --grey and --rgb convert \
         them",
        c.height, c.width, c.channels, images.height, images.width, images.channels
    )))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{ModelConfig, Preset};

    #[test]
    fn codes_and_pictures_have_the_same_bits_in_a_batch_of_any_size() {
        for &preset in Preset::ALL {
            let model = Vae::new(ModelConfig::new(preset, (28, 28, 1)), 0).unwrap();
            let mut codec = Codec::new(&model);
            let bytes: Vec<u8> = (0..19 * 784).map(|i| (i * 31 % 251) as u8).collect();
            let images = Images::from_bytes(bytes, 19, 28, 28, 1);
            let indices: Vec<usize> = (0..19).collect();
            let together = codec.encode(&images, &indices, None).mu;
            let alone: Vec<f32> =
                indices.iter().flat_map(|&i| codec.encode(&images, &[i], None).mu).collect();
            assert!(together == alone, "{preset:?}: codes");
            let pictures = codec.decode(&together);
            let latent = model.config().latent;
            let alone: Vec<f32> = together.chunks(latent).flat_map(|code| codec.decode(code)).collect();
            assert!(pictures == alone, "{preset:?}: pictures");
        }
    }
}

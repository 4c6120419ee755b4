//! New images: codes drawn from the prior N(0, I), decoded.

use super::prior::Prior;
use crate::model::{Codec, Vae};

impl Vae<f32> {
    /// `count` new images, count × H·W·C with values in [0, 1]: the means of p(x|z) for draws z from N(0, I).
    /// The same seed returns the same images, and the first ones do not depend on `count`. A [`Prior`] can
    /// also be fitted to the codes of images. A conditional model uses its labels in turn.
    ///
    /// ```
    /// use elbo::model::{ModelConfig, Preset, Vae};
    /// use elbo::tensor::ImageShape;
    /// let model = Vae::<f32>::new(ModelConfig::new(Preset::Mlp, ImageShape::new(8, 8, 1)), 0)?;
    /// assert_eq!(model.sample(5, 1)[..64], model.sample(1, 1));
    /// # Ok::<(), elbo::Error>(())
    /// ```
    pub fn sample(&self, count: usize, seed: u64) -> Vec<f32> {
        let codes = Prior::Normal.draw(count, self.config().latent, seed, 1.0);
        Codec::new(self).decode_as(&codes, &self.config().labels_in_turn(count))
    }
}

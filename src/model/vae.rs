//! The variational autoencoder: encoder, latent layer, decoder and objective, forward and backward.
//!
//! ```text
//! encode   x → features → μ, ln σ²                                     q(z|x)
//! draw     z = μ + σ·ε
//! decode   z → logits or means                                         p(x|z)
//! loss     reconstruction(x, output) + β·divergence(μ, ln σ²)          mean over the batch
//! ```
//!
//! The gradient follows the same way back. It goes from the loss into the decoder's output and directly into
//! μ and ln σ²; through the decoder to z; through the draw to μ and ln σ², where both parts add up; and
//! through the encoder to its weights.
//!
//! The parts of a step can be called one by one: [`encode`](Vae::encode), [`draw`](Vae::draw),
//! [`decode`](Vae::decode), then [`decoder_backward`](Vae::decoder_backward) from any gradient of the
//! decoder's output, and [`encoder_backward`](Vae::encoder_backward) from the gradients at z, μ and ln σ².
//!
//! A [`Vae`] is only numbers and the table that names them. Everything else that a pass needs is in a
//! [`Workspace`], allocated once for the largest batch, so that a training step allocates nothing.

use super::architecture::Architecture;
use super::config::ModelConfig;
use super::context::Exact;
use super::workspace::{self, Workspace};
use crate::error::Result;
use crate::layers::shared::{Latent, reparameterize, reparameterize_backward};
use crate::layers::{Backward, Describe, Forward, Layer, ParameterGradients, Parameters};
use crate::loss::objective::{LossInputs, LossValues, Objective, ObjectiveWorkspace};
use crate::tensor::Element;

/// A model: its configuration, its layers, its parameters.
#[derive(Debug)]
pub struct Vae<T> {
    config: ModelConfig,
    architecture: Architecture<T>,
    /// All parameters; [`Architecture::table`] describes them.
    pub parameters: Vec<T>,
}

/// Images, B × H·W·C in the model's span, with their labels, B numbers below L. A model without labels takes
/// none.
#[derive(Clone, Copy, Debug)]
pub struct Batch<'a, T> {
    /// The images.
    pub images: &'a [T],
    /// Their labels; empty for a model without labels.
    pub labels: &'a [u32],
}

impl<'a, T> Batch<'a, T> {
    /// Images without labels.
    pub fn new(images: &'a [T]) -> Self {
        Self { images, labels: &[] }
    }
}

impl<T: Element> Vae<T> {
    /// A new model with PyTorch's default initialization.
    ///
    /// # Errors
    /// If the configuration is not a valid network.
    pub fn new(config: ModelConfig, seed: u64) -> Result<Self> {
        let architecture = Architecture::new(&config)?;
        let parameters = architecture.table.initialize(seed);
        Ok(Self { config, architecture, parameters })
    }

    /// A model from a network and its parameters.
    pub(super) fn from_parts(config: ModelConfig, architecture: Architecture<T>, parameters: Vec<T>) -> Self {
        Self { config, architecture, parameters }
    }

    /// The model without its few-label classifier, whose parameters come last.
    pub fn without_classifier(&self) -> Self {
        let config = ModelConfig { m2: None, ..self.config.clone() };
        let architecture = Architecture::new(&config).expect("a network without its classifier is one");
        let parameters = self.parameters[..architecture.table.len()].to_vec();
        Self { config, architecture, parameters }
    }

    /// The model's configuration.
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// Its layers and the table of its parameters.
    pub fn architecture(&self) -> &Architecture<T> {
        &self.architecture
    }

    /// Sets the σ² for evaluation with the optimal Gaussian; no effect on other likelihoods.
    pub fn set_optimal_variance(&mut self, value: f64) {
        if let crate::loss::Likelihood::OptimalGaussian { variance } = &mut self.config.likelihood {
            *variance = Some(value);
        }
    }

    /// Memory for passes without a gradient over at most `max_batch` images.
    pub fn inference_workspace(&self, max_batch: usize) -> Workspace<T> {
        Workspace::for_inference(&self.architecture, &self.config, max_batch)
    }

    /// Memory for training steps on at most `max_batch` images.
    pub fn training_workspace(&self, max_batch: usize) -> Workspace<T> {
        Workspace::for_training(&self.architecture, &self.config, max_batch)
    }

    /// The numbers that [`inference_workspace`](Self::inference_workspace) holds for `images` images: the
    /// layers' outputs, and codes.
    pub fn activations_len(&self, images: usize) -> usize {
        workspace::activations_len(&self.architecture, &self.config, images)
    }

    /// The numbers that [`training_workspace`](Self::training_workspace) needs for `images` images on
    /// `threads` threads.
    pub fn training_len(&self, images: usize, threads: usize) -> usize {
        workspace::training_len(&self.architecture, &self.config, images, threads)
    }

    /// Computes μ and ln σ² of a batch; they are then in `workspace.latent`.
    ///
    /// # Panics
    /// If the images' size differs from the model's, there are more than fit the workspace, or they do not
    /// have the labels that the model needs.
    pub fn encode(&self, batch: Batch<'_, T>, workspace: &mut Workspace<T>) {
        let count = self.count(batch, workspace);
        self.set_condition(batch.labels, workspace);
        let (a, w) = (&self.architecture, workspace);
        let features = &mut w.features[..count * a.encoder.output().len()];
        let pass = Forward {
            batch: count,
            parameters: Parameters { all: &self.parameters, slots: &a.encoder_slots },
            condition: &w.condition[..count * self.config.classes()],
            kept: &mut w.encoder_kept,
            work: &mut w.work,
        };
        a.encoder.forward(batch.images, features, pass);
        let head = |slots| {
            let parameters = Parameters { all: &self.parameters[..], slots };
            (parameters.get(0), parameters.get(1))
        };
        a.shared.forward(features, head(&a.mu), head(&a.log_variance), &mut w.latent);
    }

    /// Sets the condition of a batch: for each image L numbers, 1 for its label and 0 for the others.
    /// [`encode`](Self::encode) does it; a caller that only decodes must call it first.
    ///
    /// # Panics
    /// If a model with labels gets none, or an unknown one.
    pub fn set_condition(&self, labels: &[u32], workspace: &mut Workspace<T>) {
        let classes = self.config.classes();
        if classes == 0 {
            return;
        }
        let rows = &mut workspace.condition[..labels.len() * classes];
        rows.fill(T::ZERO);
        for (row, &label) in rows.chunks_exact_mut(classes).zip(labels) {
            row[label as usize] = T::ONE;
        }
    }

    /// The likelihood's parameters for the first `batch` codes in `workspace.latent.z`: B × H·W·(m·C). In a
    /// model with a context network these depend on an image too ([`decode_given`](Self::decode_given)), and
    /// this function returns the decoder's features, B × H·W × F.
    pub fn decode<'w>(&self, batch: usize, workspace: &'w mut Workspace<T>) -> &'w mut [T] {
        assert!(batch <= workspace.max_batch, "{batch} codes in a workspace for {}", workspace.max_batch);
        let (a, w) = (&self.architecture, workspace);
        let z = &w.latent.z[..batch * self.config.latent];
        let output = if a.context.is_some() { &mut w.decoded } else { &mut w.output };
        let output = &mut output[..batch * a.decoder.output().len()];
        let pass = Forward {
            batch,
            parameters: Parameters { all: &self.parameters, slots: &a.decoder_slots },
            condition: &w.condition[..batch * self.config.classes()],
            kept: &mut w.decoder_kept,
            work: &mut w.work,
        };
        a.decoder.forward(z, output, pass);
        output
    }

    /// The expected images for the first `batch` codes in `workspace.latent.z`: B × H·W·C, in the model's
    /// span.
    pub fn decode_means<'w>(&self, batch: usize, workspace: &'w mut Workspace<T>) -> &'w mut [T] {
        self.decode(batch, workspace);
        let (likelihood, image) = (&self.config.likelihood, self.config.image());
        let Workspace { output, means, decoded, .. } = workspace;
        if let Some(exact) = self.exact() {
            let means = &mut means[..batch * image.len()];
            exact.means(likelihood, decoded, means);
            return means;
        }
        let output = &mut output[..batch * image.len() * likelihood.numbers()];
        if likelihood.output_is_mean() {
            return output;
        }
        let means = &mut means[..batch * image.len()];
        likelihood.means(output, image, means);
        means
    }

    /// The likelihood's parameters for the first codes in `workspace.latent.z`, one for each of `images`, B ×
    /// H·W·C. With a context network they are those of each pixel given the pixels before it in its image.
    pub fn decode_given<'w>(&self, images: &[T], workspace: &'w mut Workspace<T>) -> &'w mut [T] {
        let batch = images.len() / self.config.pixels();
        self.decode(batch, workspace);
        let (a, w) = (&self.architecture, workspace);
        let output = &mut w.output[..batch * self.config.output_len()];
        if let Some(context) = &a.context {
            let features = &w.decoded[..batch * context.features_len()];
            context.forward(images, features, output, &self.parameters, &mut w.context, &mut w.work);
        }
        output
    }

    /// The context network, value by value; `None` in a model without one.
    pub(crate) fn exact(&self) -> Option<Exact<'_, T>> {
        self.architecture.context.as_ref().map(|context| context.exact(&self.parameters))
    }

    /// z ← μ + σ·ε for the batch that was encoded last; `noise` is B × Z.
    pub fn draw(&self, noise: &[T], workspace: &mut Workspace<T>) {
        let Latent { mu, log_variance, z, .. } = &mut workspace.latent;
        let n = noise.len();
        reparameterize(&mu[..n], &log_variance[..n], noise, &mut z[..n]);
    }

    /// One forward and backward pass: the loss's values, and its gradient in [`Workspace::gradient`]. `noise`
    /// is B × Z.
    pub fn gradients(
        &self,
        batch: Batch<'_, T>,
        noise: &[T],
        objective: &Objective,
        workspace: &mut Workspace<T>,
    ) -> LossValues {
        let values = self.forward_and_loss(batch, noise, objective, workspace);
        let count = self.count(batch, workspace);
        self.decoder_backward(count, workspace);
        self.encoder_backward(batch.images, noise, workspace);
        values
    }

    /// The second step of the alternating schedule: the gradient of the reconstruction with respect to the
    /// decoder alone, in the decoder's half of [`Workspace::gradient`]. The encoder's half must not be used
    /// for a step: most of it is unchanged, and the article's shared layer, which is also the decoder's first
    /// layer, has only that use's share there.
    pub fn decoder_gradients(
        &self,
        batch: Batch<'_, T>,
        noise: &[T],
        objective: &Objective,
        workspace: &mut Workspace<T>,
    ) -> LossValues {
        let values = self.forward_and_loss(batch, noise, objective, workspace);
        let count = self.count(batch, workspace);
        self.decoder_backward(count, workspace);
        values
    }

    /// Encodes, draws, decodes, and leaves the loss's gradients by the decoder's output, μ and ln σ² in the
    /// workspace.
    fn forward_and_loss(
        &self,
        batch: Batch<'_, T>,
        noise: &[T],
        objective: &Objective,
        workspace: &mut Workspace<T>,
    ) -> LossValues {
        let count = self.count(batch, workspace);
        self.encode(batch, workspace);
        self.draw(noise, workspace);
        self.decode_given(batch.images, workspace);
        let w = workspace;
        let t = w.training.as_mut().expect("a workspace for training");
        let latent = count * self.config.latent;
        let output = &w.output[..count * self.config.output_len()];
        let Latent { mu, log_variance, d_mu, d_log_variance, .. } = &mut w.latent;
        let inputs = LossInputs {
            image: self.config.image(),
            output,
            target: batch.images,
            mu: &mu[..latent],
            log_variance: &log_variance[..latent],
        };
        let (d_output, d_mu, d_log_variance) =
            (&mut t.d_output[..output.len()], &mut d_mu[..latent], &mut d_log_variance[..latent]);
        let likelihood = &self.config.likelihood;
        objective.forward_backward(likelihood, &inputs, d_output, d_mu, d_log_variance, &mut t.objective)
    }

    /// The decoder's backward pass over the last decoded batch, from the gradient in [`Workspace::d_output`]:
    /// the decoder's half of the gradient, and ∂L/∂z in `workspace.latent.d_z`.
    pub fn decoder_backward(&self, batch: usize, workspace: &mut Workspace<T>) {
        let (a, w) = (&self.architecture, workspace);
        let t = w.training.as_mut().expect("a workspace for training");
        if let Some(context) = &a.context {
            let d_output = &t.d_output[..batch * self.config.output_len()];
            let d_features = &mut t.d_decoded[..batch * context.features_len()];
            let (p, d_p) = (&self.parameters[..], &mut t.gradient[..]);
            context.backward(d_output, d_features, p, d_p, &mut w.context, &mut t.spare, &mut w.work);
        }
        let (latent, len) = (batch * self.config.latent, batch * a.decoder.output().len());
        let pass = Backward {
            batch,
            parameters: Parameters { all: &self.parameters, slots: &a.decoder_slots },
            gradients: ParameterGradients { all: &mut t.gradient, slots: &a.decoder_slots },
            kept: &w.decoder_kept[..a.decoder.kept_len(batch)],
            spare: &mut t.spare,
            work: &mut w.work,
        };
        let Latent { z, d_z, .. } = &mut w.latent;
        let (output, d_output) = match a.context {
            Some(_) => (&w.decoded[..len], &mut t.d_decoded[..len]),
            None => (&w.output[..len], &mut t.d_output[..len]),
        };
        a.decoder.backward(&z[..latent], output, d_output, Some(&mut d_z[..latent]), pass);
    }

    /// The backward pass of draw, latent layer and encoder over the last encoded batch. It starts from the
    /// gradients in `workspace.latent`: `d_z`, and the direct gradients of μ and ln σ² in `d_mu` and
    /// `d_log_variance`, to which the draw's share is added.
    pub fn encoder_backward(&self, images: &[T], noise: &[T], workspace: &mut Workspace<T>) {
        let (a, w) = (&self.architecture, workspace);
        let t = w.training.as_mut().expect("a workspace for training");
        let batch = images.len() / self.config.pixels();
        let n = batch * self.config.latent;
        let Latent { log_variance, d_z, d_mu, d_log_variance, .. } = &mut w.latent;
        reparameterize_backward(
            &log_variance[..n],
            &noise[..n],
            &d_z[..n],
            &mut d_mu[..n],
            &mut d_log_variance[..n],
        );
        let len = batch * a.encoder.output().len();
        let (features, d_features) = (&w.features[..len], &mut t.d_features[..len]);
        let p = &self.parameters[..];
        let weights = [&a.mu, &a.log_variance].map(|slots| Parameters { all: p, slots }.get(0));
        a.shared.backward(
            features,
            &mut w.latent,
            weights,
            &mut t.gradient,
            [&a.mu, &a.log_variance],
            d_features,
        );
        let pass = Backward {
            batch,
            parameters: Parameters { all: p, slots: &a.encoder_slots },
            gradients: ParameterGradients { all: &mut t.gradient, slots: &a.encoder_slots },
            kept: &w.encoder_kept[..a.encoder.kept_len(batch)],
            spare: &mut t.spare,
            work: &mut w.work,
        };
        a.encoder.backward(images, features, d_features, None, pass);
    }

    /// The objective's values for a batch, without a gradient.
    pub fn evaluate(
        &self,
        batch: Batch<'_, T>,
        noise: &[T],
        objective: &Objective,
        space: &mut ObjectiveWorkspace<T>,
        workspace: &mut Workspace<T>,
    ) -> LossValues {
        let count = self.count(batch, workspace);
        self.encode(batch, workspace);
        self.draw(noise, workspace);
        self.decode_given(batch.images, workspace);
        let n = count * self.config.latent;
        let inputs = LossInputs {
            image: self.config.image(),
            output: &workspace.output[..count * self.config.output_len()],
            target: batch.images,
            mu: &workspace.latent.mu[..n],
            log_variance: &workspace.latent.log_variance[..n],
        };
        objective.forward(&self.config.likelihood, &inputs, space)
    }

    fn count(&self, batch: Batch<'_, T>, workspace: &Workspace<T>) -> usize {
        let (pixels, numbers) = (self.config.pixels(), batch.images.len());
        let count = numbers / pixels;
        assert_eq!(count * pixels, numbers, "images of another size than the model's");
        assert!(count <= workspace.max_batch, "{count} images in a workspace for {}", workspace.max_batch);
        let labels = if self.config.classes() > 0 { count } else { batch.labels.len() };
        assert_eq!(batch.labels.len(), labels, "a label for each image");
        count
    }
}

impl<T: Element> Clone for Vae<T> {
    fn clone(&self) -> Self {
        let architecture =
            Architecture::new(&self.config).expect("this configuration has made a network before");
        Self { config: self.config.clone(), architecture, parameters: self.parameters.clone() }
    }
}

impl<T: PartialEq> PartialEq for Vae<T> {
    fn eq(&self, other: &Self) -> bool {
        self.config == other.config && self.parameters == other.parameters
    }
}

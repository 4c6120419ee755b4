//! The variational autoencoder: encoder, latent layer, decoder and objective, forward and backward.
//!
//! ```text
//! encode   x → features → μ, ln σ²                                     q(z|x)
//! draw     z = μ + σ·ε
//! decode   z → logits or means                                         p(x|z)
//! loss     reconstruction(x, output) + β·divergence(μ, ln σ²)          mean over the batch
//! ```
//!
//! The gradient goes back the same way: from the loss into the decoder's output and, beside it, straight into μ and ln σ²; through
//! the decoder to z; through the draw to μ and ln σ², where both meet; through the encoder to its weights.
//!
//! A [`Vae`] is only numbers and the table that names them. What a pass needs besides lies in a [`Workspace`], made once for
//! the largest batch, so that a training step allocates nothing.

use super::config::ModelConfig;
use super::network::{self, Stage};
use super::presets::Architecture;
use crate::error::Result;
use crate::layers::shared::{Latent, reparameterize, reparameterize_backward};
use crate::layers::{Activation, Work, WorkLen};
use crate::loss::objective::{LossValues, Objective, ObjectiveTerms, ObjectiveWorkspace};
use crate::tensor::Element;

/// A model: its configuration, its layers, its parameters.
#[derive(Clone, Debug, PartialEq)]
pub struct Vae<T> {
    config: ModelConfig,
    architecture: Architecture,
    /// All parameters; [`Architecture::table`] says which is which.
    pub parameters: Vec<T>,
}

/// Everything that a pass over a batch reads and writes besides parameters and images.
#[derive(Debug)]
pub struct Workspace<T> {
    /// The most images that fit.
    pub max_batch: usize,
    encoder_outputs: Vec<Vec<T>>,
    /// μ, ln σ², z, and their gradients.
    pub latent: Latent<T>,
    decoder_outputs: Vec<Vec<T>>,
    work: Work<T>,
    training: Option<TrainingSpace<T>>,
}

/// What only a backward pass needs.
#[derive(Debug)]
struct TrainingSpace<T> {
    gradient: Vec<T>,
    d: Vec<T>,
    spare: Vec<T>,
    objective: ObjectiveWorkspace<T>,
}

impl<T: Element> Vae<T> {
    /// A new model with PyTorch's default initialization.
    ///
    /// # Errors
    /// Where the configuration makes no network.
    pub fn new(config: ModelConfig, seed: u64) -> Result<Self> {
        let architecture = Architecture::new(&config)?;
        let parameters = architecture.table.initialize(seed);
        Ok(Self { config, architecture, parameters })
    }

    /// A model from a network and its numbers.
    pub(super) fn from_parts(config: ModelConfig, architecture: Architecture, parameters: Vec<T>) -> Self {
        Self { config, architecture, parameters }
    }

    /// What the model is made of.
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// Its layers and the table of its parameters.
    pub fn architecture(&self) -> &Architecture {
        &self.architecture
    }

    /// Sets the σ² that evaluation uses with the optimal Gaussian; without effect on other likelihoods.
    pub fn set_optimal_variance(&mut self, value: f64) {
        if let crate::loss::Likelihood::OptimalGaussian { variance } = &mut self.config.likelihood {
            *variance = Some(value);
        }
    }

    /// Room for passes without a gradient over at most `max_batch` images.
    pub fn inference_workspace(&self, max_batch: usize) -> Workspace<T> {
        let a = &self.architecture;
        Workspace {
            max_batch,
            encoder_outputs: network::outputs(&a.encoder, max_batch),
            latent: Latent::new(max_batch, self.config.latent),
            decoder_outputs: network::outputs(&a.decoder, max_batch),
            work: Work::new(WorkLen { partials: 0, ..self.work_len() }),
            training: None,
        }
    }

    /// Room for training steps on at most `max_batch` images.
    pub fn training_workspace(&self, max_batch: usize) -> Workspace<T> {
        let a = &self.architecture;
        // The first layer's input gradient is not wanted, so images themselves never lie in the two buffers as such.
        let stages = a.encoder.iter().skip(1).chain(&a.decoder);
        let lens = stages.flat_map(|stage| [stage.layer.input_len(), stage.layer.output_len()]);
        let widest = max_batch * lens.chain([a.encoder[0].layer.output_len()]).max().unwrap_or(0);
        // An `mlp` writes its unwanted input gradient nowhere, but the slice for it must exist.
        let widest = widest.max(max_batch * a.encoder[0].layer.input_len());
        Workspace {
            work: Work::new(self.work_len()),
            training: Some(TrainingSpace {
                gradient: vec![T::ZERO; self.parameters.len()],
                d: vec![T::ZERO; widest],
                spare: vec![T::ZERO; widest],
                objective: ObjectiveWorkspace::new(max_batch, self.config.latent),
            }),
            ..self.inference_workspace(max_batch)
        }
    }

    fn work_len(&self) -> WorkLen {
        let stages = self.architecture.encoder.iter().chain(&self.architecture.decoder);
        stages.map(|stage| stage.layer.work_len()).fold(WorkLen::default(), WorkLen::max)
    }

    /// μ and ln σ² of a batch of images, B × H·W·C in the model's span; they are then in `workspace.latent`.
    ///
    /// # Panics
    /// Where the images are of another size than the model's, or more than fit the workspace.
    pub fn encode(&self, images: &[T], workspace: &mut Workspace<T>) {
        let batch = self.batch_of(images, workspace);
        let (a, w) = (&self.architecture, workspace);
        network::forward(&a.encoder, &self.parameters, batch, images, &mut w.encoder_outputs, &mut w.work);
        let features = last(&w.encoder_outputs, &a.encoder, batch);
        a.shared.forward(features, self.pair(&a.mu), self.pair(&a.log_variance), &mut w.latent);
    }

    /// Logits or means of the first `batch` codes in `workspace.latent.z`: B × H·W·C.
    pub fn decode<'w>(&self, batch: usize, workspace: &'w mut Workspace<T>) -> &'w mut [T] {
        assert!(batch <= workspace.max_batch, "{batch} codes in a workspace for {}", workspace.max_batch);
        let (stages, w) = (&self.architecture.decoder, workspace);
        let z = &w.latent.z[..batch * self.config.latent];
        network::forward(stages, &self.parameters, batch, z, &mut w.decoder_outputs, &mut w.work);
        let len = batch * self.config.pixels();
        &mut w.decoder_outputs.last_mut().expect("every decoder has layers")[..len]
    }

    /// Turns the decoder's output into means in the model's span: a sigmoid where it is logits.
    pub fn to_means(&self, output: &mut [T]) {
        if !self.config.likelihood.output_is_mean() {
            Activation::Sigmoid.forward(output);
        }
    }

    /// z ← μ + σ·ε for the batch that was encoded last; `noise` is B × Z.
    pub fn draw(&self, noise: &[T], workspace: &mut Workspace<T>) {
        let Latent { mu, log_variance, z, .. } = &mut workspace.latent;
        let n = noise.len();
        reparameterize(&mu[..n], &log_variance[..n], noise, &mut z[..n]);
    }

    /// One forward and backward pass: the loss's values, and its gradient in [`Workspace::gradient`]. `images` is B × H·W·C,
    /// `noise` B × Z.
    pub fn gradients(
        &self,
        images: &[T],
        noise: &[T],
        objective: &Objective,
        terms: &ObjectiveTerms,
        workspace: &mut Workspace<T>,
    ) -> LossValues {
        self.backpropagate(images, noise, objective, terms, Half::Both, workspace)
    }

    /// The second step of the alternating schedule: the gradient of the reconstruction with respect to the decoder alone, in the
    /// decoder's half of [`Workspace::gradient`]. What lies in the encoder's half is nothing to step by: the most of it is left as it was,
    /// and the article's shared layer, whose way back is the decoder's first stage, has only that use's share there.
    pub fn decoder_gradients(
        &self,
        images: &[T],
        noise: &[T],
        objective: &Objective,
        terms: &ObjectiveTerms,
        workspace: &mut Workspace<T>,
    ) -> LossValues {
        self.backpropagate(images, noise, objective, terms, Half::Decoder, workspace)
    }

    fn backpropagate(
        &self,
        images: &[T],
        noise: &[T],
        objective: &Objective,
        terms: &ObjectiveTerms,
        half: Half,
        workspace: &mut Workspace<T>,
    ) -> LossValues {
        let batch = self.batch_of(images, workspace);
        self.encode(images, workspace);
        self.draw(noise, workspace);
        self.decode(batch, workspace);

        let (a, w) = (&self.architecture, workspace);
        let t = w.training.as_mut().expect("a workspace for training");
        let latent = batch * self.config.latent;
        let output = last(&w.decoder_outputs, &a.decoder, batch);
        let Latent { mu, log_variance, z, d_mu, d_log_variance, d_z } = &mut w.latent;
        let values = objective.forward_backward(
            terms,
            output,
            images,
            self.config.image(),
            &mu[..latent],
            &log_variance[..latent],
            &mut t.d[..output.len()],
            &mut d_mu[..latent],
            &mut d_log_variance[..latent],
            &mut t.objective,
        );

        let (p, g) = (&self.parameters, &mut t.gradient);
        network::backward(
            &a.decoder,
            p,
            batch,
            &z[..latent],
            &w.decoder_outputs,
            g,
            &mut t.d,
            &mut t.spare,
            true,
            &mut w.work,
        );
        if half == Half::Decoder {
            return values;
        }
        d_z[..latent].copy_from_slice(&t.d[..latent]);
        reparameterize_backward(
            &log_variance[..latent],
            &noise[..latent],
            &d_z[..latent],
            &mut d_mu[..latent],
            &mut d_log_variance[..latent],
        );
        let features = last(&w.encoder_outputs, &a.encoder, batch);
        let weights = (&p[a.mu.0.clone()], &p[a.log_variance.0.clone()]);
        let [mw, mb, sw, sb] = g
            .get_disjoint_mut([
                a.mu.0.clone(),
                a.mu.1.clone(),
                a.log_variance.0.clone(),
                a.log_variance.1.clone(),
            ])
            .expect("the heads' parameters are different ones");
        let mut mu_gradients = crate::layers::Gradients { weight: mw, bias: mb, accumulate: a.mu_is_shared };
        let mut s_gradients = crate::layers::Gradients { weight: sw, bias: sb, accumulate: false };
        let d_features = &mut t.d[..features.len()];
        a.shared.backward(features, &mut w.latent, weights, &mut mu_gradients, &mut s_gradients, d_features);
        network::backward(
            &a.encoder,
            p,
            batch,
            images,
            &w.encoder_outputs,
            g,
            &mut t.d,
            &mut t.spare,
            false,
            &mut w.work,
        );
        values
    }

    /// The objective's values for a batch, without a gradient.
    pub fn evaluate(
        &self,
        images: &[T],
        noise: &[T],
        objective: &Objective,
        terms: &ObjectiveTerms,
        space: &mut ObjectiveWorkspace<T>,
        workspace: &mut Workspace<T>,
    ) -> LossValues {
        let batch = self.batch_of(images, workspace);
        self.encode(images, workspace);
        self.draw(noise, workspace);
        self.decode(batch, workspace);
        let output = last(&workspace.decoder_outputs, &self.architecture.decoder, batch);
        let n = batch * self.config.latent;
        let (mu, log_variance) = (&workspace.latent.mu[..n], &workspace.latent.log_variance[..n]);
        objective.forward(terms, output, images, self.config.image(), mu, log_variance, space)
    }

    fn batch_of(&self, images: &[T], workspace: &Workspace<T>) -> usize {
        let batch = images.len() / self.config.pixels();
        assert_eq!(batch * self.config.pixels(), images.len(), "images of another size than the model's");
        assert!(batch <= workspace.max_batch, "{batch} images in a workspace for {}", workspace.max_batch);
        batch
    }

    fn pair(&self, (weight, bias): &(std::ops::Range<usize>, std::ops::Range<usize>)) -> (&[T], &[T]) {
        (&self.parameters[weight.clone()], &self.parameters[bias.clone()])
    }
}

impl<T> Workspace<T> {
    /// The gradient of the last [`Vae::gradients`], in the order of the parameters.
    ///
    /// # Panics
    /// Where the workspace is for inference.
    pub fn gradient(&self) -> &[T] {
        &self.training.as_ref().expect("a workspace for training").gradient
    }

    /// What the last training step left about its divergences.
    ///
    /// # Panics
    /// Where the workspace is for inference.
    pub fn objective(&self) -> &ObjectiveWorkspace<T> {
        &self.training.as_ref().expect("a workspace for training").objective
    }
}

/// Which parameters' gradients are wanted.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Half {
    Both,
    Decoder,
}

/// The output of a chain's last stage.
fn last<'a, T>(outputs: &'a [Vec<T>], stages: &[Stage], batch: usize) -> &'a [T] {
    let (output, stage) = outputs.last().zip(stages.last()).expect("a chain has layers");
    &output[..batch * stage.layer.output_len()]
}

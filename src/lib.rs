//! elbo trains variational autoencoders for images on the CPU. All of the learning code is written here:
//! convolution, transposed convolution, their hand-derived gradients, reparameterization, Adam. It is
//! designed to be fast and readable.
//!
//! # From pictures to a model to new pictures
//!
//! This example loads a folder of PNG files, trains a model on it, draws new pictures, and saves the model.
//!
//! ```
//! use elbo::data::{Color, LoadOptions, load};
//! use elbo::{Picture, Preset, Training, Vae};
//!
//! # fn main() -> elbo::Result<()> {
//! # let temporary = tempfile::tempdir().unwrap();
//! # let folder = temporary.path();
//! # std::fs::create_dir(folder.join("pictures")).unwrap();
//! # for image in 0..20_usize {
//! #     let pixels: Vec<u8> = (0..120).map(|at| if at % 12 < image % 12 { 255 } else { 10 * image as u8 }).collect();
//! #     let mut file = std::fs::File::create(folder.join("pictures").join(format!("{image}.png"))).unwrap();
//! #     elbo::data::write_png(&mut file, &pixels, 10, 12, 1).unwrap();
//! # }
//! // Pictures of any size become 8×8, in colour.
//! let options = LoadOptions { size: Some((8, 8)), color: Some(Color::Rgb), ..LoadOptions::default() };
//! let data = load(folder.join("pictures"), &options, &|_done, _total| ())?;
//!
//! // The run folder has the model, metrics.csv, a report and what resuming needs.
//! let training = Training::new(data).preset(Preset::Conv).latent(4).epochs(2).batch(6).threads(2);
//! let model = training.run(folder.join("run"))?;
//!
//! // 16 new pictures, four in a row: 16 × H·W·C numbers in [0, 1].
//! let samples = model.sample(16, 0);
//! assert_eq!(samples.len(), 16 * 8 * 8 * 3);
//! Picture::sheet(&samples, model.config().image(), 4).save(folder.join("samples.png"))?;
//!
//! // A model is one file, which PyTorch reads too.
//! model.save(folder.join("model.safetensors"))?;
//! let same = Vae::load(folder.join("model.safetensors"))?;
//! assert_eq!(same.sample(16, 0), samples);
//! # Ok(())
//! # }
//! ```
//!
//! [`Training`] has the other options; [`Codec`](model::Codec) encodes images and decodes codes; [`generate`]
//! and [`evaluate`] implement most other commands of `elbo`.
//!
//! # A training step
//!
//! The same without files, step by step: four images, two hundred steps.
//!
//! ```
//! use elbo::loss::Objective;
//! use elbo::model::{Batch, ModelConfig, Preset, Vae};
//! use elbo::optim::{Adam, AdamState};
//! use elbo::random::{Stream, fill_normal, stream};
//!
//! // Images of 8×8: the left half white, the right, the top, the bottom.
//! let mut images = vec![0.0_f32; 4 * 64];
//! for pixel in 0..64 {
//!     let (row, column) = (pixel / 8, pixel % 8);
//!     let is_white = [column < 4, column >= 4, row < 4, row >= 4];
//!     for (image, white) in is_white.into_iter().enumerate() {
//!         images[image * 64 + pixel] = f32::from(u8::from(white));
//!     }
//! }
//! let config = ModelConfig { latent: 2, hidden: vec![32], ..ModelConfig::new(Preset::Mlp, (8, 8, 1)) };
//! let mut model = Vae::<f32>::new(config, 0)?;
//! let mut space = model.training_workspace(4);
//! let (adam, mut moments) = (Adam::default(), AdamState::new(model.parameters.len()));
//! let mut losses = Vec::new();
//! for step in 0..200 {
//!     let mut noise = [0.0; 4 * 2];
//!     fill_normal(&mut stream(0, Stream::Noise, step), &mut noise);
//!     let values = model.gradients(Batch::new(&images), &noise, &Objective::ELBO, &mut space);
//!     adam.step(&mut model.parameters, space.gradient(), &mut moments, 1e-2, 1.0);
//!     losses.push(values.negative_elbo);
//! }
//! // At first 64 pixels at ln 2 each; in the end little more than ln 4, which tells four images apart.
//! assert!(losses[0] > 40.0 && losses[199] < 10.0, "{} {}", losses[0], losses[199]);
//! # Ok::<(), elbo::Error>(())
//! ```
//!
//! # Reading order
//!
//! From the objective to its implementation. `docs/reading-order.md` is a guided path, with questions.
//!
//! 1. [`loss`]: the objective. [`loss::likelihood`], [`loss::divergence`], [`loss::objective`].
//! 2. [`layers`]: [`linear`](layers::linear), then [`conv2d`](layers::conv2d) and
//!    [`conv_transpose2d`](layers::conv_transpose2d), and [`shared`](layers::shared), which draws the code.
//! 3. [`kernels`]: the basis of the layers, [`columns`](kernels::columns) (im2col and col2im) and
//!    [`gemm`](kernels::gemm).
//! 4. [`model`]: the networks as plans ([`presets`](model::presets)), the assembled network
//!    ([`architecture`](model::architecture)), forward and backward through all of it ([`vae`](model::vae)),
//!    and a trained model in use ([`codec`](model::codec)).
//! 5. [`optim`] and [`train`]: Adam, the step, the epoch, the run folder.
//! 6. [`data`] (images in), [`generate`] (new images out), [`evaluate`] (how good they are), [`export`] (a
//!    model for PyTorch), [`explore`] (a model in the browser), [`compress`](mod@compress) (images into small
//!    files), [`report`] (a run on a page), [`storage`] (atomic file writes).
//! 7. `cli`: the program, which only calls all this.
//!
//! # Layers of the crate
//!
//! A module imports only modules to the right of it, and no two files import each other (`tests/structure.rs`
//! checks both):
//!
//! `cli` → `train` → `explore` → `report` → `export` → `evaluate` → `compress` → `generate` → `model` → `layers` → `loss` → `optim` → `data` → `storage` → `random` → `kernels` → `tensor` → `text` → `error`
//!
//! # Letters
//!
//! | letter | is |
//! |---|---|
//! | B | images in a batch |
//! | H, W, C | rows, columns and channels of an image; pixels lie in this order, channels last |
//! | K | the side of a kernel (KH, KW if the two differ) |
//! | S | stride (in the formulas of a transposed convolution, the channels of its small side) |
//! | P | padding |
//! | O | output channels of a convolution |
//! | Z | dimensions of a latent code |
//! | D | H·W·C, the numbers of an image |
//! | x, z, ε | an image, its code, a draw from the standard normal |
//! | μ, σ, s | mean and standard deviation of q(z\|x); s = ln σ², `log_variance` |
//! | `d_name` | the derivative of the loss by `name` |
//!
//! # Invariants
//!
//! - **One scale.** Losses are in nats, summed over pixels and latent dimensions, averaged over images
//!   ([`loss::objective`]).
//! - **Bit-identical for any number of threads.** Work is divided by sizes, never by threads, and partial
//!   sums are added in a fixed order ([`layers`]).
//! - **Named random streams.** A generator is a function of (seed, stream, index), so none is ever saved
//!   ([`mod@random`]).
//! - **f32 and f64.** Everything from the kernels to the loss is generic, so that gradients are checked by
//!   finite differences in f64.
//! - **A training step allocates nothing** in the crate's own code; workspaces are made once, for the largest
//!   batch.
//! - **PyTorch's names and layouts on disk**, the kernels' own layouts in memory ([`model::parameters`]).
//! - **Atomic file writes** ([`storage`]), and data read from a file is validated before memory is allocated
//!   for it.
//! - **Errors** are one sentence: what is wrong, where, and what would be accepted ([`Error`]). Kernels
//!   assert; a shape that does not fit is a bug.

#[cfg(feature = "cli")]
pub mod cli;
pub mod compress;
pub mod data;
pub mod error;
pub mod evaluate;
pub mod explore;
pub mod export;
pub mod generate;
#[cfg(test)]
pub(crate) mod gradient_check;
pub mod kernels;
pub mod layers;
pub mod loss;
pub mod model;
pub mod optim;
pub mod random;
pub mod report;
pub mod storage;
pub mod tensor;
pub(crate) mod text;
pub mod train;

pub use data::Dataset;
pub use error::{Error, Result};
pub use model::{Preset, Vae};
pub use report::Picture;
pub use train::Training;

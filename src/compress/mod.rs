//! Lossless compression of images with a trained model.
//!
//! A VAE whose likelihood assigns probabilities to bytes is a lossless compressor at the rate of its −ELBO,
//! by bits-back coding. Reader and writer must compute bit-identical numbers from the model. Here they do,
//! because the networks are bit-identical for any number of threads and images in a batch, and because
//! everything after them is integers. [`compress`] makes the bytes of a file, [`Compressed`] reads them;
//! docs/format.md specifies the file.
//!
//! Reading order: `rans` (an entropy coder), `normal` (the latent variable in integers), `levels` (bytes of
//! pixels in integers), `blocks` (bits-back coding of many images), `container` and `extra` (the file),
//! `archive` (compression and decompression), `lossy` (codes instead of images). Only the command line
//! imports this folder.
//!
//! ```
//! use elbo::compress::{CompressOptions, Compressed, Contents, DecompressOptions, compress};
//! use elbo::data::Images;
//! use elbo::loss::Likelihood;
//! use elbo::model::{ModelConfig, Preset, Vae};
//! let config = ModelConfig { likelihood: Likelihood::BetaBinomial, ..ModelConfig::new(Preset::Mlp, (8, 8, 1)) };
//! let model = Vae::new(config, 0)?;
//! let images = Images::from_bytes((0..3 * 64).map(|at| (at * at % 256) as u8).collect(), 3, 8, 8, 1);
//! let contents = Contents { images: &images, names: &[], labels: None };
//! let file = compress(&model, &contents, &CompressOptions::default(), &|_| ())?;
//! let back = Compressed::from_bytes(file, "images.elbo").decompress(&model, &DecompressOptions::default(), &|_| ())?;
//! assert_eq!(back.images, images);
//! # Ok::<(), elbo::Error>(())
//! ```

mod archive;
mod blocks;
mod container;
mod extra;
mod levels;
mod lossy;
mod normal;
mod rans;

pub use archive::{
    CompressOptions, Compressed, Contents, DecompressOptions, Decompressed, check_model, compress, memory,
};

//! `elbo reconstruct`: shows images beside their reconstructions.

use std::path::PathBuf;

use clap::Args;

use super::common::{Ending, Opened};
use super::pictures::{Output, Shown, interleave};
use crate::data::{Images, Pixels, Range};
use crate::error::{Error, Result};
use crate::model::{Codec, Labelled};
use crate::random::{Stream, fill_normal, stream};
use crate::report::Picture;
use crate::tensor::ImageShape;
use crate::train::DataOptions;

/// Show images beside their reconstructions
#[derive(Debug, Args)]
#[command(
    after_help = "Without --data: the test images of the run's data; if there are none, the images that the run held out; else all."
)]
pub(super) struct Reconstruct {
    /// A run folder or a model file [default: the newest run]
    run: Option<PathBuf>,
    /// Decode with this label instead of each image's own, in the same style; `all` gives a row of all labels
    /// for each image
    #[arg(long, value_name = "L", conflicts_with = "noise")]
    as_label: Option<String>,
    /// Number of images, from the first [default: 32 on a sheet, 8 with --as-label, else all]
    #[arg(long, value_name = "N")]
    count: Option<usize>,
    /// A sheet (.png), the reconstructions as numbers (.npy), or a folder of PNG files (a name without
    /// extension)
    #[arg(long, value_name = "FILE", default_value = "reconstruct.png", help_heading = "Output")]
    out: PathBuf,
    /// Add Gaussian noise of this standard deviation (white is 1) first; a sheet then shows original, noisy
    /// input and reconstruction
    #[arg(long, value_name = "S", allow_negative_numbers = true)]
    noise: Option<f64>,
    /// Seed of the noise
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// Label of all images, for a conditional model [default: each image's own]
    #[arg(long, value_name = "L")]
    label: Option<String>,
    #[command(flatten)]
    data: DataOptions,
}

impl Reconstruct {
    pub(super) fn run(self) -> Result<Ending> {
        if let Some(noise) = self.noise.filter(|noise| !(noise.is_finite() && *noise >= 0.0)) {
            return Err(Error::config(format!("--noise {noise} must be 0 or a positive number")));
        }
        let output = Output::new(&self.out)?;
        let opened = Opened::new(self.run.as_deref(), self.data.load_options()?.max_memory)?;
        let first = if self.as_label.is_some() { 8 } else { 32 };
        let default = matches!(output, Output::Png(_)).then_some(first);
        let targets =
            self.as_label.as_deref().map(|label| opened.model.config().labels_called(label)).transpose()?;
        let shown = Shown::new(&opened, &self.data, self.label.as_deref())?.take(self.count, default)?;
        // An image's tiles on a sheet, each also among the numbers that they are laid out from.
        let tiles = match (&targets, self.noise) {
            (Some(targets), _) => 1 + targets.len(),
            (None, noise) => 2 + usize::from(noise.is_some()),
        };
        let pictures = (shown.len().saturating_mul(tiles), 2);
        output.room_for(&opened, shown.bytes(&opened, shown.len()), pictures, "a smaller --count")?;
        let (size, mut codec) = (opened.model.config().image(), Codec::new(&opened.model));
        let len = opened.model.config().pixels();
        match (self.noise, targets) {
            (_, Some(targets)) => {
                let (latent, codes) =
                    (opened.model.config().latent, shown.encode(&mut codec, &shown.indices));
                // Each code with each label.
                let repeated: Vec<f32> =
                    codes.mu.chunks_exact(latent).flat_map(|code| code.repeat(targets.len())).collect();
                let back = codec.decode_as(&repeated, &targets.repeat(shown.len()));
                let originals = shown.pictures(&shown.indices);
                let sheet = || {
                    let rows = originals.chunks_exact(len).zip(back.chunks_exact(targets.len() * len));
                    let tiles: Vec<f32> =
                        rows.flat_map(|(image, row)| image.iter().chain(row).copied()).collect();
                    Picture::sheet(&tiles, size, targets.len() + 1)
                };
                output.write_with(&back, size, sheet)?;
            }
            (None, None) => {
                let codes = shown.encode(&mut codec, &shown.indices);
                let back = codec.decode_as(&codes.mu, &shown.numbers(&shown.indices));
                let originals = || shown.pictures(&shown.indices);
                output.write_with(&back, size, || Picture::pairs(&originals(), &back, size, 4))?;
            }
            (Some(noise), None) => {
                let originals = shown.pictures(&shown.indices);
                // The network's input is binarized by the same draws as the image without noise.
                let mut noisy = add_noise(shown.grey(&shown.indices), len, noise as f32, self.seed);
                shown.filler.binarize(&mut noisy, &shown.indices);
                let count = shown.len();
                let ImageShape { height, width, channels } = size;
                let images =
                    Images { pixels: Pixels::F32(noisy), count, height, width, channels, range: Range::UNIT };
                let labels = shown.numbers(&shown.indices);
                let noised = Labelled { images: &images, labels: &labels };
                let codes = codec.encode(noised, &(0..count).collect::<Vec<_>>(), None);
                let back = codec.decode_as(&codes.mu, &labels);
                let Pixels::F32(noisy) = &images.pixels else { unreachable!("made of floats just above") };
                output.write_with(&back, size, || {
                    Picture::sheet(&interleave(&[&originals, noisy, &back], len), size, 9)
                })?;
            }
        }
        Ok(Ending::Done)
    }
}

/// Pictures with noise, each from its own stream. Values are not clipped at black and white: clipping would
/// make a black background brighter on average, which no filter of the encoder could average away.
fn add_noise(mut noisy: Vec<f32>, len: usize, sigma: f32, seed: u64) -> Vec<f32> {
    let mut noise = vec![0.0; len];
    for (at, picture) in noisy.chunks_exact_mut(len).enumerate() {
        fill_normal(&mut stream(seed, Stream::Corruption, at as u64), &mut noise);
        picture.iter_mut().zip(&noise).for_each(|(v, e)| *v += sigma * e);
    }
    noisy
}

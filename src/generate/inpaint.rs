//! Inpainting: filling in the missing pixels of an image.
//!
//! The known pixels x_o stay; the missing ones x_m start as noise. Then these two steps are repeated:
//!
//! ```text
//! z ~ q(z | x_o, x_m)        encode the picture as it stands, and draw a code
//! x_m ← E[x_m | z]           decode, and take the missing pixels from there
//! ```
//!
//! This is the Markov chain of Rezende, Mohamed & Wierstra 2014 (appendix F). Its stationary distribution is
//! near p(x_m | x_o) if the posterior is good. They draw x_m from p(x_m | z); here its mean is taken, so that
//! the result has no pixel noise. With [`Inpaint::draw`] off the chain uses z = μ and converges to a fixed
//! point that no longer depends on the noise.

use crate::data::{Filler, Images, Pixels, Range};
use crate::error::{Error, Result};
use crate::model::Labelled;
use crate::model::codec::{Codec, Codes};
use crate::random::{Stream, fill_normal, stream};
use crate::text::names::named;
use rand::RngExt;

/// Which pixels of a picture are missing (true): H·W, the same for all channels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mask {
    missing: Vec<bool>,
}

/// One half of a picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Half {
    /// Columns below W/2.
    Left,
    /// The others.
    Right,
    /// Rows below H/2.
    Top,
    /// The others.
    Bottom,
}

named!(Half, "half", Left => "left", Right => "right", Top => "top", Bottom => "bottom");

impl Mask {
    /// A mask from one boolean per pixel, row by row; true: missing.
    ///
    /// # Errors
    /// If all are missing, or none.
    pub fn new(missing: Vec<bool>) -> Result<Self> {
        let count = missing.iter().filter(|&&missing| missing).count();
        if count == 0 {
            return Err(Error::config(
                "the mask leaves nothing to fill in; its white pixels are the missing ones",
            ));
        }
        if count == missing.len() {
            return Err(Error::config(
                "the mask covers the whole picture; some pixels must be known (`elbo sample` draws from nothing)",
            ));
        }
        Ok(Self { missing })
    }

    /// A rectangle whose upper left pixel is (`y`, `x`).
    ///
    /// # Errors
    /// If it does not lie inside the picture, or covers all of it.
    pub fn from_box((height, width): (usize, usize), [y, x, rows, columns]: [usize; 4]) -> Result<Self> {
        let inside = |start: usize, len: usize, side: usize| {
            len > 0 && start.checked_add(len).is_some_and(|end| end <= side)
        };
        if !inside(y, rows, height) || !inside(x, columns, width) {
            return Err(Error::config(format!(
                "the box {y},{x},{rows},{columns} (y, x, height, width) does not lie inside a picture of {height}×{width}"
            )));
        }
        let (rows, columns) = (y..y + rows, x..x + columns);
        Self::new(
            (0..height * width)
                .map(|at| rows.contains(&(at / width)) && columns.contains(&(at % width)))
                .collect(),
        )
    }

    /// Half of the picture.
    ///
    /// # Errors
    /// Never for pictures of two rows and columns or more.
    pub fn half((height, width): (usize, usize), half: Half) -> Result<Self> {
        let (h, w) = (height / 2, width / 2);
        let rectangle = match half {
            Half::Left => [0, 0, height, w],
            Half::Right => [0, w, height, width - w],
            Half::Top => [0, 0, h, width],
            Half::Bottom => [h, 0, height - h, width],
        };
        Self::from_box((height, width), rectangle)
    }

    /// A mask from the first of these images: its pixels above half of its largest value are missing.
    ///
    /// # Errors
    /// If it has another size, or is all black or all white.
    pub fn from_images(images: &Images, (height, width): (usize, usize)) -> Result<Self> {
        if (images.height, images.width) != (height, width) || images.count == 0 {
            return Err(Error::config(format!(
                "the mask is {}×{}, and the model's images are {height}×{width}; both must be the same",
                images.height, images.width
            )));
        }
        let bytes = images.to_bytes(0);
        // Masks of 0 and 1 are as common as masks of 0 and 255.
        let half = bytes.iter().max().map_or(0, |largest| largest / 2);
        Self::new(bytes.chunks_exact(images.channels).map(|pixel| pixel[0] > half).collect())
    }

    /// Whether pixel `at` (y·W + x) is missing.
    pub fn is_missing(&self, at: usize) -> bool {
        self.missing[at]
    }

    /// Pictures (N × H·W·C) with the missing pixels set to `fill`.
    pub fn cover(&self, pictures: &[f32], channels: usize, fill: f32) -> Vec<f32> {
        let pixels = self.missing.len();
        let known =
            |(at, &value): (usize, &f32)| if self.missing[at / channels % pixels] { fill } else { value };
        pictures.iter().enumerate().map(known).collect()
    }
}

/// Pictures to be filled in.
#[derive(Clone, Copy, Debug)]
pub struct Given<'a> {
    /// N × H·W·C numbers in [0, 1].
    pub values: &'a [f32],
    /// The label of each picture for a conditional model; none for other models.
    pub labels: &'a [u32],
    /// The index of each picture in its data set, which seeds the draws that binarize it.
    pub indices: &'a [usize],
    /// How the model got its pictures in training, such as binarized.
    pub filler: &'a Filler,
}

/// The settings of inpainting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Inpaint {
    /// Rounds of encoding and decoding.
    pub steps: usize,
    /// Draw z from the posterior; otherwise take its mean.
    pub draw: bool,
    /// The seed of the first noise and of all draws.
    pub seed: u64,
}

impl Inpaint {
    /// The rounds that are returned: powers of two, and the last.
    pub fn stages(&self) -> Vec<usize> {
        let mut stages: Vec<usize> = std::iter::successors(Some(1), |n: &usize| n.checked_mul(2))
            .take_while(|&n| n < self.steps)
            .collect();
        stages.push(self.steps);
        stages
    }

    /// Fills in pictures and returns them after each of the [`stages`](Self::stages). Known pixels are
    /// unchanged.
    ///
    /// # Errors
    /// If there are no steps.
    ///
    /// # Panics
    /// If pictures or mask are of another size than the model's, or a conditional model gets no labels.
    pub fn run(&self, codec: &mut Codec<'_>, given: &Given<'_>, mask: &Mask) -> Result<Vec<Vec<f32>>> {
        if self.steps == 0 {
            return Err(Error::config("0 steps fill in nothing; there must be at least 1"));
        }
        let c = codec.model().config();
        let (size, len, latent) = ((c.height, c.width, c.channels), c.pixels(), c.latent);
        assert_eq!(mask.missing.len(), size.0 * size.1, "a mask of the model's size");
        let missing: Vec<usize> = (0..len).filter(|at| mask.missing[at / size.2]).collect();
        // Each picture has its own generator, so its result does not depend on the others.
        let count = given.values.len() / len;
        let mut generators: Vec<_> =
            (0..count as u64).map(|i| stream(self.seed, Stream::Corruption, i)).collect();
        let mut current = given.values.to_vec();
        for (picture, rng) in current.chunks_exact_mut(len).zip(&mut generators) {
            missing.iter().for_each(|&at| picture[at] = rng.random::<f32>());
        }
        let (mut stages, shown) = (Vec::new(), self.stages());
        let mut noise = vec![0.0; latent];
        for step in 1..=self.steps {
            let mut seen = current.clone();
            given.filler.binarize(&mut seen, given.indices);
            let Codes { mut mu, log_variance } = encode(codec, seen, given.labels, size);
            if self.draw {
                let each =
                    mu.chunks_exact_mut(latent).zip(log_variance.chunks_exact(latent)).zip(&mut generators);
                for ((z, s), rng) in each {
                    fill_normal(rng, &mut noise);
                    z.iter_mut().zip(s).zip(&noise).for_each(|((z, s), e)| *z += (0.5 * s).exp() * e);
                }
            }
            let drawn = codec.decode_as(&mu, given.labels);
            for (picture, drawn) in current.chunks_exact_mut(len).zip(drawn.chunks_exact(len)) {
                missing.iter().for_each(|&at| picture[at] = drawn[at]);
            }
            if shown.contains(&step) {
                stages.push(current.clone());
            }
        }
        Ok(stages)
    }
}

/// Encodes pictures with values in [0, 1].
fn encode(
    codec: &mut Codec<'_>,
    pictures: Vec<f32>,
    labels: &[u32],
    (height, width, channels): (usize, usize, usize),
) -> Codes {
    let count = pictures.len() / (height * width * channels);
    let images = Images { pixels: Pixels::F32(pictures), count, height, width, channels, range: Range::UNIT };
    codec.encode(Labelled { images: &images, labels }, &(0..count).collect::<Vec<_>>(), None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Binarize;
    use crate::model::{ModelConfig, Preset, Vae};

    #[test]
    fn known_pixels_stay_and_others_change() {
        let model = Vae::new(ModelConfig::new(Preset::Mlp, (8, 9, 3)), 1).unwrap();
        let mut codec = Codec::new(&model);
        let mask = Mask::half((8, 9), Half::Right).unwrap();
        let pictures: Vec<f32> = (0..2 * 8 * 9 * 3).map(|i| (i % 7) as f32 / 6.0).collect();
        let inpaint = Inpaint { steps: 5, draw: true, seed: 0 };
        let filler = Filler { span: model.config().span(), binarize: None, seed: 0 };
        let given = Given { values: &pictures, labels: &[], indices: &[0, 1], filler: &filler };
        let stages = inpaint.run(&mut codec, &given, &mask).unwrap();
        assert_eq!((inpaint.stages(), stages.len()), (vec![1, 2, 4, 5], 4));
        for stage in &stages {
            for (at, (&before, &after)) in pictures.iter().zip(stage).enumerate() {
                let missing = at / 3 % 9 >= 4;
                assert_eq!(mask.is_missing(at / 3 % 72), missing);
                assert!((before == after) != missing, "{at}");
            }
        }
        assert_eq!(stages, inpaint.run(&mut codec, &given, &mask).unwrap());
        // A picture's result does not depend on the others.
        let first = Given { values: &pictures[..216], indices: &[0], ..given };
        let alone = inpaint.run(&mut codec, &first, &mask).unwrap();
        let near = |a: &[f32], b: &[f32]| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-5);
        assert!(near(&alone[3], &stages[3][..216]));
        assert!(mask.cover(&pictures, 3, 0.25)[4 * 3..9 * 3].iter().all(|&v| v == 0.25));
    }

    #[test]
    fn the_model_gets_what_it_got_in_training() {
        let model = Vae::new(ModelConfig::new(Preset::Mlp, (8, 8, 1)), 1).unwrap();
        let mut codec = Codec::new(&model);
        let mask = Mask::half((8, 8), Half::Top).unwrap();
        let pictures: Vec<f32> = (0..2 * 64).map(|i| f32::from(u8::from(i % 3 == 0))).collect();
        let inpaint = Inpaint { steps: 1, draw: false, seed: 4 };
        for binarize in [Binarize::Threshold, Binarize::Static, Binarize::Dynamic] {
            let filler = Filler { span: model.config().span(), binarize: Some(binarize), seed: 9 };
            // As images 3 and 7 of the run.
            let given = Given { values: &pictures, labels: &[], indices: &[3, 7], filler: &filler };
            let found = inpaint.run(&mut codec, &given, &mask).unwrap();
            // The same by hand: noise, binarized by the draws of these images, encoded and decoded.
            let mut noisy = pictures.clone();
            for (at, picture) in noisy.chunks_exact_mut(64).enumerate() {
                let mut rng = stream(4, Stream::Corruption, at as u64);
                picture[..32].iter_mut().for_each(|v| *v = rng.random::<f32>());
            }
            let mut images = vec![0.0; 8 * 64];
            images[3 * 64..4 * 64].copy_from_slice(&noisy[..64]);
            images[7 * 64..].copy_from_slice(&noisy[64..]);
            let (count, height, width, channels) = (8, 8, 8, 1);
            let images =
                Images { pixels: Pixels::F32(images), count, height, width, channels, range: Range::UNIT };
            let codes = codec.encode_with(&images, &[3, 7], &filler);
            let expected = codec.decode(&codes.mu);
            for at in 0..2 {
                assert_eq!(found[0][at * 64..][..32], expected[at * 64..][..32], "{binarize}");
                assert_eq!(found[0][at * 64 + 32..][..32], pictures[at * 64 + 32..][..32]);
            }
        }
    }

    #[test]
    fn masks_that_leave_nothing_to_do_or_nothing_to_know_are_refused() {
        assert!(Mask::from_box((8, 8), [0, 0, 8, 8]).unwrap_err().to_string().contains("whole picture"));
        assert!(Mask::from_box((8, 8), [4, 0, 5, 2]).unwrap_err().to_string().contains("4,0,5,2"));
        assert!(Mask::from_box((8, 8), [usize::MAX, 0, 2, 2]).is_err());
        assert!(Mask::new(vec![false; 4]).unwrap_err().to_string().contains("white"));
    }
}

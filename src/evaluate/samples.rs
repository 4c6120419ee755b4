//! The quality of samples: their distance from real images, precision and recall, and sharpness.
//!
//! For comparison, two other sets get the same figures: training images (the floor, the result of real
//! pictures) and their reconstructions (the result of samples from the best possible prior). The modules
//! [distance](super::frechet), [precision and recall](super::precision) and [sharpness](super::sharpness)
//! explain what each figure detects and misses.

use super::frechet::{FEATURES, FeatureSpace, Moments};
use super::judged::{Judged, Which};
use super::measures::Progress;
use super::precision::PrecisionRecall;
use super::sharpness::Spectrum;
use crate::data::{Filler, Images, Span};
use crate::error::{Error, Result};
use crate::generate::prior::Prior;
use crate::model::Labelled;
use crate::model::codec::{BATCH, Codec};
use crate::tensor::ImageShape;

/// A set of pictures compared with the judged images.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SampleQuality {
    /// [`Moments::relative_distance`].
    pub distance: f64,
    /// Precision and recall; `None` if there are too few pictures.
    pub precision_recall: Option<PrecisionRecall>,
    /// [`Spectrum::sharpness`].
    pub sharpness: Option<f64>,
}

/// Samples compared with the judged images, and the same figures for other pictures.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SampleQualities {
    /// Samples that were drawn.
    pub samples: usize,
    /// The number of training images for `floor` and `reconstructions`: that of the samples, or all if there
    /// are fewer.
    pub references: usize,
    /// Training images: the result of real pictures. `None` if the judged images are the training images.
    pub floor: Option<SampleQuality>,
    /// Reconstructions of these training images: the result of samples from the best possible prior. `None`
    /// if there are fewer than two.
    pub reconstructions: Option<SampleQuality>,
    /// Samples from N(0, I).
    pub normal: SampleQuality,
    /// Samples from the fitted mixture, if there is one.
    pub mixture: Option<SampleQuality>,
}

/// The bytes that [`sample_qualities`] takes at most, besides the model and the images: codes and features,
/// and two spectra at a time.
pub fn memory(judged: &Judged<'_>, samples: usize, latent: usize, shape: ImageShape) -> u64 {
    let references = judged.train.len().min(samples) as u64;
    let pictures = (judged.indices.len() as u64 + references).saturating_add(samples as u64);
    // Features, and a centred copy of them in f64.
    let numbers = (latent as u64 * 3).saturating_add(FEATURES as u64 * 3);
    let spectra = Spectrum::memory(shape, rayon::current_num_threads()).saturating_mul(2);
    pictures.saturating_mul(numbers).saturating_mul(size_of::<f32>() as u64).saturating_add(spectra)
}

/// The features and the spectrum of some pictures.
struct Seen {
    features: Vec<f32>,
    spectrum: Spectrum,
}

impl Seen {
    /// Precision and recall of other pictures, if these are the images.
    fn shares(&self, other: &Seen) -> Option<PrecisionRecall> {
        // As many images as pictures: the balls of precision and recall grow if there are few.
        let [images, pictures] = [&self.features, &other.features];
        let count = images.len().min(pictures.len()) / FEATURES;
        let some = |features: &[f32]| -> Vec<f32> {
            let all: Vec<usize> = (0..features.len() / FEATURES).collect();
            spread(&all, count)
                .into_iter()
                .flat_map(|i| &features[i * FEATURES..][..FEATURES])
                .copied()
                .collect()
        };
        PrecisionRecall::of(&some(images), &some(pictures), FEATURES)
    }
}

/// Looks at pictures, batch by batch.
struct Viewer<'p> {
    space: FeatureSpace,
    shape: ImageShape,
    progress: Progress<'p>,
}

impl Viewer<'_> {
    /// The features and the spectrum of all pictures that `next` returns.
    fn see(&mut self, mut next: impl FnMut() -> Option<Vec<f32>>) -> Seen {
        let mut seen = Seen { features: Vec::new(), spectrum: Spectrum::new(self.shape) };
        while let Some(pictures) = next() {
            seen.features.extend(self.space.features(&pictures));
            seen.spectrum.add(&pictures);
            (self.progress)(pictures.len() / self.shape.len());
        }
        seen
    }

    fn images(&mut self, images: &Images, indices: &[usize], filler: &Filler) -> Seen {
        let (mut chunks, len) = (indices.chunks(BATCH), self.shape.len());
        self.see(|| {
            let chunk = chunks.next()?;
            let mut pictures = vec![0.0; chunk.len() * len];
            filler.fill(images, chunk, 0, &mut pictures);
            Some(pictures)
        })
    }

    /// The pictures of some codes, with the labels of training images spread evenly over all.
    fn codes(
        &mut self,
        codec: &mut Codec<'_>,
        codes: &[f32],
        labelled: Labelled<'_>,
        train: &[usize],
    ) -> Seen {
        let latent = codec.model().config().latent;
        let shown = spread(train, codes.len() / latent);
        let mut chunks = codes.chunks(BATCH * latent).zip(shown.chunks(BATCH));
        self.see(|| {
            let (chunk, shown) = chunks.next()?;
            let labels: Vec<u32> = labelled.of(shown).collect();
            Some(codec.decode_as(chunk, &labels))
        })
    }
}

/// Images with which other pictures are compared.
pub struct Reference<'p> {
    viewer: Viewer<'p>,
    seen: Seen,
    moments: Moments,
}

impl<'p> Reference<'p> {
    /// Looks at some of these images, as `filler` gives them.
    ///
    /// # Errors
    /// If there are fewer than two, they are too small, or all alike.
    pub fn new(images: &Images, indices: &[usize], filler: &Filler, progress: Progress<'p>) -> Result<Self> {
        if indices.len() < 2 {
            return Err(Error::config(format!(
                "a distance from {} images; there must be at least 2",
                indices.len()
            )));
        }
        let shape = images.shape();
        let space = FeatureSpace::new((shape.height, shape.width, shape.channels))?;
        let mut viewer = Viewer { space, shape, progress };
        let seen = viewer.images(images, indices, filler);
        let moments = Moments::of(&seen.features, FEATURES);
        if !(moments.total_variance() > 0.0) {
            return Err(Error::config(
                "the images are all alike, so nothing can be said about how far others are from them",
            ));
        }
        Ok(Self { viewer, seen, moments })
    }

    /// How other images compare with these.
    fn images(&mut self, images: &Images, indices: &[usize], filler: &Filler) -> SampleQuality {
        let other = self.viewer.images(images, indices, filler);
        self.compare(&other)
    }

    /// How the pictures of some codes compare with these. A conditional model is given the labels of `train`, spread evenly over all.
    pub fn codes(
        &mut self,
        codec: &mut Codec<'_>,
        codes: &[f32],
        labelled: Labelled<'_>,
        train: &[usize],
    ) -> SampleQuality {
        let other = self.viewer.codes(codec, codes, labelled, train);
        self.compare(&other)
    }

    fn compare(&self, other: &Seen) -> SampleQuality {
        SampleQuality {
            distance: self.moments.relative_distance(&Moments::of(&other.features, FEATURES)),
            precision_recall: self.seen.shares(other),
            sharpness: other.spectrum.sharpness(&self.seen.spectrum),
        }
    }
}

/// `count` of some numbers, spread evenly over all: they may be sorted by class.
fn spread(all: &[usize], count: usize) -> Vec<usize> {
    (0..count).map(|i| all[i * all.len() / count]).collect()
}

/// Draws samples and judges them.
///
/// A conditional model is given the labels of training images, spread evenly over all.
///
/// # Errors
/// If there are fewer than two judged images or samples, the judged images are all alike, or labels are
/// missing that the model needs.
pub fn sample_qualities(
    codec: &mut Codec<'_>,
    judged: &Judged<'_>,
    filler: &Filler,
    mixture: Option<Prior>,
    samples: usize,
    progress: Progress<'_>,
) -> Result<SampleQualities> {
    if samples < 2 || judged.indices.len() < 2 {
        return Err(Error::config(format!(
            "a distance of {samples} samples from {} images; both must be at least 2",
            judged.indices.len()
        )));
    }
    let config = codec.model().config();
    let (latent, unit) = (config.latent, Filler { span: Span::Unit, ..*filler });
    let mut reference = Reference::new(judged.images, &judged.indices, &unit, progress)?;
    let (train, labelled) = (&judged.train, judged.train_labelled(config)?);
    let shown = spread(train, train.len().min(samples));
    let enough = shown.len() > 1;
    let floor =
        (judged.which != Which::All && enough).then(|| reference.images(judged.train_images, &shown, &unit));
    let mut of_codes = |codec: &mut Codec<'_>, codes: &[f32]| reference.codes(codec, codes, labelled, train);
    let draw = |prior: &Prior| prior.draw(samples, latent, filler.seed, 1.0);
    let normal = of_codes(codec, &draw(&Prior::Normal));
    let mixture = mixture.map(|mixture| of_codes(codec, &draw(&mixture)));
    // Draws of the posteriors, as the decoder knows them.
    let codes = posterior_draws(codec, labelled, filler, &shown);
    let reconstructions = enough.then(|| of_codes(codec, &codes));
    Ok(SampleQualities { samples, references: shown.len(), floor, reconstructions, normal, mixture })
}

/// A draw of q(z|x) for each of some training images.
fn posterior_draws(
    codec: &mut Codec<'_>,
    images: Labelled<'_>,
    filler: &Filler,
    indices: &[usize],
) -> Vec<f32> {
    let posteriors = codec.encode_with(images, indices, filler);
    let noise = Prior::Normal.draw(indices.len(), codec.model().config().latent, filler.seed, 1.0);
    let mut codes = vec![0.0; noise.len()];
    crate::layers::shared::reparameterize(&posteriors.mu, &posteriors.log_variance, &noise, &mut codes);
    codes
}

#[cfg(test)]
mod tests;

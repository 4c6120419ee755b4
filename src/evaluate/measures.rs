//! Everything that `elbo eval` reports about a model besides the objective: how near reconstructions are, the importance-weighted
//! bound, what the codes know about labels, and how far samples are from real images.

use super::bounds::{VaeLikelihood, importance_weighted, mean_and_error};
use super::frechet::{FEATURES, FeatureSpace, Moments};
use super::judged::{Judged, Which};
use super::neighbours::{NEIGHBOURS, accuracy, classify};
use super::quality::{Quality, QualitySums};
use crate::data::{Filler, Images, Labels, Span};
use crate::error::{Error, Result};
use crate::generate::prior::Prior;
use crate::model::codec::{BATCH, Codec, Codes};
use crate::model::{Labelled, Vae};

/// Who is told, again and again, how many images were done.
pub type Progress<'a> = &'a (dyn Fn(usize) + Sync);

/// Images between two reports of progress, if nothing else divides them.
const PIECE: usize = 8 * BATCH;

/// The posteriors of some images, as [`Codec::encode_with`] gives them.
pub fn encode<'i>(
    codec: &mut Codec<'_>,
    images: impl Into<Labelled<'i>>,
    indices: &[usize],
    filler: &Filler,
    progress: Progress<'_>,
) -> Codes {
    let (images, mut all) = (images.into(), Codes::default());
    for piece in indices.chunks(PIECE) {
        let codes = codec.encode_with(images, piece, filler);
        all.mu.extend_from_slice(&codes.mu);
        all.log_variance.extend_from_slice(&codes.log_variance);
        progress(piece.len());
    }
    all
}

/// MSE, PSNR and SSIM of the reconstructions from μ, with values in [0, 1].
///
/// # Panics
/// Where the images are of another size than the model's, or there are not as many codes as indices.
pub fn reconstruction_quality<'i>(
    codec: &mut Codec<'_>,
    codes: &Codes,
    images: impl Into<Labelled<'i>>,
    indices: &[usize],
    filler: &Filler,
    progress: Progress<'_>,
) -> Quality {
    let c = codec.model().config();
    let (latent, pixels) = (c.latent, c.pixels());
    let images = images.into();
    let mut sums = QualitySums::new((c.height, c.width, c.channels));
    let mut originals = vec![0.0; BATCH * pixels];
    for (chunk, mu) in indices.chunks(BATCH).zip(codes.mu.chunks(BATCH * latent)) {
        let originals = &mut originals[..chunk.len() * pixels];
        Filler { span: Span::Unit, ..*filler }.fill(images.images, chunk, 0, originals);
        let labels: Vec<u32> = images.of(chunk).collect();
        sums.add(originals, &codec.decode_as(mu, &labels));
        progress(chunk.len());
    }
    sums.mean()
}

/// What the importance-weighted bound is over some images.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ImportanceBound {
    /// K.
    pub samples: usize,
    /// The mean over the images of L_K, in nats per image: a lower bound on ln p(x).
    pub bound: f64,
    /// Its standard error, over images and draws; `None` for one image.
    pub standard_error: Option<f64>,
}

/// The importance-weighted bound with K samples.
pub fn importance_bound<'i>(
    model: &Vae<f32>,
    codes: &Codes,
    images: impl Into<Labelled<'i>>,
    indices: &[usize],
    filler: &Filler,
    samples: usize,
    progress: Progress<'_>,
) -> ImportanceBound {
    let mut likelihood = VaeLikelihood::new(model, images.into(), *filler);
    let (mut bounds, latent) = (Vec::with_capacity(indices.len()), model.config().latent);
    for (at, piece) in indices.chunks(BATCH).enumerate() {
        let numbers = at * BATCH * latent..(at * BATCH + piece.len()) * latent;
        let (mu, log_variance) = (codes.mu[numbers.clone()].to_vec(), codes.log_variance[numbers].to_vec());
        let codes = Codes { mu, log_variance };
        bounds.extend(importance_weighted(&mut likelihood, &codes, piece, samples, filler.seed));
        progress(piece.len());
    }
    let (bound, standard_error) = mean_and_error(&bounds);
    ImportanceBound { samples, bound, standard_error }
}

/// How well a nearest-neighbour classifier on μ finds the labels.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NeighbourAccuracy {
    /// Neighbours that vote.
    pub neighbours: usize,
    /// Images whose labels were known to it.
    pub references: usize,
    /// The share of images whose label it finds.
    pub accuracy: f64,
}

/// Classifies the judged images by the training images nearest to them; where they are the same images, by the others.
/// `None` without labels, or without images to compare with, and for a conditional model: its codes are made with the labels, so that
/// the labels found in them would say nothing about the images.
pub fn neighbour_accuracy(
    codec: &mut Codec<'_>,
    judged: &Judged<'_>,
    codes: &Codes,
    filler: &Filler,
    progress: Progress<'_>,
) -> Option<NeighbourAccuracy> {
    let labels = judged.labels.filter(|_| codec.model().config().classes() == 0)?;
    let latent = codec.model().config().latent;
    let ids =
        |labels: &Labels, indices: &[usize]| indices.iter().map(|&i| labels.ids[i]).collect::<Vec<u32>>();
    let truths = ids(labels, &judged.indices);
    let (found, references) = if judged.which == Which::All {
        if truths.len() < 2 {
            return None;
        }
        (classify(&codes.mu, &truths, &codes.mu, latent, NEIGHBOURS, true), truths.len() - 1)
    } else {
        let classes = ids(judged.train_labels?, &judged.train);
        if classes.is_empty() {
            return None;
        }
        let references = encode(codec, judged.train_images, &judged.train, filler, progress);
        (classify(&references.mu, &classes, &codes.mu, latent, NEIGHBOURS, false), classes.len())
    };
    Some(NeighbourAccuracy { neighbours: NEIGHBOURS, references, accuracy: accuracy(&found, &truths) })
}

/// How far pictures are from the judged images, each as [`Moments::relative_distance`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SampleDistances {
    /// Samples that were drawn.
    pub samples: usize,
    /// Training images that `floor` and `reconstructions` are of: as many as samples, or all if there are fewer.
    pub references: usize,
    /// Training images: what real pictures get. `None` where the judged images are the training images.
    pub floor: Option<f64>,
    /// Reconstructions of these training images: what samples from the best of all priors would get.
    pub reconstructions: f64,
    /// Samples from N(0, I).
    pub normal: f64,
    /// Samples from the fitted mixture, where there is one.
    pub mixture: Option<f64>,
}

/// Bytes of memory that [`sample_distances`] takes, at most: codes and features of as many samples, of training images and of judged ones.
pub fn distances_memory(model: &Vae<f32>, judged: &Judged<'_>, samples: usize) -> u64 {
    let references = judged.train.len().min(samples);
    // Features grow as they come, into twice the room that they need.
    let features = 2 * samples.max(judged.indices.len()) as u128 * FEATURES as u128;
    // μ, ln σ², noise and a draw.
    let codes = (samples + 4 * references) as u128 * model.config().latent as u128;
    u64::try_from(4 * (features + codes)).unwrap_or(u64::MAX)
}

/// Draws samples and takes all distances.
///
/// # Errors
/// If there are fewer than two judged images or samples, the judged images are all alike, or labels are missing that the model needs.
///
/// A conditional model is given the labels of training images, spread evenly over all.
pub fn sample_distances(
    codec: &mut Codec<'_>,
    judged: &Judged<'_>,
    filler: &Filler,
    mixture: Option<Prior>,
    samples: usize,
    progress: Progress<'_>,
) -> Result<SampleDistances> {
    if samples < 2 || judged.indices.len() < 2 {
        return Err(Error::config(format!(
            "a distance of {samples} samples from {} images; both must be at least 2",
            judged.indices.len()
        )));
    }
    let c = codec.model().config();
    let (latent, pixels) = (c.latent, c.pixels());
    let mut space = FeatureSpace::new((c.height, c.width, c.channels))?;
    let filler_in_unit = Filler { span: Span::Unit, ..*filler };
    let mut of_images = |images: &Images, indices: &[usize]| {
        let mut pictures = vec![0.0; BATCH * pixels];
        let mut features = Vec::new();
        for chunk in indices.chunks(BATCH) {
            let pictures = &mut pictures[..chunk.len() * pixels];
            filler_in_unit.fill(images, chunk, 0, pictures);
            features.extend(space.features(pictures));
            progress(chunk.len());
        }
        Moments::of(&features, FEATURES)
    };
    let real = of_images(judged.images, &judged.indices);
    if !(real.total_variance() > 0.0) {
        return Err(Error::config(
            "the images are all alike, so nothing can be said about how far others are from them",
        ));
    }
    // As many as samples, spread evenly over the training images, which may be sorted.
    let (train, count) = (&judged.train, judged.train.len().min(samples));
    let spread: Vec<usize> = (0..count).map(|i| train[i * train.len() / count]).collect();
    let enough = spread.len() > 1;
    let floor = (judged.which != Which::All && enough)
        .then(|| real.relative_distance(&of_images(judged.train_images, &spread)));
    let labelled = judged.train_labelled(c)?;
    let mut of_codes = |codec: &mut Codec<'_>, codes: &[f32]| {
        let mut features = Vec::new();
        let count = codes.len() / latent;
        let shown: Vec<usize> = (0..count).map(|i| train[i * train.len() / count]).collect();
        for (chunk, shown) in codes.chunks(BATCH * latent).zip(shown.chunks(BATCH)) {
            let labels: Vec<u32> = labelled.of(shown).collect();
            features.extend(space.features(&codec.decode_as(chunk, &labels)));
            progress(shown.len());
        }
        real.relative_distance(&Moments::of(&features, FEATURES))
    };
    let draw = |prior: &Prior| prior.draw(samples, latent, filler.seed, 1.0);
    let normal = of_codes(codec, &draw(&Prior::Normal));
    let mixture = mixture.map(|mixture| of_codes(codec, &draw(&mixture)));
    // Draws of the posteriors, as the decoder knows them.
    let codes = codec_draws(codec, labelled, filler, &spread);
    let reconstructions = if enough { of_codes(codec, &codes) } else { f64::NAN };
    Ok(SampleDistances { samples, references: spread.len(), floor, reconstructions, normal, mixture })
}

/// A draw of q(z|x) for each of some training images.
fn codec_draws(codec: &mut Codec<'_>, images: Labelled<'_>, filler: &Filler, indices: &[usize]) -> Vec<f32> {
    let posteriors = codec.encode_with(images, indices, filler);
    let noise = Prior::Normal.draw(indices.len(), codec.model().config().latent, filler.seed, 1.0);
    let mut codes = vec![0.0; noise.len()];
    crate::layers::shared::reparameterize(&posteriors.mu, &posteriors.log_variance, &noise, &mut codes);
    codes
}

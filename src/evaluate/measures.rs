//! What `elbo eval` reports about a model besides the objective: the quality of reconstructions, the
//! importance-weighted bound, and how well the codes determine labels. Its report on samples is in
//! [`samples`](super::samples).

use super::bounds::{VaeLikelihood, importance_weighted, mean_and_error};
use super::judged::{Judged, Which};
use super::neighbours::{NEIGHBOURS, accuracy, classify};
use super::quality::{Quality, QualitySums};
use crate::data::{Filler, Labels, Span};
use crate::model::codec::{BATCH, Codec, Codes};
use crate::model::{Labelled, Vae};

/// A callback that is repeatedly called with the number of images done.
pub type Progress<'a> = &'a (dyn Fn(usize) + Sync);

/// Images between two reports of progress, if nothing else determines it.
const PIECE: usize = 8 * BATCH;

/// The posteriors of some images, as [`Codec::encode_with`] returns them.
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
/// If the images have another size than the model's, or the number of codes differs from that of indices.
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

/// The importance-weighted bound over some images.
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

/// The accuracy of a nearest-neighbour classifier on μ.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NeighbourAccuracy {
    /// Neighbours that vote.
    pub neighbours: usize,
    /// Labelled images that it searches.
    pub references: usize,
    /// The share of images whose label it predicts correctly.
    pub accuracy: f64,
}

/// Classifies the judged images by the training images nearest to them; if they are the same images, by the
/// others. `None` without labels, without reference images, and for a conditional model: its codes are made
/// with the labels, so labels found in them would say nothing about the images.
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

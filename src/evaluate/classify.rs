//! Classification of images, by four methods.
//!
//! | method | probability of class y for image x | needs |
//! |---|---|---|
//! | [`bayes`] | p(y\|x) ∝ p(y)·e^L(x, y), L a lower bound on ln p(x\|y) | a conditional model |
//! | [`nearest`] | the share of y among the k nearest references, by Euclidean distance of μ | a model without labels, labelled images |
//! | [`linear`] | softmax(W·μ), W learned from the references ([`probe`](super::probe)) | the same |
//! | [`learned`] | q(y\|x), which learned from few labels beside the model ([`m2`](crate::model::m2)) | a model trained with few labels |
//!
//! **Bayes' rule** evaluates a conditional model once per class. L is the negated −ELBO with one draw of
//! q(z|x, y), or with K draws the importance-weighted bound L_K ([`bounds`](super::bounds)), which is nearer
//! to ln p(x|y). All classes of an image use the same ε.

use super::bounds::{VaeLikelihood, importance_weighted, negative_elbos};
use super::neighbours::{NEIGHBOURS, votes};
use super::probe::{Probe, softmax};
use crate::data::{Filler, Images};
use crate::model::codec::{Codec, Codes};
use crate::model::{Labelled, Vae};
use crate::text::names::named;

/// A classification method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Method {
    /// Bayes' rule over the bounds of a conditional model.
    Bayes,
    /// Nearest neighbours on μ.
    Knn,
    /// Softmax regression on μ.
    Probe,
    /// The classifier trained with few labels.
    Learned,
}

named!(Method, "method", Bayes => "bayes", Knn => "knn", Probe => "probe", Learned => "learned");

/// The predicted class of an image.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Guess {
    /// Its number.
    pub class: u32,
    /// Its probability.
    pub probability: f64,
}

impl Guess {
    /// The most probable class; if several are equal, the first.
    fn of(probabilities: &[f64]) -> Self {
        let first = Self { class: 0, probability: f64::NEG_INFINITY };
        probabilities.iter().enumerate().fold(first, |best, (class, &probability)| {
            if probability > best.probability { Self { class: class as u32, probability } } else { best }
        })
    }
}

/// The share of each class among some labels: p(y). A class without images counts as half an image, so that
/// none is impossible.
///
/// ```
/// assert_eq!(elbo::evaluate::classify::shares(&[0, 1, 1, 1], 2), [0.25, 0.75]);
/// ```
///
/// # Panics
/// If a label is not below `classes`.
pub fn shares(labels: &[u32], classes: usize) -> Vec<f64> {
    let mut counts = vec![0.0; classes];
    labels.iter().for_each(|&label| counts[label as usize] += 1.0);
    counts.iter_mut().for_each(|count: &mut f64| *count = count.max(0.5));
    let sum: f64 = counts.iter().sum();
    counts.iter().map(|count| count / sum).collect()
}

/// Bayes' rule over a conditional model: argmax over y of L(x, y) + ln p(y), with `prior` as p(y) and
/// `samples` draws for each L.
///
/// # Panics
/// If the model has no labels, `prior` does not have one number for each, `samples` is 0, or the images have
/// another size than the model's.
pub fn bayes(
    model: &Vae<f32>,
    images: &Images,
    indices: &[usize],
    filler: &Filler,
    prior: &[f64],
    samples: usize,
) -> Vec<Guess> {
    let classes = model.config().classes();
    assert!(classes > 0 && prior.len() == classes, "{} priors for {classes} labels", prior.len());
    let mut codec = Codec::new(model);
    let mut scores = vec![0.0; indices.len() * classes];
    for (class, prior) in prior.iter().enumerate() {
        let labels = vec![class as u32; images.count];
        let labelled = Labelled { images, labels: &labels };
        let codes = codec.encode_with(labelled, indices, filler);
        let mut likelihood = VaeLikelihood::new(model, labelled, *filler);
        let bounds: Vec<f64> = if samples == 1 {
            let scores = negative_elbos(&mut likelihood, &codes, indices, filler.seed);
            scores.into_iter().map(|score| -score).collect()
        } else {
            importance_weighted(&mut likelihood, &codes, indices, samples, filler.seed)
        };
        for (row, bound) in scores.chunks_exact_mut(classes).zip(bounds) {
            row[class] = bound + prior.ln();
        }
    }
    scores.chunks_exact_mut(classes).for_each(softmax);
    scores.chunks_exact(classes).map(Guess::of).collect()
}

/// The class of most of the [`NEIGHBOURS`] nearest references; `labels` are the references' classes.
///
/// # Panics
/// If there are no references, or the number of labels differs.
pub fn nearest(references: &Codes, labels: &[u32], codes: &Codes, latent: usize) -> Vec<Guess> {
    let found = votes(&references.mu, labels, &codes.mu, latent, NEIGHBOURS, false);
    found.into_iter().map(|(class, probability)| Guess { class, probability }).collect()
}

/// Softmax regression learned from the references; `labels` are their classes.
///
/// # Panics
/// As [`Probe::fit`].
pub fn linear(
    references: &Codes,
    labels: &[u32],
    codes: &Codes,
    latent: usize,
    classes: usize,
) -> Vec<Guess> {
    let probe = Probe::fit(&references.mu, labels, latent, classes);
    probe.probabilities(&codes.mu).chunks_exact(classes).map(Guess::of).collect()
}

/// The classifier of a model that was trained with few labels; `None` if the model has none.
pub fn learned(model: &Vae<f32>, codes: &Codes) -> Option<Vec<Guess>> {
    let (m2, config) = (model.architecture().m2.as_ref()?, model.config().m2.as_ref()?);
    let probabilities = m2.probabilities(&model.parameters, &codes.mu);
    Some(probabilities.chunks_exact(config.labels.len()).map(Guess::of).collect())
}

/// The confusion matrix: how often an image of each class is predicted as each class. Rows are the true
/// class, columns the prediction, L × L.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Confusion {
    /// L.
    pub classes: usize,
    /// L × L counts.
    pub counts: Vec<u64>,
}

impl Confusion {
    /// Counts guesses.
    ///
    /// # Panics
    /// If the number of truths differs from that of guesses, or a class is not below `classes`.
    pub fn of(guesses: &[Guess], truths: &[u32], classes: usize) -> Self {
        assert_eq!(guesses.len(), truths.len(), "a guess for each truth");
        let mut counts = vec![0; classes * classes];
        for (guess, &truth) in guesses.iter().zip(truths) {
            // A code that is not a number has no neighbours, and no class.
            if (guess.class as usize) < classes {
                counts[truth as usize * classes + guess.class as usize] += 1;
            }
        }
        Self { classes, counts }
    }

    /// The share of correct guesses, of `images` images.
    pub fn accuracy(&self, images: usize) -> f64 {
        let right: u64 = (0..self.classes).map(|class| self.counts[class * self.classes + class]).sum();
        right as f64 / images.max(1) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{ModelConfig, Preset};

    #[test]
    fn bayes_is_its_rule() {
        let labels = vec!["a".to_owned(), "b".to_owned()];
        let model = Vae::new(ModelConfig { labels, ..ModelConfig::new(Preset::Mlp, (8, 8, 1)) }, 0).unwrap();
        let images = Images::from_bytes((0..5 * 64).map(|i| (i * 37 % 256) as u8).collect(), 5, 8, 8, 1);
        let filler = Filler { span: model.config().span(), binarize: None, seed: 0 };
        let indices = [4, 1, 0];
        let guesses = bayes(&model, &images, &indices, &filler, &[0.9, 0.1], 3);
        let bound = |label: u32| {
            let labels = [label; 5];
            let labelled = Labelled { images: &images, labels: &labels };
            let codes = Codec::new(&model).encode_with(labelled, &indices, &filler);
            importance_weighted(&mut VaeLikelihood::new(&model, labelled, filler), &codes, &indices, 3, 0)
        };
        let (a, b) = (bound(0), bound(1));
        for (at, guess) in guesses.iter().enumerate() {
            let odds = (a[at] - b[at]).exp() * 9.0;
            let expected = odds.max(1.0) / (1.0 + odds);
            assert_eq!(guess.class, u32::from(odds < 1.0));
            assert!((guess.probability - expected).abs() < 1e-9, "{guess:?} is not {expected}");
        }
    }

    #[test]
    fn confusion_counts_guesses() {
        let guess = |class| Guess { class, probability: 1.0 };
        let confusion = Confusion::of(&[guess(0), guess(1), guess(1), guess(u32::MAX)], &[0, 0, 1, 1], 2);
        assert_eq!(confusion.counts, [1, 1, 0, 1]);
        assert_eq!(confusion.accuracy(4), 0.5);
    }
}

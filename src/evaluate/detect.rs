//! Anomaly detection: scores, a threshold with its false-alarm rate, and how well a score separates two
//! groups.
//!
//! | score | formula | finds |
//! |---|---|---|
//! | `elbo` | −ELBO, or −L_K with K draws ([`bounds`](super::bounds)), in nats | images of another kind |
//! | `excess` | the same − what is expected of an image as bright and as detailed ([`expected`](super::expected)) | images of another kind, simple or not |
//! | `complexity` | the same − ln 2 · 8 · (bytes of the image as PNG) | simple images of another kind, too |
//! | `heat` | the largest sum of [`heat`](super::heat) over a rectangle | small defects |
//!
//! **Complexity.** A likelihood alone takes simple images for normal, whatever they show: few of their pixels
//! differ from what is likely anywhere (Nalisnick et al. 2019, "Do deep generative models know what they
//! don't know?"). Serrà et al. 2020 ("Input complexity and out-of-distribution detection with
//! likelihood-based generative models", eq. 2) subtract the length from a general-purpose compressor, which
//! is short for simple images: S(x) = −ln p(x) − L(x). It suits likelihoods that assign probabilities to
//! bytes, whose −ln p is a length in the same unit. With others it is a heuristic in which L may outweigh the
//! rest.
//!
//! **Threshold.** Let the scores of n normal images be s₁ ≤ … ≤ s_n. A new normal image scores above s_k with
//! probability (n + 1 − k)/(n + 1) if it is drawn like the others. This needs no assumption about the
//! distribution of the scores ([`Threshold`]).
//!
//! **AUROC** is the probability that an anomalous image has a higher score than a normal one, with equal
//! scores counted half (Fawcett 2006). That is the area under the curve of hit rate over false-alarm rate
//! ([`roc`]).

use rayon::prelude::*;

use crate::data::{Filler, Span, write_png};
use crate::model::Labelled;
use crate::text::names::named;

/// The score of an image; higher is stranger.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum ScoreBy {
    /// −ELBO, or the negated importance-weighted bound.
    #[default]
    Elbo,
    /// The same minus what is expected of normal images as bright and as detailed.
    Excess,
    /// The same minus the length of the image as PNG.
    Complexity,
    /// The largest sum of heat over a rectangle.
    Heat,
}

named!(ScoreBy, "score", Elbo => "elbo", Excess => "excess", Complexity => "complexity", Heat => "heat");

/// A score above which images are called anomalous.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Threshold {
    /// The score.
    pub value: f64,
    /// The expected share of normal images above it.
    pub false_alarm_rate: f64,
}

impl Threshold {
    /// The lowest score of a normal image with a false-alarm rate of at most `rate`; the highest score if
    /// there are too few images for that.
    ///
    /// ```
    /// use elbo::evaluate::detect::Threshold;
    /// let scores: Vec<f64> = (1..=99).map(f64::from).collect();
    /// assert_eq!(Threshold::of(&scores, 0.05), Some(Threshold { value: 95.0, false_alarm_rate: 0.05 }));
    /// assert_eq!(Threshold::of(&scores[..4], 0.05), Some(Threshold { value: 4.0, false_alarm_rate: 0.2 }));
    /// ```
    pub fn of(normal: &[f64], rate: f64) -> Option<Self> {
        let mut sorted = normal.to_vec();
        sorted.sort_by(f64::total_cmp);
        let n = sorted.len();
        // The largest n + 1 − k with (n + 1 − k)/(n + 1) ≤ rate; the factor allows for rounding.
        let above = (rate * (n + 1) as f64 * (1.0 + 1e-12)).floor() as usize;
        let k = (n + 1).saturating_sub(above).min(n);
        let value = *sorted.get(k.max(1) - 1)?;
        Some(Self { value, false_alarm_rate: (n + 1 - k.max(1)) as f64 / (n + 1) as f64 })
    }
}

/// The area under the ROC curve.
///
/// ```
/// assert_eq!(elbo::evaluate::detect::auroc(&[1.0, 2.0], &[2.0, 3.0]), 0.875);
/// ```
///
/// # Panics
/// If one of the groups is empty.
pub fn auroc(normal: &[f64], anomalous: &[f64]) -> f64 {
    let points = roc(normal, anomalous);
    points.windows(2).map(|pair| (pair[1].0 - pair[0].0) * 0.5 * (pair[0].1 + pair[1].1)).sum()
}

/// The ROC curve: (false-alarm rate, hit rate) for every threshold, from (0, 0) to (1, 1).
///
/// # Panics
/// If one of the groups is empty.
pub fn roc(normal: &[f64], anomalous: &[f64]) -> Vec<(f64, f64)> {
    assert!(!normal.is_empty() && !anomalous.is_empty(), "a curve of two groups");
    let mut all: Vec<(f64, bool)> = normal.iter().map(|&score| (score, false)).collect();
    all.extend(anomalous.iter().map(|&score| (score, true)));
    all.sort_by(|a, b| b.0.total_cmp(&a.0));
    let (mut alarms, mut hits) = (0_usize, 0_usize);
    let mut points = vec![(0.0, 0.0)];
    for (at, &(score, is_anomalous)) in all.iter().enumerate() {
        if is_anomalous {
            hits += 1
        } else {
            alarms += 1
        }
        // Equal scores form one step.
        if all.get(at + 1).is_none_or(|next| next.0 != score) {
            points.push((alarms as f64 / normal.len() as f64, hits as f64 / anomalous.len() as f64));
        }
    }
    points
}

/// The length of each image as PNG, in nats: ln 2 · 8 · bytes. If images have other than 1, 3 or 4 channels,
/// these are stored as grey planes below each other.
pub fn png_lengths(images: Labelled<'_>, indices: &[usize], filler: &Filler) -> Vec<f64> {
    let images = images.images;
    let (height, width, channels) = (images.height, images.width, images.channels);
    let of = |&index: &usize| {
        let mut values = vec![0.0_f32; images.image_len()];
        Filler { span: Span::Unit, ..*filler }.fill(images, &[index], 0, &mut values);
        let byte = |value: &f32| (value * 255.0).round().clamp(0.0, 255.0) as u8;
        let mut file = Vec::new();
        let written = if matches!(channels, 1 | 3 | 4) {
            let bytes: Vec<u8> = values.iter().map(byte).collect();
            write_png(&mut file, &bytes, height, width, channels)
        } else {
            let planes = (0..channels).flat_map(|channel| values.iter().skip(channel).step_by(channels));
            write_png(&mut file, &planes.map(byte).collect::<Vec<u8>>(), height * channels, width, 1)
        };
        written.expect("memory takes every byte");
        std::f64::consts::LN_2 * 8.0 * file.len() as f64
    };
    indices.par_iter().map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Images;
    use crate::random::{Stream, fill_normal, stream};

    #[test]
    fn auroc_is_the_share_of_pairs() {
        let (normal, anomalous) = ([0.5, 0.1, 0.9, 0.3], [0.9, 0.4, 0.95]);
        let pairs = normal.iter().flat_map(|n| anomalous.iter().map(move |a| (n, a)));
        let wins: f64 = pairs
            .map(|(n, a)| {
                if a > n {
                    1.0
                } else if a == n {
                    0.5
                } else {
                    0.0
                }
            })
            .sum();
        assert!((auroc(&normal, &anomalous) - wins / 12.0).abs() < 1e-12);
        assert_eq!((auroc(&[1.0], &[2.0]), auroc(&[2.0], &[1.0]), auroc(&[1.0], &[1.0])), (1.0, 0.0, 0.5));
    }

    #[test]
    fn noise_is_longer_than_an_even_image() {
        let mut bytes = vec![7_u8; 400];
        let mut noise = [0.0; 400];
        fill_normal(&mut stream(1, Stream::Corruption, 0), &mut noise);
        bytes.extend(noise.map(|e| (128.0 + 60.0 * e).clamp(0.0, 255.0) as u8));
        let images = Images::from_bytes(bytes, 2, 20, 20, 1);
        let filler = Filler { span: Span::Unit, binarize: None, seed: 0 };
        let lengths = png_lengths(Labelled::from(&images), &[0, 1], &filler);
        assert!(lengths[1] > 3.0 * lengths[0] && lengths[1] > 400.0 * 5.0, "{lengths:?}");
    }
}

//! The −ELBO that is expected of a normal image as bright and as detailed as this one.
//!
//! A long stroke costs more nats than a short one, whatever it shows. So the −ELBO of an image says little
//! without that of normal images with as much to encode (Nalisnick et al. 2019; Serrà et al. 2020 subtract
//! the length of a compressed file for the same reason). Here it is learned from normal images, by least
//! squares on three numbers that need no model:
//!
//! ```text
//! c(x)      1, mean of x, mean of x², mean of |x_i − x_j| over neighbours i, j      x in [0, 1]
//! expected  w·c(x),  w = (CᵀC + R)⁻¹·Cᵀs,  s the scores of n normal images, C their c(x)
//! excess    score − expected
//! ```
//!
//! The numbers are standardized over the normal images, and R is 1 for each of them (not for the constant),
//! as one more image's worth of evidence for a weight of 0: it decides if the numbers are collinear (x² = x in
//! black and white) or images few.
//!
//! The normal images' own excesses would be too small, since w was fitted to them. Each is computed as if its
//! image had been left out, which divides it by 1 − h, h = cᵀ(CᵀC + R)⁻¹c (Allen 1974, PRESS). So a threshold
//! taken from them keeps its false-alarm rate.

use rayon::prelude::*;

use crate::data::{Filler, Images, Span};

/// The numbers in c(x), with the constant.
const TERMS: usize = 4;
/// c(x) of an image.
pub type Content = [f64; TERMS];

/// c(x) of some images, before it is standardized.
pub fn contents(images: &Images, indices: &[usize], filler: &Filler) -> Vec<Content> {
    let (height, width, channels) = (images.height, images.width, images.channels);
    let of = |&index: &usize| {
        let mut values = vec![0.0_f32; images.image_len()];
        Filler { span: Span::Unit, ..*filler }.fill(images, &[index], 0, &mut values);
        content(&values, (height, width, channels))
    };
    indices.par_iter().map(of).collect()
}

/// c(x) of H·W·C values.
fn content(values: &[f32], (height, width, channels): (usize, usize, usize)) -> Content {
    let mean = |sum: f64, count: usize| sum / count.max(1) as f64;
    let sum = |of: fn(f64) -> f64| values.iter().map(|&x| of(f64::from(x))).sum::<f64>();
    let row = width * channels;
    let difference = |a: usize, b: usize| f64::from((values[a] - values[b]).abs());
    let beside = (0..values.len()).filter(|at| at % row >= channels).map(|at| difference(at, at - channels));
    let below = (row..values.len()).map(|at| difference(at, at - row));
    let pairs = (height * (width - 1) + (height - 1) * width) * channels;
    [
        1.0,
        mean(sum(|x| x), values.len()),
        mean(sum(|x| x * x), values.len()),
        mean(beside.chain(below).sum(), pairs),
    ]
}

/// The expected score.
#[derive(Clone, Debug, PartialEq)]
pub struct Expected {
    mean: Content,
    scale: Content,
    weights: Content,
}

impl Expected {
    /// From the scores of normal images: with the excess of each as if it had been left out.
    ///
    /// # Panics
    /// If there are no images, or not a score for each.
    pub fn fit(contents: &[Content], scores: &[f64]) -> (Self, Vec<f64>) {
        assert!(!scores.is_empty() && contents.len() == scores.len(), "a score for each image");
        let count = scores.len() as f64;
        let (mut mean, mut scale) = ([0.0; TERMS], [1.0; TERMS]);
        (1..TERMS).for_each(|term| {
            mean[term] = contents.iter().map(|c| c[term]).sum::<f64>() / count;
            let variance = contents.iter().map(|c| (c[term] - mean[term]).powi(2)).sum::<f64>() / count;
            // A number that never changes says nothing.
            scale[term] = if variance > 1e-12 { variance.sqrt() } else { f64::INFINITY };
        });
        let mut found = Self { mean, scale, weights: [0.0; TERMS] };
        let mut matrix = [[0.0; TERMS]; TERMS];
        (1..TERMS).for_each(|term| matrix[term][term] = 1.0);
        let mut right = [0.0; TERMS];
        for (content, score) in contents.iter().zip(scores) {
            let c = found.standardized(content);
            for (i, j) in (0..TERMS).flat_map(|i| (0..TERMS).map(move |j| (i, j))) {
                matrix[i][j] += c[i] * c[j];
            }
            (0..TERMS).for_each(|i| right[i] += c[i] * score);
        }
        let inverse = inverse(matrix);
        found.weights = inverse.map(|row| dot(&row, &right));
        let excess = contents.iter().zip(scores).map(|(content, score)| {
            let c = found.standardized(content);
            let leverage = dot(&c, &inverse.map(|row| dot(&row, &c)));
            (score - dot(&c, &found.weights)) / (1.0 - leverage).max(1e-6)
        });
        let excess = excess.collect();
        (found, excess)
    }

    /// The expected score of an image.
    pub fn of(&self, content: &Content) -> f64 {
        dot(&self.standardized(content), &self.weights)
    }

    fn standardized(&self, content: &Content) -> Content {
        std::array::from_fn(|term| (content[term] - self.mean[term]) / self.scale[term])
    }
}

fn dot(a: &Content, b: &Content) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// The inverse of a symmetric positive definite matrix, by Gauss–Jordan elimination, which needs no pivoting
/// for such a matrix.
fn inverse(mut matrix: [Content; TERMS]) -> [Content; TERMS] {
    let mut inverse: [Content; TERMS] =
        std::array::from_fn(|i| std::array::from_fn(|j| f64::from(u8::from(i == j))));
    for pivot in 0..TERMS {
        let factor = 1.0 / matrix[pivot][pivot];
        (0..TERMS).for_each(|column| {
            matrix[pivot][column] *= factor;
            inverse[pivot][column] *= factor;
        });
        let (upper, own) = (matrix[pivot], inverse[pivot]);
        for row in (0..TERMS).filter(|&row| row != pivot) {
            let factor = matrix[row][pivot];
            (0..TERMS).for_each(|column| {
                matrix[row][column] -= factor * upper[column];
                inverse[row][column] -= factor * own[column];
            });
        }
    }
    inverse
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::{Stream, fill_normal, stream};

    /// Contents and scores that are linear in them, with noise of this size.
    fn images(count: usize, noise: f64) -> (Vec<Content>, Vec<f64>) {
        let mut draws = vec![0.0; 4 * count];
        fill_normal(&mut stream(3, Stream::Corruption, 0), &mut draws);
        let of =
            |d: &[f32]| [1.0, 0.2 + 0.05 * f64::from(d[0]), 0.1 + 0.02 * f64::from(d[1]), f64::from(d[2])];
        let contents: Vec<Content> = draws.chunks_exact(4).map(of).collect();
        let score = |(c, d): (&Content, &[f32])| 5.0 + 300.0 * c[1] - 20.0 * c[3] + noise * f64::from(d[3]);
        let scores = contents.iter().zip(draws.chunks_exact(4)).map(score).collect();
        (contents, scores)
    }

    #[test]
    fn what_is_linear_in_the_contents_is_expected() {
        let (contents, scores) = images(4000, 0.0);
        let (expected, excess) = Expected::fit(&contents, &scores);
        for ((content, score), excess) in contents.iter().zip(&scores).zip(&excess) {
            assert!((expected.of(content) - score).abs() < 0.05 && excess.abs() < 0.05);
        }
    }

    #[test]
    fn the_excess_of_a_normal_image_is_that_of_a_fit_without_it() {
        let (contents, scores) = images(60, 4.0);
        let (_, excess) = Expected::fit(&contents, &scores);
        for left in [0, 17, 59] {
            let without = |at: &usize| *at != left;
            let others: Vec<usize> = (0..60).filter(without).collect();
            let c: Vec<Content> = others.iter().map(|&at| contents[at]).collect();
            let s: Vec<f64> = others.iter().map(|&at| scores[at]).collect();
            let found = scores[left] - Expected::fit(&c, &s).0.of(&contents[left]);
            // Equal but for the standardization, which the left image takes part in, and for R.
            assert!((found - excess[left]).abs() < 0.03 * found.abs().max(4.0), "{found} {}", excess[left]);
        }
    }

    #[test]
    fn black_and_white_or_equal_images_have_an_expectation_too() {
        let (mut contents, scores) = images(100, 1.0);
        contents.iter_mut().for_each(|c| c[2] = c[1]);
        let (expected, _) = Expected::fit(&contents, &scores);
        assert!((expected.of(&contents[0]) - scores[0]).abs() < 10.0, "{expected:?}");
        let (expected, excess) = Expected::fit(&[[1.0, 0.5, 0.25, 0.1]; 3], &[1.0, 2.0, 3.0]);
        assert_eq!(expected.of(&[1.0, 9.0, 9.0, 9.0]), 2.0);
        assert!(excess.iter().all(|e| e.is_finite()), "{excess:?}");
    }

    #[test]
    fn contents_are_brightness_and_detail() {
        // Two columns, the left black and the right white; a second channel that is grey.
        let values = [0.0, 0.5, 1.0, 0.5, 0.0, 0.5, 1.0, 0.5];
        assert_eq!(content(&values, (2, 2, 2)), [1.0, 0.5, 0.375, 0.25]);
        assert_eq!(content(&[0.3], (1, 1, 1))[3], 0.0);
    }
}

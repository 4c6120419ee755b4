//! Whether samples look like real images, and whether the samples cover all kinds of images: **improved
//! precision and recall** (Kynkäänmäki, Karras, Laine, Lehtinen & Aila 2019).
//!
//! ```text
//! r(x, X)   = distance from x ∈ X to its k-th nearest other member of X, k = 3
//! M(X)      = all points within r(x, X) of some x ∈ X       the estimated manifold of X: a ball per member
//! precision = share of the samples that lie in M(images)    how many samples look like an image
//! recall    = share of the images that lie in M(samples)    how many images the samples could have been
//! ```
//!
//! Distances are Euclidean, between the features of [`frechet`](super::frechet), those of a random network.
//! So both measures detect what these features represent: shapes and edges well, fine texture hardly.
//!
//! A distance of means and covariances is one number for two faults, and lets one make up for the other. Here
//! blur and noise lower the precision, and missing kinds of images lower the recall. What they do not detect:
//! precision is high if all samples are copies of few images (recall is low then). Recall is high if the
//! samples are scattered so widely that their balls cover everything (precision is low then). Copies of
//! training images are not told from new ones. Both depend on the number of pictures, since balls are larger
//! if there are few. So they compare only with figures of the same number of images and samples, and the
//! floor is the result of real images.

use super::neighbours::search;

/// k.
pub const NEAREST: usize = 3;

/// Precision and recall, each from 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PrecisionRecall {
    /// The share of the samples that lie in the manifold of the images.
    pub precision: f64,
    /// The share of the images that lie in the manifold of the samples.
    pub recall: f64,
}

impl PrecisionRecall {
    /// Computes both from the features of images and samples, N × `len` each; `None` if one of them has at
    /// most k vectors.
    ///
    /// ```
    /// use elbo::evaluate::precision::PrecisionRecall;
    /// let images: Vec<f32> = (0..10).map(|i| i as f32).collect();
    /// let half: Vec<f32> = (0..10).map(|i| 0.4 * i as f32 + 0.1).collect(); // as many, from 0.1 to 3.7
    /// let found = PrecisionRecall::of(&images, &half, 1).unwrap();
    /// assert_eq!((found.precision, found.recall), (1.0, 0.5)); // 0 to 4 are within reach
    /// ```
    ///
    /// # Panics
    /// If the numbers are not whole vectors.
    pub fn of(images: &[f32], samples: &[f32], len: usize) -> Option<Self> {
        let enough = |vectors: &[f32]| vectors.len() / len > NEAREST;
        (enough(images) && enough(samples)).then(|| Self {
            precision: share_within(images, samples, len),
            recall: share_within(samples, images, len),
        })
    }
}

/// The share of `queries` in the manifold of `members`.
fn share_within(members: &[f32], queries: &[f32], len: usize) -> f64 {
    let radii = radii(members, len);
    let covered = search(
        members,
        queries,
        len,
        |query| (squared_norm(query), false),
        |(norm, covered), (_, member), distance| *covered |= *norm + distance <= radii[member],
    );
    covered.iter().filter(|(_, covered)| *covered).count() as f64 / covered.len() as f64
}

/// The squared distance of each vector to its k-th nearest other one.
fn radii(vectors: &[f32], len: usize) -> Vec<f32> {
    // A vector also finds itself, at distance 0: hence one more. Among equal ones it does not matter which it
    // is.
    let found = search(
        vectors,
        vectors,
        len,
        |query| (squared_norm(query), [f32::INFINITY; NEAREST + 1]),
        |(_, nearest), _, distance| {
            if distance < nearest[NEAREST] {
                let at = nearest.partition_point(|&other| other <= distance);
                nearest[at..].rotate_right(1);
                nearest[at] = distance;
            }
        },
    );
    found.into_iter().map(|(norm, nearest)| (norm + nearest[NEAREST]).max(0.0)).collect()
}

fn squared_norm(vector: &[f32]) -> f32 {
    vector.iter().map(|x| x * x).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::{Stream, fill_normal, stream};

    fn normal(count: usize, len: usize, index: u64) -> Vec<f32> {
        let mut vectors = vec![0.0; count * len];
        fill_normal(&mut stream(5, Stream::Sampling, index), &mut vectors);
        vectors
    }

    /// The definition, in f64 and with everything sorted.
    fn naive(members: &[f32], queries: &[f32], len: usize) -> f64 {
        let distance = |a: &[f32], b: &[f32]| -> f64 {
            a.iter().zip(b).map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2)).sum()
        };
        let radius = |(at, member): (usize, &[f32])| {
            let others = members.chunks_exact(len).enumerate().filter(|(other, _)| *other != at);
            let mut all: Vec<f64> = others.map(|(_, other)| distance(member, other)).collect();
            all.sort_by(f64::total_cmp);
            all[NEAREST - 1]
        };
        let radii: Vec<f64> = members.chunks_exact(len).enumerate().map(radius).collect();
        let inside = |query: &&[f32]| {
            members.chunks_exact(len).zip(&radii).any(|(member, radius)| distance(member, query) <= *radius)
        };
        queries.chunks_exact(len).filter(inside).count() as f64 / (queries.len() / len) as f64
    }

    #[test]
    fn both_are_their_definitions() {
        let (images, samples) = (normal(700, 4, 0), normal(300, 4, 1));
        let samples: Vec<f32> = samples.iter().map(|x| 1.3 * x + 0.2).collect();
        let found = PrecisionRecall::of(&images, &samples, 4).unwrap();
        let expected =
            PrecisionRecall { precision: naive(&images, &samples, 4), recall: naive(&samples, &images, 4) };
        assert_eq!(found, expected);
        assert!(0.1 < found.recall && found.recall < found.precision && found.precision < 1.0, "{found:?}");
    }

    #[test]
    fn the_same_pictures_have_both_and_too_few_have_none() {
        let images = normal(50, 6, 2);
        let found = PrecisionRecall::of(&images, &images, 6).unwrap();
        assert_eq!((found.precision, found.recall), (1.0, 1.0));
        assert_eq!(PrecisionRecall::of(&images, &images[..6 * NEAREST], 6), None);
        let alike = [0.5; 60];
        assert!(PrecisionRecall::of(&images, &alike, 6).unwrap().recall < 0.1);
        // NaN is near to nothing.
        assert_eq!(PrecisionRecall::of(&images, &[f32::NAN; 60], 6).unwrap().precision, 0.0);
    }
}

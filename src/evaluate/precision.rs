//! Whether samples look like real images, and whether all kinds of images are among the samples: **improved
//! precision and recall** (Kynkäänmäki, Karras, Laine, Lehtinen & Aila 2019), and **coverage** (Naeem, Oh,
//! Uh, Choi & Yoo 2020).
//!
//! ```text
//! r(x, X)   = distance from x ∈ X to its k-th nearest other member of X, k = 3
//! M(X)      = all points within r(x, X) of some x ∈ X                 the estimated manifold of X: a ball around each member
//! precision = share of the samples that lie in M(images)              samples that look like an image
//! recall    = share of the images that lie in M(samples)              images that could be a sample
//! coverage  = share of the images x with a sample within r(x, images)         images with a sample nearby
//! ```
//!
//! Distances are Euclidean, between the features of [`frechet`](super::frechet), those of a random network.
//! So both measures detect what these features represent: shapes and edges well, fine texture hardly.
//!
//! A distance of means and covariances is one number for two faults, which can cancel. Here noise and wrong
//! shapes lower the precision, and missing kinds of images the other two. Each misses some faults. The
//! precision is high if all samples are copies of few images (then the recall is low). The recall is high if
//! the samples are scattered so widely that their balls cover everything (then the precision is low). None of
//! them distinguishes copies of training images from new ones. The recall may miss an absent class inside the
//! wide balls of samples of other classes; the coverage uses the balls of the images, which are small in
//! regions of similar images. But the coverage counts every image without a sample next to it, even for a
//! slightly blurred model.
//!
//! All three depend on the number of pictures, since the balls of few pictures are larger. So compare only
//! figures of the same number of images and samples; the floor is the result of real images. If both sets
//! have the same size and distribution, the coverage is 1 − 2⁻³ on average.

use super::neighbours::search;

/// k.
pub const NEAREST: usize = 3;

/// Precision, recall and coverage, each from 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PrecisionRecall {
    /// The share of the samples that lie in the manifold of the images.
    pub precision: f64,
    /// The share of the images that lie in the manifold of the samples.
    pub recall: f64,
    /// The share of the images with a sample no farther than their k-th nearest other image.
    pub coverage: f64,
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
    /// assert_eq!(found.coverage, 0.6); // 5 has a sample within 2, 6 has not
    /// ```
    ///
    /// # Panics
    /// If the numbers are not whole vectors.
    pub fn of(images: &[f32], samples: &[f32], len: usize) -> Option<Self> {
        let enough = |vectors: &[f32]| vectors.len() / len > NEAREST;
        if !enough(images) || !enough(samples) {
            return None;
        }
        let [around_images, around_samples] = [images, samples].map(|vectors| radii(vectors, len));
        Some(Self {
            precision: share(images, samples, len, |(_, image)| around_images[image]),
            recall: share(samples, images, len, |(_, sample)| around_samples[sample]),
            coverage: share(samples, images, len, |(image, _)| around_images[image]),
        })
    }
}

/// The share of `queries` that have one of `others` within a squared radius, which may depend on the numbers
/// of both.
fn share(others: &[f32], queries: &[f32], len: usize, radius: impl Fn((usize, usize)) -> f32 + Sync) -> f64 {
    let found = search(
        others,
        queries,
        len,
        |query| (squared_norm(query), false),
        |(norm, is_near), pair, distance| *is_near |= *norm + distance <= radius(pair),
    );
    found.iter().filter(|(_, is_near)| *is_near).count() as f64 / found.len() as f64
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

    /// The definition, in f64 and with everything sorted: the share of `queries` in a ball of `members`, and
    /// of `members` that have a query in their ball.
    fn naive(members: &[f32], queries: &[f32], len: usize) -> (f64, f64) {
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
        let balls = || members.chunks_exact(len).zip(&radii);
        let inside = |query: &&[f32]| balls().any(|(member, radius)| distance(member, query) <= *radius);
        let has_query = |(member, radius): &(&[f32], &f64)| {
            queries.chunks_exact(len).any(|query| distance(member, query) <= **radius)
        };
        let within = queries.chunks_exact(len).filter(inside).count() as f64;
        let covered = balls().filter(has_query).count() as f64;
        (within / (queries.len() / len) as f64, covered / (members.len() / len) as f64)
    }

    #[test]
    fn both_are_their_definitions() {
        let (images, samples) = (normal(700, 4, 0), normal(300, 4, 1));
        let samples: Vec<f32> = samples.iter().map(|x| 1.3 * x + 0.2).collect();
        let found = PrecisionRecall::of(&images, &samples, 4).unwrap();
        let ((precision, coverage), (recall, _)) = (naive(&images, &samples, 4), naive(&samples, &images, 4));
        assert_eq!(found, PrecisionRecall { precision, recall, coverage });
        assert!(0.3 < coverage && coverage < 0.9, "{found:?}");
        // Scattered samples: fewer of them lie among the images, and they cover nearly all of these.
        assert!(0.5 < found.precision && found.precision < found.recall && found.recall < 1.0, "{found:?}");
    }

    #[test]
    fn the_same_pictures_have_both_and_too_few_have_none() {
        let images = normal(50, 6, 2);
        let found = PrecisionRecall::of(&images, &images, 6).unwrap();
        assert_eq!((found.precision, found.recall, found.coverage), (1.0, 1.0, 1.0));
        assert_eq!(PrecisionRecall::of(&images, &images[..6 * NEAREST], 6), None);
        let alike = [0.5; 60];
        assert!(PrecisionRecall::of(&images, &alike, 6).unwrap().recall < 0.1);
        // NaN is near to nothing.
        assert_eq!(PrecisionRecall::of(&images, &[f32::NAN; 60], 6).unwrap().precision, 0.0);
    }
}

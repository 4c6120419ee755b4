//! How well codes determine labels: a k-nearest-neighbour classifier on μ.
//!
//! A query gets the class of most of its k nearest references, by Euclidean distance; of classes with equal
//! votes, the one with the nearest reference. No training is involved, so the accuracy says how well the
//! codes themselves separate classes.
//!
//! ```text
//! ‖q − r‖² = ‖q‖² + ‖r‖² − 2·q·r
//! ```
//!
//! ‖q‖² is the same for all references and is left out. The products of many queries and many references are
//! one matrix product, so that 10,000 queries against 60,000 references take about a second. The references
//! are processed in blocks whose products stay in the cache, and each block is searched for references nearer
//! than the k-th so far.

use rayon::prelude::*;

use crate::kernels::gemm::{Matrix, MatrixMut, gemm};

/// Queries of a task. With the references of a block, 64 × 512 products of 4 bytes are half a usual L2 cache.
const QUERIES: usize = 64;
const REFERENCES: usize = 512;

/// The default number of neighbours that vote.
pub const NEIGHBOURS: usize = 5;

/// The class of each query.
///
/// `references` are R × Z, `classes` their R classes, `queries` Q × Z. With `leave_one_out` the queries are
/// the references themselves, and none is its own neighbour.
///
/// ```
/// use elbo::evaluate::neighbours::classify;
/// let (references, classes) = ([0.0, 0.1, 5.0, 5.1, 5.2], [7, 7, 3, 3, 3]);
/// assert_eq!(classify(&references, &classes, &[1.0, 4.0], 1, 3, false), [7, 3]);
/// ```
///
/// # Panics
/// If the lengths do not fit each other, or there are no neighbours to ask.
pub fn classify(
    references: &[f32],
    classes: &[u32],
    queries: &[f32],
    latent: usize,
    neighbours: usize,
    leave_one_out: bool,
) -> Vec<u32> {
    let found = votes(references, classes, queries, latent, neighbours, leave_one_out);
    found.into_iter().map(|(class, _)| class).collect()
}

/// [`classify`] with the share of the neighbours that have the class.
///
/// # Panics
/// As [`classify`].
pub fn votes(
    references: &[f32],
    classes: &[u32],
    queries: &[f32],
    latent: usize,
    neighbours: usize,
    leave_one_out: bool,
) -> Vec<(u32, f64)> {
    assert!(latent > 0 && neighbours > 0, "{neighbours} neighbours in {latent} dimensions");
    assert_eq!(references.len(), classes.len() * latent, "a class for each reference");
    assert!(queries.len().is_multiple_of(latent), "{} numbers for codes of {latent}", queries.len());
    assert!(classes.len() > usize::from(leave_one_out), "no references");
    let start = |_: &[f32]| Nearest::new(neighbours);
    let look = |nearest: &mut Nearest, (query, reference): (usize, usize), distance: f32| {
        if distance < nearest.farthest && !(leave_one_out && query == reference) {
            nearest.insert(distance, classes[reference]);
        }
    };
    search(references, queries, latent, start, look).iter().map(Nearest::vote).collect()
}

/// Compares every query with all references. `start` returns the state of a query, and `look` gets the
/// indices of query and reference with ‖r‖² − 2·q·r, in the order of the references.
pub(super) fn search<S: Send>(
    references: &[f32],
    queries: &[f32],
    len: usize,
    start: impl Fn(&[f32]) -> S + Sync,
    look: impl Fn(&mut S, (usize, usize), f32) + Sync,
) -> Vec<S> {
    let norms: Vec<f32> = references.par_chunks_exact(len).map(|r| r.iter().map(|x| x * x).sum()).collect();
    let tasks = queries.par_chunks(QUERIES * len).enumerate();
    let found: Vec<Vec<S>> = tasks
        .map(|(task, queries)| {
            let count = queries.len() / len;
            let mut kept: Vec<S> = queries.chunks_exact(len).map(&start).collect();
            let mut products = vec![0.0_f32; count * REFERENCES];
            for (block, (references, norms)) in
                references.chunks(REFERENCES * len).zip(norms.chunks(REFERENCES)).enumerate()
            {
                let n = norms.len();
                let products = &mut products[..count * n];
                let transposed = Matrix::new(references, n, len).transposed();
                gemm(
                    Matrix::new(queries, count, len),
                    transposed,
                    0.0,
                    &mut MatrixMut::new(products, count, n),
                );
                for (query, (kept, products)) in kept.iter_mut().zip(products.chunks_exact(n)).enumerate() {
                    for (at, (&product, &norm)) in products.iter().zip(norms).enumerate() {
                        let pair = (task * QUERIES + query, block * REFERENCES + at);
                        look(kept, pair, norm - 2.0 * product);
                    }
                }
            }
            kept
        })
        .collect();
    found.into_iter().flatten().collect()
}

/// The nearest references so far, nearest first; equally near ones in the order of the references.
#[derive(Clone)]
struct Nearest {
    most: usize,
    /// The distance that a reference must be below.
    farthest: f32,
    found: Vec<(f32, u32)>,
}

impl Nearest {
    fn new(most: usize) -> Self {
        Self { most, farthest: f32::INFINITY, found: Vec::new() }
    }

    fn insert(&mut self, distance: f32, class: u32) {
        let at = self.found.partition_point(|&(other, _)| other <= distance);
        self.found.insert(at, (distance, class));
        self.found.truncate(self.most);
        if self.found.len() == self.most {
            self.farthest = self.found[self.most - 1].0;
        }
    }

    /// The class with the most votes, of equal ones the one with the nearest reference; and its share of the
    /// votes.
    fn vote(&self) -> (u32, f64) {
        let votes = |class: u32| self.found.iter().filter(|(_, other)| *other == class).count();
        // Codes that are NaN have no neighbours.
        let Some(&(_, first)) = self.found.first() else { return (u32::MAX, 0.0) };
        let (class, votes) = self.found.iter().fold((first, 0), |best, &(_, class)| {
            let votes = votes(class);
            if votes > best.1 { (class, votes) } else { best }
        });
        (class, votes as f64 / self.found.len() as f64)
    }
}

/// The share of queries whose class is predicted correctly.
///
/// # Panics
/// As [`classify`], or if the number of `truths` differs from that of queries.
pub fn accuracy(found: &[u32], truths: &[u32]) -> f64 {
    assert_eq!(found.len(), truths.len(), "a class for each query");
    let right = found.iter().zip(truths).filter(|(a, b)| a == b).count();
    right as f64 / truths.len().max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::{Stream, fill_normal, stream};

    /// All distances, sorted.
    fn naive(references: &[f32], classes: &[u32], query: &[f32], k: usize, own: Option<usize>) -> u32 {
        let distance = |r: &[f32]| r.iter().zip(query).map(|(a, b)| f64::from(a - b).powi(2)).sum::<f64>();
        let mut all: Vec<(f64, u32)> = references
            .chunks_exact(query.len())
            .zip(classes)
            .enumerate()
            .filter(|(at, _)| Some(*at) != own)
            .map(|(_, (r, &class))| (distance(r), class))
            .collect();
        all.sort_by(|a, b| a.0.total_cmp(&b.0));
        all.truncate(k);
        let votes = |class: u32| all.iter().filter(|(_, other)| *other == class).count();
        let most = all.iter().map(|&(_, class)| votes(class)).max().unwrap();
        all.iter().find(|&&(_, class)| votes(class) == most).unwrap().1
    }

    #[test]
    fn neighbours_are_those_of_all_distances() {
        let (latent, count) = (5, 1300); // three blocks
        let mut references = vec![0.0; count * latent];
        fill_normal(&mut stream(1, Stream::Sampling, 0), &mut references);
        let mut queries = vec![0.0; 150 * latent];
        fill_normal(&mut stream(1, Stream::Sampling, 1), &mut queries);
        let classes: Vec<u32> = (0..count as u32).map(|i| i * 7 % 4).collect();
        for k in [1, 2, 5, 2000] {
            let found = classify(&references, &classes, &queries, latent, k, false);
            for (found, query) in found.iter().zip(queries.chunks_exact(latent)) {
                assert_eq!(*found, naive(&references, &classes, query, k, None));
            }
        }
        let found = classify(&references, &classes, &references, latent, 5, true);
        for (at, (found, query)) in found.iter().zip(references.chunks_exact(latent)).enumerate() {
            assert_eq!(*found, naive(&references, &classes, query, 5, Some(at)));
        }
        let alone = classify(&references, &classes, &references, latent, 1, false);
        assert_eq!(accuracy(&alone, &classes), 1.0);
    }

    #[test]
    fn codes_that_are_no_numbers_are_near_to_nothing() {
        assert_eq!(classify(&[f32::NAN, 1.0], &[1, 2], &[0.0, f32::NAN], 1, 1, false), [2, u32::MAX]);
    }
}

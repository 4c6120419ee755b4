//! Training on several processes: the interface between a training step and the processes that share it.
//!
//! Every process, a *rank*, has the whole model and the images. It takes its share of every batch, and updates
//! its part of the parameters:
//!
//! ```text
//! rank r   images ⌊r·B/N⌋ … ⌊(r+1)·B/N⌋ of the batch, with the noise that these images have on one process
//!          g_r ← its gradient, a mean over its n_r images
//! rank k   the k-th part of all g_r is sent to it (reduce-scatter)
//!          g ← Σ_r n_r/B · g_r, its part only, added in the order of the ranks
//! all      ‖g‖² ← Σ_k ‖its part‖²; loss values are averaged in the same way
//!          clip, judge spikes: the same numbers on every rank, so the same decisions
//! rank k   Adam's step on its part, whose moments only it keeps
//! all      each part of the parameters is sent to all ranks (all-gather)
//! ```
//!
//! A rank sends and receives 2·(N−1)/N of the gradient's bytes, which is the minimum for a sum that all need
//! (Patarasuk & Yuan 2009). To divide the optimizer's step between the two exchanges costs nothing and makes it
//! N times shorter (the first stage of ZeRO, Rajbhandari et al. 2020). Unlike in MPI's own reductions the order
//! of the additions is fixed. The moments are sent to all ranks only when a checkpoint is written.
//!
//! Runs with the same number of ranks are bit-identical. Another number rounds differently: a linear layer's
//! weight gradient is one chain of fused multiply-adds over the batch, and dividing a chain changes the
//! rounding.
//!
//! Reading order: [`Ranks`] (the communication that the processes need; `mpi` implements it by MPI), `Team`
//! (its use in a step), `follow` (the loop of the ranks that do not write the run folder).

use std::fmt::Debug;
use std::ops::Range;
use std::sync::Arc;

use rayon::prelude::*;

use crate::error::{Error, Result};
use crate::loss::{LossValues, WholeBatch};

/// The processes of a run. All of them call the same methods in the same order; each call returns once all
/// others have made it.
pub trait Ranks: WholeBatch {
    /// This process, from 0. Rank 0 writes the run folder and prints.
    fn rank(&self) -> usize;

    /// All processes.
    fn count(&self) -> usize;

    /// The numbers of all ranks, in their order; each passes the same count.
    fn gather(&self, own: &[f64]) -> Vec<f64>;

    /// Rank r gets the numbers `cuts[r]..cuts[r + 1]` of everyone else's `values`: in `pieces`, which has a place for each rank, its own
    /// included.
    fn exchange(&self, values: &[f32], cuts: &[usize], pieces: &mut [f32]);

    /// All get everyone's part of `values`: that of rank r is `cuts[r]..cuts[r + 1]`.
    fn collect(&self, cuts: &[usize], values: &mut [f32]);

    /// All get the bytes of rank 0.
    fn broadcast(&self, bytes: &mut Vec<u8>);

    /// Ends all processes at once, after an error that only this one knows of.
    fn abort(&self);
}

impl<R: Ranks> WholeBatch for R {
    fn mean(&self, images: usize, values: &mut [f64]) {
        if self.count() == 1 {
            return;
        }
        let weight = images as f64;
        let own: Vec<f64> = values.iter().map(|value| weight * value).chain([weight]).collect();
        let all = self.gather(&own);
        let sum = |at: usize| all.iter().skip(at).step_by(own.len()).sum::<f64>();
        let total = sum(values.len());
        values.iter_mut().enumerate().for_each(|(at, value)| *value = sum(at) / total);
    }
}

/// One process alone: there is no communication.
#[derive(Clone, Copy, Debug)]
pub struct Alone;

impl Ranks for Alone {
    fn rank(&self) -> usize {
        0
    }

    fn count(&self) -> usize {
        1
    }

    fn gather(&self, own: &[f64]) -> Vec<f64> {
        own.to_vec()
    }

    fn exchange(&self, _: &[f32], _: &[usize], _: &mut [f32]) {}

    fn collect(&self, _: &[usize], _: &mut [f32]) {}

    fn broadcast(&self, _: &mut Vec<u8>) {}

    fn abort(&self) {}
}

/// A rank's share of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Share {
    /// Its images within the batch.
    pub range: Range<usize>,
    /// The number of images that it counts as. It is 0 for a rank that computes the first image only to take
    /// part, if a batch has fewer images than there are ranks.
    pub weight: usize,
}

impl Share {
    fn new(images: usize, rank: usize, count: usize) -> Self {
        let range = cut(images, rank, count)..cut(images, rank + 1, count);
        if range.is_empty() { Self { range: 0..1, weight: 0 } } else { Self { weight: range.len(), range } }
    }
}

/// The start of a rank's part, if `len` things are divided among `count` ranks.
fn cut(len: usize, rank: usize, count: usize) -> usize {
    len * rank / count
}

/// The ranks of a trainer, and the memory for their sums.
#[derive(Debug)]
pub(super) struct Team {
    ranks: Arc<dyn Ranks>,
    cuts: Vec<usize>,
    pieces: Vec<f32>,
}

/// Numbers that are summed at once: the sum stays in the first-level cache while the ranks' numbers are added.
const PIECE: usize = 2 * 1024;

impl Team {
    /// These ranks; a trainer begins with [`Alone`].
    pub fn new(ranks: Arc<dyn Ranks>) -> Self {
        Self { ranks, cuts: Vec::new(), pieces: Vec::new() }
    }

    /// The processes.
    pub fn ranks(&self) -> &Arc<dyn Ranks> {
        &self.ranks
    }

    /// Whether there is one process only.
    pub fn is_alone(&self) -> bool {
        self.ranks.count() == 1
    }

    /// This rank's share of a batch.
    pub fn share(&self, images: usize) -> Share {
        Share::new(images, self.ranks.rank(), self.ranks.count())
    }

    /// The most images of a share.
    pub fn largest_share(&self, images: usize) -> usize {
        images.div_ceil(self.ranks.count()).max(1)
    }

    /// The means over a batch of `images` images, from those over this rank's share.
    pub fn mean(&self, images: usize, mut values: LossValues) -> LossValues {
        if !self.is_alone() {
            let mut numbers = values.each_mut().map(|value| *value);
            self.ranks.mean(self.share(images).weight, &mut numbers);
            values.each_mut().into_iter().zip(numbers).for_each(|(value, number)| *value = number);
        }
        values
    }

    /// This rank's part of a range of parameters: it has their gradient's sum, and takes their step.
    pub fn part(&self, range: Range<usize>) -> Range<usize> {
        let (rank, count) = (self.ranks.rank(), self.ranks.count());
        range.start + cut(range.len(), rank, count)..range.start + cut(range.len(), rank + 1, count)
    }

    /// The gradient of a batch of `images` images, from that of this rank's share; only this rank's part of it.
    pub fn sum(&mut self, images: usize, gradient: &mut [f32]) {
        if self.is_alone() || gradient.is_empty() {
            return;
        }
        let (rank, count) = (self.ranks.rank(), self.ranks.count());
        self.cut(gradient.len());
        let (start, end) = (self.cuts[rank], self.cuts[rank + 1]);
        self.pieces.resize(count * (end - start), 0.0);
        self.ranks.exchange(gradient, &self.cuts, &mut self.pieces);
        let pieces = &self.pieces;
        gradient[start..end].par_chunks_mut(PIECE).enumerate().for_each(|(at, own)| {
            let mut sum = [0.0; PIECE];
            let sum = &mut sum[..own.len()];
            for other in 0..count {
                let weight = Share::new(images, other, count).weight as f32 / images as f32;
                let values = match other == rank {
                    true => &*own,
                    false => &pieces[other * (end - start) + at * PIECE..][..own.len()],
                };
                sum.iter_mut().zip(values).for_each(|(sum, value)| *sum += weight * value);
            }
            own.copy_from_slice(sum);
        });
    }

    /// The sum over all ranks, of numbers that are those of this rank's part.
    pub fn total(&self, own: f64) -> f64 {
        if self.is_alone() { own } else { self.ranks.gather(&[own]).iter().sum() }
    }

    /// Sends this rank's part of some numbers to all, and receives theirs.
    pub fn collect(&mut self, numbers: &mut [f32]) {
        self.complete(numbers, numbers.len());
    }

    /// Completes `values`, rows of which this rank has computed its share; there are `rows` of them.
    pub fn complete(&mut self, values: &mut [f32], rows: usize) {
        if self.is_alone() || values.is_empty() {
            return;
        }
        let width = values.len() / rows;
        self.cut(rows);
        self.cuts.iter_mut().for_each(|cut| *cut *= width);
        self.ranks.collect(&self.cuts, values);
    }

    /// Sends the numbers of rank 0 to all ranks.
    pub fn broadcast(&mut self, numbers: &mut [f32]) {
        if self.is_alone() {
            return;
        }
        self.cuts.clear();
        self.cuts.push(0);
        self.cuts.resize(self.ranks.count() + 1, numbers.len());
        self.ranks.collect(&self.cuts, numbers);
    }

    /// Whether any rank answers yes, for each of some questions.
    pub fn any<const N: usize>(&self, own: [bool; N]) -> [bool; N] {
        if self.is_alone() {
            return own;
        }
        let all = self.ranks.gather(&own.map(|flag| f64::from(u8::from(flag))));
        std::array::from_fn(|at| all.iter().skip(at).step_by(N).any(|&flag| flag != 0.0))
    }

    /// The first rank whose 64 bits are not those of rank 0.
    pub fn differing(&self, own: u64) -> Option<usize> {
        let half = |shift: u32| f64::from((own >> shift) as u32);
        let all = self.ranks.gather(&[half(32), half(0)]);
        all.chunks_exact(2).position(|numbers| numbers != &all[..2])
    }

    /// Ends a step on all ranks: an error of one rank ends all, and a stop of one rank stops all. `own` is an
    /// error that only this rank knows of.
    ///
    /// # Errors
    /// `own`, or that another rank has an error.
    pub fn agree(&self, stop: bool, own: Result<()>) -> Result<bool> {
        let [stop, failed] = self.any([stop, own.is_err()]);
        own?;
        if failed { Err(elsewhere()) } else { Ok(stop) }
    }

    fn cut(&mut self, len: usize) {
        let count = self.ranks.count();
        self.cuts.clear();
        self.cuts.extend((0..=count).map(|rank| cut(len, rank, count)));
    }
}

/// The error of a rank if another one has failed.
pub(super) fn elsewhere() -> Error {
    Error::Training("another process of this run failed; its message says why".into())
}

#[cfg(test)]
pub(crate) mod tests;

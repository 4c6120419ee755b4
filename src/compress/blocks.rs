//! Bits-back coding of blocks of images (Frey & Hinton 1997; Townsend, Bird & Barber 2019, "Practical
//! lossless compression with latent variables using bits back coding").
//!
//! Sender and receiver have the model. For an image x, the sender's stack changes three times:
//!
//! ```text
//! pop z with q(z|x)      the bits on the stack choose z: −log₂ q(z|x) bits fewer
//! push x with p(x|z)     −log₂ p(x|z) bits more
//! push z with p(z)       −log₂ p(z) bits more
//! ```
//!
//! On average the stack grows by E_q[log q(z|x) − log p(x|z) − log p(z)], the −ELBO. The receiver reverses
//! this: it pops z with p(z), decodes it, pops x with p(x|z), encodes that, and pushes z with q(z|x), which
//! restores the bits that chose it. So the sender takes the images of a block from the last to the first, and
//! the receiver gets them in order.
//!
//! Each block has its own stack. An image needs the stack that the previous one left, but blocks are
//! independent: many of them go through the networks together, one image of each in a batch, and their stacks
//! are processed in parallel. The networks are bit-identical for any batch size, so a block can be read
//! alone.

use super::levels;
use super::normal::{BITS, Buckets, Posterior};
use super::rans::Coder;
use crate::layers::Describe;
use crate::model::context::Exact;
use crate::model::{Batch, Vae, Workspace};
use rayon::prelude::*;
use std::ops::Range;

/// The most blocks processed together, and the most values of their images.
const SIDE_BY_SIDE: usize = 64;
const VALUES: usize = 1 << 20;

/// The number of blocks, of `blocks`, that go through a model's networks together.
pub(super) fn side_by_side(model: &Vae<f32>, blocks: usize) -> usize {
    blocks.min(SIDE_BY_SIDE).min(VALUES / model.config().pixels()).max(1)
}

/// A model with buckets for its latent variable, and the memory of its passes.
pub(super) struct BitsBack<'m> {
    model: &'m Vae<f32>,
    /// The context network, value by value, if the model has one.
    exact: Option<Exact<'m, f32>>,
    side_by_side: usize,
    buckets: Buckets,
    workspace: Workspace<f32>,
    images: Vec<f32>,
    labels: Vec<u32>,
}

/// A block could not be read: its bits do not encode images of this model.
pub(super) struct NoImages;

impl<'m> BitsBack<'m> {
    /// For so many blocks together (see [`side_by_side`]).
    pub(super) fn new(model: &'m Vae<f32>, latent_bits: u32, side_by_side: usize) -> Self {
        Self {
            model,
            exact: model.exact(),
            side_by_side,
            buckets: Buckets::new(latent_bits),
            workspace: model.inference_workspace(side_by_side),
            images: vec![0.0; side_by_side * model.config().pixels()],
            labels: Vec::with_capacity(side_by_side),
        }
    }

    /// The bytes of each block. `images` are all images, `labels` all labels (none for a model without
    /// labels), and `blocks` the images of each block.
    pub(super) fn write(
        &mut self,
        images: &[u8],
        labels: &[u32],
        blocks: &[Range<usize>],
        progress: &dyn Fn(usize),
    ) -> Vec<Vec<u8>> {
        let pixels = self.model.config().pixels();
        let mut written = Vec::with_capacity(blocks.len());
        for group in blocks.chunks(self.side_by_side) {
            let mut coders = vec![Coder::writer(); group.len()];
            let longest = group.iter().map(Range::len).max().unwrap_or(0);
            for step in (0..longest).rev() {
                let (mut batch, mut active) = (Vec::new(), Vec::new());
                for (coder, block) in coders.iter_mut().zip(group).filter(|(_, block)| step < block.len()) {
                    active.push(coder);
                    batch.push(block.start + step);
                }
                let image = |at: usize| &images[at * pixels..(at + 1) * pixels];
                let pictures: Vec<&[u8]> = batch.iter().map(|&at| image(at)).collect();
                self.encode(&pictures, batch.iter().map(|&at| labels.get(at).copied()));
                let chosen = self.pop_posteriors(&mut active);
                self.decode(&chosen);
                let (parts, output) = self.output(active.len());
                active.par_iter_mut().enumerate().for_each(|(at, coder)| {
                    let output = &output[at * parts.outputs..(at + 1) * parts.outputs];
                    match &self.exact {
                        None => levels::push(&parts.likelihood, output, parts.channels, pictures[at], coder),
                        Some(exact) => {
                            let numbers = numbers_given(exact, output, pictures[at]);
                            levels::push(&parts.likelihood, &numbers, 1, pictures[at], coder);
                        }
                    }
                    for &bucket in chosen[at * parts.latent..(at + 1) * parts.latent].iter().rev() {
                        coder.push(Buckets::prior(bucket), parts.latent_bits);
                    }
                });
                progress(batch.len());
            }
            written.extend(coders.iter().map(Coder::finish));
        }
        written
    }

    /// The images of each block that can be read, one after the other. `labels` are those of each block's
    /// images.
    pub(super) fn read(
        &mut self,
        blocks: &[(&[u8], usize, &[u32])],
        progress: &dyn Fn(usize),
    ) -> Vec<Result<Vec<u8>, NoImages>> {
        let pixels = self.model.config().pixels();
        let mut read = Vec::with_capacity(blocks.len());
        for group in blocks.chunks(self.side_by_side) {
            let mut open: Vec<Option<(Coder, Vec<u8>)>> = group
                .iter()
                .map(|(bytes, count, _)| Some((Coder::reader(bytes)?, vec![0; count * pixels])))
                .collect();
            let longest = group.iter().map(|(_, count, _)| *count).max().unwrap_or(0);
            for step in 0..longest {
                // A block that popped more than it has is abandoned.
                for block in &mut open {
                    if block.as_ref().is_some_and(|(coder, _)| coder.is_exhausted()) {
                        *block = None;
                    }
                }
                let (mut active, mut labels) = (Vec::new(), Vec::new());
                for (block, (_, count, known)) in open.iter_mut().zip(group) {
                    if let Some((coder, images)) = block.as_mut().filter(|_| step < *count) {
                        active.push((coder, &mut images[step * pixels..(step + 1) * pixels]));
                        labels.push(known.get(step).copied());
                    }
                }
                if active.is_empty() {
                    break;
                }
                let parts = self.parts();
                let mut chosen = vec![0; active.len() * parts.latent];
                for ((coder, _), chosen) in active.iter_mut().zip(chosen.chunks_exact_mut(parts.latent)) {
                    for bucket in chosen {
                        *bucket = coder.pop(parts.latent_bits, |slot| (slot, Buckets::prior(slot)));
                    }
                }
                self.set_labels(labels.iter().copied());
                self.decode(&chosen);
                let (parts, output) = self.output(active.len());
                active.par_iter_mut().enumerate().for_each(|(at, (coder, image))| {
                    let output = &output[at * parts.outputs..(at + 1) * parts.outputs];
                    match &self.exact {
                        None => levels::pop(&parts.likelihood, output, parts.channels, image, coder),
                        Some(exact) => pop_in_order(exact, &parts.likelihood, output, image, coder),
                    }
                });
                let pictures: Vec<&[u8]> = active.iter().map(|(_, image)| &**image).collect();
                self.encode(&pictures, labels.into_iter());
                let latent = &self.workspace.latent;
                let buckets = &self.buckets;
                active.par_iter_mut().enumerate().for_each(|(at, (coder, _))| {
                    let range = at * parts.latent..(at + 1) * parts.latent;
                    for d in range.rev() {
                        let posterior = Posterior::new(buckets, latent.mu[d], latent.log_variance[d]);
                        coder.push(posterior.interval(chosen[d]), BITS);
                    }
                });
                progress(active.len());
            }
            read.extend(open.into_iter().map(|block| match block {
                Some((coder, images)) if coder.is_at_start() => Ok(images),
                _ => Err(NoImages),
            }));
        }
        read
    }

    /// A number that changes if the model, the tables or the machine's arithmetic change. It is the CRC-32 of
    /// the encoder's output for a fixed picture, the decoder's output for a fixed code, and the integer
    /// tables.
    pub(super) fn probe(&mut self) -> u32 {
        let config = self.model.config();
        let picture: Vec<u8> = (0..config.pixels()).map(|at| (at * 37 % 256) as u8).collect();
        let label = (config.classes() > 0).then_some(0);
        let mut checksum = crc32fast::Hasher::new();
        self.encode(&[&picture], std::iter::once(label));
        let (latent, buckets) = (config.latent, 1_usize << self.buckets.bits());
        let l = &self.workspace.latent;
        for number in l.mu[..latent].iter().chain(&l.log_variance[..latent]) {
            checksum.update(&number.to_bits().to_le_bytes());
        }
        let chosen: Vec<u32> = (0..latent).map(|d| ((d * 7919 + buckets / 3) % buckets) as u32).collect();
        self.decode(&chosen);
        for number in self.output(1).1 {
            checksum.update(&number.to_bits().to_le_bytes());
        }
        if let Some(exact) = &self.exact {
            for number in numbers_given(exact, self.output(1).1, &picture) {
                checksum.update(&number.to_bits().to_le_bytes());
            }
        }
        self.buckets.numbers().for_each(|number| checksum.update(&number.to_le_bytes()));
        let tables = super::normal::table().iter().chain(levels::table());
        tables.for_each(|entry| checksum.update(&entry.to_le_bytes()));
        checksum.finalize()
    }

    fn parts(&self) -> Parts {
        let config = self.model.config();
        Parts {
            likelihood: config.likelihood,
            channels: config.channels,
            outputs: self.model.architecture().decoder.output().len(),
            latent: config.latent,
            latent_bits: self.buckets.bits(),
        }
    }

    /// The decoder's numbers (features, if the model has a context network) of the first `count` most
    /// recently decoded codes.
    fn output(&self, count: usize) -> (Parts, &[f32]) {
        let parts = self.parts();
        let len = count * parts.outputs;
        let output = if self.exact.is_some() { self.workspace.decoded() } else { self.workspace.output() };
        (parts, &output[..len])
    }

    fn set_labels(&mut self, labels: impl Iterator<Item = Option<u32>>) {
        self.labels.clear();
        self.labels.extend(labels.flatten());
        self.model.set_condition(&self.labels, &mut self.workspace);
    }

    /// Encodes pictures; their μ and ln σ² are then in the workspace.
    fn encode(&mut self, pictures: &[&[u8]], labels: impl Iterator<Item = Option<u32>>) {
        self.labels.clear();
        self.labels.extend(labels.flatten());
        let pixels = self.model.config().pixels();
        let images = &mut self.images[..pictures.len() * pixels];
        for (image, picture) in images.chunks_exact_mut(pixels).zip(pictures) {
            image.iter_mut().zip(*picture).for_each(|(value, &byte)| *value = unit(byte));
        }
        self.model.encode(Batch { images, labels: &self.labels }, &mut self.workspace);
    }

    /// The buckets that the bits on the stacks choose, `count × Z`.
    fn pop_posteriors(&self, coders: &mut [&mut Coder]) -> Vec<u32> {
        let latent = self.model.config().latent;
        let mut chosen = vec![0; coders.len() * latent];
        let l = &self.workspace.latent;
        coders.par_iter_mut().zip(chosen.par_chunks_exact_mut(latent)).enumerate().for_each(
            |(at, (coder, chosen))| {
                for (d, bucket) in chosen.iter_mut().enumerate() {
                    let place = at * latent + d;
                    let posterior = Posterior::new(&self.buckets, l.mu[place], l.log_variance[place]);
                    *bucket = coder.pop(BITS, |slot| posterior.find(slot));
                }
            },
        );
        chosen
    }

    /// Decodes codes that are given as buckets, `count × Z`.
    fn decode(&mut self, chosen: &[u32]) {
        for (z, &bucket) in self.workspace.latent.z.iter_mut().zip(chosen) {
            *z = self.buckets.median(bucket);
        }
        self.model.decode(chosen.len() / self.model.config().latent, &mut self.workspace);
    }
}

/// The same number as `Images::gather` returns for a byte.
fn unit(byte: u8) -> f32 {
    (f64::from(byte) * (1.0 / 255.0)) as f32
}

/// The m numbers of each value of a picture, given the values before it.
fn numbers_given(exact: &Exact<'_, f32>, features: &[f32], picture: &[u8]) -> Vec<f32> {
    let mut all = Vec::new();
    exact.visit(features, &mut vec![0.0; picture.len()], |at, numbers| {
        all.extend_from_slice(numbers);
        unit(picture[at])
    });
    all
}

/// Pops a picture that was pushed with the numbers of [`numbers_given`]: each value is popped before the
/// numbers of the next one are computed.
fn pop_in_order(
    exact: &Exact<'_, f32>,
    likelihood: &crate::loss::Likelihood,
    features: &[f32],
    picture: &mut [u8],
    coder: &mut Coder,
) {
    exact.visit(features, &mut vec![0.0; picture.len()], |at, numbers| {
        levels::pop(likelihood, numbers, 1, &mut picture[at..=at], coder);
        unit(picture[at])
    });
}

/// Sizes that both directions need.
#[derive(Clone, Copy)]
struct Parts {
    likelihood: crate::loss::Likelihood,
    channels: usize,
    outputs: usize,
    latent: usize,
    latent_bits: u32,
}

//! Lossy compression: μ of q(z|x) is rounded to the nearest multiple of a step and entropy-coded; the
//! decoder's mean image is reconstructed.
//!
//! Dimension d of the codes of a file has a mean m and a standard deviation s, stored as `f32`. The integer q
//! = round(μ/step) gets the slots of the bucket ((q − ½)·step, (q + ½)·step) under N(m, s²). These use the
//! table Φ̃ of [`normal`](super::normal), among the 4096 integers around round(m/step):
//!
//! ```text
//! F(j) = ⌊Φ̃(((j + q₀ − ½)·step − m)/s)·(2²⁴ − 4096)/2³²⌋ + j
//! q₀ = round(m/step) − 2048,   j = q − q₀ from 0 to 4095
//! ```
//!
//! with F(0) = 0 and F(4096) = 2²⁴. A μ outside this range is clamped to it. s is at least step/16, so that a
//! dimension that is equal in all images costs nearly nothing.

use super::blocks::NoImages;
use super::container::Lossy;
use super::normal::{cdf, table};
use super::rans::{Coder, Interval};
use crate::error::{Error, Result};
use crate::model::{Batch, Codec, Refine, Vae};
use std::ops::Range;
use std::path::Path;

const BITS: u32 = 24;
const SLOTS: u32 = 1 << BITS;
/// The number of possible integers in a dimension.
const COUNT: u32 = 4096;

/// The integers of one dimension.
struct Dimension {
    step: f64,
    mean: f64,
    inverse: f64,
    first: f64,
}

impl Dimension {
    fn new(step: f64, [mean, deviation]: [f32; 2]) -> Self {
        let (mean, deviation) = (f64::from(mean), f64::from(deviation).max(step / 16.0));
        let first = (mean / step).round() - f64::from(COUNT / 2);
        Self { step, mean, inverse: 1.0 / deviation, first }
    }

    fn place(&self, mu: f32) -> u32 {
        ((f64::from(mu) / self.step).round() - self.first).clamp(0.0, f64::from(COUNT - 1)) as u32
    }

    fn value(&self, place: u32) -> f32 {
        ((self.first + f64::from(place)) * self.step) as f32
    }

    fn cumulative(&self, place: u32) -> u32 {
        match place {
            0 => 0,
            COUNT => SLOTS,
            _ => {
                let x = ((self.first + f64::from(place) - 0.5) * self.step - self.mean) * self.inverse;
                ((cdf(table(), x) * u64::from(SLOTS - COUNT)) >> 32) as u32 + place
            }
        }
    }

    fn interval(&self, place: u32) -> Interval {
        let start = self.cumulative(place);
        Interval { start, frequency: self.cumulative(place + 1) - start }
    }

    fn find(&self, slot: u32) -> (u32, Interval) {
        let (mut low, mut high) = (0, COUNT);
        while high - low > 1 {
            let middle = (low + high) / 2;
            if self.cumulative(middle) <= slot {
                low = middle;
            } else {
                high = middle;
            }
        }
        (low, self.interval(low))
    }
}

/// The result of [`write`].
pub(super) struct Written {
    pub(super) header: Lossy,
    pub(super) blocks: Vec<Vec<u8>>,
    pub(super) images_crc: Vec<u32>,
}

/// The most steps by which codes are refined.
const MOST_STEPS: usize = 10_000;

/// Checks the options of lossy compression.
///
/// # Errors
/// If the step is not a positive number, there are too many steps of refinement, or codes are to be refined
/// that are not stored.
pub(super) fn check_options(step: Option<f64>, refine: usize) -> Result<()> {
    if step.is_none() && refine > 0 {
        return Err(Error::config(
            "--refine changes the codes that --lossy stores, and without loss images are stored; add --lossy, or leave --refine out",
        ));
    }
    if refine > MOST_STEPS {
        return Err(Error::config(format!("--refine must be at most {MOST_STEPS} steps, not {refine}")));
    }
    match step {
        Some(step) if !(step.is_finite() && step > 0.0) => {
            Err(Error::config(format!("--step must be a positive number, not {step}")))
        }
        _ => Ok(()),
    }
}

/// μ of each image, or, with `refine` steps, the code on the grid of multiples of `step` to which they lead.
fn codes(
    model: &Vae<f32>,
    images: &[u8],
    labels: &[u32],
    (step, refine): (f64, usize),
    progress: &dyn Fn(usize),
) -> Vec<f32> {
    let (pixels, latent) = (model.config().pixels(), model.config().latent);
    let count = images.len() / pixels;
    let how = Refine::new(refine, step);
    let (size, mut workspace) = match refine {
        0 => (Codec::batch(model), model.inference_workspace(Codec::batch(model))),
        _ => (model.refine_batch(), model.training_workspace(model.refine_batch())),
    };
    let mut codes = Vec::with_capacity(count * latent);
    let span = model.config().span();
    let value = |&byte: &u8| span.from_unit(f64::from(byte) * (1.0 / 255.0)) as f32;
    for at in (0..count).step_by(size) {
        let end = count.min(at + size);
        let batch: Vec<f32> = images[at * pixels..end * pixels].iter().map(value).collect();
        let batch = Batch { images: &batch, labels: labels.get(at..end).unwrap_or_default() };
        model.encode(batch, &mut workspace);
        codes.extend_from_slice(&workspace.latent.mu[..(end - at) * latent]);
        if refine > 0 {
            model.refine(batch, &mut codes[at * latent..], &how, &mut workspace, progress);
        }
    }
    codes
}

/// Writes codes of images as blocks, after `refine` steps for each. `progress` is called with the number of
/// images whose codes are final.
pub(super) fn write(
    model: &Vae<f32>,
    images: &[u8],
    labels: &[u32],
    ranges: &[Range<usize>],
    (step, refine): (f64, usize),
    progress: &dyn Fn(usize),
) -> Written {
    let latent = model.config().latent;
    let mu = codes(model, images, labels, (step, refine), progress);
    let moments = (0..latent).map(|d| moments(mu.iter().skip(d).step_by(latent))).collect();
    let header = Lossy { step, moments };
    let dimensions = dimensions(&header);
    let (mut blocks, mut images_crc) = (Vec::new(), Vec::new());
    for range in ranges {
        let mut coder = Coder::writer();
        let mut codes = vec![0.0; range.len() * latent];
        for at in (0..codes.len()).rev() {
            let dimension = &dimensions[at % latent];
            let place = dimension.place(mu[range.start * latent + at]);
            codes[at] = dimension.value(place);
            coder.push(dimension.interval(place), BITS);
        }
        blocks.push(coder.finish());
        images_crc.push(crc32fast::hash(&pictures(
            model,
            &codes,
            labels.get(range.clone()).unwrap_or_default(),
        )));
        if refine == 0 {
            progress(range.len());
        }
    }
    Written { header, blocks, images_crc }
}

/// The pictures of each block.
///
/// # Errors
/// If the header does not fit the model.
pub(super) fn read(
    model: &Vae<f32>,
    blocks: &[(&[u8], usize, &[u32])],
    header: &Lossy,
    path: &Path,
    progress: &dyn Fn(usize),
) -> Result<Vec<std::result::Result<Vec<u8>, NoImages>>> {
    let latent = model.config().latent;
    let is_fine = header.step.is_finite() && header.step > 0.0 && header.moments.len() == latent;
    if !is_fine || header.moments.iter().flatten().any(|number| !number.is_finite()) {
        return Err(Error::data(path, "its step or moments do not fit the model: it is damaged"));
    }
    let dimensions = dimensions(header);
    let read = blocks.iter().map(|&(bytes, count, labels)| {
        let mut coder = Coder::reader(bytes).ok_or(NoImages)?;
        let mut codes = vec![0.0; count * latent];
        for (at, code) in codes.iter_mut().enumerate() {
            let dimension = &dimensions[at % latent];
            *code = dimension.value(coder.pop(BITS, |slot| dimension.find(slot)));
            if coder.is_exhausted() {
                return Err(NoImages);
            }
        }
        progress(count);
        if coder.is_at_start() { Ok(pictures(model, &codes, labels)) } else { Err(NoImages) }
    });
    Ok(read.collect())
}

fn dimensions(header: &Lossy) -> Vec<Dimension> {
    header.moments.iter().map(|&moments| Dimension::new(header.step, moments)).collect()
}

/// Mean and standard deviation.
fn moments<'a>(values: impl Iterator<Item = &'a f32> + Clone) -> [f32; 2] {
    let count = values.clone().count().max(1) as f64;
    let mean = values.clone().map(|&v| f64::from(v)).sum::<f64>() / count;
    let variance = values.map(|&v| (f64::from(v) - mean).powi(2)).sum::<f64>() / count;
    [mean as f32, variance.sqrt() as f32]
}

/// The decoder's means of codes, as bytes.
fn pictures(model: &Vae<f32>, codes: &[f32], labels: &[u32]) -> Vec<u8> {
    let latent = model.config().latent;
    let batch_size = Codec::batch(model).min(codes.len() / latent);
    let mut workspace = model.inference_workspace(batch_size);
    let mut bytes = Vec::with_capacity(codes.len() / latent * model.config().pixels());
    let symmetric = model.config().span() == crate::data::Span::Symmetric;
    for (batch, chunk) in codes.chunks(batch_size * latent).enumerate() {
        let count = chunk.len() / latent;
        workspace.latent.z[..chunk.len()].copy_from_slice(chunk);
        model.set_condition(
            labels.get(batch * batch_size..batch * batch_size + count).unwrap_or_default(),
            &mut workspace,
        );
        let means = model.decode_means(count, &mut workspace);
        let unit = |mean: f32| if symmetric { 0.5 * (mean + 1.0) } else { mean };
        bytes.extend(means.iter().map(|&mean| (unit(mean) * 255.0).round().clamp(0.0, 255.0) as u8));
    }
    bytes
}

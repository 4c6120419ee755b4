//! Colours and sizes: what `--grey`, `--rgb`, `--background` and `--size` do to images, one at a time.
//!
//! Grey is Rec. 601 luma, Y = 0.299 R + 0.587 G + 0.114 B, on the values as they are (as PNG viewers and Pillow do). A
//! pixel of opacity α over a background b is α·v + (1 − α)·b. The size is [`resize`](super::resize)'s subject.

use super::LoadOptions;
use super::images::{Images, Pixels, Range};
use super::resize::{Plan, Sample};
use super::source::Budget;
use crate::{Error, Result};
use rayon::prelude::*;
use std::path::Path;

/// Rec. 601 luma.
fn luma(red: f32, green: f32, blue: f32) -> f32 {
    0.299 * red + 0.587 * green + 0.114 * blue
}

/// Copies pixels of `from_channels` (1 grey, 2 grey and alpha, 3 RGB, 4 RGB and alpha) as pixels of `to_channels` (1 or 3).
/// Alpha is laid over `background`, given in bytes; `range` is that of the values.
pub(crate) fn convert_pixels<V: Sample>(
    from: &[V],
    from_channels: usize,
    to: &mut [V],
    to_channels: usize,
    background: [u8; 3],
    range: Range,
) {
    let Range { low, high } = range;
    let background = background.map(|b| low + f32::from(b) / 255.0 * (high - low));
    let grey_background = luma(background[0], background[1], background[2]);
    let over = |v: V, alpha: V, background: f32| {
        let opacity = (alpha.to_f32() - low) / (high - low);
        background + opacity * (v.to_f32() - background)
    };
    let pixels = from.chunks_exact(from_channels).zip(to.chunks_exact_mut(to_channels));
    match (from_channels, to_channels) {
        (1, 1) | (3, 3) => to.copy_from_slice(from),
        (1, _) => pixels.for_each(|(p, out)| out.fill(p[0])),
        (2, 1) => pixels.for_each(|(p, out)| out[0] = V::from_f32(over(p[0], p[1], grey_background))),
        (2, _) => pixels.for_each(|(p, out)| {
            (0..3).for_each(|c| out[c] = V::from_f32(over(p[0], p[1], background[c])));
        }),
        (3, _) => pixels.for_each(|(p, out)| {
            out[0] = V::from_f32(luma(p[0].to_f32(), p[1].to_f32(), p[2].to_f32()));
        }),
        (_, 1) => pixels.for_each(|(p, out)| {
            let [red, green, blue] = [0, 1, 2].map(|c| over(p[c], p[3], background[c]));
            out[0] = V::from_f32(luma(red, green, blue));
        }),
        _ => pixels.for_each(|(p, out)| {
            (0..3).for_each(|c| out[c] = V::from_f32(over(p[c], p[3], background[c])));
        }),
    }
}

/// Gives the images the colours and the size that were asked for; without such wishes they come back as they are.
pub(crate) fn convert(
    images: Images,
    path: &Path,
    options: &LoadOptions,
    budget: &mut Budget,
) -> Result<Images> {
    let channels = match options.color {
        None => images.channels,
        Some(color) if matches!(images.channels, 1 | 3 | 4) => color.channels(),
        Some(color) => {
            return Err(Error::data(
                path,
                format!(
                    "the images have {} channels, and --{} takes images of 1 (grey), 3 (RGB) or 4 (RGB and alpha)",
                    images.channels, color
                ),
            ));
        }
    };
    let (height, width) = options.size.unwrap_or((images.height, images.width));
    if (channels, height, width) == (images.channels, images.height, images.width) {
        return Ok(images);
    }
    let bytes_each = match images.pixels {
        Pixels::U8(_) => 1,
        Pixels::F32(_) => 4,
    };
    let size = checked_size(images.count, height, width, channels)
        .ok_or_else(|| Error::config(format!("--size {height}x{width} is too large")))?;
    budget.take(size as u64 * bytes_each, path)?;
    // Each thread has an image in its new colours, and a row of sums.
    let scratch =
        (images.height * images.width * channels) as u64 * bytes_each + (images.width * channels) as u64 * 4;
    let scratch = scratch.saturating_mul(rayon::current_num_threads().min(images.count) as u64);
    budget.take(scratch, path)?;
    let target = (height, width, channels);
    let pixels = match &images.pixels {
        Pixels::U8(values) => Pixels::U8(convert_all(values, &images, target, options, path)?),
        Pixels::F32(values) => Pixels::F32(convert_all(values, &images, target, options, path)?),
    };
    budget.give_back((images.count * images.image_len()) as u64 * bytes_each + scratch);
    Ok(Images { pixels, count: images.count, height, width, channels, range: images.range })
}

/// count · height · width · channels, if that is a number of bytes that a machine can address.
pub(crate) fn checked_size(count: usize, height: usize, width: usize, channels: usize) -> Option<usize> {
    let size = count.checked_mul(height)?.checked_mul(width)?.checked_mul(channels)?;
    (size <= isize::MAX as usize / 8).then_some(size)
}

fn convert_all<V: Sample>(
    values: &[V],
    images: &Images,
    (height, width, channels): (usize, usize, usize),
    options: &LoadOptions,
    path: &Path,
) -> Result<Vec<V>> {
    let mut out = super::source::zeros(images.count * height * width * channels, path)?;
    let plan = Plan::new((images.height, images.width), (height, width), channels);
    values
        .par_chunks_exact(images.image_len())
        .zip(out.par_chunks_exact_mut(height * width * channels))
        .for_each_init(
            || {
                let recolored =
                    if channels == images.channels { 0 } else { images.height * images.width * channels };
                (vec![V::default(); recolored], plan.scratch())
            },
            |(colored, scratch), (from, to)| {
                if channels == images.channels {
                    plan.run(from, to, scratch);
                    return;
                }
                convert_pixels(from, images.channels, colored, channels, options.background, images.range);
                plan.run(colored, to, scratch);
            },
        );
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn converted<const N: usize>(from: &[u8], from_channels: usize, background: [u8; 3]) -> [u8; N] {
        let mut out = [0; N];
        convert_pixels(from, from_channels, &mut out, N, background, Range::BYTES);
        out
    }

    #[test]
    fn colours_by_hand() {
        assert_eq!(converted(&[7], 1, [0; 3]), [7, 7, 7]);
        assert_eq!(converted(&[255, 0, 0], 3, [0; 3]), [76]); // 0.299 · 255 = 76.2
        assert_eq!(converted(&[0, 255, 0], 3, [0; 3]), [150]);
        assert_eq!(converted(&[9, 9, 9], 3, [0; 3]), [9]);
        assert_eq!(converted(&[100, 0], 2, [255; 3]), [255]);
        assert_eq!(converted(&[100, 255], 2, [255; 3]), [100]);
        assert_eq!(converted(&[100, 51], 2, [0, 0, 200]), [20, 20, 180]);
        assert_eq!(converted(&[10, 20, 30, 255], 4, [255; 3]), [10, 20, 30]);
        assert_eq!(converted(&[10, 20, 30, 0], 4, [1, 2, 3]), [1, 2, 3]);
        assert_eq!(converted(&[255, 255, 255, 0], 4, [0, 255, 0]), [150]);
    }

    #[test]
    fn floats_have_their_background_in_their_own_range() {
        let mut out = [0.0f32; 3];
        convert_pixels(&[0.5, 0.5, 0.5, -1.0], 4, &mut out, 3, [255, 0, 255], Range::SYMMETRIC);
        assert_eq!(out, [1.0, -1.0, 1.0]);
    }
}

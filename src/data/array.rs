//! Reads the elements of an array after its header.
//!
//! The shape determines, for each axis of the file, a stride in the N·H·W·C result ([`Axes`]). The bytes are
//! read once, front to back, one run of the fastest axis at a time, and scattered: there is never a second
//! copy.

use super::budget::{Budget, zeros};
use super::header::{Header, Kind, show};
use super::layout::Axes;
use super::stream::Stream;
use crate::{Error, Result};

/// Reads the next images, of one-byte elements. `first` is the index of the first one, and `out` has room for
/// all.
///
/// # Errors
/// If the data end too early, or a bool is neither 0 nor 1.
pub(crate) fn read_bytes(
    stream: &mut Stream<'_>,
    header: &Header,
    axes: &Axes,
    first: usize,
    out: &mut [u8],
) -> Result<()> {
    scatter(stream, 1, &axes.0, |at, stride, run| {
        out[at..].iter_mut().step_by(stride).zip(run).for_each(|(out, &v)| *out = v);
        Ok(())
    })?;
    if header.kind == Kind::Bool
        && let Some(at) = out.iter().position(|&v| v > 1)
    {
        let message = format!("image {} has a bool that is neither 0 nor 1", first + at / axes.image());
        return Err(Error::data(stream.path, message));
    }
    Ok(())
}

/// Reads the next images, of elements of any type, as floats. `first` is the index of the first one, and
/// `out` has room for all.
///
/// # Errors
/// If the data end too early, or a value is not finite.
pub(crate) fn read_floats(
    stream: &mut Stream<'_>,
    header: &Header,
    axes: &Axes,
    first: usize,
    out: &mut [f32],
) -> Result<()> {
    let (path, image) = (stream.path, axes.image());
    let bytes = header.kind.bytes();
    let convert = header.kind.to_float(header.big_endian);
    scatter(stream, bytes, &axes.0, |at, stride, run| {
        for (i, element) in run.chunks_exact(bytes).enumerate() {
            let value = convert(element);
            if !value.is_finite() {
                let index = first + (at + i * stride) / image;
                return Err(Error::data(
                    path,
                    format!("image {index} has the value {value}; all must be finite"),
                ));
            }
            out[at + i * stride] = value;
        }
        Ok(())
    })
}

/// Reads an array whose axes, slowest first, are (length, stride in the result), and passes it on in runs
/// along the fastest axis: `run(start, stride, bytes)`.
fn scatter(
    stream: &mut Stream<'_>,
    bytes_each: usize,
    axes: &[(usize, usize)],
    mut run: impl FnMut(usize, usize, &[u8]) -> Result<()>,
) -> Result<()> {
    // Axes that are contiguous in the result are merged: a run can then be a whole file.
    let mut joined: Vec<(usize, usize)> = Vec::new();
    for &(len, stride) in axes.iter().filter(|axis| axis.0 != 1) {
        match joined.last_mut() {
            Some(slower) if slower.1 == len * stride => *slower = (slower.0 * len, stride),
            _ => joined.push((len, stride)),
        }
    }
    let (fast_len, fast_stride) = joined.pop().unwrap_or((1, 1));
    let chunk = (fast_len * bytes_each).min((1 << 16) * bytes_each);
    let mut buffer = vec![0; chunk];
    let mut index = vec![0; joined.len()];
    let mut start = 0;
    loop {
        let mut done = 0;
        while done < fast_len {
            let take = (fast_len - done).min(chunk / bytes_each);
            let bytes = &mut buffer[..take * bytes_each];
            stream.read(bytes)?;
            run(start + done * fast_stride, fast_stride, bytes)?;
            done += take;
        }
        // Advances the slower axes, like an odometer.
        let mut axis = joined.len();
        loop {
            if axis == 0 {
                return Ok(());
            }
            axis -= 1;
            let (len, stride) = joined[axis];
            index[axis] += 1;
            start += stride;
            if index[axis] < len {
                break;
            }
            start -= len * stride;
            index[axis] = 0;
        }
    }
}

/// Reads an array of N or N×1 whole numbers, each 0 to 4294967295.
pub(crate) fn read_labels(mut stream: Stream<'_>, header: &Header, budget: &mut Budget) -> Result<Vec<u32>> {
    let path = stream.path;
    if !is_flat(header) {
        let shown = show(&header.shape);
        return Err(Error::data(
            path,
            format!("labels are N whole numbers, and this array has the shape {shown}"),
        ));
    }
    let elements = header.elements(path)?;
    let width = header.kind.bytes();
    stream.expect(elements as u64 * width as u64)?;
    budget.take(elements as u64 * 4, path)?;
    let mut labels = zeros(elements, path)?;
    let signed = matches!(header.kind, Kind::Int { signed: true, .. });
    let to_float = header.kind.to_float(header.big_endian);
    scatter(&mut stream, width, &[(elements, 1)], |at, _, run| {
        for (i, element) in run.chunks_exact(width).enumerate() {
            let value = if header.kind.is_float() {
                // Whole floats up to 2²⁴ are exact.
                let value = to_float(element);
                ((0.0..=16_777_216.0).contains(&value) && value.fract() == 0.0).then_some(value as u32)
            } else {
                let mut word = [0; 8];
                for (k, &byte) in element.iter().enumerate() {
                    word[if header.big_endian { width - 1 - k } else { k }] = byte;
                }
                let value = u64::from_le_bytes(word);
                let negative = signed && value >> (8 * width - 1) == 1;
                u32::try_from(value).ok().filter(|_| !negative)
            };
            let Some(value) = value else {
                let message = format!("label {} is not a whole number from 0 to 4294967295", at + i);
                return Err(Error::data(path, message));
            };
            labels[at + i] = value;
        }
        Ok(())
    })?;
    stream.finish()?;
    Ok(labels)
}

/// Whether this is an array of N or N×1 numbers.
pub(crate) fn is_flat(header: &Header) -> bool {
    matches!(header.shape[..], [_] | [_, 1])
}

/// Whether this is an array of N or N×1 integers.
pub(crate) fn is_labels(header: &Header) -> bool {
    is_flat(header) && !header.kind.is_float()
}

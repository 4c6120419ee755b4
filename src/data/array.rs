//! Images out of an N-dimensional array: what IDX, npy and npz have in common once their headers are read.
//!
//! A header gives the element type, the shape, and which axis varies fastest. From the shape follows which axes are images, rows, columns and
//! channels (`--layout` where that is not clear), and from both a stride in the N·H·W·C result for each axis of the file.
//! The bytes are then read once, front to back, run by run of the fastest axis, and scattered: there is never a second copy.

use super::images::{Images, Pixels, Range};
use super::source::{Budget, LONGEST_SIDE, Source, zeros};
use super::{Layout, LoadOptions};
use crate::{Error, Result};
use std::path::Path;

/// What one element is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// One byte, 0 or 1.
    Bool,
    /// Integers of 1, 2, 4 or 8 bytes.
    Int {
        signed: bool,
        bytes: usize,
    },
    F32,
    F64,
}

impl Kind {
    pub(crate) fn bytes(self) -> usize {
        match self {
            Self::Bool => 1,
            Self::Int { bytes, .. } => bytes,
            Self::F32 => 4,
            Self::F64 => 8,
        }
    }
}

/// What a header says.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Header {
    pub(crate) kind: Kind,
    pub(crate) big_endian: bool,
    pub(crate) shape: Vec<u64>,
    /// The first axis varies fastest, not the last.
    pub(crate) fortran: bool,
}

impl Header {
    /// Elements and bytes, if the file is to be believed and a machine can address them.
    fn size(&self, path: &Path) -> Result<(usize, u64)> {
        let elements = self.shape.iter().try_fold(1u64, |product, &n| product.checked_mul(n));
        elements
            .filter(|&n| n <= (isize::MAX / 8) as u64)
            .map(|n| (n as usize, n * self.kind.bytes() as u64))
            .ok_or_else(|| {
                Error::data(path, format!("its shape {} is larger than any memory", show(&self.shape)))
            })
    }
}

/// A shape for people: 60000×28×28.
pub(crate) fn show(shape: &[u64]) -> String {
    let sizes: Vec<String> = shape.iter().map(u64::to_string).collect();
    sizes.join("×")
}

/// Could this be a number of channels, without being told?
fn like_channels(n: u64) -> bool {
    matches!(n, 1 | 3 | 4)
}

/// Which layout a shape has: by itself, or because the user says so.
fn layout(shape: &[u64], asked: Option<Layout>, path: &Path) -> Result<Layout> {
    let shown = show(shape);
    let first_like = shape.get(1).is_some_and(|&n| like_channels(n));
    let last_like = shape.get(3).is_some_and(|&n| like_channels(n));
    match (shape.len(), asked) {
        (3, None | Some(Layout::Nhw)) => Ok(Layout::Nhw),
        (3, Some(asked)) => Err(Error::data(
            path,
            format!(
                "its shape {shown} has no axis of channels, and --layout {} asks for one; nhw fits",
                asked
            ),
        )),
        (4, Some(Layout::Nhw)) => Err(Error::data(
            path,
            format!("its shape {shown} has four axes, and --layout nhw has three; nhwc or nchw can fit"),
        )),
        (4, Some(Layout::Nchw)) if last_like && !first_like => Err(Error::data(
            path,
            format!(
                "its shape {shown} has its {} channels last, and --layout nchw wants them second; nhwc fits",
                shape[3]
            ),
        )),
        (4, Some(Layout::Nhwc)) if first_like && !last_like => Err(Error::data(
            path,
            format!(
                "its shape {shown} has its {} channels second, and --layout nhwc wants them last; nchw fits",
                shape[1]
            ),
        )),
        (4, Some(asked)) => Ok(asked),
        (4, None) => match (first_like, last_like) {
            (false, true) => Ok(Layout::Nhwc),
            (true, false) => Ok(Layout::Nchw),
            (true, true) => Err(Error::data(
                path,
                format!(
                    "its shape {shown} could have its channels second or last; say --layout nchw or --layout nhwc"
                ),
            )),
            (false, false) => Err(Error::data(
                path,
                format!(
                    "neither the second nor the last number of its shape {shown} is a usual number of channels (1, 3, 4); \
                     say --layout nchw or --layout nhwc"
                ),
            )),
        },
        _ => Err(Error::data(
            path,
            format!("its shape {shown} is not that of images, which is N×H×W, N×H×W×C or N×C×H×W"),
        )),
    }
}

/// Images whose range is not settled yet, since training and test images share one.
pub(crate) struct Loaded {
    pub(crate) images: Images,
    /// The smallest and the largest value, of floats.
    pub(crate) extent: Option<(f32, f32)>,
}

/// Reads the array that follows `header` as images, to the end of the source.
pub(crate) fn read_images(
    mut source: Source<'_>,
    header: &Header,
    options: &LoadOptions,
    budget: &mut Budget,
) -> Result<Loaded> {
    let path = source.path;
    let accepted = "u8, bool, f32 or f64 can be read";
    match header.kind {
        Kind::Int { signed: false, bytes: 1 } | Kind::Bool | Kind::F32 | Kind::F64 => {}
        Kind::Int { signed, bytes } => {
            let name = format!("{}{}", if signed { "i" } else { "u" }, 8 * bytes);
            let message =
                format!("its pixels are {name} numbers; {accepted} (in NumPy: array.astype('uint8'))");
            return Err(Error::data(path, message));
        }
    }
    let layout = layout(&header.shape, options.layout, path)?;
    let (elements, bytes) = header.size(path)?;
    if elements == 0 {
        return Err(Error::data(path, format!("its shape {} holds no pixels", show(&header.shape))));
    }
    source.expect(bytes)?;
    let shape: Vec<usize> = header.shape.iter().map(|&n| n as usize).collect();
    let (height, width, channels) = match layout {
        Layout::Nhw => (shape[1], shape[2], 1),
        Layout::Nhwc => (shape[1], shape[2], shape[3]),
        Layout::Nchw => (shape[2], shape[3], shape[1]),
    };
    if height.max(width) > LONGEST_SIDE {
        let message =
            format!("its images are {height}×{width}; {LONGEST_SIDE} in each direction are the most");
        return Err(Error::data(path, message));
    }
    let (row, image) = (width * channels, height * width * channels);
    let strides = match layout {
        Layout::Nhw | Layout::Nhwc => [image, row, channels, 1],
        Layout::Nchw => [image, 1, row, channels],
    };
    let mut axes: Vec<(usize, usize)> = shape.iter().copied().zip(strides).collect();
    if header.fortran {
        axes.reverse();
    }
    let float = matches!(header.kind, Kind::F32 | Kind::F64);
    budget.take(elements as u64 * if float { 4 } else { 1 }, path)?;
    let (pixels, extent, range) = if float {
        let mut values = zeros(elements, path)?;
        let extent = read_floats(&mut source, header, &axes, image, &mut values)?;
        (Pixels::F32(values), Some(extent), Range::UNIT)
    } else {
        let mut values = zeros(elements, path)?;
        scatter(&mut source, 1, &axes, |at, stride, run| {
            values[at..].iter_mut().step_by(stride).zip(run).for_each(|(out, &v)| *out = v);
            Ok(())
        })?;
        let range = if header.kind == Kind::Bool { Range::UNIT } else { Range::BYTES };
        if let Some(at) = values.iter().position(|&v| header.kind == Kind::Bool && v > 1) {
            return Err(Error::data(
                path,
                format!("image {} has a bool that is neither 0 nor 1", at / image),
            ));
        }
        (Pixels::U8(values), None, range)
    };
    source.finish()?;
    Ok(Loaded { images: Images { pixels, count: shape[0], height, width, channels, range }, extent })
}

/// Reads floats, and finds their smallest and largest.
fn read_floats(
    source: &mut Source<'_>,
    header: &Header,
    axes: &[(usize, usize)],
    image: usize,
    values: &mut [f32],
) -> Result<(f32, f32)> {
    let path = source.path;
    let (mut low, mut high) = (f32::INFINITY, f32::NEG_INFINITY);
    let bytes = header.kind.bytes();
    let convert: fn(&[u8]) -> f32 = match (header.kind, header.big_endian) {
        (Kind::F32, false) => |b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]),
        (Kind::F32, true) => |b| f32::from_be_bytes([b[0], b[1], b[2], b[3]]),
        (_, false) => |b| f64::from_le_bytes(std::array::from_fn(|i| b[i])) as f32,
        (_, true) => |b| f64::from_be_bytes(std::array::from_fn(|i| b[i])) as f32,
    };
    scatter(source, bytes, axes, |at, stride, run| {
        for (i, element) in run.chunks_exact(bytes).enumerate() {
            let value = convert(element);
            if !value.is_finite() {
                let index = (at + i * stride) / image;
                return Err(Error::data(
                    path,
                    format!("image {index} has a value that is {value}, which is no number"),
                ));
            }
            low = low.min(value);
            high = high.max(value);
            values[at + i * stride] = value;
        }
        Ok(())
    })?;
    Ok((low, high))
}

/// Reads an array whose axes, slowest first, are (length, stride in the result), and hands it on in runs along the fastest axis:
/// `run(start, stride, bytes)`.
fn scatter(
    source: &mut Source<'_>,
    bytes_each: usize,
    axes: &[(usize, usize)],
    mut run: impl FnMut(usize, usize, &[u8]) -> Result<()>,
) -> Result<()> {
    // Axes that are contiguous in the result are one: a run can then be a whole file.
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
            source.read(bytes)?;
            run(start + done * fast_stride, fast_stride, bytes)?;
            done += take;
        }
        // Counts the slower axes up, like an odometer.
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

/// Reads an array of N or N×1 integers, each 0 to 4294967295.
pub(crate) fn read_labels(mut source: Source<'_>, header: &Header, budget: &mut Budget) -> Result<Vec<u32>> {
    let path = source.path;
    let shown = show(&header.shape);
    if !is_labels(header) {
        return Err(Error::data(
            path,
            format!("labels are N integers, and this array has the shape {shown} or other numbers"),
        ));
    }
    let (elements, bytes) = header.size(path)?;
    source.expect(bytes)?;
    budget.take(elements as u64 * 4, path)?;
    let mut labels = zeros(elements, path)?;
    let width = header.kind.bytes();
    let signed = matches!(header.kind, Kind::Int { signed: true, .. });
    scatter(&mut source, width, &[(elements, 1)], |at, _, run| {
        for (i, element) in run.chunks_exact(width).enumerate() {
            let mut word = [0; 8];
            for (k, &byte) in element.iter().enumerate() {
                word[if header.big_endian { width - 1 - k } else { k }] = byte;
            }
            let value = u64::from_le_bytes(word);
            let negative = signed && value >> (8 * width - 1) == 1;
            match u32::try_from(value) {
                Ok(value) if !negative => labels[at + i] = value,
                _ => {
                    let message = format!("label {} is negative or larger than 4294967295", at + i);
                    return Err(Error::data(path, message));
                }
            }
        }
        Ok(())
    })?;
    source.finish()?;
    Ok(labels)
}

/// Is this an array of N or N×1 integers?
pub(crate) fn is_labels(header: &Header) -> bool {
    let flat = matches!(header.shape[..], [_] | [_, 1]);
    flat && matches!(header.kind, Kind::Int { .. } | Kind::Bool)
}

/// Settles what the values stand for, over training and test images together: as asked for, else by the values.
pub(crate) fn settle_range(parts: &mut [&mut Loaded], options: &LoadOptions, path: &Path) -> Result<()> {
    let extents = parts.iter().map(|part| match (&part.images.pixels, part.extent) {
        (_, Some(extent)) => extent,
        (Pixels::U8(values), None) => {
            let found = values.iter().fold((u8::MAX, 0), |(low, high), &v| (low.min(v), high.max(v)));
            (f32::from(found.0), f32::from(found.1))
        }
        (Pixels::F32(_), None) => (part.images.range.low, part.images.range.high),
    });
    let (low, high) = extents.fold((f32::INFINITY, f32::NEG_INFINITY), |a, b| (a.0.min(b.0), a.1.max(b.1)));
    let floats = parts.iter().any(|part| part.extent.is_some());
    let range = match options.range {
        Some((asked_low, asked_high)) => {
            if !(asked_low < asked_high && (asked_high - asked_low).is_finite()) {
                return Err(Error::config(format!(
                    "--range {asked_low},{asked_high} must be two numbers, the smaller first"
                )));
            }
            if low < asked_low || high > asked_high {
                let message = format!(
                    "its values go from {low} to {high}, outside of --range {asked_low},{asked_high}"
                );
                return Err(Error::data(path, message));
            }
            Range { low: asked_low, high: asked_high }
        }
        None if !floats => return Ok(()),
        None if low >= 0.0 && high <= 1.0 => Range::UNIT,
        None if low >= -1.0 && high <= 1.0 => Range::SYMMETRIC,
        None if low >= 0.0 && high <= 255.0 => Range::BYTES,
        None => {
            return Err(Error::data(
                path,
                format!(
                    "its values go from {low} to {high}, in none of the usual ranges (0 to 1, -1 to 1, 0 to 255); \
                     say which values are black and white with --range {low},{high}"
                ),
            ));
        }
    };
    parts.iter_mut().for_each(|part| part.images.range = range);
    Ok(())
}

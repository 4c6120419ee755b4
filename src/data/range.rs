//! Determines which values stand for black and white.
//!
//! Bytes go from 0 to 255, booleans from 0 to 1. The range of other numbers is determined from their smallest
//! and largest value, over all parts of the data set together: for floats the first of [0, 1], [−1, 1] and
//! [0, 255] that contains all; for non-negative integers the smallest of 8, 10, 12, 14 and 16 bits. A given
//! range, or the range that a model was trained with, has priority.

use super::images::Range;
use super::options::LoadOptions;
use super::pixels::{NOTHING, Pixels, wider};
use crate::{Error, Result};
use rayon::prelude::*;
use std::path::Path;

/// The type of the values in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Numbers {
    /// Booleans.
    Bits,
    /// Unsigned 8-bit integers.
    Bytes,
    /// Other integers.
    Integers,
    Floats,
}

/// Values may exceed a range by this fraction of it, because of rounding.
const TOLERANCE: f32 = 1e-5;

/// The smallest and the largest value of some images; the empty interval if there are none.
pub(crate) fn extent<'p>(parts: impl IntoIterator<Item = &'p Pixels>) -> (f32, f32) {
    parts.into_iter().map(Pixels::extent).fold(NOTHING, wider)
}

/// Whether a range contains an interval, up to rounding.
fn holds(range: Range, (low, high): (f32, f32)) -> bool {
    let slack = TOLERANCE * (range.high - range.low);
    low >= range.low - slack && high <= range.high + slack
}

/// Determines the range of values from `low` to `high`; adds notes for the user to `notes`.
///
/// # Errors
/// If a given range does not contain the values, or none can be determined.
pub(crate) fn settle(
    numbers: Numbers,
    (low, high): (f32, f32),
    options: &LoadOptions,
    path: &Path,
    notes: &mut Vec<String>,
) -> Result<Range> {
    if let Some((asked_low, asked_high)) = options.range {
        let range = Range { low: asked_low, high: asked_high };
        if !(asked_low < asked_high && (asked_high - asked_low).is_finite()) {
            return Err(Error::config(format!(
                "--range {asked_low},{asked_high} must be two numbers, the smaller first"
            )));
        }
        if !holds(range, (low, high)) {
            let message =
                format!("its values go from {low} to {high}, outside of --range {asked_low},{asked_high}");
            return Err(Error::data(path, message));
        }
        return Ok(range);
    }
    let trained = options.trained_range.filter(|range| match numbers {
        Numbers::Bits => false,
        // Bytes of another data set have the range of bytes, unless the model's range is smaller: masks of 0
        // and 1.
        Numbers::Bytes => range.low == 0.0 && range.high < 255.0,
        Numbers::Integers | Numbers::Floats => true,
    });
    if let Some(range) = trained {
        if holds(range, (low, high)) {
            return Ok(range);
        }
        if numbers != Numbers::Bytes {
            notes.push(format!(
                "its values go from {low} to {high}, and the model was trained with a range from {} to {}; the range \
                 is determined again",
                range.low, range.high
            ));
        }
    }
    match numbers {
        Numbers::Bits => Ok(Range::UNIT),
        Numbers::Bytes => Ok(Range::BYTES),
        Numbers::Integers if low >= 0.0 => {
            let most = [255.0, 1023.0, 4095.0, 16383.0, 65535.0].into_iter().find(|&most| high <= most);
            let range = Range { low: 0.0, high: most.unwrap_or(high) };
            if range != Range::BYTES {
                notes.push(found(low, high, range));
            }
            Ok(range)
        }
        Numbers::Integers if low >= -128.0 && high <= 127.0 => {
            let range = Range { low: -128.0, high: 127.0 };
            notes.push(found(low, high, range));
            Ok(range)
        }
        Numbers::Integers if low < high => {
            let range = Range { low, high };
            notes.push(found(low, high, range));
            Ok(range)
        }
        _ => {
            let usual = [Range::UNIT, Range::SYMMETRIC, Range::BYTES];
            usual.into_iter().find(|&range| holds(range, (low, high))).ok_or_else(|| {
                Error::data(
                    path,
                    format!(
                        "its values go from {low} to {high}, in none of the usual ranges (0 to 1, -1 to 1, 0 to 255); \
                         say which values are black and white with --range {low},{high}"
                    ),
                )
            })
        }
    }
}

fn found(low: f32, high: f32, range: Range) -> String {
    format!(
        "its values go from {low} to {high}: {} is taken as black and {} as white; --range LO,HI changes that",
        range.low, range.high
    )
}

/// Clamps values that rounding moved out of the range.
pub(crate) fn clamp(pixels: &mut Pixels, range: Range) {
    if let Pixels::F32(values) = pixels {
        values.par_chunks_mut(1 << 16).for_each(|values| {
            values.iter_mut().for_each(|v| *v = v.clamp(range.low, range.high));
        });
    }
}

//! Parameters for the page: half precision (IEEE 754 binary16), or fewer bits with a table.
//!
//! With b < 16 bits a parameter has a table of 2ᵇ half-precision numbers, and each of its numbers is an index
//! into it. The table is made for the parameter. For a small squared error, the levels have the density of
//! the numbers to the power of 1/3 (Panter & Dite 1951). Then some rounds of Lloyd's method (1982) move each
//! level to the mean of the numbers nearest to it.
//!
//! `engine.js` reads the result: see its `unpackParameters`.

use crate::error::{Error, Result};

/// Bits of a number in half precision.
pub const HALF: u32 = 16;

/// The largest finite number of half precision.
const LARGEST: f32 = 65504.0;

/// Rounds of Lloyd's method.
const ROUNDS: usize = 6;

/// A table needs at least this many numbers for each of its entries to be worth it.
const NUMBERS_PER_LEVEL: usize = 16;

/// Half precision, rounded to nearest, ties to even. Numbers outside its range become infinite.
pub(super) fn half(value: f32) -> u16 {
    let bits = value.to_bits();
    let (sign, magnitude) = ((bits >> 16) as u16 & 0x8000, bits & 0x7fff_ffff);
    // 2⁻¹⁴, the smallest normal number; below it the unit is 2⁻²⁴.
    if magnitude < 0x3880_0000 {
        let units = (f64::from(value.abs()) * f64::from(1 << 24)).round_ties_even();
        return sign | units as u16;
    }
    // The exponent's bias is 15 instead of 127, and 13 bits of the fraction are rounded away.
    let rebiased = magnitude - (112 << 23);
    let rounded = (rebiased + 0xfff + (rebiased >> 13 & 1)) >> 13;
    sign | rounded.min(0x7c00) as u16
}

/// The number of a finite half.
fn value(half: u16) -> f32 {
    let (exponent, fraction) = (i32::from(half >> 10 & 31), f32::from(half & 1023));
    let magnitude = if exponent == 0 {
        fraction * 2f32.powi(-24)
    } else {
        (1024.0 + fraction) * 2f32.powi(exponent - 25)
    };
    if half & 0x8000 == 0 { magnitude } else { -magnitude }
}

/// The bits of each number of a parameter with `len` numbers, if `wanted` are requested: a table must be
/// worth its size.
pub(super) fn bits_of(len: usize, wanted: u32) -> u32 {
    if wanted < HALF && len >= NUMBERS_PER_LEVEL << wanted { wanted } else { HALF }
}

/// The bytes of a parameter of `len` numbers.
pub(super) fn bytes_of(len: usize, bits: u32) -> usize {
    if bits == HALF { 2 * len } else { (2 << bits) + (len * bits as usize).div_ceil(8) }
}

/// Appends a parameter.
///
/// # Errors
/// If a number is not finite, or too large for half precision.
pub(super) fn pack(name: &str, numbers: &[f32], bits: u32, bytes: &mut Vec<u8>) -> Result<()> {
    if let Some(number) = numbers.iter().find(|number| !(number.abs() <= LARGEST)) {
        return Err(Error::config(format!(
            "the parameter {name} has the value {number}; the page's half precision takes numbers from −65,504 to 65,504"
        )));
    }
    if bits == HALF {
        bytes.extend(numbers.iter().flat_map(|&number| half(number).to_le_bytes()));
        return Ok(());
    }
    let table: Vec<u16> = levels(numbers, 1 << bits).into_iter().map(half).collect();
    bytes.extend(table.iter().flat_map(|half| half.to_le_bytes()));
    let bounds = bounds(&table.into_iter().map(value).collect::<Vec<f32>>());
    // The highest bit first.
    let (mut held, mut count) = (0_u32, 0);
    for &number in numbers {
        held = held << bits | place(&bounds, number) as u32;
        count += bits;
        while count >= 8 {
            count -= 8;
            bytes.push((held >> count) as u8);
        }
        held &= (1 << count) - 1;
    }
    if count > 0 {
        bytes.push((held << (8 - count)) as u8);
    }
    Ok(())
}

/// The letters of [`to_text`]: printable ASCII without the three that have a meaning in pages and scripts.
fn letters() -> Vec<char> {
    (b'!'..=b'~').map(char::from).filter(|letter| !"<&\\".contains(*letter)).collect()
}

/// Bits of two letters: 91² is a little more than 2¹³.
const PAIR_BITS: usize = 13;

/// The letters of so many bytes as text.
pub(super) fn text_len(bytes: usize) -> usize {
    2 * (8 * bytes).div_ceil(PAIR_BITS)
}

/// Bytes as text that a `script` can hold: 13 bits are two of 91 letters, so it is 23 % longer than the
/// bytes, whereas base64 is 33 % longer. The highest bit comes first, and the last pair is padded with zeros.
pub(super) fn to_text(bytes: &[u8]) -> String {
    let letters = letters();
    let mut text = String::with_capacity(text_len(bytes.len()));
    let mut push = |pair: usize| text.extend([letters[pair / letters.len()], letters[pair % letters.len()]]);
    let (mut held, mut count) = (0_usize, 0);
    for &byte in bytes {
        (held, count) = (held << 8 | usize::from(byte), count + 8);
        if count >= PAIR_BITS {
            count -= PAIR_BITS;
            push(held >> count);
            held &= (1 << count) - 1;
        }
    }
    if count > 0 {
        push(held << (PAIR_BITS - count));
    }
    text
}

/// The midpoints between neighbouring levels.
fn bounds(levels: &[f32]) -> Vec<f32> {
    levels.windows(2).map(|pair| 0.5 * (pair[0] + pair[1])).collect()
}

/// The index of the level nearest to a number.
fn place(bounds: &[f32], number: f32) -> usize {
    bounds.partition_point(|&bound| bound < number)
}

/// `count` levels for these numbers, ascending.
fn levels(numbers: &[f32], count: usize) -> Vec<f32> {
    let mut sorted = numbers.to_vec();
    sorted.sort_by(f32::total_cmp);
    let (low, high) = (f64::from(sorted[0]), f64::from(sorted[sorted.len() - 1]));
    // A histogram, and its cumulative sum of densities^(1/3).
    let mut histogram = vec![0.0_f64; 4 * count];
    let scale = histogram.len() as f64 / (high - low).max(f64::MIN_POSITIVE);
    for &number in &sorted {
        let bin = ((f64::from(number) - low) * scale) as usize;
        histogram[bin.min(4 * count - 1)] += 1.0;
    }
    let weights: Vec<f64> = histogram.iter().map(|n| libm::cbrt(n + 0.02)).collect();
    let total: f64 = weights.iter().sum();
    let (mut levels, mut bin, mut below) = (Vec::with_capacity(count), 0, 0.0);
    for level in 0..count {
        let wanted = (level as f64 + 0.5) / count as f64 * total;
        while bin + 1 < weights.len() && below + weights[bin] < wanted {
            below += weights[bin];
            bin += 1;
        }
        let share = ((wanted - below) / weights[bin]).clamp(0.0, 1.0);
        levels.push((low + (bin as f64 + share) / scale) as f32);
    }
    for _ in 0..ROUNDS {
        let mut start = 0;
        let ends = bounds(&levels);
        for (level, moved) in levels.iter_mut().enumerate() {
            let end = ends.get(level).map_or(sorted.len(), |&end| {
                start + sorted[start..].partition_point(|&number| number <= end)
            });
            if end > start {
                let sum: f64 = sorted[start..end].iter().map(|&number| f64::from(number)).sum();
                *moved = (sum / (end - start) as f64) as f32;
            }
            start = end;
        }
    }
    levels
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gradient_check::random_vec;

    #[test]
    fn halves_are_those_of_ieee_754() {
        let cases = [
            (0.0, 0x0000),
            (-0.0, 0x8000),
            (1.0, 0x3c00),
            (-2.0, 0xc000),
            (65504.0, 0x7bff),
            (65520.0, 0x7c00),        // rounds up to infinity
            (6.103_515_6e-5, 0x0400), // 2⁻¹⁴
            (5.960_464_5e-8, 0x0001), // 2⁻²⁴
            (2.980_232_2e-8, 0x0000), // half of that: to the even one
            (0.333_251_95, 0x3555),
            (1.000_488_3, 0x3c00), // 1 + 2⁻¹¹, in the middle: to the even one
            (1.001_464_8, 0x3c02), // 1 + 3·2⁻¹¹
        ];
        for (number, bits) in cases {
            assert_eq!(half(number), bits, "{number}");
        }
        for bits in (0..0x7c00).chain(0x8000..0xfc00) {
            assert_eq!(half(value(bits)), bits);
        }
    }

    /// The inverse, like `unpackParameters` of engine.js.
    fn unpack(bytes: &[u8], len: usize, bits: u32) -> Vec<f32> {
        let table: Vec<f32> =
            bytes[..2 << bits].chunks(2).map(|b| value(u16::from_le_bytes([b[0], b[1]]))).collect();
        let packed = &bytes[2 << bits..];
        let bit = |at: usize| usize::from(packed[at / 8] >> (7 - at % 8) & 1);
        let place = |i: usize| (0..bits as usize).fold(0, |n, b| 2 * n + bit(i * bits as usize + b));
        (0..len).map(|i| table[place(i)]).collect()
    }

    #[test]
    fn fewer_bits_lose_little_and_take_the_bytes_they_should() {
        let numbers: Vec<f32> = random_vec(7, 20_001).iter().map(|v| (v * v * v) as f32).collect();
        let mut last = f64::INFINITY;
        for bits in [6, 8, 9, 10] {
            let mut bytes = Vec::new();
            pack("w", &numbers, bits, &mut bytes).unwrap();
            assert_eq!(bytes.len(), bytes_of(numbers.len(), bits));
            let again = unpack(&bytes, numbers.len(), bits);
            let error: f64 = numbers.iter().zip(&again).map(|(a, b)| f64::from(a - b).powi(2)).sum();
            let size: f64 = numbers.iter().map(|a| f64::from(*a).powi(2)).sum();
            let relative = (error / size).sqrt();
            // Panter and Dite's bound for a Gaussian is 1.65·2⁻ᵇ; these numbers have a shorter range.
            assert!(relative < 1.65 * 0.5_f64.powi(bits as i32), "{bits} bits: {relative}");
            assert!(relative < 0.7 * last, "{bits} bits: {relative}, and {last} with fewer");
            last = relative;
        }
    }

    #[test]
    fn text_gives_the_bytes_back() {
        assert_eq!(letters().len(), 91);
        for len in [0, 1, 2, 12, 13, 14, 1000] {
            let bytes: Vec<u8> = (0..len).map(|i| (i * 37 % 256) as u8).collect();
            let text = to_text(&bytes);
            assert_eq!(text.len(), text_len(len));
            assert!(!text.contains(['<', '&', '\\', ' ']));
            let letters = letters();
            let value = |letter: char| letters.iter().position(|other| *other == letter).unwrap();
            let pairs: Vec<char> = text.chars().collect();
            let bits: Vec<u8> = pairs
                .chunks(2)
                .map(|pair| value(pair[0]) * 91 + value(pair[1]))
                .flat_map(|pair| (0..PAIR_BITS).map(move |bit| (pair >> (PAIR_BITS - 1 - bit) & 1) as u8))
                .collect();
            let again = bits.chunks_exact(8).map(|byte| byte.iter().fold(0, |n, bit| n << 1 | bit));
            assert_eq!(again.take(len).collect::<Vec<u8>>(), bytes);
        }
    }

    #[test]
    fn odd_parameters_are_packed_too() {
        for numbers in [vec![1.5; 5000], vec![0.0; 5000], (0..5000).map(|i| i as f32).collect()] {
            let mut bytes = Vec::new();
            pack("w", &numbers, 8, &mut bytes).unwrap();
            let again = unpack(&bytes, numbers.len(), 8);
            // Half of the distance between 256 levels, and half of that between half-precision numbers above
            // 4,096.
            assert!(
                numbers.iter().zip(&again).all(|(a, b)| (a - b).abs() <= 10.0 + 2.0 + 1.0),
                "{:?}",
                &again[..9]
            );
        }
        assert_eq!((bits_of(100, 8), bits_of(5000, 8), bits_of(5000, 16)), (16, 8, 16));
        for bad in [f32::NAN, f32::INFINITY, -70000.0] {
            let message = pack("decoder.x", &[bad], 16, &mut Vec::new()).unwrap_err().to_string();
            assert!(message.contains("decoder.x"), "{message}");
        }
    }
}

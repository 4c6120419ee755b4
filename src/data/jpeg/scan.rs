//! Decodes the entropy-coded data of a JPEG file: Huffman codes into coefficients (T.81, annexes F and G).
//!
//! The blocks of a baseline picture are transformed as they are decoded. A progressive picture has its
//! coefficients in several scans: the upper bits of a band of frequencies first, then one more bit at a time.

use super::header::{Frame, Huffman, Tables, ZIGZAG, next_marker};
use super::pixels::transform;

/// The data of a scan, bit by bit. `ff 00` stands for `ff`; any other `ff` is a marker and ends the data.
struct Bits<'d> {
    data: &'d [u8],
    /// The index of the next byte, never past a marker.
    position: usize,
    buffer: u64,
    /// The number of bits in the buffer, and how many of these are zeros from past the end.
    count: u32,
    padding: u32,
}

impl<'d> Bits<'d> {
    fn new(data: &'d [u8], position: usize) -> Self {
        Self { data, position, buffer: 0, count: 0, padding: 0 }
    }

    /// Ensures that the buffer has 32 bits.
    #[inline]
    fn fill(&mut self) {
        while self.count <= 56 {
            let byte = match self.data.get(self.position..) {
                Some([0xff, 0, ..]) => {
                    self.position += 2;
                    0xff
                }
                Some([byte, ..]) if *byte != 0xff => {
                    self.position += 1;
                    *byte
                }
                _ => {
                    self.padding += 8;
                    0
                }
            };
            self.buffer = self.buffer << 8 | u64::from(byte);
            self.count += 8;
        }
    }

    /// The next bits, 16 at most.
    #[inline]
    fn peek(&mut self, bits: u32) -> u32 {
        if self.count < 32 {
            self.fill();
        }
        (self.buffer >> (self.count - bits)) as u32 & ((1 << bits) - 1)
    }

    #[inline]
    fn take(&mut self, bits: u32) -> u32 {
        if bits == 0 {
            return 0;
        }
        let value = self.peek(bits);
        self.count -= bits;
        value
    }

    /// A number of so many bits: values in the lower half of the range stand for negative numbers (T.81,
    /// F.2.2.1).
    #[inline]
    fn number(&mut self, bits: u32) -> i32 {
        if bits == 0 {
            return 0;
        }
        let value = self.take(bits) as i32;
        if value < 1 << (bits - 1) { value - (1 << bits) + 1 } else { value }
    }

    #[inline]
    fn symbol(&mut self, code: &Huffman) -> Result<u8, String> {
        let bits = self.peek(16);
        let (length, symbol) = code.fast[(bits >> 7) as usize];
        if length > 0 {
            self.count -= u32::from(length);
            return Ok(symbol);
        }
        let length = (10..=16).find(|&length| bits < code.limits[length]);
        let place = length.map(|length| ((bits >> (16 - length)) as i32 + code.offsets[length], length));
        match place.and_then(|(place, length)| Some((*code.symbols.get(place as usize)?, length))) {
            Some((symbol, length)) => {
                self.count -= length as u32;
                Ok(symbol)
            }
            None => Err("is damaged (a Huffman code is not in its table)".into()),
        }
    }

    /// Whether more bits were read than exist.
    #[inline]
    fn overrun(&self) -> bool {
        self.count < self.padding
    }

    /// Skips past the next restart marker, which is the `number`th.
    fn restart(&mut self, number: usize) -> Result<(), String> {
        let missing = || "is damaged (a restart marker is missing)".to_string();
        let mut position = self.position;
        match next_marker(self.data, &mut position) {
            Some(marker) if marker == 0xd0 + (number % 8) as u8 => {
                *self = Self::new(self.data, position);
                Ok(())
            }
            _ => Err(missing()),
        }
    }
}

/// The header of a scan: T.81, B.2.3.
struct Scan<'t> {
    /// For each component: its index in the frame, its tables, and its last DC coefficient.
    parts: Vec<(usize, Option<&'t Huffman>, Option<&'t Huffman>, i32)>,
    /// The band of frequencies, in zigzag order.
    first: usize,
    last: usize,
    /// The bit position of the band's previous scan (T.81's Ah); 0 in its first scan.
    before: u32,
    low: u32,
}

impl<'t> Scan<'t> {
    fn new(frame: &Frame, tables: &'t Tables, segment: &[u8]) -> Result<Self, String> {
        let damaged = || "is damaged (the header of a scan is impossible)".to_string();
        let (&count, rest) = segment.split_first().ok_or_else(damaged)?;
        let (parts, rest) = rest.split_at_checked(2 * usize::from(count)).ok_or_else(damaged)?;
        let &[first, last, bits, ..] = rest else { return Err(damaged()) };
        let mut scan = Self {
            parts: Vec::new(),
            first: usize::from(first),
            last: usize::from(last),
            before: u32::from(bits >> 4),
            low: u32::from(bits & 15),
        };
        for &[id, table] in parts.as_chunks::<2>().0 {
            let index = frame.index_of(id).ok_or_else(damaged)?;
            let get = |tables: &'t [Option<Huffman>; 4], slot: u8| tables.get(usize::from(slot))?.as_ref();
            scan.parts.push((index, get(&tables.dc, table >> 4), get(&tables.ac, table & 15), 0));
        }
        let distinct = scan.parts.iter().enumerate().all(|(i, a)| scan.parts[..i].iter().all(|b| a.0 != b.0));
        let blocks: usize =
            scan.parts.iter().map(|part| frame.components[part.0].h * frame.components[part.0].v).sum();
        let fits = if frame.progressive {
            let band = scan.first <= scan.last && scan.last < 64;
            let kind = if scan.first == 0 { scan.last == 0 } else { scan.parts.len() == 1 };
            band && kind && scan.before <= 13 && scan.low <= 13
        } else {
            (scan.first, scan.last) = (0, 63);
            true
        };
        if scan.parts.is_empty() || !distinct || !fits || (scan.parts.len() > 1 && blocks > 10) {
            return Err(damaged());
        }
        Ok(scan)
    }
}

/// Reads a scan; returns how many bytes of `data` it used.
pub(super) fn read(frame: &mut Frame, tables: &Tables, segment: &[u8], data: &[u8]) -> Result<usize, String> {
    let mut scan = Scan::new(frame, tables, segment)?;
    for &(index, ..) in &scan.parts {
        let component = &mut frame.components[index];
        if !component.seen {
            component.quantization =
                tables.quantization[component.table].ok_or("is damaged (a quantization table is missing)")?;
            component.seen = true;
        }
    }
    let mut bits = Bits::new(data, 0);
    let mut run = 0;
    // A component in a scan of its own has no blocks beyond its own edge.
    let alone = match scan.parts[..] {
        [(index, ..)] => Some(index),
        _ => None,
    };
    let (columns, rows) = match alone {
        Some(index) => {
            let component = &frame.components[index];
            (component.width.div_ceil(8), component.height.div_ceil(8))
        }
        None => (frame.width.div_ceil(8 * frame.h), frame.height.div_ceil(8 * frame.v)),
    };
    for mcu in 0..columns * rows {
        if tables.restart > 0 && mcu > 0 && mcu % tables.restart == 0 {
            bits.restart(mcu / tables.restart - 1)?;
            scan.parts.iter_mut().for_each(|part| part.3 = 0);
            run = 0;
        }
        let (row, column) = (mcu / columns, mcu % columns);
        for part in 0..scan.parts.len() {
            let index = scan.parts[part].0;
            let (h, v) =
                if alone.is_some() { (1, 1) } else { (frame.components[index].h, frame.components[index].v) };
            for (y, x) in (0..v).flat_map(|y| (0..h).map(move |x| (row * v + y, column * h + x))) {
                block(frame, &mut scan, part, (y, x), &mut bits, &mut run)?;
            }
        }
        if bits.overrun() {
            return Err("is damaged (it ends in the middle of its picture)".into());
        }
    }
    Ok(bits.position)
}

/// Reads one block, at (row, column) of its component.
#[inline]
fn block(
    frame: &mut Frame,
    scan: &mut Scan<'_>,
    part: usize,
    (y, x): (usize, usize),
    bits: &mut Bits<'_>,
    run: &mut u32,
) -> Result<(), String> {
    let (index, dc, ac, last_dc) = &mut scan.parts[part];
    let component = &mut frame.components[*index];
    let missing = || "is damaged (a Huffman table is missing)".to_string();
    if !frame.progressive {
        let mut coefficients = [0; 64];
        *last_dc = last_dc.wrapping_add(difference(bits, dc.ok_or_else(missing)?)?);
        coefficients[0] = *last_dc as i16;
        band(bits, ac.ok_or_else(missing)?, 1, 63, 0, &mut 0, &mut coefficients)?;
        let stride = 8 * component.columns;
        let samples = &mut component.samples[y * 8 * stride + 8 * x..];
        transform(&coefficients, &component.quantization.0, samples, stride);
        return Ok(());
    }
    let at = (y * component.columns + x) * 64;
    let Some(coefficients) = component.coefficients[at..].first_chunk_mut::<64>() else { return Ok(()) };
    match (scan.first, scan.before) {
        (0, 0) => {
            *last_dc = last_dc.wrapping_add(difference(bits, dc.ok_or_else(missing)?)?);
            coefficients[0] = (*last_dc << scan.low) as i16;
        }
        (0, _) => coefficients[0] |= (bits.take(1) << scan.low) as i16,
        (first, 0) => band(bits, ac.ok_or_else(missing)?, first, scan.last, scan.low, run, coefficients)?,
        (first, _) => refine(bits, ac.ok_or_else(missing)?, first, scan.last, scan.low, run, coefficients)?,
    }
    Ok(())
}

/// The difference between a DC coefficient and the previous one.
#[inline]
fn difference(bits: &mut Bits<'_>, code: &Huffman) -> Result<i32, String> {
    let length = u32::from(bits.symbol(code)?);
    if length > 15 {
        return Err("is damaged (a coefficient is too large)".into());
    }
    Ok(bits.number(length))
}

/// The first bits of a band of AC coefficients; `run` counts the blocks without further coefficients in this
/// band.
#[inline]
fn band(
    bits: &mut Bits<'_>,
    code: &Huffman,
    first: usize,
    last: usize,
    low: u32,
    run: &mut u32,
    coefficients: &mut [i16; 64],
) -> Result<(), String> {
    if *run > 0 {
        *run -= 1;
        return Ok(());
    }
    let mut k = first;
    while k <= last {
        let symbol = bits.symbol(code)?;
        let (zeros, length) = (usize::from(symbol >> 4), u32::from(symbol & 15));
        match (zeros, length) {
            (15, 0) => k += 16,
            (zeros, 0) => {
                *run = (1 << zeros) - 1 + bits.take(zeros as u32);
                break;
            }
            (zeros, length) => {
                k += zeros;
                if k > last {
                    return Err("is damaged (a coefficient lies outside of its block)".into());
                }
                coefficients[ZIGZAG[k]] = (bits.number(length) << low) as i16;
                k += 1;
            }
        }
    }
    Ok(())
}

/// One more bit of a band of AC coefficients (T.81, G.1.2.3).
fn refine(
    bits: &mut Bits<'_>,
    code: &Huffman,
    first: usize,
    last: usize,
    low: u32,
    run: &mut u32,
    coefficients: &mut [i16; 64],
) -> Result<(), String> {
    let (plus, minus) = (1i16 << low, -1i16 << low);
    let more = |bits: &mut Bits<'_>, value: &mut i16| {
        if bits.take(1) == 1 && *value & plus == 0 {
            *value = value.wrapping_add(if *value >= 0 { plus } else { minus });
        }
    };
    let mut k = first;
    if *run == 0 {
        while k <= last {
            let symbol = bits.symbol(code)?;
            let (mut zeros, length) = (symbol >> 4, symbol & 15);
            let mut value = 0;
            if length > 0 {
                value = if bits.take(1) == 1 { plus } else { minus };
            } else if zeros < 15 {
                *run = (1 << zeros) + bits.take(u32::from(zeros));
                break;
            }
            // Passes the nonzero coefficients, refining each, and as many zeros as the symbol says.
            while k <= last {
                let coefficient = &mut coefficients[ZIGZAG[k]];
                if *coefficient != 0 {
                    more(bits, coefficient);
                } else if zeros == 0 {
                    break;
                } else {
                    zeros -= 1;
                }
                k += 1;
            }
            if value != 0 && k <= last {
                coefficients[ZIGZAG[k]] = value;
            }
            k += 1;
        }
    }
    if *run > 0 {
        for &at in &ZIGZAG[k.min(last + 1)..=last] {
            if coefficients[at] != 0 {
                more(bits, &mut coefficients[at]);
            }
        }
        *run -= 1;
    }
    Ok(())
}

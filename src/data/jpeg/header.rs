//! The header of a JPEG file: the frame, and the tables.

use super::super::format::resize;

/// The quantization steps of the 64 coefficients, row by row.
#[derive(Clone, Copy)]
pub(super) struct Quantization(pub(super) [u16; 64]);

impl Default for Quantization {
    fn default() -> Self {
        Self([0; 64])
    }
}

/// Blocks of a component, or samples once they are transformed.
#[derive(Default)]
pub(super) struct Component {
    id: u8,
    /// Blocks of an MCU, horizontally and vertically.
    pub(super) h: usize,
    pub(super) v: usize,
    /// The index of the quantization table.
    pub(super) table: usize,
    /// Columns and rows of samples that belong to the picture.
    pub(super) width: usize,
    pub(super) height: usize,
    /// Columns and rows of blocks, up to the edge of the last MCU.
    pub(super) columns: usize,
    pub(super) rows: usize,
    /// Coefficients of all blocks, 64 each in row-major order, if the picture is progressive.
    pub(super) coefficients: Vec<i16>,
    /// Samples: 8 · rows of 8 · columns.
    pub(super) samples: Vec<u8>,
    /// The quantization table, as of the component's first scan.
    pub(super) quantization: Quantization,
    /// Whether a scan has contained it.
    pub(super) seen: bool,
}

/// The frame: size and components.
pub(super) struct Frame {
    pub(super) height: usize,
    pub(super) width: usize,
    pub(super) progressive: bool,
    pub(super) components: Vec<Component>,
    /// The largest h and v.
    pub(super) h: usize,
    pub(super) v: usize,
}

impl Frame {
    /// The component with an identifier.
    pub(super) fn index_of(&self, id: u8) -> Option<usize> {
        self.components.iter().position(|component| component.id == id)
    }

    /// Whether the components are called R, G and B.
    pub(super) fn is_called_rgb(&self) -> bool {
        self.components.iter().map(|component| component.id).eq(*b"RGB")
    }

    /// Allocates the buffers of all components.
    pub(super) fn allocate(&mut self) -> Result<(), String> {
        let (mcu_columns, mcu_rows) = (self.width.div_ceil(8 * self.h), self.height.div_ceil(8 * self.v));
        for c in &mut self.components {
            (c.columns, c.rows) = (mcu_columns * c.h, mcu_rows * c.v);
            (c.width, c.height) = ((self.width * c.h).div_ceil(self.h), (self.height * c.v).div_ceil(self.v));
            resize(&mut c.samples, c.columns * c.rows * 64)?;
            if self.progressive {
                resize(&mut c.coefficients, c.columns * c.rows * 64)?;
            }
        }
        Ok(())
    }
}

/// Reads a frame's header.
pub(super) fn frame(marker: u8, segment: &[u8]) -> Result<Frame, String> {
    match marker {
        0xc0..=0xc2 => {}
        0xc3 | 0xc7 | 0xcb | 0xcf => {
            return Err("is a lossless JPEG, which cannot be read; save it as PNG".into());
        }
        0xc9 | 0xca => {
            return Err("is a JPEG with arithmetic coding, which cannot be read; save it as PNG".into());
        }
        _ => return Err("is a hierarchical JPEG, which cannot be read; save it as PNG".into()),
    }
    let damaged = |what: &str| format!("is damaged ({what})");
    let &[bits, h1, h0, w1, w0, count, ref rest @ ..] = segment else {
        return Err(damaged("its frame is too short"));
    };
    if bits != 8 {
        return Err(format!("is a JPEG of {bits} bits, and 8 can be read; save it as PNG"));
    }
    let (height, width) =
        (usize::from(u16::from_be_bytes([h1, h0])), usize::from(u16::from_be_bytes([w1, w0])));
    if height == 0 || width == 0 {
        return Err("has no pixels".into());
    }
    let (parts, _) = rest.as_chunks::<3>();
    if !matches!(count, 1 | 3 | 4) || parts.len() != usize::from(count) {
        return Err(format!("is a JPEG of {count} components; 1, 3 and 4 can be read"));
    }
    let mut components = Vec::new();
    for &[id, factors, table] in parts {
        let (h, v) = (usize::from(factors >> 4), usize::from(factors & 15));
        if !(1..=4).contains(&h) || !(1..=4).contains(&v) || table > 3 {
            return Err(damaged("a component has impossible factors"));
        }
        components.push(Component { id, h, v, table: usize::from(table), ..Component::default() });
    }
    // A single component is never interleaved, so its factors do not matter.
    if let [only] = &mut components[..] {
        (only.h, only.v) = (1, 1);
    }
    let h = components.iter().map(|c| c.h).max().unwrap_or(1);
    let v = components.iter().map(|c| c.v).max().unwrap_or(1);
    if components.iter().any(|c| h % c.h != 0 || v % c.v != 0) {
        return Err(
            "is a JPEG whose components have sizes that are not whole fractions of each other; save it as PNG"
                .into(),
        );
    }
    Ok(Frame { height, width, progressive: marker == 0xc2, components, h, v })
}

/// A Huffman code: a table of the next 9 bits, and limits by length for longer codes.
#[derive(Clone)]
pub(super) struct Huffman {
    /// Length of the code (0: longer than 9 bits) and its symbol.
    pub(super) fast: [(u8, u8); 512],
    /// For each length: the first code that is too large, left-aligned in 16 bits.
    pub(super) limits: [u32; 18],
    /// For each length: the offset from a code to its symbol's index.
    pub(super) offsets: [i32; 17],
    pub(super) symbols: Vec<u8>,
}

impl Huffman {
    /// The code with these numbers of symbols of each length (T.81, C.2 and F.2.2.3).
    fn new(counts: &[u8; 16], symbols: &[u8]) -> Result<Self, String> {
        let mut huffman =
            Self { fast: [(0, 0); 512], limits: [0; 18], offsets: [0; 17], symbols: symbols.to_vec() };
        let (mut code, mut place) = (0u32, 0usize);
        for length in 1..=16usize {
            let count = usize::from(counts[length - 1]);
            huffman.offsets[length] = place as i32 - code as i32;
            if code as usize + count > 1 << length {
                return Err("is damaged (a Huffman table has too many codes)".into());
            }
            for _ in 0..count {
                if length <= 9 {
                    let first = (code as usize) << (9 - length);
                    huffman.fast[first..first + (1 << (9 - length))].fill((length as u8, symbols[place]));
                }
                code += 1;
                place += 1;
            }
            huffman.limits[length] = code << (16 - length);
            code <<= 1;
        }
        huffman.limits[17] = u32::MAX;
        Ok(huffman)
    }
}

/// The tables, and other settings that apply to the data after them.
#[derive(Default)]
pub(super) struct Tables {
    pub(super) quantization: [Option<Quantization>; 4],
    pub(super) dc: [Option<Huffman>; 4],
    pub(super) ac: [Option<Huffman>; 4],
    /// MCUs between restarts; 0 for none.
    pub(super) restart: usize,
    pub(super) jfif: bool,
    /// Adobe's colour transform.
    pub(super) adobe: Option<u8>,
}

impl Tables {
    /// Reads Huffman tables.
    pub(super) fn read_huffman(&mut self, mut segment: &[u8]) -> Result<(), String> {
        let damaged = || "is damaged (a Huffman table is cut off)".to_string();
        while let Some((&kind, rest)) = segment.split_first() {
            let (counts, rest) = rest.split_first_chunk::<16>().ok_or_else(damaged)?;
            let total = counts.iter().map(|&n| usize::from(n)).sum();
            let (symbols, rest) = rest.split_at_checked(total).ok_or_else(damaged)?;
            let tables = if kind >> 4 == 0 { &mut self.dc } else { &mut self.ac };
            let slot =
                tables.get_mut(usize::from(kind & 15)).filter(|_| kind >> 4 < 2).ok_or_else(damaged)?;
            *slot = Some(Huffman::new(counts, symbols)?);
            segment = rest;
        }
        Ok(())
    }

    /// Reads quantization tables; the numbers come in zigzag order.
    pub(super) fn read_quantization(&mut self, mut segment: &[u8]) -> Result<(), String> {
        let damaged = || "is damaged (a quantization table is cut off)".to_string();
        while let Some((&kind, mut rest)) = segment.split_first() {
            let slot = self.quantization.get_mut(usize::from(kind & 15)).ok_or_else(damaged)?;
            let mut table = [0; 64];
            for at in ZIGZAG {
                let (value, after) = if kind >> 4 == 0 {
                    let (&value, after) = rest.split_first().ok_or_else(damaged)?;
                    (u16::from(value), after)
                } else {
                    let (value, after) = rest.split_first_chunk::<2>().ok_or_else(damaged)?;
                    (u16::from_be_bytes(*value), after)
                };
                table[at] = value;
                rest = after;
            }
            *slot = Some(Quantization(table));
            segment = rest;
        }
        Ok(())
    }

    /// Reads the restart interval.
    pub(super) fn read_restart(&mut self, segment: &[u8]) -> Result<(), String> {
        let &[high, low, ..] = segment else {
            return Err("is damaged (a restart interval is cut off)".into());
        };
        self.restart = usize::from(u16::from_be_bytes([high, low]));
        Ok(())
    }
}

/// The row-major index of each coefficient, in the order of the file.
pub(super) const ZIGZAG: [usize; 64] = [
    0, 1, 8, 16, 9, 2, 3, 10, 17, 24, 32, 25, 18, 11, 4, 5, 12, 19, 26, 33, 40, 48, 41, 34, 27, 20, 13, 6, 7,
    14, 21, 28, 35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51, 58, 59, 52, 45, 38, 31, 39,
    46, 53, 60, 61, 54, 47, 55, 62, 63,
];

/// The next marker; other bytes are skipped, as other decoders do.
pub(super) fn next_marker(file: &[u8], position: &mut usize) -> Option<u8> {
    loop {
        let start = file.get(*position..)?.iter().position(|&b| b == 0xff)?;
        *position += start + 1;
        let byte = *file.get(*position)?;
        if byte != 0xff {
            *position += 1;
            if byte != 0 {
                return Some(byte);
            }
        }
    }
}

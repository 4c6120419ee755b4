//! The mutation engine: turns a seed into a damaged file, driven by a random generator.
//!
//! Besides blind changes (bits, bytes, cuts, copies) it targets what parsers trust: integers of 1 to 8 bytes
//! in both orders, decimal numbers in text, brackets, and the checksums of PNG chunks, which would otherwise
//! reject a damaged file at once.

/// SplitMix64: small, fast, and the same everywhere.
pub struct Numbers(pub u64);

impl Numbers {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// 0 ≤ result < n; 0 for n = 0.
    pub fn below(&mut self, n: usize) -> usize {
        ((u128::from(self.next()) * n as u128) >> 64) as usize
    }
}

/// Numbers at which code breaks.
const EDGES: [u64; 18] = [
    0,
    1,
    2,
    3,
    7,
    0x7f,
    0x80,
    0xff,
    0x100,
    0x7fff,
    0x8000,
    0xffff,
    0x1_0000,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_ffff,
    0x7fff_ffff_ffff_ffff,
    u64::MAX,
];

/// Texts that headers may have and should not.
const TEXTS: [&str; 16] = [
    "0",
    "1",
    "-1",
    "4294967296",
    "18446744073709551615",
    "99999999999999999999",
    "1_0",
    "0x10",
    "((((",
    "[[[[",
    "))",
    ",,",
    "'",
    "True",
    "|O",
    ">f8",
];

/// A damaged copy of one of the seeds.
pub fn mutate(seeds: &[Vec<u8>], numbers: &mut Numbers) -> Vec<u8> {
    let mut file = seeds[numbers.below(seeds.len())].clone();
    // Most damage is slight: a file that is wrong everywhere is refused at its first byte.
    let changes = 1 + numbers.below(4) * numbers.below(3);
    for _ in 0..changes {
        change(&mut file, seeds, numbers);
    }
    if numbers.below(2) == 0 {
        repair_png(&mut file);
    }
    file
}

fn change(file: &mut Vec<u8>, seeds: &[Vec<u8>], numbers: &mut Numbers) {
    // Headers are the most error-prone: half of all changes go there.
    let near = if numbers.below(2) == 0 { file.len().min(64) } else { file.len() };
    let at = numbers.below(near.max(1));
    if file.is_empty() {
        file.push(numbers.next() as u8);
        return;
    }
    match numbers.below(12) {
        0 => file[at] ^= 1 << numbers.below(8),
        1 => file[at] = numbers.next() as u8,
        2 => file.truncate(at),
        3 => {
            let end = (at + 1 + numbers.below(16)).min(file.len());
            file.drain(at..end);
        }
        4 => {
            let from = numbers.below(file.len());
            let end = (from + 1 + numbers.below(32)).min(file.len());
            let piece = file[from..end].to_vec();
            file.splice(at..at, piece);
        }
        5 => {
            // The end of another file.
            let other = &seeds[numbers.below(seeds.len())];
            file.truncate(at);
            file.extend_from_slice(&other[numbers.below(other.len() + 1)..]);
        }
        6 | 7 => {
            let mut value = EDGES[numbers.below(EDGES.len())];
            if numbers.below(3) == 0 {
                value = value.wrapping_add(numbers.next() % 5).wrapping_sub(2);
            }
            write_integer(file, at, value, numbers);
        }
        8 => {
            // A number that is there, a little more, a little less, or twice.
            let mut bytes = [0; 4];
            let end = (at + 4).min(file.len());
            bytes[..end - at].copy_from_slice(&file[at..end]);
            let value = u64::from(if numbers.below(2) == 0 {
                u32::from_le_bytes(bytes)
            } else {
                u32::from_be_bytes(bytes)
            });
            let value =
                [value.wrapping_add(1), value.wrapping_sub(1), value << 1, value << 8][numbers.below(4)];
            write_integer(file, at, value, numbers);
        }
        9 => {
            // Text in place of a number in text.
            let digit = (0..file.len()).cycle().skip(at).take(file.len()).find(|&i| file[i].is_ascii_digit());
            let start = digit.unwrap_or(at);
            let end = (start..file.len()).find(|&i| !file[i].is_ascii_digit()).unwrap_or(file.len());
            file.splice(start..end, TEXTS[numbers.below(TEXTS.len())].bytes());
        }
        10 => {
            let byte = b"([{)]},'\" 0\\<>|#\n\x00\xff"[numbers.below(19)];
            let count = 1 + numbers.below(40);
            file.splice(at..at, std::iter::repeat_n(byte, count));
        }
        _ => {
            let end = (at + numbers.below(64)).min(file.len());
            let value = numbers.next() as u8;
            file[at..end].fill(value);
        }
    }
    file.truncate(1 << 20);
}

fn write_integer(file: &mut [u8], at: usize, value: u64, numbers: &mut Numbers) {
    let width = [1, 2, 4, 8][numbers.below(4)];
    let mut bytes = value.to_le_bytes();
    if numbers.below(2) == 0 {
        bytes[..width].reverse();
    }
    let end = (at + width).min(file.len());
    file[at..end].copy_from_slice(&bytes[..end - at]);
}

/// Writes right checksums into the chunks of a PNG file, so that what was changed in them is looked at.
fn repair_png(file: &mut [u8]) {
    if !file.starts_with(b"\x89PNG\r\n\x1a\n") {
        return;
    }
    let mut at = 8;
    while let Some(head) = file.get(at..at + 8) {
        let length = u32::from_be_bytes([head[0], head[1], head[2], head[3]]) as usize;
        let Some(end) = at.checked_add(8 + length).filter(|&end| end + 4 <= file.len()) else { return };
        let mut crc = flate2::Crc::new();
        crc.update(&file[at + 4..end]);
        file[end..end + 4].copy_from_slice(&crc.sum().to_be_bytes());
        at = end + 4;
    }
}

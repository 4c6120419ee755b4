//! EXIF's orientation: how the camera was held.
//!
//! Only one EXIF tag is read: 0x0112 of the first directory, a number from 1 to 8 (CIPA DC-008-2023, 4.6.5).
//!
//! ```text
//! 'II' or 'MM' · 42 · offset of the directory · … · number of entries · entries of 12 bytes:
//! tag, type, count, value
//! ```

/// The transformation from the stored rows and columns to the picture's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Orientation {
    /// First, rows and columns are exchanged.
    transpose: bool,
    /// Then left and right are exchanged.
    mirror: bool,
    /// Then top and bottom are exchanged.
    flip: bool,
}

impl Orientation {
    /// As it is stored.
    pub(crate) const UPRIGHT: Self = Self { transpose: false, mirror: false, flip: false };

    /// The orientation of a tag's value, 1 to 8; any other value means 1.
    pub(crate) fn from_tag(value: u16) -> Self {
        let (transpose, mirror, flip) = match value {
            2 => (false, true, false),
            3 => (false, true, true),
            4 => (false, false, true),
            5 => (true, false, false),
            6 => (true, true, false),
            7 => (true, true, true),
            8 => (true, false, true),
            _ => return Self::UPRIGHT,
        };
        Self { transpose, mirror, flip }
    }

    /// The orientation in a block of EXIF data, which starts with the byte order. Anything damaged means
    /// upright: the pixels are usable without it.
    pub(crate) fn from_exif(exif: &[u8]) -> Self {
        Self::find(exif).unwrap_or(Self::UPRIGHT)
    }

    fn find(exif: &[u8]) -> Option<Self> {
        let big = match exif.get(..4)? {
            b"MM\0*" => true,
            b"II*\0" => false,
            _ => return None,
        };
        let short = |at: usize| {
            let bytes = exif.get(at..at.checked_add(2)?)?.try_into().ok()?;
            Some(if big { u16::from_be_bytes(bytes) } else { u16::from_le_bytes(bytes) })
        };
        let long = |at: usize| {
            let bytes = exif.get(at..at.checked_add(4)?)?.try_into().ok()?;
            Some(if big { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) })
        };
        let directory = long(4)? as usize;
        let entries = usize::from(short(directory)?);
        let tag = (0..entries).map(|i| directory + 2 + 12 * i).find(|&at| short(at) == Some(0x0112))?;
        // Type 3 is a number of two bytes; some writers use type 4, of four.
        match short(tag + 2)? {
            3 => Some(Self::from_tag(short(tag + 8)?)),
            4 => Some(Self::from_tag(u16::try_from(long(tag + 8)?).ok()?)),
            _ => None,
        }
    }

    /// Height and width of the picture that is stored with this height and width.
    pub(crate) fn size(self, height: usize, width: usize) -> (usize, usize) {
        if self.transpose { (width, height) } else { (height, width) }
    }

    /// Reorders the pixels of a stored picture, height × width of them with `bytes` bytes each, as the
    /// picture's.
    pub(crate) fn apply(self, from: &[u8], height: usize, width: usize, bytes: usize, to: &mut [u8]) {
        let (to_height, to_width) = self.size(height, width);
        for (y, row) in to.chunks_exact_mut(to_width * bytes).enumerate() {
            for (x, pixel) in row.chunks_exact_mut(bytes).enumerate() {
                let x = if self.mirror { to_width - 1 - x } else { x };
                let y = if self.flip { to_height - 1 - y } else { y };
                let (from_y, from_x) = if self.transpose { (x, y) } else { (y, x) };
                pixel.copy_from_slice(&from[(from_y * width + from_x) * bytes..][..bytes]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_eight_ways() {
        // 1 2 3
        // 4 5 6
        let stored = [1, 2, 3, 4, 5, 6];
        for (tag, expected) in [
            (1, [1, 2, 3, 4, 5, 6]),
            (2, [3, 2, 1, 6, 5, 4]),
            (3, [6, 5, 4, 3, 2, 1]),
            (4, [4, 5, 6, 1, 2, 3]),
            (5, [1, 4, 2, 5, 3, 6]),
            (6, [4, 1, 5, 2, 6, 3]),
            (7, [6, 3, 5, 2, 4, 1]),
            (8, [3, 6, 2, 5, 1, 4]),
        ] {
            let mut out = [0; 6];
            Orientation::from_tag(tag).apply(&stored, 2, 3, 1, &mut out);
            assert_eq!(out, expected, "orientation {tag}");
        }
    }

    #[test]
    fn the_tag_is_found_in_both_byte_orders() {
        let big = b"MM\0*\0\0\0\x08\0\x02\x01\0\0\x03\0\0\0\x01\0\x07\0\0\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0";
        let little = b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x08\0\0\0\0\0\0\0";
        assert_eq!(Orientation::from_exif(big), Orientation::from_tag(6));
        assert_eq!(Orientation::from_exif(little), Orientation::from_tag(8));
        for length in 0..little.len() {
            let _ = Orientation::from_exif(&little[..length]);
        }
        assert_eq!(Orientation::from_exif(&little[..19]), Orientation::UPRIGHT);
        assert_eq!(Orientation::from_exif(b"II*\0\xff\xff\xff\xff"), Orientation::UPRIGHT);
    }
}

//! Sheets: many small pictures side by side in one PNG.

use std::path::Path;

use crate::data::write_png;
use crate::error::Result;
use crate::storage::atomic::{write_atomically, write_new};
use crate::storage::filesystem::FileSystem;
use crate::storage::system::system;
use crate::tensor::ImageShape;

/// Pixels between pictures, and around them.
const GAP: usize = 2;
/// Pictures smaller than this are enlarged on a sheet by a whole factor, to be legible.
const LEGIBLE: usize = 48;
/// The grey between pictures.
const BACKGROUND: u8 = 40;

/// A picture of bytes: height × width × channels, with 1 (grey), 3 (RGB) or 4 (RGB and alpha) channels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picture {
    /// The bytes, row by row, channels last.
    pub bytes: Vec<u8>,
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
    /// Channels.
    pub channels: usize,
}

/// A value in [0, 1] as a byte; values outside are cut off.
pub fn to_byte(value: f32) -> u8 {
    (value * 255.0).round().clamp(0.0, 255.0) as u8
}

/// The whole factor by which pictures of this size are enlarged.
fn zoom(height: usize, width: usize) -> usize {
    LEGIBLE.div_ceil(height.min(width)).max(1)
}

impl Picture {
    /// A sheet of pictures with values in [0, 1], `count × H·W·C`, in rows of `columns`. Pictures whose
    /// channels are not colours (not 1, 3 or 4) are drawn as one grey tile per channel, side by side.
    ///
    /// # Panics
    /// If the numbers are not whole pictures.
    pub fn sheet(values: &[f32], image: ImageShape, columns: usize) -> Self {
        let (ImageShape { height, width, channels }, len) = (image, image.len());
        assert!(values.len().is_multiple_of(len), "{} numbers for pictures of {len}", values.len());
        let colors = if matches!(channels, 1 | 3 | 4) { channels } else { 1 };
        // Tiles: a picture, or a channel of one.
        let per_picture = channels / colors;
        let tiles = values.len() / len * per_picture;
        let columns = columns.max(1).min((tiles / per_picture).max(1)) * per_picture;
        let rows = tiles.div_ceil(columns).max(1);
        let zoom = zoom(height, width);
        let (cell_height, cell_width) = (height * zoom + GAP, width * zoom + GAP);
        let mut sheet = Self::blank(rows * cell_height + GAP, columns * cell_width + GAP, colors);
        for tile in 0..tiles {
            let picture = &values[tile / per_picture * len..][..len];
            let channel = tile % per_picture;
            let (top, left) = (tile / columns * cell_height + GAP, tile % columns * cell_width + GAP);
            for y in 0..height * zoom {
                for x in 0..width * zoom {
                    let from = (y / zoom * width + x / zoom) * channels + channel;
                    let to = ((top + y) * sheet.width + left + x) * colors;
                    for color in 0..colors {
                        sheet.bytes[to + color] = to_byte(picture[from + color]);
                    }
                }
            }
        }
        sheet
    }

    /// The pixels from one row of pictures of this size to the next.
    pub fn row_height((height, width): (usize, usize)) -> usize {
        height * zoom(height, width) + GAP
    }

    /// The bytes of a sheet for one picture of this shape, with the gaps.
    #[cfg(feature = "cli")]
    pub(crate) fn bytes_of(image: ImageShape) -> usize {
        let zoom = zoom(image.height, image.width);
        (image.height * zoom + GAP) * (image.width * zoom + GAP) * image.channels
    }

    /// The first `rows` rows of a sheet of pictures of this size.
    pub fn first_rows(&self, image: (usize, usize), rows: usize) -> Self {
        let height = (rows * Self::row_height(image) + GAP).min(self.height);
        let bytes = self.bytes[..height * self.width * self.channels].to_vec();
        Self { bytes, height, ..*self }
    }

    /// Originals and reconstructions, each pair side by side.
    ///
    /// # Panics
    /// If the numbers of originals and reconstructions differ.
    pub fn pairs(originals: &[f32], others: &[f32], image: ImageShape, pairs_per_row: usize) -> Self {
        assert_eq!(originals.len(), others.len(), "as many reconstructions as originals");
        let len = image.len();
        let both = originals.chunks_exact(len).zip(others.chunks_exact(len));
        let values: Vec<f32> = both.flat_map(|(a, b)| a.iter().chain(b).copied()).collect();
        Self::sheet(&values, image, 2 * pairs_per_row)
    }

    /// A uniform background, opaque.
    pub fn blank(height: usize, width: usize, channels: usize) -> Self {
        let mut bytes = vec![BACKGROUND; height * width * channels];
        if channels == 4 {
            bytes.iter_mut().skip(3).step_by(4).for_each(|alpha| *alpha = 255);
        }
        Self { bytes, height, width, channels }
    }

    /// The bytes of a PNG.
    ///
    /// # Panics
    /// If the channels are not 1, 3 or 4.
    pub fn to_png(&self) -> Vec<u8> {
        let mut png = Vec::new();
        write_png(&mut png, &self.bytes, self.height, self.width, self.channels)
            .expect("memory takes what is written to it");
        png
    }

    /// Writes a PNG, atomically replacing a file of that name.
    ///
    /// # Errors
    /// If the system refuses.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        self.save_in(system(), path.as_ref())
    }

    /// [`save`](Self::save) in a given file system, which tests can make fail.
    pub(crate) fn save_in(&self, fs: &dyn FileSystem, path: &Path) -> Result<()> {
        write_atomically(fs, path, |out| write_png(out, &self.bytes, self.height, self.width, self.channels))
    }

    /// Writes a PNG under a new name: a file that a person named is never replaced.
    ///
    /// # Errors
    /// If something with that name exists, or the system refuses.
    pub fn save_new(&self, path: &Path) -> Result<()> {
        write_new(system(), path, |out| write_png(out, &self.bytes, self.height, self.width, self.channels))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_stand_in_rows_with_their_colours() {
        // Three 48×48 RGB pictures, each of one colour, two in a row.
        let colours = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]];
        let values: Vec<f32> =
            colours.iter().flat_map(|c| c.iter().copied().cycle().take(48 * 48 * 3)).collect();
        let sheet = Picture::sheet(&values, ImageShape::new(48, 48, 3), 2);
        assert_eq!((sheet.height, sheet.width, sheet.channels), (102, 102, 3));
        let at = |y: usize, x: usize| &sheet.bytes[(y * sheet.width + x) * 3..][..3];
        assert_eq!((at(3, 3), at(3, 60), at(60, 3)), (&[255, 0, 0][..], &[0, 255, 0][..], &[0, 0, 255][..]));
        assert_eq!((at(0, 0), at(60, 60), at(3, 50)), (&[40; 3][..], &[40; 3][..], &[40; 3][..]));
    }

    #[test]
    fn two_channels_are_two_grey_tiles_and_small_pictures_are_enlarged() {
        let sheet = Picture::sheet(&[0.0, 1.0, 0.0, 1.0, 0.0, 1.0, 0.0, 1.0], ImageShape::new(2, 2, 2), 5);
        assert_eq!((sheet.height, sheet.width, sheet.channels), (52, 102, 1));
        assert_eq!((sheet.bytes[3 * 102 + 3], sheet.bytes[3 * 102 + 60]), (0, 255));
    }
}

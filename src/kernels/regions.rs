//! Which blocks of the columns are zero, so that nothing is multiplied by them.
//!
//! At an image's edge a part of the kernel hangs over the padding, and im2col's row for that place has zeros there. For a 4×4
//! kernel of stride 2 on 14×14 pixels every seventh number of the columns is such a zero, and so would be every seventh
//! multiplication of the layer's three products. But the zeros lie in blocks. All places of the top row lack the same taps: those of the
//! kernel's first rows. So if the rows of the matrix are ordered by *region*, places that lack the same taps, what is left of each
//! region is a block without zeros, or a few:
//!
//! ```text
//!          places            columns: kernel row 0   1   2   3
//!     T T T T T T T                  top         ·   █   █   █     one block
//!     L M M M M M R                  middle      █   █   █   █     one block
//!     L M M M M M R                  left       ·█  ·█  ·█  ·█     a block for each kernel row
//!     L M M M M M R                  right      █·  █·  █·  █·     a block for each kernel row
//!     B B B B B B B                  bottom      █   █   █   ·     one block
//! ```
//!
//! The corners stay with top and bottom, zeros and all: as regions of their own they would save another sixtieth, and cost more products
//! with few rows.
//!
//! An image's regions are not contiguous on the small side, where pixels lie row by row. So that one product can take many images, the small
//! side's pixels are copied together first ([`Region::gather`]), or apart afterwards ([`Region::scatter`]).

use std::ops::Range;

use super::geometry::Geometry;
use crate::tensor::Element;

/// With fewer channels than this, a block is too narrow to be worth a product of its own: then all places are one region.
const FEWEST_CHANNELS: usize = 16;

/// A rectangle of places and the taps that fall inside the image there (all others are zero, or the region keeps their zeros).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Region {
    /// Rows of places.
    pub rows: Range<usize>,
    /// Columns of places.
    pub columns: Range<usize>,
    /// Rows of the kernel.
    pub tap_rows: Range<usize>,
    /// Columns of the kernel.
    pub tap_columns: Range<usize>,
}

impl Geometry {
    /// The regions of the small side. Every place belongs to one.
    pub fn regions(&self) -> impl Iterator<Item = Region> + use<> {
        let g = *self;
        let is_worth_it = g.channels >= FEWEST_CHANNELS;
        g.spans(is_worth_it, g.small_height, g.kernel_height, g.height).flat_map(move |(rows, tap_rows)| {
            let is_middle = is_worth_it && tap_rows == (0..g.kernel_height);
            g.spans(is_middle, g.small_width, g.kernel_width, g.width).map(move |(columns, tap_columns)| {
                Region { rows: rows.clone(), columns, tap_rows: tap_rows.clone(), tap_columns }
            })
        })
    }

    /// Along one side: ranges of places that see the same taps, with these taps; or, unless it is `cut`, all places with all taps.
    fn spans(
        &self,
        cut: bool,
        places: usize,
        kernel: usize,
        size: usize,
    ) -> impl Iterator<Item = (Range<usize>, Range<usize>)> + use<> {
        let g = *self;
        let taps = move |place| if cut { g.taps_inside(place, kernel, size) } else { (0, kernel) };
        let mut next = 0;
        std::iter::from_fn(move || {
            let first = next;
            if first == places {
                return None;
            }
            let (from, to) = taps(first);
            while next < places && taps(next) == (from, to) {
                next += 1;
            }
            Some((first..next, from..to))
        })
    }
}

impl Region {
    /// The places of the region in one image.
    pub fn places(&self) -> usize {
        self.rows.len() * self.columns.len()
    }

    /// Whether there is no other region.
    pub fn is_everything(&self, geometry: &Geometry) -> bool {
        self.places() == geometry.places()
    }

    /// The ranges of the columns that are not zero, from left to right.
    pub fn blocks(&self, geometry: &Geometry) -> impl Iterator<Item = Range<usize>> + use<> {
        let run = geometry.kernel_width * geometry.channels;
        let (from, to) =
            (self.tap_columns.start * geometry.channels, self.tap_columns.end * geometry.channels);
        let tap_rows = self.tap_rows.clone();
        // Whole kernel rows lie next to each other and are one block together.
        let rows_at_once = if to - from == run { tap_rows.len() } else { 1 };
        tap_rows.step_by(rows_at_once).map(move |row| row * run + from..(row + rows_at_once - 1) * run + to)
    }

    /// Copies the region's pixels of some images, H′·W′·`channels` each, together: `[image][row][column][channel]`.
    ///
    /// # Panics
    /// Where the slices differ in their number of images.
    pub fn gather<T: Element>(&self, geometry: &Geometry, channels: usize, images: &[T], rows: &mut [T]) {
        let image_len = geometry.places() * channels;
        let (images, rows) =
            (images.chunks_exact(image_len), rows.chunks_exact_mut(self.places() * channels));
        assert_eq!(images.len(), rows.len(), "images and gathered images");
        for (image, rows) in images.zip(rows) {
            for (run, row) in
                self.runs(geometry, channels).zip(rows.chunks_exact_mut(self.run_len(geometry, channels)))
            {
                row.copy_from_slice(&image[run]);
            }
        }
    }

    /// The other way round: writes the region's pixels of some images.
    ///
    /// # Panics
    /// Where the slices differ in their number of images.
    pub fn scatter<T: Element>(&self, geometry: &Geometry, channels: usize, rows: &[T], images: &mut [T]) {
        let image_len = geometry.places() * channels;
        let (images, rows) =
            (images.chunks_exact_mut(image_len), rows.chunks_exact(self.places() * channels));
        assert_eq!(images.len(), rows.len(), "images and gathered images");
        for (image, rows) in images.zip(rows) {
            for (run, row) in
                self.runs(geometry, channels).zip(rows.chunks_exact(self.run_len(geometry, channels)))
            {
                image[run].copy_from_slice(row);
            }
        }
    }

    /// The numbers that lie next to each other in an image: some pixels of a row, or whole rows.
    fn run_len(&self, geometry: &Geometry, channels: usize) -> usize {
        let rows_at_once = if self.columns.len() == geometry.small_width { self.rows.len() } else { 1 };
        rows_at_once * self.columns.len() * channels
    }

    /// Where these numbers lie in an image.
    fn runs(&self, geometry: &Geometry, channels: usize) -> impl Iterator<Item = Range<usize>> + use<> {
        let (len, width, left) = (self.run_len(geometry, channels), geometry.small_width, self.columns.start);
        let rows_at_once = len / (self.columns.len() * channels);
        self.rows.clone().step_by(rows_at_once).map(move |row| {
            let from = (row * width + left) * channels;
            from..from + len
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn regions(
        size: usize,
        channels: usize,
        kernel: usize,
        stride: usize,
        padding: usize,
    ) -> (Geometry, Vec<Region>) {
        let g = Geometry::new((size, size, channels), (kernel, kernel), stride, padding).unwrap();
        (g, g.regions().collect())
    }

    fn blocks(region: &Region, geometry: &Geometry) -> Vec<(usize, usize)> {
        region.blocks(geometry).map(|block| (block.start, block.end)).collect()
    }

    #[test]
    fn the_picture_at_the_top_is_what_a_4x4_kernel_gives() {
        let (g, found) = regions(14, 32, 4, 2, 1);
        let expected = [
            (0..1, 0..7, 1..4, 0..4),
            (1..6, 0..1, 0..4, 1..4),
            (1..6, 1..6, 0..4, 0..4),
            (1..6, 6..7, 0..4, 0..3),
            (6..7, 0..7, 0..3, 0..4),
        ]
        .map(|(rows, columns, tap_rows, tap_columns)| Region {
            rows,
            columns,
            tap_rows,
            tap_columns,
        });
        assert_eq!(found, expected);
        assert_eq!(blocks(&found[0], &g), [(128, 512)]);
        assert_eq!(blocks(&found[1], &g), [(32, 128), (160, 256), (288, 384), (416, 512)]);
        assert_eq!(blocks(&found[2], &g), [(0, 512)]);
        assert_eq!(blocks(&found[3], &g), [(0, 96), (128, 224), (256, 352), (384, 480)]);
        assert_eq!(blocks(&found[4], &g), [(0, 384)]);
    }

    #[test]
    fn few_channels_or_no_padding_make_one_region() {
        for (size, channels, kernel, stride, padding) in
            [(28, 1, 4, 2, 1), (28, 15, 3, 1, 1), (9, 64, 3, 2, 0)]
        {
            let (g, found) = regions(size, channels, kernel, stride, padding);
            assert_eq!(found.len(), 1);
            assert!(found[0].is_everything(&g));
            assert_eq!(blocks(&found[0], &g), [(0, g.patch_len())]);
        }
    }

    #[test]
    fn every_place_is_in_one_region_and_every_tap_inside_the_image_in_one_block() {
        for (size, kernel, stride, padding) in [
            (14, 4, 2, 1),
            (7, 3, 1, 1),
            (5, 5, 1, 4),
            (33, 4, 2, 1),
            (8, 2, 2, 0),
            (2, 4, 2, 1),
            (3, 5, 2, 2),
            (1, 3, 1, 2),
        ] {
            let (g, found) = regions(size, 16, kernel, stride, padding);
            let mut seen = vec![0; g.places()];
            for region in &found {
                let mut covered = vec![0; g.patch_len()];
                region.blocks(&g).flatten().for_each(|column| covered[column] += 1);
                assert!(covered.iter().all(|&count| count <= 1), "{g:?} {region:?}");
                for (y, x) in region.rows.clone().flat_map(|y| region.columns.clone().map(move |x| (y, x))) {
                    seen[y * g.small_width + x] += 1;
                    let (rows, columns) = (g.taps_inside(y, kernel, size), g.taps_inside(x, kernel, size));
                    for (kh, kw) in
                        (rows.0..rows.1).flat_map(|kh| (columns.0..columns.1).map(move |kw| (kh, kw)))
                    {
                        assert_eq!(covered[(kh * kernel + kw) * 16], 1, "{g:?} {region:?} {kh} {kw}");
                    }
                }
            }
            assert!(seen.iter().all(|&count| count == 1), "{g:?}: {seen:?}");
        }
    }

    #[test]
    fn scatter_undoes_gather() {
        let (g, found) = regions(6, 16, 4, 2, 1);
        let images: Vec<f32> = (0..2 * g.places() * 3).map(|i| i as f32).collect();
        let mut back = vec![f32::NAN; images.len()];
        for region in found {
            let mut rows = vec![f32::NAN; 2 * region.places() * 3];
            region.gather(&g, 3, &images, &mut rows);
            let first = (region.rows.start * g.small_width + region.columns.start) * 3;
            assert_eq!(rows[..3], images[first..first + 3]);
            region.scatter(&g, 3, &rows, &mut back);
        }
        assert_eq!(back, images);
    }
}

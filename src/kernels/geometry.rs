//! The sizes of a convolution, and the one formula that relates input pixels, kernel taps and output pixels.
//!
//! Output pixel `o` sees input pixel `i = o·S + k − P` through tap `k` (once for rows, once for columns). The
//! output has as many pixels as there are places for the kernel in the padded input: `⌊(I + 2P − K)/S⌋ + 1`
//! (Dumoulin & Visin 2016, "A guide to convolution arithmetic for deep learning", relationship 6).
//!
//! A transposed convolution has the geometry of the convolution that it reverses. So the two sides are called
//! large and small here rather than input and output, and an odd size is restored exactly: nothing has to
//! guess it.

use crate::error::{Error, Result};

/// The sizes of a convolution from its large side (H × W × C) to its small side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    /// H, the rows of the large side.
    pub height: usize,
    /// W, its columns.
    pub width: usize,
    /// C, its channels.
    pub channels: usize,
    /// The kernel's rows.
    pub kernel_height: usize,
    /// The kernel's columns.
    pub kernel_width: usize,
    /// S, the distance in pixels from one place of the kernel to the next.
    pub stride: usize,
    /// P, rows and columns of zeros around the large side.
    pub padding: usize,
    /// The rows of the small side.
    pub small_height: usize,
    /// The columns of the small side.
    pub small_width: usize,
}

impl Geometry {
    /// A convolution of a `height × width × channels` image.
    ///
    /// # Errors
    /// If a size is zero, the kernel is larger than the padded image, or the padding is not smaller than the
    /// kernel (rows of zeros alone would be convolved).
    pub fn new(
        (height, width, channels): (usize, usize, usize),
        (kernel_height, kernel_width): (usize, usize),
        stride: usize,
        padding: usize,
    ) -> Result<Self> {
        let smallest = [height, width, channels, kernel_height, kernel_width, stride].into_iter().min();
        if smallest == Some(0) {
            return Err(Error::geometry(format!(
                "a convolution of {height}×{width}×{channels} by {kernel_height}×{kernel_width}, stride {stride}, has a size \
                 of 0; each must be at least 1"
            )));
        }
        let small = |size: usize, kernel: usize| {
            (size + 2 * padding >= kernel && padding < kernel)
                .then(|| (size + 2 * padding - kernel) / stride + 1)
        };
        match (small(height, kernel_height), small(width, kernel_width)) {
            (Some(small_height), Some(small_width)) => Ok(Self {
                height,
                width,
                channels,
                kernel_height,
                kernel_width,
                stride,
                padding,
                small_height,
                small_width,
            }),
            _ => Err(Error::geometry(format!(
                "a {kernel_height}×{kernel_width} kernel with padding {padding} has no place in an image of \
                 {height}×{width}; the image must be larger, or the padding smaller than the kernel"
            ))),
        }
    }

    /// H·W·C, the numbers on the large side.
    pub fn large_len(&self) -> usize {
        self.height * self.width * self.channels
    }

    /// The pixels of the small side: the places of the kernel.
    pub fn places(&self) -> usize {
        self.small_height * self.small_width
    }

    /// K·K·C, the numbers under the kernel at one place.
    pub fn patch_len(&self) -> usize {
        self.kernel_height * self.kernel_width * self.channels
    }

    /// The pairs of a place and a tap that sees a pixel: the multiplications for each pair of a channel and a
    /// filter, without those with the padding's zeros.
    pub fn pairs(&self) -> usize {
        let side = |places: usize, kernel, size| -> usize {
            (0..places).map(|place| self.taps_inside(place, kernel, size)).map(|(from, to)| to - from).sum()
        };
        side(self.small_height, self.kernel_height, self.height)
            * side(self.small_width, self.kernel_width, self.width)
    }

    /// Whether the kernel covers the whole unpadded image, so that the only patch is the image.
    pub fn is_whole_image(&self) -> bool {
        self.padding == 0 && self.kernel_height == self.height && self.kernel_width == self.width
    }

    /// Along one side: the taps `from..to` of the kernel at place `place` that fall inside `size` pixels.
    ///
    /// Tap k sees pixel i = place·S + k − P. 0 ≤ i means k ≥ P − place·S, and i < size means k < size + P −
    /// place·S, so the taps are a range, and no loop over them needs a test.
    pub(crate) fn taps_inside(&self, place: usize, kernel: usize, size: usize) -> (usize, usize) {
        let start = place * self.stride;
        let from = self.padding.saturating_sub(start);
        let to = (size + self.padding).saturating_sub(start).min(kernel);
        (from.min(to), to)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn taps_inside_are_those_whose_pixel_exists() {
        for (size, kernel, stride, padding) in
            [(28, 4, 2, 1), (7, 3, 1, 1), (5, 5, 3, 4), (33, 4, 2, 1), (8, 2, 2, 0)]
        {
            let g = Geometry::new((size, size, 1), (kernel, kernel), stride, padding).unwrap();
            for place in 0..g.small_height {
                let (from, to) = g.taps_inside(place, kernel, size);
                for k in 0..kernel {
                    let pixel = (place * stride + k) as isize - padding as isize;
                    assert_eq!(
                        (from..to).contains(&k),
                        (0..size as isize).contains(&pixel),
                        "{g:?} {place} {k}"
                    );
                }
            }
        }
    }

    #[test]
    fn what_cannot_be_convolved_is_refused_with_its_sizes() {
        let error = Geometry::new((3, 8, 1), (4, 4), 2, 0).unwrap_err().to_string();
        assert!(error.contains("4×4") && error.contains("3×8"), "{error}");
        assert!(Geometry::new((8, 8, 1), (3, 3), 0, 1).is_err());
        assert!(Geometry::new((8, 8, 1), (3, 3), 1, 3).is_err());
        assert!(Geometry::new((8, 0, 1), (3, 3), 1, 1).is_err());
    }
}

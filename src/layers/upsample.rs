//! Nearest-neighbour upsampling: every pixel becomes a 2×2 square of copies.
//!
//! ```text
//! forward     y[i, j]  = x[⌊i/2⌋, ⌊j/2⌋]
//! backward    dx[i, j] = Σ of dy over the square of x[i, j]'s copies
//! ```
//!
//! Followed by a convolution, this upsampling leaves no checkerboard pattern (Odena, Dumoulin & Olah 2016).
//! The larger image may lack the last row or column, so odd sizes are restored exactly.

use rayon::prelude::*;

use super::{Backward, Describe, Forward, Layer, Steps, Torch};
use crate::kernels::simd::vectorized;
use crate::tensor::{Element, ImageShape};

/// Doubles the height and width of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Upsample {
    /// The input's shape, H×W×C.
    pub input: ImageShape,
    /// H′, 2H or 2H − 1.
    pub height: usize,
    /// W′, 2W or 2W − 1.
    pub width: usize,
}

impl Upsample {
    /// Upsampling to an image of `height` × `width`.
    ///
    /// # Panics
    /// If that is neither the double nor one less.
    pub fn new(input: ImageShape, height: usize, width: usize) -> Self {
        let fits = height.div_ceil(2) == input.height && width.div_ceil(2) == input.width;
        assert!(fits, "{input} is not doubled by {height}×{width}");
        Self { input, height, width }
    }
}

impl Describe for Upsample {
    fn input(&self) -> ImageShape {
        self.input
    }

    fn output(&self) -> ImageShape {
        ImageShape::new(self.height, self.width, self.input.channels)
    }

    fn summary(&self) -> String {
        "nearest-neighbour upsampling".into()
    }

    fn torch(&self, _name: &str, torch: &mut Torch<'_>) {
        torch.need_image(self.input);
        let call = format!("F.interpolate(x, size=({}, {}), mode=\"nearest\")", self.height, self.width);
        torch.apply(call, self.activation(), self.output());
    }

    fn steps(&self, _name: &str, steps: &mut Steps<'_>) {
        let ImageShape { height, width, channels } = self.input;
        let sizes = [
            ("height", height),
            ("width", width),
            ("channels", channels),
            ("to_height", self.height),
            ("to_width", self.width),
        ];
        steps.push("upsample", &sizes);
    }
}

impl<T: Element> Layer<T> for Upsample {
    fn forward(&self, x: &[T], y: &mut [T], _pass: Forward<'_, T>) {
        let (from, to, c) = (self.input, Describe::output(self), self.input.channels);
        y.par_chunks_exact_mut(to.len()).zip(x.par_chunks_exact(from.len())).for_each(|(y, x)| {
            for (row, y) in y.chunks_exact_mut(to.width * c).enumerate() {
                let x = &x[row / 2 * from.width * c..][..from.width * c];
                for (pair, x) in y.chunks_mut(2 * c).zip(x.chunks_exact(c)) {
                    pair.chunks_exact_mut(c).for_each(|y| y.copy_from_slice(x));
                }
            }
        });
    }

    fn backward(&self, _x: &[T], _y: &[T], dy: &mut [T], dx: Option<&mut [T]>, _pass: Backward<'_, T>) {
        let Some(dx) = dx else { return };
        let (from, to, c) = (self.input, Describe::output(self), self.input.channels);
        dx.par_chunks_exact_mut(from.len()).zip(dy.par_chunks_exact(to.len())).for_each(|(dx, dy)| {
            dx.fill(T::ZERO);
            vectorized!({
                for (row, dy) in dy.chunks_exact(to.width * c).enumerate() {
                    let dx = &mut dx[row / 2 * from.width * c..][..from.width * c];
                    for (pair, dx) in dy.chunks(2 * c).zip(dx.chunks_exact_mut(c)) {
                        pair.chunks_exact(c).for_each(|dy| super::work::add(dx, dy));
                    }
                }
            });
        });
    }
}

#[cfg(test)]
pub(crate) fn examples() -> Vec<super::proof::Example> {
    use super::proof::Example;
    let one = |(h, w, c), height, width, batch| {
        Example::new(Upsample::new(ImageShape::new(h, w, c), height, width), batch)
    };
    vec![one((2, 3, 2), 4, 6, 1), one((4, 3, 3), 7, 5, 3), one((1, 2, 1), 1, 4, 2), one((3, 3, 5), 6, 5, 2)]
}

//! Concatenation of a condition: the L numbers of an image's condition are appended to the C numbers of each
//! of its pixels.
//!
//! ```text
//! forward     y[b, p] = (x[b, p], c[b])         C channels become C + L
//! backward    dx[b, p] = the first C numbers of dy[b, p]         the condition needs no gradient
//! ```
//!
//! This is how a label enters a network (Sohn, Lee & Yan 2015): as constant planes of an image, or, for a
//! vector (one pixel), as L more numbers.

use rayon::prelude::*;

use super::{Backward, Describe, Forward, Layer, Steps, Torch};
use crate::tensor::{Element, ImageShape};

/// Appends a condition of `labels` numbers to every pixel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Concat {
    /// The shape before.
    pub input: ImageShape,
    /// L, the numbers of a condition.
    pub labels: usize,
    /// Whether the condition is appended once, after all numbers of an image, which is then a row of numbers.
    pub flat: bool,
}

impl Concat {
    /// Appends planes to the channels of an image.
    pub fn planes(input: ImageShape, labels: usize) -> Self {
        Self { input, labels, flat: false }
    }

    /// Appends numbers to an image that is flattened to a row of numbers.
    pub fn row(input: ImageShape, labels: usize) -> Self {
        Self { input, labels, flat: true }
    }

    /// The numbers before each condition: a pixel's, or all of an image's.
    fn before(&self) -> usize {
        if self.flat { self.input.len() } else { self.input.channels }
    }
}

impl Describe for Concat {
    fn input(&self) -> ImageShape {
        self.input
    }

    fn output(&self) -> ImageShape {
        let channels = self.before() + self.labels;
        if self.flat { ImageShape::vector(channels) } else { ImageShape { channels, ..self.input } }
    }

    fn summary(&self) -> String {
        format!("label appended, {} numbers", self.labels)
    }

    fn torch(&self, _name: &str, torch: &mut Torch<'_>) {
        if self.flat {
            torch.need_vector();
            torch.lines.push("x = torch.cat([x, c], 1)".into());
        } else {
            torch.need_image(self.input);
            let planes = "c[:, :, None, None].expand(-1, -1, *x.shape[2:])";
            torch.lines.push(format!("x = torch.cat([x, {planes}], 1)"));
        }
    }

    fn steps(&self, _name: &str, steps: &mut Steps<'_>) {
        let sizes = [("len", self.input.len()), ("before", self.before()), ("labels", self.labels)];
        steps.push("concat", &sizes);
    }
}

impl<T: Element> Layer<T> for Concat {
    fn forward(&self, x: &[T], y: &mut [T], pass: Forward<'_, T>) {
        let (before, after) = (self.before(), self.before() + self.labels);
        let conditions = pass.condition.par_chunks_exact(self.labels);
        assert_eq!(
            pass.condition.len(),
            pass.batch * self.labels,
            "a condition of {} numbers for each image",
            self.labels
        );
        y.par_chunks_exact_mut(Describe::output(self).len())
            .zip(x.par_chunks_exact(self.input.len()))
            .zip(conditions)
            .for_each(|((y, x), condition)| {
                for (y, x) in y.chunks_exact_mut(after).zip(x.chunks_exact(before)) {
                    let (own, appended) = y.split_at_mut(before);
                    own.copy_from_slice(x);
                    appended.copy_from_slice(condition);
                }
            });
    }

    fn backward(&self, _x: &[T], _y: &[T], dy: &mut [T], dx: Option<&mut [T]>, _pass: Backward<'_, T>) {
        let Some(dx) = dx else { return };
        let (before, after) = (self.before(), self.before() + self.labels);
        dx.par_chunks_exact_mut(self.input.len())
            .zip(dy.par_chunks_exact(Describe::output(self).len()))
            .for_each(|(dx, dy)| {
                for (dx, dy) in dx.chunks_exact_mut(before).zip(dy.chunks_exact(after)) {
                    dx.copy_from_slice(&dy[..before]);
                }
            });
    }
}

#[cfg(test)]
pub(crate) fn examples() -> Vec<super::proof::Example> {
    use super::proof::{Example, boxed, conv};
    use super::{Activation, Linear, Sequence};
    let image = ImageShape::new(3, 4, 2);
    let then_conv = Sequence::new(boxed([
        ("label", Box::new(Concat::planes(image, 3)) as _),
        ("conv", Box::new(conv(ImageShape::new(3, 4, 5), 2, Activation::Tanh)) as _),
    ]));
    let from = Linear::from_image_and_vector(image, 3, 4, Activation::Tanh);
    let then_linear = Sequence::new(boxed([
        ("label", Box::new(Concat::row(image, 3)) as _),
        ("linear", Box::new(from) as _),
    ]));
    vec![
        Example::new(Concat::planes(image, 3), 2).with_condition(3),
        Example::new(Concat::row(ImageShape::vector(5), 2), 3).with_condition(2),
        Example::new(then_conv, 2).with_condition(3),
        Example::new(then_linear, 3).with_condition(3),
    ]
}

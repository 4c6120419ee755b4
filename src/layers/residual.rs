//! The residual block: y = x + f(x) (He et al. 2016).
//!
//! ```text
//! forward     y  = x + f(x)
//! backward    dx = dy + (∂f/∂x)ᵀ · dy        x is used twice, so its gradient is the sum of dy and f's part
//! ```
//!
//! The gradient reaches x unchanged whatever f is, so deep stacks of such blocks can be trained.

use rayon::prelude::*;

use super::work::{PIECE, add, padded};
use super::{Backward, Child, Describe, Forward, Layer, ParameterSpec, Sequence, Steps, Torch, WorkLen};
use crate::tensor::{Element, ImageShape};

/// x + f(x), for an f that preserves the shape.
#[derive(Debug)]
pub struct Residual<T> {
    inner: Sequence<T>,
}

impl<T: Element> Residual<T> {
    /// A block around `inner`.
    ///
    /// # Panics
    /// If `inner` changes the shape.
    pub fn new(inner: Sequence<T>) -> Self {
        assert_eq!(inner.input(), inner.output(), "a residual block keeps the shape");
        Self { inner }
    }

    fn len(&self, batch: usize) -> usize {
        batch * self.inner.output().len()
    }
}

impl<T: Element> Describe for Residual<T> {
    fn input(&self) -> ImageShape {
        self.inner.input()
    }

    fn output(&self) -> ImageShape {
        self.inner.output()
    }

    fn parameters(&self) -> Vec<ParameterSpec> {
        self.inner.parameters()
    }

    fn kept_len(&self, batch: usize) -> usize {
        padded(self.len(batch)) + self.inner.kept_len(batch)
    }

    fn spare_len(&self, batch: usize) -> usize {
        padded(self.len(batch)) + self.inner.spare_len(batch)
    }

    fn work_len(&self) -> WorkLen {
        self.inner.work_len()
    }

    fn flops(&self) -> usize {
        self.inner.flops()
    }

    fn summary(&self) -> String {
        format!("residual block of {}", self.inner.children().len())
    }

    fn torch(&self, name: &str, torch: &mut Torch<'_>) {
        if self.input().pixels() > 1 {
            // Before x is saved: the first layer inside may need this form, and both must have the same form.
            torch.need_image(self.input());
        }
        let x = torch.save();
        self.inner.torch(name, torch);
        torch.lines.push(format!("x = {x} + x"));
    }

    fn steps(&self, name: &str, steps: &mut Steps<'_>) {
        let sizes = [("len", self.input().len())];
        steps.push("keep", &sizes);
        self.inner.steps(name, steps);
        steps.push("add_kept", &sizes);
    }
}

impl<T: Element> Layer<T> for Residual<T> {
    fn forward(&self, x: &[T], y: &mut [T], pass: Forward<'_, T>) {
        let len = self.len(pass.batch);
        let (f, kept) = pass.kept.split_at_mut(padded(len));
        let f = &mut f[..len];
        self.inner.forward(x, f, Forward { kept, ..pass });
        y.par_chunks_mut(PIECE).zip(x.par_chunks(PIECE)).zip(f.par_chunks(PIECE)).for_each(|((y, x), f)| {
            for ((y, &x), &f) in y.iter_mut().zip(x).zip(f) {
                *y = x + f;
            }
        });
    }

    fn backward(&self, x: &[T], _y: &[T], dy: &mut [T], dx: Option<&mut [T]>, pass: Backward<'_, T>) {
        let len = self.len(pass.batch);
        let (f, kept) = pass.kept.split_at(padded(len));
        let (df, spare) = pass.spare.split_at_mut(padded(len));
        let df = &mut df[..len];
        let Some(dx) = dx else {
            return self.inner.backward(x, &f[..len], dy, None, Backward { kept, spare, ..pass });
        };
        // Before f's backward pass, which may change dy.
        dx.par_chunks_mut(PIECE).zip(dy.par_chunks(PIECE)).for_each(|(dx, dy)| dx.copy_from_slice(dy));
        self.inner.backward(x, &f[..len], dy, Some(&mut *df), Backward { kept, spare, ..pass });
        dx.par_chunks_mut(PIECE).zip(df.par_chunks(PIECE)).for_each(|(dx, df)| add(dx, df));
    }

    fn children(&self) -> &[Child<T>] {
        self.inner.children()
    }
}

#[cfg(test)]
pub(crate) fn examples() -> Vec<super::proof::Example> {
    use super::proof::{Example, boxed, conv, linear};
    use super::{Activation, Linear};
    let image = ImageShape::new(5, 4, 3);
    let two = |last| {
        Sequence::new(boxed([
            ("conv1", Box::new(conv(image, 2, Activation::Tanh)) as _),
            ("conv2", Box::new(conv(ImageShape::new(5, 4, 2), 3, last)) as _),
        ]))
    };
    // An activation at the end changes dy: the sum must use the unchanged dy.
    let of_residuals = Sequence::new(boxed([
        ("a", Box::new(Residual::new(two(Activation::Tanh))) as _),
        ("b", Box::new(Residual::new(two(Activation::Identity))) as _),
        ("linear", Box::new(linear(image, 2, Activation::Identity)) as _),
    ]));
    // From a vector: the saved value must become an image too.
    let from_a_vector = Sequence::new(boxed([
        ("linear", Box::new(Linear::to_image(4, image, Activation::Identity)) as _),
        ("block", Box::new(Residual::new(two(Activation::Identity))) as _),
    ]));
    vec![
        Example::new(from_a_vector, 2),
        Example::new(Residual::new(two(Activation::Identity)), 1),
        Example::new(Residual::new(two(Activation::Sigmoid)), 4),
        Example::new(of_residuals, 2),
    ]
}

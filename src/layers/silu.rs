//! SiLU, also called swish: y = x·σ(x), with σ the sigmoid (Elfwing, Uchibe & Doya 2018; Ramachandran, Zoph &
//! Le 2017).
//!
//! ```text
//! forward     y  = x·σ(x)
//! backward    dx = dy · σ(x)·(1 + x·(1 − σ(x)))        since σ′ = σ(1 − σ) and (x·σ)′ = σ + x·σ′
//! ```
//!
//! Unlike ReLU it is smooth, and y does not determine its derivative, because y falls and rises again for
//! negative x. Therefore it is a layer that reads its own input (the output of the previous layer), and not an
//! [`Activation`](super::Activation).

use rayon::prelude::*;

use super::work::PIECE;
use super::{Backward, Describe, Forward, Layer, Steps, Torch};
use crate::kernels::simd::vectorized;
use crate::tensor::{Element, ImageShape};

/// x·σ(x) of every number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Silu {
    /// The shape of input and output.
    pub shape: ImageShape,
}

/// x·σ(x).
#[inline(always)]
pub(super) fn silu<T: Element>(x: T) -> T {
    x * x.sigmoid()
}

/// The gradient with respect to x, from that with respect to x·σ(x).
#[inline(always)]
pub(super) fn silu_gradient<T: Element>(x: T, dy: T) -> T {
    let s = x.sigmoid();
    dy * s * (x * (T::ONE - s) + T::ONE)
}

impl Describe for Silu {
    fn input(&self) -> ImageShape {
        self.shape
    }

    fn output(&self) -> ImageShape {
        self.shape
    }

    fn summary(&self) -> String {
        "SiLU".into()
    }

    fn torch(&self, _name: &str, torch: &mut Torch<'_>) {
        torch.apply("F.silu(x)".into(), self.activation(), self.shape);
    }

    fn steps(&self, _name: &str, steps: &mut Steps<'_>) {
        steps.push("silu", &[("len", self.shape.len())]);
    }
}

impl<T: Element> Layer<T> for Silu {
    fn forward(&self, x: &[T], y: &mut [T], _pass: Forward<'_, T>) {
        y.par_chunks_mut(PIECE).zip(x.par_chunks(PIECE)).for_each(|(y, x)| {
            vectorized!({
                for (y, &x) in y.iter_mut().zip(x) {
                    *y = silu(x);
                }
            });
        });
    }

    fn backward(&self, x: &[T], _y: &[T], dy: &mut [T], dx: Option<&mut [T]>, _pass: Backward<'_, T>) {
        let Some(dx) = dx else { return };
        dx.par_chunks_mut(PIECE).zip(x.par_chunks(PIECE)).zip(dy.par_chunks(PIECE)).for_each(
            |((dx, x), dy)| {
                vectorized!({
                    for ((dx, &x), &dy) in dx.iter_mut().zip(x).zip(dy) {
                        *dx = silu_gradient(x, dy);
                    }
                });
            },
        );
    }
}

#[cfg(test)]
pub(crate) fn examples() -> Vec<super::proof::Example> {
    use super::proof::Example;
    // From −10 to 10: both tails, and the minimum near −1.28.
    let wide = (0..60).map(|i| f64::from(i) / 3.0 - 9.9).collect();
    vec![
        Example::new(Silu { shape: ImageShape::new(3, 2, 5) }, 1),
        Example::new(Silu { shape: ImageShape::vector(20) }, 3).at(wide),
    ]
}

//! Elementwise functions, applied to every number of a layer's output: y = f(x).
//!
//! Backward, the chain rule for each number alone: ∂L/∂x = ∂L/∂y · f′(x). All four f′ can be written in terms
//! of y instead of x, so the pre-activation values need not be kept:
//!
//! | | y | f′(x) |
//! |---|---|---|
//! | identity | x | 1 |
//! | ReLU | max(x, 0) | 1 if y > 0, else 0 (also at the kink, x = 0, as everywhere) |
//! | sigmoid | 1/(1 + e⁻ˣ) | y(1 − y) |
//! | tanh | tanh x | 1 − y² |

use super::work::BLOCK;
use crate::kernels::simd::vectorized;
use crate::tensor::Element;

/// The function applied to a layer's output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// y = x.
    Identity,
    /// y = max(x, 0).
    Relu,
    /// y = 1/(1 + e⁻ˣ): a mean in [0, 1].
    Sigmoid,
    /// y = tanh x: a mean in [−1, 1].
    Tanh,
}

impl Activation {
    /// Its name in the steps of a network: "relu".
    pub fn name(self) -> &'static str {
        match self {
            Self::Identity => "identity",
            Self::Relu => "relu",
            Self::Sigmoid => "sigmoid",
            Self::Tanh => "tanh",
        }
    }

    /// values ← f(values).
    pub fn forward<T: Element>(self, values: &mut [T]) {
        vectorized!(match self {
            Self::Identity => {}
            Self::Relu => values.iter_mut().for_each(|v| *v = relu(*v)),
            Self::Sigmoid => values.iter_mut().for_each(|v| *v = v.sigmoid()),
            Self::Tanh => values.iter_mut().for_each(|v| *v = v.tanh()),
        });
    }

    /// d ← d · f′, given the outputs y.
    ///
    /// # Panics
    /// If the slices differ in length.
    pub fn backward<T: Element>(self, y: &[T], d: &mut [T]) {
        assert_eq!(y.len(), d.len(), "outputs and their gradients");
        let pairs = d.iter_mut().zip(y);
        vectorized!(match self {
            Self::Identity => {}
            Self::Relu => pairs.for_each(|(d, &y)| *d *= step(y)),
            Self::Sigmoid => pairs.for_each(|(d, &y)| *d *= y * (T::ONE - y)),
            Self::Tanh => pairs.for_each(|(d, &y)| *d *= T::ONE - y * y),
        });
    }

    /// Adds `bias` to each row of `bias.len()` numbers and applies the activation: one pass over the rows.
    ///
    /// # Panics
    /// If the length is not a whole number of rows.
    pub fn forward_with_bias<T: Element>(self, rows: &mut [T], bias: &[T]) {
        assert!(rows.len().is_multiple_of(bias.len()), "{} numbers in rows of {}", rows.len(), bias.len());
        // A short bias is repeated, so that the loop below is long enough for vectors.
        let mut repeated = [T::ZERO; BLOCK];
        let bias = if bias.len() > BLOCK / 2 {
            bias
        } else {
            let whole = &mut repeated[..BLOCK / bias.len() * bias.len()];
            whole.chunks_exact_mut(bias.len()).for_each(|row| row.copy_from_slice(bias));
            whole
        };
        vectorized!({
            for row in rows.chunks_mut(bias.len()) {
                let pairs = row.iter_mut().zip(bias);
                match self {
                    Self::Relu => pairs.for_each(|(v, &b)| *v = relu(*v + b)),
                    _ => pairs.for_each(|(v, &b)| *v += b),
                }
            }
        });
        if self != Self::Relu {
            self.forward(rows);
        }
    }
}

/// max(x, 0), which is NaN for NaN: an invalid number must stay visible until the loss is checked.
#[inline(always)]
fn relu<T: Element>(x: T) -> T {
    if x < T::ZERO { T::ZERO } else { x }
}

/// 1 if y > 0 and 0 if y = 0, for the outputs of a ReLU: y·10³⁰⁰ (10³⁸), but at most 1. (A y below 10⁻³⁸
/// would be a little short of 1.) The plain choice `if y > 0 { d } else { 0 }` becomes masked stores, which
/// took 400 µs; this takes 120.
#[inline(always)]
fn step<T: Element>(y: T) -> T {
    (y * T::HUGE).min(T::ONE)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::gradient_check::{check, random_vec};

    #[test]
    pub(crate) fn gradients_of_the_activations() {
        for activation in [Activation::Identity, Activation::Relu, Activation::Sigmoid, Activation::Tanh] {
            // At least 0.05 away from ReLU's kink.
            let x: Vec<f64> = random_vec(3, 40).iter().map(|v| v + 0.05 * v.signum()).collect();
            let upstream = random_vec(4, x.len());
            let mut y = x.clone();
            activation.forward(&mut y);
            let mut d = upstream.clone();
            activation.backward(&y, &mut d);
            check(&format!("{activation:?}"), &mut x.clone(), &d, |x| {
                let mut y = x.to_vec();
                activation.forward(&mut y);
                y.iter().zip(&upstream).map(|(y, u)| y * u).sum()
            });
        }
    }

    #[test]
    fn a_broken_number_goes_through_every_activation() {
        for activation in [Activation::Identity, Activation::Relu, Activation::Sigmoid, Activation::Tanh] {
            let mut values = [f32::NAN, 1.0];
            activation.forward_with_bias(&mut values, &[0.5]);
            assert!(values[0].is_nan() && !values[1].is_nan(), "{activation:?}");
        }
    }
}

//! **Laplace** with scale b around the mean x̂: less sensitive to single outlying pixels than a Gaussian.
//!
//! ```text
//! −ln p(x) = |x̂ − x|/b + ln 2b          derivative: sign(x̂ − x)/b, and 0 at the kink
//! ```

use super::family::{Family, positive};
use super::single::{self, Scale};
use crate::error::Result;
use crate::tensor::{Element, ImageShape};

#[derive(Clone, Copy)]
pub(super) struct Laplace {
    pub(super) scale: f64,
}

impl Laplace {
    fn scale(&self) -> Scale {
        Scale { factor: 1.0 / self.scale, constant: libm::log(2.0 * self.scale) }
    }
}

impl Family for Laplace {
    fn name(&self) -> &'static str {
        "laplace"
    }

    fn settings(&self) -> Vec<(&'static str, f64)> {
        vec![("scale", self.scale)]
    }

    fn with_setting(&self, setting: &str, value: f64) -> Option<Self> {
        (setting == "scale").then_some(Self { scale: value })
    }

    fn validate(&self) -> Result<()> {
        positive("laplace: scale", self.scale)
    }

    fn output_is_mean(&self) -> bool {
        true
    }

    fn forward<T: Element>(&self, output: &[T], target: &[T], _: ImageShape, per_image: &mut [f64]) {
        single::forward(&self.scale(), absolute, output, target, per_image);
    }

    fn forward_backward<T: Element>(
        &self,
        output: &[T],
        target: &[T],
        _: ImageShape,
        d_output: &mut [T],
        per_image: &mut [f64],
    ) -> Option<f64> {
        single::forward_backward(&self.scale(), absolute, output, target, d_output, per_image);
        None
    }

    fn output_meaning(&self) -> String {
        "the mean".into()
    }
}

/// |x̂ − x| and sign(x̂ − x).
#[inline(always)]
fn absolute<T: Element>(mean: T, x: T) -> (T, T) {
    let error = mean - x;
    let positive = if error > T::ZERO { T::ONE } else { T::ZERO };
    let negative = if error < T::ZERO { T::ONE } else { T::ZERO };
    (error.abs(), positive - negative)
}

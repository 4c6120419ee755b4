//! One file per operation: the formula, the forward pass, the backward pass, and the tests of both.
//!
//! # Conventions
//!
//! - Activations are B·H·W·C (channels last), one image after another. [`crate`] has the legend of letters.
//! - Outputs come first in formulas and last in argument lists; a gradient is called `d_<name>`, in short
//!   arguments `dx` and `dy`.
//! - A layer stores sizes, not numbers: parameters and gradients are slices of two flat vectors owned by the
//!   caller ([`parameter`]). So two layers can share a weight, and an optimizer works on plain memory.
//! - Layers with an [`Activation`] apply it, and their bias, while the rows are in the cache.
//! - Containers are layers too: [`sequence`], [`residual`], and [`mod@concat`], which appends a condition.
//!   Gradients that meet at one value are added in a fixed order.
//!
//! # To add a layer
//!
//! Write one file with a struct that implements [`Describe`] and [`Layer`], and name it in the list below.
//! The list declares the module, exports the struct, and tests the layer by finite differences and against
//! PyTorch's values for the same inputs. The tests call the file's `examples()`, so a layer without them does
//! not compile in tests. docs/extending.md has all steps.
//!
//! Reading order: [`layer`], [`linear`], `patches`, [`conv2d`], [`conv_transpose2d`], [`max_pool2d`],
//! [`activation`], the containers, [`shared`].

pub mod activation;
mod in_place;
pub mod layer;
pub mod parameter;
mod patches;
#[cfg(test)]
pub(crate) mod proof;
#[cfg(test)]
mod rounded;
pub mod shared;
pub mod steps;
mod tiles;
pub mod torch;
pub mod work;

pub use activation::Activation;
pub use layer::{Backward, Child, Describe, Forward, Layer};
pub use parameter::{Gradients, Init, Layout, ParameterGradients, ParameterSpec, Parameters, Slot};
pub use shared::Shared;
pub use steps::{Step, Steps};
pub use torch::Torch;
pub use work::{MOST_TASKS, Work, WorkLen};

/// The list of layers. (`cargo fmt` does not find modules inside a macro, so these files are formatted by
/// name.)
macro_rules! layers {
    ($($module:ident::$Name:ident,)*) => {
        $(pub mod $module; pub use $module::$Name;)*

        /// Every layer with the examples that test it.
        #[cfg(test)]
        pub(crate) const EXAMPLES: &[(&str, fn() -> Vec<proof::Example>)] =
            &[$((stringify!($module), $module::examples),)*];
    };
}

layers! {
    linear::Linear,
    conv2d::Conv2d,
    conv_transpose2d::ConvTranspose2d,
    max_pool2d::MaxPool2d,
    sequence::Sequence,
    residual::Residual,
    concat::Concat,
    silu::Silu,
    group_norm::GroupNorm,
    upsample::Upsample,
}

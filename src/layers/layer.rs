//! The definition of a layer: two traits through which the rest of the program uses it.
//!
//! [`Describe`] has everything without numbers: shapes, parameters, memory, operations, a line for `info`,
//! the PyTorch code, the steps for the page of `elbo explore`. [`Layer`] adds the two passes, for a number
//! type. A new layer is one file with both and one line in [`layers`](super); besides them only the page of
//! `elbo explore` knows which layers exist (src/explore/engine.js).
//!
//! ```text
//! forward    y  = f(x; parameters)
//! backward   dx = (∂f/∂x)ᵀ · dy,   d_parameters = (∂f/∂parameters)ᵀ · dy
//! ```
//!
//! There is no tape. `backward` gets the batch's x and y again, and the layer's saved values from its forward
//! pass. Buffers belong to the caller and are allocated once, so a pass allocates nothing.

use std::fmt::Debug;
use std::ops::Range;

use super::Activation;
use super::parameter::{ParameterGradients, ParameterSpec, Parameters};
use super::steps::Steps;
use super::torch::Torch;
use super::work::{Work, WorkLen};
use crate::kernels::geometry::Geometry;
use crate::tensor::{Element, ImageShape};

/// The description of a layer, independent of the number type.
pub trait Describe: Debug + Send + Sync {
    /// The shape of one image's input. A vector of n is 1×1×n.
    fn input(&self) -> ImageShape;

    /// The shape of one image's output.
    fn output(&self) -> ImageShape;

    /// The parameters, in the order of their slots; in a container with the children's names as prefixes.
    fn parameters(&self) -> Vec<ParameterSpec> {
        Vec::new()
    }

    /// The numbers that the forward pass of `batch` images saves for the backward pass, besides input and
    /// output.
    fn kept_len(&self, _batch: usize) -> usize {
        0
    }

    /// The numbers that the backward pass of `batch` images needs for gradients between a container's
    /// children.
    fn spare_len(&self, _batch: usize) -> usize {
        0
    }

    /// Working memory, which all layers of a network share.
    fn work_len(&self) -> WorkLen {
        WorkLen::default()
    }

    /// Multiplications and additions in the matrix products of one forward pass over one image, each counted
    /// as an operation; those with a padding's zeros are not counted. A backward pass takes twice as many, or
    /// as many if no input gradient is needed.
    fn flops(&self) -> usize {
        0
    }

    /// The geometry and the small side's channels of a layer whose products use columns (im2col), for
    /// benchmarks of its kernels.
    fn columns(&self) -> Option<(Geometry, usize)> {
        None
    }

    /// A short description: "convolution 3×3, stride 1".
    fn summary(&self) -> String;

    /// The activation of its output.
    fn activation(&self) -> Activation {
        Activation::Identity
    }

    /// Writes it as PyTorch code: the modules that hold its parameters and the lines that apply them. `name`
    /// is its name in the network.
    fn torch(&self, name: &str, torch: &mut Torch<'_>);

    /// Writes it as steps for an engine in another language. `name` is its name in the network.
    fn steps(&self, name: &str, steps: &mut Steps<'_>);
}

/// A layer of a network that computes with `T`.
pub trait Layer<T: Element>: Describe {
    /// y ← f(x). `x` is B × input, `y` B × output.
    fn forward(&self, x: &[T], y: &mut [T], pass: Forward<'_, T>);

    /// The gradients, from the gradient `dy` of the output. `x` and `y` are those of the forward pass. The
    /// layer may change `dy`: one with an activation leaves the gradient before the activation there. `dx` is
    /// overwritten; the first layer of a network gets `None`.
    fn backward(&self, x: &[T], y: &[T], dy: &mut [T], dx: Option<&mut [T]>, pass: Backward<'_, T>);

    /// The layers inside a container, in the order in which they run; none in other layers.
    fn children(&self) -> &[Child<T>] {
        &[]
    }
}

/// A layer with its name in a container.
#[derive(Debug)]
pub struct Child<T> {
    /// Its name in the container.
    pub name: String,
    /// The layer.
    pub layer: Box<dyn Layer<T>>,
    /// The container's slots that are its own.
    pub slots: Range<usize>,
}

/// The data of a forward pass besides input and output.
#[derive(Debug)]
pub struct Forward<'a, T> {
    /// B.
    pub batch: usize,
    /// The layer's parameters.
    pub parameters: Parameters<'a, T>,
    /// The condition of each image, B × L: a label's numbers. Empty in a model without labels.
    pub condition: &'a [T],
    /// Room for the [`Describe::kept_len`] numbers that are saved for the backward pass.
    pub kept: &'a mut [T],
    /// Working memory.
    pub work: &'a mut Work<T>,
}

/// The data of a backward pass besides inputs, outputs and their gradients.
#[derive(Debug)]
pub struct Backward<'a, T> {
    /// B.
    pub batch: usize,
    /// The layer's parameters.
    pub parameters: Parameters<'a, T>,
    /// The destination of their gradients.
    pub gradients: ParameterGradients<'a, T>,
    /// The values that the forward pass saved.
    pub kept: &'a [T],
    /// [`Describe::spare_len`] numbers with arbitrary values.
    pub spare: &'a mut [T],
    /// Working memory.
    pub work: &'a mut Work<T>,
}

//! The parameters of a layer: their descriptions, and their positions in a complete network.
//!
//! A layer knows sizes, not numbers. It lists its parameters ([`ParameterSpec`]); the network assigns each a
//! [`Slot`] in one flat vector; a pass gets the vector and the slots ([`Parameters`],
//! [`ParameterGradients`]). Two layers that share a weight have slots with the same range.
//!
//! In memory a weight has the order of its kernels; in files it has PyTorch's. The two differ only in the
//! position of the channels ([`Layout`]).

use std::ops::Range;

/// The relation between a parameter in memory and PyTorch's tensor: `[outer][pixels][channels][inner]` in
/// memory is `[outer][channels][pixels][inner]` in PyTorch. Each of the `outer` rows ends with `tail` numbers
/// that are the same in both.
///
/// | parameter | outer | pixels | channels | inner | tail |
/// |---|---|---|---|---|---|
/// | convolution `[O, C, KH, KW]` and transposed `[S, C, KH, KW]` | O or S | KH·KW | C | 1 | 0 |
/// | linear from an image `[out, C·H·W]` | out | H·W | C | 1 | 0 |
/// | linear from an image and a vector of n `[out, C·H·W + n]` | out | H·W | C | 1 | n |
/// | linear to an image `[C·H·W, in]` | 1 | H·W | C | in | 0 |
/// | its bias `[C·H·W]` | 1 | H·W | C | 1 | 0 |
/// | all others | all | 1 | 1 | 1 | 0 |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// The outermost dimension of both.
    pub outer: usize,
    /// Pixels or kernel taps.
    pub pixels: usize,
    /// Channels.
    pub channels: usize,
    /// The innermost dimension of both.
    pub inner: usize,
    /// Numbers at the end of each outer row that do not belong to an image.
    pub tail: usize,
}

impl Layout {
    /// A parameter with the same order in both.
    pub fn plain(len: usize) -> Self {
        Self { outer: len, pixels: 1, channels: 1, inner: 1, tail: 0 }
    }

    /// Whether memory and tensor have the same order.
    pub fn is_plain(&self) -> bool {
        self.pixels == 1 || self.channels == 1
    }

    /// Calls `visit(index in memory, index in PyTorch's tensor)` for every number.
    fn for_each(&self, mut visit: impl FnMut(usize, usize)) {
        let Self { outer, pixels, channels, inner, tail } = *self;
        let row = pixels * channels * inner + tail;
        for (o, p) in (0..outer).flat_map(|o| (0..pixels).map(move |p| (o, p))) {
            for (c, i) in (0..channels).flat_map(|c| (0..inner).map(move |i| (c, i))) {
                visit(o * row + (p * channels + c) * inner + i, o * row + (c * pixels + p) * inner + i);
            }
        }
        for at in (0..outer).flat_map(|o| (row - tail..row).map(move |i| o * row + i)) {
            visit(at, at);
        }
    }

    /// `tensor` ← `memory`, in PyTorch's order.
    pub fn to_tensor<T: Copy>(&self, memory: &[T], tensor: &mut [T]) {
        self.for_each(|m, t| tensor[t] = memory[m]);
    }

    /// `memory` ← `tensor`.
    pub fn to_memory<T: Copy>(&self, tensor: &[T], memory: &mut [T]) {
        self.for_each(|m, t| memory[m] = tensor[t]);
    }
}

/// The initialization of a parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Init {
    /// Uniform in ±1/√fan_in, PyTorch's default. (PyTorch calls it `kaiming_uniform` with a = √5, which
    /// amounts to the same; He et al. 2015 is the name's source, not the value's.)
    Uniform {
        /// The numbers that each output sums over, counted as in PyTorch: a transposed convolution counts its
        /// output channels.
        fan_in: usize,
    },
    /// All 0.
    Zero,
    /// All 1.
    One,
}

/// One parameter of a layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParameterSpec {
    /// Its name within the layer: `weight`, or `conv1.weight` in a container.
    pub name: String,
    /// The shape of the tensor in PyTorch.
    pub shape: Vec<usize>,
    /// The layout in memory.
    pub layout: Layout,
    /// The initialization.
    pub init: Init,
}

impl ParameterSpec {
    /// A parameter called `name` whose PyTorch tensor has the given shape.
    pub fn new(name: &str, shape: &[usize], layout: Layout, init: Init) -> Self {
        Self { name: name.into(), shape: shape.into(), layout, init }
    }

    /// A vector, which is the same in memory and in files.
    pub fn vector(name: &str, len: usize, init: Init) -> Self {
        Self::new(name, &[len], Layout::plain(len), init)
    }

    /// The number of its elements.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether it has no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// The position of a parameter in the flat vector.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Slot {
    /// Its numbers.
    pub range: Range<usize>,
    /// Whether its gradient is added to that of an earlier layer in the backward pass: the second use of a
    /// tied weight.
    pub accumulate: bool,
}

/// The parameters of one layer: the flat vector of all, and the layer's slots in it.
#[derive(Clone, Copy, Debug)]
pub struct Parameters<'a, T> {
    /// All parameters of the network.
    pub all: &'a [T],
    /// The layer's own, in the order in which it lists them.
    pub slots: &'a [Slot],
}

impl<'a, T> Parameters<'a, T> {
    /// The layer's parameter number `index`.
    pub fn get(&self, index: usize) -> &'a [T] {
        &self.all[self.slots[index].range.clone()]
    }

    /// The parameters of a child whose slots are `slots` of this container's.
    pub fn of_child(&self, slots: Range<usize>) -> Self {
        Self { all: self.all, slots: &self.slots[slots] }
    }
}

/// The parameter gradients of one layer, laid out as [`Parameters`].
#[derive(Debug)]
pub struct ParameterGradients<'a, T> {
    /// The gradient of all parameters of the network.
    pub all: &'a mut [T],
    /// The layer's slots.
    pub slots: &'a [Slot],
}

impl<T> ParameterGradients<'_, T> {
    /// Weight and bias: the layer's parameters 0 and 1.
    pub fn weight_and_bias(&mut self) -> Gradients<'_, T> {
        let [weight, bias] = self.slots else {
            panic!("a weight and a bias, not {} slots", self.slots.len())
        };
        let accumulate = weight.accumulate;
        let [weight, bias] = self
            .all
            .get_disjoint_mut([weight.range.clone(), bias.range.clone()])
            .expect("a weight and a bias are different parameters");
        Gradients { weight, bias, accumulate }
    }

    /// The gradients of a child whose slots are `slots` of this container's.
    pub fn of_child(&mut self, slots: Range<usize>) -> ParameterGradients<'_, T> {
        ParameterGradients { all: self.all, slots: &self.slots[slots] }
    }
}

/// The destination of the gradients of a weight and a bias.
#[derive(Debug)]
pub struct Gradients<'a, T> {
    /// ∂L/∂weight, in the layout of the weight.
    pub weight: &'a mut [T],
    /// ∂L/∂bias.
    pub bias: &'a mut [T],
    /// Whether the weight's gradient is added to the existing values (the second use of a tied weight) or
    /// overwrites them.
    pub accumulate: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_is_transposed_and_its_tail_is_not() {
        // Two rows of 2 pixels × 3 channels and a tail of 1.
        let layout = Layout { outer: 2, pixels: 2, channels: 3, inner: 1, tail: 1 };
        let memory: Vec<usize> = (0..14).collect();
        let mut tensor = vec![0; 14];
        layout.to_tensor(&memory, &mut tensor);
        assert_eq!(tensor, [0, 3, 1, 4, 2, 5, 6, 7, 10, 8, 11, 9, 12, 13]);
        let mut back = vec![0; 14];
        layout.to_memory(&tensor, &mut back);
        assert_eq!(back, memory);
    }
}

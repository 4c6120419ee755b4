//! All parameters in one flat vector, and the table that says which number is which.
//!
//! One vector makes the optimizer a single pass, gradients and moments vectors of the same shape, and a tied weight simply a range
//! that two layers know. Encoder and shared layer come first, the decoder from [`Table::decoder_start`] on, so
//! that each half is a range too.
//!
//! In memory a weight lies as its kernels want it; on disk and towards the world it is laid out as in PyTorch. The two differ
//! only in where channels stand ([`Layout`]).

use std::ops::Range;

use rand::RngExt;

use crate::random::{Stream, stream};
use crate::tensor::Element;

/// How a parameter in memory becomes PyTorch's tensor: `[outer][pixels][channels][inner]` there is
/// `[outer][channels][pixels][inner]` here.
///
/// | parameter | outer | pixels | channels | inner |
/// |---|---|---|---|---|
/// | convolution `[O, C, KH, KW]` and transposed `[S, C, KH, KW]` | O or S | KH·KW | C | 1 |
/// | linear from an image `[out, C·H·W]` | out | H·W | C | 1 |
/// | linear to an image `[C·H·W, in]` | 1 | H·W | C | in |
/// | its bias `[C·H·W]` | 1 | H·W | C | 1 |
/// | all others | the whole | 1 | 1 | 1 |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// What stays outermost.
    pub outer: usize,
    /// Pixels or kernel taps.
    pub pixels: usize,
    /// Channels.
    pub channels: usize,
    /// What stays innermost.
    pub inner: usize,
}

impl Layout {
    /// A parameter that is the same in both.
    pub fn plain(len: usize) -> Self {
        Self { outer: len, pixels: 1, channels: 1, inner: 1 }
    }

    /// Calls `visit(index in memory, index in PyTorch's tensor)` for every number.
    fn for_each(&self, mut visit: impl FnMut(usize, usize)) {
        let Self { outer, pixels, channels, inner } = *self;
        for (o, p) in (0..outer).flat_map(|o| (0..pixels).map(move |p| (o, p))) {
            for (c, i) in (0..channels).flat_map(|c| (0..inner).map(move |i| (c, i))) {
                visit(
                    ((o * pixels + p) * channels + c) * inner + i,
                    ((o * channels + c) * pixels + p) * inner + i,
                );
            }
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

/// One named parameter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parameter {
    /// Its name in the model file: `encoder.conv1.weight`.
    pub name: String,
    /// The shape of PyTorch's tensor.
    pub shape: Vec<usize>,
    /// How that lies in memory.
    pub layout: Layout,
    /// Where it lies in the flat vector.
    pub range: Range<usize>,
    /// The numbers that each output sums over; 0 for a parameter that starts at zero.
    pub fan_in: usize,
}

/// The table of a network's parameters, in the order of the forward pass.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Table {
    /// The parameters; their ranges follow each other without gaps.
    pub parameters: Vec<Parameter>,
    /// Where the decoder's half begins.
    pub decoder_start: usize,
}

impl Table {
    /// The numbers of all parameters.
    pub fn len(&self) -> usize {
        self.parameters.last().map_or(0, |parameter| parameter.range.end)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.parameters.is_empty()
    }

    /// Adds a parameter and tells where it lies.
    pub(super) fn add(
        &mut self,
        name: String,
        shape: &[usize],
        layout: Layout,
        fan_in: usize,
    ) -> Range<usize> {
        let start = self.len();
        let range = start..start + shape.iter().product::<usize>();
        self.parameters.push(Parameter { name, shape: shape.to_vec(), layout, range: range.clone(), fan_in });
        range
    }

    /// PyTorch's default initialization: weights and biases uniform in ±1/√fan_in. (There it is called
    /// `kaiming_uniform` with a = √5, which comes to that; He et al. 2015 is the name's source, not the value's.)
    ///
    /// Each parameter has a random stream of its own, so that one layer more does not change the others.
    pub fn initialize<T: Element>(&self, seed: u64) -> Vec<T> {
        let mut values = vec![T::ZERO; self.len()];
        for (index, parameter) in self.parameters.iter().enumerate().filter(|(_, p)| p.fan_in > 0) {
            let mut rng = stream(seed, Stream::Weights, index as u64);
            let bound = 1.0 / (parameter.fan_in as f64).sqrt();
            for value in &mut values[parameter.range.clone()] {
                *value = T::from_f64(bound * (2.0 * rng.random::<f64>() - 1.0));
            }
        }
        values
    }
}

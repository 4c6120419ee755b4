//! All parameters in one flat vector, and the table of their names, shapes and positions.
//!
//! With one vector, the optimizer is a single pass, gradients and moments are vectors of the same shape, and
//! a tied weight is a range that two layers use. Encoder and shared layer come first, the decoder starts at
//! [`Table::decoder_start`], so each half is a range too.

use std::collections::BTreeMap;
use std::ops::Range;

use rand::RngExt;

use crate::layers::{Init, Layout, ParameterSpec, Slot};
use crate::random::{Stream, stream};
use crate::tensor::Element;

/// One named parameter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parameter {
    /// Its name in the model file: `encoder.conv1.weight`.
    pub name: String,
    /// The shape of PyTorch's tensor.
    pub shape: Vec<usize>,
    /// Its layout in memory.
    pub layout: Layout,
    /// Its range in the flat vector.
    pub range: Range<usize>,
    /// Its initialization.
    pub init: Init,
}

/// The table of a network's parameters, in the order of the forward pass.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Table {
    /// The parameters; their ranges follow each other without gaps.
    pub parameters: Vec<Parameter>,
    /// The start of the decoder's half: the first parameter whose name starts with `decoder.`.
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

    /// Adds parameters and returns their ranges. A parameter that is tied to an earlier one gets the same
    /// range.
    pub(super) fn add(&mut self, specs: Vec<ParameterSpec>, ties: &BTreeMap<String, String>) -> Vec<Slot> {
        specs.into_iter().map(|spec| Slot { range: self.add_one(spec, ties), accumulate: false }).collect()
    }

    fn add_one(&mut self, spec: ParameterSpec, ties: &BTreeMap<String, String>) -> Range<usize> {
        if let Some(owner) = ties.get(&spec.name) {
            let owner = self.parameters.iter().find(|parameter| parameter.name == *owner);
            return owner.expect("a parameter is tied to one before it").range.clone();
        }
        let start = self.len();
        let range = start..start + spec.len();
        if self.decoder_start == 0 && spec.name.starts_with("decoder.") {
            self.decoder_start = start;
        }
        let ParameterSpec { name, shape, layout, init } = spec;
        self.parameters.push(Parameter { name, shape, layout, range: range.clone(), init });
        range
    }

    /// The parameters before the first step. Each has its own random stream, so an additional layer does not
    /// change the others.
    pub fn initialize<T: Element>(&self, seed: u64) -> Vec<T> {
        self.initialize_from(seed, Stream::Weights)
    }

    /// [`initialize`](Self::initialize) from other streams than those of the model's weights.
    pub(super) fn initialize_from<T: Element>(&self, seed: u64, weights: Stream) -> Vec<T> {
        let mut values = vec![T::ZERO; self.len()];
        for (index, parameter) in self.parameters.iter().enumerate() {
            let values = &mut values[parameter.range.clone()];
            match parameter.init {
                Init::Zero => {}
                Init::One => values.fill(T::ONE),
                Init::Uniform { fan_in } => {
                    let mut rng = stream(seed, weights, index as u64);
                    let bound = 1.0 / (fan_in as f64).sqrt();
                    for value in values {
                        *value = T::from_f64(bound * (2.0 * rng.random::<f64>() - 1.0));
                    }
                }
            }
        }
        values
    }
}

//! A network as a list of steps, for an engine in another language: the data that `elbo explore` puts into
//! its page.
//!
//! Each layer describes itself ([`Describe::steps`](super::Describe::steps)) as operations with sizes and the
//! names of their parameters, in the order in which they run. Numbers have this engine's order: channels
//! last, parameters in their memory layout ([`Layout`](super::Layout)). The page has one function for each
//! operation (`src/explore/engine.js`), so a new layer needs its function there; a test compares the two
//! lists.

use std::collections::BTreeMap;

use super::Activation;

/// One operation of a network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// The name of its function: `conv2d`.
    pub operation: &'static str,
    /// Its sizes, by name.
    pub sizes: Vec<(&'static str, usize)>,
    /// The full names of its parameters. A tied one has the name of the parameter that it shares.
    pub parameters: Vec<String>,
    /// The activation of its output.
    pub activation: Activation,
}

/// The steps of a chain of layers, while it is built.
#[derive(Debug)]
pub struct Steps<'a> {
    /// The tied parameters: each one's name, and the name of the parameter that it shares.
    ties: &'a BTreeMap<String, String>,
    /// The steps so far.
    pub list: Vec<Step>,
}

impl<'a> Steps<'a> {
    /// An empty list.
    pub fn new(ties: &'a BTreeMap<String, String>) -> Self {
        Self { ties, list: Vec::new() }
    }

    /// Adds an operation without parameters.
    pub fn push(&mut self, operation: &'static str, sizes: &[(&'static str, usize)]) {
        let sizes = sizes.to_vec();
        self.list.push(Step { operation, sizes, parameters: Vec::new(), activation: Activation::Identity });
    }

    /// Adds the operation of the layer `name`, with its parameters `weight` and `bias`.
    pub fn push_weighted(
        &mut self,
        operation: &'static str,
        sizes: &[(&'static str, usize)],
        name: &str,
        activation: Activation,
    ) {
        let parameter = |which: &str| {
            let own = format!("{name}.{which}");
            self.ties.get(&own).cloned().unwrap_or(own)
        };
        let parameters = vec![parameter("weight"), parameter("bias")];
        self.list.push(Step { operation, sizes: sizes.to_vec(), parameters, activation });
    }
}

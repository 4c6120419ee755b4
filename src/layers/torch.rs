//! A network as PyTorch code, layer by layer: the modules that hold the parameters, and the lines of a
//! function that applies them.
//!
//! Each layer writes its own code ([`Describe::torch`](super::Describe::torch)) to this builder. The current
//! value is always called `x`. It is either an image, N×C×H×W, or a row of numbers, N×n; a layer requests the
//! form that it needs.

use std::collections::BTreeMap;

use super::Activation;
use crate::tensor::ImageShape;

/// The Python code of a chain of layers, while it is built.
#[derive(Debug)]
pub struct Torch<'a> {
    /// The tied parameters: each one's name, and the name of the parameter that it shares.
    ties: &'a BTreeMap<String, String>,
    /// Name and constructor of every module, in order.
    pub modules: Vec<(String, String)>,
    /// The lines of the function.
    pub lines: Vec<String>,
    is_image: bool,
    saved: usize,
}

impl<'a> Torch<'a> {
    /// Starts without code. `is_image` is the initial form of `x`.
    pub fn new(ties: &'a BTreeMap<String, String>, is_image: bool) -> Self {
        Self { ties, modules: Vec::new(), lines: Vec::new(), is_image, saved: 0 }
    }

    /// Flattens `x` to a row of numbers, in PyTorch's order (channels first).
    pub fn need_vector(&mut self) {
        if std::mem::replace(&mut self.is_image, false) {
            self.lines.push("x = x.flatten(1)".into());
        }
    }

    /// Makes `x` an image of this shape.
    pub fn need_image(&mut self, shape: ImageShape) {
        if !std::mem::replace(&mut self.is_image, true) {
            let ImageShape { height, width, channels } = shape;
            self.lines.push(format!("x = x.view(-1, {channels}, {height}, {width})"));
        }
    }

    /// Whether `x` is an image now.
    pub fn is_image(&self) -> bool {
        self.is_image
    }

    /// The name of the layer whose weight the layer `name` uses, if it is not its own.
    pub fn weight_owner(&self, name: &str) -> Option<String> {
        let owner = self.ties.get(&format!("{name}.weight"))?;
        owner.strip_suffix(".weight").map(str::to_owned)
    }

    /// A layer of one module: constructs it, and applies it. With a weight shared from another layer the
    /// module has only a bias, and `function` is called with that weight instead; `{weight}` and `{bias}`
    /// stand for both, `{x}` for the value.
    pub fn module(&mut self, name: &str, constructor: String, biases: usize, function: &str) -> String {
        match self.weight_owner(name) {
            None => {
                self.modules.push((name.into(), constructor));
                format!("{}(x)", place(name))
            }
            Some(owner) => {
                self.modules.push((name.into(), format!("Bias({biases})")));
                function
                    .replace("{x}", "x")
                    .replace("{weight}", &format!("{}.weight", place(&owner)))
                    .replace("{bias}", &format!("{}.bias", place(name)))
            }
        }
    }

    /// Adds the line `x = activation(call)`, with the shape in a comment if `x` is an image.
    pub fn apply(&mut self, call: String, activation: Activation, shape: ImageShape) {
        let line = match activation {
            Activation::Identity => format!("x = {call}"),
            Activation::Relu => format!("x = F.relu({call})"),
            Activation::Sigmoid => format!("x = torch.sigmoid({call})"),
            Activation::Tanh => format!("x = torch.tanh({call})"),
        };
        let ImageShape { height, width, channels } = shape;
        self.lines.push(if self.is_image { format!("{line}  # {channels}x{height}x{width}") } else { line });
    }

    /// Saves `x` under a new name, which it returns.
    pub fn save(&mut self) -> String {
        self.saved += 1;
        let name = format!("x{}", self.saved);
        self.lines.push(format!("{name} = x"));
        name
    }
}

/// The Python expression for `encoder.conv1`: `e.conv1`.
fn place(name: &str) -> String {
    for (group, short) in [("encoder.", "e."), ("shared.", "s."), ("decoder.", "d.")] {
        if let Some(rest) = name.strip_prefix(group) {
            return format!("{short}{rest}");
        }
    }
    name.into()
}

/// One number, or a pair if rows and columns differ.
pub(super) fn pair(rows: usize, columns: usize) -> String {
    if rows == columns { rows.to_string() } else { format!("({rows}, {columns})") }
}

//! A sequence of layers: the output of each is the input of the next.
//!
//! ```text
//! forward     x₀ = x,  xᵢ = fᵢ(xᵢ₋₁),  y = xₙ
//! backward    dxₙ = dy,  dxᵢ₋₁ = (∂fᵢ/∂xᵢ₋₁)ᵀ · dxᵢ,  dx = dx₀        the chain rule, from the end
//! ```
//!
//! Forward saves every output between two children, because backward needs it. Backward runs from the end;
//! two buffers alternate in holding the gradient between two children.

use super::work::padded;
use super::{
    Backward, Child, Describe, Forward, Layer, ParameterGradients, ParameterSpec, Steps, Torch, WorkLen,
};
use crate::tensor::{Element, ImageShape};

/// Layers in a row, at least one.
#[derive(Debug)]
pub struct Sequence<T> {
    children: Vec<Child<T>>,
}

impl<T: Element> Sequence<T> {
    /// A sequence of named layers.
    ///
    /// # Panics
    /// If there are none, or the lengths of an output and the next input differ.
    pub fn new(layers: Vec<(String, Box<dyn Layer<T>>)>) -> Self {
        assert!(!layers.is_empty(), "a sequence of no layers");
        let mut children: Vec<Child<T>> = Vec::with_capacity(layers.len());
        let mut first = 0;
        for (name, layer) in layers {
            if let Some(before) = children.last() {
                let (output, input) = (before.layer.output(), layer.input());
                assert_eq!(
                    output.len(),
                    input.len(),
                    "{} gives {output} and {name} takes {input}",
                    before.name
                );
            }
            let count = layer.parameters().len();
            children.push(Child { name, layer, slots: first..first + count });
            first += count;
        }
        Self { children }
    }

    fn last(&self) -> &Child<T> {
        self.children.last().expect("a sequence has layers")
    }

    /// The length of the longest gradient between two children.
    fn widest(&self, batch: usize) -> usize {
        self.children[1..].iter().map(|child| padded(batch * child.layer.input().len())).max().unwrap_or(0)
    }
}

impl<T: Element> Describe for Sequence<T> {
    fn input(&self) -> ImageShape {
        self.children[0].layer.input()
    }

    fn output(&self) -> ImageShape {
        self.last().layer.output()
    }

    fn parameters(&self) -> Vec<ParameterSpec> {
        let named = |child: &Child<T>| {
            let name = child.name.clone();
            child.layer.parameters().into_iter().map(move |parameter| ParameterSpec {
                name: format!("{name}.{}", parameter.name),
                ..parameter
            })
        };
        self.children.iter().flat_map(named).collect()
    }

    fn kept_len(&self, batch: usize) -> usize {
        let own: usize = self.children.iter().map(|child| padded(child.layer.kept_len(batch))).sum();
        let between: usize =
            self.children[1..].iter().map(|child| padded(batch * child.layer.input().len())).sum();
        own + between
    }

    fn spare_len(&self, batch: usize) -> usize {
        let inner = self.children.iter().map(|child| child.layer.spare_len(batch)).max().unwrap_or(0);
        2 * self.widest(batch) + inner
    }

    fn work_len(&self) -> WorkLen {
        self.children.iter().map(|child| child.layer.work_len()).fold(WorkLen::default(), WorkLen::max)
    }

    fn flops(&self) -> usize {
        self.children.iter().map(|child| child.layer.flops()).sum()
    }

    fn summary(&self) -> String {
        format!("sequence of {}", self.children.len())
    }

    fn torch(&self, name: &str, torch: &mut Torch<'_>) {
        let prefix = if name.is_empty() { String::new() } else { format!("{name}.") };
        for child in &self.children {
            child.layer.torch(&format!("{prefix}{}", child.name), torch);
        }
    }

    fn steps(&self, name: &str, steps: &mut Steps<'_>) {
        let prefix = if name.is_empty() { String::new() } else { format!("{name}.") };
        for child in &self.children {
            child.layer.steps(&format!("{prefix}{}", child.name), steps);
        }
    }
}

impl<T: Element> Layer<T> for Sequence<T> {
    fn forward(&self, x: &[T], y: &mut [T], pass: Forward<'_, T>) {
        let Forward { batch, parameters, condition, kept, work } = pass;
        let (mut x, mut kept) = (x, kept);
        let count = self.children.len();
        for (index, child) in self.children.iter().enumerate() {
            let (own, rest) = kept.split_at_mut(padded(child.layer.kept_len(batch)));
            let pass = Forward {
                batch,
                parameters: parameters.of_child(child.slots.clone()),
                condition,
                kept: own,
                work: &mut *work,
            };
            if index + 1 == count {
                return child.layer.forward(x, y, pass);
            }
            let len = batch * child.layer.output().len();
            let (output, rest) = rest.split_at_mut(padded(len));
            child.layer.forward(x, &mut output[..len], pass);
            (x, kept) = (&output[..len], rest);
        }
    }

    fn backward(&self, x: &[T], y: &[T], dy: &mut [T], dx: Option<&mut [T]>, pass: Backward<'_, T>) {
        let Backward { batch, parameters, gradients, mut kept, spare, work } = pass;
        let widest = self.widest(batch);
        let (mut d_output, rest) = spare.split_at_mut(widest);
        let (mut d_input, inner_spare) = rest.split_at_mut(widest);
        let (mut y, mut dx) = (y, dx);
        let last = self.children.len() - 1;
        for (index, child) in self.children.iter().enumerate().rev() {
            let own;
            (kept, own) = split_end(kept, padded(child.layer.kept_len(batch)));
            let input = if index == 0 {
                x
            } else {
                let len = batch * child.layer.input().len();
                let before;
                (kept, before) = split_end(kept, padded(len));
                &before[..len]
            };
            let dy = if index == last { &mut *dy } else { &mut d_output[..y.len()] };
            let d = if index == 0 { dx.take() } else { Some(&mut d_input[..input.len()]) };
            let slots = child.slots.clone();
            let pass = Backward {
                batch,
                parameters: parameters.of_child(slots.clone()),
                gradients: ParameterGradients { slots: &gradients.slots[slots], all: &mut *gradients.all },
                kept: own,
                spare: &mut *inner_spare,
                work: &mut *work,
            };
            child.layer.backward(input, y, dy, d, pass);
            std::mem::swap(&mut d_output, &mut d_input);
            y = input;
        }
    }

    fn children(&self) -> &[Child<T>] {
        &self.children
    }
}

/// Splits off the last `len` numbers.
fn split_end<T>(numbers: &[T], len: usize) -> (&[T], &[T]) {
    numbers.split_at(numbers.len() - len)
}

#[cfg(test)]
pub(crate) fn examples() -> Vec<super::proof::Example> {
    use super::proof::{Example, boxed, conv, linear};
    use super::{Activation, MaxPool2d};
    let image = ImageShape::new(6, 5, 2);
    let pooled = MaxPool2d { input: ImageShape::new(6, 5, 3), window: 2 };
    let three = || {
        boxed([
            ("conv1", Box::new(conv(image, 3, Activation::Tanh)) as _),
            ("conv2", Box::new(conv(ImageShape::new(6, 5, 3), 3, Activation::Sigmoid)) as _),
            ("linear", Box::new(linear(ImageShape::new(6, 5, 3), 4, Activation::Identity)) as _),
        ])
    };
    let nested = Sequence::new(boxed([
        ("inner", Box::new(Sequence::new(three())) as _),
        ("last", Box::new(linear(ImageShape::vector(4), 2, Activation::Tanh)) as _),
    ]));
    let pooling = Sequence::new(boxed([
        ("conv", Box::new(conv(image, 3, Activation::Tanh)) as _),
        ("pool", Box::new(pooled) as _),
    ]));
    vec![
        Example::new(Sequence::new(three()), 1),
        Example::new(Sequence::new(three()), 5),
        Example::new(nested, 3),
        Example::new(pooling, 2),
    ]
}

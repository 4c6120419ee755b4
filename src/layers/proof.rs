//! The tests that every layer must pass: its gradients against finite differences, and its values and
//! gradients against PyTorch.
//!
//! Both run over [`EXAMPLES`](super::EXAMPLES), to which the list of layers adds each layer's `examples()`.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{Activation, Conv2d, Linear};
use super::{Backward, EXAMPLES, Forward, Layer, ParameterGradients, Parameters, Slot, Torch, Work};
use crate::gradient_check::{check, random_vec};
use crate::kernels::geometry::Geometry;
use crate::tensor::ImageShape;

/// A layer, a batch size, and an input if a random one will not do.
#[derive(Debug)]
pub(crate) struct Example {
    layer: Box<dyn Layer<f64>>,
    batch: usize,
    x: Option<Vec<f64>>,
    accumulates: bool,
    is_tied: bool,
    labels: usize,
}

impl Example {
    pub(crate) fn new(layer: impl Layer<f64> + 'static, batch: usize) -> Self {
        Self { layer: Box::new(layer), batch, x: None, accumulates: false, is_tied: false, labels: 0 }
    }

    /// With this input, away from kinks.
    pub(crate) fn at(self, x: Vec<f64>) -> Self {
        Self { x: Some(x), ..self }
    }

    /// The first parameter's gradient is added to the existing values.
    pub(crate) fn accumulating(self) -> Self {
        Self { accumulates: true, ..self }
    }

    /// With a condition of `labels` numbers for each image.
    pub(crate) fn with_condition(self, labels: usize) -> Self {
        Self { labels, ..self }
    }

    /// A layer with the weight of another, which PyTorch's own layers do not have.
    pub(crate) fn tied(self) -> Self {
        Self { accumulates: true, is_tied: true, ..self }
    }
}

/// Named layers in boxes, for containers.
pub(crate) fn boxed<const N: usize>(
    layers: [(&str, Box<dyn Layer<f64>>); N],
) -> Vec<(String, Box<dyn Layer<f64>>)> {
    layers.into_iter().map(|(name, layer)| (name.to_string(), layer)).collect()
}

/// A 3×3 convolution that preserves the size.
pub(crate) fn conv(input: ImageShape, filters: usize, activation: Activation) -> Conv2d {
    let image = (input.height, input.width, input.channels);
    Conv2d { geometry: Geometry::new(image, (3, 3), 1, 1).unwrap(), filters, activation }
}

/// From an image, or a vector, to a vector.
pub(crate) fn linear(input: ImageShape, outputs: usize, activation: Activation) -> Linear {
    if input.pixels() == 1 {
        Linear::new(input.len(), outputs, activation)
    } else {
        Linear::from_image(input, outputs, activation)
    }
}

/// A layer with everything that its passes need, allocated once.
struct Bench<'a> {
    layer: &'a dyn Layer<f64>,
    batch: usize,
    slots: Vec<Slot>,
    condition: Vec<f64>,
    kept: Vec<f64>,
    spare: Vec<f64>,
    work: Work<f64>,
}

impl<'a> Bench<'a> {
    fn new(layer: &'a dyn Layer<f64>, batch: usize, condition: Vec<f64>) -> Self {
        let mut end = 0;
        let slot = |len: usize| {
            end += len;
            Slot { range: end - len..end, accumulate: false }
        };
        Self {
            slots: layer.parameters().iter().map(|p| p.len()).map(slot).collect(),
            kept: vec![f64::NAN; layer.kept_len(batch)],
            spare: vec![f64::NAN; layer.spare_len(batch)],
            work: Work::new(layer.work_len()),
            layer,
            batch,
            condition,
        }
    }

    fn parameter_len(&self) -> usize {
        self.slots.last().map_or(0, |slot| slot.range.end)
    }

    fn forward(&mut self, x: &[f64], parameters: &[f64]) -> Vec<f64> {
        let mut y = vec![f64::NAN; self.batch * self.layer.output().len()];
        let pass = Forward {
            batch: self.batch,
            parameters: Parameters { all: parameters, slots: &self.slots },
            condition: &self.condition,
            kept: &mut self.kept,
            work: &mut self.work,
        };
        self.layer.forward(x, &mut y, pass);
        y
    }

    /// dx and the parameters' gradient; `wanted` says whether dx is requested.
    fn backward(
        &mut self,
        x: &[f64],
        y: &[f64],
        parameters: &[f64],
        upstream: &[f64],
        wanted: bool,
    ) -> (Vec<f64>, Vec<f64>) {
        let mut dx = vec![f64::NAN; x.len()];
        // Slots that accumulate start from 1, which is subtracted afterwards.
        let mut gradient = vec![f64::NAN; self.parameter_len()];
        for slot in self.slots.iter().filter(|slot| slot.accumulate) {
            gradient[slot.range.clone()].fill(1.0);
        }
        let pass = Backward {
            batch: self.batch,
            parameters: Parameters { all: parameters, slots: &self.slots },
            gradients: ParameterGradients { all: &mut gradient, slots: &self.slots },
            kept: &self.kept,
            spare: &mut self.spare,
            work: &mut self.work,
        };
        self.layer.backward(x, y, &mut upstream.to_vec(), wanted.then_some(&mut dx[..]), pass);
        for slot in self.slots.iter().filter(|slot| slot.accumulate) {
            gradient[slot.range.clone()].iter_mut().for_each(|value| *value -= 1.0);
        }
        (dx, gradient)
    }
}

/// y of a layer with the given parameters.
pub(crate) fn apply(layer: &dyn Layer<f64>, batch: usize, x: &[f64], parameters: &[&[f64]]) -> Vec<f64> {
    Bench::new(layer, batch, Vec::new()).forward(x, &parameters.concat())
}

/// dx of a layer without parameters.
pub(crate) fn input_gradient(layer: &dyn Layer<f64>, batch: usize, x: &[f64], upstream: &[f64]) -> Vec<f64> {
    let mut bench = Bench::new(layer, batch, Vec::new());
    let y = bench.forward(x, &[]);
    bench.backward(x, &y, &[], upstream, true).0
}

/// Inputs of an example, the same for the same seed.
struct Inputs {
    x: Vec<f64>,
    parameters: Vec<f64>,
    upstream: Vec<f64>,
    condition: Vec<f64>,
}

impl Example {
    fn inputs(&self, seed: u64) -> Inputs {
        let (layer, batch) = (&*self.layer, self.batch);
        let parameters = layer.parameters().iter().map(|p| p.len()).sum();
        Inputs {
            x: self.x.clone().unwrap_or_else(|| random_vec(seed, batch * layer.input().len())),
            parameters: random_vec(seed + 1, parameters),
            upstream: random_vec(seed + 2, batch * layer.output().len()),
            condition: random_vec(seed + 3, batch * self.labels),
        }
    }

    fn bench(&self, inputs: &Inputs) -> Bench<'_> {
        let mut bench = Bench::new(&*self.layer, self.batch, inputs.condition.clone());
        if let (true, Some(first)) = (self.accumulates, bench.slots.first_mut()) {
            first.accumulate = true;
        }
        bench
    }
}

/// The gradients of every example against finite differences.
pub(crate) fn check_gradients(examples: Vec<Example>, seed: u64) {
    for (case, example) in examples.iter().enumerate() {
        let inputs = example.inputs(seed + 10 * case as u64);
        let Inputs { x, parameters, upstream, .. } = &inputs;
        let mut bench = example.bench(&inputs);
        let name = format!("{:?} batch {}", example.layer, example.batch);
        let y = bench.forward(x, parameters);
        let (dx, gradient) = bench.backward(x, &y, parameters, upstream, true);
        // The parameters' gradients are the same if no input gradient is requested.
        assert_eq!(bench.backward(x, &y, parameters, upstream, false).1, gradient, "{name}");
        let sum = |y: Vec<f64>| y.iter().zip(upstream).map(|(y, u)| y * u).sum::<f64>();
        check(&format!("{name}: x"), &mut x.clone(), &dx, |x| sum(bench.forward(x, parameters)));
        if !parameters.is_empty() {
            let differences = |p: &[f64]| sum(bench.forward(x, p));
            check(&format!("{name}: parameters"), &mut parameters.clone(), &gradient, differences);
        }
    }
}

/// The number of examples per layer that PyTorch has computed too.
const WITH_TORCH: usize = 8;

/// The folder with PyTorch's values, a file for each layer; tests/fixtures/make_layer_fixtures.py makes them.
const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/layers");

/// A tensor in PyTorch's order, from memory.
fn channels_first(values: &[f64], shape: ImageShape) -> Vec<f64> {
    let image = |image: &[f64]| -> Vec<f64> {
        let (pixels, channels) = (shape.pixels(), shape.channels);
        (0..image.len()).map(|at| image[at % pixels * channels + at / pixels]).collect()
    };
    values.chunks_exact(shape.len()).flat_map(image).collect()
}

/// Everything that PyTorch needs to compute an example: the layer's PyTorch code, and the inputs.
fn torch_case(example: &Example, seed: u64) -> Value {
    let Inputs { x, parameters, upstream, condition } = example.inputs(seed);
    let layer = &*example.layer;
    let (input, output) = (layer.input(), layer.output());
    let (ties, mut offset) = (BTreeMap::new(), 0);
    // A row of numbers has only one form; anything with rows and columns is an image.
    let mut torch = Torch::new(&ties, input.pixels() > 1);
    layer.torch(if layer.children().is_empty() { "layer" } else { "" }, &mut torch);
    if output.pixels() > 1 {
        torch.need_image(output);
    }
    let prefix = if layer.children().is_empty() { "layer." } else { "" };
    let mut tensors = serde_json::Map::new();
    for parameter in layer.parameters() {
        let memory = &parameters[offset..][..parameter.len()];
        offset += parameter.len();
        let mut tensor = vec![0.0; memory.len()];
        parameter.layout.to_tensor(memory, &mut tensor);
        let value = json!({ "shape": parameter.shape, "values": tensor });
        tensors.insert(format!("{prefix}{}", parameter.name), value);
    }
    json!({
        "layer": format!("{layer:?}"),
        "batch": example.batch,
        "modules": torch.modules,
        "lines": torch.lines,
        "input": { "image": [input.channels, input.height, input.width], "values": channels_first(&x, input) },
        "condition": condition,
        "upstream": channels_first(&upstream, output),
        "parameters": tensors,
    })
}

/// The examples of a layer that PyTorch computes, with the seeds of their inputs.
fn cases(name: &str, examples: fn() -> Vec<Example>) -> Vec<(Example, u64)> {
    // A seed that depends on the name, so that a new layer does not change the others' seeds.
    let seed = name.bytes().fold(0_u64, |hash, byte| hash.wrapping_mul(31).wrapping_add(u64::from(byte)));
    let shown = examples().into_iter().filter(|example| !example.is_tied).take(WITH_TORCH);
    shown.enumerate().map(|(case, example)| (example, seed.wrapping_add(10 * case as u64))).collect()
}

/// Every registered layer has examples, and each of them has the values that PyTorch computes for it, to
/// 1e-9.
#[test]
fn every_layer_is_what_pytorch_computes() {
    // The cases for PyTorch are written on request, so they can never be older than the layers.
    if let Some(folder) = std::env::var_os("ELBO_LAYER_CASES") {
        for (name, examples) in EXAMPLES {
            let cases = cases(name, *examples);
            let cases: Vec<Value> = cases.iter().map(|(example, seed)| torch_case(example, *seed)).collect();
            let path = std::path::Path::new(&folder).join(format!("{name}.json"));
            std::fs::write(path, serde_json::to_string(&cases).unwrap()).unwrap();
        }
        return;
    }
    for (name, examples) in EXAMPLES {
        let cases = cases(name, *examples);
        assert!(!cases.is_empty(), "{name} has no example, so nothing proves it");
        let text = std::fs::read_to_string(format!("{FIXTURES}/{name}.json")).unwrap_or_else(|_| {
            panic!("{name} has no PyTorch values; tests/fixtures/make_layer_fixtures.py makes them")
        });
        let fixture: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(fixture["cases"].as_array().unwrap().len(), cases.len(), "{name}: other examples");
        for ((example, seed), expected) in cases.into_iter().zip(fixture["cases"].as_array().unwrap()) {
            check_case(name, &example, seed, expected);
        }
    }
}

/// One example against PyTorch's values.
fn check_case(name: &str, example: &Example, seed: u64, expected: &Value) {
    let layer = &*example.layer;
    assert_eq!(expected["layer"], format!("{layer:?}"), "{name} has changed; make its values again");
    let inputs = example.inputs(seed);
    let mut bench = Bench::new(layer, example.batch, inputs.condition.clone());
    let y = bench.forward(&inputs.x, &inputs.parameters);
    let (dx, gradient) = bench.backward(&inputs.x, &y, &inputs.parameters, &inputs.upstream, true);
    let near = |what: &str, found: &[f64], expected: &Value| {
        let expected: Vec<f64> = serde_json::from_value(expected.clone()).unwrap();
        assert_eq!(found.len(), expected.len(), "{name}: {what}");
        for (found, expected) in found.iter().zip(expected) {
            let difference = (found - expected).abs();
            assert!(
                difference <= 1e-9 * expected.abs().max(1.0),
                "{name}: {what}: {found} is not {expected}"
            );
        }
    };
    near("y", &channels_first(&y, layer.output()), &expected["y"]);
    near("dx", &channels_first(&dx, layer.input()), &expected["dx"]);
    for (slot, parameter) in bench.slots.iter().zip(layer.parameters()) {
        let mut tensor = vec![0.0; parameter.len()];
        parameter.layout.to_tensor(&gradient[slot.range.clone()], &mut tensor);
        let prefix = if layer.children().is_empty() { "layer." } else { "" };
        near(&parameter.name, &tensor, &expected["gradients"][format!("{prefix}{}", parameter.name)]);
    }
}

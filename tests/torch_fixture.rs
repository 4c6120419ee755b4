//! The networks against PyTorch: forward pass, loss, every gradient and ten Adam steps.
//!
//! `tests/fixtures/torch_*.json` were made by `tests/fixtures/make_torch_fixtures.py` in float64. Weights,
//! images and noise come from a formula that both sides compute exactly, so the files hold results only. The
//! engine must agree to 1e-9 in `f64`, which a wrong formula would not, and in `f32`, with the optimizer of
//! the training, within single precision.

use elbo::data::Span;
use elbo::layers::Describe;
use elbo::loss::{Likelihood, Objective};
use elbo::model::{Batch, ModelConfig, Vae};
use elbo::optim::{Adam, AdamState};
use elbo::tensor::Element;
use serde_json::Value;

/// u in [0, 1) of tensor `t` at index `i`: see the header of make_torch_fixtures.py.
fn unit(t: u64, i: usize) -> f64 {
    let mut h = (i as u64)
        .wrapping_mul(0x9E37_79B9_7F4A_7C15)
        .wrapping_add((t + 1).wrapping_mul(0xBF58_476D_1CE4_E5B9));
    h ^= h >> 31;
    h = h.wrapping_mul(0x94D0_49BB_1331_11EB);
    h ^= h >> 29;
    (h >> 11) as f64 * (-53.0_f64).exp2()
}

/// A signed value of the formula, rounded to single precision as both sides do.
fn signed(t: u64, i: usize, scale: f64) -> f64 {
    f64::from(((2.0 * unit(t, i) - 1.0) * scale) as f32)
}

struct Fixture {
    values: Value,
}

impl Fixture {
    fn load(case: &str) -> Self {
        let path = format!("{}/tests/fixtures/torch_{case}.json", env!("CARGO_MANIFEST_DIR"));
        let text = std::fs::read_to_string(path).expect("a fixture");
        Self { values: serde_json::from_str(&text).expect("JSON") }
    }

    fn size(&self, key: &str) -> usize {
        self.values[key].as_u64().expect(key) as usize
    }

    fn number(&self, key: &str) -> f64 {
        self.values[key].as_f64().expect(key)
    }

    fn numbers(value: &Value) -> Vec<f64> {
        value.as_array().expect("an array").iter().map(|v| v.as_f64().expect("a number")).collect()
    }

    fn likelihood(&self) -> Likelihood {
        self.values["likelihood"].as_str().unwrap().parse().unwrap()
    }

    fn model<T: Element>(&self) -> Vae<T> {
        let preset = self.values["preset"].as_str().unwrap().parse().unwrap();
        let mut config =
            ModelConfig::new(preset, (self.size("height"), self.size("width"), self.size("channels")));
        config.latent = self.size("latent");
        config.tie_weights = self.values["tied"].as_bool().unwrap();
        config.likelihood = self.likelihood();
        if self.values["widths"].is_array() {
            config.widths = Self::numbers(&self.values["widths"]).iter().map(|&n| n as usize).collect();
        }
        config.context = self.values["context"].as_u64().map(|hidden| hidden as usize);
        if let Some(inputs) = self.values["context_inputs"].as_str() {
            config.context_inputs = inputs.parse().unwrap();
        }
        let mut model = Vae::new(config, 0).unwrap();
        let table = model.architecture().table.clone();
        let listed = self.values["tensors"].as_array().unwrap();
        assert_eq!(table.parameters.len(), listed.len(), "the same number of tensors");
        assert_eq!(table.len(), self.size("parameters"));
        for (t, (parameter, listed)) in table.parameters.iter().zip(listed).enumerate() {
            assert_eq!(parameter.name, listed["name"].as_str().unwrap());
            let shape: Vec<usize> = Self::numbers(&listed["shape"]).iter().map(|&n| n as usize).collect();
            assert_eq!(parameter.shape, shape, "{}", parameter.name);
            let scale = self.values["scales"][&parameter.name].as_f64().unwrap();
            let tensor: Vec<T> =
                (0..parameter.range.len()).map(|i| T::from_f64(signed(t as u64, i, scale))).collect();
            parameter.layout.to_memory(&tensor, &mut model.parameters[parameter.range.clone()]);
        }
        model
    }

    fn images<T: Element>(&self, model: &Vae<T>) -> Vec<T> {
        let pixel = |i| match model.config().span() {
            _ if self.likelihood().is_exact_for_bytes() => {
                f64::from(((256.0 * unit(1000, i)).floor() / 255.0) as f32)
            }
            Span::Unit => f64::from(unit(1000, i) as f32),
            Span::Symmetric => signed(1000, i, 1.0),
        };
        (0..self.size("batch") * model.config().pixels()).map(|i| T::from_f64(pixel(i))).collect()
    }

    fn noise<T: Element>(&self, step: u64) -> Vec<T> {
        let n = self.size("batch") * self.size("latent");
        (0..n).map(|i| T::from_f64(signed(2000 + step, i, 3.0_f64.sqrt()))).collect()
    }

    /// Asserts everything, in this precision: one pass to `tolerance`, the losses of ten steps to
    /// `over_steps`.
    fn check<T: Element>(&self, tolerance: f64, over_steps: f64, adam: &mut dyn FnMut(&mut [T], &[T])) {
        let near = |what: &str, found: f64, expected: f64, unit: f64| {
            let difference = (found - expected).abs();
            assert!(difference <= tolerance * unit.max(expected.abs()), "{what}: {found} is not {expected}");
        };
        let mut model = self.model::<T>();
        let (batch, latent) = (self.size("batch"), self.size("latent"));
        let (images, noise) = (self.images(&model), self.noise(0));
        let mut space = model.training_workspace(batch);
        let values = model.gradients(Batch::new(&images), &noise, &Objective::ELBO, &mut space);
        near("reconstruction", values.reconstruction, self.number("reconstruction"), 1.0);
        near("kl", values.kl, self.number("kl"), 0.01);
        near("loss", values.loss, self.number("loss"), 1.0);

        for (what, found) in [("mu", &space.latent.mu), ("log_variance", &space.latent.log_variance)] {
            for (image, row) in self.values[what].as_array().unwrap().iter().enumerate() {
                for (j, &expected) in Self::numbers(row).iter().enumerate() {
                    near(what, found[image * latent + j].to_f64(), expected, 1.0);
                }
            }
        }

        let table = model.architecture().table.clone();
        let mut worst = 0.0_f64;
        for (t, parameter) in table.parameters.iter().enumerate() {
            let expected = &self.values["gradients"][&parameter.name];
            let mut gradient = vec![T::ZERO; parameter.range.len()];
            parameter.layout.to_tensor(&space.gradient()[parameter.range.clone()], &mut gradient);
            let square: f64 = gradient.iter().map(|g| g.to_f64() * g.to_f64()).sum();
            let direction = |i| 2.0 * unit(3000 + t as u64, i) - 1.0;
            let dot: f64 = gradient.iter().enumerate().map(|(i, g)| g.to_f64() * direction(i)).sum();
            let norm = expected["norm"].as_f64().unwrap();
            near(&format!("norm of {}", parameter.name), square.sqrt(), norm, 1e-3);
            near(&format!("projection of {}", parameter.name), dot, expected["dot"].as_f64().unwrap(), norm);
            let positions = Self::numbers(&expected["positions"]);
            for (&at, &value) in positions.iter().zip(&Self::numbers(&expected["values"])) {
                near(&parameter.name, gradient[at as usize].to_f64(), value, norm);
            }
            worst = worst.max((square.sqrt() - norm).abs() / norm);
        }
        println!("{}: {} gradients, norms to {worst:.1e}", self.values["case"], table.parameters.len());

        let output = model.decode(batch, &mut space).to_vec();
        self.check_output(&near, &model, &output);

        let losses = Self::numbers(&self.values["adam_losses"]);
        for (step, &expected) in losses.iter().enumerate() {
            let noise = self.noise(step as u64);
            let values = model.gradients(Batch::new(&images), &noise, &Objective::ELBO, &mut space);
            let difference = (values.loss - expected).abs();
            let near = difference <= over_steps * expected.abs();
            assert!(near, "loss of step {step}: {} is not {expected}", values.loss);
            adam(&mut model.parameters, space.gradient());
        }
    }

    /// The decoder's output, of which the file has a sum, a sum of squares, and samples in N·C·H·W order.
    fn check_output<T: Element>(&self, near: &impl Fn(&str, f64, f64, f64), model: &Vae<T>, output: &[T]) {
        let stored = &self.values["output"];
        let shape = model.architecture().decoder.output();
        let (c, hw) = (shape.channels, shape.pixels());
        let (sum, squares) =
            output.iter().map(|v| v.to_f64()).fold((0.0, 0.0), |(s, q), v| (s + v, q + v * v));
        let positions = Self::numbers(&stored["positions"]);
        for (&at, &expected) in positions.iter().zip(&Self::numbers(&stored["values"])) {
            let at = at as usize;
            let (image, channel, pixel) = (at / (c * hw), at / hw % c, at % hw);
            near("output", output[(image * hw + pixel) * c + channel].to_f64(), expected, 1.0);
        }
        near("sum of outputs", sum, stored["sum"].as_f64().unwrap(), (output.len() as f64).sqrt());
        near("sum of squared outputs", squares, stored["sum_of_squares"].as_f64().unwrap(), 1.0);
    }
}

/// Adam in double precision, written down from the paper.
fn naive_adam() -> impl FnMut(&mut [f64], &[f64]) {
    let (mut m, mut v, mut t) = (Vec::new(), Vec::new(), 0);
    move |parameters, gradient| {
        m.resize(parameters.len(), 0.0);
        v.resize(parameters.len(), 0.0);
        t += 1;
        for (i, p) in parameters.iter_mut().enumerate() {
            m[i] = 0.9 * m[i] + 0.1 * gradient[i];
            v[i] = 0.999 * v[i] + 0.001 * gradient[i] * gradient[i];
            let (m_hat, v_hat) = (m[i] / (1.0 - 0.9_f64.powi(t)), v[i] / (1.0 - 0.999_f64.powi(t)));
            *p -= 1e-3 * m_hat / (v_hat.sqrt() + 1e-8);
        }
    }
}

const CASES: [&str; 14] = [
    "conv",
    "conv_odd_rgb",
    "conv_gaussian",
    "conv_tied",
    "conv_logistic",
    "conv_mixture",
    "mlp",
    "mlp_beta",
    "mlp_context",
    "mlp_context_rgb",
    "article",
    "article_odd",
    "residual",
    "residual_odd",
];

#[test]
fn in_double_precision_every_network_agrees_with_pytorch_to_nine_digits() {
    for case in CASES {
        Fixture::load(case).check::<f64>(1e-9, 1e-9, &mut naive_adam());
    }
}

#[test]
fn in_single_precision_every_network_agrees_with_pytorch_to_single_precision() {
    for case in CASES {
        let adam = Adam::default();
        let mut state = AdamState::default();
        // A step of Adam is about ±1e-3 for a gradient of any size, so if rounding decides the sign of a
        // gradient near 0, the parameters differ by 2e-3, and only the losses stay close. (This does not
        // apply to the test above.)
        Fixture::load(case).check::<f32>(2e-5, 2e-3, &mut |parameters, gradient| {
            if state.first.is_empty() {
                state = AdamState::new(parameters.len());
            }
            adam.step(parameters, gradient, &mut state, 1e-3, 1.0);
        });
    }
}

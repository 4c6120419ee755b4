//! Each pass of each layer of a preset, alone, on a batch of the size used in training.

use elbo::layers::shared::{Latent, reparameterize, reparameterize_backward};
use elbo::layers::{
    Backward, Child, Describe, Forward, Layer, ParameterGradients, Parameters, Shared, Slot,
    Work as LayerWork,
};
use elbo::loss::{LossInputs, Objective, ObjectiveWorkspace};
use elbo::model::{ModelConfig, Vae};
use elbo::optim::adam::{Adam, AdamState, gradient_norm, norm_partials};

use super::harness::{Bench, Timing};
use super::passes::{self, uniform};
use super::table::Work;

/// All inputs and outputs of a layer.
struct Buffers<'a> {
    layer: &'a dyn Layer<f32>,
    batch: usize,
    slots: Vec<Slot>,
    parameters: Vec<f32>,
    gradient: Vec<f32>,
    condition: Vec<f32>,
    kept: Vec<f32>,
    spare: Vec<f32>,
    x: Vec<f32>,
    y: Vec<f32>,
    /// The incoming gradient of y.
    upstream: Vec<f32>,
    /// A copy, which a backward pass turns into the gradient before the activation.
    dy: Vec<f32>,
    dx: Vec<f32>,
    work: LayerWork<f32>,
}

impl<'a> Buffers<'a> {
    /// `slots` are the layer's in `model`.
    fn new(layer: &'a dyn Layer<f32>, slots: &[Slot], model: &Vae<f32>, batch: usize, images: bool) -> Self {
        let (inputs, outputs) = (batch * layer.input().len(), batch * layer.output().len());
        // The output of a ReLU is 0 in half of its places.
        let x = uniform(1, inputs).into_iter().map(|v| if images { v.abs() } else { v.max(0.0) }).collect();
        // Copies of the layer's parameters, one after the other.
        let mut parameters = Vec::new();
        let own = |slot: &Slot| {
            let start = parameters.len();
            parameters.extend_from_slice(&model.parameters[slot.range.clone()]);
            Slot { range: start..parameters.len(), accumulate: slot.accumulate }
        };
        let slots = slots.iter().map(own).collect();
        let upstream = uniform(2, outputs);
        Self {
            layer,
            batch,
            slots,
            gradient: vec![0.0; parameters.len()],
            parameters,
            condition: vec![0.0; batch * model.config().classes()],
            kept: vec![0.0; layer.kept_len(batch)],
            spare: vec![0.0; layer.spare_len(batch)],
            x,
            y: vec![0.0; outputs],
            dy: upstream.clone(),
            upstream,
            dx: vec![0.0; inputs],
            work: LayerWork::new(layer.work_len()),
        }
    }

    fn fresh_gradient(&mut self) {
        self.dy.copy_from_slice(&self.upstream);
    }

    fn forward(&mut self) {
        let pass = Forward {
            batch: self.batch,
            parameters: Parameters { all: &self.parameters, slots: &self.slots },
            condition: &self.condition,
            kept: &mut self.kept,
            work: &mut self.work,
        };
        self.layer.forward(&self.x, &mut self.y, pass);
    }

    fn backward(&mut self, input_gradient: bool) {
        let pass = Backward {
            batch: self.batch,
            parameters: Parameters { all: &self.parameters, slots: &self.slots },
            gradients: ParameterGradients { all: &mut self.gradient, slots: &self.slots },
            kept: &self.kept,
            spare: &mut self.spare,
            work: &mut self.work,
        };
        let dx = input_gradient.then_some(&mut self.dx[..]);
        self.layer.backward(&self.x, &self.y, &mut self.dy, dx, pass);
    }
}

/// The rows of one layer: forward, and backward in two parts if it has parameters.
fn layer_rows(
    bench: &mut Bench<'_>,
    child: &Child<f32>,
    slots: &[Slot],
    model: &Vae<f32>,
    batch: usize,
    first: bool,
) {
    let layer = &*child.layer;
    let name = |pass: &str| format!("{} {pass}", child.name);
    let passes = ["forward", "backward", "parameter gradients", "input gradient"];
    if !passes.iter().any(|pass| bench.wants(&name(pass))) {
        return;
    }
    let mut b = Buffers::new(layer, slots, model, batch, first);
    let (x, y, w) = (b.x.len(), b.y.len(), b.parameters.len());
    let (flops, sizes) = (batch * layer.flops(), format!("{} → {}", layer.input(), layer.output()));
    let work = |passes: usize| {
        let numbers = if passes == 1 { x + y + w } else { 2 * x + 2 * y + 2 * w };
        if flops == 0 { Work::memory(numbers) } else { Work::product(passes * flops, numbers) }
    };
    let refresh = |b: &mut Buffers<'_>| b.fresh_gradient();

    b.forward();
    bench.row(&name("forward"), &sizes, work(1).in_step(), &mut b, |_| (), Buffers::forward);
    if w == 0 {
        bench.row(&name("backward"), &sizes, work(2).in_step(), &mut b, refresh, |b| b.backward(true));
        return;
    }
    // The two parts are counted as the step's parts, and the row of both is not.
    let part = name("parameter gradients");
    let parameters = bench.row(&part, &sizes, work(1).in_step(), &mut b, refresh, |b| b.backward(false));
    if first {
        return;
    }
    let all = bench.row(&name("backward"), &sizes, work(2), &mut b, refresh, |b| b.backward(true));
    if let (Some(all), Some(parameters)) = (all, parameters) {
        let rest = difference(all, &[parameters]);
        bench.push(&name("input gradient ≈"), &sizes, work(1).in_step(), rest);
    }
}

/// The remainder of a pass whose parts were timed alone. Caches differ between the two, so it is an estimate:
/// ≈.
fn difference(all: Timing, parts: &[Timing]) -> Timing {
    let rest = |of: fn(&Timing) -> f64| (of(&all) - parts.iter().map(of).sum::<f64>()).max(1e-9);
    Timing { min: rest(|t| t.min), median: rest(|t| t.median) }
}

/// The latent layer: both heads forward and backward, the draw and its backward pass.
fn shared_rows(bench: &mut Bench<'_>, model: &Vae<f32>, batch: usize) {
    let (architecture, latent) = (model.architecture(), model.config().latent);
    let shared: Shared = architecture.shared;
    let (features, numbers) = (shared.head.inputs, batch * latent);
    let sizes = format!("{features} → {latent}, {latent}");
    let of = |slots| Parameters { all: &model.parameters[..], slots };
    let (mu, log_variance) = (of(&architecture.mu), of(&architecture.log_variance));
    let pair = |head: Parameters<'_, f32>| (head.get(0).to_vec(), head.get(1).to_vec());
    let (mu, log_variance) = (pair(mu), pair(log_variance));
    let h: Vec<f32> = uniform(3, batch * features).into_iter().map(|v| v.max(0.0)).collect();
    let (flops, w) = (2 * batch * shared.head.flops(), 2 * mu.0.len());
    let mut out = Latent::new(batch, latent);
    let work = Work::product(flops, h.len() + w + 2 * numbers).in_step();
    let forward = |out: &mut Latent<f32>| {
        shared.forward(&h, (&mu.0, &mu.1), (&log_variance.0, &log_variance.1), out);
    };
    forward(&mut out);
    bench.row("shared forward", &sizes, work, &mut out, |_| (), forward);

    let mut gradients = (vec![0.0; model.parameters.len()], vec![0.0; h.len()]);
    let upstream = uniform(4, numbers);
    let refresh = |out: &mut Latent<f32>| {
        out.d_mu[..].copy_from_slice(&upstream);
        out.d_log_variance[..].copy_from_slice(&upstream);
    };
    let work = Work::product(2 * flops, 2 * h.len() + 2 * w + 2 * numbers).in_step();
    bench.row("shared backward", &sizes, work, &mut out, refresh, |out| {
        let ((gradient, dh), slots) =
            (&mut gradients, [&architecture.mu[..], &architecture.log_variance[..]]);
        shared.backward(&h, out, [&mu.0, &log_variance.0], gradient, slots, dh);
    });

    let noise = uniform(5, numbers);
    let sizes = format!("{batch}×{latent}");
    let work = Work::memory(4 * numbers).in_step();
    bench.row(
        "reparameterize forward",
        &sizes,
        work,
        &mut out,
        |_| (),
        |out| {
            reparameterize(&out.mu, &out.log_variance, &noise, &mut out.z);
        },
    );
    bench.row(
        "reparameterize backward",
        &sizes,
        Work::memory(7 * numbers).in_step(),
        &mut out,
        refresh,
        |out| {
            let Latent { log_variance, d_z, d_mu, d_log_variance, .. } = out;
            reparameterize_backward(log_variance, &noise, d_z, d_mu, d_log_variance);
        },
    );
}

/// The work of a step besides the network: objective, gradient norm, Adam, noise, the next batch.
fn step_rows(bench: &mut Bench<'_>, model: &Vae<f32>, batch: usize) {
    let config = model.config();
    let (pixels, numbers, parameters) =
        (batch * config.pixels(), batch * config.latent, model.parameters.len());
    let outputs = model.architecture().decoder.output().len();
    let output = uniform(6, batch * outputs);
    let target: Vec<f32> = uniform(7, pixels).into_iter().map(f32::abs).collect();
    let (mu, log_variance) = (uniform(8, numbers), uniform(9, numbers));
    let mut space = (
        ObjectiveWorkspace::new(batch, config.latent),
        vec![0.0; output.len()],
        vec![0.0; numbers],
        vec![0.0; numbers],
    );
    let sizes = format!("{} {batch}×{}", config.likelihood.name(), config.pixels());
    bench.row(
        "objective forward and backward",
        &sizes,
        Work::memory(3 * pixels).in_step(),
        &mut space,
        |_| (),
        |s| {
            let inputs = LossInputs {
                image: config.image(),
                output: &output,
                target: &target,
                mu: &mu,
                log_variance: &log_variance,
            };
            let likelihood = &config.likelihood;
            Objective::ELBO.forward_backward(likelihood, &inputs, &mut s.1, &mut s.2, &mut s.3, &mut s.0);
        },
    );

    let gradient = uniform(10, parameters);
    let sizes = format!("{parameters} parameters");
    let mut partials = vec![0.0; norm_partials([parameters])];
    bench.row(
        "gradient norm",
        &sizes,
        Work::memory(parameters).in_step(),
        &mut partials,
        |_| (),
        |partials| {
            std::hint::black_box(gradient_norm([&gradient[..]], partials));
        },
    );
    let mut state = (model.parameters.clone(), AdamState::new(parameters));
    bench.row(
        "adam",
        &sizes,
        Work::memory(7 * parameters).in_step(),
        &mut state,
        |_| (),
        |(p, state)| {
            Adam::default().step(p, &gradient, state, 1e-4, 1.0);
        },
    );
    passes::noise_row(bench, "noise", batch, config.latent);
    passes::gather_row(
        bench,
        "gather batch",
        (config.height, config.width, config.channels),
        config.span(),
        batch,
    );
}

/// All rows of a preset. Call it in the pool of threads that runs them.
pub fn preset_rows(bench: &mut Bench<'_>, config: &ModelConfig, batch: usize) {
    let group = group(config);
    bench.begin(&group, rayon::current_num_threads());
    let model = Vae::new(config.clone(), 0).expect("a preset");
    let a = model.architecture();
    for (at, child) in a.encoder.children().iter().enumerate() {
        layer_rows(bench, child, &a.encoder_slots[child.slots.clone()], &model, batch, at == 0);
    }
    shared_rows(bench, &model, batch);
    for child in a.decoder.children() {
        layer_rows(bench, child, &a.decoder_slots[child.slots.clone()], &model, batch, false);
    }
    step_rows(bench, &model, batch);
}

/// "conv 28×28×1".
pub fn group(config: &ModelConfig) -> String {
    format!("{} {}×{}×{}", config.preset.name(), config.height, config.width, config.channels)
}

//! Each pass of each layer of a preset, alone, on a batch of the size that training takes.

use elbo::layers::shared::{Latent, reparameterize, reparameterize_backward};
use elbo::layers::{Gradients, Shared, Work as LayerWork};
use elbo::loss::{Divergence, Objective, ObjectiveTerms, ObjectiveWorkspace};
use elbo::model::network::{Layer, Stage};
use elbo::model::{ModelConfig, Vae};
use elbo::optim::adam::{Adam, AdamState, gradient_norm, norm_partials};

use super::harness::{Bench, Timing};
use super::passes::{self, uniform};
use super::table::Work;

/// Everything that a layer reads and writes.
struct Buffers {
    x: Vec<f32>,
    weight: Vec<f32>,
    bias: Vec<f32>,
    y: Vec<f32>,
    /// The gradient of y, as it comes.
    upstream: Vec<f32>,
    /// The same, of which a backward pass makes the gradient before the activation.
    dy: Vec<f32>,
    dx: Vec<f32>,
    dw: Vec<f32>,
    db: Vec<f32>,
    work: LayerWork<f32>,
}

impl Buffers {
    fn new(stage: &Stage, model: &Vae<f32>, batch: usize, images: bool) -> Self {
        let (inputs, outputs) = (batch * stage.layer.input_len(), batch * stage.layer.output_len());
        // What comes from a ReLU is 0 in half of its places.
        let x = uniform(1, inputs).into_iter().map(|v| if images { v.abs() } else { v.max(0.0) }).collect();
        let (weight, bias) =
            (model.parameters[stage.weight.clone()].to_vec(), model.parameters[stage.bias.clone()].to_vec());
        let upstream = uniform(2, outputs);
        Self {
            x,
            dw: vec![0.0; weight.len()],
            db: vec![0.0; bias.len()],
            weight,
            bias,
            y: vec![0.0; outputs],
            dy: upstream.clone(),
            upstream,
            dx: vec![0.0; inputs],
            work: LayerWork::new(stage.layer.work_len()),
        }
    }

    fn fresh_gradient(&mut self) {
        self.dy.copy_from_slice(&self.upstream);
    }

    fn forward(&mut self, stage: &Stage) {
        let Self { x, weight, bias, y, work, .. } = self;
        match &stage.layer {
            Layer::Linear(l) => l.forward(x, weight, bias, stage.activation, y),
            Layer::Conv2d(l) => l.forward(x, weight, bias, stage.activation, y, work),
            Layer::ConvTranspose2d(l) => l.forward(x, weight, bias, stage.activation, y, work),
            Layer::MaxPool2d(l) => l.forward(x, y),
        }
    }

    fn backward(&mut self, stage: &Stage, input_gradient: bool) {
        let Self { x, weight, y, dy, dx, dw, db, work, .. } = self;
        let mut g = Gradients { weight: dw, bias: db, accumulate: stage.accumulate };
        let wanted = input_gradient.then_some(&mut dx[..]);
        match &stage.layer {
            Layer::Linear(l) => l.backward(x, y, weight, stage.activation, dy, &mut g, wanted),
            Layer::Conv2d(l) => l.backward(x, y, weight, stage.activation, dy, &mut g, wanted, work),
            Layer::ConvTranspose2d(l) => l.backward(x, y, weight, stage.activation, dy, &mut g, dx, work),
            Layer::MaxPool2d(l) => l.backward(x, y, dy, dx),
        }
    }
}

/// "4×4 28×28×1 → 14×14×32" and the like.
fn shape(layer: &Layer) -> String {
    match layer {
        Layer::Linear(l) => format!("{} → {}", l.inputs, l.outputs),
        Layer::Conv2d(l) => {
            let g = &l.geometry;
            format!(
                "{}×{} {}×{}×{} → {}×{}×{}",
                g.kernel_height,
                g.kernel_width,
                g.height,
                g.width,
                g.channels,
                g.small_height,
                g.small_width,
                l.filters
            )
        }
        Layer::ConvTranspose2d(l) => {
            let g = &l.geometry;
            format!(
                "{}×{} {}×{}×{} → {}×{}×{}",
                g.kernel_height,
                g.kernel_width,
                g.small_height,
                g.small_width,
                l.small_channels,
                g.height,
                g.width,
                g.channels
            )
        }
        Layer::MaxPool2d(l) => format!("{}×{} {}×{}×{}", l.window, l.window, l.height, l.width, l.channels),
    }
}

fn stage_rows(bench: &mut Bench<'_>, stage: &Stage, model: &Vae<f32>, batch: usize, first: bool) {
    let name = |pass: &str| format!("{} {pass}", stage.name);
    let passes = ["forward", "backward", "parameter gradients", "input gradient", "activation gradient"];
    if !passes.iter().any(|pass| bench.wants(&name(pass))) {
        return;
    }
    let mut b = Buffers::new(stage, model, batch, first);
    let (x, y, w) = (b.x.len(), b.y.len(), b.weight.len() + b.bias.len());
    let (flops, sizes) = (batch * stage.layer.flops(), shape(&stage.layer));
    let one_pass = Work::product(flops, x + y + w);
    let refresh = |b: &mut Buffers| b.fresh_gradient();

    b.forward(stage);
    bench.row(&name("forward"), &sizes, one_pass.in_step(), &mut b, |_| (), |b| b.forward(stage));
    let whole = Work::product(if first { flops } else { 2 * flops }, 2 * x + 2 * y + 2 * w);
    // Where a pass can be called alone, the parts are counted as the step's parts, and the row of all three is not.
    match &stage.layer {
        Layer::Linear(l) => {
            let parameters =
                bench.row(&name("parameter gradients"), &sizes, one_pass.in_step(), &mut b, refresh, |b| {
                    let mut g =
                        Gradients { weight: &mut b.dw, bias: &mut b.db, accumulate: stage.accumulate };
                    l.parameter_gradients(&b.x, &b.dy, &mut g);
                });
            let inputs = if first {
                Some(Timing { min: 0.0, median: 0.0 })
            } else {
                bench.row(&name("input gradient"), &sizes, one_pass.in_step(), &mut b, refresh, |b| {
                    l.input_gradient(&b.weight, &b.dy, 0.0, &mut b.dx);
                })
            };
            let all =
                bench.row(&name("backward"), &sizes, whole, &mut b, refresh, |b| b.backward(stage, !first));
            if let (Some(all), Some(parameters), Some(inputs)) = (all, parameters, inputs) {
                let rest = difference(all, &[parameters, inputs]);
                bench.push(&name("activation gradient ≈"), &sizes, Work::memory(3 * y).in_step(), rest);
            }
        }
        Layer::Conv2d(_) => {
            let parameters =
                bench.row(&name("parameter gradients"), &sizes, one_pass.in_step(), &mut b, refresh, |b| {
                    b.backward(stage, false);
                });
            if !first {
                let all =
                    bench.row(&name("backward"), &sizes, whole, &mut b, refresh, |b| b.backward(stage, true));
                if let (Some(all), Some(parameters)) = (all, parameters) {
                    let rest = difference(all, &[parameters]);
                    bench.push(&name("input gradient ≈"), &sizes, one_pass.in_step(), rest);
                }
            }
        }
        Layer::ConvTranspose2d(_) | Layer::MaxPool2d(_) => {
            bench.row(&name("backward"), &sizes, whole.in_step(), &mut b, refresh, |b| {
                b.backward(stage, true)
            });
        }
    }
}

/// What is left of a pass of which the parts were timed alone. Caches differ between the two, so it is an estimate: ≈.
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
    let pair = |at: &(std::ops::Range<usize>, std::ops::Range<usize>)| {
        (model.parameters[at.0.clone()].to_vec(), model.parameters[at.1.clone()].to_vec())
    };
    let (mu, log_variance) = (pair(&architecture.mu), pair(&architecture.log_variance));
    let h: Vec<f32> = uniform(3, batch * features).into_iter().map(|v| v.max(0.0)).collect();
    let (flops, w) = (2 * batch * Layer::Linear(shared.head).flops(), 2 * mu.0.len());
    let mut out = Latent::new(batch, latent);
    let work = Work::product(flops, h.len() + w + 2 * numbers).in_step();
    let forward = |out: &mut Latent<f32>| {
        shared.forward(&h, (&mu.0, &mu.1), (&log_variance.0, &log_variance.1), out);
    };
    forward(&mut out);
    bench.row("shared forward", &sizes, work, &mut out, |_| (), forward);

    let mut gradients = (mu.clone(), log_variance.clone(), vec![0.0; h.len()]);
    let upstream = uniform(4, numbers);
    let refresh = |out: &mut Latent<f32>| {
        out.d_mu[..].copy_from_slice(&upstream);
        out.d_log_variance[..].copy_from_slice(&upstream);
    };
    let work = Work::product(2 * flops, 2 * h.len() + 2 * w + 2 * numbers).in_step();
    bench.row("shared backward", &sizes, work, &mut out, refresh, |out| {
        let (m, s, dh) = &mut gradients;
        let mut m = Gradients { weight: &mut m.0, bias: &mut m.1, accumulate: architecture.mu_is_shared };
        let mut s = Gradients { weight: &mut s.0, bias: &mut s.1, accumulate: false };
        shared.backward(&h, out, (&mu.0, &log_variance.0), &mut m, &mut s, dh);
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

/// What a step does besides the network: objective, gradient norm, Adam, noise, the next batch.
fn step_rows(bench: &mut Bench<'_>, model: &Vae<f32>, batch: usize) {
    let config = model.config();
    let (pixels, numbers, parameters) =
        (batch * config.pixels(), batch * config.latent, model.parameters.len());
    let objective = Objective { likelihood: config.likelihood, divergence: Divergence::Kl };
    let output = uniform(6, pixels);
    let target: Vec<f32> = uniform(7, pixels).into_iter().map(f32::abs).collect();
    let (mu, log_variance) = (uniform(8, numbers), uniform(9, numbers));
    let mut space = (
        ObjectiveWorkspace::new(batch, config.latent),
        vec![0.0; pixels],
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
            objective.forward_backward(
                &ObjectiveTerms::ELBO,
                &output,
                &target,
                config.image(),
                &mu,
                &log_variance,
                &mut s.1,
                &mut s.2,
                &mut s.3,
                &mut s.0,
            );
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

/// All rows of a preset. Call it in the pool of threads that it is to run in.
pub fn preset_rows(bench: &mut Bench<'_>, config: &ModelConfig, batch: usize) {
    let group = group(config);
    bench.begin(&group, rayon::current_num_threads());
    let model = Vae::new(config.clone(), 0).expect("a preset");
    let architecture = model.architecture().clone();
    for (at, stage) in architecture.encoder.iter().enumerate() {
        stage_rows(bench, stage, &model, batch, at == 0);
    }
    shared_rows(bench, &model, batch);
    for stage in &architecture.decoder {
        stage_rows(bench, stage, &model, batch, false);
    }
    step_rows(bench, &model, batch);
}

/// "conv 28×28×1".
pub fn group(config: &ModelConfig) -> String {
    format!("{} {}×{}×{}", config.preset.name(), config.height, config.width, config.channels)
}

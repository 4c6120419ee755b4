//! `--tie-weights` against an untied network whose twin gradients are added by hand, in double precision.

use crate::gradient_check::random_vec;
use crate::layers::Layer;
use crate::loss::{Divergence, Objective, ObjectiveTerms};
use crate::model::{Batch, ModelConfig, Preset, Vae};

/// The position of every number of an untied network in the tied one: a twin's two positions are the same.
fn twins(tied: &Vae<f64>, untied: &Vae<f64>) -> Vec<usize> {
    let mut places = vec![usize::MAX; untied.parameters.len()];
    let (a, b) = (tied.architecture(), untied.architecture());
    for parameter in &b.table.parameters {
        let own = a.table.parameters.iter().find(|p| p.name == parameter.name);
        if let Some(own) = own {
            for (place, at) in places[parameter.range.clone()].iter_mut().zip(own.range.clone()) {
                *place = at;
            }
        }
    }
    for child in b.decoder.children() {
        let weight = child.slots.start;
        let (from, to) = (a.decoder_slots[weight].range.start, b.decoder_slots[weight].range.clone());
        if child.name.contains("linear") {
            // [out, in] of the decoder's own is [in, out] of its mirror.
            let (outputs, inputs) = (child.layer.output().len(), child.layer.input().len());
            for (o, i) in (0..outputs).flat_map(|o| (0..inputs).map(move |i| (o, i))) {
                places[to.start + o * inputs + i] = from + i * outputs + o;
            }
        } else {
            // A transposed convolution's weight has the layout of that of the convolution that it reverses.
            (from..).zip(&mut places[to]).for_each(|(at, place)| *place = at);
        }
    }
    assert!(places.iter().all(|&place| place < tied.parameters.len()), "a number without a place");
    places
}

/// Adam in double precision, straight from the paper.
struct NaiveAdam {
    first: Vec<f64>,
    second: Vec<f64>,
    steps: i32,
}

impl NaiveAdam {
    fn new(len: usize) -> Self {
        Self { first: vec![0.0; len], second: vec![0.0; len], steps: 0 }
    }

    fn step(&mut self, parameters: &mut [f64], gradient: &[f64]) {
        self.steps += 1;
        for (i, p) in parameters.iter_mut().enumerate() {
            self.first[i] = 0.9 * self.first[i] + 0.1 * gradient[i];
            self.second[i] = 0.999 * self.second[i] + 0.001 * gradient[i] * gradient[i];
            let mean = self.first[i] / (1.0 - 0.9_f64.powi(self.steps));
            let square = self.second[i] / (1.0 - 0.999_f64.powi(self.steps));
            *p -= 1e-2 * mean / (square.sqrt() + 1e-8);
        }
    }
}

#[test]
fn a_tied_network_trains_as_an_untied_one_whose_twin_gradients_are_added() {
    for (preset, widths, hidden, size) in [
        (Preset::Conv, vec![3, 4], vec![7], (9, 8, 2)),
        (Preset::Conv, vec![2, 3, 4], vec![6, 5], (17, 19, 1)),
        (Preset::Mlp, vec![], vec![6], (8, 8, 1)),
        (Preset::Mlp, vec![], vec![8, 5], (9, 8, 3)),
    ] {
        let config = |tie_weights| ModelConfig {
            latent: 3,
            widths: widths.clone(),
            hidden: hidden.clone(),
            tie_weights,
            ..ModelConfig::new(preset, size)
        };
        let mut tied: Vae<f64> = Vae::new(config(true), 3).unwrap();
        let mut untied: Vae<f64> = Vae::new(config(false), 4).unwrap();
        let places = twins(&tied, &untied);
        assert!(tied.parameters.len() < untied.parameters.len());

        let batch = 4;
        let objective = Objective { divergence: Divergence::Jeffreys, terms: ObjectiveTerms::ELBO };
        let (mut space, mut twin_space) = (tied.training_workspace(batch), untied.training_workspace(batch));
        let mut adam = NaiveAdam::new(tied.parameters.len());
        let mut twin_adam = NaiveAdam::new(tied.parameters.len());
        let mut numbers = tied.parameters.clone(); // of the untied network, each twin once
        let before = numbers.clone();
        for step in 0..8 {
            for (p, &place) in untied.parameters.iter_mut().zip(&places) {
                *p = numbers[place];
            }
            let pixels = random_vec(50 + step, batch * tied.config().pixels());
            let images: Vec<f64> = pixels.iter().map(|v| 0.5 * (v + 1.0)).collect();
            let noise = random_vec(90 + step, batch * 3);
            let ours = tied.gradients(Batch::new(&images), &noise, &objective, &mut space);
            let theirs = untied.gradients(Batch::new(&images), &noise, &objective, &mut twin_space);
            let near = |a: f64, b: f64, what: &str| {
                assert!((a - b).abs() <= 1e-9 * b.abs().max(1.0), "{preset:?} step {step} {what}: {a}, {b}");
            };
            near(ours.loss, theirs.loss, "loss");
            let mut sum = vec![0.0; tied.parameters.len()];
            for (&g, &place) in twin_space.gradient().iter().zip(&places) {
                sum[place] += g;
            }
            space.gradient().iter().zip(&sum).for_each(|(&a, &b)| near(a, b, "gradient"));
            adam.step(&mut tied.parameters, space.gradient());
            twin_adam.step(&mut numbers, &sum);
            // If a gradient is nearly 0, Adam makes a full step of its rounding; none is here.
            tied.parameters.iter().zip(&numbers).for_each(|(&a, &b)| near(a, b, "parameter"));
        }
        let moved = before.iter().zip(&numbers).filter(|(a, b)| (*a - *b).abs() > 1e-3).count();
        assert!(moved * 2 > before.len(), "only {moved} of {} numbers moved", before.len());
    }
}

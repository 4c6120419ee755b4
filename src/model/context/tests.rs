use super::*;
use crate::gradient_check::random_vec;
use crate::loss::{Likelihood, Objective};
use crate::model::{Batch, ContextInputs, ModelConfig, Preset, Vae};

fn config(channels: usize, likelihood: Likelihood, context_inputs: ContextInputs) -> ModelConfig {
    ModelConfig {
        latent: 3,
        hidden: vec![7],
        likelihood,
        context: Some(6),
        context_inputs,
        ..ModelConfig::new(Preset::Mlp, ImageShape::new(9, 8, channels))
    }
}

const MIXTURE: Likelihood = Likelihood::LogisticMixture { components: 2 };

/// All likelihoods of bytes with the inputs that they can have.
const KINDS: [(Likelihood, ContextInputs); 5] = [
    (Likelihood::DiscretizedLogistic, ContextInputs::Values),
    (MIXTURE, ContextInputs::Values),
    (Likelihood::BetaBinomial, ContextInputs::Values),
    (Likelihood::DiscretizedLogistic, ContextInputs::Differences),
    (MIXTURE, ContextInputs::Differences),
];

/// Bytes / 255.
fn bytes(seed: u64, len: usize) -> Vec<f64> {
    random_vec(seed, len).iter().map(|x| ((0.5 + 0.45 * x).clamp(0.0, 1.0) * 255.0).round() / 255.0).collect()
}

/// Each tensor's gradient along a random direction, by central differences.
#[test]
fn gradients_are_those_of_the_loss() {
    for (channels, (likelihood, inputs)) in [1, 3].into_iter().flat_map(|c| KINDS.map(|kind| (c, kind))) {
        let mut model = Vae::<f64>::new(config(channels, likelihood, inputs), 3).unwrap();
        let images = bytes(4, 2 * model.config().pixels());
        let noise = random_vec(5, 2 * 3);
        let objective = Objective::default();
        let mut space = model.training_workspace(2);
        model.gradients(Batch::new(&images), &noise, &objective, &mut space);
        let gradient = space.gradient().to_vec();
        for (index, parameter) in model.architecture().table.parameters.clone().into_iter().enumerate() {
            let direction = random_vec(100 + index as u64, parameter.range.len());
            let start = model.parameters.clone();
            let mut loss = |step: f64| {
                for (place, d) in parameter.range.clone().zip(&direction) {
                    model.parameters[place] = start[place] + step * d;
                }
                model.gradients(Batch::new(&images), &noise, &objective, &mut space).loss
            };
            let step = 1e-6;
            let found = (loss(step) - loss(-step)) / (2.0 * step);
            loss(0.0);
            let expected: f64 = parameter.range.clone().zip(&direction).map(|(p, d)| gradient[p] * d).sum();
            let tolerance = 2e-5 * (1.0 + expected.abs().max(found.abs()));
            assert!(
                (found - expected).abs() < tolerance,
                "{likelihood}, {inputs}, {channels} channels, {}: {found} and {expected}",
                parameter.name
            );
            assert!(
                gradient[parameter.range].iter().any(|&g| g != 0.0),
                "{} has no gradient",
                parameter.name
            );
        }
    }
}

/// Changes one value and compares all numbers: those up to its own stay, and a later one changes.
#[test]
fn a_value_sees_only_those_before_it() {
    for (channels, inputs) in [1, 3].into_iter().flat_map(|c| ContextInputs::ALL.iter().map(move |&i| (c, i)))
    {
        let model = Vae::<f64>::new(config(channels, MIXTURE, inputs), 7).unwrap();
        let (context, pixels) = (model.architecture().context.as_ref().unwrap(), model.config().pixels());
        let exact = context.exact(&model.parameters);
        let features = random_vec(8, context.features_len());
        let numbers = |image: &[f64]| {
            let (mut all, mut seen) = (Vec::new(), vec![f64::NAN; pixels]);
            exact.visit(&features, &mut seen, |at, numbers| {
                all.push(numbers.to_vec());
                image[at]
            });
            all
        };
        let image = bytes(9, pixels);
        let before = numbers(&image);
        for changed in 0..pixels {
            let mut other = image.clone();
            other[changed] += 0.5;
            let after = numbers(&other);
            assert_eq!(before[..=changed], after[..=changed], "value {changed}");
            let is_last = changed + 1 == pixels;
            assert!(is_last || before[changed + 1..] != after[changed + 1..], "value {changed} is not seen");
        }
    }
}

/// All at once, as in training, and one by one, as in coding: equal but for rounding.
#[test]
fn both_ways_give_the_same_numbers() {
    for (channels, inputs) in
        [1, 2, 3].into_iter().flat_map(|c| ContextInputs::ALL.iter().map(move |&i| (c, i)))
    {
        let model = Vae::<f64>::new(config(channels, MIXTURE, inputs), 11).unwrap();
        let (pixels, m) = (model.config().pixels(), 6);
        let images = bytes(12, 3 * pixels);
        let mut space = model.inference_workspace(3);
        space.latent.z.copy_from_slice(&random_vec(13, 9));
        let all = model.decode_given(&images, &mut space).to_vec();
        let context = model.architecture().context.as_ref().unwrap();
        let exact = context.exact(&model.parameters);
        for (n, image) in images.chunks(pixels).enumerate() {
            let features = &space.decoded()[n * context.features_len()..][..context.features_len()];
            exact.visit(features, &mut vec![0.0; pixels], |at, numbers| {
                for (k, number) in numbers.iter().enumerate() {
                    let place = (n * pixels + at - at % channels) * m + k * channels + at % channels;
                    assert!((number - all[place]).abs() < 1e-12, "image {n}, value {at}, number {k}");
                }
                image[at]
            });
        }
    }
}

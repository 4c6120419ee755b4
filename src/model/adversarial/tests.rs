use super::spectral::GAIN;
use super::*;
use crate::gradient_check::{check, random_vec};
use crate::model::adversarial::losses::{decoded, feature_distance, real, to_decoder, weight};
use crate::tensor::ImageShape;

/// Real pictures, reconstructions and samples of a small discriminator, and their labels.
struct Setting {
    discriminator: Discriminator<f64>,
    parameters: Vec<f64>,
    directions: Vec<f64>,
    pictures: [Vec<f64>; 3],
    condition: Vec<f64>,
    space: DiscriminatorSpace<f64>,
}

const BATCH: usize = 2;

impl Setting {
    /// With u and v after some iterations, which then stay.
    fn new(image: ImageShape, labels: usize, seed: u64) -> Self {
        let discriminator = Discriminator::<f64>::new(image, labels).unwrap();
        let mut parameters = discriminator.initialize(seed);
        // Biases of some size, so that no SiLU is flat.
        parameters.iter_mut().for_each(|p| *p *= 2.0);
        let mut directions = discriminator.directions(seed);
        let mut space = discriminator.space(BATCH);
        for _ in 0..3 {
            discriminator.prepare(&parameters, &mut directions, &mut space);
        }
        let pictures = [1, 2, 3].map(|n| random_vec(seed + n, BATCH * image.len()));
        let condition =
            (0..BATCH * labels).map(|at| f64::from(u8::from(at % labels == at / labels))).collect();
        Self { discriminator, parameters, directions, pictures, condition, space }
    }

    /// L_D, L_A and the feature distance for some parameters and pictures, without a gradient.
    fn losses(&mut self, parameters: &[f64], pictures: &[Vec<f64>; 3]) -> (f64, f64, f64) {
        let (d, s) = (&self.discriminator, &mut self.space);
        d.normalize(parameters, &self.directions, s);
        d.forward(&pictures[0], &self.condition, s);
        let features = s.features(d, BATCH).to_vec();
        let (logits, unused) = s.logits(BATCH);
        let mut losses = (real(logits, unused).discriminator, 0.0, 0.0);
        for (at, pictures) in pictures.iter().enumerate().skip(1) {
            d.forward(pictures, &self.condition, s);
            if at == 1 {
                let (found, unused) = s.features_and_gradient(d, BATCH);
                losses.2 = feature_distance(&features, found, unused, &mut [0.0; BATCH]);
            }
            let (logits, unused) = s.logits(BATCH);
            let judged = decoded(logits, unused);
            losses.0 += 0.5 * judged.discriminator;
            losses.1 += 0.5 * judged.decoder;
        }
        losses
    }

    /// ∂L_D/∂W, ∂L_A/∂(reconstructions, samples) and the feature distance's gradient by the reconstructions, as a step takes them.
    fn gradients(&mut self) -> (Vec<f64>, [Vec<f64>; 2], Vec<f64>) {
        let (d, s) = (&self.discriminator, &mut self.space);
        d.normalize(&self.parameters, &self.directions, s);
        d.forward(&self.pictures[0], &self.condition, s);
        let features = s.features(d, BATCH).to_vec();
        let (logits, d_logits) = s.logits(BATCH);
        real(logits, d_logits);
        d.backward(&self.pictures[0], None, s);
        let mut d_features = vec![0.0; self.pictures[1].len()];
        let d_pictures = [1, 2].map(|at: usize| {
            let pictures = &self.pictures[at];
            d.forward(pictures, &self.condition, s);
            if at == 1 {
                let (found, d_found) = s.features_and_gradient(d, BATCH);
                feature_distance(&features, found, d_found, &mut [0.0; BATCH]);
                d.features_backward(pictures, &mut d_features, s);
            }
            let (logits, d_logits) = s.logits(BATCH);
            decoded(logits, d_logits);
            let mut d_pictures = vec![0.0; pictures.len()];
            d.backward(pictures, Some(&mut d_pictures), s);
            to_decoder(s.logits(BATCH).0, &mut d_pictures);
            d_pictures
        });
        (d.gradient(&self.directions, s).to_vec(), d_pictures, d_features)
    }
}

#[test]
pub(crate) fn gradients_of_both_sides_are_those_of_finite_differences() {
    for (case, (image, labels)) in
        [(ImageShape::new(8, 8, 1), 0), (ImageShape::new(9, 8, 3), 2)].into_iter().enumerate()
    {
        let mut setting = Setting::new(image, labels, 10 * case as u64);
        let (d_parameters, d_pictures, d_features) = setting.gradients();
        let pictures = setting.pictures.clone();
        // Thousands of weights: together along a direction, and some of every tensor alone.
        let direction = random_vec(5, d_parameters.len());
        let slope: f64 = direction.iter().zip(&d_parameters).map(|(v, g)| v * g).sum();
        let parameters = setting.parameters.clone();
        check(&format!("discriminator {image} along a direction"), &mut [0.0], &[slope], |by| {
            let moved: Vec<f64> = parameters.iter().zip(&direction).map(|(p, v)| p + by[0] * v).collect();
            setting.losses(&moved, &pictures).0
        });
        for parameter in setting.discriminator.table.parameters.clone() {
            let places: Vec<usize> = parameter.range.clone().step_by(1 + parameter.range.len() / 3).collect();
            check_some(&parameter.name, &parameters, &d_parameters, &places, |moved| {
                setting.losses(moved, &pictures).0
            });
        }
        let places: Vec<usize> = (0..pictures[0].len()).step_by(1 + pictures[0].len() / 20).collect();
        for (at, analytic) in d_pictures.iter().enumerate() {
            check_some(&format!("decoder {image}: {at}"), &pictures[at + 1], analytic, &places, |moved| {
                let mut pictures = pictures.clone();
                pictures[at + 1].copy_from_slice(moved);
                setting.losses(&parameters, &pictures).1
            });
        }
        check_some(&format!("features {image}"), &pictures[1], &d_features, &places, |moved| {
            let moved = [pictures[0].clone(), moved.to_vec(), pictures[2].clone()];
            setting.losses(&parameters, &moved).2
        });
    }
}

/// [`check`] for the numbers at some places alone.
fn check_some(name: &str, all: &[f64], analytic: &[f64], places: &[usize], mut f: impl FnMut(&[f64]) -> f64) {
    let mut values: Vec<f64> = places.iter().map(|&at| all[at]).collect();
    let analytic: Vec<f64> = places.iter().map(|&at| analytic[at]).collect();
    check(name, &mut values, &analytic, |values| {
        let mut moved = all.to_vec();
        places.iter().zip(values).for_each(|(&at, &value)| moved[at] = value);
        f(&moved)
    });
}

#[test]
fn weights_get_the_largest_singular_value_of_their_gain() {
    let mut setting = Setting::new(ImageShape::new(8, 8, 1), 0, 3);
    let d = &setting.discriminator;
    for _ in 0..300 {
        d.prepare(&setting.parameters, &mut setting.directions, &mut setting.space);
    }
    for weight in d.table.parameters.iter().filter(|parameter| parameter.name.ends_with(".weight")) {
        let columns = weight.range.len() / weight.shape[0];
        let w = &setting.space.normalized()[weight.range.clone()];
        for seed in 0..20 {
            let x = random_vec(seed, columns);
            let square = |x: &[f64]| x.iter().map(|x| x * x).sum::<f64>();
            let y: Vec<f64> =
                w.chunks_exact(columns).map(|row| row.iter().zip(&x).map(|(w, x)| w * x).sum()).collect();
            let stretched = (square(&y) / square(&x)).sqrt();
            assert!(stretched <= GAIN + 1e-3, "{}: {stretched}", weight.name);
        }
    }
    let linear =
        d.table.parameters.iter().find(|parameter| parameter.name.ends_with("linear.weight")).unwrap();
    // A single row's singular value is its norm.
    let row = &setting.space.normalized()[linear.range.clone()];
    let norm = row.iter().map(|w| w * w).sum::<f64>().sqrt();
    assert!((norm - GAIN).abs() < 1e-9, "{norm}");
}

#[test]
fn losses_are_their_formulas_for_any_logit() {
    let logits = [-800.0, -3.0, 0.0, 2.0, 800.0];
    let softplus = |x: f64| if x > 700.0 { x } else { x.exp().ln_1p() };
    let mut d = [0.0; 5];
    let found = decoded(&logits, &mut d);
    let mean = |f: &dyn Fn(f64) -> f64| logits.iter().map(|&x| f(x)).sum::<f64>() / 5.0;
    assert!((found.discriminator - mean(&softplus)).abs() < 1e-9);
    assert!((found.decoder - mean(&|x| softplus(-x))).abs() < 1e-9);
    assert_eq!(found.accuracy, 0.6);
    // The decoder's gradient by each logit from the discriminator's, the most extreme among them.
    to_decoder(&logits, &mut d);
    for (d, x) in d.into_iter().zip(logits) {
        let expected = -0.5 / 5.0 / (1.0 + x.exp());
        assert!((d - expected).abs() < 1e-12, "{x}: {d} is not {expected}");
    }
    let found = real(&logits, &mut d);
    assert!((found.discriminator - mean(&|x| softplus(-x))).abs() < 1e-9);
    assert_eq!(found.accuracy, 0.4);
    assert!(real(&[f64::NAN], &mut [0.0]).discriminator.is_nan());
}

#[test]
fn a_weight_makes_a_gradient_a_share_of_another() {
    assert_eq!(weight(0.5, 6.0, 2.0), 1.5);
    assert_eq!(weight(0.5, 6.0, 0.0), 0.0);
    assert_eq!(weight(0.5, 6.0, 1e-30), 5000.0);
    assert!(weight(0.5, f64::NAN, 2.0).is_nan());
}

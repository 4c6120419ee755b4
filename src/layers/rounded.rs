//! Products in bf16 against those in single precision, in the layers that read images in place.
//!
//! Small whole numbers, and sums of their products below 2²⁴, are exact in both, so both must give the same
//! bits for any order of additions. With other numbers they must be close to each other.

use rand::{RngExt, SeedableRng, rngs::ChaCha8Rng};

use super::{
    Activation, Backward, Conv2d, ConvTranspose2d, Forward, Layer, Linear, ParameterGradients, Parameters,
    Slot, Work,
};
use crate::kernels::geometry::Geometry;
use crate::kernels::precision::Precision;

/// y, dx and the parameters' gradient.
type Passes = [Vec<f32>; 3];

/// Both passes of a layer in a precision. Parameters, input and upstream gradient are drawn from `draw`.
fn passes(
    layer: &dyn Layer<f32>,
    batch: usize,
    precision: Precision,
    draw: &mut dyn FnMut() -> f32,
) -> Passes {
    let mut numbers = |count: usize| (0..count).map(|_| draw()).collect::<Vec<f32>>();
    let mut end = 0;
    let slots: Vec<Slot> = layer
        .parameters()
        .iter()
        .map(|parameter| {
            end += parameter.len();
            Slot { range: end - parameter.len()..end, accumulate: false }
        })
        .collect();
    let (all, x) = (numbers(end), numbers(batch * layer.input().len()));
    let mut dy = numbers(batch * layer.output().len());
    let parameters = Parameters { all: &all, slots: &slots };
    let (mut y, mut dx, mut gradient) = (vec![f32::NAN; dy.len()], vec![f32::NAN; x.len()], vec![0.0; end]);
    let work = &mut Work::new(layer.work_len()).in_precision(precision);
    layer.forward(&x, &mut y, Forward { batch, parameters, condition: &[], kept: &mut [], work });
    let gradients = ParameterGradients { all: &mut gradient, slots: &slots };
    let pass = Backward { batch, parameters, gradients, kept: &[], spare: &mut [], work };
    layer.backward(&x, &y, &mut dy, Some(&mut dx), pass);
    [y, dx, gradient]
}

/// Layers whose products are in place: even and odd channels, strides, kernels that extend beyond the image,
/// and linear layers.
fn layers(activation: Activation) -> Vec<(Box<dyn Layer<f32>>, usize)> {
    let mut layers: Vec<(Box<dyn Layer<f32>>, usize)> = Vec::new();
    let cases = [
        ((7, 6, 16), (3, 3), 1, 1, 32, 3),
        ((8, 9, 17), (4, 4), 2, 1, 19, 2),
        ((5, 5, 64), (3, 3), 2, 1, 40, 9),
        ((4, 4, 33), (1, 1), 1, 0, 70, 2),
        ((9, 9, 20), (5, 5), 3, 2, 18, 1),
    ];
    for (image, kernel, stride, padding, channels, batch) in cases {
        let geometry = Geometry::new(image, kernel, stride, padding).unwrap();
        layers.push((Box::new(Conv2d { geometry, filters: channels, activation }), batch));
        layers.push((Box::new(ConvTranspose2d { geometry, small_channels: channels, activation }), batch));
    }
    let whole = Geometry::new((3, 4, 17), (3, 4), 1, 0).unwrap();
    layers.push((Box::new(ConvTranspose2d { geometry: whole, small_channels: 65, activation }), 5));
    for (inputs, outputs, batch) in [(1, 1, 1), (77, 300, 19), (600, 35, 8)] {
        let layer = Linear::new(inputs, outputs, activation);
        layers.push((Box::new(layer), batch));
        layers.push((Box::new(layer.with_reversed_weight()), batch));
    }
    layers
}

fn is_missing() -> bool {
    let missing = !Precision::Bf16.is_found();
    if missing {
        println!("this processor has no AVX512-BF16, so layers in bf16 are not tested");
    }
    missing
}

#[test]
fn small_whole_numbers_give_the_bits_of_single_precision() {
    if is_missing() {
        return;
    }
    for (seed, (layer, batch)) in layers(Activation::Relu).into_iter().enumerate() {
        let [exact, rounded] = [Precision::Single, Precision::Bf16].map(|precision| {
            let mut rng = ChaCha8Rng::seed_from_u64(seed as u64);
            passes(&*layer, batch, precision, &mut || f32::from(rng.random_range(-8_i8..=8)))
        });
        assert!(exact == rounded, "seed {seed}: {layer:?}, {batch} images");
    }
}

#[test]
fn gradients_come_near_those_of_single_precision() {
    if is_missing() {
        return;
    }
    for (seed, (layer, batch)) in layers(Activation::Identity).into_iter().enumerate() {
        let [exact, rounded] = [Precision::Single, Precision::Bf16].map(|precision| {
            let mut rng = ChaCha8Rng::seed_from_u64(seed as u64);
            passes(&*layer, batch, precision, &mut || rng.random_range(-1.0..1.0))
        });
        for (what, (exact, rounded)) in ["y", "dx", "gradient"].iter().zip(exact.iter().zip(&rounded)) {
            let norm = |values: &mut dyn Iterator<Item = f32>| {
                values.map(|value| f64::from(value).powi(2)).sum::<f64>().sqrt()
            };
            let difference = norm(&mut exact.iter().zip(rounded).map(|(a, b)| a - b));
            let size = norm(&mut exact.iter().copied());
            // Each factor has a relative error of up to 2⁻⁹.
            assert!(difference <= 0.006 * size, "seed {seed}: {what} of {layer:?}: {difference} of {size}");
            // And they were rounded, unless there was one image and one number.
            assert!(difference > 0.0 || exact.len() < 3, "seed {seed}: {what} of {layer:?} was not rounded");
        }
    }
}

use super::*;
use crate::gradient_check::{check, random_vec};

/// An M2 for three classes, with positions for its parameters, and their number.
fn small() -> (M2, usize) {
    let labels = ["a", "b", "c"].map(String::from).to_vec();
    let mut m2 = M2::new(&M2Config { labels, hidden: 5, style: 2 }, 4);
    let mut end = 0;
    m2.place(|specs| {
        let slot = |spec: ParameterSpec| {
            end += spec.len();
            Slot { range: end - spec.len()..end, accumulate: false }
        };
        specs.into_iter().map(slot).collect()
    });
    (m2, end)
}

#[test]
fn the_gradient_is_that_of_the_loss_with_labels_without_and_both() {
    let (m2, len) = small();
    for (seed, (plain, labels)) in [(3, &[2, 0][..]), (2, &[]), (0, &[1, 1, 2])].into_iter().enumerate() {
        let seed = 10 * seed as u64;
        let images = plain + labels.len();
        let (codes, noise) = (random_vec(seed, images * 4), random_vec(seed + 1, images * 2));
        let batch = M2Batch { codes: &codes, labels, noise: &noise, share: 0.3, alpha: 0.7 };
        let mut space = M2Space::new(&m2, plain, labels.len());
        let mut parameters = random_vec(seed + 2, len);
        let mut gradient = vec![f64::NAN; len];
        m2.gradients(&parameters, batch, &mut gradient, &mut space);
        let mut unused = gradient.clone();
        check("M2", &mut parameters, &gradient, |p| m2.gradients(p, batch, &mut unused, &mut space).loss);
    }
}

#[test]
fn the_loss_is_its_formula() {
    let (m2, len) = small();
    let (codes, noise, parameters) = (random_vec(1, 2 * 4), random_vec(2, 2 * 2), random_vec(3, len));
    let mut gradient = vec![0.0; len];
    let mut space = M2Space::new(&m2, 1, 1);
    let batch = M2Batch { codes: &codes, labels: &[2], noise: &noise, share: 0.3, alpha: 0.7 };
    let values = m2.gradients(&parameters, batch, &mut gradient, &mut space);

    let linear = |layer: usize, x: &[f64], label: Option<usize>, relu: bool| -> Vec<f64> {
        let part = |index: usize| &parameters[m2.slots[layer][index].range.clone()];
        let one = |o: usize| {
            let product: f64 = x.iter().zip(&part(0)[o * x.len()..]).map(|(x, w)| x * w).sum();
            let sum = product + part(1)[o] + label.map_or(0.0, |label| part(2)[label * 5 + o]);
            if relu { sum.max(0.0) } else { sum }
        };
        (0..m2.layers[layer].1.outputs).map(one).collect()
    };
    let bound = |image: usize, y: usize| -> f64 {
        let (x, e) = (&codes[4 * image..][..4], &noise[2 * image..][..2]);
        let q = linear(ENCODER + 1, &linear(ENCODER, x, Some(y), true), None, false);
        let w: Vec<f64> = (0..2).map(|k| q[k] + (0.5 * q[2 + k]).exp() * e[k]).collect();
        let p = linear(DECODER + 1, &linear(DECODER, &w, Some(y), true), None, false);
        let reconstruction: f64 =
            (0..4).map(|d| LN_2_PI + p[4 + d] + (x[d] - p[d]).powi(2) / p[4 + d].exp()).sum();
        let kl: f64 = (0..2).map(|k| q[k] * q[k] + q[2 + k].exp() - 1.0 - q[2 + k]).sum();
        -0.5 * (reconstruction + kl) - 3.0_f64.ln()
    };
    let q = |image: usize| m2.probabilities(&parameters, &codes[4 * image..][..4]);
    let sum: f64 = (0..3).map(|y| q(0)[y] * (bound(0, y) - q(0)[y].ln())).sum();
    let loss = -sum - 0.3 * bound(1, 2) - 0.7 * q(1)[2].ln();
    assert!(
        (values.bound - sum).abs() < 1e-12 && (values.loss - loss).abs() < 1e-12,
        "{values:?} {sum} {loss}"
    );
}

#[test]
fn it_learns_two_clusters_from_one_label_each() {
    use crate::optim::{Adam, AdamState};
    use crate::random::{Stream, fill_normal, stream};
    let labels = ["left", "right"].map(String::from).to_vec();
    let config = crate::model::ModelConfig {
        latent: 2,
        hidden: vec![4],
        m2: Some(M2Config { labels, hidden: 16, style: 1 }),
        ..crate::model::ModelConfig::new(crate::model::Preset::Mlp, (8, 8, 1))
    };
    let mut model = crate::model::Vae::<f32>::new(config, 0).unwrap();
    let m2 = model.architecture().m2.clone().unwrap();
    let draw = |step: u64, len: usize| {
        let mut numbers = vec![0.0; len];
        fill_normal(&mut stream(0, Stream::Noise, step), &mut numbers);
        numbers
    };
    // Two round clouds around (−2, 0) and (2, 0); the labelled points lie on their outer sides.
    let cloud = |step| {
        let mut codes = draw(step, 64 * 2);
        codes.chunks_exact_mut(2).enumerate().for_each(|(at, code)| {
            code.iter_mut().for_each(|x| *x *= 0.7);
            code[0] += if at % 2 == 0 { -2.0 } else { 2.0 };
        });
        codes
    };
    let mut space = M2Space::new(&m2, 64, 2);
    let mut gradient = vec![0.0; model.parameters.len()];
    let (adam, mut moments) = (Adam::default(), AdamState::new(model.parameters.len()));
    for step in 0..400 {
        let codes = [cloud(2 * step), vec![-3.0, 2.0, 3.0, 2.0]].concat();
        let noise = draw(2 * step + 1, 66);
        let batch = M2Batch { codes: &codes, labels: &[0, 1], noise: &noise, share: 0.03, alpha: ALPHA };
        m2.gradients(&model.parameters, batch, &mut gradient, &mut space);
        adam.step(&mut model.parameters, &gradient, &mut moments, 5e-3, 1.0);
    }
    let p = m2.probabilities(&model.parameters, &cloud(1_000_000));
    let right = p.chunks_exact(2).enumerate().filter(|(at, p)| (p[1] > p[0]) == (at % 2 == 1)).count();
    assert!(right >= 61, "{right} of 64");
}

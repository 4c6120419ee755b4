use super::*;
use crate::gradient_check::check;
use rand::{RngExt, SeedableRng, rngs::ChaCha8Rng};

const BOTH: [Divergence; 2] = [Divergence::Kl, Divergence::Jeffreys];

/// One dimension of one image: value, derivative by μ, derivative by ln σ².
fn one<T: Element>(divergence: Divergence, mu: T, s: T) -> [f64; 3] {
    let (mut values, mut per_image, mut per_dimension) = ([T::ZERO], [0.0], [0.0]);
    divergence.forward(&[mu], &[s], &mut values, &mut per_image, &mut per_dimension);
    assert_eq!(per_image, per_dimension);
    let (mut d_mu, mut d_s) = ([T::ZERO], [T::ZERO]);
    divergence.backward(&[mu], &[s], &[T::ONE], &mut d_mu, &mut d_s);
    [per_image[0], d_mu[0].to_f64(), d_s[0].to_f64()]
}

#[test]
fn exactly_nothing_where_posterior_and_prior_are_the_same() {
    for divergence in BOTH {
        assert_eq!(one(divergence, 0.0_f32, 0.0), [0.0; 3]);
        assert_eq!(one(divergence, 0.0_f64, 0.0), [0.0; 3]);
    }
}

/// Relative to the number itself, so that tests near 0 and at ±20 are equally strict. If a derivative passes
/// through 0 away from s = 0, its terms cancel, and the error is relative to their size instead.
#[test]
fn values_and_gradients_are_those_of_higher_precision() {
    fn compare<T: Element>(digits: f64) {
        for &(mu, s, [kl, d_kl_s, jeffreys, d_jeffreys_mu, d_jeffreys_s]) in REFERENCE {
            let (mu, s) = (f64::from(mu), f64::from(s));
            let reversed_terms = 0.25 * mu * mu * (-s).exp();
            for (divergence, expected, scale) in [
                (Divergence::Kl, [kl, mu, d_kl_s], [kl, mu, d_kl_s]),
                (
                    Divergence::Jeffreys,
                    [jeffreys, d_jeffreys_mu, d_jeffreys_s],
                    [jeffreys, d_jeffreys_mu, d_jeffreys_s.abs() + reversed_terms],
                ),
            ] {
                let found = one(divergence, T::from_f64(mu), T::from_f64(s));
                for i in 0..3 {
                    let difference = (found[i] - expected[i]).abs();
                    let within = difference <= digits * scale[i].abs();
                    assert!(within, "{divergence:?} at {mu}, {s}, [{i}]: {} not {}", found[i], expected[i]);
                }
            }
        }
    }
    compare::<f32>(8.0 * f64::from(f32::EPSILON));
    compare::<f64>(8.0 * f64::EPSILON);
}

#[test]
fn jeffreys_is_never_below_half_of_kl_and_neither_is_negative() {
    let seed = 31;
    println!("seed {seed}");
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    for round in 0..200_000 {
        let width = [20.0, 1.0, 1e-3, 1e-6][round % 4];
        let (mu, s) = (random.random_range(-width..width), random.random_range(-width..width));
        let (kl, jeffreys) = (one(Divergence::Kl, mu, s)[0], one(Divergence::Jeffreys, mu, s)[0]);
        assert!(kl >= 0.0 && jeffreys >= 0.5 * kl, "{kl} and {jeffreys} at {mu}, {s}");
        let (mu, s) = (mu as f32, s as f32);
        let (kl, jeffreys) = (one(Divergence::Kl, mu, s)[0], one(Divergence::Jeffreys, mu, s)[0]);
        assert!(kl >= 0.0 && jeffreys >= 0.5 * kl, "{kl} and {jeffreys} at {mu}, {s} in f32");
    }
}

#[test]
fn sums_go_over_dimensions_and_means_over_images() {
    // Three images of two dimensions with s = 0, so that KL is ½μ².
    let mu = [1.0, 2.0, 0.0, 4.0, -3.0, 0.0];
    let (mut values, mut per_image, mut per_dimension) = ([9.0; 6], [9.0; 3], [9.0; 2]);
    Divergence::Kl.forward(&mu, &[0.0; 6], &mut values, &mut per_image, &mut per_dimension);
    assert_eq!(values, [0.5, 2.0, 0.0, 8.0, 4.5, 0.0]);
    assert_eq!(per_image, [2.5, 8.0, 4.5]);
    assert_eq!(per_dimension, [5.0 / 3.0, 10.0 / 3.0]);
}

#[test]
pub(crate) fn gradients_are_those_of_finite_differences() {
    let seed = 32;
    println!("seed {seed}");
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    for divergence in BOTH {
        for (images, latent) in [(1, 1), (1, 7), (3, 4), (5, 20)] {
            let mut numbers = |count: usize, width: f64| -> Vec<f64> {
                (0..count).map(|_| random.random_range(-width..width)).collect()
            };
            let (mut mu, mut s) = (numbers(images * latent, 1.5), numbers(images * latent, 1.5));
            let weights = numbers(latent, 1.0);
            let (mut d_mu, mut d_s) = (vec![9.0; mu.len()], vec![9.0; mu.len()]);
            divergence.backward(&mu, &s, &weights, &mut d_mu, &mut d_s);
            let (mut values, mut per_image) = (vec![0.0; mu.len()], vec![0.0; images]);
            let mut per_dimension = vec![0.0; latent];
            let mut weighted = |mu: &[f64], s: &[f64]| -> f64 {
                divergence.forward(mu, s, &mut values, &mut per_image, &mut per_dimension);
                weights.iter().zip(&per_dimension).map(|(w, mean)| w * mean * images as f64).sum()
            };
            let name = format!("{} {images} × {latent}", divergence.name());
            let frozen = s.clone();
            check(&format!("{name} by μ"), &mut mu, &d_mu, |mu| weighted(mu, &frozen));
            check(&format!("{name} by ln σ²"), &mut s, &d_s, |s| weighted(&mu, s));
        }
    }
}

#[test]
#[should_panic(expected = "do not all have 2 × 2")]
fn shapes_that_do_not_fit_are_named() {
    Divergence::Kl.forward(&[0.0; 4], &[0.0; 3], &mut [0.0; 4], &mut [0.0; 2], &mut [0.0; 2]);
}

/// μ, ln σ², and then KL(q‖p), its derivative by ln σ², Jeffreys, its derivatives by μ and by ln σ²: from
/// reference.py, which computes with 60 digits.
#[rustfmt::skip]
const REFERENCE: &[(f32, f32, [f64; 5])] = &[
    (0.0, -20.0, [9.500000001030577, -0.4999999989694232, 121291298.35244757, 0.0, -121291298.85244757]),
    (0.0, -1.0, [0.18393972058572117, -0.31606027941427883, 0.2715403174076219, 0.0, -0.5876005968219007]),
    (0.0, -0.001, [2.4991671123268983e-07, -0.000499750107037493, 2.500000445820642e-07, 0.0, -0.000500000107082075]),
    (0.0, -0.0000001, [2.4999999750971533e-15, -4.9999998084304895e-08, 2.5000000584304894e-15, 0.0, -5.000000058430496e-08]),
    (0.0, 0.0, [0.0, 0.0, 0.0, 0.0, 0.0]),
    (0.0, 0.0000001, [2.500000141763826e-15, 5.000000308430501e-08, 2.5000000584304894e-15, 0.0, 5.000000058430496e-08]),
    (0.0, 0.03125, [0.00024670374955133547, 0.015871703749551335, 0.0002441604938616882, 0.0, 0.015627543255689647]),
    (0.0, 0.999, [0.35828246370289224, 0.8577824701401938, 0.27095311003825256, 0.0, 0.5868293601019413]),
    (0.0, 1.001, [0.36000077515202594, 0.8605007985170466, 0.272128331367237, 0.0, 0.5883724671498096]),
    (0.0, 20.0, [242582587.20489514, 242582597.20489514, 121291298.35244757, 0.0, 121291298.85244757]),
    (0.001, -20.0, [9.500000501030625, -0.4999999989694232, 121291419.6437582, 242582.6097269503, -121291420.14375794]),
    (0.001, -1.0, [0.18394022058576867, -0.31606027941427883, 0.2715412469781673, 0.0018591410025339777, -0.5876012763924224]),
    (0.001, -0.001, [7.499167587301423e-07, -0.000499750107037493, 7.502502171568406e-07, 0.0010005002976283385, -0.000500250357230901]),
    (0.001, -0.0000001, [5.000000499974524e-07, -4.9999998084304895e-08, 5.000000749974564e-07, 0.0010000000974974567, -3.000000493330351e-07]),
    (0.001, 0.0, [5.000000474974524e-07, 0.0, 5.000000474974524e-07, 0.0010000000474974513, -2.500000237487262e-07]),
    (0.001, 0.0000001, [5.000000499974526e-07, 5.000000308430501e-08, 5.00000024997451e-07, 0.0009999999974974509, -1.9999999816441985e-07]),
    (0.001, 0.03125, [0.0002472037495988329, 0.015871703749551335, 0.00024465280221707406, 0.000984616664004952, 0.01562730094735801]),
    (0.001, 0.999, [0.3582829637029397, 0.8577824701401938, 0.27095345210016, 0.0006841237824304458, 0.5868292680400576]),
    (0.001, 1.001, [0.3600012751520734, 0.8605007985170466, 0.2721286732452016, 0.0006837558966940883, 0.5883723752718688]),
    (0.001, 20.0, [242582587.20489565, 242582597.20489514, 121291298.35244782, 0.0005000000247793025, 121291298.85244757]),
    (-0.75, -20.0, [9.781250001030577, -0.4999999989694232, 189517654.09757432, -181936948.65367135, -189517654.45694932]),
    (-0.75, -1.0, [0.46518972058572117, -0.31606027941427883, 0.7944236995346752, -1.394355685672142, -0.969858978948954]),
    (-0.75, -0.001, [0.2812502499167112, -0.000499750107037493, 0.28139094534267395, -0.7503751875803449, -0.14126569544971146]),
    (-0.75, -0.0000001, [0.2812500000000025, -4.9999998084304895e-08, 0.2812500140625034, -0.7500000375000023, -0.14062506406250144]),
    (-0.75, 0.0, [0.28125, 0.0, 0.28125, -0.75, -0.140625]),
    (-0.75, 0.0000001, [0.2812500000000025, 5.000000308430501e-08, 0.28124998593750306, -0.7499999625000014, -0.14062493593749995]),
    (-0.75, 0.03125, [0.2814967037495513, 0.015871703749551335, 0.2771675840920976, -0.738462462928629, -0.12067088034254624]),
    (-0.75, 0.999, [0.6395324637028922, 0.8577824701401938, 0.4633629147078401, -0.5130928124522334, 0.5350445554323539]),
    (-0.75, 1.001, [0.6412507751520259, 0.8605007985170466, 0.4644346681783885, -0.5128168981630705, 0.5366911303386581]),
    (-0.75, 20.0, [242582587.48614514, 242582597.20489514, 121291298.49307257, -0.3750000007729326, 121291298.85244757]),
    (3.0, -20.0, [14.000000001030577, -0.4999999989694232, 1212912990.2744758, 727747794.6146854, -1212912988.5244758]),
    (3.0, -1.0, [4.683939720585721, -0.31606027941427883, 8.637674431440473, 5.577422742688568, -6.703734710854753]),
    (3.0, -0.001, [4.500000249916711, -0.000499750107037493, 4.502251375482115, 3.0015007503213798, -2.252751125589152]),
    (3.0, -0.0000001, [4.500000000000003, -4.9999998084304895e-08, 4.500000225000016, 3.0000001500000093, -2.2500002750000143]),
    (3.0, 0.0, [4.5, 0.0, 4.5, 3.0, -2.25]),
    (3.0, 0.0000001, [4.500000000000003, 5.000000308430501e-08, 4.499999775000011, 2.999999850000006, -2.249999725000008]),
    (3.0, 0.03125, [4.500246703749552, 0.015871703749551335, 4.431018938065636, 2.953849851714516, -2.1651472343160845]),
    (3.0, 0.999, [4.858282463702892, 0.8577824701401938, 3.349509984751653, 2.0523712498089335, -0.24172751461145914]),
    (3.0, 1.001, [4.8600007751520256, 0.8605007985170466, 3.3490297203456603, 2.051267592652282, -0.23852892182861374]),
    (3.0, 20.0, [242582591.70489514, 242582597.20489514, 121291300.60244757, 1.5000000030917304, 121291298.85244757]),
];

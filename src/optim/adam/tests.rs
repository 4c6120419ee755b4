use super::*;
use rand::{RngExt, SeedableRng, rngs::ChaCha8Rng};

/// Algorithm 1 as it is printed, in f64, with decoupled decay and scaled gradients.
struct Naive {
    theta: Vec<f64>,
    m: Vec<f64>,
    v: Vec<f64>,
    t: i32,
}

impl Naive {
    fn step(&mut self, adam: &Adam, gradient: &[f32], alpha: f64, scale: f64) {
        self.t += 1;
        for (i, &g) in gradient.iter().enumerate() {
            let g = f64::from(g) * scale;
            self.m[i] = adam.beta1 * self.m[i] + (1.0 - adam.beta1) * g;
            self.v[i] = adam.beta2 * self.v[i] + (1.0 - adam.beta2) * g * g;
            let m_hat = self.m[i] / (1.0 - adam.beta1.powi(self.t));
            let v_hat = self.v[i] / (1.0 - adam.beta2.powi(self.t));
            self.theta[i] *= 1.0 - alpha * adam.weight_decay;
            self.theta[i] -= alpha * m_hat / (v_hat.sqrt() + adam.epsilon);
        }
    }
}

#[test]
fn equals_the_algorithm_in_double_precision() {
    let seed = 51;
    println!("seed {seed}");
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let count = 1000;
    for adam in [
        Adam::default(),
        Adam { weight_decay: 0.1, ..Adam::default() },
        Adam { beta1: 0.5, beta2: 0.9, epsilon: 1e-3, weight_decay: 0.01 },
    ] {
        let mut parameters: Vec<f32> = (0..count).map(|_| random.random_range(-1.0..1.0)).collect();
        let theta = parameters.iter().map(|&p| f64::from(p)).collect();
        let mut naive = Naive { theta, m: vec![0.0; count], v: vec![0.0; count], t: 0 };
        let mut state = AdamState::new(count);
        for step in 0..200 {
            // Gradients of all sizes, from a thousandth of ε to thousands; some always 0.
            let gradient: Vec<f32> = (0..count)
                .map(|i| random.random_range(-1.0..1.0_f32) * [1e-11, 1e-4, 1.0, 1e4, 0.0][i % 5])
                .collect();
            let (alpha, scale) = (1e-2 / f64::from(step + 1), [1.0, 0.25][step as usize % 2]);
            adam.step(&mut parameters, &gradient, &mut state, alpha, scale);
            naive.step(&adam, &gradient, alpha, scale);
        }
        assert_eq!(state.steps, 200);
        for (i, (&found, &expected)) in parameters.iter().zip(&naive.theta).enumerate() {
            // Two hundred roundings of a number of order 1, none of them worse than 6·10⁻⁸.
            let difference = (f64::from(found) - expected).abs();
            assert!(difference <= 1.2e-5, "parameter {i}: {found}, not {expected}");
        }
        for (found, expected) in [(&state.first, &naive.m), (&state.second, &naive.v)] {
            for (i, (&found, &expected)) in found.iter().zip(expected).enumerate() {
                let difference = (f64::from(found) - expected).abs();
                let unit = [1e-11, 1e-4, 1.0, 1e4, 1.0][i % 5];
                assert!(
                    difference <= 1e-6 * f64::max(unit, unit * unit),
                    "moment {i}: {found}, not {expected}"
                );
            }
        }
    }
}

#[test]
fn two_steps_by_hand() {
    // g = 1, then −1, β₁ = ½, β₂ = ¾, ε = 0, α = 0.1, no decay. Step 1: m = ½, v = ¼, m̂ = 1, v̂ = 1: θ = 2 −
    // 0.1. Step 2: m = ½·½ − ½ = −¼, v = ¾·¼ + ¼ = 7/16, m̂ = −¼/¾ = −1/3, v̂ = (7/16)/(7/16) = 1: θ = 1.9 +
    // 0.1/3.
    let adam = Adam { beta1: 0.5, beta2: 0.75, epsilon: 0.0, weight_decay: 0.0 };
    let (mut parameter, mut state) = ([2.0], AdamState::new(1));
    adam.step(&mut parameter, &[1.0], &mut state, 0.1, 1.0);
    assert!((parameter[0] - 1.9).abs() <= 2.4e-7, "{}", parameter[0]);
    assert_eq!((state.first[0], state.second[0]), (0.5, 0.25));
    adam.step(&mut parameter, &[-2.0], &mut state, 0.1, 0.5);
    assert!((parameter[0] - (1.9 + 0.1 / 3.0)).abs() <= 2.4e-7, "{}", parameter[0]);
    assert_eq!((state.first[0], state.second[0], state.steps), (-0.25, 0.4375, 2));
}

#[test]
fn decay_alone_shrinks_and_a_gradient_of_nothing_moves_nothing() {
    let (mut parameter, mut state) = ([4.0], AdamState::new(1));
    Adam::default().step(&mut parameter, &[0.0], &mut state, 0.1, 1.0);
    assert_eq!(parameter, [4.0]);
    Adam { weight_decay: 2.5, ..Adam::default() }.step(&mut parameter, &[0.0], &mut state, 0.1, 1.0);
    assert_eq!(parameter, [3.0]);
}

#[test]
fn any_number_of_threads_gives_the_same_bits() {
    let seed = 52;
    println!("seed {seed}");
    let count = 5 * PIECE + 77;
    let run = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let mut parameters: Vec<f32> = (0..count).map(|_| random.random_range(-1.0..1.0)).collect();
        let gradient: Vec<f32> = (0..count).map(|_| random.random_range(-1.0..1.0)).collect();
        let mut state = AdamState::new(count);
        let mut partials = vec![9.0; norm_partials([count, 10, 0])];
        pool.install(|| {
            Adam::default().step(&mut parameters, &gradient, &mut state, 1e-3, 1.0);
            let slices = [&gradient[..], &gradient[..10], &[]];
            (gradient_norm(slices, &mut partials), parameters, state)
        })
    };
    let one = run(1);
    assert!(run(2) == one && run(4) == one);
}

#[test]
fn norms_and_clipping() {
    let mut partials = [0.0; 3];
    assert_eq!(norm_partials([2, 1, 0]), 2);
    assert_eq!(gradient_norm([&[2.0, -3.0][..], &[6.0], &[]], &mut partials), 7.0);
    // Squares that f32 could not hold.
    assert_eq!(gradient_norm([&[3e30, 4e30][..]], &mut partials) as f32, 5e30);
    let ones = vec![1.0; 2 * PIECE + 1];
    let expected = (ones.len() as f64).sqrt();
    assert_eq!(gradient_norm([&ones[..]], &mut partials), expected);
    assert!(gradient_norm([&[1.0, f32::NAN][..]], &mut partials).is_nan());
    assert_eq!(gradient_norm([], &mut partials), 0.0);
    assert_eq!(clip_factor(7.0, 3.5), 0.5);
    assert_eq!(clip_factor(7.0, 7.0), 1.0);
    assert_eq!(clip_factor(0.0, 1.0), 1.0);
}

#[test]
#[should_panic(expected = "other lengths")]
fn lengths_that_differ_are_a_bug() {
    Adam::default().step(&mut [0.0; 2], &[0.0], &mut AdamState::new(2), 0.1, 1.0);
}

use super::*;
use crate::random::{Stream, stream};
use rand::RngExt;

const SIDE: usize = 16;

/// Pictures of bars and rings at random places: two classes.
fn pictures(count: usize, seed: u64, rings: bool) -> Vec<f32> {
    let mut rng = stream(seed, Stream::Sampling, 0);
    let mut all = Vec::new();
    for index in 0..count {
        let ring = rings && index % 2 == 0;
        let (y, x) = (rng.random_range(5.0..11.0), rng.random_range(5.0..11.0));
        let (size, tilt): (f64, f64) = (rng.random_range(2.0..4.5), rng.random_range(-0.7..0.7));
        all.extend((0..SIDE * SIDE).map(|at| {
            let (dy, dx): (f64, f64) = ((at / SIDE) as f64 - y, (at % SIDE) as f64 - x);
            let distance =
                if ring { (dy.hypot(dx) - size).abs() } else { (dx - tilt * dy).abs().max(dy.abs() - size) };
            (1.5 - distance).clamp(0.0, 1.0) as f32
        }));
    }
    all
}

/// Every picture's left half beside the next one's right half: the same patches, other shapes.
fn mixed_up(pictures: &[f32]) -> Vec<f32> {
    let len = SIDE * SIDE;
    let half = |at: usize| if at % SIDE < SIDE / 2 { at } else { (at + 3 * len) % pictures.len() };
    (0..pictures.len()).map(|at| pictures[half(at)]).collect()
}

fn blurred(pictures: &[f32]) -> Vec<f32> {
    let at = |picture: &[f32], y: usize, x: usize| picture[y.min(SIDE - 1) * SIDE + x.min(SIDE - 1)];
    let of_one = |p: &[f32]| -> Vec<f32> {
        let mean = |i: usize| {
            let (y, x) = (i / SIDE, i % SIDE);
            (at(p, y, x) + at(p, y + 1, x) + at(p, y, x + 1) + at(p, y + 1, x + 1)) / 4.0
        };
        (0..SIDE * SIDE).map(mean).collect()
    };
    pictures.chunks_exact(SIDE * SIDE).flat_map(of_one).collect()
}

fn noisy(pictures: &[f32], strength: f32) -> Vec<f32> {
    let mut noise = vec![0.0; pictures.len()];
    crate::random::fill_normal(&mut stream(9, Stream::Corruption, 0), &mut noise);
    pictures.iter().zip(noise).map(|(x, e)| (x + strength * e).clamp(0.0, 1.0)).collect()
}

#[test]
fn what_is_wrong_with_pictures_moves_them_away() {
    let mut space = FeatureSpace::new((SIDE, SIDE, 1)).unwrap();
    let mut moments = |pictures: &[f32]| Moments::of(&space.features(pictures), FEATURES);
    let count = 1000;
    let real = moments(&pictures(count, 1, true));
    let others = pictures(count, 2, true);
    let mut distance = |pictures: &[f32]| real.relative_distance(&moments(pictures));
    let floor = distance(&others);
    let figures = [
        ("noise", distance(&noisy(&others, 0.2))),
        ("blur", distance(&blurred(&others))),
        ("one class missing", distance(&pictures(count, 2, false))),
        ("halves mixed up", distance(&mixed_up(&others))),
        ("all alike", distance(&others[..SIDE * SIDE].repeat(count))),
    ];
    println!("floor {floor:.4}, {figures:?}");
    for (name, figure) in figures {
        assert!(figure > 2.0 * floor, "{name}: {figure} is not far above {floor}");
    }
    assert!(distance(&noisy(&others, 0.3)) > distance(&noisy(&others, 0.15)));
    assert_eq!(real.relative_distance(&real.clone()).max(1e-9), 1e-9);
    assert!(figures[4].1 > 0.9);
}

#[test]
fn the_distance_is_that_of_gaussians() {
    // Independent axes: Σ (m − m′)² + (s − s′)².
    let line = |scale: f32, shift: f32| [-scale + shift, shift, scale + shift];
    let both = |x: [f32; 3], y: [f32; 3]| -> Vec<f32> {
        x.iter().flat_map(|&x| y.iter().flat_map(move |&y| [x, y])).collect()
    };
    let a = Moments::of(&both(line(1.0, 0.0), line(2.0, 1.0)), 2);
    let b = Moments::of(&both(line(3.0, 1.0), line(1.0, -1.0)), 2);
    let s = (6.0_f64 / 8.0).sqrt(); // of line(1) in nine points
    let expected = 1.0 + 4.0 + (2.0 * s).powi(2) + s.powi(2);
    for distance in [a.squared_distance(&b), b.squared_distance(&a)] {
        assert!((distance - expected).abs() < 1e-9, "{distance} is not {expected}");
    }
    // Two vectors have a covariance of rank 1 in any number of dimensions.
    let flat = Moments::of(&[0.0, 1.0, 2.0, 3.0, 5.0, 4.0], 3);
    assert!(flat.squared_distance(&flat) < 1e-9);
}

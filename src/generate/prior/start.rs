//! The start of EM: k-means++ (Arthur & Vassilvitskii 2007).
//!
//! The first centre is a random point. Each further one is a point drawn with a probability proportional to
//! its squared distance from the nearest centre so far. Thus centres are spread over the data, which random
//! points alone would not be.

use rand::Rng;

use crate::random::{Stream, stream};

/// For each point of `points` (N × Z) the nearest of K centres chosen among them.
pub(super) fn k_means_plus_plus(points: &[f32], latent: usize, centres: usize, seed: u64) -> Vec<usize> {
    let count = points.len() / latent;
    let mut rng = stream(seed, Stream::Prior, 0);
    let mut nearest = vec![0; count];
    let mut distances = vec![f64::INFINITY; count];
    let mut chosen = ((uniform(&mut rng) * count as f64) as usize).min(count - 1);
    for centre in 0..centres {
        let at = &points[chosen * latent..][..latent];
        for (point, (nearest, distance)) in
            points.chunks_exact(latent).zip(nearest.iter_mut().zip(&mut distances))
        {
            let square: f32 = point.iter().zip(at).map(|(a, b)| (a - b) * (a - b)).sum();
            if f64::from(square) < *distance {
                (*nearest, *distance) = (centre, f64::from(square));
            }
        }
        let mut left = uniform(&mut rng) * distances.iter().sum::<f64>();
        let passed = |distance: &&f64| {
            left -= **distance;
            left >= 0.0
        };
        chosen = distances[..count - 1].iter().take_while(passed).count();
    }
    nearest
}

/// A number in [0, 1), from the upper 53 bits of a draw.
pub(super) fn uniform(rng: &mut impl Rng) -> f64 {
    (rng.next_u64() >> 11) as f64 / (1u64 << 53) as f64
}

use rand::{RngExt, SeedableRng, rngs::ChaCha8Rng};

use super::DEPTH;
use crate::kernels::dispatch::product;
use crate::kernels::gemm::{Matrix, MatrixMut};
use crate::kernels::pairs::{add_pair, round};
use crate::kernels::precision::Precision;

/// Whether there is nothing to test, which is said.
fn is_missing() -> bool {
    let missing = !Precision::Bf16.is_found();
    if missing {
        println!("this processor has no AVX512-BF16, so its products are not tested");
    }
    missing
}

fn rounded(number: f32) -> f32 {
    f32::from_bits(u32::from(round(number)) << 16)
}

fn random(rng: &mut ChaCha8Rng, count: usize) -> Vec<f32> {
    (0..count).map(|_| rng.random_range(-1.0..1.0)).collect()
}

#[test]
fn products_are_chains_of_pairs_of_rounded_factors() {
    if is_missing() {
        return;
    }
    let seed = 5;
    println!("seed {seed}");
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    for case in 0..400 {
        let mut sizes = [(); 3].map(|()| rng.random_range(1..50));
        if case % 4 > 0 {
            sizes[case % 4 - 1] = rng.random_range(60..1200);
        }
        let [m, k, n] = sizes;
        let (gap_a, gap_b, gap_c) = (rng.random_range(0..4), rng.random_range(0..4), rng.random_range(0..4));
        let (ta, tb) = (rng.random_bool(0.5), rng.random_bool(0.5));
        let beta = [0.0, 1.0, -0.5][case % 3];
        let (ra, ca) = if ta { (k, m) } else { (m, k) };
        let (rb, cb) = if tb { (n, k) } else { (k, n) };
        let a = random(&mut rng, ra * (ca + gap_a));
        let b = random(&mut rng, rb * (cb + gap_b));
        let before = random(&mut rng, m * (n + gap_c));
        let at =
            |i: usize, l: usize| rounded(if ta { a[l * (ca + gap_a) + i] } else { a[i * (ca + gap_a) + l] });
        let bt =
            |l: usize, j: usize| rounded(if tb { b[j * (cb + gap_b) + l] } else { b[l * (cb + gap_b) + j] });
        let ma = Matrix::strided(&a, ra, ca, ca + gap_a);
        let mb = Matrix::strided(&b, rb, cb, cb + gap_b);
        let (ma, mb) = (if ta { ma.transposed() } else { ma }, if tb { mb.transposed() } else { mb });
        let mut c = before.clone();
        product(Precision::Bf16, ma, mb, beta, &mut MatrixMut::strided(&mut c, m, n, n + gap_c));
        let piece = k.div_ceil(k.div_ceil(DEPTH)).next_multiple_of(2);
        for (i, j) in (0..m).flat_map(|i| (0..n + gap_c).map(move |j| (i, j))) {
            let place = i * (n + gap_c) + j;
            let mut expected = before[place];
            for first in (0..k).step_by(piece).filter(|_| j < n) {
                let last = k.min(first + piece);
                let chain = (first..last).step_by(2).fold(0.0_f32, |sum, l| {
                    let second = if l + 1 < last { [at(i, l + 1), bt(l + 1, j)] } else { [0.0; 2] };
                    add_pair(sum, [at(i, l), bt(l, j)], second)
                });
                let beta = if first == 0 { beta } else { 1.0 };
                expected = if beta == 0.0 { chain } else { beta.mul_add(expected, chain) };
            }
            assert!(
                c[place].to_bits() == expected.to_bits(),
                "case {case}: {m}×{k}×{n} at ({i}, {j}): {} and not {expected}",
                c[place]
            );
        }
    }
}

#[test]
fn a_row_has_the_same_bits_whatever_rows_come_with_it() {
    if is_missing() {
        return;
    }
    let seed = 6;
    println!("seed {seed}");
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    for (k, n) in [(5, 3), (600, 20), (130, 130), (1025, 70)] {
        let m = 37;
        let [a, b] = [m * k, k * n].map(|len| random(&mut rng, len));
        let mut together = vec![0.0; m * n];
        let b = Matrix::new(&b, k, n);
        product(Precision::Bf16, Matrix::new(&a, m, k), b, 0.0, &mut MatrixMut::new(&mut together, m, n));
        for (row, together) in a.chunks(k).zip(together.chunks(n)) {
            let mut alone = vec![0.0; n];
            product(Precision::Bf16, Matrix::new(row, 1, k), b, 0.0, &mut MatrixMut::new(&mut alone, 1, n));
            assert_eq!(alone, together, "{k}×{n}");
        }
    }
}

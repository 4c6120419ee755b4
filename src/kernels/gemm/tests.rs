use super::*;
use crate::kernels::simd::Level;
use rand::{RngExt, SeedableRng, rngs::ChaCha8Rng};

fn random(rng: &mut ChaCha8Rng, count: usize) -> Vec<f64> {
    (0..count).map(|_| rng.random_range(-1.0..1.0)).collect()
}

/// The definition: c[i][j] = Σ a[i][l]·b[l][j] + β·c[i][j].
fn naive(
    m: usize,
    k: usize,
    n: usize,
    a: &dyn Fn(usize, usize) -> f64,
    b: &dyn Fn(usize, usize) -> f64,
) -> Vec<f64> {
    let mut c = vec![0.0; m * n];
    for i in 0..m {
        for j in 0..n {
            c[i * n + j] = (0..k).map(|l| a(i, l) * b(l, j)).sum();
        }
    }
    c
}

type Way = (&'static str, fn(Matrix<'_, f64>, Matrix<'_, f64>, f64, MatrixMut<'_, f64>));

/// Every way to multiply.
const WAYS: [Way; 5] = [
    ("in pieces", |a, b, beta, c| product(Precision::Single, a, b, beta, c, &nothing)),
    ("at once", |a, b, beta, mut c| gemm(a, b, beta, &mut c)),
    ("packed", |a, b, beta, mut c| packed(a, b, beta, &mut c)),
    ("unpacked", |a, b, beta, mut c| dispatch::product(Precision::Single, a, b, beta, &mut c)),
    ("portable", |a, b, beta, mut c| {
        dispatch::product_at(Level::Portable, Precision::Single, a, b, beta, &mut c)
    }),
];

#[test]
fn products_of_random_shapes_equal_the_definition_in_every_way() {
    let seed = 1;
    println!("seed {seed}");
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    for case in 0..1500 {
        let mut sizes = [(); 3].map(|()| rng.random_range(1..40));
        // Now and then one side is long: more than a piece, than a block of either way, than what decides between them.
        if case % 8 == 0 {
            sizes[case / 8 % 3] = rng.random_range(60..600);
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
        let at = |i: usize, l: usize| if ta { a[l * (ca + gap_a) + i] } else { a[i * (ca + gap_a) + l] };
        let bt = |l: usize, j: usize| if tb { b[j * (cb + gap_b) + l] } else { b[l * (cb + gap_b) + j] };
        let expected = naive(m, k, n, &at, &bt);
        let ma = Matrix::strided(&a, ra, ca, ca + gap_a);
        let mb = Matrix::strided(&b, rb, cb, cb + gap_b);
        let (ma, mb) = (if ta { ma.transposed() } else { ma }, if tb { mb.transposed() } else { mb });
        for (way, multiply) in WAYS {
            let mut c = before.clone();
            multiply(ma, mb, beta, MatrixMut::strided(&mut c, m, n, n + gap_c));
            for i in 0..m {
                for j in 0..n + gap_c {
                    let at = i * (n + gap_c) + j;
                    let right = if j < n { expected[i * n + j] + beta * before[at] } else { before[at] };
                    let difference = (c[at] - right).abs();
                    assert!(
                        difference <= 1e-12,
                        "case {case}, {way}: {m}×{k}×{n} at ({i}, {j}): {} not {right}",
                        c[at]
                    );
                }
            }
        }
    }
}

#[test]
fn a_row_has_the_same_bits_whatever_rows_come_with_it() {
    let seed = 2;
    println!("seed {seed}");
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    for (k, n) in [(5, 3), (600, 20), (130, 130), (128, 400), (129, 129), (300, 200)] {
        for transposed in [false, true] {
            let m = 23;
            let [a, b] =
                [m * k, k * n].map(|len| random(&mut rng, len).iter().map(|&v| v as f32).collect::<Vec<_>>());
            let b = if transposed { Matrix::new(&b, n, k).transposed() } else { Matrix::new(&b, k, n) };
            let mut together = vec![0.0; m * n];
            gemm(Matrix::new(&a, m, k), b, 0.0, &mut MatrixMut::new(&mut together, m, n));
            for (row, together) in a.chunks(k).zip(together.chunks(n)) {
                let mut alone = vec![0.0; n];
                gemm(Matrix::new(row, 1, k), b, 0.0, &mut MatrixMut::new(&mut alone, 1, n));
                assert_eq!(alone, together, "{k}×{n}, transposed {transposed}");
            }
        }
    }
}

#[test]
fn a_product_over_nothing_is_beta_times_c() {
    let mut c = [1.0, 2.0, 3.0, 4.0];
    gemm(Matrix::new(&[], 2, 0), Matrix::new(&[], 0, 2), 0.5, &mut MatrixMut::new(&mut c, 2, 2));
    assert_eq!(c, [0.5, 1.0, 1.5, 2.0]);
}

#[test]
fn transposing_exchanges_rows_and_columns() {
    for (rows, columns) in [(1, 1), (3, 5), (16, 33), (40, 17)] {
        let numbers: Vec<f32> = (0..rows * (columns + 2)).map(|i| i as f32).collect();
        let mut memory = vec![f32::NAN; rows * columns];
        let transposed = transpose(Matrix::strided(&numbers, rows, columns, columns + 2), &mut memory);
        for (i, j) in (0..rows).flat_map(|i| (0..columns).map(move |j| (i, j))) {
            assert_eq!(transposed.data[j * transposed.row_stride + i], numbers[i * (columns + 2) + j]);
        }
    }
}

#[test]
fn beta_zero_overwrites_what_is_no_number() {
    let mut c = [f32::NAN; 6];
    gemm(Matrix::new(&[1.0; 4], 2, 2), Matrix::new(&[2.0; 6], 2, 3), 0.0, &mut MatrixMut::new(&mut c, 2, 3));
    assert_eq!(c, [4.0; 6]);
}

#[test]
fn a_wider_vector_gives_the_same_bits() {
    let seed = 3;
    println!("seed {seed}, levels {:?}", Level::all().collect::<Vec<_>>());
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    for case in 0..300 {
        let mut sizes = [(); 3].map(|()| rng.random_range(1..50));
        sizes[case % 3] = rng.random_range(60..1200);
        let [m, k, n] = sizes;
        let [a, b, c] = [m * k, k * n, m * n]
            .map(|len| random(&mut rng, len).iter().map(|&v| v as f32).collect::<Vec<_>>());
        let (ta, tb) = (rng.random_bool(0.5), rng.random_bool(0.5));
        let ma = if ta { Matrix::new(&a, k, m).transposed() } else { Matrix::new(&a, m, k) };
        let mb = if tb { Matrix::new(&b, n, k).transposed() } else { Matrix::new(&b, k, n) };
        let chains = |level| {
            let mut c = c.clone();
            dispatch::product_at(level, Precision::Single, ma, mb, 1.0, &mut MatrixMut::new(&mut c, m, n));
            c
        };
        // The order that the module promises: equal pieces of the depth, in each a chain of fused multiply-adds.
        let piece = k.div_ceil(k.div_ceil(512));
        let mut expected = c.clone();
        for (i, j) in (0..m).flat_map(|i| (0..n).map(move |j| (i, j))) {
            for first in (0..k).step_by(piece) {
                let chain = (first..k.min(first + piece)).fold(0.0_f32, |sum, l| {
                    let a = if ta { a[l * m + i] } else { a[i * k + l] };
                    let b = if tb { b[j * k + l] } else { b[l * n + j] };
                    a.mul_add(b, sum)
                });
                expected[i * n + j] += chain;
            }
        }
        for level in Level::all().filter(|&level| level > Level::Portable) {
            assert!(chains(level) == expected, "case {case}: {m}×{k}×{n} at {level:?}");
        }
        // Without the instruction, each term is rounded twice.
        for (plain, fused) in chains(Level::Portable).iter().zip(&expected) {
            assert!((plain - fused).abs() <= 1e-4, "case {case}: {plain} and {fused}");
        }
    }
}

#[test]
#[should_panic(expected = "does not fit")]
fn a_matrix_longer_than_its_slice_is_refused() {
    let _ = Matrix::strided(&[0.0_f32; 10], 3, 2, 5);
}

#[test]
fn a_matrix_without_elements_has_empty_rows_and_splits() {
    let mut matrix = MatrixMut::<f32>::strided(&mut [], 3, 0, 5);
    assert!(matrix.row(2).is_empty());
    let (mut left, mut right) = matrix.split_at_column(0);
    assert!(left.row(2).is_empty() && right.row(1).is_empty());
    let (left, right) = MatrixMut::<f32>::strided(&mut [], 0, 4, 4).split_at_column(2);
    assert_eq!((left.columns, right.columns), (2, 2));
    // The right half of a matrix that ends with its slice.
    let mut numbers = [1.0_f32; 8];
    let (_, mut right) = MatrixMut::strided(&mut numbers, 2, 3, 5).split_at_column(3);
    assert!(right.row(1).is_empty());
}

#[test]
#[should_panic(expected = "2 × 3 times 2 × 2")]
fn shapes_that_do_not_fit_are_refused() {
    let mut c = [0.0_f32; 4];
    gemm(Matrix::new(&[0.0; 6], 2, 3), Matrix::new(&[0.0; 4], 2, 2), 0.0, &mut MatrixMut::new(&mut c, 2, 2));
}

#[test]
fn pieces_cover_every_column_once() {
    for columns in [1, 63, 64, 65, 127, 400, 513, 3136, 6272] {
        let mut data = vec![0.0_f32; 2 * columns];
        for_column_pieces(MatrixMut::new(&mut data, 2, columns), pieces(columns), 0, &|mut piece, first| {
            for row in 0..piece.rows() {
                for (j, value) in piece.row(row).iter_mut().enumerate() {
                    *value += (first + j) as f32 + 1.0;
                }
            }
        });
        let right: Vec<f32> = (0..2).flat_map(|_| (0..columns).map(|j| j as f32 + 1.0)).collect();
        assert_eq!(data, right);
    }
}

/// Two threads have equal work: the halves of the columns differ by a unit at most, and no piece is three units wider than another.
#[test]
fn pieces_are_of_one_size() {
    for columns in (1..4000).step_by(7) {
        let mut data = vec![0.0_f32; columns];
        let widths = std::sync::Mutex::new(Vec::new());
        for_column_pieces(MatrixMut::new(&mut data, 1, columns), pieces(columns), 0, &|piece, first| {
            widths.lock().unwrap().push((first, piece.columns));
        });
        let mut widths = widths.into_inner().unwrap();
        widths.sort_unstable();
        assert_eq!(widths.len(), pieces(columns), "{columns} columns");
        let half = widths.len().div_ceil(2);
        let wide: usize = widths[..half].iter().map(|w| w.1).sum();
        let expected = columns * half / widths.len();
        assert!(wide.abs_diff(expected) <= 2 * UNIT, "{columns} columns: {widths:?}");
        let (least, most) =
            (widths.iter().map(|w| w.1).min().unwrap(), widths.iter().map(|w| w.1).max().unwrap());
        assert!(most <= least + 3 * UNIT, "{columns} columns: {widths:?}");
    }
}

//! Matrix products alone, in both ways that there are.

use elbo::kernels::dispatch;
use elbo::kernels::gemm::{Matrix, MatrixMut, packed};
use elbo::kernels::precision::Precision;

use super::harness::Bench;
use super::passes::uniform;
use super::table::Work;

/// A product: what it is, m, k, n, and which of its factors lie transposed in memory.
type Shape = (&'static str, [usize; 3], bool, bool);

/// What the layers multiply, and squares, which leave a product no excuse.
const SHAPES: [Shape; 12] = [
    ("A·B", [512, 512, 512], false, false),
    ("A·B", [1024, 1024, 1024], false, false),
    ("conv1 columns·Wᵀ", [3136, 16, 32], false, false),
    ("conv1 dYᵀ·columns", [32, 3136, 16], true, false),
    ("deconv2 X·W", [3136, 32, 16], false, false),
    ("conv2 columns·Wᵀ", [400, 512, 64], false, false),
    ("conv2 dYᵀ·columns", [64, 400, 512], true, false),
    ("conv2 dY·W", [400, 64, 512], false, false),
    ("linear1 X·Wᵀ", [128, 3136, 128], false, true),
    ("linear1 dYᵀ·X", [256, 128, 392], true, false),
    ("linear1 dY·W", [128, 256, 392], false, false),
    ("article conv2 dY·W", [432, 128, 576], false, false),
];

/// The two ways to multiply, on one thread.
pub fn product_rows(bench: &mut Bench<'_>) {
    bench.begin("products", 1);
    for (name, [m, k, n], a_is_transposed, b_is_transposed) in SHAPES {
        let (a, b, mut c) = (uniform(1, m * k), uniform(2, k * n), vec![0.0_f32; m * n]);
        let work = Work::product(2 * m * k * n, m * k + k * n + m * n);
        let a = if a_is_transposed { Matrix::new(&a, k, m).transposed() } else { Matrix::new(&a, m, k) };
        let b = if b_is_transposed { Matrix::new(&b, n, k).transposed() } else { Matrix::new(&b, k, n) };
        let sizes = format!("{m}×{k}×{n}");
        bench.row(
            &format!("{name} packed"),
            &sizes,
            work,
            &mut c,
            |_| (),
            |c| {
                packed(a, b, 0.0, &mut MatrixMut::new(c, m, n));
            },
        );
        bench.row(
            &format!("{name} unpacked"),
            &sizes,
            work,
            &mut c,
            |_| (),
            |c| {
                dispatch::product(Precision::Single, a, b, 0.0, &mut MatrixMut::new(c, m, n));
            },
        );
        if Precision::Bf16.is_found() {
            bench.row(
                &format!("{name} bf16"),
                &sizes,
                work,
                &mut c,
                |_| (),
                |c| {
                    dispatch::product(Precision::Bf16, a, b, 0.0, &mut MatrixMut::new(c, m, n));
                },
            );
        }
    }
}

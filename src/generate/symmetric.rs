//! Two tools for small symmetric matrices, in double precision: the Cholesky factor and the eigenvalues.
//!
//! ```text
//! cholesky    A = L·Lᵀ, L lower triangular                    A positive definite
//! jacobi      A = V·diag(λ)·Vᵀ, V orthogonal                   any symmetric A
//! ```
//!
//! The eigenvalues are found by Jacobi's method (Golub & Van Loan, "Matrix Computations", section 8.5):
//! rotate two rows and columns so that their common entry becomes 0, and repeat this over all pairs. It is
//! slower than other methods by a small factor, as exact as any, and short. A matrix is `n × n` numbers, row
//! by row.

/// L with A = L·Lᵀ, zeros above its diagonal; `None` if A is not positive definite.
pub fn cholesky(a: &[f64], n: usize) -> Option<Vec<f64>> {
    let mut l = vec![0.0; n * n];
    for i in 0..n {
        for j in 0..=i {
            let dot: f64 = (0..j).map(|k| l[i * n + k] * l[j * n + k]).sum();
            let rest = a[i * n + j] - dot;
            if i == j {
                // Written so that NaN is refused as well.
                if !(rest > 0.0 && rest.is_finite()) {
                    return None;
                }
                l[i * n + i] = rest.sqrt();
            } else {
                l[i * n + j] = rest / l[j * n + j];
            }
        }
    }
    Some(l)
}

/// L⁻¹ for a lower triangular L, by forward substitution.
pub fn invert_lower(l: &[f64], n: usize) -> Vec<f64> {
    let mut inverse = vec![0.0; n * n];
    for column in 0..n {
        for i in column..n {
            let one = if i == column { 1.0 } else { 0.0 };
            let dot: f64 = (column..i).map(|k| l[i * n + k] * inverse[k * n + column]).sum();
            inverse[i * n + column] = (one - dot) / l[i * n + i];
        }
    }
    inverse
}

/// λ and V (eigenvectors in its columns) of a symmetric matrix, in no particular order.
pub fn jacobi(a: &[f64], n: usize) -> (Vec<f64>, Vec<f64>) {
    let mut a = a.to_vec();
    let mut v: Vec<f64> = (0..n * n).map(|i| if i / n == i % n { 1.0 } else { 0.0 }).collect();
    let size: f64 = a.iter().map(|x| x * x).sum();
    // Convergence is quadratic: five to ten sweeps reach rounding. The limit is for matrices with NaN.
    for _ in 0..60 {
        let off: f64 =
            (0..n).flat_map(|i| (0..i).map(move |j| (i, j))).map(|(i, j)| a[i * n + j].powi(2)).sum();
        if !(off > 1e-30 * size) {
            break;
        }
        for p in 0..n {
            for q in p + 1..n {
                rotate(&mut a, &mut v, n, p, q);
            }
        }
    }
    ((0..n).map(|i| a[i * n + i]).collect(), v)
}

/// Makes a[p][q] zero by a rotation in the plane of p and q.
fn rotate(a: &mut [f64], v: &mut [f64], n: usize, p: usize, q: usize) {
    let apq = a[p * n + q];
    if apq == 0.0 {
        return;
    }
    let theta = (a[q * n + q] - a[p * n + p]) / (2.0 * apq);
    // The smaller of the two possible angles.
    let t = theta.signum() / (theta.abs() + (1.0 + theta * theta).sqrt());
    let t = if theta == 0.0 { 1.0 } else { t };
    let c = 1.0 / (1.0 + t * t).sqrt();
    let s = t * c;
    for k in 0..n {
        let (x, y) = (a[k * n + p], a[k * n + q]);
        (a[k * n + p], a[k * n + q]) = (c * x - s * y, s * x + c * y);
    }
    for k in 0..n {
        let (x, y) = (a[p * n + k], a[q * n + k]);
        (a[p * n + k], a[q * n + k]) = (c * x - s * y, s * x + c * y);
    }
    for k in 0..n {
        let (x, y) = (v[k * n + p], v[k * n + q]);
        (v[k * n + p], v[k * n + q]) = (c * x - s * y, s * x + c * y);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::{Stream, stream};
    use rand_distr::{Distribution, StandardNormal};

    /// B·Bᵀ of a random B with `rank` columns.
    fn random(n: usize, rank: usize) -> Vec<f64> {
        let mut rng = stream(3, Stream::Sampling, n as u64);
        let b: Vec<f64> = (0..n * rank).map(|_| StandardNormal.sample(&mut rng)).collect();
        let entry = |i: usize, j: usize| (0..rank).map(|k| b[i * rank + k] * b[j * rank + k]).sum();
        (0..n * n).map(|at| entry(at / n, at % n)).collect()
    }

    fn assert_near(a: &[f64], b: &[f64]) {
        for (a, b) in a.iter().zip(b) {
            let within = (a - b).abs() <= 1e-9;
            assert!(within, "{a} is not {b}");
        }
    }

    #[test]
    fn factors_multiply_to_the_matrix() {
        for n in [1, 2, 7, 20] {
            let a = random(n, n + 3);
            let l = cholesky(&a, n).unwrap();
            let product = |at: usize| (0..n).map(|k| l[at / n * n + k] * l[at % n * n + k]).sum();
            assert_near(&(0..n * n).map(product).collect::<Vec<f64>>(), &a);
            let inverse = invert_lower(&l, n);
            let product = |at: usize| (0..n).map(|k| l[at / n * n + k] * inverse[k * n + at % n]).sum();
            let one: Vec<f64> = (0..n * n).map(|at| f64::from(at / n == at % n)).collect();
            assert_near(&(0..n * n).map(product).collect::<Vec<f64>>(), &one);
        }
        assert!(cholesky(&random(5, 3), 5).is_none() || random(5, 3)[0] > 0.0);
        assert!(cholesky(&[1.0, 2.0, 2.0, 1.0], 2).is_none());
        assert!(cholesky(&[f64::NAN], 1).is_none());
    }

    #[test]
    fn eigenvalues_and_vectors_rebuild_the_matrix_also_without_full_rank() {
        for (n, rank) in [(1, 1), (2, 2), (9, 9), (12, 4)] {
            let a = random(n, rank);
            let (values, v) = jacobi(&a, n);
            let entry = |at: usize| (0..n).map(|k| v[at / n * n + k] * values[k] * v[at % n * n + k]).sum();
            assert_near(&(0..n * n).map(entry).collect::<Vec<f64>>(), &a);
            assert_eq!(values.iter().filter(|value| value.abs() > 1e-9).count(), rank);
        }
    }
}

//! Principal components: the directions in which codes vary most (Pearson 1901; Hotelling 1933), to plot Z
//! dimensions in two.
//!
//! ```text
//! C = 1/N · Σ (μ_n − m)(μ_n − m)ᵀ     the covariance, Z×Z
//! C = V·diag(λ)·Vᵀ                     eigenvectors: the components; eigenvalues: the variances along them
//! ```
//!
//! The eigenvectors are found by Jacobi's method (`symmetric`).

use super::symmetric::jacobi;

/// The components of some codes, in descending order of variance.
#[derive(Clone, Debug, PartialEq)]
pub struct Components {
    /// The mean of the codes, Z numbers.
    pub mean: Vec<f64>,
    /// The variance along each component, descending.
    pub variances: Vec<f64>,
    /// The components, unit vectors of Z numbers. The largest entry of each is positive, since the sign of an
    /// eigenvector is arbitrary.
    pub directions: Vec<Vec<f64>>,
}

impl Components {
    /// The components of `values`, N × `columns`.
    ///
    /// ```
    /// use elbo::generate::principal::Components;
    /// let components = Components::of(&[1.0, 1.0, 2.0, 2.0, 3.0, 3.0], 2); // three points on the diagonal
    /// assert!((components.directions[0][0] - 0.5_f64.sqrt()).abs() < 1e-12);
    /// assert!(components.variances[1].abs() < 1e-12);
    /// ```
    ///
    /// # Panics
    /// If `values` is not a whole number of rows.
    pub fn of(values: &[f32], columns: usize) -> Self {
        assert!(columns > 0 && values.len().is_multiple_of(columns), "rows of {columns} numbers");
        let count = (values.len() / columns).max(1) as f64;
        let mut mean = vec![0.0; columns];
        for row in values.chunks_exact(columns) {
            mean.iter_mut().zip(row).for_each(|(mean, &v)| *mean += f64::from(v) / count);
        }
        let mut covariance = vec![0.0; columns * columns];
        let mut centred = vec![0.0; columns];
        for row in values.chunks_exact(columns) {
            centred.iter_mut().zip(row).zip(&mean).for_each(|((c, &v), mean)| *c = f64::from(v) - mean);
            for (line, &a) in covariance.chunks_exact_mut(columns).zip(&centred) {
                line.iter_mut().zip(&centred).for_each(|(sum, &b)| *sum += a * b / count);
            }
        }
        let (variances, vectors) = jacobi(&covariance, columns);
        let mut order: Vec<usize> = (0..columns).collect();
        order.sort_by(|&a, &b| variances[b].total_cmp(&variances[a]));
        let direction = |&at: &usize| {
            let mut direction: Vec<f64> = vectors[at..].iter().step_by(columns).copied().collect();
            let largest =
                direction.iter().copied().fold(0.0, |a: f64, b| if b.abs() > a.abs() { b } else { a });
            if largest < 0.0 {
                direction.iter_mut().for_each(|v| *v = -*v);
            }
            direction
        };
        Self {
            mean,
            variances: order.iter().map(|&at| variances[at].max(0.0)).collect(),
            directions: order.iter().map(direction).collect(),
        }
    }

    /// The coordinate of a code along component `index`.
    pub fn project(&self, code: &[f32], index: usize) -> f64 {
        let terms = code.iter().zip(&self.mean).zip(&self.directions[index]);
        terms.map(|((&z, mean), direction)| (f64::from(z) - mean) * direction).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::{Stream, fill_normal, stream};

    #[test]
    fn components_diagonalize_the_covariance() {
        let (n, z) = (400, 9);
        let mut values = vec![0.0; n * z];
        fill_normal(&mut stream(3, Stream::Sampling, 0), &mut values);
        for row in values.chunks_exact_mut(z) {
            for j in 1..z {
                row[j] = 0.7 * row[j - 1] + row[j] * (1.0 + j as f32 * 0.3) + 2.0;
            }
        }
        let components = Components::of(&values, z);
        for i in 0..z {
            for j in 0..z {
                let dot: f64 =
                    (0..z).map(|k| components.directions[i][k] * components.directions[j][k]).sum();
                assert!((dot - f64::from(u8::from(i == j))).abs() < 1e-12);
                let covariance = values
                    .chunks_exact(z)
                    .map(|row| components.project(row, i) * components.project(row, j) / n as f64)
                    .sum::<f64>();
                let expected = if i == j { components.variances[i] } else { 0.0 };
                assert!((covariance - expected).abs() < 1e-9, "{i} {j}: {covariance} {expected}");
            }
        }
        assert!(components.variances.windows(2).all(|pair| pair[0] >= pair[1]));
    }

    #[test]
    fn codes_that_do_not_vary_have_components_all_the_same() {
        let components = Components::of(&[1.0, 2.0, 1.0, 2.0], 2);
        assert_eq!((components.variances, components.mean), (vec![0.0, 0.0], vec![1.0, 2.0]));
    }
}

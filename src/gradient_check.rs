//! Hand-derived gradients against central differences, in `f64`.
//!
//! For a function f of parameters p, (f(p + h·eᵢ) − f(p − h·eᵢ)) / 2h differs from ∂f/∂pᵢ by h²·f‴/6 (the cut
//! of the Taylor series) and by about ε·|f|/h (the rounding of f, ε = 1.1·10⁻¹⁶). With h = 10⁻⁶ and |f| of
//! order 10 both are some 10⁻⁹, far below the tolerance of 10⁻⁶, so a failure means a wrong formula and not
//! bad luck.

use crate::kernels::geometry::Geometry;
use rand::{RngExt, SeedableRng, rngs::ChaCha8Rng};
use std::cell::Cell;

thread_local! {
    /// How many gradients were checked on this thread: one per call of [`check`], however many parameters it
    /// had.
    static CASES: Cell<usize> = const { Cell::new(0) };
}

/// h, the distance that each parameter is moved to either side.
const STEP: f64 = 1e-6;

/// The tolerance for rounding, relative to max(1, |analytic|, |numeric|).
const TOLERANCE: f64 = 1e-6;

/// Asserts that `analytic` is the gradient of `f` at `parameters`, component by component.
///
/// `parameters` is moved while `f` is called and put back exactly. `name` opens the message of a failure.
/// Keep the parameters a few [`STEP`]s away from kinks of `f`.
pub(crate) fn check(name: &str, parameters: &mut [f64], analytic: &[f64], f: impl FnMut(&[f64]) -> f64) {
    check_in_steps(STEP, name, parameters, analytic, f);
}

/// [`check`] with another step: a larger one for an f with larger rounding errors, such as sums of many
/// special functions.
pub(crate) fn check_in_steps(
    step: f64,
    name: &str,
    parameters: &mut [f64],
    analytic: &[f64],
    mut f: impl FnMut(&[f64]) -> f64,
) {
    assert_eq!(parameters.len(), analytic.len(), "{name}: as many derivatives as parameters");
    assert!(!parameters.is_empty(), "{name}: nothing to check");
    for i in 0..parameters.len() {
        let here = parameters[i];
        parameters[i] = here + step;
        let above = f(parameters);
        parameters[i] = here - step;
        let below = f(parameters);
        // The true distance of the two points, since here ± step is rounded.
        let distance = (here + step) - (here - step);
        parameters[i] = here;
        let numeric = (above - below) / distance;
        assert_near(&format!("{name}, derivative {i}"), analytic[i], numeric);
    }
    CASES.set(CASES.get() + 1);
}

/// Asserts that one derivative is right, for parameters that are moved together.
pub(crate) fn agree(name: &str, analytic: f64, numeric: f64) {
    assert_near(name, analytic, numeric);
    CASES.set(CASES.get() + 1);
}

fn assert_near(name: &str, analytic: f64, numeric: f64) {
    let difference = (analytic - numeric).abs();
    // Written so that NaN fails too: every comparison with it is false. f64::max would drop a NaN, but then
    // the difference is NaN as well.
    let within = difference <= TOLERANCE * 1.0_f64.max(analytic.abs()).max(numeric.abs());
    assert!(within, "{name}: {analytic} by hand and {numeric} by differences");
}

/// `len` numbers in [−1, 1), the same for the same seed. With such an upstream gradient a layer that mixes up
/// its outputs fails, which an all-ones upstream gradient would not detect.
pub(crate) fn random_vec(seed: u64, len: usize) -> Vec<f64> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    (0..len).map(|_| rng.random_range(-1.0..1.0)).collect()
}

/// `count` convolutions over kernels, strides, paddings, odd sizes and channels, each with channels on the
/// small side and a batch size. The same for the same count; seeds start at 0.
pub(crate) fn convolution_grid(count: usize) -> Vec<(Geometry, usize, usize)> {
    let mut grid = Vec::new();
    let mut rng = ChaCha8Rng::seed_from_u64(7);
    while grid.len() < count {
        // Kernel, stride and padding cycle, so that a short grid has all of them too.
        let turn = grid.len();
        let kernel = [(4, 4), (3, 3), (1, 1), (2, 3), (5, 2), (3, 4)][turn % 6];
        let (stride, padding) = ([1, 2, 3][turn / 6 % 3], [0, 1, 2][turn / 18 % 3]);
        // Every seventh has enough channels for its patches to be read in place.
        let is_in_place = turn % 7 == 0;
        let channels = if is_in_place { 16 } else { rng.random_range(1..4) };
        let image = (rng.random_range(1..8), rng.random_range(1..8), channels);
        let (small_channels, batch) = (rng.random_range(1..5), rng.random_range(1..4));
        let small_channels = if is_in_place { 15 + small_channels } else { small_channels };
        let padding = padding.min(kernel.0 - 1).min(kernel.1 - 1);
        if let Ok(geometry) = Geometry::new(image, kernel, stride, padding) {
            grid.push((geometry, small_channels, batch));
        }
    }
    grid
}

mod tests {
    use super::*;

    /// All gradients of the project, counted: layers, losses, and the complete objective of complete
    /// networks. Layers, likelihoods and presets come from their lists, and each must have had its own
    /// checks.
    #[test]
    fn all_gradients_are_those_of_finite_differences() {
        let count = |name: &str, check_all: &dyn Fn()| {
            let before = CASES.get();
            check_all();
            let checked = CASES.get() - before;
            println!("{name}: {checked} gradients");
            assert!(checked > 0, "nothing was checked of {name}");
        };
        count("activations", &crate::layers::activation::tests::gradients_of_the_activations);
        for (index, (name, examples)) in crate::layers::EXAMPLES.iter().enumerate() {
            count(name, &|| crate::layers::proof::check_gradients(examples(), 100_000 * (index as u64 + 1)));
        }
        count("shared", &crate::layers::shared::tests::gradients_through_the_draw_and_beside_it);
        count("likelihoods", &crate::loss::likelihood::tests::gradients_are_those_of_finite_differences);
        count(
            "likelihoods' means",
            &crate::loss::likelihood::tests::gradients_through_the_means_are_those_of_finite_differences,
        );
        count("divergences", &crate::loss::divergence::tests::gradients_are_those_of_finite_differences);
        count(
            "objective",
            &crate::loss::objective::tests::gradients_of_every_combination_are_those_of_finite_differences,
        );
        count(
            "discriminator",
            &crate::model::adversarial::tests::gradients_of_both_sides_are_those_of_finite_differences,
        );
        // Each preset has its own thread, since they are most of the work.
        let of_presets: usize = std::thread::scope(|scope| {
            let check = |&preset: &crate::model::Preset| {
                scope.spawn(move || {
                    crate::model::gradients::of_preset(preset);
                    println!("{preset}: {} gradients", CASES.get());
                    assert!(CASES.get() > 0, "nothing was checked of {preset}");
                    CASES.get()
                })
            };
            let threads: Vec<_> = crate::model::Preset::ALL.iter().map(check).collect();
            threads.into_iter().map(|thread| thread.join().expect("a preset's gradients are wrong")).sum()
        });
        println!("{} gradients checked by finite differences", CASES.get() + of_presets);
    }
    use std::panic::catch_unwind;

    #[test]
    fn a_right_gradient_passes_and_a_wrong_or_missing_one_fails() {
        let square = |p: &[f64]| p[0] * p[0] + 3.0 * p[1];
        let mut point = [0.7, -2.0];
        check("square", &mut point, &[1.4, 3.0], square);
        assert_eq!(point, [0.7, -2.0], "parameters are put back");
        assert!(catch_unwind(|| check("wrong", &mut [0.7, -2.0], &[1.4, 3.00001], square)).is_err());
        assert!(catch_unwind(|| check("NaN", &mut [0.7, -2.0], &[f64::NAN, 3.0], square)).is_err());
        assert!(catch_unwind(|| check("NaN f", &mut [0.7], &[0.0], |_| f64::NAN)).is_err());
    }
}

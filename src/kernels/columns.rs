//! im2col and col2im: how a convolution becomes a matrix product.
//!
//! `im2col` writes, for each place of the kernel, the patch of the image that it covers as one row of a matrix, the *columns*
//! (the name is from the papers, where the matrix lies the other way; Chellapilla et al. 2006). A convolution with O
//! kernels is then the product of that matrix, `[places][K·K·C]`, with the weights, `[K·K·C][O]`.
//!
//! `col2im` is its transpose as a linear map: it *adds* every row back to the pixels that it came from. For all images x
//! and columns y, ⟨im2col(x), y⟩ = ⟨x, col2im(y)⟩, which is what makes it the backward pass, and what the tests check.
//!
//! Images are H·W·C, so the pixels that a kernel row covers are one run of K·C numbers, and both directions copy runs.
//! Rows of the matrix are `row_stride` apart (see [`padded_stride`](super::gemm::padded_stride)); the gap is not written.

use super::geometry::Geometry;
use crate::tensor::Element;

/// Writes the patches of one image: `columns[place · row_stride + (kh·KW + kw)·C + c]`, zero where the kernel lies outside.
///
/// # Panics
/// Where a slice has another size than the geometry says.
pub fn im2col<T: Element>(geometry: &Geometry, image: &[T], columns: &mut [T], row_stride: usize) {
    check(geometry, image.len(), columns.len(), row_stride);
    let run = geometry.kernel_width * geometry.channels;
    for_each_run(geometry, |place, kernel_row, runs| {
        let row = &mut columns[place * row_stride + kernel_row * run..][..run];
        match runs {
            // The usual case: the whole kernel row lies inside.
            Some(Run { pixel, from: 0, len }) if len == run => copy_run(row, &image[pixel..pixel + run]),
            Some(Run { pixel, from, len }) => {
                row[..from].fill(T::ZERO);
                row[from..from + len].copy_from_slice(&image[pixel..pixel + len]);
                row[from + len..].fill(T::ZERO);
            }
            None => row.fill(T::ZERO),
        }
    });
}

/// Adds the patches back to one image: the transpose of [`im2col`]. What the image holds before is kept and added to.
///
/// # Panics
/// Where a slice has another size than the geometry says.
pub fn col2im<T: Element>(geometry: &Geometry, columns: &[T], row_stride: usize, image: &mut [T]) {
    check(geometry, image.len(), columns.len(), row_stride);
    let run = geometry.kernel_width * geometry.channels;
    for_each_run(geometry, |place, kernel_row, runs| {
        let Some(Run { pixel, from, len }) = runs else { return };
        let row = &columns[place * row_stride + kernel_row * run..][..run];
        if len == run {
            add_run(&mut image[pixel..pixel + run], row);
        } else {
            add_run(&mut image[pixel..pixel + len], &row[from..from + len]);
        }
    });
}

/// The part of one kernel row that lies inside the image: `len` numbers of the image from `pixel` on, `from` numbers
/// after the row's start.
struct Run {
    pixel: usize,
    from: usize,
    len: usize,
}

/// Calls `visit(place, kernel_row, run)` for each place of the kernel and each of its rows.
#[inline(always)]
fn for_each_run(geometry: &Geometry, mut visit: impl FnMut(usize, usize, Option<Run>)) {
    let g = geometry;
    for place_y in 0..g.small_height {
        let (top, bottom) = g.taps_inside(place_y, g.kernel_height, g.height);
        for place_x in 0..g.small_width {
            let (left, right) = g.taps_inside(place_x, g.kernel_width, g.width);
            let place = place_y * g.small_width + place_x;
            // left ≥ P − place_x·S, so the pixel's column is not negative; nor is its row where top ≤ kernel_row < bottom.
            let first_column = place_x * g.stride + left - g.padding.min(place_x * g.stride + left);
            for kernel_row in 0..g.kernel_height {
                let run = (top..bottom).contains(&kernel_row).then(|| Run {
                    pixel: ((place_y * g.stride + kernel_row - g.padding) * g.width + first_column)
                        * g.channels,
                    from: left * g.channels,
                    len: (right - left) * g.channels,
                });
                visit(place, kernel_row, run);
            }
        }
    }
}

/// `copy_from_slice`, with the short runs of images of few channels as moves of a fixed size rather than calls.
#[inline(always)]
fn copy_run<T: Element>(to: &mut [T], from: &[T]) {
    match <&mut [T; 4]>::try_from(&mut *to) {
        Ok(to) => to.copy_from_slice(&from[..4]),
        Err(_) => to.copy_from_slice(from),
    }
}

/// `to += from`, with short runs of a fixed size, as in [`copy_run`].
#[inline(always)]
fn add_run<T: Element>(to: &mut [T], from: &[T]) {
    let add = |(t, &f): (&mut T, &T)| *t += f;
    match (<&mut [T; 4]>::try_from(&mut *to), <&[T; 4]>::try_from(from)) {
        (Ok(to), Ok(from)) => to.iter_mut().zip(from).for_each(add),
        _ => to.iter_mut().zip(from).for_each(add),
    }
}

fn check(geometry: &Geometry, image: usize, columns: usize, row_stride: usize) {
    let needed = (geometry.places() - 1) * row_stride + geometry.patch_len();
    assert!(
        image == geometry.large_len() && columns >= needed && row_stride >= geometry.patch_len(),
        "an image of {image} numbers and columns of {columns} at row stride {row_stride} do not fit {geometry:?}"
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{RngExt, SeedableRng, rngs::ChaCha8Rng};

    fn random_geometry(rng: &mut ChaCha8Rng) -> Geometry {
        loop {
            let kernel = (rng.random_range(1..6), rng.random_range(1..6));
            let image = (rng.random_range(1..10), rng.random_range(1..10), rng.random_range(1..5));
            if let Ok(g) = Geometry::new(image, kernel, rng.random_range(1..4), rng.random_range(0..3)) {
                return g;
            }
        }
    }

    /// The definition, with a test for every single number.
    fn naive(g: &Geometry, image: &[f64], row_stride: usize) -> Vec<f64> {
        let mut columns = vec![f64::NAN; g.places() * row_stride];
        for (y, x) in (0..g.small_height).flat_map(|y| (0..g.small_width).map(move |x| (y, x))) {
            for (kh, kw) in (0..g.kernel_height).flat_map(|kh| (0..g.kernel_width).map(move |kw| (kh, kw))) {
                for c in 0..g.channels {
                    let row = (y * g.stride + kh) as isize - g.padding as isize;
                    let column = (x * g.stride + kw) as isize - g.padding as isize;
                    let inside =
                        (0..g.height as isize).contains(&row) && (0..g.width as isize).contains(&column);
                    columns[(y * g.small_width + x) * row_stride
                        + (kh * g.kernel_width + kw) * g.channels
                        + c] = if inside {
                        image[(row as usize * g.width + column as usize) * g.channels + c]
                    } else {
                        0.0
                    };
                }
            }
        }
        columns
    }

    #[test]
    fn im2col_equals_the_definition_and_col2im_is_its_transpose() {
        let seed = 2;
        println!("seed {seed}");
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        for _ in 0..2000 {
            let g = random_geometry(&mut rng);
            let row_stride = g.patch_len() + rng.random_range(0..3);
            let image: Vec<f64> = (0..g.large_len()).map(|_| rng.random_range(-1.0..1.0)).collect();
            let mut columns = vec![f64::NAN; g.places() * row_stride];
            im2col(&g, &image, &mut columns, row_stride);
            let expected = naive(&g, &image, row_stride);
            let same = columns.iter().zip(&expected).all(|(a, b)| a == b || (a.is_nan() && b.is_nan()));
            assert!(same, "{g:?}");

            // ⟨im2col(x), y⟩ = ⟨x, col2im(y)⟩, over the numbers that are not gaps.
            let y: Vec<f64> = (0..columns.len()).map(|_| rng.random_range(-1.0..1.0)).collect();
            let left: f64 = columns.iter().zip(&y).filter(|(a, _)| !a.is_nan()).map(|(a, b)| a * b).sum();
            let mut back = vec![0.0; image.len()];
            col2im(&g, &y, row_stride, &mut back);
            let right: f64 = image.iter().zip(&back).map(|(a, b)| a * b).sum();
            let difference = (left - right).abs();
            assert!(difference <= 1e-11 * (1.0 + left.abs()), "{g:?}: {left} and {right}");
        }
    }
}

//! im2col and col2im: how a convolution becomes a matrix product.
//!
//! `im2col` writes, for each place of the kernel, the image patch that it covers as one row of a matrix, the
//! *columns* (the papers' name; there the matrix is transposed; Chellapilla et al. 2006). A convolution with
//! O kernels is then the product of that matrix, `[places][K·K·C]`, with the weights, `[K·K·C][O]`.
//!
//! `col2im` is its transpose as a linear map: it *adds* every row back to the pixels that it came from. For
//! all images x and columns y, ⟨im2col(x), y⟩ = ⟨x, col2im(y)⟩. This makes it the backward pass, and the
//! tests check it.
//!
//! Images are H·W·C, so the pixels under a kernel row are one run of K·C numbers, and both directions copy
//! runs. Rows of the matrix are `row_stride` apart (see [`padded_stride`](super::gemm::padded_stride)); the
//! gap is not written.

use super::geometry::Geometry;
use crate::tensor::Element;

/// Writes the patches of one image: `columns[place · row_stride + (kh·KW + kw)·C + c]`, zero if the kernel
/// position lies outside the image.
///
/// # Panics
/// If a slice's size does not match the geometry.
pub fn im2col<T: Element>(geometry: &Geometry, image: &[T], columns: &mut [T], row_stride: usize) {
    check(geometry, image.len(), columns.len(), row_stride);
    let (run, step) = (geometry.kernel_width * geometry.channels, geometry.stride * geometry.channels);
    for_each_row(geometry, |row| {
        let columns = &mut columns[row.place * row_stride + row.kernel_row * run..];
        let Some(image_row) = row.image_row else {
            // This row of the kernel lies above or below the image.
            return (0..geometry.small_width).for_each(|x| columns[x * row_stride..][..run].fill(T::ZERO));
        };
        let image_row = &image[image_row..][..geometry.width * geometry.channels];
        let (first, last) = row.whole;
        if first < last {
            let inside = &image_row[(first * geometry.stride - geometry.padding) * geometry.channels..];
            copy_runs(&mut columns[first * row_stride..], row_stride, inside, step, run, last - first);
        }
        for x in (0..first).chain(last..geometry.small_width) {
            let Cut { pixel, from, len } = cut(geometry, x);
            let patch = &mut columns[x * row_stride..][..run];
            patch.fill(T::ZERO);
            patch[from..from + len].copy_from_slice(&image_row[pixel..pixel + len]);
        }
    });
}

/// Adds the patches back to one image: the transpose of [`im2col`]. The image's previous values are kept and
/// added to.
///
/// # Panics
/// If a slice's size does not match the geometry.
pub fn col2im<T: Element>(geometry: &Geometry, columns: &[T], row_stride: usize, image: &mut [T]) {
    check(geometry, image.len(), columns.len(), row_stride);
    let (run, step) = (geometry.kernel_width * geometry.channels, geometry.stride * geometry.channels);
    for_each_row(geometry, |row| {
        let columns = &columns[row.place * row_stride + row.kernel_row * run..];
        let Some(image_row) = row.image_row else { return };
        let image_row = &mut image[image_row..][..geometry.width * geometry.channels];
        let (first, last) = row.whole;
        if first < last {
            let inside = &mut image_row[(first * geometry.stride - geometry.padding) * geometry.channels..];
            add_runs(inside, step, &columns[first * row_stride..], row_stride, run, last - first);
        }
        for x in (0..first).chain(last..geometry.small_width) {
            let Cut { pixel, from, len } = cut(geometry, x);
            add_run(&mut image_row[pixel..pixel + len], &columns[x * row_stride + from..][..len]);
        }
    });
}

/// One row of the kernel along one row of places.
struct Row {
    /// The first place of the row.
    place: usize,
    /// The row of the kernel.
    kernel_row: usize,
    /// The start of the image row under it; `None` if that is above or below the image.
    image_row: Option<usize>,
    /// The places of the row, from the first up to the last, at which the kernel's whole width lies inside.
    whole: (usize, usize),
}

/// Calls `visit` for each row of places and each row of the kernel.
#[inline(always)]
fn for_each_row(g: &Geometry, mut visit: impl FnMut(Row)) {
    // place·S ≥ P on the left, place·S + K − P ≤ W on the right.
    let first = g.padding.div_ceil(g.stride).min(g.small_width);
    let last = (g.width + g.padding).checked_sub(g.kernel_width).map_or(0, |room| room / g.stride + 1);
    let whole = (first, last.clamp(first, g.small_width));
    for place_y in 0..g.small_height {
        let (top, bottom) = g.taps_inside(place_y, g.kernel_height, g.height);
        for kernel_row in 0..g.kernel_height {
            let is_inside = (top..bottom).contains(&kernel_row);
            let image_row =
                is_inside.then(|| (place_y * g.stride + kernel_row - g.padding) * g.width * g.channels);
            visit(Row { place: place_y * g.small_width, kernel_row, image_row, whole });
        }
    }
}

/// The part of a kernel row that remains if an edge of the image cuts it: `len` numbers of the image's row
/// from `pixel` on, `from` numbers after the kernel row's start.
struct Cut {
    pixel: usize,
    from: usize,
    len: usize,
}

fn cut(geometry: &Geometry, place_x: usize) -> Cut {
    let (left, right) = geometry.taps_inside(place_x, geometry.kernel_width, geometry.width);
    // left ≥ P − place_x·S, so the first pixel's column is not negative if any tap is inside.
    let column = (place_x * geometry.stride + left).saturating_sub(geometry.padding);
    let pixel = if left < right { column * geometry.channels } else { 0 };
    Cut { pixel, from: left * geometry.channels, len: (right - left) * geometry.channels }
}

/// Copies `count` runs, `step` apart in the image, `row_stride` apart in the columns.
///
/// Images of few channels have short runs, for which a call of `memcpy` costs more than the copy. Common
/// lengths (4×4 and 3×3 kernels on grey and RGB) are compile-time constants here and become a few moves: 3.5
/// µs an image of 28×28×1 became 2.1.
#[inline(always)]
fn copy_runs<T: Element>(to: &mut [T], row_stride: usize, from: &[T], step: usize, run: usize, count: usize) {
    match run {
        3 => copy_fixed::<T, 3>(to, row_stride, from, step, count),
        4 => copy_fixed::<T, 4>(to, row_stride, from, step, count),
        9 => copy_fixed::<T, 9>(to, row_stride, from, step, count),
        12 => copy_fixed::<T, 12>(to, row_stride, from, step, count),
        _ => (0..count).for_each(|i| to[i * row_stride..][..run].copy_from_slice(&from[i * step..][..run])),
    }
}

fn copy_fixed<T: Element, const N: usize>(
    to: &mut [T],
    row_stride: usize,
    from: &[T],
    step: usize,
    count: usize,
) {
    for i in 0..count {
        to[i * row_stride..][..N].copy_from_slice(&from[i * step..][..N]);
    }
}

/// Adds `count` runs of the columns, `row_stride` apart, to the image, `step` apart: the counterpart of
/// [`copy_runs`].
///
/// Neighbours overlap in the image, and a load that overlaps the store just before it waits for that store to
/// reach the cache. So runs are added in rounds that skip as many places as overlap: 5.1 µs an image of
/// 28×28×1 one by one, 2.1 in rounds.
#[inline(always)]
fn add_runs<T: Element>(to: &mut [T], step: usize, from: &[T], row_stride: usize, run: usize, count: usize) {
    let rounds = run.div_ceil(step);
    for round in 0..rounds.min(count) {
        let (to, from) = (&mut to[round * step..], &from[round * row_stride..]);
        let count = (count - round).div_ceil(rounds);
        add_round(to, rounds * step, from, rounds * row_stride, run, count);
    }
}

#[inline(always)]
fn add_round<T: Element>(to: &mut [T], step: usize, from: &[T], row_stride: usize, run: usize, count: usize) {
    match run {
        3 => add_fixed::<T, 3>(to, step, from, row_stride, count),
        4 => add_fixed::<T, 4>(to, step, from, row_stride, count),
        9 => add_fixed::<T, 9>(to, step, from, row_stride, count),
        12 => add_fixed::<T, 12>(to, step, from, row_stride, count),
        _ => (0..count).for_each(|i| add_run(&mut to[i * step..][..run], &from[i * row_stride..][..run])),
    }
}

fn add_fixed<T: Element, const N: usize>(
    to: &mut [T],
    step: usize,
    from: &[T],
    row_stride: usize,
    count: usize,
) {
    for i in 0..count {
        add_run(&mut to[i * step..][..N], &from[i * row_stride..][..N]);
    }
}

/// to += from.
#[inline(always)]
fn add_run<T: Element>(to: &mut [T], from: &[T]) {
    for (t, &f) in to.iter_mut().zip(from) {
        *t += f;
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

    /// The definition, with a test for every number.
    fn naive(g: &Geometry, image: &[f64], row_stride: usize) -> Vec<f64> {
        let mut columns = vec![f64::NAN; g.places() * row_stride];
        let places = (0..g.small_height).flat_map(|y| (0..g.small_width).map(move |x| (y, x)));
        for (place, (y, x)) in places.enumerate() {
            for (kh, kw) in (0..g.kernel_height).flat_map(|kh| (0..g.kernel_width).map(move |kw| (kh, kw))) {
                for c in 0..g.channels {
                    let row = (y * g.stride + kh) as isize - g.padding as isize;
                    let column = (x * g.stride + kw) as isize - g.padding as isize;
                    let inside =
                        (0..g.height as isize).contains(&row) && (0..g.width as isize).contains(&column);
                    columns[place * row_stride + (kh * g.kernel_width + kw) * g.channels + c] = if inside {
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
            let y: Vec<f64> = columns
                .iter()
                .map(|a| if a.is_nan() { f64::NAN } else { rng.random_range(-1.0..1.0) })
                .collect();
            let left: f64 = columns.iter().zip(&y).filter(|(a, _)| !a.is_nan()).map(|(a, b)| a * b).sum();
            let mut back = vec![0.0; image.len()];
            col2im(&g, &y, row_stride, &mut back);
            let right: f64 = image.iter().zip(&back).map(|(a, b)| a * b).sum();
            let difference = (left - right).abs();
            assert!(difference <= 1e-11 * (1.0 + left.abs()), "{g:?}: {left} and {right}");
        }
    }
}

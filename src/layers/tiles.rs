//! The products of [`patches`](super::patches) by Winograd's tiles, for 3×3 kernels of stride 1 with many
//! channels.
//!
//! [`winograd`](crate::kernels::winograd) has the derivation. With V = Bᵀ d B of the large side's tiles,
//! `[16][tiles][C]`, U = G g Gᵀ of the weight, `[16][S][C]`, and D = A·R·Aᵀ of the small side's tiles,
//! `[16][tiles][S]`, each of the 16 places of a tile is one matrix product:
//!
//! ```text
//! R  = Aᵀ(V·Uᵀ)A              times
//! dW += Gᵀ(Σ Dᵀ·V)G           weight_gradient
//! X  = Σ B(D·U)Bᵀ             spread
//! ```
//!
//! The sum of `weight_gradient` is over tiles, and is transformed once, at the end of a task. That of
//! `spread` adds up overlapping tiles.
//!
//! A task's tiles are processed in groups, so that V, the products and D of a group stay in the caches.

use crate::kernels::gemm::{Matrix, MatrixMut, gemm};
use crate::kernels::geometry::Geometry;
use crate::kernels::scratch::Scratch;
use crate::kernels::winograd::{self, PLACES, Tiling, UNIT};
use crate::tensor::Element;

/// The transformed numbers of a group, both sides together, are at most about this many (1 MiB in single
/// precision).
const GROUP_NUMBERS: usize = 256 * 1024;
/// The tiles of a group are a multiple of this, since they are the rows of its matrix products: with vectors
/// of 8 and of 16 numbers, the product kernel then has no partial block of rows.
const ROWS: usize = 24;
/// The fewest tiles of a group. The products of each group copy U again, so it is not smaller.
const FEWEST: usize = 96;

/// The products of one layer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tiles {
    tiling: Tiling,
    channels: usize,
    small_channels: usize,
}

impl Tiles {
    /// `None` unless the kernel is 3×3 and the stride 1, both channel counts are multiples of [`UNIT`], and
    /// tiles save at least a quarter of the multiplications. Tiles that extend beyond the edges of an image
    /// are computed in full, so small images save less than 20 of 36.
    pub fn new(geometry: Geometry, small_channels: usize) -> Option<Self> {
        let tiling = Tiling::new(geometry)?;
        let pays = 4 * PLACES * tiling.tiles() <= 3 * geometry.pairs();
        let are_vectors = geometry.channels.is_multiple_of(UNIT) && small_channels.is_multiple_of(UNIT);
        (pays && are_vectors).then_some(Self { tiling, channels: geometry.channels, small_channels })
    }

    /// The multiplications of an image for each pair of a channel and a filter.
    pub fn multiplications(&self) -> usize {
        PLACES * self.tiling.tiles()
    }

    /// The numbers of U.
    pub fn weight_len(&self) -> usize {
        PLACES * self.channels * self.small_channels
    }

    /// The numbers of V, of the products or D, and of dU.
    pub fn scratch_len(&self) -> usize {
        PLACES * self.group() * (self.channels + self.small_channels) + self.weight_len()
    }

    fn group(&self) -> usize {
        (GROUP_NUMBERS / (PLACES * (self.channels + self.small_channels)) / ROWS * ROWS).max(FEWEST)
    }

    /// U for [`Self::times`]: `[16·C][S]`.
    pub fn transposed<'a, T: Element>(&self, weight: &[T], memory: &'a mut [T]) -> Matrix<'a, T> {
        let memory = &mut memory[..self.weight_len()];
        winograd::weight(weight, self.channels, true, memory);
        Matrix::new(memory, PLACES * self.channels, self.small_channels)
    }

    /// U for [`Self::spread`]: `[16][S][C]`.
    pub fn arranged<'a, T: Element>(&self, weight: &[T], memory: &'a mut [T]) -> &'a [T] {
        let memory = &mut memory[..self.weight_len()];
        winograd::weight(weight, self.channels, false, memory);
        memory
    }

    /// Calls `visit` for each group of the task's tiles, with the number of its first tile, and memory for
    /// its transformed tiles on the large side, `[16][tiles][C]`, and on the small side, `[16][tiles][S]`.
    fn for_each_group<T: Element>(
        &self,
        images: usize,
        memory: &mut [T],
        mut visit: impl FnMut(usize, &mut [T], &mut [T]),
    ) {
        let (tiles, group) = (images * self.tiling.tiles(), self.group());
        for first in (0..tiles).step_by(group) {
            let count = PLACES * group.min(tiles - first);
            let (large, small) = memory.split_at_mut(count * self.channels);
            visit(first, large, &mut small[..count * self.small_channels]);
        }
    }

    fn images<T>(&self, large: &[T]) -> usize {
        large.len() / (self.tiling.large_pixels() * self.channels)
    }

    /// R ← X̂·Wᵀ, given U by [`Self::transposed`].
    pub fn times<T: Element>(&self, large: &[T], u: Matrix<'_, T>, small: &mut [T], scratch: &Scratch<T>) {
        scratch.with(self.scratch_len(), |memory| {
            self.for_each_group(self.images(large), memory, |first, v, m| {
                self.tiling.input(large, self.channels, first, v);
                let tiles = v.len() / (PLACES * self.channels);
                for (place, (v, m)) in places(v).zip(places_mut(m)).enumerate() {
                    let u = u.row_range(place * self.channels..(place + 1) * self.channels);
                    let v = Matrix::new(v, tiles, self.channels);
                    gemm(v, u, T::ZERO, &mut MatrixMut::new(m, tiles, self.small_channels));
                }
                self.tiling.output(m, self.small_channels, first, small);
            });
        });
    }

    /// dW += Rᵀ·X̂. If `spread` has U, by [`Self::arranged`], and X: also X ← im2colᵀ(R·W). Both products
    /// need D, which is computed once for them.
    pub fn weight_gradient<T: Element>(
        &self,
        small: &[T],
        large: &[T],
        dw: &mut MatrixMut<'_, T>,
        mut spread: Option<(&[T], &mut [T])>,
        scratch: &Scratch<T>,
    ) {
        if let Some((_, dx)) = &mut spread {
            dx.fill(T::ZERO);
        }
        scratch.with(self.scratch_len(), |memory| {
            let (du, memory) = memory.split_at_mut(self.weight_len());
            du.fill(T::ZERO);
            self.for_each_group(self.images(large), memory, |first, v, d| {
                self.tiling.input(large, self.channels, first, v);
                self.tiling.output_gradient(small, self.small_channels, first, d);
                let tiles = v.len() / (PLACES * self.channels);
                for ((v, d), du) in places(v).zip(places(d)).zip(places_mut(du)) {
                    let d = Matrix::new(d, tiles, self.small_channels).transposed();
                    let v = Matrix::new(v, tiles, self.channels);
                    gemm(d, v, T::ONE, &mut MatrixMut::new(du, self.small_channels, self.channels));
                }
                if let Some((u, dx)) = &mut spread {
                    self.spread_group(first, d, u, v, dx);
                }
            });
            for filter in 0..self.small_channels {
                winograd::weight_gradient(du, self.channels, filter, dw.row(filter));
            }
        });
    }

    /// X ← im2colᵀ(R·W), given U by [`Self::arranged`].
    pub fn spread<T: Element>(&self, small: &[T], u: &[T], large: &mut [T], scratch: &Scratch<T>) {
        large.fill(T::ZERO);
        scratch.with(self.scratch_len(), |memory| {
            self.for_each_group(self.images(large), memory, |first, dv, d| {
                self.tiling.output_gradient(small, self.small_channels, first, d);
                self.spread_group(first, d, u, dv, large);
            });
        });
    }

    /// Adds B(D·U)Bᵀ of a group's tiles to `large`. `dv` is memory for dV = D·U; its old contents are not
    /// read.
    fn spread_group<T: Element>(&self, first: usize, d: &[T], u: &[T], dv: &mut [T], large: &mut [T]) {
        let tiles = d.len() / (PLACES * self.small_channels);
        for ((dv, d), u) in places_mut(dv).zip(places(d)).zip(places(u)) {
            let d = Matrix::new(d, tiles, self.small_channels);
            let u = Matrix::new(u, self.small_channels, self.channels);
            gemm(d, u, T::ZERO, &mut MatrixMut::new(dv, tiles, self.channels));
        }
        self.tiling.input_gradient(dv, self.channels, first, large);
    }
}

/// The 16 places of transformed tiles.
fn places<T>(tiles: &[T]) -> std::slice::ChunksExact<'_, T> {
    tiles.chunks_exact(tiles.len() / PLACES)
}

fn places_mut<T>(tiles: &mut [T]) -> std::slice::ChunksExactMut<'_, T> {
    tiles.chunks_exact_mut(tiles.len() / PLACES)
}

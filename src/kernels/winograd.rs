//! Winograd's minimal filtering: a 3×3 convolution of stride 1 with 16 multiplications for four outputs instead of 36.
//!
//! # In one dimension
//!
//! Two neighbouring outputs of a filter g of three taps on four inputs d are
//!
//! ```text
//! y₀ = d₀g₀ + d₁g₁ + d₂g₂        six multiplications
//! y₁ = d₁g₀ + d₂g₁ + d₃g₂
//! ```
//!
//! The same two numbers from four multiplications (Winograd 1980, "Arithmetic complexity of computations"):
//!
//! ```text
//! m₀ = (d₀ − d₂)·g₀                      m₁ = (d₁ + d₂)·½(g₀ + g₁ + g₂)
//! m₃ = (d₁ − d₃)·g₂                      m₂ = (d₂ − d₁)·½(g₀ − g₁ + g₂)
//! y₀ = m₀ + m₁ + m₂                      y₁ = m₁ − m₂ − m₃
//! ```
//!
//! As matrices, y = Aᵀ[(G·g) ⊙ (Bᵀ·d)], with
//!
//! ```text
//!      │1  0 −1  0│         │1  0  0│
//! Bᵀ = │0  1  1  0│     G = │½  ½  ½│     Aᵀ = │1  1  1  0│
//!      │0 −1  1  0│         │½ −½  ½│          │0  1 −1 −1│
//!      │0  1  0 −1│         │0  0  1│
//! ```
//!
//! # In two
//!
//! Each matrix is applied to rows and to columns (Lavin & Gray 2016, "Fast algorithms for convolutional neural networks", F(2×2, 3×3)): an output
//! tile of 2×2 pixels comes from an input tile of 4×4, and tiles of neighbours overlap by two pixels.
//!
//! ```text
//! Y = Aᵀ[(G g Gᵀ) ⊙ (Bᵀ d B)]A
//! ```
//!
//! ⊙ multiplies number by number, for each pair of an input channel and a filter, and sums over input channels. So for each of the 16 places of a
//! tile it is one matrix product over all tiles ([`layers::tiles`](../../../src/layers/tiles.rs)). The transforms are additions, and halves of the weights.
//!
//! # Backward
//!
//! Y is linear in d and in g, so the gradients are the transposed matrices in reverse. With U = G g Gᵀ, V = Bᵀ d B and D = A·dY·Aᵀ:
//!
//! ```text
//! dg = Gᵀ(D ⊙ V)G         summed over tiles
//! dd = B(D ⊙ U)Bᵀ         summed over filters; where tiles overlap, added up
//! ```
//!
//! What it costs: V and U are sums of numbers that may nearly cancel again in Y, so a result has an error some two times as large as that of the direct sum.

use std::array::from_fn;

use super::geometry::Geometry;
use super::simd::vectorized;
use crate::tensor::Element;

/// The places of a transformed tile.
pub const PLACES: usize = 16;
/// Channels that are transformed together: a few vector registers hold a tile of so many.
const LANES: usize = 16;

/// The same number of `L` channels.
#[derive(Clone, Copy)]
struct Lanes<T, const L: usize>([T; L]);

impl<T: Element, const L: usize> Lanes<T, L> {
    #[inline(always)]
    fn plus(self, other: Self) -> Self {
        Self(from_fn(|lane| self.0[lane] + other.0[lane]))
    }

    #[inline(always)]
    fn minus(self, other: Self) -> Self {
        Self(from_fn(|lane| self.0[lane] - other.0[lane]))
    }

    #[inline(always)]
    fn half(self) -> Self {
        let half = T::from_f64(0.5);
        Self(from_fn(|lane| self.0[lane] * half))
    }

    #[inline(always)]
    fn negative(self) -> Self {
        Self(from_fn(|lane| -self.0[lane]))
    }
}

/// One of the matrices above, applied to `N` numbers.
trait Transform<const N: usize, const M: usize> {
    fn apply<T: Element, const L: usize>(x: [Lanes<T, L>; N]) -> [Lanes<T, L>; M];
}

/// A matrix applied to columns and then to rows.
#[inline(always)]
fn both<X: Transform<N, M>, T: Element, const L: usize, const N: usize, const M: usize>(
    tile: [[Lanes<T, L>; N]; N],
) -> [[Lanes<T, L>; M]; M] {
    let zero = Lanes([T::ZERO; L]);
    let mut half = [[zero; N]; M];
    for x in 0..N {
        let column = X::apply(from_fn(|y| tile[y][x]));
        for y in 0..M {
            half[y][x] = column[y];
        }
    }
    let mut whole = [[zero; M]; M];
    for y in 0..M {
        whole[y] = X::apply(half[y]);
    }
    whole
}

/// Bᵀ.
struct Input;
/// B.
struct InputGradient;
/// Aᵀ.
struct Output;
/// A.
struct OutputGradient;
/// G.
struct Weight;
/// Gᵀ.
struct WeightGradient;

impl Transform<4, 4> for Input {
    #[inline(always)]
    fn apply<T: Element, const L: usize>([a, b, c, d]: [Lanes<T, L>; 4]) -> [Lanes<T, L>; 4] {
        [a.minus(c), b.plus(c), c.minus(b), b.minus(d)]
    }
}

impl Transform<4, 4> for InputGradient {
    #[inline(always)]
    fn apply<T: Element, const L: usize>([a, b, c, d]: [Lanes<T, L>; 4]) -> [Lanes<T, L>; 4] {
        [a, b.minus(c).plus(d), b.plus(c).minus(a), d.negative()]
    }
}

impl Transform<4, 2> for Output {
    #[inline(always)]
    fn apply<T: Element, const L: usize>([a, b, c, d]: [Lanes<T, L>; 4]) -> [Lanes<T, L>; 2] {
        [a.plus(b).plus(c), b.minus(c).minus(d)]
    }
}

impl Transform<2, 4> for OutputGradient {
    #[inline(always)]
    fn apply<T: Element, const L: usize>([a, b]: [Lanes<T, L>; 2]) -> [Lanes<T, L>; 4] {
        [a, a.plus(b), a.minus(b), b.negative()]
    }
}

impl Transform<3, 4> for Weight {
    #[inline(always)]
    fn apply<T: Element, const L: usize>([a, b, c]: [Lanes<T, L>; 3]) -> [Lanes<T, L>; 4] {
        let ends = a.plus(c);
        [a, ends.plus(b).half(), ends.minus(b).half(), c]
    }
}

impl Transform<4, 3> for WeightGradient {
    #[inline(always)]
    fn apply<T: Element, const L: usize>([a, b, c, d]: [Lanes<T, L>; 4]) -> [Lanes<T, L>; 3] {
        let sum = b.plus(c).half();
        [a.plus(sum), b.minus(c).half(), sum.plus(d)]
    }
}

/// How images are cut into tiles, row by row of the small side. Tiles are counted through all images of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tiling {
    geometry: Geometry,
    /// The tiles of an image in a column and in a row.
    rows: usize,
    columns: usize,
}

/// Channels-last images: the whole task's, and the size of one.
struct Pixels {
    height: usize,
    width: usize,
}

impl Tiling {
    /// If the kernel is 3×3 with stride 1.
    pub fn new(geometry: Geometry) -> Option<Self> {
        let g = &geometry;
        let fits = (g.kernel_height, g.kernel_width, g.stride) == (3, 3, 1);
        fits.then(|| Self { geometry, rows: g.small_height.div_ceil(2), columns: g.small_width.div_ceil(2) })
    }

    /// The tiles of an image.
    pub fn tiles(&self) -> usize {
        self.rows * self.columns
    }

    /// H·W, the pixels of an image's large side.
    pub fn large_pixels(&self) -> usize {
        self.geometry.height * self.geometry.width
    }

    /// The image, row and column of pixel (0, 0) of a tile on the large side, which begins in the padding, and on the small side.
    #[inline(always)]
    fn place(&self, tile: usize) -> (usize, usize, usize) {
        let (image, tile) = (tile / self.tiles(), tile % self.tiles());
        (image, 2 * (tile / self.columns), 2 * (tile % self.columns))
    }

    fn large(&self) -> Pixels {
        Pixels { height: self.geometry.height, width: self.geometry.width }
    }

    fn small(&self) -> Pixels {
        Pixels { height: self.geometry.small_height, width: self.geometry.small_width }
    }

    /// V ← Bᵀ d B of the tiles from `first` on, `[16][tiles][C]`.
    pub fn input<T: Element>(&self, large: &[T], channels: usize, first: usize, v: &mut [T]) {
        vectorized!(self.gather::<Input, T, 4>(large, &self.large(), self.geometry.padding, channels, first, v));
    }

    /// D ← A·dY·Aᵀ of the tiles from `first` on, `[16][tiles][S]`.
    pub fn output_gradient<T: Element>(&self, small: &[T], channels: usize, first: usize, d: &mut [T]) {
        vectorized!(self.gather::<OutputGradient, T, 2>(small, &self.small(), 0, channels, first, d));
    }

    /// Y ← Aᵀ m A for the tiles from `first` on, of m `[16][tiles][S]`.
    pub fn output<T: Element>(&self, m: &[T], channels: usize, first: usize, small: &mut [T]) {
        vectorized!(self.scatter::<Output, T, 2, false>(m, channels, first, small, &self.small(), 0));
    }

    /// Adds dd = B·dV·Bᵀ to the tiles from `first` on, of dV `[16][tiles][C]`.
    pub fn input_gradient<T: Element>(&self, dv: &[T], channels: usize, first: usize, large: &mut [T]) {
        let padding = self.geometry.padding;
        vectorized!(self.scatter::<InputGradient, T, 4, true>(dv, channels, first, large, &self.large(), padding));
    }

    /// Transforms tiles of N×N pixels; what is outside of the image is 0.
    #[inline(always)]
    fn gather<X: Transform<N, 4>, T: Element, const N: usize>(
        &self,
        images: &[T],
        size: &Pixels,
        padding: usize,
        channels: usize,
        first: usize,
        tiles: &mut [T],
    ) {
        let count = tiles.len() / (PLACES * channels);
        let blocks = channels / LANES * LANES;
        for tile in 0..count {
            let (image, y, x) = self.place(first + tile);
            let image = &images[image * size.height * size.width * channels..][..size.height * size.width * channels];
            // The first number of each pixel, if the image has it.
            let pixel = |row: usize, column: usize| {
                let (row, column) = ((y + row).wrapping_sub(padding), (x + column).wrapping_sub(padding));
                (row < size.height && column < size.width).then(|| (row * size.width + column) * channels)
            };
            let pixels: [[Option<usize>; N]; N] = from_fn(|row| from_fn(|column| pixel(row, column)));
            for channel in (0..blocks).step_by(LANES) {
                one_tile::<X, T, N, LANES>(image, &pixels, channel, tiles, (count * channels, tile * channels));
            }
            for channel in blocks..channels {
                one_tile::<X, T, N, 1>(image, &pixels, channel, tiles, (count * channels, tile * channels));
            }
        }
    }

    /// Transforms tiles back to N×N pixels and writes or adds them to those that the image has.
    #[inline(always)]
    fn scatter<X: Transform<4, N>, T: Element, const N: usize, const ADD: bool>(
        &self,
        tiles: &[T],
        channels: usize,
        first: usize,
        images: &mut [T],
        size: &Pixels,
        padding: usize,
    ) {
        let count = tiles.len() / (PLACES * channels);
        let blocks = channels / LANES * LANES;
        for tile in 0..count {
            let (image, y, x) = self.place(first + tile);
            let image = &mut images[image * size.height * size.width * channels..][..size.height * size.width * channels];
            let pixel = |row: usize, column: usize| {
                let (row, column) = ((y + row).wrapping_sub(padding), (x + column).wrapping_sub(padding));
                (row < size.height && column < size.width).then(|| (row * size.width + column) * channels)
            };
            let pixels: [[Option<usize>; N]; N] = from_fn(|row| from_fn(|column| pixel(row, column)));
            for channel in (0..blocks).step_by(LANES) {
                one_tile_back::<X, T, N, LANES, ADD>(tiles, (count * channels, tile * channels), channel, image, &pixels);
            }
            for channel in blocks..channels {
                one_tile_back::<X, T, N, 1, ADD>(tiles, (count * channels, tile * channels), channel, image, &pixels);
            }
        }
    }
}

/// `L` channels of a tile: its place (y, x) goes to `tiles[(4y + x)·stride + start + channel]`.
#[inline(always)]
fn one_tile<X: Transform<N, 4>, T: Element, const N: usize, const L: usize>(
    image: &[T],
    pixels: &[[Option<usize>; N]; N],
    channel: usize,
    tiles: &mut [T],
    (stride, start): (usize, usize),
) {
    let mut tile = [[Lanes([T::ZERO; L]); N]; N];
    for row in 0..N {
        for column in 0..N {
            if let Some(pixel) = pixels[row][column] {
                tile[row][column] = Lanes(*image[pixel + channel..].first_chunk().expect("a pixel's channels"));
            }
        }
    }
    let transformed = both::<X, T, L, N, 4>(tile);
    for y in 0..4 {
        for x in 0..4 {
            let to = &mut tiles[(4 * y + x) * stride + start + channel..];
            *to.first_chunk_mut().expect("a tile's channels") = transformed[y][x].0;
        }
    }
}

/// The reverse of [`one_tile`].
#[inline(always)]
fn one_tile_back<X: Transform<4, N>, T: Element, const N: usize, const L: usize, const ADD: bool>(
    tiles: &[T],
    (stride, start): (usize, usize),
    channel: usize,
    image: &mut [T],
    pixels: &[[Option<usize>; N]; N],
) {
    let mut tile = [[Lanes([T::ZERO; L]); 4]; 4];
    for y in 0..4 {
        for x in 0..4 {
            let from = &tiles[(4 * y + x) * stride + start + channel..];
            tile[y][x] = Lanes(*from.first_chunk().expect("a tile's channels"));
        }
    }
    let transformed = both::<X, T, L, 4, N>(tile);
    for row in 0..N {
        for column in 0..N {
            if let Some(pixel) = pixels[row][column] {
                let to: &mut [T; L] = image[pixel + channel..].first_chunk_mut().expect("a pixel's channels");
                let sum = if ADD { Lanes(*to).plus(transformed[row][column]) } else { transformed[row][column] };
                *to = sum.0;
            }
        }
    }
}

/// U ← G g Gᵀ of a weight `[S][3][3][C]`: `[16][S][C]`, or `[16][C][S]` if `transposed`.
pub fn weight<T: Element>(weight: &[T], channels: usize, transposed: bool, u: &mut [T]) {
    let filters = weight.len() / (9 * channels);
    let place_len = filters * channels;
    let at = |place: usize, filter: usize, channel: usize| {
        place * place_len + if transposed { channel * filters + filter } else { filter * channels + channel }
    };
    for (filter, kernel) in weight.chunks_exact(9 * channels).enumerate() {
        for channel in 0..channels {
            let tap = |y: usize, x: usize| Lanes([kernel[(3 * y + x) * channels + channel]]);
            let transformed = both::<Weight, T, 1, 3, 4>(from_fn(|y| from_fn(|x| tap(y, x))));
            for (place, number) in transformed.as_flattened().iter().enumerate() {
                u[at(place, filter, channel)] = number.0[0];
            }
        }
    }
}

/// dg += Gᵀ·dU·G for dU `[16][S][C]`, to the gradient `[3][3][C]` of one filter of a weight.
pub fn weight_gradient<T: Element>(du: &[T], channels: usize, filter: usize, dg: &mut [T]) {
    vectorized!(weight_gradient_here(du, channels, filter, dg));
}

#[inline(always)]
fn weight_gradient_here<T: Element>(du: &[T], channels: usize, filter: usize, dg: &mut [T]) {
    let (stride, start) = (du.len() / PLACES, filter * channels);
    let blocks = channels / LANES * LANES;
    for channel in (0..blocks).step_by(LANES) {
        one_kernel::<T, LANES>(du, (stride, start), dg, channels, channel);
    }
    for channel in blocks..channels {
        one_kernel::<T, 1>(du, (stride, start), dg, channels, channel);
    }
}

/// `L` channels of a filter's gradient.
#[inline(always)]
fn one_kernel<T: Element, const L: usize>(
    du: &[T],
    (stride, start): (usize, usize),
    kernel: &mut [T],
    channels: usize,
    channel: usize,
) {
    let place = |y: usize, x: usize| {
        Lanes::<T, L>(*du[(4 * y + x) * stride + start + channel..].first_chunk().expect("a filter's channels"))
    };
    let taps = both::<WeightGradient, T, L, 4, 3>(from_fn(|y| from_fn(|x| place(y, x))));
    for y in 0..3 {
        for x in 0..3 {
            let to: &mut [T; L] = kernel[(3 * y + x) * channels + channel..].first_chunk_mut().expect("a tap's channels");
            *to = Lanes(*to).plus(taps[y][x]).0;
        }
    }
}

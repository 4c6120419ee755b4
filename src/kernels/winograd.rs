//! Winograd's minimal filtering: a 3×3 convolution of stride 1 with 16 multiplications for four outputs
//! instead of 36.
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
//! m₀ = (d₀ − d₂)·g₀
//! m₁ = (d₁ + d₂)·½(g₀ + g₁ + g₂)         y₀ = m₀ + m₁ + m₂
//! m₂ = (d₂ − d₁)·½(g₀ − g₁ + g₂)         y₁ = m₁ − m₂ − m₃
//! m₃ = (d₁ − d₃)·g₂
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
//! Each matrix is applied to the columns and to the rows (Lavin & Gray 2016, "Fast algorithms for
//! convolutional neural networks", F(2×2, 3×3)). An output tile of 2×2 pixels is computed from an input tile
//! of 4×4, and neighbouring input tiles overlap by two pixels.
//!
//! ```text
//! Y = Aᵀ[(G g Gᵀ) ⊙ (Bᵀ d B)]A
//! ```
//!
//! ⊙ multiplies the numbers at the same place, for each pair of an input channel and a filter, and the
//! products are summed over input channels. So each of the 16 places of a tile is one matrix product over all
//! tiles (`layers::tiles`). The transforms of d and of the products need additions only, that of g also
//! halvings.
//!
//! # Backward
//!
//! Y is linear in d for a fixed g, and linear in g for a fixed d. So each gradient is a transposed linear
//! map: the transposed matrices, applied in the reverse order. With U = G g Gᵀ, V = Bᵀ d B and D = A·dY·Aᵀ:
//!
//! ```text
//! dg = Gᵀ(D ⊙ V)G         summed over tiles
//! dd = B(D ⊙ U)Bᵀ         summed over filters; where tiles overlap, added up
//! ```
//!
//! # Rounding
//!
//! V and U are sums of numbers of which some cancel again in Y. So a result has a larger rounding error than
//! the direct sum; about twice as large is an estimate, which no test measures.

use super::dispatch::{Task, with_vectors};
use super::geometry::Geometry;
use super::simd::Vector;
use crate::tensor::Element;

/// The numbers of a transformed tile, 4×4.
pub const PLACES: usize = 16;
/// Channels must be a multiple of this: whole vectors at every level.
pub const UNIT: usize = 16;

/// One of the matrices above: it makes `M` numbers of `N`. A vector has one such number of each of its
/// channels.
trait Transform<const N: usize, const M: usize> {
    fn apply<X: Vector>(&self, x: [X; N]) -> [X; M];
}

/// A tile of N×N to one of M×M: a matrix applied to the columns, and then to the rows.
#[inline(always)]
fn both<F: Transform<N, M>, X: Vector, const N: usize, const M: usize>(
    transform: &F,
    tile: [[X; N]; N],
) -> [[X; M]; M] {
    let zero = X::splat(X::Number::ZERO);
    let mut half = [[zero; N]; M];
    for x in 0..N {
        let mut column = [zero; N];
        for y in 0..N {
            column[y] = tile[y][x];
        }
        let column = transform.apply(column);
        for y in 0..M {
            half[y][x] = column[y];
        }
    }
    let mut whole = [[zero; M]; M];
    for y in 0..M {
        whole[y] = transform.apply(half[y]);
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
    fn apply<X: Vector>(&self, [a, b, c, d]: [X; 4]) -> [X; 4] {
        [a.sub(c), b.add(c), c.sub(b), b.sub(d)]
    }
}

impl Transform<4, 4> for InputGradient {
    #[inline(always)]
    fn apply<X: Vector>(&self, [a, b, c, d]: [X; 4]) -> [X; 4] {
        [a, b.sub(c).add(d), b.add(c).sub(a), negative(d)]
    }
}

impl Transform<4, 2> for Output {
    #[inline(always)]
    fn apply<X: Vector>(&self, [a, b, c, d]: [X; 4]) -> [X; 2] {
        [a.add(b).add(c), b.sub(c).sub(d)]
    }
}

impl Transform<2, 4> for OutputGradient {
    #[inline(always)]
    fn apply<X: Vector>(&self, [a, b]: [X; 2]) -> [X; 4] {
        [a, a.add(b), a.sub(b), negative(b)]
    }
}

impl Transform<3, 4> for Weight {
    #[inline(always)]
    fn apply<X: Vector>(&self, [a, b, c]: [X; 3]) -> [X; 4] {
        let ends = a.add(c);
        [a, half(ends.add(b)), half(ends.sub(b)), c]
    }
}

impl Transform<4, 3> for WeightGradient {
    #[inline(always)]
    fn apply<X: Vector>(&self, [a, b, c, d]: [X; 4]) -> [X; 3] {
        let sum = half(b.add(c));
        [a.add(sum), half(b.sub(c)), sum.add(d)]
    }
}

#[inline(always)]
fn negative<X: Vector>(x: X) -> X {
    X::splat(X::Number::ZERO).sub(x)
}

#[inline(always)]
fn half<X: Vector>(x: X) -> X {
    x.mul_add(X::splat(X::Number::from_f64(0.5)), X::splat(X::Number::ZERO))
}

/// The division of images into tiles: the small side into squares of 2×2, and the large side into squares of
/// 4×4 that overlap. Tiles are numbered row by row through an image, and on through the images of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tiling {
    geometry: Geometry,
    /// The rows of tiles in an image, and the tiles in a row.
    rows: usize,
    columns: usize,
}

/// The size of the images on a side, and the rows and columns of zeros at their top and left.
#[derive(Clone, Copy)]
struct Side {
    height: usize,
    width: usize,
    padding: usize,
}

impl Tiling {
    /// `None` unless the kernel is 3×3 and the stride 1.
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

    fn large(&self) -> Side {
        let Geometry { height, width, padding, .. } = self.geometry;
        Side { height, width, padding }
    }

    fn small(&self) -> Side {
        Side { height: self.geometry.small_height, width: self.geometry.small_width, padding: 0 }
    }

    /// V ← Bᵀ d B, `[16][tiles][C]`, for as many tiles as `v` has room for, from number `first` on. `large`
    /// is all images of a task.
    pub fn input<T: Element>(&self, large: &[T], channels: usize, first: usize, v: &mut [T]) {
        let (tiling, side) = (self, self.large());
        with_vectors(Gather { tiling, side, channels, first, images: large, tiles: v, transform: Input });
    }

    /// D ← A·dY·Aᵀ, `[16][tiles][S]`, for the tiles from number `first` on. `small` is dY of all images of a
    /// task.
    pub fn output_gradient<T: Element>(&self, small: &[T], channels: usize, first: usize, d: &mut [T]) {
        let (tiling, side, transform) = (self, self.small(), OutputGradient);
        with_vectors(Gather { tiling, side, channels, first, images: small, tiles: d, transform });
    }

    /// Y ← Aᵀ m A into `small`, from the products m, `[16][tiles][S]`, of the tiles from number `first` on.
    pub fn output<T: Element>(&self, m: &[T], channels: usize, first: usize, small: &mut [T]) {
        let (tiling, side, transform) = (self, self.small(), Output);
        with_vectors(Scatter::<_, _, 2, false> {
            tiling,
            side,
            channels,
            first,
            images: small,
            tiles: m,
            transform,
        });
    }

    /// Adds dd = B·dV·Bᵀ to `large`, from dV, `[16][tiles][C]`, of the tiles from number `first` on.
    pub fn input_gradient<T: Element>(&self, dv: &[T], channels: usize, first: usize, large: &mut [T]) {
        let (tiling, side, transform) = (self, self.large(), InputGradient);
        with_vectors(Scatter::<_, _, 4, true> {
            tiling,
            side,
            channels,
            first,
            images: large,
            tiles: dv,
            transform,
        });
    }

    /// The index, in the numbers of all images, of each of the N×N pixels of a tile; [`OUTSIDE`] for pixels
    /// that are not in the tile's image.
    #[inline(always)]
    fn pixels<const N: usize>(&self, side: Side, channels: usize, tile: usize) -> [[usize; N]; N] {
        let (image, tile) = (tile / self.tiles(), tile % self.tiles());
        let (y, x) = (2 * (tile / self.columns), 2 * (tile % self.columns));
        let mut pixels = [[OUTSIDE; N]; N];
        for (row, pixels) in pixels.iter_mut().enumerate() {
            // In the padding above the image y would be negative. It wraps around to a number above any
            // height.
            let y = (y + row).wrapping_sub(side.padding);
            if y < side.height {
                for (column, pixel) in pixels.iter_mut().enumerate() {
                    let x = (x + column).wrapping_sub(side.padding);
                    if x < side.width {
                        *pixel = ((image * side.height + y) * side.width + x) * channels;
                    }
                }
            }
        }
        pixels
    }
}

/// An index beyond the end of any slice, to which channels can be added without an overflow.
const OUTSIDE: usize = usize::MAX / 2;

/// Reads tiles of N×N pixels, with 0 for pixels outside of the image, and transforms them to 4×4.
struct Gather<'a, F, T, const N: usize> {
    tiling: &'a Tiling,
    side: Side,
    channels: usize,
    first: usize,
    images: &'a [T],
    tiles: &'a mut [T],
    transform: F,
}

impl<F: Transform<N, 4>, T: Element, const N: usize> Task<T> for Gather<'_, F, T, N> {
    #[inline(always)]
    fn run<X: Vector<Number = T>>(self) {
        let Self { tiling, side, channels, first, images, tiles: mut rest, transform } = self;
        let place_len = rest.len() / PLACES;
        let mut places: [[&mut [T]; 4]; 4] = Default::default();
        for place in places.as_flattened_mut() {
            (*place, rest) = rest.split_at_mut(place_len);
        }
        for tile in 0..place_len / channels {
            let pixels = tiling.pixels::<N>(side, channels, first + tile);
            for channel in (0..channels).step_by(X::LANES) {
                let mut d = [[X::splat(T::ZERO); N]; N];
                for row in 0..N {
                    for column in 0..N {
                        let at = pixels[row][column] + channel;
                        if let Some(numbers) = images.get(at..at + X::LANES) {
                            d[row][column] = X::load(numbers);
                        }
                    }
                }
                let transformed = both(&transform, d);
                for y in 0..4 {
                    for x in 0..4 {
                        transformed[y][x].store(&mut places[y][x][tile * channels + channel..]);
                    }
                }
            }
        }
    }
}

/// Transforms tiles of 4×4 to N×N pixels, and writes them to the image or, if `ADD`, adds them to it. Pixels
/// outside of the image are dropped.
struct Scatter<'a, F, T, const N: usize, const ADD: bool> {
    tiling: &'a Tiling,
    side: Side,
    channels: usize,
    first: usize,
    images: &'a mut [T],
    tiles: &'a [T],
    transform: F,
}

impl<F: Transform<4, N>, T: Element, const N: usize, const ADD: bool> Task<T> for Scatter<'_, F, T, N, ADD> {
    #[inline(always)]
    fn run<X: Vector<Number = T>>(self) {
        let Self { tiling, side, channels, first, images, tiles: mut rest, transform } = self;
        let place_len = rest.len() / PLACES;
        let mut places: [[&[T]; 4]; 4] = Default::default();
        for place in places.as_flattened_mut() {
            (*place, rest) = rest.split_at(place_len);
        }
        for tile in 0..place_len / channels {
            let pixels = tiling.pixels::<N>(side, channels, first + tile);
            for channel in (0..channels).step_by(X::LANES) {
                let mut m = [[X::splat(T::ZERO); 4]; 4];
                for y in 0..4 {
                    for x in 0..4 {
                        m[y][x] = X::load(&places[y][x][tile * channels + channel..]);
                    }
                }
                let transformed = both(&transform, m);
                for row in 0..N {
                    for column in 0..N {
                        let at = pixels[row][column] + channel;
                        if let Some(numbers) = images.get_mut(at..at + X::LANES) {
                            let new = transformed[row][column];
                            let sum = if ADD { X::load(numbers).add(new) } else { new };
                            sum.store(numbers);
                        }
                    }
                }
            }
        }
    }
}

/// U ← G g Gᵀ for each kernel g of a weight, `[S][3][3][C]`. U is `[16][S][C]`, or `[16][C][S]` if
/// `transposed`.
pub fn weight<T: Element>(weight: &[T], channels: usize, transposed: bool, u: &mut [T]) {
    with_vectors(WeightTask { weight, channels, transposed, u });
}

struct WeightTask<'a, T> {
    weight: &'a [T],
    channels: usize,
    transposed: bool,
    u: &'a mut [T],
}

impl<T: Element> Task<T> for WeightTask<'_, T> {
    #[inline(always)]
    fn run<X: Vector<Number = T>>(self) {
        let Self { weight, channels, transposed, u } = self;
        let place_len = u.len() / PLACES;
        let filters = place_len / channels;
        for (filter, kernel) in weight.chunks_exact(9 * channels).enumerate() {
            for channel in (0..channels).step_by(X::LANES) {
                let mut g = [[X::splat(T::ZERO); 3]; 3];
                for y in 0..3 {
                    for x in 0..3 {
                        g[y][x] = X::load(&kernel[(3 * y + x) * channels + channel..]);
                    }
                }
                for (place, numbers) in both(&Weight, g).as_flattened().iter().enumerate() {
                    let place = &mut u[place * place_len..][..place_len];
                    if transposed {
                        let mut lanes = [T::ZERO; UNIT];
                        numbers.store(&mut lanes);
                        for (lane, &number) in lanes[..X::LANES].iter().enumerate() {
                            place[(channel + lane) * filters + filter] = number;
                        }
                    } else {
                        numbers.store(&mut place[filter * channels + channel..]);
                    }
                }
            }
        }
    }
}

/// dg += Gᵀ·dU·G for one filter: dU is `[16][S][C]`, and dg, `[3][3][C]`, is the gradient of that filter's
/// weights.
pub fn weight_gradient<T: Element>(du: &[T], channels: usize, filter: usize, dg: &mut [T]) {
    with_vectors(WeightGradientTask { du, channels, filter, dg });
}

struct WeightGradientTask<'a, T> {
    du: &'a [T],
    channels: usize,
    filter: usize,
    dg: &'a mut [T],
}

impl<T: Element> Task<T> for WeightGradientTask<'_, T> {
    #[inline(always)]
    fn run<X: Vector<Number = T>>(self) {
        let Self { du, channels, filter, dg } = self;
        let place_len = du.len() / PLACES;
        for channel in (0..channels).step_by(X::LANES) {
            let mut d = [[X::splat(T::ZERO); 4]; 4];
            for y in 0..4 {
                for x in 0..4 {
                    d[y][x] = X::load(&du[(4 * y + x) * place_len + filter * channels + channel..]);
                }
            }
            let taps = both(&WeightGradient, d);
            for y in 0..3 {
                for x in 0..3 {
                    let sum = &mut dg[(3 * y + x) * channels + channel..];
                    X::load(sum).add(taps[y][x]).store(sum);
                }
            }
        }
    }
}

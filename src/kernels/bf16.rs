//! C ← A·B + β·C in bf16: the factors are rounded to bf16, and their products are added in single precision.
//!
//! It is the scheme of [`unpacked`](super::unpacked) with two terms per step: a processor with AVX512-BF16
//! multiplies 16 pairs of numbers and adds both products to 16 sums in the time of one multiply-add of 16
//! numbers. The numbers of a pair are adjacent along the depth:
//!
//! ```text
//! tile[r][j] += a[r][2l]·b[2l][j] + a[r][2l+1]·b[2l+1][j]
//! ```
//!
//! Factors stay in single precision in memory, and are rounded when they are copied into a block. B's block
//! has pairs of its rows. A panel of up to 16 rows of A is rounded for 64 columns of C, so a number of A is
//! rounded once for every 64 uses. If a sum has an odd number of terms, or a run of A's numbers begins in the
//! middle of a pair, the missing number is 0.
//!
//! # The order of additions
//!
//! The depth is split into the fewest equal pieces of at most 1024 terms, an even number. In each piece, an
//! element of C is one chain from zero, in the order of A's columns, two terms at a time; the sums of the
//! pieces are added to C in order. The order does not depend on the number of threads.

use super::factors::{Left, Part, Right, Rows};
use super::matrix::{Matrix, MatrixMut};
use super::pairs::{Pairs, round};
use super::simd::x86::Sixteen;
use super::simd::{Block, Vector};
use super::unpacked::{Product, for_each_row, load, store_tile};

/// The most terms of a chain.
const DEPTH: usize = 1024;

/// Rows of A that are rounded at once; a tile has at most half of them.
const PANEL: usize = 16;

/// From one row of a panel to the next: the pairs of a chain, and room to write the last vector completely.
const LINE: usize = DEPTH / 2 + 16;

/// Columns of B that are copied at once, and of a tile.
const COLUMNS: usize = 64;
const TILE: usize = COLUMNS / 2;

/// Computes a product.
#[inline(always)]
pub(super) fn compute(mut product: Product<'_, '_, f32>) {
    product.begin();
    let Product { parts, b, beta, c } = product;
    let (depth, columns) = (b.depth(), b.columns());
    let mut blocks = [Block::new(), Block::new()];
    let mut panel = [0; PANEL * LINE];
    let at_once = depth.div_ceil(depth.div_ceil(DEPTH).max(1)).next_multiple_of(2).max(2);
    for first in (0..depth).step_by(at_once) {
        let last = (first + at_once).min(depth);
        for column in (0..columns).step_by(COLUMNS) {
            let width = COLUMNS.min(columns - column);
            copy_blocks(&b, (first, last), column, width, &mut blocks);
            for part in parts {
                let beta = match part.left.begins_in(first, last) {
                    Some(true) => beta,
                    Some(false) => 1.0,
                    None => continue,
                };
                let blocks = [blocks[0].rows(), blocks[1].rows()];
                At { part, blocks, first, last, beta, column, width }.all_rows(&mut panel, c);
            }
        }
    }
}

/// Copies a piece of B's rows as pairs, at most four vectors of each from `column` on, padded with zeros.
#[inline(always)]
fn copy_blocks(
    b: &Right<'_, f32>,
    (first, last): (usize, usize),
    column: usize,
    width: usize,
    blocks: &mut [Block<Pairs>; 2],
) {
    blocks.iter_mut().for_each(Block::clear);
    let (rows, padding) = match b {
        Right::Rows(rows) => (rows, None),
        &Right::Padded { ref rows, offset, line_len } => (rows, Some((offset, line_len))),
        Right::Columns(matrix) => {
            for (from, block) in (0..width).step_by(TILE).zip(blocks) {
                for _ in 0..(last - first).div_ceil(2) {
                    block.push([Pairs::splat(0); 2]);
                }
                for v in 0..(width - from).min(TILE).div_ceil(16) {
                    let from = from + 16 * v;
                    copy_columns(matrix, (first, last), column + from, (width - from).min(16), v, block);
                }
            }
            return;
        }
    };
    let (mut waiting, mut waits) = ([Sixteen::splat(0.0); 4], false);
    for_each_row(
        rows,
        padding,
        (first, last),
        column..column + width,
        #[inline(always)]
        |numbers| {
            let row = four_vectors(numbers);
            if waits {
                push_pair(&waiting, &row, width, blocks);
            }
            (waiting, waits) = (row, !waits);
        },
    );
    if waits {
        push_pair(&waiting, &[Sixteen::splat(0.0); 4], width, blocks);
    }
}

/// Four vectors of a slice's first numbers, padded with zeros.
#[inline(always)]
fn four_vectors(numbers: &[f32]) -> [Sixteen; 4] {
    if numbers.len() == COLUMNS {
        return [0, 16, 32, 48].map(
            #[inline(always)]
            |from| Sixteen::load(&numbers[from..]),
        );
    }
    [0, 16, 32, 48].map(
        #[inline(always)]
        |from| load(&numbers[numbers.len().min(from)..]),
    )
}

/// Adds two rows of B to the blocks; to the right one only if they are long enough.
#[inline(always)]
fn push_pair(first: &[Sixteen; 4], second: &[Sixteen; 4], width: usize, blocks: &mut [Block<Pairs>; 2]) {
    let [left, right] = blocks;
    left.push([Pairs::of_rows(first[0], second[0]), Pairs::of_rows(first[1], second[1])]);
    if width > TILE {
        right.push([Pairs::of_rows(first[2], second[2]), Pairs::of_rows(first[3], second[3])]);
    }
}

/// Copies up to sixteen columns of a transposed B, which are contiguous, to a vector of each row of a block.
#[inline(always)]
fn copy_columns(
    b: &Matrix<'_, f32>,
    (first, last): (usize, usize),
    column: usize,
    count: usize,
    v: usize,
    block: &mut Block<Pairs>,
) {
    for (piece, to) in (first..last).step_by(32).zip(block.rows_mut().chunks_mut(16)) {
        let len = (last - piece).min(32);
        let mut square = [Pairs::splat(0); 16];
        for (j, pairs) in square[..count].iter_mut().enumerate() {
            let numbers = &b.data[piece + (column + j) * b.column_stride..][..len];
            *pairs = Pairs::of_neighbours(load(numbers), load(&numbers[len.min(16)..]));
        }
        Pairs::transpose(&mut square);
        for (to, from) in to.iter_mut().zip(square) {
            to[v] = from;
        }
    }
}

/// Some rows and columns of C, and a piece of the factors for them.
struct At<'a> {
    part: &'a Part<'a, f32>,
    /// The pairs of B's rows from `first` to `last`, 32 columns in each block.
    blocks: [&'a [[Pairs; 2]]; 2],
    first: usize,
    last: usize,
    beta: f32,
    column: usize,
    width: usize,
}

impl At<'_> {
    /// All rows, panel by panel.
    #[inline(always)]
    fn all_rows(&self, panel: &mut [u32; PANEL * LINE], c: &mut MatrixMut<'_, f32>) {
        let rows = self.part.rows.rows();
        let mut row = 0;
        while row < rows {
            let left = rows - row;
            let height = left.div_ceil(left.div_ceil(PANEL));
            match &self.part.left {
                Left::Rows { rows, first_depth, depth_stride } => {
                    self.round_rows(rows, (*first_depth, *depth_stride), row, height, panel);
                }
                Left::Columns(columns) => self.round_columns(columns, row, height, panel),
            }
            for (half, from) in (0..self.width).step_by(TILE).enumerate() {
                let width = TILE.min(self.width - from);
                let upper = height.div_ceil(height.div_ceil(PANEL / 2));
                for (at, height) in [(0, upper), (upper, height - upper)] {
                    let tile = Tile { at, row: row + at, half, column: self.column + from, width };
                    if width > 16 {
                        self.tile_of::<2>(height, &tile, panel, c);
                    } else {
                        self.tile_of::<1>(height, &tile, panel, c);
                    }
                }
            }
            row += height;
        }
    }

    #[inline(always)]
    fn tile_of<const V: usize>(&self, height: usize, tile: &Tile, panel: &[u32], c: &mut MatrixMut<'_, f32>) {
        match height {
            0 => {}
            1 => self.tile::<1, V>(tile, panel, c),
            2 => self.tile::<2, V>(tile, panel, c),
            3 => self.tile::<3, V>(tile, panel, c),
            4 => self.tile::<4, V>(tile, panel, c),
            5 => self.tile::<5, V>(tile, panel, c),
            6 => self.tile::<6, V>(tile, panel, c),
            7 => self.tile::<7, V>(tile, panel, c),
            _ => self.tile::<8, V>(tile, panel, c),
        }
    }

    /// R rows.
    #[inline(always)]
    fn tile<const R: usize, const V: usize>(&self, at: &Tile, panel: &[u32], c: &mut MatrixMut<'_, f32>) {
        let block = self.blocks[at.half];
        let mut sums = [[Sixteen::splat(0.0); V]; R];
        match &self.part.left {
            Left::Rows { rows, first_depth, depth_stride } => {
                let mut done = 0;
                for segment in 0..rows.segments {
                    let Some((_, from, to)) = self.run(rows, first_depth + segment * depth_stride) else {
                        continue;
                    };
                    // Two runs may meet within a pair, which counts once.
                    let (from, to) = ((from / 2).max(done), to.div_ceil(2));
                    if from < to {
                        let mut lines: [&[u32]; R] = [&[]; R];
                        for r in 0..R {
                            lines[r] = &panel[(at.at + r) * LINE + from..][..to - from];
                        }
                        sums = add_rows(sums, &lines, &block[from..to]);
                        done = to;
                    }
                }
            }
            Left::Columns(_) => sums = add_columns(sums, &panel[at.at..], block),
        }
        let starts = self.part.rows.starts::<R>(at.row);
        store_tile(sums, &starts, at.column..at.column + at.width, self.beta, c);
    }

    /// The overlap of the piece with a run of A that begins at `depth`: its first number in the run, and its
    /// start and end in the piece.
    #[inline(always)]
    fn run(&self, rows: &Rows<'_, f32>, depth: usize) -> Option<(usize, usize, usize)> {
        let (from, to) = (depth.max(self.first), (depth + rows.columns).min(self.last));
        (from < to).then(|| (from - depth, from - self.first, to - self.first))
    }

    /// Writes rows of A to a panel, if they are contiguous.
    #[inline(always)]
    fn round_rows(
        &self,
        rows: &Rows<'_, f32>,
        (first_depth, depth_stride): (usize, usize),
        row: usize,
        height: usize,
        panel: &mut [u32],
    ) {
        let is_even = first_depth.is_multiple_of(2) && (rows.segments == 1 || depth_stride.is_multiple_of(2));
        let starts = rows.grid.starts::<PANEL>(row);
        for (start, line) in starts[..height].iter().zip(panel.chunks_exact_mut(LINE)) {
            if !is_even {
                line.fill(0);
            }
            for segment in 0..rows.segments {
                let Some((skipped, from, to)) = self.run(rows, first_depth + segment * depth_stride) else {
                    continue;
                };
                let numbers = &rows.data[start + segment * rows.segment_stride + skipped..][..to - from];
                if is_even {
                    round_run(numbers, &mut line[from / 2..]);
                } else {
                    for (at, &number) in (from..).zip(numbers) {
                        line[at / 2] |= u32::from(round(number)) << (16 * (at % 2));
                    }
                }
            }
        }
    }

    /// Writes rows of A to a panel, if its columns are contiguous: all rows of a pair, then those of the
    /// next.
    #[inline(always)]
    fn round_columns(&self, columns: &Rows<'_, f32>, row: usize, height: usize, panel: &mut [u32]) {
        let mut pairs = panel.chunks_exact_mut(PANEL);
        let (mut waiting, mut waits) = (Sixteen::splat(0.0), false);
        for_each_row(
            columns,
            None,
            (self.first, self.last),
            row..row + height,
            #[inline(always)]
            |numbers| {
                let next = if height == PANEL { Sixteen::load(numbers) } else { load(numbers) };
                if waits && let Some(to) = pairs.next() {
                    Pairs::of_rows(waiting, next).store(to);
                }
                (waiting, waits) = (next, !waits);
            },
        );
        if waits && let Some(to) = pairs.next() {
            Pairs::of_rows(waiting, Sixteen::splat(0.0)).store(to);
        }
    }
}

/// A tile of C, and the position of its rows in the panel.
struct Tile {
    at: usize,
    row: usize,
    half: usize,
    column: usize,
    width: usize,
}

/// Rounds contiguous numbers, padded with zeros to a whole vector.
#[inline(always)]
fn round_run(numbers: &[f32], to: &mut [u32]) {
    let (whole, rest) = numbers.as_chunks::<32>();
    let (to_whole, to_rest) = to.split_at_mut(16 * whole.len());
    for (numbers, to) in whole.iter().zip(to_whole.as_chunks_mut::<16>().0) {
        Pairs::of_neighbours(Sixteen::load(numbers), Sixteen::load(&numbers[16..])).store(to);
    }
    if !rest.is_empty() {
        Pairs::of_neighbours(load(rest), load(&rest[rest.len().min(16)..])).store(to_rest);
    }
}

/// The innermost loop, if A's rows are contiguous. It takes and returns the tile, so that the compiler keeps
/// it in registers.
#[inline(always)]
fn add_rows<const R: usize, const V: usize>(
    mut tile: [[Sixteen; V]; R],
    rows: &[&[u32]; R],
    block: &[[Pairs; 2]],
) -> [[Sixteen; V]; R] {
    for r in 0..R {
        assert!(rows[r].len() == block.len()); // so that `l` need not be compared with each length in the loop
    }
    for l in 0..block.len() {
        let b = &block[l];
        for r in 0..R {
            let a = Pairs::splat(rows[r][l]);
            for v in 0..V {
                tile[r][v] = a.add_products(b[v], tile[r][v]);
            }
        }
    }
    tile
}

/// The innermost loop, if A's columns are contiguous.
#[inline(always)]
fn add_columns<const R: usize, const V: usize>(
    mut tile: [[Sixteen; V]; R],
    columns: &[u32],
    block: &[[Pairs; 2]],
) -> [[Sixteen; V]; R] {
    for (l, b) in block.iter().enumerate() {
        let column: &[u32; R] = columns[l * PANEL..].first_chunk().expect("a tile's rows of A");
        for r in 0..R {
            let a = Pairs::splat(column[r]);
            for v in 0..V {
                tile[r][v] = a.add_products(b[v], tile[r][v]);
            }
        }
    }
    tile
}

#[cfg(test)]
mod tests;

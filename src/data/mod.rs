//! Images from files into batches.
//!
//! [`load`] takes a path and finds out by its content what it is: IDX (MNIST's format), .npy, .npz, or a folder of PNG files. What
//! comes back is a [`Dataset`]: bytes in N·H·W·C order, what their values stand for, labels where there are any, test images
//! where the data bring some. A [`Split`] holds out validation images, [`epoch_order`] shuffles the others anew every epoch, and [`Filler`]
//! scales (and, if asked to, binarizes) the images of a batch into a buffer.
//!
//! Files may come from strangers. Whatever they say is checked before memory is made for it; the rules are in `source.rs`, and
//! tests/fuzz_parsers.rs holds every parser to them.
//!
//! Read in this order: `images`, `source`, `array`, then the formats `idx`, `npy`, `npz`, `png` and `png_folder`, `convert` and `resize`,
//! and `dataset` and `batches`, which the rest of the program uses.

mod array;
mod batches;
mod convert;
mod dataset;
mod idx;
mod images;
mod labels;
mod npy;
mod npz;
mod png;
mod png_folder;
mod resize;
mod source;

pub use batches::{Binarize, Filler, Split, epoch_order};
pub use dataset::{Dataset, find_bundled, load, parse};
pub(crate) use images::Fingerprint;
pub use images::{Image, Images, Pixels, Range, Span};
pub use labels::Labels;
pub use npy::{Matrix, matrix_from_bytes, read_matrix, write_npy_f32, write_npy_u8};
pub use png::write_png;

/// What pictures are turned into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Color {
    /// One channel, Rec. 601 luma.
    Grey,
    /// Three channels.
    Rgb,
}

/// The order of an array's axes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// Images, rows, columns.
    Nhw,
    /// Images, rows, columns, channels.
    Nhwc,
    /// Images, channels, rows, columns.
    Nchw,
}

/// Which images are wanted. Others are not even read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Training images only.
    Train,
    /// Test images only: [`Dataset::train`] is then empty. Data without test images are read whole, as training images.
    Test,
    /// All.
    Both,
}

/// How data are to be read: the options of the command line that concern it.
#[derive(Clone, Debug, PartialEq)]
pub struct LoadOptions {
    /// Height and width to resize to.
    pub size: Option<(usize, usize)>,
    /// Convert to grey or to RGB.
    pub color: Option<Color>,
    /// What transparent pixels are laid over: red, green, blue.
    pub background: [u8; 3],
    /// The order of an array's axes, where its shape does not tell.
    pub layout: Option<Layout>,
    /// The values that stand for black and white.
    pub range: Option<(f32, f32)>,
    /// Bytes that images may take in memory.
    pub max_memory: u64,
    /// Go on without files that cannot be read.
    pub skip_bad: bool,
    /// Which images are wanted.
    pub part: Part,
}

impl Default for LoadOptions {
    fn default() -> Self {
        Self {
            size: None,
            color: None,
            background: [255; 3],
            layout: None,
            range: None,
            max_memory: 8 << 30,
            skip_bad: false,
            part: Part::Both,
        }
    }
}

#[cfg(test)]
mod tests;

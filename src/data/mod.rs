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
//! Read in this order: `images`, `source`, `array`, then the formats `idx`, `npy`, `npz`, `png`, `pictures` and `png_folder`, `convert` and `resize`,
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
mod options;
mod pictures;
mod png;
mod png_folder;
mod resize;
pub(crate) mod source;

pub use batches::{Binarize, Filler, Split, epoch_order};
pub use dataset::{Dataset, find_bundled, load, parse};
pub(crate) use images::Fingerprint;
pub use images::{Image, Images, Pixels, Range, Span};
pub use labels::Labels;
pub use npy::{Matrix, matrix_from_bytes, read_matrix, write_npy_f32, write_npy_u8};
pub use options::{Color, Layout, LoadOptions, Part};
pub use png::write_png;

#[cfg(test)]
mod tests;

//! Images from files into batches.
//!
//! The data flow in one direction:
//!
//! ```text
//! find      the files at a path, recognized by content         find, walk, zip, entry, stream
//! open      a source: how many images, shape, labels, parts   open, array_source, array_files, npz, picture_source
//! convert   colours, size, range, orientation                 convert, resize, range, orientation
//! hold      all images in memory, or in a cache file           hold, hold_arrays, hold_pictures, budget, cache, pixels
//! batch     split, order of an epoch, scaling, augmentation   dataset, batches, augment
//! ```
//!
//! [`load`] takes a path and gives a [`Dataset`]: bytes or floats in N·H·W·C order, the range of their
//! values, labels if there are any, and the validation and test images of the data. A [`Split`] holds out
//! validation images, [`epoch_order`] shuffles the others in every epoch, and [`Filler`] scales (and
//! optionally binarizes) the images of a batch into a buffer.
//!
//! A format is one file and one line in `formats`: a `PictureFormat` for one image in a file (`png`, `jpeg`,
//! `webp`), an `ArrayFormat` for many (`idx`, `npy`). No other code depends on the format.
//!
//! Files are not trusted: every size in them is checked before memory is allocated for it;
//! tests/fuzz_parsers.rs tests this for every parser.

mod array;
mod array_files;
mod array_group;
mod array_source;
mod array_values;
mod augment;
mod batches;
mod budget;
mod cache;
mod convert;
mod dataset;
mod entry;
mod find;
mod fingerprint;
mod format;
mod formats;
mod header;
mod held;
mod hold;
mod hold_arrays;
mod hold_pictures;
mod idx;
mod image;
mod images;
mod jpeg;
mod label_file;
mod labels;
mod layout;
mod npy;
mod npz;
mod open;
mod options;
mod orientation;
mod parts;
mod picture_source;
mod pixel_file;
mod pixels;
mod png;
mod range;
mod resize;
mod stream;
mod walk;
mod webp;
mod zip;

pub use augment::Augment;
pub use batches::{Filler, Split, epoch_order};
pub(crate) use budget::excess;
pub(crate) use cache::default_folder as cache_folder;
#[doc(hidden)]
pub use cache::is_cache;
pub use dataset::{Dataset, load, load_if, parse};
pub use find::find_bundled;
pub(crate) use fingerprint::Fingerprint;
pub use held::Outline;
pub use image::Image;
pub use images::{Images, Range, Span};
pub use label_file::SomeLabels;
pub use labels::Labels;
pub use npy::{Matrix, matrix_from_bytes, read_matrix, write_npy_f32, write_npy_u8};
pub use options::{Binarize, Color, Fit, Layout, LoadOptions, Part};
pub use pixel_file::PixelFile;
pub use pixels::Pixels;
pub use png::write_png;

#[cfg(test)]
mod tests;

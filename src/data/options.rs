//! Options for reading data, and their syntax on the command line and in a config file.

use super::images::Range;
use crate::text::names::named;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// The colours that pictures are converted to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Color {
    /// One channel, Rec. 601 luma.
    Grey,
    /// Three channels.
    Rgb,
}

/// The order of an array's axes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Layout {
    /// Images, rows, columns.
    Nhw,
    /// Images, rows, columns, channels.
    Nhwc,
    /// Images, channels, rows, columns.
    Nchw,
}

/// Grey values turned into 0 or 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Binarize {
    /// 1 if x > ½, else 0.
    Threshold,
    /// 1 with probability x, drawn once for good.
    Static,
    /// 1 with probability x, drawn again every epoch.
    Dynamic,
}

/// How a picture of another aspect ratio is fitted to the requested size.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Fit {
    /// The largest centred part with the target's aspect ratio; the rest is cut off.
    #[default]
    Crop,
    /// The whole picture, centred; the rest has the background's colour.
    Pad,
    /// The whole picture, distorted.
    Stretch,
}

/// Which images are requested. Others are not even read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Part {
    /// Training images only.
    Train,
    /// Test images only: [`Dataset::train`](super::Dataset::train) is then empty. Data without test images
    /// are read whole, as training images. If no range is given, it is determined from the test images alone;
    /// so pass the training data's range.
    Test,
    /// All.
    Both,
}

/// Options for reading data.
#[derive(Clone, Debug, PartialEq)]
pub struct LoadOptions {
    /// Height and width to resize to.
    pub size: Option<(usize, usize)>,
    /// Convert to grey or to RGB.
    pub color: Option<Color>,
    /// How pictures of another aspect ratio are fitted to that size.
    pub fit: Fit,
    /// The colour behind transparent pixels and in the borders of [`Fit::Pad`]: red, green, blue.
    pub background: [u8; 3],
    /// The order of an array's axes, if its shape does not determine it.
    pub layout: Option<Layout>,
    /// The values that stand for black and white.
    pub range: Option<(f32, f32)>,
    /// The range of the images that a model was trained with. Other images use it too if their values are
    /// within it, unless `range` is given.
    pub trained_range: Option<Range>,
    /// The name of the array with the images, in an archive of several.
    pub array: Option<String>,
    /// Bytes that images may take in memory.
    pub max_memory: u64,
    /// The cache folder for pixels that are more than half of `max_memory`: they are converted once into a
    /// file there, and read from it. Without a folder they are held in memory, or refused.
    pub cache: Option<PathBuf>,
    /// Continue without files that cannot be read.
    pub skip_bad: bool,
    /// Which images are requested.
    pub part: Part,
}

impl Default for LoadOptions {
    fn default() -> Self {
        Self {
            size: None,
            color: None,
            fit: Fit::Crop,
            background: [255; 3],
            layout: None,
            range: None,
            trained_range: None,
            array: None,
            max_memory: 8 << 30,
            cache: None,
            skip_bad: false,
            part: Part::Both,
        }
    }
}

impl Color {
    /// Numbers per pixel.
    pub fn channels(self) -> usize {
        match self {
            Self::Grey => 1,
            Self::Rgb => 3,
        }
    }
}

named!(Color, "colour", Grey => "grey", Rgb => "rgb");
named!(Fit, "fit", Crop => "crop", Pad => "pad", Stretch => "stretch");
named!(Layout, "layout", Nhw => "nhw", Nhwc => "nhwc", Nchw => "nchw");
named!(Binarize, "binarize", Threshold => "threshold", Static => "static", Dynamic => "dynamic");

//! Determines which axes of an array are images, rows, columns and channels, and the position of its elements
//! in the result.

use super::budget::LONGEST_SIDE;
use super::header::{Header, show};
use super::options::Layout;
use crate::tensor::ImageShape;
use crate::{Error, Result};
use std::path::Path;

impl Header {
    /// Interprets the array as images: in the requested layout, or else in that of the shape. `size` is the
    /// size of the images if every row of a matrix is one.
    ///
    /// # Errors
    /// If the shape is not that of images, or fits two layouts.
    pub(crate) fn view(
        &self,
        asked: Option<Layout>,
        size: Option<(usize, usize)>,
        path: &Path,
    ) -> Result<View> {
        let rows = if let [count, length] = self.shape[..] { rows(count, length, asked, size) } else { None };
        let in_rows = rows.is_some();
        let (layout, shape) = match rows {
            Some(rows) => rows,
            None => (layout(&self.shape, asked, path)?, self.shape.clone()),
        };
        if self.elements(path)? == 0 {
            return Err(Error::data(path, format!("its shape {} holds no pixels", show(&self.shape))));
        }
        let sizes: Vec<usize> = shape.iter().map(|&n| n as usize).collect();
        let image = match layout {
            Layout::Nhw => ImageShape::new(sizes[1], sizes[2], 1),
            Layout::Nhwc => ImageShape::new(sizes[1], sizes[2], sizes[3]),
            Layout::Nchw => ImageShape::new(sizes[2], sizes[3], sizes[1]),
        };
        if image.height.max(image.width) > LONGEST_SIDE {
            let message = format!(
                "its images are {}×{}; {LONGEST_SIDE} in each direction are the most",
                image.height, image.width
            );
            return Err(Error::data(path, message));
        }
        if self.fortran && in_rows {
            let message = "its rows are images, and it is stored column by column; \
                           store it row by row (in NumPy: numpy.ascontiguousarray)";
            return Err(Error::data(path, message));
        }
        Ok(View { count: sizes[0], image, axes: Axes::new(&shape, layout, self.fortran) })
    }
}

/// An array as images.
#[derive(Debug)]
pub(crate) struct View {
    pub(crate) count: usize,
    pub(crate) image: ImageShape,
    pub(crate) axes: Axes,
}

/// The axes of a file, slowest first: (length, stride in the N·H·W·C result).
#[derive(Clone, Debug)]
pub(crate) struct Axes(pub(crate) Vec<(usize, usize)>);

impl Axes {
    /// The axes of a shape in a layout that fits it.
    pub(crate) fn new(shape: &[u64], layout: Layout, fortran: bool) -> Self {
        let sizes: Vec<usize> = shape.iter().map(|&n| n as usize).collect();
        let image: usize = sizes[1..].iter().product();
        let strides = match layout {
            Layout::Nhw => [image, sizes[2], 1, 0],
            Layout::Nhwc => [image, sizes[2] * sizes[3], sizes[3], 1],
            Layout::Nchw => [image, 1, sizes[3] * sizes[1], sizes[1]],
        };
        let mut axes: Vec<(usize, usize)> = sizes.into_iter().zip(strides).collect();
        if fortran {
            axes.reverse();
        }
        Self(axes)
    }

    /// The numbers per image.
    pub(crate) fn image(&self) -> usize {
        let of_images = self.0.iter().max_by_key(|axis| axis.1);
        of_images.map_or(1, |axis| axis.1.max(1))
    }
}

/// A matrix as images, one in each row: layout and shape, if `size` fits the length of the rows.
fn rows(
    count: u64,
    length: u64,
    asked: Option<Layout>,
    size: Option<(usize, usize)>,
) -> Option<(Layout, Vec<u64>)> {
    let (height, width) = size?;
    let square = (length as f64).sqrt() as u64;
    // Either of that size already, or square and still to be resized.
    let (height, width) = match (height as u64, width as u64) {
        (height, width) if length > 0 && length.is_multiple_of(height * width) => (height, width),
        _ if square * square == length => (square, square),
        _ => return None,
    };
    let channels = length / (height * width);
    match (channels, asked) {
        (1, None | Some(Layout::Nhw)) => Some((Layout::Nhw, vec![count, height, width])),
        (_, Some(Layout::Nhwc)) => Some((Layout::Nhwc, vec![count, height, width, channels])),
        (_, Some(Layout::Nchw)) => Some((Layout::Nchw, vec![count, channels, height, width])),
        _ => None,
    }
}

/// Whether this is a usual number of channels.
fn like_channels(n: u64) -> bool {
    matches!(n, 1 | 3 | 4)
}

/// The layout of a shape: the only one that fits, or the one requested by the user.
fn layout(shape: &[u64], asked: Option<Layout>, path: &Path) -> Result<Layout> {
    let shown = show(shape);
    let first_like = shape.get(1).is_some_and(|&n| like_channels(n));
    let last_like = shape.get(3).is_some_and(|&n| like_channels(n));
    match (shape.len(), asked) {
        // As many images as rows, but not as many columns: hardly ever N×H×W.
        (3, None) if shape[0] == shape[1] && shape[2] != shape[1] && shape[1] >= SMALLEST => {
            let (what, mend) = if like_channels(shape[2]) {
                ("one image of rows×columns×channels", "array[None] makes it a list of one")
            } else {
                ("rows×columns×images", "numpy.moveaxis(array, -1, 0) puts the images first")
            };
            Err(Error::data(
                path,
                format!(
                    "its shape {shown} looks like {what}, and images are {SHAPES}: in NumPy, {mend}; --layout nhw takes it as {} images \
                     of {}×{}",
                    shape[0], shape[1], shape[2]
                ),
            ))
        }
        (3, None | Some(Layout::Nhw)) => Ok(Layout::Nhw),
        (3, Some(asked)) => Err(Error::data(
            path,
            format!(
                "its shape {shown} has no axis of channels, and --layout {} asks for one; nhw fits",
                asked
            ),
        )),
        (4, Some(Layout::Nhw)) => Err(Error::data(
            path,
            format!("its shape {shown} has four axes, and --layout nhw has three; nhwc or nchw can fit"),
        )),
        (4, Some(Layout::Nchw)) if last_like && !first_like => Err(Error::data(
            path,
            format!(
                "its shape {shown} has its {} channels last, and --layout nchw wants them second; nhwc fits",
                shape[3]
            ),
        )),
        (4, Some(Layout::Nhwc)) if first_like && !last_like => Err(Error::data(
            path,
            format!(
                "its shape {shown} has its {} channels second, and --layout nhwc wants them last; nchw fits",
                shape[1]
            ),
        )),
        (4, Some(asked)) => Ok(asked),
        (4, None) => match (first_like, last_like) {
            (false, true) => Ok(Layout::Nhwc),
            (true, false) => Ok(Layout::Nchw),
            (true, true) => Err(Error::data(
                path,
                format!(
                    "its shape {shown} could have its channels second or last; say --layout nchw or --layout nhwc"
                ),
            )),
            (false, false) if like_channels(shape[2]) && shape[0] == shape[1] => Err(Error::data(
                path,
                format!(
                    "its shape {shown} looks like rows×columns×channels×images, and images are {SHAPES}: in NumPy, \
                     numpy.moveaxis(array, -1, 0) puts the images first"
                ),
            )),
            (false, false) => Err(Error::data(
                path,
                format!(
                    "neither the second nor the last number of its shape {shown} is a usual number of channels (1, 3, 4); \
                     say --layout nchw or --layout nhwc"
                ),
            )),
        },
        (2, _) => {
            Err(Error::data(path, format!("its shape {shown} is not that of images{}", advice(shape[1]))))
        }
        (1, _) => Err(Error::data(
            path,
            format!(
                "its shape {shown} is not that of images, which is {SHAPES}: one axis is what labels have"
            ),
        )),
        _ => Err(Error::data(path, format!("its shape {shown} is not that of images, which is {SHAPES}"))),
    }
}

/// The shapes that are images by themselves.
const SHAPES: &str = "N×H×W, N×H×W×C or N×C×H×W";
/// The fewest rows of an image that a model accepts.
const SMALLEST: u64 = 8;

/// Advice for a matrix whose rows have so many numbers.
fn advice(length: u64) -> String {
    let side = |n: u64| Some((n as f64).sqrt() as u64).filter(|s| s * s == n && n > 1);
    let rgb = (length.is_multiple_of(3)).then(|| side(length / 3)).flatten();
    match (side(length), rgb) {
        (Some(side), _) => {
            format!(", which is {SHAPES}; --size {side} takes each row as {side}×{side} pixels")
        }
        (None, Some(side)) => format!(
            ", which is {SHAPES}; --size {side} takes each row as {side}×{side} pixels of three numbers, with --layout nchw \
             (all reds first, as CIFAR has them) or --layout nhwc"
        ),
        _ => match side(length.saturating_sub(1)) {
            Some(side) => format!(
                ", which is {SHAPES}: a row of {length} is one number more than {side}×{side} pixels have, which may be a label; if it comes \
                 first, numpy.savez('images.npz', images=array[:, 1:], labels=array[:, 0]) takes it off, and --size {side} reads the result"
            ),
            _ => format!(", which is {SHAPES}"),
        },
    }
}

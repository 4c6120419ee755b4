//! The shape of an image, and of everything that flows between layers.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Rows, columns and channels: H×W×C, in memory order (channels last).
///
/// A vector of n numbers is an image of one pixel, 1×1×n.
///
/// ```
/// use elbo::tensor::ImageShape;
/// let shape = ImageShape::new(28, 28, 1);
/// assert_eq!(shape.len(), 784);
/// assert_eq!(shape.to_string(), "28×28×1");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ImageShape {
    /// H, the rows.
    pub height: usize,
    /// W, the columns.
    pub width: usize,
    /// C, the channels: 1 for grey, 3 for RGB.
    pub channels: usize,
}

impl ImageShape {
    /// An image of `height` rows and `width` columns.
    pub const fn new(height: usize, width: usize, channels: usize) -> Self {
        Self { height, width, channels }
    }

    /// A vector of `len` numbers: one pixel with that many channels.
    pub const fn vector(len: usize) -> Self {
        Self::new(1, 1, len)
    }

    /// H·W, the pixels.
    pub const fn pixels(&self) -> usize {
        self.height * self.width
    }

    /// H·W·C, the numbers of one image.
    #[expect(
        clippy::len_without_is_empty,
        reason = "an image without numbers is refused before it has a shape"
    )]
    pub const fn len(&self) -> usize {
        self.pixels() * self.channels
    }
}

impl fmt::Display for ImageShape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}×{}×{}", self.height, self.width, self.channels)
    }
}

impl From<(usize, usize, usize)> for ImageShape {
    fn from((height, width, channels): (usize, usize, usize)) -> Self {
        Self { height, width, channels }
    }
}

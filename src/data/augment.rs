//! Augmentation: training images are randomly flipped or shifted, differently in every epoch.
//!
//! An image's augmentation is a function of (seed, epoch, image), as everything about a batch is: it does not
//! depend on the batch, the threads, or whether the run was resumed. It is applied to the batch in place,
//! after scaling and binarization.

use crate::random::{Stream, stream};
use crate::tensor::{Element, ImageShape};
use crate::{Error, Result};
use rand::Rng;
use std::fmt;
use std::str::FromStr;

/// The augmentations of training images.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Augment {
    /// Half of the images are flipped horizontally.
    pub flip: bool,
    /// Images are shifted up or down and left or right by up to a sixteenth of their height and width (at
    /// least a pixel); the edge pixels are repeated.
    pub shift: bool,
}

impl Augment {
    /// No augmentation.
    pub const NONE: Self = Self { flip: false, shift: false };

    /// Augments the images of a batch, which have the indices `indices` in the data set.
    pub(crate) fn apply<T: Element>(
        self,
        shape: ImageShape,
        seed: u64,
        epoch: u64,
        indices: &[usize],
        batch: &mut [T],
    ) {
        for (&index, image) in indices.iter().zip(batch.chunks_exact_mut(shape.len())) {
            let mut rng = stream(seed, Stream::Augment, (epoch << 32).wrapping_add(index as u64));
            // Always three draws, so that flips do not depend on whether there are shifts.
            let draws: [u64; 3] = std::array::from_fn(|_| rng.next_u64());
            if self.flip && draws[0] >> 63 == 1 {
                flip(image, shape);
            }
            if self.shift {
                shift(image, shape, offset(draws[1], shape.height), offset(draws[2], shape.width));
            }
        }
    }
}

/// An offset from −n to n for n = ⌈side/16⌉, all equally likely.
fn offset(draw: u64, side: usize) -> isize {
    let most = side.div_ceil(16);
    let chosen = (u128::from(draw) * (2 * most as u128 + 1)) >> 64;
    chosen as isize - most as isize
}

/// Mirrors an image.
fn flip<T: Element>(image: &mut [T], shape: ImageShape) {
    let (width, channels) = (shape.width, shape.channels);
    for row in image.chunks_exact_mut(width * channels) {
        for x in 0..width / 2 {
            for c in 0..channels {
                row.swap(x * channels + c, (width - 1 - x) * channels + c);
            }
        }
    }
}

/// Shifts an image down and to the right by so many pixels: out(y, x) = in(y − down, x − right), with the
/// edges repeated.
fn shift<T: Element>(image: &mut [T], shape: ImageShape, down: isize, right: isize) {
    let (height, width, channels) = (shape.height, shape.width, shape.channels);
    let stride = width * channels;
    let from = |to: usize, by: isize, side: usize| (to as isize - by).clamp(0, side as isize - 1) as usize;
    // Rows and pixels are visited against the direction of the shift, so that they are read before they are
    // overwritten.
    let ordered = |i: usize, by: isize, side: usize| if by > 0 { side - 1 - i } else { i };
    if down != 0 {
        for i in 0..height {
            let to = ordered(i, down, height);
            let from = from(to, down, height);
            image.copy_within(from * stride..(from + 1) * stride, to * stride);
        }
    }
    if right != 0 {
        for row in image.chunks_exact_mut(stride) {
            for i in 0..width {
                let to = ordered(i, right, width);
                let from = from(to, right, width);
                row.copy_within(from * channels..(from + 1) * channels, to * channels);
            }
        }
    }
}

/// `flip`, `shift`, or `flip,shift`.
impl FromStr for Augment {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        text.split(',').try_fold(Self::NONE, |augment, name| match name.trim() {
            "flip" => Ok(Self { flip: true, ..augment }),
            "shift" => Ok(Self { shift: true, ..augment }),
            name => {
                let name = crate::text::printable(name);
                Err(Error::config(format!(
                    "invalid augmentation `{name}`; accepted are flip, shift and flip,shift"
                )))
            }
        })
    }
}

impl fmt::Display for Augment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match (self.flip, self.shift) {
            (false, false) => "none",
            (true, false) => "flip",
            (false, true) => "shift",
            (true, true) => "flip,shift",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_are_mirrored() {
        let mut image: [f32; 12] = std::array::from_fn(|i| i as f32);
        flip(&mut image, ImageShape::new(2, 3, 2));
        assert_eq!(image, [4.0, 5.0, 2.0, 3.0, 0.0, 1.0, 10.0, 11.0, 8.0, 9.0, 6.0, 7.0]);
    }

    #[test]
    fn images_are_moved_with_their_edges_repeated() {
        let shape = ImageShape::new(3, 4, 2);
        let original: [f32; 24] = std::array::from_fn(|i| i as f32);
        for (down, right) in [(0, 0), (1, 0), (-1, 0), (0, 1), (0, -2), (2, -3), (-9, 9)] {
            let mut image = original;
            shift(&mut image, shape, down, right);
            for (y, x, c) in (0..3).flat_map(|y| (0..4).flat_map(move |x| (0..2).map(move |c| (y, x, c)))) {
                let (from_y, from_x) = ((y - down).clamp(0, 2), (x - right).clamp(0, 3));
                let expected = original[((from_y * 4 + from_x) * 2 + c) as usize];
                assert_eq!(image[((y * 4 + x) * 2 + c) as usize], expected, "{down} {right} at {y} {x} {c}");
            }
        }
    }

    #[test]
    fn an_image_is_the_same_in_any_batch_and_another_in_another_epoch() {
        let shape = ImageShape::new(20, 20, 1);
        let augment = Augment { flip: true, shift: true };
        let image = |index: usize| (0..400).map(move |i| ((i * 7 + index) % 97) as f32);
        let fill = |indices: &[usize], epoch| {
            let mut batch: Vec<f32> = indices.iter().flat_map(|&index| image(index)).collect();
            augment.apply(shape, 3, epoch, indices, &mut batch);
            batch
        };
        let all = fill(&[0, 1, 2, 3, 4, 5, 6, 7], 0);
        assert_eq!(fill(&[5], 0), all[5 * 400..6 * 400]);
        assert_ne!(fill(&[0, 1, 2, 3, 4, 5, 6, 7], 1), all);
        let flips = (0..1000).filter(|&index| {
            let mut batch: Vec<f32> = image(0).collect();
            Augment { flip: true, shift: false }.apply(shape, 3, 0, &[index], &mut batch);
            !batch.iter().copied().eq(image(0))
        });
        assert!((450..550).contains(&flips.count()));
        let mut seen = [0; 5];
        (0..1000u64)
            .for_each(|i| seen[(offset(i.wrapping_mul(0x9e37_79b9_7f4a_7c15), 20) + 2) as usize] += 1);
        assert!(seen.iter().all(|&n| (150..250).contains(&n)), "{seen:?}");
    }

    #[test]
    fn names() {
        for text in ["flip", "shift", "flip,shift"] {
            assert_eq!(text.parse::<Augment>().unwrap().to_string(), text);
        }
        let message = "blur".parse::<Augment>().unwrap_err().to_string();
        assert_eq!(message, "invalid augmentation `blur`; accepted are flip, shift and flip,shift");
    }
}

//! Steps of whole networks, each subject in a file beside this one.

mod precision;
mod schedules;
mod sizes;
mod tied;

use super::{Config, TrainOptions, Trainer};
use crate::data::{Dataset, Images};

/// Some byte images with something to learn: a bright rectangle on a dark ground, somewhere, with a colour.
pub(crate) fn pictures(count: usize, (height, width, channels): (usize, usize, usize)) -> Dataset {
    let mut pixels = Vec::with_capacity(count * height * width * channels);
    for image in 0..count {
        let (top, left) = (image * 5 % (height / 2), image * 3 % (width / 2));
        for (y, x) in (0..height).flat_map(|y| (0..width).map(move |x| (y, x))) {
            let inside = (top..top + height / 2).contains(&y) && (left..left + width / 2).contains(&x);
            pixels.extend(
                (0..channels).map(|c| if inside { 255 - (60 * ((image + c) % 3)) as u8 } else { 20 }),
            );
        }
    }
    Dataset::from_images(Images::from_bytes(pixels, count, height, width, channels), None).unwrap()
}

/// A trainer with the options of a config file's text.
fn trainer(options: &str, data: Dataset) -> Trainer {
    let options = TrainOptions::parse(&format!("data = \"pictures\"\n{options}"), "test".as_ref()).unwrap();
    Trainer::new(Config::new(&options).unwrap(), data).unwrap()
}

/// Whether two slices are the same to the bit.
fn same_bits(a: &[f32], b: &[f32]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.to_bits() == b.to_bits())
}

//! Converts an image according to the options: its colours, its size, its range. All sources use this one
//! place.
//!
//! Grey is Rec. 601 luma, Y = 0.299 R + 0.587 G + 0.114 B, on the values as they are (as PNG viewers and
//! Pillow do). A pixel of opacity α over a background b is α·v + (1 − α)·b. Sizes are handled by
//! [`resize`](super::resize).

use super::images::Range;
use super::options::LoadOptions;
use super::resize::{Plan, Sample};
use crate::tensor::ImageShape;

/// Rec. 601 luma.
fn luma(red: f32, green: f32, blue: f32) -> f32 {
    0.299 * red + 0.587 * green + 0.114 * blue
}

/// Copies pixels of `from_channels` (1 grey, 2 grey and alpha, 3 RGB, 4 RGB and alpha) as pixels of
/// `to_channels` (1 or 3). Alpha is composited over the background's colours; `alpha` is the range from
/// transparent to opaque.
pub(crate) fn convert_pixels<V: Sample>(
    from: &[V],
    from_channels: usize,
    to: &mut [V],
    to_channels: usize,
    background: [f32; 3],
    alpha: Range,
) {
    let Range { low, high } = alpha;
    let grey_background = luma(background[0], background[1], background[2]);
    let over = |v: V, alpha: V, background: f32| {
        let opacity = (alpha.to_f32() - low) / (high - low);
        background + opacity * (v.to_f32() - background)
    };
    let pixels = from.chunks_exact(from_channels).zip(to.chunks_exact_mut(to_channels));
    match (from_channels, to_channels) {
        (1, 1) | (3, 3) => to.copy_from_slice(from),
        (1, _) => pixels.for_each(|(p, out)| out.fill(p[0])),
        (2, 1) => pixels.for_each(|(p, out)| out[0] = V::from_f32(over(p[0], p[1], grey_background))),
        (2, _) => pixels.for_each(|(p, out)| {
            (0..3).for_each(|c| out[c] = V::from_f32(over(p[0], p[1], background[c])));
        }),
        (3, _) => pixels.for_each(|(p, out)| {
            out[0] = V::from_f32(luma(p[0].to_f32(), p[1].to_f32(), p[2].to_f32()));
        }),
        (_, 1) => pixels.for_each(|(p, out)| {
            let [red, green, blue] = [0, 1, 2].map(|c| over(p[c], p[3], background[c]));
            out[0] = V::from_f32(luma(red, green, blue));
        }),
        _ => pixels.for_each(|(p, out)| {
            (0..3).for_each(|c| out[c] = V::from_f32(over(p[c], p[3], background[c])));
        }),
    }
}

/// The conversion of images that have the same type of values.
pub(crate) struct Converter {
    /// The shape of all converted images.
    shape: ImageShape,
    /// The background's red, green and blue, as values of the images.
    background: [f32; 3],
    /// The values of transparent and opaque.
    alpha: Range,
    /// The values of black and white; results that rounding moved outside are clamped.
    limits: Option<Range>,
    options: LoadOptions,
}

impl Converter {
    /// `values` are those of black and white; `alpha` those of transparent and opaque.
    pub(crate) fn new(shape: ImageShape, values: Range, alpha: Range, options: &LoadOptions) -> Self {
        let Range { low, high } = values;
        let background = options.background.map(|b| low + f32::from(b) / 255.0 * (high - low));
        Self { shape, background, alpha, limits: None, options: options.clone() }
    }

    /// Clamps results to black and white.
    pub(crate) fn within(self, limits: Range) -> Self {
        Self { limits: Some(limits), ..self }
    }

    /// Converts one image of the shape `from` into `to`, which has the converter's shape. `scratch` is reused
    /// for the next image.
    pub(crate) fn run<V: Sample>(
        &self,
        image: &[V],
        from: ImageShape,
        to: &mut [V],
        scratch: &mut Scratch<V>,
    ) -> Result<(), String> {
        let channels = self.shape.channels;
        let (from_size, to_size) = ((from.height, from.width), (self.shape.height, self.shape.width));
        let recolor = |out: &mut [V]| {
            convert_pixels(image, from.channels, out, channels, self.background, self.alpha);
        };
        if from_size == to_size {
            if from.channels == channels {
                to.copy_from_slice(image);
            } else {
                recolor(to);
            }
            return Ok(());
        }
        let colored = if from.channels == channels {
            image
        } else {
            super::format::resize(&mut scratch.colored, from.pixels() * channels)?;
            recolor(&mut scratch.colored);
            &scratch.colored
        };
        if !scratch.plan.as_ref().is_some_and(|plan| plan.is_for(from_size, to_size)) {
            let plan = Plan::new(from_size, to_size, channels, self.options.fit);
            scratch.row = plan.scratch();
            scratch.plan = Some(plan);
        }
        let Some(plan) = &scratch.plan else { return Ok(()) };
        let [red, green, blue] = self.background;
        let background: Vec<V> = match channels {
            3 => [red, green, blue].map(V::from_f32).to_vec(),
            4 => [red, green, blue, self.alpha.high].map(V::from_f32).to_vec(),
            n => vec![V::from_f32(luma(red, green, blue)); n],
        };
        plan.run(colored, to, &background, &mut scratch.row);
        if let Some(Range { low, high }) = self.limits {
            to.iter_mut().for_each(|v| {
                if !(low..=high).contains(&v.to_f32()) {
                    *v = V::from_f32(v.to_f32().clamp(low, high));
                }
            });
        }
        Ok(())
    }
}

/// One thread's buffers for converting.
#[derive(Default)]
pub(crate) struct Scratch<V> {
    /// An image in its final colours.
    colored: Vec<V>,
    row: Vec<f32>,
    plan: Option<Plan>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn converted<const N: usize>(from: &[u8], from_channels: usize, background: [u8; 3]) -> [u8; N] {
        let mut out = [0; N];
        convert_pixels(from, from_channels, &mut out, N, background.map(f32::from), Range::BYTES);
        out
    }

    #[test]
    fn colours_by_hand() {
        assert_eq!(converted(&[7], 1, [0; 3]), [7, 7, 7]);
        assert_eq!(converted(&[255, 0, 0], 3, [0; 3]), [76]); // 0.299 · 255 = 76.2
        assert_eq!(converted(&[0, 255, 0], 3, [0; 3]), [150]);
        assert_eq!(converted(&[9, 9, 9], 3, [0; 3]), [9]);
        assert_eq!(converted(&[100, 0], 2, [255; 3]), [255]);
        assert_eq!(converted(&[100, 255], 2, [255; 3]), [100]);
        assert_eq!(converted(&[100, 51], 2, [0, 0, 200]), [20, 20, 180]);
        assert_eq!(converted(&[10, 20, 30, 255], 4, [255; 3]), [10, 20, 30]);
        assert_eq!(converted(&[10, 20, 30, 0], 4, [1, 2, 3]), [1, 2, 3]);
        assert_eq!(converted(&[255, 255, 255, 0], 4, [0, 255, 0]), [150]);
    }

    #[test]
    fn floats_have_their_background_in_their_own_range() {
        let mut out = [0.0f32; 3];
        let options = LoadOptions { background: [255, 0, 255], ..LoadOptions::default() };
        let range = Range::SYMMETRIC;
        let converter = Converter::new(ImageShape::new(1, 1, 3), range, range, &options);
        let transparent = [0.5, 0.5, 0.5, -1.0];
        converter.run(&transparent, ImageShape::new(1, 1, 4), &mut out, &mut Scratch::default()).unwrap();
        assert_eq!(out, [1.0, -1.0, 1.0]);
    }
}

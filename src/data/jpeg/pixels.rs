//! Converts blocks of coefficients to pixels: the inverse cosine transform, the upsampling of chroma, and
//! colours.
//!
//! All three are bit-identical to libjpeg-turbo's arithmetic: the transform of jidctint.c (Loeffler,
//! Ligtenberg and Moschytz 1989, 13 bits of fraction), the smooth upsampling of jdsample.c (3/4 of the nearer
//! sample, 1/4 of the other), the fixed-point colours of jdcolor.c.

use super::header::{Component, Frame, Tables};
use crate::data::format::{Canvas, PictureHeader, resize};
use std::num::Wrapping;

/// A number that a hostile file may cause to overflow.
type Int = Wrapping<i32>;

const fn int(value: i32) -> Int {
    Wrapping(value)
}

/// One dimension of the transform, without its scale: 8 coefficients into 8 samples, times 2¹³ · √8.
#[inline(always)]
fn transform8(input: [Int; 8]) -> [Int; 8] {
    let [in0, in1, in2, in3, in4, in5, in6, in7] = input;
    // The even part.
    let z1 = (in2 + in6) * int(4433);
    let t2 = z1 - in6 * int(15137);
    let t3 = z1 + in2 * int(6270);
    let (t0, t1) = ((in0 + in4) << 13, (in0 - in4) << 13);
    let (t10, t13, t11, t12) = (t0 + t3, t0 - t3, t1 + t2, t1 - t2);
    // The odd part.
    let z5 = (in7 + in3 + in5 + in1) * int(9633);
    let z1 = (in7 + in1) * int(-7373);
    let z2 = (in5 + in3) * int(-20995);
    let z3 = (in7 + in3) * int(-16069) + z5;
    let z4 = (in5 + in1) * int(-3196) + z5;
    let t0 = in7 * int(2446) + z1 + z3;
    let t1 = in5 * int(16819) + z2 + z4;
    let t2 = in3 * int(25172) + z2 + z3;
    let t3 = in1 * int(12299) + z1 + z4;
    [t10 + t3, t11 + t2, t12 + t1, t13 + t0, t13 - t0, t12 - t1, t11 - t2, t10 - t3]
}

/// Transforms a block into samples: 8 rows of 8, `stride` apart.
pub(super) fn transform(
    coefficients: &[i16; 64],
    quantization: &[u16; 64],
    samples: &mut [u8],
    stride: usize,
) {
    let mut values = [int(0); 64];
    for (value, (&c, &q)) in values.iter_mut().zip(coefficients.iter().zip(quantization)) {
        *value = int(i32::from(c)) * int(i32::from(q));
    }
    let round = |value: Int, bits: usize| (value + int(1 << (bits - 1))) >> bits;
    if coefficients[1..].iter().all(|&c| c == 0) {
        // A constant block: the same numbers as from the full transform.
        let sample = (round(values[0] << 2, 5).0.wrapping_add(128)).clamp(0, 255) as u8;
        samples.chunks_mut(stride).take(8).for_each(|row| row[..8].fill(sample));
        return;
    }
    for x in 0..8 {
        let column = transform8(std::array::from_fn(|y| values[8 * y + x]));
        (0..8).for_each(|y| values[8 * y + x] = round(column[y], 11));
    }
    for (row, out) in values.as_chunks::<8>().0.iter().zip(samples.chunks_mut(stride)) {
        for (out, value) in out.iter_mut().zip(transform8(*row)) {
            *out = (round(value, 18).0.wrapping_add(128)).clamp(0, 255) as u8;
        }
    }
}

/// The meaning of the components.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Colors {
    Grey,
    Rgb,
    /// Luma and chroma.
    Ycc,
    Cmyk,
    /// Luma and chroma of the complement, and black.
    Ycck,
}

/// Decides as libjpeg does: JFIF is Y, Cb, Cr; otherwise Adobe's marker decides, then the names of the
/// components.
fn colors(frame: &Frame, tables: &Tables) -> Colors {
    match (frame.components.len(), tables.adobe) {
        (1, _) => Colors::Grey,
        (3, _) if tables.jfif => Colors::Ycc,
        (3, Some(0)) => Colors::Rgb,
        (3, None) if frame.is_called_rgb() => Colors::Rgb,
        (3, _) => Colors::Ycc,
        (_, None | Some(0)) => Colors::Cmyk,
        _ => Colors::Ycck,
    }
}

/// Writes the pixels of a decoded frame: one byte of grey, or three of red, green and blue.
pub(super) fn write(
    mut frame: Frame,
    tables: &Tables,
    header: &PictureHeader,
    canvas: &mut Canvas,
) -> Result<(), String> {
    if frame.progressive {
        for component in &mut frame.components {
            let stride = 8 * component.columns;
            let (blocks, _) = component.coefficients.as_chunks::<64>();
            for (index, block) in blocks.iter().enumerate() {
                let (y, x) = (index / component.columns, index % component.columns);
                let samples = &mut component.samples[8 * (y * stride + x)..];
                transform(block, &component.quantization.0, samples, stride);
            }
            component.coefficients = Vec::new();
        }
    }
    let colors = colors(&frame, tables);
    let width = header.width;
    canvas.prepare(header, if colors == Colors::Grey { 1 } else { 3 })?;
    let mut rows = Vec::new();
    for component in &frame.components {
        let mut row = Vec::new();
        resize(&mut row, component.width * (frame.h / component.h) + 1)?;
        rows.push(row);
    }
    for (y, out) in canvas.samples.chunks_exact_mut(width * canvas.channels).enumerate() {
        for (component, row) in frame.components.iter().zip(&mut rows) {
            upsample(component, frame.h / component.h, frame.v / component.v, y, row);
        }
        let pixels = out.as_chunks_mut::<3>().0.iter_mut();
        match (colors, &rows[..]) {
            (Colors::Rgb, [r, g, b]) => {
                for (pixel, ((&r, &g), &b)) in pixels.zip(r.iter().zip(g).zip(b)) {
                    *pixel = [r, g, b];
                }
            }
            (Colors::Ycc, [y, cb, cr]) => {
                for (pixel, ((&y, &cb), &cr)) in pixels.zip(y.iter().zip(cb).zip(cr)) {
                    *pixel = rgb(y, cb, cr);
                }
            }
            // Adobe stores the complements of all four; red is cyan's complement, darkened by black.
            (Colors::Cmyk, [c, m, y, k]) => {
                for (pixel, (((&c, &m), &y), &k)) in pixels.zip(c.iter().zip(m).zip(y).zip(k)) {
                    *pixel = [c, m, y].map(|complement| inked(complement, k));
                }
            }
            (Colors::Ycck, [y, cb, cr, k]) => {
                for (pixel, (((&y, &cb), &cr), &k)) in pixels.zip(y.iter().zip(cb).zip(cr).zip(k)) {
                    *pixel = rgb(y, cb, cr).map(|ink| inked(255 - ink, k));
                }
            }
            (_, rows) => out.copy_from_slice(&rows[0][..width]),
        }
    }
    Ok(())
}

/// Converts Y, Cb and Cr to red, green and blue, with 16 bits of fraction.
#[inline]
fn rgb(y: u8, cb: u8, cr: u8) -> [u8; 3] {
    const HALF: i32 = 1 << 15;
    let (y, cb, cr) = (i32::from(y), i32::from(cb) - 128, i32::from(cr) - 128);
    let red = y + ((91_881 * cr + HALF) >> 16); // 1.402
    let green = y + ((-22_554 * cb - 46_802 * cr + HALF) >> 16); // 0.34414, 0.71414
    let blue = y + ((116_130 * cb + HALF) >> 16); // 1.772
    [red, green, blue].map(|v| v.clamp(0, 255) as u8)
}

/// A colour under black ink, both stored as complements, converted as Pillow does.
#[inline]
fn inked(complement: u8, black: u8) -> u8 {
    let product = u32::from(255 - complement) * u32::from(black) + 128;
    let covered = ((product >> 8) + product) >> 8;
    u32::from(black).saturating_sub(covered) as u8
}

/// One row of a component at the picture's size: `h` and `v` samples for one.
fn upsample(component: &Component, h: usize, v: usize, y: usize, out: &mut [u8]) {
    let stride = 8 * component.columns;
    let row = |y: usize| &component.samples[y * stride..][..component.width];
    let near = row(y / v);
    // The other row that contributes: the nearer one, above or below; the edges are repeated.
    let other = || match (y % 2, y / 2) {
        (0, own) => row(own.saturating_sub(1)),
        (_, own) => row((own + 1).min(component.height - 1)),
    };
    let width = component.width;
    match (h, v) {
        (1, 1) => out[..width].copy_from_slice(near),
        (1, 2) => {
            let (other, bias) = (other(), if y.is_multiple_of(2) { 1 } else { 2 });
            for (out, (&near, &other)) in out.iter_mut().zip(near.iter().zip(other)) {
                *out = ((3 * u16::from(near) + u16::from(other) + bias) >> 2) as u8;
            }
        }
        (2, 1) if width > 2 => {
            let at = |x: usize| u16::from(near[x]);
            for x in 0..width {
                out[2 * x] = match x {
                    0 => near[0],
                    _ => ((3 * at(x) + at(x - 1) + 1) >> 2) as u8,
                };
                out[2 * x + 1] = match x + 1 {
                    end if end == width => near[x],
                    next => ((3 * at(x) + at(next) + 2) >> 2) as u8,
                };
            }
        }
        (2, 2) if width > 2 => {
            let other = other();
            let sum = |x: usize| 3 * u16::from(near[x]) + u16::from(other[x]);
            for x in 0..width {
                let own = sum(x);
                let (left, right) =
                    (if x == 0 { own } else { sum(x - 1) }, if x + 1 == width { own } else { sum(x + 1) });
                out[2 * x] = ((3 * own + left + 8) >> 4) as u8;
                out[2 * x + 1] = ((3 * own + right + 7) >> 4) as u8;
            }
        }
        _ => {
            for (out, &sample) in out.chunks_mut(h).zip(near) {
                out.fill(sample);
            }
        }
    }
}

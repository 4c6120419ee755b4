//! Every kind of PNG, by the seeds: sample c of pixel (x, y) is (29x + 17y + 71c) mod 2^bits.

use super::*;

const SIZE: (usize, usize) = (8, 9);

fn sample(x: usize, y: usize, c: usize, bits: u32) -> usize {
    (x * 29 + y * 17 + c * 71) % (1 << bits)
}

/// The pixels of a seed, from its samples at (x, y).
fn picture(pixel: impl Fn(usize, usize) -> Vec<u8>) -> Vec<u8> {
    (0..SIZE.0).flat_map(|y| (0..SIZE.1).map(move |x| (x, y))).flat_map(|(x, y)| pixel(x, y)).collect()
}

#[track_caller]
fn check(name: &str, channels: usize, pixel: impl Fn(usize, usize) -> Vec<u8>) {
    let options = LoadOptions { background: [255, 0, 255], ..LoadOptions::default() };
    let data = load_quietly(seed(&format!("png/{name}.png")), &options).unwrap();
    assert_eq!(data.train, Images::from_bytes(picture(pixel), 1, SIZE.0, SIZE.1, channels), "{name}");
}

/// `value` with opacity `alpha` over `background`.
fn over(value: usize, alpha: usize, background: usize) -> u8 {
    let alpha = alpha as f64 / 255.0;
    (value as f64 * alpha + background as f64 * (1.0 - alpha)).round() as u8
}

#[test]
fn grey() {
    for bits in [1, 2, 4, 8] {
        let scale = 255 / ((1 << bits) - 1);
        check(&format!("grey{bits}"), 1, |x, y| vec![(sample(x, y, 0, bits) * scale) as u8]);
    }
    for name in ["grey16", "grey8_interlaced", "grey8_text"] {
        check(name, 1, |x, y| vec![sample(x, y, 0, 8) as u8]);
    }
    check("grey1_interlaced", 1, |x, y| vec![(sample(x, y, 0, 1) * 255) as u8]);
}

#[test]
fn red_green_blue() {
    for name in ["rgb8", "rgb16", "rgb8_interlaced"] {
        check(name, 3, |x, y| (0..3).map(|c| sample(x, y, c, 8) as u8).collect());
    }
}

#[test]
fn alpha() {
    let background = [255, 0, 255];
    for name in ["rgba8", "rgba16", "rgba16_interlaced"] {
        check(name, 3, |x, y| {
            (0..3).map(|c| over(sample(x, y, c, 8), sample(x, y, 3, 8), background[c])).collect()
        });
    }
    // Grey stays grey; the background is its luma, 0.299 · 255 + 0.114 · 255 = 105.315.
    for name in ["grey_alpha8", "grey_alpha16"] {
        let options = LoadOptions { background: [105; 3], ..LoadOptions::default() };
        let data = load_quietly(seed(&format!("png/{name}.png")), &options).unwrap();
        let expected = picture(|x, y| vec![over(sample(x, y, 0, 8), sample(x, y, 1, 8), 105)]);
        assert_eq!(bytes(&data.train), expected, "{name}");
    }
}

#[test]
fn palettes() {
    let entry = |i: usize| vec![i as u8, 255 - i as u8, (i * 7 % 256) as u8];
    for bits in [1, 2, 4, 8] {
        check(&format!("palette{bits}"), 3, |x, y| entry(sample(x, y, 0, bits)));
    }
    check("palette4_interlaced", 3, |x, y| entry(sample(x, y, 0, 4)));
    check("palette8_transparent", 3, |x, y| match sample(x, y, 0, 8) {
        0 => vec![255, 0, 255],
        1 => vec![over(1, 128, 255), over(254, 128, 0), over(7, 128, 255)],
        i => entry(i),
    });
}

#[test]
fn one_transparent_colour() {
    check("rgb8_transparent", 3, |x, y| match (x, y) {
        (1, 0) => vec![255, 0, 255],
        _ => (0..3).map(|c| sample(x, y, c, 8) as u8).collect(),
    });
    check("grey8_transparent", 1, |x, y| match sample(x, y, 0, 8) {
        29 => vec![105],
        v => vec![v as u8],
    });
}

#[test]
fn hostile_pictures() {
    let options = LoadOptions::default();
    let whole = std::fs::read(seed("png/rgb8.png")).unwrap();
    let edited = |at: usize, bytes: &[u8]| {
        let mut file = whole.clone();
        file[at..at + bytes.len()].copy_from_slice(bytes);
        refused(&file, &options)
    };
    assert!(
        edited(16, &[0x7f, 0xff, 0xff, 0xff, 0x7f, 0xff, 0xff, 0xff])
            .contains("it promises 2147483647×2147483647 pixels; 65535 in each direction are the most")
    );
    assert!(
        edited(16, &[0, 0, 0xff, 0xff, 0, 0, 0xff, 0xff])
            .contains("it promises 65535×65535 pixels, more than its")
    );
    assert!(edited(16, &[0; 8]).contains("it has no pixels"));
    assert!(edited(24, &[3]).contains("it has colour type 2 with 3 bits, which PNG does not have"));
    assert!(edited(29, &[0; 4]).contains("it is damaged"));
    for length in 0..whole.len() - 12 {
        assert!(parse(&whole[..length], Path::new("x"), &options).is_err(), "{length} bytes");
    }
    let cut = std::fs::read(seed("png/palette_cut.png")).unwrap();
    assert_eq!(
        refused(&cut, &options),
        "x: it has a palette that is not made of up to 256 colours of 3 bytes"
    );
    let small = LoadOptions { max_memory: 100, ..options };
    assert_eq!(
        refused(&whole, &small),
        "x: its images take 216 bytes of memory, more than the 100 bytes that --max-memory allows"
    );
}

#[test]
fn what_is_written_can_be_read() {
    for channels in [1, 3, 4] {
        let pixels: Vec<u8> =
            (0..6 * 5 * channels).map(|i| if i % 4 == 3 { 255 } else { (i * 7) as u8 }).collect();
        let mut file = Vec::new();
        write_png(&mut file, &pixels, 6, 5, channels).unwrap();
        let data = parse(&file, Path::new("x"), &LoadOptions::default()).unwrap();
        let expected: Vec<u8> = match channels {
            4 => pixels.chunks(4).flat_map(|pixel| pixel[..3].to_vec()).collect(),
            _ => pixels,
        };
        assert_eq!(bytes(&data.train), expected);
    }
}

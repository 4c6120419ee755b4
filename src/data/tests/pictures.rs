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
    for name in ["grey8_interlaced", "grey8_text"] {
        check(name, 1, |x, y| vec![sample(x, y, 0, 8) as u8]);
    }
    check("grey1_interlaced", 1, |x, y| vec![(sample(x, y, 0, 1) * 255) as u8]);
}

#[test]
fn red_green_blue() {
    for name in ["rgb8", "rgb8_interlaced"] {
        check(name, 3, |x, y| (0..3).map(|c| sample(x, y, c, 8) as u8).collect());
    }
}

#[test]
fn alpha() {
    let background = [255, 0, 255];
    check("rgba8", 3, |x, y| {
        (0..3).map(|c| over(sample(x, y, c, 8), sample(x, y, 3, 8), background[c])).collect()
    });
    // Grey stays grey; the background is its luma, 0.299 · 255 + 0.114 · 255 = 105.315.
    let options = LoadOptions { background: [105; 3], ..LoadOptions::default() };
    let data = load_quietly(seed("png/grey_alpha8.png"), &options).unwrap();
    let expected = picture(|x, y| vec![over(sample(x, y, 0, 8), sample(x, y, 1, 8), 105)]);
    assert_eq!(bytes(&data.train), expected);
}

/// The 16-bit seeds have the other seeds' byte as high byte, and 255 minus it as low byte.
#[test]
fn sixteen_bits_stay() {
    let deep = |x, y, c| (sample(x, y, c, 8) * 255 + 255) as f32;
    let options = LoadOptions { background: [255, 0, 255], ..LoadOptions::default() };
    for (name, channels) in [("grey16", 1), ("rgb16", 3)] {
        let data = load_quietly(seed(&format!("png/{name}.png")), &options).unwrap();
        let positions = (0..SIZE.0).flat_map(|y| (0..SIZE.1).map(move |x| (x, y)));
        let expected: Vec<f32> =
            positions.flat_map(|(x, y)| (0..channels).map(move |c| deep(x, y, c))).collect();
        assert_eq!(floats(&data.train), expected, "{name}");
        assert_eq!(data.train.range, Range { low: 0.0, high: 65535.0 });
        assert_eq!(
            data.notes,
            [format!(
                "its values go from 255 to {}: 0 is taken as black and 65535 as white; --range LO,HI changes that",
                expected.iter().fold(0.0f32, |a, &b| a.max(b))
            )]
        );
    }
    for name in ["rgba16", "rgba16_interlaced"] {
        let data = load_quietly(seed(&format!("png/{name}.png")), &options).unwrap();
        for (index, pixel) in floats(&data.train).chunks(3).enumerate() {
            let (x, y) = (index % SIZE.1, index / SIZE.1);
            let alpha = deep(x, y, 3) / 65535.0;
            for (c, &value) in pixel.iter().enumerate() {
                let background = [65535.0, 0.0, 65535.0][c];
                let expected = deep(x, y, c) * alpha + background * (1.0 - alpha);
                assert!((value - expected).abs() < 0.1, "{name} ({x}, {y}): {value}, not {expected}");
            }
        }
    }
}

/// A grey PNG of 16 bits.
fn png16(values: &[u16], height: u32, width: u32) -> Vec<u8> {
    let mut file = Vec::new();
    let mut encoder = ::png::Encoder::new(&mut file, width, height);
    encoder.set_color(::png::ColorType::Grayscale);
    encoder.set_depth(::png::BitDepth::Sixteen);
    let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_be_bytes()).collect();
    encoder.write_header().unwrap().write_image_data(&bytes).unwrap();
    file
}

#[test]
fn twelve_bits_in_sixteen_keep_their_greys() {
    let values: Vec<u16> = (0..64).map(|i| i * 65).collect();
    let data = parse(&png16(&values, 8, 8), Path::new("x"), &LoadOptions::default()).unwrap();
    assert_eq!(data.train.range, Range { low: 0.0, high: 4095.0 });
    assert_eq!(floats(&data.train), values.iter().map(|&v| f32::from(v)).collect::<Vec<_>>());
    assert_eq!(data.train.to_bytes(0)[63], 255);
    let options = LoadOptions { range: Some((0.0, 8190.0)), ..LoadOptions::default() };
    let data = parse(&png16(&values, 8, 8), Path::new("x"), &options).unwrap();
    assert_eq!((data.train.to_bytes(0)[63], data.notes), (128, vec![]));
    let options = LoadOptions { range: Some((0.0, 100.0)), ..LoadOptions::default() };
    assert_eq!(
        refused(&png16(&values, 8, 8), &options),
        "x: its values go from 0 to 4095, outside of --range 0,100"
    );
}

#[test]
fn a_picture_without_its_last_chunk_is_whole() {
    let whole = std::fs::read(seed("png/rgb8.png")).unwrap();
    let cut = &whole[..whole.len() - 12];
    let data = parse(cut, Path::new("x"), &LoadOptions::default()).unwrap();
    assert_eq!(data.train, load_quietly(seed("png/rgb8.png"), &LoadOptions::default()).unwrap().train);
}

#[test]
fn the_orientation_of_a_png_is_that_of_its_exif() {
    let mut file = Vec::new();
    let mut encoder = ::png::Encoder::new(&mut file, 3, 2);
    encoder.set_color(::png::ColorType::Grayscale);
    let mut writer = encoder.write_header().unwrap();
    let exif = b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0";
    writer.write_chunk(::png::chunk::eXIf, exif).unwrap();
    writer.write_image_data(&[1, 2, 3, 4, 5, 6]).unwrap();
    writer.finish().unwrap();
    let data = parse(&file, Path::new("x"), &LoadOptions::default()).unwrap();
    assert_eq!(data.train, Images::from_bytes(vec![4, 1, 5, 2, 6, 3], 1, 3, 2, 1));
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
    // Only the last chunk may be missing.
    for length in (0..whole.len() - 12).chain(whole.len() - 11..whole.len() - 4) {
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

/// A file of tests/fixtures/pictures, whose pixels tests/pillow.rs checks.
fn fixture(name: &str) -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/pictures");
    std::fs::read(folder.join(name)).unwrap()
}

#[test]
fn formats_are_mixed_and_recognized_by_content() {
    let folder = tempfile::tempdir().unwrap();
    let names = ["baseline.jpg", "progressive.jpg", "lossless.webp", "grey.jpg"];
    // None has the right file extension.
    for (name, other) in names.iter().zip(["a.png", "b.webp", "c.jpg", "d"]) {
        std::fs::write(folder.path().join(other), fixture(name)).unwrap();
    }
    let data = load_quietly(folder.path(), &LoadOptions::default()).unwrap();
    assert!(
        data.description.starts_with("JPEG and WebP files: 4 images of 19×26, RGB"),
        "{}",
        data.description
    );
    for (index, name) in names.iter().enumerate() {
        let options = LoadOptions { color: Some(Color::Rgb), ..LoadOptions::default() };
        let alone = parse(&fixture(name), Path::new(name), &options).unwrap();
        assert_eq!(data.train.select(&[index]), alone.train, "{name}");
    }
}

#[test]
fn pictures_that_promise_too_much_or_end_too_early() {
    let options = LoadOptions::default();
    for name in ["baseline.jpg", "progressive.jpg", "restarts.jpg", "cmyk.jpg"] {
        let whole = fixture(name);
        let frame = whole.windows(2).position(|two| matches!(two, [0xff, 0xc0 | 0xc2])).unwrap();
        let mut bomb = whole.clone();
        bomb[frame + 5..frame + 9].copy_from_slice(&[0xff, 0, 0xff, 0]);
        assert!(refused(&bomb, &options).contains("it promises 65280×65280 pixels, more than its"), "{name}");
        // Only the end marker may be missing.
        for length in 0..whole.len() - 2 {
            assert!(parse(&whole[..length], Path::new("x"), &options).is_err(), "{name}: {length} bytes");
        }
        if name == "progressive.jpg" {
            assert!(refused(&whole[..whole.len() - 2], &options).contains("it ends before its last scan"));
            continue;
        }
        let cut = parse(&whole[..whole.len() - 2], Path::new("x"), &options).unwrap();
        assert_eq!(cut.train, parse(&whole, Path::new("x"), &options).unwrap().train, "{name}");
    }
    // WebP: the size of the picture, and that of a frame inside it.
    let mut bomb = fixture("lossless.webp");
    let at = bomb.windows(4).position(|four| four == b"VP8L").unwrap() + 9;
    bomb[at..at + 3].copy_from_slice(&[0xff, 0xff, 0xff]);
    assert!(refused(&bomb, &options).contains("pixels, more than its"));
    let mut bomb = fixture("animation.webp");
    let at = bomb.windows(4).position(|four| four == b"VP8L").unwrap() + 9;
    bomb[at..at + 3].copy_from_slice(&[0xff, 0xff, 0xff]);
    assert!(refused(&bomb, &options).contains("it is damaged (a frame is larger than the picture)"));
}

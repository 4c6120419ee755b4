//! JPEG and WebP compared with Pillow: files of tests/fixtures/make_pictures.py, each beside an .npy file
//! with Pillow's pixels.
//!
//! ```text
//! python3 tests/fixtures/make_pictures.py /tmp/pictures 200
//! ELBO_PILLOW=/tmp/pictures cargo test --test pillow -- --nocapture
//! ```

use elbo::data::{Layout, LoadOptions, Pixels, load};
use std::path::{Path, PathBuf};

/// The largest difference of a file's pixels to Pillow's.
fn difference(path: &Path) -> u8 {
    let read = |path: &Path| {
        let with = |layout| load(path, &LoadOptions { layout, ..LoadOptions::default() }, &|_, _| ());
        // An array of pictures with one or three rows does not tell its layout.
        let data = with(None).or_else(|_| with(Some(Layout::Nhwc)));
        let images = data.unwrap_or_else(|error| panic!("{error}")).train;
        let Pixels::U8(values) = images.pixels else { panic!("{}: no bytes", path.display()) };
        ((images.height, images.width, images.channels), values)
    };
    let (own, pillows) = (read(path), read(&path.with_extension("npy")));
    assert_eq!(own.0, pillows.0, "{}", path.display());
    own.1.iter().zip(&pillows.1).map(|(a, b)| a.abs_diff(*b)).max().unwrap()
}

#[test]
fn pictures_are_those_of_pillow() {
    let kept = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/pictures");
    let folder = std::env::var_os("ELBO_PILLOW").map_or(kept, PathBuf::from);
    let mut worst = Vec::new();
    for entry in std::fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        let most = match path.extension().and_then(|extension| extension.to_str()) {
            Some("jpg" | "webp") => 2,
            _ => continue,
        };
        let found = difference(&path);
        assert!(found <= most, "{}: a difference of {found} grey levels, at most {most}", path.display());
        worst.push((found, path));
    }
    worst.sort();
    for most in 0..=2 {
        println!("{} files differ by {most}", worst.iter().filter(|(found, _)| *found == most).count());
    }
    assert!(worst.len() >= 20);
}

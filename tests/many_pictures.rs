//! A folder of many PNG files takes no more memory than its pixels and a fifth.
//!
//! There are 5000 files of 64×64×3 here; the documented figure is for 50,000: `ELBO_PICTURES=50000 cargo test
//! --release --test many_pictures -- --nocapture`. Memory is the process's own peak as Linux counts it.

use elbo::data::{LoadOptions, load, write_png};
use std::sync::atomic::{AtomicUsize, Ordering};

/// A line of /proc/self/status in bytes.
#[cfg(target_os = "linux")]
fn status(name: &str) -> usize {
    let text = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = text.lines().find(|line| line.starts_with(name)).unwrap();
    1024 * line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap()
}

#[cfg(target_os = "linux")]
#[test]
fn pictures_take_their_pixels_and_a_fifth() {
    let count: usize = std::env::var("ELBO_PICTURES").map_or(5000, |count| count.parse().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let mut pixels = vec![0; 64 * 64 * 3];
    let mut file = Vec::new();
    for index in 0..count {
        // Smooth with a little noise: like a photograph, as far as deflate is concerned.
        for (at, value) in pixels.iter_mut().enumerate() {
            *value = (at / 48 + index + (at * 31 + index * 17) % 7) as u8;
        }
        file.clear();
        write_png(&mut file, &pixels, 64, 64, 3).unwrap();
        let class = folder.path().join(format!("class-{}", index % 10));
        std::fs::create_dir_all(&class).unwrap();
        std::fs::write(class.join(format!("picture-{index:06}.png")), &file).unwrap();
    }
    let before = status("VmHWM");
    let (start, last) = (std::time::Instant::now(), AtomicUsize::new(0));
    let progress = |done, total| {
        assert_eq!(total, count);
        last.fetch_max(done, Ordering::Relaxed);
    };
    let data = load(folder.path(), &LoadOptions::default(), &progress).unwrap();
    let (took, used) = (start.elapsed(), status("VmHWM") - before);
    let size = count * pixels.len();
    println!(
        "{count} pictures in {took:?}, {:.1} MB for {:.1} MB of pixels",
        used as f64 / 1e6,
        size as f64 / 1e6
    );
    assert_eq!((data.train.count, data.labels.unwrap().classes(), last.into_inner()), (count, 10, count));
    assert!(used <= size + size / 5, "{used} bytes for {size} bytes of pixels");
}

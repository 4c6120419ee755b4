//! The sheets of a run's epochs, cut for comparison.
//!
//! Samples always use the same noise, and reconstructions the same images. So the first rows of all sheets,
//! one below the other, show how the same code or image changed during training. The newest sheet is shown
//! whole.
//!
//! A report has at most [`MOST`] rows, and only the first rows of a very large sheet, so that its size does
//! not grow with the run.

use std::path::{Path, PathBuf};

use super::Picture;

/// The most epochs that are shown together.
pub const MOST: usize = 10;

/// The longest PNG inside the page, in bytes.
const LONGEST: usize = 3 << 20;

/// A picture in a report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// The sheet that it is from: "epoch 3", "step 200".
    pub label: String,
    /// The PNG.
    pub png: Vec<u8>,
}

/// The sheets of a folder.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// The newest, whole.
    pub newest: Option<Shown>,
    /// First rows of up to [`MOST`] sheets, oldest first, the newest among them.
    pub rows: Vec<Shown>,
}

impl Progress {
    /// Reads the sheets `epoch-….png` and `step-….png` of a folder, up to the step `now`. `image` is height
    /// and width of the pictures on them. A file that is missing or not a sheet is left out: a report must
    /// not stop training.
    pub fn read(folder: &Path, image: (usize, usize), steps_per_epoch: u64, now: u64) -> Self {
        let sheets = choose(sheets(folder, steps_per_epoch, now), MOST);
        let pictures: Vec<(String, Picture)> =
            sheets.into_iter().filter_map(|(label, path)| Some((label, read_picture(&path)?))).collect();
        let rows = |picture: &Picture| (picture.height / Picture::row_height(image)).max(1);
        let shown = |label: &str, picture: &Picture, mut most: usize| loop {
            let png = picture.first_rows(image, most).to_png();
            if png.len() <= LONGEST || most <= 1 {
                return Shown { label: label.into(), png };
            }
            most /= 2;
        };
        let newest = pictures.last().map(|(label, picture)| shown(label, picture, rows(picture)));
        // One sheet needs no history.
        let first_rows = |(label, picture): &(String, Picture)| shown(label, picture, 1);
        let rows = if pictures.len() > 1 { pictures.iter().map(first_rows).collect() } else { Vec::new() };
        Self { newest, rows }
    }
}

/// The sheets of the run's past, in order. One from the middle of an epoch counts only as the newest: once
/// training continues, it is an ordinary intermediate state.
fn sheets(folder: &Path, steps_per_epoch: u64, now: u64) -> Vec<(String, PathBuf)> {
    let mut found: Vec<(u64, bool, String, PathBuf)> = Vec::new();
    for entry in folder.read_dir().into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let Some((kind, number)) = name.strip_suffix(".png").and_then(|stem| stem.split_once('-')) else {
            continue;
        };
        let Ok(number) = number.parse::<u64>() else { continue };
        let step = match kind {
            "epoch" => number.saturating_mul(steps_per_epoch),
            "step" => number,
            _ => continue,
        };
        if step <= now {
            found.push((step, kind == "epoch", format!("{kind} {number}"), entry.path()));
        }
    }
    found.sort();
    let newest = found.len().saturating_sub(1);
    let kept = found.into_iter().enumerate().filter(|(at, sheet)| sheet.1 || *at == newest);
    kept.map(|(_, (_, _, label, path))| (label, path)).collect()
}

/// At most `most` of some things, evenly chosen, with the first and the last.
fn choose<T>(all: Vec<T>, most: usize) -> Vec<T> {
    let count = all.len();
    if count <= most {
        return all;
    }
    let wanted: Vec<usize> = (0..most).map(|at| (at * (count - 1) + (most - 1) / 2) / (most - 1)).collect();
    all.into_iter().enumerate().filter(|(at, _)| wanted.contains(at)).map(|(_, one)| one).collect()
}

/// A picture written by this program from its file; `None` if it is something else.
fn read_picture(path: &Path) -> Option<Picture> {
    // The size of a sheet of 64 pictures of 1024×1024 in colour.
    const MOST_BYTES: usize = 256 << 20;
    let file = std::io::BufReader::new(std::fs::File::open(path).ok()?);
    let decoder = png::Decoder::new_with_limits(file, png::Limits { bytes: MOST_BYTES });
    let mut reader = decoder.read_info().ok()?;
    let channels = match reader.output_color_type() {
        (png::ColorType::Grayscale, png::BitDepth::Eight) => 1,
        (png::ColorType::Rgb, png::BitDepth::Eight) => 3,
        (png::ColorType::Rgba, png::BitDepth::Eight) => 4,
        _ => return None,
    };
    let mut bytes = vec![0; reader.output_buffer_size().filter(|size| *size <= MOST_BYTES)?];
    let frame = reader.next_frame(&mut bytes).ok()?;
    let (height, width) = (frame.height as usize, frame.width as usize);
    (bytes.len() == height * width * channels).then_some(Picture { bytes, height, width, channels })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::filesystem::Disk;
    use crate::tensor::ImageShape;

    #[test]
    fn the_first_and_the_last_are_always_chosen() {
        for count in 1..60 {
            let chosen = choose((1..=count).collect(), 10);
            assert_eq!((chosen[0], chosen[chosen.len() - 1]), (1, count));
            assert_eq!(chosen.len(), count.min(10));
        }
    }

    #[test]
    fn what_is_shown_is_the_past_of_the_run() {
        let folder = tempfile::tempdir().unwrap();
        let sheet = Picture::sheet(&vec![0.5; 48 * 48 * 20], ImageShape::new(48, 48, 1), 8);
        for name in ["step-000005", "epoch-0001", "epoch-0002", "step-000025", "epoch-0004"] {
            sheet.save_in(&Disk, &folder.path().join(name).with_extension("png")).unwrap();
        }
        std::fs::write(folder.path().join("epoch-0003.png"), "no picture").unwrap();
        std::fs::write(folder.path().join("notes.png"), "").unwrap();
        let labels = |now| {
            let progress = Progress::read(folder.path(), (48, 48), 10, now);
            progress.rows.into_iter().map(|row| row.label).collect::<Vec<_>>()
        };
        assert_eq!(labels(25), ["epoch 1", "epoch 2", "step 25"]);
        assert_eq!(labels(30), ["epoch 1", "epoch 2"]);
        assert_eq!(labels(40), ["epoch 1", "epoch 2", "epoch 4"]);
        assert_eq!(labels(5), [""; 0]);
        let progress = Progress::read(folder.path(), (48, 48), 10, 5);
        assert_eq!(progress.newest.unwrap().label, "step 5");
        assert_eq!(Progress::read(&folder.path().join("none"), (48, 48), 10, 5), Progress::default());
    }

    #[test]
    fn a_row_is_the_top_of_its_sheet() {
        let values: Vec<f32> = (0..20).flat_map(|picture| vec![picture as f32 / 20.0; 48 * 48]).collect();
        let sheet = Picture::sheet(&values, ImageShape::new(48, 48, 1), 8);
        let row = sheet.first_rows((48, 48), 1);
        assert_eq!((row.height, row.width), (52, sheet.width));
        assert_eq!(row.bytes, sheet.bytes[..row.bytes.len()]);
        assert_eq!(sheet.first_rows((48, 48), 99), sheet);
    }
}

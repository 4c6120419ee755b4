//! Images that are read from a cache file: the same as in memory, and rewritten if necessary.

use super::*;
use crate::data::{Filler, Pixels, Span};
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

/// Options that cache images of more than `memory` / 2 bytes in `folder`.
fn cached(folder: &Path, memory: u64) -> LoadOptions {
    LoadOptions { cache: Some(folder.to_path_buf()), max_memory: memory, ..LoadOptions::default() }
}

fn is_in_file(images: &Images) -> bool {
    matches!(images.pixels, Pixels::File(_))
}

/// The cache files in a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = folder.read_dir().unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

/// Asserts that images are the same by every access method.
#[track_caller]
fn assert_same(a: &Dataset, b: &Dataset) {
    assert_eq!(a.fingerprint(), b.fingerprint());
    assert_eq!((&a.labels, &a.validation, a.train.range), (&b.labels, &b.validation, b.train.range));
    assert_eq!((&a.files, &a.test_files), (&b.files, &b.test_files));
    assert_eq!(a.train.pixels.extent(), b.train.pixels.extent());
    for (a, b) in [(&a.train, &b.train)].into_iter().chain(a.test.as_ref().zip(b.test.as_ref())) {
        assert_eq!(a, b);
        let indices: Vec<usize> = (0..a.count).rev().collect();
        assert_eq!(a.select(&indices), b.select(&indices));
        assert_eq!(a.to_bytes(0), b.to_bytes(0));
        for binarize in [None, Some(Binarize::Static)] {
            let filler = Filler { span: Span::Symmetric, binarize, seed: 3 };
            let mut batches = [vec![0.0_f32; a.count * a.image_len()], vec![0.0; a.count * a.image_len()]];
            filler.fill(a, &indices, 0, &mut batches[0]);
            filler.fill(b, &indices, 0, &mut batches[1]);
            assert_eq!(batches[0], batches[1]);
        }
    }
}

/// Loads a path from memory and from a new cache file, twice; returns the file's folder.
#[track_caller]
fn assert_cached(path: &Path, options: &LoadOptions) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let held = load(path, options, &|_, _| ()).unwrap();
    let options = LoadOptions { cache: Some(folder.path().into()), max_memory: 900, ..options.clone() };
    for _ in 0..2 {
        let read = load(path, &options, &|_, _| ()).unwrap();
        assert!(is_in_file(&read.train) && read.train.memory() < read.train.bytes());
        assert_eq!(held.skipped, read.skipped);
        assert!(read.notes.iter().any(|note| note.contains("--max-memory (900 bytes)")), "{:?}", read.notes);
        assert_same(&held, &read);
    }
    folder
}

/// 30 images of 5×7 as an array of a type.
fn array(folder: &Path, descr: &str, value: impl Fn(usize) -> Vec<u8>) -> PathBuf {
    let values: Vec<u8> = (0..30 * 35).flat_map(value).collect();
    let path = folder.join("a.npy");
    std::fs::write(&path, npy_file(descr, &[30, 5, 7], &values)).unwrap();
    path
}

#[test]
fn arrays_of_every_kind_are_the_same_from_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let sizes = [None, Some((4, 6))];
    for size in sizes {
        let options = LoadOptions { size, ..LoadOptions::default() };
        assert_cached(&array(folder.path(), "|u1", |i| vec![(i * 7 % 251) as u8]), &options);
        assert_cached(&array(folder.path(), "|b1", |i| vec![(i % 3 == 0).into()]), &options);
        // Integers that are bytes, and others.
        for factor in [1, 9] {
            let value = |i: usize| ((i * 7 % 251 * factor) as i16).to_le_bytes().to_vec();
            assert_cached(&array(folder.path(), "<i2", value), &options);
        }
        // A little above 1, which is clamped.
        let value = |i: usize| ((i % 100) as f32 / 99.0 * 1.000_001).to_be_bytes().to_vec();
        assert_cached(&array(folder.path(), ">f4", value), &options);
    }
}

#[test]
fn the_range_that_is_found_again_or_given_uses_the_same_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = array(folder.path(), "<f4", |i| ((i % 100) as f32 / 60.0 - 0.7).to_le_bytes().to_vec());
    let cache = tempfile::tempdir().unwrap();
    let options = cached(cache.path(), 900);
    let changed = || files(cache.path())[0].metadata().unwrap().modified().unwrap();
    load(&path, &options, &|_, _| ()).unwrap();
    let before = changed();
    load(&path, &LoadOptions { range: Some((-1.0, 1.0)), ..options.clone() }, &|_, _| ()).unwrap();
    assert_eq!((before, 1), (changed(), files(cache.path()).len()));
    let other = LoadOptions { range: Some((-2.0, 1.0)), ..options.clone() };
    assert_eq!(load(&path, &other, &|_, _| ()).unwrap().train.range.low, -2.0);
    // Values outside the range are refused as they are in memory.
    let other = LoadOptions { range: Some((0.0, 1.0)), ..options };
    assert!(message(load(&path, &other, &|_, _| ())).contains("outside of --range 0,1"));
}

#[test]
fn arrays_with_parts_and_labels_have_a_file_for_each_part() {
    let folder = tempfile::tempdir().unwrap();
    for (name, count) in [("train-", 30), ("t10k-", 20)] {
        let idx = |dimensions: &[u32], values: Vec<u8>| {
            let mut file = vec![0, 0, 8, dimensions.len() as u8];
            dimensions.iter().for_each(|n| file.extend(n.to_be_bytes()));
            [file, values].concat()
        };
        let pixels = (0..count * 30).map(|i| (i * 3 % 256) as u8).collect();
        std::fs::write(folder.path().join(format!("{name}images-idx3-ubyte")), idx(&[count, 5, 6], pixels))
            .unwrap();
        let labels = (0..count).map(|i| (i % 4) as u8).collect();
        std::fs::write(folder.path().join(format!("{name}labels-idx1-ubyte")), idx(&[count], labels))
            .unwrap();
    }
    let cache = assert_cached(folder.path(), &LoadOptions::default());
    assert_eq!(files(cache.path()).len(), 2);
}

/// 100 PNG files of 6×6, in two folders that are classes; if `damaged`, every fifth has an invalid body after
/// its header.
fn pictures(folder: &Path, damaged: bool) {
    for number in 0..100_u8 {
        let class = folder.join(if number % 2 == 0 { "even" } else { "odd" });
        std::fs::create_dir_all(&class).unwrap();
        let mut file = Vec::new();
        let pixels: Vec<u8> = (0..108_u8).map(|at: u8| (at * 2).wrapping_add(number)).collect();
        write_png(&mut file, &pixels, 6, 6, 3).unwrap();
        if damaged && number % 5 == 2 {
            file.truncate(file.len() / 2);
        }
        std::fs::write(class.join(format!("{number:02}.png")), file).unwrap();
    }
}

#[test]
fn pictures_are_the_same_from_a_file_and_damaged_ones_are_left_out() {
    for damaged in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        pictures(folder.path(), damaged);
        let options = LoadOptions {
            size: Some((7, 6)),
            skip_bad: damaged,
            max_memory: 1 << 30,
            ..LoadOptions::default()
        };
        let cache = tempfile::tempdir().unwrap();
        let held = load(folder.path(), &options, &|_, _| ()).unwrap();
        for turn in 0..2 {
            let options = LoadOptions { cache: Some(cache.path().into()), ..options.clone() };
            let data = hold_with_limit(folder.path(), &options, 8000);
            assert!(is_in_file(&data.train), "{turn}");
            assert_same(&held, &data);
            assert_eq!((data.skipped.len(), &data.skipped), (if damaged { 20 } else { 0 }, &held.skipped));
        }
        if damaged {
            let options = LoadOptions { cache: Some(cache.path().into()), skip_bad: false, ..options };
            let strict =
                message(load(folder.path(), &LoadOptions { max_memory: 8000, ..options }, &|_, _| ()));
            assert!(strict.contains("20 of 100 pictures"), "{strict}");
        }
    }
}

/// Loads within `limit` bytes, on two threads, each with its own buffers.
fn hold_with_limit(path: &Path, options: &LoadOptions, limit: u64) -> Dataset {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap();
    let options = LoadOptions { max_memory: limit, ..options.clone() };
    pool.install(|| load(path, &options, &|_, _| ())).unwrap()
}

#[test]
fn changed_data_and_damaged_files_are_written_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = array(folder.path(), "|u1", |i| vec![(i * 7 % 251) as u8]);
    let cache = tempfile::tempdir().unwrap();
    let options = cached(cache.path(), 900);
    let read = || load(&path, &options, &|_, _| ()).unwrap();
    let original = read().train.select(&[0, 29]);
    let file = files(cache.path()).remove(0);
    let whole = std::fs::read(&file).unwrap();
    // Different damages: in the pixels, in the description, at the end, and a future version.
    let mut damages: Vec<Vec<u8>> = (0..4).map(|_| whole.clone()).collect();
    damages[0][20] ^= 1;
    let length = whole.len();
    damages[1][length - 40] ^= 1;
    damages[2].truncate(length - 1);
    damages[3][13] = b'9';
    damages.push(whole[..16].to_vec());
    for (number, damaged) in damages.into_iter().enumerate() {
        std::fs::write(&file, &damaged).unwrap();
        assert_eq!(read().train.select(&[0, 29]), original, "{number}");
        assert!(std::fs::read(&file).unwrap() == whole, "{number}");
    }
    // A foreign file under this name is kept.
    for foreign in [&b"my diary"[..], b"a text that is longer than the magic"] {
        std::fs::write(&file, foreign).unwrap();
        let refused = message(load(&path, &options, &|_, _| ()));
        assert!(refused.contains("is not a cache of elbo's") && refused.contains(".pixels"), "{refused}");
        assert_eq!(std::fs::read(&file).unwrap(), foreign);
    }
    std::fs::remove_file(&file).unwrap();
    // The same length, and the previous date.
    let date = path.metadata().unwrap().modified().unwrap();
    read();
    std::thread::sleep(Duration::from_millis(20)); // file systems count time in ticks
    array(folder.path(), "|u1", |i| vec![(i * 5 % 251) as u8]);
    std::fs::File::options().write(true).open(&path).unwrap().set_modified(date).unwrap();
    if cfg!(unix) {
        assert_ne!(read().train.select(&[0, 29]), original);
    }
    std::fs::File::options().write(true).open(&path).unwrap().set_modified(SystemTime::UNIX_EPOCH).unwrap();
    assert_ne!(read().train.select(&[0, 29]), original);
    assert_eq!(files(cache.path()).len(), 1, "changed data take the place of the old");
}

#[test]
fn a_file_that_cannot_be_read_any_more_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let path = array(folder.path(), "|u1", |i| vec![(i * 7 % 251) as u8]);
    let cache = tempfile::tempdir().unwrap();
    let data = load(&path, &cached(cache.path(), 900), &|_, _| ()).unwrap();
    let file = std::fs::File::options().write(true).open(&files(cache.path())[0]).unwrap();
    file.set_len(100).unwrap();
    let mut batch = vec![0.0_f32; 35];
    let fill = |batch: &mut [f32], index| {
        crate::error::caught(|| {
            data.train.gather(&[index], Span::Unit, batch);
            Ok(())
        })
    };
    fill(&mut batch, 0).unwrap();
    let error = fill(&mut batch, 29).unwrap_err().to_string();
    assert!(error.contains("cannot read") && error.contains(".pixels"), "{error}");
}

#[test]
fn an_array_stored_column_by_column_is_refused_and_says_what_helps() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("f.npy");
    let header = "{'descr': '|u1', 'fortran_order': True, 'shape': (30, 5, 7), }";
    std::fs::write(&path, npy_with_header(header, &vec![7; 30 * 35])).unwrap();
    let refused = message(load(&path, &cached(folder.path(), 900), &|_, _| ()));
    assert!(refused.contains("column by column") && refused.contains("ascontiguousarray"), "{refused}");
    // Without a cache, the behaviour is unchanged.
    let little = LoadOptions { max_memory: 900, ..LoadOptions::default() };
    assert!(message(load(&path, &little, &|_, _| ())).contains("--max-memory allows"));
}

//! Folders of PNG files.

use super::*;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A folder to write pictures into.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn file(&self, name: &str, bytes: &[u8]) -> &Self {
        std::fs::create_dir_all(self.path(name).parent().unwrap()).unwrap();
        std::fs::write(self.path(name), bytes).unwrap();
        self
    }

    /// A picture of one value.
    fn png(&self, name: &str, value: u8, size: (usize, usize), channels: usize) -> &Self {
        let mut file = Vec::new();
        write_png(&mut file, &vec![value; size.0 * size.1 * channels], size.0, size.1, channels).unwrap();
        self.file(name, &file)
    }

    fn load(&self, options: &LoadOptions) -> Result<Dataset> {
        load_quietly(self.0.path(), options)
    }
}

#[test]
fn pictures_come_in_the_order_of_names() {
    let folder = Folder::new();
    folder.png("c.png", 3, (8, 8), 1).png("a.png", 1, (8, 8), 1).png("b.PNG", 2, (8, 8), 1);
    folder.file("readme.txt", b"no picture").file(".hidden.png", b"no picture");
    let calls = AtomicUsize::new(0);
    let data = load(folder.0.path(), &LoadOptions::default(), &|done, total| {
        assert!(done <= total && total == 3);
        calls.fetch_add(1, Ordering::Relaxed);
    })
    .unwrap();
    assert_eq!(data.train, Images::from_bytes([[1; 64], [2; 64], [3; 64]].concat(), 3, 8, 8, 1));
    assert_eq!(data.labels, None);
    assert_eq!(data.notes, ["1 files that are no pictures were left out"]);
    assert_eq!(calls.into_inner(), 3);
}

#[test]
fn subfolders_are_labels() {
    let folder = Folder::new();
    folder.png("dog/1.png", 1, (8, 8), 1).png("cat/x/1.png", 2, (8, 8), 1).png("cat/2.png", 3, (8, 8), 1);
    let data = folder.load(&LoadOptions::default()).unwrap();
    let labels = data.labels.unwrap();
    assert_eq!(labels.names, ["cat", "cat/x", "dog"]);
    assert_eq!(labels.ids, [0, 1, 2]);
    let files = ["cat/2.png", "cat/x/1.png", "dog/1.png"].map(|name| folder.path(name));
    assert_eq!(data.files, files);
    assert_eq!(bytes(&data.train).iter().step_by(64).copied().collect::<Vec<_>>(), [3, 2, 1]);
    folder.png("0.png", 9, (8, 8), 1);
    assert_eq!(folder.load(&LoadOptions::default()).unwrap().labels.unwrap().names[0], ".");
}

#[test]
fn train_and_test_are_parts() {
    let folder = Folder::new();
    folder.png("train/a/1.png", 1, (8, 8), 1).png("train/b/1.png", 2, (8, 8), 1);
    folder.png("test/b/1.png", 3, (8, 8), 1);
    let data = folder.load(&LoadOptions::default()).unwrap();
    assert_eq!((data.train.count, bytes(data.test.as_ref().unwrap())[0]), (2, 3));
    assert_eq!(data.labels.unwrap().ids, [0, 1]);
    assert_eq!(data.test_labels.unwrap().ids, [1]);
    let data = folder.load(&LoadOptions { part: Part::Test, ..LoadOptions::default() }).unwrap();
    assert_eq!((data.train.count, data.test.unwrap().count), (0, 1));
    assert_eq!(data.test_labels.unwrap().ids, [1], "a class has its number whatever part is read");
    folder.file("test/b/1.png", b"damaged");
    let skip = LoadOptions { skip_bad: true, ..LoadOptions::default() };
    let message = message(folder.load(&skip));
    assert!(
        message.ends_with(
            "it is no picture that can be read; no picture that can be read is left in one of the parts"
        ),
        "{message}"
    );
}

#[cfg(unix)]
#[test]
fn links_in_a_circle_end() {
    let folder = Folder::new();
    folder.png("a/1.png", 1, (8, 8), 1);
    std::os::unix::fs::symlink(folder.0.path(), folder.path("a/again")).unwrap();
    std::os::unix::fs::symlink(folder.0.path().parent().unwrap(), folder.path("a/out")).unwrap();
    std::os::unix::fs::symlink("nowhere", folder.path("a/lost.png")).unwrap();
    assert_eq!(folder.load(&LoadOptions::default()).unwrap().train.count, 1);
}

#[test]
fn mixed_colours_become_rgb() {
    let folder = Folder::new();
    folder.png("1.png", 10, (8, 8), 1).png("2.png", 20, (8, 8), 3);
    let data = folder.load(&LoadOptions::default()).unwrap();
    assert_eq!(data.train, Images::from_bytes([[10; 192], [20; 192]].concat(), 2, 8, 8, 3));
    let grey = LoadOptions { color: Some(Color::Grey), ..LoadOptions::default() };
    assert_eq!(
        folder.load(&grey).unwrap().train,
        Images::from_bytes([[10; 64], [20; 64]].concat(), 2, 8, 8, 1)
    );
}

#[test]
fn sizes_must_agree_or_be_asked_for() {
    let folder = Folder::new();
    folder.png("1.png", 10, (8, 8), 3).png("2.png", 10, (8, 8), 3).png("3.png", 20, (16, 12), 1);
    assert_eq!(
        message(folder.load(&LoadOptions::default())),
        format!(
            "{}: it is 8×8 while {} is 16×12; --size HxW brings all images to one size",
            folder.path("1.png").display(),
            folder.path("3.png").display()
        )
    );
    let sized = LoadOptions { size: Some((9, 9)), ..LoadOptions::default() };
    let data = folder.load(&sized).unwrap();
    assert_eq!(data.train, Images::from_bytes([[10; 243], [10; 243], [20; 243]].concat(), 3, 9, 9, 3));
}

#[test]
fn bad_files_are_named_or_left_out() {
    let folder = Folder::new();
    let whole = std::fs::read(seed("png/grey8.png")).unwrap();
    folder
        .png("1.png", 7, SIZE, 1)
        .file("2.png", &whole[..60])
        .file("3.png", b"GIF89a")
        .png("4.png", 8, SIZE, 1);
    let message = message(folder.load(&LoadOptions::default()));
    assert_eq!(
        message,
        format!(
            "{}: it is damaged (unexpected end of file); 2 of 4 pictures cannot be read, and --skip-bad goes on without them",
            folder.path("2.png").display()
        )
    );
    let options = LoadOptions { skip_bad: true, ..LoadOptions::default() };
    let data = folder.load(&options).unwrap();
    assert_eq!(data.train, Images::from_bytes([[7; 72], [8; 72]].concat(), 2, 8, 9, 1));
    assert_eq!(data.skipped, [folder.path("2.png"), folder.path("3.png")]);
    let note = &data.notes[0];
    assert!(note.starts_with("2 of 4 pictures could not be read and were left out; the first is "), "{note}");
    std::fs::remove_file(folder.path("1.png")).unwrap();
    std::fs::remove_file(folder.path("4.png")).unwrap();
    let message = super::message(folder.load(&options));
    assert!(message.ends_with("; none of 2 pictures can be read"), "{message}");
}

const SIZE: (usize, usize) = (8, 9);

#[test]
fn folders_without_pictures() {
    let folder = Folder::new();
    let known = formats::READABLE;
    let start = folder.0.path().display().to_string();
    assert_eq!(
        message(folder.load(&LoadOptions::default())),
        format!("{start}: it has no pictures; {known}")
    );
    folder.file("a.gif", b"GIF89a");
    assert_eq!(
        message(folder.load(&LoadOptions::default())),
        format!(
            "{start}: it has no pictures, among 1 other files such as {}; 1 of them are GIF (convert them: mogrify -format png FILES); {known}",
            folder.path("a.gif").display()
        )
    );
}

#[test]
fn memory_is_asked_for_before_it_is_used() {
    let folder = Folder::new();
    for i in 0..10 {
        folder.png(&format!("{i}.png"), 1, (16, 16), 1);
    }
    let options = LoadOptions { max_memory: 2000, ..LoadOptions::default() };
    let message = message(folder.load(&options));
    assert!(
        message
            .ends_with("its images take 2.5 KiB of memory, more than the 2.0 KiB that --max-memory allows"),
        "{message}"
    );
}

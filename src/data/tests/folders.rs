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
    assert_eq!(data.notes, ["1 files that are not pictures were ignored"]);
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
            "{}: it is damaged (unexpected end of file); 2 of 4 pictures cannot be read, and --skip-bad ignores them",
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

#[test]
fn folders_that_are_named_as_parts_are_parts() {
    for names in [["train", "val", "test"], ["Training", "Validation", "Testing"], ["TRAIN", "valid", "Test"]]
    {
        let folder = Folder::new();
        for (part, value) in names.iter().zip([1, 2, 3]) {
            folder.png(&format!("{part}/cat/1.png"), value, (8, 8), 1);
            folder.png(&format!("{part}/dog/1.png"), value, (8, 8), 1);
        }
        let data = folder.load(&LoadOptions::default()).unwrap();
        assert_eq!((data.train.count, data.validation.clone()), (4, Some(vec![2, 3])), "{names:?}");
        assert_eq!(bytes(&data.train).iter().step_by(64).copied().collect::<Vec<_>>(), [1, 1, 2, 2]);
        assert_eq!(data.labels.as_ref().unwrap().ids, [0, 1, 0, 1]);
        assert_eq!(data.labels.as_ref().unwrap().names, ["cat", "dog"]);
        assert_eq!(data.test.as_ref().unwrap().count, 2);
        let split = Split::of(&data, 5, None).unwrap();
        assert_eq!((split.train, split.validation), (vec![0, 1], vec![2, 3]));
        assert!(message(Split::of(&data, 5, Some(1))).contains("the data's own validation part, which is 2"));
    }
    // A class may be called test.
    let folder = Folder::new();
    folder.png("train/1.png", 1, (8, 8), 1).png("test/1.png", 1, (8, 8), 1).png("boat/1.png", 1, (8, 8), 1);
    let data = folder.load(&LoadOptions::default()).unwrap();
    assert_eq!((data.train.count, data.test, data.labels.unwrap().classes()), (3, None, 3));
    // One folder around the parts does not hide them.
    let folder = Folder::new();
    folder.png("set/train/1.png", 1, (8, 8), 1).png("set/val/1.png", 1, (8, 8), 1);
    assert_eq!(folder.load(&LoadOptions::default()).unwrap().validation, Some(vec![1]));
}

#[cfg(unix)]
#[test]
fn class_folders_that_are_not_utf8_are_classes_of_their_own() {
    use std::os::unix::ffi::OsStrExt;
    let folder = Folder::new();
    folder.png("a/1.png", 1, (8, 8), 1);
    for name in [b"b\xe8", b"b\xe9"] {
        let class = folder.0.path().join(std::ffi::OsStr::from_bytes(name));
        std::fs::create_dir(&class).unwrap();
        std::fs::copy(folder.path("a/1.png"), class.join("1.png")).unwrap();
    }
    let labels = folder.load(&LoadOptions::default()).unwrap().labels.unwrap();
    assert_eq!(
        (labels.ids, labels.names),
        (vec![0, 1, 2], vec!["a".into(), "b\\xe8".into(), "b\\xe9".into()])
    );
}

#[test]
fn an_archive_is_its_folder() {
    let folder = Folder::new();
    let parts = ["train/cat/1.png", "train/dog/1.png", "val/cat/1.png", "test/dog/1.png"];
    for (name, value) in parts.iter().zip([1, 2, 3, 4]) {
        folder.png(name, value, (8, 8), 1);
    }
    let mut members: Vec<(String, Vec<u8>)> = parts
        .iter()
        .rev()
        .map(|name| (format!("set/{name}"), std::fs::read(folder.path(name)).unwrap()))
        .collect();
    members.push(("__MACOSX/set/train/cat/._1.png".into(), b"\0\x05\x16\x07".to_vec()));
    members.push(("set/train/cat/.hidden.png".into(), b"no picture".to_vec()));
    let members: Vec<(&str, &[u8])> = members.iter().map(|(name, data)| (name.as_str(), &data[..])).collect();
    let file = npz_file(&members);
    let (archive, folder) = (
        parse(&file, Path::new("x.zip"), &LoadOptions::default()).unwrap(),
        folder.load(&LoadOptions::default()).unwrap(),
    );
    assert_eq!(archive.fingerprint(), folder.fingerprint());
    assert_eq!((&archive.test, &archive.labels), (&folder.test, &folder.labels));
    assert_eq!(
        (archive.notes.len(), archive.files[0].display().to_string()),
        (0, "x.zip: set/train/cat/1.png".into())
    );
}

#[test]
fn ranges_are_for_pictures_too() {
    let folder = Folder::new();
    folder.png("1.png", 1, (8, 8), 1).png("2.png", 0, (8, 8), 1);
    let options = LoadOptions { range: Some((0.0, 1.0)), ..LoadOptions::default() };
    let data = folder.load(&options).unwrap();
    assert_eq!((data.train.range, data.train.to_bytes(0)[0]), (Range::UNIT, 255));
    folder.png("3.png", 7, (8, 8), 1);
    assert!(message(folder.load(&options)).ends_with("its values go from 0 to 7, outside of --range 0,1"));
}

#[test]
fn pictures_are_cropped_padded_or_stretched() {
    let folder = Folder::new();
    folder.png("1.png", 100, (4, 8), 1);
    for (fit, expected) in [(Fit::Crop, 100), (Fit::Stretch, 100), (Fit::Pad, 7)] {
        let options = LoadOptions { size: Some((8, 8)), fit, background: [7; 3], ..LoadOptions::default() };
        let data = folder.load(&options).unwrap();
        assert_eq!((bytes(&data.train)[0], bytes(&data.train)[36]), (expected, 100), "{fit}");
    }
}

#[test]
fn sheets_in_run_folders_are_no_data_and_that_is_said() {
    let folder = Folder::new();
    folder.png("1.png", 1, (8, 8), 1).png("2.png", 2, (8, 8), 1);
    for run in ["runs/a", "runs/b"] {
        folder.png(&format!("{run}/samples/epoch-0001.png"), 9, (30, 30), 1);
        folder.file(&format!("{run}/config.toml"), b"").file(&format!("{run}/metrics.csv"), b"step");
    }
    let data = folder.load(&LoadOptions::default()).unwrap();
    assert_eq!((data.train.count, data.labels), (2, None));
    let first = folder.path("runs/a");
    let note = "2 run folders of elbo were left out, since their sheets are not data; the first is ";
    assert_eq!(data.notes, [format!("{note}{}", first.display())]);
    // One that is named itself is not left out.
    let sheets = load_quietly(&first, &LoadOptions::default()).unwrap();
    assert_eq!(sheets.train.count, 1);
}

#[test]
fn folders_that_are_too_deep_are_said() {
    let folder = Folder::new();
    let deep = |levels: usize| "d/".repeat(levels);
    folder.png("1.png", 1, (8, 8), 1).png(&format!("{}2.png", deep(32)), 2, (8, 8), 1);
    assert_eq!(folder.load(&LoadOptions::default()).unwrap().train.count, 2);
    folder.png(&format!("{}3.png", deep(33)), 3, (8, 8), 1);
    let data = folder.load(&LoadOptions::default()).unwrap();
    assert_eq!(data.train.count, 2);
    assert!(data.notes[0].contains("folders in more than 32 others were left out"), "{:?}", data.notes);
}

#[test]
fn archives_and_arrays_in_a_folder_without_pictures_are_named() {
    for name in ["pictures.zip", "images.npy"] {
        let folder = Folder::new();
        let mut array = Vec::new();
        write_npy_u8(&mut array, &[2, 8, 8], &[7; 128]).unwrap();
        let empty_archive = [b"PK\x05\x06", &[0; 18][..]].concat();
        folder.file(name, if name.ends_with("npy") { &array } else { &empty_archive });
        let message = folder.load(&LoadOptions::default()).unwrap_err().to_string();
        let expected = format!("is read if it is named itself: --data {}", folder.path(name).display());
        assert!(message.contains(&expected), "{message}");
    }
}

#[cfg(unix)]
#[test]
fn a_folder_that_cannot_be_read_is_a_bad_file() {
    use std::os::unix::fs::PermissionsExt;
    let folder = Folder::new();
    folder.png("1.png", 1, (8, 8), 1).png("locked/2.png", 2, (8, 8), 1);
    let allow = |mode| {
        std::fs::set_permissions(folder.path("locked"), std::fs::Permissions::from_mode(mode)).unwrap();
    };
    allow(0);
    if folder.path("locked").read_dir().is_ok() {
        println!("left out: this user may read every folder");
        return;
    }
    let message = folder.load(&LoadOptions::default()).unwrap_err().to_string();
    assert!(message.contains("locked: it cannot be read") && message.contains("--skip-bad"), "{message}");
    let data = folder.load(&LoadOptions { skip_bad: true, ..LoadOptions::default() }).unwrap();
    assert_eq!(data.train.count, 1);
    allow(0o700);
}

//! The range and the parts of a data set, from training to the commands that use the model.

use std::path::Path;
use std::process::Command;

/// Runs the program in a folder; returns its output.
fn works(at: &Path, arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_elbo")).current_dir(at).args(arguments).output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text).into_owned();
    assert!(output.status.success(), "elbo {}: {text}", arguments.join(" "));
    text
}

/// Writes `count` images of 8×8 with values from `low` to `high`.
fn write_images(path: &Path, count: usize, low: f32, high: f32) {
    let value = |i: usize| low + (high - low) * ((i * 37 % 101) as f32 / 100.0);
    let values: Vec<f32> = (0..count * 64).map(value).collect();
    elbo::data::write_npy_f32(std::fs::File::create(path).unwrap(), &[count, 8, 8], &values).unwrap();
}

#[test]
fn test_images_have_the_range_of_training() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    write_images(&at.join("train.npy"), 30, -1.0, 1.0);
    write_images(&at.join("test.npy"), 5, 0.0, 1.0);
    let train =
        ["train", "--data", "train.npy", "--preset", "mlp", "--hidden", "8", "--likelihood", "squared-error"];
    works(at, &[&train[..], &["--max-steps", "2", "--out", "run"]].concat());
    let config = std::fs::read_to_string(at.join("run/config.toml")).unwrap();
    assert!(config.contains("range = \"-1,1\""), "{config}");
    works(at, &["encode", "run", "--data", "test.npy", "--out", "found.npy"]);
    works(at, &["encode", "run", "--data", "test.npy", "--range", "-1,1", "--out", "given.npy"]);
    works(at, &["encode", "run", "--data", "test.npy", "--range", "0,1", "--out", "other.npy"]);
    let read = |name: &str| std::fs::read(at.join(name)).unwrap();
    assert!(read("found.npy") == read("given.npy"));
    assert!(read("found.npy") != read("other.npy"));
    // A range does not prevent resuming.
    works(at, &["train", "--resume", "run", "--max-steps", "3"]);
}

#[test]
fn a_data_sets_own_validation_part_is_what_a_run_validates_on() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    for (part, count) in [("train", 12), ("val", 5)] {
        std::fs::create_dir_all(at.join("set").join(part)).unwrap();
        for index in 0..count {
            let file = std::fs::File::create(at.join("set").join(part).join(format!("{index}.png"))).unwrap();
            elbo::data::write_png(file, &[(index * 20) as u8; 64], 8, 8, 1).unwrap();
        }
    }
    let train = ["train", "--data", "set", "--preset", "mlp", "--hidden", "8", "--augment", "flip,shift"];
    let text = works(at, &[&train[..], &["--max-steps", "2", "--out", "run"]].concat());
    assert!(text.contains("12 images and 5 validation images"), "{text}");
    let config = std::fs::read_to_string(at.join("run/config.toml")).unwrap();
    assert!(config.contains("valid = 5") && config.contains("augment = \"flip,shift\""), "{config}");
    works(at, &["train", "--resume", "run", "--max-steps", "3"]);
    let text = works(at, &["eval", "run"]);
    assert!(text.contains("5 validation images"), "{text}");
}

#[test]
fn runs_in_the_folder_of_the_pictures_do_not_change_the_data() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    for index in 0..30 {
        let file = std::fs::File::create(at.join(format!("{index:02}.png"))).unwrap();
        elbo::data::write_png(file, &[(index * 8) as u8; 64], 8, 8, 1).unwrap();
    }
    let train = ["train", "--data", ".", "--size", "8", "--preset", "mlp", "--hidden", "8", "--max-steps"];
    works(at, &[&train[..], &["2", "--out", "runs/one"]].concat());
    works(at, &["train", "--resume", "runs/one", "--max-steps", "3"]);
    let text = works(at, &["eval"]);
    assert!(text.contains("3 validation images of the run") && !text.contains("are not those"), "{text}");
    let text = works(at, &[&train[..], &["2", "--out", "runs/two"]].concat());
    assert!(
        text.contains("30 images of 8×8") && text.contains("1 run folders of elbo were left out"),
        "{text}"
    );
}

#[test]
fn few_validation_images_are_said_unless_they_were_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    write_images(&at.join("few.npy"), 12, 0.0, 1.0);
    write_images(&at.join("enough.npy"), 100, 0.0, 1.0);
    let train = |data: &str, out: &str, more: &[&str]| {
        let fixed =
            ["train", "--data", data, "--preset", "mlp", "--hidden", "8", "--max-steps", "2", "--out", out];
        works(at, &[&fixed[..], more].concat())
    };
    let text = train("few.npy", "one", &[]);
    assert!(text.contains("1 validation image is few to choose the best epoch by; --valid"), "{text}");
    for text in [
        train("few.npy", "two", &["--valid", "2"]),
        train("few.npy", "none", &["--valid", "0"]),
        train("enough.npy", "enough", &[]),
    ] {
        assert!(!text.contains("few to choose"), "{text}");
    }
}

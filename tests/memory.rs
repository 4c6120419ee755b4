//! `--max-memory`, for every command on the built program: if a command needs more, it is refused in one
//! sentence before any work, and leaves no files.

mod support;

use std::path::Path;

use support::{
    assert_all_commands, elbo, files, message, succeed_in, text, work_folder, write_classes, write_images,
};

/// A line for each command except `train`, which needs more cases, and those without images or models. Two
/// runs are compared.
const LINES: [&str; 19] = [
    "sample run --count 3 --out new.png",
    "reconstruct run --out new.png",
    "encode run --out new.npy",
    "decode run codes.npy --out new.png",
    "interpolate run --out new.png",
    "traverse run --out new.png",
    "manifold run --out new.png",
    "edit run --from-label a --to-label b --out new.png",
    "inpaint run --half left --out new.png",
    "score run --out new.csv",
    "eval run",
    "classify run --out new.csv",
    "detect run --out new.csv",
    "compare run run --out new.html",
    "info run",
    "export run --out new",
    "explore run --out new.html",
    "compress run --out new.elbo",
    "decompress images.elbo --model run --out new.npy",
];

/// Runs the program in a folder with `--max-memory`, its caches there; it must refuse, and leave nothing. Its
/// message.
#[track_caller]
fn refused(folder: &Path, line: &str, memory: &str) -> String {
    let before = files(folder);
    let arguments: Vec<&str> = line.split(' ').chain(["--max-memory", memory]).collect();
    let output = elbo(&arguments).current_dir(folder).env("XDG_CACHE_HOME", folder.join("cache")).output();
    let message = message(&output.unwrap());
    assert!(message.contains("--max-memory allows"), "{line}: {message}");
    assert_eq!(files(folder), before, "{line} left something");
    message
}

#[test]
fn no_command_takes_more_than_it_may() {
    let folder = work_folder();
    let folder = folder.path();
    write_classes(&folder.join("pictures"));
    let train = "train --data pictures --preset mlp --hidden 8 --latent 2 --likelihood beta-binomial --max-steps 2 --valid 6 --out";
    for line in [&format!("{train} run"), "encode run --out codes.npy", "compress run --out images.elbo"] {
        succeed_in(folder, &line.split(' ').collect::<Vec<_>>());
    }
    assert_all_commands(LINES.into_iter().chain(["train", "completions", "man"]));
    for line in LINES {
        refused(folder, line, "50KB");
    }
    refused(folder, &format!("{train} new"), "1MB");
    // The same with room for it.
    for line in LINES {
        let arguments: Vec<&str> = line.split(' ').chain(["--max-memory", "100MB"]).collect();
        succeed_in(folder, &arguments);
        for new in ["new.png", "new.npy", "new.csv", "new.html", "new.elbo"] {
            let _ = std::fs::remove_file(folder.join(new));
        }
        let _ = std::fs::remove_dir_all(folder.join("new"));
    }
}

#[test]
fn codes_of_all_images_are_counted() {
    let folder = work_folder();
    let folder = folder.path();
    write_images(&folder.join("images-idx3.npy"), [20_000, 8, 8, 1]);
    let train =
        "train --data images-idx3.npy --preset mlp --hidden 8 --latent 64 --max-steps 1 --valid 0 --out run";
    succeed_in(folder, &train.split(' ').collect::<Vec<_>>());
    // 20,000 codes of 64 numbers, twice, are 10 MB; the model and the images take 3 MB.
    for line in [
        "encode run --out new.npy",
        "eval run",
        "traverse run --count 20000 --out new.png",
        "manifold run --out new.svg",
        "sample run --prior gmm --out new.png",
        "detect run --out new.csv",
    ] {
        let message = refused(folder, line, "8MB");
        assert!(message.contains("the model, the images and their codes take"), "{line}: {message}");
    }
    for (line, expected) in [
        ("eval run --samples 1000000000", "judging 1000000000 samples takes"),
        ("sample run --prior gmm --components 15000 --out new.png", "and their codes take"),
    ] {
        let message = refused(folder, line, "100MB");
        assert!(message.contains(expected), "{line}: {message}");
    }
    assert!(!folder.join("run/prior.safetensors").exists());
    succeed_in(folder, &["encode", "run", "--max-memory", "30MB", "--out", text(&folder.join("new.npy"))]);
}

//! Which images a command uses, on the built program: a model file without its run, a folder that grew after training, a prior fitted to
//! other images, few images, and what is said about them.

mod support;

use std::path::Path;

use support::{elbo, message, stderr, stdout, text, work_folder, write_images};

/// Runs the program in a folder; it must end well. What it printed, on standard output and on standard error.
#[track_caller]
fn told(folder: &Path, arguments: &[&str]) -> (String, String) {
    let output = elbo(arguments).current_dir(folder).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", stderr(&output));
    (stdout(&output), stderr(&output))
}

#[track_caller]
fn has(text: &str, words: &[&str]) {
    for word in words {
        assert!(text.contains(word), "{text}\ndoes not say: {word}");
    }
}

/// A small run in a folder on `count` images.
fn train(folder: &Path, count: usize, more: &[&str]) -> (String, String) {
    write_images(&folder.join("data.npy"), [count, 8, 8, 1]);
    let fixed =
        ["train", "--data", "data.npy", "--preset", "mlp", "--hidden", "16", "--latent", "4", "--out", "runs/one"];
    told(folder, &[&fixed, more].concat())
}

#[test]
fn a_model_file_without_its_run_asks_for_images() {
    let folder = work_folder();
    let folder = folder.path();
    train(folder, 40, &["--max-steps", "2"]);
    std::fs::create_dir(folder.join("away")).unwrap();
    std::fs::copy(folder.join("runs/one/model.safetensors"), folder.join("away/m.safetensors")).unwrap();
    // The working folder of the test has the bundled images in reach: they were taken in silence.
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let model = folder.join("away/m.safetensors");
    for command in ["encode", "eval", "score", "reconstruct", "interpolate"] {
        let output = elbo(&[command, text(&model)]).current_dir(here).output().unwrap();
        has(&message(&output), &["--data", "m.safetensors"]);
    }
    told(folder, &["encode", "away/m.safetensors", "--data", "data.npy"]);
}

#[test]
fn images_that_came_later_are_no_validation_images_of_the_run() {
    let folder = work_folder();
    let folder = folder.path();
    train(folder, 60, &["--max-steps", "4"]);
    let (before, note) = told(folder, &["eval"]);
    has(&before, &["6 validation images of the run"]);
    assert!(!note.contains("not those"), "{note}");
    has(&told(folder, &["score", "--out", "a.csv"]).0, &["6 validation images of the run"]);
    write_images(&folder.join("data.npy"), [70, 8, 8, 1]);
    for arguments in
        [vec!["eval"], vec!["score", "--out", "b.csv"], vec!["encode"], vec!["detect", "--out", "c.csv"]]
    {
        let (printed, note) = told(folder, &arguments);
        assert!(
            !printed.contains("validation images of the run:") && !printed.contains("7 validation"),
            "{printed}"
        );
        assert!(!printed.contains("6 validation images"), "{printed}");
        has(&note, &["data.npy are not those that the run was trained on"]);
    }
    has(&told(folder, &["eval", "--data", "data.npy"]).0, &["70 images: all of them"]);
    let (_, note) = told(folder, &["eval", "--data", "data.npy"]);
    has(&note, &["are not those"]);
    // Without its checkpoint nothing can be compared, and that is said.
    std::fs::remove_file(folder.join("runs/one/checkpoint.safetensors")).unwrap();
    has(&told(folder, &["eval"]).1, &["cannot be checked"]);
}

#[test]
fn a_mixture_for_other_images_is_fitted_to_them_and_the_same_before_and_after_saving() {
    let folder = work_folder();
    let folder = folder.path();
    train(folder, 120, &["--max-steps", "20"]);
    write_images(&folder.join("other.npy"), [30, 8, 8, 1]);
    let gmm = |out: &str, more: &[&str]| {
        let (printed, _) =
            told(folder, &[&["sample", "--prior", "gmm", "--count", "9", "--out", out], more].concat());
        (printed, std::fs::read(folder.join(out)).unwrap())
    };
    let (first, bits) = gmm("a.npy", &[]);
    has(&first, &["codes of 108 images", "kept in runs/one/prior.safetensors"]);
    let (second, again) = gmm("b.npy", &[]);
    has(&second, &["Gaussians kept in runs/one/prior.safetensors"]);
    assert!(bits == again, "the kept mixture draws other bits than the fitted one");
    let kept = std::fs::read(folder.join("runs/one/prior.safetensors")).unwrap();
    let (other, bits) = gmm("c.npy", &["--data", "other.npy"]);
    has(&other, &["codes of 30 images", "not kept"]);
    assert_ne!(bits, again);
    assert_eq!(std::fs::read(folder.join("runs/one/prior.safetensors")).unwrap(), kept);
    // The run's own images by name are the run's own.
    assert!(gmm("d.npy", &["--data", "data.npy"]).1 == again);
}

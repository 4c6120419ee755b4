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
    let fixed = [
        "train", "--data", "data.npy", "--preset", "mlp", "--hidden", "16", "--latent", "4", "--out",
        "runs/one",
    ];
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

#[test]
fn codes_and_sheets_are_of_the_images_as_the_run_binarized_them() {
    let folder = work_folder();
    let folder = folder.path();
    train(folder, 40, &["--max-steps", "1", "--binarize", "static", "--seed", "5"]);
    // What `encode` sees is what `reconstruct` shows as the original, and that is what training saw: its sheet has the same tiles.
    told(folder, &["reconstruct", "--out", "shown.png"]);
    let sheet = support::files(&folder.join("runs/one/reconstructions")).pop().unwrap();
    assert!(std::fs::read(sheet).unwrap() == std::fs::read(folder.join("shown.png")).unwrap());
    // The same weights under a configuration with another seed binarize the named images differently.
    let encoded = |out: &str| {
        told(folder, &["encode", "--data", "data.npy", "--out", out]);
        std::fs::read(folder.join(out)).unwrap()
    };
    let five = encoded("five.npy");
    let config = folder.join("runs/one/config.toml");
    let text = std::fs::read_to_string(&config).unwrap();
    assert!(text.contains("seed = 5"), "{text}");
    std::fs::write(&config, text.replace("seed = 5", "seed = 0")).unwrap();
    assert!(five != encoded("zero.npy"));
}

#[test]
fn fewer_images_than_were_asked_for_are_said() {
    let folder = work_folder();
    let folder = folder.path();
    train(folder, 60, &["--max-steps", "4"]);
    for (command, out) in [("reconstruct", "r.png"), ("encode", "e.npy")] {
        let (_, note) = told(folder, &[command, "--count", "15", "--out", out]);
        has(&note, &["--count 15 asks for more", "all 6 validation images"]);
    }
    let (_, note) = told(folder, &["reconstruct", "--out", "d.png"]);
    assert!(!note.contains("--count"), "nothing was asked for: {note}");
    has(&told(folder, &["score"]).1, &["6 images are few for the 0.99 quantile", "100 or more"]);
    let (_, note) = told(folder, &["score", "--quantile", "0.5", "--out", "half.csv"]);
    assert!(!note.contains("few"), "{note}");
    let (printed, note) = told(folder, &["eval", "--samples", "500"]);
    has(&printed, &["distance of 500 samples from the 6 images", "54 training images: the floor"]);
    has(&note, &["54 training images, fewer than --samples 500"]);
    assert!(!told(folder, &["eval", "--samples", "50"]).1.contains("fewer"));
}

#[test]
fn training_that_went_nowhere_and_schedules_that_jump_are_said() {
    let folder = work_folder();
    let folder = folder.path();
    let (printed, _) = train(folder, 60, &["--epochs", "3", "--lr", "1", "--clip-norm", "1000000"]);
    has(&printed, &["training made the model no better", "--lr"]);
    std::fs::remove_dir_all(folder.join("runs/one")).unwrap();
    let (printed, _) = train(folder, 60, &["--epochs", "60", "--batch", "10", "--lr-schedule", "cosine"]);
    assert!(!printed.contains("no better") && !printed.contains("steps in all"), "{printed}");
    let (printed, _) = told(folder, &["train", "--resume", "runs/one", "--epochs", "70"]);
    has(&printed, &["spans 70 epochs instead of 60", "would have been"]);
    let (printed, _) = told(folder, &["train", "--resume", "runs/one"]);
    assert!(!printed.contains("spans"), "{printed}");
}

#[test]
fn few_images_do_not_make_a_collapse_and_few_steps_are_said() {
    let folder = work_folder();
    let folder = folder.path();
    // One validation image: over it no dimension moves.
    let (printed, _) = train(folder, 15, &["--epochs", "50", "--batch", "2", "--beta", "0.01"]);
    assert!(!printed.contains("collapsed") && !printed.contains("steps in all"), "{printed}");
    let (printed, _) = told(folder, &["eval"]);
    has(&printed, &["1 validation images of the run", "over 14 training images"]);
    assert!(!printed.contains("  0 of 4 dimensions active"), "{printed}");
    has(&told(folder, &["interpolate"]).1, &["held out 1 image, and 2 are needed", "all 15"]);
    std::fs::remove_dir_all(folder.join("runs/one")).unwrap();
    let (printed, _) = train(folder, 15, &["--epochs", "1"]);
    has(&printed, &["steps in all", "--epochs"]);
    assert!(!printed.contains("collapsed"), "after a step or two: {printed}");
}

#[test]
fn without_epochs_few_images_get_as_many_steps_as_it_takes() {
    let folder = work_folder();
    let folder = folder.path();
    // 54 to train on: 14 steps of 4 images, 72 times.
    let (printed, _) = train(folder, 60, &[]);
    has(
        &printed,
        &["72 epochs in batches of 4, which are 1008 steps", "10 epochs are too few", "--epochs and --batch"],
    );
    assert!(!printed.contains("warning"), "{printed}");
    let config = std::fs::read_to_string(folder.join("runs/one/config.toml")).unwrap();
    has(&config, &["epochs = 72\n", "batch = 4\n"]);
    // The run repeats itself, and says nothing of it.
    let again = ["train", "--config", "runs/one/config.toml", "--out", "runs/two"];
    let (printed, _) = told(folder, &again);
    assert!(!printed.contains("few images"), "{printed}");
    let model = |run: &str| std::fs::read(folder.join(run).join("model.safetensors")).unwrap();
    assert!(model("runs/one") == model("runs/two"));
    std::fs::remove_dir_all(folder.join("runs")).unwrap();
    // As many steps as were asked for, though they are more than ten epochs; and epochs that were asked for stay.
    let (printed, _) = train(folder, 60, &["--max-steps", "30"]);
    has(&printed, &["1 steps of 54 images an epoch"]);
    let (printed, _) = told(folder, &["info", "runs/one"]);
    has(&printed, &["epoch 30 of 30, step 30"]);
    std::fs::remove_dir_all(folder.join("runs")).unwrap();
    let (printed, _) = train(folder, 60, &["--epochs", "2"]);
    has(&printed, &["the run has 2 steps in all", "--epochs 300 makes 300 steps"]);
    assert!(!printed.contains("few images"), "{printed}");
}

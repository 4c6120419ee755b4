//! `report.html` of the built program: it is updated during the run and after resuming, and is written
//! again if it is missing.

use std::path::Path;
use std::process::Command;

/// Runs the program; standard error of a failure is in the message.
fn elbo(arguments: &[&str]) {
    let output =
        Command::new(env!("CARGO_BIN_EXE_elbo")).args(arguments).output().expect("the program starts");
    let message = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {message}");
}

/// 40 images of 8×9 with a bright square that moves.
fn write_images(path: &Path) {
    let mut bytes = vec![0_u8; 40 * 8 * 9];
    for (at, image) in bytes.chunks_exact_mut(72).enumerate() {
        let (top, left) = (at % 5, at / 5 % 6);
        for (row, column) in (0..3).flat_map(|y| (0..3).map(move |x| (top + y, left + x))) {
            image[row * 9 + column] = 255;
        }
    }
    let mut file = std::fs::File::create(path).unwrap();
    elbo::data::write_npy_u8(&mut file, &[40, 8, 9], &bytes).unwrap();
}

#[test]
fn the_report_grows_with_the_run() {
    let folder = tempfile::tempdir().unwrap();
    let (images, run) = (folder.path().join("images.npy"), folder.path().join("a run & more"));
    write_images(&images);
    let (images, run_name) = (images.to_str().unwrap(), run.to_str().unwrap());
    let read = || std::fs::read_to_string(run.join("report.html")).unwrap();
    // 36 images to train on, 9 steps an epoch, and `--max-steps` in the middle of the second.
    elbo(&[
        "train",
        "--data",
        images,
        "--preset",
        "mlp",
        "--hidden",
        "16",
        "--latent",
        "3",
        "--batch",
        "4",
        "--epochs",
        "4",
        "--max-steps",
        "13",
        "--beta-warmup",
        "9",
        "--out",
        run_name,
    ]);
    let page = read();
    assert!(page.contains("<h1>a run &amp; more</h1>"));
    assert!(page.contains("the 13 steps that were asked for"));
    assert!(page.contains("β warms up over 9 epochs, and the run has 4"));
    assert!(page.contains("epoch 1</span>") && page.contains("step 13</span>"));
    assert_eq!(page.matches("dimension 2: KL").count(), 1);

    elbo(&["train", "--resume", run_name]);
    let page = read();
    assert!(page.contains("Finished: 4 epochs, 36 steps."));
    assert!((1..=4).all(|epoch| page.contains(&format!("training, epoch {epoch}: "))));
    // The sheet of the cleared `--max-steps` no longer exists.
    assert!(!page.contains("step 13<") && page.contains("epoch 1</span>") && page.contains("epoch 4</span>"));

    std::fs::remove_file(run.join("report.html")).unwrap();
    elbo(&["train", "--resume", run_name]);
    assert_eq!(read(), page, "written again from what the folder has");
}

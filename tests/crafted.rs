//! Files that were made by hand to be whole, with a right checksum, and ask for what cannot be: the built program refuses each with one
//! sentence, before it allocates or steps.

mod support;

use std::borrow::Cow;
use std::path::Path;

use elbo::storage::tensor_file::TensorFile;
use serde_json::json;
use support::*;

/// A run of 4 steps, in the middle of the first of two epochs of 7 steps of 6 images.
fn short(folder: &Path) -> std::path::PathBuf {
    let (data, run) = (folder.join("images.npy"), folder.join("run"));
    write_images(&data, [46, 8, 8, 1]);
    let options = "--preset mlp --hidden 8 --latent 2 --batch 6 --valid 6 --epochs 2 --max-steps 4";
    let arguments = format!("train --data {} --out {} {options}", text(&data), text(&run));
    succeed(&arguments.split_whitespace().collect::<Vec<_>>());
    run
}

/// Changes a file of tensors, and gives it the right checksum.
fn craft(path: &Path, change: impl FnOnce(&mut TensorFile<'_>)) {
    let bytes = std::fs::read(path).unwrap();
    let mut file = TensorFile::decode(&bytes, path).unwrap();
    change(&mut file);
    std::fs::write(path, file.encode(path).unwrap()).unwrap();
}

#[test]
fn a_checkpoint_whose_counts_cannot_be_is_refused() {
    let folder = work_folder();
    let run = short(folder.path());
    let checkpoint = run.join("checkpoint.safetensors");
    let good = std::fs::read(&checkpoint).unwrap();
    let most = 1u64 << 63;
    for (changes, expected) in [
        // Consistent but for one thing each.
        (
            json!({"step": 7, "step-in-epoch": 7, "images": 42, "adam": 7}),
            "7 of 7 steps of an epoch are taken",
        ),
        (
            json!({"step": 8, "step-in-epoch": 8, "images": 48, "adam": 8}),
            "8 of 7 steps of an epoch are taken",
        ),
        (
            json!({"step": most / 7 * 7 + 4, "epoch": most / 7, "adam": most / 7 * 7 + 4}),
            "epochs of 7 and 4 steps more",
        ),
        (json!({"step": 5, "adam": 5}), "says 5 steps, after 0 epochs of 7 and 4 steps more"),
        (json!({"adam": u64::MAX}), "says 18446744073709551615 steps of Adam, of 4 steps, 0 left out"),
        (json!({"adam": 0}), "says 0 steps of Adam"),
        (json!({"skipped": 5, "adam": 0}), "says 0 spikes and 5 steps left out, of 4"),
        (json!({"images": 25}), "says 25 images in 4 steps"),
        (json!({"stale": most}), "says a best epoch that is none of its 0"),
        (json!({"norm-sum": -1.0}), "says a gradient norm below 0"),
    ] {
        std::fs::write(&checkpoint, &good).unwrap();
        craft(&checkpoint, |file| {
            let state = &mut file.description["state"];
            for (key, value) in changes.as_object().unwrap() {
                match key.as_str() {
                    "adam" => state["adam-steps"][0] = value.clone(),
                    "images" => state["progress"]["sums"]["images"] = value.clone(),
                    key => state["progress"][key] = value.clone(),
                }
            }
        });
        let message = refused(&["train", "--resume", text(&run)]);
        assert!(
            message.contains("checkpoint.safetensors") && message.contains(expected),
            "{changes}: {message}"
        );
    }
    std::fs::write(&checkpoint, &good).unwrap();
    craft(&checkpoint, |file| {
        let squares = file.tensors.iter_mut().find(|tensor| tensor.name == "adam.second.shared.mu.weight");
        let mut values = squares.as_ref().unwrap().data.to_vec();
        values[3] = -1.0;
        squares.unwrap().data = Cow::Owned(values);
    });
    let message = refused(&["train", "--resume", text(&run)]);
    assert!(
        message.contains("adam.second.shared.mu.weight has the value -1; a mean of squares"),
        "{message}"
    );
    std::fs::write(&checkpoint, &good).unwrap();
    succeed(&["train", "--resume", text(&run)]);
}

//! Files made by hand to be complete, with a correct checksum, but with impossible contents: the built
//! program refuses each with one sentence, before it allocates or trains.

mod support;

use std::borrow::Cow;
use std::path::Path;

use elbo::model::{ModelConfig, Preset, Vae};
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

/// Changes a file of tensors, and corrects its checksum.
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
        // Consistent except for one thing each.
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

/// A model of few numbers that is for huge images: convolutions of one channel that halve them down to 8×8.
fn small_file_huge_network(path: &Path, side: usize, widths: Vec<usize>) {
    let config =
        ModelConfig { widths, hidden: vec![4], latent: 2, ..ModelConfig::new(Preset::Conv, (side, side, 1)) };
    Vae::<f32>::new(config, 0).unwrap().save(path).unwrap();
    assert!(path.metadata().unwrap().len() < 30_000);
}

#[test]
fn a_small_model_file_that_asks_for_a_huge_network_is_refused() {
    let folder = work_folder();
    let [large, deep, codes, out] =
        ["large.safetensors", "deep.safetensors", "codes.npy", "out"].map(|name| folder.path().join(name));
    small_file_huge_network(&large, 65_536, vec![1; 13]);
    small_file_huge_network(&deep, 16_384, [&[64][..], &[1; 10]].concat());
    write_floats(&codes, &[1, 2], &[0.0, 0.0]);
    for (model, expected) in [
        (&large, "asks for images of 65536×65536×1; at most 2³⁰ numbers each are accepted"),
        (&deep, "of memory, more than the 8.0 GiB that --max-memory allows"),
    ] {
        for arguments in [
            vec!["decode", text(model), text(&codes), "--out", text(&out)],
            vec!["export", text(model), "--out", text(&out)],
            vec!["sample", text(model), "--count", "1", "--out", text(&out)],
            vec!["info", text(model)],
        ] {
            let message = refused(&arguments);
            assert!(message.contains(text(model)) && message.contains(expected), "{arguments:?}: {message}");
        }
    }
    assert!(!out.exists());
}

#[test]
fn more_pictures_than_memory_are_refused_before_they_are_made() {
    let folder = work_folder();
    let run = short(folder.path());
    let [codes, out] = ["codes.npy", "out.png"].map(|name| folder.path().join(name));
    write_floats(&codes, &[400_000, 2], &vec![0.5; 800_000]);
    let (run, codes) = (text(&run), text(&codes));
    for (command, expected) in [
        (format!("decode {run} {codes} --max-memory 1GiB"), "400000 pictures of 8×8×1 take 1.0 GiB"),
        (format!("manifold {run} --side 1000 --max-memory 1GiB"), "1000000 pictures of 8×8×1 take 2.6 GiB"),
        (format!("traverse {run} --steps 100000000"), "200000000 pictures of 8×8×1 take"),
        (format!("interpolate {run} --steps 1000000000"), "1000000000 pictures of 8×8×1 take"),
        (format!("sample {run} --count 100000000"), "100000000 pictures of 8×8×1 take"),
        (format!("traverse {run} --steps 18446744073709551615"), "pictures of 8×8×1 take"),
    ] {
        let arguments: Vec<&str> = command.split(' ').chain(["--out", text(&out)]).collect();
        let message = refused(&arguments);
        assert!(
            message.contains(expected) && message.contains("that --max-memory allows"),
            "{command}: {message}"
        );
    }
    assert!(!out.exists());
    succeed(&["traverse", run, "--steps", "3", "--out", text(&out)]);
}

#[test]
fn pictures_made_from_images_keep_to_the_memory() {
    let folder = work_folder();
    let [data, run, out, packed] =
        ["images.npy", "run", "out.png", "out.elbo"].map(|name| folder.path().join(name));
    write_images(&data, [5000, 8, 8, 1]);
    let options = "--preset mlp --hidden 8 --latent 2 --likelihood beta-binomial --max-steps 2 --valid 0";
    let arguments = format!("train --data {} --out {} {options}", text(&data), text(&run));
    succeed(&arguments.split_whitespace().collect::<Vec<_>>());
    let (run, many) = (text(&run), (0..400).map(|i| i.to_string()).collect::<Vec<_>>().join(","));
    let strengths = vec!["1"; 300].join(",");
    for (command, out, expected) in [
        (format!("reconstruct {run} --count 5000"), &out, "10000 pictures of 8×8×1 take"),
        (format!("reconstruct {run} --count 5000 --noise 0.1"), &out, "15000 pictures of 8×8×1 take"),
        (
            format!("edit {run} --without {0} --with {0} --strength {strengths}", text(&data)),
            &out,
            "2408 pictures of 8×8×1 take",
        ),
        (format!("inpaint {run} --half left --images {many}"), &out, "3200 pictures of 8×8×1 take"),
        (format!("compress {run}"), &packed, "compressing 5000 images takes"),
    ] {
        let arguments = |memory| -> Vec<String> {
            let more = ["--out", text(out), "--max-memory", memory];
            command.split(' ').chain(more).map(str::to_owned).collect()
        };
        let limited = arguments("1300KB");
        let message = refused(&limited.iter().map(String::as_str).collect::<Vec<_>>());
        assert!(message.contains(expected), "{command}: {message}");
        assert!(message.contains("that --max-memory allows") && !out.exists(), "{command}: {message}");
        succeed(&arguments("100MB").iter().map(String::as_str).collect::<Vec<_>>());
        std::fs::remove_file(out).unwrap();
    }
}

#[test]
fn training_keeps_to_its_memory_and_resumes_with_the_same() {
    let folder = work_folder();
    let [data, out] = ["images.npy", "run"].map(|name| folder.path().join(name));
    write_images(&data, [46, 8, 8, 1]);
    let train = |memory: &str, hidden: &str| {
        let options = format!(
            "--preset mlp --hidden {hidden} --latent 2 --batch 6 --max-steps 2 --max-memory {memory}"
        );
        let command = format!("train --data {} --out {} {options}", text(&data), text(&out));
        run(&command.split(' ').collect::<Vec<_>>())
    };
    // 64·4096·2 weights and some more, each as five numbers or so, and the program itself: 19 MiB. The last
    // are refused before their 17 GB are allocated.
    for (memory, hidden) in [("10MB", "4096"), ("15MB", "4096"), ("8GiB", "65536,65536")] {
        let message = message(&train(memory, hidden));
        assert!(
            message.contains("this training takes") && message.contains("--max-memory allows"),
            "{message}"
        );
        assert!(!out.exists(), "nothing was written");
    }
    let trained = train("40MB", "4096");
    assert!(trained.status.success(), "{}", stderr(&trained));
    succeed(&["train", "--resume", text(&out), "--max-steps", "3"]);
}

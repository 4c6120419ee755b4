//! The adversarial stage of the built program: what it writes, that it is exact, and what it refuses.

mod support;

use std::path::{Path, PathBuf};

use support::*;

/// A network so small that an epoch takes a moment.
const NETWORK: &str = "--preset conv --channels 4,8 --hidden 16 --latent 3 --batch 6";

fn split(arguments: &str) -> Vec<&str> {
    arguments.split_whitespace().collect()
}

/// 46 images of 8×8: with 6 held out, seven steps of six, the last of four.
fn data(folder: &Path) -> PathBuf {
    let path = folder.join("images.npy");
    write_images(&path, [46, 8, 8, 1]);
    path
}

fn train(data: &Path, out: &Path, options: &str) -> String {
    let arguments = format!("train --data {} --out {} --valid 6 {NETWORK} {options}", text(data), text(out));
    succeed(&split(&arguments))
}

/// adversarial.csv without the columns that tell the time.
fn rows(run: &Path) -> Vec<String> {
    let table = std::fs::read_to_string(run.join("adversarial.csv")).unwrap();
    table.lines().map(|line| line.rsplitn(3, ',').last().unwrap().to_owned()).collect()
}

fn column(run: &Path, name: &str) -> Vec<String> {
    let rows = rows(run);
    let at = rows[0].split(',').position(|column| column == name).unwrap();
    rows[1..].iter().map(|row| row.split(',').nth(at).unwrap().to_owned()).collect()
}

fn same(found: &Path, expected: &Path, what: &str) {
    assert_same(found, expected, what);
    assert_eq!(rows(found), rows(expected), "{what}");
    let vae = |run: &Path| std::fs::read(run.join("vae.safetensors")).unwrap();
    assert!(vae(found) == vae(expected), "{what}: vae.safetensors");
}

#[test]
fn the_stage_follows_the_vae_and_is_the_same_in_parts_and_on_other_threads() {
    let folder = work_folder();
    let data = data(folder.path());
    for (number, options) in [
        "--epochs 2 --adversarial 2",
        "--epochs 1 --adversarial 2 --binarize dynamic --on-spike skip --clip-norm 9",
    ]
    .into_iter()
    .enumerate()
    {
        let [whole, parts] = ["whole", "parts"].map(|name| folder.path().join(format!("{name}-{number}")));
        let printed = train(&data, &whole, &format!("{options} --threads 1"));
        assert!(printed.contains("adversarial stage: the encoder stays"), "{printed}");
        let vae = 7 * (2 - number);
        assert_eq!(column(&whole, "step"), [vae, vae + 7, vae + 14].map(|step| step.to_string()));
        // The VAE's epochs, both of the stage in its middle, and the end.
        train(&data, &parts, &format!("{options} --threads 3 --max-steps {}", vae - 2));
        for (threads, end) in [(2, vae + 4), (3, vae + 7), (1, vae + 9)] {
            let more = format!("--threads {threads} --max-steps {end} --checkpoint-every 0s");
            succeed(&split(&format!("train --resume {} {more}", text(&parts))));
        }
        succeed(&split(&format!("train --resume {} --threads 2", text(&parts))));
        same(&parts, &whole, options);
        // The encoder is the VAE's, the decoder is not; the best model may be the VAE itself.
        let checkpoint =
            elbo::storage::tensor_file::TensorFile::load(&whole.join("checkpoint.safetensors"), 1 << 30);
        let vae =
            elbo::storage::tensor_file::TensorFile::load(&whole.join("vae.safetensors"), 1 << 30).unwrap();
        let (checkpoint, mut moved) = (checkpoint.unwrap(), 0);
        for tensor in &vae.tensors {
            let found = checkpoint.tensors.iter().find(|found| found.name == tensor.name).unwrap();
            let is_same = found.data == tensor.data;
            assert_eq!(is_same, !tensor.name.starts_with("decoder."), "{}", tensor.name);
            moved += usize::from(!is_same);
        }
        assert!(moved > 3, "{moved}");
        let report = std::fs::read_to_string(whole.join("report.html")).unwrap();
        assert!(
            report.contains("How it was sharpened") && report.contains("Adversarial stage: 2 of 2 epochs")
        );
    }
}

#[test]
fn a_model_that_has_learned_needs_only_the_stage() {
    let folder = work_folder();
    let data = data(folder.path());
    let [vae, sharp, longer] = ["vae", "sharp", "longer"].map(|name| folder.path().join(name));
    train(&data, &vae, "--epochs 1");
    train(&data, &sharp, &format!("--start-from {} --adversarial 1", text(&vae)));
    assert_eq!(column(&sharp, "step"), ["0", "7"]);
    assert_eq!(column(&sharp, "epoch"), ["0", "1"]);
    let model = |run: &Path, name: &str| std::fs::read(run.join(name)).unwrap();
    assert!(model(&sharp, "vae.safetensors") == model(&vae, "model.safetensors"));
    // More epochs of the stage may be asked for; epochs of the VAE come too late.
    train(&data, &longer, &format!("--start-from {} --adversarial 2", text(&vae)));
    succeed(&split(&format!("train --resume {} --adversarial 2", text(&sharp))));
    same(&sharp, &longer, "an epoch more");
    let message = refused(&split(&format!("train --resume {} --epochs 3", text(&sharp))));
    assert!(message.contains("the adversarial stage has begun after 0 epochs of the VAE"), "{message}");
    // A finished VAE gets a stage in its own run.
    succeed(&split(&format!("train --resume {} --adversarial 1", text(&vae))));
    assert_eq!(column(&vae, "step"), ["7", "14"]);
    succeed(&split(&format!("eval {} --data {} --samples 40", text(&vae), text(&data))));
}

#[test]
fn what_cannot_have_the_stage_is_refused_with_nothing_written() {
    let folder = work_folder();
    let (data, out) = (data(folder.path()), folder.path().join("out"));
    for (options, expected) in [
        ("--adversarial 0", "must be at least 1"),
        ("--adversarial --tie-weights", "leaves the encoder"),
        ("--adversarial --likelihood discretized-logistic --context", "pixel by pixel"),
        ("--epochs 0 --adversarial", "0 epochs"),
        ("--adversarial --max-memory 18MiB", "more than the 18.0 MiB that --max-memory allows"),
    ] {
        let arguments = format!("train --data {} --out {} {NETWORK} {options}", text(&data), text(&out));
        let message = refused(&split(&arguments));
        assert!(message.contains(expected), "{options}: {message}");
        assert!(!out.exists(), "{options}");
    }
    // The network alone takes less.
    train(&data, &out, "--epochs 1 --max-memory 18MiB");
}

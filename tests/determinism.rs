//! The same seed gives the same bits, for any number of threads and any time between checkpoints.
//!
//! The sizes are large enough that work is divided: full batches of 128 images of 28×28 (and a smaller last
//! one), so every convolution, matrix product, loss and sum has several tasks.

mod support;

use std::path::Path;

use elbo::kernels::precision::Precision;
use support::*;

/// Threads, and the time between checkpoints with them.
const HOW: [(&str, &str); 5] = [("1", "5m"), ("2", "0s"), ("3", "0.02s"), ("4", "1h"), ("8", "0.001s")];

fn assert_same_for_any_threads(shape: [usize; 4], variants: &[&str]) {
    // Some hundred MB for `article`: not in memory.
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("images.npy");
    write_images(&data, shape);
    for options in variants {
        let reference = folder.path().join("1");
        for (threads, every) in HOW {
            let run = folder.path().join(threads);
            let arguments = format!(
                "train --data {} --out {} --seed 5 --epochs 1 {options} --threads {threads} --checkpoint-every {every}",
                text(&data),
                text(&run)
            );
            succeed(&arguments.split_whitespace().collect::<Vec<_>>());
            assert_same(&run, &reference, &format!("{options} with {threads} threads"));
            assert_same_config(&run, &reference);
        }
        println!("{options}: the same with 1, 2, 3, 4 and 8 threads");
        for (threads, _) in HOW {
            std::fs::remove_dir_all(folder.path().join(threads)).unwrap();
        }
    }
}

/// The configurations are the same except for two options.
fn assert_same_config(run: &Path, reference: &Path) {
    let read = |run: &Path| {
        let text = std::fs::read_to_string(run.join("config.toml")).unwrap();
        let differs = |line: &&str| !line.starts_with("threads") && !line.starts_with("checkpoint-every");
        text.lines().filter(differs).map(String::from).collect::<Vec<_>>()
    };
    assert_eq!(read(run), read(reference));
}

#[test]
fn conv_and_mlp_are_the_same_for_any_threads() {
    let variants = [
        "--preset conv --batch 128 --valid 40",
        "--preset conv --batch 128 --valid 40 --schedule alternating --likelihood optimal-gaussian --weight-average 0.9",
        "--preset conv --batch 128 --valid 40 --tie-weights --divergence jeffreys --clip-norm 1 --binarize dynamic",
        "--preset mlp --batch 128 --valid 40",
        "--preset mlp --batch 128 --valid 0 --schedule alternating --likelihood laplace",
    ];
    assert_same_for_any_threads([330, 28, 28, 1], &variants);
}

#[test]
fn odd_sizes_in_colour_are_the_same_for_any_threads() {
    let options = "--preset conv --channels 32,64,128 --batch 32 --valid 5 --likelihood gaussian";
    assert_same_for_any_threads([72, 33, 47, 3], &[options]);
    let options = "--preset residual --channels 16,16 --batch 32 --valid 4 --likelihood discretized-logistic";
    assert_same_for_any_threads([40, 17, 19, 3], &[options]);
}

#[test]
fn article_is_the_same_for_any_threads() {
    assert_same_for_any_threads([36, 28, 28, 1], &["--preset article --batch 32 --valid 4"]);
    assert_same_for_any_threads(
        [68, 12, 12, 1],
        &["--preset article --batch 32 --valid 4 --schedule alternating"],
    );
}

#[test]
fn bf16_is_the_same_for_any_threads_or_is_refused() {
    if Precision::Bf16.is_found() {
        let options = "--preset conv --batch 128 --valid 40 --precision bf16";
        return assert_same_for_any_threads([330, 28, 28, 1], &[options]);
    }
    let folder = work_folder();
    let (data, run) = (folder.path().join("images.npy"), folder.path().join("run"));
    write_images(&data, [60, 8, 8, 1]);
    let message = refused(&[
        "train",
        "--data",
        text(&data),
        "--out",
        text(&run),
        "--preset",
        "mlp",
        "--precision",
        "bf16",
    ]);
    assert!(message.contains("AVX512-BF16") && !run.exists(), "{message}");
}

#[test]
fn another_seed_gives_other_bits() {
    let folder = work_folder();
    let data = folder.path().join("images.npy");
    write_images(&data, [60, 8, 8, 1]);
    let model = |seed: &str, name: &str| {
        let run = folder.path().join(name);
        let arguments = ["train", "--data", text(&data), "--preset", "mlp", "--epochs", "1", "--seed", seed];
        succeed(&[&arguments[..], &["--out", text(&run)]].concat());
        std::fs::read(run.join("model.safetensors")).unwrap()
    };
    assert!(model("1", "a") == model("1", "b"));
    assert!(model("1", "c") != model("2", "d"));
}

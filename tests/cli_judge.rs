//! `eval`, `sample` and `score` on the built program: every preset, grey and RGB, the newest run, and invalid
//! input.

mod support;

use std::path::Path;
use std::process::Output;

use serde_json::Value;
use support::{
    elbo, refused_in, stderr, stdout, succeed_in, text, work_folder, write_idx, write_images, write_npy,
};

fn run_in(folder: &Path, arguments: &[&str]) -> Output {
    elbo(arguments).current_dir(folder).output().unwrap()
}

/// The one JSON object that `eval --json` prints.
#[track_caller]
fn eval_in(folder: &Path, arguments: &[&str]) -> Value {
    let printed = succeed_in(folder, &[&["eval", "--json"], arguments].concat());
    assert_eq!(printed.trim_end().lines().count(), 1, "{printed}");
    serde_json::from_str(&printed).unwrap()
}

fn number(value: &Value, key: &str) -> f64 {
    value[key].as_f64().unwrap_or_else(|| panic!("{key} is {}", value[key]))
}

/// Grey images with labels and test images, as files with MNIST's names: blobs on the left, or on the right.
fn write_labelled(folder: &Path, train: usize, test: usize) {
    std::fs::create_dir(folder).unwrap();
    for (name, count, seed) in [("train", train, 1), ("t10k", test, 2)] {
        let mut numbers = support::Numbers(seed);
        let (mut pixels, mut labels) = (Vec::new(), Vec::new());
        for image in 0..count {
            let label = (image % 2) as u8;
            let middle = if label == 0 { 2.0 } else { 5.0 } + numbers.below(10) as f64 / 10.0;
            let radius = 1.0 + numbers.below(10) as f64 / 10.0;
            for at in 0..9 * 8 {
                let distance = ((at / 8) as f64 - 4.0).hypot((at % 8) as f64 - middle) / radius;
                pixels.push((255.0 * (-distance * distance).exp()) as u8);
            }
            labels.push(label);
        }
        write_idx(&folder.join(format!("{name}-images-idx3-ubyte")), &[count, 9, 8], &pixels);
        write_idx(&folder.join(format!("{name}-labels-idx1-ubyte")), &[count], &labels);
    }
}

/// A small run in `runs/NAME` of a folder.
fn train_in(folder: &Path, name: &str, data: &str, preset: &str, more: &[&str]) {
    let out = format!("runs/{name}");
    let fixed =
        ["train", "--data", data, "--preset", preset, "--latent", "3", "--out", &out, "--batch", "20"];
    let narrow: &[&str] = match preset {
        "conv" => &["--channels", "8", "--hidden", "32"],
        "mlp" => &["--hidden", "32"],
        _ => &[],
    };
    succeed_in(folder, &[&fixed, narrow, more].concat());
}

#[test]
fn a_model_of_each_preset_is_judged_and_used_in_grey() {
    for preset in ["conv", "article", "mlp"] {
        let folder = work_folder();
        let folder = folder.path();
        write_labelled(&folder.join("data"), 60, 30);
        train_in(folder, "one", "data", preset, &["--max-steps", "8"]);
        let found = eval_in(folder, &["--importance", "4", "--samples", "40"]);
        assert_eq!((&found["images"], &found["set"]), (&Value::from(30), &Value::from("test")));
        let sum = number(&found, "reconstruction") + number(&found, "kl");
        assert!((sum - number(&found, "negative_elbo")).abs() < 1e-9);
        // Four draws are a better bound than one, over 30 images.
        assert!(-number(&found["importance"], "bound") < number(&found, "negative_elbo") + 1.0);
        assert!(number(&found["importance"], "standard_error") > 0.0);
        assert!(found["bits_per_dim"].is_null(), "a density and Bernoulli give no probabilities of bytes");
        assert!(number(&found["knn"], "accuracy") > 0.5, "{}", found["knn"]);
        assert!(number(&found, "ssim") <= 1.0 && number(&found, "psnr") > 0.0);
        assert_eq!(found["kl_per_dimension"].as_array().unwrap().len(), 3);
        let distance = &found["sample_distance"];
        assert!(distance["gmm"].is_null() && number(distance, "floor") < number(distance, "normal"));

        sampled(folder, (9, 8, 1));
        let fitted = eval_in(folder, &["--samples", "40"]);
        assert!(number(&fitted["sample_distance"], "gmm") >= 0.0);
        assert_eq!(fitted["negative_elbo"], found["negative_elbo"]);
        assert!(succeed_in(folder, &["eval"]).contains("30 test images"));

        let printed = succeed_in(folder, &["score", "--sheet", "odd.png"]);
        assert!(printed.contains("quantile of 6 validation images"), "{printed}");
        let mean = scores(&folder.join("scores.csv")).iter().sum::<f64>() / 30.0;
        assert!((mean - number(&found, "negative_elbo")).abs() < 1e-6 * mean.abs().max(1.0));
        succeed_in(folder, &["score", "--importance", "4", "--out", "bound.csv"]);
        let mean = scores(&folder.join("bound.csv")).iter().sum::<f64>() / 30.0;
        assert!((mean + number(&found["importance"], "bound")).abs() < 1e-6 * mean.abs().max(1.0));
    }
}

#[test]
fn a_model_of_each_preset_is_judged_and_used_in_colour() {
    for preset in ["conv", "article", "mlp"] {
        let folder = work_folder();
        let folder = folder.path();
        write_images(&folder.join("data.npy"), [50, 8, 10, 3]);
        let likelihood = if preset == "conv" { "gaussian" } else { "squared-error" };
        train_in(folder, "one", "data.npy", preset, &["--max-steps", "3", "--likelihood", likelihood]);
        let found = eval_in(folder, &["--samples", "20"]);
        assert_eq!((&found["images"], &found["set"]), (&Value::from(5), &Value::from("validation")));
        assert!(found["knn"].is_null() && found["bits_per_dim"].is_null());
        sampled(folder, (8, 10, 3));
        // Pictures that it made itself are data too, with their files in the table.
        let printed = succeed_in(folder, &["score", "--data", "pictures", "--sheet", "odd.png"]);
        assert!(printed.contains("quantile of 5 validation images"), "{printed}");
        let table = std::fs::read_to_string(folder.join("scores.csv")).unwrap();
        assert!(table.lines().nth(1).unwrap().starts_with("0,pictures/00000.png,,"), "{table}");
        assert_eq!(eval_in(folder, &["--data", "pictures"])["set"], "all");
        // None held out: all are looked at, and that is said.
        train_in(folder, "two", "data.npy", preset, &["--max-steps", "1", "--valid", "0"]);
        assert_eq!(eval_in(folder, &["runs/two"])["set"], "all");
        assert!(succeed_in(folder, &["score", "runs/two"]).contains("of 50 scored images themselves"));
    }
}

/// All forms of samples of the newest run.
#[track_caller]
fn sampled(folder: &Path, (height, width, channels): (usize, usize, usize)) {
    succeed_in(folder, &["sample"]);
    succeed_in(folder, &["sample"]);
    assert!(folder.join("samples-0.png").is_file() && folder.join("samples-0-2.png").is_file());
    succeed_in(folder, &["sample", "--count", "5", "--out", "a.npy"]);
    succeed_in(folder, &["sample", "--count", "3", "--out", "b.npy"]);
    let (a, b) = (std::fs::read(folder.join("a.npy")).unwrap(), std::fs::read(folder.join("b.npy")).unwrap());
    let shape = format!("(5,{height},{width},{channels}");
    assert!(String::from_utf8_lossy(&a).replace(' ', "").contains(&shape));
    let bytes = 3 * height * width * channels * 4;
    // The first samples are the same for any count.
    assert_eq!(a[a.len() - bytes / 3 * 5..][..bytes], b[b.len() - bytes..]);
    let fitted = succeed_in(
        folder,
        &["sample", "--count", "12", "--prior", "gmm", "--components", "2", "--out", "pictures/"],
    );
    assert!(fitted.contains("fitted 2 Gaussians"), "{fitted}");
    assert_eq!(support::files(&folder.join("pictures")).len(), 12);
    assert!(folder.join("runs/one/prior.safetensors").is_file());
    let again = succeed_in(folder, &["sample", "--prior", "gmm", "--temperature", "0.5", "--out", "c.png"]);
    assert!(!again.contains("fitted"), "{again}");
}

/// The scores of a table.
fn scores(path: &Path) -> Vec<f64> {
    let table = std::fs::read_to_string(path).unwrap();
    let mut lines = table.lines();
    assert_eq!(lines.next(), Some("index,file,label,score,strange"));
    lines.map(|line| line.split(',').nth(3).unwrap().parse().unwrap()).collect()
}

#[test]
fn the_figures_and_the_prior_do_not_depend_on_threads_and_a_stale_prior_is_fitted_anew() {
    let folder = work_folder();
    let folder = folder.path();
    write_labelled(&folder.join("data"), 300, 40);
    train_in(folder, "one", "data", "mlp", &["--epochs", "2"]);
    let prior = folder.join("runs/one/prior.safetensors");
    let mut seen: Option<(String, Vec<u8>, Vec<u8>)> = None;
    for threads in ["1", "2", "4"] {
        let run = |arguments: &[&str]| {
            let output =
                elbo(arguments).current_dir(folder).env("RAYON_NUM_THREADS", threads).output().unwrap();
            assert!(output.status.success(), "{}", stderr(&output));
            stdout(&output)
        };
        let samples = format!("{threads}.npy");
        run(&["sample", "--prior", "gmm", "--out", &samples]);
        let found = run(&["eval", "--json", "--samples", "100", "--importance", "3"]);
        let bytes = |path: &Path| std::fs::read(path).unwrap();
        let now = (found, bytes(&prior), bytes(&folder.join(samples)));
        assert!(seen.as_ref().is_none_or(|before| *before == now), "{threads} threads differ");
        seen = Some(now);
        std::fs::remove_file(&prior).unwrap();
    }
    // Another seed is another draw; eval's own is the run's.
    let other = eval_in(folder, &["--seed", "7"]);
    assert_ne!(other["negative_elbo"], eval_in(folder, &[])["negative_elbo"]);

    // A prior of another model.
    std::fs::write(&prior, seen.unwrap().1).unwrap();
    train_in(folder, "two", "data", "mlp", &["--max-steps", "2"]);
    std::fs::copy(&prior, folder.join("runs/two/prior.safetensors")).unwrap();
    assert!(eval_in(folder, &["runs/two", "--samples", "10"])["sample_distance"]["gmm"].is_null());
    let output = run_in(folder, &["sample", "runs/two", "--prior", "gmm", "--out", "two.png"]);
    assert!(stderr(&output).contains("another model") && stdout(&output).contains("fitted"));
    assert!(eval_in(folder, &["runs/two", "--samples", "10"])["sample_distance"]["gmm"].is_number());
    // More components than that are a new fit.
    assert!(
        succeed_in(folder, &["sample", "--prior", "gmm", "--components", "4", "--out", "four.png"])
            .contains("fitted 4")
    );
}

#[test]
fn binarized_images_are_judged_as_they_were_learnt() {
    let folder = work_folder();
    let folder = folder.path();
    write_labelled(&folder.join("data"), 60, 20);
    train_in(folder, "one", "data", "mlp", &["--max-steps", "4", "--binarize", "static", "--seed", "5"]);
    let found = eval_in(folder, &[]);
    let grey = eval_in(folder, &["--binarize", "threshold"]);
    assert_ne!(found["negative_elbo"], grey["negative_elbo"]);
    assert_eq!(found["seed"], 5);
    succeed_in(folder, &["score"]);
    let mean = scores(&folder.join("scores.csv")).iter().sum::<f64>() / 20.0;
    assert!((mean - number(&found, "negative_elbo")).abs() < 1e-6 * mean);
}

#[test]
fn what_cannot_be_is_refused_in_a_sentence() {
    let folder = work_folder();
    let folder = folder.path();
    for command in ["eval", "sample", "score"] {
        refused_in(folder, &[command], &["no run in runs/"]);
        refused_in(folder, &[command, "nothing"], &["nothing"]);
    }
    write_labelled(&folder.join("data"), 40, 10);
    train_in(folder, "one", "data", "mlp", &["--max-steps", "2"]);
    std::fs::write(folder.join("taken.png"), "mine").unwrap();
    std::fs::write(folder.join("taken.csv"), "mine").unwrap();
    write_images(&folder.join("large.npy"), [4, 12, 12, 1]);
    write_images(&folder.join("colour.npy"), [4, 9, 8, 3]);
    write_npy(&folder.join("text.npy"), "|u1", &[4, 9, 8, 1], &[0; 7]);
    std::fs::create_dir(folder.join("empty")).unwrap();
    std::fs::write(folder.join("model.png"), "no model").unwrap();

    refused_in(folder, &["eval", "--importance", "0"], &["--importance 0"]);
    refused_in(folder, &["eval", "--samples", "1"], &["--samples", "at least 2"]);
    refused_in(folder, &["eval", "--data", "large.npy"], &["9×8×1", "12×12×1"]);
    refused_in(folder, &["eval", "--data", "colour.npy"], &["9×8×1", "9×8×3"]);
    refused_in(folder, &["eval", "--data", "empty"], &["empty", "PNG"]);
    refused_in(folder, &["eval", "--data", "text.npy"], &["text.npy"]);
    refused_in(folder, &["eval", "model.png"], &["model.png"]);
    refused_in(folder, &["sample", "--count", "0"], &["--count 0"]);
    refused_in(
        folder,
        &["sample", "--count", "99999999999"],
        &["TiB of memory, more than the 8.0 GiB", "--count"],
    );
    refused_in(folder, &["sample", "--temperature", "NaN"], &["--temperature", "NaN"]);
    refused_in(folder, &["sample", "--temperature", "-1"], &["--temperature", "-1"]);
    refused_in(folder, &["sample", "--components", "3"], &["--prior gmm"]);
    refused_in(folder, &["sample", "--prior", "gmm", "--components", "37"], &["37 components for 36 images"]);
    refused_in(folder, &["sample", "--prior", "gmm", "--data", "colour.npy"], &["9×8×3"]);
    refused_in(folder, &["sample", "--out", "taken.png"], &["taken.png already exists"]);
    refused_in(folder, &["sample", "--out", "data"], &["data already exists"]);
    refused_in(folder, &["sample", "--out", "x.gif"], &[".gif", ".png"]);
    refused_in(folder, &["sample", "--out", "no/such/x.png"], &["no/such"]);
    refused_in(folder, &["score", "--quantile", "1.5"], &["--quantile", "1.5"]);
    refused_in(folder, &["score", "--quantile", "NaN"], &["--quantile"]);
    refused_in(folder, &["score", "--importance", "0"], &["--importance 0"]);
    refused_in(folder, &["score", "--sheet", "taken.png"], &["taken.png already exists"]);
    refused_in(folder, &["score", "--out", "taken.csv"], &["taken.csv already exists"]);
    refused_in(folder, &["score", "--out", "new.png"], &[".csv", ".png"]);
    refused_in(folder, &["score", "--data", "large.npy"], &["12×12×1"]);
    assert_eq!(run_in(folder, &["sample", "--prior", "uniform"]).status.code(), Some(2));

    // A prior that was cut short, and one that is none.
    succeed_in(folder, &["sample", "--prior", "gmm", "--out", "fine.png"]);
    let prior = folder.join("runs/one/prior.safetensors");
    let bytes = std::fs::read(&prior).unwrap();
    std::fs::write(&prior, &bytes[..bytes.len() - 9]).unwrap();
    refused_in(folder, &["sample", "--prior", "gmm", "--out", "x.png"], &["prior.safetensors", "cut short"]);
    refused_in(folder, &["eval", "--samples", "5"], &["prior.safetensors", "cut short"]);
    std::fs::copy(folder.join("runs/one/model.safetensors"), &prior).unwrap();
    refused_in(folder, &["sample", "--prior", "gmm", "--out", "x.png"], &["not a fitted prior"]);

    // Nothing was half-written, and nothing that was there is gone.
    assert_eq!(std::fs::read_to_string(folder.join("taken.png")).unwrap(), "mine");
    assert_eq!(std::fs::read_to_string(folder.join("taken.csv")).unwrap(), "mine");
    let left: Vec<String> =
        support::files(folder).iter().map(|path| text(path).replace(text(folder), "")).collect();
    let expected = [
        "/colour.npy",
        "/data",
        "/empty",
        "/fine.png",
        "/large.npy",
        "/model.png",
        "/runs",
        "/taken.csv",
        "/taken.png",
        "/text.npy",
    ];
    assert_eq!(left, expected);
}

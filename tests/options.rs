//! Every option of the program has its documented effect, from end to end on small data: flags and config
//! files, the numbers in metrics.csv, the output, and refusals that write nothing.

mod support;

use std::path::{Path, PathBuf};

use support::{Numbers, refused, succeed, text, work_folder};

/// 60 pictures of N×H×W bytes: a bright square somewhere.
fn squares(folder: &Path) -> PathBuf {
    let mut pixels = Vec::new();
    for image in 0..60_usize {
        let (top, left) = (image % 5, image / 5 % 5);
        pixels.extend((0..100).map(|at| {
            let (y, x) = (at / 10, at % 10);
            if (top..top + 5).contains(&y) && (left..left + 5).contains(&x) { 230_u8 } else { 10 }
        }));
    }
    npy(folder, "squares.npy", "|u1", &[60, 10, 10], &pixels)
}

/// An .npy file, version 1.0 (the format's page in NumPy's manual).
fn npy(folder: &Path, name: &str, kind: &str, shape: &[usize], bytes: &[u8]) -> PathBuf {
    let shape: String = shape.iter().map(|n| format!("{n}, ")).collect();
    let mut header = format!("{{'descr': '{kind}', 'fortran_order': False, 'shape': ({shape}), }}");
    while (10 + header.len() + 1) % 64 != 0 {
        header.push(' ');
    }
    header.push('\n');
    let mut file = b"\x93NUMPY\x01\x00".to_vec();
    file.extend((header.len() as u16).to_le_bytes());
    file.extend(header.as_bytes());
    file.extend(bytes);
    let path = folder.join(name);
    std::fs::write(&path, file).unwrap();
    path
}

/// A folder for one test, with its data and small networks.
struct Bench {
    folder: tempfile::TempDir,
    data: PathBuf,
    runs: usize,
}

impl Bench {
    fn new() -> Self {
        let folder = work_folder();
        let data = squares(folder.path());
        Self { folder, data, runs: 0 }
    }

    /// Trains with some more options; returns the run's folder and the output.
    fn train(&mut self, options: &[&str]) -> (PathBuf, String) {
        self.runs += 1;
        let run = self.folder.path().join(format!("run{}", self.runs));
        let mut all = vec!["train", "--data", text(&self.data), "--out", text(&run), "--threads", "1"];
        all.extend(["--preset", "mlp", "--hidden", "16", "--latent", "4", "--batch", "20", "--valid", "0"]);
        // The last one given counts if a test has its own.
        let own = |name: &str| options.contains(&name);
        let at = all.iter().position(|&o| o == "--preset").unwrap();
        let defaults: Vec<&str> = all.split_off(at);
        for pair in defaults.chunks(2).filter(|pair| !own(pair[0])) {
            all.extend(pair);
        }
        all.retain(|&o| !(own("--data") && (o == "--data" || o == text(&self.data))));
        all.extend(options);
        let printed = succeed(&all);
        (run, printed)
    }
}

/// A column of metrics.csv.
fn column(run: &Path, name: &str) -> Vec<f64> {
    let table = std::fs::read_to_string(run.join("metrics.csv")).unwrap();
    let mut lines = table.lines();
    let at = lines.next().unwrap().split(',').position(|n| n == name).unwrap_or_else(|| panic!("no {name}"));
    lines.map(|line| line.split(',').nth(at).unwrap().parse().unwrap()).collect()
}

fn last(run: &Path, name: &str) -> f64 {
    *column(run, name).last().unwrap()
}

fn model(run: &Path) -> Vec<u8> {
    std::fs::read(run.join("model.safetensors")).unwrap()
}

fn near(a: f64, b: f64, tolerance: f64) -> bool {
    (a - b).abs() <= tolerance * a.abs().max(b.abs()).max(1.0)
}

#[test]
fn a_config_file_repeats_a_run_and_flags_win_over_it() {
    let mut bench = Bench::new();
    let all = [
        "--divergence",
        "jeffreys",
        "--likelihood",
        "laplace",
        "--scale",
        "0.2",
        "--beta",
        "2",
        "--beta-warmup",
        "1.5",
        "--free-bits",
        "0.05",
        "--capacity",
        "3",
        "--lr",
        "0.002",
        "--lr-schedule",
        "cosine",
        "--lr-warmup",
        "0.5",
        "--weight-decay",
        "0.01",
        "--clip-norm",
        "5",
        "--weight-average",
        "0.9",
        "--on-spike",
        "skip",
        "--seed",
        "7",
        "--epochs",
        "3",
        "--binarize",
        "static",
        "--valid",
        "10",
        "--patience",
        "3",
        "--tie-weights",
    ]; // every option that changes numbers
    let (first, _) = bench.train(&all);
    let again = bench.folder.path().join("again");
    succeed(&["train", "--config", text(&first.join("config.toml")), "--out", text(&again)]);
    assert_eq!(model(&first), model(&again), "the same options, the same bytes");
    let other = bench.folder.path().join("other");
    succeed(&[
        "train",
        "--config",
        text(&first.join("config.toml")),
        "--out",
        text(&other),
        "--seed",
        "8",
        "--epochs",
        "1",
    ]);
    assert_eq!(column(&other, "epoch").len(), 1);
    let config = std::fs::read_to_string(other.join("config.toml")).unwrap();
    assert!(config.contains("seed = 8") && config.contains("capacity = 3.0"), "{config}");
}

#[test]
fn beta_and_its_warmup_weigh_the_divergence() {
    let mut bench = Bench::new();
    let (run, printed) = bench.train(&["--beta", "3", "--epochs", "1"]);
    assert!(near(
        last(&run, "train_loss"),
        last(&run, "train_reconstruction") + 3.0 * last(&run, "train_kl"),
        1e-9
    ));
    assert!(!printed.contains("warms up"), "{printed}");
    // Three steps an epoch; a row has β as the epoch's last step had it.
    let (run, _) = bench.train(&["--beta", "4", "--beta-warmup", "2", "--epochs", "3"]);
    let expected = [4.0 * (2.0 / 3.0) / 2.0, 4.0 * (5.0 / 3.0) / 2.0, 4.0];
    assert!(
        column(&run, "beta").iter().zip(expected).all(|(&b, e)| near(b, e, 1e-12)),
        "{:?}",
        column(&run, "beta")
    );
    let (_, printed) = bench.train(&["--beta-warmup", "5", "--epochs", "1"]);
    assert!(printed.contains("warning: β warms up over 5 epochs, and the run has 1"), "{printed}");
}

#[test]
fn free_bits_and_capacity_hold_the_divergence_where_they_say() {
    let mut bench = Bench::new();
    // 4 dimensions below the free bits: the loss has 4·λ, and the code is not penalized.
    let (run, _) = bench.train(&["--free-bits", "100", "--epochs", "1"]);
    assert!(near(last(&run, "train_loss"), last(&run, "train_reconstruction") + 400.0, 1e-9));
    // A capacity of 2 nats, held strictly, over a run that is long enough to reach it.
    let held = ["--beta", "30", "--epochs", "60", "--lr", "0.005"];
    let kl_at = |bench: &mut Bench, nats: &str| {
        let (run, _) = bench.train(&[&held[..], &["--capacity", nats]].concat());
        last(&run, "train_kl")
    };
    let (two, four) = (kl_at(&mut bench, "2"), kl_at(&mut bench, "4"));
    assert!((two - 2.0).abs() < 0.4 && (four - 4.0).abs() < 0.6, "{two} and {four} nats for 2 and 4");
    let (run, printed) = bench.train(&held);
    assert!(last(&run, "train_kl") < 0.5, "β = 30 alone");
    assert!(printed.contains("warning: only 0 of 4 latent dimensions are active"), "{printed}");
    assert_eq!(last(&run, "active_units"), 0.0);
}

#[test]
fn the_learning_rate_follows_its_schedule() {
    let mut bench = Bench::new();
    let mut rates = |options: &[&str]| {
        let (run, _) = bench.train(&[&["--epochs", "4", "--lr", "0.004"], options].concat());
        column(&run, "learning_rate")
    };
    // Twelve steps; rows have the rate of steps 2, 5, 8 and 11 (from 0).
    let cosine =
        |k: f64, warmup: f64| 0.002 * (1.0 + (std::f64::consts::PI * (k - warmup) / (12.0 - warmup)).cos());
    let all_near = |found: &[f64], expected: [f64; 4]| {
        assert!(
            found.iter().zip(expected).all(|(f, e)| (f - e).abs() <= 1e-12),
            "{found:?}, not {expected:?}"
        );
    };
    all_near(&rates(&[]), [0.004; 4]);
    all_near(&rates(&["--lr-schedule", "cosine"]), [2.0, 5.0, 8.0, 11.0].map(|k| cosine(k, 0.0)));
    all_near(&rates(&["--lr-schedule", "step"]), [0.004, 0.004, 0.0004, 0.00004]);
    all_near(
        &rates(&["--lr-schedule", "cosine", "--lr-warmup", "2"]),
        [0.002, 0.004, cosine(8.0, 6.0), cosine(11.0, 6.0)],
    );
    // --max-steps cuts the curve short without bending it.
    all_near(
        &rates(&["--lr-schedule", "cosine", "--max-steps", "6"]),
        [cosine(2.0, 0.0), cosine(5.0, 0.0), 0.0, 0.0],
    );
}

#[test]
fn decay_clipping_schedules_and_tying_change_what_they_should() {
    let mut bench = Bench::new();
    let (plain, _) = bench.train(&["--epochs", "5"]);
    let mut differs = |options: &[&str]| {
        let (run, printed) = bench.train(&[&["--epochs", "5"], options].concat());
        assert_ne!(model(&run), model(&plain), "{options:?} changed nothing");
        (run, printed)
    };
    differs(&["--weight-decay", "5"]);
    differs(&["--clip-norm", "0.01"]);
    differs(&["--weight-average", "0.5"]);
    differs(&["--divergence", "jeffreys"]);
    differs(&["--seed", "1"]);
    let (run, _) = differs(&["--schedule", "alternating"]);
    let losses = column(&run, "train_loss");
    assert!(losses[4] < losses[0], "{losses:?}");
    let (_, printed) = differs(&["--tie-weights"]);
    // 100·16 + 16, twice 16·4 + 4, and two biases of the transposed direction.
    assert!(printed.contains("mlp with 1,868 parameters"), "{printed}");
    // A weight decay of 1/lr removes all of the weights at each step except the step itself: the encoder
    // carries hardly any information.
    let (run, _) = differs(&["--weight-decay", "1000", "--lr", "0.001"]);
    assert!(last(&run, "train_kl") < 0.05, "{}", last(&run, "train_kl"));
}

#[test]
fn binarized_pixels_are_black_or_white() {
    let mut bench = Bench::new();
    // 230/255 and 10/255 are near the ends, so the drawn pictures differ from the threshold's in a few
    // pixels.
    let mut models = Vec::new();
    for how in ["threshold", "static", "dynamic"] {
        let (run, _) = bench.train(&["--binarize", how, "--epochs", "3"]);
        let losses = column(&run, "train_loss");
        assert!(losses[2] < losses[0], "{how}: {losses:?}");
        models.push(model(&run));
    }
    assert!(models[0] != models[1] && models[1] != models[2] && models[0] != models[2]);
    // Grey in [−1, 1] is not a probability, but black and white are.
    let values: Vec<u8> =
        (0..20 * 64).flat_map(|i| (if i % 3 == 0 { 0.5_f32 } else { -0.9 }).to_le_bytes()).collect();
    let data = npy(bench.folder.path(), "symmetric.npy", "<f4", &[20, 8, 8], &values);
    bench.train(&["--data", text(&data), "--binarize", "threshold", "--epochs", "1"]);
}

#[test]
fn patience_ends_a_run_that_no_longer_improves() {
    let mut bench = Bench::new();
    // Noise has nothing that held-out images share, so a fast learner soon gets worse at them.
    let mut numbers = Numbers(5);
    let bytes: Vec<u8> = (0..60 * 64).map(|_| numbers.below(256) as u8).collect();
    let data = npy(bench.folder.path(), "noise.npy", "|u1", &[60, 8, 8], &bytes);
    let options = [
        "--data",
        text(&data),
        "--valid",
        "20",
        "--patience",
        "2",
        "--epochs",
        "400",
        "--lr",
        "0.01",
        "--hidden",
        "64",
    ];
    let (run, printed) = bench.train(&options);
    assert!(printed.contains("no better for 2 epochs, so the run ends here"), "{printed}");
    let valid = column(&run, "valid_loss");
    assert!(valid.len() < 400);
    let best = valid.iter().copied().fold(f64::INFINITY, f64::min);
    assert_eq!(valid[valid.len() - 3], best, "the best is the third last: {valid:?}");
}

#[test]
fn every_likelihood_and_schedule_trains_on_colour_arrays_of_each_kind() {
    let mut bench = Bench::new();
    // N×3×H×W as bytes, as floats in [0, 1], as doubles in [−1, 1].
    let unit: Vec<f64> = (0..24 * 3 * 9 * 8).map(|i| if i / 8 % 9 < 4 + i % 3 { 0.9 } else { 0.1 }).collect();
    let folder = bench.folder.path().to_path_buf();
    let bytes: Vec<u8> = unit.iter().map(|v| (v * 255.0) as u8).collect();
    let singles: Vec<u8> = unit.iter().flat_map(|&v| (v as f32).to_le_bytes()).collect();
    let doubles: Vec<u8> = unit.iter().flat_map(|v| (2.0 * v - 1.0).to_le_bytes()).collect();
    let shape = [24, 3, 9, 8];
    let files = [
        npy(&folder, "u8.npy", "|u1", &shape, &bytes),
        npy(&folder, "f4.npy", "<f4", &shape, &singles),
        npy(&folder, "f8.npy", "<f8", &shape, &doubles),
    ];
    for file in &files {
        for likelihood in ["squared-error", "gaussian", "optimal-gaussian", "laplace"] {
            for schedule in ["joint", "alternating"] {
                let mut options = vec!["--data", text(file), "--preset", "conv", "--channels", "4,6"];
                options.extend([
                    "--likelihood",
                    likelihood,
                    "--schedule",
                    schedule,
                    "--epochs",
                    "6",
                    "--lr",
                    "0.005",
                ]);
                let (run, printed) = bench.train(&options);
                assert!(printed.contains("24 images of 9×8, RGB"), "{printed}");
                let (loss, recon) = (column(&run, "train_loss"), column(&run, "train_reconstruction"));
                assert!(loss[5] < loss[0] && recon[5] < recon[0], "{likelihood} {schedule}: {loss:?}");
            }
        }
    }
    // The widths of the densities are the user's.
    bench.train(&["--likelihood", "gaussian", "--sigma", "0.5", "--epochs", "1"]);
    bench.train(&["--likelihood", "laplace", "--scale", "0.5", "--epochs", "1"]);
}

#[test]
fn the_article_trains_on_a_colour_array() {
    let mut bench = Bench::new();
    let bytes: Vec<u8> = (0..12 * 3 * 64).map(|i| if i % 8 < 4 { 220 } else { 30 }).collect();
    let data = npy(bench.folder.path(), "images.npy", "|u1", &[12, 3, 8, 8], &bytes);
    let options = [
        "--data",
        text(&data),
        "--preset",
        "article",
        "--batch",
        "6",
        "--epochs",
        "5",
        "--hidden",
        "1024,512",
    ];
    let (run, printed) = bench.train(&options);
    assert!(printed.contains("squared-error likelihood"), "{printed}");
    let recon = column(&run, "train_reconstruction");
    assert!(recon[4] < recon[0], "{recon:?}");
}

/// (The other refusals are in train_cli.rs.)
#[test]
fn a_likelihood_or_network_that_does_not_fit_the_data_is_refused_with_nothing_written() {
    let bench = Bench::new();
    let out = bench.folder.path().join("out");
    let values: Vec<u8> =
        (0..20 * 64).flat_map(|i| (if i % 3 == 0 { 0.5_f32 } else { -0.9 }).to_le_bytes()).collect();
    let symmetric = npy(bench.folder.path(), "symmetric.npy", "<f4", &[20, 8, 8], &values);
    for (data, options, expected) in [
        (&symmetric, vec!["--preset", "mlp"], "bernoulli"),
        (&symmetric, vec!["--preset", "article", "--likelihood", "bernoulli"], "bernoulli"),
        (&bench.data, vec!["--preset", "article", "--hidden", "10"], "widths are fixed"),
        (&bench.data, vec!["--channels", "8,8,8,8"], "4×4 kernel"),
    ] {
        let arguments = [&["train", "--data", text(data), "--out", text(&out)], &options[..]].concat();
        let message = refused(&arguments);
        assert!(message.contains(expected), "{options:?}: {message}");
        assert!(!out.exists(), "{options:?} wrote something");
    }
}

#[test]
fn options_stand_under_headings() {
    let help = |command: &str| succeed(&[command, "--help"]);
    let train = help("train");
    let places: Vec<usize> = ["\nRun:", "\nImages:", "\nNetwork:", "\nObjective:", "\nTraining:"]
        .map(|heading| train.find(heading).unwrap_or_else(|| panic!("no {heading}: {train}")))
        .to_vec();
    for (heading, option) in [
        (0, "--resume"),
        (1, "--data"),
        (1, "--augment"),
        (2, "--preset"),
        (2, "--start-from"),
        (3, "--free-bits"),
        (4, "--lr-warmup"),
    ] {
        let at = train.find(&format!("{option} <")).unwrap_or_else(|| panic!("no {option}: {train}"));
        let above = places.iter().filter(|&&place| place < at).max().unwrap();
        assert_eq!(*above, places[heading], "{option}");
    }
    for command in [
        "sample",
        "reconstruct",
        "encode",
        "interpolate",
        "traverse",
        "edit",
        "inpaint",
        "score",
        "eval",
        "compress",
    ] {
        let text = help(command);
        let (own, images) = (text.find("\nOptions:").unwrap(), text.find("\nImages:").unwrap());
        assert!(own < images && text.find("--max-memory").unwrap() > images, "{command}: {text}");
    }
}

//! Invalid training input is refused in one sentence, with exit code 1 (2 for a malformed command line), and
//! nothing is written; and no NaN or infinity gets into a file.

mod support;

use std::path::{Path, PathBuf};

use support::*;

/// A folder with `good.npy` (30 images of 8×8) in it.
struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        let place = Self(work_folder());
        write_images(&place.path("good.npy"), [30, 8, 8, 1]);
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Inserts paths: {x} is the file x in this folder.
    fn arguments(&self, line: &str) -> Vec<String> {
        let put = |word: &str| match word.strip_prefix('{').and_then(|word| word.strip_suffix('}')) {
            Some(name) => text(&self.path(name)).to_string(),
            None => word.to_string(),
        };
        line.split_whitespace().map(put).collect()
    }

    fn run(&self, line: &str) -> std::process::Output {
        elbo(&self.arguments(line).iter().map(String::as_str).collect::<Vec<_>>())
            .current_dir(self.0.path())
            .output()
            .unwrap()
    }

    fn names(&self) -> Vec<PathBuf> {
        files(self.0.path())
    }

    /// Runs a training into {run}, which must be refused with this in its message and leave nothing.
    #[track_caller]
    fn refused(&self, line: &str, expected: &[&str]) {
        let before = self.names();
        let message = message(&self.run(&format!("train --out {{run}} {line}")));
        for expected in expected {
            assert!(message.contains(expected), "`{line}` gives no `{expected}`: {message}");
        }
        assert_eq!(self.names(), before, "`{line}` left something");
        println!("{line:60}  {message}");
    }
}

#[test]
fn options_that_cannot_be_are_refused() {
    let place = Place::new();
    for (options, expected) in [
        ("--lr NaN", &["learning rate", "NaN", "positive"][..]),
        ("--lr -1", &["learning rate", "-1", "positive"]),
        ("--lr 0", &["learning rate", "positive"]),
        ("--lr inf", &["learning rate", "positive"]),
        ("--latent 0", &["latent size is 0", "at least 1"]),
        ("--batch 0", &["at least 1"]),
        ("--batch 28", &["a batch of 28", "only 27", "at most that"]),
        ("--valid 30", &["--valid 30", "there are 30"]),
        ("--epochs 0", &["at least 1"]),
        ("--max-steps 0", &["at least 1"]),
        ("--patience 0", &["at least 1"]),
        ("--patience 2 --valid 0", &["--valid 0"]),
        ("--preset cnov", &["no preset cnov", "did you mean conv?", "conv, article, mlp"]),
        ("--preset resnet", &["no preset resnet", "conv, article, mlp"]),
        ("--likelihood bernouli", &["did you mean bernoulli?", "optimal-gaussian"]),
        ("--divergence wasserstein", &["no divergence wasserstein", "jeffreys"]),
        ("--schedule both", &["no schedule both", "joint, alternating"]),
        ("--lr-schedule linear", &["no lr-schedule linear", "cosine"]),
        ("--binarize yes", &["no binarize yes", "dynamic"]),
        ("--on-spike panic", &["no on-spike panic", "skip, stop"]),
        ("--layout nwh", &["no layout nwh", "nhwc"]),
        ("--layout nchw", &["nchw"]),
        ("--sigma 0.1", &["--sigma is for the gaussian"]),
        ("--likelihood gaussian --sigma 0", &["sigma", "positive"]),
        ("--likelihood laplace --scale NaN", &["NaN"]),
        ("--beta -1", &["beta", "-1"]),
        ("--beta NaN", &["beta", "NaN"]),
        ("--beta-warmup -1", &["beta-warmup", "-1"]),
        ("--free-bits NaN", &["NaN"]),
        ("--capacity -3", &["-3"]),
        ("--weight-decay -1", &["weight-decay"]),
        ("--clip-norm 0", &["clip-norm", "positive"]),
        ("--weight-average 1", &["--weight-average 1", "below 1"]),
        ("--weight-average NaN", &["--weight-average NaN"]),
        ("--epochs 10 --lr-warmup 11", &["11 epochs", "longer than the run's 10"]),
        ("--schedule alternating --tie-weights", &["--schedule alternating", "--tie-weights"]),
        ("--preset article --tie-weights", &["--tie-weights is for conv and mlp"]),
        ("--preset article --channels 8,16", &["widths are fixed"]),
        ("--preset mlp --channels 8,16", &["mlp has no convolutions"]),
        ("--channels 8,0", &["width 0"]),
        ("--hidden 99999999", &["65536"]),
        ("--checkpoint-every 5", &["`5`", "30s"]),
        ("--checkpoint-every -1s", &["-1s"]),
        ("--max-memory much", &["much", "8GiB"]),
        ("--max-memory 1KB", &["--max-memory"]),
        ("--size 0", &["invalid size `0`"]),
        ("--size 4", &["4×4", "8×8"]),
        ("--range 5,1", &["`5,1`"]),
        ("--background blue", &["blue", "#rrggbb"]),
        ("--threads 5000", &["1024"]),
        ("--seed 9223372036854775808", &["2^63"]),
    ] {
        // A negative number by itself is not a flag.
        place.refused(&format!("--data {{good.npy}} {}", options.replace(" -1s", "=-1s")), expected);
    }
}

#[test]
fn a_command_line_of_the_wrong_form_is_exit_code_two() {
    let place = Place::new();
    let before = place.names();
    for line in [
        "",
        "tarin",
        "train --laten 3",
        "train --latent -1",
        "train --latent two",
        "train --lr fast",
        "train --epochs 1.5",
        "train --channels 4,x",
        "train --grey --rgb",
        "train --resume {run} --out {other}",
        "train --resume {run} --config {c.toml}",
        "train {good.npy}",
    ] {
        let output = place.run(line);
        assert_eq!(output.status.code(), Some(2), "`{line}`: {}", stderr(&output));
        assert!(!stderr(&output).contains("panicked"));
    }
    assert_eq!(place.names(), before);
}

#[test]
fn data_that_cannot_be_read_are_refused() {
    let place = Place::new();
    let good = std::fs::read(place.path("good.npy")).unwrap();
    std::fs::write(place.path("cut.npy"), &good[..good.len() - 1]).unwrap();
    std::fs::write(place.path("long.npy"), [&good[..], &[0]].concat()).unwrap();
    std::fs::write(place.path("empty.npy"), "").unwrap();
    std::fs::write(place.path("text.npy"), "these are no images at all").unwrap();
    std::fs::create_dir(place.path("nothing")).unwrap();
    write_images(&place.path("small.npy"), [30, 7, 9, 1]);
    write_idx(&place.path("cut.idx"), &[30, 8, 8], &[0; 30 * 64 - 1]);
    let folder = place.path("mnist");
    std::fs::create_dir(&folder).unwrap();
    write_idx(&folder.join("train-images-idx3-ubyte"), &[30, 8, 8], &[7; 30 * 64]);
    write_idx(&folder.join("train-labels-idx1-ubyte"), &[29], &[1; 29]);
    for (data, expected) in [
        ("{missing.npy}", &["missing.npy", "cannot read"][..]),
        ("{cut.npy}", &["cut.npy"]),
        ("{long.npy}", &["long.npy"]),
        ("{empty.npy}", &["empty.npy"]),
        ("{text.npy}", &["text.npy"]),
        ("{nothing}", &["nothing"]),
        ("{cut.idx}", &["cut.idx"]),
        ("{small.npy}", &["7×9", "too small", "8×8"]),
        ("{mnist}", &["29 labels for 30 images"]),
        ("{good.npy} --layout nhw", &["good.npy", "nhw"]),
        ("{good.npy} --layout nchw", &["good.npy", "nchw"]),
        ("/dev/zero", &["neither a file nor a folder"]),
    ] {
        place.refused(&format!("--data {data}"), expected);
    }
}

#[test]
fn numbers_in_data_that_are_none_are_refused_with_file_and_image() {
    let place = Place::new();
    let values = |value: f32| {
        let mut values: Vec<f32> = (0..30 * 64).map(|i| (i % 64) as f32 / 64.0).collect();
        values[17 * 64 + 5] = value;
        values
    };
    for (name, value) in [("nan", f32::NAN), ("inf", f32::INFINITY), ("minus", f32::NEG_INFINITY)] {
        write_floats(&place.path(&format!("{name}.npy")), &[30, 8, 8], &values(value));
        place.refused(&format!("--data {{{name}.npy}}"), &[&format!("{name}.npy"), "image 17"]);
        place.refused(&format!("--data {{{name}.npy}} --range -1,1"), &["image 17"]);
    }
    // Numbers, but not those of a Bernoulli distribution.
    write_floats(&place.path("minus1.npy"), &[30, 8, 8], &values(-1.0));
    place.refused("--data {minus1.npy} --likelihood bernoulli", &["bernoulli"]);
    write_floats(&place.path("big.npy"), &[30, 8, 8], &values(3e5));
    place.refused("--data {big.npy}", &["--range"]);
    place.refused("--data {big.npy} --range 0,1", &["outside of --range 0,1"]);
}

#[test]
fn folders_that_are_there_or_cannot_be_are_refused() {
    let place = Place::new();
    std::fs::create_dir(place.path("run")).unwrap();
    place.refused("--data {good.npy}", &["already exists", "--out"]);
    std::fs::remove_dir(place.path("run")).unwrap();
    std::fs::write(place.path("run"), "mine").unwrap();
    place.refused("--data {good.npy}", &["already exists"]);
    assert_eq!(std::fs::read_to_string(place.path("run")).unwrap(), "mine");
    // Before the images are read.
    place.refused("--data {missing.npy}", &["already exists"]);
    let below_a_file = message(&place.run("train --data {good.npy} --out {run/deep/er}"));
    assert!(below_a_file.contains("run: is a file"), "{below_a_file}");
    let in_proc = message(&place.run("train --data {good.npy} --out /proc/elbo/run"));
    assert!(in_proc.contains("cannot create the folder /proc/elbo"), "{in_proc}");
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink("nowhere", place.path("link")).unwrap();
        let message = message(&place.run("train --data {good.npy} --out {link}"));
        assert!(message.contains("already exists"), "{message}");
    }
    for (line, expected) in [
        ("train --resume {absent}", "is not a run folder"),
        ("train --resume {run}", "is not a run folder"),
        ("train --resume {good.npy}", "is not a run folder"),
        ("train --resume {.}", "is not a run folder"),
    ] {
        let message = message(&place.run(line));
        assert!(message.contains(expected), "{line}: {message}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_read_only_disk_is_refused() {
    let place = Place::new();
    std::fs::create_dir(place.path("disk")).unwrap();
    let disk = place.path("disk");
    let script = format!(
        "mount -t tmpfs -o ro elbo {disk} || exit 77\n{program} train --data {data} --out {disk}/run",
        disk = text(&disk),
        program = env!("CARGO_BIN_EXE_elbo"),
        data = text(&place.path("good.npy"))
    );
    let output = std::process::Command::new("unshare")
        .args(["--map-root-user", "--mount", "sh", "-c", &script])
        .env_remove("ELBO_FAULT")
        .output();
    match output {
        Ok(output) if output.status.code() == Some(1) && stderr(&output).starts_with("error") => {
            let message = message(&output);
            assert!(
                message.contains("cannot create the folder") && message.contains("Read-only"),
                "{message}"
            );
        }
        other if can_mount() => panic!("{other:?}"),
        _ => cannot_run("no file system can be mounted here"),
    }
}

#[test]
fn config_files_that_cannot_be_are_refused() {
    let place = Place::new();
    for (file, expected) in [
        ("btach = 3", &["btach", "did you mean batch?"][..]),
        ("config-version = 2", &["config-version 2", "newer", "up to 1"]),
        ("config-version = \"x\"", &["config-version"]),
        ("lr = 0.1\nlatent = \"two\"", &["c.toml: latent: ", "two"]),
        ("latent = 1\nlatent = 2", &["line 2"]),
        ("lr = nan", &["learning rate"]),
        ("latent 3", &["line 1"]),
        ("[train]\nlatent = 3", &["train"]),
        ("latent = -1", &["c.toml: latent: ", "-1"]),
        ("\"\\u001b[31m\" = 1", &["no option is called"]),
    ] {
        std::fs::write(place.path("c.toml"), file).unwrap();
        place.refused("--data {good.npy} --config {c.toml}", expected);
    }
    std::fs::write(place.path("c.toml"), [0xff, 0xfe, 0]).unwrap();
    place.refused("--config {c.toml}", &["c.toml"]);
    std::fs::write(place.path("c.toml"), "#".repeat(70_000)).unwrap();
    place.refused("--config {c.toml}", &["c.toml", "at most"]);
    place.refused("--config {absent.toml}", &["absent.toml"]);
    place.refused("--config {.}", &["cannot read"]);
    // A flag takes precedence over the file, so this one is valid.
    std::fs::write(place.path("c.toml"), "preset = \"mlp\"\nlatent = 0\n").unwrap();
    let output = place.run("train --data {good.npy} --config {c.toml} --latent 2 --max-steps 1 --out {run}");
    assert!(output.status.success(), "{}", stderr(&output));
}

#[test]
fn model_files_of_another_program_are_refused() {
    let place = Place::new();
    let header = br#"{"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#;
    let mut other = (header.len() as u64).to_le_bytes().to_vec();
    other.extend_from_slice(header);
    other.extend([0; 4]);
    std::fs::write(place.path("other.safetensors"), other).unwrap();
    std::fs::write(place.path("text.safetensors"), "no model").unwrap();
    std::fs::write(place.path("empty.safetensors"), "").unwrap();
    for (line, expected) in [
        ("info {other.safetensors}", "of another program"),
        ("info {text.safetensors}", "not a model"),
        ("info {empty.safetensors}", "too short"),
        ("info {absent}", "absent"),
    ] {
        let message = message(&place.run(line));
        assert!(message.contains(expected), "{line}: {message}");
    }
}

/// All numbers of a model and a checkpoint are finite: the reader refuses others.
#[track_caller]
fn assert_finite(run: &Path) {
    for name in ["model.safetensors", "checkpoint.safetensors"] {
        elbo::storage::tensor_file::TensorFile::load(&run.join(name), 1 << 30).unwrap();
    }
}

#[test]
fn a_loss_that_is_none_stops_before_the_step_and_leaves_the_last_checkpoint() {
    for (number, (options, expected)) in [
        // The loss of the second step.
        ("--lr 1e30 --epochs 2 --valid 0 --batch 10", "at step 2"),
        // The first step itself overflows f32: the parameters are no longer finite.
        ("--lr 1e300 --epochs 1 --valid 0 --batch 10 --checkpoint-every 0s", "by step 1"),
        // The only step of an epoch: the loss on the validation images.
        ("--lr 1e25 --epochs 3 --valid 5", "on the validation images"),
        ("--lr 1e25 --epochs 3 --valid 0", "on the training images"),
        ("--lr 1e30 --max-steps 1 --valid 5 --batch 5", "on the validation images"),
    ]
    .into_iter()
    .enumerate()
    {
        for preset in ["mlp", "conv --channels 4", "mlp --schedule alternating"] {
            let place = Place::new();
            let line = format!("train --data {{good.npy}} --preset {preset} {options} --out {{run}}");
            let text = message(&place.run(&line));
            if !preset.contains("alternating") {
                assert!(text.contains(expected), "{number} {preset}: {text}");
            }
            assert!(text.contains("step") && text.contains("the last checkpoint is good"), "{text}");
            println!("{preset:26} {options:60} {text}");
            assert_finite(&place.path("run"));
            // It can be resumed, with the same result.
            let again = message(&place.run("train --resume {run} --checkpoint-every 0s"));
            assert!(again.contains("the last checkpoint is good"), "{again}");
            assert_finite(&place.path("run"));
        }
    }
}

/// Forty black images and a white one, one by one: its gradient is far above the usual.
fn black_and_white(place: &Place) {
    let mut values = vec![0.0_f32; 41 * 64];
    values[40 * 64..].fill(1.0);
    write_floats(&place.path("spiky.npy"), &[41, 8, 8], &values);
}

const SPIKY: &str = "train --data {spiky.npy} --preset mlp --hidden 8 --latent 2 --likelihood gaussian --valid 0 --batch 1 --lr 0.02 \
                     --epochs 8 --range 0,1";

#[test]
fn spikes_are_counted_skipped_or_the_end() {
    let place = Place::new();
    black_and_white(&place);
    let column = |run: &str, name: &str| -> String {
        let table = std::fs::read_to_string(place.path(run).join("metrics.csv")).unwrap();
        let index = table.lines().next().unwrap().split(',').position(|column| column == name).unwrap();
        table.lines().last().unwrap().split(',').nth(index).unwrap().to_string()
    };
    let counted = place.run(&format!("{SPIKY} --out {{counted}}"));
    let skipped = place.run(&format!("{SPIKY} --out {{skipped}} --on-spike skip"));
    assert!(counted.status.success() && skipped.status.success(), "{}", stderr(&skipped));
    let (counted, skipped) = (stdout(&counted), stdout(&skipped));
    let number = column("counted", "spikes");
    assert!(number.parse::<u64>().unwrap() >= 3, "{number}");
    assert!(counted.contains(&format!("{number} gradient spikes, 0 steps left out")), "{counted}");
    let number = column("skipped", "spikes");
    assert!(number.parse::<u64>().unwrap() >= 3, "{number}");
    assert!(skipped.contains(&format!("{number} gradient spikes, {number} steps left out")), "{skipped}");

    let stopped = message(&place.run(&format!("{SPIKY} --out {{stopped}} --on-spike stop")));
    assert!(stopped.contains("the step was not taken (--on-spike stop)"), "{stopped}");
    assert_finite(&place.path("stopped"));
    println!("{stopped}");
    // An interrupted run gives the same: the checkpoint stores the detector's state.
    let first = place.run(&format!("{SPIKY} --out {{parts}} --on-spike skip --max-steps 100"));
    let second = place.run("train --resume {parts}");
    assert!(first.status.success() && second.status.success());
    assert_same(&place.path("parts"), &place.path("skipped"), "skipped in two parts");
}

//! Resuming is bit-exact, and is refused if a run cannot be continued.
//!
//! N + M steps are compared with N steps, an end, a resume, and M steps: model, checkpoint (weights, Adam's
//! moments, sums) and metrics are bit-identical, except the columns with times.

mod support;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use support::*;

/// Options that change a run's computation: each preset, schedule, likelihood, divergence, and everything
/// that changes with time. Seven steps of six images an epoch, the last of four; two epochs.
const VARIANTS: &[&str] = &[
    "--preset conv --channels 4,8 --hidden 16 --latent 3",
    "--preset conv --channels 4,8 --hidden 16 --latent 3 --schedule alternating",
    "--preset conv --channels 4,8 --hidden 16 --latent 3 --tie-weights --lr-schedule cosine --lr-warmup 1 --weight-average 0.5",
    "--preset conv --channels 4,8 --hidden 16 --latent 3 --likelihood optimal-gaussian",
    "--preset conv --channels 4 --hidden 16 --likelihood gaussian --divergence jeffreys --clip-norm 5",
    "--preset conv --channels 4 --hidden 16 --likelihood laplace --beta 2 --beta-warmup 1.5 --weight-decay 0.1",
    "--preset conv --channels 4 --hidden 16 --likelihood squared-error --lr-schedule step",
    "--preset conv --channels 4 --hidden 16 --binarize dynamic",
    "--preset conv --channels 4 --hidden 16 --binarize static --free-bits 0.1",
    "--preset mlp --hidden 24 --latent 2 --capacity 10 --on-spike skip --weight-average 0.999",
    "--preset mlp --hidden 24,16 --tie-weights --binarize threshold --valid 0",
    "--preset mlp --hidden 24 --schedule alternating --likelihood optimal-gaussian --valid 0 --weight-average 0.9",
    "--preset article --latent 2",
    "--preset article --latent 2 --schedule alternating --likelihood bernoulli",
    "--preset residual --channels 8 --latent 3 --likelihood discretized-logistic",
    "--preset conv --channels 4 --hidden 16 --likelihood logistic-mixture --context 4",
    "--preset mlp --hidden 24 --likelihood beta-binomial",
];

/// `elbo train` on some data into a folder.
fn train(data: &Path, out: &Path, options: &str) -> String {
    let basics = format!("--data {} --out {}", text(data), text(out));
    let defaults = [("--batch", "6"), ("--epochs", "2"), ("--valid", "6")];
    let missing = defaults.iter().filter(|(name, _)| !options.contains(name));
    let defaults: String = missing.map(|(name, value)| format!(" {name} {value}")).collect();
    format!("train {basics} {options}{defaults}")
}

fn split(arguments: &str) -> Vec<&str> {
    arguments.split_whitespace().collect()
}

fn resume(run: &Path, options: &str) -> String {
    format!("train --resume {} {options}", text(run))
}

/// 46 images of 8×8: with 6 held out, seven steps of six.
fn data(folder: &Path) -> PathBuf {
    let path = folder.join("images.npy");
    write_images(&path, [46, 8, 8, 1]);
    path
}

#[test]
fn in_two_or_three_parts_a_run_is_the_same_to_the_bit() {
    // A checkpoint of `article` has 30 MB: not in memory.
    let folder = tempfile::tempdir().unwrap();
    let data = data(folder.path());
    for (number, options) in VARIANTS.iter().enumerate() {
        let [whole, parts] = ["whole", "parts"].map(|name| folder.path().join(format!("{name}-{number}")));
        succeed(&split(&train(&data, &whole, &format!("{options} --threads 1"))));
        // In the middle of the first epoch, exactly at its end or in the middle of the next, and to the end;
        // with different threads and times between checkpoints.
        let second = if number % 2 == 0 { "7" } else { "9" };
        succeed(&split(&train(&data, &parts, &format!("{options} --threads 3 --max-steps 4"))));
        succeed(&split(&resume(&parts, &format!("--threads 2 --max-steps {second} --checkpoint-every 0s"))));
        succeed(&split(&resume(&parts, "--threads 4")));
        assert_same(&parts, &whole, options);
        assert_tidy(&parts);
        for path in [whole, parts] {
            std::fs::remove_dir_all(path).unwrap();
        }
    }
    println!("{} variants in three parts equal those in one", VARIANTS.len());
}

#[test]
fn an_end_within_an_epoch_is_taken_back_by_going_on() {
    let folder = work_folder();
    let data = data(folder.path());
    let [whole, parts] = ["whole", "parts"].map(|name| folder.path().join(name));
    let options = "--preset mlp --hidden 8 --latent 2";
    // Both end in the middle of an epoch: row and model are the same.
    succeed(&split(&train(&data, &whole, &format!("{options} --max-steps 10"))));
    succeed(&split(&train(&data, &parts, &format!("{options} --max-steps 3"))));
    assert!(metrics(&parts).lines().nth(1).unwrap().starts_with("3,1,"), "a row for the end at step 3");
    succeed(&split(&resume(&parts, "--max-steps 10")));
    assert_same(&parts, &whole, "step 10");
    let steps: Vec<String> =
        metrics(&parts).lines().skip(1).map(|row| row.split(',').next().unwrap().into()).collect();
    assert_eq!(steps, ["7", "10"]);
}

#[test]
fn more_epochs_may_be_asked_for_and_a_steps_end_that_lies_ahead_is_kept() {
    let folder = work_folder();
    let data = data(folder.path());
    let [whole, parts] = ["whole", "parts"].map(|name| folder.path().join(name));
    let options = "--preset mlp --hidden 8 --latent 2";
    succeed(&split(&train(&data, &whole, &format!("{options} --epochs 3"))));
    succeed(&split(&train(&data, &parts, &format!("{options} --epochs 2"))));
    assert!(succeed(&split(&resume(&parts, ""))).contains("model:"), "a run that is done is done");
    succeed(&split(&resume(&parts, "--epochs 3")));
    assert_same(&parts, &whole, "one epoch more");

    // Killed on its way to step 10, a run resumes to step 10, not to its last epoch.
    let killed = folder.path().join("killed");
    succeed(&split(&train(&data, &killed, &format!("{options} --epochs 3 --max-steps 4"))));
    let config = killed.join("config.toml");
    let edited = std::fs::read_to_string(&config).unwrap().replace("max-steps = 4", "max-steps = 10");
    std::fs::write(&config, edited).unwrap();
    succeed(&split(&resume(&killed, "")));
    assert!(metrics(&killed).lines().last().unwrap().starts_with("10,2,"), "{}", metrics(&killed));
}

/// Waits until there is a file.
fn wait_for(path: &Path) {
    let end = Instant::now() + Duration::from_secs(20);
    while !path.exists() {
        assert!(Instant::now() < end, "{} does not come", path.display());
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// A run that lasts for hours, in its own process, past its first checkpoint. Killed when dropped.
struct Long(Child);

impl Long {
    fn start(data: &Path, run: &Path) -> Self {
        let arguments = train(data, run, "--preset mlp --hidden 8 --latent 2 --epochs 100000000");
        let child = elbo(&split(&arguments)).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        wait_for(&run.join("checkpoint.safetensors"));
        Self(child)
    }
}

impl Drop for Long {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[cfg(unix)]
#[test]
fn ctrl_c_finishes_the_step_saves_and_says_how_to_go_on() {
    use std::io::Read;
    let folder = work_folder();
    let data = data(folder.path());
    let [run, whole] = ["run", "whole"].map(|name| folder.path().join(name));
    let mut long = Long::start(&data, &run);
    std::thread::sleep(Duration::from_millis(30));
    assert!(Command::new("kill").args(["-INT", &long.0.id().to_string()]).status().unwrap().success());
    // Its output is read at once, so that it does not block on a full pipe.
    let (mut out, mut errors) = (String::new(), String::new());
    long.0.stdout.take().unwrap().read_to_string(&mut out).unwrap();
    long.0.stderr.take().unwrap().read_to_string(&mut errors).unwrap();
    assert_eq!(long.0.wait().unwrap().code(), Some(130), "{errors}");
    assert!(errors.contains("finishing the step and saving"), "{errors}");
    let last = out.lines().last().unwrap();
    assert!(last.contains(&format!("resume with: elbo train --resume {}", run.display())), "{last}");
    let step: u64 = last.split("step ").nth(1).unwrap().split(';').next().unwrap().parse().unwrap();
    assert_tidy(&run);

    let end = step + 9;
    let options = format!("--preset mlp --hidden 8 --latent 2 --epochs 100000000 --max-steps {end}");
    succeed(&split(&train(&data, &whole, &options)));
    succeed(&split(&resume(&run, &format!("--max-steps {end}"))));
    assert_same(&run, &whole, &format!("interrupted at step {step}"));
}

#[test]
fn the_second_one_in_a_run_folder_is_refused_and_a_kill_leaves_no_lock() {
    let folder = work_folder();
    let data = data(folder.path());
    let run = folder.path().join("run");
    let mut long = Long::start(&data, &run);
    for arguments in [resume(&run, ""), resume(&run, "--epochs 9 --threads 1")] {
        let message = refused(&split(&arguments));
        assert!(message.contains(&format!("process {} is training into it", long.0.id())), "{message}");
    }
    let message = refused(&split(&train(&data, &run, "--preset mlp")));
    assert!(message.contains("already exists"), "{message}");
    assert!(long.0.try_wait().unwrap().is_none(), "the first one continues");
    long.0.kill().unwrap();
    long.0.wait().unwrap();
    assert!(run.join("lock").exists(), "whoever is killed cannot tidy up");
    succeed(&split(&resume(&run, "--epochs 1")));
    assert_tidy(&run);
}

#[test]
fn a_reader_that_goes_away_does_not_end_a_run() {
    let folder = work_folder();
    let data = data(folder.path());
    let run = folder.path().join("run");
    let arguments = train(&data, &run, "--preset mlp --hidden 8 --latent 2");
    let mut child = elbo(&split(&arguments)).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    drop(child.stderr.take());
    assert!(child.wait().unwrap().success());
    assert_eq!(metrics(&run).lines().count(), 3);
}

/// Everything in a folder, for a test that nothing was written.
fn snapshot(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut all = Vec::new();
    for path in files(folder) {
        if path.is_dir() {
            all.extend(snapshot(&path))
        } else {
            all.push((path.clone(), std::fs::read(path).unwrap()))
        }
    }
    all
}

/// A run of four steps.
fn short(folder: &Path) -> (PathBuf, PathBuf) {
    let (data, run) = (data(folder), folder.join("run"));
    succeed(&split(&train(&data, &run, "--preset mlp --hidden 8 --latent 2 --max-steps 4")));
    (data, run)
}

#[test]
fn images_that_have_changed_are_refused() {
    let folder = work_folder();
    let (data, run) = short(folder.path());
    let (good, before) = (std::fs::read(&data).unwrap(), snapshot(&run));
    let mut pixel = good.clone();
    *pixel.last_mut().unwrap() ^= 1;
    std::fs::write(&data, pixel).unwrap();
    assert!(refused(&split(&resume(&run, ""))).contains("are not those that the run began with"));
    // One image fewer, in a whole file.
    write_images(&data, [45, 8, 8, 1]);
    assert!(refused(&split(&resume(&run, ""))).contains("are not those that the run began with"));
    // The same images in another order.
    let mut swapped = good.clone();
    let (a, b) = swapped[good.len() - 128..].split_at_mut(64);
    a.swap_with_slice(b);
    std::fs::write(&data, swapped).unwrap();
    assert!(refused(&split(&resume(&run, ""))).contains("are not those that the run began with"));
    std::fs::remove_file(&data).unwrap();
    assert!(refused(&split(&resume(&run, ""))).contains("images.npy"));
    assert_eq!(snapshot(&run), before, "nothing was written");
    // They may have moved, though.
    let moved = folder.path().join("moved.npy");
    std::fs::write(&moved, good).unwrap();
    let config = std::fs::read_to_string(run.join("config.toml")).unwrap();
    std::fs::write(run.join("config.toml"), config.replace("images.npy", "moved.npy")).unwrap();
    succeed(&split(&resume(&run, "")));
}

#[test]
fn a_config_that_was_edited_is_refused_with_the_option() {
    let folder = work_folder();
    let (_, run) = short(folder.path());
    let config = run.join("config.toml");
    let good = std::fs::read_to_string(&config).unwrap();
    let before = snapshot(&run);
    for (from, to, expected) in [
        ("lr = 0.001", "lr = 0.01", "has lr 0.001, and config.toml 0.01"),
        ("seed = 0", "seed = 1", "has seed 0, and config.toml 1"),
        ("valid = 6", "valid = 7", "has valid 6, and config.toml 7"),
        ("batch = 6", "batch = 7", "has batch 6, and config.toml 7"),
        ("beta = 1.0", "beta = 2.0", "has beta 1.0, and config.toml 2.0"),
        ("latent = 2", "latent = 3", "its network is not that of the run's config.toml"),
        ("seed = 0", "seed = 0\nclip-norm = 1.0", "has clip-norm none, and config.toml 1.0"),
        ("\"joint\"", "\"alternating\"", "has schedule \"joint\", and config.toml \"alternating\""),
    ] {
        assert!(good.contains(from), "{good}");
        std::fs::write(&config, good.replace(from, to)).unwrap();
        let message = refused(&split(&resume(&run, "")));
        assert!(message.contains(expected), "{message}");
    }
    std::fs::write(&config, &good).unwrap();
    assert_eq!(snapshot(&run), before, "nothing was written");
    for options in ["--lr 0.1", "--data x", "--preset conv", "--seed 1"] {
        assert!(refused(&split(&resume(&run, options))).contains("may be given again"));
    }
}

/// Damages a file at many places, one at a time. Each must be refused with a message that names the file, and
/// no other file may change.
fn damage(path: &Path, step: usize, command: &str) -> usize {
    let good = std::fs::read(path).unwrap();
    let name = path.file_name().unwrap().to_str().unwrap();
    let mut count = 0;
    let mut numbers = Numbers(5);
    let mut check = |bytes: &[u8], what: &str| {
        std::fs::write(path, bytes).unwrap();
        let message = refused(&split(command));
        assert!(message.contains(name), "{what}: {message}");
        count += 1;
    };
    for at in (0..good.len()).step_by(step).chain(0..64) {
        let mut bytes = good.clone();
        bytes[at] ^= 1 << numbers.below(8);
        check(&bytes, &format!("a flip in byte {at}"));
    }
    for length in (0..good.len()).step_by(step).chain(0..16).chain([good.len() - 1]) {
        check(&good[..length], &format!("cut to {length}"));
    }
    check(&[&good[..], &[0]].concat(), "a byte more");
    std::fs::write(path, good).unwrap();
    count
}

#[test]
fn damage_to_model_and_checkpoint_is_found_by_the_commands() {
    let folder = work_folder();
    let (_, run) = short(folder.path());
    let before = snapshot(&run);
    let every = setting("ELBO_DAMAGE_STEP", 211, 7) as usize;
    let model = damage(&run.join("model.safetensors"), every, &format!("info {}", run.display()));
    let checkpoint = damage(&run.join("checkpoint.safetensors"), every, &resume(&run, ""));
    assert_eq!(snapshot(&run), before, "nothing was written");
    // Each in place of the other, and one of another program.
    let model_bytes = std::fs::read(run.join("model.safetensors")).unwrap();
    std::fs::write(run.join("checkpoint.safetensors"), model_bytes).unwrap();
    assert!(refused(&split(&resume(&run, ""))).contains("a checkpoint is needed"));
    println!("{model} damaged models and {checkpoint} damaged checkpoints were refused");
}

#[test]
fn a_damaged_table_of_metrics_is_mended_and_no_row_is_there_twice() {
    let folder = work_folder();
    let data = data(folder.path());
    let whole = folder.path().join("whole");
    let options = "--preset mlp --hidden 8 --latent 2 --epochs 3";
    succeed(&split(&train(&data, &whole, options)));
    let run = folder.path().join("run");
    succeed(&split(&train(&data, &run, &format!("{options} --max-steps 14"))));
    let good = std::fs::read_to_string(run.join("metrics.csv")).unwrap();
    let [header, first, second] = good.lines().collect::<Vec<_>>()[..] else { panic!("{good}") };
    let future = second.replacen("14,2,", "21,3,", 1);
    for (number, table) in [
        format!("{good}21,3,44.1,"),
        format!("{good}{future}\n"),
        format!("{good}{second}\n"),
        format!("{good}{first}\n{second}\n{future}\n21,"),
        format!("{good}\0\0\0\0\0\0"),
        format!("{header}\n{first}\nnonsense\n{second}\n"),
        format!("{good}{}", ",".repeat(200_000)),
    ]
    .into_iter()
    .enumerate()
    {
        let copy = folder.path().join(format!("copy-{number}"));
        copy_run(&run, &copy);
        std::fs::write(copy.join("metrics.csv"), table).unwrap();
        succeed(&split(&resume(&copy, "")));
        assert_same(&copy, &whole, &format!("table {number}"));
    }
    // Columns of something else are not touched.
    std::fs::write(run.join("metrics.csv"), "my,own,table\n1,2,3\n").unwrap();
    assert!(refused(&split(&resume(&run, ""))).contains("move it away"));
    assert_eq!(std::fs::read_to_string(run.join("metrics.csv")).unwrap(), "my,own,table\n1,2,3\n");
}

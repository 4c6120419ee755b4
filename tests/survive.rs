//! A run survives kills at random moments, a fault at every single call to the disk, and a disk that is
//! really full.
//!
//! ```text
//! cargo test --test survive                                 25 kills, a quarter of the calls with each fault
//! ELBO_LONG=1 cargo test --test survive -- --nocapture      600 kills, every call with every fault (ELBO_KILLS, ELBO_FAULTS=1)
//! ```
//!
//! The program under test is built with debug assertions, so that `ELBO_FAULT` reaches its calls to the disk.

mod support;

use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use support::*;

/// A run that takes some milliseconds and saves after every step: 3 epochs of 5 steps.
fn small(data: &Path, out: &Path) -> Vec<String> {
    let text = format!(
        "train --preset conv --channels 4,8 --hidden 16 --latent 2 --batch 8 --valid 8 --epochs 3 --checkpoint-every 0s --seed 3 \
         --threads 2 --data {} --out {}",
        text(data),
        text(out)
    );
    text.split(' ').map(String::from).collect()
}

fn resume(run: &Path) -> Vec<String> {
    ["train", "--resume", text(run)].map(String::from).into()
}

fn strs(arguments: &[String]) -> Vec<&str> {
    arguments.iter().map(String::as_str).collect()
}

/// A data set, and the results of an uninterrupted run on it.
struct Reference {
    folder: tempfile::TempDir,
    data: PathBuf,
    run: PathBuf,
}

impl Reference {
    fn new() -> Self {
        let folder = work_folder();
        let (data, run) = (folder.path().join("images.npy"), folder.path().join("reference"));
        write_images(&data, [48, 8, 8, 1]);
        succeed(&strs(&small(&data, &run)));
        assert_tidy(&run);
        Self { folder, data, run }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

/// The invariants after any fault: if there is a checkpoint, model and checkpoint are complete.
#[track_caller]
fn assert_usable(run: &Path, what: &str) {
    for name in ["model.safetensors", "checkpoint.safetensors"] {
        let path = run.join(name);
        let file = elbo::storage::tensor_file::TensorFile::load(&path, 1 << 30);
        let file = file.unwrap_or_else(|error| panic!("{what}: {error}"));
        if name.starts_with("model") {
            elbo::model::Vae::from_file(file, &path).unwrap_or_else(|error| panic!("{what}: {error}"));
        }
    }
}

/// Resumes to the end, which must be that of the uninterrupted run.
#[track_caller]
fn assert_resumes(run: &Path, reference: &Reference, what: &str) {
    let output = run_to_end(&resume(run));
    assert!(output.status.success(), "{what}: {}", stderr(&output));
    assert_same(run, &reference.run, what);
    assert_tidy(run);
}

fn run_to_end(arguments: &[String]) -> std::process::Output {
    elbo(&strs(arguments)).output().unwrap()
}

/// Waits for the end for at most `time`, then kills with SIGKILL. Gives the status of a process that ended by
/// itself.
fn kill_after(mut child: Child, time: Duration) -> Option<(ExitStatus, String)> {
    let end = Instant::now() + time;
    // Waiting in small steps costs less precision than starting a process does.
    while Instant::now() < end {
        if child.try_wait().unwrap().is_some() {
            let output = child.wait_with_output().unwrap();
            return Some((output.status, String::from_utf8_lossy(&output.stderr).into_owned()));
        }
        std::thread::sleep(Duration::from_micros(100));
    }
    child.kill().unwrap();
    let output = child.wait_with_output().unwrap();
    // It may have ended at the last moment.
    output.status.code().map(|_| (output.status, String::from_utf8_lossy(&output.stderr).into_owned()))
}

/// Kills at random moments, resumes each time, and compares the end with that of an undisturbed run.
#[test]
fn killed_at_random_moments_a_run_ends_as_if_it_had_not_been() {
    let kills = setting("ELBO_KILLS", 25, 600);
    let seed = setting("ELBO_KILLS_SEED", 1, 1);
    let reference = Reference::new();
    let started = Instant::now();
    succeed(&strs(&small(&reference.data, &reference.path("timed"))));
    let whole = started.elapsed();
    let mut numbers = Numbers(seed);
    let (mut done, mut before_the_first, mut ends, mut attempts) = (0, 0, 0, 0);
    while done < kills {
        let run = reference.path(&format!("run-{ends}-{attempts}"));
        loop {
            attempts += 1;
            let goes_on = run.join("checkpoint.safetensors").exists();
            let arguments = if goes_on { resume(&run) } else { small(&reference.data, &run) };
            let child = elbo(&strs(&arguments)).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
            // From the first instruction to a little before the end.
            let moment = Duration::from_micros(numbers.below(1 + 2 * whole.as_micros() as u64 / 3));
            let ended = kill_after(child, moment);
            if let Some((status, errors)) = ended {
                assert!(status.success(), "attempt {attempts}: {errors}");
                assert_same(&run, &reference.run, &format!("run {ends}, after {done} kills"));
                assert_tidy(&run);
                ends += 1;
                break;
            }
            if run.join("checkpoint.safetensors").exists() {
                assert_usable(&run, &format!("kill {done} after {moment:?}"));
                done += 1;
                continue;
            }
            // Before the first step there is nothing to lose, and the message says what to do.
            assert!(!goes_on, "kill {done} after {moment:?}: the checkpoint is gone");
            before_the_first += 1;
            if run.exists() {
                let message = refused(&strs(&resume(&run)));
                assert!(message.contains("checkpoint.safetensors"), "{message}");
                std::fs::remove_dir_all(&run).unwrap();
            }
        }
    }
    println!(
        "seed {seed}: {done} kills with a loadable model and a checkpoint that resumed ({before_the_first} more before the first \
         checkpoint), {ends} runs ended with the bits of an undisturbed one"
    );
}

/// The outcome of a program with a fault.
fn with_fault(arguments: &[String], plan: &str) -> std::process::Output {
    elbo(&strs(arguments)).env("ELBO_FAULT", plan).output().unwrap()
}

/// The number of calls to the disk that a command makes: the first that a fault does not reach, found by
/// halving.
fn count_calls(mut run: impl FnMut(&str) -> bool) -> u64 {
    let (mut low, mut high) = (1, 1024);
    assert!(run(&format!("{high}:readonly")), "more calls than expected");
    while low < high {
        let middle = (low + high) / 2;
        if run(&format!("{middle}:readonly")) { high = middle } else { low = middle + 1 }
    }
    high - 1
}

/// Injects each fault at every call of a command. `prepare` makes its run folder, if it needs one.
fn walk(
    reference: &Reference,
    name: &str,
    arguments: &dyn Fn(&Path) -> Vec<String>,
    prepare: &dyn Fn(&Path),
) {
    let folder = |plan: &str| reference.path(&format!("{name}-{}", plan.replace(':', "-")));
    let start = |plan: &str| {
        let run = folder(plan);
        let _ = std::fs::remove_dir_all(&run);
        prepare(&run);
        (with_fault(&arguments(&run), plan), run)
    };
    let calls = count_calls(|plan| start(plan).0.status.success());
    let every = setting("ELBO_FAULTS", 0, 1) > 0;
    let faults: &[&str] = if every {
        &["nospace", "readonly", "short", "abort", "+nospace", "+readonly", "+abort"]
    } else {
        &["nospace", "short", "+readonly", "abort"]
    };
    let (mut tried, mut refused, mut nothing) = (0, 0, 0);
    for (index, fault) in faults.iter().enumerate() {
        // The short version takes every fourth call of each fault, different calls for each fault.
        let step = if every { 1 } else { faults.len() };
        for call in (1..=calls).skip(if every { 0 } else { index }).step_by(step) {
            let plan = match fault.strip_prefix('+') {
                Some(fault) => format!("{call}+:{fault}"),
                None => format!("{call}:{fault}"),
            };
            let (output, run) = start(&plan);
            tried += 1;
            let what = format!("{name}, {plan}");
            if *fault == "short" {
                // No error: the rest is written in another call.
                assert!(output.status.success(), "{what}: {}", stderr(&output));
                assert_same(&run, &reference.run, &what);
                assert_tidy(&run);
            } else {
                if fault.ends_with("abort") {
                    assert_eq!(output.status.code(), None, "{what}");
                } else {
                    let text = message(&output);
                    let reason =
                        if fault.ends_with("nospace") { "no storage space" } else { "read-only filesystem" };
                    assert!(text.contains("cannot ") && text.contains(reason), "{what}: {text}");
                    refused += 1;
                }
                if run.join("checkpoint.safetensors").exists() {
                    assert_usable(&run, &what);
                    assert_resumes(&run, reference, &what);
                } else {
                    nothing += 1;
                    assert!(fault.ends_with("abort") || !run.exists(), "{what}: half a run was left");
                }
            }
            let _ = std::fs::remove_dir_all(&run);
        }
    }
    println!(
        "{name}: {calls} calls, {tried} faults, {refused} of them with a message; {nothing} before the first checkpoint, all others \
         resumed to the bits of an undisturbed run"
    );
}

#[test]
fn a_fault_at_any_call_of_a_new_run_leaves_a_good_state() {
    let reference = Reference::new();
    walk(&reference, "start", &|run| small(&reference.data, run), &|_| ());
}

#[test]
fn a_fault_at_any_call_of_a_resumed_run_leaves_a_good_state() {
    let reference = Reference::new();
    let half = reference.path("half");
    let mut arguments = small(&reference.data, &half);
    arguments.extend(["--max-steps", "8"].map(String::from));
    succeed(&strs(&arguments));
    // As after a kill: half a row, and an abandoned temporary file.
    let mut table = std::fs::read_to_string(half.join("metrics.csv")).unwrap();
    table.push_str("10,2,1.5,");
    std::fs::write(half.join("metrics.csv"), table).unwrap();
    std::fs::write(half.join(".checkpoint.safetensors.1-1.tmp"), "half").unwrap();
    walk(&reference, "resume", &resume, &|run| copy_run(&half, run));
}

/// A disk of 1 MB, filled until so many KB are left, under a run that continues.
#[cfg(target_os = "linux")]
#[test]
fn on_a_disk_that_is_really_full_the_last_good_state_stays() {
    let reference = Reference::new();
    let disk = reference.path("disk");
    std::fs::create_dir(&disk).unwrap();
    let run = disk.join("run");
    let first = {
        let mut arguments = small(&reference.data, &run);
        arguments.extend(["--max-steps", "7"].map(String::from));
        arguments.join(" ")
    };
    let program = env!("CARGO_BIN_EXE_elbo");
    let mut seen = 0;
    for left in [0, 4, 12, 24, 36, 44, 60] {
        let out = reference.path(&format!("out-{left}"));
        std::fs::create_dir(&out).unwrap();
        let script = format!(
            "mount -t tmpfs -o size=1M elbo {disk} || exit 77\n\
             {program} {first} >{out}/first 2>&1 || exit 3\n\
             free=$(df --output=avail -k {disk} | tail -1)\n\
             head -c $(( (free - {left}) * 1024 )) /dev/zero >{disk}/filler\n\
             {program} train --resume {run} >{out}/stdout 2>{out}/stderr\n\
             echo $? >{out}/code\n\
             cp -r {run} {out}/full\n\
             rm {disk}/filler\n\
             {program} train --resume {run} >{out}/stdout 2>{out}/later || exit 4\n\
             cp -r {run} {out}/run",
            disk = text(&disk),
            run = text(&run),
            out = text(&out)
        );
        let ended = std::process::Command::new("unshare")
            .args(["--map-root-user", "--mount", "sh", "-c", &script])
            .env_remove("ELBO_FAULT")
            .output();
        match ended {
            Ok(output) if output.status.success() => {}
            Ok(output) if matches!(output.status.code(), Some(3 | 4)) => {
                panic!("{left} KB left: {output:?} {:?}", std::fs::read_to_string(out.join("later")))
            }
            other if can_mount() => panic!("{left} KB left: {other:?}"),
            _ => return cannot_run("no file system can be mounted here"),
        }
        let code = std::fs::read_to_string(out.join("code")).unwrap();
        let errors = std::fs::read_to_string(out.join("stderr")).unwrap();
        if code.trim() == "1" {
            assert!(errors.starts_with("error: cannot ") && errors.contains("No space left"), "{errors}");
            assert_eq!(errors.lines().count(), 1, "{errors}");
            seen += 1;
        } else {
            assert_eq!(code.trim(), "0", "{left} KB left: {errors}");
        }
        assert_usable(&out.join("full"), &format!("{left} KB left"));
        assert_same(&out.join("run"), &reference.run, &format!("{left} KB left"));
        assert_tidy(&out.join("run"));
    }
    println!(
        "a full disk: {seen} of 7 runs were stopped by it, and all were resumed when there was room again"
    );
    assert!(seen >= 3, "only {seen} runs found the disk full");
}

/// The file operations of a process, as recorded by strace.
#[derive(Default)]
struct Traced {
    /// Paths by file descriptor.
    open: std::collections::HashMap<String, String>,
    /// Files written since their last sync.
    unsynced: std::collections::HashSet<String>,
    /// Files synced after their last write.
    synced: std::collections::HashSet<String>,
    /// A folder with a name that is not yet on the disk.
    pending: Option<String>,
    renames: usize,
}

/// The order write, sync, rename, sync of the folder, of the whole program, on its system calls.
#[cfg(target_os = "linux")]
#[test]
fn whatever_gets_a_final_name_was_synced_before_and_its_folder_after() {
    let reference = Reference::new();
    let run = reference.path("traced");
    let log = reference.path("trace");
    let traced = std::process::Command::new("strace")
        .args([
            "-f",
            "-qq",
            "-s",
            "4096",
            "-e",
            "trace=openat,write,fsync,rename,renameat,renameat2,close",
            "-o",
            text(&log),
        ])
        .arg(env!("CARGO_BIN_EXE_elbo"))
        .args(small(&reference.data, &run))
        .env_remove("ELBO_FAULT")
        .output();
    if !traced.is_ok_and(|output| output.status.success()) {
        return cannot_run("there is no strace, or it may not trace");
    }
    let mut seen = Traced::default();
    for line in std::fs::read_to_string(&log).unwrap().lines() {
        let call = line.split_once(' ').map_or(line, |(_, call)| call.trim_start());
        follow(&mut seen, call, text(&run));
    }
    assert_eq!(seen.pending, None, "the last rename is not synced");
    // config, metrics, model, 16 checkpoints, and 3 epochs with two sheets and at most a model each, and a
    // checkpoint more.
    println!("{} files got their final names, each synced before and its folder after", seen.renames);
    assert!(seen.renames >= 25, "{}", seen.renames);
    assert_same(&run, &reference.run, "traced");
}

/// The quoted texts of a call.
fn quoted(call: &str) -> Vec<&str> {
    call.split('"').skip(1).step_by(2).collect()
}

fn follow(seen: &mut Traced, call: &str, run: &str) {
    let result = call.rsplit_once(" = ").map_or("", |(_, result)| result.trim());
    let descriptor = || call.split_once('(').map_or("", |(_, rest)| rest.split([',', ')']).next().unwrap());
    if call.starts_with("openat(") && !result.starts_with('-') {
        seen.open.insert(result.to_string(), quoted(call)[0].to_string());
    } else if call.starts_with("write(") {
        let Some(path) = seen.open.get(descriptor()).filter(|path| path.starts_with(run)) else { return };
        // What is written under its final name: rows, which a crash may cut, and the lock.
        let may_be = path.ends_with(".tmp") || path.ends_with("/metrics.csv") || path.ends_with("/lock");
        assert!(may_be, "written under its final name: {path}");
        seen.synced.remove(path);
        seen.unsynced.insert(path.clone());
    } else if call.starts_with("fsync(") {
        let Some(path) = seen.open.get(descriptor()) else { return };
        if seen.pending.as_ref() == Some(path) {
            seen.pending = None;
        }
        if seen.unsynced.remove(path) {
            seen.synced.insert(path.clone());
        }
    } else if call.starts_with("rename") {
        let names = quoted(call);
        let (from, to) = (names[0], names[1]);
        assert!(seen.synced.contains(from), "{from} was renamed before it was synced");
        assert_eq!(seen.pending, None, "{to} was renamed before the folder of the last one was synced");
        if to.ends_with("/checkpoint.safetensors") {
            let table = format!("{run}/metrics.csv");
            assert!(!seen.unsynced.contains(&table), "a checkpoint outlasts a row before it");
        }
        seen.pending = Path::new(to).parent().map(|folder| text(folder).to_string());
        seen.renames += 1;
    }
}

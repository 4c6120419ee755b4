//! Shared by the tests of the built program: starting it, small data sets, and inspecting the files of a run.
#![allow(dead_code)] // Each test program uses its part.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// The built program with these arguments. No fault is passed on, and nothing is read from the terminal.
pub fn elbo(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_elbo"));
    command.args(arguments).env_remove("ELBO_FAULT").stdin(Stdio::null());
    // Cache files are written here, not to the user's cache folder.
    command.env("XDG_CACHE_HOME", Path::new(env!("CARGO_TARGET_TMPDIR")).join("cache"));
    command
}

/// Runs the program to its end.
pub fn run(arguments: &[&str]) -> Output {
    elbo(arguments).output().unwrap()
}

/// Standard error as text.
pub fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// Standard output as text.
pub fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// Runs the program and checks that it succeeds; returns its output.
#[track_caller]
pub fn succeed(arguments: &[&str]) -> String {
    let output = run(arguments);
    assert!(output.status.success(), "{arguments:?}: {:?}\n{}", output.status, stderr(&output));
    stdout(&output)
}

/// The message of a run that must have failed with exit code 1: one line that begins with `error: `, notes
/// apart.
#[track_caller]
pub fn message(output: &Output) -> String {
    let text = stderr(output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with("note: ")).collect();
    assert!(lines.len() == 1 && lines[0].starts_with("error: "), "not one clear line:\n{text}");
    assert!(!text.contains("panicked") && lines[0].len() < 600, "{text}");
    lines[0].to_string()
}

/// Runs the program and checks that it refuses; returns its message.
#[track_caller]
pub fn refused(arguments: &[&str]) -> String {
    message(&run(arguments))
}

/// A folder for small files that are synced thousands of times: in memory, if possible.
pub fn work_folder() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

/// A path as an argument.
pub fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// SplitMix64, for data and for the times of kills.
pub struct Numbers(pub u64);

impl Numbers {
    /// The next 64 bits.
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// 0 ≤ result < n.
    pub fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }
}

/// Blurred blobs as an .npy file of bytes, count × height × width × channels: something that can be learned.
pub fn write_images(path: &Path, shape: [usize; 4]) {
    let [count, height, width, channels] = shape;
    let mut numbers = Numbers(7);
    let mut bytes = Vec::new();
    for _ in 0..count {
        let (y0, x0) = (numbers.below(height as u64) as f64, numbers.below(width as u64) as f64);
        let radius = 1.0 + numbers.below(30) as f64 / 10.0;
        for y in 0..height {
            for x in 0..width {
                let distance = ((y as f64 - y0).powi(2) + (x as f64 - x0).powi(2)) / (radius * radius);
                for channel in 0..channels {
                    bytes.push((255.0 * (-distance).exp()) as u8 / (channel as u8 + 1));
                }
            }
        }
    }
    write_npy(path, "|u1", &shape, &bytes);
}

/// An .npy file, version 1.
pub fn write_npy(path: &Path, kind: &str, shape: &[usize], bytes: &[u8]) {
    let shape: String = shape.iter().map(|n| format!("{n}, ")).collect();
    let mut header = format!("{{'descr': '{kind}', 'fortran_order': False, 'shape': ({shape}), }}");
    while (10 + header.len() + 1) % 64 != 0 {
        header.push(' ');
    }
    header.push('\n');
    let mut file = b"\x93NUMPY\x01\x00".to_vec();
    file.extend((header.len() as u16).to_le_bytes());
    file.extend(header.bytes());
    file.extend(bytes);
    std::fs::write(path, file).unwrap();
}

/// Floats as an .npy file.
pub fn write_floats(path: &Path, shape: &[usize], values: &[f32]) {
    let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    write_npy(path, "<f4", shape, &bytes);
}

/// IDX, images (3 sizes) or labels (1).
pub fn write_idx(path: &Path, shape: &[usize], bytes: &[u8]) {
    let mut file = vec![0, 0, 8, shape.len() as u8];
    shape.iter().for_each(|&size| file.extend((size as u32).to_be_bytes()));
    file.extend(bytes);
    std::fs::write(path, file).unwrap();
}

/// The columns of metrics.csv that tell the time.
const TIMES: [&str; 2] = ["seconds", "images_per_second"];

/// metrics.csv without the columns that tell the time.
pub fn metrics(run: &Path) -> String {
    let table = std::fs::read_to_string(run.join("metrics.csv")).unwrap();
    let names: Vec<&str> = table.lines().next().unwrap().split(',').collect();
    let mut rows = String::new();
    for line in table.lines() {
        let cells = line.split(',').zip(&names).filter(|(_, name)| !TIMES.contains(name));
        rows.extend(cells.map(|(cell, _)| format!("{cell},")));
        rows.push('\n');
    }
    rows
}

/// The results of a run: its model, its checkpoint, its metrics and its pictures, with their names.
pub fn results(run: &Path) -> Vec<(String, Vec<u8>)> {
    let mut results: Vec<(String, Vec<u8>)> = ["model.safetensors", "checkpoint.safetensors"]
        .map(|name| (name.to_string(), std::fs::read(run.join(name)).unwrap()))
        .into();
    results.push(("metrics.csv".into(), metrics(run).into_bytes()));
    for name in ["samples", "reconstructions"] {
        for path in files(&run.join(name)) {
            let picture = path.file_name().unwrap().to_str().unwrap();
            // Runs that end in the middle of an epoch have additional pictures.
            if picture.starts_with("epoch-") {
                results.push((format!("{name}/{picture}"), std::fs::read(&path).unwrap()));
            }
        }
    }
    results
}

/// Checks that two runs are bit-identical.
#[track_caller]
pub fn assert_same(found: &Path, expected: &Path, what: &str) {
    let (found, expected) = (results(found), results(expected));
    let names =
        |results: &[(String, Vec<u8>)]| results.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
    assert_eq!(names(&found), names(&expected), "{what}");
    for ((name, found), (_, expected)) in found.iter().zip(&expected) {
        if name == "metrics.csv" {
            let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
            assert_eq!(text(found), text(expected), "{what}");
        }
        assert!(found == expected, "{what}: {name} differs");
    }
}

/// The files in a folder, sorted.
pub fn files(folder: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> = folder.read_dir().unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

/// Checks that a run folder has exactly the expected files: no temporary file, no lock.
#[track_caller]
pub fn assert_tidy(run: &Path) {
    let names: Vec<String> =
        files(run).iter().map(|path| path.file_name().unwrap().to_string_lossy().into_owned()).collect();
    let expected = [
        "checkpoint.safetensors",
        "config.toml",
        "metrics.csv",
        "model.safetensors",
        "reconstructions",
        "report.html",
        "samples",
    ];
    assert_eq!(names, expected);
    for name in ["samples", "reconstructions"] {
        for path in files(&run.join(name)) {
            assert_eq!(path.extension().unwrap(), "png", "{}", path.display());
        }
    }
}

/// A copy of a run folder.
pub fn copy_run(from: &Path, to: &Path) {
    std::fs::create_dir(to).unwrap();
    for path in files(from) {
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy_run(&path, &target);
        } else {
            std::fs::copy(&path, target).unwrap();
        }
    }
}

/// A number from the environment; else that of the short version, or of the long one if `ELBO_LONG` is set.
pub fn setting(name: &str, short: u64, long: u64) -> u64 {
    let default = if std::env::var_os("ELBO_LONG").is_some() { long } else { short };
    std::env::var(name)
        .ok()
        .map_or(default, |value| value.parse().unwrap_or_else(|_| panic!("{name}={value} is no number")))
}

/// A case that this machine cannot run fails, so that it does not count as passed; with `ELBO_TESTS_MAY_SKIP`
/// set it is skipped.
#[track_caller]
pub fn cannot_run(reason: &str) {
    assert!(
        std::env::var_os("ELBO_TESTS_MAY_SKIP").is_some(),
        "{reason}, so this case was not tried; set ELBO_TESTS_MAY_SKIP=1 to run the tests without it"
    );
    println!("left out: {reason}");
}

/// Whether a process may mount file systems that only it sees, which some cases need for a real full or
/// read-only disk.
pub fn can_mount() -> bool {
    let mount = "mount -t tmpfs -o size=1M elbo /mnt";
    let unshare = Command::new("unshare").args(["--map-root-user", "--mount", "sh", "-c", mount]).output();
    unshare.is_ok_and(|output| output.status.success())
}

/// Runs the program in a folder, which must succeed; returns its output.
#[track_caller]
pub fn succeed_in(folder: &Path, arguments: &[&str]) -> String {
    let output = elbo(arguments).current_dir(folder).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", stderr(&output));
    stdout(&output)
}

/// Runs the program in a folder, which must fail with a message that contains these words.
#[track_caller]
pub fn refused_in(folder: &Path, arguments: &[&str], words: &[&str]) {
    let message = message(&elbo(arguments).current_dir(folder).output().unwrap());
    for word in words {
        assert!(message.contains(word), "{arguments:?}: {message} does not say {word}");
    }
}

/// The names of all commands, as `elbo --help` lists them.
pub fn commands() -> Vec<String> {
    let help = succeed(&["--help"]);
    let list = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    // A long description continues on a line that is indented further.
    let lines = list.take_while(|line| !line.is_empty()).filter(|line| !line.starts_with("   "));
    let names = lines.filter_map(|line| line.split_whitespace().next());
    names.filter(|name| *name != "help").map(str::to_owned).collect()
}

/// Checks that a table with a line for each command is complete.
#[track_caller]
pub fn assert_all_commands<'l>(lines: impl IntoIterator<Item = &'l str>) {
    let shown: std::collections::BTreeSet<&str> =
        lines.into_iter().filter_map(|line| line.split_whitespace().next()).collect();
    for name in commands() {
        assert!(shown.contains(name.as_str()), "{name} is not in this test's table");
    }
}

/// Twelve pictures of 8×8 as PNG files in each of the folders `a` and `b` of a folder that is made.
pub fn write_classes(folder: &Path) {
    for (class, name) in ["a", "b"].into_iter().enumerate() {
        std::fs::create_dir_all(folder.join(name)).unwrap();
        for at in 0..12 {
            let pixels: Vec<u8> = (0..64).map(|i| (i * (at + 2) * (class + 1) % 256) as u8).collect();
            let mut file = std::fs::File::create(folder.join(name).join(format!("{at:02}.png"))).unwrap();
            elbo::data::write_png(&mut file, &pixels, 8, 8, 1).unwrap();
        }
    }
}

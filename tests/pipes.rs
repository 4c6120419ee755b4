//! The program's output: to pipes that are no longer read, full disks, terminals, and files.

mod support;

use std::path::Path;
use std::process::{Output, Stdio};

use support::{
    assert_all_commands, cannot_run, commands, elbo, files, message, results, run, stderr, stdout,
    succeed_in, text, work_folder, write_classes,
};

/// A line for each command, in a folder beside the data and the run.
const LINES: [&str; 26] = [
    "train --data ../pictures --preset mlp --hidden 8 --latent 2 --valid 6 --batch 6 --max-steps 4 --out new",
    "train --resume new --max-steps 5",
    "sample ../run --count 3 --out samples.png",
    "sample ../run --prior gmm --data ../pictures --count 3 --out gmm.npy",
    "reconstruct ../run --out reconstruct.png",
    "encode ../run --split all --out codes.npy",
    "decode ../run codes.npy --out decoded",
    "interpolate ../run --out interpolate.png",
    "traverse ../run --out traverse.png",
    "manifold ../run --side 3 --out manifold.png",
    "manifold ../run --out manifold.svg",
    "edit ../run --from-label a --to-label b --out edit.png",
    "inpaint ../run --half left --steps 2 --out inpaint.png",
    "score ../run --out scores.csv --sheet scores.png",
    "eval ../run --samples 6",
    "compress ../run --labels --out images.elbo",
    "decompress images.elbo --model ../run --out images.npy --labels labels.csv",
    "classify ../run --out classes.csv --confusion confusion.png",
    "detect ../run --normal-label a --out found.csv --sheet found.png --roc roc.png",
    "compare ../run ../run --out compare.html",
    "info ../pictures --sheet sheet.png",
    "info ../run",
    "export ../run --out exported",
    "explore ../run --out explore.html",
    "completions zsh",
    "man --out man1",
];

/// Pictures in two classes, and a run that every command can use.
fn place() -> tempfile::TempDir {
    let place = work_folder();
    write_classes(&place.path().join("pictures"));
    let train = "train --data pictures --preset mlp --hidden 8 --latent 2 --likelihood beta-binomial --valid 6 --max-steps 3 --out run";
    succeed_in(place.path(), &train.split(' ').collect::<Vec<_>>());
    for name in ["read", "unread"] {
        std::fs::create_dir(place.path().join(name)).unwrap();
    }
    place
}

/// All files in a folder and those in it, by name, without those that tell times.
fn contents(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    for path in files(folder) {
        let name = path.file_name().unwrap().to_str().unwrap();
        if path.join("checkpoint.safetensors").is_file() {
            found.extend(results(&path));
        } else if path.is_dir() {
            found
                .extend(contents(&path).into_iter().map(|(inner, bytes)| (format!("{name}/{inner}"), bytes)));
        } else {
            found.push((name.to_owned(), std::fs::read(&path).unwrap()));
        }
    }
    found
}

#[test]
fn pipes_that_nobody_reads_stop_no_command_and_lose_no_file() {
    let place = place();
    assert_all_commands(LINES);
    let closed = || {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        Stdio::from(writer)
    };
    for line in LINES {
        let arguments: Vec<&str> = line.split(' ').collect();
        succeed_in(&place.path().join("read"), &arguments);
        let mut unread = elbo(&arguments);
        unread.current_dir(place.path().join("unread")).stdout(closed()).stderr(closed());
        let status = unread.status().unwrap();
        assert_eq!(status.code(), Some(0), "{line}: {status} with closed pipes");
        // Standard error of one whose output alone is not read: nothing about a panic or a pipe.
        if line.starts_with("info") || line.starts_with("eval") {
            let output =
                elbo(&arguments[..2]).current_dir(place.path().join("read")).stdout(closed()).output();
            let output = output.unwrap();
            assert!(output.status.success() && !stderr(&output).contains("pipe"), "{}", stderr(&output));
        }
    }
    let [read, unread] = ["read", "unread"].map(|name| contents(&place.path().join(name)));
    let names = |files: &[(String, Vec<u8>)]| files.iter().map(|file| file.0.clone()).collect::<Vec<_>>();
    assert_eq!(names(&unread), names(&read));
    for ((name, found), (_, expected)) in unread.iter().zip(&read) {
        assert!(found == expected, "{name} is another file if nobody reads what is printed");
    }
}

#[test]
fn help_into_a_closed_pipe_is_no_panic() {
    for command in commands().iter().map(String::as_str).chain([""]) {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let arguments: Vec<&str> = [command, "--help"].into_iter().filter(|word| !word.is_empty()).collect();
        let output = elbo(&arguments).stdout(writer).output().unwrap();
        assert!(output.status.success() && stderr(&output).is_empty(), "{command}: {}", stderr(&output));
    }
}

#[test]
fn what_cannot_be_printed_on_a_full_disk_is_an_error() {
    if !Path::new("/dev/full").exists() {
        return cannot_run("there is no /dev/full");
    }
    let place = place();
    let full = || std::fs::File::options().write(true).open("/dev/full").unwrap();
    for line in ["info run", "eval run --json", "sample run --out samples.png"] {
        let mut command = elbo(&line.split(' ').collect::<Vec<_>>());
        let message = message(&command.current_dir(place.path()).stdout(full()).output().unwrap());
        assert!(message.contains("cannot write standard output"), "{line}: {message}");
    }
    assert!(place.path().join("samples.png").is_file(), "what was made is there");
}

/// Commands with a bar, and what it says.
const BARS: [(&str, &[&str]); 6] = [
    ("info ../pictures", &["loading images"]),
    ("score ../run --out scores.csv", &["loading images", "scoring"]),
    ("encode ../run --out codes.npy", &["loading images", "encoding"]),
    ("eval ../run", &["loading images", "judging", "encoding", "reconstructing"]),
    ("compress ../run --out images.elbo", &["loading images", "compressing", "verifying"]),
    ("decompress images.elbo --model ../run --out images.npy", &["decompressing"]),
];

#[test]
fn progress_is_for_terminals() {
    let place = place();
    let here = place.path().join("read");
    let plain = |output: &Output, line: &str| {
        for printed in [stdout(output), stderr(output)] {
            assert!(!printed.contains(['\u{1b}', '\r', '█', '░']), "{line}: {printed:?}");
        }
    };
    for (line, _) in BARS {
        let output = elbo(&line.split(' ').collect::<Vec<_>>()).current_dir(&here).output().unwrap();
        assert!(output.status.success(), "{line}: {}", stderr(&output));
        plain(&output, line);
    }
    plain(&run(&["train", "--help"]), "train --help");
    // script(1) of Linux makes a terminal for a command.
    let program = env!("CARGO_BIN_EXE_elbo");
    let there = place.path().join("unread");
    let on_terminal = |line: &str| {
        let mut script = std::process::Command::new("script");
        script.args(["-qec", &format!("'{program}' {line}"), "/dev/null"]).current_dir(&there);
        script.env("TERM", "xterm").env("XDG_CACHE_HOME", text(&there)).stdin(Stdio::null()).output()
    };
    if !on_terminal("info ../run").is_ok_and(|output| output.status.success()) {
        return cannot_run("script(1) makes no terminal here");
    }
    for (line, bars) in BARS {
        let output = on_terminal(line).unwrap();
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{line}: {printed}");
        for bar in bars {
            let shown = printed.split('\r').any(|part| part.contains(bar) && part.contains(['█', '░']));
            assert!(shown, "{line} shows no bar `{bar}`: {printed:?}");
        }
    }
    let train = "train --data ../pictures --preset mlp --hidden 8 --latent 2 --max-steps 4 --out new";
    let printed = String::from_utf8_lossy(&on_terminal(train).unwrap().stdout).into_owned();
    assert!(printed.contains("loading images") && printed.contains("step "), "{printed:?}");
}

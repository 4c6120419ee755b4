//! Data larger than memory, on the built program: the cache file yields bit-identical results to memory,
//! whatever happens to the file.

mod support;

use std::path::{Path, PathBuf};

use support::{elbo, message, stderr, stdout, text, work_folder, write_images};

/// Less than twice the pixels, but enough for the small network.
const LITTLE: &str = "14MB";

/// Runs the program in a folder, with its cache there, and checks that it succeeds. Returns its output.
#[track_caller]
fn told(folder: &Path, line: &str) -> String {
    let arguments: Vec<&str> = line.split_whitespace().collect();
    let output =
        elbo(&arguments).current_dir(folder).env("XDG_CACHE_HOME", folder.join("cache")).output().unwrap();
    assert!(output.status.success(), "{line}: {}", stderr(&output));
    stdout(&output) + &stderr(&output)
}

/// The cache files.
fn caches(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = folder.join("cache/elbo").read_dir() else { return Vec::new() };
    entries.map(|entry| entry.unwrap().path()).collect()
}

#[test]
fn a_model_from_a_cache_file_is_the_model_from_memory() {
    let folder = work_folder();
    let folder = folder.path();
    write_images(&folder.join("data.npy"), [30_000, 16, 16, 1]);
    let train = "train --data data.npy --preset mlp --hidden 8 --latent 3 --batch 32 --seed 5 --augment flip --max-steps 20";
    told(folder, &format!("{train} --out memory"));
    assert!(caches(folder).is_empty(), "what fits is not written to a file");
    let said = told(folder, &format!("{train} --out file --max-memory {LITTLE}"));
    assert!(said.contains("7.3 MiB of pixels are more than half of --max-memory (13.4 MiB)"), "{said}");
    assert!(said.contains("in a cache file"), "{said}");
    let file = caches(folder).remove(0);
    assert!(said.contains(text(&file)), "{said}");
    let read = |name: &str| std::fs::read(folder.join(name)).unwrap();
    let written = || file.metadata().unwrap().modified().unwrap();
    let before = written();
    assert!(read("memory/model.safetensors") == read("file/model.safetensors"));
    // Every command that goes through all images.
    for run in ["memory", "file"] {
        told(folder, &format!("encode {run} --out {run}.npy"));
        told(folder, &format!("score {run} --out {run}.csv"));
        std::fs::write(folder.join(format!("{run}.json")), told(folder, &format!("eval {run} --json")))
            .unwrap();
        told(folder, &format!("reconstruct {run} --out {run}.png"));
        // The file is there, and its memory is the run's own setting.
        told(folder, &format!("train --resume {run} --max-steps 40"));
    }
    let eval = |name: &str| String::from_utf8(read(name)).unwrap();
    let number =
        |text: &str| text.split("\"negative_elbo\":").nth(1).unwrap().split(',').next().unwrap().to_owned();
    assert_eq!(number(&eval("memory.json")), number(&eval("file.json")));
    assert!(read("memory.npy") == read("file.npy"));
    assert!(read("memory.csv") == read("file.csv"));
    assert!(read("memory.png") == read("file.png"));
    assert!(read("memory/model.safetensors") == read("file/model.safetensors"));
    assert_eq!((before, caches(folder).len()), (written(), 1), "one file for all of it, written once");
    // A damaged file is written again.
    let mut bytes = std::fs::read(&file).unwrap();
    bytes[1000] ^= 1;
    std::fs::write(&file, &bytes).unwrap();
    told(folder, "train --resume file --max-steps 45");
    bytes[1000] ^= 1;
    assert!(std::fs::read(&file).unwrap() == bytes);
    // Changed data are detected, as for data in memory.
    write_images(&folder.join("data.npy"), [29_999, 16, 16, 1]);
    let refused = elbo(&["train", "--resume", "file", "--max-steps", "50"])
        .current_dir(folder)
        .env("XDG_CACHE_HOME", folder.join("cache"))
        .output()
        .unwrap();
    assert!(message(&refused).contains("are not those that the run began with"));
    assert_eq!(caches(folder).len(), 1);
}

/// Runs the program in a folder, with its cache there; it must refuse, and write no cache. Its message.
#[track_caller]
fn refused_uncached(folder: &Path, line: &str) -> String {
    let arguments: Vec<&str> = line.split_whitespace().collect();
    let output =
        elbo(&arguments).current_dir(folder).env("XDG_CACHE_HOME", folder.join("cache")).output().unwrap();
    let message = message(&output);
    assert!(message.contains("that --max-memory allows"), "{line}: {message}");
    assert!(!folder.join("cache").exists(), "{line}: a cache file for a command that is refused");
    message
}

#[test]
fn memory_that_is_too_little_is_refused_before_pixels_are_written() {
    let folder = work_folder();
    let folder = folder.path();
    write_images(&folder.join("data.npy"), [30_000, 16, 16, 1]);
    std::fs::create_dir(folder.join("pictures")).unwrap();
    for at in 0..20_u8 {
        let mut file = std::fs::File::create(folder.join(format!("pictures/{at}.png"))).unwrap();
        elbo::data::write_png(&mut file, &vec![at; 600 * 600], 600, 600, 1).unwrap();
    }
    let train = "train --preset mlp --hidden 8 --latent 3 --batch 8 --max-steps 2";
    // 7.3 MiB of pixels, and about 9 MiB for the training.
    let message = refused_uncached(folder, &format!("{train} --data data.npy --out no --max-memory 8MB"));
    assert!(message.contains("this training takes"), "{message}");
    // 6.9 MiB of pixels, and a network that needs more.
    let message = refused_uncached(folder, &format!("{train} --data pictures --out no --max-memory 13MB"));
    assert!(message.contains("this training takes"), "{message}");
    assert!(!folder.join("no").exists());
    // A run that could be trained with more memory is not resumed with less.
    let likelihood = "--likelihood beta-binomial";
    told(folder, &format!("{train} --data data.npy {likelihood} --out run"));
    let config = folder.join("run/config.toml");
    let toml = std::fs::read_to_string(&config).unwrap();
    let limited = |line: &str| {
        if line.starts_with("max-memory") { "max-memory = \"8MB\"\n".into() } else { format!("{line}\n") }
    };
    std::fs::write(&config, toml.lines().map(limited).collect::<String>()).unwrap();
    let message = refused_uncached(folder, "train --resume run --max-steps 3");
    assert!(message.contains("this training takes"), "{message}");
    std::fs::write(&config, toml).unwrap();
    // Compression needs all pixels at once, and says so in both cases.
    for (memory, what) in [("4MB", "its images take 7.3 MiB"), ("9MB", "compressing 30000 images takes")] {
        let message = refused_uncached(folder, &format!("compress run --out no.elbo --max-memory {memory}"));
        assert!(
            message.contains(what) && message.contains("data.npy") | message.contains("larger --max-memory"),
            "{message}"
        );
    }
    assert!(!folder.join("no.elbo").exists());
}

#[test]
fn a_full_disk_is_one_sentence_and_leaves_nothing() {
    let folder = work_folder();
    let folder = folder.path();
    write_images(&folder.join("data.npy"), [100, 16, 16, 1]);
    let info = |fault: &str| {
        elbo(&["info", "data.npy", "--max-memory", "30KB"])
            .current_dir(folder)
            .env("XDG_CACHE_HOME", folder.join("cache"))
            .env("ELBO_FAULT", fault)
            .output()
            .unwrap()
    };
    let mut failures = 0;
    for call in 1.. {
        let output = info(&format!("{call}:nospace"));
        if output.status.success() {
            break;
        }
        failures += 1;
        let message = message(&output);
        assert!(
            message.contains("25600 bytes (25.0 KiB) of disk") && message.contains("XDG_CACHE_HOME"),
            "{message}"
        );
        // The last call is the sync of the folder: by then the file is complete.
        let whole =
            caches(folder).iter().all(|file| file.extension().is_some_and(|ending| ending == "pixels"));
        assert!(whole, "call {call}: {:?}", caches(folder));
        let _ = std::fs::remove_dir_all(folder.join("cache"));
    }
    assert!(failures >= 5, "folders, the file, its writes, syncs and its name: {failures}");
    assert!(stdout(&info("1000:nospace")).contains("100 images of 16×16"));
}

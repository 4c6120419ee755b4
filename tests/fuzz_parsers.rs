//! Damaged files are harmless: every parser gets many, and none may panic, take more than a second, or take
//! more memory than 64 MB beyond the size of the data that it read.
//!
//! ```text
//! cargo test --release --test fuzz_parsers -- --nocapture                       20,000 inputs for each parser
//! ELBO_FUZZ_INPUTS=10000000 ELBO_FUZZ_SEED=1 cargo test --release --test ...    as many as you like (ELBO_LONG=1: ten million)
//! ELBO_FUZZ_ONLY=png ...                                                        one parser
//! ```
//!
//! An input that violates one of these is written to tests/fuzz/artifacts/, and everything in there is tried
//! first. The inputs follow from the seed corpus (tests/fuzz/seeds, made by make_seeds.py) and the seed, so
//! that a failure can be repeated. A new parser is one line in [`TARGETS`].

// The allocator that counts is an unsafe trait; nothing else here is.
#![allow(unsafe_code)]

#[path = "fuzz/compressed.rs"]
mod compressed;
#[path = "fuzz/mod.rs"]
mod mutation;
#[path = "fuzz/own_formats.rs"]
mod own_formats;

use elbo::data::{Dataset, Images, LoadOptions, matrix_from_bytes, parse};
use mutation::{Numbers, mutate};
use std::alloc::{GlobalAlloc, Layout, System};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// The system's allocator, and the peak of its allocated bytes.
struct Counting;

static NOW: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

fn count(bytes: usize) {
    PEAK.fetch_max(NOW.fetch_add(bytes, Ordering::Relaxed) + bytes, Ordering::Relaxed);
}

// SAFETY: every call is passed on to the system's allocator; the rest only counts.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: the caller's guarantee is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: the caller's guarantee is passed on.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        NOW.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's guarantee is passed on.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // The old and the new block may exist at the same time.
        count(size);
        NOW.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's guarantee is passed on.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The result of a parser: the size of its data, if it accepted the input.
type Outcome = Option<usize>;

/// A name, the folders of its seeds, and the parser.
type Target = (&'static str, &'static [&'static str], fn(&[u8]) -> Outcome);

/// All parsers.
const TARGETS: &[Target] = &[
    ("idx", &["idx"], dataset),
    ("npy", &["npy", "matrix"], dataset),
    ("matrix", &["matrix", "npy"], matrix),
    ("npz", &["npz"], dataset),
    ("png", &["png"], dataset),
    ("png-resized", &["png"], resized),
    ("jpeg", &["jpeg"], dataset),
    ("webp", &["webp"], dataset),
    ("zip", &["zip", "npz"], dataset),
    ("exif", &["exif"], resized),
    ("model", &["model", "checkpoint"], own_formats::model),
    ("checkpoint", &["checkpoint", "model"], own_formats::checkpoint),
    ("toml", &["toml"], own_formats::config),
    ("compressed", &["compressed"], compressed::parse),
    ("cache", &["cache"], cache),
];

fn images_size(images: &Images) -> usize {
    images.memory() as usize
}

fn dataset_size(data: Dataset) -> usize {
    let labels = data.labels.iter().chain(&data.test_labels).map(|labels| 4 * labels.ids.len());
    data.test.iter().chain([&data.train]).map(images_size).sum::<usize>() + labels.sum::<usize>()
}

fn dataset(input: &[u8]) -> Outcome {
    let options = LoadOptions { max_memory: 1 << 30, ..LoadOptions::default() };
    parse(input, Path::new("input"), &options).ok().map(dataset_size)
}

fn resized(input: &[u8]) -> Outcome {
    let options = LoadOptions {
        max_memory: 1 << 30,
        size: Some((16, 12)),
        color: Some(elbo::data::Color::Rgb),
        ..LoadOptions::default()
    };
    parse(input, Path::new("input"), &options).ok().map(dataset_size)
}

fn cache(input: &[u8]) -> Outcome {
    elbo::data::is_cache(input).then_some(input.len())
}

fn matrix(input: &[u8]) -> Outcome {
    matrix_from_bytes(input, Path::new("input"), 1 << 30).ok().map(|matrix| 4 * matrix.values.len())
}

/// The memory allowed beyond the size of the data.
const MEMORY: usize = 64 << 20;
const TIME: Duration = Duration::from_secs(1);
const SLOW: &str = "it took";

/// The statistics of one parser.
#[derive(Default)]
struct Report {
    inputs: u64,
    accepted: u64,
    longest: Duration,
    most_memory: usize,
}

/// Runs one input, and returns a message if it violates a requirement.
fn run(parser: fn(&[u8]) -> Outcome, input: &[u8], report: &mut Report) -> Result<(), String> {
    let before = NOW.load(Ordering::Relaxed);
    PEAK.store(before, Ordering::Relaxed);
    let start = Instant::now();
    let outcome = catch_unwind(AssertUnwindSafe(|| parser(input)));
    let took = start.elapsed();
    let memory = PEAK.load(Ordering::Relaxed).saturating_sub(before);
    let outcome = outcome.map_err(|_| "a panic".to_string())?;
    report.inputs += 1;
    report.accepted += u64::from(outcome.is_some());
    report.longest = report.longest.max(took);
    report.most_memory = report.most_memory.max(memory);
    if took > TIME {
        return Err(format!("{SLOW} {took:?}"));
    }
    let honest = input.len() + outcome.unwrap_or(0);
    if memory > honest + MEMORY {
        return Err(format!("{memory} bytes of memory for an input of {}", input.len()));
    }
    Ok(())
}

fn read_all(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let mut paths: Vec<PathBuf> =
        entries.map(|entry| entry.unwrap().path()).filter(|path| path.is_file()).collect();
    paths.sort();
    paths.into_iter().map(|path| (path.clone(), std::fs::read(path).unwrap())).collect()
}

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name)
        .ok()
        .map_or(default, |value| value.parse().unwrap_or_else(|_| panic!("{name}={value}")))
}

// One test, one thread: memory is counted for the whole process.
#[test]
fn damaged_files_are_harmless() {
    let usual = if std::env::var_os("ELBO_LONG").is_some() { 10_000_000 } else { 20_000 };
    let inputs = setting("ELBO_FUZZ_INPUTS", usual);
    let seed = setting("ELBO_FUZZ_SEED", 1);
    let only = std::env::var("ELBO_FUZZ_ONLY").ok();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz");
    let artifacts = folder.join("artifacts");
    let mut broken = Vec::new();
    let hook = std::panic::take_hook();
    for &(name, corpora, parser) in
        TARGETS.iter().filter(|target| only.as_ref().is_none_or(|only| only == target.0))
    {
        let mut report = Report::default();
        let made: Vec<Vec<u8>> = corpora
            .iter()
            .flat_map(|corpus| own_formats::seeds(corpus).into_iter().chain(compressed::seeds(corpus)))
            .collect();
        let corpus: Vec<_> =
            corpora.iter().flat_map(|corpus| read_all(&folder.join("seeds").join(corpus))).collect();
        assert!(!corpus.is_empty(), "no seeds for {name}");
        for (path, bytes) in corpus.iter().chain(&read_all(&artifacts)) {
            if let Err(what) = run(parser, bytes, &mut report) {
                broken.push(format!("{name}: {what}: {}", path.display()));
            }
        }
        let mut seeds: Vec<Vec<u8>> = corpus.into_iter().map(|(_, bytes)| bytes).collect();
        for seed in made {
            if let Err(what) = run(parser, &seed, &mut report) {
                broken.push(format!("{name}: {what}: a seed made just now"));
            }
            seeds.push(seed);
        }
        assert!(report.accepted > 0, "{name} takes none of its own seeds");
        std::panic::set_hook(Box::new(|_| ())); // a million panics would print a million traces
        for number in 0..inputs {
            let mut numbers = Numbers(seed ^ number.wrapping_mul(0x2545_f491_4f6c_dd1d));
            let mut input = mutate(&seeds, &mut numbers);
            if numbers.below(4) > 0 {
                own_formats::repair(&mut input);
                compressed::repair(&mut input);
            }
            // Other programs may use the processor, so an input is slow only if it is slow three times.
            let mut result = run(parser, &input, &mut report);
            for _ in 0..2 {
                if result.as_ref().is_err_and(|what| what.starts_with(SLOW)) {
                    result = run(parser, &input, &mut report);
                }
            }
            if let Err(what) = result {
                let path = artifacts.join(format!("{name}-{seed}-{number}"));
                std::fs::create_dir_all(&artifacts).unwrap();
                std::fs::write(&path, &input).unwrap();
                broken.push(format!("{name}: {what}: {}", path.display()));
                if broken.len() >= 20 {
                    break;
                }
            }
        }
        let _ = std::panic::take_hook();
        println!(
            "{name}: seed {seed}, {} inputs, {} accepted, {} broken promises; longest {:?}, most memory {:.1} MB",
            report.inputs,
            report.accepted,
            broken.len(),
            report.longest,
            report.most_memory as f64 / 1e6
        );
    }
    std::panic::set_hook(hook);
    assert!(broken.is_empty(), "broken promises:\n{}", broken.join("\n"));
}

//! A training step allocates nothing of its own after the first one.
//!
//! The allocator of this program can record a backtrace of every allocation on any thread. Afterwards each
//! allocation is attributed to the innermost function that is neither this file's allocator nor Rust's
//! standard library:
//!
//! - `matrixmultiply` packs operands into a buffer that it allocates in every product: theirs.
//! - `rayon`'s queues (`crossbeam_deque`, `crossbeam_epoch`) grow by blocks: theirs.
//! - the test harness reports after a minute that a test is still running, which depends on the machine's
//!   speed: its own (`test`).
//! - anything else is ours, and fails the test with its backtrace.
//!
//! There is one test, because everything in the process is counted.
#![allow(unsafe_code)] // An allocator cannot be written without.

use std::alloc::{GlobalAlloc, Layout, System};
use std::backtrace::Backtrace;
use std::cell::Cell;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use elbo::data::{Dataset, Images, LoadOptions, Pixels, write_npy_f32, write_npy_u8};
use elbo::kernels::precision::Precision;
use elbo::train::{Config, TrainOptions, Trainer};

/// Whether allocations leave a trace.
static COUNTING: AtomicBool = AtomicBool::new(false);
/// The traces.
static TRACES: Mutex<Vec<Backtrace>> = Mutex::new(Vec::new());

thread_local! {
    /// Whether this thread is recording a trace, which itself allocates. It needs no dynamic initialization
    /// or drop, so an allocator may use it.
    static TRACING: Cell<bool> = const { Cell::new(false) };
}

struct Counting;

fn trace() {
    if !COUNTING.load(Ordering::Relaxed) || TRACING.get() {
        return;
    }
    TRACING.set(true);
    // Frames are addresses now; they get their names when they are printed.
    let trace = Backtrace::force_capture();
    TRACES.lock().unwrap().push(trace);
    TRACING.set(false);
}

// SAFETY: every call is passed on to the system's allocator; the rest touches no memory of the caller.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        trace();
        // SAFETY: the caller's guarantee is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        trace();
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        trace();
        // SAFETY: as above.
        unsafe { System.realloc(pointer, layout, size) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The origin of an allocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Owner {
    Packing,
    Queue,
    Harness,
    Ours,
}

/// The functions of a trace, innermost first: `<A as B>::f` by the name of A, or of B if A is a parameter.
fn functions(trace: &Backtrace) -> Vec<String> {
    let text = trace.to_string();
    let lines = text.lines().filter(|line| !line.trim_start().starts_with("at "));
    let names = lines.filter_map(|line| line.split_once(": ")).map(|(_, name)| name.trim());
    let plain = |name: &str| match name.split_once(" as ") {
        Some((a, b)) if a.starts_with('<') && !a.contains("::") => b.to_string(),
        _ => name.trim_start_matches(['<', '&', '*']).to_string(),
    };
    names.map(plain).collect()
}

fn owner(trace: &Backtrace) -> Owner {
    const TRANSPARENT: [&str; 7] =
        ["std::", "core::", "alloc::", "allocations::trace", "allocations::Counting", "__rust", "__rustc"];
    let functions = functions(trace);
    let innermost = functions.iter().find(|name| !TRANSPARENT.iter().any(|crates| name.starts_with(crates)));
    match innermost.map(String::as_str) {
        Some(name) if name.starts_with("matrixmultiply::") => Owner::Packing,
        Some(name) if name.starts_with("crossbeam_") || name.starts_with("rayon_core::") => Owner::Queue,
        Some(name) if name.starts_with("test::") => Owner::Harness,
        _ => Owner::Ours,
    }
}

/// The allocations while `work` runs: packing buffers and queue blocks, and the traces of the others.
fn count(work: impl FnOnce()) -> (usize, usize, Vec<Backtrace>) {
    TRACES.lock().unwrap().clear();
    COUNTING.store(true, Ordering::SeqCst);
    work();
    COUNTING.store(false, Ordering::SeqCst);
    let (mut packing, mut queue, mut ours) = (0, 0, Vec::new());
    for trace in std::mem::take(&mut *TRACES.lock().unwrap()) {
        match owner(&trace) {
            Owner::Packing => packing += 1,
            Owner::Queue => queue += 1,
            Owner::Harness => {}
            Owner::Ours => ours.push(trace),
        }
    }
    (packing, queue, ours)
}

/// `count` images of noise, as bytes.
fn pictures(count: usize, (height, width, channels): (usize, usize, usize)) -> Dataset {
    let mut state = 1_u32;
    let mut byte = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    let pixels = (0..count * height * width * channels).map(|_| byte()).collect();
    Dataset::from_images(Images::from_bytes(pixels, count, height, width, channels), None).unwrap()
}

#[test]
fn a_training_step_allocates_nothing_of_its_own_after_the_first() {
    // The counting works: allocations of this file are recorded, and not attributed to another crate.
    let (_, _, ours) = count(|| drop(std::hint::black_box(vec![1_u8; 1000])));
    assert_eq!(ours.len(), 1, "{ours:?}");

    // Large enough that every product packs and every loop that can run in parallel does; an epoch of three
    // batches, the last one smaller, so that the ends of epochs are in it too.
    let networks = [
        ("conv", (28, 28, 1), 48),
        ("mlp", (28, 28, 1), 48),
        ("article", (12, 12, 3), 12),
        ("conv", (33, 47, 3), 12),
        ("residual", (19, 16, 3), 12),
    ];
    let steps = 4;
    let ways = [
        "",
        "schedule = \"alternating\"\nclip-norm = 1.0\nweight-decay = 0.01\n",
        "binarize = \"dynamic\"\nlikelihood = \"bernoulli\"\non-spike = \"skip\"\n",
        "likelihood = \"optimal-gaussian\"\ndivergence = \"jeffreys\"\nfree-bits = 0.1\ncapacity = 5.0\nbeta-warmup = 2.0\n",
        "likelihood = \"discretized-logistic\"\n",
        "likelihood = \"logistic-mixture\"\n",
        "likelihood = \"beta-binomial\"\n",
        "likelihood = \"laplace\"\nlr-schedule = \"cosine\"\nlr-warmup = 1.0\nweight-average = 0.9\n",
        "precision = \"bf16\"\n",
    ];
    let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap();
    for ((preset, size, batch), way) in networks.into_iter().flat_map(|n| ways.map(|way| (n, way))) {
        if way.contains("bf16") && !Precision::Bf16.is_found() {
            continue;
        }
        let options = format!(
            "data = \"pictures\"\npreset = \"{preset}\"\nbatch = {batch}\nvalid = 0\nepochs = 1000\n{way}"
        );
        let options = TrainOptions::parse(&options, "test".as_ref()).unwrap();
        let data = pictures(2 * batch + batch / 2, size);
        let (packing, queue, ours) = pool.install(|| {
            let mut trainer = Trainer::new(Config::new(&options).unwrap(), data).unwrap();
            let mut step = || {
                if trainer.epoch_is_complete() {
                    trainer.next_epoch();
                }
                trainer.step().unwrap();
            };
            step();
            count(|| (0..steps).for_each(|_| step()))
        });
        println!(
            "{preset} {size:?} {:40} {steps} steps: {packing} packing buffers, {queue} queue blocks, {} of our own",
            format!("{way:?}"),
            ours.len()
        );
        assert!(packing > 0 || way.contains("bf16"), "products pack their operands: where are they?");
        assert!(ours.is_empty(), "{preset} {way}: the first of {} is\n{}", ours.len(), ours[0]);
    }

    // From a cache file: of bytes, and of floats.
    for floats in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.npy");
        let file = std::fs::File::create(&path).unwrap();
        if floats {
            let values: Vec<f32> = (0..100 * 784).map(|i| (i % 97) as f32 / 96.0).collect();
            write_npy_f32(file, &[100, 28, 28], &values).unwrap();
        } else {
            let values: Vec<u8> = (0..100 * 784).map(|i| (i % 97) as u8).collect();
            write_npy_u8(file, &[100, 28, 28], &values).unwrap();
        }
        let ours = pool.install(|| {
            let cache = Some(folder.path().join("cache"));
            let load = LoadOptions { cache, max_memory: 4000, ..LoadOptions::default() };
            let data = elbo::data::load(&path, &load, &|_, _| ()).unwrap();
            assert!(matches!(data.train.pixels, Pixels::File(_)));
            let options = "data = \"a\"\npreset = \"mlp\"\nbatch = 100\nvalid = 0\nepochs = 1000\nbinarize = \"dynamic\"\n";
            let options = TrainOptions::parse(options, "test".as_ref()).unwrap();
            let mut trainer = Trainer::new(Config::new(&options).unwrap(), data).unwrap();
            trainer.step().unwrap();
            let (.., ours) = count(|| {
                for _ in 0..steps {
                    trainer.next_epoch();
                    trainer.step().unwrap();
                }
            });
            ours
        });
        assert!(ours.is_empty(), "from a cache file: the first of {} is\n{}", ours.len(), ours[0]);
    }

    // What a run gathers over many steps (the norms for spikes) does not grow either.
    let options = "data = \"pictures\"\npreset = \"mlp\"\nhidden = [8]\nlatent = 2\nbatch = 4\nvalid = 0\nepochs = 1000\non-spike = \"skip\"\n";
    let options = TrainOptions::parse(options, "test".as_ref()).unwrap();
    let mut trainer = Trainer::new(Config::new(&options).unwrap(), pictures(10, (8, 8, 1))).unwrap();
    trainer.step().unwrap();
    let (.., ours) = pool.install(|| {
        count(|| {
            for _ in 0..1500 {
                if trainer.epoch_is_complete() {
                    trainer.next_epoch();
                }
                trainer.step().unwrap();
            }
        })
    });
    assert!(ours.is_empty(), "over 1500 steps: the first of {} is\n{}", ours.len(), ours[0]);
}

//! The formats that this program writes itself, as targets: models, checkpoints and config files that may
//! come from strangers.
//!
//! Their seeds are made again each time by the code under test, so they always have the current version.
//! Those in tests/fuzz/seeds are files that were written once (`ELBO_FUZZ_WRITE_SEEDS=1` writes them again);
//! those of an older version only test the refusal.

use elbo::data::{LoadOptions, load, write_npy_f32, write_npy_u8};
use elbo::model::Vae;
use elbo::storage::tensor_file::TensorFile;
use elbo::train::{Config, Run, TrainOptions, Trainer, checkpoint};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::{LazyLock, Mutex};

/// Where a seed or an input is said to come from.
const NAME: &str = "input";

/// A model file: its tensors, and the network that its description asks for.
pub fn model(input: &[u8]) -> Option<usize> {
    let file = TensorFile::decode(input, Path::new(NAME)).ok()?;
    Vae::from_file(file, Path::new(NAME)).ok().map(|model| 4 * model.parameters.len())
}

/// A checkpoint, put into a trainer of the network that the seeds are of.
pub fn checkpoint(input: &[u8]) -> Option<usize> {
    static TRAINER: LazyLock<Mutex<(Trainer, u64)>> = LazyLock::new(|| {
        let data = images();
        let fingerprint = data.fingerprint();
        Mutex::new((Trainer::new(options("joint"), data).unwrap(), fingerprint))
    });
    let mut guard = TRAINER.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let (trainer, fingerprint) = &mut *guard;
    let file = TensorFile::decode(input, Path::new(NAME)).ok()?;
    checkpoint::restore_from(trainer, *fingerprint, file, Path::new(NAME)).ok()?;
    // Whatever was accepted can be continued: a step is taken, or refused with a sentence if a number becomes
    // infinite.
    assert!(!trainer.epoch_is_complete(), "an epoch with all its steps");
    let _ = (trainer.step(), trainer.is_done(), trainer.epoch_means(), trainer.epoch_norm());
    Some(12 * trainer.model.parameters.len())
}

/// A config file: what is taken is written back, and read again as the same.
pub fn config(input: &[u8]) -> Option<usize> {
    let text = std::str::from_utf8(input).ok()?;
    let first = Config::new(&TrainOptions::parse(text, Path::new(NAME)).ok()?).ok()?;
    let written = first.to_options().to_toml();
    let again = TrainOptions::parse(&written, Path::new(NAME)).and_then(|options| Config::new(&options));
    let mut again = again.unwrap_or_else(|error| panic!("{error} in what was written:\n{written}"));
    // These two are rounded when they are read: 10²⁰ nanoseconds are no f64.
    again.checkpoint_every = first.checkpoint_every;
    again.load.max_memory = first.load.max_memory;
    assert_eq!(again, first, "in what was written:\n{written}");
    Some(written.len())
}

/// Writes right sizes and the right checksum into a file of tensors, so that what was changed in it is looked
/// at.
pub fn repair(file: &mut [u8]) {
    let start = br#"{"__metadata__":{"checksum":""#;
    let digits = 8 + start.len()..16 + start.len();
    if file.len() < digits.end || file[8..digits.start] != start[..] {
        return;
    }
    let mut header = serde_json::Deserializer::from_slice(&file[8..]).into_iter::<serde::de::IgnoredAny>();
    if let Some(Ok(_)) = header.next() {
        let mut end = header.byte_offset();
        // Headers are filled up with spaces to a multiple of eight.
        while end % 8 != 0 && file.get(8 + end) == Some(&b' ') {
            end += 1;
        }
        file[..8].copy_from_slice(&(end as u64).to_le_bytes());
    }
    file[digits.clone()].fill(b'0');
    let checksum = format!("{:08x}", crc32fast::hash(file));
    file[digits].copy_from_slice(checksum.as_bytes());
}

fn options(schedule: &str) -> Config {
    let text = format!(
        "data = \"{NAME}\"\npreset = \"mlp\"\nhidden = [2]\nlatent = 1\nbatch = 3\nvalid = 1\nschedule = \"{schedule}\"\n"
    );
    Config::new(&TrainOptions::parse(&text, Path::new(NAME)).unwrap()).unwrap()
}

/// Six images of 8×8, as IDX.
fn images() -> elbo::data::Dataset {
    let mut bytes = vec![0, 0, 8, 3, 0, 0, 0, 6, 0, 0, 0, 8, 0, 0, 0, 8];
    bytes.extend((0..6 * 64).map(|i| (i * 37 % 256) as u8));
    elbo::data::parse(&bytes, Path::new(NAME), &LoadOptions::default()).unwrap()
}

/// Whole files of today's version, for the folder of that name.
pub fn seeds(folder: &str) -> Vec<Vec<u8>> {
    if folder == "cache" {
        let seeds = caches();
        write_seeds(folder, "pixels", &seeds);
        return seeds;
    }
    let file = match folder {
        "model" => "model.safetensors",
        "checkpoint" => "checkpoint.safetensors",
        "toml" => "config.toml",
        _ => return Vec::new(),
    };
    let work = tempfile::tempdir().unwrap();
    let made = |schedule: &str, steps: u64| {
        let run_folder: PathBuf = work.path().join(format!("{schedule}-{steps}"));
        let config = Config { max_steps: Some(steps), ..options(schedule) };
        let mut run = Run::start(&run_folder, config, images()).unwrap();
        run.train(&AtomicBool::new(false), &mut ()).unwrap();
        drop(run);
        std::fs::read(run_folder.join(file)).unwrap()
    };
    let seeds = vec![made("joint", 3), made("joint", 4), made("alternating", 1)];
    write_seeds(folder, file, &seeds);
    seeds
}

/// Writes seeds to their folder, if requested.
fn write_seeds(folder: &str, file: &str, seeds: &[Vec<u8>]) {
    if std::env::var_os("ELBO_FUZZ_WRITE_SEEDS").is_some() {
        let to = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/seeds").join(folder);
        for (number, seed) in seeds.iter().enumerate() {
            std::fs::create_dir_all(&to).unwrap();
            std::fs::write(to.join(format!("{number}-{file}")), seed).unwrap();
        }
    }
}

/// Two cache files: of bytes, and of floats.
fn caches() -> Vec<Vec<u8>> {
    let made = |name: &str| {
        let work = tempfile::tempdir().unwrap();
        let (array, cache) = (work.path().join("array.npy"), work.path().join("cache"));
        let file = std::fs::File::create(&array).unwrap();
        match name {
            "bytes" => write_npy_u8(file, &[5, 4, 4], &[7; 80]).unwrap(),
            _ => write_npy_f32(file, &[5, 4, 4], &[0.5; 80]).unwrap(),
        }
        let options = LoadOptions { cache: Some(cache.clone()), max_memory: 100, ..LoadOptions::default() };
        load(&array, &options, &|_, _| ()).unwrap();
        let made = cache.read_dir().unwrap().next().unwrap().unwrap().path();
        std::fs::read(made).unwrap()
    };
    vec![made("bytes"), made("floats")]
}

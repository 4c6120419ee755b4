//! Compressed files as a target. Their seeds are made again each time by the code under test, like those of
//! `own_formats`; a stored one is from one processor, and another may correctly refuse it.

use elbo::Vae;
use elbo::compress::{CompressOptions, Compressed, Contents, DecompressOptions, compress};
use elbo::data::{Images, Labels};
use elbo::loss::Likelihood;
use elbo::model::{ModelConfig, Preset};
use std::path::Path;
use std::sync::LazyLock;

static MODEL: LazyLock<Vae<f32>> = LazyLock::new(|| {
    let config = ModelConfig {
        latent: 1,
        hidden: vec![2],
        likelihood: Likelihood::DiscretizedLogistic,
        ..ModelConfig::new(Preset::Mlp, (8, 8, 1))
    };
    Vae::new(config, 0).unwrap()
});

/// Opens a file with the model inside and with the seeds' own, as a whole and what is left of it.
pub fn parse(input: &[u8]) -> Option<usize> {
    let file = Compressed::from_bytes(input.to_vec(), "input");
    let inside = file.model().ok().flatten();
    let model = inside.as_ref().unwrap_or(&MODEL);
    // Opening as a whole takes nothing that salvaging does not take.
    let all = DecompressOptions { max_memory: 1 << 18, ..DecompressOptions::default() };
    let whole = file.decompress(model, &all, &|_| ());
    let salvaged = file.decompress(model, &DecompressOptions { salvage: true, ..all }, &|_| ());
    if let Ok(whole) = &whole {
        assert_eq!(salvaged.as_ref().ok(), Some(whole));
    }
    // A file, its copy, the model, and the images twice.
    salvaged.ok().map(|back| 2 * input.len() + 2 * 64 * back.images.count)
}

/// Writes the right checksums of header, index and blocks, so that what was changed is looked at.
pub fn repair(file: &mut [u8]) {
    let number = |file: &[u8], at: usize| {
        Some(u32::from_le_bytes(file.get(at..at.checked_add(4)?)?.try_into().ok()?) as usize)
    };
    if !file.starts_with(b"\x89ELBO\r\n\x1a") {
        return;
    }
    let Some((header, index)) =
        number(file, 12).and_then(|header| Some((16 + header, number(file, 16 + header)?)))
    else {
        return;
    };
    let first = header + 4;
    let Some(end) = index.checked_mul(12).map(|bytes| first + bytes).filter(|end| end + 4 <= file.len())
    else {
        return;
    };
    // The blocks are at the end, the last one last.
    let mut block_end = file.len();
    for entry in (0..index).rev().map(|at| first + 12 * at) {
        let length = number(file, entry).unwrap_or(0);
        let Some(start) = block_end.checked_sub(length).filter(|start| *start >= end + 4) else { break };
        let checksum = crc32fast::hash(&file[start..block_end]);
        file[entry + 4..entry + 8].copy_from_slice(&checksum.to_le_bytes());
        block_end = start;
    }
    let checksum = crc32fast::hash(&file[..end]);
    file[end..end + 4].copy_from_slice(&checksum.to_le_bytes());
}

/// Files of three images: plain, with everything, lossy.
pub fn seeds(folder: &str) -> Vec<Vec<u8>> {
    if folder != "compressed" {
        return Vec::new();
    }
    let images = Images::from_bytes((0..3 * 64).map(|i| (i * 37 % 256) as u8).collect(), 3, 8, 8, 1);
    let names = ["a.png", "b/a.png", "b/b.png"].map(String::from);
    let labels = Labels { ids: vec![0, 1, 1], names: vec!["x".into(), "y".into()] };
    let plain = Contents { images: &images, names: &[], labels: None };
    let full = Contents { images: &images, names: &names, labels: Some(&labels) };
    let made = |contents: &Contents<'_>, options: CompressOptions| {
        let options = CompressOptions { latent_bits: 4, ..options };
        compress(&MODEL, contents, &options, &|_| ()).unwrap()
    };
    let default = CompressOptions::default;
    let seeds = vec![
        made(&plain, CompressOptions { block: Some(2), ..default() }),
        made(&full, CompressOptions { with_model: true, ..default() }),
        made(&full, CompressOptions { lossy: Some(0.1), block: Some(1), ..default() }),
    ];
    if std::env::var_os("ELBO_FUZZ_WRITE_SEEDS").is_some() {
        let to = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/seeds/compressed");
        std::fs::create_dir_all(&to).unwrap();
        for (number, seed) in seeds.iter().enumerate() {
            std::fs::write(to.join(format!("{number}.elbo")), seed).unwrap();
        }
    }
    seeds
}

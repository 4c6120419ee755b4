//! `elbo compare`: several runs side by side.

use std::path::PathBuf;

use clap::Args;

use super::common::{Ending, Opened};
use super::pictures::{Shown, refuse_other};
use crate::error::{Error, Result};
use crate::model::Codec;
use crate::report::compare::{ComparedRun, Comparison, MOST};
use crate::report::{Metrics, Picture};
use crate::storage::atomic::write_new;
use crate::storage::system::system;
use crate::storage::tensor_file::TensorFile;
use crate::train::{Config, DataOptions};

/// Samples of each run, and the images that each reconstructs.
const PICTURES: usize = 16;
/// Pictures in a row of a sheet.
const COLUMNS: usize = 8;

/// Compare runs: curves, differing options, pictures
#[derive(Debug, Args)]
#[command(
    after_help = "Runs that were trained on the same data reconstruct the same images. A run whose images no longer exist is compared \
                  without reconstructions."
)]
pub(super) struct Compare {
    /// Run folders, two to eight
    #[arg(required = true, num_args = 2..)]
    runs: Vec<PathBuf>,
    /// The page
    #[arg(long, value_name = "FILE", default_value = "compare.html", help_heading = "Output")]
    out: PathBuf,
    /// Print one JSON object, and write no page
    #[arg(long, help_heading = "Output")]
    json: bool,
    /// Seed of the samples
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// Memory limit for models and images [default: 8GiB]
    #[arg(long, value_name = "SIZE")]
    max_memory: Option<String>,
}

impl Compare {
    pub(super) fn run(self) -> Result<Ending> {
        if !self.json {
            refuse_other("--out", &self.out, "html")?;
        }
        if self.runs.len() > MOST {
            return Err(Error::config(format!("{} runs; at most {MOST} can be compared", self.runs.len())));
        }
        let options = DataOptions { max_memory: self.max_memory.clone(), ..DataOptions::default() };
        let max_memory = options.load_options()?.max_memory;
        let (mut runs, mut notes) = (Vec::new(), Vec::new());
        // The images that the first run of each data set reconstructs, by fingerprint.
        let mut chosen: Vec<(String, Vec<usize>)> = Vec::new();
        for folder in &self.runs {
            let opened = Opened::new(Some(folder), max_memory)?;
            let Some(config) = opened.config.as_ref().filter(|_| folder.is_dir()) else {
                return Err(Error::data(
                    folder,
                    "is not a run folder: it has no config.toml; compare takes run folders",
                ));
            };
            let mut run = facts(&opened, config, folder, max_memory)?;
            if !self.json {
                run.samples = Some(self.samples(&opened)?);
                match reconstructions(&opened, &options, &run, &mut chosen) {
                    Ok((sheet, note)) => {
                        run.reconstructions = Some(sheet);
                        notes.extend(note);
                    }
                    Err(error) => notes.push(format!("{} has no reconstructions: {error}.", run.name)),
                }
            }
            runs.push(run);
        }
        let comparison = Comparison { runs, further_notes: notes };
        if self.json {
            say!("{:#}", comparison.to_json());
            return Ok(Ending::Done);
        }
        let page = comparison.to_html();
        write_new(system(), &self.out, |file| file.write_all(page.as_bytes()))?;
        say!("{}", comparison.to_text().trim_end());
        say!("wrote {}", self.out.display());
        Ok(Ending::Done)
    }

    /// The sheet of samples of a run.
    fn samples(&self, opened: &Opened) -> Result<Vec<u8>> {
        opened.room_for_pictures(0, (PICTURES, 1), true, "a larger --max-memory")?;
        let samples = opened.model.sample(PICTURES, self.seed);
        Ok(Picture::sheet(&samples, opened.model.config().image(), COLUMNS).to_png())
    }
}

/// The facts from the files of a run folder.
fn facts(opened: &Opened, config: &Config, folder: &std::path::Path, max_memory: u64) -> Result<ComparedRun> {
    let read = |name: &str| {
        std::fs::read_to_string(folder.join(name))
            .map_err(|error| Error::io("read", folder.join(name), error))
    };
    let model = opened.model.config();
    let table: toml::Table = read("config.toml")?.parse().unwrap_or_default();
    let text = |value: toml::Value| match value {
        toml::Value::String(text) => text,
        other => other.to_string(),
    };
    let absolute = std::path::absolute(folder).unwrap_or_else(|_| folder.into());
    let data = config.data.display().to_string();
    // The checkpoint identifies the images; without it their path has to.
    let fingerprint = TensorFile::load(&folder.join("checkpoint.safetensors"), max_memory)
        .ok()
        .and_then(|file| file.description["state"]["data"].as_str().map(str::to_owned));
    Ok(ComparedRun {
        name: absolute.file_name().unwrap_or(absolute.as_os_str()).to_string_lossy().into_owned(),
        folder: folder.display().to_string(),
        preset: model.preset.name().into(),
        likelihood: model.likelihood,
        parameters: opened.model.parameters.len(),
        latent: model.latent,
        values: model.pixels(),
        metrics: Metrics::parse(&read("metrics.csv").unwrap_or_default()),
        options: table.into_iter().map(|(key, value)| (key, text(value))).collect(),
        fingerprint: fingerprint.unwrap_or_else(|| data.clone()),
        data,
        samples: None,
        reconstructions: None,
    })
}

/// Images beside their reconstructions. `chosen` has the images of the earlier runs: a run on the same data
/// gets the same ones. A note says so if it held out others.
fn reconstructions(
    opened: &Opened,
    options: &DataOptions,
    run: &ComparedRun,
    chosen: &mut Vec<(String, Vec<usize>)>,
) -> Result<(Vec<u8>, Option<String>)> {
    let image = opened.model.config().image();
    let shown = Shown::new(opened, options, None)?.take(None, Some(PICTURES))?;
    let mut indices = shown.indices.clone();
    let mut note = None;
    match chosen.iter().find(|(fingerprint, _)| *fingerprint == run.fingerprint) {
        Some((_, first)) if *first != indices => {
            indices.clone_from(first);
            note = Some(format!(
                "{} held out other images than the first run, so it reconstructs some that it may have been trained on.",
                run.name
            ));
        }
        Some(_) => {}
        None => chosen.push((run.fingerprint.clone(), indices.clone())),
    }
    let originals = shown.pictures(&indices);
    let mut codec = Codec::new(&opened.model);
    let codes = shown.encode(&mut codec, &indices);
    let again = codec.decode_as(&codes.mu, &shown.numbers(&indices));
    Ok((Picture::pairs(&originals, &again, image, COLUMNS / 2).to_png(), note))
}

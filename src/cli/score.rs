//! `elbo score`: how improbable each image is under the model, and which images are the strangest.

use std::io::Write;
use std::path::PathBuf;

use clap::Args;

use super::common::{Ending, Loaded, Opened, with_progress};
use super::pictures::refuse_other;
use super::sample::free_name;
use crate::data::{Filler, Images, Labels, Part, Span};
use crate::error::{Error, Result};
use crate::evaluate::bounds::{VaeLikelihood, importance_weighted, negative_elbos, quantile};
use crate::model::{Codec, Labelled};
use crate::report::Picture;
use crate::storage::atomic::write_new;
use crate::storage::system::system;
use crate::train::DataOptions;

/// Images on the sheet, three tiles each, and the number of images in a row.
const SHOWN: usize = 24;
const PER_ROW: usize = 3;
/// Images scored between two updates of the progress bar: whole batches.
const PIECE: usize = 256;

/// Rate how unusual each image is
#[derive(Debug, Args)]
#[command(
    after_help = "Scores the test images of the data, or all if there are none.\nA score is −ELBO, or with --importance the negated \
                  importance-weighted bound, in nats: higher is stranger. The threshold is a quantile of the run's validation images."
)]
pub(super) struct Score {
    /// A run folder or a model file [default: the newest run]
    run: Option<PathBuf>,
    /// Score by the importance-weighted bound with K draws per image
    #[arg(long, value_name = "K")]
    importance: Option<usize>,
    /// The table: index, file, label, score, strange [default: scores.csv here, numbered if it exists]
    #[arg(long, value_name = "FILE.csv", help_heading = "Output")]
    out: Option<PathBuf>,
    /// An image is strange if its score is above this quantile of the validation images' scores
    #[arg(long, value_name = "Q", default_value_t = 0.99, allow_negative_numbers = true)]
    quantile: f64,
    /// Also write a sheet of the strangest: original, reconstruction, error
    #[arg(long, value_name = "FILE.png", help_heading = "Output")]
    sheet: Option<PathBuf>,
    /// Seed of the draws [default: the run's]
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    #[command(flatten)]
    data: DataOptions,
}

/// The images that are scored.
struct Scored<'d> {
    images: &'d Images,
    labels: Option<&'d Labels>,
    files: &'d [PathBuf],
}

impl Score {
    pub(super) fn run(self) -> Result<Ending> {
        if !(0.0..=1.0).contains(&self.quantile) {
            return Err(Error::config(format!("--quantile must be from 0 to 1, not {}", self.quantile)));
        }
        if self.importance == Some(0) {
            return Err(Error::config("--importance 0 draws nothing; it must be at least 1"));
        }
        let out = self.out.clone().unwrap_or_else(|| free_name("scores", "csv"));
        refuse_other("--out", &out, "csv")?;
        if let Some(sheet) = &self.sheet {
            refuse_other("--sheet", sheet, "png")?;
        }
        let opened = Opened::new(self.run.as_deref(), self.data.load_options()?.max_memory)?;
        let loaded = opened.images(&self.data, Part::Both)?;
        let data = &loaded.data;
        let scored = match &data.test {
            Some(test) if test.count > 0 => {
                Scored { images: test, labels: data.test_labels.as_ref(), files: &data.test_files }
            }
            _ => Scored { images: &data.train, labels: data.labels.as_ref(), files: &data.files },
        };
        if scored.images.count == 0 {
            return Err(Error::data(&data.path, "there are no images to score"));
        }
        let seed = self.seed.or(opened.config.as_ref().map(|config| config.seed)).unwrap_or(0);
        let span = opened.model.config().span();
        let filler = Filler { span, binarize: opened.binarize(&self.data)?, seed };
        let mut codec = Codec::new(&opened.model);
        let all: Vec<usize> = (0..scored.images.count).collect();
        let config = opened.model.config();
        let images = config.labelled(scored.images, scored.labels)?;
        let scores = self.scores(&mut codec, images, &all, &filler);

        let held_out = self.validation_scores(&opened, &loaded, &mut codec, &filler)?;
        let (reference, of) = match &held_out {
            Some(validation) => (validation, "validation images of the run"),
            None => (&scores, "scored images themselves (no validation images of the run are known)"),
        };
        let threshold = quantile(reference, self.quantile).expect("there is an image");
        // Then fewer than one image is expected above the threshold: it is near the largest score, and
        // changes with a single image.
        if self.quantile < 1.0 && reference.len() as f64 * (1.0 - self.quantile) < 1.0 - 1e-9 {
            note!(
                "{} images are few for the {} quantile, which is close to their highest score; {:.0} or more, or a lower --quantile, \
                 make a threshold that does not hang on one image",
                reference.len(),
                self.quantile,
                (1.0 / (1.0 - self.quantile)).ceil()
            );
        }
        write_new(system(), &out, |file| table(file, &scored, &scores, threshold))?;
        let mut order = all;
        order.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]).then(a.cmp(&b)));
        if let Some(sheet) = &self.sheet {
            strangest(&mut codec, images, &order[..order.len().min(SHOWN)], &filler).save_new(sheet)?;
        }

        let strange = scores.iter().filter(|&&score| score > threshold).count();
        say!("{} images scored: {}", scores.len(), out.display());
        say!(
            "threshold {threshold:.3} nats, the {} quantile of {} {of}; {strange} images are above it",
            self.quantile,
            reference.len()
        );
        say!("strangest:");
        for &index in order.iter().take(5) {
            let name =
                scored.files.get(index).map_or(format!("image {index}"), |file| file.display().to_string());
            say!("  {:>12.3}  {name}", scores[index]);
        }
        if let Some(sheet) = &self.sheet {
            say!("sheet of the strangest (original, reconstruction, error): {}", sheet.display());
        }
        Ok(Ending::Done)
    }

    fn scores(
        &self,
        codec: &mut Codec<'_>,
        images: Labelled<'_>,
        indices: &[usize],
        filler: &Filler,
    ) -> Vec<f64> {
        let mut likelihood = VaeLikelihood::new(codec.model(), images, *filler);
        let mut scores = Vec::with_capacity(indices.len());
        with_progress("scoring", indices.len() as u64, |progress| {
            for piece in indices.chunks(PIECE) {
                let codes = codec.encode_with(images, piece, filler);
                match self.importance {
                    None => scores.extend(negative_elbos(&mut likelihood, &codes, piece, filler.seed)),
                    Some(k) => {
                        let bounds = importance_weighted(&mut likelihood, &codes, piece, k, filler.seed);
                        scores.extend(bounds.into_iter().map(|bound| -bound));
                    }
                }
                progress(piece.len());
            }
        });
        scores
    }

    /// The scores of the images that the run held out; `None` if it held out none or they can no longer be
    /// read.
    fn validation_scores(
        &self,
        opened: &Opened,
        given: &Loaded,
        codec: &mut Codec<'_>,
        filler: &Filler,
    ) -> Result<Option<Vec<f64>>> {
        if opened.config.as_ref().is_none_or(|config| config.valid.unwrap_or(0) == 0) {
            return Ok(None);
        }
        let own;
        let loaded = if opened.is_own(&self.data) {
            given
        } else {
            let options = DataOptions { max_memory: self.data.max_memory.clone(), ..Default::default() };
            match opened.images(&options, Part::Train) {
                Ok(images) => {
                    own = images;
                    &own
                }
                Err(error) => {
                    note!("the run's own images are needed for the threshold, and {error}");
                    return Ok(None);
                }
            }
        };
        let (data, Some(held_out)) = (&loaded.data, loaded.held_out()) else { return Ok(None) };
        let images = opened.model.config().labelled(&data.train, data.labels.as_ref())?;
        Ok(Some(self.scores(codec, images, &held_out, filler)))
    }
}

/// The table of scores.
fn table(out: &mut dyn Write, scored: &Scored<'_>, scores: &[f64], threshold: f64) -> std::io::Result<()> {
    writeln!(out, "index,file,label,score,strange")?;
    for (index, score) in scores.iter().enumerate() {
        let file = scored.files.get(index).map_or(String::new(), |file| field(&file.to_string_lossy()));
        let label = scored.labels.map_or(String::new(), |l| field(&l.names[l.ids[index] as usize]));
        writeln!(out, "{index},{file},{label},{score},{}", u8::from(*score > threshold))?;
    }
    Ok(())
}

/// A field of a CSV file (RFC 4180): in quotes if it has a comma, a quote or a line break.
pub(super) fn field(text: &str) -> String {
    if text.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.into()
    }
}

/// Original, reconstruction and |difference| of some images.
fn strangest(codec: &mut Codec<'_>, images: Labelled<'_>, indices: &[usize], filler: &Filler) -> Picture {
    let c = codec.model().config();
    let (size, len) = (c.image(), c.pixels());
    let mut originals = vec![0.0; indices.len() * len];
    Filler { span: Span::Unit, ..*filler }.fill(images.images, indices, 0, &mut originals);
    let codes = codec.encode_with(images, indices, filler);
    let pictures = codec.decode_as(&codes.mu, &images.of(indices).collect::<Vec<_>>());
    let mut tiles = Vec::new();
    for (original, picture) in originals.chunks_exact(len).zip(pictures.chunks_exact(len)) {
        tiles.extend_from_slice(original);
        tiles.extend_from_slice(picture);
        // The alpha of an error map would hide it.
        let error = original.iter().zip(picture).enumerate();
        tiles.extend(
            error.map(|(at, (a, b))| if size.channels == 4 && at % 4 == 3 { 1.0 } else { (a - b).abs() }),
        );
    }
    Picture::sheet(&tiles, size, 3 * PER_ROW)
}

//! `elbo detect`: which images are anomalous, and which of their regions.

use std::path::PathBuf;

use clap::Args;
use rayon::prelude::*;

use super::common::{Ending, Loaded, Opened, named_values};
use super::pictures::refuse_other;
use super::sample::free_name;
use crate::data::{Filler, Part};
use crate::error::{Error, Result};
use crate::evaluate::bounds::{VaeLikelihood, importance_weighted, negative_elbos};
use crate::evaluate::detect::{ScoreBy, Threshold, auroc, png_lengths, roc};
use crate::evaluate::expected::{Expected, contents};
use crate::evaluate::heat::{self, HotBox, Usual, boxes, compare};
use crate::evaluate::judged::{Judged, Which};
use crate::generate::edit::of_class;
use crate::model::Labelled;
use crate::model::codec::{BATCH, Codec};
use crate::report::diagram;
use crate::storage::atomic::write_new;
use crate::storage::system::system;
use crate::tensor::ImageShape;
use crate::train::DataOptions;

mod found;
mod shown;

use found::{Finding, Group, Reference, labelled, labels};
use shown::{facts, print, sheet, table};

/// The most normal images used for the usual error of each pixel and the heat's threshold.
const WATCHED: usize = 2000;

/// Find anomalous images, and their anomalous regions
#[derive(Debug, Args)]
#[command(
    after_help = "An image is anomalous if its score is above a threshold, which a share of the run's validation images exceeds \
                  (--rate). A box is the rectangle whose reconstruction errors are farthest above what is usual for such pixels.\n\
                  elbo takes simple images for normal, whatever they show; excess subtracts the elbo that is expected of an image as \
                  bright and as detailed, learned from the validation images; complexity subtracts the length of the image as PNG \
                  (Serrà et al. 2020) and needs a likelihood for bytes, such as discretized-logistic; heat finds small defects."
)]
pub(super) struct Detect {
    /// A run folder or a model file [default: the newest run]
    run: Option<PathBuf>,
    /// Normal images, like --data: with --anomalous, the AUROC of the two is reported
    #[arg(long, value_name = "PATH", requires = "anomalous", conflicts_with = "data")]
    normal: Option<PathBuf>,
    /// Anomalous images
    #[arg(long, value_name = "PATH", requires = "normal")]
    anomalous: Option<PathBuf>,
    /// Images of --data with these labels are normal, and all others anomalous
    #[arg(long, value_name = "L,L,…", value_delimiter = ',', conflicts_with = "normal")]
    normal_label: Option<Vec<String>>,
    /// The score: elbo, excess, complexity or heat
    #[arg(long, value_parser = named_values::<ScoreBy>(), default_value_t = ScoreBy::Elbo)]
    by: ScoreBy,
    /// elbo, excess and complexity: score by the importance-weighted bound with K draws per image
    #[arg(long, value_name = "K")]
    importance: Option<usize>,
    /// The share of normal images that may be called anomalous
    #[arg(long, value_name = "F", default_value_t = 0.01, allow_negative_numbers = true)]
    rate: f64,
    /// The table to write: index, file, set, score, anomalous, boxes [default: detect.csv here, numbered if
    /// it exists; with --json none]
    #[arg(long, value_name = "FILE.csv", help_heading = "Output")]
    out: Option<PathBuf>,
    /// Also write a sheet of the most anomalous: image with boxes, reconstruction, heat
    #[arg(long, value_name = "FILE.png", help_heading = "Output")]
    sheet: Option<PathBuf>,
    /// Also write the ROC curve as a picture, if the normal images are known
    #[arg(long, value_name = "FILE.png", help_heading = "Output")]
    roc: Option<PathBuf>,
    /// Print one JSON object to standard output, and nothing else
    #[arg(long, help_heading = "Output")]
    json: bool,
    /// The seed of the draws [default: the run's]
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    #[command(flatten)]
    data: DataOptions,
}

impl Detect {
    pub(super) fn run(self) -> Result<Ending> {
        if self.importance == Some(0) {
            return Err(Error::config("--importance 0 draws nothing; it must be at least 1"));
        }
        if !(self.rate > 0.0 && self.rate < 1.0) {
            return Err(Error::config(format!("--rate must be between 0 and 1, not {}", self.rate)));
        }
        let out = match (&self.out, self.json) {
            (None, true) => None,
            (out, _) => Some(out.clone().unwrap_or_else(|| free_name("detect", "csv"))),
        };
        for (option, path, kind) in
            [("--out", &out, "csv"), ("--sheet", &self.sheet, "png"), ("--roc", &self.roc, "png")]
        {
            path.as_ref().map_or(Ok(()), |path| refuse_other(option, path, kind))?;
        }
        let opened = Opened::new(self.run.as_deref(), self.data.load_options()?.max_memory)?;
        let groups = self.groups(&opened)?;
        let truths = self.truths(&groups)?;
        let seed = self.seed.or(opened.config.as_ref().map(|config| config.seed)).unwrap_or(0);
        let span = opened.model.config().span();
        let filler = Filler { span, binarize: opened.binarize(&self.data)?, seed };
        let mut codec = Codec::new(&opened.model);
        let reference = self.reference(&opened, &groups, &truths, &mut codec, &filler)?;
        let mut findings = Vec::new();
        for (at, group) in groups.iter().enumerate() {
            let images = labelled(&opened, group)?;
            let found = self.examine(&mut codec, images, &group.indices, &filler, &reference);
            let found = found.into_iter().zip(&group.indices).zip(&truths[at]);
            findings.extend(found.map(|(((score, boxes), &index), &truth)| Finding {
                group: at,
                index,
                truth,
                score,
                boxes,
            }));
        }
        if let Some(out) = &out {
            write_new(system(), out, |file| table(file, &findings, &groups, reference.score.value))?;
        }
        if let Some(path) = &self.sheet {
            sheet(&mut codec, &opened, &findings, &groups, &filler, &reference)?.save_new(path)?;
        }
        let scores = |anomalous: bool| -> Vec<f64> {
            findings.iter().filter(|f| f.truth == Some(anomalous)).map(|f| f.score).collect()
        };
        let (normal, anomalous) = (scores(false), scores(true));
        let known = !normal.is_empty() && !anomalous.is_empty();
        match &self.roc {
            Some(path) if known => diagram::roc(&roc(&normal, &anomalous)).save_new(path)?,
            Some(_) => note!(
                "it is unknown which images are normal, so there is no ROC curve; give --normal and --anomalous, or --normal-label"
            ),
            None => {}
        }
        let area = known.then(|| auroc(&normal, &anomalous));
        if self.json {
            say!("{}", facts(self.by, &findings, &groups, &reference, area));
            return Ok(Ending::Done);
        }
        print(self.by, &findings, &groups, &reference, area);
        for path in [&out, &self.sheet].into_iter().flatten() {
            say!("wrote {}", path.display());
        }
        if let (Some(path), true) = (&self.roc, known) {
            say!("wrote {}", path.display());
        }
        Ok(Ending::Done)
    }

    /// The images: those of --normal and --anomalous, or those of --data.
    fn groups(&self, opened: &Opened) -> Result<Vec<Group>> {
        let load = |path: Option<&PathBuf>| -> Result<Group> {
            let options = DataOptions { data: path.cloned(), ..self.data.clone() };
            let Loaded { data, split } = opened.images(&options, Part::Both)?;
            let Judged { which, indices, .. } = Judged::choose(&data, split)?;
            Ok(Group { data, which, indices })
        };
        match (&self.normal, &self.anomalous) {
            (Some(normal), Some(anomalous)) => {
                let group = load(Some(normal))?;
                if group.indices.len() < 2 {
                    return Err(Error::data(
                        normal,
                        "a single normal image is not enough; --normal needs at least 2 images",
                    ));
                }
                Ok(vec![group, load(Some(anomalous))?])
            }
            _ => Ok(vec![load(self.data.data.as_ref())?]),
        }
    }

    /// Whether each image of each group is anomalous, if that is known.
    fn truths(&self, groups: &[Group]) -> Result<Vec<Vec<Option<bool>>>> {
        if let [normal, anomalous] = groups {
            return Ok(vec![
                vec![Some(false); normal.indices.len()],
                vec![Some(true); anomalous.indices.len()],
            ]);
        }
        let group = &groups[0];
        let Some(names) = &self.normal_label else { return Ok(vec![vec![None; group.indices.len()]]) };
        let labels = labels(group).ok_or_else(|| {
            Error::data(
                &group.data.path,
                "the images have no labels, so --normal-label cannot choose among them",
            )
        })?;
        let mut normal = vec![false; labels.ids.len()];
        for name in names {
            of_class(labels, name)?.into_iter().for_each(|index| normal[index] = true);
        }
        Ok(vec![group.indices.iter().map(|&index| Some(!normal[index])).collect()])
    }

    /// The reference values: from the run's validation images; if there are none, from the images known to be
    /// normal; else from all.
    fn reference(
        &self,
        opened: &Opened,
        groups: &[Group],
        truths: &[Vec<Option<bool>>],
        codec: &mut Codec<'_>,
        filler: &Filler,
    ) -> Result<Reference> {
        let held_out = self.held_out(opened)?;
        let (group, indices, of) = match &held_out {
            Some(group) => (group, group.indices.clone(), "validation images of the run"),
            None if truths[0].contains(&Some(false)) => {
                let pairs = groups[0].indices.iter().zip(&truths[0]);
                let normal =
                    pairs.filter(|(_, truth)| **truth == Some(false)).map(|(&index, _)| index).collect();
                (&groups[0], normal, "normal images (no validation images of the run are known)")
            }
            None => (
                &groups[0],
                groups[0].indices.clone(),
                "images themselves (no validation images of the run are known)",
            ),
        };
        if indices.len() < 2 {
            return Err(Error::config(format!(
                "a single normal image is not enough; the threshold needs at least 2, and is taken from the {of}"
            )));
        }
        let loaded: u64 = groups.iter().chain(&held_out).map(|group| group.data.memory()).sum();
        opened.room_for_codes(&group.data, indices.len(), loaded.saturating_sub(group.data.memory()))?;
        let images = labelled(opened, group)?;
        let size = opened.model.config().image();
        let count = indices.len().min(WATCHED);
        let watched: Vec<usize> = (0..count).map(|at| indices[at * indices.len() / count]).collect();
        // One half determines the usual error, the other the heat of normal images.
        let half = |odd: usize| watched.iter().copied().skip(odd).step_by(2).collect::<Vec<usize>>();
        let usual = Usual::of(&compare(codec, images, &half(0), filler), size.pixels());
        let mut hottest = Vec::new();
        for chunk in half(1).chunks(BATCH) {
            let heat = usual.heat(&compare(codec, images, chunk, filler));
            hottest.extend(heat::scores(&heat, size.pixels(), size.width));
        }
        let hot = Threshold::of(&hottest, self.rate).expect("there is an image");
        let (score, expected) = if self.by == ScoreBy::Heat {
            (hot, None)
        } else {
            let scores = self.scores(codec, images, &indices, filler);
            let (expected, scores) = match self.by {
                ScoreBy::Excess => {
                    let (expected, excess) =
                        Expected::fit(&contents(images.images, &indices, filler), &scores);
                    (Some(expected), excess)
                }
                _ => (None, scores),
            };
            (Threshold::of(&scores, self.rate).expect("there is an image"), expected)
        };
        Ok(Reference { usual, hot, score, expected, images: indices.len(), of })
    }

    /// The validation images of the run; `None` if it has none, or they can no longer be read.
    fn held_out(&self, opened: &Opened) -> Result<Option<Group>> {
        if opened.config.as_ref().is_none_or(|config| config.valid.unwrap_or(0) == 0) {
            return Ok(None);
        }
        let own = DataOptions { max_memory: self.data.max_memory.clone(), ..Default::default() };
        let loaded = match opened.images(&own, Part::Train) {
            Ok(loaded) => loaded,
            Err(error) => {
                note!("the run's own images are needed for the threshold, and {error}");
                return Ok(None);
            }
        };
        let held_out = loaded.held_out();
        Ok(held_out.map(|indices| Group { data: loaded.data, which: Which::Validation, indices }))
    }

    /// Scores from the likelihood.
    fn scores(
        &self,
        codec: &mut Codec<'_>,
        images: Labelled<'_>,
        indices: &[usize],
        filler: &Filler,
    ) -> Vec<f64> {
        let codes = codec.encode_with(images, indices, filler);
        let mut likelihood = VaeLikelihood::new(codec.model(), images, *filler);
        let mut scores = match self.importance {
            None => negative_elbos(&mut likelihood, &codes, indices, filler.seed),
            Some(k) => {
                let bounds = importance_weighted(&mut likelihood, &codes, indices, k, filler.seed);
                bounds.into_iter().map(|bound| -bound).collect()
            }
        };
        if self.by == ScoreBy::Complexity {
            let lengths = png_lengths(images, indices, filler);
            scores.iter_mut().zip(lengths).for_each(|(score, length)| *score -= length);
        }
        scores
    }

    /// Score and boxes of each image.
    fn examine(
        &self,
        codec: &mut Codec<'_>,
        images: Labelled<'_>,
        indices: &[usize],
        filler: &Filler,
        reference: &Reference,
    ) -> Vec<(f64, Vec<HotBox>)> {
        let ImageShape { height, width, .. } = codec.model().config().image();
        let mut found = Vec::with_capacity(indices.len());
        for chunk in indices.chunks(BATCH) {
            let heat = reference.usual.heat(&compare(codec, images, chunk, filler));
            let scores = match self.by {
                ScoreBy::Heat => heat::scores(&heat, height * width, width),
                _ => self.scores(codec, images, chunk, filler),
            };
            let scores = match &reference.expected {
                Some(expected) => {
                    let contents = contents(images.images, chunk, filler);
                    scores
                        .iter()
                        .zip(&contents)
                        .map(|(score, content)| score - expected.of(content))
                        .collect()
                }
                None => scores,
            };
            let maps = heat.par_chunks_exact(height * width);
            let boxes: Vec<_> = maps.map(|map| boxes(map, width, reference.hot.value)).collect();
            found.extend(scores.into_iter().zip(boxes));
        }
        found
    }
}

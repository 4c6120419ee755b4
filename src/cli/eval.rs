//! `elbo eval`: what a model is worth, as text or as one JSON object.

use std::path::PathBuf;

use clap::Args;
use serde_json::{Value, json};

use super::common::{Ending, Loaded, Opened, with_progress};
use crate::data::{Filler, Part};
use crate::error::{Error, Result};
use crate::evaluate::judged::{Judged, Which};
use crate::evaluate::judgement::{ENOUGH_IMAGES, Evaluator, Judgement};
use crate::evaluate::measures::{
    ImportanceBound, NeighbourAccuracy, encode, importance_bound, neighbour_accuracy, reconstruction_quality,
};
use crate::evaluate::quality::Quality;
use crate::evaluate::samples::{SampleQualities, SampleQuality, memory, sample_qualities};
use crate::generate::prior::{FILE_NAME, Mixture, Prior};
use crate::loss::Objective;
use crate::model::Codec;
use crate::model::codec::BATCH;
use crate::train::DataOptions;

/// Training images by which dimensions are called active, if the judged images are too few.
const MOST_FOR_ACTIVITY: usize = 1000;

/// Measure a model on test images: −ELBO, reconstructions, codes, samples
#[derive(Debug, Args)]
#[command(
    after_help = "Uses the test images of the data; if there are none, the run's validation images; else all images."
)]
pub(super) struct Eval {
    /// A run folder or a model file [default: the newest run]
    run: Option<PathBuf>,
    /// Print one JSON object to standard output, and nothing else
    #[arg(long, help_heading = "Output")]
    json: bool,
    /// Also report the importance-weighted bound on ln p(x), with K draws per image
    #[arg(long, value_name = "K")]
    importance: Option<usize>,
    /// Also judge N samples: distance from the images, precision, recall, coverage, sharpness
    #[arg(long, value_name = "N")]
    samples: Option<usize>,
    /// Seed of all draws [default: the run's]
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    #[command(flatten)]
    data: DataOptions,
}

/// Everything that was found out.
struct Findings {
    which: Which,
    data: String,
    seed: u64,
    judgement: Judgement,
    bits_per_dim: Option<f64>,
    importance: Option<(ImportanceBound, Option<f64>)>,
    quality: Quality,
    neighbours: Option<NeighbourAccuracy>,
    samples: Option<SampleQualities>,
}

impl Eval {
    pub(super) fn run(self) -> Result<Ending> {
        if self.importance == Some(0) {
            return Err(Error::config("--importance 0 draws nothing; it must be at least 1"));
        }
        if self.samples.is_some_and(|samples| samples < 2) {
            return Err(Error::config("--samples needs at least 2 for a distance"));
        }
        let max_memory = self.data.load_options()?.max_memory;
        let opened = Opened::new(self.run.as_deref(), max_memory)?;
        let findings = self.judge(&opened, max_memory)?;
        if self.json {
            say!("{}", findings.to_json(&opened));
        } else {
            findings.print(&opened);
        }
        Ok(Ending::Done)
    }

    fn judge(&self, opened: &Opened, max_memory: u64) -> Result<Findings> {
        // Before the images are read: nobody should wait for a message about it.
        let path = opened.folder().join(FILE_NAME);
        let mixture = match self.samples {
            Some(_) => Mixture::load(&path, &opened.model, max_memory)?.map(Prior::Mixture),
            None => None,
        };
        let Loaded { data, split } = opened.images(&self.data, Part::Both)?;
        let judged = Judged::choose(&data, split)?;
        let (model, config) = (&opened.model, opened.config.as_ref());
        let compared = if judged.labels.is_some() { judged.train.len() } else { 0 };
        opened.room_for_codes(&data, judged.indices.len() + compared, 0)?;
        if let Some(samples) = self.samples {
            let bytes = data.memory().saturating_add(memory(
                &judged,
                samples,
                model.config().latent,
                model.config().image(),
            ));
            opened.room_for(bytes, &format!("judging {samples} samples takes"), "a smaller --samples")?;
        }
        let seed = self.seed.or(config.map(|config| config.seed)).unwrap_or(0);
        let filler = Filler { span: model.config().span(), binarize: opened.binarize(&self.data)?, seed };
        let (images, indices) = (judged.labelled(model.config())?, &judged.indices[..]);

        let objective = Objective::ELBO;
        let mut evaluator = Evaluator::new(model, BATCH);
        let all = indices.len() as u64;
        let mut judgement = with_progress("judging", all, |progress| {
            evaluator.judge(model, images, indices, &filler, &objective, progress)
        });
        if indices.len() < ENOUGH_IMAGES && judged.train.len() > indices.len() {
            let train = &judged.train[..judged.train.len().min(MOST_FOR_ACTIVITY)];
            let train_images = judged.train_labelled(model.config())?;
            let more = evaluator.judge(model, train_images, train, &filler, &objective, &|_| ());
            judgement = judgement.with_activity_of(more);
        }
        let mut codec = Codec::new(model);
        let codes =
            with_progress("encoding", all, |progress| encode(&mut codec, images, indices, &filler, progress));
        let quality = with_progress("reconstructing", all, |progress| {
            reconstruction_quality(&mut codec, &codes, images, indices, &filler, progress)
        });
        let neighbours = with_progress("comparing codes", judged.train.len() as u64, |progress| {
            neighbour_accuracy(&mut codec, &judged, &codes, &filler, progress)
        });
        let bits = |nats: f64| model.config().likelihood.bits_per_dim(nats, model.config().pixels());
        let importance = self.importance.map(|k| {
            with_progress("importance-weighted bound", all, |progress| {
                importance_bound(model, &codes, images, indices, &filler, k, progress)
            })
        });
        let samples = match self.samples {
            None => None,
            Some(samples) => {
                if mixture.is_none() {
                    note!("no mixture is fitted to this model yet; `elbo sample --prior gmm` fits one");
                }
                // Real images, reconstructions and the floor, and what is drawn from each prior.
                let references = judged.train.len().min(samples);
                let drawn = samples.saturating_mul(1 + usize::from(mixture.is_some()));
                let pictures = (indices.len() + 2 * references).saturating_add(drawn);
                let found = with_progress("comparing samples", pictures as u64, |progress| {
                    sample_qualities(&mut codec, &judged, &filler, mixture, samples, progress)
                })?;
                if found.references < samples {
                    note!(
                        "there are {} training images, fewer than --samples {samples}; the figures of reconstructions and of the \
                         floor are of {0} pictures, and they depend on their number: --samples {0} compares like with like",
                        found.references
                    );
                }
                Some(found)
            }
        };
        Ok(Findings {
            which: judged.which,
            data: data.description.clone(),
            seed,
            bits_per_dim: bits(judgement.values.negative_elbo),
            importance: importance.map(|bound| (bound, bits(-bound.bound))),
            judgement,
            quality,
            neighbours,
            samples,
        })
    }
}

impl Findings {
    /// −ln p(x|z) with its normalizer, so that it and the KL add up to the −ELBO.
    fn reconstruction(&self) -> f64 {
        self.judgement.values.negative_elbo - self.judgement.values.kl
    }

    fn to_json(&self, opened: &Opened) -> Value {
        let (values, q) = (&self.judgement.values, &self.quality);
        let importance = self.importance.as_ref().map(|(bound, bits)| {
            json!({
                "samples": bound.samples,
                "bound": bound.bound,
                "standard_error": bound.standard_error,
                "bits_per_dim": bits,
            })
        });
        let neighbours = self.neighbours.map(
            |n| json!({ "neighbours": n.neighbours, "references": n.references, "accuracy": n.accuracy }),
        );
        let samples = |figure: fn(&SampleQuality) -> Option<f64>| {
            self.samples.map(|s| {
                json!({
                    "samples": s.samples,
                    "references": s.references,
                    "normal": figure(&s.normal),
                    "gmm": s.mixture.as_ref().and_then(figure),
                    "reconstructions": s.reconstructions.as_ref().and_then(figure),
                    "floor": s.floor.as_ref().and_then(figure),
                })
            })
        };
        json!({
            "negative_elbo": values.negative_elbo,
            "reconstruction": self.reconstruction(),
            "kl": values.kl,
            "images": self.judgement.images,
            "set": self.which.name(),
            "seed": self.seed,
            "model": opened.path.display().to_string(),
            "bits_per_dim": self.bits_per_dim,
            "importance": importance,
            "mse": q.mse,
            "psnr": q.psnr,
            "ssim": q.ssim,
            "active_units": self.judgement.active_units(),
            "active_units_images": self.judgement.activity_images,
            "latent": opened.model.config().latent,
            "kl_per_dimension": self.judgement.kl_per_dimension,
            "knn": neighbours,
            "sample_distance": samples(|s| Some(s.distance)),
            "precision": samples(|s| Some(s.precision_recall?.precision)),
            "recall": samples(|s| Some(s.precision_recall?.recall)),
            "coverage": samples(|s| Some(s.precision_recall?.coverage)),
            "sharpness": samples(|s| s.sharpness),
        })
    }

    fn print(&self, opened: &Opened) {
        let (j, q) = (&self.judgement, &self.quality);
        let which = match self.which {
            Which::Test => "test images",
            Which::Validation => "validation images of the run (the data have no test images)",
            Which::All => {
                "images: all of them, since none are known to be held out; the model may have been trained on them"
            }
        };
        say!("model {}", opened.path.display());
        say!("data  {}", self.data);
        say!("{} {which}, seed {}", j.images, self.seed);
        say!();
        let bits = |bits: Option<f64>| bits.map_or(String::new(), |bits| format!("   {bits:.4} bits/dim"));
        say!("−ELBO            {:>10.3} nats per image{}", j.values.negative_elbo, bits(self.bits_per_dim));
        say!("  reconstruction {:>10.3}", self.reconstruction());
        say!("  KL             {:>10.3}", j.values.kl);
        if let Some((bound, bound_bits)) = &self.importance {
            let error = bound.standard_error.map_or(String::new(), |error| format!(" ± {error:.3}"));
            say!(
                "−bound, K = {:<4} {:>10.3}{error} nats per image{}",
                bound.samples,
                -bound.bound,
                bits(*bound_bits)
            );
        }
        say!();
        let psnr = q.psnr.map_or("∞".into(), |psnr| format!("{psnr:.2}"));
        say!("reconstructions  MSE {:.5}   PSNR {psnr} dB   SSIM {:.4}", q.mse, q.ssim);
        say!(
            "latent           {} of {} dimensions active (variance of μ above 0.01{})",
            j.active_units(),
            j.kl_per_dimension.len(),
            if j.activity_images == j.images {
                String::new()
            } else {
                format!(" over {} training images", j.activity_images)
            }
        );
        let mut kl = j.kl_per_dimension.clone();
        kl.sort_by(|a, b| b.total_cmp(a));
        let shown: Vec<String> = kl.iter().take(64).map(|nats| format!("{nats:.2}")).collect();
        for (row, line) in shown.chunks(16).enumerate() {
            say!("{:<16} {}", if row == 0 { "KL per dimension" } else { "" }, line.join(" "));
        }
        if let Some(n) = &self.neighbours {
            say!(
                "labels           {:.2} % found by the {} nearest of {} training images' μ",
                100.0 * n.accuracy,
                n.neighbours,
                n.references
            );
        }
        if let Some(s) = &self.samples {
            say!();
            say!("{} samples beside the {} images", s.samples, j.images);
            say!("  {:<40} distance  precision  recall  coverage  sharpness", "");
            let line = |name: &str, quality: Option<&SampleQuality>| {
                let Some(q) = quality else { return };
                let share = |value: Option<f64>| value.map_or("-".into(), |value| format!("{value:.3}"));
                say!(
                    "  {name:<40} {:>8.4} {:>10} {:>7} {:>9} {:>10}",
                    q.distance,
                    share(q.precision_recall.map(|all| all.precision)),
                    share(q.precision_recall.map(|all| all.recall)),
                    share(q.precision_recall.map(|all| all.coverage)),
                    q.sharpness.map_or("-".into(), |value| format!("{value:+.3}"))
                );
            };
            line("samples from N(0, I)", Some(&s.normal));
            line("samples from the fitted mixture", s.mixture.as_ref());
            line(&format!("reconstructions, {} training images", s.references), s.reconstructions.as_ref());
            line(&format!("{} training images: the floor", s.references), s.floor.as_ref());
        }
    }
}

//! `elbo classify`: the class of each image.

use std::io::Write;
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::{Value, json};

use super::common::{Ending, Loaded, Opened, named_values};
use super::pictures::refuse_other;
use super::sample::free_name;
use super::score::field;
use crate::data::{Dataset, Filler, Labels, Part};
use crate::error::{Error, Result};
use crate::evaluate::classify::{Confusion, Guess, Method, bayes, learned, linear, nearest, shares};
use crate::evaluate::judged::{Judged, Which};
use crate::model::Codec;
use crate::model::labels::match_names;
use crate::report::diagram::confusion;
use crate::storage::atomic::write_new;
use crate::storage::system::system;
use crate::train::DataOptions;

/// Predict the class of each image, and report the accuracy
#[derive(Debug, Args)]
#[command(
    after_help = "Classifies the test images of the data; if there are none, the run's validation images; else all. bayes takes a \
                  conditional model and the class with the largest bound on ln p(x|y) plus ln p(y). knn and probe take a model without \
                  labels and learn from the training images' μ: the 5 nearest, or softmax regression. learned asks the classifier of a model \
                  that was trained with few labels (train --labels or --labelled)."
)]
pub(super) struct Classify {
    /// A run folder or a model file [default: the newest run]
    run: Option<PathBuf>,
    /// The method: bayes, knn, probe or learned [default: bayes for a conditional model, learned for one with
    /// few labels, else knn]
    #[arg(long, value_parser = named_values::<Method>())]
    method: Option<Method>,
    /// bayes: draws for each bound; with more than one it is the importance-weighted bound [default: 1]
    #[arg(long, value_name = "K")]
    importance: Option<usize>,
    /// The table to write: file or index, class, probability [default: classes.csv here, numbered if it
    /// exists; with --json none]
    #[arg(long, value_name = "FILE.csv", help_heading = "Output")]
    out: Option<PathBuf>,
    /// Also write the confusion matrix as a picture, if the labels are known
    #[arg(long, value_name = "FILE.png", help_heading = "Output")]
    confusion: Option<PathBuf>,
    /// Print one JSON object to standard output, and nothing else
    #[arg(long, help_heading = "Output")]
    json: bool,
    /// The seed of the draws [default: the run's]
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    #[command(flatten)]
    data: DataOptions,
}

impl Classify {
    pub(super) fn run(self) -> Result<Ending> {
        if self.importance == Some(0) {
            return Err(Error::config("--importance 0 draws nothing; it must be at least 1"));
        }
        let out = match (&self.out, self.json) {
            (None, true) => None,
            (out, _) => Some(out.clone().unwrap_or_else(|| free_name("classes", "csv"))),
        };
        out.as_ref().map_or(Ok(()), |out| refuse_other("--out", out, "csv"))?;
        self.confusion.as_ref().map_or(Ok(()), |path| refuse_other("--confusion", path, "png"))?;
        let opened = Opened::new(self.run.as_deref(), self.data.load_options()?.max_memory)?;
        let method = self.method(&opened)?;

        let loaded = opened.images(&self.data, Part::Both)?;
        let data = &loaded.data;
        let judged = Judged::choose(data, loaded.split)?;
        let own = self.own_images(&opened, method)?;
        let references = own.as_ref().unwrap_or(&loaded);
        let known = match &opened.model.config().m2 {
            Some(m2) if method == Method::Learned => m2.labels.clone(),
            _ => names(&opened, &references.data)?,
        };
        let truths = match judged.labels {
            Some(labels) => {
                let numbers = match_names(&known, labels)
                    .map_err(|error| Error::data(&data.path, error.to_string()))?;
                Some(judged.indices.iter().map(|&index| numbers[index]).collect::<Vec<u32>>())
            }
            None => None,
        };
        let compares = matches!(method, Method::Knn | Method::Probe);
        let codes = judged.indices.len() + if compares { references.data.train.count } else { 0 };
        let more = match method {
            // Codes in double precision, whose buffer may grow to twice its size, and probabilities.
            Method::Probe => {
                codes * 16 * (opened.model.config().latent + 1) + judged.indices.len() * 8 * known.len()
            }
            Method::Bayes => judged.indices.len() * 8 * known.len(),
            _ => 0,
        };
        let beside = own.as_ref().map_or(0, |own| own.data.memory()) + more as u64;
        opened.room_for_codes(data, codes, beside)?;
        let guesses = self.classify(&opened, &judged, references, &known, method)?;

        let files = if judged.which == Which::Test { &data.test_files } else { &data.files };
        if let Some(out) = &out {
            write_new(system(), out, |file| table(file, &guesses, &judged.indices, files, &known))?;
        }
        let confusion_counts = truths.as_ref().map(|truths| Confusion::of(&guesses, truths, known.len()));
        match (&self.confusion, &confusion_counts) {
            (Some(path), Some(found)) => confusion(&found.counts, &known).save_new(path)?,
            (Some(_), None) => note!("the images have no labels, so there is no confusion matrix"),
            _ => {}
        }
        self.tell(&guesses, confusion_counts.as_ref(), &known, method, judged.which, out.as_deref());
        Ok(Ending::Done)
    }

    /// The given method, or the default for the model.
    fn method(&self, opened: &Opened) -> Result<Method> {
        let config = opened.model.config();
        let conditional = config.classes() > 0;
        let method = self.method.unwrap_or(match (conditional, &config.m2) {
            (true, _) => Method::Bayes,
            (false, Some(_)) => Method::Learned,
            (false, None) => Method::Knn,
        });
        match (method, conditional) {
            (Method::Learned, _) if config.m2.is_none() => Err(Error::config(
                "--method learned needs a classifier trained with few labels, and this model has none (train --labels or --labelled)",
            )),
            (Method::Bayes, false) => Err(Error::config(
                "--method bayes needs a model trained with labels, and this one was trained without \
                 (train --conditional); knn and probe take it as it is",
            )),
            (Method::Knn | Method::Probe, true) => Err(Error::config(format!(
                "--method {method} predicts the class from codes made without labels, and a conditional model's codes are made with the \
                 label; use bayes, or a model trained without --conditional"
            ))),
            _ if self.importance.is_some() && method != Method::Bayes => {
                Err(Error::config(format!("--importance is for --method bayes, and this is {method}")))
            }
            _ => Ok(method),
        }
    }

    /// The run's own images, if other images are classified; `None` if they are the same. Bayes' rule and a
    /// classifier do not need them.
    fn own_images(&self, opened: &Opened, method: Method) -> Result<Option<Loaded>> {
        if self.data.data.is_none() || opened.is_own(&self.data) || method == Method::Learned {
            return Ok(None);
        }
        if opened.config.is_none() {
            if method != Method::Bayes {
                return Err(Error::config(format!(
                    "--method {method} learns from the run's training images, and a model file alone does not say where they are; name \
                     the run folder"
                )));
            }
            return Ok(None);
        }
        let own = DataOptions { max_memory: self.data.max_memory.clone(), ..DataOptions::default() };
        Ok(Some(opened.images(&own, Part::Train)?))
    }

    fn classify(
        &self,
        opened: &Opened,
        judged: &Judged<'_>,
        references: &Loaded,
        known: &[String],
        method: Method,
    ) -> Result<Vec<Guess>> {
        let (model, config) = (&opened.model, opened.model.config());
        let seed = self.seed.or(opened.config.as_ref().map(|config| config.seed)).unwrap_or(0);
        let filler = Filler { span: config.span(), binarize: opened.binarize(&self.data)?, seed };
        if method == Method::Learned {
            let codes = Codec::new(model).encode_with(judged.images, &judged.indices, &filler);
            return Ok(learned(model, &codes).expect("this method is for a model with a classifier"));
        }
        let run = references.split.and_then(|run| run.of(&references.data));
        let references = &references.data;
        let train = run.map_or_else(|| (0..references.train.count).collect(), |split| split.train);
        let labels = |labels: &Labels| train.iter().map(|&index| labels.ids[index]).collect::<Vec<u32>>();
        let labels = references.labels.as_ref().map(labels).unwrap_or_default();
        if method == Method::Bayes {
            // The class shares are unknown for other data: all classes are equally probable.
            let prior = shares(if opened.config.is_some() { &labels } else { &[] }, known.len());
            let samples = self.importance.unwrap_or(1);
            return Ok(bayes(model, judged.images, &judged.indices, &filler, &prior, samples));
        }
        let mut codec = Codec::new(model);
        let codes = codec.encode_with(judged.images, &judged.indices, &filler);
        if judged.which == Which::All && std::ptr::eq(judged.images, &references.train) {
            note!("these images were also used to learn the classes; held-out images are a better test");
        }
        let learned_from = codec.encode_with(&references.train, &train, &filler);
        Ok(match method {
            Method::Probe => linear(&learned_from, &labels, &codes, config.latent, known.len()),
            _ => nearest(&learned_from, &labels, &codes, config.latent),
        })
    }

    fn tell(
        &self,
        guesses: &[Guess],
        confusion: Option<&Confusion>,
        known: &[String],
        method: Method,
        which: Which,
        out: Option<&Path>,
    ) {
        let accuracy = confusion.map(|confusion| confusion.accuracy(guesses.len()));
        if self.json {
            let rows =
                confusion.map(|c| c.counts.chunks_exact(c.classes).map(Value::from).collect::<Vec<_>>());
            let facts = json!({
                "images": guesses.len(),
                "accuracy": accuracy,
                "set": which.name(),
                "method": method.name(),
                "importance": (method == Method::Bayes).then_some(self.importance.unwrap_or(1)),
                "classes": known,
                "confusion": rows,
            });
            say!("{facts}");
            return;
        }
        say!("{} images of the set {} classified by {method}", guesses.len(), which.name());
        match accuracy {
            Some(accuracy) => say!("accuracy {:.2} %", 100.0 * accuracy),
            None => say!("the images have no labels, so the accuracy is unknown"),
        }
        if let Some(out) = out {
            say!("wrote {}", out.display());
        }
        if let (Some(path), Some(_)) = (&self.confusion, confusion) {
            say!("wrote {} (a row for each true class, a column for each guess)", path.display());
        }
    }
}

/// The names of the classes: the model's, else those of the images used for learning.
fn names(opened: &Opened, learned: &Dataset) -> Result<Vec<String>> {
    let config = opened.model.config();
    if config.classes() > 0 {
        return Ok(config.labels.clone());
    }
    match &learned.labels {
        Some(labels) if learned.train.count > 0 => Ok(labels.names.clone()),
        _ => Err(Error::data(
            &learned.path,
            "there are no training images with labels in it to learn classes from",
        )),
    }
}

/// The table of guesses.
fn table(
    out: &mut dyn Write,
    guesses: &[Guess],
    indices: &[usize],
    files: &[PathBuf],
    known: &[String],
) -> std::io::Result<()> {
    writeln!(out, "file,class,probability")?;
    for (guess, &index) in guesses.iter().zip(indices) {
        let file = files.get(index).map_or(index.to_string(), |file| field(&file.to_string_lossy()));
        let class = known.get(guess.class as usize).map_or(String::new(), |name| field(name));
        writeln!(out, "{file},{class},{}", guess.probability)?;
    }
    Ok(())
}

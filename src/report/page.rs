//! `report.html`: a run on one self-contained page.
//!
//! It has no scripts, fonts or pictures from elsewhere: style and diagrams are in the page, pictures are
//! `data:` addresses. So it opens from the file system, can be sent to others, and does not change over the
//! years. It contains no date; its title is the run's folder.

use std::fmt::Write;

use super::adversarial::{self, AdversarialMetrics};
use super::cost::{self, LayerCost};
use super::curves::{self, Curve};
use super::explained::explained;
use super::grouped;
use super::html::{escape, png_uri, shell_word};
use super::latent;
use super::metrics::{EpochMetrics, Losses, Metrics};
use super::progress::{Progress, Shown};

/// The content of a report. Texts are plain; they are escaped when the page is written.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RunReport {
    /// The name of the run's folder.
    pub name: String,
    /// The run's folder as commands take it.
    pub folder: String,
    /// The network and its images in a sentence.
    pub network: String,
    /// The progress of the run, in a sentence.
    pub status: String,
    /// Notes and warnings, a sentence each.
    pub warnings: Vec<String>,
    /// metrics.csv.
    pub metrics: Metrics,
    /// The rows of the adversarial stage; empty without one.
    pub adversarial: Vec<AdversarialMetrics>,
    /// Steps of an epoch.
    pub steps_per_epoch: u64,
    /// The requested epochs.
    pub epochs: u64,
    /// The epoch of the best model; `None` if no images are held out, or before the first epoch.
    pub best_epoch: Option<u64>,
    /// The likelihood's name.
    pub likelihood: String,
    /// The divergence's name.
    pub divergence: String,
    /// The images that the latent dimensions were judged on: "5,000 validation images".
    pub judged_on: String,
    /// KL(q‖p) of each latent dimension in nats, mean over those images.
    pub kl_per_dimension: Vec<f64>,
    /// The variance of μ over those images, of each latent dimension.
    pub mean_variance: Vec<f64>,
    /// The variance above which a dimension is called active.
    pub active_variance: f64,
    /// Sheets of samples.
    pub samples: Progress,
    /// Sheets of reconstructions.
    pub reconstructions: Progress,
    /// The cost of each layer.
    pub layers: Vec<LayerCost>,
    /// Whether training is over.
    pub is_done: bool,
    /// Whether the folder has the page of `elbo explore`.
    pub has_explorer: bool,
    /// config.toml.
    pub config: String,
}

/// The number of the newest rows from which the time left is estimated.
const RECENT: usize = 5;

pub(crate) const STYLE: &str = include_str!("page.css");

impl RunReport {
    /// The page.
    pub fn to_html(&self) -> String {
        let name = escape(&self.name);
        let mut page = format!(
            "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n\
             <title>{name} · elbo</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n\
             <header>\n<p class=\"kicker\">elbo · report of a training run</p>\n<h1>{name}</h1>\n"
        );
        for text in [&self.network, &self.status].into_iter().filter(|text| !text.is_empty()) {
            let _ = writeln!(page, "<p>{}</p>", escape(text));
        }
        page.push_str("</header>\n");
        for warning in &self.warnings {
            let _ = writeln!(page, "<p class=\"warning\"><strong>Warning:</strong> {}</p>", escape(warning));
        }
        self.tiles(&mut page);
        self.curves(&mut page);
        page.push_str(&adversarial::section(&self.adversarial));
        self.latent(&mut page);
        self.pictures(&mut page);
        self.layers(&mut page);
        self.epochs(&mut page);
        self.repeat(&mut page);
        page.push_str(
            "<footer>Written by elbo. The file is complete in itself: nothing is loaded from anywhere.</footer>\n\
             </main>\n</body>\n</html>\n",
        );
        page
    }

    /// The row of the best epoch.
    fn best_row(&self) -> Option<&EpochMetrics> {
        self.metrics.epoch(self.best_epoch?)
    }

    fn active(&self) -> usize {
        self.mean_variance.iter().filter(|variance| **variance > self.active_variance).count()
    }

    /// The completed epochs, plus the completed fraction of the current one.
    fn epochs_done(&self) -> String {
        let steps = self.metrics.last().map_or(0, |row| row.step);
        let epochs = steps as f64 / self.steps_per_epoch.max(1) as f64;
        if epochs.fract() == 0.0 { format!("{epochs}") } else { format!("{epochs:.1}") }
    }

    /// The estimated time of the remaining steps, from the newest rows; `None` after the end.
    fn seconds_left(&self) -> Option<f64> {
        let rows = &self.metrics.rows;
        let all = self.epochs.saturating_mul(self.steps_per_epoch);
        let last = self.metrics.last().filter(|row| !self.is_done && row.step < all)?;
        let from = rows.len().saturating_sub(RECENT);
        let before = if from == 0 { 0 } else { rows[from - 1].step };
        let seconds: f64 = rows[from..].iter().map(|row| row.seconds).sum();
        let steps = last.step.checked_sub(before).filter(|&steps| steps > 0)?;
        Some(seconds / steps as f64 * (all - last.step) as f64)
    }

    fn tiles(&self, page: &mut String) {
        let mut all: Vec<(&str, String, String)> = Vec::new();
        if let Some(last) = self.metrics.last() {
            let (epoch, nats) = (last.epoch, |value: f64| format!("{value:.2}"));
            if let Some(valid) = last.valid {
                let below = format!("nats per image, epoch {epoch}");
                all.push(("−ELBO, validation", nats(valid.negative_elbo), below));
            }
            let below = format!("nats per image, mean over epoch {epoch}");
            all.push(("−ELBO, training", nats(last.train.negative_elbo), below));
        }
        if let Some((row, valid)) = self.best_row().and_then(|row| Some((row, row.valid?))) {
            let below = format!("validation −ELBO {:.2}; the saved model", valid.negative_elbo);
            all.push(("Best epoch", row.epoch.to_string(), below));
        }
        if !self.mean_variance.is_empty() {
            let value = format!("{} of {}", self.active(), self.mean_variance.len());
            all.push(("Active units", value, format!("Var(μ) above {}", self.active_variance)));
        }
        if let Some(last) = self.metrics.last() {
            let seconds: f64 = self.metrics.rows.iter().map(|row| row.seconds).sum();
            let below = format!("{} in training steps", duration(seconds));
            all.push(("Images per second", format!("{:.0}", last.images_per_second), below));
        }
        if let Some(seconds) = self.seconds_left() {
            let below = format!("{} of {} epochs are done", self.epochs_done(), self.epochs);
            all.push(("Time left, about", duration(seconds), below));
        }
        page.push_str("<div class=\"tiles\">\n");
        for (title, value, below) in all {
            let _ = writeln!(
                page,
                "<div class=\"tile\"><span>{title}</span><b>{value}</b><small>{below}</small></div>"
            );
        }
        page.push_str("</div>\n");
    }

    fn curves(&self, page: &mut String) {
        let rows = &self.metrics.rows;
        if rows.is_empty() {
            return;
        }
        let figure = |title: &str, value: fn(&Losses) -> f64| {
            let point = |row: &EpochMetrics, losses: &Losses| {
                (row.step as f64 / self.steps_per_epoch.max(1) as f64, value(losses))
            };
            let train = rows.iter().map(|row| point(row, &row.train)).collect();
            let valid = rows.iter().filter_map(|row| Some(point(row, row.valid.as_ref()?))).collect();
            let curves = [
                Curve { name: "training".into(), class: "train", points: train },
                Curve { name: "validation".into(), class: "valid", points: valid },
            ];
            curves::figure(title, &curves, self.best_epoch.map(|epoch| epoch as f64))
        };
        page.push_str("<h2>How it learned</h2>\n<div class=\"charts\">\n");
        page.push_str(&figure("−ELBO", |losses| losses.negative_elbo));
        page.push_str(&figure(&format!("Reconstruction ({})", self.likelihood), |losses| {
            losses.reconstruction
        }));
        page.push_str(&figure(&format!("Divergence ({})", self.divergence), |losses| losses.divergence));
        // β, free bits, capacity or a likelihood without its normalizer: the training loss is not the −ELBO.
        let differs = |row: &EpochMetrics| {
            let Losses { loss, negative_elbo, .. } = row.train;
            (loss - negative_elbo).abs() > 1e-6 * negative_elbo.abs()
        };
        if rows.iter().any(differs) {
            page.push_str(&figure("Loss: what training lowers", |losses| losses.loss));
        }
        let mark = if self.best_epoch.is_some() { " The dashed line is the best epoch." } else { "" };
        let _ = writeln!(
            page,
            "</div>\n<p class=\"note\">Nats per image: summed over pixels and latent dimensions, averaged over images. Training values \
             are means over an epoch, while the model moved; validation follows at its end, which is why it can be the lower \
             one.{mark}</p>"
        );
        page.push_str(&explained("Curves"));
    }

    fn latent(&self, page: &mut String) {
        let drawn = latent::figure(&self.kl_per_dimension, &self.mean_variance, self.active_variance);
        if drawn.is_empty() {
            return;
        }
        let (active, all) = (self.active(), self.kl_per_dimension.len());
        let total: f64 = self.kl_per_dimension.iter().sum();
        let cut = if all > latent::MOST {
            format!(" The {} with the largest KL are drawn.", latent::MOST)
        } else {
            String::new()
        };
        let _ = writeln!(
            page,
            "<h2>What the latent dimensions are used for</h2>\n<figure><figcaption><strong>KL per dimension</strong> \
             <span class=\"key active\">{active} active</span> <span class=\"key idle\">{} not active</span> {total:.2} nats in \
             all</figcaption><div class=\"wide\">{drawn}</div></figure>\n<p class=\"note\">On {}, sorted by KL(q‖p). Below each bar the \
             variance of its μ over the images; above the dashed line, {}, a dimension counts as active. One that is not has the prior \
             as its posterior whatever the image, and says nothing.{cut}</p>",
            all - active,
            escape(&self.judged_on),
            self.active_variance
        );
        page.push_str(&explained("Latent dimensions"));
    }

    fn pictures(&self, page: &mut String) {
        let kinds = [
            ("Samples", "decoded from always the same draws of the prior", &self.samples),
            ("Reconstructions", "originals, each with what comes back", &self.reconstructions),
        ];
        if kinds.iter().all(|(_, _, progress)| progress.newest.is_none()) {
            return;
        }
        page.push_str("<h2>What it makes</h2>\n<div class=\"pictures\">\n");
        for (title, what, progress) in kinds {
            let Some(newest) = &progress.newest else { continue };
            let _ = write!(
                page,
                "<figure><figcaption><strong>{title}</strong> {}: {what}</figcaption>{}",
                escape(&newest.label),
                image(title, newest)
            );
            if !progress.rows.is_empty() {
                page.push_str("<div class=\"rows\">");
                for row in &progress.rows {
                    let _ = write!(page, "<span>{}</span>{}", escape(&row.label), image(title, row));
                }
                page.push_str("</div>");
            }
            page.push_str("</figure>\n");
        }
        page.push_str("</div>\n");
        if kinds.iter().any(|(_, _, progress)| !progress.rows.is_empty()) {
            page.push_str(
                "<p class=\"note\">Below each sheet its first row as it was at earlier epochs: one column is one code, or one image, \
                 all along.</p>\n",
            );
        }
        page.push_str(&explained("Pictures"));
        let explore = if self.has_explorer {
            EXPLORER.to_owned()
        } else {
            let run = escape(&shell_word(&self.folder));
            format!("<code>elbo explore {run}</code> makes a page to explore the latent space with.")
        };
        let _ = writeln!(page, "{EXPLORER_STARTS}{explore}</p>");
    }

    fn layers(&self, page: &mut String) {
        let drawn = cost::figure(&self.layers);
        if drawn.is_empty() {
            return;
        }
        let sum = |of: fn(&LayerCost) -> usize| self.layers.iter().map(of).sum::<usize>();
        let cut = if self.layers.iter().filter(|layer| layer.operations > 0).count() > cost::MOST {
            format!(" The {} with the most operations are drawn.", cost::MOST)
        } else {
            String::new()
        };
        let _ = writeln!(
            page,
            "<h2>What each layer costs</h2>\n<figure><figcaption><strong>Operations</strong> <span class=\"key active\">encoder and \
             heads</span> <span class=\"key train\">decoder</span> {:.1} million for an image, {} parameters</figcaption><div \
             class=\"wide\">{drawn}</div></figure>\n<p class=\"note\">Multiplications and additions of the products of one forward \
             pass; layers without products are left out.{cut}</p>\n{}",
            sum(|layer| layer.operations) as f64 / 1e6,
            grouped(sum(|layer| layer.parameters)),
            explained("Layers")
        );
    }

    fn epochs(&self, page: &mut String) {
        type Column = (&'static str, usize, fn(&EpochMetrics) -> Option<f64>);
        const COLUMNS: [Column; 10] = [
            ("epoch", 0, |row| Some(row.epoch as f64)),
            ("−ELBO train", 2, |row| Some(row.train.negative_elbo)),
            ("valid", 2, |row| Some(row.valid?.negative_elbo)),
            ("reconstruction train", 2, |row| Some(row.train.reconstruction)),
            ("valid", 2, |row| Some(row.valid?.reconstruction)),
            ("KL train", 2, |row| Some(row.train.kl)),
            ("valid", 2, |row| Some(row.valid?.kl)),
            ("active", 0, |row| Some(row.active_units as f64)),
            ("learning rate", 6, |row| Some(row.learning_rate)),
            ("images/s", 0, |row| Some(row.images_per_second)),
        ];
        if self.metrics.rows.is_empty() {
            return;
        }
        page.push_str("<h2>Epoch by epoch</h2>\n<details><summary>All numbers</summary>\n<div class=\"wide\"><table>\n<tr>");
        for (heading, _, _) in COLUMNS {
            let _ = write!(page, "<th>{heading}</th>");
        }
        page.push_str("</tr>\n");
        let best = self.best_row();
        for row in &self.metrics.rows {
            page.push_str(if best == Some(row) { "<tr class=\"best\">" } else { "<tr>" });
            for (_, decimals, value) in COLUMNS {
                match value(row) {
                    Some(value) => drop(write!(page, "<td>{value:.decimals$}</td>")),
                    None => page.push_str("<td>–</td>"),
                }
            }
            page.push_str("</tr>\n");
        }
        page.push_str("</table></div>\n<p class=\"note\">metrics.csv in the run folder has all columns.</p></details>\n");
    }

    fn repeat(&self, page: &mut String) {
        let word = |name: &str| escape(&shell_word(&format!("{}{name}", self.folder)));
        // Once the adversarial stage has begun, only that can be longer.
        let further = match self.adversarial.iter().filter(|row| row.losses.is_some()).count() {
            0 => {
                let more = self.epochs.saturating_mul(2);
                format!("--epochs {more}   # this run, on to epoch {more}")
            }
            epochs => format!("--adversarial {}   # this run, with twice the adversarial epochs", 2 * epochs),
        };
        let _ = writeln!(
            page,
            "<h2>Again, and further</h2>\n<pre>elbo train --config {config} --out again   # the same run, from the start\n\
             elbo train --resume {run} {further}\n\
             elbo sample {run}\nelbo eval {run}</pre>\n\
             <p class=\"note\">With the same images and the same build on the same kind of processor a repetition gives the same \
             model to the bit, with any number of threads. Inside the source folder, <code>cargo run --release --</code> stands for \
             <code>elbo</code>.</p>",
            config = word("/config.toml"),
            run = word("")
        );
        if !self.config.is_empty() {
            let _ = writeln!(
                page,
                "<h2>Configuration</h2>\n<p class=\"note\">config.toml, complete: with the defaults in it.</p>\n<pre>{}</pre>",
                escape(self.config.trim_end())
            );
        }
    }
}

fn image(title: &str, shown: &Shown) -> String {
    format!("<img alt=\"{title}, {}\" src=\"{}\"/>", escape(&shown.label), png_uri(&shown.png))
}

/// 75 seconds as 1 min 15 s.
fn duration(seconds: f64) -> String {
    let s = seconds.round() as u64;
    match s {
        0..60 => format!("{s} s"),
        60..3600 => format!("{} min {} s", s / 60, s % 60),
        _ => format!("{} h {} min", s / 3600, s / 60 % 60),
    }
}

const EXPLORER_STARTS: &str = "<p class=\"explorer\">";
const EXPLORER: &str =
    "<a href=\"explore.html\">Explore the latent space</a> of this run: a page that decodes while one drags.";

/// A report that was written before the page of `elbo explore`, with a link to it; `None` if it has no place
/// for one.
#[cfg(feature = "cli")]
pub fn with_explorer(report: &str) -> Option<String> {
    let start = report.find(EXPLORER_STARTS)? + EXPLORER_STARTS.len();
    let end = start + report[start..].find("</p>")?;
    Some(format!("{}{EXPLORER}{}", &report[..start], &report[end..]))
}

#[cfg(test)]
mod tests;

//! adversarial.csv: what a row says about an epoch of the adversarial stage, and the report's part about it.
//!
//! The first row is of the VAE, before the stage: it has no losses.

use serde::{Deserialize, Serialize};

use super::curves::{self, Curve};
use super::explained::explained;
use crate::evaluate::precision::PrecisionRecall;
use crate::evaluate::samples::SampleQuality;

/// The columns. `seconds` and `images_per_second` are the only ones that differ when a run is repeated.
pub const COLUMNS: [&str; 22] = [
    "step",
    "epoch",
    "discriminator_loss",
    "adversarial_loss",
    "reconstruction",
    "feature_distance",
    "adversarial_weight",
    "accuracy_real",
    "accuracy_reconstructed",
    "accuracy_sampled",
    "discriminator_norm",
    "decoder_norm",
    "valid_negative_elbo",
    "sample_distance",
    "precision",
    "recall",
    "coverage",
    "sharpness",
    "is_best",
    "spikes",
    "seconds",
    "images_per_second",
];

/// The accuracy on all three kinds of pictures from which the discriminator has won.
const DISCRIMINATOR_WON: f64 = 0.98;
/// The mean accuracy on real and other pictures up to which the decoder has won: hardly more than a guess.
const DECODER_WON: f64 = 0.52;

/// The values of a step of the stage, or their means over an epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct StageLosses {
    /// The discriminator's loss, in nats.
    pub discriminator: f64,
    /// The decoder's loss from the discriminator, in nats.
    pub adversarial: f64,
    /// −ln p(x|z), in nats per image.
    pub reconstruction: f64,
    /// Half the squared distance of an image and its reconstruction in the discriminator's features.
    pub features: f64,
    /// The weight of the decoder's loss from the discriminator.
    pub weight: f64,
    /// The discriminator's accuracy on real images, reconstructions and samples.
    pub accuracy: [f64; 3],
    /// The norms of the discriminator's gradient and the decoder's.
    pub norms: [f64; 2],
}

/// A row.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct AdversarialMetrics {
    /// Steps so far, those of the VAE included.
    pub step: u64,
    /// The epoch, counted on from those of the VAE.
    pub epoch: u64,
    /// What the epoch's steps gave; `None` in the first row.
    pub losses: Option<StageLosses>,
    /// The −ELBO on the images that the run watches.
    pub valid_negative_elbo: f64,
    /// How samples compare with these, if that can be measured.
    pub samples: Option<SampleQuality>,
    /// Whether no epoch before had a smaller one.
    pub is_best: bool,
    /// Gradient spikes in the stage so far.
    pub spikes: u64,
    /// Seconds in the epoch's training steps.
    pub seconds: f64,
    /// Training images per second.
    pub images_per_second: f64,
}

impl AdversarialMetrics {
    /// The cells of the row, in the order of [`COLUMNS`]. What is not known is empty.
    pub fn cells(&self) -> [String; 22] {
        let shares = self.samples.and_then(|samples| samples.precision_recall);
        let [distance, precision, recall, coverage, sharpness] = [
            self.samples.map(|samples| samples.distance),
            shares.map(|shares| shares.precision),
            shares.map(|shares| shares.recall),
            shares.map(|shares| shares.coverage),
            self.samples.and_then(|samples| samples.sharpness),
        ]
        .map(|figure| figure.map_or_else(String::new, |figure| figure.to_string()));
        let mut losses: [String; 10] = Default::default();
        if let Some(l) = self.losses {
            let [real, reconstructed, sampled] = l.accuracy;
            let [discriminator, decoder] = l.norms;
            losses = [
                l.discriminator,
                l.adversarial,
                l.reconstruction,
                l.features,
                l.weight,
                real,
                reconstructed,
                sampled,
                discriminator,
                decoder,
            ]
            .map(|value| value.to_string());
        }
        let [a, b, c, d, e, f, g, h, i, j] = losses;
        [
            self.step.to_string(),
            self.epoch.to_string(),
            a,
            b,
            c,
            d,
            e,
            f,
            g,
            h,
            i,
            j,
            self.valid_negative_elbo.to_string(),
            distance,
            precision,
            recall,
            coverage,
            sharpness,
            u8::from(self.is_best).to_string(),
            self.spikes.to_string(),
            format!("{:.3}", self.seconds),
            format!("{:.0}", self.images_per_second),
        ]
    }

    /// Reads the table. Rows that are cut off or cannot be read are left out, and so are all of a table with other columns.
    pub fn parse(text: &str) -> Vec<Self> {
        let mut lines = text.lines();
        if lines.next() != Some(COLUMNS.join(",").as_str()) {
            return Vec::new();
        }
        lines.filter_map(|line| Self::from_cells(&line.split(',').collect::<Vec<_>>())).collect()
    }

    fn from_cells(cells: &[&str]) -> Option<Self> {
        let cells: &[&str; 22] = cells.try_into().ok()?;
        let number = |at: usize| cells[at].parse::<f64>().ok();
        let whole = |at: usize| cells[at].parse::<u64>().ok();
        // An empty cell is a figure that could not be measured.
        let figure = |at: usize| if cells[at].is_empty() { Some(None) } else { number(at).map(Some) };
        let shares = match (figure(14)?, figure(15)?, figure(16)?) {
            (Some(precision), Some(recall), Some(coverage)) => {
                Some(PrecisionRecall { precision, recall, coverage })
            }
            _ => None,
        };
        let sharpness = figure(17)?;
        let samples =
            figure(13)?.map(|distance| SampleQuality { distance, precision_recall: shares, sharpness });
        let losses = if cells[2..12].iter().all(|cell| cell.is_empty()) {
            None
        } else {
            Some(StageLosses {
                discriminator: number(2)?,
                adversarial: number(3)?,
                reconstruction: number(4)?,
                features: number(5)?,
                weight: number(6)?,
                accuracy: [number(7)?, number(8)?, number(9)?],
                norms: [number(10)?, number(11)?],
            })
        };
        Some(Self {
            step: whole(0)?,
            epoch: whole(1)?,
            losses,
            valid_negative_elbo: number(12)?,
            samples,
            is_best: whole(18)? == 1,
            spikes: whole(19)?,
            seconds: number(20)?,
            images_per_second: number(21)?,
        })
    }

    /// What a person should know if either side has won, so that nobody learns any more.
    pub fn warning(&self) -> Option<String> {
        let [real, reconstructed, sampled] = self.losses?.accuracy;
        let shown = format!(
            "{:.0} % of real images, {:.0} % of reconstructions and {:.0} % of samples",
            100.0 * real,
            100.0 * reconstructed,
            100.0 * sampled
        );
        if real.min(reconstructed).min(sampled) >= DISCRIMINATOR_WON {
            return Some(format!(
                "the discriminator is right about {shown} in epoch {}: it has won, and the decoder learns little from it. A smaller --lr \
                 often helps.",
                self.epoch
            ));
        }
        (0.5 * real + 0.25 * (reconstructed + sampled) <= DECODER_WON).then(|| {
            format!(
                "the discriminator is right about {shown} in epoch {}, hardly more than a guess: the decoder has won, and learns nothing \
                 more from it.",
                self.epoch
            )
        })
    }
}

/// The stage's part of a report; empty if there is none.
pub(super) fn section(rows: &[AdversarialMetrics]) -> String {
    if rows.is_empty() {
        return String::new();
    }
    let curve = |name: &str, class: &'static str, value: &dyn Fn(&AdversarialMetrics) -> Option<f64>| Curve {
        name: name.into(),
        class,
        points: rows.iter().filter_map(|row| Some((row.epoch as f64, value(row)?))).collect(),
    };
    let loss =
        |value: fn(&StageLosses) -> f64| move |row: &AdversarialMetrics| row.losses.as_ref().map(value);
    let best = rows.iter().rev().find(|row| row.is_best).map(|row| row.epoch as f64);
    let losses = [
        curve("discriminator", "train", &loss(|l| l.discriminator)),
        curve("decoder", "valid", &loss(|l| l.adversarial)),
    ];
    let accuracies = [
        curve("real", "train", &loss(|l| l.accuracy[0])),
        curve("reconstructed", "valid", &loss(|l| l.accuracy[1])),
        curve("sampled", "active", &loss(|l| l.accuracy[2])),
    ];
    let distance = [curve("samples", "valid", &|row| Some(row.samples?.distance))];
    let shares: [Curve; 3] = [
        curve("precision", "train", &|row| Some(row.samples?.precision_recall?.precision)),
        curve("recall", "valid", &|row| Some(row.samples?.precision_recall?.recall)),
        curve("coverage", "active", &|row| Some(row.samples?.precision_recall?.coverage)),
    ];
    let sharpness = [curve("samples", "valid", &|row| row.samples?.sharpness)];
    let elbo = [curve("validation", "valid", &|row| Some(row.valid_negative_elbo))];
    format!(
        "<h2>How it was sharpened</h2>\n<div class=\"charts\">\n{}{}{}{}{}{}</div>\n<p class=\"note\">The first epoch is the VAE's last. The \
         dashed line is the epoch whose samples are nearest to the images: the saved model.</p>\n{}",
        curves::figure("Losses of both sides", &losses, best),
        curves::figure("Accuracy of the discriminator", &accuracies, best),
        curves::figure("Distance of samples from images", &distance, best),
        curves::figure("Precision, recall and coverage of samples", &shares, best),
        curves::figure("Sharpness of samples", &sharpness, best),
        curves::figure("−ELBO", &elbo, best),
        explained("Adversarial stage")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(accuracy: [f64; 3]) -> AdversarialMetrics {
        let losses = StageLosses {
            discriminator: 1.25,
            adversarial: 0.5,
            reconstruction: 80.5,
            features: 3.0,
            weight: 7.5,
            accuracy,
            norms: [0.25, 40.0],
        };
        AdversarialMetrics {
            step: 860,
            epoch: 2,
            losses: Some(losses),
            valid_negative_elbo: 110.5,
            samples: Some(SampleQuality {
                distance: 0.1 + 0.2,
                precision_recall: Some(PrecisionRecall { precision: 0.75, recall: 0.5, coverage: 0.625 }),
                sharpness: Some(-0.125),
            }),
            is_best: true,
            spikes: 1,
            seconds: 20.5,
            images_per_second: 900.0,
        }
    }

    #[test]
    fn a_table_is_read_as_it_was_written() {
        let first =
            AdversarialMetrics { step: 430, epoch: 1, valid_negative_elbo: 104.0, ..Default::default() };
        let few = SampleQuality { distance: 0.5, precision_recall: None, sharpness: None };
        let second = AdversarialMetrics { samples: Some(few), ..first };
        let rows = [first, second, row([0.75, 0.5, 0.625])];
        let text =
            rows.iter().fold(COLUMNS.join(","), |text, row| format!("{text}\n{}", row.cells().join(",")));
        assert_eq!(AdversarialMetrics::parse(&text), rows);
        assert_eq!(AdversarialMetrics::parse(&format!("{text}\n9,9,9")), rows);
        assert_eq!(AdversarialMetrics::parse(&text.replacen("step", "steps", 1)), []);
        let section = section(&rows);
        for expected in ["Losses of both sides", "sampled", "Distance of samples", "recall", "Sharpness"] {
            assert!(section.contains(expected), "{section}");
        }
    }

    #[test]
    fn a_side_that_has_won_is_told() {
        assert_eq!(row([0.8, 0.7, 0.9]).warning(), None);
        assert_eq!(row([0.99, 0.9, 0.99]).warning(), None);
        assert!(row([0.99, 0.98, 1.0]).warning().unwrap().contains("the discriminator is right about 99 %"));
        assert!(row([0.9, 0.1, 0.15]).warning().unwrap().contains("the decoder has won"));
        assert_eq!(AdversarialMetrics::default().warning(), None);
    }
}

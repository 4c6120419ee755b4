//! metrics.csv: the contents of a row, and how the table is written and read.
//!
//! A run appends an [`EpochMetrics`] after each epoch; the report and `elbo info` read the table as
//! [`Metrics`]. The columns' names and order are defined only here.

use crate::loss::LossValues;

/// The columns of metrics.csv. `seconds` and `images_per_second` are the only ones that differ when a run is
/// repeated.
pub const COLUMNS: [&str; 19] = [
    "step",
    "epoch",
    "train_loss",
    "train_negative_elbo",
    "train_reconstruction",
    "train_divergence",
    "train_kl",
    "valid_loss",
    "valid_negative_elbo",
    "valid_reconstruction",
    "valid_divergence",
    "valid_kl",
    "beta",
    "learning_rate",
    "gradient_norm",
    "active_units",
    "spikes",
    "seconds",
    "images_per_second",
];

/// Losses in nats per image, means over a set of images.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Losses {
    /// The objective that training minimizes.
    pub loss: f64,
    /// The standard −ELBO.
    pub negative_elbo: f64,
    /// −ln p(x|z), as in the loss.
    pub reconstruction: f64,
    /// The chosen divergence, before β, free bits and capacity.
    pub divergence: f64,
    /// KL(q‖p).
    pub kl: f64,
}

impl Losses {
    fn to_array(self) -> [f64; 5] {
        [self.loss, self.negative_elbo, self.reconstruction, self.divergence, self.kl]
    }

    fn from_array([loss, negative_elbo, reconstruction, divergence, kl]: [f64; 5]) -> Self {
        Self { loss, negative_elbo, reconstruction, divergence, kl }
    }
}

impl From<LossValues> for Losses {
    fn from(v: LossValues) -> Self {
        Self::from_array([v.loss, v.negative_elbo, v.reconstruction, v.divergence, v.kl])
    }
}

/// A row: the state of a run after an epoch, or at an end within one.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct EpochMetrics {
    /// Steps so far.
    pub step: u64,
    /// The epoch, from 1.
    pub epoch: u64,
    /// Means over the epoch's batches, during training.
    pub train: Losses,
    /// Means over the validation images; `None` if none are held out.
    pub valid: Option<Losses>,
    /// β at the last step.
    pub beta: f64,
    /// The learning rate of the last step.
    pub learning_rate: f64,
    /// The mean of the epoch's gradient norms.
    pub gradient_norm: f64,
    /// Latent dimensions whose μ varies over the images.
    pub active_units: u64,
    /// Gradient spikes in the run so far.
    pub spikes: u64,
    /// Seconds in the epoch's training steps, to the millisecond.
    pub seconds: f64,
    /// Training images per second.
    pub images_per_second: f64,
}

impl EpochMetrics {
    /// The cells of the row, in the order of [`COLUMNS`]. Unknown losses are empty.
    pub fn cells(&self) -> [String; 19] {
        let train = self.train.to_array().map(|value| value.to_string());
        let valid = self.valid.map_or_else(Default::default, |v| v.to_array().map(|value| value.to_string()));
        let [a, b, c, d, e] = train;
        let [f, g, h, i, j] = valid;
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
            self.beta.to_string(),
            self.learning_rate.to_string(),
            self.gradient_norm.to_string(),
            self.active_units.to_string(),
            self.spikes.to_string(),
            format!("{:.3}", self.seconds),
            format!("{:.0}", self.images_per_second),
        ]
    }

    /// A row from its cells, in the order of [`COLUMNS`]; `None` if a cell is not a number of its column's
    /// kind.
    fn from_cells(cells: [&str; 19]) -> Option<Self> {
        let number = |at: usize| cells[at].parse::<f64>().ok();
        let whole = |at: usize| cells[at].parse::<u64>().ok();
        let losses = |from: usize| {
            let [a, b, c, d, e] = [0, 1, 2, 3, 4].map(|at| number(from + at));
            Some(Losses::from_array([a?, b?, c?, d?, e?]))
        };
        let valid = if cells[7..12].iter().all(|cell| cell.is_empty()) { None } else { Some(losses(7)?) };
        Some(Self {
            step: whole(0)?,
            epoch: whole(1)?,
            train: losses(2)?,
            valid,
            beta: number(12)?,
            learning_rate: number(13)?,
            gradient_norm: number(14)?,
            active_units: whole(15)?,
            spikes: whole(16)?,
            seconds: number(17)?,
            images_per_second: number(18)?,
        })
    }
}

/// The table of a run, oldest row first.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Metrics {
    /// The rows.
    pub rows: Vec<EpochMetrics>,
}

impl Metrics {
    /// Reads the table. Columns are found by their names and unknown ones are ignored. A row that is cut off
    /// or has an unreadable cell is left out; so are all rows of a table that lacks a column.
    ///
    /// ```
    /// use elbo::report::metrics::{COLUMNS, EpochMetrics, Metrics};
    /// let row = EpochMetrics { step: 430, epoch: 1, ..Default::default() };
    /// let text = format!("{}\n{}\n431,", COLUMNS.join(","), row.cells().join(","));
    /// assert_eq!(Metrics::parse(&text).rows, [row]);
    /// ```
    pub fn parse(text: &str) -> Self {
        let mut lines = text.lines();
        let names: Vec<&str> = lines.next().unwrap_or("").split(',').collect();
        let places = COLUMNS.map(|column| names.iter().position(|name| *name == column));
        let row = |line: &str| {
            let cells: Vec<&str> = line.split(',').collect();
            let mut sorted = [""; 19];
            for (cell, place) in sorted.iter_mut().zip(places) {
                *cell = cells.get(place?)?;
            }
            if cells.len() == names.len() { EpochMetrics::from_cells(sorted) } else { None }
        };
        Self { rows: lines.filter_map(row).collect() }
    }

    /// The newest row.
    pub fn last(&self) -> Option<&EpochMetrics> {
        self.rows.last()
    }

    /// The row of an epoch; of several, the newest.
    pub fn epoch(&self, epoch: u64) -> Option<&EpochMetrics> {
        self.rows.iter().rev().find(|row| row.epoch == epoch)
    }

    /// The whole epoch with the lowest validation loss. A row of an end within an epoch, which has fewer
    /// steps per epoch than the others, is not considered.
    pub fn best(&self) -> Option<(&EpochMetrics, &Losses)> {
        let whole = |row: &&EpochMetrics| {
            // step / epoch is the largest of all rows, compared in integers.
            let product = |a: u64, b: u64| u128::from(a) * u128::from(b);
            self.rows.iter().all(|other| product(row.step, other.epoch) >= product(other.step, row.epoch))
        };
        let judged = self.rows.iter().filter(whole).filter_map(|row| Some((row, row.valid.as_ref()?)));
        judged.min_by(|a, b| a.1.loss.total_cmp(&b.1.loss))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(step: u64, epoch: u64, valid_loss: f64) -> EpochMetrics {
        let losses = Losses::from_array([1.5, 2.25, 3.0, 4.125, 5.0]);
        EpochMetrics {
            step,
            epoch,
            train: losses,
            valid: Some(Losses { loss: valid_loss, ..losses }),
            beta: 0.1,
            learning_rate: 1e-3,
            gradient_norm: 7.75,
            active_units: 18,
            spikes: 2,
            seconds: 20.5,
            images_per_second: 2600.0,
        }
    }

    fn table(rows: &[EpochMetrics]) -> String {
        rows.iter().fold(COLUMNS.join(","), |text, row| format!("{text}\n{}", row.cells().join(",")))
    }

    #[test]
    fn a_table_is_read_as_it_was_written() {
        let rows = [row(10, 1, 0.1 + 0.2), EpochMetrics { valid: None, ..row(20, 2, 0.0) }];
        assert_eq!(Metrics::parse(&table(&rows)).rows, rows);
        // Each cell is under its own name: another order of the columns is read as the same rows.
        let reversed = |line: &str| line.split(',').rev().collect::<Vec<_>>().join(",");
        let text = table(&rows).lines().map(reversed).collect::<Vec<_>>().join("\n");
        assert_eq!(Metrics::parse(&text).rows, rows);
    }

    #[test]
    fn what_cannot_be_read_is_no_row() {
        let good = row(10, 1, 3.0);
        let line = good.cells().join(",");
        let text = format!("{}\nhalf a r\n{}\n{line},7\n{line}", COLUMNS.join(","), line.replace("18", "x"));
        assert_eq!(Metrics::parse(&text).rows, [good]);
        assert_eq!(Metrics::parse("step,epoch\n430,1").rows, []);
        assert_eq!(Metrics::parse("").rows, []);
    }

    #[test]
    fn only_whole_epochs_are_the_best() {
        let metrics =
            Metrics { rows: vec![row(10, 1, 3.0), row(20, 2, 2.0), row(30, 3, 2.5), row(35, 4, 1.0)] };
        assert_eq!(metrics.best().unwrap().0.epoch, 2);
        assert_eq!(metrics.epoch(3).unwrap().step, 30);
        assert_eq!(Metrics::default().best(), None);
    }
}

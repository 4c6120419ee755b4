//! A comparison of several runs: a page, a table for the terminal, and JSON.
//!
//! Losses are only comparable on the same images. So runs are grouped by their training data, each group has
//! its own curves and its own table, and notes name other obstacles to a comparison.

use std::fmt::Write;

use serde_json::{Map, Value, json};

use super::grouped;
use super::metrics::{EpochMetrics, Losses, Metrics};
use crate::loss::Likelihood;

mod page;

/// The most runs: as many as there are distinguishable colours.
pub const MOST: usize = 8;

/// The classes that give the curves their colours.
const CLASSES: [&str; MOST] = ["run0", "run1", "run2", "run3", "run4", "run5", "run6", "run7"];

/// The known facts about a run. Texts are plain.
#[derive(Clone, Debug)]
pub struct ComparedRun {
    /// Its name: that of the folder.
    pub name: String,
    /// The folder as it was given.
    pub folder: String,
    /// The preset's name.
    pub preset: String,
    /// The likelihood.
    pub likelihood: Likelihood,
    /// The number of parameters.
    pub parameters: usize,
    /// Z.
    pub latent: usize,
    /// D, the numbers of an image.
    pub values: usize,
    /// metrics.csv.
    pub metrics: Metrics,
    /// config.toml, key by key.
    pub options: Vec<(String, String)>,
    /// Its training data, as config.toml names it.
    pub data: String,
    /// The fingerprint of the images that it was trained on.
    pub fingerprint: String,
    /// A sheet of samples.
    pub samples: Option<Vec<u8>>,
    /// A sheet of images and their reconstructions.
    pub reconstructions: Option<Vec<u8>>,
}

impl ComparedRun {
    /// The row that it is judged by, with losses of validation images if there are any: the best, else the
    /// last.
    fn judged(&self) -> Option<(&EpochMetrics, &Losses)> {
        self.metrics
            .best()
            .or_else(|| self.metrics.last().map(|row| (row, row.valid.as_ref().unwrap_or(&row.train))))
    }

    fn seconds(&self) -> f64 {
        self.metrics.rows.iter().map(|row| row.seconds).sum()
    }

    /// The kind of its −ELBO; only those of one kind can be compared.
    fn kind(&self) -> &'static str {
        if self.likelihood.is_exact_for_bytes() {
            "probabilities of bytes"
        } else if self.likelihood == Likelihood::Bernoulli {
            "probabilities of black and white"
        } else {
            "densities"
        }
    }
}

/// Several runs.
#[derive(Clone, Debug)]
pub struct Comparison {
    /// The runs, at most [`MOST`].
    pub runs: Vec<ComparedRun>,
    /// Notes for the user besides [`notes`](Self::notes).
    pub further_notes: Vec<String>,
}

/// A column of the table: heading, and the cell of a run.
type Column = (&'static str, fn(&ComparedRun) -> String);

const COLUMNS: [Column; 12] = [
    ("preset", |run| run.preset.clone()),
    ("likelihood", |run| run.likelihood.name().into()),
    ("parameters", |run| grouped(run.parameters)),
    ("latent", |run| run.latent.to_string()),
    ("epochs", |run| run.metrics.last().map_or("–".into(), |row| row.epoch.to_string())),
    ("best epoch", |run| run.metrics.best().map_or("–".into(), |(row, _)| row.epoch.to_string())),
    ("−ELBO", |run| number(run.judged().map(|(_, losses)| losses.negative_elbo), 2)),
    ("reconstruction", |run| number(run.judged().map(|(_, losses)| losses.reconstruction), 2)),
    ("KL", |run| number(run.judged().map(|(_, losses)| losses.kl), 2)),
    ("bits/dim", |run| {
        let nats = run.judged().map(|(_, losses)| losses.negative_elbo);
        number(nats.and_then(|nats| run.likelihood.bits_per_dim(nats, run.values)), 3)
    }),
    ("active", |run| {
        run.judged().map_or("–".into(), |(row, _)| format!("{}/{}", row.active_units, run.latent))
    }),
    ("seconds", |run| number(Some(run.seconds()), 0)),
];

fn number(value: Option<f64>, decimals: usize) -> String {
    value.map_or("–".into(), |value| format!("{value:.decimals$}"))
}

impl Comparison {
    /// A for the first run, B for the second.
    fn letter(run: usize) -> char {
        char::from(b'A' + run as u8)
    }

    /// The runs that were trained on the same images, group by group, in the order in which they were given.
    fn groups(&self) -> Vec<Vec<usize>> {
        let mut groups: Vec<Vec<usize>> = Vec::new();
        for (at, run) in self.runs.iter().enumerate() {
            match groups.iter_mut().find(|group| self.runs[group[0]].fingerprint == run.fingerprint) {
                Some(group) => group.push(at),
                None => groups.push(vec![at]),
            }
        }
        groups
    }

    /// The obstacles to a comparison.
    pub fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        let groups = self.groups();
        let letters = |group: &[usize]| {
            group.iter().map(|&run| Self::letter(run).to_string()).collect::<Vec<String>>().join(", ")
        };
        if groups.len() > 1 {
            let parts: Vec<String> = groups
                .iter()
                .map(|group| format!("{} from {}", letters(group), self.runs[group[0]].data))
                .collect();
            notes.push(format!(
                "these runs were trained on different images ({}): their losses cannot be compared, so each data set has its own \
                 table.",
                parts.join("; ")
            ));
        }
        for group in &groups {
            let kinds: Vec<&str> = group.iter().map(|&run| self.runs[run].kind()).collect();
            if kinds.iter().any(|kind| *kind != kinds[0]) {
                let parts: Vec<String> = group
                    .iter()
                    .map(|&run| format!("{}: {}", Self::letter(run), self.runs[run].kind()))
                    .collect();
                notes.push(format!(
                    "the likelihoods measure different things ({}), so the −ELBO and the reconstruction of these runs cannot be compared; \
                     KL, pictures and time can.",
                    parts.join(", ")
                ));
            }
        }
        notes.extend(self.further_notes.iter().cloned());
        notes
    }

    /// The options that are not the same in all runs, with each run's value; `None` if it has no such option.
    pub fn differing(&self) -> Vec<(&str, Vec<Option<&str>>)> {
        let mut keys: Vec<&str> = Vec::new();
        for (key, _) in self.runs.iter().flat_map(|run| &run.options) {
            if !keys.contains(&&**key) {
                keys.push(key);
            }
        }
        let value = |run: &'_ ComparedRun, key: &str| -> Option<usize> {
            run.options.iter().position(|(other, _)| other == key)
        };
        keys.into_iter()
            .map(|key| {
                let values = self.runs.iter().map(|run| value(run, key).map(|at| &*run.options[at].1));
                (key, values.collect::<Vec<Option<&str>>>())
            })
            .filter(|(_, values)| values.iter().any(|value| *value != values[0]))
            .collect()
    }

    /// The cells of a group's table, with the headings; the first column names the runs.
    fn table(&self, group: &[usize]) -> Vec<Vec<String>> {
        let mut rows =
            vec![std::iter::once("run".into()).chain(COLUMNS.map(|(name, _)| name.to_owned())).collect()];
        for &at in group {
            let run = &self.runs[at];
            let first = format!("{} {}", Self::letter(at), run.name);
            rows.push(std::iter::once(first).chain(COLUMNS.map(|(_, cell)| cell(run))).collect());
        }
        rows
    }

    fn options_table(&self) -> Vec<Vec<String>> {
        let letters = (0..self.runs.len()).map(|run| Self::letter(run).to_string());
        let mut rows: Vec<Vec<String>> = vec![std::iter::once("option".into()).chain(letters).collect()];
        for (key, values) in self.differing() {
            let cells = values.into_iter().map(|value| value.unwrap_or("–").to_owned());
            rows.push(std::iter::once(key.to_owned()).chain(cells).collect());
        }
        rows
    }

    /// For the terminal.
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        for note in self.notes() {
            let _ = writeln!(text, "note: {note}");
        }
        let groups = self.groups();
        for group in &groups {
            if groups.len() > 1 {
                let _ = writeln!(text, "\non {}:", self.runs[group[0]].data);
            }
            text.push_str(&aligned(&self.table(group)));
        }
        let options = self.options_table();
        if options.len() > 1 {
            let _ = write!(text, "\noptions that differ:\n{}", aligned(&options));
        }
        text
    }

    /// One JSON object.
    pub fn to_json(&self) -> Value {
        let run = |(at, run): (usize, &ComparedRun)| {
            let judged = run.judged();
            json!({
                "run": run.folder,
                "letter": Self::letter(at).to_string(),
                "preset": run.preset,
                "likelihood": run.likelihood.name(),
                "parameters": run.parameters,
                "latent": run.latent,
                "data": run.data,
                "data_fingerprint": run.fingerprint,
                "epochs": run.metrics.last().map(|row| row.epoch),
                "best_epoch": run.metrics.best().map(|(row, _)| row.epoch),
                "judged_on": if judged.is_some_and(|(row, _)| row.valid.is_some()) { "validation" } else { "training" },
                "negative_elbo": judged.map(|(_, losses)| losses.negative_elbo),
                "reconstruction": judged.map(|(_, losses)| losses.reconstruction),
                "kl": judged.map(|(_, losses)| losses.kl),
                "bits_per_dim": judged.and_then(|(_, losses)| run.likelihood.bits_per_dim(losses.negative_elbo, run.values)),
                "active_units": judged.map(|(row, _)| row.active_units),
                "seconds": run.seconds(),
            })
        };
        let options: Map<String, Value> =
            self.differing().into_iter().map(|(key, values)| (key.to_owned(), json!(values))).collect();
        json!({
            "same_data": self.groups().len() == 1,
            "notes": self.notes(),
            "runs": self.runs.iter().enumerate().map(run).collect::<Vec<Value>>(),
            "options": options,
        })
    }
}

/// Rows with aligned cells; the first column to the left, the others to the right.
fn aligned(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let len = |cell: &String| cell.chars().count();
    let width = |at: usize| rows.iter().filter_map(|row| row.get(at)).map(len).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (at, (cell, &width)) in row.iter().zip(&widths).enumerate() {
            let gap = " ".repeat(width - len(cell));
            line.push_str(&if at == 0 { format!("{cell}{gap}") } else { format!("  {gap}{cell}") });
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(name: &str, likelihood: Likelihood, data: &str, elbo: f64) -> ComparedRun {
        let losses =
            Losses { negative_elbo: elbo, reconstruction: elbo - 10.0, kl: 10.0, ..Losses::default() };
        let row = |epoch| EpochMetrics {
            step: 10 * epoch,
            epoch,
            train: losses,
            valid: Some(losses),
            seconds: 2.5,
            ..EpochMetrics::default()
        };
        ComparedRun {
            name: name.into(),
            folder: format!("runs/{name}"),
            preset: "mlp".into(),
            likelihood,
            parameters: 1234,
            latent: 3,
            values: 784,
            metrics: Metrics { rows: vec![row(1), row(2)] },
            options: vec![("seed".into(), "0".into()), ("lr".into(), elbo.to_string())],
            data: data.into(),
            fingerprint: format!("of {data}"),
            samples: Some(vec![1, 2, 3]),
            reconstructions: None,
        }
    }

    fn compared(runs: Vec<ComparedRun>) -> Comparison {
        Comparison { runs, further_notes: Vec::new() }
    }

    #[test]
    fn runs_on_the_same_images_share_a_table_and_curves() {
        let both = compared(vec![
            run("a<b", Likelihood::Bernoulli, "mnist", 100.0),
            run("c", Likelihood::Bernoulli, "mnist", 99.0),
        ]);
        assert_eq!(both.notes(), Vec::<String>::new());
        assert_eq!(both.differing(), [("lr", vec![Some("100"), Some("99")])]);
        let page = both.to_html();
        assert!(page.contains("a&lt;b") && !page.contains("a<b") && !page.contains("http"));
        assert_eq!((page.matches("<svg").count(), page.matches("class=\"run1\" points").count()), (3, 3));
        let json = both.to_json();
        assert_eq!((&json["same_data"], &json["runs"][1]["negative_elbo"]), (&json!(true), &json!(99.0)));
        assert_eq!(json["options"]["lr"], json!(["100", "99"]));
        let text = both.to_text();
        assert!(text.contains("A a<b") && text.contains("options that differ:\noption"), "{text}");
    }

    #[test]
    fn different_images_or_likelihoods_get_a_note_and_tables_of_their_own() {
        let runs = vec![
            run("a", Likelihood::Bernoulli, "mnist", 100.0),
            run("b", Likelihood::Bernoulli, "faces", 9000.0),
            run("c", Likelihood::DiscretizedLogistic, "mnist", 700.0),
        ];
        let all = compared(runs);
        let notes = all.notes();
        assert!(notes[0].contains("A, C from mnist; B from faces"), "{notes:?}");
        assert!(
            notes[1].contains("A: probabilities of black and white, C: probabilities of bytes"),
            "{notes:?}"
        );
        let page = all.to_html();
        assert_eq!(page.matches("<h2>Learning curves on").count(), 2);
        // Two data sets with three figures each.
        assert_eq!(page.matches("<svg").count(), 6);
        assert_eq!(all.to_json()["same_data"], json!(false));
        assert!(all.to_text().contains("on faces:"), "{}", all.to_text());
    }
}

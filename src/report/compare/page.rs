//! The page of a comparison.

use std::fmt::Write;

use super::{CLASSES, ComparedRun, Comparison};
use crate::report::curves::{self, Curve};
use crate::report::html::{escape, png_uri};
use crate::report::metrics::{EpochMetrics, Losses};
use crate::report::page::STYLE;

const COMPARE_STYLE: &str = include_str!("page.css");

impl Comparison {
    /// The page: one file without external references.
    pub fn to_html(&self) -> String {
        let names: Vec<String> = self
            .runs
            .iter()
            .enumerate()
            .map(|(at, run)| format!("{} {}", Self::letter(at), run.name))
            .collect();
        let mut page = format!(
            "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n\
             <title>{} · elbo</title>\n<style>\n{STYLE}{COMPARE_STYLE}</style>\n</head>\n<body>\n<main>\n\
             <header>\n<p class=\"kicker\">elbo · comparison of runs</p>\n<h1>{} runs</h1>\n</header>\n",
            escape(&names.join(", ")),
            self.runs.len()
        );
        for note in self.notes() {
            let _ = writeln!(page, "<p class=\"warning\"><strong>Note:</strong> {}</p>", escape(&note));
        }
        let groups = self.groups();
        for group in &groups {
            let on =
                if groups.len() > 1 { format!(" on {}", self.runs[group[0]].data) } else { String::new() };
            let _ = writeln!(page, "<h2>Learning curves{}</h2>", escape(&on));
            self.curves(group, &mut page);
            let _ = writeln!(page, "<div class=\"wide\">{}</div>", html_table(&self.table(group)));
        }
        page.push_str(
            "<p class=\"note\">Nats per image, of the validation images at the best epoch; for a run without such images, of training \
             at its last epoch. </p>\n",
        );
        let options = self.options_table();
        page.push_str("<h2>Options that differ</h2>\n");
        if options.len() > 1 {
            let _ = writeln!(page, "<div class=\"wide\">{}</div>", html_table(&options));
        } else {
            page.push_str("<p>None.</p>\n");
        }
        self.pictures(&names, &mut page);
        page.push_str(
            "<footer>Written by elbo. The file is self-contained: nothing is loaded from elsewhere.</footer>\n\
             </main>\n</body>\n</html>\n",
        );
        page
    }

    fn curves(&self, group: &[usize], page: &mut String) {
        type Value = fn(&Losses) -> f64;
        let figures: [(&str, Value); 3] = [
            ("−ELBO", |losses| losses.negative_elbo),
            ("Reconstruction", |losses| losses.reconstruction),
            ("KL", |losses| losses.kl),
        ];
        page.push_str("<div class=\"charts\">\n");
        for (title, value) in figures {
            let curve = |&at: &usize| {
                let (run, name) = (&self.runs[at], Self::letter(at).to_string());
                let point = |row: &EpochMetrics| {
                    let losses = row.valid.as_ref().unwrap_or(&row.train);
                    (row.epoch as f64, value(losses))
                };
                Curve { name, class: CLASSES[at], points: run.metrics.rows.iter().map(point).collect() }
            };
            let curves: Vec<Curve> = group.iter().map(curve).collect();
            page.push_str(&curves::figure(title, &curves, None));
        }
        page.push_str("</div>\n");
    }

    fn pictures(&self, names: &[String], page: &mut String) {
        type Sheet = fn(&ComparedRun) -> Option<&Vec<u8>>;
        let kinds: [(&str, &str, Sheet); 2] = [
            ("Reconstructions", "originals beside their reconstructions", |run| run.reconstructions.as_ref()),
            ("Samples", "decoded from draws of the prior", |run| run.samples.as_ref()),
        ];
        for (title, what, sheet) in kinds {
            if self.runs.iter().all(|run| sheet(run).is_none()) {
                continue;
            }
            let _ =
                writeln!(page, "<h2>{title}</h2>\n<p class=\"note\">{what}</p>\n<div class=\"pictures\">");
            for (run, (name, class)) in self.runs.iter().zip(names.iter().zip(CLASSES)) {
                let Some(png) = sheet(run) else { continue };
                let name = escape(name);
                let _ = writeln!(
                    page,
                    "<figure><figcaption><span class=\"key {class}\">{name}</span></figcaption><img alt=\"{title} of {name}\" \
                     src=\"{}\"/></figure>",
                    png_uri(png)
                );
            }
            page.push_str("</div>\n");
        }
    }
}

fn html_table(rows: &[Vec<String>]) -> String {
    let mut text = String::from("<table>\n");
    for (at, row) in rows.iter().enumerate() {
        let tag = if at == 0 { "th" } else { "td" };
        let cells: String = row.iter().map(|cell| format!("<{tag}>{}</{tag}>", escape(cell))).collect();
        let _ = writeln!(text, "<tr>{cells}</tr>");
    }
    text.push_str("</table>");
    text
}

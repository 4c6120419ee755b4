//! Fills in page.html.

use serde_json::json;

use super::images::Images;
use super::network::{Precision, describe, weights};
use super::weights::{text_len, to_text};
use crate::error::{Error, Result};
use crate::model::Vae;
use crate::report::grouped;
use crate::report::html::escape;
use crate::report::page::STYLE;

/// The page is kept below this, in bytes, if fewer bits for the large parameters are enough. A larger model
/// has half precision.
pub const LONGEST: usize = 3_000_000;

/// The largest side of grey images that a person can draw.
const DRAWN: usize = 64;

const TEMPLATE: &str = include_str!("page.html");
const EXPLORER_STYLE: &str = include_str!("explorer.css");
/// The scripts of the worker, and those of the page.
const WORKER: [&str; 2] = [include_str!("engine.js"), include_str!("worker.js")];
const SCRIPTS: [&str; 3] = [include_str!("random.js"), include_str!("map.js"), include_str!("explorer.js")];

/// The contents of a page.
#[derive(Clone, Debug)]
pub struct Exploration<'a> {
    /// The name of the run or model.
    pub name: String,
    /// The model.
    pub model: &'a Vae<f32>,
    /// The images of its map.
    pub images: &'a Images,
    /// The address of the run's report, if it lies beside the page.
    pub report: Option<String>,
}

impl Exploration<'_> {
    /// The page, and a description of its weights' precision.
    ///
    /// # Errors
    /// If a parameter is outside half precision, or the model has a context network, which the page does not
    /// compute.
    pub fn to_html(&self) -> Result<(String, String)> {
        let c = self.model.config();
        if c.context.is_some() {
            return Err(Error::config(
                "a model with --context computes a picture pixel by pixel, which the page does not; explore takes models without it",
            ));
        }
        let images = self.images.describe(c);
        let page = |precision: Precision, weights: &str| {
            let data = json!({
                "network": describe(self.model, precision),
                "images": images,
                "conditions": c.labels,
                "can_draw": c.channels == 1 && c.height.max(c.width) <= DRAWN,
                "precision": precision.name(),
            });
            self.fill(&in_script(&data.to_string()), weights)
        };
        let fits = |precision: &&Precision| {
            page(**precision, "").len() + text_len(precision.bytes(self.model)) <= LONGEST
        };
        let precision = *Precision::ALL.iter().find(fits).unwrap_or(&Precision::ALL[0]);
        Ok((page(precision, &to_text(&weights(self.model, precision)?)), precision.name()))
    }

    fn fill(&self, data: &str, weights: &str) -> String {
        let c = self.model.config();
        let sentence = format!(
            "Preset {} with {} parameters and {} latent dimensions, for images of {}; {} likelihood.",
            c.preset.name(),
            grouped(self.model.parameters.len()),
            c.latent,
            c.image(),
            c.likelihood.name()
        );
        let report = self.report.as_deref().map_or(String::new(), |address| {
            format!(" <a href=\"{}\">The report of this run</a> shows how it was trained.", escape(address))
        });
        let (worker, scripts) = (WORKER.concat(), SCRIPTS.concat());
        let gaps = [
            ("TITLE", &*escape(&self.name)),
            ("STYLE", STYLE),
            ("EXPLORER_STYLE", EXPLORER_STYLE),
            ("SENTENCE", &escape(&sentence)),
            ("REPORT", &report),
            ("DATA", data),
            ("WEIGHTS", weights),
            ("WORKER", &worker),
            ("SCRIPTS", &scripts),
        ];
        let mut page = String::new();
        // One pass over the template, so that no inserted text is taken for a placeholder.
        let mut parts = TEMPLATE.split('@');
        page.push_str(parts.next().unwrap_or_default());
        while let (Some(name), Some(text)) = (parts.next(), parts.next()) {
            let (_, value) = gaps.iter().find(|(gap, _)| *gap == name).expect("a gap of the template");
            page.push_str(value);
            page.push_str(text);
        }
        page
    }
}

/// JSON inside a `script`: without `<`, which could end it, and without line breaks that older scripts do not
/// allow in a string.
fn in_script(json: &str) -> String {
    json.replace('<', "\\u003c").replace('\u{2028}', "\\u2028").replace('\u{2029}', "\\u2029")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Labels;
    use crate::model::{Codec, Codes, ModelConfig, Preset};

    fn page(name: &str, labels: &[&str]) -> String {
        let names: Vec<String> = labels.iter().map(|&label| label.to_owned()).collect();
        let config = ModelConfig { labels: names.clone(), ..ModelConfig::new(Preset::Conv, (12, 10, 1)) };
        let model = Vae::new(config, 0).unwrap();
        let pictures = Codec::new(&model).decode_as(&[0.25; 64], &[0, 1]);
        let codes = Codes { mu: vec![0.25; 64], log_variance: vec![0.0; 64] };
        let labels = Some(Labels { ids: vec![0, 1], names });
        let images = Images { what: "images".into(), pictures, codes, labels, conditions: vec![0, 1] };
        let exploration = Exploration {
            name: name.into(),
            model: &model,
            images: &images,
            report: Some("a\"b.html".into()),
        };
        exploration.to_html().unwrap().0
    }

    #[test]
    fn names_and_labels_stay_text() {
        let bad = "</script><b>&\"'\n\u{2028}@DATA@";
        let page = page(bad, &[bad, "b"]);
        assert!(!page.contains("<b>") && page.contains("href=\"a&quot;b.html\""));
        assert!(page.contains("&lt;/script&gt;&lt;b&gt;"), "the title");
        let from = page.find("id=\"data\">").unwrap() + "id=\"data\">".len();
        let data = &page[from..from + page[from..].find("</script>").unwrap()];
        assert!(!data.contains('<') && !data.contains('\u{2028}'));
        let data: serde_json::Value = serde_json::from_str(data).unwrap();
        assert_eq!(data["conditions"][0], bad);
        assert_eq!(data["images"]["names"][0], bad);
        // Each opened script is closed.
        assert_eq!(page.matches("<script").count(), page.matches("</script>").count());
    }

    #[test]
    fn nothing_is_loaded_from_outside() {
        let page = page("run", &["a", "b"]);
        for outside in ["http:", "https:", "src=\"/", "@import", "url(", "importScripts", "fetch("] {
            assert!(!page.contains(outside), "{outside}");
        }
        assert!(page.contains("Content-Security-Policy"));
    }

    #[test]
    fn large_models_have_half_precision_and_middling_ones_tables() {
        let images = Images {
            pictures: vec![0.5; 784],
            codes: Codes { mu: vec![0.1; 32], log_variance: vec![0.0; 32] },
            ..Images::default()
        };
        let made = |hidden: usize| {
            let config = ModelConfig { hidden: vec![hidden], ..ModelConfig::new(Preset::Conv, (28, 28, 1)) };
            let model = Vae::new(config, 0).unwrap();
            let exploration = Exploration { name: "a".into(), model: &model, images: &images, report: None };
            exploration.to_html().unwrap()
        };
        let (page, precision) = made(256);
        assert!(page.len() <= LONGEST && precision.contains("bits"), "{} {precision}", page.len());
        assert_eq!(made(64).1, "half precision");
        let (page, precision) = made(512);
        assert!(page.len() > LONGEST && precision == "half precision", "{} {precision}", page.len());
    }
}

//! `elbo info`: describes a run, a model file or a data set.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::{Map, Value, json};

use super::common::{Ending, Opened, load_images, newest_run};
use super::pictures::{pictures, refuse_other};
use crate::data::{Dataset, Filler, Labels, LoadOptions, Part, Span};
use crate::error::{Error, Result};
use crate::layers::{Activation, Describe};
use crate::model::Vae;
use crate::report::Picture;
use crate::report::grouped;
use crate::report::metrics::{COLUMNS, Metrics};
use crate::storage::printable;
use crate::tensor::ImageShape;
use crate::train::{Config, DataOptions};

/// Describe a run folder, a model file or a data set
#[derive(Debug, Args)]
pub(super) struct Info {
    /// A run folder, a model file, or images as --data takes them [default: the newest run]
    path: Option<PathBuf>,
    /// Print one JSON object
    #[arg(long, help_heading = "Output")]
    json: bool,
    /// For data: draw a contact sheet of 100 evenly spaced images
    #[arg(long, value_name = "FILE.png", help_heading = "Output")]
    sheet: Option<PathBuf>,
    #[command(flatten)]
    data: DataOptions,
}

/// Images on a contact sheet, and in a row of it.
const CONTACTS: usize = 100;
const ROW: usize = 10;

impl Info {
    pub(super) fn run(self) -> Result<Ending> {
        let load = LoadOptions { part: Part::Both, ..self.data.load_options()? };
        self.sheet.as_deref().map_or(Ok(()), |sheet| refuse_other("--sheet", sheet, "png"))?;
        let path = match (&self.path, &self.data.data) {
            (Some(_), Some(_)) => {
                return Err(Error::config("both PATH and --data were given; info takes only one of them"));
            }
            (Some(path), None) | (None, Some(path)) => path.clone(),
            (None, None) => newest_run()?,
        };
        if is_model(&path)? {
            if self.sheet.is_some() {
                return Err(Error::config("--sheet is for data; `elbo sample` draws samples of a model"));
            }
            let opened = Opened::new(Some(&path), load.max_memory)?;
            let mut facts = model_facts(&opened.model);
            if let (true, Some(config)) = (path.is_dir(), &opened.config) {
                facts.insert("kind".into(), "run".into());
                facts.insert("run".into(), run_facts(&path, config));
            }
            facts.insert("path".into(), path.display().to_string().into());
            self.show(facts, print_model);
        } else {
            let data = load_images(&path, &load, &|_| Ok(()))?;
            if let Some(sheet) = &self.sheet {
                contact_sheet(&data).save_new(sheet)?;
            }
            self.show(data_facts(&data), print_data);
            if let (false, Some(sheet)) = (self.json, &self.sheet) {
                say!("sheet    {}", sheet.display());
            }
        }
        Ok(Ending::Done)
    }

    fn show(&self, facts: Map<String, Value>, print: impl FnOnce(&Value)) {
        let facts = Value::Object(facts);
        if self.json { say!("{facts}") } else { print(&facts) }
    }
}

/// Whether the path is a run folder or a safetensors file; anything else is taken for data.
fn is_model(path: &Path) -> Result<bool> {
    let meta = std::fs::metadata(path).map_err(|error| Error::io("read", path, error))?;
    if meta.is_dir() {
        return Ok(["model.safetensors", "checkpoint.safetensors"]
            .iter()
            .any(|name| path.join(name).is_file()));
    }
    if path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("safetensors")) {
        return Ok(true);
    }
    // Under another name: eight bytes of length, then JSON.
    let mut start = [0; 10];
    let read = meta.is_file() && File::open(path).is_ok_and(|mut file| file.read_exact(&mut start).is_ok());
    Ok(read && &start[6..] == b"\0\0{\"")
}

fn model_facts(model: &Vae<f32>) -> Map<String, Value> {
    let (c, a) = (model.config(), model.architecture());
    let mut layers = Vec::new();
    a.for_each_layer(|name, layer, slots| {
        let tied = a.is_tied(name);
        // A weight shared with another layer is not counted again.
        layers.push(layer_facts(name, layer, a.len_of(slots, tied), tied));
    });
    let facts = json!({
        "kind": "model",
        "preset": c.preset.name(),
        "height": c.height,
        "width": c.width,
        "channels": c.channels,
        "latent": c.latent,
        "tie_weights": c.tie_weights,
        "labels": c.labels,
        "classes": c.m2.as_ref().map(|m2| &m2.labels),
        "likelihood": c.likelihood,
        "parameters": model.parameters.len(),
        "operations_per_image": a.forward_flops(),
        "layers": layers,
    });
    let Value::Object(facts) = facts else { unreachable!("written as an object just above") };
    facts
}

fn layer_facts(name: &str, layer: &dyn Describe, parameters: usize, tied: bool) -> Value {
    let (what, output) = (layer.summary(), layer.output());
    let size = if output.pixels() == 1 { output.channels.to_string() } else { output.to_string() };
    let activation = match layer.activation() {
        Activation::Identity => "none",
        Activation::Relu => "ReLU",
        Activation::Sigmoid => "sigmoid",
        Activation::Tanh => "tanh",
    };
    json!({ "name": name, "layer": what, "output": size, "activation": activation, "parameters": parameters, "tied": tied })
}

fn print_model(facts: &Value) {
    let text = |key: &str| facts[key].as_str().unwrap_or_default().to_owned();
    let number = |value: &Value| grouped(value.as_u64().unwrap_or(0) as usize);
    say!("{:8} {}", text("kind"), text("path"));
    say!(
        "network  {} for images of {}×{}×{} (height × width × channels){}",
        text("preset"),
        facts["height"],
        facts["width"],
        facts["channels"],
        if facts["tie_weights"] == true { ", with tied weights" } else { "" }
    );
    let settings = facts["likelihood"].as_object().into_iter().flatten().filter(|(key, _)| *key != "kind");
    let settings: String = settings.map(|(key, value)| format!(", {key} {value}")).collect();
    say!("output   {}{settings}", facts["likelihood"]["kind"].as_str().unwrap_or_default());
    say!("latent   {} dimensions", facts["latent"]);
    for (key, what) in [
        ("labels", "the model is conditional on them"),
        ("classes", "of a classifier trained with few labels"),
    ] {
        let labels: Vec<String> =
            facts[key].as_array().into_iter().flatten().filter_map(Value::as_str).map(printable).collect();
        if !labels.is_empty() {
            let more =
                if labels.len() > 20 { format!(" and {} more", labels.len() - 20) } else { String::new() };
            let shown = labels[..labels.len().min(20)].join(", ");
            say!("{key:8} {shown}{more}: {what}");
        }
    }
    let layers = facts["layers"].as_array().map_or(&[][..], Vec::as_slice);
    let longest =
        layers.iter().filter_map(|layer| layer["name"].as_str()).map(str::len).max().unwrap_or(0).max(22);
    say!("\n{:longest$} {:38} {:>12} {:>12}", "layer", "what", "output", "parameters");
    for layer in layers {
        let text = |key: &str| layer[key].as_str().unwrap_or_default();
        let activation =
            if text("activation") == "none" { String::new() } else { format!(", {}", text("activation")) };
        let tied = if layer["tied"] == true { "  (weight shared)" } else { "" };
        let what = format!("{}{activation}", text("layer"));
        say!(
            "{:longest$} {what:38} {:>12} {:>12}{tied}",
            text("name"),
            text("output"),
            number(&layer["parameters"])
        );
    }
    let million = facts["operations_per_image"].as_f64().unwrap_or(0.0) / 1e6;
    let together = longest + 52;
    say!("{:together$} {:>12}", "together", number(&facts["parameters"]));
    say!("one pass over an image takes {million:.1} million operations");
    let run = &facts["run"];
    if run.is_object() {
        say!("\ndata     {}", run["data"].as_str().unwrap_or_default());
        match run["last"].as_object() {
            None => say!("progress no epoch of {} is finished yet", run["epochs"]),
            Some(last) => {
                say!("progress epoch {} of {}, step {}", last["epoch"], run["epochs"], last["step"]);
                let nats = |key: &str| last.get(key).and_then(Value::as_f64).map(|nats| format!("{nats:.2}"));
                for (name, part) in [("training", "train"), ("held out", "valid")] {
                    if let [Some(elbo), Some(reconstruction), Some(kl)] =
                        ["negative_elbo", "reconstruction", "kl"].map(|key| nats(&format!("{part}_{key}")))
                    {
                        say!("{name} −ELBO {elbo} nats per image (reconstruction {reconstruction}, KL {kl})");
                    }
                }
                if let (Some(epoch), Some(loss)) =
                    (run["best_epoch"].as_u64(), run["best_valid_loss"].as_f64())
                {
                    say!("best     epoch {epoch}, held-out loss {loss:.2}");
                }
            }
        }
    }
}

/// The facts in a run's configuration and table of metrics. If the table cannot be read, the model is still
/// described.
fn run_facts(folder: &Path, config: &Config) -> Value {
    let text = std::fs::read_to_string(folder.join("metrics.csv")).unwrap_or_default();
    let metrics = Metrics::parse(&text);
    let number = |cell: String| match (cell.parse::<u64>(), cell.parse::<f64>()) {
        (Ok(whole), _) => Value::from(whole),
        (_, Ok(number)) => Value::from(number),
        _ => Value::Null,
    };
    let last = metrics.last().map(|row| {
        let cells = COLUMNS.iter().zip(row.cells());
        cells.map(|(name, cell)| ((*name).to_owned(), number(cell))).collect::<Map<String, Value>>()
    });
    let best = metrics.best();
    json!({
        "data": config.data.display().to_string(),
        "epochs": config.epochs(),
        "seed": config.seed,
        "last": last,
        "best_valid_loss": best.map(|(_, losses)| losses.loss),
        "best_epoch": best.map(|(row, _)| row.epoch),
    })
}

fn data_facts(data: &Dataset) -> Map<String, Value> {
    let shown = if data.train.count > 0 { &data.train } else { data.test.as_ref().unwrap_or(&data.train) };
    let parts = [Some(&data.train), data.test.as_ref()];
    let (mut low, mut high) = (f32::INFINITY, f32::NEG_INFINITY);
    for images in parts.into_iter().flatten() {
        let (a, b) = images.pixels.extent();
        (low, high) = (low.min(a), high.max(b));
    }
    let labels = |labels: Option<&Labels>| -> Value {
        let Some(labels) = labels else { return Value::Null };
        let mut counts = vec![0_usize; labels.names.len()];
        labels.ids.iter().for_each(|&id| counts[id as usize] += 1);
        let named = labels.names.iter().zip(counts).filter(|(_, count)| *count > 0);
        named.map(|(name, images)| json!({ "name": name, "images": images })).collect()
    };
    let facts = json!({
        "kind": "data",
        "path": data.path.display().to_string(),
        "description": data.description,
        "images": data.train.count,
        "test_images": data.test.as_ref().map_or(0, |images| images.count),
        "height": shown.height,
        "width": shown.width,
        "channels": shown.channels,
        "values": if shown.pixels.is_bytes() { "bytes" } else { "floats" },
        "black": shown.range.low,
        "white": shown.range.high,
        "smallest": low,
        "largest": high,
        "labels": labels(data.labels.as_ref()),
        "test_labels": labels(data.test_labels.as_ref()),
        "skipped": data.skipped.iter().map(|path| path.display().to_string()).collect::<Vec<_>>(),
        "notes": data.notes,
    });
    let Value::Object(facts) = facts else { unreachable!("written as an object just above") };
    facts
}

fn print_data(facts: &Value) {
    say!("data     {}", facts["path"].as_str().unwrap_or_default());
    say!("what     {}", facts["description"].as_str().unwrap_or_default());
    say!(
        "values   from {} to {}; {} stands for black and {} for white",
        facts["smallest"],
        facts["largest"],
        facts["black"],
        facts["white"]
    );
    for (name, key) in [("labels", "labels"), ("test", "test_labels")] {
        let Some(labels) = facts[key].as_array() else { continue };
        let one = |label: &Value| {
            format!("{} ({})", printable(label["name"].as_str().unwrap_or_default()), label["images"])
        };
        let mut shown: Vec<String> = labels.iter().take(20).map(one).collect();
        if labels.len() > 20 {
            shown.push(format!("and {} more", labels.len() - 20));
        }
        say!("{name:8} {}", shown.join(", "));
    }
}

/// Some images, spread evenly over all.
fn contact_sheet(data: &Dataset) -> Picture {
    let images = if data.train.count > 0 { &data.train } else { data.test.as_ref().unwrap_or(&data.train) };
    let shown = images.count.min(CONTACTS);
    // A step of exactly count/shown would show one class only if the classes alternate.
    let turn = (images.count / shown.max(1)).max(1);
    let indices: Vec<usize> = (0..shown).map(|i| i * images.count / shown + i % turn).collect();
    let size = ImageShape::new(images.height, images.width, images.channels);
    let filler = Filler { span: Span::Unit, binarize: None, seed: 0 };
    Picture::sheet(&pictures(images, &indices, &filler), size, ROW)
}

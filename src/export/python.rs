//! The network as Python text. Each layer writes its own code ([`Describe::torch`]). Here the modules become
//! groups with the names of the model file, and the lines become the bodies of `encode` and `decode`.
//!
//! A decoder layer that shares an encoder's weight has only a bias, as in the model file, and calls the
//! function (`F.linear`, `F.conv_transpose2d`) with that weight.

use std::fmt::Write;

use crate::data::Span;
use crate::layers::{Describe, Torch};
use crate::model::Vae;
use crate::model::config::ModelConfig;

/// The file with placeholders.
const TEMPLATE: &str = include_str!("model.py");

/// A layer with only a bias.
const BIAS: &str = "class Bias(nn.Module):
    \"\"\"A layer of which only the bias is its own; its weight is another layer's.\"\"\"

    def __init__(self, size):
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(size))


";

/// Usage of the class, without labels and with them.
const USE: &str = "    pictures = vae.sample(16)                  # N x C x H x W, values in [0, 1]
    mu, log_variance = vae.encode(vae.to_span(pictures))
    again = vae.to_unit(vae.mean(vae.decode(mu)))";
const USE_WITH_LABELS: &str =
    "    c = vae.condition([vae.labels[0]] * 16)    # N x labels: 1 for the label of each picture
    pictures = vae.sample(c)                   # N x C x H x W, values in [0, 1]
    mu, log_variance = vae.encode(vae.to_span(pictures), c)
    again = vae.to_unit(vae.mean(vae.decode(mu, c)))";

/// Drawing pictures, without labels and with them.
const SAMPLE: &str = "    @torch.inference_mode()
    def sample(self, count):
        \"\"\"Pictures from the prior.\"\"\"
        z = torch.randn(count, self.latent, device=self.shared.mu.bias.device)
        return self.to_unit(self.mean(self.decode(z)))";
const SAMPLE_WITH_LABELS: &str = "    def condition(self, names):
        \"\"\"The condition c for some names of labels: a row for each, 1 for its label and 0 for the others.\"\"\"
        numbers = torch.tensor([self.labels.index(name) for name in names], device=self.shared.mu.bias.device)
        return F.one_hot(numbers, len(self.labels)).float()

    @torch.inference_mode()
    def sample(self, c):
        \"\"\"Pictures from the prior, one for each row of the condition.\"\"\"
        z = torch.randn(len(c), self.latent, device=c.device)
        return self.to_unit(self.mean(self.decode(z, c)))";

/// The complete file.
pub(super) fn write(model: &Vae<f32>) -> String {
    let (c, a) = (model.config(), model.architecture());
    let mut encoder = Torch::new(&a.ties, true);
    a.encoder.torch("", &mut encoder);
    encoder.need_vector();
    let mut heads = Torch::new(&a.ties, false);
    ["shared.mu", "shared.log_variance"].iter().for_each(|name| a.shared.head.torch(name, &mut heads));
    let mut decoder = Torch::new(&a.ties, false);
    a.decoder.torch("", &mut decoder);
    decoder.need_image(a.decoder.output());

    let modules: Vec<(String, String)> =
        [&encoder, &heads, &decoder].iter().flat_map(|part| part.modules.clone()).collect();
    let symmetric = c.span() == Span::Symmetric;
    let pick = |which: bool, yes: &str, no: &str| if which { yes.to_owned() } else { no.to_owned() };
    let settings: Vec<String> =
        c.likelihood.settings().iter().map(|(name, value)| format!("{name} {value}")).collect();
    let comment = if settings.is_empty() { String::new() } else { format!("  # {}", settings.join(", ")) };
    let likelihood = format!("\"{}\"{comment}", c.likelihood);
    let with_labels = c.classes() > 0;
    let gaps = [
        ("@USE@", pick(with_labels, USE_WITH_LABELS, USE)),
        ("@SAMPLE@", pick(with_labels, SAMPLE_WITH_LABELS, SAMPLE)),
        ("@C@", pick(with_labels, ", c", "")),
        ("@EXPECTED_C@", pick(with_labels, ", expected[\"condition\"]", "")),
        ("@TITLE@", title(c)),
        ("@BIAS@", pick(a.ties.is_empty(), "", BIAS)),
        ("@OUTPUT@", c.likelihood.output_meaning()),
        ("@LATENT@", c.latent.to_string()),
        ("@CHANNELS@", c.channels.to_string()),
        ("@HEIGHT@", c.height.to_string()),
        ("@WIDTH@", c.width.to_string()),
        ("@LIKELIHOOD@", likelihood),
        ("@INIT@", groups(&modules)),
        ("@ENCODE@", indented(&encoder.lines)),
        ("@DECODE@", decode(&decoder)),
        ("@MEAN@", c.likelihood.torch_mean()),
        ("@SPAN@", pick(symmetric, "[-1, 1]", "[0, 1]")),
        ("@TO_SPAN@", pick(symmetric, "2 * pictures - 1", "pictures")),
        ("@TO_UNIT@", pick(symmetric, "(x + 1) / 2", "x")),
        // Replaced last: a label may have the name of a placeholder.
        ("@NAMES@", names(&c.labels)),
    ];
    gaps.iter().fold(TEMPLATE.to_owned(), |text, (gap, value)| text.replace(gap, value))
}

/// The tuple of the labels' names; empty without labels.
fn names(labels: &[String]) -> String {
    if labels.is_empty() {
        return String::new();
    }
    // A JSON string is also a Python string.
    let names: Vec<String> =
        labels.iter().map(|name| serde_json::Value::from(name.as_str()).to_string()).collect();
    format!("    labels = ({})\n", names.join(", "))
}

fn title(c: &ModelConfig) -> String {
    format!(
        "A variational autoencoder for images of {}: the preset {} with {} latent dimensions{}{}.",
        c.image().to_string().replace('×', "x"),
        c.preset.name(),
        c.latent,
        if c.tie_weights { " and tied weights" } else { "" },
        if c.labels.is_empty() { String::new() } else { format!(", conditional on {} labels", c.classes()) }
    )
}

/// The lines that create the modules: a dictionary for each group of dotted names, nested like the names.
fn groups(modules: &[(String, String)]) -> String {
    let mut text = String::new();
    let mut open: Vec<&str> = Vec::new();
    let pad = |depth: usize| " ".repeat(8 + 4 * depth);
    // Groups in the order of their first member; those of `shared` may come in two parts.
    let mut sorted: Vec<&(String, String)> = modules.iter().collect();
    let group = |name: &str| name.split('.').next().map_or(0, |first| first.len());
    let rank = |name: &str| {
        ["encoder", "shared", "decoder"].iter().position(|g| g.len() == group(name) && name.starts_with(g))
    };
    sorted.sort_by_key(|(name, _)| rank(name));
    for (name, made) in sorted {
        let mut parts: Vec<&str> = name.split('.').collect();
        let last = parts.pop().unwrap_or_default();
        let common = open.iter().zip(&parts).take_while(|(a, b)| a == b).count();
        while open.len() > common {
            open.pop();
            let end = if open.is_empty() { "})" } else { "})," };
            writeln!(text, "{}{end}", pad(open.len())).expect("a string takes all");
        }
        for part in &parts[common..] {
            let begin = if open.is_empty() { format!("self.{part} = ") } else { format!("\"{part}\": ") };
            writeln!(text, "{}{begin}nn.ModuleDict({{", pad(open.len())).expect("a string takes all");
            open.push(part);
        }
        writeln!(text, "{}\"{last}\": {made},", pad(open.len())).expect("a string takes all");
    }
    while open.pop().is_some() {
        let end = if open.is_empty() { "})" } else { "})," };
        writeln!(text, "{}{end}", pad(open.len())).expect("a string takes all");
    }
    text.trim_end().to_owned()
}

/// The body of `decode`, with short names for the groups that it uses.
fn decode(decoder: &Torch<'_>) -> String {
    let uses = |short: &str| {
        let short = format!("{short}.");
        decoder.lines.iter().any(|line| {
            line.split(|c: char| !(c.is_alphanumeric() || c == '.' || c == '_'))
                .any(|word| word.starts_with(&short))
        })
    };
    let named: Vec<(&str, &str)> = [("d", "self.decoder"), ("e", "self.encoder"), ("s", "self.shared")]
        .into_iter()
        .filter(|(short, _)| uses(short))
        .collect();
    let join = |part: fn(&(&str, &str)) -> String| named.iter().map(part).collect::<Vec<_>>().join(", ");
    let mut lines =
        vec![format!("{} = {}", join(|(short, _)| (*short).into()), join(|(_, name)| (*name).into()))];
    lines.push("x = z".into());
    lines.extend(decoder.lines.iter().cloned());
    lines.push("return x".into());
    indented(&lines)
}

fn indented(lines: &[String]) -> String {
    lines.iter().map(|line| format!("        {line}")).collect::<Vec<_>>().join("\n")
}

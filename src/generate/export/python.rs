//! The network as Python text: each stage becomes a line where it is made and a line where it is used.
//!
//! A transposed convolution in PyTorch starts from its small side, and several large sides lead to the same small one;
//! `output_padding` says which was meant. Here the large side H is known, so it is what is missing: H − ((h − 1)·S − 2P + K).
//!
//! A decoder layer that uses an encoder's weight has a bias only, as in the model file, and calls the function
//! (`F.linear`, `F.conv_transpose2d`) with that weight.

use std::fmt::Write;

use crate::data::Span;
use crate::layers::Activation;
use crate::loss::Likelihood;
use crate::model::Vae;
use crate::model::config::ModelConfig;
use crate::model::network::{Layer, Stage};

/// The file with its gaps.
const TEMPLATE: &str = include_str!("model.py");

/// The layer of a bias alone.
const BIAS: &str = "class Bias(nn.Module):
    \"\"\"A layer of which only the bias is its own; its weight is another layer's.\"\"\"

    def __init__(self, size):
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(size))


";

/// The complete file.
pub(super) fn write(model: &Vae<f32>) -> String {
    let (c, a) = (model.config(), model.architecture());
    let writer = Writer { model };
    let symmetric = c.span() == Span::Symmetric;
    let logits = !c.likelihood.output_is_mean();
    let needs_bias = a.decoder.iter().any(|stage| writer.borrowed(stage).is_some());
    let pick = |which: bool, yes: &str, no: &str| if which { yes.to_owned() } else { no.to_owned() };
    let likelihood = match c.likelihood {
        Likelihood::Gaussian { sigma } => format!("\"gaussian\"  # sigma {sigma}"),
        Likelihood::Laplace { scale } => format!("\"laplace\"  # scale {scale}"),
        Likelihood::OptimalGaussian { variance: Some(variance) } => {
            format!("\"optimal-gaussian\"  # variance {variance}")
        }
        other => format!("\"{}\"", other.name()),
    };
    let gaps = [
        ("@TITLE@", title(c)),
        ("@BIAS@", pick(needs_bias, BIAS, "")),
        ("@OUTPUT@", pick(logits, "logits of the pixels", "the pixels' means")),
        ("@LATENT@", c.latent.to_string()),
        ("@CHANNELS@", c.channels.to_string()),
        ("@HEIGHT@", c.height.to_string()),
        ("@WIDTH@", c.width.to_string()),
        ("@LIKELIHOOD@", likelihood),
        ("@INIT@", writer.init()),
        ("@ENCODE@", writer.encode()),
        ("@DECODE@", writer.decode()),
        ("@MEAN@", pick(logits, "torch.sigmoid(output)", "output")),
        ("@SPAN@", pick(symmetric, "[-1, 1]", "[0, 1]")),
        ("@TO_SPAN@", pick(symmetric, "2 * pictures - 1", "pictures")),
        ("@TO_UNIT@", pick(symmetric, "(x + 1) / 2", "x")),
    ];
    gaps.iter().fold(TEMPLATE.to_owned(), |text, (gap, value)| text.replace(gap, value))
}

fn title(c: &ModelConfig) -> String {
    format!(
        "A variational autoencoder for images of {}x{}x{}: the preset {} with {} latent dimensions{}.",
        c.height,
        c.width,
        c.channels,
        c.preset.name(),
        c.latent,
        if c.tie_weights { " and tied weights" } else { "" }
    )
}

/// channels x height x width.
fn shown((height, width, channels): (usize, usize, usize)) -> String {
    format!("{channels}x{height}x{width}")
}

/// What a layer makes of an image, where it makes one.
fn output_size(layer: &Layer) -> Option<(usize, usize, usize)> {
    match layer {
        Layer::Linear(_) => None,
        Layer::Conv2d(l) => Some((l.geometry.small_height, l.geometry.small_width, l.filters)),
        Layer::ConvTranspose2d(l) => Some((l.geometry.height, l.geometry.width, l.geometry.channels)),
        Layer::MaxPool2d(l) => Some((l.output_size().0, l.output_size().1, l.channels)),
    }
}

/// The image that a layer takes, where it takes one.
fn input_size(layer: &Layer) -> Option<(usize, usize, usize)> {
    match layer {
        Layer::Linear(_) => None,
        Layer::Conv2d(l) => Some((l.geometry.height, l.geometry.width, l.geometry.channels)),
        Layer::ConvTranspose2d(l) => {
            Some((l.geometry.small_height, l.geometry.small_width, l.small_channels))
        }
        Layer::MaxPool2d(l) => Some((l.height, l.width, l.channels)),
    }
}

/// One number, or a pair where rows and columns differ.
fn pair(rows: usize, columns: usize) -> String {
    if rows == columns { rows.to_string() } else { format!("({rows}, {columns})") }
}

/// Stride, padding and output padding of a layer's convolution, as arguments; what is PyTorch's default is left out.
fn arguments(layer: &Layer) -> String {
    let mut text = String::new();
    let (Layer::Conv2d(crate::layers::Conv2d { geometry: g, .. })
    | Layer::ConvTranspose2d(crate::layers::ConvTranspose2d { geometry: g, .. })) = layer
    else {
        return text;
    };
    if g.stride != 1 {
        write!(text, ", stride={}", g.stride).expect("a string takes all");
    }
    if g.padding != 0 {
        write!(text, ", padding={}", g.padding).expect("a string takes all");
    }
    if matches!(layer, Layer::ConvTranspose2d(_)) {
        let missing = |large: usize, small: usize, kernel: usize| {
            (large + 2 * g.padding).saturating_sub((small - 1) * g.stride + kernel)
        };
        let rows = missing(g.height, g.small_height, g.kernel_height);
        let columns = missing(g.width, g.small_width, g.kernel_width);
        if rows + columns > 0 {
            write!(text, ", output_padding={}", pair(rows, columns)).expect("a string takes all");
        }
    }
    text
}

fn activated(activation: Activation, call: String) -> String {
    match activation {
        Activation::Identity => call,
        Activation::Relu => format!("F.relu({call})"),
        Activation::Sigmoid => format!("torch.sigmoid({call})"),
        Activation::Tanh => format!("torch.tanh({call})"),
    }
}

struct Writer<'m> {
    model: &'m Vae<f32>,
}

impl Writer<'_> {
    /// The name of the layer whose weight a stage uses, where it is not its own.
    fn borrowed(&self, stage: &Stage) -> Option<&str> {
        let table = &self.model.architecture().table;
        let owner = table.parameters.iter().find(|p| p.range == stage.weight && !stage.weight.is_empty())?;
        let owner = owner.name.strip_suffix(".weight")?;
        (owner != stage.name).then_some(owner)
    }

    /// The layers, in groups with PyTorch's names.
    fn init(&self) -> String {
        let a = self.model.architecture();
        let head = a.shared.head;
        let mut groups = [("encoder", Vec::new()), ("shared", Vec::new()), ("decoder", Vec::new())];
        for head_name in ["mu", "log_variance"] {
            groups[1].1.push((head_name.to_owned(), format!("nn.Linear({}, {})", head.inputs, head.outputs)));
        }
        for stage in a.encoder.iter().chain(&a.decoder).filter(|stage| !stage.bias.is_empty()) {
            let (group, name) = stage.name.split_once('.').unwrap_or(("decoder", &stage.name));
            let made = self.made(stage);
            let group = groups.iter_mut().find(|(known, _)| *known == group).expect("one of the three");
            group.1.push((name.to_owned(), made));
        }
        let mut text = String::new();
        for (group, layers) in groups {
            writeln!(text, "        self.{group} = nn.ModuleDict({{").expect("a string takes all");
            for (name, made) in layers {
                writeln!(text, "            \"{name}\": {made},").expect("a string takes all");
            }
            text.push_str("        })\n");
        }
        text.trim_end().to_owned()
    }

    /// The call that makes a layer.
    fn made(&self, stage: &Stage) -> String {
        if self.borrowed(stage).is_some() {
            return format!("Bias({})", stage.bias.len());
        }
        match &stage.layer {
            Layer::Linear(l) => format!("nn.Linear({}, {})", l.inputs, l.outputs),
            Layer::Conv2d(l) => {
                let kernel = pair(l.geometry.kernel_height, l.geometry.kernel_width);
                let (from, to) = (l.geometry.channels, l.filters);
                format!("nn.Conv2d({from}, {to}, {kernel}{})", arguments(&stage.layer))
            }
            Layer::ConvTranspose2d(l) => {
                let kernel = pair(l.geometry.kernel_height, l.geometry.kernel_width);
                let (from, to) = (l.small_channels, l.geometry.channels);
                format!("nn.ConvTranspose2d({from}, {to}, {kernel}{})", arguments(&stage.layer))
            }
            Layer::MaxPool2d(_) => unreachable!("pooling has no parameters"),
        }
    }

    fn encode(&self) -> String {
        let mut lines = Vec::new();
        let mut image = true;
        for stage in &self.model.architecture().encoder {
            if image && matches!(stage.layer, Layer::Linear(_)) {
                lines.push("x = x.flatten(1)".to_owned());
                image = false;
            }
            lines.push(self.used(stage, "x", "e"));
        }
        indented(&lines)
    }

    fn decode(&self) -> String {
        let (c, stages) = (self.model.config(), &self.model.architecture().decoder);
        let mut lines = vec![if self.model.config().tie_weights {
            "d, e, s = self.decoder, self.encoder, self.shared".to_owned()
        } else if stages.iter().any(|stage| stage.name.starts_with("shared")) {
            "d, s = self.decoder, self.shared".to_owned()
        } else {
            "d = self.decoder".to_owned()
        }];
        for (at, stage) in stages.iter().enumerate() {
            lines.push(self.used(stage, if at == 0 { "z" } else { "x" }, "d"));
            // From a row of numbers to an image: before the first convolution, or at the end.
            let next = stages.get(at + 1);
            if matches!(stage.layer, Layer::Linear(_)) {
                let size = match next.map(|next| &next.layer) {
                    None => Some((c.height, c.width, c.channels)),
                    Some(layer) => input_size(layer),
                };
                if let Some((height, width, channels)) = size {
                    lines.push(format!("x = x.view(-1, {channels}, {height}, {width})"));
                }
            }
        }
        lines.push("return x".into());
        indented(&lines)
    }

    /// The line in which a stage is used.
    fn used(&self, stage: &Stage, input: &str, short: &str) -> String {
        let name = stage.name.split_once('.').map_or(stage.name.as_str(), |(_, name)| name);
        let short = if stage.name.starts_with("shared") { "s" } else { short };
        let call = match (&stage.layer, self.borrowed(stage)) {
            (Layer::MaxPool2d(l), _) => format!("F.max_pool2d({input}, {})", l.window),
            (_, None) => format!("{short}.{name}({input})"),
            (layer, Some(owner)) => {
                let owner = owner.replace("encoder.", "e.").replace("shared.", "s.");
                if let Layer::Linear(_) = layer {
                    format!("F.linear({input}, {owner}.weight.t(), {short}.{name}.bias)")
                } else {
                    let rest = arguments(layer);
                    format!("F.conv_transpose2d({input}, {owner}.weight, {short}.{name}.bias{rest})")
                }
            }
        };
        let line = format!("x = {}", activated(stage.activation, call));
        match output_size(&stage.layer) {
            Some(size) => format!("{line}  # {}", shown(size)),
            None => line,
        }
    }
}

fn indented(lines: &[String]) -> String {
    lines.iter().map(|line| format!("        {line}")).collect::<Vec<_>>().join("\n")
}

//! The options of a training as a person writes them: flags of the command line and keys of a config file, which are the same.
//!
//! Every option has one name, `--beta-warmup 5` on the command line and `beta-warmup = 5` in the file. Both end up in
//! [`TrainOptions`], where nothing is decided yet: a missing option is `None`. Flags win over the file ([`TrainOptions::or`]), and
//! [`Config`](super::config::Config) fills in what neither has.
//!
//! A config file is strict: a key that no option has is an error which suggests the nearest one, because a misspelt option that is
//! silently ignored costs a night.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::text::names::did_you_mean;
use crate::text::printable;

/// The version of the config file's keys; it grows where an older program would misread a newer file.
pub const CONFIG_VERSION: u64 = 1;

/// The longest config file, in bytes.
const LONGEST: u64 = 64 * 1024;

/// Defines a struct of optional options once: for the config file always, for the command line where there is one.
macro_rules! options {
    ($(#[$meta:meta])* $name:ident { $($(#[$field_meta:meta])* $field:ident: $type:ty,)* }) => {
        #[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
        #[cfg_attr(feature = "cli", derive(clap::Args))]
        #[serde(rename_all = "kebab-case", default)]
        $(#[$meta])*
        pub struct $name {
            $($(#[$field_meta])* #[serde(skip_serializing_if = "Option::is_none")] pub $field: Option<$type>,)*
        }

        impl $name {
            /// The names of the options, as the config file has them.
            pub const KEYS: &'static [&'static str] = &[$(stringify!($field)),*];

            /// These options, and where one is missing that of `other`.
            pub fn or(self, other: Self) -> Self {
                Self { $($field: self.$field.or(other.$field),)* }
            }
        }
    };
}

options! {
    /// Where images come from and what they are turned into.
    #[cfg_attr(feature = "cli", command(next_help_heading = "Images"))]
    DataOptions {
        /// A folder or .zip of pictures, a folder of MNIST files, an .npy, .npz or IDX file (also .gz) [default: the
        /// bundled MNIST]
        #[cfg_attr(feature = "cli", arg(long, value_name = "PATH"))]
        data: PathBuf,
        /// Resize to N×N or H×W pixels, by area averages (smaller) or bilinearly (larger)
        #[cfg_attr(feature = "cli", arg(long, value_name = "N|HxW"))]
        size: String,
        /// For pictures of another aspect ratio: crop the centre, pad with the background, or stretch [default: crop]
        #[cfg_attr(feature = "cli", arg(long, value_name = "HOW"))]
        fit: String,
        /// Convert to one channel
        #[cfg_attr(feature = "cli", arg(long, num_args = 0, default_missing_value = "true", conflicts_with = "rgb"))]
        grey: bool,
        /// Convert to three channels
        #[cfg_attr(feature = "cli", arg(long, num_args = 0, default_missing_value = "true"))]
        rgb: bool,
        /// Colour behind transparent pixels and for --fit pad: white, black or #rrggbb [default: white]
        #[cfg_attr(feature = "cli", arg(long, value_name = "COLOUR"))]
        background: String,
        /// Axes of an array whose shape is ambiguous: nhw, nhwc or nchw
        #[cfg_attr(feature = "cli", arg(long, value_name = "AXES"))]
        layout: String,
        /// Name of the image array in an .npz with several arrays
        #[cfg_attr(feature = "cli", arg(long, value_name = "NAME"))]
        array: String,
        /// Values of black and white, if they are detected wrongly
        #[cfg_attr(feature = "cli", arg(long, value_name = "LO,HI", allow_hyphen_values = true))]
        range: String,
        /// Ignore image files that cannot be read
        #[cfg_attr(feature = "cli", arg(long, num_args = 0, default_missing_value = "true"))]
        skip_bad: bool,
        /// Memory limit for images and models; pixels that need more than half of it are read from a cache file
        /// [default: 8GiB]
        #[cfg_attr(feature = "cli", arg(long, value_name = "SIZE"))]
        max_memory: String,
        /// Make each pixel black or white: threshold (above ½), static (drawn once), dynamic (drawn in every epoch)
        #[cfg_attr(feature = "cli", arg(long, value_name = "HOW"))]
        binarize: String,
        /// Random changes of training images in every epoch: flip (left and right), shift (by up to a sixteenth), or
        /// flip,shift
        #[cfg_attr(feature = "cli", arg(long, value_name = "HOW"))]
        augment: String,
    }
}

options! {
    /// The network and how it is trained.
    // Without this, what has no heading of its own would stand under the one before.
    #[cfg_attr(feature = "cli", command(next_help_heading = None::<&'static str>))]
    ModelOptions {
        /// The network: conv, residual, article or mlp [default: conv; chosen from the data for colour and large
        /// pictures]
        #[cfg_attr(feature = "cli", arg(long, value_name = "NAME", help_heading = "Network"))]
        preset: String,
        /// Dimensions of the latent code [default: 32; mlp: 20, residual: 128]
        #[cfg_attr(feature = "cli", arg(long, value_name = "N", help_heading = "Network"))]
        latent: usize,
        /// Channels of the convolutions of conv and residual [default: 32,64, and more for larger images]
        #[cfg_attr(feature = "cli", arg(long, value_name = "N,N", value_delimiter = ',', help_heading = "Network"))]
        channels: Vec<usize>,
        /// Residual blocks after each halving, only in residual [default: 1]
        #[cfg_attr(feature = "cli", arg(long, value_name = "N", help_heading = "Network"))]
        blocks: usize,
        /// Predict each pixel from the pixels before it too, by a network with N hidden units; needs a likelihood of
        /// bytes [default: off; without N: 64]
        #[cfg_attr(feature = "cli", arg(long, value_name = "N", num_args = 0..=1, default_missing_value = "64", help_heading = "Network"))]
        context: usize,
        /// Inputs of that network: values, or for photographs differences to a prediction from the neighbours
        /// [default: differences in colour, else values]
        #[cfg_attr(feature = "cli", arg(long, value_name = "NAME", help_heading = "Network"))]
        context_inputs: String,
        /// Widths of the hidden linear layers of conv and mlp [default: 256; mlp: 400]
        #[cfg_attr(feature = "cli", arg(long, value_name = "N,N", value_delimiter = ',', help_heading = "Network"))]
        hidden: Vec<usize>,
        /// Begin with the network and the weights of a model: a run folder or a model file
        #[cfg_attr(feature = "cli", arg(long, value_name = "MODEL", help_heading = "Network"))]
        start_from: PathBuf,
        /// Use the encoder's weights, transposed, in the decoder (conv and mlp)
        #[cfg_attr(feature = "cli", arg(long, num_args = 0, default_missing_value = "true", help_heading = "Network"))]
        tie_weights: bool,
        /// Give encoder and decoder the label of each image: a conditional model
        #[cfg_attr(feature = "cli", arg(long, num_args = 0, default_missing_value = "true", help_heading = "Network"))]
        conditional: bool,
        /// Learn to classify from the labels of this file (lines of file,label, or a list with a line for each image) and all images without
        #[cfg_attr(feature = "cli", arg(long, value_name = "FILE", conflicts_with = "labelled", help_heading = "Network"))]
        labels: PathBuf,
        /// The same with the labels of N images of each class, chosen by the seed
        #[cfg_attr(feature = "cli", arg(long, value_name = "N", help_heading = "Network"))]
        labelled: usize,
        /// bernoulli, squared-error, gaussian, optimal-gaussian or laplace; for bytes discretized-logistic, logistic-mixture or
        /// beta-binomial [default: bernoulli; article: squared-error]
        #[cfg_attr(feature = "cli", arg(long, value_name = "NAME", help_heading = "Objective"))]
        likelihood: String,
        /// σ of the gaussian likelihood, in units of the scaled pixels [default: 0.1]
        #[cfg_attr(feature = "cli", arg(long, value_name = "F", allow_negative_numbers = true, help_heading = "Objective"))]
        sigma: f64,
        /// b of the laplace likelihood, in units of the scaled pixels [default: 0.1]
        #[cfg_attr(feature = "cli", arg(long, value_name = "F", allow_negative_numbers = true, help_heading = "Objective"))]
        scale: f64,
        /// K of the logistic-mixture likelihood, from 1 to 32 [default: 5]
        #[cfg_attr(feature = "cli", arg(long, value_name = "K", help_heading = "Objective"))]
        components: usize,
        /// kl, or jeffreys: half of KL(q‖p) + KL(p‖q) [default: kl]
        #[cfg_attr(feature = "cli", arg(long, value_name = "NAME", help_heading = "Objective"))]
        divergence: String,
        /// Weight of the divergence, β [default: 1]
        #[cfg_attr(feature = "cli", arg(long, value_name = "F", allow_negative_numbers = true, help_heading = "Objective"))]
        beta: f64,
        /// Epochs over which β grows from 0 to its value [default: 0]
        #[cfg_attr(feature = "cli", arg(long, value_name = "EPOCHS", allow_negative_numbers = true, help_heading = "Objective"))]
        beta_warmup: f64,
        /// KL per latent dimension that is not penalized, in nats [default: 0]
        #[cfg_attr(feature = "cli", arg(long, value_name = "NATS", allow_negative_numbers = true, help_heading = "Objective"))]
        free_bits: f64,
        /// Target of the divergence in nats, which grows from 0 to this value over all epochs
        #[cfg_attr(feature = "cli", arg(long, value_name = "NATS", allow_negative_numbers = true, help_heading = "Objective"))]
        capacity: f64,
        /// joint, or alternating: update the encoder, then the decoder on reconstruction alone [default: joint]
        #[cfg_attr(feature = "cli", arg(long, value_name = "NAME", help_heading = "Training"))]
        schedule: String,
        /// Passes over the training images [default: 10; for few images as many as give 1000 steps, at most 200]
        #[cfg_attr(feature = "cli", arg(long, value_name = "N", help_heading = "Training"))]
        epochs: u64,
        /// Then train the decoder for N epochs against a discriminator, for sharper pictures; the encoder stays
        /// unchanged [default: none; without N: 5]
        #[cfg_attr(feature = "cli", arg(long, value_name = "N", num_args = 0..=1, default_missing_value = "5", help_heading = "Training"))]
        adversarial: u64,
        /// Images per step [default: 128, or fewer for few images]
        #[cfg_attr(feature = "cli", arg(long, value_name = "N", help_heading = "Training"))]
        batch: usize,
        /// Adam's learning rate [default: 0.001]
        #[cfg_attr(feature = "cli", arg(long, value_name = "F", allow_negative_numbers = true, help_heading = "Training"))]
        lr: f64,
        /// Learning-rate schedule: constant, cosine or step [default: constant]
        #[cfg_attr(feature = "cli", arg(long, value_name = "NAME", help_heading = "Training"))]
        lr_schedule: String,
        /// Epochs over which the learning rate grows from 0 to its value [default: 0]
        #[cfg_attr(feature = "cli", arg(long, value_name = "EPOCHS", allow_negative_numbers = true, help_heading = "Training"))]
        lr_warmup: f64,
        /// Decoupled weight decay [default: 0]
        #[cfg_attr(feature = "cli", arg(long, value_name = "F", allow_negative_numbers = true, help_heading = "Training"))]
        weight_decay: f64,
        /// Scale gradients down to this norm if theirs is larger [default: no limit]
        #[cfg_attr(feature = "cli", arg(long, value_name = "F", allow_negative_numbers = true, help_heading = "Training"))]
        clip_norm: f64,
        /// Judge and save an exponential moving average of the weights, with this decay per step, such as 0.999
        /// [default: 0, none]
        #[cfg_attr(feature = "cli", arg(long, value_name = "F", allow_negative_numbers = true, help_heading = "Training"))]
        weight_average: f64,
        /// Reaction to a gradient norm far above the usual: skip the step, or stop [default: only count it]
        #[cfg_attr(feature = "cli", arg(long, value_name = "WHAT", help_heading = "Training"))]
        on_spike: String,
        /// Seed of all randomness [default: 0]
        #[cfg_attr(feature = "cli", arg(long, value_name = "N", help_heading = "Training"))]
        seed: u64,
        /// Training images held out for validation [default: 5000, at most a tenth]
        #[cfg_attr(feature = "cli", arg(long, value_name = "N", help_heading = "Training"))]
        valid: usize,
        /// Stop after this number of epochs without a better validation loss
        #[cfg_attr(feature = "cli", arg(long, value_name = "EPOCHS", help_heading = "Training"))]
        patience: u64,
        /// Stop after this number of steps
        #[cfg_attr(feature = "cli", arg(long, value_name = "N", help_heading = "Training"))]
        max_steps: u64,
        /// Precision of the factors of matrix products: f32, or bf16, which is faster and needs a processor with
        /// AVX512-BF16 [default: f32]
        #[cfg_attr(feature = "cli", arg(long, value_name = "NAME", help_heading = "Training"))]
        precision: String,
        /// Time between checkpoints, besides one after each epoch: 0.1s, 30s, 5m, 1h [default: 5m]
        #[cfg_attr(feature = "cli", arg(long, value_name = "TIME", help_heading = "Run"))]
        checkpoint_every: String,
        /// Number of threads [default: one per core]
        #[cfg_attr(feature = "cli", arg(long, value_name = "N", help_heading = "Run"))]
        threads: usize,
    }
}

/// All options of a training.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(clap::Args))]
pub struct TrainOptions {
    /// Those about images.
    #[cfg_attr(feature = "cli", command(flatten))]
    #[serde(flatten)]
    pub data: DataOptions,
    /// Those about network and training.
    #[cfg_attr(feature = "cli", command(flatten))]
    #[serde(flatten)]
    pub model: ModelOptions,
}

impl TrainOptions {
    /// These options, and where one is missing that of `other`.
    pub fn or(self, other: Self) -> Self {
        Self { data: self.data.or(other.data), model: self.model.or(other.model) }
    }

    /// Reads a config file.
    ///
    /// # Errors
    /// Where it cannot be read, or as [`parse`](Self::parse).
    pub fn read(path: &Path) -> Result<Self> {
        let length = path.metadata().map_err(|error| Error::io("read", path, error))?.len();
        if length > LONGEST {
            let message = format!("is {length} bytes long; a config file has at most {LONGEST}");
            return Err(Error::data(path, message));
        }
        Self::parse(&std::fs::read_to_string(path).map_err(|error| Error::io("read", path, error))?, path)
    }

    /// Reads a config file's text; `path` is for messages.
    ///
    /// # Errors
    /// Where it is no TOML, has a key that no option has, a value of the wrong kind, or a newer version.
    pub fn parse(text: &str, path: &Path) -> Result<Self> {
        // A parser that nests as deep as the file does is stopped before it starts.
        if text.len() as u64 > LONGEST {
            let message = format!("is {} bytes long; a config file has at most {LONGEST}", text.len());
            return Err(Error::data(path, message));
        }
        let not_toml = |error: toml::de::Error| {
            let line = error.span().map(|span| text[..span.start.min(text.len())].matches('\n').count() + 1);
            let at = line.map_or(String::new(), |line| format!("line {line}: "));
            Error::data(path, format!("{at}{}", error.message().replace('\n', " ")))
        };
        let mut table: toml::Table = text.parse().map_err(not_toml)?;
        match table.remove("config-version") {
            None => {}
            Some(toml::Value::Integer(version)) if version <= CONFIG_VERSION as i64 => {}
            Some(version) => {
                return Err(Error::data(
                    path,
                    format!(
                        "has config-version {version}, of a newer elbo; this one reads up to {CONFIG_VERSION}"
                    ),
                ));
            }
        }
        let keys = || DataOptions::KEYS.iter().chain(ModelOptions::KEYS).map(|key| key.replace('_', "-"));
        if let Some(unknown) = table.keys().find(|key| !keys().any(|known| known == **key)) {
            let near = did_you_mean(unknown, keys());
            return Err(Error::data(path, format!("no option is called {}{near}", printable(unknown))));
        }
        table.clone().try_into().map_err(|error: toml::de::Error| {
            // The error does not say which option it is about: it is the one that is refused alone, too.
            let alone = |(key, value): (&String, &toml::Value)| {
                toml::Table::from_iter([(key.clone(), value.clone())])
            };
            let refused = |entry: &(&String, &toml::Value)| alone(*entry).try_into::<Self>().is_err();
            let key = table.iter().find(refused).map_or("", |(key, _)| key.as_str());
            // The parser names types as Rust does.
            let message = error.message().replace('\n', " ");
            let message = ["usize", "u64", "f64"].into_iter().fold(message, |text, kind| {
                let plain = if kind == "f64" { "a number" } else { "a whole number from 0" };
                text.replace(&format!("expected {kind}"), &format!("expected {plain}"))
            });
            Error::data(path, format!("{key}: {message}"))
        })
    }

    /// The text of a config file with these options.
    pub fn to_toml(&self) -> String {
        let options = toml::to_string(self).expect("options are numbers, texts and lists");
        format!("config-version = {CONFIG_VERSION}\n{options}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<TrainOptions> {
        TrainOptions::parse(text, Path::new("c.toml"))
    }

    #[test]
    fn what_is_written_is_read_back_and_flags_win() {
        let file =
            parse("preset = \"mlp\"\nlatent = 20\nhidden = [256]\ntie-weights = true\nlr = 1e-3\n").unwrap();
        assert_eq!(parse(&file.to_toml()).unwrap(), file);
        let flags = TrainOptions {
            model: ModelOptions { latent: Some(2), ..Default::default() },
            ..Default::default()
        };
        let both = flags.or(file);
        assert_eq!((both.model.latent, both.model.preset.as_deref()), (Some(2), Some("mlp")));
    }

    #[test]
    fn an_unknown_key_is_refused_with_the_nearest() {
        for (key, near) in
            [("btach", "batch"), ("beta_warmup", "beta-warmup"), ("learning", ""), ("epoch", "epochs")]
        {
            let error = parse(&format!("{key} = 1")).unwrap_err().to_string();
            assert!(error.contains(key), "{error}");
            assert!(near.is_empty() || error.contains(&format!("did you mean {near}?")), "{error}");
        }
    }

    #[test]
    fn wrong_kinds_versions_and_depths_are_refused_with_their_place() {
        let ten = parse("lr = 0.1\nepochs = \"ten\"").unwrap_err().to_string();
        assert!(
            ten.starts_with("c.toml: epochs: ") && ten.ends_with("expected a whole number from 0"),
            "{ten}"
        );
        assert!(parse("\nlr = = 3").unwrap_err().to_string().contains("line 2"));
        assert!(parse("config-version = 99").unwrap_err().to_string().contains("newer elbo"));
        assert!(parse(&format!("data = {}", "[".repeat(30_000))).is_err());
        assert!(parse(&"#".repeat(100_000)).unwrap_err().to_string().contains("at most"));
    }

    /// All keys, as a file has them.
    fn keys() -> Vec<String> {
        DataOptions::KEYS.iter().chain(ModelOptions::KEYS).map(|key| key.replace('_', "-")).collect()
    }

    #[test]
    fn every_option_has_its_key_in_files() {
        // A value of each kind, of which each key takes one or another; what was read is written under the same key.
        let mut file = String::new();
        for key in keys() {
            let lines = ["true", "7", "0.5", "\"text\"", "[3, 4]"].map(|value| format!("{key} = {value}\n"));
            let line = lines
                .iter()
                .find(|line| parse(line).is_ok())
                .unwrap_or_else(|| panic!("{key} takes no value"));
            let written = parse(line).unwrap().to_toml();
            assert!(
                written.lines().any(|written| written.starts_with(&format!("{key} = "))),
                "{key}: {written}"
            );
            file += line;
        }
        // And no option is missing among the keys: all of them set leaves none unset.
        let all = parse(&file).unwrap();
        assert_eq!(parse(&all.to_toml()).unwrap(), all);
        let unset = format!("{all:?}").matches("None").count();
        assert_eq!(unset, 0, "{all:?}");
    }

    #[cfg(feature = "cli")]
    #[test]
    fn flags_and_keys_have_the_same_names() {
        let command = <TrainOptions as clap::Args>::augment_args(clap::Command::new("train"));
        let flags: Vec<String> =
            command.get_arguments().map(|flag| flag.get_long().expect("a long flag").to_string()).collect();
        assert_eq!(flags, keys());
    }
}

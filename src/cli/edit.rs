//! `elbo edit`: adds an attribute to images.

use std::path::{Path, PathBuf};

use clap::Args;

use super::common::{Ending, Opened};
use super::pictures::{Output, Shown};
use crate::error::{Error, Result};
use crate::generate::edit::{apply, attribute, of_class};
use crate::model::Codec;
use crate::train::DataOptions;

/// Add an attribute to images, given by two labels or two folders of examples
#[derive(Debug, Args)]
#[command(
    after_help = "A sheet has a row for each image: the image itself, then a picture for each strength."
)]
pub(super) struct Edit {
    /// A run folder or a model file [default: the newest run]
    run: Option<PathBuf>,
    /// Label of images without the attribute
    #[arg(long, value_name = "A", requires = "to_label", conflicts_with_all = ["without", "with"])]
    from_label: Option<String>,
    /// Label of images with the attribute
    #[arg(long, value_name = "B", requires = "from_label")]
    to_label: Option<String>,
    /// Examples without the attribute: a folder or file like --data
    #[arg(long, value_name = "PATH", requires = "with")]
    without: Option<PathBuf>,
    /// Examples with the attribute
    #[arg(long, value_name = "PATH", requires = "without")]
    with: Option<PathBuf>,
    /// Amounts of the attribute: 1 adds the whole difference, 0 nothing, a negative number the opposite
    #[arg(
        long,
        value_name = "F,F,…",
        value_delimiter = ',',
        allow_hyphen_values = true,
        default_values_t = [-0.5_f32, 0.0, 0.5, 1.0, 1.5]
    )]
    strength: Vec<f32>,
    /// Decode with this label instead of each image's own, for a conditional model
    #[arg(long, value_name = "L")]
    as_label: Option<String>,
    /// Images to change, by their numbers from 0 [default: the first 8; with --from-label of that label]
    #[arg(long, value_name = "I,J,…", value_delimiter = ',')]
    images: Option<Vec<usize>>,
    /// A sheet (.png), the changed images as numbers (.npy), or a folder of PNG files (a name without
    /// extension)
    #[arg(long, value_name = "FILE", default_value = "edit.png", help_heading = "Output")]
    out: PathBuf,
    /// Label of all images, for a conditional model [default: each image's own]
    #[arg(long, value_name = "L")]
    label: Option<String>,
    #[command(flatten)]
    data: DataOptions,
}

/// The default number of images to change.
const DEFAULT_IMAGES: usize = 8;

impl Edit {
    pub(super) fn run(self) -> Result<Ending> {
        let output = Output::new(&self.out)?;
        if let Some(strength) = self.strength.iter().find(|strength| !strength.is_finite()) {
            return Err(Error::config(format!("--strength {strength} must be a number")));
        }
        if self.from_label.is_none() && self.with.is_none() {
            return Err(Error::config(
                "no attribute is given; name two labels with --from-label and --to-label, or two folders of examples with --without and --with",
            ));
        }
        if self.from_label.is_some() && self.from_label == self.to_label {
            return Err(Error::config(
                "--from-label and --to-label are the same; an attribute is the difference of two",
            ));
        }
        let opened = Opened::new(self.run.as_deref(), self.data.load_options()?.max_memory)?;
        let (latent, mut codec) = (opened.model.config().latent, Codec::new(&opened.model));
        let shown = Shown::new(&opened, &self.data, self.label.as_deref())?;
        let count = self.images.as_ref().map_or(shown.len().min(DEFAULT_IMAGES), Vec::len);
        let pictures = count.saturating_mul(self.strength.len() + 1);
        let beside = shown.bytes(&opened, shown.len());
        output.room_for(&opened, beside, (pictures, 2), "fewer --images or --strength")?;
        let mut first: Vec<usize> = (0..shown.len().min(DEFAULT_IMAGES)).collect();
        let direction = match (&self.from_label, &self.to_label, &self.without, &self.with) {
            (Some(from), Some(to), _, _) => {
                let labels = shown.labels.as_ref().ok_or_else(|| {
                    Error::config("these images have no labels; give two folders of examples instead: --without and --with")
                })?;
                let (from, to) = (of_class(labels, from)?, of_class(labels, to)?);
                let (without, with) = (shown.at(&from)?, shown.at(&to)?);
                first = from.into_iter().take(DEFAULT_IMAGES).collect();
                attribute(
                    &shown.encode(&mut codec, &without).mu,
                    &shown.encode(&mut codec, &with).mu,
                    latent,
                )?
            }
            (_, _, Some(without), Some(with)) => {
                let mut codes = |path: &Path| -> Result<Vec<f32>> {
                    let options = DataOptions { data: Some(path.into()), ..self.data.clone() };
                    let examples = Shown::new(&opened, &options, self.label.as_deref())?;
                    let bytes = beside + examples.bytes(&opened, examples.len());
                    opened.room_for(
                        bytes,
                        "the images and the examples take",
                        "a folder of fewer examples",
                    )?;
                    Ok(examples.encode(&mut codec, &examples.indices).mu)
                };
                attribute(&codes(without)?, &codes(with)?, latent)?
            }
            _ => unreachable!("the command line asks for both of a pair"),
        };
        let indices = shown.at(self.images.as_deref().unwrap_or(&first))?;
        let codes = shown.encode(&mut codec, &indices).mu;
        let (len, columns) = (opened.model.config().pixels(), self.strength.len());
        let config = opened.model.config();
        let labels = match &self.as_label {
            Some(label) => config.same_label(config.label(label)?, indices.len()),
            None => shown.numbers(&indices),
        }
        .into_iter();
        let labels: Vec<u32> = labels.flat_map(|label| std::iter::repeat_n(label, columns)).collect();
        let edited = codec.decode_as(&apply(&codes, &direction, &self.strength), &labels);
        match output {
            Output::Png(_) => {
                let originals = shown.pictures(&indices);
                let rows = originals.chunks_exact(len).zip(edited.chunks_exact(columns * len));
                let sheet: Vec<f32> =
                    rows.flat_map(|(image, row)| image.iter().chain(row).copied()).collect();
                output.write(&sheet, opened.model.config().image(), columns + 1)?;
            }
            _ => output.write(&edited, opened.model.config().image(), columns)?,
        }
        Ok(Ending::Done)
    }
}

//! `elbo traverse`: shows the effect of each latent dimension.

use std::path::PathBuf;

use clap::Args;

use super::common::{Ending, Opened, named_values};
use super::pictures::{Output, Shown};
use crate::error::{Error, Result};
use crate::evaluate::judgement::ACTIVE_VARIANCE;
use crate::generate::traverse::{Measure, activity, rows, values};
use crate::model::Codec;
use crate::train::DataOptions;

/// Show the effect of each latent dimension, the most active first
#[derive(Debug, Args)]
pub(super) struct Traverse {
    /// A run folder or a model file [default: the newest run]
    run: Option<PathBuf>,
    /// Start from the code of this image of the data, counted from 0 [default: code 0, the prior's mean]
    #[arg(long, value_name = "I")]
    image: Option<usize>,
    /// Number of dimensions [default: all]
    #[arg(long, value_name = "N")]
    rows: Option<usize>,
    /// Measure of a dimension's activity: its mean KL, or the variance of its μ
    #[arg(long, value_parser = named_values::<Measure>(), default_value_t = Measure::Kl)]
    by: Measure,
    /// Values in a row, from −reach to reach
    #[arg(long, value_name = "N", default_value_t = 11)]
    steps: usize,
    /// Largest change of a dimension, in standard deviations of the prior
    #[arg(long, value_name = "F", default_value_t = 3.0, allow_negative_numbers = true)]
    reach: f64,
    /// Number of images on which activity is measured
    #[arg(long, value_name = "N", default_value_t = 1000)]
    count: usize,
    /// A sheet (.png), numbers (.npy), or a folder of PNG files (a name without extension)
    #[arg(long, value_name = "FILE", default_value = "traverse.png", help_heading = "Output")]
    out: PathBuf,
    /// Label of the pictures, for a conditional model [default: that of the image, or the first]
    #[arg(long, value_name = "L")]
    label: Option<String>,
    #[command(flatten)]
    data: DataOptions,
}

impl Traverse {
    pub(super) fn run(self) -> Result<Ending> {
        let output = Output::new(&self.out)?;
        // Steps and reach are checked alone: the room for the values is known with the model.
        values(self.reach, self.steps.min(2))?;
        if self.rows == Some(0) {
            return Err(Error::config("--rows 0 shows nothing; it must be at least 1"));
        }
        let opened = Opened::new(self.run.as_deref(), self.data.load_options()?.max_memory)?;
        let rows_shown = self.rows.unwrap_or(usize::MAX).min(opened.model.config().latent);
        let pictures = self.steps.saturating_mul(rows_shown);
        output.room_for(&opened, 0, (pictures, 1), "a smaller --steps or --rows")?;
        let values = values(self.reach, self.steps)?;
        let shown = Shown::new(&opened, &self.data, self.label.as_deref())?;
        let (latent, mut codec) = (opened.model.config().latent, Codec::new(&opened.model));
        let (start, label) = match self.image {
            Some(image) => {
                let image = shown.at(&[image])?;
                (shown.encode(&mut codec, &image).mu, shown.numbers(&image).first().copied())
            }
            None => (vec![0.0; latent], None),
        };
        let config = opened.model.config();
        let given = self.label.as_deref().map(|label| config.label(label)).transpose()?;
        let label = given.or(label).unwrap_or(0);
        let shown = shown.take(None, Some(self.count))?;
        shown.room_for_codes(&opened)?;
        let all = activity(&shown.encode(&mut codec, &shown.indices), latent, self.by);
        let chosen = &all[..rows_shown];
        say!("over {} {}:", shown.len(), shown.what);
        say!("row  dimension  KL (nats)  variance of μ");
        for (row, a) in chosen.iter().enumerate() {
            let active = if a.variance > ACTIVE_VARIANCE { "" } else { "  not active" };
            say!("{:>3}  {:>9}  {:>9.3}  {:>13.4}{active}", row + 1, a.dimension, a.kl, a.variance);
        }
        let dimensions: Vec<usize> = chosen.iter().map(|a| a.dimension).collect();
        let labels = config.same_label(label, dimensions.len() * values.len());
        let pictures = codec.decode_as(&rows(&start, &dimensions, &values), &labels);
        output.write(&pictures, opened.model.config().image(), values.len())?;
        Ok(Ending::Done)
    }
}

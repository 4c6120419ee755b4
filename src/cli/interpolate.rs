//! `elbo interpolate`: interpolates between images.

use std::path::PathBuf;

use clap::Args;

use super::common::{Ending, Opened, named_values};
use super::pictures::{Output, Shown};
use crate::error::{Error, Result};
use crate::generate::interpolate::Walk;
use crate::model::Codec;
use crate::train::DataOptions;

/// Interpolate from one image to another, and from that to the next
#[derive(Debug, Args)]
#[command(
    after_help = "A sheet has a row for each pair: the first image, the decoded path between the two codes, the second image."
)]
pub(super) struct Interpolate {
    /// A run folder or a model file [default: the newest run]
    run: Option<PathBuf>,
    /// Images of the data, by their numbers from 0 [default: 0,1]
    #[arg(long, value_name = "I,J,…", value_delimiter = ',', conflicts_with = "files")]
    images: Option<Vec<usize>>,
    /// Two or more image files, from anywhere
    #[arg(long, value_name = "FILE", num_args = 2.., conflicts_with = "data")]
    files: Option<Vec<PathBuf>>,
    /// The path through the latent space
    #[arg(long, value_parser = named_values::<Walk>(), default_value_t = Walk::Straight)]
    path: Walk,
    /// Pictures on a path, both ends included
    #[arg(long, value_name = "N", default_value_t = 10)]
    steps: usize,
    /// A sheet (.png), the paths as numbers (.npy), or a folder of PNG files (a name without extension)
    #[arg(long, value_name = "FILE", default_value = "interpolate.png", help_heading = "Output")]
    out: PathBuf,
    /// Label of all images, for a conditional model [default: each image's own]
    #[arg(long, value_name = "L")]
    label: Option<String>,
    #[command(flatten)]
    data: DataOptions,
}

impl Interpolate {
    pub(super) fn run(self) -> Result<Ending> {
        let output = Output::new(&self.out)?;
        let opened = Opened::new(self.run.as_deref(), self.data.load_options()?.max_memory)?;
        let mut codec = Codec::new(&opened.model);
        let (originals, codes, labels) = match &self.files {
            Some(files) => self.first_of_files(&opened, files, &mut codec)?,
            None => {
                let shown = Shown::new(&opened, &self.data, self.label.as_deref())?.or_all(2);
                let indices = shown.at(self.images.as_deref().unwrap_or(&[0, 1]))?;
                (shown.pictures(&indices), shown.encode(&mut codec, &indices).mu, shown.numbers(&indices))
            }
        };
        let (latent, len) = (opened.model.config().latent, opened.model.config().pixels());
        let count = codes.len() / latent;
        if count < 2 {
            return Err(Error::config(
                "an interpolation needs two images or more; --images I,J or --files A B name them",
            ));
        }
        // Each path is drawn, laid out on the sheet and collected.
        let pictures = self.steps.saturating_mul(count - 1);
        output.room_for(&opened, 0, (pictures, 3), "a smaller --steps")?;
        let (mut paths, mut sheet) = (Vec::new(), Vec::new());
        for pair in 0..count - 1 {
            let (a, b) = (&codes[pair * latent..][..latent], &codes[(pair + 1) * latent..][..latent]);
            // The label of a path is that of its nearer end.
            let label = |step: usize| labels.get(if 2 * step < self.steps { pair } else { pair + 1 });
            let labels: Vec<u32> = (0..self.steps).filter_map(|step| label(step).copied()).collect();
            let drawn = codec.decode_as(&self.path.strip(a, b, self.steps)?, &labels);
            sheet.extend_from_slice(&originals[pair * len..][..len]);
            sheet.extend_from_slice(&drawn);
            sheet.extend_from_slice(&originals[(pair + 1) * len..][..len]);
            paths.extend(drawn);
        }
        match output {
            Output::Png(_) => output.write(&sheet, opened.model.config().image(), self.steps + 2)?,
            _ => output.write(&paths, opened.model.config().image(), self.steps)?,
        }
        Ok(Ending::Done)
    }

    /// The first image of each file, its code and its label.
    fn first_of_files(
        &self,
        opened: &Opened,
        files: &[PathBuf],
        codec: &mut Codec<'_>,
    ) -> Result<(Vec<f32>, Vec<f32>, Vec<u32>)> {
        let (mut originals, mut codes, mut labels) = (Vec::new(), Vec::new(), Vec::new());
        for file in files {
            let options = DataOptions { data: Some(file.clone()), ..self.data.clone() };
            let shown = Shown::new(opened, &options, self.label.as_deref())?;
            let first = shown.at(&[0])?;
            originals.extend(shown.pictures(&first));
            codes.extend(shown.encode(codec, &first).mu);
            labels.extend(shown.numbers(&first));
        }
        Ok((originals, codes, labels))
    }
}

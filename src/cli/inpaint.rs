//! `elbo inpaint`: fills in missing pixels of images.

use std::path::PathBuf;

use clap::{ArgGroup, Args};

use super::common::{Ending, Opened, named_values};
use super::pictures::{Output, Shown, interleave};
use crate::data::{Color, LoadOptions};
use crate::error::{Error, Result};
use crate::generate::inpaint::{Given, Half, Inpaint as Filling, Mask};
use crate::model::Codec;
use crate::tensor::ImageShape;
use crate::train::DataOptions;

/// Fill in missing pixels by repeated encoding and decoding
#[derive(Debug, Args)]
#[command(
    group(ArgGroup::new("what").required(true).args(["mask", "rectangle", "half"])),
    override_usage = "elbo inpaint [OPTIONS] <--mask FILE|--box Y,X,H,W|--half HALF> [RUN]",
    after_help = "A sheet has a row for each image: the image, its known pixels, and the result after 1, 2, 4, … rounds."
)]
pub(super) struct Inpaint {
    /// A run folder or a model file [default: the newest run]
    run: Option<PathBuf>,
    /// A picture of the size of the images; its white pixels are missing
    #[arg(long, value_name = "FILE")]
    mask: Option<PathBuf>,
    /// The missing rectangle: row and column of its upper left pixel, height, width
    #[arg(long = "box", value_name = "Y,X,H,W", value_parser = parse_box)]
    rectangle: Option<[usize; 4]>,
    /// The missing half
    #[arg(long, value_parser = named_values::<Half>())]
    half: Option<Half>,
    /// Rounds of encoding and decoding
    #[arg(long, value_name = "N", default_value_t = 32)]
    steps: usize,
    /// Use the mean of each posterior instead of a draw
    #[arg(long)]
    mean: bool,
    /// Seed of the first noise and the draws
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// Images, by their numbers from 0 [default: the first 8]
    #[arg(long, value_name = "I,J,…", value_delimiter = ',')]
    images: Option<Vec<usize>>,
    /// A sheet (.png), the filled images as numbers (.npy), or a folder of PNG files (a name without
    /// extension)
    #[arg(long, value_name = "FILE", default_value = "inpaint.png", help_heading = "Output")]
    out: PathBuf,
    /// Label of all images, for a conditional model [default: each image's own]
    #[arg(long, value_name = "L")]
    label: Option<String>,
    #[command(flatten)]
    data: DataOptions,
}

/// The value of a missing pixel on a sheet.
const UNKNOWN: f32 = 0.5;

impl Inpaint {
    pub(super) fn run(self) -> Result<Ending> {
        let output = Output::new(&self.out)?;
        let load = self.data.load_options()?;
        let opened = Opened::new(self.run.as_deref(), load.max_memory)?;
        let size @ ImageShape { height, width, channels } = opened.model.config().image();
        let mask = match (&self.mask, self.rectangle, self.half) {
            (Some(path), _, _) => {
                // A mask is read unchanged, even if images are converted.
                let options = LoadOptions {
                    color: Some(Color::Grey),
                    max_memory: load.max_memory,
                    ..LoadOptions::default()
                };
                let data = crate::data::load(path, &options, &|_, _| ())?;
                Mask::from_images(&data.train, (height, width))
                    .map_err(|error| Error::data(path, error.to_string()))?
            }
            (_, Some(rectangle), _) => Mask::from_box((height, width), rectangle)?,
            (_, _, Some(half)) => Mask::half((height, width), half)?,
            _ => unreachable!("the command line asks for one of them"),
        };
        let shown = Shown::new(&opened, &self.data, self.label.as_deref())?;
        let first: Vec<usize> = (0..shown.len().min(8)).collect();
        let indices = shown.at(self.images.as_deref().unwrap_or(&first))?;
        let filling = Filling { steps: self.steps, draw: !self.mean, seed: self.seed };
        // Image, covered image and stages; beside them the current image, the model's input and its output.
        let pictures = indices.len().saturating_mul(2 + filling.stages().len());
        let working = indices.len() as u64 * 3 * 4 * size.len() as u64;
        let beside = shown.bytes(&opened, indices.len()) + working;
        output.room_for(&opened, beside, (pictures, 2), "fewer --images or --steps")?;
        let originals = shown.pictures(&indices);
        let labels = shown.numbers(&indices);
        let given = Given { values: &originals, labels: &labels, indices: &indices, filler: &shown.filler };
        let stages = filling.run(&mut Codec::new(&opened.model), &given, &mask)?;
        match (&output, stages.last()) {
            (Output::Png(_), _) => {
                let covered = mask.cover(&originals, channels, UNKNOWN);
                let mut columns = vec![&originals[..], &covered[..]];
                columns.extend(stages.iter().map(Vec::as_slice));
                let sheet = interleave(&columns, opened.model.config().pixels());
                output.write(&sheet, size, columns.len())?;
            }
            (_, Some(last)) => output.write(last, size, 1)?,
            (_, None) => unreachable!("there is always a last stage"),
        }
        Ok(Ending::Done)
    }
}

fn parse_box(text: &str) -> std::result::Result<[usize; 4], String> {
    let numbers: std::result::Result<Vec<usize>, _> = text.split(',').map(|n| n.trim().parse()).collect();
    numbers
        .ok()
        .and_then(|numbers| numbers.try_into().ok())
        .ok_or_else(|| "four numbers are needed: y,x,height,width, like 8,8,12,12".to_owned())
}

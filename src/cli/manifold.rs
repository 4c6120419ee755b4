//! `elbo manifold`: maps of the latent space.

use std::path::PathBuf;

use clap::Args;

use super::common::{Ending, Opened};
use super::pictures::{Output, Shown, parse_axes};
use crate::error::{Error, Result};
use crate::generate::manifold::{Projection, draw_grid, project};
use crate::model::Codec;
use crate::report::svg::Scatter;
use crate::storage::atomic::refuse_existing;
use crate::train::DataOptions;

/// Draw a map of the latent space, as a grid of pictures or as points
#[derive(Debug, Args)]
#[command(
    after_help = "The grid is evenly spaced in the quantiles of the prior. With more than two latent dimensions, a grid needs --axes, and the \
                  other dimensions are 0; points use the first two principal components unless --axes is given."
)]
pub(super) struct Manifold {
    /// A run folder or a model file [default: the newest run]
    run: Option<PathBuf>,
    /// A grid (.png, .npy or a folder) or points (.svg) [default: manifold.png with at most two latent
    /// dimensions, else manifold.svg]
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    out: Option<PathBuf>,
    /// The two latent dimensions of the axes, counted from 0
    #[arg(long, value_name = "I,J", value_parser = parse_axes)]
    axes: Option<(usize, usize)>,
    /// Pictures on a side of the grid
    #[arg(long, value_name = "N", default_value_t = 20)]
    side: usize,
    /// Number of images drawn as points, from the first [default: all]
    #[arg(long, value_name = "N")]
    count: Option<usize>,
    /// Label of the pictures, for a conditional model [default: the first; points: each image's own]
    #[arg(long, value_name = "L")]
    label: Option<String>,
    #[command(flatten)]
    data: DataOptions,
}

impl Manifold {
    pub(super) fn run(self) -> Result<Ending> {
        // Before the model is read, so that the error comes at once.
        self.out.as_deref().map_or(Ok(()), refuse_existing)?;
        let opened = Opened::new(self.run.as_deref(), self.data.load_options()?.max_memory)?;
        let latent = opened.model.config().latent;
        let default = if latent <= 2 { "manifold.png" } else { "manifold.svg" };
        let out = self.out.clone().unwrap_or_else(|| PathBuf::from(default));
        refuse_existing(&out)?;
        if out.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("svg")) {
            self.scatter(&opened, &out)?;
            return Ok(Ending::Done);
        }
        let output = Output::new(&out)?;
        let axes = match (self.axes, latent) {
            (Some(axes), _) => axes,
            (None, 1 | 2) => (0, 1),
            (None, _) => {
                return Err(Error::config(format!(
                    "a grid shows two of the model's {latent} latent dimensions; --axes I,J chooses them (`elbo traverse` lists the most \
                     active), or --out FILE.svg draws the codes of images"
                )));
            }
        };
        let pictures = self.side.saturating_mul(if latent == 1 { 1 } else { self.side });
        output.room_for(&opened, 0, (pictures, 1), "a smaller --side")?;
        let label = self.label.as_deref().map(|label| opened.model.config().label(label)).transpose()?;
        let pictures = draw_grid(&mut Codec::new(&opened.model), axes, self.side, label)?;
        output.write(&pictures, opened.model.config().image(), self.side)?;
        Ok(Ending::Done)
    }

    fn scatter(&self, opened: &Opened, out: &std::path::Path) -> Result<()> {
        let latent = opened.model.config().latent;
        let projection = match (self.axes, latent) {
            (Some((x, y)), _) => Projection::Axes(x, y),
            (None, 2) => Projection::Axes(0, 1),
            (None, _) => Projection::Principal,
        };
        // The axes are checked before images are read.
        project(&[], latent, &projection)?;
        let shown = Shown::new(opened, &self.data, self.label.as_deref())?.take(self.count, None)?;
        shown.room_for_codes(opened)?;
        let codes = shown.encode(&mut Codec::new(&opened.model), &shown.indices);
        let map = project(&codes.mu, latent, &projection)?;
        let title = format!("μ of {} {}", shown.len(), shown.what);
        let (classes, names) =
            shown.labels.as_ref().map_or((&[][..], &[][..]), |labels| (&labels.ids[..], &labels.names[..]));
        let axes = (map.axes.0.as_str(), map.axes.1.as_str());
        Scatter { title: &title, axes, points: &map.points, classes, names }.save_new(out)?;
        say!("wrote {}", out.display());
        Ok(())
    }
}

//! `elbo explore`: writes a page for exploring the latent space.

use std::fs;
use std::path::{Path, PathBuf};

use clap::Args;

use super::common::{Ending, Opened};
use super::pictures::{Shown, refuse_other};
use crate::data::Labels;
use crate::error::Result;
use crate::explore::{Exploration, Images};
use crate::model::Codec;
use crate::report::grouped;
use crate::report::page::with_explorer;
use crate::storage::atomic::{refuse_existing, write_atomically, write_new};
use crate::storage::system::system;
use crate::train::DataOptions;

/// The most images whose codes are measured: for the axes of the map, the activity of dimensions, and the
/// mixture.
const MEASURED: usize = 2000;

/// Write a self-contained page that explores the latent space in a browser
#[derive(Debug, Args)]
#[command(
    after_help = "Without --data: the test images of the run's data; if there are none, the images that the run held out; else all.\n\
                  Weights are stored in half precision. If the page would be larger than 3 MB, large weights get 8 to 12 bits, \
                  provided that this is accurate enough."
)]
pub(super) struct Explore {
    /// A run folder or a model file [default: the newest run]
    run: Option<PathBuf>,
    /// The page [default: explore.html beside the model]
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    out: Option<PathBuf>,
    /// Number of images on the map, from the first [default: up to 300, fewer if they are large]
    #[arg(long, value_name = "N")]
    count: Option<usize>,
    /// Label of all images, for a conditional model [default: each image's own]
    #[arg(long, value_name = "L")]
    label: Option<String>,
    #[command(flatten)]
    data: DataOptions,
}

impl Explore {
    pub(super) fn run(self) -> Result<Ending> {
        self.out.as_deref().map_or(Ok(()), |out| refuse_other("--out", out, "html"))?;
        let opened = Opened::new(self.run.as_deref(), self.data.load_options()?.max_memory)?;
        let out = self.out.clone().unwrap_or_else(|| opened.folder().join("explore.html"));
        refuse_existing(&out)?;
        let config = opened.model.config();
        // As many as are measured, even if fewer are shown.
        let asked = self.count.filter(|count| !(1..=MEASURED).contains(count));
        let shown = Shown::new(&opened, &self.data, self.label.as_deref())?.take(asked, Some(MEASURED))?;
        let count = self.count.unwrap_or(Images::default_count(config)).min(shown.len());
        // The pictures, their thumbnails, and the page with them.
        opened.room_for_pictures(0, (count, 3), true, "a smaller --count")?;
        let codes = shown.encode(&mut Codec::new(&opened.model), &shown.indices);
        let on_map = &shown.indices[..count];
        let images = Images {
            what: shown.what.into(),
            pictures: shown.pictures(on_map),
            codes,
            labels: shown
                .labels
                .as_ref()
                .map(|labels| Labels { ids: labels.ids[..count].to_vec(), names: labels.names.clone() }),
            conditions: shown.numbers(on_map),
        };
        let folder = opened.folder();
        let absolute = std::path::absolute(&opened.path).unwrap_or_else(|_| opened.path.clone());
        let named = if opened.config.is_some() { absolute.parent() } else { Some(&*absolute) };
        let name = named.and_then(|path| path.file_name()).unwrap_or_default().to_string_lossy().into_owned();
        let beside = out.parent() == Some(folder) && folder.join("report.html").is_file();
        let report = beside.then(|| "report.html".to_owned());
        let (page, precision) =
            Exploration { name, model: &opened.model, images: &images, report }.to_html()?;
        write_new(system(), &out, |file| file.write_all(page.as_bytes()))?;
        if beside && out.file_name().is_some_and(|name| name == "explore.html") {
            link_from(&folder.join("report.html"));
        }
        say!(
            "wrote {} ({} bytes, {count} {}; weights: {precision})",
            out.display(),
            grouped(page.len()),
            shown.what
        );
        say!("next: open it in a browser");
        Ok(Ending::Done)
    }
}

/// Puts a link to the page into the run's report. The report is optional: if it cannot be read or written, it
/// stays unchanged.
fn link_from(report: &Path) {
    let linked = fs::read_to_string(report).ok().and_then(|html| with_explorer(&html));
    if let Some(html) = linked {
        let _ = write_atomically(system(), report, |file| file.write_all(html.as_bytes()));
    }
}

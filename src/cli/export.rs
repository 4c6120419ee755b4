//! `elbo export`: exports the model for PyTorch.

use std::path::PathBuf;

use clap::Args;

use super::common::{Ending, Opened};
use crate::error::Result;
use crate::export::export;
use crate::storage::atomic::refuse_existing;
use crate::train::DataOptions;

/// Export the model for PyTorch: weights and a Python file that rebuilds the network
#[derive(Debug, Args)]
pub(super) struct Export {
    /// A run folder or a model file [default: the newest run]
    run: Option<PathBuf>,
    /// The folder to write
    #[arg(long, value_name = "DIR", default_value = "export", help_heading = "Output")]
    out: PathBuf,
    /// Memory limit for the model [default: 8GiB]
    #[arg(long, value_name = "SIZE")]
    max_memory: Option<String>,
}

impl Export {
    pub(super) fn run(self) -> Result<Ending> {
        refuse_existing(&self.out)?;
        let options = DataOptions { max_memory: self.max_memory, ..DataOptions::default() };
        let opened = Opened::new(self.run.as_deref(), options.load_options()?.max_memory)?;
        export(&opened.model, &self.out)?;
        let out = self.out.display();
        if opened.model.config().m2.is_some() {
            note!("the classifier trained with few labels is left out; elbo classify uses it");
        }
        say!("wrote {out}/model.safetensors, {out}/model.py and {out}/check.safetensors");
        say!("next: python {out}/model.py   (compares PyTorch's results with these; needs only torch)");
        Ok(Ending::Done)
    }
}

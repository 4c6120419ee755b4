//! `elbo traverse`.

use std::path::PathBuf;

use clap::Args;

use super::Ending;
use super::common::Opened;
use crate::error::Result;
use crate::train::DataOptions;

/// Traverse
#[derive(Debug, Args)]
pub(super) struct Traverse {
    /// A run folder or a model file [default: the newest run]
    run: Option<PathBuf>,
    #[command(flatten)]
    data: DataOptions,
}

impl Traverse {
    pub(super) fn run(self) -> Result<Ending> {
        let opened = Opened::new(self.run.as_deref(), self.data.load_options()?.max_memory)?;
        let _ = opened;
        Ok(Ending::Done)
    }
}

//! `elbo info`.

use std::path::PathBuf;

use clap::Args;

use super::Ending;
use super::common::Opened;
use crate::error::Result;
use crate::train::DataOptions;

/// Info
#[derive(Debug, Args)]
pub(super) struct Info {
    /// A run folder or a model file [default: the newest run]
    run: Option<PathBuf>,
    #[command(flatten)]
    data: DataOptions,
}

impl Info {
    pub(super) fn run(self) -> Result<Ending> {
        let opened = Opened::new(self.run.as_deref(), self.data.load_options()?.max_memory)?;
        let _ = opened;
        Ok(Ending::Done)
    }
}

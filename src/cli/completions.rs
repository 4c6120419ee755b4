//! `elbo completions`: prints a completion script for a shell.

use clap::Args;
use clap_complete::{Shell, generate};

use super::common::Ending;
use crate::error::Result;

/// Print a script that completes commands and options in a shell
#[derive(Debug, Args)]
pub(super) struct Completions {
    /// The shell
    shell: Shell,
}

impl Completions {
    /// Prints the script for the program that `program` defines.
    pub(super) fn run(self, mut program: clap::Command) -> Result<Ending> {
        // Printed as one text: the generator panics if it cannot write.
        let mut script = Vec::new();
        let name = program.get_name().to_owned();
        generate(self.shell, &mut program, name, &mut script);
        say!("{}", String::from_utf8_lossy(&script).trim_end());
        Ok(Ending::Done)
    }
}

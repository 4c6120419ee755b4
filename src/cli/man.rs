//! `elbo man`: man pages of the program and its commands, from the same definition as `--help`.

use std::io;
use std::path::PathBuf;

use clap::Args;
use clap_mangen::Man as Page;
use clap_mangen::roff::{Roff, roman};

use super::common::Ending;
use super::examples;
use crate::error::{Error, Result};
use crate::storage::atomic::{create_folder, refuse_existing, write_new};
use crate::storage::system::system;

/// Print the man page of the program or of a command
#[derive(Debug, Args)]
pub(super) struct Man {
    /// The command [default: the page of the program]
    command: Option<String>,
    /// Write the pages of the program and all commands into this new folder
    #[arg(long, value_name = "DIR", conflicts_with = "command", help_heading = "Output")]
    out: Option<PathBuf>,
}

impl Man {
    /// Prints or writes pages of the program that `program` defines, without examples.
    pub(super) fn run(self, program: clap::Command) -> Result<Ending> {
        let mut program = program.disable_help_subcommand(true);
        // Gives the commands their full names, such as elbo-train.
        program.build();
        if let Some(folder) = self.out {
            refuse_existing(&folder)?;
            let pages = std::iter::once(&program).chain(program.get_subcommands());
            let pages = pages.map(|command| Ok((file_name(command), page(command)?)));
            let pages = pages.collect::<Result<Vec<_>>>()?;
            create_folder(system(), &folder)?;
            for (name, text) in &pages {
                write_new(system(), &folder.join(name), |out| out.write_all(text.as_bytes()))?;
            }
            say!("wrote {} pages into {}", pages.len(), folder.display());
            return Ok(Ending::Done);
        }
        let command = match &self.command {
            None => &program,
            Some(name) => program.find_subcommand(name).ok_or_else(|| {
                let names: Vec<&str> = program.get_subcommands().map(clap::Command::get_name).collect();
                Error::config(format!("there is no command {name}; the commands are {}", names.join(", ")))
            })?,
        };
        say!("{}", page(command)?.trim_end());
        Ok(Ending::Done)
    }
}

/// elbo-train.1, for example.
fn file_name(command: &clap::Command) -> String {
    Page::new(command.clone()).get_filename()
}

/// The page of a command.
fn page(command: &clap::Command) -> Result<String> {
    let mut text = Vec::new();
    render(command, &mut text).map_err(|error| Error::io("write", "the man page", error))?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// The sections of clap_mangen, then the notes below the options and the examples, which it would run together.
fn render(command: &clap::Command, out: &mut Vec<u8>) -> io::Result<()> {
    let version = concat!("elbo ", env!("CARGO_PKG_VERSION"));
    let page = Page::new(command.clone()).source(version).manual("elbo");
    page.render_title(out)?;
    page.render_name_section(out)?;
    page.render_synopsis_section(out)?;
    page.render_description_section(out)?;
    page.render_options_section(out)?;
    if command.has_subcommands() {
        page.render_subcommands_section(out)?;
    }
    let mut rest = Roff::new();
    if let Some(notes) = command.get_after_help() {
        rest.control("SH", ["NOTES"]);
        for paragraph in notes.to_string().lines() {
            rest.text([roman(paragraph)]).control("PP", []);
        }
    }
    rest.control("SH", ["EXAMPLES"]).control("nf", []);
    for line in examples::lines(command.get_name()) {
        rest.text([roman(line)]);
    }
    rest.control("fi", []);
    rest.to_writer(out)
}

//! The command line: arguments into calls of the library, and results into text.
//!
//! A command is a file in this folder with its arguments and a `run` that calls the library and prints.
//!
//! Exit codes: 0 done, 1 an error (one sentence on standard error), 2 an invalid command line, 130 stopped by
//! Ctrl-C with everything saved.

#[macro_use]
mod say;

mod adversarial;
mod classify;
mod common;
mod compare;
mod completions;
mod compress;
mod decode;
mod decompress;
mod detect;
mod edit;
mod encode;
mod eval;
mod examples;
mod explore;
mod export;
mod info;
mod inpaint;
mod interpolate;
mod man;
mod manifold;
mod notes;
mod pictures;
#[cfg(feature = "mpi")]
mod ranks;
mod reconstruct;
mod sample;
mod score;
mod train;
mod traverse;

use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use common::Ending;

use crate::error::caught;

/// Variational autoencoders for images on the CPU: train one, then generate, edit, compress and judge images
#[derive(Debug, Parser)]
#[command(name = "elbo", version, max_term_width = 110)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
// One is made in a program's life.
#[allow(clippy::large_enum_variant)]
enum Command {
    Train(train::Train),
    Sample(sample::Sample),
    Reconstruct(reconstruct::Reconstruct),
    Encode(encode::Encode),
    Decode(decode::Decode),
    Interpolate(interpolate::Interpolate),
    Traverse(traverse::Traverse),
    Manifold(manifold::Manifold),
    Edit(edit::Edit),
    Inpaint(inpaint::Inpaint),
    Score(score::Score),
    Eval(eval::Eval),
    Compress(compress::Compress),
    Decompress(decompress::Decompress),
    Classify(classify::Classify),
    Detect(detect::Detect),
    Compare(compare::Compare),
    Info(info::Info),
    Export(export::Export),
    Explore(explore::Explore),
    Completions(completions::Completions),
    Man(man::Man),
}

/// The definition of the program: commands, options, examples.
fn definition() -> clap::Command {
    examples::added(Arguments::command())
}

/// Runs the program with the arguments that it was started with.
pub fn main() -> ExitCode {
    let mut program = definition();
    let matches = program.try_get_matches_from_mut(std::env::args_os()).unwrap_or_else(|error| error.exit());
    let arguments =
        Arguments::from_arg_matches(&matches).unwrap_or_else(|error| error.format(&mut program).exit());
    let ending = caught(|| match arguments.command {
        #[cfg(feature = "mpi")]
        Command::Train(command) => ranks::run(command),
        #[cfg(not(feature = "mpi"))]
        Command::Train(command) => command.run(),
        Command::Sample(command) => command.run(),
        Command::Reconstruct(command) => command.run(),
        Command::Encode(command) => command.run(),
        Command::Decode(command) => command.run(),
        Command::Interpolate(command) => command.run(),
        Command::Traverse(command) => command.run(),
        Command::Manifold(command) => command.run(),
        Command::Edit(command) => command.run(),
        Command::Inpaint(command) => command.run(),
        Command::Score(command) => command.run(),
        Command::Eval(command) => command.run(),
        Command::Compress(command) => command.run(),
        Command::Decompress(command) => command.run(),
        Command::Classify(command) => command.run(),
        Command::Detect(command) => command.run(),
        Command::Compare(command) => command.run(),
        Command::Info(command) => command.run(),
        Command::Export(command) => command.run(),
        Command::Explore(command) => command.run(),
        Command::Completions(command) => command.run(definition()),
        Command::Man(command) => command.run(Arguments::command()),
    });
    match ending.and_then(|ending| say::all_printed().map(|()| ending)) {
        Ok(Ending::Done) => ExitCode::SUCCESS,
        Ok(Ending::Interrupted) => ExitCode::from(130),
        Err(error) => {
            say::aside("error", error);
            ExitCode::from(1)
        }
    }
}

#[cfg(test)]
mod tests {
    /// Clap checks the definition of a command when it is first used; here all of them are: two options of
    /// one name, for example.
    #[test]
    fn every_command_is_well_defined() {
        super::definition().debug_assert();
    }
}

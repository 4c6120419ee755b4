//! The program `elbo`: everything it does is in the library; this file turns the outcome into an exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    elbo::cli::main()
}

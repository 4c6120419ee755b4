//! The program `elbo`: everything it does is in the library; here an outcome becomes an exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    elbo::cli::main()
}

//! The file system that the program uses: the disk.
//!
//! **Test hook.** In builds with debug assertions (those of `cargo test`, the program included) [`system`]
//! reads the environment variable `ELBO_FAULT` once, and makes the n-th call fail accordingly; see
//! `FaultPlan` for the syntax. That is how the tests inject an error, or the death of the process, at every
//! single write of the program. `cargo build --release` leaves out the hook and the module `faults`: no
//! environment variable changes how a release writes its files.

use super::filesystem::{Disk, FileSystem};

/// The file system that the program uses.
#[cfg(not(debug_assertions))]
pub fn system() -> &'static dyn FileSystem {
    &Disk
}

/// The file system that the program uses. In this build, with debug assertions, `ELBO_FAULT` can make it
/// fail.
///
/// # Panics
///
/// If `ELBO_FAULT` is not a valid plan.
#[cfg(debug_assertions)]
pub fn system() -> &'static dyn FileSystem {
    use super::faults::{FaultPlan, Faulty};
    use std::sync::OnceLock;

    static SYSTEM: OnceLock<Box<dyn FileSystem>> = OnceLock::new();
    &**SYSTEM.get_or_init(|| match std::env::var("ELBO_FAULT") {
        Ok(plan) => match plan.parse::<FaultPlan>() {
            Ok(plan) => Box::new(Faulty::new(plan)),
            Err(message) => panic!("ELBO_FAULT: {message}"),
        },
        Err(_) => Box::new(Disk),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::testing::Child;

    /// The process in the test below, told where to write and what fails; run by itself, nothing fails.
    #[test]
    fn two_files_are_written() {
        let own = tempfile::tempdir().unwrap();
        let folder = Child::argument().map_or(own.path().to_path_buf(), Into::into);
        for name in ["a", "b"] {
            system().create_new(&folder.join(name)).unwrap().write_all(b"1234").unwrap();
        }
        if Child::argument().is_none() {
            for name in ["a", "b"] {
                assert_eq!(std::fs::read(folder.join(name)).unwrap(), b"1234");
            }
        }
    }

    #[cfg(debug_assertions)]
    #[test]
    fn the_test_hook_spoils_the_call_that_it_names() {
        let cases = [
            // (the plan, whether the program ends well, content of a, content of b)
            (None, true, Some("1234"), Some("1234")),
            (Some("1:nospace"), false, None, None),
            (Some("2:nospace"), false, Some("12"), None),
            (Some("3:readonly"), false, Some("1234"), None),
            (Some("4:short"), true, Some("1234"), Some("1234")),
            (Some("4:abort"), false, Some("1234"), Some("12")),
            (Some("9:abort"), true, Some("1234"), Some("1234")),
            (Some("nonsense"), false, None, None),
        ];
        for (plan, ends_well, a, b) in cases {
            let folder = tempfile::tempdir().unwrap();
            let mut program = std::process::Command::new(std::env::current_exe().unwrap());
            program.args(["storage::system::tests::two_files_are_written", "--exact"]);
            program.env(Child::ARGUMENT, folder.path());
            if let Some(plan) = plan {
                program.env("ELBO_FAULT", plan);
            }
            let output = program.output().unwrap();
            let content = |name| std::fs::read_to_string(folder.path().join(name)).ok();
            let found = (output.status.success(), content("a"), content("b"));
            assert_eq!(found, (ends_well, a.map(String::from), b.map(String::from)), "{plan:?}: {output:?}");
        }
    }
}

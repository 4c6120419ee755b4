//! One error type for the library: what is wrong, where, and what would be accepted.
//!
//! A message is one sentence for a reader who did not write the program. The program prints it on standard
//! error and exits with 1; a wrong command line exits with 2. Kernels do not return errors: a shape mismatch
//! is a bug in the caller, and an assertion names both shapes.

use std::fmt;
use std::path::{Path, PathBuf};

/// The result of the library's fallible functions.
pub type Result<T> = std::result::Result<T, Error>;

/// Everything that can go wrong outside of the program's own bugs.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused: `action` says what was tried ("read", "create", "write", "sync",
    /// "rename").
    Io {
        /// What was tried, as a verb.
        action: &'static str,
        /// The file or folder that it was tried on.
        path: PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },
    /// A file's content is not as required.
    Data {
        /// The file, folder or archive member.
        path: PathBuf,
        /// What was found and what would be accepted.
        message: String,
    },
    /// An option, a configuration key or a combination of them cannot be used.
    Config(String),
    /// A network cannot be built for these sizes.
    Geometry(String),
    /// Training met a number that is not finite, or another reason to stop, before the step that would have
    /// used it.
    Training(String),
}

impl Error {
    /// An operating-system error with the file that it is about.
    pub fn io(action: &'static str, path: impl AsRef<Path>, source: std::io::Error) -> Self {
        Self::Io { action, path: path.as_ref().to_path_buf(), source }
    }

    /// A file whose content is not as required.
    pub fn data(path: impl AsRef<Path>, message: impl Into<String>) -> Self {
        Self::Data { path: path.as_ref().to_path_buf(), message: message.into() }
    }

    /// An option that cannot be used.
    pub fn config(message: impl Into<String>) -> Self {
        Self::Config(message.into())
    }

    /// A network that cannot be built.
    pub fn geometry(message: impl Into<String>) -> Self {
        Self::Geometry(message.into())
    }
}

/// Leaves a computation whose results have no room for an error, such as filling a batch: the stack unwinds,
/// nothing is printed, and [`caught`] turns it into a result.
pub(crate) fn unwind(error: Error) -> ! {
    std::panic::resume_unwind(Box::new(error))
}

/// Does some work. An error that unwound out of it is returned; a panic continues to unwind.
///
/// # Errors
/// The work's error, or the one that unwound.
pub(crate) fn caught<R>(work: impl FnOnce() -> Result<R>) -> Result<R> {
    // Values that the work was changing are dropped with it, or are not used after an error.
    match std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)) {
        Ok(result) => result,
        Err(payload) => match payload.downcast::<Error>() {
            Ok(error) => Err(*error),
            Err(panic) => std::panic::resume_unwind(panic),
        },
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io { action, path, source } => write!(f, "cannot {action} {}: {source}", path.display()),
            Self::Data { path, message } => write!(f, "{}: {message}", path.display()),
            Self::Config(message) | Self::Geometry(message) | Self::Training(message) => f.write_str(message),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io { source, .. } => Some(source),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rayon::prelude::*;

    #[test]
    fn an_error_comes_out_of_work_without_results() {
        let work = || {
            (0..100).into_par_iter().for_each(|i| {
                if i == 70 {
                    unwind(Error::config("seventy"))
                }
            })
        };
        let found = caught(|| {
            work();
            Ok(())
        });
        assert_eq!(found.unwrap_err().to_string(), "seventy");
        assert_eq!(caught(|| Ok(3)).unwrap(), 3);
    }
}

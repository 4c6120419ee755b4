//! Printing: lines on standard output; notes and an error on standard error.
//!
//! A pipe that is no longer read (`elbo info | head -1`) does not stop a command: its files must still be
//! written. Any other failure, such as a full disk behind `> FILE`, is kept, and becomes the command's error
//! when its work is done.
//!
//! Names of files may come from strangers, above all in an archive. Control characters, which a terminal
//! would obey, are escaped.

use std::fmt::{self, Display, Write as _};
use std::io::{self, ErrorKind, Write as _};
use std::sync::{Mutex, PoisonError};

use crate::error::{Error, Result};

/// Prints a line on standard output.
macro_rules! say {
    () => { $crate::cli::say::line("") };
    ($($text:tt)*) => { $crate::cli::say::line(format_args!($($text)*)) };
}

/// Prints a line on standard error that begins with `note: `.
macro_rules! note {
    ($($text:tt)*) => { $crate::cli::say::aside("note", format_args!($($text)*)) };
}

/// The first failure to print a line.
static LOST: Mutex<Option<io::Error>> = Mutex::new(None);

/// A line, or several, on standard output.
pub(super) fn line(text: impl Display) {
    if let Err(error) = writeln!(io::stdout(), "{}", Harmless(text, &['\n', '\t']))
        && error.kind() != ErrorKind::BrokenPipe
    {
        LOST.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
    }
}

/// One line on standard error: `error: …` or `note: …`.
pub(super) fn aside(kind: &str, text: impl Display) {
    let _ = writeln!(io::stderr(), "{kind}: {}", Harmless(text, &[]));
}

/// An error if a line could not be printed, although it may still be read.
///
/// # Errors
/// The error of the first such line.
pub(super) fn all_printed() -> Result<()> {
    match LOST.lock().unwrap_or_else(PoisonError::into_inner).take() {
        Some(error) => Err(Error::io("write", "standard output", error)),
        None => Ok(()),
    }
}

/// A text in which control characters, except some, are escaped.
struct Harmless<T>(T, &'static [char]);

impl<T: Display> Display for Harmless<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(Escaping(f, self.1), "{}", self.0)
    }
}

/// Escapes control characters, except some.
struct Escaping<'f, 'a>(&'f mut fmt::Formatter<'a>, &'static [char]);

impl fmt::Write for Escaping<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let obeyed = |c: char| c.is_control() && !self.1.contains(&c);
        for part in text.split_inclusive(obeyed) {
            match part.chars().next_back().filter(|&last| obeyed(last)) {
                Some(last) => {
                    write!(self.0, "{}{}", &part[..part.len() - last.len_utf8()], last.escape_debug())?
                }
                None => self.0.write_str(part)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_escaped() {
        let text = "a\u{1b}[2Jb\nc\td \u{9b}é\u{7f}";
        assert_eq!(Harmless(text, &['\n', '\t']).to_string(), "a\\u{1b}[2Jb\nc\td \\u{9b}é\\u{7f}");
        assert_eq!(Harmless(text, &[]).to_string(), "a\\u{1b}[2Jb\\nc\\td \\u{9b}é\\u{7f}");
        assert_eq!(Harmless("plain größe", &[]).to_string(), "plain größe");
    }
}

//! Files that survive: everything the program writes goes through here.
//!
//! Three promises, each kept in one place:
//!
//! - *A file under its final name is whole* ([`atomic`]): the old content or the new one, whatever fails in between.
//! - *A damaged file is never taken for a good one* ([`tensor_file`]): models and checkpoints carry a checksum over
//!   every byte. The table of metrics is mended line by line instead ([`journal`]), because it only ever grows.
//! - *One training per run folder* ([`lock`]).
//!
//! [`filesystem`] is the only module that changes anything on the disk; [`faults`] stands in for it where tests need
//! a full disk at a chosen moment.

pub mod atomic;
pub mod faults;
pub mod filesystem;
pub mod journal;
pub mod lock;
pub mod tensor_file;
#[cfg(test)]
mod testing;

/// Text out of a file for a message: one line, of a bearable length, with nothing in it that a terminal obeys.
pub(crate) fn printable(text: impl std::fmt::Display) -> String {
    let text = text.to_string();
    let mut shown = String::new();
    for character in text.chars().take(200) {
        match character {
            // The quotes and backslashes that `escape_debug` would escape too are harmless.
            '"' | '\'' | '\\' => shown.push(character),
            _ => shown.extend(character.escape_debug()),
        }
    }
    if text.chars().nth(200).is_some() {
        shown.push('…');
    }
    shown
}

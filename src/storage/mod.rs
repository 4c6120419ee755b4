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

pub(crate) use crate::text::printable;

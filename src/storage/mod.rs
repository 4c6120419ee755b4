//! Crash-safe files: everything that the program writes goes through here.
//!
//! Three guarantees, each kept in one place:
//!
//! - *File writes are atomic* (`atomic`): a final name holds the old content or the new one, whatever fails
//!   in between.
//! - *A damaged file is never accepted* ([`tensor_file`]): models and checkpoints carry a checksum over every
//!   byte. The table of metrics is repaired line by line instead (`journal`), because it only ever grows.
//! - *One training process per run folder* (`lock`).
//!
//! Files that must last are changed through the trait in `filesystem`, so that tests can inject a failure at
//! each of its calls (`faults`, which exists only in builds with debug assertions). There are two exceptions,
//! both for files that need not last: `lock` creates and removes the lock file itself, and a run that cannot
//! be created removes its own new folder.

pub(crate) mod atomic;
#[cfg(any(test, debug_assertions))]
pub(crate) mod faults;
pub(crate) mod filesystem;
pub(crate) mod journal;
pub(crate) mod lock;
pub(crate) mod system;
pub mod tensor_file;
#[cfg(test)]
mod testing;

pub(crate) use crate::text::printable;

//! A file system that fails on request: the stand-in for [`Disk`] in tests.
//!
//! [`Faulty`] does everything on the real disk, counts and records the calls, and makes the one that its
//! [`FaultPlan`] names fail. A test then moves the fault through a whole operation, n = 1, 2, 3, … until
//! nothing fails any more, and checks the files after each.

use super::filesystem::{Disk, FileSystem, OutputFile};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// How a call fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The disk is full. A write leaves half of its bytes in the file before it fails, as on a real full
    /// disk.
    NoSpace,
    /// The disk has become read-only.
    ReadOnly,
    /// A write takes only half of its bytes and says so. That is not an error: the writer must write the
    /// rest.
    ShortWrite,
    /// The process dies at once (a write leaves half of its bytes).
    Abort,
}

#[cfg(test)]
impl Fault {
    /// Every fault that the process survives.
    pub const ALL: [Self; 3] = [Self::NoSpace, Self::ReadOnly, Self::ShortWrite];
}

/// Which call fails, and how.
///
/// As text, `17:nospace` makes the 17th call fail and `17+:nospace` every one from the 17th on; the faults
/// are `nospace`, `readonly`, `short` and `abort`. With `+`, a full disk still lets files be removed and
/// truncated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FaultPlan {
    /// The first call that fails, counted from 1.
    pub call: usize,
    /// Whether the calls after it fail too.
    pub onwards: bool,
    /// How they fail.
    pub fault: Fault,
}

impl FaultPlan {
    fn hits(&self, call: usize, operation: Operation) -> bool {
        let frees = matches!(operation, Operation::Remove | Operation::Truncate);
        call == self.call || (self.onwards && call > self.call && !(frees && self.fault == Fault::NoSpace))
    }
}

impl FromStr for FaultPlan {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("invalid fault plan `{text}`; write it like 17:nospace or 17+:abort");
        let (call, fault) = text.split_once(':').ok_or_else(wrong)?;
        let (call, onwards) = match call.strip_suffix('+') {
            Some(call) => (call, true),
            None => (call, false),
        };
        let fault = match fault {
            "nospace" => Fault::NoSpace,
            "readonly" => Fault::ReadOnly,
            "short" => Fault::ShortWrite,
            "abort" => Fault::Abort,
            _ => return Err(wrong()),
        };
        Ok(Self { call: call.parse().map_err(|_| wrong())?, onwards, fault })
    }
}

/// The operation that was requested.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)] // The calls of `FileSystem` and `OutputFile`, by name.
pub enum Operation {
    CreateNew,
    OpenAppend,
    Write,
    Sync,
    Truncate,
    Rename,
    Link,
    Remove,
    CreateFolder,
    SyncFolder,
}

/// One call, and the file or folder that it was made on (the new name for a rename or link).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// The operation.
    pub operation: Operation,
    /// The file or folder.
    pub path: PathBuf,
}

/// The real disk with one fault, or with none and only a record of the calls.
#[derive(Debug, Clone)]
pub struct Faulty {
    plan: Option<FaultPlan>,
    recording: bool,
    log: Arc<Mutex<Log>>,
}

#[derive(Debug, Default)]
struct Log {
    count: usize,
    calls: Vec<Call>,
}

impl Faulty {
    /// A disk that fails as planned. It keeps no record, so that a long run can use it.
    pub fn new(plan: FaultPlan) -> Self {
        Self { plan: Some(plan), recording: false, log: Arc::default() }
    }

    fn log(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a call and returns the fault to apply to it, if any.
    fn count_call(&self, operation: Operation, path: &Path) -> Option<Fault> {
        let mut log = self.log();
        log.count += 1;
        if self.recording {
            log.calls.push(Call { operation, path: path.to_path_buf() });
        }
        self.plan.filter(|plan| plan.hits(log.count, operation)).map(|plan| plan.fault)
    }

    /// A call that either happens or does not; only writes can happen in part.
    fn enter(&self, operation: Operation, path: &Path) -> io::Result<()> {
        match self.count_call(operation, path) {
            Some(Fault::NoSpace) => Err(ErrorKind::StorageFull.into()),
            Some(Fault::ReadOnly) => Err(ErrorKind::ReadOnlyFilesystem.into()),
            Some(Fault::Abort) => std::process::abort(),
            Some(Fault::ShortWrite) | None => Ok(()),
        }
    }

    fn wrap(&self, path: &Path, file: Box<dyn OutputFile>) -> Box<dyn OutputFile> {
        Box::new(FaultyFile { file, path: path.to_path_buf(), system: self.clone() })
    }
}

#[cfg(test)]
impl Faulty {
    /// A disk that never fails and records the calls.
    pub fn recording() -> Self {
        Self { plan: None, recording: true, log: Arc::default() }
    }

    /// The number of calls made.
    pub fn count(&self) -> usize {
        self.log().count
    }

    /// The calls so far, in order.
    pub fn calls(&self) -> Vec<Call> {
        self.log().calls.clone()
    }
}

impl FileSystem for Faulty {
    fn create_new(&self, path: &Path) -> io::Result<Box<dyn OutputFile>> {
        self.enter(Operation::CreateNew, path)?;
        Ok(self.wrap(path, Disk.create_new(path)?))
    }

    fn open_append(&self, path: &Path) -> io::Result<Box<dyn OutputFile>> {
        self.enter(Operation::OpenAppend, path)?;
        Ok(self.wrap(path, Disk.open_append(path)?))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.enter(Operation::Rename, to)?;
        Disk.rename(from, to)
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.enter(Operation::Link, to)?;
        Disk.link(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.enter(Operation::Remove, path)?;
        Disk.remove(path)
    }

    fn create_folder(&self, path: &Path) -> io::Result<()> {
        self.enter(Operation::CreateFolder, path)?;
        Disk.create_folder(path)
    }

    fn sync_folder(&self, path: &Path) -> io::Result<()> {
        self.enter(Operation::SyncFolder, path)?;
        Disk.sync_folder(path)
    }
}

struct FaultyFile {
    file: Box<dyn OutputFile>,
    path: PathBuf,
    system: Faulty,
}

impl Write for FaultyFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let half = &bytes[..bytes.len() / 2];
        match self.system.count_call(Operation::Write, &self.path) {
            None => self.file.write(bytes),
            Some(Fault::NoSpace) => {
                self.file.write_all(half)?;
                Err(ErrorKind::StorageFull.into())
            }
            Some(Fault::ReadOnly) => Err(ErrorKind::ReadOnlyFilesystem.into()),
            // At least one byte: none at all would mean that the file takes no more.
            Some(Fault::ShortWrite) => self.file.write(&bytes[..bytes.len().div_ceil(2)]),
            Some(Fault::Abort) => {
                self.file.write_all(half)?;
                std::process::abort()
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl OutputFile for FaultyFile {
    fn sync(&mut self) -> io::Result<()> {
        self.system.enter(Operation::Sync, &self.path)?;
        self.file.sync()
    }

    fn truncate(&mut self, length: u64) -> io::Result<()> {
        self.system.enter(Operation::Truncate, &self.path)?;
        self.file.truncate(length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_is_read_from_text() {
        let plan = |call, onwards, fault| Ok(FaultPlan { call, onwards, fault });
        assert_eq!("17:nospace".parse(), plan(17, false, Fault::NoSpace));
        assert_eq!("1+:readonly".parse(), plan(1, true, Fault::ReadOnly));
        assert_eq!("2:short".parse(), plan(2, false, Fault::ShortWrite));
        assert_eq!("3:abort".parse(), plan(3, false, Fault::Abort));
        for wrong in ["", "17", "17:", ":nospace", "-1:short", "1:ENOSPC"] {
            assert!(wrong.parse::<FaultPlan>().unwrap_err().contains("17:nospace"), "{wrong}");
        }
    }
}

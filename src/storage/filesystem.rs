//! The few calls with which this program changes a disk, as a trait, so that each of them can be made to
//! fail.
//!
//! A promise like "a full disk never costs you the last checkpoint" can be tested only if the disk can become
//! full at any chosen moment. So every file that must last is written through a [`FileSystem`]: the real one
//! is [`Disk`], and `system` chooses between it and one that fails. Two things do not last and use `std::fs`
//! directly: a run's lock ([`lock`](super::lock)), and the removal of a new run's folder if creating it
//! failed.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

/// A file being written.
pub trait OutputFile: Write + Send {
    /// Waits until everything written so far is on the disk (`fsync`).
    fn sync(&mut self) -> io::Result<()>;

    /// Truncates the file to `length` bytes; the next write goes there.
    fn truncate(&mut self, length: u64) -> io::Result<()>;
}

/// The operations that change a disk. Reading is not here: it cannot lose anything.
pub trait FileSystem: Send + Sync {
    /// Creates a file that does not exist yet, and marks it as being written for as long as it is open (see
    /// [`Disk`] for how).
    fn create_new(&self, path: &Path) -> io::Result<Box<dyn OutputFile>>;

    /// Opens an existing file, to write at its end.
    fn open_append(&self, path: &Path) -> io::Result<Box<dyn OutputFile>>;

    /// Renames a file in one step. An existing file of the new name is replaced.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Gives a file a second name in one step, which fails if that name already exists.
    fn link(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Creates a folder in an existing folder.
    fn create_folder(&self, path: &Path) -> io::Result<()>;

    /// Waits until the names in a folder are on the disk. A file's own sync does not guarantee that its name
    /// lasts.
    fn sync_folder(&self, path: &Path) -> io::Result<()>;
}

/// The real file system.
///
/// A file from [`create_new`](FileSystem::create_new) is locked until it is closed. The lock ends with the
/// process, so an unlocked temporary file belongs to a process that died; no process ids need to be compared.
#[derive(Debug, Clone, Copy, Default)]
pub struct Disk;

struct DiskFile(File);

impl Write for DiskFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

impl OutputFile for DiskFile {
    fn sync(&mut self) -> io::Result<()> {
        self.0.sync_all()
    }

    fn truncate(&mut self, length: u64) -> io::Result<()> {
        // Every file here is opened to append: there is no position to move back.
        self.0.set_len(length)
    }
}

impl FileSystem for Disk {
    fn create_new(&self, path: &Path) -> io::Result<Box<dyn OutputFile>> {
        let file = OpenOptions::new().append(true).create_new(true).open(path)?;
        // A file system without locks only loses the cleanup after a crash.
        let _ = file.try_lock();
        Ok(Box::new(DiskFile(file)))
    }

    fn open_append(&self, path: &Path) -> io::Result<Box<dyn OutputFile>> {
        Ok(Box::new(DiskFile(OpenOptions::new().append(true).open(path)?)))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::rename(from, to)
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::hard_link(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_file(path)
    }

    fn create_folder(&self, path: &Path) -> io::Result<()> {
        std::fs::create_dir(path)
    }

    #[cfg(unix)]
    fn sync_folder(&self, path: &Path) -> io::Result<()> {
        match File::open(path)?.sync_all() {
            // Some network file systems do not support syncing a folder, and say so.
            Err(error)
                if matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported) =>
            {
                Ok(())
            }
            result => result,
        }
    }

    #[cfg(not(unix))]
    fn sync_folder(&self, _path: &Path) -> io::Result<()> {
        // Only Unix lets a program open a folder to sync it.
        Ok(())
    }
}

//! Atomic file writes: a file's final name only ever refers to a complete file.
//!
//! The content goes to a temporary file in the same folder, which gets the final name once it is complete:
//!
//! 1. create `.NAME.PID-COUNT.tmp`
//! 2. write everything
//! 3. sync the file, or after a power cut the name could point to bytes that never reached the disk
//! 4. rename it to NAME, in one step: a reader of NAME finds the old file or the new one
//! 5. sync the folder, or the rename itself could be lost
//!
//! If a step up to the rename fails, the old file is unchanged and the temporary file is removed. If the last
//! step fails, the new file is complete, and the error says that its name may not survive a power cut. A
//! failed sync is never retried on the same file: the system may have dropped the very pages that it could
//! not write.
//!
//! A process that is killed leaves its temporary file behind. [`remove_stale`] finds such files by their
//! lock, which ended with the process.
//!
//! If the final name is a symbolic link, the file replaces the link; the link's target is not touched.

use super::filesystem::FileSystem;
use crate::error::{Error, Result};
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// Bytes buffered for one write call.
const BLOCK: usize = 64 * 1024;

/// Writes the file `path`, replacing an existing one. `fill` writes the content; the writer is buffered.
///
/// # Errors
///
/// If the system refuses a step. `path` then holds either the old file or the complete new one.
pub fn write_atomically(
    fs: &dyn FileSystem,
    path: &Path,
    fill: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> Result<()> {
    write_and_place(fs, path, fill, |temporary| {
        fs.rename(temporary, path).map_err(|error| Error::io("rename the finished file to", path, error))
    })
}

/// Writes the file `path`, which must not exist yet: the user's own files are never replaced.
///
/// # Errors
///
/// If `path` exists, even if it appeared while `fill` was running, or if the system refuses a step.
pub fn write_new(
    fs: &dyn FileSystem,
    path: &Path,
    fill: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> Result<()> {
    refuse_existing(path)?;
    write_and_place(fs, path, fill, |temporary| {
        // A rename would replace a file that appeared meanwhile; a hard link cannot.
        match fs.link(temporary, path) {
            Ok(()) => fs.remove(temporary).map_err(|error| Error::io("remove", temporary, error)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(already_there(path)),
            Err(error)
                if matches!(error.kind(), io::ErrorKind::Unsupported | io::ErrorKind::PermissionDenied) =>
            {
                // This file system has no hard links (FAT). Check once more, then rename.
                refuse_existing(path)?;
                fs.rename(temporary, path)
                    .map_err(|error| Error::io("rename the finished file to", path, error))
            }
            Err(error) => Err(Error::io("create", path, error)),
        }
    })
}

/// Returns an error if `path` exists: for a command to check before it starts an hour of work.
///
/// # Errors
///
/// If it exists.
pub fn refuse_existing(path: &Path) -> Result<()> {
    match path.symlink_metadata() {
        Ok(_) => Err(already_there(path)),
        Err(_) => Ok(()),
    }
}

fn already_there(path: &Path) -> Error {
    Error::config(format!("{} already exists; choose another name, or remove it first", path.display()))
}

/// Steps 1, 2, 3 and 5; `place` is step 4.
fn write_and_place(
    fs: &dyn FileSystem,
    path: &Path,
    fill: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    place: impl FnOnce(&Path) -> Result<()>,
) -> Result<()> {
    let temporary = temporary_path(path)?;
    let file = fs.create_new(&temporary).map_err(|error| Error::io("create", path, error))?;
    let mut writer = BufWriter::with_capacity(BLOCK, file);
    let filled = fill(&mut writer).and_then(|()| writer.flush());
    // The file stays open, and so locked, until it has its final name. It is taken out of its buffer, because
    // a dropped buffer would try once more to write what just failed.
    let (mut file, _) = writer.into_parts();
    let result = filled
        .map_err(|error| Error::io("write", path, error))
        .and_then(|()| file.sync().map_err(|error| Error::io("sync", path, error)))
        .and_then(|()| place(&temporary));
    if result.is_err() {
        // The first error is the one to report; `remove_stale` finds any file that is left.
        let _ = fs.remove(&temporary);
        return result;
    }
    let folder = folder_of(path);
    fs.sync_folder(folder).map_err(|error| Error::io("sync the folder", folder, error))
}

/// Creates a folder and its parents, each synced to disk. One that already exists is fine.
///
/// # Errors
///
/// If the system refuses, or a file is in the way.
pub fn create_folder(fs: &dyn FileSystem, path: &Path) -> Result<()> {
    if path.as_os_str().is_empty() || path.is_dir() {
        return Ok(());
    }
    let parent = folder_of(path);
    create_folder(fs, parent)?;
    match fs.create_folder(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && !path.is_dir() => {
            return Err(Error::data(path, "is a file, and a folder is needed there; choose another place"));
        }
        // Another process may have been faster.
        Err(error) if !path.is_dir() => return Err(Error::io("create the folder", path, error)),
        _ => {}
    }
    fs.sync_folder(parent).map_err(|error| Error::io("sync the folder", parent, error))
}

/// Removes the temporary files in `folder` whose writer died, and returns their number.
///
/// A file that is being written is locked by its writer. (For microseconds between creating and locking a
/// file it would look stale: the writer's rename then fails with a message, and nothing else is lost.)
///
/// # Errors
///
/// If the folder cannot be read or a stale file cannot be removed.
pub fn remove_stale(fs: &dyn FileSystem, folder: &Path) -> Result<usize> {
    let unreadable = |error| Error::io("read the folder", folder, error);
    let mut removed = 0;
    for entry in folder.read_dir().map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        let is_file = entry.file_type().is_ok_and(|kind| kind.is_file());
        if !is_file || !entry.file_name().to_str().is_some_and(is_temporary_name) {
            continue;
        }
        let path = entry.path();
        let is_stale = File::open(&path).is_ok_and(|file| file.try_lock().is_ok());
        if is_stale {
            fs.remove(&path).map_err(|error| Error::io("remove", &path, error))?;
            removed += 1;
        }
    }
    Ok(removed)
}

/// A name beside `path` that no other write uses, in this process or another.
fn temporary_path(path: &Path) -> Result<PathBuf> {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let Some(name) = path.file_name() else {
        return Err(Error::config(format!("{} cannot be written: it names no file", path.display())));
    };
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let mut temporary = std::ffi::OsString::from(".");
    temporary.push(name);
    temporary.push(format!(".{}-{count}.tmp", std::process::id()));
    Ok(path.with_file_name(temporary))
}

/// Whether a name was made by [`temporary_path`]: a dot, a name, a dot, two numbers, `.tmp`.
fn is_temporary_name(name: &str) -> bool {
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    name.strip_prefix('.')
        .and_then(|rest| rest.strip_suffix(".tmp"))
        .and_then(|rest| rest.rsplit_once('.'))
        .and_then(|(name, numbers)| numbers.split_once('-').map(|(pid, count)| (name, pid, count)))
        .is_some_and(|(name, pid, count)| !name.is_empty() && is_number(pid) && is_number(count))
}

/// The folder that contains a file.
fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

#[cfg(test)]
mod tests;

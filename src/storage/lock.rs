//! At most one training process per run folder.
//!
//! Two training processes in one folder would replace each other's checkpoints and mix their rows of metrics.
//! So training holds a lock on the file `lock` in its run folder, which contains the process id for the
//! message to a second process. The lock is the kernel's (`flock`), not the file's existence: it ends with
//! the process, however that dies, so a crash leaves a file behind but no lock.
//!
//! Training that ends normally removes the file. Another process may have opened it just before, and would
//! then lock a file that no longer has a name, while a third creates a new one. So whoever gets a lock checks
//! that its file is still the one under that name, and tries again if it is not.

use crate::error::{Error, Result};
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Seek, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The name of the lock file in a run folder.
pub const LOCK_FILE: &str = "lock";

/// The right to write into a run folder, until it is dropped.
#[derive(Debug)]
pub struct RunLock {
    file: File,
    path: PathBuf,
}

impl RunLock {
    /// Takes the lock of a run folder.
    ///
    /// # Errors
    ///
    /// If another process holds it (the message has its id), or if the lock file cannot be written.
    pub fn acquire(folder: &Path) -> Result<Self> {
        let path = folder.join(LOCK_FILE);
        for _ in 0..100 {
            // A link could lead out of the folder, and its target would be emptied.
            if path.symlink_metadata().is_ok_and(|found| !found.is_file()) {
                return Err(Error::data(
                    &path,
                    "is a link or a folder where the lock file belongs; remove it",
                ));
            }
            let mut file = OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .open(&path)
                .map_err(|error| Error::io("create", &path, error))?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Err(in_use(folder, &path)),
                Err(TryLockError::Error(error)) => return Err(Error::io("lock", &path, error)),
            }
            if !is_still_named(&file, &path) {
                continue;
            }
            write_process_id(&mut file).map_err(|error| Error::io("write", &path, error))?;
            return Ok(Self { file, path });
        }
        let message =
            "the locked file never matches the file of that name; use a folder on another file system";
        Err(Error::data(&path, message))
    }
}

impl Drop for RunLock {
    fn drop(&mut self) {
        // While it is still locked. If this fails, an unlocked file remains, which is harmless.
        if cfg!(unix) {
            let _ = std::fs::remove_file(&self.path);
        }
        let _ = self.file.unlock();
    }
}

fn write_process_id(file: &mut File) -> std::io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    writeln!(file, "{}", std::process::id())
}

/// The message for the second process.
fn in_use(folder: &Path, path: &Path) -> Error {
    // The first process may have got its lock only a moment ago and not have written its id yet.
    std::thread::sleep(Duration::from_millis(20));
    let holder = match std::fs::read_to_string(path).ok().and_then(|text| text.trim().parse::<u32>().ok()) {
        Some(id) => format!("process {id} is training into it"),
        None => "another process is training into it".to_string(),
    };
    Error::config(format!(
        "{} is in use: {holder}; wait for it to end, or choose another folder with --out",
        folder.display()
    ))
}

/// Whether the open file is the one that has this name now.
#[cfg(unix)]
fn is_still_named(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    match (file.metadata(), path.symlink_metadata()) {
        (Ok(held), Ok(named)) => (held.dev(), held.ino()) == (named.dev(), named.ino()),
        _ => false,
    }
}

/// On other systems the file is never removed.
#[cfg(not(unix))]
fn is_still_named(_file: &File, _path: &Path) -> bool {
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::testing::Child;
    use std::sync::atomic::{AtomicUsize, Ordering};

    /// Not a test by itself: the process that holds the lock in the tests below.
    #[test]
    fn child_holds_the_lock() {
        if let Some(folder) = Child::argument() {
            let _lock = RunLock::acquire(Path::new(&folder)).unwrap();
            Child::say_ready_and_wait();
        }
    }

    #[test]
    fn the_second_process_is_refused_with_the_first_ones_id_until_it_is_killed() {
        let folder = tempfile::tempdir().unwrap();
        let mut child = Child::start("storage::lock::tests::child_holds_the_lock", folder.path());
        child.wait_until_ready();
        let message = RunLock::acquire(folder.path()).unwrap_err().to_string();
        assert!(message.contains(&format!("process {} is training into it", child.id())), "{message}");
        child.kill();
        assert!(folder.path().join(LOCK_FILE).exists(), "a killed process cannot tidy up");
        let lock = RunLock::acquire(folder.path()).unwrap();
        let content = std::fs::read_to_string(folder.path().join(LOCK_FILE)).unwrap();
        assert_eq!(content, format!("{}\n", std::process::id()));
        drop(lock);
        assert_eq!(folder.path().read_dir().unwrap().count(), if cfg!(unix) { 0 } else { 1 });
    }

    #[test]
    fn never_two_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let (holders, gained) = (AtomicUsize::new(0), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..200 {
                        let Ok(lock) = RunLock::acquire(folder.path()) else { continue };
                        assert_eq!(holders.fetch_add(1, Ordering::SeqCst), 0, "two at once");
                        gained.fetch_add(1, Ordering::SeqCst);
                        std::thread::yield_now();
                        holders.fetch_sub(1, Ordering::SeqCst);
                        drop(lock);
                    }
                });
            }
        });
        assert!(gained.into_inner() >= 4);
    }

    #[cfg(unix)]
    #[test]
    fn a_link_out_of_the_folder_is_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let precious = folder.path().join("precious");
        std::fs::write(&precious, "mine").unwrap();
        std::os::unix::fs::symlink(&precious, folder.path().join(LOCK_FILE)).unwrap();
        let message = RunLock::acquire(folder.path()).unwrap_err().to_string();
        assert!(message.contains("is a link"), "{message}");
        assert_eq!(std::fs::read_to_string(&precious).unwrap(), "mine");
    }
}

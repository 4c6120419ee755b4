//! The few calls with which this program changes a disk, as a trait, so that each of them can be made to fail.
//!
//! A promise like "a full disk never costs you the last checkpoint" can be tested only if the disk can be full at
//! any moment one likes. So no other module of this program calls `std::fs` to change something that must last: it
//! takes a [`FileSystem`]. The program takes [`system`], which is the real [`Disk`].
//!
//! **Test hook.** In builds with debug assertions (what `cargo test` builds, the program included) [`system`] reads
//! the environment variable `ELBO_FAULT` once, and makes the n-th call fail as it says; see
//! [`FaultPlan`](super::faults::FaultPlan) for how it is written. That is how the tests put an error, or the death
//! of the process, at each single write of the whole program. `cargo build --release` leaves the hook out: no
//! environment variable of a user's changes how a release writes its files.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

/// A file being written.
pub trait OutputFile: Write + Send {
    /// Waits until everything written so far is on the disk (`fsync`).
    fn sync(&mut self) -> io::Result<()>;

    /// Cuts the file to `length` bytes; what is written next goes there.
    fn truncate(&mut self, length: u64) -> io::Result<()>;
}

/// What this program does to a disk. Reading is not here: it cannot lose anything.
pub trait FileSystem: Send + Sync {
    /// Creates a file that is not there yet, and marks it as being written for as long as it is open
    /// (see [`Disk`] for how).
    fn create_new(&self, path: &Path) -> io::Result<Box<dyn OutputFile>>;

    /// Opens a file that is there, to write at its end.
    fn open_append(&self, path: &Path) -> io::Result<Box<dyn OutputFile>>;

    /// Gives a file another name in one step. A file that has this name already is replaced.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Gives a file a second name in one step, which fails if there is a file with this name already.
    fn link(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Creates a folder in a folder that is there.
    fn create_folder(&self, path: &Path) -> io::Result<()>;

    /// Waits until the names in a folder are on the disk. A file's own sync does not promise that its name lasts.
    fn sync_folder(&self, path: &Path) -> io::Result<()>;
}

/// The file system that the program uses.
#[cfg(not(debug_assertions))]
pub fn system() -> &'static dyn FileSystem {
    &Disk
}

/// The file system that the program uses; in this build, with debug assertions, `ELBO_FAULT` can make it fail.
///
/// # Panics
///
/// If `ELBO_FAULT` is set to something that is not a plan.
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

/// The real file system.
///
/// A file from [`create_new`](FileSystem::create_new) is locked until it is closed. The lock goes with the process,
/// so a temporary file that nobody has locked belongs to a process that died; no process ids need to be compared.
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
        // A file system without locks costs only the tidying up after a crash.
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
            // Some network file systems have no such thing as syncing a folder, and say so.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::testing::Child;

    /// Not a test by itself: the process in the test below.
    #[test]
    fn child_writes_two_files() {
        if let Some(folder) = Child::argument() {
            for name in ["a", "b"] {
                let path = Path::new(&folder).join(name);
                system().create_new(&path).unwrap().write_all(b"1234").unwrap();
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
            program.args(["storage::filesystem::tests::child_writes_two_files", "--exact"]);
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

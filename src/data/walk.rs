//! The files of a folder and of the folders in it, in the order of their names.
//!
//! Left out are what systems put there (hidden files, macOS' resource forks), links that lead nowhere or out of the folder, and run folders:
//! a training in a folder of pictures makes sheets of pictures there, which are not more data.

use super::entry::Entry;
use crate::{Error, Result};
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Folders in folders in folders: deeper is a mistake.
const DEEPEST: usize = 32;

/// What a folder has.
#[derive(Default)]
pub(crate) struct Walk {
    pub(crate) entries: Vec<Entry<'static>>,
    /// Folders in it that cannot be read, and why.
    pub(crate) unreadable: Vec<(Entry<'static>, String)>,
    runs: Vec<PathBuf>,
    too_deep: Option<PathBuf>,
    visited: BTreeSet<PathBuf>,
}

impl Walk {
    /// Walks through a folder.
    ///
    /// # Errors
    /// If it cannot be read itself.
    pub(crate) fn through(root: &Path) -> Result<Self> {
        let mut walk = Self::default();
        walk.enter(root, root, 0).map_err(|error| Error::io("read", root, error))?;
        Ok(walk)
    }

    /// What a person should know about folders that were left out.
    pub(crate) fn notes(&self) -> Vec<String> {
        let runs = self.runs.first().map(|first| {
            let (count, first) = (self.runs.len(), first.display());
            format!("{count} run folders of elbo were left out, since their sheets are not data; the first is {first}")
        });
        let too_deep = self.too_deep.as_ref().map(|folder| {
            format!("folders in more than {DEEPEST} others were left out, such as {}", folder.display())
        });
        [runs, too_deep].into_iter().flatten().collect()
    }

    fn enter(&mut self, root: &Path, folder: &Path, depth: usize) -> io::Result<()> {
        // Folders as they really are, so that a circle of links ends.
        let here = fs::canonicalize(folder)?;
        if !self.visited.insert(here.clone()) {
            return Ok(());
        }
        let mut children = fs::read_dir(folder)?.collect::<io::Result<Vec<_>>>()?;
        children.sort_by_key(fs::DirEntry::file_name);
        for child in children {
            if is_junk(child.file_name().as_encoded_bytes()) {
                continue;
            }
            let path = child.path();
            // A link that leads nowhere is as good as not there.
            let Ok(meta) = fs::metadata(&path) else { continue };
            // A link to a folder that this one is in leads out of the data set.
            let leads_up = |real: PathBuf| here.starts_with(real);
            if meta.is_dir() && path.is_symlink() && fs::canonicalize(&path).is_ok_and(leads_up) {
                continue;
            }
            if meta.is_file() {
                self.entries.push(entry(root, path));
            } else if meta.is_dir() && is_run(&path) {
                self.runs.push(path);
            } else if meta.is_dir() && depth == DEEPEST {
                self.too_deep.get_or_insert(path);
            } else if meta.is_dir()
                && let Err(error) = self.enter(root, &path, depth + 1)
            {
                self.unreadable.push((entry(root, path), format!("cannot be read ({error})")));
            }
        }
        Ok(())
    }
}

/// A file by its path, which is below `root`.
fn entry(root: &Path, path: PathBuf) -> Entry<'static> {
    let below = path.strip_prefix(root).unwrap_or(&path);
    let inside = below.iter().map(|part: &OsStr| part.as_encoded_bytes().to_vec()).collect();
    Entry::file(path, inside)
}

/// Whether `elbo train` made this folder.
fn is_run(folder: &Path) -> bool {
    ["config.toml", "metrics.csv"].iter().all(|name| folder.join(name).is_file())
}

/// The names that systems give to files which are none of the user's: hidden ones, and macOS' resource forks.
pub(crate) fn is_junk(name: &[u8]) -> bool {
    (name.starts_with(b".") && name != b"..") || name == b"__MACOSX"
}

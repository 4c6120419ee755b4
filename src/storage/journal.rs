//! The table that a training adds a row to now and then: `metrics.csv`.
//!
//! It only grows, so it is not written anew each time, and so a crash can leave half a row at its end. One more thing
//! can go wrong: rows are written more often than checkpoints, so a training that resumes from its last checkpoint
//! comes again through steps whose rows are there already. [`Journal::resume`] mends both before the first new row:
//! it keeps the whole rows up to the step of the checkpoint and drops the rest, in an atomic rewrite.
//!
//! One column is the step, and it grows from row to row; that is how no row gets there twice. Cells are numbers and
//! words without commas, quotes and line ends, so a row is a line.
//!
//! Whoever saves a checkpoint calls [`Journal::sync`] first: then the rows before a checkpoint outlast a power cut
//! whenever the checkpoint does.

use super::atomic::{refuse_existing, write_atomically};
use super::filesystem::{FileSystem, OutputFile};
use super::printable;
use crate::error::{Error, Result};
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};

/// The longest line that is taken for a row, in bytes. Anything longer is damage.
const MAX_LINE: u64 = 64 * 1024;

/// A table that rows can be added to.
pub struct Journal {
    file: Box<dyn OutputFile>,
    path: PathBuf,
    columns: usize,
    step_column: usize,
    /// The step of the last row.
    last_step: Option<u64>,
    /// The length of the file up to the last whole row.
    length: u64,
    /// Whether there may be half a row after that, from a write that failed.
    is_torn: bool,
}

/// What [`Journal::resume`] did to the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Repair {
    /// Rows that stay.
    pub kept: usize,
    /// Whole rows of steps after the checkpoint, or that were there twice; the training writes them again.
    pub dropped: usize,
    /// Lines that were no rows: cut in half by a crash, or otherwise damaged.
    pub damaged: usize,
}

impl Journal {
    /// Starts a table with these columns, of which `step` must be one. There must be no file yet.
    ///
    /// # Errors
    ///
    /// If there is one, or the system refuses.
    ///
    /// # Panics
    ///
    /// If no column is named `step`, or a name is not a word.
    pub fn create(fs: &dyn FileSystem, path: &Path, columns: &[&str]) -> Result<Self> {
        let step_column = step_column(columns);
        refuse_existing(path)?;
        let header = line_of(columns);
        write_atomically(fs, path, |out| out.write_all(header.as_bytes()))?;
        Self::open(fs, path, columns.len(), step_column, None)
    }

    /// Opens the table of a run that resumes after `step`, mended; see the module. A table that is missing is started.
    ///
    /// # Errors
    ///
    /// If it has other columns, or the system refuses.
    ///
    /// # Panics
    ///
    /// As [`create`](Self::create).
    pub fn resume(fs: &dyn FileSystem, path: &Path, columns: &[&str], step: u64) -> Result<(Self, Repair)> {
        let step_column = step_column(columns);
        let mut lines = match path.symlink_metadata() {
            Ok(found) if found.is_file() => {
                BufReader::new(File::open(path).map_err(|error| Error::io("open", path, error))?)
            }
            Ok(_) => {
                return Err(Error::data(path, "is a link or a folder where the table of metrics belongs"));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok((Self::create(fs, path, columns)?, Repair::default()));
            }
            Err(error) => return Err(Error::io("open", path, error)),
        };
        let unreadable = |error| Error::io("read", path, error);
        let header = line_of(columns);
        let mut line = Vec::new();
        read_line(&mut lines, &mut line).map_err(unreadable)?;
        // A crash cannot leave half a header, because it is written atomically.
        if line != header.as_bytes() {
            return Err(Error::data(
                path,
                format!(
                    "starts with `{}`, and this run's rows have the columns `{}`; move it away to start a new one",
                    printable(String::from_utf8_lossy(&line).trim_end()),
                    header.trim_end()
                ),
            ));
        }

        let mut repair = Repair::default();
        let mut last_step = None;
        write_atomically(fs, path, |out| {
            out.write_all(header.as_bytes())?;
            while read_line(&mut lines, &mut line)? {
                match step_of(&line, columns.len(), step_column) {
                    None => repair.damaged += 1,
                    Some(found) if found > step || last_step.is_some_and(|last| found <= last) => {
                        repair.dropped += 1
                    }
                    Some(found) => {
                        out.write_all(&line)?;
                        last_step = Some(found);
                        repair.kept += 1;
                    }
                }
            }
            Ok(())
        })?;
        Ok((Self::open(fs, path, columns.len(), step_column, last_step)?, repair))
    }

    fn open(
        fs: &dyn FileSystem,
        path: &Path,
        columns: usize,
        step_column: usize,
        last_step: Option<u64>,
    ) -> Result<Self> {
        let cannot_open = |error| Error::io("open", path, error);
        let file = fs.open_append(path).map_err(cannot_open)?;
        let length = path.metadata().map_err(cannot_open)?.len();
        Ok(Self { file, path: path.to_path_buf(), columns, step_column, last_step, length, is_torn: false })
    }

    /// Adds a row, in a single write.
    ///
    /// # Errors
    ///
    /// If the system refuses. What was written of the row is then cut off again, now or, if that fails too, before
    /// the next row; so the call may be repeated.
    ///
    /// # Panics
    ///
    /// If the row has not one cell for each column, a cell is not a word or number, or the step is not after the
    /// last row's.
    pub fn append<S: AsRef<str>>(&mut self, cells: &[S]) -> Result<()> {
        assert_eq!(cells.len(), self.columns, "a row of {} has {} cells", self.path.display(), self.columns);
        let line = line_of(cells);
        let step = step_of(line.as_bytes(), self.columns, self.step_column);
        assert!(
            step.is_some() && step > self.last_step,
            "row `{}` comes after {:?}",
            line.trim_end(),
            self.last_step
        );
        if self.is_torn {
            self.file.truncate(self.length).map_err(|error| Error::io("mend", &self.path, error))?;
            self.is_torn = false;
        }
        if let Err(error) = self.file.write_all(line.as_bytes()) {
            self.is_torn = self.file.truncate(self.length).is_err();
            return Err(Error::io("write", &self.path, error));
        }
        self.length += line.len() as u64;
        self.last_step = step;
        Ok(())
    }

    /// Waits until all rows are on the disk.
    ///
    /// # Errors
    ///
    /// If the system refuses.
    pub fn sync(&mut self) -> Result<()> {
        self.file.sync().map_err(|error| Error::io("sync", &self.path, error))
    }
}

fn step_column(columns: &[&str]) -> usize {
    columns.iter().position(|name| *name == "step").expect("one column is named `step`")
}

fn line_of<S: AsRef<str>>(cells: &[S]) -> String {
    let cells: Vec<&str> = cells.iter().map(AsRef::as_ref).collect();
    let is_plain = |cell: &&str| !cell.contains([',', '"', '\r', '\n', '\0']);
    assert!(cells.iter().all(is_plain), "cells are numbers or words: {cells:?}");
    cells.join(",") + "\n"
}

/// The step of a row, if the line is a whole row.
fn step_of(line: &[u8], columns: usize, step_column: usize) -> Option<u64> {
    let line = std::str::from_utf8(line.strip_suffix(b"\n")?).ok()?;
    // After a power cut a file can end in zeros, where its length got to the disk and its content did not.
    if line.contains('\0') || line.split(',').count() != columns {
        return None;
    }
    line.split(',').nth(step_column)?.parse().ok()
}

/// Reads the next line with its end, or only the start of one that is too long for a row; `false` at the end.
fn read_line(lines: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<bool> {
    line.clear();
    lines.take(MAX_LINE).read_until(b'\n', line)?;
    if line.len() as u64 == MAX_LINE && line.last() != Some(&b'\n') {
        skip_line(lines)?;
    }
    Ok(!line.is_empty())
}

/// Reads to the end of the line without keeping it.
fn skip_line(lines: &mut impl BufRead) -> io::Result<()> {
    loop {
        let block = lines.fill_buf()?;
        let (used, is_end) = match block.iter().position(|byte| *byte == b'\n') {
            Some(end) => (end + 1, true),
            None => (block.len(), block.is_empty()),
        };
        lines.consume(used);
        if is_end {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests;

//! The table of metrics, `metrics.csv`, to which training appends a row now and then.
//!
//! It only grows, so it is not rewritten each time, and a crash can leave half a row at its end. One more
//! thing can go wrong: rows are written more often than checkpoints, so a training run that resumes from its
//! last checkpoint repeats steps whose rows already exist. [`Journal::resume`] repairs both before the first
//! new row: it keeps the complete rows up to the checkpoint's step and drops the rest, in an atomic rewrite.
//!
//! One column is the step, which grows from row to row, so no row can appear twice. Cells are numbers and
//! words without commas, quotes and line ends, so a row is a line.
//!
//! Whoever saves a checkpoint calls [`Journal::sync`] first: if a checkpoint survives a power cut, so do the
//! rows before it.

use super::atomic::{refuse_existing, write_atomically};
use super::filesystem::{FileSystem, OutputFile};
use super::printable;
use crate::error::{Error, Result};
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};

/// The longest line that is accepted as a row, in bytes. Anything longer is damage.
const MAX_LINE: u64 = 64 * 1024;

/// A table that rows can be appended to.
pub struct Journal {
    file: Box<dyn OutputFile>,
    path: PathBuf,
    columns: usize,
    step_column: usize,
    /// The step of the last row.
    last_step: Option<u64>,
    /// The length of the file up to the last complete row.
    length: u64,
    /// Whether half a row may follow, from a write that failed.
    is_torn: bool,
}

/// What [`Journal::resume`] did to the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Repair {
    /// Rows kept.
    pub kept: usize,
    /// Complete rows of steps after the checkpoint, or duplicates; training writes them again.
    pub dropped: usize,
    /// Lines that were not rows: cut in half by a crash, or otherwise damaged.
    pub damaged: usize,
}

impl Journal {
    /// Starts a table with these columns, one of which must be `step`. The file must not exist yet.
    ///
    /// # Errors
    ///
    /// If it exists, or the system refuses.
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

    /// Opens and repairs the table of a run that resumes after `step`; see the module. A missing table is
    /// created.
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
        // A crash cannot leave half a header, because the header is written atomically.
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

    /// Appends a row, in a single write.
    ///
    /// # Errors
    ///
    /// If the system refuses. The part of the row that was written is then cut off, now or, if that fails
    /// too, before the next row; so the call may be repeated.
    ///
    /// # Panics
    ///
    /// If the row does not have one cell for each column, a cell is not a word or number, or the step is not
    /// after the last row's.
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

/// The step of a row, if the line is a complete row.
fn step_of(line: &[u8], columns: usize, step_column: usize) -> Option<u64> {
    let line = std::str::from_utf8(line.strip_suffix(b"\n")?).ok()?;
    // After a power cut a file can end in zeros, if its length reached the disk and its content did not.
    if line.contains('\0') || line.split(',').count() != columns {
        return None;
    }
    line.split(',').nth(step_column)?.parse().ok()
}

/// Reads the next line including its end, or only the start of a line that is too long for a row; `false` at
/// the end.
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

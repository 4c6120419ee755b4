//! Memory limits: one budget for everything that is allocated by the size of an input, and bounds on the
//! sizes that a file may state.
//!
//! A file states its own size, so no buffer is allocated before its size is claimed from the [`Budget`]
//! (`--max-memory`). Claims are made in one place, [`hold`](super::hold). Further memory of models and
//! commands is estimated and checked by [`excess`].

use crate::tensor::ImageShape;
use crate::{Error, Result};
use std::path::Path;

/// The most rows or columns of an image, so that memory per row or column stays small, too.
pub(crate) const LONGEST_SIDE: usize = 65_535;

/// The memory that the images may use.
pub(crate) struct Budget {
    limit: u64,
    used: u64,
}

impl Budget {
    pub(crate) fn new(limit: u64) -> Self {
        Self { limit, used: 0 }
    }

    /// Claims memory; the error names the option that would allow it.
    pub(crate) fn take(&mut self, bytes: u64, path: &Path) -> Result<()> {
        let wanted = self.used.saturating_add(bytes);
        if wanted > self.limit {
            return Err(Error::data(path, too_much("its images take", wanted, self.limit)));
        }
        self.used = wanted;
        Ok(())
    }

    /// Whether `bytes` of pixels are held in memory: at most half of it, since the network and its
    /// activations need the rest. Larger data are kept in a cache file, if one is allowed.
    pub(crate) fn holds(&self, bytes: u64) -> bool {
        bytes <= self.limit / 2
    }

    /// The note for the user about `bytes` of pixels that are kept in a file.
    pub(crate) fn cached(&self, bytes: u64, path: &Path) -> String {
        format!(
            "{} of pixels are more than half of --max-memory ({}): they are read from {}, which later commands use again",
            human_bytes(bytes),
            human_bytes(self.limit),
            path.display()
        )
    }

    pub(crate) fn give_back(&mut self, bytes: u64) {
        self.used = self.used.saturating_sub(bytes);
    }
}

/// The message if `bytes` exceed `limit`; `what` begins the sentence, as "its images take".
pub(crate) fn excess(what: &str, bytes: u64, limit: u64) -> Option<String> {
    (bytes > limit).then(|| too_much(what, bytes, limit))
}

fn too_much(what: &str, bytes: u64, limit: u64) -> String {
    let (bytes, limit) = (human_bytes(bytes), human_bytes(limit));
    format!("{what} {bytes} of memory, more than the {limit} that --max-memory allows")
}

/// Three significant decimal digits and a binary unit.
pub(crate) fn human_bytes(bytes: u64) -> String {
    let units = ["bytes", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < units.len() {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 { format!("{bytes} bytes") } else { format!("{value:.1} {}", units[unit]) }
}

/// A buffer of zeros, or an error if the system has no memory for it. The system provides its pages on the
/// first write, so a truncated file costs no more memory than the bytes that it contains.
pub(crate) fn zeros<V: Clone + Default>(len: usize, path: &Path) -> Result<Vec<V>> {
    // Vec's macro asks for zeroed pages but aborts the program if there are none; so this checks first.
    if Vec::<V>::new().try_reserve_exact(len).is_err() {
        let size = human_bytes((len as u64).saturating_mul(size_of::<V>() as u64));
        return Err(Error::data(
            path,
            format!("its images take {size} of memory, which this machine cannot provide"),
        ));
    }
    Ok(vec![V::default(); len])
}

/// The total size of `count` images of a shape, if a machine can address it.
pub(crate) fn checked_size(count: usize, shape: ImageShape) -> Option<usize> {
    let size = count.checked_mul(shape.height)?.checked_mul(shape.width)?.checked_mul(shape.channels)?;
    (size <= isize::MAX as usize / 8).then_some(size)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_budget_names_its_option() {
        let mut budget = Budget::new(1 << 20);
        budget.take(1 << 19, Path::new("a")).unwrap();
        let message = budget.take(3 << 20, Path::new("a.npy")).unwrap_err().to_string();
        assert_eq!(
            message,
            "a.npy: its images take 3.5 MiB of memory, more than the 1.0 MiB that --max-memory allows"
        );
        budget.give_back(1 << 19);
        budget.take(1 << 20, Path::new("a")).unwrap();
        assert!(budget.take(u64::MAX, Path::new("a")).is_err());
    }
}

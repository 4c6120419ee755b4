//! Reads and converts a source's images into memory. The validation images follow the training images in one
//! buffer.

use super::budget::Budget;
use super::held::{Held, Outline};
use super::open::Source;
use super::options::LoadOptions;
use super::{hold_arrays, hold_pictures};
use crate::Result;

/// Inspects the images of a source without reading them.
///
/// # Errors
/// If they do not fit each other or the options.
pub(crate) fn outline(source: &Source<'_>, options: &LoadOptions, budget: &Budget) -> Result<Outline> {
    match source {
        Source::Arrays(source) => hold_arrays::outline(source, options, budget),
        Source::Pictures(source) => Ok(hold_pictures::outline(source, options, budget)),
    }
}

/// Reads the images of a source. `progress(done, total)` is called while images are read, from several
/// threads.
///
/// # Errors
/// If they are damaged, do not fit each other, or need more memory than allowed.
pub(crate) fn hold(
    source: Source<'_>,
    options: &LoadOptions,
    budget: &mut Budget,
    progress: &(dyn Fn(usize, usize) + Sync),
) -> Result<Held> {
    match source {
        Source::Arrays(source) => hold_arrays::hold(&source, options, budget, progress),
        Source::Pictures(source) => hold_pictures::hold(source, options, budget, progress),
    }
}

//! The number of threads: a pool for one piece of work, so that a program that uses the library keeps its own
//! pool.

use crate::error::{Error, Result};

/// Runs `work` on `threads` threads; 0 means the threads of rayon's current pool, which is one for each core
/// unless the caller is in its own pool. The results are bit-identical for any number of threads.
///
/// # Errors
/// If the system cannot create the threads.
pub fn with_threads<R: Send>(threads: usize, work: impl FnOnce() -> R + Send) -> Result<R> {
    if threads == 0 {
        // Inside the pool, so that a step is not handed from thread to thread.
        return Ok(rayon::scope(|_| work()));
    }
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
    let pool = pool.map_err(|error| Error::config(format!("cannot start {threads} threads: {error}")))?;
    Ok(pool.install(work))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_threads_is_kept() {
        assert_eq!(with_threads(3, rayon::current_num_threads).unwrap(), 3);
        let inner = || with_threads(0, rayon::current_num_threads).unwrap();
        assert_eq!(with_threads(2, inner).unwrap(), 2);
    }
}

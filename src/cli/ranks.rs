//! `mpirun -n N elbo train`: rank 0 is the program as usual, and the other ranks follow it without output.
//!
//! Rank 0 prints the errors that all ranks know of, and the others end without a message. An error of one
//! rank alone is printed by that rank; if it occurs within a step, for which the others would wait, all
//! processes are ended.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::common::Ending;
use super::train::{Train, watch_for_interrupts};
use crate::data::load;
use crate::error::{Error, Result, caught};
use crate::train::follow::follow;
use crate::train::mpi::launched;
use crate::train::{Config, Leader, Outcome, Ranks};

/// The command on this rank; as ever if the program was started alone.
pub(super) fn run(command: Train) -> Result<Ending> {
    let Some(ranks) = launched()? else { return command.run() };
    let rank = ranks.rank();
    let stop = watch_for_interrupts(rank == 0)?;
    let work = || match rank {
        0 => command.lead(&Leader::new(ranks.clone()), &stop),
        _ => beside(ranks.clone(), &stop).map_err(|error| of_rank(rank, error)),
    };
    // A panic does not pass through the step's return value: the others do not know of it.
    caught(|| Ok(work())).unwrap_or_else(|error| {
        let _ = writeln!(std::io::stderr(), "error: {}", of_rank(rank, error));
        ranks.abort();
        Ok(Ending::Done)
    })
}

/// A rank that does not write the run folder.
fn beside(ranks: Arc<dyn Ranks>, stop: &AtomicBool) -> Result<Ending> {
    let outcome = follow(ranks, stop, |config: &Config| load(&config.data, &config.load, &|_, _| ()))?;
    Ok(if outcome == Some(Outcome::Interrupted) { Ending::Interrupted } else { Ending::Done })
}

fn of_rank(rank: usize, error: Error) -> Error {
    Error::Training(format!("rank {rank}: {error}"))
}

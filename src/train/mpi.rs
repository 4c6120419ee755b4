//! [`Ranks`] by MPI: the communication between the processes that `mpirun` started.
//!
//! Every method is a collective operation of MPI on all processes. None of them adds: [`ranks`](super::ranks)
//! computes sums, in a fixed order, which MPI does not promise.

use std::sync::Arc;

use ::mpi::Threading;
use ::mpi::datatype::{Partition, PartitionMut};
use ::mpi::environment::{Universe, initialize_with_threading};
use ::mpi::topology::SimpleCommunicator;
use ::mpi::traits::{Communicator, CommunicatorCollectives, Root};

use super::ranks::Ranks;
use crate::error::{Error, Result};

/// The environment variables that the launchers of MPI programs set for each process: Open MPI, MPICH and its
/// derivatives, Slurm.
const LAUNCHED: [&str; 4] = ["OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "MPI_LOCALNRANKS", "PMIX_RANK"];

/// The processes that were started together with this one; `None` for a program that was started alone.
///
/// # Errors
/// If the MPI library does not support a program whose steps run on any thread.
pub fn launched() -> Result<Option<Arc<dyn Ranks>>> {
    if !LAUNCHED.iter().any(|name| std::env::var_os(name).is_some()) {
        return Ok(None);
    }
    // The pool's threads make the calls, one at a time.
    let Some((universe, threading)) = initialize_with_threading(Threading::Serialized) else {
        return Err(Error::config("MPI was started twice in this process"));
    };
    if threading < Threading::Serialized {
        return Err(Error::config(
            "this MPI library takes calls from one thread only; it must be built with support for MPI_THREAD_SERIALIZED",
        ));
    }
    let world = universe.world();
    let (rank, count) = (world.rank() as usize, world.size() as usize);
    Ok((count > 1).then(|| Arc::new(Mpi { rank, count, _universe: universe }) as Arc<dyn Ranks>))
}

/// All processes of the run. MPI is finalized when it is dropped.
struct Mpi {
    rank: usize,
    count: usize,
    _universe: Universe,
}

impl std::fmt::Debug for Mpi {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "rank {} of {}", self.rank, self.count)
    }
}

impl Drop for Mpi {
    fn drop(&mut self) {
        // The others would wait for a process that ends by a panic.
        if std::thread::panicking() {
            self.abort();
        }
    }
}

/// A division of numbers among ranks in MPI's form: the count and offset of each rank.
fn partition(cuts: &[usize]) -> (Vec<i32>, Vec<i32>) {
    let number = |n: usize| i32::try_from(n).expect("a gradient of fewer than 2³¹ numbers");
    (
        cuts.windows(2).map(|cut| number(cut[1] - cut[0])).collect(),
        cuts.iter().map(|&cut| number(cut)).collect(),
    )
}

impl Ranks for Mpi {
    fn rank(&self) -> usize {
        self.rank
    }

    fn count(&self) -> usize {
        self.count
    }

    fn gather(&self, own: &[f64]) -> Vec<f64> {
        let mut all = vec![0.0; self.count * own.len()];
        SimpleCommunicator::world().all_gather_into(own, &mut all[..]);
        all
    }

    fn exchange(&self, values: &[f32], cuts: &[usize], pieces: &mut [f32]) {
        let (counts, starts) = partition(cuts);
        let len = pieces.len() / self.count;
        let pieces_cuts: Vec<usize> = (0..=self.count).map(|rank| rank * len).collect();
        let (piece_counts, piece_starts) = partition(&pieces_cuts);
        let sent = Partition::new(values, counts, &starts[..self.count]);
        let mut received = PartitionMut::new(pieces, piece_counts, &piece_starts[..self.count]);
        SimpleCommunicator::world().all_to_all_varcount_into(&sent, &mut received);
    }

    fn collect(&self, own: &[f32], cuts: &[usize], values: &mut [f32]) {
        let (counts, starts) = partition(cuts);
        let mut received = PartitionMut::new(values, counts, &starts[..self.count]);
        SimpleCommunicator::world().all_gather_varcount_into(own, &mut received);
    }

    fn broadcast(&self, bytes: &mut Vec<u8>) {
        let world = SimpleCommunicator::world();
        let root = world.process_at_rank(0);
        let mut len = bytes.len() as u64;
        root.broadcast_into(&mut len);
        bytes.resize(len as usize, 0);
        root.broadcast_into(&mut bytes[..]);
    }

    fn abort(&self) {
        SimpleCommunicator::world().abort(1)
    }
}

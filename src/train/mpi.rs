//! [`Ranks`] by MPI: the communication between the processes that `mpirun` started.
//!
//! MPI only transports data: sums are computed in [`ranks`](super::ranks), in an order that MPI's own
//! reductions do not guarantee. Gradients are sent as messages between each pair of processes, because MPI's
//! collective operations also copy a process's part to itself.

use std::sync::Arc;

use ::mpi::Threading;
use ::mpi::environment::{Universe, initialize_with_threading};
use ::mpi::request::scope;
use ::mpi::topology::SimpleCommunicator;
use ::mpi::traits::{Communicator, CommunicatorCollectives, Destination, Root, Source};

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

impl Mpi {
    /// Sends each other rank its numbers, and receives those that come from it. Nothing is copied to this
    /// rank itself.
    fn swap<'a>(&self, sent: impl Fn(usize) -> &'a [f32], received: Vec<&'a mut [f32]>) {
        let world = SimpleCommunicator::world();
        let others = |rank: &usize| *rank != self.rank;
        scope(|scope| {
            let received = received
                .into_iter()
                .enumerate()
                .filter(|(rank, numbers)| others(rank) && !numbers.is_empty());
            let mut requests: Vec<_> = received
                .map(|(rank, numbers)| {
                    world.process_at_rank(rank as i32).immediate_receive_into(scope, numbers)
                })
                .collect();
            let sent = (0..self.count).filter(others).map(|rank| (rank, sent(rank)));
            requests
                .extend(sent.filter(|(_, numbers)| !numbers.is_empty()).map(|(rank, numbers)| {
                    world.process_at_rank(rank as i32).immediate_send(scope, numbers)
                }));
            for request in requests {
                request.wait();
            }
        });
    }
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
        let len = pieces.len() / self.count;
        let received = if len == 0 { Vec::new() } else { pieces.chunks_exact_mut(len).collect() };
        self.swap(|rank| &values[cuts[rank]..cuts[rank + 1]], received);
    }

    fn collect(&self, cuts: &[usize], values: &mut [f32]) {
        let mut rest = values;
        let mut parts = Vec::with_capacity(self.count);
        for cut in cuts.windows(2) {
            let (part, after) = rest.split_at_mut(cut[1] - cut[0]);
            parts.push(part);
            rest = after;
        }
        let own = std::mem::take(&mut parts[self.rank]);
        let own = &*own;
        self.swap(|_| own, parts);
    }

    fn broadcast(&self, bytes: &mut Vec<u8>) {
        let world = SimpleCommunicator::world();
        let root = world.process_at_rank(0);
        let mut len = bytes.len() as u64;
        root.broadcast_into(&mut len);
        bytes.resize(len as usize, 0);
        // Nothing has an address that MPI refuses.
        if len > 0 {
            root.broadcast_into(&mut bytes[..]);
        }
    }

    fn abort(&self) {
        SimpleCommunicator::world().abort(1)
    }
}

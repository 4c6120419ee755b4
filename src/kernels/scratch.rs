//! Working memory for tasks: allocated once, one block per thread.
//!
//! A task that convolves some images needs room for their columns. It borrows the block of the thread that it
//! runs on, which is still in that core's cache from the previous task. The choice of block cannot change a
//! result: a task only reads values that it has written.

use std::sync::Mutex;

/// One block of working memory for each thread of the pool.
#[derive(Debug)]
pub struct Scratch<T> {
    blocks: Vec<Mutex<Vec<T>>>,
}

impl<T: Clone + Default> Scratch<T> {
    /// Blocks of `len` numbers for the threads of the current pool.
    pub fn new(len: usize) -> Self {
        let blocks = rayon::current_num_threads() + 1;
        Self { blocks: (0..blocks).map(|_| Mutex::new(vec![T::default(); len])).collect() }
    }

    /// Lends the current thread's block to `task`, which must not request another.
    ///
    /// # Panics
    /// If the blocks are shorter than `len`.
    pub fn with<R>(&self, len: usize, task: impl FnOnce(&mut [T]) -> R) -> R {
        let thread = rayon::current_thread_index().map_or(0, |i| i + 1);
        let mut block =
            self.blocks[thread % self.blocks.len()].lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        assert!(len <= block.len(), "a task needs {len} numbers of scratch and a block has {}", block.len());
        task(&mut block[..len])
    }
}

//! The memory needed to fit a mixture.

use super::{BLOCKS, Features, Mixture, SMALLEST_BLOCK};

impl Mixture {
    /// Bytes of memory that [`fit`](Mixture::fit) takes besides the codes, on `threads` threads: the sums of
    /// every block, the features and responsibilities of the blocks in work, and the M step's results.
    pub fn memory(images: usize, latent: usize, components: usize, threads: usize) -> u64 {
        let features = Features::new(latent).len as u128;
        let [images, components, latent] = [images, components, latent].map(|count| count as u128);
        let block = images.div_ceil(BLOCKS as u128).max(SMALLEST_BLOCK as u128).min(images);
        let sums = (images.div_ceil(block.max(1)) + 3) * components * features;
        let working = threads as u128 * block * (features + components);
        let mixtures = 2 * components * (latent * latent + latent + 1);
        u64::try_from(8 * (sums + working + mixtures)).unwrap_or(u64::MAX)
    }
}

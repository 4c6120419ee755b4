//! The memory needed to fit a mixture.

use super::{BLOCKS, Features, Mixture, SMALLEST_BLOCK, most_images};

impl Mixture {
    /// Bytes that a fit to [`images_to_fit`](Mixture::images_to_fit) takes at most, however many images there are; codes included.
    pub fn most_memory(pixels: usize, latent: usize, threads: usize) -> u64 {
        let images = most_images(pixels);
        let codes = 2 * size_of::<f32>() as u64 * images as u64 * latent as u64;
        codes.saturating_add(Self::memory(images, latent, Self::default_components(images), threads))
    }

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

//! The hash that detects changed data.

/// A hash of 64-bit words: h ← (rotl(h, 23) ⊕ word) · k for an odd k, mixed at the end. It never changes,
/// unlike the standard library's.
pub(crate) struct Fingerprint(u64);

impl Fingerprint {
    const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15; // 2⁶⁴ divided by the golden ratio, odd

    pub(crate) fn new() -> Self {
        Self(0x656c_626f_0000_0001)
    }

    pub(crate) fn number(&mut self, word: u64) {
        self.0 = (self.0.rotate_left(23) ^ word).wrapping_mul(Self::FACTOR);
    }

    /// Adds all words of 8 bytes; returns the remaining bytes.
    pub(crate) fn words<'b>(&mut self, bytes: &'b [u8]) -> &'b [u8] {
        let (words, rest) = bytes.as_chunks::<8>();
        words.iter().for_each(|word| self.number(u64::from_le_bytes(*word)));
        rest
    }

    /// The hash's internal state.
    pub(crate) fn state(&self) -> u64 {
        self.0
    }

    /// A hash that continues from `state`.
    pub(crate) fn at(state: u64) -> Self {
        Self(state)
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        let rest = self.words(bytes);
        let mut last = [0; 8];
        last[..rest.len()].copy_from_slice(rest);
        self.number(u64::from_le_bytes(last));
    }

    pub(crate) fn finish(self) -> u64 {
        let mixed = (self.0 ^ (self.0 >> 32)).wrapping_mul(Self::FACTOR);
        mixed ^ (mixed >> 29)
    }
}

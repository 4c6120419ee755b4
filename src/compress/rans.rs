//! rANS: a stack of symbols in an integer (Duda 2013, "Asymmetric numeral systems", arXiv:1311.2540, section
//! 3.3).
//!
//! A symbol that owns `frequency` of 2ʳ slots, from `start` on, is worth log₂(2ʳ/frequency) bits. Pushing it
//! increases the state x by that factor, and popping undoes it:
//!
//! ```text
//! push    x ← ⌊x / frequency⌋·2ʳ + start + (x mod frequency)
//! pop     slot = x mod 2ʳ, which tells the symbol;  x ← frequency·⌊x / 2ʳ⌋ + slot − start
//! ```
//!
//! The state is kept in [2³², 2⁶⁴) by moving words of 32 bits between it and a stack. A push is possible
//! without leaving the range if x < frequency·2⁶⁴⁻ʳ; otherwise the low word goes to the stack first. After a
//! pop, a state below 2³² takes a word from the stack. Both directions are inverse to each other, for any
//! symbol and any state. Proof: let y = frequency·⌊x/2ʳ⌋ + slot − start be the state after a pop, before it
//! takes a word. If y ≥ 2³², no word is taken, and y < frequency·2⁶⁴⁻ʳ since x < 2⁶⁴: the push moves no word
//! either. If y < 2³², the new state y·2³² + word is at least frequency·2⁶⁴⁻ʳ, because x ≥ 2³² makes y ≥
//! frequency·2³²⁻ʳ: the push moves that word back. In the other order the same two cases apply.
//!
//! So a coder can pop symbols of any distribution from bits with another meaning, and the reader restores
//! those bits by pushing the symbols again. Bits-back coding uses this (see [`super::blocks`]).
//!
//! **The first bits.** Popping needs bits before anything was pushed. They are fixed pseudo-random words that
//! reader and writer know, so they are not stored. A reader that has popped everything must end with exactly
//! these words, which checks the block. They are not free: what is popped from them has to be pushed once.

/// The state's lower bound.
const LOW: u64 = 1 << 32;

/// The state before the first symbol.
const FIRST_STATE: u64 = 0x9e37_79b9_7f4a_7c15;

/// The most bits of a distribution in tests.
#[cfg(test)]
const MAX_BITS: u32 = 28;

/// Slots of a symbol: `frequency` of 2ʳ from `start` on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Interval {
    pub(super) start: u32,
    pub(super) frequency: u32,
}

/// A stack of symbols.
#[derive(Clone, Debug)]
pub(super) struct Coder {
    state: u64,
    words: Vec<u32>,
    /// The number of known first words taken so far; `None` in a reader, which takes none.
    taken: Option<u32>,
    /// Whether a reader popped more than there was.
    exhausted: bool,
}

/// First word number `index`: the upper half of SplitMix64's output (Steele, Lea & Flood 2014).
fn first_word(index: u32) -> u32 {
    let mut z = 0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(u64::from(index) + 1);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((z ^ (z >> 31)) >> 32) as u32
}

impl Coder {
    /// An empty stack, to be filled.
    pub(super) fn writer() -> Self {
        Self { state: FIRST_STATE, words: Vec::new(), taken: Some(0), exhausted: false }
    }

    /// The stack that [`finish`](Self::finish) made; `None` if the bytes cannot be one.
    pub(super) fn reader(bytes: &[u8]) -> Option<Self> {
        let (words, rest) = bytes.as_chunks::<4>();
        let [high, low, words @ ..] = words else { return None };
        let state = u64::from(u32::from_le_bytes(*high)) << 32 | u64::from(u32::from_le_bytes(*low));
        let words = words.iter().rev().map(|word| u32::from_le_bytes(*word)).collect();
        (rest.is_empty() && state >= LOW).then_some(Self { state, words, taken: None, exhausted: false })
    }

    /// The stack as bytes: the state's upper and lower word, then the words in the order in which a reader
    /// takes them, all little-endian.
    pub(super) fn finish(&self) -> Vec<u8> {
        let state = [(self.state >> 32) as u32, self.state as u32];
        let words = state.iter().chain(self.words.iter().rev());
        words.flat_map(|word| word.to_le_bytes()).collect()
    }

    /// Pushes a symbol with these of 2^`bits` slots.
    #[inline(always)]
    pub(super) fn push(&mut self, Interval { start, frequency }: Interval, bits: u32) {
        debug_assert!(frequency > 0 && u64::from(start) + u64::from(frequency) <= 1 << bits);
        let frequency = u64::from(frequency);
        if self.state >> (64 - bits) >= frequency {
            self.words.push(self.state as u32);
            self.state >>= 32;
        }
        let (quotient, rest) = (self.state / frequency, self.state % frequency);
        self.state = (quotient << bits) + u64::from(start) + rest;
    }

    /// Pops a symbol: `find` gets a slot below 2^`bits`, and returns the symbol and the interval that
    /// contains the slot.
    #[inline(always)]
    pub(super) fn pop<S>(&mut self, bits: u32, find: impl FnOnce(u32) -> (S, Interval)) -> S {
        let slot = (self.state & ((1 << bits) - 1)) as u32;
        let (symbol, Interval { start, frequency }) = find(slot);
        debug_assert!(slot >= start && slot - start < frequency);
        self.state = u64::from(frequency) * (self.state >> bits) + u64::from(slot - start);
        if self.state < LOW {
            let word = self.words.pop().unwrap_or_else(|| self.first_word());
            self.state = self.state << 32 | u64::from(word);
        }
        symbol
    }

    #[cold]
    fn first_word(&mut self) -> u32 {
        let Some(taken) = &mut self.taken else {
            self.exhausted = true;
            return 0;
        };
        *taken += 1;
        first_word(*taken - 1)
    }

    /// Whether a reader popped more than there was: then its bytes do not encode these symbols.
    pub(super) fn is_exhausted(&self) -> bool {
        self.exhausted
    }

    /// Whether a reader has popped everything, and only the known first words are left.
    pub(super) fn is_at_start(&self) -> bool {
        let words = self.words.iter().rev().enumerate();
        !self.exhausted
            && self.state == FIRST_STATE
            && words.into_iter().all(|(at, word)| *word == first_word(at as u32))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::{Stream, stream};
    use rand::Rng;

    fn random_interval(bits: u32, rng: &mut impl Rng) -> Interval {
        let slots = 1_u64 << bits;
        let draw = |n: u64, rng: &mut dyn Rng| rng.next_u64() % n;
        let frequency = match draw(4, rng) {
            0 => 1,
            1 => slots - 1,
            _ => 1 + draw(slots - 1, rng),
        };
        Interval { start: draw(slots - frequency + 1, rng) as u32, frequency: frequency as u32 }
    }

    #[test]
    fn what_was_pushed_is_popped_and_what_was_popped_is_pushed_back() {
        for seed in 0..40 {
            let mut rng = stream(seed, Stream::Noise, 0);
            let mut coder = Coder::writer();
            let mut done = Vec::new();
            for _ in 0..500 {
                let bits = 1 + (rng.next_u32() % MAX_BITS);
                if rng.next_u32().is_multiple_of(3) {
                    // Pop a symbol of a distribution of two: the slots below `cut` and the others.
                    let cut = random_interval(bits, &mut rng).frequency;
                    let rest = Interval { start: cut, frequency: (1 << bits) - cut };
                    let below = Interval { start: 0, frequency: cut };
                    let popped =
                        coder.pop(bits, |slot| if slot < cut { (below, below) } else { (rest, rest) });
                    done.push((false, bits, popped));
                } else {
                    let interval = random_interval(bits, &mut rng);
                    coder.push(interval, bits);
                    done.push((true, bits, interval));
                }
            }
            let bytes = coder.finish();
            let mut reader = Coder::reader(&bytes).unwrap();
            for (pushed, bits, interval) in done.into_iter().rev() {
                assert!(!reader.is_at_start());
                if pushed {
                    reader.pop(bits, |slot| {
                        assert!(slot >= interval.start && slot - interval.start < interval.frequency);
                        ((), interval)
                    });
                } else {
                    reader.push(interval, bits);
                }
            }
            assert!(reader.is_at_start(), "seed {seed}");
        }
    }

    #[test]
    fn a_symbol_takes_its_bits() {
        let mut coder = Coder::writer();
        let mut bits = 0.0;
        let mut rng = stream(1, Stream::Noise, 0);
        for _ in 0..100_000 {
            // Probabilities from 2⁻²⁴ to nearly 1, each symbol drawn at its own rate: a random slot picks it.
            let cut = random_interval(24, &mut rng).frequency;
            let slot = rng.next_u32() >> 8;
            let interval = if slot < cut {
                Interval { start: 0, frequency: cut }
            } else {
                Interval { start: cut, frequency: (1 << 24) - cut }
            };
            bits += 24.0 - f64::from(interval.frequency).log2();
            coder.push(interval, 24);
        }
        let bytes = coder.finish().len() as f64;
        assert!((bytes - bits / 8.0).abs() < 16.0 + 1e-4 * bytes, "{bytes} bytes for {} bits", bits);
    }

    #[test]
    fn a_reader_notices_that_nothing_is_left() {
        let mut reader = Coder::reader(&Coder::writer().finish()).unwrap();
        assert!(reader.is_at_start());
        for _ in 0..100 {
            reader.pop(24, |slot| ((), Interval { start: slot, frequency: 1 }));
        }
        assert!(reader.is_exhausted() && !reader.is_at_start());
        for bytes in [&[][..], &[1; 7], &[0; 8], &[1; 9]] {
            assert!(Coder::reader(bytes).is_none(), "{bytes:?}");
        }
    }
}

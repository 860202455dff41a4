//! What a SYN says to itself: a sequence number that proves its answer and tells when it was sent.
//!
//! The upper 20 bits are a keyed hash of destination, destination port and source port (SipHash-2-4, Aumasson and
//! Bernstein 2012): who has not seen the SYN guesses them once in a million packets. The lower 12 are the time of
//! sending in milliseconds, hidden by further bits of the hash. The source port itself says which try it was.

/// How many different stamps there are: a little more than four seconds of milliseconds.
pub const STAMPS: u16 = 1 << 12;

/// The secret of one engine.
#[derive(Clone)]
pub struct Key {
    first: u64,
    second: u64,
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key(..)")
    }
}

impl Key {
    /// A key of 16 secret bytes.
    #[must_use]
    pub fn new(bytes: [u8; 16]) -> Self {
        let number = u128::from_le_bytes(bytes);
        #[expect(clippy::cast_possible_truncation, reason = "each half is what is wanted")]
        let (first, second) = (number as u64, (number >> 64) as u64);
        Self { first, second }
    }

    /// The sequence number of a SYN to `to`:`port` from `from_port`, sent at `stamp` (its lower 12 bits are kept).
    #[must_use]
    pub fn sequence(&self, to: u32, port: u16, from_port: u16, stamp: u16) -> u32 {
        self.hash(to, port, from_port) ^ u32::from(stamp % STAMPS)
    }

    /// The stamp in a sequence number, if it is one of ours.
    #[must_use]
    pub fn stamp(&self, to: u32, port: u16, from_port: u16, sequence: u32) -> Option<u16> {
        u16::try_from(self.hash(to, port, from_port) ^ sequence).ok().filter(|stamp| *stamp < STAMPS)
    }

    fn hash(&self, to: u32, port: u16, from_port: u16) -> u32 {
        let word = u64::from(to) | u64::from(port) << 32 | u64::from(from_port) << 48;
        let hash = self.siphash(word);
        #[expect(clippy::cast_possible_truncation, reason = "both halves are used")]
        let folded = (hash >> 32) as u32 ^ hash as u32;
        folded
    }

    /// SipHash-2-4 of eight bytes, given as a little-endian number.
    fn siphash(&self, word: u64) -> u64 {
        let mut state = [
            self.first ^ 0x736f_6d65_7073_6575,
            self.second ^ 0x646f_7261_6e64_6f6d,
            self.first ^ 0x6c79_6765_6e65_7261,
            self.second ^ 0x7465_6462_7974_6573,
        ];
        // The message's one word, then its length alone.
        for block in [word, 8 << 56] {
            state[3] ^= block;
            round(&mut state);
            round(&mut state);
            state[0] ^= block;
        }
        state[2] ^= 0xff;
        (0..4).for_each(|_| round(&mut state));
        state[0] ^ state[1] ^ state[2] ^ state[3]
    }
}

/// SipRound.
fn round([a, b, c, d]: &mut [u64; 4]) {
    *a = a.wrapping_add(*b);
    *b = b.rotate_left(13) ^ *a;
    *a = a.rotate_left(32);
    *c = c.wrapping_add(*d);
    *d = d.rotate_left(16) ^ *c;
    *a = a.wrapping_add(*d);
    *d = d.rotate_left(21) ^ *a;
    *c = c.wrapping_add(*b);
    *b = b.rotate_left(17) ^ *c;
    *c = c.rotate_left(32);
}

#[cfg(test)]
mod tests {
    use std::hash::Hasher;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_published_vector_of_eight_bytes_comes_out() {
        let key = Key::new(std::array::from_fn(|byte| u8::try_from(byte).unwrap()));
        assert_eq!(key.siphash(0x0706_0504_0302_0100), 0x93f5_f579_9a93_2462);
    }

    proptest! {
        #[test]
        #[expect(deprecated, reason = "the standard library's SipHash-2-4 serves as an independent one")]
        fn it_is_siphash_2_4(first: u64, second: u64, word: u64) {
            let mut theirs = std::hash::SipHasher::new_with_keys(first, second);
            theirs.write(&word.to_le_bytes());
            prop_assert_eq!(Key { first, second }.siphash(word), theirs.finish());
        }

        #[test]
        fn a_stamp_comes_back_and_only_to_its_own_probe(
            key: [u8; 16], to: u32, port: u16, from_port: u16, stamp in 0..STAMPS, other: u16
        ) {
            let key = Key::new(key);
            let sequence = key.sequence(to, port, from_port, stamp);
            prop_assert_eq!(key.stamp(to, port, from_port, sequence), Some(stamp));
            // One in a million other probes has the same bits, one in 2^40 twice.
            let strangers = [(to, port ^ other, from_port), (to ^ 1 << (other % 32), port, from_port ^ other)];
            let taken = strangers.iter().filter(|(a, b, c)| (*a, *b, *c) != (to, port, from_port))
                .filter(|(a, b, c)| key.stamp(*a, *b, *c, sequence).is_some()).count();
            prop_assert!(taken < 2);
        }
    }
}

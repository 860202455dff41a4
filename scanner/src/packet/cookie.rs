//! What a probe says to itself: a number that proves its answer and tells when it was sent.
//!
//! The upper 20 bits are a keyed hash of destination, destination port and lane (SipHash-2-4, Aumasson and Bernstein
//! 2012): who has not seen the probe guesses them once in a million packets. The lower 12 are the time of sending in
//! milliseconds, hidden by further bits of the hash. The lane, which is the source port or the identifier of a probe,
//! says which unit's and which try it was.

use std::net::IpAddr;

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

    /// Another key, for another use of the same secret.
    #[must_use]
    pub fn derive(&self, label: u64) -> Self {
        Self { first: self.siphash([label, 1]), second: self.siphash([label, 2]) }
    }

    /// The cookie of a probe to `to`:`port` from `lane`, sent at `stamp` (its lower 12 bits are kept).
    #[must_use]
    pub fn cookie(&self, to: IpAddr, port: u16, lane: u16, stamp: u16) -> u32 {
        self.hash(to, port, lane) ^ u32::from(stamp % STAMPS)
    }

    /// The stamp in a cookie, if it is one of ours.
    #[must_use]
    pub fn stamp(&self, to: IpAddr, port: u16, lane: u16, cookie: u32) -> Option<u16> {
        u16::try_from(self.hash(to, port, lane) ^ cookie).ok().filter(|stamp| *stamp < STAMPS)
    }

    fn hash(&self, to: IpAddr, port: u16, lane: u16) -> u32 {
        let ports = u64::from(port) << 32 | u64::from(lane) << 48;
        let hash = match to {
            IpAddr::V4(to) => self.siphash([u64::from(to.to_bits()) | ports]),
            IpAddr::V6(to) => {
                #[expect(clippy::cast_possible_truncation, reason = "both halves are used")]
                let (low, high) = (to.to_bits() as u64, (to.to_bits() >> 64) as u64);
                self.siphash([low, high, ports])
            }
        };
        #[expect(clippy::cast_possible_truncation, reason = "both halves are used")]
        let folded = (hash >> 32) as u32 ^ hash as u32;
        folded
    }

    /// SipHash-2-4 of some times eight bytes, given as little-endian numbers.
    fn siphash<const WORDS: usize>(&self, words: [u64; WORDS]) -> u64 {
        let mut state = [
            self.first ^ 0x736f_6d65_7073_6575,
            self.second ^ 0x646f_7261_6e64_6f6d,
            self.first ^ 0x6c79_6765_6e65_7261,
            self.second ^ 0x7465_6462_7974_6573,
        ];
        // The message's words, then its length alone.
        for block in words.into_iter().chain([(8 * WORDS as u64) << 56]) {
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
        assert_eq!(key.siphash([0x0706_0504_0302_0100]), 0x93f5_f579_9a93_2462);
    }

    proptest! {
        #[test]
        #[expect(deprecated, reason = "the standard library's SipHash-2-4 serves as an independent one")]
        fn it_is_siphash_2_4(first: u64, second: u64, words: [u64; 3]) {
            let mut theirs = std::hash::SipHasher::new_with_keys(first, second);
            theirs.write(&words[0].to_le_bytes());
            prop_assert_eq!(Key { first, second }.siphash([words[0]]), theirs.finish());
            words[1..].iter().for_each(|word| theirs.write(&word.to_le_bytes()));
            prop_assert_eq!(Key { first, second }.siphash(words), theirs.finish());
        }

        #[test]
        fn a_stamp_comes_back_and_only_to_its_own_probe(
            key: [u8; 16], to: IpAddr, port: u16, lane: u16, stamp in 0..STAMPS, other: u16
        ) {
            let key = Key::new(key);
            let cookie = key.cookie(to, port, lane, stamp);
            prop_assert_eq!(key.stamp(to, port, lane, cookie), Some(stamp));
            // One in a million other probes has the same bits, one in 2^40 twice.
            let elsewhere = match to {
                IpAddr::V4(to) => IpAddr::from(std::net::Ipv4Addr::from_bits(to.to_bits() ^ 1 << (other % 32))),
                IpAddr::V6(to) => IpAddr::from(std::net::Ipv6Addr::from_bits(to.to_bits() ^ 1 << (other % 128))),
            };
            let strangers = [(to, port ^ other, lane), (elsewhere, port, lane ^ other)];
            let taken = strangers.iter().filter(|stranger| **stranger != (to, port, lane))
                .filter(|(a, b, c)| key.stamp(*a, *b, *c, cookie).is_some()).count();
            prop_assert!(taken < 2);
            prop_assert_ne!(key.derive(1).siphash([0]), key.derive(2).siphash([0]));
        }
    }
}

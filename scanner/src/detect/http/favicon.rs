//! The number by which inventories index favicons: MurmurHash3 (x86, 32 bits, seed 0) of the icon's base64.
//!
//! The base64 is broken into lines of 76 characters with a line feed after each, as MIME and Python's `encodebytes` do;
//! it is that text which is hashed, signed as 32-bit numbers are in those indexes.

use data_encoding::BASE64;

/// Characters per line of the base64.
const LINE: usize = 76;

/// The hash of an icon's bytes.
#[must_use]
pub fn favicon_hash(icon: &[u8]) -> i32 {
    let encoded = BASE64.encode(icon);
    let mut text = Vec::with_capacity(encoded.len() + encoded.len() / LINE + 1);
    for line in encoded.as_bytes().chunks(LINE) {
        text.extend_from_slice(line);
        text.push(b'\n');
    }
    murmur3(&text).cast_signed()
}

/// MurmurHash3_x86_32 by Austin Appleby (public domain), with seed 0.
fn murmur3(bytes: &[u8]) -> u32 {
    let scramble = |word: u32| word.wrapping_mul(0xcc9e_2d51).rotate_left(15).wrapping_mul(0x1b87_3593);
    let (words, tail) = bytes.as_chunks::<4>();
    let mut hash = words.iter().fold(0_u32, |hash, word| {
        (hash ^ scramble(u32::from_le_bytes(*word))).rotate_left(13).wrapping_mul(5).wrapping_add(0xe654_6b64)
    });
    let rest = tail.iter().rev().fold(0_u32, |rest, byte| rest << 8 | u32::from(*byte));
    hash ^= scramble(rest);
    hash ^= u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    hash = (hash ^ (hash >> 16)).wrapping_mul(0x85eb_ca6b);
    hash = (hash ^ (hash >> 13)).wrapping_mul(0xc2b2_ae35);
    hash ^ (hash >> 16)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Published values of the hash's test vectors for seed 0.
    #[test]
    fn the_hash_is_murmur3() {
        assert_eq!(murmur3(b""), 0);
        assert_eq!(murmur3(b"test"), 0xba6b_d213);
        assert_eq!(murmur3(b"Hello, world!"), 0xc036_3e43);
        assert_eq!(murmur3(b"The quick brown fox jumps over the lazy dog"), 0x2e4f_f723);
    }

    #[test]
    fn lines_are_part_of_it() {
        let long = [7; 100];
        let encoded = BASE64.encode(&long);
        let (first, second) = encoded.split_at(76);
        let expected = murmur3(format!("{first}\n{second}\n").as_bytes()).cast_signed();
        assert_eq!(favicon_hash(&long), expected);
    }
}

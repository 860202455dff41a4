//! The pre-shared key of a cluster: without it a connection ends before anything of ours is spoken.
//!
//! It keeps strangers off a listening port of a security tool (libp2p private networks, "pnet"); it does not tell
//! nodes apart, which is what [`crate::Identity`] is for. One cluster has one key; a join token carries it.

use std::fmt;

use zeroize::Zeroizing;

/// Bytes of a pre-shared key (libp2p pnet specification).
const KEY_BYTES: usize = 32;

/// 32 secret bytes that all nodes of a cluster share. `Debug` never prints them, and they are overwritten when it goes.
#[derive(Clone)]
pub struct PreSharedKey(Zeroizing<[u8; KEY_BYTES]>);

impl PreSharedKey {
    /// A new key from the operating system's randomness.
    #[must_use]
    pub fn generate() -> Self {
        let mut bytes = Zeroizing::new([0_u8; KEY_BYTES]);
        rand::fill(&mut *bytes);
        Self(bytes)
    }

    /// The key with these bytes.
    #[must_use]
    pub fn from_bytes(bytes: [u8; KEY_BYTES]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// The secret bytes, for a join token or a file.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; KEY_BYTES] {
        &self.0
    }

    /// The secret as 64 hex digits, for a join token or a file.
    #[must_use]
    pub fn to_hex(&self) -> String {
        hex::encode(self.as_bytes())
    }

    /// Reads 64 hex digits, with white space around them allowed.
    ///
    /// # Errors
    /// [`PreSharedKeyError`], which does not repeat the text.
    pub fn from_hex(text: &str) -> Result<Self, PreSharedKeyError> {
        let mut bytes = Zeroizing::new([0_u8; KEY_BYTES]);
        hex::decode_to_slice(text.trim(), bytes.as_mut_slice()).map_err(|_hides_the_key| PreSharedKeyError)?;
        Ok(Self(bytes))
    }
}

impl fmt::Debug for PreSharedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PreSharedKey(..)")
    }
}

/// Text that is not a pre-shared key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a pre-shared key is 64 hex digits")]
pub struct PreSharedKeyError;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_survives_hex_and_stays_out_of_debug_output() {
        let key = PreSharedKey::generate();
        assert_eq!(PreSharedKey::from_hex(&format!(" {}\n", key.to_hex())).unwrap().as_bytes(), key.as_bytes());
        assert_eq!(format!("{key:?}"), "PreSharedKey(..)");
        assert_eq!(PreSharedKey::from_hex("abc").unwrap_err(), PreSharedKeyError);
    }

    #[test]
    fn two_generated_keys_differ() {
        assert_ne!(PreSharedKey::generate().as_bytes(), PreSharedKey::generate().as_bytes());
    }
}

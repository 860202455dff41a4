//! The name of a node in the mesh: its public key.
//!
//! libp2p names peers by a hash form of the key, of which an ed25519 key is the whole content; here only the 32 bytes of
//! the key are kept, and the hash form is made where libp2p or a reader of text needs it. Other kinds of keys are no
//! Pentora node.

use std::fmt;
use std::str::FromStr;

use libp2p::identity::ed25519::PublicKey;
use libp2p::multihash::Multihash;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Bytes of an ed25519 public key (RFC 8032 section 5.1.5).
const KEY_BYTES: usize = 32;
/// What stands before the key in a libp2p public key: protobuf field 1 = 1 (ed25519), field 2 = 32 bytes (libp2p peer
/// id specification, "Keys").
const KEY_PREFIX: [u8; 4] = [0x08, 0x01, 0x12, 0x20];
/// Multihash code of the identity "hash", whose digest is its input (multicodec table).
const IDENTITY_HASH: u64 = 0x00;

/// The name of a node. `Display` and `FromStr` use libp2p's base58 text (`12D3KooW...`); serde writes that text in
/// human-readable formats and the 32 bytes of the key elsewhere.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerId([u8; KEY_BYTES]);

impl PeerId {
    /// The peer with this ed25519 public key. Bytes that are no key name a peer that cannot exist.
    #[must_use]
    pub const fn from_bytes(key: [u8; KEY_BYTES]) -> Self {
        Self(key)
    }

    /// The peer's ed25519 public key.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; KEY_BYTES] {
        &self.0
    }

    /// Whether `signature` over `message` was made by the identity with this name ([`crate::Identity::sign`]).
    #[must_use]
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        PublicKey::try_from_bytes(&self.0).is_ok_and(|key| key.verify(message, signature))
    }

    /// The name as libp2p writes it.
    pub(crate) fn to_libp2p(self) -> libp2p::PeerId {
        let mut digest = [0_u8; KEY_PREFIX.len() + KEY_BYTES];
        let (prefix, key) = digest.split_at_mut(KEY_PREFIX.len());
        prefix.copy_from_slice(&KEY_PREFIX);
        key.copy_from_slice(&self.0);
        let hash = Multihash::wrap(IDENTITY_HASH, &digest).expect("36 bytes fit into 64");
        libp2p::PeerId::from_multihash(hash).expect("an identity hash of at most 42 bytes is a peer id")
    }

    /// The name that libp2p gives; `None` for another kind of key than ed25519.
    pub(crate) fn from_libp2p(peer: &libp2p::PeerId) -> Option<Self> {
        let hash: &Multihash<64> = peer.as_ref();
        let key = hash.digest().strip_prefix(&KEY_PREFIX)?;
        if hash.code() != IDENTITY_HASH {
            return None;
        }
        key.try_into().ok().map(Self)
    }
}

impl fmt::Display for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.to_libp2p(), f)
    }
}

impl fmt::Debug for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for PeerId {
    type Err = PeerIdError;

    fn from_str(text: &str) -> Result<Self, PeerIdError> {
        let peer = libp2p::PeerId::from_str(text).map_err(|source| PeerIdError { reason: source.to_string() })?;
        Self::from_libp2p(&peer).ok_or_else(|| PeerIdError { reason: "it is not made of an ed25519 key".to_owned() })
    }
}

impl Serialize for PeerId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() { serializer.collect_str(self) } else { serializer.serialize_bytes(&self.0) }
    }
}

impl<'de> Deserialize<'de> for PeerId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            deserializer.deserialize_str(PeerIdVisitor)
        } else {
            deserializer.deserialize_bytes(PeerIdVisitor)
        }
    }
}

struct PeerIdVisitor;

impl de::Visitor<'_> for PeerIdVisitor {
    type Value = PeerId;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a peer id")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<PeerId, E> {
        text.parse().map_err(E::custom)
    }

    fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<PeerId, E> {
        bytes.try_into().map(PeerId).map_err(|_wrong_length| E::invalid_length(bytes.len(), &"32 bytes"))
    }
}

/// Text that does not name a peer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a peer id: {reason}")]
pub struct PeerIdError {
    reason: String,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Identity;

    #[test]
    fn a_peer_id_is_the_one_that_libp2p_makes_of_the_key() {
        let identity = Identity::from_secret([7; 32]);
        let libp2p_name = identity.keypair().public().to_peer_id();
        assert_eq!(identity.peer_id().to_libp2p(), libp2p_name);
        assert_eq!(PeerId::from_libp2p(&libp2p_name), Some(identity.peer_id()));
        assert_eq!(identity.peer_id().to_string(), libp2p_name.to_string());
    }

    #[test]
    fn a_peer_id_survives_text_json_and_bytes() {
        let peer = Identity::from_secret([7; 32]).peer_id();
        assert_eq!(peer.to_string().parse::<PeerId>().unwrap(), peer);
        assert_eq!(PeerId::from_bytes(*peer.as_bytes()), peer);
        let json = serde_json::to_string(&peer).unwrap();
        assert_eq!((json.len(), serde_json::from_str::<PeerId>(&json).unwrap()), (54, peer));
        let bytes = postcard::to_stdvec(&peer).unwrap();
        assert_eq!((bytes.len(), postcard::from_bytes::<PeerId>(&bytes).unwrap()), (33, peer));
        assert!(postcard::from_bytes::<PeerId>(&bytes[..20]).is_err());
    }

    #[test]
    fn names_of_other_kinds_of_keys_are_refused() {
        // The libp2p specification's example of an RSA peer id, and text that is none.
        for text in ["QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N", "12D3KooW", "", "peer"] {
            assert!(text.parse::<PeerId>().is_err(), "{text}");
        }
    }

    #[test]
    fn only_the_named_identity_signs_for_a_name() {
        let identity = Identity::from_secret([7; 32]);
        let signature = identity.sign(b"words");
        assert!(identity.peer_id().verify(b"words", &signature));
        assert!(!identity.peer_id().verify(b"swords", &signature));
        assert!(!Identity::generate().peer_id().verify(b"words", &signature));
        assert!(!PeerId::from_bytes([0xff; 32]).verify(b"words", &signature));
        assert!(!identity.peer_id().verify(b"words", &signature[1..]));
    }
}

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

/// The points of small order but for the sign of their first coordinate, which is the last bit, as keys write them; the last three are
/// written as nothing below the field's prime is (Bernstein and others, "Taming the many EdDSAs", table 1). A signature "of" such a key can be
/// made by anybody.
const SMALL_ORDER: [[u8; KEY_BYTES]; 7] = [
    with_ends(0x00, 0x00, 0x00),
    with_ends(0x01, 0x00, 0x00),
    [
        0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98, 0xf0, 0xd5, 0xdf,
        0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53, 0xfc, 0x05,
    ],
    [
        0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67, 0x0f, 0x2a, 0x20,
        0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac, 0x03, 0x7a,
    ],
    with_ends(0xec, 0xff, 0x7f),
    with_ends(0xed, 0xff, 0x7f),
    with_ends(0xee, 0xff, 0x7f),
];

const fn with_ends(first: u8, between: u8, last: u8) -> [u8; KEY_BYTES] {
    let mut bytes = [between; KEY_BYTES];
    bytes[0] = first;
    bytes[KEY_BYTES - 1] = last;
    bytes
}

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
        self.is_key() && PublicKey::try_from_bytes(&self.0).is_ok_and(|key| key.verify(message, signature))
    }

    /// Whether there can be a private key to it: its bytes are a point, and of those none that anybody can sign for.
    #[must_use]
    pub fn is_key(&self) -> bool {
        let mut unsigned = self.0;
        if let Some(last) = unsigned.last_mut() {
            *last &= 0x7f;
        }
        !SMALL_ORDER.contains(&unsigned) && PublicKey::try_from_bytes(&self.0).is_ok()
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
    fn nobody_signs_for_a_key_that_has_no_private_half() {
        for point in SMALL_ORDER {
            for sign in [0, 0x80] {
                let mut key = point;
                key[31] |= sign;
                let peer = PeerId::from_bytes(key);
                assert!(!peer.is_key(), "{key:02x?}");
                // R is the neutral point, s is 0: under some messages that was valid for each of these.
                let mut signature = [0; 64];
                signature[0] = 1;
                assert!((0..64_u8).all(|number| !peer.verify(&[number], &signature)), "{key:02x?}");
            }
        }
        let identity = Identity::from_secret([7; 32]);
        assert!(identity.peer_id().is_key() && identity.peer_id().verify(b"m", &identity.sign(b"m")));
    }

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

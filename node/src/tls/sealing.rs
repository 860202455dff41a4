//! Secrets that go through the log, sealed with what members have and nobody else has together (decision 0062): the cluster's id is in
//! the log, and the mesh's pre-shared key is not.

use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

const SEAL_VERSION: u8 = 1;

/// What a secret is sealed with.
#[derive(Clone, Copy)]
pub struct Sealing<'a> {
    /// The mesh's pre-shared key.
    pub psk: &'a [u8; 32],
    /// The cluster's id.
    pub cluster: &'a [u8; 16],
}

/// What is sealed: each kind with a key of its own, so that none opens in the place of another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sealed {
    /// The key of the cluster's certificate authority.
    Authority,
    /// A key that signs sessions.
    Session,
}

impl Sealed {
    fn words(self) -> &'static [u8] {
        match self {
            Self::Authority => b"pentora authority seal 1",
            Self::Session => b"pentora session seal 1",
        }
    }
}

impl Sealing<'_> {
    /// A secret, sealed, with the public half that it opens beside alone; `None` where ring does not seal.
    #[must_use]
    pub fn seal(&self, what: Sealed, beside: &[u8], secret: &[u8]) -> Option<Vec<u8>> {
        let nonce: [u8; NONCE_LEN] = rand::random();
        let mut body = secret.to_vec();
        let at = Nonce::assume_unique_for_key(nonce);
        self.key(what).seal_in_place_append_tag(at, Aad::from(beside), &mut body).ok()?;
        Some([&[SEAL_VERSION][..], &nonce, &body].concat())
    }

    /// What was sealed, overwritten when it goes; `None` where it was sealed with something else, or damaged.
    #[must_use]
    pub fn open(&self, what: Sealed, beside: &[u8], sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let mut bytes = match sealed.split_first() {
            Some((&SEAL_VERSION, rest)) => Zeroizing::new(rest.to_vec()),
            _ => return None,
        };
        let (nonce, body) = bytes.split_at_mut_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        self.key(what).open_in_place(nonce, Aad::from(beside), body).ok().map(|secret| Zeroizing::new(secret.to_vec()))
    }

    fn key(&self, what: Sealed) -> LessSafeKey {
        let mut hash = Sha256::new();
        hash.update(what.words());
        hash.update(self.cluster);
        hash.update(self.psk);
        let digest: [u8; 32] = hash.finalize().into();
        let key = UnboundKey::new(&CHACHA20_POLY1305, &digest).expect("SHA-256 has the length of its keys");
        LessSafeKey::new(key)
    }
}

impl std::fmt::Debug for Sealing<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sealing(not shown)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sealed_opens_beside_its_own_public_half_as_its_own_kind_and_in_its_own_cluster_alone() {
        let sealing = Sealing { psk: &[1; 32], cluster: &[2; 16] };
        let sealed = sealing.seal(Sealed::Session, b"public", b"secret").unwrap();
        assert_eq!(sealing.open(Sealed::Session, b"public", &sealed).unwrap().as_slice(), b"secret");
        assert_eq!(sealing.open(Sealed::Session, b"other", &sealed), None);
        assert_eq!(sealing.open(Sealed::Authority, b"public", &sealed), None);
        for other in [Sealing { psk: &[9; 32], ..sealing }, Sealing { cluster: &[9; 16], ..sealing }] {
            assert_eq!(other.open(Sealed::Session, b"public", &sealed), None);
        }
        for damaged in [&sealed[..0], &sealed[..1], &sealed[..13], &sealed[..sealed.len() - 1], &[2; 40]] {
            assert_eq!(sealing.open(Sealed::Session, b"public", damaged), None);
        }
    }
}

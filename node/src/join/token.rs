//! The join token as a user sees it: `pnj_` and base32 of everything a new node needs to be let in.
//!
//! It holds the cluster's id, the mesh's pre-shared key, the token's public half and its secret, and the fingerprint of the
//! authority that signs the certificates of the cluster's APIs. Whoever has it can
//! reach the mesh's port, so it is short-lived and counted.
//!
//! **Invariant: what the cluster keeps of a token is of no use for joining.** The secret is the seed of a signing key, the
//! log keeps its public half, and a joiner shows a signature over its own peer id: whoever reads the log, or sees the
//! signature, can join as nobody with it.

use std::fmt;
use std::str::FromStr;

use data_encoding::BASE32_NOPAD;
use pentora_p2p::{Identity, PeerId, PreSharedKey};
use pentora_raft::{ClusterId, Digest, TokenId};
use zeroize::{Zeroize, Zeroizing};

use crate::tls::Fingerprint;

const PREFIX: &str = "pnj_";
/// 3, with the authority's fingerprint. 2, since joiners sign: what version 1 showed was what the log kept.
const VERSION: u8 = 3;
/// Without an authority: of a cluster that has none yet, or of an earlier release.
const VERSION_BEFORE: u8 = 2;
const SECRET_BYTES: usize = 16;
const BODY_BYTES: usize = 1 + 16 + 32 + 8 + SECRET_BYTES;
const AUTHORITY_BYTES: usize = 32;
const CHECK_BYTES: usize = 4;

/// A join token. `Display` shows it whole; `Debug` does not. Its secrets are overwritten when it goes.
#[derive(Clone, PartialEq, Eq)]
pub struct JoinToken {
    /// The cluster it is for.
    pub cluster: ClusterId,
    /// The mesh's key.
    pub psk: [u8; 32],
    /// Its public half.
    pub id: TokenId,
    secret: [u8; SECRET_BYTES],
    /// Who signs the certificates of the cluster's APIs.
    pub authority: Option<Fingerprint>,
}

impl Drop for JoinToken {
    fn drop(&mut self) {
        self.psk.zeroize();
        self.secret.zeroize();
    }
}

/// A text that is no join token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JoinTokenError {
    /// Another kind of text.
    #[error("this is not a join token: it should begin with `pnj_`")]
    Prefix,
    /// Cut, mistyped or padded.
    #[error("the join token is damaged: it was cut or mistyped")]
    Damaged,
    /// From another release.
    #[error("the join token has version {found}, this release knows {VERSION}")]
    Version {
        /// Its version.
        found: u8,
    },
}

impl JoinToken {
    /// A new token for `cluster`, random in both halves.
    #[must_use]
    pub fn generate(cluster: ClusterId, psk: &PreSharedKey) -> Self {
        let (id, secret) = (TokenId(rand::random()), rand::random());
        Self { cluster, psk: *psk.as_bytes(), id, secret, authority: None }
    }

    /// The token of a request that may come again: the same each time, its id from `key`, and its secret from what nobody else
    /// has (`secret`, what the request shows) and all that it asks for.
    #[must_use]
    pub fn of_request(cluster: ClusterId, psk: &PreSharedKey, key: &[u8], secret: &[u8], asked: &[u8]) -> Self {
        let drawn = |what: &str, parts: &[&[u8]]| {
            let mut bytes = Zeroizing::new([what.as_bytes(), cluster.0.as_slice()].concat());
            for part in parts {
                bytes.extend((part.len() as u64).to_le_bytes());
                bytes.extend_from_slice(part);
            }
            Digest::of(&bytes).0
        };
        let mut id = [0; 8];
        id.iter_mut().zip(drawn("pentora join token id", &[key])).for_each(|(byte, drawn)| *byte = drawn);
        let mut drawn_secret = [0; SECRET_BYTES];
        let from = Zeroizing::new(drawn("pentora join token secret", &[secret, key, asked]));
        drawn_secret.iter_mut().zip(from.iter()).for_each(|(byte, drawn)| *byte = *drawn);
        Self { cluster, psk: *psk.as_bytes(), id: TokenId(id), secret: drawn_secret, authority: None }
    }

    /// The same, for a cluster with this authority.
    #[must_use]
    pub fn of_authority(self, authority: Option<Fingerprint>) -> Self {
        Self { authority, ..self }
    }

    /// A token with the id of another and a secret of its own, as one who guesses would show.
    #[cfg(test)]
    pub(crate) fn guessed(&self) -> Self {
        Self { secret: rand::random(), ..self.clone() }
    }

    /// What the cluster keeps of the secret: the key that proofs are verified with.
    #[must_use]
    pub fn key(&self) -> Digest {
        Digest(*self.signer().peer_id().as_bytes())
    }

    /// Proves to a member that the node which it knows as `joiner` has the secret.
    #[must_use]
    pub fn prove(&self, joiner: PeerId) -> Vec<u8> {
        self.signer().sign(&statement(self.cluster, self.id, joiner))
    }

    /// The signing key that the secret is the seed of; the same secret under another id or cluster is another key.
    fn signer(&self) -> Identity {
        let parts: [&[u8]; 4] = [b"pentora join token key", &self.cluster.0, &self.id.0, &self.secret];
        Identity::from_secret(Digest::of(&Zeroizing::new(parts.concat())).0)
    }
}

/// Whether `proof` shows that `joiner` has the secret of the token whose key the cluster keeps.
#[must_use]
pub(super) fn proves(key: Digest, cluster: ClusterId, token: TokenId, joiner: PeerId, proof: &[u8]) -> bool {
    PeerId::from_bytes(key.0).verify(&statement(cluster, token, joiner), proof)
}

/// What a joiner signs: that this peer joins this cluster by this token.
fn statement(cluster: ClusterId, token: TokenId, joiner: PeerId) -> Vec<u8> {
    let parts: [&[u8]; 4] = [b"pentora join proof", &cluster.0, &token.0, joiner.as_bytes()];
    parts.concat()
}

/// What a worker signs that registers: that it is this peer, with this token.
fn own_statement(cluster: ClusterId, token: TokenId, worker: PeerId) -> Vec<u8> {
    let parts: [&[u8]; 4] = [b"pentora worker proof", &cluster.0, &token.0, worker.as_bytes()];
    parts.concat()
}

/// What a worker shows an API of its join token: who it is, and that it has the secret. `pnw_` and base32 of the token's
/// public half, the worker's key, the proof that the mesh's door takes as well, and a proof that the key is its own: on the mesh the
/// connection proves that, and here whoever has a token could name any worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credential {
    /// The token's public half.
    pub token: TokenId,
    /// The worker's key.
    pub peer: PeerId,
    /// A signature with the token's secret.
    pub proof: Vec<u8>,
    /// A signature with the worker's key over the same.
    pub own_proof: Vec<u8>,
}

const CREDENTIAL_PREFIX: &str = "pnw_";
const PROOF_BYTES: usize = 64;

impl JoinToken {
    /// The credential of the worker with this key.
    #[must_use]
    pub fn credential(&self, worker: &Identity) -> Credential {
        let peer = worker.peer_id();
        let own_proof = worker.sign(&own_statement(self.cluster, self.id, peer));
        Credential { token: self.id, peer, proof: self.prove(peer), own_proof }
    }
}

impl Credential {
    /// Whether it shows that its worker has the secret of the token whose key the cluster keeps, and has its own key.
    #[must_use]
    pub(super) fn proves(&self, key: Digest, cluster: ClusterId) -> bool {
        let Self { token, peer, proof, own_proof } = self;
        proves(key, cluster, *token, *peer, proof) && peer.verify(&own_statement(cluster, *token, *peer), own_proof)
    }
}

impl fmt::Display for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts: [&[u8]; 4] = [&self.token.0, self.peer.as_bytes(), &self.proof, &self.own_proof];
        write!(f, "{CREDENTIAL_PREFIX}{}", BASE32_NOPAD.encode(&parts.concat()).to_ascii_lowercase())
    }
}

impl FromStr for Credential {
    type Err = JoinTokenError;

    fn from_str(text: &str) -> Result<Self, JoinTokenError> {
        let body = text.trim().strip_prefix(CREDENTIAL_PREFIX).ok_or(JoinTokenError::Prefix)?;
        let bytes = BASE32_NOPAD.decode(body.to_ascii_uppercase().as_bytes());
        let bytes = bytes.map_err(|_not_base32| JoinTokenError::Damaged)?;
        let (token, rest) = bytes.split_first_chunk::<8>().ok_or(JoinTokenError::Damaged)?;
        let (peer, rest) = rest.split_first_chunk::<32>().ok_or(JoinTokenError::Damaged)?;
        let (proof, own_proof) = rest.split_first_chunk::<PROOF_BYTES>().ok_or(JoinTokenError::Damaged)?;
        if own_proof.len() != PROOF_BYTES {
            return Err(JoinTokenError::Damaged);
        }
        let (peer, proof) = (PeerId::from_bytes(*peer), proof.to_vec());
        Ok(Self { token: TokenId(*token), peer, proof, own_proof: own_proof.to_vec() })
    }
}

impl fmt::Display for JoinToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // As long as it gets: where a vector grows, it leaves what it had behind.
        let mut bytes = Zeroizing::new(Vec::with_capacity(BODY_BYTES + AUTHORITY_BYTES + CHECK_BYTES));
        bytes.push(if self.authority.is_some() { VERSION } else { VERSION_BEFORE });
        bytes.extend(self.cluster.0);
        bytes.extend(self.psk);
        bytes.extend(self.id.0);
        bytes.extend(self.secret);
        bytes.extend(self.authority.iter().flat_map(|authority| authority.0));
        let check = Digest::of(&bytes);
        bytes.extend(check.0.iter().take(CHECK_BYTES));
        let mut text = Zeroizing::new(BASE32_NOPAD.encode(&bytes));
        text.make_ascii_lowercase();
        write!(f, "{PREFIX}{}", *text)
    }
}

impl fmt::Debug for JoinToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "JoinToken({}, secret not shown)", self.id)
    }
}

impl FromStr for JoinToken {
    type Err = JoinTokenError;

    fn from_str(text: &str) -> Result<Self, JoinTokenError> {
        let body = text.trim().strip_prefix(PREFIX).ok_or(JoinTokenError::Prefix)?;
        let text = Zeroizing::new(body.to_ascii_uppercase());
        let bytes = BASE32_NOPAD.decode(text.as_bytes()).map_err(|_not_base32| JoinTokenError::Damaged)?;
        let bytes = Zeroizing::new(bytes);
        let (body, _) = bytes.split_at_checked(BODY_BYTES).ok_or(JoinTokenError::Damaged)?;
        let size = match body.first() {
            Some(&VERSION) => BODY_BYTES + AUTHORITY_BYTES,
            Some(&VERSION_BEFORE) => BODY_BYTES,
            Some(&found) => return Err(JoinTokenError::Version { found }),
            None => return Err(JoinTokenError::Damaged),
        };
        let (body, check) = bytes.split_at_checked(size).ok_or(JoinTokenError::Damaged)?;
        let (_, fields) = body.split_first().ok_or(JoinTokenError::Damaged)?;
        if !Digest::of(body).0.starts_with(check) || check.len() != CHECK_BYTES {
            return Err(JoinTokenError::Damaged);
        }
        let mut at = fields;
        Ok(Self {
            cluster: ClusterId(take(&mut at)?),
            psk: take(&mut at)?,
            id: TokenId(take(&mut at)?),
            secret: take(&mut at)?,
            authority: if at.is_empty() { None } else { Some(Fingerprint(take(&mut at)?)) },
        })
    }
}

fn take<const N: usize>(bytes: &mut &[u8]) -> Result<[u8; N], JoinTokenError> {
    let (head, rest) = bytes.split_first_chunk::<N>().ok_or(JoinTokenError::Damaged)?;
    *bytes = rest;
    Ok(*head)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_token_of_a_request_is_the_same_each_time_and_whoever_lacks_what_it_showed_cannot_make_it() {
        let psk = PreSharedKey::from_bytes([5; 32]);
        let make = |key: &str, shown: &str, asked: &str| {
            JoinToken::of_request(ClusterId([1; 16]), &psk, key.as_bytes(), shown.as_bytes(), asked.as_bytes())
        };
        let first = make("k", "Bearer a", "{}");
        assert!(first == make("k", "Bearer a", "{}"));
        assert!(make("l", "Bearer a", "{}").id != first.id, "another request");
        for other in [make("k", "Bearer b", "{}"), make("k", "Bearer a", "{ }"), make("", "kBearer a", "{}")] {
            assert!(other.key() != first.key());
        }
        assert_eq!(make("k", "Bearer b", "{}").id, first.id, "known as the same, and refused as another");
    }

    #[test]
    fn a_credential_reads_back_and_shows_nothing_of_the_secret() {
        let token = JoinToken::generate(ClusterId([1; 16]), &PreSharedKey::from_bytes([2; 32]));
        let worker = Identity::from_secret([3; 32]);
        let credential = token.credential(&worker);
        let text = credential.to_string();
        assert_eq!(text.parse::<Credential>().unwrap(), credential);
        assert!(credential.proves(token.key(), token.cluster));
        assert!(!credential.proves(token.key(), ClusterId([2; 16])));
        // Whoever has the token and knows another worker's public id.
        let (eve, peer) = (token.credential(&Identity::from_secret([4; 32])), worker.peer_id());
        for forged in [
            Credential { proof: token.prove(peer), peer, ..eve.clone() },
            Credential { proof: token.prove(peer), own_proof: token.prove(peer), peer, ..eve.clone() },
            Credential { peer, ..eve.clone() },
            Credential { peer: eve.peer, ..credential.clone() },
            Credential { token: TokenId([7; 8]), ..credential.clone() },
        ] {
            assert!(!forged.proves(token.key(), token.cluster), "{forged:?}");
        }
        let bytes = BASE32_NOPAD.decode(text[4..].to_ascii_uppercase().as_bytes()).unwrap();
        for secret in [&token.secret[..], &token.psk[..]] {
            assert!(!bytes.windows(secret.len()).any(|part| part == secret));
        }
        // Of an earlier release, which anybody with the token could make for any worker.
        let before = format!("pnw_{}", BASE32_NOPAD.encode(&bytes[..bytes.len() - PROOF_BYTES]).to_ascii_lowercase());
        for bad in ["", "pnw_", "pnw_!", "pnj_aaaa", &text[..text.len() - 8], &before, &token.to_string()] {
            assert!(bad.parse::<Credential>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_token_reads_back_and_hides_its_secret_in_debug() {
        let token = JoinToken::generate(ClusterId([1; 16]), &PreSharedKey::generate());
        let text = token.to_string();
        assert_eq!(text.parse::<JoinToken>().unwrap(), token);
        let with = token.clone().of_authority(Some(Fingerprint([5; 32])));
        assert_eq!(with.to_string().parse::<JoinToken>().unwrap(), with);
        assert_eq!((with.key(), with.id), (token.key(), token.id), "the secret is the same");
        assert_eq!(format!(" {text}\n").parse::<JoinToken>().unwrap(), token);
        assert!(!format!("{token:?}").contains(&text[40..]));
    }

    #[test]
    fn a_cut_or_mistyped_token_is_damaged_and_another_text_is_no_token() {
        let token = JoinToken::generate(ClusterId([1; 16]), &PreSharedKey::generate());
        let text = token.clone().of_authority(Some(Fingerprint([5; 32]))).to_string();
        for cut in 4..text.len() {
            assert!(text[..cut].parse::<JoinToken>().is_err(), "{cut}");
        }
        let text = token.to_string();
        assert_eq!("abc".parse::<JoinToken>(), Err(JoinTokenError::Prefix));
        for cut in 4..text.len() {
            assert!(text[..cut].parse::<JoinToken>().is_err(), "{cut}");
        }
        let typo = text.replace(text.chars().nth(30).unwrap(), "0");
        assert_eq!(typo.parse::<JoinToken>(), Err(JoinTokenError::Damaged));
    }

    #[test]
    fn a_proof_holds_for_its_token_its_cluster_and_its_joiner_alone_and_what_is_kept_of_it_proves_nothing() {
        let token = JoinToken::generate(ClusterId([1; 16]), &PreSharedKey::generate());
        let (joiner, other) = (Identity::generate().peer_id(), Identity::generate().peer_id());
        let proof = token.prove(joiner);
        assert!(proves(token.key(), token.cluster, token.id, joiner, &proof));
        assert!(!proves(token.key(), token.cluster, token.id, other, &proof), "seen and shown by another");
        assert!(!proves(token.key(), ClusterId([2; 16]), token.id, joiner, &proof));
        assert!(!proves(token.key(), token.cluster, TokenId([7; 8]), joiner, &proof));
        for kept in [token.key().0.to_vec(), Digest::of(&token.key().0).0.to_vec(), Vec::new()] {
            assert!(!proves(token.key(), token.cluster, token.id, other, &kept));
        }
        // One who reads the log and takes what it keeps for the secret.
        let seeded = Identity::from_secret(token.key().0).sign(&statement(token.cluster, token.id, other));
        assert!(!proves(token.key(), token.cluster, token.id, other, &seeded));
        // What an earlier release kept is the digest of a secret, and no key of anybody.
        assert!(!proves(Digest::of(&token.secret), token.cluster, token.id, joiner, &proof));
    }

    proptest! {
        #[test]
        fn no_text_makes_parsing_panic(text in ".{0,200}") {
            let _ = text.parse::<JoinToken>();
            let _ = format!("pnj_{text}").parse::<JoinToken>();
        }
    }
}

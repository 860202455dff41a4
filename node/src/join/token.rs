//! The join token as a user sees it: `pnj_` and base32 of everything a new node needs to be let in.
//!
//! It holds the cluster's id, the mesh's pre-shared key, the token's public half and its secret. Whoever has it can
//! reach the mesh's port, so it is short-lived and counted; the cluster keeps only a digest of the secret.

use std::fmt;
use std::str::FromStr;

use data_encoding::BASE32_NOPAD;
use pentora_p2p::PreSharedKey;
use pentora_raft::{ClusterId, Digest, TokenId};

const PREFIX: &str = "pnj_";
const VERSION: u8 = 1;
const SECRET_BYTES: usize = 16;
const BODY_BYTES: usize = 1 + 16 + 32 + 8 + SECRET_BYTES;
const CHECK_BYTES: usize = 4;

/// A join token. `Display` shows it whole; `Debug` does not.
#[derive(Clone, PartialEq, Eq)]
pub struct JoinToken {
    /// The cluster it is for.
    pub cluster: ClusterId,
    /// The mesh's key.
    pub psk: [u8; 32],
    /// Its public half.
    pub id: TokenId,
    secret: [u8; SECRET_BYTES],
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
        Self { cluster, psk: *psk.as_bytes(), id: TokenId(rand::random()), secret: rand::random() }
    }

    /// What the cluster keeps of the secret.
    #[must_use]
    pub fn secret_digest(&self) -> Digest {
        Digest::of(&self.secret)
    }
}

impl fmt::Display for JoinToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = vec![VERSION];
        bytes.extend(self.cluster.0);
        bytes.extend(self.psk);
        bytes.extend(self.id.0);
        bytes.extend(self.secret);
        let check = Digest::of(&bytes);
        bytes.extend(check.0.iter().take(CHECK_BYTES));
        write!(f, "{PREFIX}{}", BASE32_NOPAD.encode(&bytes).to_ascii_lowercase())
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
        let bytes =
            BASE32_NOPAD.decode(body.to_ascii_uppercase().as_bytes()).map_err(|_not_base32| JoinTokenError::Damaged)?;
        let (body, check) = bytes.split_at_checked(BODY_BYTES).ok_or(JoinTokenError::Damaged)?;
        let (&version, fields) = body.split_first().ok_or(JoinTokenError::Damaged)?;
        if version != VERSION {
            return Err(JoinTokenError::Version { found: version });
        }
        if !Digest::of(body).0.starts_with(check) || check.len() != CHECK_BYTES {
            return Err(JoinTokenError::Damaged);
        }
        let mut at = fields;
        Ok(Self {
            cluster: ClusterId(take(&mut at)?),
            psk: take(&mut at)?,
            id: TokenId(take(&mut at)?),
            secret: take(&mut at)?,
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
    fn a_token_reads_back_and_hides_its_secret_in_debug() {
        let token = JoinToken::generate(ClusterId([1; 16]), &PreSharedKey::generate());
        let text = token.to_string();
        assert_eq!(text.parse::<JoinToken>().unwrap(), token);
        assert_eq!(format!(" {text}\n").parse::<JoinToken>().unwrap(), token);
        assert!(!format!("{token:?}").contains(&text[40..]));
    }

    #[test]
    fn a_cut_or_mistyped_token_is_damaged_and_another_text_is_no_token() {
        let text = JoinToken::generate(ClusterId([1; 16]), &PreSharedKey::generate()).to_string();
        assert_eq!("abc".parse::<JoinToken>(), Err(JoinTokenError::Prefix));
        for cut in 4..text.len() {
            assert!(text[..cut].parse::<JoinToken>().is_err(), "{cut}");
        }
        let typo = text.replace(text.chars().nth(30).unwrap(), "0");
        assert_eq!(typo.parse::<JoinToken>(), Err(JoinTokenError::Damaged));
    }

    proptest! {
        #[test]
        fn no_text_makes_parsing_panic(text in ".{0,200}") {
            let _ = text.parse::<JoinToken>();
            let _ = format!("pnj_{text}").parse::<JoinToken>();
        }
    }
}

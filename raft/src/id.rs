//! The names of things in the log: nodes, jobs, epochs, chunk digests.
//!
//! Ids come from committed log indexes, so none is ever used twice; nothing here reads a clock or an RNG.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A node's id: the log index of the entry that admitted it (1 for the node that began the cluster). Never reused.
pub type NodeId = u64;

/// The log index of the grant that made a lease; a completion with another epoch is not counted.
pub type Epoch = u64;

/// A job's id: the log index of its submission. Printed as `job-00002a`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct JobId(pub u64);

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "job-{:06x}", self.0)
    }
}

/// A text that is no id of the kind asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{}` is not {expected}", text.escape_debug())]
pub struct IdError {
    text: String,
    expected: &'static str,
}

impl FromStr for JobId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let error = || IdError { text: text.chars().take(64).collect(), expected: "a job id such as job-00002a" };
        let digits = text.strip_prefix("job-").ok_or_else(error)?;
        if digits.is_empty() || digits.len() > 16 || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(error());
        }
        u64::from_str_radix(digits, 16).map(JobId).map_err(|_parse| error())
    }
}

/// What a cluster is called on the wire: 16 random bytes made when it begins.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Default)]
pub struct ClusterId(pub [u8; 16]);

impl FromStr for ClusterId {
    type Err = IdError;

    /// As it is written, and in no other way: what is signed names it by its text.
    fn from_str(text: &str) -> Result<Self, IdError> {
        parse_hex(text).map(ClusterId).filter(|id| id.to_string() == text).ok_or_else(|| IdError {
            text: text.chars().take(64).collect(),
            expected: "a cluster's id of 32 hexadecimal digits",
        })
    }
}

/// What tells one recovery of a cluster from another: 16 random bytes made when a node goes on alone.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RecoveryId(pub [u8; 16]);

/// The public half of a join token: 8 random bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TokenId(pub [u8; 8]);

impl FromStr for TokenId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        parse_hex(text).map(TokenId).ok_or_else(|| IdError {
            text: text.chars().take(64).collect(),
            expected: "a token id of 16 hexadecimal digits",
        })
    }
}

/// A BLAKE3 digest: the name of a chunk, or of a secret that is not kept in the clear.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Default)]
pub struct Digest(pub [u8; 32]);

impl Digest {
    /// The digest of `bytes`.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(*blake3::hash(bytes).as_bytes())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(f, self.0.get(..6).unwrap_or(&self.0))
    }
}

impl FromStr for Digest {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        parse_hex(text).map(Digest).ok_or_else(|| IdError {
            text: text.chars().take(80).collect(),
            expected: "a digest of 64 hexadecimal digits",
        })
    }
}

/// Random bytes and digests are written as the hexadecimal digits of their bytes.
macro_rules! written_in_hex {
    ($how:ident: $($id:ty),+) => {$(
        impl fmt::$how for $id {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write_hex(f, &self.0)
            }
        }
    )+};
}

written_in_hex!(Display: ClusterId, RecoveryId, TokenId, Digest);
// Of a digest the first bytes do: see above.
written_in_hex!(Debug: ClusterId, RecoveryId, TokenId);

/// The id under which a node scans: `wrk_` and its name with everything but letters and digits as `_`.
#[must_use]
pub fn worker_id(name: &str) -> String {
    let mut id = String::with_capacity(name.len() + 4);
    id.push_str("wrk_");
    id.extend(name.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '_' }));
    id
}

/// The longest name of a node, in bytes: that of a label in the configuration.
const NODE_NAME_BYTES_MAX: usize = 63;

/// Whether a node may be called this: 1 to 63 letters, digits and `._:/@+=-`, as in the configuration.
#[must_use]
pub fn is_node_name(name: &str) -> bool {
    let good = |c: char| c.is_ascii_alphanumeric() || "._:/@+=-".contains(c);
    (1..=NODE_NAME_BYTES_MAX).contains(&name.len())
        && !name.starts_with('-')
        && name.chars().all(good)
        && !looks_secret(name)
}

/// What the secrets of access tokens, join tokens and workers begin with.
const SECRET_BEGINNINGS: [&str; 3] = ["pna_", "pnj_", "pnw_"];
/// How many letters and digits behind one make a secret: no word of a name has as many.
const SECRET_CHARACTERS_MIN: usize = 16;

/// Whether a text that is to be a name has a token's secret in it: names are read by everybody.
#[must_use]
pub fn looks_secret(text: &str) -> bool {
    let text = text.to_ascii_lowercase();
    SECRET_BEGINNINGS.iter().any(|beginning| {
        text.match_indices(beginning).any(|(at, _)| {
            let behind = text.get(at + beginning.len()..).unwrap_or_default();
            behind.bytes().take_while(u8::is_ascii_alphanumeric).count() >= SECRET_CHARACTERS_MIN
        })
    })
}

fn write_hex(f: &mut fmt::Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
}

fn parse_hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    if text.len() != 2 * N || !text.is_ascii() {
        return None;
    }
    let mut bytes = [0u8; N];
    for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_id_parses_back_and_nothing_else_does() {
        let id = JobId(0x2a);
        assert_eq!(id.to_string(), "job-00002a");
        assert_eq!("job-00002a".parse::<JobId>().unwrap(), id);
        for bad in ["", "job-", "00002a", "job-xyz", "job-00000000000000002a", "job-+1"] {
            assert!(bad.parse::<JobId>().is_err(), "{bad}");
        }
        let error = "a\n\u{1b}[2J".parse::<JobId>().unwrap_err().to_string();
        assert_eq!(error, r"`a\n\u{1b}[2J` is not a job id such as job-00002a");
    }

    #[test]
    fn digests_and_tokens_parse_back_from_hex() {
        let digest = Digest::of(b"chunk");
        assert_eq!(digest.to_string().parse::<Digest>().unwrap(), digest);
        let token = TokenId([1, 2, 3, 4, 5, 6, 7, 255]);
        assert_eq!(token.to_string().parse::<TokenId>().unwrap(), token);
        assert!("zz".parse::<Digest>().is_err());
    }

    #[test]
    fn a_worker_id_keeps_letters_and_digits_of_the_name() {
        assert_eq!(worker_id("US-east.1"), "wrk_us_east_1");
    }
}

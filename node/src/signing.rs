//! Keys of people: who signed an order, as a text that a configuration takes, and the file with the private half.
//!
//! What is signed begins with words that say what it is, so that no signature under one kind of thing is one under another.

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use data_encoding::BASE64URL_NOPAD;
use pentora_p2p::{Identity, IdentityError, PeerId};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// What the text of a public key begins with.
const PREFIX: &str = "ed25519:";
/// Most characters of the name behind a key. Ours: what is read in a table.
const NAME_CHARS_MAX: usize = 64;

/// The public half of a person's key: `ed25519:` and 43 characters of base64url (RFC 4648 section 5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SignerKey(PeerId);

/// A text that is no public key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{}` is no key such as `ed25519:AbC...`, which `pentora key show` prints", text.escape_debug())]
pub struct NoKey {
    text: String,
}

impl SignerKey {
    /// Whether this key signed `message` as a thing of a `kind`.
    #[must_use]
    pub fn signed(&self, kind: &str, message: &[u8], signature: &[u8]) -> bool {
        self.0.verify(&framed(kind, message), signature)
    }
}

impl fmt::Display for SignerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}{}", BASE64URL_NOPAD.encode(self.0.as_bytes()))
    }
}

impl FromStr for SignerKey {
    type Err = NoKey;

    fn from_str(text: &str) -> Result<Self, NoKey> {
        let bytes = text.strip_prefix(PREFIX).and_then(|rest| BASE64URL_NOPAD.decode(rest.as_bytes()).ok());
        let key = bytes.and_then(|bytes| bytes.try_into().ok()).map(PeerId::from_bytes);
        key.map(Self).ok_or_else(|| NoKey { text: text.chars().take(80).collect() })
    }
}

impl Serialize for SignerKey {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for SignerKey {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?.parse().map_err(de::Error::custom)
    }
}

/// A key that is trusted, and what its owner calls whoever has it: `ed25519:AbC... alice`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustedKey {
    /// The key.
    pub key: SignerKey,
    /// The name behind it.
    pub name: Option<String>,
}

impl FromStr for TrustedKey {
    type Err = NoKey;

    fn from_str(text: &str) -> Result<Self, NoKey> {
        let (key, name) = text.trim().split_once(char::is_whitespace).unwrap_or((text.trim(), ""));
        let name = name.trim();
        if name.chars().count() > NAME_CHARS_MAX || name.chars().any(char::is_control) {
            return Err(NoKey { text: text.chars().take(80).collect() });
        }
        let key: SignerKey = key.parse()?;
        if !key.0.is_key() {
            // Anybody can sign for it.
            return Err(NoKey { text: text.chars().take(80).collect() });
        }
        Ok(Self { key, name: (!name.is_empty()).then(|| name.to_owned()) })
    }
}

impl fmt::Display for TrustedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.key)?;
        self.name.as_ref().map_or(Ok(()), |name| write!(f, " {name}"))
    }
}

/// A person's key with its private half.
#[derive(Debug, Clone)]
pub struct PersonKey(Identity);

impl PersonKey {
    /// A new one.
    #[must_use]
    pub fn generate() -> Self {
        Self(Identity::generate())
    }

    /// Reads one from its file.
    ///
    /// # Errors
    /// The file cannot be read, others may read it, or it holds something else.
    pub fn load(path: &Path) -> Result<Self, IdentityError> {
        Identity::load(path).map(Self)
    }

    /// Writes it into a new file for its owner alone.
    ///
    /// # Errors
    /// The system's; a file that is there is never written over.
    pub fn save(&self, path: &Path) -> Result<(), IdentityError> {
        self.0.save(path)
    }

    /// The public half.
    #[must_use]
    pub fn public(&self) -> SignerKey {
        SignerKey(self.0.peer_id())
    }

    /// Signs `message` as a thing of a `kind`: 64 bytes.
    #[must_use]
    pub fn sign(&self, kind: &str, message: &[u8]) -> Vec<u8> {
        self.0.sign(&framed(kind, message))
    }
}

/// What is signed: the kind, a zero byte, the message.
fn framed(kind: &str, message: &[u8]) -> Vec<u8> {
    [kind.as_bytes(), &[0], message].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_written_as_it_is_read_and_signs_one_kind_of_thing_alone() {
        let person = PersonKey::generate();
        let text = person.public().to_string();
        assert_eq!((text.parse::<SignerKey>().unwrap(), text.len()), (person.public(), 51));
        let trusted: TrustedKey = format!(" {text}  alice of red team ").parse().unwrap();
        assert_eq!((trusted.key, trusted.name.as_deref()), (person.public(), Some("alice of red team")));
        assert_eq!(trusted.to_string(), format!("{text} alice of red team"));
        let signature = person.sign("order", b"scan");
        assert!(person.public().signed("order", b"scan", &signature));
        assert!(!person.public().signed("report", b"scan", &signature));
        assert!(!person.public().signed("order", b"scam", &signature));
        assert!(!PersonKey::generate().public().signed("order", b"scan", &signature));
        assert!(!person.public().signed("order", b"scan", &signature[..63]));
    }

    #[test]
    fn what_is_no_key_is_refused_with_what_stands_there() {
        let key = PersonKey::generate().public().to_string();
        for bad in ["", "ed25519:", "ed25519:AAAA", &key[8..], &format!("{key}A"), &format!("{key}="), "rsa:AAAA alice"]
        {
            let error = bad.parse::<TrustedKey>().unwrap_err().to_string();
            assert!(error.contains("pentora key show"), "{bad}: {error}");
        }
        assert!(format!("{key} {}", "x".repeat(65)).parse::<TrustedKey>().is_err());
    }
}

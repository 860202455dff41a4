//! The fingerprint of a certificate: SHA-256 over its DER, as `openssl x509 -fingerprint -sha256` prints it.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

const PREFIX: &str = "sha256:";

/// What a certificate is known by.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Fingerprint(pub [u8; 32]);

impl Fingerprint {
    /// That of a certificate, of which this is the DER.
    #[must_use]
    pub fn of(der: &[u8]) -> Self {
        Self(Sha256::digest(der).into())
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}{}", hex::encode(self.0))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fingerprint({self})")
    }
}

impl FromStr for Fingerprint {
    type Err = String;

    /// Reads 64 hexadecimal digits, with colons between them or `sha256:` in front as tools write them.
    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let digits: String = text.strip_prefix(PREFIX).unwrap_or(text).chars().filter(|c| *c != ':').collect();
        let mut bytes = [0; 32];
        let shown = || text.chars().take(80).collect::<String>().escape_debug().to_string();
        hex::decode_to_slice(&digits, &mut bytes)
            .map_err(|_not_hex| format!("`{}` is not a fingerprint: sha256: and 64 hexadecimal digits", shown()))?;
        Ok(Self(bytes))
    }
}

impl TryFrom<String> for Fingerprint {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Fingerprint> for String {
    fn from(fingerprint: Fingerprint) -> Self {
        fingerprint.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_is_read_as_tools_write_it_and_what_is_none_is_told() {
        let fingerprint = Fingerprint::of(b"abc");
        // FIPS 180-4's own example.
        let plain = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(fingerprint.to_string(), format!("sha256:{plain}"));
        let pairs: Vec<String> =
            plain.to_uppercase().as_bytes().chunks(2).map(|two| String::from_utf8_lossy(two).into_owned()).collect();
        for text in [plain.to_owned(), format!("sha256:{plain}"), pairs.join(":"), format!(" {plain}\n")] {
            assert_eq!(text.parse(), Ok(fingerprint), "{text}");
        }
        for bad in ["", "sha256:", "ab", "zz", &format!("{plain}00"), &plain[1..], "a\u{7}"] {
            assert!(bad.parse::<Fingerprint>().unwrap_err().contains("is not a fingerprint"), "{bad:?}");
        }
    }
}

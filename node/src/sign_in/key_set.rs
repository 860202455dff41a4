//! The public keys of a provider (a JWK set, RFC 7517 section 5). Each key is for the one algorithm that its kind says, whatever a JWT
//! asks for; keys with a shared secret, for encryption, and of kinds that are not known are left out.

use data_encoding::BASE64URL_NOPAD;
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::Deserialize;

use super::compact::Look;
use super::fault::Fault;

/// Keys of one set. Ours: providers have two or three.
const KEYS_MAX: usize = 64;
/// The largest set that is read, in bytes.
pub(super) const SET_BYTES_MAX: usize = 256 << 10;
/// Sizes of a public key: Ed25519 (RFC 8037), a coordinate on P-256 (RFC 7518 section 6.2.1.2), an RSA modulus of 2,048 to 8,192 bits.
const ED25519_BYTES: usize = 32;
const COORDINATE_BYTES: usize = 32;
const MODULUS_BYTES: std::ops::RangeInclusive<usize> = 256..=1024;
const UNCOMPRESSED: u8 = 4;

/// The keys of a provider.
#[derive(Debug, Clone, Default)]
pub struct KeySet(Vec<Key>);

#[derive(Debug, Clone)]
struct Key {
    kid: Option<String>,
    algorithm: Algorithm,
    key: DecodingKey,
    /// The same as bytes: what is decoded by cannot be compared.
    public: Vec<u8>,
}

impl Key {
    fn is(&self, other: &Self) -> bool {
        (&self.kid, self.algorithm, &self.public) == (&other.kid, other.algorithm, &other.public)
    }
}

/// Why a set is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeySetError {
    /// It is no JWK set.
    #[error("it is no JWK set: {0}")]
    Unread(String),
    /// It is too large.
    #[error("it has more than {SET_BYTES_MAX} bytes")]
    TooLarge,
    /// It has too many keys.
    #[error("it has {0} keys, and at most {KEYS_MAX} are looked through")]
    TooMany(usize),
    /// None of its keys is of use here.
    #[error("none of its keys signs by EdDSA (Ed25519), ES256 (P-256) or RS256 (RSA, 2048 to 8192 bits)")]
    NoKey,
}

#[derive(Deserialize)]
struct SetText {
    keys: Vec<KeyText>,
}

/// A key as it is written. What a provider says beside is not read.
#[derive(Default, Deserialize)]
#[serde(default)]
struct KeyText {
    kty: String,
    crv: String,
    kid: Option<String>,
    alg: Option<String>,
    #[serde(rename = "use")]
    usage: Option<String>,
    x: String,
    y: String,
    n: String,
    e: String,
}

impl KeySet {
    /// Reads a set.
    ///
    /// # Errors
    /// [`KeySetError`].
    pub fn read(bytes: &[u8]) -> Result<Self, KeySetError> {
        if bytes.len() > SET_BYTES_MAX {
            return Err(KeySetError::TooLarge);
        }
        let set: SetText = serde_json::from_slice(bytes).map_err(|error| KeySetError::Unread(error.to_string()))?;
        if set.keys.len() > KEYS_MAX {
            return Err(KeySetError::TooMany(set.keys.len()));
        }
        let keys: Vec<Key> = set.keys.into_iter().filter_map(KeyText::key).collect();
        if keys.is_empty() { Err(KeySetError::NoKey) } else { Ok(Self(keys)) }
    }

    /// How many keys it has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether it has none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether every key of `before` is still in it.
    pub(super) fn has_all_of(&self, before: &Self) -> bool {
        before.0.iter().all(|key| self.0.iter().any(|own| own.is(key)))
    }

    /// Whether a JWT was signed by the key that it names, or where it names none, by the only one.
    pub(super) fn signed(&self, look: &Look<'_>) -> Result<(), Fault> {
        let named: Vec<&Key> = match (&look.kid, self.0.as_slice()) {
            (Some(kid), keys) => keys.iter().filter(|key| key.kid.as_ref() == Some(kid)).collect(),
            (None, [only]) => vec![only],
            (None, _) => Vec::new(),
        };
        let mut fault = Fault::KeyUnknown;
        // Two kinds of key may have one name (RFC 7517 section 4.5).
        for key in named {
            match look.is_signed_by(key.algorithm, &key.key) {
                Ok(()) => return Ok(()),
                Err(Fault::Algorithm) if fault == Fault::Signature => {}
                Err(other) => fault = other,
            }
        }
        Err(fault)
    }
}

impl KeyText {
    /// The key, where it is one that signs and that is known here.
    fn key(self) -> Option<Key> {
        let bytes = |text: &str| BASE64URL_NOPAD.decode(text.as_bytes()).ok();
        let (algorithm, word, key, public) = match (self.kty.as_str(), self.crv.as_str()) {
            ("OKP", "Ed25519") => {
                let point = bytes(&self.x).filter(|point| point.len() == ED25519_BYTES)?;
                (Algorithm::EdDSA, "EdDSA", DecodingKey::from_ed_der(&point), point)
            }
            ("EC", "P-256") => {
                let coordinate = |text| bytes(text).filter(|bytes| bytes.len() == COORDINATE_BYTES);
                let point = [vec![UNCOMPRESSED], coordinate(&self.x)?, coordinate(&self.y)?].concat();
                (Algorithm::ES256, "ES256", DecodingKey::from_ec_der(&point), point)
            }
            ("RSA", _) => {
                let modulus = bytes(&self.n).filter(|modulus| MODULUS_BYTES.contains(&modulus.len()))?;
                let exponent = bytes(&self.e).filter(|exponent| (1..=8).contains(&exponent.len()))?;
                let key = DecodingKey::from_rsa_raw_components(&modulus, &exponent);
                (Algorithm::RS256, "RS256", key, [modulus, exponent].concat())
            }
            _ => return None,
        };
        let is_other = self.alg.as_deref().is_some_and(|alg| alg != word && !(alg == "Ed25519" && word == "EdDSA"));
        let is_for_secrets = self.usage.as_deref().is_some_and(|usage| usage != "sig");
        (!is_other && !is_for_secrets).then_some(Key { kid: self.kid, algorithm, key, public })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::made::{Issuer, Kind};
    use super::*;

    #[test]
    fn a_set_has_the_keys_that_sign_by_what_is_known_and_no_other() {
        let all = [Kind::Ed25519, Kind::P256, Kind::Rsa].map(Issuer::new);
        let mut keys: Vec<_> = all.iter().map(Issuer::jwk).collect();
        keys.push(json!({"kty": "oct", "kid": "h", "k": "c2VjcmV0"}));
        keys.push(json!({"kty": "EC", "crv": "P-521", "kid": "p", "x": "AA", "y": "AA"}));
        let mut other = all[2].jwk();
        other["use"] = json!("enc");
        keys.push(other.clone());
        (other["use"], other["alg"]) = (json!("sig"), json!("PS256"));
        keys.push(other.clone());
        (other["alg"], other["n"]) = (json!("RS256"), json!("AQAB"));
        keys.push(other);
        let set = KeySet::read(json!({"keys": keys}).to_string().as_bytes()).unwrap();
        assert_eq!(set.len(), 3);
        assert!(!set.is_empty());
    }

    #[test]
    fn a_set_has_all_of_another_where_each_key_is_there_under_its_name() {
        let [one, other] = [Kind::Ed25519, Kind::P256].map(Issuer::new);
        let set = |keys: &[Value]| KeySet::read(json!({"keys": keys}).to_string().as_bytes()).unwrap();
        let both = set(&[other.jwk(), one.jwk()]);
        assert!(both.has_all_of(&set(&[one.jwk()])) && both.has_all_of(&set(&[one.jwk(), other.jwk()])));
        assert!(both.has_all_of(&KeySet::default()));
        assert!(!set(&[one.jwk()]).has_all_of(&both));
        assert!(!both.has_all_of(&set(&[one.clone().named("other").jwk()])), "another name");
        assert!(!both.has_all_of(&set(&[Issuer::new(Kind::Ed25519).jwk()])), "another key of that name");
    }

    #[test]
    fn what_is_no_set_is_told_why() {
        let many = vec![json!({"kty": "oct"}); 65];
        let large = vec![b' '; SET_BYTES_MAX + 1];
        for (bytes, part) in [
            (&b"<html>"[..], "no JWK set"),
            (b"[]", "no JWK set"),
            (b"{\"keys\": 5}", "no JWK set"),
            (b"{\"keys\": []}", "none of its keys"),
            (&large, "more than"),
            (json!({"keys": many}).to_string().as_bytes(), "65 keys"),
        ] {
            let error = KeySet::read(bytes).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
    }
}

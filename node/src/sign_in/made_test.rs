//! Providers and forgers for tests: JWTs that are signed as providers sign them, by ring alone and not by the library that reads them.

use std::path::Path;

use data_encoding::{BASE64, BASE64URL_NOPAD};
use pentora_raft::command::AccessRole;
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256, RsaKeyPair,
    RsaPublicKeyComponents,
};
use serde_json::{Value, json};

use super::{Provider, Source};

/// Two keys of RSA in PKCS #8, made for these tests and used nowhere else: ring makes none.
const RSA: &str = "\
    MIIEvgIBADANBgkqhkiG9w0BAQEFAASCBKgwggSkAgEAAoIBAQDKsxKdef6vPSOjc9DNcn/PWboiVV43rK995LJk+UdK8Lgi\
    I13MDW4sxUkLBWoGbosaJQYQ/jQYdYbvYTTxyGt8gktT8PbAXCdDShVVeiynWrQbvawOqiqCQl7zRI/Oak16FSaAn84syoat\
    GvteGauwSIpjPga/PLb0t0cvX/mUr8JJyBIohB7HnuSlVj3C02tww1xilzoLG/rx4SgQINt245Ot2ejB3kEf6okwT0XoBAfM\
    4K2+Ln0GtX/vA10NeuxM43wC4z9DdISml45iSMK7jkkAJsKXxbADo5mTa2AY2eM/n+sZEEWnw7rllpzYozCjQmshA+bM367M\
    f7bhCrdvAgMBAAECggEABfxCF6khvoYm2acl10TP38BdurECozcG+sflOXR5VaeRO5DUlQRTtVOHoKFJGP+F1zPL36lh9Toj\
    NEmOiRH9+omhmwAjVfLJEtExNODyrwGcQX8MTmW/85cgiDzSC92GHcDAh+b87Sp3Z5n2w9Ff1hWORvfutkVSS0+a9OjEmegf\
    qMKQVIPncD0ax2X7aLCPdsqILH05j2t/4FfT9weT5ujfF2PiY4O6ATmprYzqe45rz0EIVGAEqU+MK3vLtTYDP/qvUcragb8X\
    MjvKy7RLCelGH2+OSFSJjmqQJOQRZN+MMvOcKTmrzIE/zh99LFCxkmvlIWTwvCPR6FXRGnqigQKBgQDsICYehNFSJ00gXLsn\
    WJku7jAhYaFWAJ+opDRlqedMCGFXjqYfCgrPQujGjMWDj68Oow2ZvXGvEJMV5ekfn8oKfKFS7By8VUmDR8IUZydhjeZSqmDB\
    AE93aDdubsBaAbQnU4m0CqL7OtzwyULO31Sk++LRTTa9JoCXBa7QlTX1PwKBgQDbwq8/bczx9wb4SO2vnoLQi2mQpJk7KJzM\
    WEv9tXIAqDBgR97IoiswBIZnM3CRSKfQuhBNYzfaKupXOGmc29fEISxYwTCeQrm/5hx1EtnLPqc3iZ6EMxSb6D0NsHCfGasl\
    8xjEOjWYWFaA9csPnRg3ow1TR9VY6xY5MrEsGqfB0QKBgQCMas3gZkGIZmDCNwMA8foeY3zxzPpBh5tqkUOrlW870tv4UpdN\
    bA5jlLmSoVIv23lR7fr/ix4Y6nVdl1yb9s0SkWzqQAkSonFWBY1PzswnglgOns1s2L9pFeuo22m93LeCj3YbQBwN5MJQ2o7F\
    MSBIAJawuwcrUsMzjCiaV7E/xwKBgQCdmglEW+JWxOnitaqAABWgqdqTOPgLTRzmD4yv7qhLgFLxOZm0GVkPnq8k4+ceyhRP\
    xKBcX4N2msBkvLhBHginR4MeQ64yUXgU/1n5PAOlltElKzTbaialiPAAGUErWKU9GhHw6C33i6K96YgvMmJjxDOSPjnrAu11\
    J72X+6XDgQKBgCy8/+eYLk88tEWsjvzAzJO1UWw9pwob4XIDy4hzvRQJjQ19pEYlS2GVLra6O9S80AyHQUdV0A59TrOsdEEn\
    ZtlOp8n5zp9fk65dVTQOron4CW7yGVxTAcUIGXCME5iF4gxD4pkTNtlAiHJSND3CCuqzxWcqg5dIdrCSswDjYhaj";
const OTHER_RSA: &str = "\
    MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQCpVNGiYocDLPfZCh+L5qByf0fnik/OGFd8f3BbPvzITCTi\
    5HsrbQLt7JZhjLQyt0gtbAsEOFwHTX5K+W37nqvzItskqDMzn8UFl/PzulwYvrBEqX0IrGX1rteX0ZGH6GjD1scsPzaWOIKg\
    RPreyyMZmU8AitM34Ytkputw+msi4uBc3GytvSRvKMwwXeYQ0qRYT4ZG7SIF3L3uyZOFmkMtXxP+3+a11nhqNOLCHOVQR8mU\
    2AIwOockWx8reWXRAZdx5CohymcJHClIkfPh4GWyNwuCCe+KtkxiePajUqWB21DNZR101AEVOEdE8+joG4Oz2Q/f0mLnKse+\
    5b5/tgALAgMBAAECggEAGv+AOdJYxsutgWg+Sw7h8m99y5p/X+j8pfJ8Zmf+uNbUeMKc1XnY4jjQafbw/OHBJdDYrtBnnUMg\
    nvFHCmaBnE9TPnR8+Wmraa67wYFV/Byx5mNZoVTkys0Y6HFhsULVKrMSEul0mXNNdyKYbIZZ7ykaR11bEPP/8XPgYnqNiMRT\
    iwn59FhFLnGxln0wg2SWZP3wvRS+0jvUo3eUsiczMxeXUaGWjmIR7pPuMxH3CkeKwiup8+lkJXTUGWCxkMr8zX7siEFqKHTh\
    yaSDF3b/3VtHCcwLjpV0UDhgFk7HzTILeCjPGj0HVFqaXmps0myjdNfEYko6HZNQHwCfhPR4VQKBgQDZHXl6hfeLsoJOUkHa\
    LPbpWWNGdeF38ewigMFcJjTnFhsIBil18fXH61a0oIP0MzZfBZS8KrDYFkD87TDUypCupwKaCs+F2rznzTSQKut4be+L7ynv\
    DZ/dlrJoxwABwKuVZOCXdCGN0UaRLKGJzEyKP6LCdljshVw1KA52o0Qc1wKBgQDHqIBbmQHlx1j0MBct3FvmqhCC2uL5Fd0L\
    FVabWHT6TD0uT3WwCTVXBxjUVhRiX4RZ1mlSiPQF0ec33gWHZ8OmcrbA1d2Ui6tmBbshn6Ob2ZvaV8BeTnkM1ZVC/EklwhBk\
    oUGDyuJ4yOafttW7etCOvQgWKgJ8mPgtHMtiuRR77QKBgQDT1nZYna3Sl/GcCZZHEeg39gdvEEVViq4jXA1No9mqP19QjPKX\
    KeXtkimfQ557/hvmysM8dUrnC4+NOMCUXrCcOEfJlRK2P55hbU8D+1yUvG8l0czQejKpOggJQ2E2VI8VzL92BtFWVgLMUweq\
    M7PakAx2QJKy88vr8ZFrIBGtMQKBgH8hWen5OW4YSxnhbUD0aUgszaqkuZWlSESAZ88uuf2Ogf509hkLI/2wNS0vSneBHoMd\
    tZ6qOcdi6nl2U8ruVXQs4xVSmG63qIGj8I3uWn0oSMb0zTa/fPChJxOqFOGH+mw5CcBjdWU3dzIHd3yTLS1WTEngogi4Vn5T\
    MWZBNzvZAoGAcZmkbnhvPAU+WarVqKoeDF8bcKmZlhHoaebJ3Kr0Z4bXnGIwRBBUzgE5y2+unZkmrVMprYO5F/IReSLcVc0/\
    ab10/fkjfRdWCiDn2KFbllsLCzupSi8bdL1J2xdEBkWUmof3gburpcH2+Mu/eJojOmFVLR3pKKdZW6l6Ul6ydjc=";

/// A provider whose keys are in this file; a group of `ops` makes an operator.
pub(crate) fn provider_of(keys: &Path) -> Provider {
    Provider {
        issuer: "https://idp.example".into(),
        audience: "pentora".into(),
        keys: Source::File(keys.to_owned()),
        role_claim: "groups".into(),
        name_claim: "sub".into(),
        roles: vec![("ops".into(), AccessRole::Operator)],
    }
}

/// Writes the keys of these as a provider shows them.
pub(crate) fn write_keys(path: &Path, of: &[&Issuer]) {
    std::fs::write(path, shown(of)).unwrap();
}

/// The keys of these as a provider shows them.
pub(crate) fn shown(of: &[&Issuer]) -> String {
    let keys: Vec<Value> = of.iter().map(|issuer| issuer.jwk()).collect();
    json!({"keys": keys}).to_string()
}

/// What kind of key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Ed25519,
    P256,
    Rsa,
}

/// A provider with one key.
#[derive(Debug, Clone)]
pub(crate) struct Issuer {
    kind: Kind,
    kid: Option<String>,
    typ: String,
    pkcs8: Vec<u8>,
}

impl Issuer {
    pub(crate) fn new(kind: Kind) -> Self {
        let random = SystemRandom::new();
        let pkcs8 = match kind {
            Kind::Ed25519 => Ed25519KeyPair::generate_pkcs8(&random).unwrap().as_ref().to_vec(),
            Kind::P256 => {
                let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random);
                pkcs8.unwrap().as_ref().to_vec()
            }
            Kind::Rsa => BASE64.decode(RSA.as_bytes()).unwrap(),
        };
        Self { kind, kid: Some(format!("{kind:?}")), typ: "JWT".into(), pkcs8 }
    }

    pub(crate) fn kid(&self) -> &str {
        self.kid.as_deref().unwrap()
    }

    pub(crate) fn named(self, kid: &str) -> Self {
        Self { kid: Some(kid.into()), ..self }
    }

    pub(crate) fn without_name(self) -> Self {
        Self { kid: None, ..self }
    }

    /// Signs what says that it is something else.
    pub(crate) fn of_kind(self, typ: &str) -> Self {
        Self { typ: typ.into(), ..self }
    }

    /// The public half as a JWK.
    pub(crate) fn jwk(&self) -> Value {
        let text = |bytes: &[u8]| BASE64URL_NOPAD.encode(bytes);
        let mut jwk = match self.kind {
            Kind::Ed25519 => {
                let pair = Ed25519KeyPair::from_pkcs8(&self.pkcs8).unwrap();
                json!({"kty": "OKP", "crv": "Ed25519", "x": text(pair.public_key().as_ref())})
            }
            Kind::P256 => {
                let pair = self.p256();
                let point = pair.public_key().as_ref();
                json!({"kty": "EC", "crv": "P-256", "x": text(&point[1..33]), "y": text(&point[33..])})
            }
            Kind::Rsa => {
                let pair = RsaKeyPair::from_pkcs8(&self.pkcs8).unwrap();
                let RsaPublicKeyComponents { n, e } = RsaPublicKeyComponents::<Vec<u8>>::from(pair.public());
                json!({"kty": "RSA", "use": "sig", "alg": "RS256", "n": text(&n), "e": text(&e)})
            }
        };
        if let Some(kid) = &self.kid {
            jwk["kid"] = json!(kid);
        }
        jwk
    }

    fn p256(&self) -> EcdsaKeyPair {
        EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &self.pkcs8, &SystemRandom::new()).unwrap()
    }

    /// A JWT with these claims.
    pub(crate) fn sign(&self, claims: &Value) -> String {
        let alg = match self.kind {
            Kind::Ed25519 => "EdDSA",
            Kind::P256 => "ES256",
            Kind::Rsa => "RS256",
        };
        let mut heading = json!({"typ": self.typ, "alg": alg});
        if let Some(kid) = &self.kid {
            heading["kid"] = json!(kid);
        }
        let message = message(&heading, claims);
        let signature = match self.kind {
            Kind::Ed25519 => {
                Ed25519KeyPair::from_pkcs8(&self.pkcs8).unwrap().sign(message.as_bytes()).as_ref().to_vec()
            }
            Kind::P256 => self.p256().sign(&SystemRandom::new(), message.as_bytes()).unwrap().as_ref().to_vec(),
            Kind::Rsa => {
                let pair = RsaKeyPair::from_pkcs8(&self.pkcs8).unwrap();
                let mut signature = vec![0; pair.public().modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message.as_bytes(), &mut signature).unwrap();
                signature
            }
        };
        format!("{message}.{}", BASE64URL_NOPAD.encode(&signature))
    }

    /// The same under this one's name, by a key of the same kind that is not its own.
    pub(crate) fn sign_with_other_key(&self, claims: &Value) -> String {
        let mut other = Self { kid: self.kid.clone(), ..Self::new(self.kind) };
        if self.kind == Kind::Rsa {
            other.pkcs8 = BASE64.decode(OTHER_RSA.as_bytes()).unwrap();
        }
        other.sign(claims)
    }
}

fn message(heading: &Value, claims: &Value) -> String {
    let part = |value: &Value| BASE64URL_NOPAD.encode(value.to_string().as_bytes());
    format!("{}.{}", part(heading), part(claims))
}

/// Heading and claims of a JWT.
pub(crate) fn parts(jwt: &str) -> (Value, Value) {
    let part = |at: usize| BASE64URL_NOPAD.decode(jwt.split('.').nth(at).unwrap().as_bytes()).unwrap();
    (serde_json::from_slice(&part(0)).unwrap(), serde_json::from_slice(&part(1)).unwrap())
}

/// The same with something else in it, under the signature of before.
pub(crate) fn altered(jwt: &str, change: impl FnOnce(&mut Value, &mut Value)) -> String {
    let (mut heading, mut claims) = parts(jwt);
    change(&mut heading, &mut claims);
    format!("{}.{}", message(&heading, &claims), jwt.rsplit_once('.').unwrap().1)
}

/// The same, signed by another key of the same kind.
pub(crate) fn resigned(jwt: &str) -> String {
    let (heading, claims) = parts(jwt);
    let kid = heading["kid"].as_str().unwrap();
    Issuer::new(Kind::Ed25519).named(kid).sign(&claims)
}

/// The same by an algorithm with a shared secret, or by none.
pub(crate) fn signed_as(jwt: &str, alg: &str, secret: &[u8]) -> String {
    let (mut heading, claims) = parts(jwt);
    heading["alg"] = json!(alg);
    let message = message(&heading, &claims);
    if secret.is_empty() {
        return format!("{message}.");
    }
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, secret);
    let signature = ring::hmac::sign(&key, message.as_bytes());
    format!("{message}.{}", BASE64URL_NOPAD.encode(signature.as_ref()))
}

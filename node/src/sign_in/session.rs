//! Sessions of this cluster: a JWT that stands for an access token for a quarter of an hour, signed by a key that the log has for
//! members, verified by any of them.
//!
//! A session gives nothing of its own. Whoever reads one looks at the token that it names, at each request, as if that had been shown; it
//! is bound to the token's secret, so that another secret ends it. What it says of role and limits is for whoever holds it.

use data_encoding::HEXLOWER;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header};
use pentora_raft::{ClusterId, Digest};
use ring::rand::SystemRandom;
use ring::signature::{Ed25519KeyPair, KeyPair};
use serde::Serialize;

use super::compact::Look;
use super::crypto;
use super::fault::{Fault, malformed};
use crate::tls::{Sealed, Sealing};

/// How long a session lasts, in seconds. Ours: as long as one may be of use to whoever finds it in a log.
pub const LIFE_S: u64 = 15 * 60;
/// Whom sessions are for: the API of the nodes, and nothing else that might trust the cluster's keys one day.
const AUDIENCE: &str = "pentora-api";
/// Bytes of the digest that binds a session to a secret. Ours: nobody finds another secret with the same 128 bits.
const BOUND_BYTES: usize = 16;

/// A key that signs sessions, as the log keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MadeKey {
    /// Its public half.
    pub public: Vec<u8>,
    /// Its private half, sealed.
    pub sealed: Vec<u8>,
}

/// Makes one.
///
/// # Errors
/// A sentence fragment, where ring makes or seals none.
pub fn make_key(sealing: Sealing<'_>) -> Result<MadeKey, String> {
    let failed = || "no key of sessions could be made".to_owned();
    let pkcs8 = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).map_err(|_ring| failed())?;
    let pair = Ed25519KeyPair::from_pkcs8(pkcs8.as_ref()).map_err(|_ring| failed())?;
    let public = pair.public_key().as_ref().to_vec();
    let sealed = sealing.seal(Sealed::Session, &public, pkcs8.as_ref()).ok_or_else(failed)?;
    Ok(MadeKey { public, sealed })
}

/// What a session is to say.
#[derive(Debug, Clone)]
pub struct Wanted<'a> {
    /// The cluster.
    pub cluster: ClusterId,
    /// The name of the token.
    pub token: &'a str,
    /// The digest of its secret.
    pub secret: Digest,
    /// Its role.
    pub role: &'a str,
    /// The scopes that it is limited to.
    pub scopes: &'a [String],
    /// The networks that it is limited to, with those.
    pub networks: &'a [String],
    /// When the token ends, in Unix milliseconds.
    pub ends_ms: Option<u64>,
    /// The log's time.
    pub now_ms: u64,
}

/// A session that was signed.
#[derive(Clone)]
pub struct Granted {
    /// The JWT.
    pub jwt: String,
    /// When it ends, in Unix milliseconds.
    pub ends_ms: u64,
}

impl std::fmt::Debug for Granted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Granted").field("ends_ms", &self.ends_ms).finish_non_exhaustive()
    }
}

#[derive(Serialize)]
struct Claims<'a> {
    iss: String,
    aud: &'a str,
    sub: &'a str,
    jti: String,
    iat: u64,
    nbf: u64,
    exp: u64,
    role: &'a str,
    scopes: &'a [String],
    networks: &'a [String],
    bound: String,
}

/// Whom the sessions of a cluster are of.
#[must_use]
pub fn issuer_of(cluster: ClusterId) -> String {
    format!("pentora:{cluster}")
}

/// Signs a session with the key of this number.
///
/// # Errors
/// A sentence fragment: the key does not open here.
pub fn sign(wanted: &Wanted<'_>, number: u64, key: &MadeKey, sealing: Sealing<'_>) -> Result<Granted, String> {
    let closed = || "the key of sessions does not open with this mesh's pre-shared key".to_owned();
    let pkcs8 = sealing.open(Sealed::Session, &key.public, &key.sealed).ok_or_else(closed)?;
    let now_s = wanted.now_ms / 1000;
    let exp = (now_s + LIFE_S).min(wanted.ends_ms.map_or(u64::MAX, |ends_ms| ends_ms / 1000));
    let jti: [u8; 16] = rand::random();
    let claims = Claims {
        iss: issuer_of(wanted.cluster),
        aud: AUDIENCE,
        sub: wanted.token,
        jti: HEXLOWER.encode(&jti),
        iat: now_s,
        nbf: now_s,
        exp,
        role: wanted.role,
        scopes: wanted.scopes,
        networks: wanted.networks,
        bound: bound(wanted.cluster, &wanted.secret),
    };
    let heading = Header { kid: Some(number.to_string()), ..Header::new(Algorithm::EdDSA) };
    crypto::install();
    let jwt = jsonwebtoken::encode(&heading, &claims, &EncodingKey::from_ed_der(&pkcs8));
    let jwt = jwt.map_err(|_library| closed())?;
    Ok(Granted { jwt, ends_ms: exp * 1000 })
}

/// A session that was read, and is one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// The name of the token that it stands for.
    pub token: String,
    /// The role that it was made with.
    pub role: String,
    /// When it ends, in Unix milliseconds.
    pub ends_ms: u64,
    bound: String,
}

impl Session {
    /// Whether it was made with the secret of which this is the digest.
    #[must_use]
    pub fn is_of(&self, cluster: ClusterId, secret: &Digest) -> bool {
        self.bound == bound(cluster, secret)
    }
}

/// The number of the key that a session says it is of.
///
/// # Errors
/// [`Fault::KeyUnknown`].
pub fn number_of(look: &Look<'_>) -> Result<u64, Fault> {
    let number = look.kid.as_ref().and_then(|kid| kid.parse::<u64>().ok().filter(|number| number.to_string() == *kid));
    number.ok_or(Fault::KeyUnknown)
}

/// Believes a session, with the key that it names and the log's time.
///
/// # Errors
/// [`Fault`].
pub fn read(look: &Look<'_>, cluster: ClusterId, public: &[u8], now_ms: u64) -> Result<Session, Fault> {
    look.is_signed_by(Algorithm::EdDSA, &DecodingKey::from_ed_der(public))?;
    if look.issuer() != Some(issuer_of(cluster).as_str()) {
        return Err(Fault::Issuer);
    }
    look.is_for(AUDIENCE)?;
    let ends_ms = look.holds_at(now_ms, 0)?;
    let text = |claim| look.text_of(claim).map(str::to_owned).ok_or_else(|| malformed("a session lacks a claim"));
    Ok(Session { token: text("sub")?, role: text("role")?, ends_ms, bound: text("bound")? })
}

fn bound(cluster: ClusterId, secret: &Digest) -> String {
    let parts: [&[u8]; 3] = [b"pentora session", &cluster.0, &secret.0];
    let digest = Digest::of(&parts.concat());
    HEXLOWER.encode(digest.0.get(..BOUND_BYTES).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::made::{altered, resigned, signed_as};
    use super::*;
    use crate::sign_in::look;

    const CLUSTER: ClusterId = ClusterId([7; 16]);
    const SEALING: Sealing<'static> = Sealing { psk: &[1; 32], cluster: &[7; 16] };
    const NOW_MS: u64 = 1_700_000_000_500;

    fn wanted() -> Wanted<'static> {
        let secret = Digest::of(b"secret");
        Wanted {
            cluster: CLUSTER,
            token: "ci",
            secret,
            role: "operator",
            scopes: &[],
            networks: &[],
            ends_ms: None,
            now_ms: NOW_MS,
        }
    }

    fn at(jwt: &str, key: &MadeKey, now_ms: u64) -> Result<Session, Fault> {
        let look = look(jwt)?;
        number_of(&look)?;
        read(&look, CLUSTER, &key.public, now_ms)
    }

    #[test]
    fn a_session_stands_for_its_token_for_a_quarter_of_an_hour_and_no_longer_than_that() {
        let key = make_key(SEALING).unwrap();
        let granted = sign(&wanted(), 3, &key, SEALING).unwrap();
        assert_eq!(granted.ends_ms, 1_700_000_900_000);
        let session = at(&granted.jwt, &key, NOW_MS).unwrap();
        assert_eq!((session.token.as_str(), session.role.as_str()), ("ci", "operator"));
        assert_eq!(number_of(&look(&granted.jwt).unwrap()), Ok(3));
        assert!(session.is_of(CLUSTER, &Digest::of(b"secret")) && !session.is_of(CLUSTER, &Digest::of(b"another")));
        assert!(!session.is_of(ClusterId([8; 16]), &Digest::of(b"secret")));
        assert_eq!(at(&granted.jwt, &key, granted.ends_ms - 1).map(|_| ()), Ok(()));
        assert_eq!(at(&granted.jwt, &key, granted.ends_ms), Err(Fault::Expired));
        // The node's clock is the log's: minutes before it was signed are another cluster's time.
        assert_eq!(at(&granted.jwt, &key, NOW_MS - 120_000), Err(Fault::Early));
        let short = Wanted { ends_ms: Some(NOW_MS + 5_000), ..wanted() };
        assert_eq!(sign(&short, 3, &key, SEALING).unwrap().ends_ms, 1_700_000_005_000);
        assert!(!format!("{granted:?}").contains(&granted.jwt));
        let other = Sealing { psk: &[2; 32], ..SEALING };
        assert!(sign(&wanted(), 3, &key, other).unwrap_err().contains("does not open"));
        assert_ne!(sign(&wanted(), 3, &key, SEALING).unwrap().jwt, granted.jwt, "each has a name of its own");
    }

    #[test]
    fn what_was_changed_or_signed_by_another_or_by_nobody_is_no_session() {
        let key = make_key(SEALING).unwrap();
        let jwt = sign(&wanted(), 3, &key, SEALING).unwrap().jwt;
        let fault = |jwt: &str| at(jwt, &key, NOW_MS).unwrap_err().code();
        assert_eq!(fault(&altered(&jwt, |_, claims| claims["sub"] = json!("admin"))), "jwt_signature");
        assert_eq!(fault(&altered(&jwt, |heading, _| heading["alg"] = json!("none"))), "jwt_algorithm");
        let unsigned = altered(&jwt, |heading, _| heading["alg"] = json!("none"));
        assert_eq!(fault(&format!("{}.", unsigned.rsplit_once('.').unwrap().0)), "jwt_algorithm");
        assert_eq!(fault(&format!("{}.", jwt.rsplit_once('.').unwrap().0)), "jwt_signature", "no signature");
        assert_eq!(fault(&format!("{jwt}!")), "jwt_signature", "garbage behind it");
        assert_eq!(fault(&altered(&jwt, |heading, _| heading["kid"] = json!("03"))), "jwt_key_unknown");
        assert_eq!(fault(&altered(&jwt, |heading, _| heading["alg"] = json!("RS256"))), "jwt_algorithm");
        // The public key as a shared secret: HMAC-confusion.
        assert_eq!(fault(&signed_as(&jwt, "HS256", &key.public)), "jwt_algorithm");
        assert_eq!(fault(&resigned(&jwt)), "jwt_signature", "by another key");
        assert_eq!(at(&jwt, &make_key(SEALING).unwrap(), NOW_MS), Err(Fault::Signature));
        let elsewhere = Wanted { cluster: ClusterId([8; 16]), ..wanted() };
        let foreign = sign(&elsewhere, 3, &key, SEALING).unwrap().jwt;
        assert_eq!(fault(&foreign), "jwt_issuer", "a cluster with the same key");
    }
}

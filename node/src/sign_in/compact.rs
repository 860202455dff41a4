//! A JWT from outside (RFC 7515 section 7.1): three parts, of which the first two are JSON. Read strictly, because what is read here is
//! what is believed once the signature holds. Nothing in here says that it does.

use data_encoding::BASE64URL_NOPAD;
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use super::crypto;
use super::fault::{Fault, malformed};

/// The largest JWT that is looked at. Ours: one with a hundred groups has 4 KiB.
const BYTES_MAX: usize = 8 << 10;
/// By what keys sign that are believed here (RFC 7518 section 3.1, RFC 8037 section 3.1).
const ALGORITHMS: [&str; 3] = ["EdDSA", "ES256", "RS256"];
/// The longest name of a key.
const KID_BYTES_MAX: usize = 256;
/// How much later than now a JWT may begin: clocks of providers differ from the cluster's by seconds.
const LEEWAY_S: u64 = 60;
/// What a JWT that lets in says it is, where it says so; in small letters, without `application/` (RFC 7515 section 4.1.9,
/// RFC 9068 section 2.1).
const KINDS: [&str; 2] = ["jwt", "at+jwt"];

/// A JWT of which nothing is believed yet.
#[derive(Clone)]
pub struct Look<'a> {
    text: &'a str,
    pub(super) alg: String,
    pub(super) kid: Option<String>,
    /// What for, where it says so.
    pub(super) typ: Option<String>,
    pub(super) claims: Map<String, Value>,
}

/// What it says stays out of logs.
impl std::fmt::Debug for Look<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Look(not shown)")
    }
}

/// Whether a bearer's text is a JWT: access tokens have no dot.
#[must_use]
pub fn is_jwt(text: &str) -> bool {
    text.contains('.')
}

/// Reads a JWT without believing it.
///
/// # Errors
/// What is wrong with how it is written.
pub fn look(text: &str) -> Result<Look<'_>, Fault> {
    if text.len() > BYTES_MAX {
        return Err(Fault::TooLarge { most: BYTES_MAX });
    }
    let mut parts = text.split('.');
    let (Some(heading), Some(claims), Some(_signature), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(malformed("it has three parts"));
    };
    let heading = object(heading)?;
    if heading.contains_key("crit") {
        return Err(Fault::Critical);
    }
    let Some(Value::String(alg)) = heading.get("alg") else { return Err(malformed("its heading names no `alg`")) };
    // Before any key is looked for, which one of these may not name.
    if !ALGORITHMS.contains(&alg.as_str()) {
        return Err(Fault::Algorithm);
    }
    let kid = match heading.get("kid") {
        None => None,
        Some(Value::String(kid)) if kid.len() <= KID_BYTES_MAX => Some(kid.clone()),
        Some(_) => return Err(malformed("its `kid` is no text, or a long one")),
    };
    let typ = match heading.get("typ") {
        None => None,
        Some(Value::String(typ)) => Some(typ.clone()),
        Some(_) => return Err(malformed("its `typ` is no text")),
    };
    Ok(Look { text, alg: alg.clone(), kid, typ, claims: object(claims)? })
}

/// A part that is a JSON object, in which no name stands twice.
fn object(part: &str) -> Result<Map<String, Value>, Fault> {
    let bytes =
        BASE64URL_NOPAD.decode(part.as_bytes()).map_err(|_not_base64url| malformed("a part is not base64url"))?;
    let mut reader = serde_json::Deserializer::from_slice(&bytes);
    Once.deserialize(&mut reader).map_err(|_doubled| malformed("a part is no JSON, or has a name twice"))?;
    serde_json::from_slice(&bytes).map_err(|_other| malformed("a part is no JSON object"))
}

impl Look<'_> {
    /// Whom it says it is of.
    #[must_use]
    pub fn subject(&self) -> Option<String> {
        self.claims.get("sub").and_then(Value::as_str).map(str::to_owned)
    }

    /// Who it says signed it.
    #[must_use]
    pub fn issuer(&self) -> Option<&str> {
        self.text_of("iss")
    }

    /// A claim that is a text.
    pub(super) fn text_of(&self, claim: &str) -> Option<&str> {
        self.claims.get(claim).and_then(Value::as_str)
    }

    /// Whether it was signed by this key, which is for this algorithm and no other.
    pub(super) fn is_signed_by(&self, algorithm: Algorithm, key: &DecodingKey) -> Result<(), Fault> {
        if self.alg.parse::<Algorithm>().ok() != Some(algorithm) {
            return Err(Fault::Algorithm);
        }
        crypto::install();
        let mut validation = Validation::new(algorithm);
        // Looked at here: times by the log's clock, and whom it is for with a code of its own.
        (validation.validate_exp, validation.validate_aud) = (false, false);
        validation.required_spec_claims.clear();
        match jsonwebtoken::decode::<IgnoredAny>(self.text, key, &validation) {
            Ok(_) => Ok(()),
            Err(error) if matches!(error.kind(), ErrorKind::InvalidSignature | ErrorKind::Base64(_)) => {
                Err(Fault::Signature)
            }
            Err(_) => Err(malformed("its heading or its claims are not what they may be")),
        }
    }

    /// Whether it is for `audience` (RFC 7519 section 4.1.3).
    pub(super) fn is_for(&self, audience: &str) -> Result<(), Fault> {
        let is_meant = match self.claims.get("aud") {
            Some(Value::String(one)) => one == audience,
            Some(Value::Array(all)) => all.iter().any(|one| one == audience),
            _ => false,
        };
        if is_meant { Ok(()) } else { Err(Fault::Audience) }
    }

    /// Whether it was made for signing in (RFC 8725 section 3.11): an access or identity token, and neither one of logging out nor one
    /// of other security events (RFC 8417), which the same keys sign.
    pub(super) fn is_to_sign_in(&self) -> Result<(), Fault> {
        let typ = self.typ.as_deref().unwrap_or("JWT").to_ascii_lowercase();
        let is_meant = KINDS.contains(&typ.strip_prefix("application/").unwrap_or(&typ));
        if is_meant && !self.claims.contains_key("events") { Ok(()) } else { Err(Fault::Kind) }
    }

    /// Whether it was made for whoever is `audience` here, where it is for several (OpenID Connect Core section 3.1.3.7): another's is
    /// not taken because it names us as well.
    pub(super) fn is_of_party(&self, audience: &str) -> Result<(), Fault> {
        let is_of_several = self.claims.get("aud").and_then(Value::as_array).is_some_and(|all| all.len() > 1);
        match self.claims.get("azp") {
            Some(party) if is_of_several && party != audience => Err(Fault::Audience),
            _ => Ok(()),
        }
    }

    /// Whether it lets in for no longer than so many hours, counted from when it was made, or from now where it does not say that.
    pub(super) fn is_within(&self, most_h: u64, now_ms: u64) -> Result<(), Fault> {
        let ends_s = self.seconds("exp")?.unwrap_or(u64::MAX);
        let begins_s = self.seconds("iat")?.unwrap_or(now_ms / 1000);
        if ends_s.saturating_sub(begins_s) <= most_h * 3600 { Ok(()) } else { Err(Fault::Long { most_h }) }
    }

    /// Whether it holds at a time in Unix milliseconds, where it may end `late_s` later than it says; the answer is when it ends.
    pub(super) fn holds_at(&self, now_ms: u64, late_s: u64) -> Result<u64, Fault> {
        let now_s = now_ms / 1000;
        let ends_s = self.seconds("exp")?.ok_or_else(|| malformed("it has no `exp`"))?.saturating_add(late_s);
        let begins_s = self.seconds("nbf")?.unwrap_or(0).max(self.seconds("iat")?.unwrap_or(0));
        if now_s >= ends_s {
            return Err(Fault::Expired);
        }
        if begins_s > now_s.saturating_add(LEEWAY_S) {
            return Err(Fault::Early);
        }
        Ok(ends_s.saturating_mul(1000))
    }

    /// A time, in seconds (RFC 7519 section 2).
    fn seconds(&self, claim: &str) -> Result<Option<u64>, Fault> {
        let Some(value) = self.claims.get(claim) else { return Ok(None) };
        let of_fraction = || std::time::Duration::try_from_secs_f64(value.as_f64()?).ok().map(|time| time.as_secs());
        let seconds = value.as_u64().or_else(of_fraction);
        seconds.map(Some).ok_or_else(|| malformed("a time in it is none"))
    }
}

/// Reads any JSON whose objects have each name once.
struct Once;

impl<'de> DeserializeSeed<'de> for Once {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<(), D::Error> {
        reader.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Once {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E: Error>(self, _it: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E: Error>(self, _it: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E: Error>(self, _it: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E: Error>(self, _it: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E: Error>(self, _it: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        while items.next_element_seed(Self)?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<(), A::Error> {
        let mut names = std::collections::BTreeSet::new();
        while let Some(name) = entries.next_key::<String>()? {
            if !names.insert(name) {
                return Err(A::Error::custom("a name stands twice"));
            }
            entries.next_value_seed(Self)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn written(heading: &str, claims: &str) -> String {
        let part = |text: &str| BASE64URL_NOPAD.encode(text.as_bytes());
        format!("{}.{}.c2ln", part(heading), part(claims))
    }

    const HEADING: &str = r#"{"alg":"EdDSA","kid":"1"}"#;

    #[test]
    fn what_is_not_written_as_a_jwt_is_told_why_and_is_looked_at_no_further() {
        let many = format!("{}.a.b", "a".repeat(BYTES_MAX));
        assert_eq!(look(&many).unwrap_err().code(), "jwt_too_large");
        let deep = format!(r#"{{"a":{}}}"#, "[".repeat(4_000));
        for (text, code) in [
            (".".to_owned(), "jwt_malformed"),
            ("a.b.c.d".into(), "jwt_malformed"),
            ("..".into(), "jwt_malformed"),
            ("!.e30.".into(), "jwt_malformed"),
            ("e30=.e30.".into(), "jwt_malformed"),
            // The last bits of a part are no part of it: two texts for one JWT.
            ("e31.e30.".into(), "jwt_malformed"),
            (written("{}", "{}"), "jwt_malformed"),
            (written("[]", "{}"), "jwt_malformed"),
            (written(HEADING, "5"), "jwt_malformed"),
            (written(HEADING, "{} {}"), "jwt_malformed"),
            (written(HEADING, &deep), "jwt_malformed"),
            (written(r#"{"alg":5}"#, "{}"), "jwt_malformed"),
            (written(r#"{"alg":"EdDSA","kid":5}"#, "{}"), "jwt_malformed"),
            (written(r#"{"alg":"EdDSA","typ":["JWT"]}"#, "{}"), "jwt_malformed"),
            (written(r#"{"alg":"EdDSA","alg":"none"}"#, "{}"), "jwt_malformed"),
            (written(HEADING, r#"{"sub":"a","sub":"b"}"#), "jwt_malformed"),
            (written(HEADING, r#"{"a":[{"b":1,"b":2}]}"#), "jwt_malformed"),
            // Whatever key it names, or none.
            (written(r#"{"alg":"none"}"#, "{}"), "jwt_algorithm"),
            (written(r#"{"alg":"HS256"}"#, "{}"), "jwt_algorithm"),
            (written(r#"{"alg":"eddsa","kid":"1"}"#, "{}"), "jwt_algorithm"),
            (written(r#"{"alg":"EdDSA","crit":[]}"#, "{}"), "jwt_critical"),
            (written(r#"{"alg":"EdDSA","crit":["b64"],"b64":true}"#, "{}"), "jwt_critical"),
        ] {
            assert_eq!(look(&text).unwrap_err().code(), code, "{text}");
        }
    }

    #[test]
    fn times_hold_from_a_minute_before_they_begin_to_their_end() {
        let at =
            |claims: Value, now_s: u64| look(&written(HEADING, &claims.to_string())).unwrap().holds_at(now_s * 1000, 0);
        let claims = || json!({"nbf": 1_000, "iat": 1_000, "exp": 1_900});
        assert_eq!(at(claims(), 940), Ok(1_900_000));
        assert_eq!(at(claims(), 1_899), Ok(1_900_000));
        assert_eq!(at(claims(), 939), Err(Fault::Early));
        assert_eq!(at(claims(), 1_900), Err(Fault::Expired));
        assert_eq!(at(json!({"iat": 1_000, "exp": 1_900}), 600), Err(Fault::Early), "made in the future");
        assert_eq!(at(json!({"exp": 1_900.75}), 1_899), Ok(1_900_000), "a fraction");
        assert_eq!(at(json!({"exp": u64::MAX}), 5), Ok(u64::MAX));
        for (bad, code) in [
            (json!({}), "jwt_malformed"),
            (json!({"exp": "1900"}), "jwt_malformed"),
            (json!({"exp": -1}), "jwt_malformed"),
            (json!({"exp": 1e300}), "jwt_malformed"),
            (json!({"exp": null}), "jwt_malformed"),
            (json!({"exp": 1_900, "nbf": [1]}), "jwt_malformed"),
        ] {
            assert_eq!(at(bad.clone(), 1_000).unwrap_err().code(), code, "{bad}");
        }
    }

    #[test]
    fn it_is_what_it_says_and_what_is_made_to_log_out_signs_nobody_in() {
        let kind = |heading: Value, claims: Value| {
            look(&written(&heading.to_string(), &claims.to_string())).unwrap().is_to_sign_in()
        };
        assert_eq!(kind(json!({"alg": "EdDSA"}), json!({})), Ok(()));
        for good in ["JWT", "jwt", "at+jwt", "application/at+JWT", "application/jwt"] {
            assert_eq!(kind(json!({"alg": "EdDSA", "typ": good}), json!({})), Ok(()), "{good}");
        }
        for bad in ["logout+jwt", "secevent+jwt", "dpop+jwt", "token-introspection+jwt", "", "x/jwt"] {
            assert_eq!(kind(json!({"alg": "EdDSA", "typ": bad}), json!({})), Err(Fault::Kind), "{bad}");
        }
        let logout = json!({"events": {"http://schemas.openid.net/event/backchannel-logout": {}}});
        assert_eq!(kind(json!({"alg": "EdDSA", "typ": "JWT"}), logout), Err(Fault::Kind));
    }

    #[test]
    fn it_is_for_whom_it_names_and_nobody_else() {
        let is_for = |claims: Value| look(&written(HEADING, &claims.to_string())).unwrap().is_for("me");
        assert_eq!(is_for(json!({"aud": "me"})), Ok(()));
        assert_eq!(is_for(json!({"aud": ["you", "me"]})), Ok(()));
        for other in
            [json!({}), json!({"aud": "you"}), json!({"aud": []}), json!({"aud": ["m", "e"]}), json!({"aud": 5})]
        {
            assert_eq!(is_for(other), Err(Fault::Audience));
        }
    }

    proptest! {
        #[test]
        fn nothing_that_anybody_sends_ends_the_process(text in ".{0,200}", part in prop::collection::vec(any::<u8>(), 0..80)) {
            drop(look(&text));
            let part = BASE64URL_NOPAD.encode(&part);
            drop(look(&format!("{part}.{part}.{part}")));
        }
    }
}

//! A provider of identities (OpenID Connect): whose JWTs are taken as what they say, and what role people have here by them.

use std::net::IpAddr;
use std::path::PathBuf;

use pentora_raft::command::AccessRole;
use pentora_raft::id::looks_secret;
use serde_json::Value;

use super::compact::Look;
use super::fault::{Fault, malformed};
use super::key_set::KeySet;

/// How much later than it says a JWT of a provider ends, in seconds: its clock is not the cluster's.
const LATE_S: u64 = 60;
/// How long a JWT of a provider may let in, in hours. Ours: a day's work; nobody can take one back before it ends but by its key.
const LIFE_MAX_H: u64 = 24;
/// The longest name of a person, in bytes: authors are kept up to so many, and two that are cut must not become one.
const WHO_BYTES_MAX: usize = 256;

/// A provider as a node is told of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Provider {
    /// Whom its JWTs say they are of.
    pub issuer: String,
    /// Whom they are for.
    pub audience: String,
    /// Where its keys are.
    pub keys: Source,
    /// The claim that says what somebody is.
    pub role_claim: String,
    /// The claim that says who somebody is.
    pub name_claim: String,
    /// What role a value of that claim means; the first that somebody has counts.
    pub roles: Vec<(String, AccessRole)>,
}

/// Where the keys of a provider are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// In a file.
    File(PathBuf),
    /// At an address.
    Url(String),
}

/// What the names of those begin with whom a provider let in. No access token has a colon in its name.
const PERSON: &str = "oidc:";

/// Whether this is the name of somebody whom a provider let in.
#[must_use]
pub fn is_person(who: &str) -> bool {
    who.starts_with(PERSON)
}

/// Somebody who was let in by a provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Person {
    /// Who, with the provider in front: no access token has such a name.
    pub who: String,
    /// As what.
    pub role: AccessRole,
    /// Until when, in Unix milliseconds.
    pub ends_ms: u64,
}

impl Provider {
    /// Believes a JWT, with the keys of the provider and the log's time.
    ///
    /// # Errors
    /// [`Fault`].
    pub(crate) fn read(&self, keys: &KeySet, look: &Look<'_>, now_ms: u64) -> Result<Person, Fault> {
        keys.signed(look)?;
        if look.issuer() != Some(self.issuer.as_str()) {
            return Err(Fault::Issuer);
        }
        look.is_for(&self.audience)?;
        look.is_of_party(&self.audience)?;
        look.is_to_sign_in()?;
        let ends_ms = look.holds_at(now_ms, LATE_S)?;
        look.is_within(LIFE_MAX_H, now_ms)?;
        let name = look.text_of(&self.name_claim).ok_or_else(|| malformed("it does not say who it is of"))?;
        let who = format!("{PERSON}{}#{name}", self.issuer);
        if name.is_empty() || who.len() > WHO_BYTES_MAX || name.chars().any(is_unseen) {
            return Err(malformed("the name in it is empty, long, or none that can be shown"));
        }
        // It would stand in the audit log, and in every list of jobs.
        if looks_secret(name) {
            return Err(malformed("the name in it is a token"));
        }
        let has: Vec<&str> = match claim_at(look, &self.role_claim) {
            Some(Value::String(one)) => vec![one.as_str()],
            Some(Value::Array(all)) => all.iter().filter_map(Value::as_str).collect(),
            _ => Vec::new(),
        };
        match self.roles.iter().find(|(value, _)| has.contains(&value.as_str())) {
            Some((_, role)) => Ok(Person { who, role: *role, ends_ms }),
            None => Err(Fault::NoRole { who, claim: self.role_claim.clone() }),
        }
    }
}

/// Whether a character cannot be seen, or turns others around: two names that differ in it alone look like one person.
fn is_unseen(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}'
                | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}'
                | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}'
        )
}

/// A claim by its name, or by the names of the objects around it with dots between: `realm_access.roles`.
fn claim_at<'a>(look: &'a Look<'_>, name: &str) -> Option<&'a Value> {
    look.claims.get(name).or_else(|| {
        let mut names = name.split('.');
        let first = look.claims.get(names.next()?)?;
        names.try_fold(first, |around, name| around.get(name))
    })
}

/// Whether keys may be fetched from this address: inside TLS, or on this machine.
///
/// # Errors
/// A sentence fragment.
pub(super) fn may_fetch(url: &str) -> Result<(), String> {
    let (is_tls, rest) = match (url.strip_prefix("https://"), url.strip_prefix("http://")) {
        (Some(rest), _) => (true, rest),
        (_, Some(rest)) => (false, rest),
        _ => return Err(format!("`{}` is not an address such as https://idp.example/jwks", url.escape_debug())),
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let is_plain = !url.is_empty() && url.chars().all(|c| c.is_ascii_graphic()) && !authority.contains('@');
    if authority.is_empty() || !is_plain || url.contains('#') {
        return Err(format!("`{}` is not an address such as https://idp.example/jwks", url.escape_debug()));
    }
    let host = match authority.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => authority.rsplit_once(':').map_or(authority, |(host, _)| host),
    };
    if is_tls || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback()) {
        return Ok(());
    }
    Err(format!("`{url}`: keys come by https://, or from a loopback address of this machine"))
}

impl Source {
    /// An address of keys.
    ///
    /// # Errors
    /// A sentence fragment: whoever is on the way could exchange them.
    pub fn url(url: &str) -> Result<Self, String> {
        may_fetch(url).map(|()| Self::Url(url.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use serde_json::json;

    use super::super::look;
    use super::super::made::{Issuer, Kind, provider_of, shown, signed_as};
    use super::*;

    const NOW_S: u64 = 1_700_000_000;

    fn provider() -> Provider {
        let roles = vec![("root".into(), AccessRole::Admin), ("scan team".into(), AccessRole::Operator)];
        Provider { roles, ..provider_of(Path::new("keys.json")) }
    }

    fn claims() -> Value {
        json!({
            "iss": "https://idp.example", "aud": ["pentora", "mail"], "sub": "alice", "iat": NOW_S, "exp": NOW_S + 300,
            "groups": ["mail", "scan team"],
        })
    }

    fn of(issuer: &Issuer) -> KeySet {
        KeySet::read(shown(&[issuer]).as_bytes()).unwrap()
    }

    fn read(provider: &Provider, keys: &KeySet, jwt: &str) -> Result<Person, Fault> {
        provider.read(keys, &look(jwt)?, NOW_S * 1000)
    }

    #[test]
    fn a_person_is_let_in_by_each_kind_of_key_under_the_providers_name_with_the_first_role_that_is_told() {
        for kind in [Kind::Ed25519, Kind::P256, Kind::Rsa] {
            let issuer = Issuer::new(kind);
            let person = read(&provider(), &of(&issuer), &issuer.sign(&claims())).unwrap();
            assert_eq!(person.who, "oidc:https://idp.example#alice");
            assert_eq!((person.role, person.ends_ms), (AccessRole::Operator, (NOW_S + 360) * 1000), "{kind:?}");
        }
        let issuer = Issuer::new(Kind::P256);
        let mut both = claims();
        both["groups"] = json!(["scan team", "root"]);
        assert_eq!(read(&provider(), &of(&issuer), &issuer.sign(&both)).unwrap().role, AccessRole::Admin);
        both["groups"] = json!("root");
        assert_eq!(read(&provider(), &of(&issuer), &issuer.sign(&both)).unwrap().role, AccessRole::Admin);
        let deep = Provider { role_claim: "realm.roles".into(), name_claim: "email".into(), ..provider() };
        both["realm"] = json!({"roles": ["scan team"]});
        both["email"] = json!("alice@example.org");
        let person = read(&deep, &of(&issuer), &issuer.sign(&both)).unwrap();
        assert_eq!(
            (person.who.as_str(), person.role),
            ("oidc:https://idp.example#alice@example.org", AccessRole::Operator)
        );
        both["realm.roles"] = json!(["root"]);
        assert_eq!(
            read(&deep, &of(&issuer), &issuer.sign(&both)).unwrap().role,
            AccessRole::Admin,
            "by its own name first"
        );
    }

    #[test]
    fn what_a_provider_did_not_sign_for_us_now_lets_nobody_in() {
        let issuer = Issuer::new(Kind::Rsa);
        let keys = of(&issuer);
        let with = |claim: &str, value: Value| {
            let mut claims = claims();
            claims[claim] = value;
            issuer.sign(&claims)
        };
        let jwt = issuer.sign(&claims());
        // The key as whoever confuses RSA with HMAC has it.
        let public = issuer.jwk()["n"].as_str().unwrap().to_owned();
        for (jwt, code) in [
            (with("iss", json!("https://idp.example/")), "jwt_issuer"),
            (with("aud", json!("mail")), "jwt_audience"),
            (with("aud", Value::Null), "jwt_audience"),
            (with("exp", json!(NOW_S - 60)), "jwt_expired"),
            (with("exp", json!(NOW_S + 24 * 3600 + 1)), "jwt_long"),
            (with("exp", json!(1_000_000_000_000_000_000_u64)), "jwt_long"),
            (with("azp", json!("mail")), "jwt_audience"),
            (with("azp", json!(["pentora"])), "jwt_audience"),
            (with("events", json!({})), "jwt_kind"),
            (issuer.clone().of_kind("logout+jwt").sign(&claims()), "jwt_kind"),
            (with("nbf", json!(NOW_S + 61)), "jwt_early"),
            (with("iat", json!(NOW_S + 180)), "jwt_early"),
            (with("sub", json!("")), "jwt_malformed"),
            (with("sub", json!(7)), "jwt_malformed"),
            (with("sub", json!("a\u{1b}[2J")), "jwt_malformed"),
            (with("sub", json!("a".repeat(300))), "jwt_malformed"),
            (with("sub", json!("\u{feff}")), "jwt_malformed"),
            (with("sub", json!("pna_aaaabbbbccccddddeeeeffff")), "jwt_malformed"),
            (with("sub", json!("alice\u{200b}")), "jwt_malformed"),
            (with("sub", json!("\u{202e}ecila")), "jwt_malformed"),
            (with("sub", json!("\u{3164}")), "jwt_malformed"),
            (with("groups", json!(["scan"])), "no_role"),
            (with("groups", json!({"scan team": true})), "no_role"),
            (with("groups", json!("mail scan team")), "no_role"),
            (signed_as(&jwt, "HS256", public.as_bytes()), "jwt_algorithm"),
            (signed_as(&jwt, "none", b""), "jwt_algorithm"),
            (Issuer::new(Kind::P256).sign(&claims()), "jwt_key_unknown"),
            (Issuer::new(Kind::P256).named(issuer.kid()).sign(&claims()), "jwt_algorithm"),
            (Issuer::new(Kind::Rsa).sign_with_other_key(&claims()), "jwt_signature"),
        ] {
            assert_eq!(read(&provider(), &keys, &jwt).unwrap_err().code(), code, "{jwt}");
        }
    }

    #[test]
    fn a_jwt_of_a_day_for_us_alone_is_taken_by_whatever_client_it_was_asked_for() {
        let issuer = Issuer::new(Kind::Ed25519);
        let mut day = claims();
        day["exp"] = json!(NOW_S + 24 * 3600);
        assert!(read(&provider(), &of(&issuer), &issuer.sign(&day)).is_ok());
        day["azp"] = json!("pentora");
        assert!(read(&provider(), &of(&issuer), &issuer.sign(&day)).is_ok(), "of several, and made for us");
        (day["aud"], day["azp"]) = (json!(["pentora"]), json!("a command line"));
        let access = issuer.clone().of_kind("at+jwt").sign(&day);
        assert!(read(&provider(), &of(&issuer), &access).is_ok(), "for us alone");
        day["iat"] = Value::Null;
        assert_eq!(read(&provider(), &of(&issuer), &issuer.sign(&day)).unwrap_err().code(), "jwt_malformed");
        day.as_object_mut().unwrap().remove("iat");
        assert!(read(&provider(), &of(&issuer), &issuer.sign(&day)).is_ok(), "from now on");
        day["exp"] = json!(NOW_S + 24 * 3600 + 1);
        assert_eq!(read(&provider(), &of(&issuer), &issuer.sign(&day)).unwrap_err().code(), "jwt_long");
    }

    #[test]
    fn a_jwt_that_names_no_key_is_held_against_the_only_one_and_against_none_of_many() {
        let issuer = Issuer::new(Kind::Ed25519);
        let jwt = issuer.clone().without_name().sign(&claims());
        assert!(read(&provider(), &of(&issuer), &jwt).is_ok());
        let two = shown(&[&issuer, &Issuer::new(Kind::P256)]);
        let two = KeySet::read(two.as_bytes()).unwrap();
        assert_eq!(read(&provider(), &two, &jwt), Err(Fault::KeyUnknown));
    }

    #[test]
    fn keys_are_fetched_inside_tls_or_on_this_machine_and_from_nowhere_else() {
        for good in
            ["https://idp.example/jwks", "https://idp.example:8443/a?b=c", "http://127.0.0.1:9/k", "http://[::1]:9/k"]
        {
            assert_eq!(Source::url(good), Ok(Source::Url(good.into())));
        }
        for bad in [
            "http://idp.example/jwks",
            "http://localhost/jwks",
            "http://127.0.0.1@idp.example/",
            "http://127.0.0.1.idp.example/",
            "ftp://idp.example",
            "https://",
            "https:///jwks",
            "https://a b/",
            "https://idp.example/#x",
            "",
        ] {
            assert!(Source::url(bad).is_err(), "{bad}");
        }
    }
}

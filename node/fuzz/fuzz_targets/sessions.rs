//! JWTs and the keys of those who sign them: any text, and a heading and claims of any bytes under a signature that is right. Nobody is
//! let in by what was not signed, nor for longer than it holds.
#![no_main]

use std::sync::LazyLock;

use data_encoding::BASE64URL_NOPAD;
use libfuzzer_sys::fuzz_target;
use pentora_node::fuzzing::person;
use pentora_node::sign_in::{KeySet, Provider, Source, is_jwt, is_person, look, number_of, read};
use pentora_raft::ClusterId;
use pentora_raft::command::AccessRole;
use ring::signature::{Ed25519KeyPair, KeyPair};

const NOW_MS: u64 = 1_700_000_000_000;
const CLUSTER: ClusterId = ClusterId([7; 16]);

static KEY: LazyLock<Ed25519KeyPair> = LazyLock::new(|| Ed25519KeyPair::from_seed_unchecked(&[3; 32]).expect("a seed"));
static KEYS: LazyLock<KeySet> = LazyLock::new(|| {
    let x = BASE64URL_NOPAD.encode(KEY.public_key().as_ref());
    let set = serde_json::json!({"keys": [{"kty": "OKP", "crv": "Ed25519", "x": x}]});
    KeySet::read(set.to_string().as_bytes()).expect("a key")
});
static PROVIDER: LazyLock<Provider> = LazyLock::new(|| Provider {
    issuer: "https://idp.example".into(),
    audience: "pentora".into(),
    keys: Source::File("keys.json".into()),
    role_claim: "realm.groups".into(),
    name_claim: "sub".into(),
    roles: vec![("root".into(), AccessRole::Admin), ("scan team".into(), AccessRole::Operator)],
});

fuzz_target!(|data: &[u8]| {
    if let Ok(set) = KeySet::read(data) {
        assert!((1..=64).contains(&set.len()));
    }
    if let Ok(text) = std::str::from_utf8(data) {
        check(text, false);
        let _ = Source::url(text).map_err(|said| assert!(!said.contains('\n')));
    }
    let mut parts = data.splitn(2, |byte| *byte == b'\n');
    let (heading, claims) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    for heading in [heading, br#"{"alg":"EdDSA"}"#] {
        let signed = format!("{}.{}", BASE64URL_NOPAD.encode(heading), BASE64URL_NOPAD.encode(claims));
        let signature = BASE64URL_NOPAD.encode(KEY.sign(signed.as_bytes()).as_ref());
        check(&format!("{signed}.{signature}"), true);
        check(&format!("{signed}.{}", signature.chars().rev().collect::<String>()), false);
    }
});

fn check(jwt: &str, is_signed: bool) {
    let Ok(look) = look(jwt) else { return };
    assert!(is_jwt(jwt));
    let _ = (look.subject(), look.issuer(), number_of(&look));
    match read(&look, CLUSTER, KEY.public_key().as_ref(), NOW_MS) {
        Ok(session) => assert!(is_signed && session.ends_ms > NOW_MS),
        Err(fault) => assert!(!fault.code().is_empty() && !fault.to_string().is_empty()),
    }
    match person(&PROVIDER, &KEYS, jwt, NOW_MS) {
        Ok(person) => {
            assert!(is_signed && person.ends_ms > NOW_MS && is_person(&person.who), "{person:?}");
            assert!(!person.who.chars().any(char::is_control) && person.who.len() <= 4096);
        }
        Err(fault) => assert!(!fault.code().is_empty() && !fault.to_string().is_empty()),
    }
}

//! The cluster's authority: what it signs is believed by its fingerprint, and nobody else opens its key.

use std::sync::Arc;

use rustls::pki_types::{PrivateKeyDer, ServerName};
use rustls::sign::CertifiedKey;
use tokio_rustls::TlsConnector;

use super::super::leaf::certificate_pem;
use super::super::{Fault, Shown, Trust, fault_in, provider};
use super::*;

const PSK: [u8; 32] = [1; 32];
const CLUSTER: [u8; 16] = [2; 16];
const SEALING: Sealing<'static> = Sealing { psk: &PSK, cluster: &CLUSTER };

fn now_s() -> i64 {
    jiff::Timestamp::now().as_second()
}

fn wanted(hosts: &[&str], is_member: bool) -> Wanted {
    Wanted { node: "n1".into(), hosts: hosts.iter().map(|host| (*host).to_owned()).collect(), is_member }
}

/// Shakes hands with a node that this authority signed for.
async fn shaken(authority: &Authority, wanted: &Wanted, trust: &Trust, name: &str) -> Result<(), Fault> {
    let key = KeyPair::generate().unwrap();
    let chain = authority.sign(key.public_key_raw(), wanted, now_s()).unwrap();
    let chain = chain.into_iter().map(CertificateDer::from).collect();
    let private = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let shown = Shown::default();
    shown.show(Arc::new(CertifiedKey::from_der(chain, private, &provider()).unwrap()));
    let (ours, theirs) = tokio::io::duplex(1 << 20);
    let (connector, acceptor) = (TlsConnector::from(Arc::new(trust.config().unwrap())), shown.acceptor());
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let (client, _server) = tokio::join!(connector.connect(name, ours), acceptor.accept(theirs));
    client.map(|_| ()).map_err(|error| fault_in(&error).unwrap_or_else(|| panic!("{error:?}")))
}

#[tokio::test]
async fn a_member_is_known_wherever_it_is_reached_and_a_node_that_only_scans_at_its_addresses_alone() {
    let authority = Authority::make(&CLUSTER, now_s()).unwrap();
    let trust = Trust::said(None, Some(authority.fingerprint()));
    let member = wanted(&["10.0.0.1", "n1.example"], true);
    for name in ["10.0.0.1", "n1.example", "10.9.9.9", "pentora-coordinator"] {
        assert_eq!(shaken(&authority, &member, &trust, name).await, Ok(()), "{name}");
    }
    // One that asks for the members' name does not get it.
    let scanner = wanted(&["10.0.0.7", MEMBER_NAME], false);
    assert_eq!(shaken(&authority, &scanner, &trust, "10.0.0.7").await, Ok(()));
    for name in ["10.0.0.1", "pentora-coordinator", MEMBER_NAME] {
        let refused = shaken(&authority, &scanner, &trust, name).await;
        assert!(matches!(&refused, Err(Fault::Untrusted(why)) if why.contains("other names")), "{name}: {refused:?}");
    }
    let other = Authority::make(&CLUSTER, now_s()).unwrap();
    let refused = shaken(&other, &member, &trust, "10.0.0.1").await;
    assert!(matches!(refused, Err(Fault::Untrusted(_))), "the same cluster's name, and another key: {refused:?}");
}

#[tokio::test]
async fn an_authority_that_is_no_clusters_lends_nobody_the_members_name() {
    let authority = super::super::made::Authority::new();
    let made = authority.leaf(&[MEMBER_NAME], super::super::made::NOW);
    let (ours, theirs) = tokio::io::duplex(1 << 20);
    let trust = Trust::said(None, Some(authority.fingerprint()));
    let (connector, acceptor) = (TlsConnector::from(Arc::new(trust.config().unwrap())), made.shown().acceptor());
    let name = ServerName::try_from("n1").unwrap();
    let (client, _server) = tokio::join!(connector.connect(name, ours), acceptor.accept(theirs));
    assert!(matches!(fault_in(&client.unwrap_err()), Some(Fault::Untrusted(why)) if why.contains("other names")));
}

#[test]
fn a_secret_of_an_authority_is_the_same_in_every_release_and_for_every_member() {
    let pkcs8: Vec<u8> = (100..200).collect();
    let made = hex::encode(derived(&pkcs8, "pentora bundles 1"));
    assert_eq!(made, "3e651478db620d1433a7c46f30778c03240176ef46006bfe7d98774f5a21afd9");
    let other = hex::encode(derived(&pkcs8, "other"));
    assert_eq!(other, "8369999086d855c6d4f43169394d5167be5fb966408f4ead66eb4c218b635746");
    let authority = Authority::make(&CLUSTER, now_s()).unwrap();
    let opened = Authority::open(authority.certificate(), &authority.seal(SEALING).unwrap(), SEALING).unwrap();
    assert_eq!(opened.secret("x"), authority.secret("x"), "as it was made, and as it was read from the log");
    assert_ne!(Authority::make(&CLUSTER, now_s()).unwrap().secret("x"), authority.secret("x"));
}

#[test]
fn a_sealed_key_opens_with_the_same_key_and_cluster_alone() {
    let authority = Authority::make(&CLUSTER, now_s()).unwrap();
    let sealed = authority.seal(SEALING).unwrap();
    let opened = Authority::open(authority.certificate(), &sealed, SEALING).unwrap();
    assert_eq!(opened.fingerprint(), authority.fingerprint());
    let refused =
        |certificate: &[u8], sealed: &[u8], sealing| Authority::open(certificate, sealed, sealing).unwrap_err();
    for sealing in [Sealing { psk: &[9; 32], ..SEALING }, Sealing { cluster: &[9; 16], ..SEALING }] {
        assert_eq!(refused(authority.certificate(), &sealed, sealing), AuthorityError::Sealed);
    }
    for at in 0..sealed.len() {
        let mut flipped = sealed.clone();
        flipped[at] ^= 1;
        assert_eq!(refused(authority.certificate(), &flipped, SEALING), AuthorityError::Sealed, "byte {at}");
        assert_eq!(refused(authority.certificate(), &sealed[..at], SEALING), AuthorityError::Sealed, "cut at {at}");
    }
    let other = Authority::make(&CLUSTER, now_s()).unwrap();
    assert_eq!(
        refused(other.certificate(), &sealed, SEALING),
        AuthorityError::Sealed,
        "it is sealed to its certificate"
    );
}

#[test]
fn a_certificate_is_renewed_ten_days_before_its_end() {
    let authority = Authority::make(&CLUSTER, now_s()).unwrap();
    let key = KeyPair::generate().unwrap();
    let now_s = now_s();
    let leaf = authority.sign(key.public_key_raw(), &wanted(&[], true), now_s).unwrap().remove(0);
    assert!(!is_due(&leaf, now_s) && !is_due(&leaf, now_s + 19 * DAY_S));
    assert!(is_due(&leaf, now_s + 21 * DAY_S) && is_due(&leaf, now_s + 400 * DAY_S));
    assert!(is_due(b"none", now_s));
    assert!(is_due(&leaf, now_s - 3 * DAY_S), "signed by a clock that was ahead");
}

#[test]
fn an_authority_that_has_ended_signs_nothing_more() {
    let authority = Authority::make(&CLUSTER, now_s()).unwrap();
    let key = KeyPair::generate().unwrap();
    let signed = |days: i64| authority.sign(key.public_key_raw(), &wanted(&[], true), now_s() + days * DAY_S);
    assert!(signed(AUTHORITY_DAYS - 2).is_ok() && authority.left_s(now_s()) > (AUTHORITY_DAYS - 2) * DAY_S);
    for days in [AUTHORITY_DAYS + 1, AUTHORITY_DAYS + 400] {
        assert_eq!(signed(days).unwrap_err(), AuthorityError::Ended);
    }
}

#[test]
fn what_no_certificate_can_bear_is_left_out_or_refused() {
    let authority = Authority::make(&CLUSTER, now_s()).unwrap();
    for point in [&[][..], &[4; 64], &[2; 65], &[4; 66]] {
        let refused = authority.sign(point, &wanted(&[], true), now_s()).unwrap_err();
        assert!(matches!(refused, AuthorityError::Unfit(_)), "{refused}");
    }
    for (text, good) in [
        ("n1", true),
        ("n1.example.com", true),
        ("10.0.0.1", true),
        ("fd00::1", true),
        ("", false),
        ("a b", false),
        ("10.0.0.300", false),
        ("*.example.com", false),
        ("n_1", false),
        ("-a", false),
        ("ü", false),
    ] {
        assert_eq!(is_host(text), good, "{text}");
    }
    let key = KeyPair::generate().unwrap();
    let odd = Wanted { node: "n\u{e9}/1 @=".into(), ..wanted(&["a b", "*", "n1"], false) };
    authority.sign(key.public_key_raw(), &odd, now_s()).unwrap();
    let many: Vec<String> = (0..300).map(|number| format!("n{number}")).collect();
    authority.sign(key.public_key_raw(), &Wanted { hosts: many, ..wanted(&[], true) }, now_s()).unwrap();
}

#[tokio::test]
async fn a_certificate_that_may_sign_none_is_no_authority_for_others() {
    let authority = Authority::make(&CLUSTER, now_s()).unwrap();
    let key = KeyPair::generate().unwrap();
    let chain = authority.sign(key.public_key_raw(), &wanted(&["10.0.0.7"], false), now_s()).unwrap();
    assert_eq!(chain.iter().map(|der| may_sign(der)).collect::<Vec<_>>(), [false, true], "the node, and its authority");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ca.pem");
    std::fs::write(&path, certificate_pem(&chain[0])).unwrap();
    let trust = Trust::said(Some(&path), None);
    let other = shaken(&authority, &wanted(&["10.0.0.8"], false), &trust, "10.0.0.8").await;
    assert!(matches!(other, Err(Fault::Untrusted(_))), "{other:?}");
}

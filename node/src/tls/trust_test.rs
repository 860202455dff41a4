//! Who is believed, over real handshakes in memory.

use rustls::pki_types::ServerName;
use tokio_rustls::TlsConnector;

use super::super::made::{self, Authority, Made, NOW};
use super::super::{Fault, fault_in};
use super::*;

/// Shakes hands as `name` and answers why it came to nothing.
async fn shaken(made: &Made, trust: &Trust, name: &str) -> Result<(), Fault> {
    let (ours, theirs) = tokio::io::duplex(1 << 20);
    let acceptor = made.shown().acceptor();
    let connector = TlsConnector::from(Arc::new(trust.config().unwrap()));
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let (client, _server) = tokio::join!(connector.connect(name, ours), acceptor.accept(theirs));
    client.map(|_| ()).map_err(|error| fault_in(&error).unwrap_or_else(|| panic!("{error:?}")))
}

fn untrusted(outcome: Result<(), Fault>) -> String {
    match outcome {
        Err(Fault::Untrusted(reason)) => reason,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_fingerprint_a_file_and_the_certificate_itself_are_each_enough() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    let made = authority.leaf(&["n1.example", "10.0.0.1"], NOW);
    let file = authority.write(folder.path());
    let other = Authority::new().fingerprint();
    for name in ["n1.example", "10.0.0.1"] {
        for trust in [
            Trust::said(None, Some(authority.fingerprint())),
            Trust::said(Some(&file), None),
            Trust::said(Some(&file), Some(other)),
        ] {
            assert_eq!(shaken(&made, &trust, name).await, Ok(()), "{trust:?}");
        }
    }
    let exactly = Trust::only(Anchor::Exactly(Fingerprint::of(&made.chain[0])));
    assert_eq!(shaken(&made, &exactly, "127.0.0.1").await, Ok(()), "whatever it is asked as");
}

#[tokio::test]
async fn another_authority_another_name_and_another_time_are_each_refused_with_the_reason() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    let file = authority.write(folder.path());
    let pins = [Trust::said(None, Some(authority.fingerprint())), Trust::said(Some(&file), None)];
    for trust in &pins {
        let impostor = Authority::new();
        let reason = untrusted(shaken(&impostor.leaf(&["n1"], NOW), trust, "n1").await);
        assert!(reason.contains(&impostor.fingerprint().to_string()) && reason.starts_with("it is "), "{reason}");
        let reason = untrusted(shaken(&authority.leaf(&["n2"], NOW), trust, "n1").await);
        assert!(reason.contains("other names") && reason.contains("n2"), "{reason}");
        let reason = untrusted(shaken(&authority.leaf(&["n1"], (2020, 2021)), trust, "n1").await);
        assert!(reason.contains("has expired"), "{reason}");
        let reason = untrusted(shaken(&authority.leaf(&["n1"], (2080, 2090)), trust, "n1").await);
        assert!(reason.contains("not valid yet"), "{reason}");
    }
    let one = authority.leaf(&["n1"], NOW);
    let exactly = Trust::only(Anchor::Exactly(Fingerprint::of(&one.chain[0])));
    let reason = untrusted(shaken(&authority.leaf(&["n1"], NOW), &exactly, "n1").await);
    assert!(reason.contains("its certificate is sha256:"), "{reason}");
    let over = authority.leaf(&["n1"], (2020, 2021));
    let exactly = Trust::only(Anchor::Exactly(Fingerprint::of(&over.chain[0])));
    let reason = untrusted(shaken(&over, &exactly, "n1").await);
    assert!(reason.contains("its certificate expired at"), "{reason}");
}

/// What was believed: nothing of a chain but its own leaf is held against the clock by the rules of chains.
#[tokio::test]
async fn an_authority_that_has_ended_or_has_not_begun_is_believed_no_more_by_file_than_by_fingerprint() {
    let folder = tempfile::tempdir().unwrap();
    for (years, why) in [((2020, 2021), "expired at"), ((2080, 2090), "is not valid before")] {
        let authority = Authority::of_years(years);
        let made = authority.leaf(&["n1"], NOW);
        let file = authority.write(folder.path());
        for trust in [Trust::said(None, Some(authority.fingerprint())), Trust::said(Some(&file), None)] {
            let reason = untrusted(shaken(&made, &trust, "n1").await);
            assert!(reason.contains("its authority's certificate") && reason.contains(why), "{trust:?}: {reason}");
        }
    }
}

#[tokio::test]
async fn a_certificate_that_signed_itself_is_its_own_authority() {
    let own = made::of_itself(&["n1"]);
    let folder = tempfile::tempdir().unwrap();
    let file = own.write(folder.path()).cert;
    for trust in [Trust::said(None, Some(Fingerprint::of(&own.chain[0]))), Trust::said(Some(&file), None)] {
        assert_eq!(shaken(&own, &trust, "n1").await, Ok(()));
        let reason = untrusted(shaken(&own, &trust, "n2").await);
        assert!(reason.contains("other names"), "{reason}");
        untrusted(shaken(&made::of_itself(&["n1"]), &trust, "n1").await);
    }
}

#[tokio::test]
async fn an_authority_is_not_believed_for_its_fingerprint_where_it_did_not_sign() {
    let (authority, impostor) = (Authority::new(), Authority::new());
    let mut forged = impostor.leaf(&["n1"], NOW);
    // The chain shows the authority, whose certificate anybody has, behind a leaf of somebody else's.
    forged.chain[1] = authority.leaf(&["n1"], NOW).chain[1].clone();
    let reason = untrusted(shaken(&forged, &Trust::said(None, Some(authority.fingerprint())), "n1").await);
    assert!(reason.contains("signed by no authority that is trusted here"), "the one that it shows is: {reason}");
}

#[tokio::test]
async fn a_chain_of_a_hundred_is_refused() {
    let authority = Authority::new();
    let mut long = authority.leaf(&["n1"], NOW);
    let filler = long.chain[1].clone();
    long.chain.resize(100, filler);
    let trust = Trust::said(None, Some(authority.fingerprint()));
    let reason = untrusted(shaken(&long, &trust, "n1").await);
    assert!(reason.contains("100 certificates"), "{reason}");
}

#[test]
fn a_file_without_authorities_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ca.pem");
    std::fs::write(&path, "nothing").unwrap();
    let error = Trust::said(Some(&path), None).config().unwrap_err().to_string();
    assert!(error.contains("ca.pem: holds no certificate"), "{error}");
}

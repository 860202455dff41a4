//! What users copy from one place to another: addresses and ids of nodes, keys, tokens, digests. Refused without repeating what may be
//! a secret, or a text that reads back.
#![no_main]

use std::fmt::Display;
use std::str::FromStr;

use data_encoding::BASE32_NOPAD;
use libfuzzer_sys::fuzz_target;
use pentora_node::airgap::encryption::Recipient;
use pentora_node::client::locate::checked_token;
use pentora_node::config::peer_address;
use pentora_node::document::EventCursor;
use pentora_node::join::token::{Credential, JoinToken};
use pentora_node::signing::{SignerKey, TrustedKey};
use pentora_node::tls::{Fingerprint, is_host};
use pentora_p2p::{ClusterId, PeerAddress, PeerId, PreSharedKey};
use pentora_raft::{Digest, JobId, TokenId};

fuzz_target!(|data: &[u8]| {
    // A join token and a credential of these bytes, with the check behind them.
    let checked = [data, &Digest::of(data).0[..4]].concat();
    for bytes in [data, &checked] {
        let body = BASE32_NOPAD.encode(bytes).to_ascii_lowercase();
        for text in [format!("pnj_{body}"), format!("pnw_{body}")] {
            reads_back::<JoinToken>(&text);
            reads_back::<Credential>(&text);
        }
    }
    let Ok(text) = std::str::from_utf8(data) else { return };
    reads_back::<JoinToken>(text);
    reads_back::<Credential>(text);
    reads_back::<PeerAddress>(text);
    reads_back::<PeerId>(text);
    reads_back::<ClusterId>(text);
    reads_back::<SignerKey>(text);
    reads_back::<TrustedKey>(text);
    reads_back::<Recipient>(text);
    reads_back::<Fingerprint>(text);
    reads_back::<EventCursor>(text);
    reads_back::<JobId>(text);
    reads_back::<TokenId>(text);
    reads_back::<Digest>(text);
    if let Ok(key) = PreSharedKey::from_hex(text) {
        assert!(PreSharedKey::from_hex(&key.to_hex()).is_ok_and(|again| again.as_bytes() == key.as_bytes()));
    }
    let _ = (peer_address(text), checked_token(text).is_ok(), is_host(text));
});

fn reads_back<T: FromStr<Err: Display> + Display>(text: &str) {
    match text.parse::<T>() {
        Ok(value) => {
            let written = value.to_string();
            let again = written.parse::<T>().map(|again| again.to_string());
            assert!(again.is_ok_and(|again| again == written), "{text:?}");
        }
        Err(error) => assert!(!error.to_string().contains(char::is_control), "{error}"),
    }
}

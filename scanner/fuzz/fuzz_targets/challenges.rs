//! A challenge of NTLM, wherever in an answer it stands: names and numbers that are printable, in proportion to its bytes, and the
//! same with anything before it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pentora_scanner::fuzzing::read_challenge;

const NAMES: [&str; 6] = ["ntlm-version", "netbios-name", "netbios-domain", "dns-name", "dns-domain", "dns-tree"];

fuzz_target!(|data: &[u8]| {
    check(data);
    // The message as it begins, so that the rest of the input is spent on its fields.
    let message = [&b"NTLMSSP\0\x02\0\0\0"[..], data].concat();
    let told = check(&message);
    let behind = [b"\x04\x01SMB", &message[..]].concat();
    assert_eq!(read_challenge(&behind), told, "its offsets count from its own front");
});

fn check(answer: &[u8]) -> Vec<(String, String)> {
    let told = read_challenge(answer);
    // A name is a pair of four bytes at least, and a version stands once.
    assert!(told.len() <= 1 + answer.len() / 4, "{told:?}");
    for (name, value) in &told {
        assert!(NAMES.contains(&name.as_str()), "{name:?}");
        assert!(!value.is_empty() && value.chars().all(|c| !c.is_control()) && value.len() <= 4096, "{value:?}");
    }
    told
}

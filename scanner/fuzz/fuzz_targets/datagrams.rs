//! What answers over UDP: every port is asked in datagrams that fit a frame, the same ones for every try, and what is taken for
//! words of an answer is words.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pentora_scanner::fuzzing::ask_over_udp;

/// What fits into one frame on any link (IPv6's least, less its and UDP's headers).
const DATAGRAM_BYTES_MAX: usize = 1232;

fuzz_target!(|data: &[u8]| {
    let Some((head, answer)) = data.split_first_chunk::<10>() else { return };
    let [high, low, token @ ..] = *head;
    let port = u16::from_be_bytes([high, low]);
    let asked = ask_over_udp(port, token, answer);
    assert!(!asked.requests.is_empty());
    assert!(asked.requests.iter().all(|request| request.len() <= DATAGRAM_BYTES_MAX), "{port}");
    assert_eq!(asked, ask_over_udp(port, token, answer), "the same again");
    if let Some(words) = &asked.words {
        assert!(
            !words.is_empty() && words.len() <= answer.len() && answer.windows(words.len()).any(|part| part == words)
        );
        assert!(words.iter().all(|byte| matches!(byte, b' '..=b'~' | b'\r' | b'\n' | b'\t')), "{words:?}");
    }
    // An answer of DNS or NetBIOS names the question that it is to (RFC 1035 section 4.1.1), and any other is another's.
    if matches!(port, 53 | 137) && answer.len() >= 12 && answer[2] & 0x80 != 0 {
        assert_eq!(asked.is_accepted, answer.starts_with(&token[..2]), "{port}");
    }
    // A request that comes back is from an echo, which may listen anywhere: no question of these is an answer.
    for request in asked.requests.iter().filter(|_| matches!(port, 7 | 53)) {
        assert!(ask_over_udp(port, token, request).is_accepted, "{port}");
    }
});

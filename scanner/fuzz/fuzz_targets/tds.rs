//! SQL Server's packets around TLS: the same contents in whatever pieces they come, and exactly those that their heads promise; an
//! answer to the question for encryption means the same with whatever comes behind it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pentora_scanner::fuzzing::{agrees_to_tls, contents_of_packets};

const HEAD_BYTES: usize = 8;

fuzz_target!(|data: &[u8]| {
    let Some((at, bytes)) = data.split_first() else { return };
    let answer = agrees_to_tls(bytes);
    let (front, back) = bytes.split_at(usize::from(*at).min(bytes.len()));
    if let Some(early) = agrees_to_tls(front) {
        assert_eq!(answer, Some(early), "what was whole stays what it is");
    }
    let contents = promised(bytes);
    assert_eq!(contents_of_packets(&[bytes]), contents);
    assert_eq!(contents_of_packets(&[front, back]), contents);
    let single: Vec<&[u8]> = bytes.chunks(1).collect();
    assert_eq!(contents_of_packets(&single), contents);
});

/// What the packets hold, as far as they came; `None` where one is shorter than its own head.
fn promised(mut bytes: &[u8]) -> Option<Vec<u8>> {
    let mut contents = Vec::new();
    while let Some((head, rest)) = bytes.split_first_chunk::<HEAD_BYTES>() {
        let length = usize::from(u16::from_be_bytes([head[2], head[3]])).checked_sub(HEAD_BYTES)?;
        let (part, rest) = rest.split_at(length.min(rest.len()));
        contents.extend(part);
        bytes = rest;
    }
    Some(contents)
}

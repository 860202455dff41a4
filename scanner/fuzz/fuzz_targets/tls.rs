//! What a TLS server says first, and its certificates: bounded whatever comes, and a flight that was built here, in
//! records of any size, gives back its certificates; of one that was cut, the front of its own.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pentora_scanner::detect::tls::{is_tls, may_become_tls, problems, read_certificate, read_flight, read_front};
use pentora_scanner::finding::plain_text;

/// Most certificates that are looked at.
const CERTIFICATES_MAX: usize = 10;

fuzz_target!(|data: &[u8]| {
    let flight = read_flight(data);
    assert_eq!(flight.is_some(), is_tls(data));
    if flight.is_some() {
        let is_known = |part: &[u8]| is_tls(part) || may_become_tls(part);
        assert!((1..data.len()).all(|length| is_known(&data[..length])), "its front is no front of it");
    }
    if let Some(flight) = flight {
        assert!(flight.certificates.len() <= CERTIFICATES_MAX);
        assert!(flight.certificates.iter().map(Vec::len).sum::<usize>() <= data.len());
        certificates(&flight.certificates);
    }
    certificates(&[data.to_vec()]);

    let Some(([size, count, version], rest)) = data.split_first_chunk::<3>() else { return };
    let chain: Vec<&[u8]> = rest.chunks(rest.len() / (1 + usize::from(count % 12)) + 1).collect();
    let bytes = built(&chain, 1 + usize::from(*size), *version);
    let flight = read_flight(&bytes).expect("a handshake is TLS");
    let kept: Vec<&[u8]> = flight.certificates.iter().map(Vec::as_slice).collect();
    assert_eq!(kept, chain[..chain.len().min(CERTIFICATES_MAX)]);
    assert_eq!((flight.version, flight.cipher), (Some(0x0300 | u16::from(*version)), Some(0xc02f)));
    // What has come so far is never more than what will have come.
    let part = read_flight(&bytes[..bytes.len() * usize::from(*count) / 255]);
    let part = part.map(|part| part.certificates).unwrap_or_default();
    match &part[..] {
        // The server's own may be there in part.
        [own] => assert!(flight.certificates.first().is_some_and(|whole| whole.starts_with(own))),
        part => assert!(flight.certificates.starts_with(part)),
    }
});

fn certificates(chain: &[Vec<u8>]) {
    let chain: Vec<_> = chain.iter().filter_map(|der| read_certificate(der).or_else(|| read_front(der))).collect();
    for seen in &chain {
        let said = &seen.certificate;
        assert!(said.names.len() <= 256 && matches!(said.sha256.len(), 0 | 64) && said.serial.len() <= 128);
        for text in said.names.iter().chain([&said.subject, &said.issuer, &said.key, &said.signature]) {
            assert!(text.len() <= 512 && plain_text(text) == text.as_str(), "{text:?}");
        }
    }
    for name in [None, Some("a.example")] {
        assert!(problems(&chain, name, 1_700_000_000).len() <= 9);
    }
}

/// A ServerHello, certificates and ServerHelloDone, in records of `size` bytes.
fn built(chain: &[&[u8]], size: usize, version: u8) -> Vec<u8> {
    let mut hello = vec![3, version];
    hello.extend([7; 32]);
    hello.extend([0, 0xc0, 0x2f, 0]);
    let list: Vec<u8> = chain.iter().flat_map(|der| [&length(der.len()), *der].concat()).collect();
    let certificates = [&length(list.len()), &list[..]].concat();
    let mut handshake = Vec::new();
    for (kind, body) in [(2, hello), (11, certificates), (14, Vec::new())] {
        handshake.push(kind);
        handshake.extend(length(body.len()));
        handshake.extend(body);
    }
    // The first byte of a record tells TLS from anything else, so the first record is never cut before it.
    let record = |part: &[u8]| {
        let mut record = vec![22, 3, 3];
        record.extend(u16::try_from(part.len()).unwrap().to_be_bytes());
        record.extend(part);
        record
    };
    handshake.chunks(size).flat_map(record).collect()
}

fn length(bytes: usize) -> [u8; 3] {
    let [_, a, b, c] = u32::try_from(bytes).unwrap().to_be_bytes();
    [a, b, c]
}

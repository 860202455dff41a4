//! What all dissectors have in common: no bytes make them panic, and no value forges a line.

use proptest::prelude::*;

use super::*;

/// Beginnings that get random bytes past the first checks.
const HEADS: &[&[u8]] = &[
    b"",
    b"HTTP/1.1 200 OK\r\n",
    b"\x4a\x00\x00\x00\x0a",
    b"\x30\x82\x01\x00\x02\x01\x07\x64",
    b"\x01\x00\x00\x00\x00\x00\x00\xff\x00\x0a\x00\x0a",
    b"\x04\x01\x00\x25",
    b"\x00\x00\x00\x60\xfeSMB\x40\x00",
    b"\x00\x00\x00\x60\xffSMB\x72",
    b"\x03\x00\x00\x13\x0e\xd0\x00\x00",
    b"\x16\x02\x00\x06",
    b"\x84\x00\x00\x00\x05",
    b"\x00\x01\x00\x00\x00\x20\x00\x2b\x0e\x01",
    b"\x81\x0a\x00\x20\x01\x00\x30\x01\x0c",
    b"c\x003\x00\0\0\0\0\0\0\0\0pentora\0\0\0\0\0\x01\0\x0c\0",
    b"E\x00\x00\x00\x40S",
    b"\x20\x02\x00\x00\x30",
    b"\x00\x20\x50\x4e\x84\x00\x00\x01\x00\x01",
    b"\x7e\x40\x30\x3e\xa0\x03\x02\x01\x05\xa1\x03\x02\x01\x1e",
    b"\x00\x40\xd0\x02\x00\x01\x00\x3a\x14\x43",
    b"PNTR\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01",
    b"\x05\x00\x02\x03\x10\x00\x00\x00\xff\x00\x00\x00\x02\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00",
    b"\x50\x4e\x84\x00\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x21\x00\x01\x00\x00\x00\x00\x00\x60\x03",
    b"\x50\x4e\x84\x00\x00\x00\x00\x02\x00\x00\x00\x00\xc0\x0c",
    b"12345678abcdefgh\x0d\x10\x02\x00\x00\x00\x00\x00\x00\x00\x00\x40",
    b"\xc8\x02\x00\x40\x00\x00\x00\x00\x00\x00\x00\x00\x80\x08",
    b"\x06\x10\x02\x04\x00\x10\x36\x01",
    b"\x64\x45\x50\x4e",
    b"\x80\x00\x00\x00\x00\x00\x00",
    b"\x01\x00\x00\x20\x0b\x00\x04",
    b"\x00\x00\x00\x40\x00\x10\x00\x00\x00\x00\x00\x00\x10\x06\x02\x00\x03PRD\x12\x06",
    b"\x17\x24\x0a\x20\x00",
    b"\x00\x30\x00\x00\x04\x00\x00\x00\x22\x00(VSNNUM=",
    b"\x11\x30\x36\x00\x20\x00\x00\x00",
];

proptest! {
    #[test]
    fn no_answer_makes_a_dissector_panic(
        head in 0..HEADS.len(), bytes in proptest::collection::vec(any::<u8>(), 0..300),
    ) {
        let answer = [HEADS[head], bytes.as_slice()].concat();
        for dissector in DISSECTORS {
            if let Some(text) = dissector.dissect(&answer) {
                prop_assert!(text.len() <= TEXT_BYTES_MAX && text.ends_with(b"\n"));
                for line in text.split(|b| *b == b'\n').filter(|line| !line.is_empty()) {
                    prop_assert!(line.contains(&b'='), "{}: {line:?}", dissector.name);
                }
            }
        }
    }
}

#[test]
fn an_answer_that_repeats_itself_neither_nests_nor_multiplies() {
    // A version message after a version message was once read one level deeper, five thousand times.
    let again = b"v\0\0\0\x0c\0\0\0\0\0\0\0\0".repeat(5_000);
    let read = std::thread::Builder::new()
        .stack_size(128 * 1024)
        .spawn(move || Dissector::named("postgresql").unwrap().dissect(&again));
    assert_eq!(read.unwrap().join().unwrap().unwrap(), b"minor=0\n");
    // A long name stood before each of fifteen thousand values once.
    let mut nested = b"\0\0\x0f\0--------\xdd\x07\0\0-----\0\0\0\0\x03".to_vec();
    nested.extend([b'n'; 30_000]);
    nested.extend(b"\0\0\0\0\0\x08\0\x01");
    nested.extend(b"\x0a\0".repeat(15_000));
    assert_eq!(Dissector::named("mongodb").unwrap().dissect(&nested), None);
}

#[test]
fn a_value_cannot_forge_a_line() {
    let mut lines = Lines::default();
    lines.put("a", b"1\nversion=9");
    assert_eq!(lines.text, b"a=1 version=9\n");
    assert_eq!(line_value(&lines.text, "version"), None);
    assert_eq!(line_value(&lines.text, "a"), Some(b"1 version=9".as_slice()));
}

#[test]
fn names_are_found_and_unique() {
    for dissector in DISSECTORS {
        assert_eq!(Dissector::named(dissector.name), Some(*dissector));
    }
    assert_eq!(Dissector::named("no-such"), None);
}

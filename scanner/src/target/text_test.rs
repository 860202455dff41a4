//! Lists as people have them: every encoding and line end gives the same targets, and what is unclear is refused.

use proptest::prelude::*;

use super::super::{TargetSet, parse_targets};
use super::*;

fn text(bytes: &[u8]) -> String {
    decode_text(bytes.to_vec(), "list").unwrap()
}

fn refused(bytes: &[u8]) -> (TextProblem, usize, usize) {
    let error = decode_text(bytes.to_vec(), "list").unwrap_err();
    (error.problem, error.line, error.column)
}

fn utf16(text: &str, is_big: bool) -> Vec<u8> {
    let bytes = |unit: u16| if is_big { unit.to_be_bytes() } else { unit.to_le_bytes() };
    text.encode_utf16().flat_map(bytes).collect()
}

#[test]
fn a_byte_order_mark_is_no_part_of_the_text() {
    assert_eq!(text(b"\xef\xbb\xbf10.0.0.1"), "10.0.0.1");
    assert_eq!(text(b"\xff\xfe1\x000\x00"), "10");
    assert_eq!(text(b"\xfe\xff\x001\x000"), "10");
    assert_eq!(text(b""), "");
    assert_eq!(text(b"10.0.0.1\r\n\x1a"), "10.0.0.1\r\n", "nor is the end mark of DOS");
}

#[test]
fn comments_in_latin_1_are_taken_and_stay_comments() {
    let list = text(b"10.77.0.5 # Geb\xe4ude 7\r10.77.0.6 # \x93Technik\x94 \x96 \xdcbergabe\r");
    assert_eq!(list, "10.77.0.5 # Gebäude 7\r10.77.0.6 # “Technik” – Übergabe\r");
    assert_eq!(parse_targets(&list, "list").unwrap().to_string(), "10.77.0.5-10.77.0.6");
}

#[test]
fn in_a_file_of_two_encodings_the_line_ends_of_both_hold() {
    let list = text(b"10.0.0.1 # Geb\xe4ude\n10.0.0.2 # Geb\xc3\xa4ude\xe2\x80\xa810.0.0.3 # x\xc2\x8510.0.0.4");
    assert_eq!(parse_targets(&list, "list").unwrap().count(), 4);
}

#[test]
fn what_could_be_read_in_two_ways_is_refused_with_its_place() {
    assert_eq!(refused(b"10.0.0.1\n10.0.0.2 # a\xe4\x8510.0.0.3"), (TextProblem::NextLine, 2, 14));
    assert_eq!(refused(b"10.0.0.1\r\n\x0010"), (TextProblem::Zero, 2, 1));
    assert_eq!(refused(b"#\x00\n\x001\x00"), (TextProblem::Zero, 1, 2), "UTF-16 without a mark");
    assert_eq!(refused(b"\xff\xfe1\x00\n\x00\x00\xd8a\x00"), (TextProblem::Utf16, 2, 1), "half a surrogate pair");
    assert_eq!(refused(b"\xff\xfe1\x002"), (TextProblem::Utf16, 1, 2), "half a character");
    assert_eq!(refused(b"\xff\xfe\x00\x001\x00\x00\x00"), (TextProblem::Utf32, 1, 1));
    let error = decode_text(b"\xe4\x85".to_vec(), "standard input").unwrap_err().to_string();
    assert!(error.starts_with("standard input:1:2: the byte 0x85 ") && !error.contains('\n'), "{error}");
}

#[test]
fn every_line_end_ends_a_line_and_a_pair_is_one() {
    let all = "a\nb\rc\r\nd\u{b}e\u{c}f\u{1c}g\u{1d}h\u{1e}i\u{85}j\u{2028}k\u{2029}l\n\rm\n";
    assert_eq!(lines(all).collect::<Vec<_>>(), ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "", "m"]);
    assert_eq!(lines("ä€ê\u{80}é").count(), 1, "what begins as NEL or a separator does is none");
    assert_eq!(lines("").count(), 0);
}

/// Ends that any encoding has, and those that only Unicode has.
const ENDS: [&str; 7] = ["\n", "\r", "\r\n", "\n\n", "\r\r\n", "\u{b}", "\u{c}"];
const UNICODE_ENDS: [&str; 3] = ["\u{85}", "\u{2028}", "\u{2029}"];

#[derive(Debug, Clone, Copy)]
enum Encoding {
    Utf8 { is_marked: bool },
    Utf16 { is_big: bool },
    Latin1,
}

fn encoding() -> impl Strategy<Value = Encoding> {
    prop_oneof![
        any::<bool>().prop_map(|is_marked| Encoding::Utf8 { is_marked }),
        any::<bool>().prop_map(|is_big| Encoding::Utf16 { is_big }),
        Just(Encoding::Latin1),
    ]
}

fn encoded(text: &str, encoding: Encoding) -> Vec<u8> {
    let marked = format!("\u{feff}{text}");
    match encoding {
        Encoding::Utf8 { is_marked } => if is_marked { marked } else { text.to_owned() }.into_bytes(),
        Encoding::Utf16 { is_big } => utf16(&marked, is_big),
        Encoding::Latin1 => text.chars().map(|c| u8::try_from(u32::from(c)).unwrap_or(b'?')).collect(),
    }
}

fn exclusions(bytes: Vec<u8>) -> Result<TargetSet, String> {
    let text = decode_text(bytes, "list").map_err(|error| error.to_string())?;
    let mut builder = TargetSet::builder();
    builder.add_exclusions(&text, "list").map_err(|error| error.to_string())?;
    builder.build().map_err(|error| error.to_string())
}

proptest! {
    #[test]
    fn a_list_in_any_encoding_and_with_any_line_ends_excludes_the_same(
        encoding in encoding(),
        written in proptest::collection::vec((any::<u8>(), "[ -~à-ÿ]{0,12}", any::<prop::sample::Index>()), 1..12)
    ) {
        let is_unicode = !matches!(encoding, Encoding::Latin1);
        let ends: Vec<&str> = if is_unicode { ENDS.into_iter().chain(UNICODE_ENDS).collect() } else { ENDS.to_vec() };
        let mut list = String::new();
        for (host, comment, end) in &written {
            list += &format!("10.0.0.{host}\t# {comment}{}", end.get(&ends));
        }
        let expected: Vec<String> = written.iter().map(|(host, ..)| format!("10.0.0.{host}")).collect();
        prop_assert_eq!(exclusions(encoded(&list, encoding)), Ok(expected.join(",").parse().unwrap()), "{:?}", list);
    }

    #[test]
    fn no_bytes_lose_a_line_that_the_same_bytes_end(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
        // However the rest is read: an address on a line of its own is in the set, or the list is refused.
        prop_assume!(matches!(form_of(&bytes), Form::Bytes { .. }));
        let mut list = bytes.clone();
        list.extend(b"\n10.0.0.77\n");
        if let Ok(set) = exclusions(list) {
            prop_assert!(set.contains("10.0.0.77".parse().unwrap()), "{bytes:?}");
        }
    }

    #[test]
    fn the_lines_of_a_text_and_their_ends_are_all_of_it(text in "[a-c\\n\\r\\x0b\\x0c\\x1c\\u{85}\\u{2028}\\u{2029}âÂ]{0,20}") {
        let kept: usize = lines(&text).map(str::len).sum();
        let is_end = |c: char| matches!(c, '\n' | '\r' | '\u{b}' | '\u{c}' | '\u{1c}' | '\u{85}' | '\u{2028}' | '\u{2029}');
        let ends: usize = text.chars().filter(|c| is_end(*c)).map(char::len_utf8).sum();
        prop_assert_eq!(kept + ends, text.len());
        prop_assert!(lines(&text).all(|line| !line.contains(is_end)));
    }
}

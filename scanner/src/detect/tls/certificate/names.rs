//! Names in certificates (X.501) as text, in whatever type of string they are written.
//!
//! RFC 5280 wants UTF-8 or plain ASCII. Devices write Latin letters into T61, IA5 and printable strings, and UTF-16 into BMP
//! strings: each value is read as it is meant, and one that cannot be does not lose the others.

use x509_parser::der_parser::asn1_rs::{Any, Tag};
use x509_parser::objects::{oid_registry, oid2abbrev};
use x509_parser::x509::X509Name;

use crate::finding::{plain_text, plain_text_of};

/// Longest name that is kept, in bytes.
const TEXT_MAX: usize = 512;

/// A name as `CN=box, O=Frob`.
pub(super) fn text_of(name: &X509Name<'_>) -> String {
    let sets = name.iter().map(|set| {
        let values = set.iter().map(|attribute| {
            let oid = attribute.attr_type();
            let word = oid2abbrev(oid, oid_registry()).map_or_else(|_| oid.to_id_string(), str::to_owned);
            format!("{word}={}", plain_text(&value_of(attribute.attr_value())))
        });
        values.collect::<Vec<_>>().join(" + ")
    });
    plain_text_of(&sets.collect::<Vec<_>>().join(", "), TEXT_MAX)
}

fn value_of(value: &Any<'_>) -> String {
    let bytes = value.data;
    let units = |size: usize| {
        bytes.chunks_exact(size).map(|unit| unit.iter().fold(0_u32, |code, byte| code << 8 | u32::from(*byte)))
    };
    match value.tag() {
        Tag::BmpString => {
            let units: Vec<u16> = units(2).filter_map(|unit| u16::try_from(unit).ok()).collect();
            String::from_utf16_lossy(&units)
        }
        Tag::UniversalString => {
            units(4).map(|code| char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER)).collect()
        }
        Tag::Utf8String
        | Tag::PrintableString
        | Tag::Ia5String
        | Tag::TeletexString
        | Tag::VisibleString
        | Tag::NumericString
        | Tag::GeneralString
        | Tag::VideotexString => text_in(bytes),
        _ => hex::encode(bytes),
    }
}

/// UTF-8 where it is, and Latin-1 otherwise, whatever the type allows.
fn text_in(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => bytes.iter().copied().map(char::from).collect(),
    }
}

#[cfg(test)]
mod tests {
    use x509_parser::prelude::FromDer;

    use super::*;

    /// A name of common names, each with its type of string.
    fn name(values: &[(u8, &[u8])]) -> Vec<u8> {
        let wrapped = |tag: u8, content: &[u8]| [&[tag, u8::try_from(content.len()).unwrap()], content].concat();
        let sets: Vec<u8> = values
            .iter()
            .flat_map(|(tag, value)| {
                let attribute = [wrapped(6, &[0x55, 4, 3]), wrapped(*tag, value)].concat();
                wrapped(0x31, &wrapped(0x30, &attribute))
            })
            .collect();
        wrapped(0x30, &sets)
    }

    fn text(values: &[(u8, &[u8])]) -> String {
        let der = name(values);
        let (_, name) = X509Name::from_der(&der).unwrap();
        text_of(&name)
    }

    #[test]
    fn names_are_read_in_every_type_of_string() {
        for (values, expected) in [
            (&[(12, &b"box"[..])][..], "CN=box"),
            (&[(12, "M\u{fc}nchen".as_bytes())], "CN=M\u{fc}nchen"),
            (&[(12, b"M\xfcnchen")], "CN=M\u{fc}nchen"),
            (&[(19, b"M\xfcnchen")], "CN=M\u{fc}nchen"),
            (&[(20, b"M\xfcnchen")], "CN=M\u{fc}nchen"),
            (&[(22, b"M\xfcnchen")], "CN=M\u{fc}nchen"),
            (&[(30, b"\0M\0\xfc")], "CN=M\u{fc}"),
            (&[(28, b"\0\0\0M\0\0\0\xfc")], "CN=M\u{fc}"),
            (&[(20, b"\xe9"), (12, b"clean")], "CN=\u{e9}, CN=clean"),
            (&[(4, b"\x01\x02")], "CN=0102"),
            (&[(12, b"a\x1b[2Jb")], "CN=a\u{fffd}[2Jb"),
        ] {
            assert_eq!(text(values), expected, "{values:?}");
        }
        assert!(text(&[(12, &[b'x'; 100][..])]).len() <= TEXT_MAX);
    }
}

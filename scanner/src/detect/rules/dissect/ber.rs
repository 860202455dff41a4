//! BER's tags and lengths (X.690), as LDAP and SNMP use them.

use super::Cursor;

/// The next element: its tag and its contents; contents that are cut off are given as far as they go.
pub(super) fn element<'a>(cursor: &mut Cursor<'a>) -> Option<(u8, &'a [u8])> {
    let tag = cursor.u8()?;
    let first = cursor.u8()?;
    let length = match first {
        0..=0x7f => usize::from(first),
        0x81..=0x84 => {
            let bytes = cursor.take(usize::from(first & 0x7f))?;
            bytes.iter().fold(0usize, |length, byte| length << 8 | usize::from(*byte))
        }
        _ => return None,
    };
    Some((tag, cursor.up_to(length)))
}

/// The next element's contents, when it has that tag.
pub(super) fn expect<'a>(cursor: &mut Cursor<'a>, tag: u8) -> Option<&'a [u8]> {
    let (found, contents) = element(cursor)?;
    (found == tag).then_some(contents)
}

/// An unsigned integer's value.
pub(super) fn number(contents: &[u8]) -> Option<u64> {
    (contents.len() <= 9).then(|| contents.iter().fold(0u64, |value, byte| value << 8 | u64::from(*byte)))
}

/// An object identifier in dots.
pub(super) fn oid(contents: &[u8]) -> Option<String> {
    let (first, rest) = contents.split_first()?;
    let mut parts = vec![u64::from(first / 40), u64::from(first % 40)];
    let mut value = 0u64;
    for byte in rest.iter().take(128) {
        value = (value & 0x00ff_ffff_ffff_ffff) << 7 | u64::from(byte & 0x7f);
        if byte & 0x80 == 0 {
            parts.push(value);
            value = 0;
        }
    }
    Some(parts.iter().map(u64::to_string).collect::<Vec<_>>().join("."))
}

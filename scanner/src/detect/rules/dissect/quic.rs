//! A version negotiation of QUIC (RFC 9000 section 17.2.1, RFC 8999 section 6): the `versions` that a server has.

use super::{Cursor, Lines};

/// Most versions that are told.
const VERSIONS_MAX: usize = 16;

pub(super) fn read(bytes: &[u8], lines: &mut Lines) -> Option<()> {
    let mut cursor = Cursor(bytes);
    if cursor.u8()? & 0x80 == 0 || cursor.u32()? != 0 {
        return None;
    }
    for _ in 0..2 {
        let length = cursor.u8()?;
        cursor.take(usize::from(length))?;
    }
    let mut versions = Vec::new();
    while let Some(version) = cursor.array::<4>() {
        // Some are there so that nobody takes the list for closed (RFC 9000 section 15).
        let is_reserved = version.iter().all(|byte| byte & 15 == 10);
        if !is_reserved && versions.len() < VERSIONS_MAX {
            versions.push(name(version));
        }
    }
    (!versions.is_empty()).then(|| lines.put("versions", versions.join(" ")))
}

fn name(version: [u8; 4]) -> String {
    match version {
        [0, 0, 0, 1] => "1".to_owned(),
        [0x6b, 0x33, 0x43, 0xcf] => "2".to_owned(),
        [0xff, 0, 0, draft] => format!("draft-{draft}"),
        [b'Q' | b'T', ..] if version.iter().all(u8::is_ascii_alphanumeric) => version.map(char::from).iter().collect(),
        other => format!("0x{:08x}", u32::from_be_bytes(other)),
    }
}

//! An answer of the Internet Key Exchange (RFC 2408 section 3.1, RFC 7296 section 3.1), with the marker of port 4500 or without:
//! `version`, `exchange`, `accepted` where a proposal was, each `notify` by number and each `vendor` in hexadecimal.

use std::fmt::Write as _;

use super::{Cursor, Lines};

/// Payloads of both versions: of the first where it has one.
const ACCEPTED: [u8; 2] = [1, 33];
const NOTIFY: [u8; 2] = [11, 41];
const VENDOR: [u8; 2] = [13, 43];

pub(super) fn read(bytes: &[u8], lines: &mut Lines) -> Option<()> {
    let bytes = bytes.strip_prefix(&[0, 0, 0, 0]).unwrap_or(bytes);
    let mut cursor = Cursor(bytes);
    cursor.take(16)?;
    let (mut next, version, exchange, _flags) = (cursor.u8()?, cursor.u8()?, cursor.u8()?, cursor.u8()?);
    cursor.u32()?;
    let length = cursor.u32()?;
    if !matches!(version, 0x10 | 0x20) || length < 28 || usize::try_from(length).ok()? > bytes.len() {
        return None;
    }
    lines.put("version", format!("{}.{}", version >> 4, version & 15));
    lines.put("exchange", exchange.to_string());
    while next != 0 {
        let kind = next;
        next = cursor.u8()?;
        cursor.u8()?;
        let length = cursor.u16()?;
        let body = cursor.take(usize::from(length).checked_sub(4)?)?;
        if ACCEPTED.contains(&kind) {
            lines.put("accepted", "yes");
        } else if NOTIFY.contains(&kind) {
            // Behind the domain of interpretation, which the second version has not.
            let skip = if version == 0x10 { 4 } else { 0 };
            let mut body = Cursor(body.get(skip..)?);
            body.u16()?;
            lines.put("notify", body.u16()?.to_string());
        } else if VENDOR.contains(&kind) {
            let hex = body.iter().take(64).fold(String::new(), |mut hex, byte| {
                // Writing to a string cannot fail.
                let _ = write!(hex, "{byte:02x}");
                hex
            });
            lines.put("vendor", hex);
        }
    }
    Some(())
}

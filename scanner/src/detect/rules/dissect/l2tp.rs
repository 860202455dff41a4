//! A control message of L2TP (RFC 2661 sections 3.1 and 4.1): `message` by number, and what its attributes tell: `hostname`,
//! `vendor`, `firmware`.

use super::{Cursor, Lines};

pub(super) fn read(bytes: &[u8], lines: &mut Lines) -> Option<()> {
    let mut cursor = Cursor(bytes);
    // Control, with length and sequence, version 2.
    let flags = cursor.u16()?;
    if flags & 0xc80f != 0xc802 {
        return None;
    }
    let length = usize::from(cursor.u16()?);
    cursor.take(8)?;
    let mut pairs = Cursor(cursor.up_to(length.checked_sub(12)?));
    while let Some(head) = pairs.u16() {
        let vendor = pairs.u16()?;
        let kind = pairs.u16()?;
        let value = pairs.take(usize::from(head & 0x3ff).checked_sub(6)?)?;
        // Another vendor's, or hidden.
        if vendor != 0 || head & 0x4000 != 0 {
            continue;
        }
        match (kind, value) {
            (0, [high, low]) => lines.put("message", u16::from_be_bytes([*high, *low]).to_string()),
            (6, [high, low]) => lines.put("firmware", format!("{high}.{low}")),
            (7, _) => lines.put("hostname", value),
            (8, _) => lines.put("vendor", value),
            _ => {}
        }
    }
    Some(())
}

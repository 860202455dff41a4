//! A message of CoAP (RFC 7252 section 3): its `type`, its `code` as `2.05`, and a payload of text (`links` where it is of the
//! format of RFC 6690).

use super::{Cursor, Lines};

pub(super) fn read(bytes: &[u8], lines: &mut Lines) -> Option<()> {
    let mut cursor = Cursor(bytes);
    let first = cursor.u8()?;
    let code = cursor.u8()?;
    let token = usize::from(first & 15);
    if first >> 6 != 1 || token > 8 || !matches!(code >> 5, 0 | 2 | 4 | 5) {
        return None;
    }
    cursor.take(2 + token)?;
    let kind = ["confirmable", "non-confirmable", "acknowledgement", "reset"];
    lines.put("type", kind.get(usize::from(first >> 4 & 3))?);
    lines.put("code", format!("{}.{:02}", code >> 5, code & 31));
    while !cursor.0.is_empty() {
        let head = cursor.u8()?;
        if head == 0xff {
            let payload = cursor.0;
            let is_links = payload.starts_with(b"<");
            lines.put(if is_links { "links" } else { "payload" }, payload);
            return Some(());
        }
        extended(&mut cursor, head >> 4)?;
        let length = extended(&mut cursor, head & 15)?;
        cursor.take(length)?;
    }
    Some(())
}

/// A number of an option's head (section 3.1).
fn extended(cursor: &mut Cursor<'_>, nibble: u8) -> Option<usize> {
    match nibble {
        0..=12 => Some(usize::from(nibble)),
        13 => Some(usize::from(cursor.u8()?) + 13),
        14 => Some(usize::from(cursor.u16()?) + 269),
        _ => None,
    }
}

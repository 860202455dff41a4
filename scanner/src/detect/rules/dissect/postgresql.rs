//! PostgreSQL's answer to a startup packet: the fields of an error by their letters, `auth` of a request to log in.

use super::{Cursor, Lines};

pub(super) fn read(bytes: &[u8], lines: &mut Lines) -> Option<()> {
    // A server names the newest version that it speaks once, before anything else.
    let answer = match bytes.strip_prefix(b"v") {
        Some(rest) => after_version(Cursor(rest), lines)?,
        None => bytes,
    };
    read_answer(answer, lines)
}

/// Reads NegotiateProtocolVersion, whose first byte is taken; what follows it.
fn after_version<'a>(mut cursor: Cursor<'a>, lines: &mut Lines) -> Option<&'a [u8]> {
    cursor.u32()?;
    lines.put("minor", (cursor.u32()? & 0xffff).to_string());
    let unknown = cursor.u32()?;
    for _ in 0..unknown.min(8) {
        cursor.until_zero()?;
    }
    Some(cursor.0)
}

fn read_answer(bytes: &[u8], lines: &mut Lines) -> Option<()> {
    let mut cursor = Cursor(bytes);
    match cursor.u8()? {
        b'E' => {
            let length = cursor.u32()?;
            if !(8..8192).contains(&length) {
                // Servers before 7.4, and poolers in trouble, answer in plain text.
                let text = bytes.get(1..)?.split(|b| *b == 0).next()?;
                if text.starts_with(b"FATAL") || text.starts_with(b"ERROR") {
                    lines.put("M", text);
                }
                return None;
            }
            loop {
                let letter = cursor.u8()?;
                if letter == 0 {
                    return Some(());
                }
                lines.put_bytes(&[letter], cursor.until_zero()?);
            }
        }
        b'R' if cursor.u32()? >= 8 => lines.put("auth", cursor.u32()?.to_string()),
        _ => {}
    }
    Some(())
}

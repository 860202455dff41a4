//! MongoDB's wire protocol: values of a reply's first document, by name; nested ones by `outer.inner`.

use super::{Cursor, Lines};

/// How deep documents are followed.
const DEPTH_MAX: usize = 3;
/// Longest name that values are told under: names of outer documents stand before those of each inner one.
const NAME_BYTES_MAX: usize = 256;

pub(super) fn read(bytes: &[u8], lines: &mut Lines) -> Option<()> {
    let mut cursor = Cursor(bytes);
    let length = cursor.u32_le()?;
    if !(26..0x10_0000).contains(&length) {
        return None;
    }
    cursor.take(8)?;
    match cursor.u32_le()? {
        // OP_REPLY: flags, cursor, starting from, count.
        1 => cursor.take(4 + 8 + 4 + 4)?,
        // OP_MSG: flags, section kind 0.
        2013 => cursor.take(4 + 1)?,
        _ => return None,
    };
    document(&mut cursor, "", 0, lines)
}

fn document(cursor: &mut Cursor<'_>, prefix: &str, depth: usize, lines: &mut Lines) -> Option<()> {
    cursor.u32_le()?;
    loop {
        let kind = cursor.u8()?;
        if kind == 0 {
            return Some(());
        }
        let name = format!("{prefix}{}", String::from_utf8_lossy(cursor.until_zero()?));
        if name.len() > NAME_BYTES_MAX {
            return None;
        }
        match kind {
            1 => lines.put(&name, f64::from_le_bytes(cursor.array()?).to_string()),
            2 | 13 | 14 => {
                let length = cursor.u32_le()?;
                let value = cursor.sized(length)?;
                lines.put(&name, value.split_last().map_or(value, |(_, text)| text));
            }
            3 | 4 if depth < DEPTH_MAX => document(cursor, &format!("{name}."), depth + 1, lines)?,
            3 | 4 => {
                let length = cursor.u32_le()?;
                cursor.sized(length.checked_sub(4)?)?;
            }
            5 => {
                let length = cursor.u32_le()?;
                cursor.u8()?;
                cursor.sized(length)?;
            }
            7 => cursor.take(12).map(|_| ())?,
            8 => lines.put(&name, if cursor.u8()? == 0 { "false" } else { "true" }),
            9 | 17 | 18 => lines.put(&name, i64::from_le_bytes(cursor.array()?).to_string()),
            10 | 6 => {}
            16 => lines.put(&name, i32::from_le_bytes(cursor.array()?).to_string()),
            _ => return None,
        }
    }
}

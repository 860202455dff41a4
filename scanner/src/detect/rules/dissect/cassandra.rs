//! Cassandra's native protocol: options of SUPPORTED by name, `error` and `message` of ERROR, `protocol` of either.

use super::{Cursor, Lines};

pub(super) fn read(bytes: &[u8], lines: &mut Lines) -> Option<()> {
    let mut cursor = Cursor(bytes);
    let version = cursor.u8()?;
    if version & 0x80 == 0 || !(1..=6).contains(&(version & 0x7f)) {
        return None;
    }
    cursor.u8()?;
    // Stream numbers are one byte before version 3.
    if version & 0x7f < 3 {
        cursor.take(1)?
    } else {
        cursor.take(2)?
    };
    let opcode = cursor.u8()?;
    let length = cursor.u32()?;
    if length > 0x10000 {
        return None;
    }
    match opcode {
        0 => {
            let error = cursor.u32()?;
            let size = cursor.u16()?;
            let message = cursor.take(usize::from(size))?;
            lines.put("error", error.to_string());
            lines.put("message", message);
        }
        6 => {
            for _ in 0..cursor.u16()?.min(32) {
                let size = cursor.u16()?;
                let name = cursor.take(usize::from(size))?;
                let mut values = Vec::new();
                for _ in 0..cursor.u16()?.min(32) {
                    let size = cursor.u16()?;
                    values.push(cursor.take(usize::from(size))?);
                }
                lines.put_bytes(name, &values.join(b" ".as_slice()));
            }
        }
        _ => return None,
    }
    lines.put("protocol", (version & 0x7f).to_string());
    Some(())
}

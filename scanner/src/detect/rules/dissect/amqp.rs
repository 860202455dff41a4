//! AMQP 0-9-1: the server properties of Connection.Start by name, `mechanisms`; `other` of another version's header.

use super::{Cursor, Lines};

pub(super) fn read(bytes: &[u8], lines: &mut Lines) -> Option<()> {
    let mut cursor = Cursor(bytes);
    if let Some(version) = bytes.strip_prefix(b"AMQP") {
        let version = Cursor(version).array::<4>()?;
        lines.put("other", version.map(|part| part.to_string()).join("."));
        return Some(());
    }
    // A method frame (1) on channel 0, class 10, method 10.
    if cursor.u8()? != 1 || cursor.u16()? != 0 {
        return None;
    }
    let size = cursor.u32().filter(|size| *size <= 0x10000)?;
    // Half a frame is not judged: the product is in its other half.
    let mut cursor = Cursor(cursor.sized(size)?);
    if cursor.u32()? != 0x000a_000a {
        return None;
    }
    let (major, minor) = (cursor.u8()?, cursor.u8()?);
    lines.put("protocol", format!("{major}.{minor}"));
    let length = cursor.u32()?;
    let mut table = Cursor(cursor.sized(length)?);
    while !table.0.is_empty() {
        let size = table.u8()?;
        let name = table.take(usize::from(size))?;
        match table.u8()? {
            b'S' | b'x' => {
                let length = table.u32()?;
                lines.put_bytes(name, table.sized(length)?);
            }
            b't' | b'b' | b'B' => drop(table.take(1)?),
            b's' | b'u' | b'U' => drop(table.take(2)?),
            b'I' | b'i' | b'f' => drop(table.take(4)?),
            b'l' | b'L' | b'd' | b'T' => drop(table.take(8)?),
            b'D' => drop(table.take(5)?),
            b'V' => {}
            b'F' | b'A' => {
                let length = table.u32()?;
                table.sized(length)?;
            }
            _ => break,
        }
    }
    let length = cursor.u32()?;
    lines.put("mechanisms", cursor.sized(length)?);
    Some(())
}

//! DNS: `rcode`, `recursion`, and each TXT answer as `txt`.

use super::{Cursor, Lines};

pub(super) fn read_tcp(bytes: &[u8], lines: &mut Lines) -> Option<()> {
    let mut cursor = Cursor(bytes);
    let length = cursor.u16()?;
    read_udp(cursor.up_to(usize::from(length)), lines)
}

pub(super) fn read_udp(bytes: &[u8], lines: &mut Lines) -> Option<()> {
    let mut cursor = Cursor(bytes);
    // Whoever asked has held the number against its own.
    cursor.take(2)?;
    let flags = cursor.u16()?;
    if flags & 0xf800 != 0x8000 {
        return None;
    }
    let (questions, answers) = (cursor.u16()?, cursor.u16()?);
    cursor.take(4)?;
    if questions > 1 {
        return None;
    }
    lines.put("rcode", (flags & 15).to_string());
    lines.put("recursion", if flags & 0x80 == 0 { "no" } else { "yes" });
    for _ in 0..questions {
        skip_name(&mut cursor)?;
        cursor.take(4)?;
    }
    for _ in 0..answers.min(16) {
        skip_name(&mut cursor)?;
        let kind = cursor.u16()?;
        cursor.take(6)?;
        let length = cursor.u16()?;
        let mut data = Cursor(cursor.take(usize::from(length))?);
        if kind == 16 {
            let mut text = Vec::new();
            while let Some(size) = data.u8() {
                text.extend(data.up_to(usize::from(size)));
            }
            lines.put("txt", text);
        }
    }
    Some(())
}

fn skip_name(cursor: &mut Cursor<'_>) -> Option<()> {
    for _ in 0..128 {
        match cursor.u8()? {
            0 => return Some(()),
            // A pointer ends the name; it is not followed.
            0xc0.. => return cursor.take(1).map(|_| ()),
            size => drop(cursor.take(usize::from(size))?),
        }
    }
    None
}

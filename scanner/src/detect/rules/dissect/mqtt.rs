//! MQTT: the `code` of CONNACK, and the message of each PUBLISH by its topic.

use super::{Cursor, Lines};

pub(super) fn read(bytes: &[u8], lines: &mut Lines) -> Option<()> {
    let mut cursor = Cursor(bytes);
    if cursor.u8()? != 0x20 {
        return None;
    }
    let length = remaining(&mut cursor)?;
    let mut packet = Cursor(cursor.take(length)?);
    if packet.u8()? > 1 {
        return None;
    }
    lines.put("code", packet.u8()?.to_string());
    loop {
        let kind = cursor.u8()?;
        let length = remaining(&mut cursor)?;
        let mut packet = Cursor(cursor.up_to(length));
        if kind >> 4 == 3 {
            let size = packet.u16()?;
            let topic = packet.take(usize::from(size))?;
            if kind & 0x06 != 0 {
                packet.take(2)?;
            }
            lines.put_bytes(topic, packet.0);
        }
    }
}

/// A length in seven bits per byte, at most four bytes.
fn remaining(cursor: &mut Cursor<'_>) -> Option<usize> {
    let mut length = 0;
    for shift in [0, 7, 14, 21] {
        let byte = cursor.u8()?;
        length |= usize::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(length);
        }
    }
    None
}

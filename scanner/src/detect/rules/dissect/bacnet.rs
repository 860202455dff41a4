//! BACnet/IP (ASHRAE 135): values of a ReadPropertyMultiple answer by property, `error` of a refusal.

use super::{Cursor, Lines};

/// Names of the properties that the probe asks for.
const PROPERTIES: &[(u32, &str)] = &[
    (12, "application"),
    (28, "description"),
    (44, "firmware"),
    (58, "location"),
    (70, "model"),
    (75, "instance"),
    (77, "name"),
    (120, "vendor-id"),
    (121, "vendor"),
];

pub(super) fn read(bytes: &[u8], lines: &mut Lines) -> Option<()> {
    let mut cursor = Cursor(bytes);
    // BVLC type 0x81, unicast or broadcast; NPDU version 1.
    if cursor.u8()? != 0x81 || !matches!(cursor.u8()?, 0x0a | 0x0b) {
        return None;
    }
    cursor.u16()?;
    if cursor.u8()? != 1 {
        return None;
    }
    network_header(&mut cursor)?;
    match cursor.u8()? >> 4 {
        3 => {
            cursor.u8()?;
            lines.put("ack", cursor.u8()?.to_string());
            values(cursor, lines)
        }
        5..=7 => {
            lines.put("error", "yes");
            Some(())
        }
        _ => None,
    }
}

fn network_header(cursor: &mut Cursor<'_>) -> Option<()> {
    let control = cursor.u8()?;
    for flag in [0x20, 0x08] {
        if control & flag != 0 {
            cursor.take(2)?;
            let length = cursor.u8()?;
            cursor.take(usize::from(length))?;
        }
    }
    if control & 0x20 != 0 {
        cursor.u8()?;
    }
    Some(())
}

/// Walks the tags; a context tag 2 names the property that the values after it belong to.
fn values(mut cursor: Cursor<'_>, lines: &mut Lines) -> Option<()> {
    let mut property = 0;
    loop {
        let tag = cursor.u8()?;
        let (number, is_context, length) = (tag >> 4, tag & 8 != 0, tag & 7);
        if is_context && length >= 6 {
            continue;
        }
        let length = if length == 5 { usize::from(cursor.u8()?) } else { usize::from(length) };
        // A boolean has its value in place of a length.
        let contents = if !is_context && number == 1 { &[] } else { cursor.take(length)? };
        let value = contents.iter().take(4).fold(0u32, |value, byte| value << 8 | u32::from(*byte));
        if is_context {
            if number == 2 {
                property = value;
            }
            continue;
        }
        let Some((_, name)) = PROPERTIES.iter().find(|(known, _)| *known == property) else { continue };
        match number {
            2 => lines.put(name, value.to_string()),
            7 => lines.put(name, contents.get(1..)?),
            12 => lines.put(name, (value & 0x003f_ffff).to_string()),
            _ => {}
        }
    }
}

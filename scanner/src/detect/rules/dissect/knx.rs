//! A search or description response of KNXnet/IP (KNX standard 3/8/2 sections 7.6.2 and 7.7.2): the device's `name`, its
//! `address`, `serial` and `mac`, and the `services` that it has.

use super::{Cursor, Lines};

pub(super) fn read(bytes: &[u8], lines: &mut Lines) -> Option<()> {
    let mut cursor = Cursor(bytes);
    if cursor.u16()? != 0x0610 {
        return None;
    }
    let kind = cursor.u16()?;
    let length = usize::from(cursor.u16()?);
    if !matches!(kind, 0x0202 | 0x0204) || length > bytes.len() {
        return None;
    }
    lines.put("response", if kind == 0x0202 { "search" } else { "description" });
    if kind == 0x0202 {
        // Where it is to be spoken to.
        cursor.take(8)?;
    }
    while let Some(length) = cursor.u8() {
        let kind = cursor.u8()?;
        let mut block = Cursor(cursor.take(usize::from(length).checked_sub(2)?)?);
        match kind {
            1 => {
                block.take(2)?;
                let address = block.u16()?;
                lines.put("address", format!("{}.{}.{}", address >> 12, address >> 8 & 15, address & 255));
                block.take(2)?;
                let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
                lines.put("serial", hex(block.take(6)?));
                block.take(4)?;
                lines.put("mac", hex(block.take(6)?));
                lines.put("name", block.up_to(30).split(|byte| *byte == 0).next()?.trim_ascii());
            }
            2 => {
                let families = std::iter::from_fn(|| block.u16()).map(|pair| match pair >> 8 {
                    2 => "core".to_owned(),
                    3 => "management".to_owned(),
                    4 => "tunnelling".to_owned(),
                    5 => "routing".to_owned(),
                    6 => "logging".to_owned(),
                    7 => "configuration".to_owned(),
                    8 => "object".to_owned(),
                    9 => "secure".to_owned(),
                    other => other.to_string(),
                });
                lines.put("services", families.take(16).collect::<Vec<_>>().join(" "));
            }
            _ => {}
        }
    }
    Some(())
}

//! Modbus/TCP: objects of a device identification (function 43/14), `exception` of a refusal.

use super::{Cursor, Lines};

/// Names of the basic and regular objects.
const OBJECTS: &[&str] = &["vendor", "code", "revision", "url", "product", "model", "application"];

pub(super) fn read(bytes: &[u8], lines: &mut Lines) -> Option<()> {
    let mut cursor = Cursor(bytes);
    // The transaction number that the probe has: "PN"; protocol 0.
    if cursor.take(2)? != b"PN" || cursor.u16()? != 0 || !(3..=256).contains(&cursor.u16()?) {
        return None;
    }
    lines.put("unit", cursor.u8()?.to_string());
    match cursor.u8()? {
        function @ 0x80.. => lines.put("exception", format!("{} {}", function & 0x7f, cursor.u8()?)),
        0x2b => {
            if cursor.u8()? != 0x0e {
                return None;
            }
            cursor.take(4)?;
            for _ in 0..cursor.u8()?.min(32) {
                let (id, size) = (cursor.u8()?, cursor.u8()?);
                let value = cursor.take(usize::from(size))?;
                match OBJECTS.get(usize::from(id)) {
                    Some(name) => lines.put(name, value),
                    None => lines.put(&format!("object{id}"), value),
                }
            }
        }
        _ => {}
    }
    Some(())
}

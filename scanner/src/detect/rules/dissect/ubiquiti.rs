//! What a device answers to its vendor's discovery (its messages are not specified in public; types and lengths, as the
//! devices send them): `hostname`, `model`, `firmware`, `name`.

use super::{Cursor, Lines};

pub(super) fn read(bytes: &[u8], lines: &mut Lines) -> Option<()> {
    let mut cursor = Cursor(bytes);
    if cursor.u16()? != 0x0100 {
        return None;
    }
    let length = usize::from(cursor.u16()?);
    if length == 0 || length > cursor.0.len() {
        return None;
    }
    let mut fields = Cursor(cursor.take(length)?);
    while let Some(kind) = fields.u8() {
        let length = fields.u16()?;
        let value = fields.take(usize::from(length))?;
        match kind {
            0x03 => lines.put("firmware", value),
            0x0b => lines.put("hostname", value),
            0x0c => lines.put("model", value),
            0x0d => lines.put("name", value),
            0x14 => lines.put("product", value),
            _ => {}
        }
    }
    Some(())
}

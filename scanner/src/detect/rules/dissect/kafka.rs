//! Kafka's answer to ApiVersions: `error`, `apis` (how many), and the newest version of each API by its number.

use super::{Cursor, Lines};

pub(super) fn read(bytes: &[u8], lines: &mut Lines) -> Option<()> {
    let mut cursor = Cursor(bytes);
    let length = cursor.u32()?;
    // The correlation number that the probe has: "PNTR".
    if !(10..0x4000).contains(&length) || cursor.take(4)? != b"PNTR" {
        return None;
    }
    let error = cursor.u16()?;
    let count = cursor.u32()?;
    if count > 256 || length != 10 + 6 * count {
        return None;
    }
    lines.put("error", error.to_string());
    lines.put("apis", count.to_string());
    for _ in 0..count {
        let (api, _oldest, newest) = (cursor.u16()?, cursor.u16()?, cursor.u16()?);
        lines.put(&format!("api{api}"), newest.to_string());
    }
    Some(())
}

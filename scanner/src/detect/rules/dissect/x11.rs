//! X11's answer to a connection setup: `status`, `protocol`, `release`, `vendor`; `reason` of a refusal.

use super::{Cursor, Lines};

pub(super) fn read(bytes: &[u8], lines: &mut Lines) -> Option<()> {
    let mut cursor = Cursor(bytes);
    let status = cursor.u8()?;
    let reason_length = cursor.u8()?;
    let (major, minor) = (cursor.u16_le()?, cursor.u16_le()?);
    cursor.u16_le()?;
    if major != 11 || minor > 1 {
        return None;
    }
    match status {
        0 => lines.put("reason", cursor.take(usize::from(reason_length))?),
        1 => {
            let release = cursor.u32_le()?;
            cursor.take(12)?;
            let length = cursor.u16_le()?;
            cursor.take(14)?;
            let vendor = cursor.take(usize::from(length))?;
            lines.put("release", release.to_string());
            lines.put("vendor", vendor);
        }
        _ => return None,
    }
    lines.put("status", status.to_string());
    lines.put("protocol", format!("{major}.{minor}"));
    Some(())
}

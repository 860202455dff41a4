//! RDP's connection confirm ([MS-RDPBCGR] 2.2.1.2): `security` (or `failure`) by number, and `flags`.

use super::{Cursor, Lines};

pub(super) fn read(bytes: &[u8], lines: &mut Lines) -> Option<()> {
    let mut cursor = Cursor(bytes);
    // TPKT version 3, then an X.224 connection confirm to source reference 0.
    if cursor.u16()? != 0x0300 {
        return None;
    }
    let length = cursor.u16()?;
    let header = cursor.u8()?;
    if cursor.u8()? & 0xf0 != 0xd0 || !(11..=64).contains(&length) {
        return None;
    }
    cursor.take(5)?;
    if header == 6 {
        lines.put("security", "none");
        return Some(());
    }
    let (kind, flags) = (cursor.u8()?, cursor.u8()?);
    if cursor.u16_le()? != 8 {
        return None;
    }
    let value = cursor.u32_le()?;
    match kind {
        2 => lines.put("security", value.to_string()),
        3 => lines.put("failure", value.to_string()),
        _ => return None,
    }
    lines.put("flags", flags.to_string());
    Some(())
}

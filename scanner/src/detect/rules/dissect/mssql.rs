//! Microsoft's TDS: the `version` and `encryption` of a PRELOGIN answer ([MS-TDS] 2.2.6.5).

use super::{Cursor, Lines};

pub(super) fn read(bytes: &[u8], lines: &mut Lines) -> Option<()> {
    let mut cursor = Cursor(bytes);
    if cursor.u8()? != 4 {
        return None;
    }
    cursor.u8()?;
    let length = usize::from(cursor.u16()?);
    cursor.take(4)?;
    let body = cursor.up_to(length.checked_sub(8)?);
    let mut options = Cursor(body);
    while let kind = options.u8()?
        && kind != 255
    {
        let (offset, size) = (usize::from(options.u16()?), usize::from(options.u16()?));
        let mut value = Cursor(body.get(offset..offset + size)?);
        match kind {
            0 => {
                let (major, minor, build) = (value.u8()?, value.u8()?, value.u16()?);
                lines.put("version", format!("{major}.{minor}.{build}"));
            }
            1 => lines.put("encryption", value.u8()?.to_string()),
            _ => {}
        }
    }
    Some(())
}

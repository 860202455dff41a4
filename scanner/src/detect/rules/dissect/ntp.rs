//! NTP: `version`, `stratum` and `refid` of a server's answer; the variables of a control answer (mode 6) by name.

use super::{Cursor, Lines};

pub(super) fn read(bytes: &[u8], lines: &mut Lines) -> Option<()> {
    let mut cursor = Cursor(bytes);
    let first = cursor.u8()?;
    match first & 7 {
        4 if bytes.len() >= 48 => {
            lines.put("version", (first >> 3 & 7).to_string());
            let stratum = cursor.u8()?;
            lines.put("stratum", stratum.to_string());
            cursor.take(10)?;
            let refid = cursor.take(4)?;
            if stratum <= 1 {
                lines.put("refid", refid.split(|b| *b == 0).next()?);
            }
        }
        // A response (0x80) to read variables (2).
        6 if cursor.u8()? & 0x9f == 0x82 => {
            cursor.take(8)?;
            let count = cursor.u16()?;
            lines.put("control", "yes");
            let mut is_quoted = false;
            let text = cursor.up_to(usize::from(count));
            for variable in text.split(|b| {
                is_quoted ^= *b == b'"';
                *b == b',' && !is_quoted
            }) {
                let variable = variable.trim_ascii();
                let Some(equals) = variable.iter().position(|b| *b == b'=') else { continue };
                let (name, value) = variable.split_at(equals);
                let value = value.get(1..)?.trim_ascii();
                let value = value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\"")).unwrap_or(value);
                lines.put_bytes(name.trim_ascii(), value);
            }
        }
        _ => return None,
    }
    Some(())
}

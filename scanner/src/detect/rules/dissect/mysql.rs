//! MySQL's first packet: `version` of a handshake, or `error` and `message` of a refusal; `x` of the X protocol.

use super::{Cursor, Lines};

pub(super) fn read(bytes: &[u8], lines: &mut Lines) -> Option<()> {
    let mut cursor = Cursor(bytes);
    let [a, b, c, sequence] = cursor.array()?;
    let length = u32::from_le_bytes([a, b, c, 0]);
    // The X protocol counts its type byte in a 32-bit length; a NOTICE (11) comes first.
    if (a, b, c, sequence) == (5, 0, 0, 0) && cursor.0.starts_with(b"\x0b\x08\x05\x1a\x00") {
        lines.put("x", "notice");
        return Some(());
    }
    if sequence > 2 || !(8..4096).contains(&length) {
        return None;
    }
    let mut packet = Cursor(cursor.up_to(usize::try_from(length).ok()?));
    match packet.u8()? {
        10 => {
            let version = packet.until_zero()?;
            if version.is_empty() || !version.iter().all(|b| (b' '..=b'~').contains(b)) {
                return None;
            }
            // A prefix that MariaDB puts before its own version, for replicas that ask for 5.5.
            lines.put("version", version.strip_prefix(b"5.5.5-").unwrap_or(version));
            packet.take(4 + 8 + 1)?;
            let low = packet.u16_le()?;
            packet.take(3)?;
            let high = packet.u16_le()?;
            // CLIENT_SSL
            lines.put("tls", if low & 0x0800 == 0 { "no" } else { "yes" });
            packet.take(11 + 13)?;
            if high & 0x0008 != 0 {
                lines.put("auth", packet.until_zero()?);
            }
        }
        255 => {
            lines.put("error", packet.u16_le()?.to_string());
            let message = packet.0;
            lines.put("message", message.strip_prefix(b"#").and_then(|rest| rest.get(5..)).unwrap_or(message));
        }
        _ => return None,
    }
    Some(())
}

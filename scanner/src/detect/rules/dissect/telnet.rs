//! Telnet (RFC 854): `options` that the server negotiates, and its `text` without them.

use super::{Cursor, Lines};

pub(super) fn read(bytes: &[u8], lines: &mut Lines) -> Option<()> {
    let mut cursor = Cursor(bytes);
    if !(bytes.first() == Some(&255) && matches!(bytes.get(1), Some(250..=254))) {
        return None;
    }
    let (mut options, mut text) = (Vec::new(), Vec::new());
    while let Some(byte) = cursor.u8() {
        if byte != 255 {
            text.push(byte);
            continue;
        }
        match cursor.u8() {
            Some(verb @ 251..=254) => {
                let name = match verb {
                    251 => "will",
                    252 => "wont",
                    253 => "do",
                    _ => "dont",
                };
                options.extend(cursor.u8().map(|option| format!("{name}-{option}")));
            }
            Some(250) => while cursor.u8().is_some_and(|b| b != 240) {},
            Some(255) => text.push(255),
            _ => {}
        }
    }
    lines.put("options", options.join(" "));
    lines.put("text", text.trim_ascii());
    Some(())
}

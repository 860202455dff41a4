//! A node status response (RFC 1002 section 4.2.18): the host's `name`, its `group`, who is logged in as far as that is told
//! (`user`), `file-server`, `domain-controller`, `master-browser`, and the `mac`.

use super::code_page::decoded;
use super::{Cursor, Lines};

pub(super) fn read(bytes: &[u8], lines: &mut Lines) -> Option<()> {
    let mut cursor = Cursor(bytes);
    let header: [u8; 12] = cursor.array()?;
    if header[2] & 0xf8 != 0x80 || header[4..8] != [0, 0, 0, 1] {
        return None;
    }
    // The name that was asked for, encoded, or a pointer to it.
    while let length @ 1.. = cursor.u8()? {
        cursor.take(if length >= 0xc0 { 1 } else { usize::from(length) })?;
        if length >= 0xc0 {
            break;
        }
    }
    if cursor.u16()? != 0x21 {
        return None;
    }
    cursor.take(8)?;
    let count = cursor.u8()?;
    let (mut host, mut group, mut user) = (None, None, None);
    let mut roles = [("file-server", false), ("domain-controller", false), ("master-browser", false)];
    for _ in 0..count {
        let name = cursor.take(15)?.trim_ascii_end();
        let kind = cursor.u8()?;
        let is_group = cursor.u16()? & 0x8000 != 0;
        match (kind, is_group) {
            (0x00, false) => host = host.or(Some(name)),
            (0x00, true) => group = group.or(Some(name)),
            (0x03, false) if host != Some(name) => user = user.or(Some(name)),
            (0x20, false) => roles[0].1 = true,
            (0x1c, true) => roles[1].1 = true,
            (0x1b | 0x1d, false) => roles[2].1 = true,
            _ => {}
        }
    }
    for (name, value) in [("name", host), ("group", group), ("user", user)] {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            lines.put(name, decoded(value));
        }
    }
    roles.iter().filter(|(_, is_so)| *is_so).for_each(|(role, _)| lines.put(role, "yes"));
    let mac: [u8; 6] = cursor.array()?;
    // Samba has none and says zeros.
    if mac != [0; 6] {
        let mac: Vec<String> = mac.iter().map(|byte| format!("{byte:02x}")).collect();
        lines.put("mac", mac.join(":"));
    }
    Some(())
}

//! EtherNet/IP: the identity item of a `ListIdentity` answer (CIP volume 2, section 2-4.2).

use super::{Cursor, Lines};

/// `ListIdentity`.
const COMMAND: u16 = 0x63;
/// The item with the device's identity.
const IDENTITY: u16 = 0x0c;

pub(super) fn read(bytes: &[u8], lines: &mut Lines) -> Option<()> {
    let mut cursor = Cursor(bytes);
    if cursor.u16_le()? != COMMAND {
        return None;
    }
    // Length, session and status; then the context that was given, and options.
    cursor.take(22)?;
    if cursor.u16_le()? == 0 || cursor.u16_le()? != IDENTITY {
        lines.put("identity", "none");
        return None;
    }
    // The item's length, the protocol's version, and the device's socket address.
    cursor.take(4 + 16)?;
    lines.put("vendor", cursor.u16_le()?.to_string());
    lines.put("type", cursor.u16_le()?.to_string());
    lines.put("code", cursor.u16_le()?.to_string());
    lines.put("revision", format!("{}.{:03}", cursor.u8()?, cursor.u8()?));
    lines.put("status", format!("{:04x}", cursor.u16_le()?));
    lines.put("serial", format!("{:08x}", cursor.u32_le()?));
    let length = cursor.u8()?;
    lines.put("name", cursor.take(usize::from(length))?);
    Some(())
}

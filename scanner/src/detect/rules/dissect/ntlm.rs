//! An NTLM challenge ([MS-NLMP] 2.2.1.2) somewhere in an answer: `ntlm-version`, names of host and domain.

use super::{Cursor, Lines};

/// Names of the target information's pairs.
const PAIRS: &[(u16, &str)] =
    &[(1, "netbios-name"), (2, "netbios-domain"), (3, "dns-name"), (4, "dns-domain"), (5, "dns-tree")];

/// Looks for a challenge and adds what it tells.
pub(super) fn read(bytes: &[u8], lines: &mut Lines) -> Option<()> {
    let at = bytes.windows(12).position(|window| window == b"NTLMSSP\0\x02\0\0\0")?;
    let message = bytes.get(at..)?;
    let mut cursor = Cursor(message.get(12..)?);
    cursor.take(8)?;
    let flags = cursor.u32_le()?;
    cursor.take(16)?;
    let length = usize::from(cursor.u16_le()?);
    cursor.take(2)?;
    let offset = usize::try_from(cursor.u32_le()?).ok()?;
    // NTLMSSP_NEGOTIATE_VERSION
    if flags & 0x0200_0000 != 0 {
        let (major, minor, build) = (cursor.u8()?, cursor.u8()?, cursor.u16_le()?);
        lines.put("ntlm-version", format!("{major}.{minor}.{build}"));
    }
    let mut pairs = Cursor(message.get(offset..offset.checked_add(length)?)?);
    loop {
        let (kind, size) = (pairs.u16_le()?, pairs.u16_le()?);
        let value = pairs.take(usize::from(size))?;
        if kind == 0 {
            return Some(());
        }
        if let Some((_, name)) = PAIRS.iter().find(|(known, _)| *known == kind) {
            lines.put(name, wide(value));
        }
    }
}

/// UTF-16LE as text.
pub(super) fn wide(bytes: &[u8]) -> String {
    let units = bytes
        .chunks_exact(2)
        .map(|pair| u16::from_le_bytes([pair.first().copied().unwrap_or(0), pair.last().copied().unwrap_or(0)]));
    char::decode_utf16(units).map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER)).collect()
}

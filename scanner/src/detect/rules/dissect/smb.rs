//! SMB over TCP: `dialect`, `signing`, and what an NTLM challenge tells; `smb1` with `os` and `lanman` of the old protocol.

use super::ntlm::{self, wide};
use super::{Cursor, Lines};

pub(super) fn read(bytes: &[u8], lines: &mut Lines) -> Option<()> {
    let mut stream = Cursor(bytes);
    while let Some(length) = stream.u32() {
        if length > 0x1_0000 {
            return None;
        }
        let packet = Cursor(stream.up_to(usize::try_from(length).ok()?));
        match packet.0.get(..4)? {
            b"\xfeSMB" => smb2(packet, lines)?,
            b"\xffSMB" => smb1(packet, lines)?,
            _ => return None,
        }
    }
    Some(())
}

fn smb2(mut packet: Cursor<'_>, lines: &mut Lines) -> Option<()> {
    let header = packet.take(64)?;
    let command = header.get(12..14)?;
    match command {
        [0, 0] => {
            if packet.u16_le()? != 65 {
                return Some(());
            }
            let signing = packet.u16_le()?;
            let dialect = packet.u16_le()?;
            lines.put("dialect", format!("{:x}.{:x}.{:x}", dialect >> 8, dialect >> 4 & 15, dialect & 15));
            lines.put("signing", if signing & 2 == 0 { "optional" } else { "required" });
        }
        [1, 0] => {
            // Without a challenge the negotiation still tells enough.
            let _ = ntlm::read(packet.0, lines);
        }
        _ => {}
    }
    Some(())
}

fn smb1(mut packet: Cursor<'_>, lines: &mut Lines) -> Option<()> {
    let header = packet.take(32)?;
    let is_unicode = header.get(11)? & 0x80 != 0;
    match header.get(4)? {
        0x72 => {
            let words = packet.u8()?;
            let dialect = packet.u16_le()?;
            // 0xffff: none of the dialects offered.
            lines.put("smb1", if words >= 1 && dialect != 0xffff { "yes" } else { "no" });
        }
        0x73 => {
            let words = packet.u8()?;
            packet.take(2 * usize::from(words))?;
            packet.u16_le()?;
            let _ = ntlm::read(packet.0, lines);
            let text = if is_unicode { wide(packet.0) } else { String::from_utf8_lossy(packet.0).into_owned() };
            let mut words = text.split('\0').filter(|word| !word.is_empty());
            lines.put("os", words.next()?);
            lines.put("lanman", words.next()?);
        }
        _ => return None,
    }
    Some(())
}

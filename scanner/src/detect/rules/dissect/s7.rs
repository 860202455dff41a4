//! ISO on TCP with S7: `cotp` of a connection confirm, `setup`, and texts of the component identification (SZL 0x001c).

use super::{Cursor, Lines};

/// Names of the indexes of SZL 0x001c.
const INDEXES: &[(u16, &str)] =
    &[(1, "system"), (2, "module"), (3, "plant"), (4, "copyright"), (5, "serial"), (7, "type"), (0x0b, "location")];

pub(super) fn read(bytes: &[u8], lines: &mut Lines) -> Option<()> {
    let mut stream = Cursor(bytes);
    loop {
        if stream.u16()? != 0x0300 {
            return None;
        }
        let length = stream.u16()?;
        let mut packet = Cursor(stream.up_to(usize::from(length.checked_sub(4)?)));
        let header = packet.u8()?;
        let kind = packet.u8()?;
        packet.take(usize::from(header.checked_sub(1)?))?;
        match kind {
            0xd0 if header >= 6 => lines.put("cotp", "confirm"),
            0xf0 => s7(packet, lines)?,
            _ => return None,
        }
    }
}

fn s7(mut packet: Cursor<'_>, lines: &mut Lines) -> Option<()> {
    if packet.u8()? != 0x32 {
        return None;
    }
    let kind = packet.u8()?;
    packet.take(4)?;
    let (parameters, data) = (packet.u16()?, packet.u16()?);
    if kind == 3 {
        packet.take(2)?;
        lines.put("setup", "yes");
        return Some(());
    }
    packet.take(usize::from(parameters))?;
    let mut data = Cursor(packet.up_to(usize::from(data)));
    if kind != 7 || data.u8()? != 0xff {
        return None;
    }
    data.take(3)?;
    let szl = data.u16()?;
    data.u16()?;
    let (size, count) = (data.u16()?, data.u16()?);
    for _ in 0..count.min(32) {
        let mut item = Cursor(data.take(usize::from(size))?);
        let index = item.u16()?;
        let text = item.0.split(|b| *b == 0).next()?.trim_ascii();
        if szl & 0xff == 0x1c
            && let Some((_, name)) = INDEXES.iter().find(|(known, _)| *known == index)
        {
            lines.put(name, text);
        } else if szl & 0xff == 0x11 && index == 1 {
            lines.put("order", item.up_to(20).trim_ascii());
        }
    }
    Some(())
}

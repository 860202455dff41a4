//! SNMP: `version`, values of a response by their object identifiers, `engine` (hex), `enterprise` and `boots` of version 3.

use super::ber::{element, expect, number, oid};
use super::{Cursor, Lines};

pub(super) fn read(bytes: &[u8], lines: &mut Lines) -> Option<()> {
    let mut message = Cursor(expect(&mut Cursor(bytes), 0x30)?);
    match number(expect(&mut message, 0x02)?)? {
        3 => version_3(message, lines),
        version @ (0 | 1) => {
            expect(&mut message, 0x04)?;
            let mut pdu = Cursor(expect(&mut message, 0xa2)?);
            lines.put("version", if version == 0 { "1" } else { "2c" });
            expect(&mut pdu, 0x02)?;
            lines.put("error", number(expect(&mut pdu, 0x02)?)?.to_string());
            expect(&mut pdu, 0x02)?;
            let mut bindings = Cursor(expect(&mut pdu, 0x30)?);
            while let Some(contents) = expect(&mut bindings, 0x30) {
                let mut binding = Cursor(contents);
                let name = oid(expect(&mut binding, 0x06)?)?;
                let (tag, value) = element(&mut binding)?;
                match tag {
                    0x04 => lines.put(&name, value),
                    0x06 => lines.put(&name, oid(value)?),
                    0x02 | 0x41..=0x43 => lines.put(&name, number(value)?.to_string()),
                    _ => {}
                }
            }
            Some(())
        }
        _ => None,
    }
}

/// RFC 3414: the engine tells who it is before anybody has logged in.
fn version_3(mut message: Cursor<'_>, lines: &mut Lines) -> Option<()> {
    expect(&mut message, 0x30)?;
    let mut security = Cursor(expect(&mut Cursor(expect(&mut message, 0x04)?), 0x30)?);
    let engine = expect(&mut security, 0x04)?;
    lines.put("version", "3");
    lines.put("engine", engine.iter().map(|byte| format!("{byte:02x}")).collect::<String>());
    let mut number_of = Cursor(engine);
    lines.put("enterprise", (number_of.u32()? & 0x7fff_ffff).to_string());
    lines.put("boots", number(expect(&mut security, 0x02)?)?.to_string());
    Some(())
}

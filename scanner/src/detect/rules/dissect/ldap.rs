//! LDAP (RFC 4511): attributes of the root entry, one line per value by lower-case name, and the `result` with its `message`.

use super::ber::{element, expect, number};
use super::{Cursor, Lines};

pub(super) fn read(bytes: &[u8], lines: &mut Lines) -> Option<()> {
    let mut cursor = Cursor(bytes);
    loop {
        let mut message = Cursor(expect(&mut cursor, 0x30)?);
        expect(&mut message, 0x02)?;
        let (tag, contents) = element(&mut message)?;
        let mut operation = Cursor(contents);
        match tag {
            // SearchResultEntry
            0x64 => {
                expect(&mut operation, 0x04)?;
                let mut attributes = Cursor(expect(&mut operation, 0x30)?);
                while let Some(contents) = expect(&mut attributes, 0x30) {
                    let mut attribute = Cursor(contents);
                    let name = expect(&mut attribute, 0x04)?.to_ascii_lowercase();
                    let mut values = Cursor(expect(&mut attribute, 0x31)?);
                    while let Some(value) = expect(&mut values, 0x04) {
                        lines.put_bytes(&name, value);
                    }
                }
            }
            // SearchResultDone, BindResponse, ExtendedResponse
            0x65 | 0x61 | 0x78 => {
                lines.put("result", number(expect(&mut operation, 0x0a)?)?.to_string());
                expect(&mut operation, 0x04)?;
                lines.put("message", expect(&mut operation, 0x04)?);
                return Some(());
            }
            _ => return None,
        }
    }
}

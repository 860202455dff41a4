//! What a key distribution centre answers (RFC 4120): `error` by number, `realm`, `client-realm`, `server`, `text`, `time`;
//! `ticket` of a request that was granted. With the length before it that TCP has, or without.

use super::ber::{element, expect, number};
use super::{Cursor, Lines};

/// KRB-ERROR and AS-REP (sections 5.9.1 and 5.4.2).
const ERROR: u8 = 0x7e;
const GRANTED: u8 = 0x6b;

pub(super) fn read(bytes: &[u8], lines: &mut Lines) -> Option<()> {
    let message = match bytes.first()? {
        0 => bytes.get(4..)?,
        _ => bytes,
    };
    let (tag, contents) = element(&mut Cursor(message))?;
    if tag == GRANTED {
        lines.put("ticket", "granted");
        return Some(());
    }
    if tag != ERROR {
        return None;
    }
    let mut fields = Cursor(expect(&mut Cursor(contents), 0x30)?);
    let version = value(expect(&mut fields, 0xa0)?)?;
    let kind = value(expect(&mut fields, 0xa1)?)?;
    if number(version)? != 5 || number(kind)? != 30 {
        return None;
    }
    while let Some((tag, contents)) = element(&mut fields) {
        match tag {
            0xa4 => lines.put("time", value(contents)?),
            0xa6 => lines.put("error", number(value(contents)?)?.to_string()),
            0xa7 => lines.put("client-realm", value(contents)?),
            0xa9 => lines.put("realm", value(contents)?),
            0xab => lines.put("text", value(contents)?.split(|byte| *byte == 0).next()?),
            0xaa => {
                let mut name = Cursor(value(contents)?);
                expect(&mut name, 0xa0)?;
                let mut parts = Cursor(value(expect(&mut name, 0xa1)?)?);
                let parts: Vec<&[u8]> = std::iter::from_fn(|| expect(&mut parts, 0x1b)).collect();
                lines.put("server", parts.join(&b'/'));
            }
            _ => {}
        }
    }
    Some(())
}

/// What an explicit tag holds.
fn value(contents: &[u8]) -> Option<&[u8]> {
    Some(element(&mut Cursor(contents))?.1)
}

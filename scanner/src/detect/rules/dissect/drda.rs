//! EXCSATRD of the Distributed Relational Database Architecture (volume 3, EXCSATRD): `class`, `release`, `name`, `external`
//! of the server, and the `version` that a release of Db2 stands for.

use super::{Cursor, Lines};

/// EXCSATRD, and what is in it (code points).
const EXCSATRD: u16 = 0x1443;
const EXTNAM: u16 = 0x115e;
const SRVCLSNM: u16 = 0x1147;
const SRVNAM: u16 = 0x116d;
const SRVRLSLV: u16 = 0x115a;

pub(super) fn read(bytes: &[u8], lines: &mut Lines) -> Option<()> {
    let mut cursor = Cursor(bytes);
    // DSS: length, 0xd0, format, correlation.
    let length = cursor.u16()?;
    if cursor.u8()? != 0xd0 {
        return None;
    }
    cursor.take(3)?;
    let mut object = Cursor(cursor.up_to(usize::from(length).checked_sub(6)?));
    object.u16()?;
    if object.u16()? != EXCSATRD {
        return None;
    }
    let mut release = String::new();
    let mut texts = Vec::new();
    while let Some(length) = object.u16() {
        let code = object.u16()?;
        let value = object.take(usize::from(length).checked_sub(4)?)?;
        let name = match code {
            EXTNAM => "external",
            SRVCLSNM => "class",
            SRVNAM => "name",
            SRVRLSLV => "release",
            _ => continue,
        };
        let value = text(value);
        if code == SRVRLSLV {
            release.clone_from(&value);
        }
        texts.push((name, value));
    }
    // In one order, whatever the server's.
    for wanted in ["class", "name", "external", "release"] {
        if let Some((name, value)) = texts.iter().find(|(name, _)| *name == wanted) {
            lines.put(name, value);
        }
    }
    lines.put("version", version(&release)?);
    Some(())
}

/// `SQLvvrrm` is version, release and modification.
fn version(release: &str) -> Option<String> {
    let digits = release.strip_prefix("SQL")?.as_bytes();
    let digit = |at: usize| digits.get(at).filter(|byte| byte.is_ascii_digit()).map(|byte| byte - b'0');
    let (version, minor) = (10 * digit(0)? + digit(1)?, 10 * digit(2)? + digit(3)?);
    (digits.len() >= 5).then_some(format!("{version}.{minor}.{}", digit(4)?))
}

/// Text of EBCDIC (code page 500), of which names and releases are written with what all its variants share.
fn text(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| letter(*byte)).collect::<String>().trim_end().to_owned()
}

fn letter(byte: u8) -> char {
    let from = |first: char, offset: u8| char::from(u8::try_from(u32::from(first)).unwrap_or(b'?') + offset);
    match byte {
        0x40 | 0 => ' ',
        0x4b => '.',
        0x4d => '(',
        0x5d => ')',
        0x60 => '-',
        0x61 => '/',
        0x6d => '_',
        0x7a => ':',
        0x7b => '#',
        0x5b => '$',
        0x7c => '@',
        0x81..=0x89 => from('a', byte - 0x81),
        0x91..=0x99 => from('j', byte - 0x91),
        0xa2..=0xa9 => from('s', byte - 0xa2),
        0xc1..=0xc9 => from('A', byte - 0xc1),
        0xd1..=0xd9 => from('J', byte - 0xd1),
        0xe2..=0xe9 => from('S', byte - 0xe2),
        0xf0..=0xf9 => from('0', byte - 0xf0),
        _ => '?',
    }
}

//! Answers of DCE RPC (C706 chapter 12, [MS-RPCE] section 2.2.2): `bind` (`accepted`, `rejected` where the interface is not there,
//! `refused`) with the `port` that the server names, `fault`, and what an endpoint mapper has
//! registered (appendix O): `interfaces` by number, `annotations`, and the `tcp` ports and `pipes` that they are on.

use std::collections::BTreeSet;

use super::{Cursor, Lines};

/// Kinds of packets.
const RESPONSE: u8 = 2;
const FAULT: u8 = 3;
const BIND_ACK: u8 = 12;
const BIND_NAK: u8 = 13;
/// Most entries that are read, and words that are told of them.
const ENTRIES_MAX: u32 = 1024;
const WORDS_MAX: usize = 48;

pub(super) fn read(bytes: &[u8], lines: &mut Lines) -> Option<()> {
    let mut stream = Cursor(bytes);
    let mut stub = Vec::new();
    let mut is_first = true;
    while let Some(head) = stream.take(16) {
        let &[5, minor, kind, flags, 0x10, _, _, _, low, high, ..] = head else { return None };
        if minor > 1 && is_first {
            return None;
        }
        let body = stream.up_to(usize::from(u16::from_le_bytes([low, high])).checked_sub(16)?);
        match kind {
            BIND_ACK => bound(Cursor(body), lines)?,
            BIND_NAK => lines.put("bind", "refused"),
            FAULT => lines.put("fault", "yes"),
            RESPONSE => {
                stub.extend_from_slice(body.get(8..)?);
                // The last fragment.
                if flags & 2 != 0 {
                    let _ = entries(&stub, lines);
                    stub.clear();
                }
            }
            _ => return None,
        }
        is_first = false;
    }
    // One that was cut off is read as far as it goes.
    if !stub.is_empty() {
        let _ = entries(&stub, lines);
    }
    Some(())
}

fn bound(mut body: Cursor<'_>, lines: &mut Lines) -> Option<()> {
    body.take(8)?;
    let length = body.u16_le()?;
    let address = body.take(usize::from(length))?;
    // The results follow at a multiple of four bytes, of which the head and the length have 26.
    let result = || {
        let mut rest = body;
        rest.take((6 - usize::from(length) % 4) % 4)?;
        let count = rest.u8()?;
        rest.take(3)?;
        (count > 0).then(|| rest.u16_le())?
    };
    match result() {
        Some(0) => lines.put("bind", "accepted"),
        Some(_) => lines.put("bind", "rejected"),
        // It was cut off.
        None => lines.put("bind", "answered"),
    }
    lines.put("port", address.split(|byte| *byte == 0).next()?);
    Some(())
}

/// What `ept_lookup` answers: a handle, a number, and the entries, whose towers follow behind all of them.
fn entries(stub: &[u8], lines: &mut Lines) -> Option<()> {
    let mut cursor = Cursor(stub);
    cursor.take(20)?;
    let count = cursor.u32_le()?.min(ENTRIES_MAX);
    cursor.take(12)?;
    let (mut annotations, mut interfaces) = (Vec::<String>::new(), BTreeSet::new());
    let (mut ports, mut pipes) = (BTreeSet::new(), BTreeSet::new());
    let mut with_tower = 0;
    for _ in 0..count {
        let Some(annotation) = entry(&mut cursor, &mut with_tower) else { break };
        if !annotation.is_empty() && annotations.len() < WORDS_MAX && !annotations.contains(&annotation) {
            annotations.push(annotation);
        }
    }
    for _ in 0..with_tower {
        let Some(tower) = tower(&mut cursor) else { break };
        let Some(read) = read_tower(tower) else { continue };
        interfaces.insert(read.interface);
        ports.extend(read.port);
        pipes.extend(read.pipe);
    }
    if interfaces.is_empty() {
        return None;
    }
    lines.put("interfaces", interfaces.len().to_string());
    let told = |words: &mut dyn Iterator<Item = String>| words.take(WORDS_MAX).collect::<Vec<_>>().join(", ");
    for (name, words) in [
        ("annotations", annotations.join(", ")),
        ("tcp", told(&mut ports.iter().map(u16::to_string))),
        ("pipes", told(&mut pipes.into_iter())),
    ] {
        if !words.is_empty() {
            lines.put(name, words);
        }
    }
    interfaces.iter().take(WORDS_MAX).for_each(|interface| lines.put("interface", interface));
    Some(())
}

/// One entry: an object, a reference to a tower, an annotation.
fn entry(cursor: &mut Cursor<'_>, with_tower: &mut u32) -> Option<String> {
    cursor.take(16)?;
    *with_tower += u32::from(cursor.u32_le()? != 0);
    cursor.take(4)?;
    let length = cursor.u32_le()?;
    let text = cursor.sized(length)?;
    cursor.sized((4 - length % 4) % 4)?;
    Some(String::from_utf8_lossy(text.split(|byte| *byte == 0).next()?).into_owned())
}

fn tower<'a>(cursor: &mut Cursor<'a>) -> Option<&'a [u8]> {
    cursor.u32_le()?;
    let length = cursor.u32_le()?;
    let tower = cursor.sized(length)?;
    cursor.up_to(usize::try_from((4 - length % 4) % 4).ok()?);
    Some(tower)
}

#[derive(Debug, Default)]
struct Tower {
    interface: String,
    port: Option<u16>,
    pipe: Option<String>,
}

/// The floors of a tower (C706 appendix L): the first is the interface, the others lead there.
fn read_tower(bytes: &[u8]) -> Option<Tower> {
    let mut cursor = Cursor(bytes);
    let floors = cursor.u16_le()?;
    let mut tower = Tower::default();
    for floor in 0..floors.min(8) {
        let length = cursor.u16_le()?;
        let left = cursor.take(usize::from(length))?;
        let length = cursor.u16_le()?;
        let right = cursor.take(usize::from(length))?;
        match (floor, left.first()?) {
            (0, 0x0d) => tower.interface = interface(left.get(1..)?)?,
            // TCP, and HTTP as the vendor adds it.
            (_, 0x07 | 0x1f) => tower.port = Some(Cursor(right).u16()?),
            (_, 0x0f | 0x10) => {
                let name = right.split(|byte| *byte == 0).next()?;
                tower.pipe = (!name.is_empty()).then(|| String::from_utf8_lossy(name).into_owned());
            }
            _ => {}
        }
    }
    (!tower.interface.is_empty()).then_some(tower)
}

/// A UUID in the order of little-endian machines, and the major version behind it.
fn interface(bytes: &[u8]) -> Option<String> {
    let mut cursor = Cursor(bytes);
    let (low, middle, high) = (cursor.u32_le()?, cursor.u16_le()?, cursor.u16_le()?);
    let (clock, node) = (cursor.u16()?, cursor.array::<6>()?);
    let version = cursor.u16_le()?;
    let node: String = node.iter().map(|byte| format!("{byte:02x}")).collect();
    Some(format!("{low:08x}-{middle:04x}-{high:04x}-{clock:04x}-{node} v{version}"))
}

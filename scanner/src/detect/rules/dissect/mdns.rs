//! An answer of multicast DNS to the question which services there are (RFC 6763 section 9): `services`, and the `host` that
//! other records name.

use super::{Cursor, Lines};

/// Most records that are looked at, and services that are told.
const RECORDS_MAX: u16 = 256;
const SERVICES_MAX: usize = 48;
/// Most steps through a name: it cannot go on for longer (RFC 1035 section 3.1), and pointers may go round.
const STEPS_MAX: usize = 128;

pub(super) fn read(bytes: &[u8], lines: &mut Lines) -> Option<()> {
    let mut cursor = Cursor(bytes);
    cursor.u16()?;
    if cursor.u16()? & 0x8000 == 0 {
        return None;
    }
    let (questions, answers, authorities, more) = (cursor.u16()?, cursor.u16()?, cursor.u16()?, cursor.u16()?);
    for _ in 0..questions.min(RECORDS_MAX) {
        name(bytes, &mut cursor)?;
        cursor.take(4)?;
    }
    let records = answers.saturating_add(authorities).saturating_add(more).min(RECORDS_MAX);
    let (mut services, mut host) = (Vec::<String>::new(), None);
    for _ in 0..records {
        let Some(owner) = name(bytes, &mut cursor) else { break };
        let Some((kind, data)) = record(&mut cursor) else { break };
        let mut at = Cursor(data);
        match kind {
            12 if owner.starts_with("_services._dns-sd._udp") => {
                let Some(service) = pointed(bytes, data) else { break };
                let service = service.trim_end_matches(".local").to_owned();
                if services.len() < SERVICES_MAX && !services.contains(&service) {
                    services.push(service);
                }
            }
            1 | 28 => host = host.or(Some(owner)),
            33 => {
                at.take(6)?;
                host = host.or(pointed(bytes, at.0));
            }
            _ => {}
        }
    }
    if services.is_empty() && host.is_none() {
        return None;
    }
    lines.put("services", services.join(" "));
    lines.put("host", host?);
    Some(())
}

/// The kind and the data of a record, behind its name.
fn record<'a>(cursor: &mut Cursor<'a>) -> Option<(u16, &'a [u8])> {
    let kind = cursor.u16()?;
    cursor.take(6)?;
    let length = cursor.u16()?;
    Some((kind, cursor.take(usize::from(length))?))
}

/// The name that a record's data begins with.
fn pointed<'a>(message: &'a [u8], data: &'a [u8]) -> Option<String> {
    name(message, &mut Cursor(data))
}

/// A name, with pointers to earlier parts of the message (RFC 1035 section 4.1.4); the cursor is left behind it.
fn name<'a>(message: &'a [u8], cursor: &mut Cursor<'a>) -> Option<String> {
    let mut labels: Vec<String> = Vec::new();
    let mut at = *cursor;
    let mut is_behind = false;
    for _ in 0..STEPS_MAX {
        let length = at.u8()?;
        match length {
            0 => {
                if !is_behind {
                    *cursor = at;
                }
                return Some(labels.join("."));
            }
            1..=63 => labels.push(String::from_utf8_lossy(at.take(usize::from(length))?).into_owned()),
            0xc0.. => {
                let low = at.u8()?;
                if !is_behind {
                    *cursor = at;
                    is_behind = true;
                }
                at = Cursor(message.get(usize::from(u16::from_be_bytes([length & 0x3f, low]))..)?);
            }
            _ => return None,
        }
    }
    None
}

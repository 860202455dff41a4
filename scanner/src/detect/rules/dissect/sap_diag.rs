//! What a dispatcher of SAP answers on its port for SAP GUI: `error`, the word that begins its refusal, or of a first screen
//! `database` (the system's id), `host`, `client`, `kernel` and `diag` (how the message is packed).
//!
//! The layout is SAP's own: a message of NI (its length in four bytes), the header of DIAG (eight bytes), and items, as
//! Gallo told them ("Uncovering SAP vulnerabilities: reversing and breaking the Diag protocol", 2012).

use super::{Cursor, Lines};

/// Items of more than a kind, with a length of two bytes and of four.
const APPL: u8 = 0x10;
const XML: u8 = 0x11;
const APPL4: u8 = 0x12;
/// The last item.
const END: u8 = 0x0c;
/// What a system tells of itself (`ST_R3INFO`), and what of it is told on: item number and name of the line.
const R3INFO: u8 = 0x06;
const TOLD: [(u8, &str); 4] = [(0x02, "database"), (0x03, "host"), (0x0c, "client"), (0x29, "kernel")];

pub(super) fn read(bytes: &[u8], lines: &mut Lines) -> Option<()> {
    let mut cursor = Cursor(bytes);
    let length = cursor.u32()?;
    // A part of a message is not judged: what it lacks might be what tells.
    let message = cursor.sized(length)?;
    if let Some(word) = message.strip_prefix(b"**") {
        let end = word.windows(3).position(|window| window == b"**\0")?;
        let word = word.get(..end).filter(|word| word.starts_with(b"DPTM"))?;
        lines.put("error", word);
        return Some(());
    }
    let mut message = Cursor(message);
    let [_mode, _flags, _stat, _error, _kind, _info, _code, packing] = message.array()?;
    match packing {
        0 => read_items(message, lines),
        // Its whole length, the algorithm, and the mark of both algorithms.
        1 => {
            message.take(4)?;
            let is_known = matches!(message.array()?, [0x10 | 0x12, 0x1f, 0x9d]);
            is_known.then(|| lines.put("diag", "compressed"))
        }
        2 | 3 => message.take(8).filter(|frame| *frame == b"SNCFRAME").map(|_| lines.put("diag", "secured")),
        _ => None,
    }
}

fn read_items(mut items: Cursor<'_>, lines: &mut Lines) -> Option<()> {
    let mut told: [Option<&[u8]>; TOLD.len()] = [None; TOLD.len()];
    let mut is_system = false;
    while let Some(kind) = items.u8() {
        let (group, number, value) = match kind {
            APPL => {
                let [group, number] = items.array()?;
                let length = items.u16()?;
                (group, number, items.take(usize::from(length))?)
            }
            APPL4 => {
                let [group, number] = items.array()?;
                let length = items.u32()?;
                (group, number, items.sized(length)?)
            }
            XML => {
                let length = items.u32()?;
                items.sized(length)?;
                continue;
            }
            END => break,
            _ => {
                items.take(fixed(kind)?)?;
                continue;
            }
        };
        if group != R3INFO {
            continue;
        }
        is_system = true;
        let wanted = TOLD.iter().position(|(known, _)| *known == number);
        if let Some(place) = wanted.and_then(|at| told.get_mut(at)) {
            place.get_or_insert(value);
        }
    }
    if !is_system {
        return None;
    }
    for ((_, name), value) in TOLD.iter().zip(told) {
        let Some(value) = value else { continue };
        let words = value.split(|byte| *byte == 0).map(<[u8]>::trim_ascii).filter(|word| !word.is_empty());
        let text = words.collect::<Vec<_>>().join(&b' ');
        if !text.is_empty() {
            lines.put(name, text);
        }
    }
    lines.put("diag", "plain");
    Some(())
}

/// The sizes of items that have one.
fn fixed(kind: u8) -> Option<usize> {
    Some(match kind {
        0x01 => 16,
        0x02 => 20,
        0x03 | 0x0a => 3,
        0x07 => 76,
        0x08 => 0,
        0x09 => 22,
        0x0b | 0x13 => 2,
        0x15 => 36,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::super::Dissector;

    fn framed(message: &[u8]) -> Vec<u8> {
        [&u32::try_from(message.len()).unwrap().to_be_bytes(), message].concat()
    }

    fn lines(message: &[u8]) -> Option<String> {
        let text = Dissector::named("sap-diag").unwrap().dissect(&framed(message))?;
        Some(String::from_utf8(text).unwrap())
    }

    fn item(group: u8, number: u8, value: &[u8]) -> Vec<u8> {
        [&[0x10, group, number][..], &u16::try_from(value.len()).unwrap().to_be_bytes(), value].concat()
    }

    #[test]
    fn a_refusal_is_its_word() {
        assert_eq!(lines(b"**DPTMMSG**\0\0\xf8").unwrap(), "error=DPTMMSG\n");
        assert_eq!(lines(b"**DPTMOPC**\0\0\0\0\0\x01").unwrap(), "error=DPTMOPC\n");
        // Another server of the same frame: that of messages.
        assert_eq!(lines(b"**MESSAGE**\0\x04\0"), None);
    }

    #[test]
    fn a_first_screen_tells_system_host_client_and_kernel_wherever_they_stand() {
        let items = [
            &[0, 0, 0, 0, 0, 0, 0, 0][..],
            &[0x01],
            &[0; 16],
            &item(6, 0x29, b"7200\x00401\x00"),
            &item(4, 0x02, &[0; 12]),
            &item(6, 0x03, b"erp-app1\0"),
            &[0x12, 9, 2, 0, 0, 0, 2, 7, 7],
            &item(6, 0x02, b"PRD"),
            &item(6, 0x0c, b"100"),
            &[0x0c],
            b"not looked at",
        ]
        .concat();
        assert_eq!(lines(&items).unwrap(), "database=PRD\nhost=erp-app1\nclient=100\nkernel=7200 401\ndiag=plain\n");
    }

    #[test]
    fn packed_messages_are_known_and_other_bytes_are_not() {
        let packed = [&[0, 0, 0, 0, 0, 0, 0, 1][..], &280_u32.to_le_bytes(), &[0x12, 0x1f, 0x9d, 2, 1, 1]].concat();
        assert_eq!(lines(&packed).unwrap(), "diag=compressed\n");
        assert_eq!(lines(&[&[0, 0, 0, 0, 0, 0, 0, 3][..], b"SNCFRAME"].concat()).unwrap(), "diag=secured\n");
        for other in [&[0; 64][..], &[0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 9, 9, 9], b"", b"NI_PONG\0"] {
            assert_eq!(lines(other), None, "{other:?}");
        }
        // Half of a message.
        let whole = framed(&[&[0, 0, 0, 0, 0, 0, 0, 0][..], &item(6, 0x02, b"PRD"), &[0x0c]].concat());
        let dissector = Dissector::named("sap-diag").unwrap();
        assert!(dissector.dissect(&whole).is_some());
        assert_eq!(dissector.dissect(&whole[..whole.len() - 1]), None);
    }
}

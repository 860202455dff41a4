//! A command of TeamViewer's protocol: its `protocol` (1 or 2) and `command` by number.
//!
//! From what was published of it (Stephens, "Pwning the TeamViewer protocol", and the Wireshark dissector with it, 2013): a mark
//! of two bytes, the command, and the length of what follows, in two bytes (first form) or, behind a byte of flags, in four with
//! sixteen more bytes of header (second form).

use super::{Cursor, Lines};

/// The commands that are known, from IDENTIFY to FLUSHSENDBUFFER.
const COMMANDS: std::ops::RangeInclusive<u8> = 10..=113;
/// The longest body that a server sends before anything was agreed on, in bytes. Ours: the known ones have 4 to 64.
const BODY_BYTES_MAX: u32 = 8 * 1024;

pub(super) fn read(bytes: &[u8], lines: &mut Lines) -> Option<()> {
    let mut cursor = Cursor(bytes);
    let mark = cursor.u16()?;
    let command = cursor.u8().filter(|command| COMMANDS.contains(command))?;
    let (protocol, length) = match mark {
        0x1724 => ("1", u32::from(cursor.u16_le()?)),
        0x1130 => {
            cursor.take(1)?;
            let length = cursor.u32_le()?;
            cursor.take(16)?;
            ("2", length)
        }
        _ => return None,
    };
    // Nothing but whole commands: two bytes prove little.
    (length <= BODY_BYTES_MAX).then_some(())?;
    let body = cursor.sized(length)?;
    lines.put("protocol", protocol);
    lines.put("command", command.to_string());
    // IDENTIFY and PING answer with the number of whoever speaks; a server without an account says 0.
    (!body.is_empty()).then(|| lines.put("body", body.len().to_string()))
}

#[cfg(test)]
mod tests {
    use super::super::Dissector;

    fn lines(bytes: &[u8]) -> Option<String> {
        Dissector::named("teamviewer").unwrap().dissect(bytes).map(|text| String::from_utf8(text).unwrap())
    }

    #[test]
    fn commands_of_both_forms_are_known_when_they_are_whole() {
        let identify = [&b"\x17\x24\x0a\x20\0"[..], &[0; 32]].concat();
        assert_eq!(lines(&identify).unwrap(), "protocol=1\ncommand=10\nbody=32\n");
        assert_eq!(lines(&identify[..36]), None, "half of one");
        assert_eq!(lines(b"\x17\x24\x11\x04\0\0\0\0\0").unwrap(), "protocol=1\ncommand=17\nbody=4\n");
        let second = [&b"\x11\x30\x36\0\x08\0\0\0"[..], &[0; 16], &[1; 8]].concat();
        assert_eq!(lines(&second).unwrap(), "protocol=2\ncommand=54\nbody=8\n");
    }

    #[test]
    fn other_marks_commands_and_lengths_are_not() {
        for other in
            [&b"\x17\x25\x0a\0\0"[..], b"\x17\x24\x01\0\0", b"\x17\x24\xff\0\0", b"\x11\x30\x0a\0\xff\xff\xff\xff", b""]
        {
            assert_eq!(lines(other), None, "{other:?}");
        }
    }
}

//! A pong of Mumble's server over UDP: its `version`, and how many `users` there are of how many `users-max`.
//!
//! From the project's documentation of the ping (`docs/dev/network-protocol`): the version in four bytes, of which the first two
//! are the major number, eight bytes of the one who asks, then users, most users and bandwidth as numbers of four bytes.

use super::{Cursor, Lines};

/// A pong's length in bytes.
const PONG_BYTES: usize = 24;
/// The highest minor number that is believed: 24 bytes prove little else. Ours: the latest is 5.
const MINOR_MAX: u8 = 15;

pub(super) fn read(bytes: &[u8], lines: &mut Lines) -> Option<()> {
    let mut cursor = Cursor(bytes);
    let (major, minor, patch) = (cursor.u16()?, cursor.u8()?, cursor.u8()?);
    (bytes.len() == PONG_BYTES && major == 1 && minor <= MINOR_MAX).then_some(())?;
    cursor.take(8)?;
    lines.put("version", format!("{major}.{minor}.{patch}"));
    lines.put("users", cursor.u32()?.to_string());
    lines.put("users-max", cursor.u32()?.to_string());
    Some(())
}

#[cfg(test)]
mod tests {
    use super::super::Dissector;

    #[test]
    fn a_pong_tells_its_version_and_nothing_of_another_length_or_version_is_one() {
        let read =
            |bytes: &[u8]| Dissector::named("mumble")?.dissect(bytes).map(|text| String::from_utf8(text).unwrap());
        let pong = *b"\0\x01\x03\x04PNTRPNTR\0\0\0\x02\0\0\0\x64\0\x01\x19\x40";
        assert_eq!(read(&pong).as_deref(), Some("version=1.3.4\nusers=2\nusers-max=100\n"));
        assert_eq!(read(&pong[..23]), None);
        for (at, byte) in [(1, 2), (2, 16)] {
            let mut other = pong;
            other[at] = byte;
            assert_eq!(read(&other), None);
        }
    }
}

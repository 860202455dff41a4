//! What a Freeciv server answers to a request to join (its `common/networking/packets.def`): `join` (1 where it lets one in),
//! `version`, `message`, `capability`.
//!
//! A packet is its length, its kind and its fields. Several may come compressed as one, which their length tells.

use std::io::Read;

use flate2::read::ZlibDecoder;

use super::{Cursor, Lines};

/// From here on a length is that of compressed packets, this much too large.
const COMPRESSED: u16 = 16 * 1024;
/// The length whose true value follows in four bytes.
const JUMBO: u16 = u16::MAX;
/// `PACKET_SERVER_JOIN_REPLY`.
const JOIN_REPLY: u8 = 5;
/// Most bytes that are unpacked: the answer has a few hundred.
const UNPACKED_MAX: u64 = 4096;

pub(super) fn read(bytes: &[u8], lines: &mut Lines) -> Option<()> {
    let mut cursor = Cursor(bytes);
    match cursor.u16()? {
        JUMBO => {
            cursor.u32()?;
            read_packets(&unpack(cursor.0), lines)
        }
        length @ COMPRESSED.. => read_packets(&unpack(cursor.up_to(usize::from(length - COMPRESSED))), lines),
        _ => read_packets(bytes, lines),
    }
}

fn read_packets(bytes: &[u8], lines: &mut Lines) -> Option<()> {
    let mut packets = Cursor(bytes);
    loop {
        let length = usize::from(packets.u16()?).checked_sub(2)?;
        let mut packet = Cursor(packets.take(length)?);
        if packet.u8()? != JOIN_REPLY {
            continue;
        }
        let join = packet.u8()?;
        let message = packet.until_zero()?;
        lines.put("join", if join == 0 { "0" } else { "1" });
        if let Some(version) = version_in(message) {
            lines.put("version", version);
        }
        lines.put("message", message);
        lines.put("capability", packet.until_zero()?);
        return Some(());
    }
}

/// A refusal names the server's version and the client's.
fn version_in(message: &[u8]) -> Option<&[u8]> {
    const WORDS: &[u8] = b"Server version: ";
    let at = message.windows(WORDS.len()).position(|window| window == WORDS)?;
    message.get(at + WORDS.len()..)?.split(|byte| byte.is_ascii_whitespace()).next()
}

fn unpack(packed: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    // A truncated stream gives its beginning; the error adds nothing.
    let _ = ZlibDecoder::new(packed).take(UNPACKED_MAX).read_to_end(&mut bytes);
    bytes
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::ZlibEncoder;

    use super::*;

    fn dissected(bytes: &[u8]) -> String {
        let mut lines = Lines::default();
        let _ = read(bytes, &mut lines);
        String::from_utf8(lines.text).unwrap()
    }

    const REPLY: &[u8] = b"\x00\x03\x00\x00\x35\x05\x00No.\nServer version: 3.0.6 Client: 0\x00+Freeciv-3.0\x00";

    fn packed(length: &dyn Fn(usize) -> Vec<u8>) -> Vec<u8> {
        let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(REPLY).unwrap();
        let packed = encoder.finish().unwrap();
        [length(packed.len()), packed].concat()
    }

    #[test]
    fn a_refusal_tells_the_version_whether_it_is_packed_or_not() {
        let short = packed(&|length| u16::try_from(length + 16 * 1024).unwrap().to_be_bytes().to_vec());
        let jumbo = packed(&|length| [&b"\xff\xff"[..], &u32::try_from(length + 6).unwrap().to_be_bytes()].concat());
        for bytes in [REPLY, &short, &jumbo] {
            let text = dissected(bytes);
            assert!(text.starts_with("join=0\nversion=3.0.6\nmessage=No. Server version: 3.0.6 Client: 0\n"), "{text}");
        }
    }

    #[test]
    fn what_unpacks_to_much_is_read_in_part_and_what_is_cut_not_at_all() {
        let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(&vec![0; 1 << 20]).unwrap();
        let bomb = [&b"\xff\xff\x00\x00\xff\xff"[..], &encoder.finish().unwrap()].concat();
        assert_eq!(dissected(&bomb), "");
        for cut in 0..REPLY.len() {
            assert_eq!(dissected(&REPLY[..cut]), "", "{cut}");
        }
    }
}

//! Makes words from the network harmless: printable ASCII, everything else escaped, length bounded.
//!
//! Banners are escaped when they are read. Names and banners in records from other nodes are escaped once more when
//! they are written out ([`Printable`]), since a peer can put anything into a chunk.

use std::fmt::{self, Write};

/// Most bytes of a banner that are read and kept: the first line of any greeting fits.
pub const BANNER_BYTES_MAX: usize = 512;

/// A banner as one line of printable ASCII: `\r`, `\n`, `\t`, `\\` for those, `\xNN` for any other byte.
///
/// Trailing line ends are left out; bytes from the 513th on are cut off. `None` when nothing is left.
#[must_use]
pub fn printable_banner(bytes: &[u8]) -> Option<String> {
    let bytes = bytes.get(..BANNER_BYTES_MAX).unwrap_or(bytes).trim_ascii_end();
    if bytes.is_empty() {
        return None;
    }
    let mut banner = String::with_capacity(bytes.len() + 16);
    for byte in bytes {
        match byte {
            b'\r' => banner.push_str("\\r"),
            b'\n' => banner.push_str("\\n"),
            b'\t' => banner.push_str("\\t"),
            b'\\' => banner.push_str("\\\\"),
            b' '..=b'~' => banner.push(char::from(*byte)),
            _ => write!(banner, "\\x{byte:02x}").expect("writing to a string cannot fail"),
        }
    }
    Some(banner)
}

/// Displays text with every character that is not printable ASCII escaped; what is printable stays as it is.
///
/// ```
/// use pentora_scanner::finding::Printable;
/// assert_eq!(Printable("ok \u{1b}[31m").to_string(), "ok \\x1b[31m");
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Printable<'a>(pub &'a str);

impl fmt::Display for Printable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            match c {
                ' '..='~' => f.write_char(c)?,
                _ if u32::from(c) < 0x100 => write!(f, "\\x{:02x}", u32::from(c))?,
                _ => write!(f, "\\u{{{:x}}}", u32::from(c))?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_greeting_stays_readable() {
        assert_eq!(printable_banner(b"SSH-2.0-OpenSSH_9.2\r\n").unwrap(), "SSH-2.0-OpenSSH_9.2");
        assert_eq!(printable_banner(b"220 a\r\n220 b\\c\r\n").unwrap(), "220 a\\r\\n220 b\\\\c");
        assert_eq!(printable_banner(b"\xff\xfd\x18\x00").unwrap(), "\\xff\\xfd\\x18\\x00");
        assert_eq!(printable_banner(b"\r\n"), None);
        assert_eq!(printable_banner(b""), None);
    }

    proptest! {
        #[test]
        fn no_bytes_from_the_network_reach_a_terminal(bytes in proptest::collection::vec(any::<u8>(), 0..700)) {
            if let Some(banner) = printable_banner(&bytes) {
                prop_assert!(banner.bytes().all(|b| (b' '..=b'~').contains(&b)));
                prop_assert!(banner.len() <= 4 * BANNER_BYTES_MAX);
                prop_assert_eq!(Printable(&banner).to_string(), banner, "escaping twice changes nothing");
            }
        }

        #[test]
        fn no_text_from_a_peer_reaches_a_terminal(text in "\\PC{0,40}|[\\x00-\\u{ff}]{0,40}") {
            prop_assert!(Printable(&text).to_string().bytes().all(|b| (b' '..=b'~').contains(&b)));
        }
    }
}

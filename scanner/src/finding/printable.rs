//! Makes words from the network harmless without making others of them.
//!
//! Words are text, in whatever script: in records and in documents they are themselves, and only what nobody can see in
//! them is replaced ([`plain_text`]). Terminals get printable ASCII with escapes ([`Printable`]), in which a backslash of the
//! text is two. Banners are bytes, not text, and are escaped when they are read ([`printable_banner`]); a terminal gets
//! them as [`Banner`]. All is done once more when records are written out, since a peer can put anything into a chunk.

use std::borrow::Cow;
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

/// Displays text for a terminal: printable ASCII as it is, but for backslashes, which are doubled, and anything else
/// escaped.
///
/// ```
/// use pentora_scanner::finding::Printable;
/// assert_eq!(Printable("ok \u{1b}[31m").to_string(), "ok \\x1b[31m");
/// assert_eq!(Printable("C:\\x1b").to_string(), "C:\\\\x1b");
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Printable<'a>(pub &'a str);

impl fmt::Display for Printable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|c| if c == '\\' { f.write_str("\\\\") } else { escaped(f, c) })
    }
}

/// Displays a banner for a terminal: its escapes are those that it was read with, and stay.
#[derive(Debug, Clone, Copy)]
pub struct Banner<'a>(pub &'a str);

impl fmt::Display for Banner<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|c| escaped(f, c))
    }
}

/// Printable ASCII as it is, anything else as `\xNN` or `\u{N}`.
fn escaped(f: &mut fmt::Formatter<'_>, c: char) -> fmt::Result {
    match c {
        ' '..='~' => f.write_char(c),
        _ if u32::from(c) < 0x100 => write!(f, "\\x{:02x}", u32::from(c)),
        _ => write!(f, "\\u{{{:x}}}", u32::from(c)),
    }
}

/// Whether a character acts on what is around the text: control characters, ends of lines and paragraphs, those that turn the
/// direction of all that follows. Numbers that no text may have are with them. Joiners, marks and variants that scripts are
/// written with are no less text for having no width.
#[must_use]
pub fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{fdd0}'..='\u{fdef}')
        || u32::from(c) & 0xfffe == 0xfffe
}

/// Text as itself: white space that ends lines or moves a cursor is a space, and what is hidden ([`is_hidden`]) is U+FFFD.
///
/// ```
/// use pentora_scanner::finding::plain_text;
/// assert_eq!(plain_text("caf\u{e9}\n\u{202e}\u{1b}[31m \\x1b"), "caf\u{e9} \u{fffd}\u{fffd}[31m \\x1b");
/// ```
#[must_use]
pub fn plain_text(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_hidden) {
        return Cow::Borrowed(text);
    }
    let plain = |c: char| match c {
        '\t' | '\n' | '\r' => ' ',
        _ if is_hidden(c) => char::REPLACEMENT_CHARACTER,
        _ => c,
    };
    Cow::Owned(text.chars().map(plain).collect())
}

/// The same, and no more than so many bytes of it.
#[must_use]
pub fn plain_text_of(text: &str, bytes_max: usize) -> String {
    let mut text = plain_text(text).into_owned();
    let end = (0..=bytes_max.min(text.len())).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    text.truncate(end);
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn text_of_any_script_is_itself() {
        for text in [
            "\u{645}\u{6cc}\u{200c}\u{62e}\u{648}\u{627}\u{647}\u{645}",
            "\u{915}\u{94d}\u{200d}",
            "\u{1f468}\u{200d}\u{1f467}",
            "Ver\u{ad}wal\u{ad}tung",
            "\u{5e9}\u{200e} \u{200f}(x)",
            "\u{2764}\u{fe0f}",
            "\u{e001} a\u{200b}b\u{2060}c\u{feff}",
            "\u{1f3f4}\u{e0067}\u{e007f}",
        ] {
            assert_eq!(plain_text(text), text, "{}", text.escape_unicode());
            assert!(Printable(text).to_string().is_ascii(), "terminals get escapes");
        }
        assert_eq!(plain_text("a\u{202e}b\u{2066}c\u{9b}d\u{ffff}"), "a\u{fffd}b\u{fffd}c\u{fffd}d\u{fffd}");
    }

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
                prop_assert_eq!(Banner(&banner).to_string(), banner, "escaping twice changes nothing");
            }
        }

        #[test]
        fn no_text_from_a_peer_reaches_a_terminal(text in "\\PC{0,40}|[\\x00-\\u{ff}]{0,40}") {
            for shown in [Printable(&text).to_string(), Banner(&text).to_string()] {
                prop_assert!(shown.bytes().all(|b| (b' '..=b'~').contains(&b)));
            }
            let plain = plain_text(&text);
            prop_assert!(!plain.chars().any(is_hidden));
            prop_assert_eq!(plain_text(&plain), plain.clone());
            prop_assert_eq!(plain.chars().count(), text.chars().count());
        }
    }
}

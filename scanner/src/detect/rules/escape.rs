//! Bytes written as text: printable ASCII as it is, everything else as `\xNN`, `\r`, `\n`, `\t`, `\0`, `\\`.

use thiserror::Error;

/// Why a text is no bytes.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum EscapeError {
    /// A backslash before something that it does not go with.
    #[error("\\{0} is no escape: \\xNN, \\r, \\n, \\t, \\0 and \\\\ are")]
    Unknown(String),
    /// A character above ASCII, whose bytes depend on an encoding.
    #[error("{0:?} is not ASCII: write its bytes as \\xNN")]
    NotAscii(char),
}

/// The bytes that a text stands for. Line breaks in the text itself are left out, so that long payloads can be wrapped;
/// so is the white space that begins a line, the first of several lines included: TOML takes away the line break before it.
pub(crate) fn unescape(text: &str) -> Result<Vec<u8>, EscapeError> {
    let mut bytes = Vec::with_capacity(text.len());
    let text = if text.contains('\n') { text.trim_start_matches([' ', '\t']) } else { text };
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '\\' => bytes.push(escaped(&mut rest)?),
            '\n' | '\r' => while rest.next_if(|c| c.is_ascii_whitespace()).is_some() {},
            _ if c.is_ascii() => bytes.extend(u8::try_from(c)),
            _ => return Err(EscapeError::NotAscii(c)),
        }
    }
    Ok(bytes)
}

fn escaped(rest: &mut impl Iterator<Item = char>) -> Result<u8, EscapeError> {
    match rest.next() {
        Some('r') => Ok(b'\r'),
        Some('n') => Ok(b'\n'),
        Some('t') => Ok(b'\t'),
        Some('0') => Ok(0),
        Some('\\') => Ok(b'\\'),
        Some('x') => {
            let digits: String = rest.take(2).collect();
            match u8::from_str_radix(&digits, 16) {
                Ok(byte) if digits.len() == 2 => Ok(byte),
                _ => Err(EscapeError::Unknown(format!("x{digits}"))),
            }
        }
        other => Err(EscapeError::Unknown(other.map(String::from).unwrap_or_default())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn white_space_that_begins_a_line_is_none_of_the_bytes_also_on_the_first_of_several() {
        assert_eq!(unescape("  a\n  b").unwrap(), b"ab");
        assert_eq!(unescape("\n  a b\r\n\tc").unwrap(), b"a bc");
        assert_eq!(unescape(" a").unwrap(), b" a", "one line is taken as it is");
    }

    #[test]
    fn escapes_are_bytes_and_wrapped_lines_are_one() {
        assert_eq!(unescape(r"a\r\n\x00\xff\\").unwrap(), b"a\r\n\x00\xff\\");
        assert_eq!(unescape("\\x01\n    \\x02").unwrap(), b"\x01\x02");
        assert!(
            unescape(r"\q").is_err() && unescape(r"\x1").is_err() && unescape("ä").is_err() && unescape("\\").is_err()
        );
    }
}

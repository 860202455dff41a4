//! JSON without a character that nobody can see, and without one that HTML knows for islands in a page.
//!
//! JSON alone lets C1 controls through to a terminal and `</script>` through to a browser; written as `\u` escapes they
//! are the same strings to whoever parses them. Letters of any script are themselves.

use std::borrow::Cow;
use std::io;

use serde::Serialize;
use serde_json::Value;

use crate::finding::{is_hidden, plain_text};

/// Writes a value as compact JSON.
pub(super) fn write_json<W: io::Write>(out: W, value: &(impl Serialize + ?Sized)) -> io::Result<()> {
    Ok(value.serialize(&mut serde_json::Serializer::with_formatter(out, Visible { for_html: false }))?)
}

/// Writes a value as JSON that can stand in a `<script>` element of any HTML page.
pub(super) fn write_island<W: io::Write>(out: W, value: &(impl Serialize + ?Sized)) -> io::Result<()> {
    Ok(value.serialize(&mut serde_json::Serializer::with_formatter(out, Visible { for_html: true }))?)
}

/// Text as itself, harmless after parsing too.
pub(super) fn printable(text: &str) -> Cow<'_, str> {
    plain_text(text)
}

/// `object` with one more field, where there is a value for it: schemas tell an absent field from `null`.
pub(super) fn with(mut object: Value, field: &str, value: Option<Value>) -> Value {
    if let (Some(fields), Some(value)) = (object.as_object_mut(), value) {
        fields.insert(field.to_owned(), value);
    }
    object
}

/// Compact JSON whose strings can be seen.
#[derive(Debug)]
struct Visible {
    for_html: bool,
}

impl Visible {
    fn is_plain(&self, c: char) -> bool {
        !(is_hidden(c) || self.for_html && matches!(c, '<' | '>' | '&'))
    }
}

impl serde_json::ser::Formatter for Visible {
    fn write_string_fragment<W: ?Sized + io::Write>(&mut self, out: &mut W, fragment: &str) -> io::Result<()> {
        let mut rest = fragment;
        while let Some(at) = rest.find(|c: char| !self.is_plain(c)) {
            let (plain, odd) = rest.split_at(at);
            out.write_all(plain.as_bytes())?;
            let Some(c) = odd.chars().next() else { break };
            for unit in c.encode_utf16(&mut [0; 2]) {
                write!(out, "\\u{unit:04x}")?;
            }
            rest = odd.get(c.len_utf8()..).unwrap_or_default();
        }
        out.write_all(rest.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_text_is_the_same_text_once_parsed(text in "\\PC{0,40}|[\\x00-\\u{2fff}]{0,40}|</script><!--&") {
            let (mut json, mut island) = (Vec::new(), Vec::new());
            write_json(&mut json, &text).unwrap();
            write_island(&mut island, &text).unwrap();
            for written in [&json, &island] {
                prop_assert!(!std::str::from_utf8(written).unwrap().chars().any(is_hidden));
                prop_assert_eq!(&serde_json::from_slice::<String>(written).unwrap(), &text);
            }
            prop_assert!(!island.iter().any(|byte| b"<>&".contains(byte)));
        }
    }
}

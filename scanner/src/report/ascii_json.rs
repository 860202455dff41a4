//! JSON in printable ASCII, for terminals, and without a character that HTML knows, for islands in a page.
//!
//! JSON alone lets C1 controls through to a terminal and `</script>` through to a browser; written as `\u` escapes they
//! are the same strings to whoever parses them.

use std::borrow::Cow;
use std::io;

use serde::Serialize;
use serde_json::Value;

use crate::finding::Printable;

/// Writes a value as compact JSON in printable ASCII.
pub(super) fn write_json<W: io::Write>(out: W, value: &(impl Serialize + ?Sized)) -> io::Result<()> {
    Ok(value.serialize(&mut serde_json::Serializer::with_formatter(out, Ascii { for_html: false }))?)
}

/// Writes a value as JSON that can stand in a `<script>` element of any HTML page.
pub(super) fn write_island<W: io::Write>(out: W, value: &(impl Serialize + ?Sized)) -> io::Result<()> {
    Ok(value.serialize(&mut serde_json::Serializer::with_formatter(out, Ascii { for_html: true }))?)
}

/// Printable ASCII as it is, anything else escaped in letters, so that it is harmless after parsing too.
pub(super) fn printable(text: &str) -> Cow<'_, str> {
    match text.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
        true => Cow::Borrowed(text),
        false => Cow::Owned(Printable(text).to_string()),
    }
}

/// `object` with one more field, where there is a value for it: schemas tell an absent field from `null`.
pub(super) fn with(mut object: Value, field: &str, value: Option<Value>) -> Value {
    if let (Some(fields), Some(value)) = (object.as_object_mut(), value) {
        fields.insert(field.to_owned(), value);
    }
    object
}

/// Compact JSON whose strings are printable ASCII.
#[derive(Debug)]
struct Ascii {
    for_html: bool,
}

impl Ascii {
    fn is_plain(&self, c: char) -> bool {
        (' '..='~').contains(&c) && !(self.for_html && matches!(c, '<' | '>' | '&'))
    }
}

impl serde_json::ser::Formatter for Ascii {
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
                prop_assert!(written.iter().all(|byte| (b' '..=b'~').contains(byte)));
                prop_assert_eq!(&serde_json::from_slice::<String>(written).unwrap(), &text);
            }
            prop_assert!(!island.iter().any(|byte| b"<>&".contains(byte)));
        }
    }
}

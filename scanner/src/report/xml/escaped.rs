//! Text in XML, in attributes and between tags, in which nothing is markup; what XML cannot hold or nobody can see is
//! replaced.

use std::fmt::{self, Write};

use crate::finding::{is_hidden, plain_text};

/// Displays text as it can stand anywhere in XML.
#[derive(Debug, Clone, Copy)]
pub(super) struct Escaped<'a>(pub &'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_plain = |c: char| !is_hidden(c) && !matches!(c, '&' | '<' | '>' | '"' | '\'');
        if self.0.chars().all(is_plain) {
            return f.write_str(self.0);
        }
        for c in plain_text(self.0).chars() {
            match c {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&apos;")?,
                _ => f.write_char(c)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_text_reads_back_as_itself(text in "\\PC{0,40}|[\\x00-\\u{2fff}]{0,40}|<!\\[CDATA\\[x\\]\\]>&amp;") {
            let xml = format!("<a b=\"{0}\" c='{0}'>{0}</a>", Escaped(&text));
            let document = roxmltree::Document::parse(&xml).unwrap();
            let expected = plain_text(&text).into_owned();
            prop_assert_eq!(document.root_element().attribute("b"), Some(expected.as_str()));
            prop_assert_eq!(document.root_element().attribute("c"), Some(expected.as_str()));
            prop_assert_eq!(document.root_element().text().unwrap_or_default(), expected);
        }
    }
}

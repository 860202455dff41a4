//! Templates of a rule's fields: text with the captures of its pattern in it.
//!
//! `$1` or `${1}` is a capture, `$$` a dollar sign. A capture that took no part in the match is empty, and a field that
//! comes out empty is absent. What comes out is printable and bounded, whatever the answer held.

use regex::bytes::Captures;
use thiserror::Error;

use super::cpe::{CPE_PARTS, cpe_quoted, full_cpe};
use crate::detect::http::text_in;
use crate::finding::plain_text;

/// Longest text that a field can have, in characters of the answer.
pub(super) const FIELD_CHARS_MAX: usize = 200;

/// A field's text with captures in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Template {
    pieces: Vec<Piece>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(String),
    Capture(usize),
}

/// Why a text is no template.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum TemplateError {
    /// A dollar sign before something else than a number.
    #[error("a $ goes before a capture's number, or before another $")]
    Dollar,
    /// A capture that the pattern has not.
    #[error("${number} is not captured: the pattern has {groups} groups")]
    NoSuchGroup {
        /// The number.
        number: usize,
        /// How many groups there are.
        groups: usize,
    },
    /// A CPE with too few or too many parts.
    #[error("a cpe is part:vendor:product, then up to eight more parts, where part is a, o or h")]
    NotCpe,
}

impl Template {
    /// Reads a template for a pattern with so many capture groups.
    pub(crate) fn new(text: &str, groups: usize) -> Result<Self, TemplateError> {
        let mut pieces = Vec::new();
        let mut plain = String::new();
        let mut rest = text.chars().peekable();
        while let Some(c) = rest.next() {
            if c != '$' {
                plain.push(c);
                continue;
            }
            if rest.next_if_eq(&'$').is_some() {
                plain.push('$');
                continue;
            }
            let is_braced = rest.next_if_eq(&'{').is_some();
            let digits: String = std::iter::from_fn(|| rest.next_if(char::is_ascii_digit)).collect();
            if is_braced && rest.next() != Some('}') {
                return Err(TemplateError::Dollar);
            }
            match digits.parse::<usize>() {
                Ok(number @ 1..) if number <= groups => {
                    if !plain.is_empty() {
                        pieces.push(Piece::Text(std::mem::take(&mut plain)));
                    }
                    pieces.push(Piece::Capture(number));
                }
                Ok(number) => return Err(TemplateError::NoSuchGroup { number, groups }),
                Err(_) => return Err(TemplateError::Dollar),
            }
        }
        if !plain.is_empty() {
            pieces.push(Piece::Text(plain));
        }
        Ok(Self { pieces })
    }

    /// Reads a template of a CPE name: parts after the prefix, the rest being any.
    pub(crate) fn cpe(text: &str, groups: usize) -> Result<Self, TemplateError> {
        let parts: Vec<&str> = text.split(':').collect();
        let is_known = matches!(parts.first(), Some(&("a" | "o" | "h")));
        if !is_known || !(3..=CPE_PARTS).contains(&parts.len()) || parts.iter().any(|part| part.is_empty()) {
            return Err(TemplateError::NotCpe);
        }
        Self::new(text, groups)
    }

    /// The field's text; `None` when it is empty, or when it names captures and none of them has a word.
    pub(crate) fn expand(&self, captures: &Captures<'_>) -> Option<String> {
        let (text, has_words) = self.fill(captures, printable);
        let text = text.split_ascii_whitespace().collect::<Vec<_>>().join(" ");
        Some(text).filter(|text| has_words && !text.is_empty())
    }

    /// Where what it ends with stands, if that is a capture that has a word.
    pub(crate) fn end(&self, captures: &Captures<'_>) -> Option<usize> {
        let ends = self.pieces.iter().rev().map_while(|piece| match piece {
            Piece::Text(_) => None,
            Piece::Capture(number) => Some(captures.get(*number).filter(|word| !word.is_empty())),
        });
        ends.flatten().map(|word| word.end()).next()
    }

    /// The CPE 2.3 name; a part that comes out empty is any (`*`).
    pub(crate) fn expand_cpe(&self, captures: &Captures<'_>) -> String {
        // With none of its captures it is still a name, of any version.
        let (text, _) = self.fill(captures, cpe_quoted);
        full_cpe(&text)
    }

    /// The text with its captures, and whether any of those that it names has a word, or it names none.
    fn fill(&self, captures: &Captures<'_>, word: impl Fn(&[u8]) -> String) -> (String, bool) {
        let mut text = String::new();
        let (mut is_any, mut is_asked) = (false, false);
        for piece in &self.pieces {
            match piece {
                Piece::Text(plain) => text.push_str(plain),
                Piece::Capture(number) => {
                    is_asked = true;
                    if let Some(captured) = captures.get(*number).filter(|captured| !captured.is_empty()) {
                        is_any = true;
                        text.push_str(&word(captured.as_bytes()));
                    }
                }
            }
        }
        (text, is_any || !is_asked)
    }
}

/// A stranger's words as one line of text.
pub(crate) fn printable(bytes: &[u8]) -> String {
    let text = text_in(bytes);
    let text: String = text.chars().take(FIELD_CHARS_MAX).collect();
    plain_text(text.trim()).into_owned()
}

#[cfg(test)]
mod tests {
    use regex::bytes::Regex;

    use super::*;

    #[test]
    fn captures_become_printable_fields() {
        let regex = Regex::new(r"(?s-u)^(.*?)/(\d+)?").unwrap();
        let text = "a\x1b[31m b/1".as_bytes();
        let captures = regex.captures(text).unwrap();
        assert_eq!(Template::new("$1-${2}", 2).unwrap().expand(&captures).unwrap(), "a\u{fffd}[31m b-1");
        let captures = regex.captures(b"a/").unwrap();
        assert_eq!(Template::new("$2", 2).unwrap().expand(&captures), None);
        assert_eq!(Template::new("v$2", 2).unwrap().expand(&captures), None, "a prefix alone says nothing");
        assert_eq!(Template::new("plain $$", 2).unwrap().expand(&captures).unwrap(), "plain $");
    }

    #[test]
    fn a_cpe_is_whole_and_quoted() {
        let regex = Regex::new(r"^(\S+)( \S+)?").unwrap();
        let captures = regex.captures(b"1.2+Deb1").unwrap();
        let cpe = Template::cpe("a:v:p:$1:$2", 2).unwrap();
        assert_eq!(cpe.expand_cpe(&captures), r"cpe:2.3:a:v:p:1.2\+deb1:*:*:*:*:*:*:*");
        let unversioned = Template::cpe("a:v:p:$2", 2).unwrap();
        let bare = regex.captures(b"nginx").unwrap();
        assert_eq!(unversioned.expand_cpe(&bare), "cpe:2.3:a:v:p:*:*:*:*:*:*:*:*");
        let hyphen = regex.captures(b"-").unwrap();
        assert_eq!(cpe.expand_cpe(&hyphen), r"cpe:2.3:a:v:p:\-:*:*:*:*:*:*:*");
        assert!(Template::cpe("x:v:p", 0).is_err() && Template::cpe("a:v", 0).is_err());
    }

    #[test]
    fn mistakes_in_a_template_are_named() {
        assert_eq!(Template::new("$2", 1), Err(TemplateError::NoSuchGroup { number: 2, groups: 1 }));
        assert_eq!(Template::new("$x", 1), Err(TemplateError::Dollar));
        assert_eq!(Template::new("${1", 1), Err(TemplateError::Dollar));
        assert_eq!(Template::new("$0", 1), Err(TemplateError::NoSuchGroup { number: 0, groups: 1 }));
    }
}

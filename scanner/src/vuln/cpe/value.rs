//! The value of one attribute: any, none, or a text that may be open at its ends.

use std::fmt;

/// What stands at an end of a text.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Open {
    /// Nothing: the text ends there.
    #[default]
    Closed,
    /// `?`, this many: as many characters or fewer.
    UpTo(usize),
    /// `*`: any number of characters.
    Any,
}

/// The value of one attribute of a name.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Value {
    /// `*`: any value.
    Any,
    /// `-`: the attribute does not apply.
    NotApplicable,
    /// A text, in lower case and without escapes, that may be open at its ends.
    Text {
        /// What may stand before it.
        before: Open,
        /// The text.
        text: String,
        /// What may stand after it.
        after: Open,
    },
}

impl Value {
    /// A text that is closed at its ends.
    #[must_use]
    pub fn text(text: &str) -> Self {
        Self::Text { before: Open::Closed, text: text.to_ascii_lowercase(), after: Open::Closed }
    }

    /// The text, where it is one without wildcards.
    #[must_use]
    pub fn literal(&self) -> Option<&str> {
        match self {
            Self::Text { before: Open::Closed, text, after: Open::Closed } => Some(text),
            _ => None,
        }
    }

    /// Reads a field of a formatted string; `None` where it is none: empty, a wildcard inside, a backslash at the end.
    pub(super) fn parse(field: &str) -> Option<Self> {
        match field {
            "" => return None,
            "*" => return Some(Self::Any),
            "-" => return Some(Self::NotApplicable),
            _ => {}
        }
        let (before, field) = match field.strip_prefix('*') {
            Some(rest) => (Open::Any, rest),
            None => {
                let rest = field.trim_start_matches('?');
                (up_to(field.len() - rest.len()), rest)
            }
        };
        let mut text = String::with_capacity(field.len());
        let mut bytes = field.bytes().peekable();
        let mut after = Open::Closed;
        while let Some(byte) = bytes.next() {
            match byte {
                b'\\' => text.push(char::from(bytes.next()?.to_ascii_lowercase())),
                b'*' => {
                    after = Open::Any;
                    break;
                }
                b'?' => {
                    let mut count = 1;
                    while bytes.next_if_eq(&b'?').is_some() {
                        count += 1;
                    }
                    after = Open::UpTo(count);
                    break;
                }
                _ => text.push(char::from(byte.to_ascii_lowercase())),
            }
        }
        (bytes.next().is_none() && !(text.is_empty() && after != Open::Closed)).then_some(Self::Text {
            before,
            text,
            after,
        })
    }
}

fn up_to(count: usize) -> Open {
    if count == 0 { Open::Closed } else { Open::UpTo(count) }
}

impl fmt::Display for Open {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => Ok(()),
            Self::UpTo(count) => (0..*count).try_for_each(|_| f.write_str("?")),
            Self::Any => f.write_str("*"),
        }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (before, text, after) = match self {
            Self::Any => return f.write_str("*"),
            Self::NotApplicable => return f.write_str("-"),
            Self::Text { before, text, after } => (before, text, after),
        };
        write!(f, "{before}")?;
        for c in text.chars() {
            let is_plain = c.is_ascii_alphanumeric() || c == '_' || c == '.' || (c == '-' && text.len() > 1);
            if !is_plain {
                f.write_str("\\")?;
            }
            write!(f, "{c}")?;
        }
        write!(f, "{after}")
    }
}

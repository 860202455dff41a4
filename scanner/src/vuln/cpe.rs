//! Names of products: CPE 2.3 formatted strings (NISTIR 7695) and how two names relate (NISTIR 7696).
//!
//! Own code, because the crates that parse these names do not match them. `*` is any value, `-` says that there is
//! none, and neither means the other: a pattern with version `-` does not hold for version 1.0.

mod relation;
mod value;

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

pub use self::relation::Relation;
pub use self::value::Value;

/// Longest name that is read, in bytes; those in use are below 300.
pub const CPE_BYTES_MAX: usize = 1024;

/// Attributes after the part, in their order.
const ATTRIBUTES: usize = 10;

/// What kind of thing a name is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Part {
    /// `a`: a program.
    Application,
    /// `o`: an operating system.
    System,
    /// `h`: a device.
    Hardware,
    /// `*`: any of them.
    Any,
}

/// A product's name.
///
/// ```
/// use pentora_scanner::vuln::cpe::{Cpe, Relation};
/// let pattern: Cpe = "cpe:2.3:a:openbsd:openssh:*:*:*:*:*:*:*:*".parse()?;
/// let name: Cpe = "cpe:2.3:a:openbsd:openssh:9.2:p1:*:*:*:*:*:*".parse()?;
/// assert_eq!(pattern.relation(&name), Some(Relation::Superset));
/// assert_eq!(name.full_version().as_deref(), Some("9.2p1"));
/// # Ok::<(), pentora_scanner::vuln::cpe::ParseError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Cpe {
    part: Part,
    attributes: [Value; ATTRIBUTES],
}

/// Why a text is no CPE 2.3 name.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ParseError {
    /// It does not begin as a formatted string does.
    #[error("does not begin with `cpe:2.3:`")]
    Prefix,
    /// It is longer than [`CPE_BYTES_MAX`], as it stands or with the escapes that it lacks, or not ASCII.
    #[error("is longer than {CPE_BYTES_MAX} bytes or not ASCII")]
    Text,
    /// It does not have eleven fields.
    #[error("has {found} fields of 11")]
    Fields {
        /// How many it has.
        found: usize,
    },
    /// Its part is none of `a`, `o`, `h`, `*`.
    #[error("has the part `{part}`, which is none of a, o, h, *")]
    Part {
        /// What stands there.
        part: String,
    },
    /// One of its fields is not a value.
    #[error("has a field `{field}` that is no value")]
    Value {
        /// What stands there.
        field: String,
    },
}

impl Cpe {
    /// What kind of thing it is of.
    #[must_use]
    pub fn part(&self) -> Part {
        self.part
    }

    /// Its maker.
    #[must_use]
    pub fn vendor(&self) -> &Value {
        self.attribute(0)
    }

    /// Its product.
    #[must_use]
    pub fn product(&self) -> &Value {
        self.attribute(1)
    }

    /// Its version, without an update such as `p1`.
    #[must_use]
    pub fn version(&self) -> &Value {
        self.attribute(2)
    }

    /// Its update, such as `p1` or `sp2`.
    #[must_use]
    pub fn update(&self) -> &Value {
        self.attribute(3)
    }

    /// The system that it runs on.
    #[must_use]
    pub fn target_software(&self) -> &Value {
        self.attribute(7)
    }

    /// Version and update as their maker writes them: `9.2` and `p1` are `9.2p1`. `None` unless the version is one
    /// text without wildcards.
    #[must_use]
    pub fn full_version(&self) -> Option<String> {
        let version = self.version().literal()?;
        Some(match self.update().literal() {
            // Letters go on behind a number (`9.2p1`, `1.0.2zf`); anything else needs a sign between.
            Some(update) if update.len() <= 4 && update.starts_with(|c: char| c.is_ascii_alphabetic()) => {
                format!("{version}{update}")
            }
            Some(update) => format!("{version}-{update}"),
            None => version.to_owned(),
        })
    }

    /// `vendor:product` where both are texts without wildcards: what advisories are looked up by.
    #[must_use]
    pub fn product_key(&self) -> Option<String> {
        Some(format!("{}:{}", self.vendor().literal()?, self.product().literal()?))
    }

    /// Whether only its maker, product, version and update are anything but any, and those are without wildcards.
    #[must_use]
    pub fn says_only_versions(&self) -> bool {
        let is_open = |value: &Value| matches!(value, Value::Text { .. }) && value.literal().is_none();
        self.attributes.iter().skip(4).all(|value| *value == Value::Any) && !self.attributes.iter().any(is_open)
    }

    /// The name of the product in all of its versions and editions.
    #[must_use]
    pub fn without_version(&self) -> Self {
        let mut all = self.clone();
        all.attributes.iter_mut().skip(2).for_each(|value| *value = Value::Any);
        all
    }

    fn attribute(&self, place: usize) -> &Value {
        self.attributes.get(place).unwrap_or(&Value::Any)
    }
}

impl FromStr for Cpe {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        if text.len() > CPE_BYTES_MAX || !text.is_ascii() {
            return Err(ParseError::Text);
        }
        let prefix = text.get(..8).filter(|prefix| prefix.eq_ignore_ascii_case("cpe:2.3:"));
        let fields = split_fields(prefix.and_then(|_| text.get(8..)).ok_or(ParseError::Prefix)?);
        let found = fields.len();
        let Some((part, rest)) = fields.split_first().filter(|_| found == ATTRIBUTES + 1) else {
            return Err(ParseError::Fields { found });
        };
        let part = match *part {
            "a" | "A" => Part::Application,
            "o" | "O" => Part::System,
            "h" | "H" => Part::Hardware,
            "*" => Part::Any,
            other => return Err(ParseError::Part { part: other.to_owned() }),
        };
        let mut attributes: [Value; ATTRIBUTES] = std::array::from_fn(|_| Value::Any);
        for (attribute, field) in attributes.iter_mut().zip(rest) {
            *attribute = Value::parse(field).ok_or_else(|| ParseError::Value { field: (*field).to_owned() })?;
        }
        let name = Self { part, attributes };
        // What needs escapes is longer when it is written again, and must be readable then.
        if name.to_string().len() > CPE_BYTES_MAX { Err(ParseError::Text) } else { Ok(name) }
    }
}

impl fmt::Display for Cpe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.part {
            Part::Application => "cpe:2.3:a",
            Part::System => "cpe:2.3:o",
            Part::Hardware => "cpe:2.3:h",
            Part::Any => "cpe:2.3:*",
        })?;
        self.attributes.iter().try_for_each(|value| write!(f, ":{value}"))
    }
}

/// Splits at colons that no backslash precedes.
fn split_fields(text: &str) -> Vec<&str> {
    let mut fields = Vec::with_capacity(ATTRIBUTES + 1);
    let (mut start, mut is_escaped) = (0, false);
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' => is_escaped = true,
            b':' => {
                fields.push(text.get(start..at).unwrap_or_default());
                start = at + 1;
            }
            _ => {}
        }
    }
    fields.push(text.get(start..).unwrap_or_default());
    fields
}

#[cfg(test)]
#[path = "cpe/cpe_test.rs"]
mod tests;

//! The classes in which jobs are served: one type from the command line to the log.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::names::names;

/// Before which other jobs a job is served. Ordered: critical first. Serde writes the word where a format has names, and
/// its place in this list where not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Priority {
    /// Before all others (P0).
    Critical,
    /// P1.
    High,
    /// P2.
    #[default]
    Normal,
    /// After all others (P3).
    Low,
}

names! { Priority, name, NAMES:
    Critical => "critical",
    High => "high",
    Normal => "normal",
    Low => "low",
}

impl Priority {
    /// All of them, the first served first.
    pub const ALL: [Self; 4] = [Self::Critical, Self::High, Self::Normal, Self::Low];
}

impl fmt::Display for Priority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A text that is no priority.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{}` is not a priority: critical, high, normal or low", text.escape_debug())]
pub struct PriorityError {
    text: String,
}

impl FromStr for Priority {
    type Err = PriorityError;

    fn from_str(text: &str) -> Result<Self, PriorityError> {
        let named = Self::ALL.into_iter().find(|priority| priority.name() == text);
        named.ok_or_else(|| PriorityError { text: text.chars().take(64).collect() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::{self, Kind};

    #[test]
    fn a_priority_is_one_word_in_text_and_one_byte_in_the_log() {
        assert_eq!(Priority::ALL.map(|priority| priority.name()), Priority::NAMES);
        assert!(Priority::ALL.is_sorted(), "the first is served first");
        for (place, priority) in (0u8..).zip(Priority::ALL) {
            assert_eq!(priority.to_string().parse(), Ok(priority));
            assert_eq!(codec::encode(Kind::Row, &priority), [codec::VERSION, Kind::Row as u8, place]);
        }
        let error = "urgent".parse::<Priority>().unwrap_err();
        assert_eq!(error.to_string(), "`urgent` is not a priority: critical, high, normal or low");
        assert!("a\n".parse::<Priority>().unwrap_err().to_string().starts_with(r"`a\n` is not"));
    }
}

//! The last lines of a stream of results, where some cannot be read: what is missing.

use serde::{Deserialize, Serialize};

/// The line of one unit whose results cannot be read, behind all hosts: `{"unreadable": {...}}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnreadableLine {
    /// The unit.
    pub unreadable: Unreadable,
}

/// A unit whose results cannot be read now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unreadable {
    /// Which, as `partition:start-end`.
    pub unit: String,
    /// How many targets it has.
    pub targets: u64,
    /// The name of its chunk.
    pub digest: String,
    /// Why, where it is not for the holders.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// The holders that were tried.
    #[serde(default)]
    pub tried: Vec<Tried>,
}

/// A holder that did not give a chunk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tried {
    /// Its name.
    pub node: String,
    /// What came of it.
    pub why: String,
    /// Whether it does not have the chunk any more, so that starting or asking it again is in vain.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_gone: bool,
}

impl Unreadable {
    /// Whether no holder has the results any more.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        !self.tried.is_empty() && self.tried.iter().all(|tried| tried.is_gone)
    }

    /// One line for people.
    #[must_use]
    pub fn told(&self) -> String {
        let tried = self.tried.iter().map(|tried| format!("{}: {}", tried.node, tried.why));
        let why: Vec<String> = self.why.iter().cloned().chain(tried).collect();
        let (unit, targets, digest) = (&self.unit, self.targets, &self.digest);
        let plural = if targets == 1 { "" } else { "s" };
        format!(
            "the results of unit {unit} ({targets} target{plural}) cannot be read: chunk {digest}: {}",
            why.join("; ")
        )
    }
}

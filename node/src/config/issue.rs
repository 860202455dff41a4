//! What can be wrong with a configuration, and where each value came from.

use std::fmt;

/// A place in a file. Lines and columns count from 1, columns in characters.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// The file as the user named it.
    pub file: String,
    /// Line.
    pub line: u32,
    /// Column.
    pub column: u32,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.line, self.column)
    }
}

/// Where a value came from; a later variant overrides an earlier one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// Nobody set it.
    Default,
    /// The node was told so at an earlier start, and wrote it down in its data directory.
    Remembered(Position),
    /// The configuration file.
    File(Position),
    /// The environment variable of this name.
    Environment(String),
    /// The command-line flag of this name.
    Flag(String),
}

impl Origin {
    /// 0 for defaults up to 4 for flags.
    #[must_use]
    pub fn rank(&self) -> u8 {
        match self {
            Self::Default => 0,
            Self::Remembered(_) => 1,
            Self::File(_) => 2,
            Self::Environment(_) => 3,
            Self::Flag(_) => 4,
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::Remembered(position) => write!(f, "remembered {position}"),
            Self::File(position) => position.fmt(f),
            Self::Environment(name) => write!(f, "environment {name}"),
            Self::Flag(name) => write!(f, "flag {name}"),
        }
    }
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigIssue {
    /// Where it was said.
    pub origin: Origin,
    /// The key it concerns, where there is one.
    pub key: Option<String>,
    /// What is wrong and what to write instead.
    pub message: String,
}

impl fmt::Display for ConfigIssue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.origin != Origin::Default {
            write!(f, "{}: ", self.origin)?;
        }
        if let Some(key) = &self.key {
            write!(f, "{key}: ")?;
        }
        f.write_str(&cut(&self.message))
    }
}

/// The longest message that is told whole, in characters: a value that is in it may be as long as somebody likes.
const MESSAGE_CHARS_MAX: usize = 600;

/// A message with its middle left out where it is longer than anybody reads.
fn cut(message: &str) -> String {
    let characters = message.chars().count();
    if characters <= MESSAGE_CHARS_MAX {
        return message.to_owned();
    }
    let half = MESSAGE_CHARS_MAX / 2;
    let head = message.chars().take(half);
    head.chain(" [...] ".chars()).chain(message.chars().skip(characters - half)).collect()
}

/// Everything that is wrong, in the order of the file, then environment, then flags. Nothing was started.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", .issues.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
pub struct ConfigError {
    /// At least one.
    pub issues: Vec<ConfigIssue>,
}

impl ConfigError {
    /// Sorts `issues` by place.
    #[must_use]
    pub fn new(mut issues: Vec<ConfigIssue>) -> Self {
        issues.sort_by(|a, b| a.origin.cmp(&b.origin));
        Self { issues }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_that_is_a_file_by_mistake_is_not_repeated_whole() {
        let message = format!("`{}` is not a label", "é".repeat(100_000));
        let issue = ConfigIssue { origin: Origin::Flag("--name".into()), key: Some("node.name".into()), message };
        let told = issue.to_string();
        assert!(
            told.len() < 2_000 && told.starts_with("flag --name: node.name: `é") && told.ends_with("é` is not a label")
        );
    }
}

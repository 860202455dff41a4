//! How the program fails: an exit code for scripts, and what, why and what to do next for people.

use std::fmt;

use pentora_scanner::finding::plain_text;

/// Exit codes, documented and stable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum ExitCode {
    /// Done.
    Ok = 0,
    /// Something went wrong that no other code names.
    Failure = 1,
    /// The command line, a target or a port is malformed.
    Usage = 2,
    /// A weakness at or above `--fail-on` was found.
    Findings = 3,
    /// Refused: outside the scope or window, or no node is eligible.
    Refused = 4,
    /// No node answers, or the cluster has no quorum.
    Unreachable = 5,
    /// The job ended partial or failed.
    JobIncomplete = 6,
    /// The job was cancelled.
    Cancelled = 7,
    /// The configuration is wrong.
    Config = 8,
}

impl From<ExitCode> for std::process::ExitCode {
    fn from(code: ExitCode) -> Self {
        Self::from(code as u8)
    }
}

/// Why a command did not do what was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Failure {
    /// The process's exit code.
    pub exit: ExitCode,
    /// What went wrong.
    pub what: String,
    /// The reason, where there is more to say.
    pub why: Option<String>,
    /// What to do next, where we know.
    pub next: Option<String>,
}

impl Failure {
    /// A failure with only the first sentence.
    #[must_use]
    pub fn new(exit: ExitCode, what: impl Into<String>) -> Self {
        Self { exit, what: what.into(), why: None, next: None }
    }

    /// An end without a word: everything has been said, or nobody listens.
    #[must_use]
    pub fn quiet(exit: ExitCode) -> Self {
        Self::new(exit, "")
    }

    /// Whether there is nothing to print.
    #[must_use]
    pub fn is_quiet(&self) -> bool {
        self.what.is_empty()
    }

    /// Adds the reason.
    #[must_use]
    pub fn because(self, why: impl Into<String>) -> Self {
        Self { why: Some(why.into()), ..self }
    }

    /// Adds what to do next.
    #[must_use]
    pub fn next(self, next: impl Into<String>) -> Self {
        Self { next: Some(next.into()), ..self }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", lines(&self.what, "\n"))?;
        if let Some(why) = &self.why {
            write!(f, "\n  why:  {}", lines(why, "\n        "))?;
        }
        if let Some(next) = &self.next {
            write!(f, "\n  next: {}", lines(next, "\n        "))?;
        }
        Ok(())
    }
}

/// A text of several lines with `end` between them. What a file or another node put into it acts on no terminal.
fn lines(text: &str, end: &str) -> String {
    text.split('\n').map(plain_text).collect::<Vec<_>>().join(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_says_what_why_and_what_next_on_lines_of_their_own() {
        let failure = Failure::new(ExitCode::Refused, "8.8.8.8 is outside the scope")
            .because("default scope\nis private space")
            .next("add a scope");
        let expected =
            "8.8.8.8 is outside the scope\n  why:  default scope\n        is private space\n  next: add a scope";
        assert_eq!(failure.to_string(), expected);
    }

    #[test]
    fn what_a_file_put_into_a_failure_moves_no_cursor_and_no_line() {
        let failure = Failure::new(ExitCode::Failure, "unknown field `a\u{1b}[2J\u{202e}`\nb").because("c\rd\ne\tf");
        let expected = "unknown field `a\u{fffd}[2J\u{fffd}`\nb\n  why:  c d\n        e f";
        assert_eq!(failure.to_string(), expected);
    }

    #[test]
    fn exit_codes_have_their_documented_numbers() {
        let codes = [
            (ExitCode::Ok, 0),
            (ExitCode::Failure, 1),
            (ExitCode::Usage, 2),
            (ExitCode::Refused, 4),
            (ExitCode::Unreachable, 5),
            (ExitCode::JobIncomplete, 6),
            (ExitCode::Cancelled, 7),
            (ExitCode::Config, 8),
        ];
        for (code, number) in codes {
            assert_eq!(code as u8, number);
        }
    }
}

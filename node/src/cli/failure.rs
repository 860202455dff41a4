//! How a command fails: an exit code for scripts, and what, why and what to do next for people.

use std::fmt;

use super::output::clean;
use crate::client::ClientError;

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
        write!(f, "{}", self.what)?;
        if let Some(why) = &self.why {
            write!(f, "\n  why:  {}", why.replace('\n', "\n        "))?;
        }
        if let Some(next) = &self.next {
            write!(f, "\n  next: {}", next.replace('\n', "\n        "))?;
        }
        Ok(())
    }
}

impl From<crate::config::ConfigError> for Failure {
    fn from(error: crate::config::ConfigError) -> Self {
        let problems = if error.issues.len() == 1 { "1 problem" } else { &format!("{} problems", error.issues.len()) };
        Self::new(ExitCode::Config, format!("the configuration has {problems}; nothing was started"))
            .because(error.to_string())
            .next("correct it, then run `pentora config check`")
    }
}

/// What an answer of the API means for a command, with the way on. `searched` says where a token was looked for.
pub(super) fn from_client(error: &ClientError, searched: &str) -> Failure {
    let what = clean(&error.to_string());
    match error {
        ClientError::Unreachable { .. } => Failure::new(ExitCode::Unreachable, what)
            .next("start a node (`pentora-node start --init`), or name one: --api http://HOST:PORT or PENTORA_API"),
        ClientError::Interrupted { .. } => Failure::new(ExitCode::Unreachable, what)
            .next("ask again; what was submitted may have been accepted (`pentora job list` shows it)"),
        ClientError::Refused { status: 401, .. } => Failure::new(ExitCode::Failure, "the node wants a token (401)")
            .because(format!("{what}\ntoken: {searched}"))
            .next("give the file with the admin token: --token-file F or PENTORA_TOKEN_FILE"),
        ClientError::Refused { status, problem } => {
            Failure::new(exit_of(*status, &problem.code), what).advised(&problem.code)
        }
        ClientError::Unexpected { status: 502..=504 } => Failure::new(ExitCode::Unreachable, what),
        _ => Failure::new(ExitCode::Failure, what),
    }
}

/// The exit code of a problem, by its stable code first.
fn exit_of(status: u16, code: &str) -> ExitCode {
    match (code, status) {
        ("scope_denied" | "no_eligible_node" | "outside_window", _) => ExitCode::Refused,
        ("transfer_failed", _) => ExitCode::Failure,
        ("quorum_lost", _) | (_, 502..=504) => ExitCode::Unreachable,
        (_, 400 | 413 | 422) => ExitCode::Usage,
        _ => ExitCode::Failure,
    }
}

impl Failure {
    /// Adds what to do next about a problem of the API.
    pub(super) fn advised(self, code: &str) -> Self {
        match code {
            "scope_denied" => self.next("leave the address out: the scope is loopback, private and link-local space"),
            "no_eligible_node" => {
                self.next("`pentora nodes list` shows regions and tags; drop a requirement or add a node")
            }
            "quorum_lost" | "no_leader" => {
                self.next("bring voters back; `pentora cluster status` shows who is missing")
            }
            "queue_full" => self.next("wait for jobs to end (`pentora job list`), or raise the priority"),
            "job_unknown" => self.next("`pentora job list` shows the jobs"),
            _ => self,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::Problem;

    #[test]
    fn every_answer_of_the_api_has_its_exit_code() {
        let refused =
            |status, code| ClientError::Refused { status, problem: Box::new(Problem::new(status, code, "t", "d")) };
        let unreachable = ClientError::Unreachable { endpoints: "e".into(), reason: "r".into() };
        for (error, exit) in [
            (refused(403, "scope_denied"), ExitCode::Refused),
            (refused(409, "no_eligible_node"), ExitCode::Refused),
            (refused(409, "outside_window"), ExitCode::Refused),
            (refused(503, "quorum_lost"), ExitCode::Unreachable),
            (refused(503, "starting"), ExitCode::Unreachable),
            (refused(400, "bad_targets"), ExitCode::Usage),
            (refused(422, "bad_request"), ExitCode::Usage),
            (refused(404, "job_unknown"), ExitCode::Failure),
            (refused(401, "unauthorized"), ExitCode::Failure),
            (unreachable, ExitCode::Unreachable),
            (ClientError::Interrupted { reason: "r".into() }, ExitCode::Unreachable),
            (ClientError::Unexpected { status: 404 }, ExitCode::Failure),
            (ClientError::Unexpected { status: 502 }, ExitCode::Unreachable),
        ] {
            assert_eq!(from_client(&error, "here").exit, exit, "{error:?}");
        }
    }

    #[test]
    fn a_missing_token_says_where_it_was_looked_for() {
        let problem = Box::new(Problem::new(401, "unauthorized", "t", "no bearer token"));
        let failure = from_client(&ClientError::Refused { status: 401, problem }, "/d/admin.token: No such file");
        assert!(failure.to_string().contains("no bearer token") && failure.to_string().contains("/d/admin.token"));
    }

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

//! `pentora-node doctor`: what keeps a node on this machine from working well, a line each, with what to do about it.
//!
//! No node has to run: what only a running one knows is left out then, and said to be. Nothing is changed but a file that
//! is written and removed to time the disk.

mod machine;
mod node;

use std::fmt;

use clap::Args;
use serde::Serialize;

use super::api_session::NodeArgs;
use super::context::Context;
use super::output::{clean, counted};
use super::shown::ShownArgs;
use crate::config::{FlagValue, NodeConfig, Purpose, Raw};
use crate::failure::{ExitCode, Failure};

/// `pentora-node doctor`.
#[derive(Debug, Args)]
#[command(before_help = "Examples:\n  pentora-node doctor\n  pentora-node doctor --data-dir /var/lib/pentora --json")]
pub(super) struct DoctorArgs {
    /// Where the node keeps everything.
    #[arg(long, value_name = "DIR")]
    data_dir: Option<String>,
    #[command(flatten)]
    form: ShownArgs,
    #[command(flatten)]
    node: NodeArgs,
}

/// How something stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
enum Verdict {
    /// As it should be.
    Ok,
    /// It cannot be told here.
    Unknown,
    /// It works, and less well than it could.
    Warn,
    /// It does not work, or will not.
    Fail,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Ok => "ok",
            Self::Unknown => "-",
            Self::Warn => "warn",
            Self::Fail => "FAIL",
        })
    }
}

/// What was found about one thing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Finding {
    /// What was looked at.
    about: &'static str,
    verdict: Verdict,
    /// How it stands.
    what: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

impl Finding {
    fn ok(about: &'static str, what: impl Into<String>) -> Self {
        Self { about, verdict: Verdict::Ok, what: what.into(), next: None }
    }

    fn unknown(about: &'static str, what: impl Into<String>) -> Self {
        Self { about, verdict: Verdict::Unknown, what: what.into(), next: None }
    }

    fn warn(about: &'static str, what: impl Into<String>, next: impl Into<String>) -> Self {
        Self { about, verdict: Verdict::Warn, what: what.into(), next: Some(next.into()) }
    }

    fn fail(about: &'static str, what: impl Into<String>, next: impl Into<String>) -> Self {
        Self { about, verdict: Verdict::Fail, what: what.into(), next: Some(next.into()) }
    }
}

/// Looks at everything and prints it.
///
/// # Errors
/// Exit 1 where something does not work, 8 where the configuration is wrong.
pub(super) async fn run(args: DoctorArgs, context: &mut Context) -> Result<(), Failure> {
    let flag = |value| FlagValue { key: "node.data_dir", flag: "--data-dir", value: Raw::Text(value) };
    let loaded = context.load_with_memory(Purpose::Node, args.data_dir.map(flag).into_iter().collect())?;
    let mut findings = of_machine(&loaded.config);
    findings.extend(node::of_cluster(&args.node, context).await);
    context.output.print(&args.form.text(&findings, || text(&findings)))?;
    match findings.iter().filter(|finding| finding.verdict == Verdict::Fail).count() {
        0 => Ok(()),
        failed => Err(Failure::new(ExitCode::Failure, format!("{} not work", will(failed)))
            .next("do what stands below each line that begins with FAIL")),
    }
}

fn will(failed: usize) -> String {
    let verb = if failed == 1 { "does" } else { "do" };
    format!("{} {verb}", counted(failed as u64, "thing"))
}

/// What no node is needed for.
fn of_machine(config: &NodeConfig) -> Vec<Finding> {
    let mut findings = vec![
        machine::clock(&config.data_dir),
        machine::disk(&config.data_dir),
        machine::descriptors(),
        machine::capabilities(),
        machine::conntrack(),
        machine::routes(),
        machine::mtu(),
    ];
    findings.extend(node::keys(config));
    findings.extend(node::certificate(config, jiff::Timestamp::now().as_second()));
    findings
}

fn text(findings: &[Finding]) -> String {
    let line = |finding: &Finding| {
        let next = finding.next.as_ref().map(|next| format!("{:24}{}\n", "", clean(next))).unwrap_or_default();
        format!("{:<6}{:<18}{}\n{next}", finding.verdict, finding.about, clean(&finding.what))
    };
    findings.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_thing_has_a_line_and_what_is_not_well_says_what_to_do() {
        let findings = [
            Finding::ok("clock", "kept by chrony"),
            Finding::warn("descriptors", "1,024", "raise LimitNOFILE"),
            Finding::fail("keys", "everybody reads mesh.key", "chmod 600"),
        ];
        let expected = "\
ok    clock             kept by chrony
warn  descriptors       1,024
                        raise LimitNOFILE
FAIL  keys              everybody reads mesh.key
                        chmod 600
";
        assert_eq!(text(&findings), expected);
        assert_eq!((will(1), will(2)), ("1 thing does".into(), "2 things do".into()));
    }
}

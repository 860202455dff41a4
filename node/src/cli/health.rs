//! `pentora health`: one question to a node, for supervisors that run a command where others send a request.

use std::time::Duration;

use clap::Args;

use super::api_session::{ApiSession, NodeArgs};
use super::context::Context;
use crate::failure::{ExitCode, Failure};

/// How long an answer is waited for. Below the time that container runtimes and Kubernetes give a check by themselves in
/// the files of `deploy/`.
const ANSWER_WITHIN: Duration = Duration::from_secs(3);

/// What is asked.
#[derive(Debug, Args)]
#[command(
    before_help = "Examples:\n  pentora health                 the process works: for a container's health check\n  \
                         pentora health --ready         it knows a leader and takes requests"
)]
pub(super) struct HealthArgs {
    /// Ask whether the node knows a leader and takes requests, in place of whether its process works.
    #[arg(long)]
    ready: bool,
    #[command(flatten)]
    node: NodeArgs,
}

/// Asks, without a token.
///
/// # Errors
/// Exit 5 where nobody answers in time; the node's own word where it says that it is not well.
pub(super) async fn run(args: &HealthArgs, context: &mut Context) -> Result<(), Failure> {
    let session = ApiSession::open(&args.node, context)?;
    match tokio::time::timeout(ANSWER_WITHIN, session.client.health(args.ready)).await {
        Ok(answer) => answer.map_err(|error| session.failure(&error))?,
        Err(_elapsed) => {
            let what = format!("the node does not say within {} s that it is well", ANSWER_WITHIN.as_secs());
            return Err(Failure::new(ExitCode::Unreachable, what));
        }
    }
    context.output.print(if args.ready { "ready\n" } else { "ok\n" })
}

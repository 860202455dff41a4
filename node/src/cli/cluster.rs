//! `pentora cluster status` and `transfer-leadership`.

use std::time::{Duration, Instant};

use clap::{Args, Subcommand};

use super::api_session::{ApiSession, NodeArgs};
use super::context::Context;
use super::table;
use super::watch::{View, json, show};
use crate::failure::{ExitCode, Failure};

/// Longest wait for the new leader to show; a planned transfer takes milliseconds, an election about a second.
const TRANSFER_TIMEOUT: Duration = Duration::from_secs(5);
/// Pause between two looks for it.
const TRANSFER_POLL: Duration = Duration::from_millis(20);

/// What can be done with a cluster.
#[derive(Debug, Subcommand)]
pub(super) enum ClusterCommand {
    /// Print leader, term, quorum margin and every node.
    Status(StatusArgs),
    /// Hand leadership to another voter, without an election.
    TransferLeadership(TransferArgs),
}

/// How the status is printed.
#[derive(Debug, Args)]
pub(super) struct StatusArgs {
    /// Print JSON.
    #[arg(long)]
    json: bool,
    /// Print again each second.
    #[arg(long)]
    watch: bool,
    #[command(flatten)]
    node: NodeArgs,
}

/// Who shall lead.
#[derive(Debug, Args)]
pub(super) struct TransferArgs {
    /// Name of the voter [default: the most caught-up one].
    #[arg(long, value_name = "NAME")]
    to: Option<String>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    node: NodeArgs,
}

/// Carries the command out.
///
/// # Errors
/// No node answers, it refuses, or the new leader does not show in time.
pub(super) async fn run(command: ClusterCommand, context: &mut Context) -> Result<(), Failure> {
    match command {
        ClusterCommand::Status(args) => {
            let session = ApiSession::open(&args.node, context)?;
            let unicode = context.output.unicode;
            show(context, args.watch, async || {
                let cluster = session.client.cluster().await.map_err(|error| session.failure(&error))?;
                let text = if args.json { json(&cluster) } else { table::cluster(unicode, &cluster) };
                Ok(View { text, last: false })
            })
            .await
        }
        ClusterCommand::TransferLeadership(args) => transfer(args, context).await,
    }
}

async fn transfer(args: TransferArgs, context: &mut Context) -> Result<(), Failure> {
    let session = ApiSession::open(&args.node, context)?;
    let before = session.client.cluster().await.map_err(|error| session.failure(&error))?;
    let started = Instant::now();
    session.client.transfer_leadership(args.to.clone()).await.map_err(|error| session.failure(&error))?;
    loop {
        let now = session.client.cluster().await.map_err(|error| session.failure(&error))?;
        let arrived = match &args.to {
            Some(name) => now.leader.as_ref() == Some(name),
            None => now.leader.is_some() && now.leader != before.leader,
        };
        if arrived {
            let leader = now.leader.as_deref().unwrap_or_default();
            return context.output.print(&if args.json {
                json(&serde_json::json!({"leader": leader, "term": now.term}))
            } else {
                format!("{} leads (term {})\n", super::output::clean(leader), now.term)
            });
        }
        if started.elapsed() > TRANSFER_TIMEOUT {
            let leader = now.leader.as_deref().unwrap_or("nobody");
            return Err(Failure::new(ExitCode::Failure, format!("after {TRANSFER_TIMEOUT:?}, {leader} leads"))
                .next("`pentora cluster status` shows which voters are caught up"));
        }
        tokio::time::sleep(TRANSFER_POLL).await;
    }
}

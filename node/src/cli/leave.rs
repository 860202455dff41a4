//! `pentora-node leave`, `drain` and `resume`: a node's way out, for good or for a while.

use std::time::{Duration, Instant};

use clap::Args;

use super::api_session::{ApiSession, NodeArgs};
use super::cluster::removal::{finish, planned};
use super::confirm::{YesArgs, confirm};
use super::context::Context;
use super::output::{clean, counted};
use super::shown::ShownArgs;
use crate::config::parse_duration;
use crate::failure::{ExitCode, Failure};

/// How long units may go on by default before they are given to others: some units' worth.
const DRAIN_WITHIN: Duration = Duration::from_secs(10 * 60);
/// The same before a node leaves, as before one that is stopped.
const LEAVE_WITHIN: Duration = Duration::from_secs(25);
/// Pause between two looks at what is still worked on.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// `pentora-node leave`.
#[derive(Debug, Args)]
#[command(before_help = "Example:\n  pentora-node leave --deadline 2m --yes  on the node that shall go")]
pub(super) struct LeaveArgs {
    /// How long it may finish what it works on before that is given to others [default: 25s].
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    deadline: Option<Duration>,
    #[command(flatten)]
    form: ShownArgs,
    #[command(flatten)]
    yes: YesArgs,
    #[command(flatten)]
    node: NodeArgs,
}

/// `pentora-node drain`.
#[derive(Debug, Args)]
#[command(
    before_help = "Examples:\n  pentora-node drain                       this node, before its machine is restarted\n  \
                         pentora-node drain n3 --deadline 1h"
)]
pub(super) struct DrainArgs {
    /// Name of the node [default: the one that is asked].
    #[arg(value_name = "NODE")]
    name: Option<String>,
    /// How long it may finish what it works on before that is given to others [default: 10m].
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    deadline: Option<Duration>,
    #[command(flatten)]
    node: NodeArgs,
}

/// `pentora-node resume`.
#[derive(Debug, Args)]
#[command(before_help = "Examples:\n  pentora-node resume\n  pentora-node resume n3")]
pub(super) struct ResumeArgs {
    /// Name of the node [default: the one that is asked].
    #[arg(value_name = "NODE")]
    name: Option<String>,
    #[command(flatten)]
    node: NodeArgs,
}

/// Takes the node that is asked out of its cluster; its process ends.
///
/// # Errors
/// No node answers, the removal is refused, or nobody said yes.
pub(super) async fn leave(args: LeaveArgs, context: &mut Context) -> Result<(), Failure> {
    let session = ApiSession::open(&args.node, context)?;
    let name = asked_node(&session).await?;
    let plan = session.client.plan_removal(&name).await.map_err(|error| session.failure(&error))?;
    context.say(planned(&plan).trim_end());
    confirm(args.yes, &format!("{} leaves its cluster for good, and stops", clean(&name)), context)?;
    empty(&session, &name, args.deadline.unwrap_or(LEAVE_WITHIN), context).await?;
    let done = session.client.leave().await.map_err(|error| session.failure(&error))?;
    finish(&done, args.form, context)
}

/// Gives a worker nothing new, and waits until it has nothing left.
///
/// # Errors
/// No node answers, or there is no such worker.
pub(super) async fn drain(args: DrainArgs, context: &mut Context) -> Result<(), Failure> {
    let session = ApiSession::open(&args.node, context)?;
    let name = match args.name {
        Some(name) => name,
        None => asked_node(&session).await?,
    };
    empty(&session, &name, args.deadline.unwrap_or(DRAIN_WITHIN), context).await?;
    context.say(format_args!("{} has no work and gets none; `pentora-node resume {0}` takes that back", clean(&name)));
    Ok(())
}

/// Gives a worker work again.
///
/// # Errors
/// No node answers, or there is no such worker.
pub(super) async fn resume(args: ResumeArgs, context: &mut Context) -> Result<(), Failure> {
    let session = ApiSession::open(&args.node, context)?;
    let name = match args.name {
        Some(name) => name,
        None => asked_node(&session).await?,
    };
    session.client.resume_worker(&name).await.map_err(|error| session.failure(&error))?;
    context.say(format_args!("{} gets work again", clean(&name)));
    Ok(())
}

/// The node that was asked. One that only scans hands most requests on, and the answer is another's then.
async fn asked_node(session: &ApiSession) -> Result<String, Failure> {
    let cluster = session.client.cluster().await.map_err(|error| session.failure(&error))?;
    Ok(cluster.handed_on_by.unwrap_or(cluster.answered_by))
}

/// Drains a worker: what is not finished at the deadline is given to others.
async fn empty(session: &ApiSession, name: &str, deadline: Duration, context: &Context) -> Result<(), Failure> {
    let end = Instant::now() + deadline;
    session.client.drain(name, false).await.map_err(|error| session.failure(&error))?;
    loop {
        let running = running(session, name).await?;
        if running == 0 {
            return Ok(());
        }
        if Instant::now() >= end {
            context.say(format_args!("{} not finished in time, given to others", counted(running.into(), "unit")));
            return session.client.drain(name, true).await.map_err(|error| session.failure(&error));
        }
        tokio::time::sleep(LOOK_EVERY.min(end.saturating_duration_since(Instant::now()))).await;
    }
}

async fn running(session: &ApiSession, name: &str) -> Result<u32, Failure> {
    let cluster = session.client.cluster().await.map_err(|error| session.failure(&error))?;
    let node = cluster.nodes.into_iter().find(|node| node.name == name);
    let node = node.ok_or_else(|| Failure::new(ExitCode::Failure, format!("there is no node {}", clean(name))))?;
    Ok(node.load.map_or(0, |load| load.running))
}

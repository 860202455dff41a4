//! `pentora coordinator workers list`, also as `pentora nodes list`.

use clap::{Args, Subcommand};

use super::api_session::{ApiSession, NodeArgs};
use super::context::Context;
use super::table;
use super::watch::{View, json, show};
use crate::failure::Failure;

/// What can be done with workers.
#[derive(Debug, Subcommand)]
pub(super) enum ListCommand {
    /// Print every worker: id, status, region, load, uptime.
    List(ListArgs),
}

/// How a list is printed.
#[derive(Debug, Args)]
pub(super) struct ListArgs {
    /// Print JSON: a list with all fields.
    #[arg(long)]
    json: bool,
    /// Print again each second.
    #[arg(long)]
    watch: bool,
    #[command(flatten)]
    node: NodeArgs,
}

/// Carries the command out.
///
/// # Errors
/// No node answers, or it refuses.
pub(super) async fn run(command: ListCommand, context: &mut Context) -> Result<(), Failure> {
    let ListCommand::List(args) = command;
    let session = ApiSession::open(&args.node, context)?;
    let unicode = context.output.unicode;
    show(context, args.watch, async || {
        let workers = session.client.workers().await.map_err(|error| session.failure(&error))?;
        let text = if args.json { json(&workers) } else { table::workers(unicode, &workers) };
        Ok(View { text, last: false })
    })
    .await
}

//! `pentora nodes list|set`: the nodes as workers, and the cluster's word about one.

use clap::{Args, Subcommand};

use super::api_session::{ApiSession, NodeArgs};
use super::context::Context;
use super::list::ListArgs;
use super::output::clean;
use super::workers::{self, ListCommand};
use crate::document::PolicyRequest;
use crate::failure::{ExitCode, Failure};

/// What can be done with nodes.
#[derive(Debug, Subcommand)]
pub(super) enum NodesCommand {
    /// Print every node as a worker: id, status, region, load, uptime.
    #[command(before_help = "Examples:\n  pentora nodes list\n  pentora nodes list --watch")]
    List(ListArgs),
    /// Change what the cluster lets a node be; what the node says of itself only narrows it.
    #[command(before_help = "Examples:\n  pentora nodes set n3 --region eu --networks 10.9.0.0/16 --tags dmz,pci\n  \
                             pentora nodes set n3 --networks ''         no limit any more")]
    Set(Box<SetArgs>),
}

/// The cluster's word about a node; an empty value takes a limit away.
#[derive(Debug, Args)]
pub(super) struct SetArgs {
    /// Name of the node.
    #[arg(value_name = "NODE")]
    name: String,
    /// The most it may be.
    #[arg(long, value_parser = ["member", "scanner"])]
    role: Option<String>,
    /// Region it is in, whatever it says.
    #[arg(long)]
    region: Option<String>,
    /// Site it is at.
    #[arg(long)]
    site: Option<String>,
    /// Networks it may scan, as prefixes; what it says it reaches counts within them.
    #[arg(long, value_name = "CIDR")]
    networks: Option<String>,
    /// Tags it has, whatever it says.
    #[arg(long)]
    tags: Option<String>,
    /// Whether it comes and goes: it never votes, and is forgotten ten minutes after it went.
    #[arg(long, value_name = "BOOL")]
    ephemeral: Option<bool>,
    /// Whether results may be kept on it for others; no where --ephemeral true says nothing else.
    #[arg(long, value_name = "BOOL")]
    keeps_results: Option<bool>,
    #[command(flatten)]
    node: NodeArgs,
}

/// Carries the command out.
///
/// # Errors
/// No node answers, or it refuses.
pub(super) async fn run(command: NodesCommand, context: &mut Context) -> Result<(), Failure> {
    match command {
        NodesCommand::List(args) => workers::run(ListCommand::List(args), context).await,
        NodesCommand::Set(args) => set(*args, context).await,
    }
}

async fn set(args: SetArgs, context: &mut Context) -> Result<(), Failure> {
    let list = |text: Option<String>| text.map(|text| words(&text));
    let request = PolicyRequest {
        role: args.role,
        region: args.region,
        site: args.site,
        networks: list(args.networks),
        tags: list(args.tags),
        ephemeral: args.ephemeral,
        keeps_results: args.keeps_results,
    };
    if request == PolicyRequest::default() {
        return Err(Failure::new(ExitCode::Usage, "nothing is said of the node")
            .next("name what shall hold, such as --region eu or --networks 10.9.0.0/16"));
    }
    let session = ApiSession::open(&args.node, context)?;
    session.client.set_policy(&args.name, &request).await.map_err(|error| session.failure(&error))?;
    context.say(format_args!(
        "that holds for {} as soon as it hears of it; `pentora nodes list --json` shows it",
        clean(&args.name)
    ));
    Ok(())
}

/// The words between commas.
fn words(text: &str) -> Vec<String> {
    text.split(',').map(str::trim).filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_its_words_and_an_empty_one_has_none() {
        assert_eq!(words("a, b,,c"), ["a", "b", "c"]);
        assert!(words("").is_empty() && words(" , ").is_empty());
    }
}

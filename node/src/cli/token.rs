//! `pentora coordinator worker-token create|list|revoke`.

use clap::{Args, Subcommand};

use super::api_session::{ApiSession, NodeArgs, id};
use super::confirm::{YesArgs, confirm};
use super::context::Context;
use super::list::{ListArgs, list};
use super::output::clean;
use super::secret_file::SecretFileArgs;
use super::shown::ShownArgs;
use super::table::{Column, Tabular, or_nothing};
use crate::client::Client;
use crate::config::{DEFAULT_MESH_PORT, parse_duration};
use crate::document::{NodeDocument, TokenDocument, TokenRequest};
use crate::failure::Failure;

/// What can be done with join tokens.
#[derive(Debug, Subcommand)]
pub(super) enum TokenCommand {
    /// Make a token with which a node can join; it is printed alone, so that TOKEN=$(...) works.
    #[command(before_help = "Example:\n  TOKEN=$(pentora coordinator worker-token create --name us-east-worker)")]
    Create(Box<CreateArgs>),
    /// Print tokens without their secrets.
    #[command(before_help = "Example:\n  pentora coordinator worker-token list")]
    List(ListArgs),
    /// Make a token useless. Nodes that joined with it stay.
    #[command(before_help = "Example:\n  pentora coordinator worker-token revoke 0102030405060708 --yes")]
    Revoke(RevokeArgs),
}

/// What a token allows.
#[derive(Debug, Args)]
pub(super) struct CreateArgs {
    /// What it is called in lists.
    #[arg(long)]
    name: String,
    /// How long it is valid [default: 24h].
    #[arg(long, value_name = "DURATION", value_parser = lifetime)]
    ttl: Option<std::time::Duration>,
    /// How often it may be used [default: 1].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    uses: Option<u32>,
    /// What a node that joins with it may become [default: member].
    #[arg(long, value_parser = ["member", "scanner"])]
    role: Option<String>,
    /// Region of the node that joins with it.
    #[arg(long)]
    region: Option<String>,
    /// Networks that node may scan, as prefixes.
    #[arg(long, value_name = "CIDR", value_delimiter = ',')]
    networks: Vec<ipnet::IpNet>,
    /// Site of that node.
    #[arg(long)]
    site: Option<String>,
    /// Tags of that node, whatever it says.
    #[arg(long, value_name = "TAG", value_delimiter = ',')]
    tags: Vec<String>,
    /// That node comes and goes: it never votes, and is forgotten ten minutes after it went.
    #[arg(long)]
    ephemeral: bool,
    /// Whether results may be kept on that node for others [default: true, false with --ephemeral].
    #[arg(long, value_name = "BOOL")]
    keeps_results: Option<bool>,
    #[command(flatten)]
    file: SecretFileArgs,
    #[command(flatten)]
    form: ShownArgs,
    #[command(flatten)]
    node: NodeArgs,
}

/// Which token.
#[derive(Debug, Args)]
pub(super) struct RevokeArgs {
    /// Its id, from `list`.
    #[arg(value_parser = id)]
    token_id: String,
    #[command(flatten)]
    yes: YesArgs,
    #[command(flatten)]
    node: NodeArgs,
}

impl Tabular for TokenDocument {
    fn columns() -> Vec<Column<Self>> {
        vec![
            Column::new("Token ID", |token| token.token_id.clone()),
            Column::new("Name", |token| token.name.clone()),
            Column::new("Status", |token| token.status.clone()),
            Column::new("Uses left", |token| token.uses_left.to_string()),
            Column::new("Expires", |token| token.expires_at.clone()),
            Column::new("Role", |token| or_nothing(token.role.as_ref())),
            Column::new("Region", |token| or_nothing(token.region.as_ref())),
            Column::new("Networks", |token| {
                if token.networks.is_empty() { "any".to_owned() } else { token.networks.join(", ") }
            }),
        ]
    }
}

/// How long a token is valid: longer than nothing, or nobody could ever use it.
///
/// # Errors
/// What is wrong with the text.
pub(super) fn lifetime(text: &str) -> Result<std::time::Duration, String> {
    let duration = parse_duration(text)?;
    if duration.is_zero() { Err("a token that is valid for no time is of no use".to_owned()) } else { Ok(duration) }
}

/// Carries the command out.
///
/// # Errors
/// No node answers, or it refuses.
pub(super) async fn run(command: TokenCommand, context: &mut Context) -> Result<(), Failure> {
    match command {
        TokenCommand::Create(args) => create(*args, context).await,
        TokenCommand::List(args) => list(&args, context, Client::tokens).await,
        TokenCommand::Revoke(args) => {
            let session = ApiSession::open(&args.node, context)?;
            confirm(args.yes, &format!("nobody can join with the token {} any more", args.token_id), context)?;
            session.client.revoke_token(&args.token_id).await.map_err(|error| session.failure(&error))?;
            context.say(format_args!("{} is revoked", args.token_id));
            Ok(())
        }
    }
}

async fn create(args: CreateArgs, context: &mut Context) -> Result<(), Failure> {
    args.file.may_be_written()?;
    let session = ApiSession::open(&args.node, context)?;
    let request = TokenRequest {
        name: args.name,
        ttl_seconds: args.ttl.map(|ttl| ttl.as_secs().max(1)),
        uses: args.uses,
        role: args.role,
        region: args.region,
        networks: args.networks.iter().map(ToString::to_string).collect(),
        site: args.site,
        tags: args.tags,
        ephemeral: args.ephemeral,
        keeps_results: args.keeps_results,
    };
    let created = session.client.create_token(&request).await.map_err(|error| session.failure(&error))?;
    if let Some(text) = args.form.data(&created) {
        return context.output.print(&text);
    }
    let (token, lost) =
        (clean(&created.token), "revoke it (pentora coordinator worker-token list, revoke), and make another");
    if !args.file.written(&token, lost)? {
        context.output.print(&format!("{token}\n"))?;
    }
    // Whether it is told or not, the token is made.
    let members = session.client.cluster().await.map(|cluster| cluster.nodes).unwrap_or_default();
    context.say(format_args!(
        "valid until {}; whoever holds it can join: hand it over in a file, then on the new node\n  \
         pentora-node join --peer {} --token-file FILE --name {}",
        clean(&created.expires_at),
        clean(&peer_of(&members)),
        clean(&created.name)
    ));
    Ok(())
}

/// Where a new node finds the mesh: a member of it, or where none says where it is, how that is written.
fn peer_of(nodes: &[NodeDocument]) -> String {
    let member = nodes.iter().find(|node| node.role == "voter" && node.address.is_some());
    member.and_then(|node| node.address.clone()).unwrap_or_else(|| format!("HOST:{DEFAULT_MESH_PORT}"))
}

#[cfg(test)]
mod tests {
    use super::super::table::cells;
    use super::*;

    #[test]
    fn a_token_is_valid_for_longer_than_nothing() {
        assert_eq!(lifetime("1s"), Ok(std::time::Duration::from_secs(1)));
        assert!(lifetime("0s").unwrap_err().contains("no time") && lifetime("soon").is_err());
    }

    #[test]
    fn whoever_joins_is_told_a_member_with_the_port_that_its_mesh_has() {
        let node = |role: &str, address: Option<&str>| NodeDocument {
            role: role.into(),
            address: address.map(str::to_owned),
            ..NodeDocument::default()
        };
        let nodes = [node("scanner", Some("10.0.0.9:1")), node("voter", None), node("voter", Some("10.0.0.1:17400"))];
        assert_eq!(peer_of(&nodes), "10.0.0.1:17400");
        assert_eq!(peer_of(&nodes[..2]), "HOST:7400");
    }

    #[test]
    fn a_token_is_listed_with_what_it_allows() {
        let token = TokenDocument {
            token_id: "tok1".into(),
            name: "n2".into(),
            created_at: "2025-07-10T12:00:00Z".into(),
            expires_at: "2025-07-11T12:00:00Z".into(),
            uses_left: 1,
            status: "valid".into(),
            role: Some("auto".into()),
            region: None,
            networks: Vec::new(),
            site: None,
            tags: Vec::new(),
            ephemeral: false,
            keeps_results: Some(true),
        };
        let limited = TokenDocument { networks: vec!["10.0.0.0/8".into(), "fd00::/8".into()], ..token.clone() };
        let heads = ["Token ID", "Name", "Status", "Uses left", "Expires", "Role", "Region", "Networks"];
        let row = |networks| ["tok1", "n2", "valid", "1", "2025-07-11T12:00:00Z", "auto", "-", networks];
        assert_eq!(cells(&[token, limited]), [heads, row("any"), row("10.0.0.0/8, fd00::/8")]);
    }
}

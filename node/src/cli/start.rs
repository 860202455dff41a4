//! `start`, `join`, `server start` and `worker start`: from flags, environment and file to a [`StartPlan`].

use std::io::Read;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};

use super::context::Context;
use crate::client::locate::{checked_token, read_token};
use crate::config::{FlagValue, Loaded, NodeConfig, Origin, Purpose, Raw, Secret, StartAction, StartPlan, remembered};
use crate::failure::{ExitCode, Failure};

/// Longest token taken from standard input.
const TOKEN_BYTES_MAX: u64 = 64 * 1024;

const START_EXAMPLES: &str = "\
Examples:
  pentora-node start --init --name n1 --data-dir /var/lib/pentora --mesh-listen 10.0.0.1:7400
  pentora-node start                             again, after the first time
  pentora-node start --config /etc/pentora/pentora.yaml
";

const JOIN_EXAMPLES: &str = "\
Examples:
  pentora-node join --peer 10.0.0.1:7400 --token-file token --name n2 --data-dir /var/lib/pentora
  WORKER_TOKEN=... pentora-node join --peer 10.0.0.1:7400
  pentora coordinator worker-token create --name n2 | ssh n2 pentora-node join --peer 10.0.0.1:7400 --token-file -
";

/// `pentora-node start`.
#[derive(Debug, Default, Args)]
#[command(before_help = START_EXAMPLES)]
pub(super) struct StartArgs {
    /// Create a new cluster when the data directory holds no node yet.
    #[arg(long)]
    init: bool,
    #[command(flatten)]
    node: NodeFlags,
}

/// `pentora-node join`.
#[derive(Debug, Default, Args)]
#[command(before_help = JOIN_EXAMPLES)]
pub(super) struct JoinArgs {
    #[command(flatten)]
    node: NodeFlags,
}

/// `pentora server ...`.
#[derive(Debug, Subcommand)]
pub(super) enum ServerCommand {
    /// Start a node that may lead; the first time, without a node to join, it begins a new cluster.
    Start(Box<ServerStartArgs>),
}

/// `pentora server start`.
#[derive(Debug, Args)]
#[command(before_help = "Example:\n  pentora server start --mode coordinator")]
pub(super) struct ServerStartArgs {
    /// What the node is.
    #[arg(long, value_parser = ["coordinator"], default_value = "coordinator")]
    mode: String,
    #[command(flatten)]
    start: StartArgs,
}

/// `pentora worker ...`.
#[derive(Debug, Subcommand)]
pub(super) enum WorkerCommand {
    /// Start a node that scans and never leads; the first time it joins with its token.
    #[command(before_help = "Examples:\n  pentora worker start --config worker.yaml\n  \
                             COORDINATOR_URL=https://n1 WORKER_TOKEN=... pentora worker start")]
    Start(Box<JoinArgs>),
}

/// Flags that stand for keys of the configuration.
#[derive(Debug, Default, Args)]
struct NodeFlags {
    /// What people call this node [default: the host name].
    #[arg(long)]
    name: Option<String>,
    /// Where identity, log, state and results are kept.
    #[arg(long, value_name = "DIR")]
    data_dir: Option<String>,
    /// Address of the mesh [default: 0.0.0.0:7400].
    #[arg(long, value_name = "ADDRESS")]
    mesh_listen: Option<String>,
    /// Address under which other nodes reach this one (repeatable).
    #[arg(long, value_name = "ADDRESS")]
    mesh_advertise: Vec<String>,
    /// Address of the HTTP API [default: 127.0.0.1:8080].
    #[arg(long, value_name = "ADDRESS")]
    api_listen: Option<String>,
    /// Timers of the leader election: lan, wan, fast.
    #[arg(long)]
    profile: Option<String>,
    /// Node to join through (repeatable).
    #[arg(long, value_name = "ADDRESS")]
    peer: Vec<String>,
    /// Join token; - reads standard input. Prefer --token-file: other users see a command line.
    #[arg(long)]
    token: Option<String>,
    /// File with the join token; - reads standard input [env: WORKER_TOKEN holds the token itself].
    #[arg(long, value_name = "FILE", conflicts_with = "token")]
    token_file: Option<String>,
    /// Region label.
    #[arg(long)]
    region: Option<String>,
    /// Tag that jobs may prefer or require (repeatable).
    #[arg(long)]
    tag: Vec<String>,
    /// Network this node can reach, as a prefix, or auto (repeatable).
    #[arg(long, value_name = "CIDR")]
    network_access: Vec<String>,
}

impl NodeFlags {
    fn values(&self) -> Vec<FlagValue> {
        let one = |key, flag, value: &Option<String>| {
            value.as_ref().map(|value| FlagValue { key, flag, value: Raw::Text(value.clone()) })
        };
        let many = |key, flag, values: &[String]| {
            (!values.is_empty()).then(|| FlagValue { key, flag, value: Raw::Text(values.join(",")) })
        };
        [
            one("node.name", "--name", &self.name),
            one("node.data_dir", "--data-dir", &self.data_dir),
            one("mesh.listen", "--mesh-listen", &self.mesh_listen),
            many("mesh.advertise", "--mesh-advertise", &self.mesh_advertise),
            one("server.api.listen", "--api-listen", &self.api_listen),
            one("mesh.profile", "--profile", &self.profile),
            many("mesh.peers", "--peer", &self.peer),
            one("worker.token", "--token", &self.token),
            one("worker.token_file", "--token-file", &self.token_file),
            one("worker.region", "--region", &self.region),
            many("worker.tags", "--tag", &self.tag),
            many("worker.network_access", "--network-access", &self.network_access),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}

/// Which command asked for a node: they differ only in what a data directory without a node means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verb {
    Start,
    Join,
    Server,
    Worker,
}

/// `start`.
///
/// # Errors
/// Exit 8 for a wrong configuration, 2 where it is not said what to do the first time.
pub(super) fn start(args: StartArgs, context: &Context) -> Result<StartPlan, Failure> {
    prepared(Verb::Start, &args.node, init_flag(args.init).into_iter().collect(), context)
}

/// `join`.
///
/// # Errors
/// As [`start`].
pub(super) fn join(args: JoinArgs, context: &Context) -> Result<StartPlan, Failure> {
    prepared(Verb::Join, &args.node, Vec::new(), context)
}

/// `server start`.
///
/// # Errors
/// As [`start`].
pub(super) fn server(command: ServerCommand, context: &Context) -> Result<StartPlan, Failure> {
    let ServerCommand::Start(args) = command;
    let mode = FlagValue { key: "server.mode", flag: "--mode", value: Raw::Text(args.mode) };
    let flags = init_flag(args.start.init).into_iter().chain([mode]).collect();
    prepared(Verb::Server, &args.start.node, flags, context)
}

/// `worker start`.
///
/// # Errors
/// As [`start`].
pub(super) fn worker(command: WorkerCommand, context: &Context) -> Result<StartPlan, Failure> {
    let WorkerCommand::Start(args) = command;
    let mode = FlagValue { key: "server.mode", flag: "worker start", value: Raw::Text("worker".to_owned()) };
    prepared(Verb::Worker, &args.node, vec![mode], context)
}

fn init_flag(init: bool) -> Option<FlagValue> {
    init.then(|| FlagValue { key: "node.init", flag: "--init", value: Raw::Text("true".to_owned()) })
}

/// Loads the configuration, tells what is worth telling, fetches the token and decides.
fn prepared(verb: Verb, flags: &NodeFlags, more: Vec<FlagValue>, context: &Context) -> Result<StartPlan, Failure> {
    let loaded = context.load_with_memory(Purpose::Node, flags.values().into_iter().chain(more).collect())?;
    for message in loaded.warnings.iter().chain(&loaded.notes) {
        tracing::warn!("{message}");
    }
    let fresh = is_empty(&loaded.config.data_dir);
    let token = match token(&loaded, context) {
        Ok(token) => token,
        Err(failure) if fresh => return Err(failure),
        // A token is used once; its file may well be gone when the node starts again.
        Err(failure) => {
            tracing::warn!("{}", failure.what);
            None
        }
    };
    let action = action(verb, &loaded.config, token, fresh)?;
    let remembered = remembered(&loaded);
    Ok(StartPlan { config: loaded.config, action, remembered })
}

/// Whether nothing is kept in `directory` yet. One that cannot be read counts as in use: opening it says why.
fn is_empty(directory: &Path) -> bool {
    match std::fs::read_dir(directory) {
        Ok(mut entries) => entries.next().is_none(),
        Err(error) => error.kind() == std::io::ErrorKind::NotFound,
    }
}

/// The join token, wherever it is said to be.
fn token(loaded: &Loaded, context: &Context) -> Result<Option<Secret>, Failure> {
    let worker = &loaded.config.worker;
    let unusable = |place: &str, reason: String| {
        Failure::new(ExitCode::Config, format!("the join token from {place} cannot be used: {reason}"))
            .next("make one on a member: pentora coordinator worker-token create --name N > token")
    };
    let from_stdin = |text: &str| text == "-";
    let (place, token) = match (&worker.token, &worker.token_file) {
        (Some(token), _) if from_stdin(token.expose()) => ("standard input".to_owned(), stdin_token()),
        (Some(token), _) => {
            let origin = loaded.origin("worker.token");
            if matches!(origin, Some(Origin::Flag(_))) {
                context.say(
                    "hint: other users of this machine can see a token on a command line: --token-file F is safer",
                );
            }
            (origin.map_or_else(String::new, Origin::to_string), checked_token(token.expose()))
        }
        (None, Some(path)) if path == Path::new("-") => ("standard input".to_owned(), stdin_token()),
        (None, Some(path)) => (path.display().to_string(), read_token(&PathBuf::from(path))),
        (None, None) => return Ok(None),
    };
    token.map(Some).map_err(|reason| unusable(&place, reason))
}

fn stdin_token() -> Result<Secret, String> {
    let mut text = String::new();
    let read = std::io::stdin().take(TOKEN_BYTES_MAX).read_to_string(&mut text);
    read.map_err(|error| error.to_string())?;
    checked_token(&text)
}

/// What to do where the data directory holds no node. `fresh` says that it surely holds none, so that what is missing
/// can be named before anything is bound.
fn action(verb: Verb, config: &NodeConfig, token: Option<Secret>, fresh: bool) -> Result<StartAction, Failure> {
    let peers = config.mesh.peers.clone();
    let no_peer = || {
        Failure::new(ExitCode::Usage, "there is a join token, and no node to join through")
            .next("add --peer HOST:7400 (or mesh.peers, worker.coordinator, COORDINATOR_URL)")
    };
    let no_token = || {
        Failure::new(ExitCode::Usage, "there is a node to join through, and no join token")
            .next("make one on a member: `pentora coordinator worker-token create --name N`, then --token-file F or WORKER_TOKEN")
    };
    match (verb, token) {
        (Verb::Start | Verb::Server, _) if config.init => Ok(StartAction::Init),
        (Verb::Join | Verb::Worker, _) if config.init => {
            Err(Failure::new(ExitCode::Config, "node.init asks for a new cluster, and this command joins one")
                .next("remove node.init, or use `pentora-node start`"))
        }
        (_, Some(token)) if !peers.is_empty() => Ok(StartAction::Join { peers, token }),
        (Verb::Join, Some(_)) => Err(no_peer()),
        (_, Some(_)) if fresh => Err(no_peer()),
        (Verb::Join, None) => Err(no_token()),
        (_, None) if fresh && !peers.is_empty() => Err(no_token()),
        (Verb::Server, None) if peers.is_empty() => Ok(StartAction::Init),
        _ if fresh => Err(Failure::new(ExitCode::Usage, format!("{} holds no node yet", config.data_dir.display()))
            .next(
                "begin a cluster with `pentora-node start --init`, or join one with \
             `pentora-node join --peer HOST:7400 --token-file F`",
            )),
        _ => Ok(StartAction::Resume),
    }
}

#[cfg(test)]
#[path = "start_test.rs"]
mod tests;

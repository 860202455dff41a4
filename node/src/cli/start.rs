//! `start`, `join`, `server start` and `worker start`: from flags, environment and file to a [`StartPlan`].

use std::fs::File;
use std::io::Read;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use zeroize::Zeroizing;

use super::airgap;
use super::context::Context;
use crate::client::locate::{checked_token, read_token};
use crate::config::{
    FlagValue, Loaded, NodeConfig, Origin, Purpose, Raw, ReadFrom, Secret, Sources, StartAction, StartPlan, load,
    remembered,
};
use crate::data_dir::{is_kept, is_read_by_others};
use crate::failure::{ExitCode, Failure};

/// Longest token taken from standard input.
const TOKEN_BYTES_MAX: u64 = 64 * 1024;

const START_EXAMPLES: &str = "\
Examples:
  pentora-node start --init --name n1 --data-dir /var/lib/pentora --mesh-listen 10.0.0.1:7400
  pentora-node start                             again, after the first time
  pentora-node start --config /etc/pentora/pentora.yaml
  pentora-node start --init --restore pentora.backup --name n1     a new cluster with what is in a backup
";

const RESTORE_EXAMPLES: &str = "\
Example:
  pentora cluster restore pentora.backup --name n1 --data-dir /var/lib/pentora --mesh-listen 10.0.0.1:7400
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
    /// Begin the new cluster with what is in a backup: jobs, policy, feeds, results.
    #[arg(long, value_name = "FILE", requires = "init")]
    restore: Option<PathBuf>,
    #[command(flatten)]
    node: NodeFlags,
}

/// `pentora cluster restore`.
#[derive(Debug, Default, Args)]
#[command(before_help = RESTORE_EXAMPLES)]
pub(super) struct RestoreArgs {
    /// The backup, as `pentora cluster snapshot save` wrote it.
    #[arg(value_name = "FILE")]
    file: PathBuf,
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
    /// Write the results of a worker without a network to a file.
    Export(airgap::ResultsOutArgs),
    /// Take in a file of orders for a worker without a network.
    Import(airgap::OrdersInArgs),
    /// Print what a worker without a network is to do and has done, and its key.
    Orders(airgap::OrdersArgs),
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
    /// Node to join through, or to find the others by where no leader is known (repeatable).
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
    let plan = prepared(Verb::Start, &args.node, init_flag(args.init).into_iter().collect(), context)?;
    Ok(StartPlan { restore: args.restore, ..plan })
}

/// `cluster restore`: a new cluster with what is in a backup, of which this is the first node.
///
/// # Errors
/// As [`start`]; exit 4 where the data directory holds a node, which would go on as it is.
pub(super) fn restore(args: RestoreArgs, context: &Context) -> Result<StartPlan, Failure> {
    let plan = prepared(Verb::Start, &args.node, init_flag(true).into_iter().collect(), context)?;
    let directory = &plan.config.data_dir;
    if directory.join("node.id").exists() {
        return Err(Failure::new(
            ExitCode::Refused,
            format!("{} is the data directory of a node", directory.display()),
        )
        .because("a backup begins a new cluster")
        .next("name an empty --data-dir"));
    }
    Ok(StartPlan { restore: Some(args.file), ..plan })
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
    let plan = prepared(Verb::Server, &args.start.node, flags, context)?;
    Ok(StartPlan { restore: args.start.restore, ..plan })
}

/// `worker start`.
///
/// # Errors
/// As [`start`].
pub(super) fn worker(args: JoinArgs, context: &Context) -> Result<StartPlan, Failure> {
    let mode = FlagValue { key: "server.mode", flag: "worker start", value: Raw::Text("worker".to_owned()) };
    prepared(Verb::Worker, &args.node, vec![mode], context)
}

fn init_flag(init: bool) -> Option<FlagValue> {
    init.then(|| FlagValue { key: "node.init", flag: "--init", value: Raw::Text("true".to_owned()) })
}

/// Loads the configuration, tells what is worth telling, fetches the token and decides.
fn prepared(verb: Verb, flags: &NodeFlags, more: Vec<FlagValue>, context: &Context) -> Result<StartPlan, Failure> {
    let sources = context.sources_with_memory(Purpose::Node, flags.values().into_iter().chain(more).collect())?;
    let mut loaded = load(&sources)?;
    for message in &loaded.warnings {
        tracing::warn!("{message}");
    }
    look_at_files(&sources, &loaded)?;
    let fresh = is_empty(&loaded.config.data_dir);
    let token = match token(&mut loaded, context) {
        Ok(token) => token,
        Err(failure) if fresh => return Err(failure),
        // A token is used once; its file may well be gone when the node starts again.
        Err(failure) => {
            tracing::warn!("{}", failure.what);
            None
        }
    };
    let action = if loaded.config.worker.standalone {
        standalone(verb, token.as_ref())?
    } else {
        action(verb, &loaded.config, token, fresh)?
    };
    let remembered = remembered(&loaded);
    let read_from = ReadFrom::of(sources, &loaded);
    Ok(StartPlan { config: loaded.config, action, restore: None, read_from, remembered })
}

/// Refuses files that anybody else on this machine may change: whose orders a node takes, what it joins, and whom it believes to be the one
/// that it joins, stands in them. A secret that
/// everybody reads is told.
fn look_at_files(sources: &Sources, loaded: &Loaded) -> Result<(), Failure> {
    let written = sources.file.as_ref().map(|file| PathBuf::from(&file.name));
    let tokens = [&loaded.config.worker.token_file, &loaded.config.client.token_file];
    let mut tokens: Vec<PathBuf> =
        tokens.into_iter().flatten().filter(|path| *path != Path::new("-")).cloned().collect();
    let authorities = [&loaded.config.client.ca_file, &loaded.config.telemetry.ca_file];
    for path in written.iter().chain(&tokens).chain(authorities.into_iter().flatten()) {
        is_kept(path)?;
    }
    // A token may stand in the file itself.
    tokens.extend(written.filter(|_| matches!(loaded.origin("worker.token"), Some(Origin::File(_)))));
    for path in tokens.iter().filter(|path| is_read_by_others(path)) {
        let path = path.display();
        tracing::warn!("everybody on this machine can read the token in {path}; for its owner alone: chmod 600 {path}");
    }
    Ok(())
}

/// Whether nothing is kept in `directory` yet. One that cannot be read counts as in use: opening it says why.
fn is_empty(directory: &Path) -> bool {
    match std::fs::read_dir(directory) {
        Ok(mut entries) => entries.next().is_none(),
        Err(error) => error.kind() == std::io::ErrorKind::NotFound,
    }
}

/// The join token, wherever it is said to be. What was loaded has it no more.
fn token(loaded: &mut Loaded, context: &Context) -> Result<Option<Secret>, Failure> {
    let said = loaded.config.worker.token.take();
    let worker = &loaded.config.worker;
    let unusable = |place: &str, reason: String| {
        Failure::new(ExitCode::Config, format!("the join token from {place} cannot be used: {reason}"))
            .next("make one on a member: pentora coordinator worker-token create --name N > token")
    };
    let from_stdin = |text: &str| text == "-";
    let (place, token) = match (&said, &worker.token_file) {
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
    let mut text = Zeroizing::new(String::new());
    // Not through the library's own standard input, whose buffer stays as long as the process.
    let stdin = std::io::stdin().as_fd().try_clone_to_owned().map(File::from);
    let read = stdin.and_then(|stdin| stdin.take(TOKEN_BYTES_MAX).read_to_string(&mut text));
    read.map_err(|error| error.to_string())?;
    checked_token(&text)
}

/// A worker without a mesh opens no port, whatever command starts it; what asks for a mesh is refused.
fn standalone(verb: Verb, token: Option<&Secret>) -> Result<StartAction, Failure> {
    if matches!(verb, Verb::Join | Verb::Server) {
        let what = "this configuration is a standalone worker's, which opens no port and joins no cluster";
        return Err(Failure::new(ExitCode::Config, what)
            .because("worker.mode is standalone, or worker.offline is true")
            .next("start it with `pentora worker start`, or set worker.mode: cluster and worker.offline: false"));
    }
    if token.is_some() {
        tracing::warn!("the join token is not used: a standalone worker joins no cluster");
    }
    Ok(StartAction::Standalone)
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
        // A node that is in a cluster finds its members at these addresses, too, and has no use for the wish.
        (Verb::Start | Verb::Server, _) if config.init && fresh && !peers.is_empty() => {
            Err(Failure::new(ExitCode::Config, "a node either creates a cluster or joins one")
                .next("remove node.init (--init), or the addresses to join through (mesh.peers, --peer)"))
        }
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

//! The command line: one program under two names, `pentora` and `pentora-node`.
//!
//! A command parses what it was given, finds a node, asks it through `client`, and prints; what wants a node of this
//! process says so (`Next`), and `dispatch` starts it. Data goes to standard output, everything else to standard error,
//! and the exit code says how it ended ([`ExitCode`]). No command decides anything about a scan: that is the node's part,
//! in the same code for the embedded one.

mod api_session;
mod client_failure;
mod cluster;
mod completions;
mod config;
mod context;
mod feed;
mod findings;
mod follow;
mod interrupt;
mod job;
mod list;
mod logging;
mod man;
mod output;
mod progress;
mod results;
mod scan;
mod start;
mod status;
mod table;
mod token;
mod version;
mod watch;
mod workers;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use self::context::{Context, Global};
pub(crate) use self::scan::LocalScan;
use crate::config::StartPlan;
use crate::embedded::EmbeddedOptions;
use crate::failure::{ExitCode, Failure};

const EXAMPLES: &str = "\
Examples:
  pentora scan 192.168.1.0/24 --ports 22,80,443          scan from this machine, no set-up needed
  pentora-node start --init --name n1                    begin a mesh
  pentora coordinator worker-token create --name n2      a token for the next node
  pentora-node join --peer 10.0.0.1:7400 --token-file t  join it
  pentora scan 10.0.0.0/16 --detach                      submit to the mesh, through any node
  pentora job status job-abc123                          see how far it is
  pentora cluster status                                 see who leads and who votes
";

/// Distributed network scanner: scans from this machine, or as a mesh of nodes that survives the loss of any of them.
#[derive(Debug, Parser)]
#[command(name = "pentora", version, before_help = EXAMPLES, arg_required_else_help = true)]
#[command(
    after_help = "Exit codes: 0 ok, 1 failure, 2 usage, 3 findings at or above --fail-on, 4 refused, 5 no node or no quorum, \
                        6 job partial or failed, 7 cancelled, 8 bad configuration."
)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

/// Commands whose function exists; others are added with it.
#[derive(Debug, Subcommand)]
enum Command {
    /// Scan targets and print what was found.
    Scan(Box<scan::ScanArgs>),
    /// Look at jobs and stop them.
    #[command(subcommand)]
    Job(job::JobCommand),
    /// List the cluster's nodes as workers.
    #[command(subcommand)]
    Nodes(workers::ListCommand),
    /// Manage workers and join tokens.
    #[command(subcommand)]
    Coordinator(CoordinatorCommand),
    /// Look at the cluster and move its leadership.
    #[command(subcommand)]
    Cluster(cluster::ClusterCommand),
    /// Start a node.
    Start(Box<start::StartArgs>),
    /// Join a cluster as a new node, with a token.
    Join(Box<start::JoinArgs>),
    /// Start a node that may lead (the same as `start`).
    #[command(subcommand)]
    Server(start::ServerCommand),
    /// Start a node that only scans (the same as `start` with `server.mode: worker`).
    #[command(subcommand)]
    Worker(start::WorkerCommand),
    /// List weaknesses that were found, and say why each is one.
    #[command(subcommand)]
    Findings(findings::FindingsCommand),
    /// Import and list what services are matched with: vulnerabilities and fingerprints.
    #[command(subcommand)]
    Feed(feed::FeedCommand),
    /// Check, show and describe the configuration.
    #[command(subcommand)]
    Config(config::ConfigCommand),
    /// Print completions for a shell.
    Completions(completions::CompletionsArgs),
    /// Print a page of the manual, or write all of them.
    Man(man::ManArgs),
    /// Print the version.
    Version(version::VersionArgs),
}

/// `pentora coordinator ...`.
#[derive(Debug, Subcommand)]
enum CoordinatorCommand {
    /// List workers.
    #[command(subcommand)]
    Workers(workers::ListCommand),
    /// Make, list and revoke join tokens.
    #[command(subcommand)]
    WorkerToken(token::TokenCommand),
}

/// A command line that was understood.
pub(crate) struct Invocation {
    program: &'static str,
    command: Command,
    context: Context,
}

/// What a command leaves to be done by whoever starts nodes.
pub(crate) enum Next {
    /// Nothing: it is carried out.
    Done,
    /// Start a node and run it until a signal ends it.
    RunNode(Box<StartPlan>),
    /// Start a node inside this process, and scan with it.
    ScanHere {
        /// How to start it.
        options: EmbeddedOptions,
        /// The scan.
        scan: Box<LocalScan>,
    },
}

impl Invocation {
    /// Reads the process's arguments as those of `program` (`pentora` or `pentora-node`).
    ///
    /// # Errors
    /// The exit code, where they are wrong or only ask for help; what there is to say has been said.
    pub(crate) fn parse(program: &'static str) -> Result<Self, std::process::ExitCode> {
        let parsed = Cli::command().name(program).try_get_matches().and_then(|matches| Cli::from_arg_matches(&matches));
        match parsed {
            Ok(Cli { global, command }) => Ok(Self { program, command, context: Context::of_process(global) }),
            Err(error) => {
                // Help to a closed pipe is no failure either.
                drop(error.print());
                Err(std::process::ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(ExitCode::Usage as u8)))
            }
        }
    }

    /// Carries the command out, but for what needs a node of this process.
    ///
    /// # Errors
    /// Every exit code but 0; see [`ExitCode`].
    pub(crate) async fn run(self) -> Result<Next, Failure> {
        let Self { program, command, mut context } = self;
        let is_node = matches!(command, Command::Start(_) | Command::Join(_) | Command::Server(_) | Command::Worker(_));
        logging::init(&context, is_node);
        let run_node = |plan| Next::RunNode(Box::new(plan));
        let done = |()| Next::Done;
        match command {
            Command::Scan(args) => scan::run(*args, context).await,
            Command::Job(command) => job::run(command, &mut context).await.map(done),
            Command::Nodes(command) | Command::Coordinator(CoordinatorCommand::Workers(command)) => {
                workers::run(command, &mut context).await.map(done)
            }
            Command::Coordinator(CoordinatorCommand::WorkerToken(command)) => {
                token::run(command, &mut context).await.map(done)
            }
            Command::Cluster(command) => cluster::run(command, &mut context).await.map(done),
            Command::Start(args) => start::start(*args, &context).map(run_node),
            Command::Join(args) => start::join(*args, &context).map(run_node),
            Command::Server(command) => start::server(command, &context).map(run_node),
            Command::Worker(command) => start::worker(command, &context).map(run_node),
            Command::Findings(command) => findings::run(command, &mut context).await.map(done),
            Command::Feed(command) => feed::run(command, &mut context).await.map(done),
            Command::Config(command) => config::run(command, &mut context).map(done),
            Command::Completions(args) => completions::run(&args, program, &mut Cli::command(), &mut context).map(done),
            Command::Man(args) => man::run(&args, Cli::command(), &mut context).map(done),
            Command::Version(args) => version::run(&args, &mut context).map(done),
        }
    }
}

#[cfg(test)]
#[path = "cli/cli_test.rs"]
mod tests;

//! The command line: one program under two names, `pentora` and `pentora-node`.
//!
//! A command parses what it was given, finds a node (or starts one inside this process), asks it through `client`,
//! and prints. Data goes to standard output, everything else to standard error, and the exit code says how it ended
//! ([`ExitCode`]). No command decides anything about a scan: that is the node's part, in the same code for the
//! embedded one.

mod arenas;
mod cluster;
mod completions;
mod config;
mod context;
mod failure;
mod feed;
mod findings;
mod follow;
mod interrupt;
mod job;
mod logging;
mod man;
mod output;
mod progress;
mod results;
mod scan;
mod session;
mod start;
mod status;
mod table;
mod token;
mod version;
mod watch;
mod workers;

use std::io::Write;
use std::time::Duration;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use self::context::{Context, Global};
pub use self::failure::{ExitCode, Failure};

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

/// Time for tasks to end after a command is done; what is durable is so before its answer.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(5);

/// Runs the program as `program` (`pentora` or `pentora-node`) with the process's arguments.
#[must_use]
pub fn main(program: &'static str) -> std::process::ExitCode {
    arenas::limit();
    let parsed = Cli::command().name(program).try_get_matches().and_then(|matches| Cli::from_arg_matches(&matches));
    let cli = match parsed {
        Ok(cli) => cli,
        Err(error) => {
            // Help to a closed pipe is no failure either.
            drop(error.print());
            return std::process::ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(ExitCode::Usage as u8));
        }
    };
    let mut context = Context::of_process(cli.global);
    match run(program, cli.command, &mut context) {
        Ok(()) => ExitCode::Ok.into(),
        Err(failure) => {
            if !failure.is_quiet() {
                // With standard error gone there is nobody left to tell.
                drop(writeln!(std::io::stderr(), "error: {failure}"));
            }
            failure.exit.into()
        }
    }
}

fn run(program: &'static str, command: Command, context: &mut Context) -> Result<(), Failure> {
    logging::init(
        context,
        matches!(command, Command::Start(_) | Command::Join(_) | Command::Server(_) | Command::Worker(_)),
    );
    match command {
        Command::Scan(args) => block_on(scan::run(*args, context)),
        Command::Job(command) => block_on(job::run(command, context)),
        Command::Nodes(command) | Command::Coordinator(CoordinatorCommand::Workers(command)) => {
            block_on(workers::run(command, context))
        }
        Command::Coordinator(CoordinatorCommand::WorkerToken(command)) => block_on(token::run(command, context)),
        Command::Cluster(command) => block_on(cluster::run(command, context)),
        Command::Start(args) => block_on(crate::app::run(start::start(*args, context)?)),
        Command::Join(args) => block_on(crate::app::run(start::join(*args, context)?)),
        Command::Server(command) => block_on(crate::app::run(start::server(command, context)?)),
        Command::Worker(command) => block_on(crate::app::run(start::worker(command, context)?)),
        Command::Findings(command) => block_on(findings::run(command, context)),
        Command::Feed(command) => block_on(feed::run(command, context)),
        Command::Config(command) => config::run(command, context),
        Command::Completions(args) => completions::run(&args, program, &mut Cli::command(), context),
        Command::Man(args) => man::run(&args, Cli::command(), context),
        Command::Version(args) => version::run(&args, context),
    }
}

/// Runs one future on a runtime of its own, and does not wait for tasks that hang.
fn block_on(future: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(ExitCode::Failure, format!("the runtime cannot be started: {error}")))?;
    let result = runtime.block_on(future);
    runtime.shutdown_timeout(SHUTDOWN_TIMEOUT);
    result
}

#[cfg(test)]
#[path = "cli/cli_test.rs"]
mod tests;

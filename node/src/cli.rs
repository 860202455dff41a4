//! The command line: one program under two names, `pentora` and `pentora-node`.
//!
//! A command parses what it was given, finds a node, asks it through `client`, and prints; what wants a node of this
//! process says so (`Next`), and `dispatch` starts it. Data goes to standard output, everything else to standard error,
//! and the exit code says how it ended ([`ExitCode`]). No command decides anything about a scan: that is the node's part,
//! in the same code for the embedded one.

mod access;
mod airgap;
mod api_session;
mod audit;
mod budget;
mod capacity;
mod client_failure;
mod cluster;
mod completions;
mod config;
mod confirm;
mod context;
mod contexts;
mod doctor;
mod examples;
mod exclude;
mod feed;
mod findings;
mod follow;
mod health;
#[cfg(test)]
#[path = "cli/hints_test.rs"]
mod hints;
mod interrupt;
mod job;
mod job_bundle;
mod keep;
mod key;
mod leave;
mod list;
mod logging;
mod man;
mod nodes;
mod output;
mod plan;
mod private_files;
mod profile;
mod progress;
mod queue;
mod received;
mod recover;
mod results;
mod rules;
mod running;
mod scan;
mod schedule;
mod scope;
mod secret_file;
mod segment;
mod settings;
mod shown;
mod site;
mod snapshot;
mod start;
mod status;
mod table;
mod token;
mod top;
mod version;
mod watch;
mod window;
mod workers;

use std::borrow::Cow;
use std::io::Write;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use self::context::{Context, Global};
pub(crate) use self::recover::Recovery;
pub(crate) use self::scan::LocalScan;
use crate::config::StartPlan;
use crate::document::{Budgets, Exclusions, Profiles, Scopes, Sites, Windows};
use crate::embedded::EmbeddedOptions;
use crate::failure::{ExitCode, Failure};
use crate::masked::masked;

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
    /// Look at jobs, hold them, let them go on and stop them.
    #[command(subcommand)]
    Job(job::JobCommand),
    /// Have scans begin by themselves at times.
    #[command(subcommand)]
    Schedule(schedule::ScheduleCommand),
    /// Promise that every address is seen at least once in a time.
    Keep(Box<keep::KeepArgs>),
    /// Say how many workers a scan needs.
    #[command(subcommand)]
    Plan(capacity::PlanCommand),
    /// Print the jobs that are not over, by priority.
    Queue(queue::QueueArgs),
    /// Hold a segmentation against what each zone reaches of the others.
    #[command(subcommand)]
    Segment(segment::SegmentCommand),
    /// Watch the cluster, its jobs and its workers as they are now.
    Top(top::TopArgs),
    /// List the cluster's nodes as workers, and say what each may be.
    #[command(subcommand)]
    Nodes(nodes::NodesCommand),
    /// Manage workers and join tokens.
    #[command(subcommand)]
    Coordinator(CoordinatorCommand),
    /// Look at the cluster, move its leadership, choose its voters and remove nodes.
    #[command(subcommand)]
    Cluster(cluster::ClusterCommand),
    /// Start a node.
    Start(Box<start::StartArgs>),
    /// Join a cluster as a new node, with a token.
    Join(Box<start::JoinArgs>),
    /// Take the node that is asked out of its cluster for good, and stop it.
    Leave(leave::LeaveArgs),
    /// Give a node no new work, and wait until it has none.
    Drain(leave::DrainArgs),
    /// Give a drained node work again.
    Resume(leave::ResumeArgs),
    /// Ask a node whether it is well, for health checks.
    Health(health::HealthArgs),
    /// Make a stopped node the only voter, after a majority was lost for good.
    Recover(recover::RecoverArgs),
    /// Start a node that may lead (the same as `start`).
    #[command(subcommand)]
    Server(start::ServerCommand),
    /// Start a node that only scans; carry orders to and results from one without a network.
    #[command(subcommand)]
    Worker(start::WorkerCommand),
    /// List weaknesses that were found, and say why each is one.
    #[command(subcommand)]
    Findings(findings::FindingsCommand),
    /// Show a token to a cluster, and have commands go there from now on.
    #[command(before_help = "Examples:\n  pentora login prod --api http://10.0.0.1:8080 < prod.token\n  \
                             pentora login prod --api http://10.0.0.1:8080 --token-file prod.token")]
    Login(contexts::LoginArgs),
    /// Give clusters names, and say to which one commands go.
    #[command(subcommand)]
    Context(contexts::ContextCommand),
    /// Say who may use the API, and as what.
    #[command(subcommand)]
    Token(access::AccessCommand),
    /// Make keys of people, which sign orders.
    #[command(subcommand)]
    Key(key::KeyCommand),
    /// Look at what was asked of the API, by whom, and what came of it.
    #[command(subcommand)]
    Audit(audit::AuditCommand),
    /// Say which addresses may be scanned, and by whom.
    #[command(subcommand)]
    Scope(rules::RuleCommand<Scopes>),
    /// Leave addresses out of every job.
    #[command(subcommand)]
    Exclude(rules::RuleCommand<Exclusions>),
    /// Keep options of a scan under a name.
    #[command(subcommand)]
    Profile(rules::RuleCommand<Profiles>),
    /// Say when networks may be scanned, and when not.
    #[command(subcommand)]
    Window(rules::RuleCommand<Windows>),
    /// Bound the packets per second into networks.
    #[command(subcommand)]
    Budget(rules::RuleCommand<Budgets>),
    /// Name the networks of sites whose private ranges overlap.
    #[command(subcommand)]
    Site(rules::RuleCommand<Sites>),
    /// Import and list what services are matched with: vulnerabilities and fingerprints.
    #[command(subcommand)]
    Feed(feed::FeedCommand),
    /// Check, show and describe the configuration.
    #[command(subcommand)]
    Config(config::ConfigCommand),
    /// Print completions for a shell.
    Completions(completions::CompletionsArgs),
    /// Look at this machine, its settings and a node's files for what keeps a node from working well.
    Doctor(doctor::DoctorArgs),
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
    /// Write the orders for workers without a network to a file.
    Export(airgap::OrdersOutArgs),
    /// Take in a file of results from a worker without a network.
    Import(airgap::ResultsInArgs),
    /// List and remove workers without a network.
    #[command(subcommand)]
    Offline(airgap::OfflineCommand),
}

/// The tree of all commands.
fn tree() -> clap::Command {
    examples::with_examples(Cli::command())
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
    /// Make a stopped node the only voter.
    Recover(Box<Recovery>),
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
        completions::answer(program, || tree().name(program));
        let parsed = tree().name(program).try_get_matches().and_then(|matches| Cli::from_arg_matches(&matches));
        match parsed {
            Ok(Cli { global, command }) => Ok(Self { program, command, context: Context::of_process(global) }),
            Err(error) => {
                // Help to a closed pipe is no failure either.
                let text = error.render().to_string();
                match masked(&text) {
                    Cow::Owned(without) => drop(write!(std::io::stderr(), "{without}")),
                    Cow::Borrowed(_) => drop(error.print()),
                }
                Err(std::process::ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(ExitCode::Usage as u8)))
            }
        }
    }

    /// The same of a line.
    #[cfg(test)]
    pub(crate) fn of(line: &str) -> Result<Self, clap::Error> {
        let matches = tree().try_get_matches_from(line.split_whitespace())?;
        let Cli { global, command } = Cli::from_arg_matches(&matches)?;
        Ok(Self { program: "pentora-node", command, context: Context::of_process(global) })
    }

    /// Whether it asks for a node that runs until it is ended.
    pub(crate) fn runs_node(&self) -> bool {
        match &self.command {
            Command::Start(_) | Command::Join(_) | Command::Server(_) => true,
            Command::Worker(command) => matches!(command, start::WorkerCommand::Start(_)),
            Command::Cluster(command) => command.runs_node(),
            _ => false,
        }
    }

    /// Carries the command out, but for what needs a node of this process.
    ///
    /// # Errors
    /// Every exit code but 0; see [`ExitCode`].
    pub(crate) async fn run(self) -> Result<Next, Failure> {
        let is_node = self.runs_node();
        let Self { program, command, mut context } = self;
        logging::init(&context, is_node);
        let run_node = |plan| Next::RunNode(Box::new(plan));
        let done = |()| Next::Done;
        match command {
            Command::Scan(args) => scan::run(*args, context).await,
            Command::Job(command) => job::run(command, &mut context).await.map(done),
            Command::Schedule(command) => schedule::run(command, &mut context).await.map(done),
            Command::Keep(args) => keep::run(*args, &mut context).await.map(done),
            Command::Plan(command) => capacity::run(command, &mut context).await.map(done),
            Command::Queue(args) => queue::run(args, &mut context).await.map(done),
            Command::Segment(command) => segment::run(command, &mut context).await.map(done),
            Command::Top(args) => top::run(args, &mut context).await.map(done),
            Command::Nodes(command) => nodes::run(command, &mut context).await.map(done),
            Command::Coordinator(CoordinatorCommand::Workers(command)) => {
                workers::run(command, &mut context).await.map(done)
            }
            Command::Coordinator(CoordinatorCommand::WorkerToken(command)) => {
                token::run(command, &mut context).await.map(done)
            }
            Command::Coordinator(CoordinatorCommand::Export(args)) => {
                airgap::export_orders(args, &context).await.map(done)
            }
            Command::Coordinator(CoordinatorCommand::Import(args)) => {
                airgap::import_results(args, &mut context).await.map(done)
            }
            Command::Coordinator(CoordinatorCommand::Offline(command)) => {
                airgap::offline(command, &mut context).await.map(done)
            }
            Command::Cluster(command) => cluster::run(command, &mut context).await,
            Command::Start(args) => start::start(*args, &context).map(run_node),
            Command::Join(args) => start::join(*args, &context).map(run_node),
            Command::Leave(args) => leave::leave(args, &mut context).await.map(done),
            Command::Drain(args) => leave::drain(args, &mut context).await.map(done),
            Command::Resume(args) => leave::resume(args, &mut context).await.map(done),
            Command::Health(args) => health::run(&args, &mut context).await.map(done),
            Command::Recover(args) => recover::run(args, context).map(|recovery| Next::Recover(Box::new(recovery))),
            Command::Server(command) => start::server(command, &context).map(run_node),
            Command::Worker(start::WorkerCommand::Start(args)) => start::worker(*args, &context).map(run_node),
            Command::Worker(start::WorkerCommand::Export(args)) => airgap::export_results(&args, &context).map(done),
            Command::Worker(start::WorkerCommand::Import(args)) => airgap::import_orders(&args, &context).map(done),
            Command::Worker(start::WorkerCommand::Orders(args)) => airgap::orders(&args, &mut context).map(done),
            Command::Findings(command) => findings::run(command, &mut context).await.map(done),
            Command::Login(args) => contexts::login(args, &mut context).await.map(done),
            Command::Context(command) => contexts::run(command, &mut context).map(done),
            Command::Token(command) => access::run(command, &mut context).await.map(done),
            Command::Key(command) => key::run(command, &mut context).map(done),
            Command::Audit(command) => audit::run(command, &mut context).await.map(done),
            Command::Scope(command) => rules::run(command, &mut context).await.map(done),
            Command::Exclude(command) => rules::run(command, &mut context).await.map(done),
            Command::Profile(command) => rules::run(command, &mut context).await.map(done),
            Command::Window(command) => rules::run(command, &mut context).await.map(done),
            Command::Budget(command) => rules::run(command, &mut context).await.map(done),
            Command::Site(command) => rules::run(command, &mut context).await.map(done),
            Command::Feed(command) => feed::run(command, &mut context).await.map(done),
            Command::Config(command) => config::run(command, &mut context).map(done),
            Command::Completions(args) => completions::run(&args, program, &mut context).map(done),
            Command::Man(args) => man::run(&args, tree(), &mut context).map(done),
            Command::Doctor(args) => doctor::run(args, &mut context).await.map(done),
            Command::Version(args) => version::run(&args, &mut context).map(done),
        }
    }
}

#[cfg(test)]
#[path = "cli/cli_test.rs"]
mod tests;

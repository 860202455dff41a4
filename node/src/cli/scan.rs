//! `pentora scan`: on a cluster where there is one, otherwise on a node inside this process.
//!
//! Both ways are the same from the request on: submit, follow, print. They differ in who is asked, and in what Ctrl-C
//! means: an embedded scan ([`local`]) ends with this process, prints what it found and leaves a file from which it can be
//! taken up again; a cluster's goes on without us.

mod listing;
mod local;
mod request;
mod resume;
mod texts;

use std::path::PathBuf;

use clap::Args;
use pentora_raft::Digest;
use pentora_scanner::finding::HostRecord;

pub(crate) use self::local::LocalScan;
use self::request::RequestArgs;
use self::resume::Resume;
use super::Next;
use super::api_session::{ApiSession, NodeArgs, cluster_here};
use super::context::Context;
use super::follow::{Ended, follow, verdict};
use super::interrupt::Interrupts;
use super::progress::Progress;
use super::results::{self, FormatArgs};
use super::watch::json;
use crate::document::{JobDocument, ScanAccepted, ScanRequest};
use crate::failure::{ExitCode, Failure};

const EXAMPLES: &str = "\
Examples:
  pentora scan 127.0.0.1 --ports 22,80,8000-8100
  pentora scan 192.168.1.0/24 10.0.0.1-20 --top-ports 100 -o json
  pentora scan --file targets.txt --exclude-file never.txt --rate 1000 -o jsonl
  pentora scan --from nmap.xml --exclude-ports 9100 --list-targets
  pentora scan 10.1.0.0/16 --max-rate 20000 --network-rate 200 --discovery echo,syn443
  pentora scan --resume pentora-20250710-120000.resume
  pentora scan 192.168.1.0/24 --priority high --worker-tag production
  pentora scan prod-network.example.com --require-worker-tag production
  pentora scan 10.0.0.0/8 --distributed --workers 5 --detach
";

/// What to scan, how, where, and how to print it.
#[derive(Debug, Args)]
#[command(before_help = EXAMPLES)]
pub(super) struct ScanArgs {
    #[command(flatten)]
    request: RequestArgs,
    /// Scan on the cluster, even where none is configured on this host.
    #[arg(long, conflicts_with = "local", help_heading = "Node")]
    distributed: bool,
    /// Scan from this process, even where a cluster is configured.
    #[arg(long, help_heading = "Node")]
    local: bool,
    /// Go on with a scan that was interrupted in this process, from the file that it left; its options are in the file.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["RequestArgs", "distributed", "detach"], help_heading = "Node")]
    resume: Option<PathBuf>,
    /// Print what would be scanned, one target per line or with -o json as a document; send nothing.
    #[arg(long, conflicts_with_all = ["resume", "detach"], help_heading = "Targets")]
    list_targets: bool,
    /// Print the job's id and return at once.
    #[arg(long, conflicts_with = "local", help_heading = "Output")]
    detach: bool,
    /// Folder of recog fingerprints (*.xml) to know services by as well; for scans from this process.
    #[arg(long, value_name = "DIR", conflicts_with = "distributed", help_heading = "Services")]
    fingerprints: Option<PathBuf>,
    /// Your own file of service probes, in the syntax of nmap-service-probes; for scans from this process.
    #[arg(long, value_name = "FILE", conflicts_with = "distributed", help_heading = "Services")]
    service_probes: Option<PathBuf>,
    #[command(flatten)]
    format: FormatArgs,
    #[command(flatten)]
    node: NodeArgs,
}

impl ScanArgs {
    /// Refuses what only a scan from this process can use.
    fn check_for_cluster(&self) -> Result<(), Failure> {
        if self.fingerprints.is_none() && self.service_probes.is_none() {
            return Ok(());
        }
        Err(Failure::new(ExitCode::Usage, "--fingerprints and --service-probes are for scans from this process")
            .next("give fingerprints to the cluster with `pentora feed import recog DIR`, or add --local"))
    }
}

/// Carries the command out on a cluster, or answers that it wants a node in this process.
///
/// # Errors
/// Every exit code but 0 and 3; see [`ExitCode`].
pub(super) async fn run(args: ScanArgs, mut context: Context) -> Result<Next, Failure> {
    if let Some(path) = &args.resume {
        let work = Resume::load(path)?;
        return local::begin(args, work, context);
    }
    let texts = args.request.texts()?;
    let wanted = args.request.wanted(&texts)?;
    wanted.warnings.iter().for_each(|warning| context.warn(warning));
    if args.list_targets {
        return listing::print(&wanted, args.format.format(), &mut context).map(|()| Next::Done);
    }
    drop(wanted);
    let request = args.request.request(&texts, args.format.format())?;
    drop(texts);
    if let Some(session) = cluster(&args, &context).await? {
        args.check_for_cluster()?;
        return on_cluster(&args, &request, &session, &mut context).await.map(|()| Next::Done);
    }
    if args.detach {
        return Err(Failure::new(ExitCode::Unreachable, "there is no cluster to leave the scan to")
            .because(
                "no --api, PENTORA_API or client.api is set, and no node with a readable admin.token runs on this host",
            )
            .next("name a node with --api, start one with `pentora-node start --init`, or leave --detach out"));
    }
    local::begin(args, Resume::new(request, Digest::of(&[]), Vec::new()), context)
}

/// The cluster to use, if there is one: named, or a node on this host whose token we may read.
async fn cluster(args: &ScanArgs, context: &Context) -> Result<Option<ApiSession>, Failure> {
    if args.local {
        return Ok(None);
    }
    cluster_here(&args.node, args.distributed, context).await
}

async fn on_cluster(
    args: &ScanArgs,
    request: &ScanRequest,
    session: &ApiSession,
    context: &mut Context,
) -> Result<(), Failure> {
    let mut interrupts = Interrupts::listen()?;
    let accepted = tokio::select! {
        biased;
        () = interrupts.next() => return Err(interrupted_submission()),
        accepted = session.client.scan(request) => accepted.map_err(|error| session.failure(&error))?,
    };
    let job_id = &accepted.job_id;
    if args.detach {
        return context.output.print(&if args.format.json { json(&accepted) } else { format!("{job_id}\n") });
    }
    context.say(format_args!("{job_id}: {}", size(&accepted)));
    let progress = Progress::new(context);
    let ended = follow(session, job_id, &progress, &mut interrupts).await;
    progress.finish();
    match ended? {
        Ended::Job(job) => finish(&args.format, session, &job, &[], context).await,
        Ended::Interrupted => {
            context.say(format_args!(
                "detached: {job_id} goes on\n  follow it with `pentora job watch {job_id}`\n  \
                 see what it has found with `pentora job results {job_id}`\n  \
                 stop it with `pentora job cancel {job_id}`"
            ));
            Ok(())
        }
    }
}

/// Prints the results of an ended job, with `more` hosts that it does not count, and turns its status into the command's.
async fn finish(
    format: &FormatArgs,
    session: &ApiSession,
    job: &JobDocument,
    more: &[HostRecord],
    context: &mut Context,
) -> Result<(), Failure> {
    let printed = results::print(session, job, more, format, context).await?;
    verdict(job)?;
    format.verdict(&printed)
}

fn interrupted_submission() -> Failure {
    Failure::new(ExitCode::Cancelled, "interrupted while submitting: the job may have been accepted")
        .next("`pentora job list` shows it, `pentora job cancel ID` stops it")
}

/// `512 targets in 2 partitions`.
fn size(accepted: &ScanAccepted) -> String {
    let targets = super::output::grouped(accepted.targets);
    let plural = if accepted.targets == 1 { "" } else { "s" };
    match accepted.partitions {
        0 | 1 => format!("{targets} target{plural}"),
        partitions => format!("{targets} target{plural} in {partitions} partitions"),
    }
}

//! `pentora scan`: on a cluster where there is one, otherwise on a node inside this process.
//!
//! Both ways are the same from the request on: submit, follow, print. They differ in who is asked, and in what Ctrl-C
//! means: an embedded scan ends with this process, prints what it found and leaves a file from which it can be taken up
//! again; a cluster's goes on without us.

mod listing;
mod request;
mod resume;
mod texts;

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use pentora_raft::Digest;
use pentora_scanner::detect::RuleSet;
use pentora_scanner::finding::HostRecord;

use self::request::RequestArgs;
use self::resume::Resume;
use super::context::Context;
use super::failure::{ExitCode, Failure, from_client};
use super::feed;
use super::follow::{Ended, follow, verdict};
use super::interrupt::Interrupts;
use super::output::counted;
use super::progress::Progress;
use super::results::{self, FormatArgs};
use super::session::{NodeArgs, Session, cluster_here};
use super::watch::json;
use crate::app::{self, Embedded, EmbeddedOptions};
use crate::client::Client;
use crate::document::{JobDocument, ScanAccepted, ScanRequest};
use crate::feeds::{FeedStore, rules};

/// Time for an interrupted embedded scan to end and hand over what it found.
const CANCEL_TIMEOUT: Duration = Duration::from_secs(5);

/// Where an embedded node is, for messages.
const IN_PROCESS: &str = "this process";

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
    /// The rules to know services by, where they are more than the program's own.
    fn rules(&self, feeds: Option<&FeedStore>) -> Result<Option<RuleSet>, Failure> {
        if feeds.is_none() && self.fingerprints.is_none() && self.service_probes.is_none() {
            return Ok(None);
        }
        let files = (self.fingerprints.as_deref(), self.service_probes.as_deref());
        let rules = rules::with_feed(feeds).and_then(|own| rules::with_files(own, files.0, files.1));
        rules.map(Some).map_err(|why| Failure::new(ExitCode::Failure, why))
    }

    /// Refuses what only a scan from this process can use.
    fn check_for_cluster(&self) -> Result<(), Failure> {
        if self.fingerprints.is_none() && self.service_probes.is_none() {
            return Ok(());
        }
        Err(Failure::new(ExitCode::Usage, "--fingerprints and --service-probes are for scans from this process")
            .next("give fingerprints to the cluster with `pentora feed import recog DIR`, or add --local"))
    }
}

/// Carries the command out.
///
/// # Errors
/// Every exit code but 0 and 3; see [`ExitCode`].
pub(super) async fn run(args: ScanArgs, context: &mut Context) -> Result<(), Failure> {
    if let Some(path) = &args.resume {
        return embedded(&args, Resume::load(path)?, context).await;
    }
    let texts = args.request.texts()?;
    let wanted = args.request.wanted(&texts)?;
    wanted.warnings.iter().for_each(|warning| context.warn(warning));
    if args.list_targets {
        return listing::print(&wanted, args.format.format(), context);
    }
    drop(wanted);
    let request = args.request.request(&texts, args.format.format())?;
    drop(texts);
    if let Some(session) = cluster(&args, context).await? {
        args.check_for_cluster()?;
        return on_cluster(&args, &request, &session, context).await;
    }
    if args.detach {
        return Err(Failure::new(ExitCode::Unreachable, "there is no cluster to leave the scan to")
            .because(
                "no --api, PENTORA_API or client.api is set, and no node with a readable admin.token runs on this host",
            )
            .next("name a node with --api, start one with `pentora-node start --init`, or leave --detach out"));
    }
    embedded(&args, Resume::new(request, Digest::of(&[]), Vec::new()), context).await
}

/// The cluster to use, if there is one: named, or a node on this host whose token we may read.
async fn cluster(args: &ScanArgs, context: &Context) -> Result<Option<Session>, Failure> {
    if args.local {
        return Ok(None);
    }
    cluster_here(&args.node, args.distributed, context).await
}

async fn on_cluster(
    args: &ScanArgs,
    request: &ScanRequest,
    session: &Session,
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
    let asked = (&session.client, session.searched.as_str());
    let ended = follow(asked, job_id, &progress, &mut interrupts).await;
    progress.finish();
    match ended? {
        Ended::Job(job) => finish(args, asked, (&job, &[]), context).await,
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

async fn embedded(args: &ScanArgs, work: Resume, context: &mut Context) -> Result<(), Failure> {
    let mut interrupts = Interrupts::listen()?;
    let feeds = feed::local(context)?;
    let rules = args.rules(feeds.as_ref())?;
    let node = app::embedded(EmbeddedOptions { name: context.host.name.clone(), feeds, rules }).await?;
    // Whoever asked for connections needs not be told that there is nothing else.
    if let Some(note) = node.note.as_ref().filter(|_| work.request.engine.as_deref() != Some("connect")) {
        context.say(format_args!("pentora: {note}"));
    }
    let result = on_embedded(args, work, &node, &mut interrupts, context).await;
    node.stop.stop().await;
    result
}

async fn on_embedded(
    args: &ScanArgs,
    work: Resume,
    node: &Embedded,
    interrupts: &mut Interrupts,
    context: &mut Context,
) -> Result<(), Failure> {
    let client = &node.client;
    let Resume { mut request, spec, units, .. } = work;
    let job_id = if units.is_empty() {
        // Another process has to come to the same order.
        request.seed.get_or_insert_with(rand::random);
        client.scan(&request).await.map_err(|error| from_client(&error, IN_PROCESS))?.job_id
    } else {
        node.resume(request.clone(), spec, units).await?.job_id
    };
    let progress = Progress::new(context);
    let ended = follow((client, IN_PROCESS), &job_id, &progress, interrupts).await;
    progress.finish();
    match ended? {
        Ended::Job(job) => finish(args, (client, IN_PROCESS), (&job, &[]), context).await,
        Ended::Interrupted => {
            context.say("interrupted: printing what was found so far (again to stop at once)");
            tokio::select! {
                biased;
                () = interrupts.next() => Err(Failure::quiet(ExitCode::Cancelled)),
                halted = halt(args, request, node, &job_id, context) => halted,
            }
        }
    }
}

/// Ends an interrupted scan: prints what it found, and saves what is finished of it.
async fn halt(
    args: &ScanArgs,
    request: ScanRequest,
    node: &Embedded,
    job_id: &str,
    context: &mut Context,
) -> Result<(), Failure> {
    let halted = node.halt(job_id).await?;
    let job = cancelled(&node.client, job_id).await?;
    let (targets, done) = (job.targets_total, job.targets_scanned);
    let printed = finish(args, (&node.client, IN_PROCESS), (&job, &halted.unfinished), context).await;
    let left = counted(targets - done.min(targets), "target");
    if halted.units.is_empty() {
        context.say(format_args!("{left} are left; nothing is finished, so the same command begins anew"));
    } else {
        let folder = std::env::current_dir().unwrap_or_else(|_| std::env::temp_dir());
        match Resume::new(request, halted.spec, halted.units).save(&folder, &jiff::Zoned::now()) {
            Ok(path) => {
                let path = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
                context.say(format_args!("{left} are left: go on with `pentora scan --resume {path}`"));
            }
            Err(why) => context.say(format_args!("the scan cannot be taken up again later: {why}")),
        }
    }
    match printed {
        Err(failure) if failure.exit != ExitCode::Cancelled => Err(failure),
        _ => Err(Failure::quiet(ExitCode::Cancelled)),
    }
}

/// Cancels a job and waits until it has ended.
async fn cancelled(client: &Client, job_id: &str) -> Result<JobDocument, Failure> {
    match client.cancel(job_id).await {
        Err(error) if error.code() != "job_ended" => return Err(from_client(&error, IN_PROCESS)),
        _ => {}
    }
    let ended = async {
        loop {
            let job = client.job(job_id).await.map_err(|error| from_client(&error, IN_PROCESS))?;
            if job.has_ended() {
                return Ok(job);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    match tokio::time::timeout(CANCEL_TIMEOUT, ended).await {
        Ok(job) => job,
        Err(_) => Err(Failure::new(ExitCode::Cancelled, "the scan did not stop in time: nothing is printed")),
    }
}

/// Prints the results of an ended job, with `more` hosts that it does not count, and turns its status into the command's.
async fn finish(
    args: &ScanArgs,
    asked: (&Client, &str),
    (job, more): (&JobDocument, &[HostRecord]),
    context: &mut Context,
) -> Result<(), Failure> {
    let printed = results::print(asked, job, more, &args.format, context).await?;
    verdict(job)?;
    args.format.verdict(&printed)
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

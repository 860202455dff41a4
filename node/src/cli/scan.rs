//! `pentora scan`: on a cluster where there is one, otherwise on a node inside this process.
//!
//! Both ways are the same from the request on: submit, follow, print. They differ in who is asked, and in what Ctrl-C
//! means: an embedded scan ends with this process and prints what it found, a cluster's goes on without us.

mod request;

use std::time::Duration;

use clap::Args;

use self::request::RequestArgs;
use super::context::Context;
use super::failure::{ExitCode, Failure, from_client};
use super::follow::{Ended, follow, verdict};
use super::interrupt::Interrupts;
use super::progress::Progress;
use super::results::{self, FormatArgs};
use super::session::{NodeArgs, Session, cluster_here};
use super::watch::json;
use crate::app::{self, EmbeddedOptions};
use crate::document::{JobDocument, ScanAccepted, ScanRequest};

/// Time for an interrupted embedded scan to end and hand over what it found.
const CANCEL_TIMEOUT: Duration = Duration::from_secs(5);

const EXAMPLES: &str = "\
Examples:
  pentora scan 127.0.0.1 --ports 22,80,8000-8100
  pentora scan 192.168.1.0/24 10.0.0.1-20 --top-ports 100 -o json
  pentora scan --file targets.txt --exclude 10.0.0.5 --rate 1000 -o jsonl
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
    /// Print the job's id and return at once.
    #[arg(long, conflicts_with = "local", help_heading = "Output")]
    detach: bool,
    #[command(flatten)]
    format: FormatArgs,
    #[command(flatten)]
    node: NodeArgs,
}

/// Carries the command out.
///
/// # Errors
/// Every exit code but 0 and 3; see [`ExitCode`].
pub(super) async fn run(args: ScanArgs, context: &mut Context) -> Result<(), Failure> {
    let request = args.request.request()?;
    if let Some(session) = cluster(&args, context).await? {
        return on_cluster(&args, &request, &session, context).await;
    }
    if args.detach {
        return Err(Failure::new(ExitCode::Unreachable, "there is no cluster to leave the scan to")
            .because(
                "no --api, PENTORA_API or client.api is set, and no node with a readable admin.token runs on this host",
            )
            .next("name a node with --api, start one with `pentora-node start --init`, or leave --detach out"));
    }
    embedded(&args, &request, context).await
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
    let ended = follow(session, job_id, &progress, &mut interrupts).await;
    progress.finish();
    match ended? {
        Ended::Job(job) => finish(args, session, &job, context).await,
        Ended::Interrupted => {
            context.say(format_args!(
                "detached: {job_id} goes on\n  follow it with `pentora job watch {job_id}`\n  \
                 stop it with `pentora job cancel {job_id}`"
            ));
            Ok(())
        }
    }
}

async fn embedded(args: &ScanArgs, request: &ScanRequest, context: &mut Context) -> Result<(), Failure> {
    let mut interrupts = Interrupts::listen()?;
    let node = app::embedded(EmbeddedOptions { name: context.host.name.clone() }).await?;
    let session = Session { client: node.client, searched: "this process".to_owned() };
    let result = on_embedded(args, request, &session, &mut interrupts, context).await;
    node.stop.stop().await;
    result
}

async fn on_embedded(
    args: &ScanArgs,
    request: &ScanRequest,
    session: &Session,
    interrupts: &mut Interrupts,
    context: &mut Context,
) -> Result<(), Failure> {
    let accepted = session.client.scan(request).await.map_err(|error| from_client(&error, &session.searched))?;
    let progress = Progress::new(context);
    let ended = follow(session, &accepted.job_id, &progress, interrupts).await;
    progress.finish();
    match ended? {
        Ended::Job(job) => finish(args, session, &job, context).await,
        Ended::Interrupted => {
            context.say("interrupted: printing what was found so far (again to stop at once)");
            let job = tokio::select! {
                biased;
                () = interrupts.next() => return Err(Failure::quiet(ExitCode::Cancelled)),
                job = cancelled(session, &accepted.job_id) => job?,
            };
            finish(args, session, &job, context).await?;
            Err(Failure::quiet(ExitCode::Cancelled))
        }
    }
}

/// Cancels a job and waits until it has ended.
async fn cancelled(session: &Session, job_id: &str) -> Result<JobDocument, Failure> {
    match session.client.cancel(job_id).await {
        Err(error) if error.code() != "job_ended" => return Err(session.failure(&error)),
        _ => {}
    }
    let ended = async {
        loop {
            let job = session.client.job(job_id).await.map_err(|error| session.failure(&error))?;
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

/// Prints the results of an ended job and turns its status into the command's.
async fn finish(args: &ScanArgs, session: &Session, job: &JobDocument, context: &mut Context) -> Result<(), Failure> {
    results::print(session, job, args.format.format(), context).await?;
    verdict(job)
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

#[cfg(test)]
#[path = "scan_test.rs"]
mod tests;

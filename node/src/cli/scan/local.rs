//! A scan on a node inside this process: begun by the command, carried out once `dispatch` has started the node.

use std::time::Duration;

use pentora_raft::Digest;
use pentora_scanner::detect::RuleSet;
use pentora_scanner::spec::EngineChoice;

use super::resume::Resume;
use super::{ScanArgs, finish};
use crate::cli::Next;
use crate::cli::api_session::ApiSession;
use crate::cli::context::Context;
use crate::cli::feed;
use crate::cli::follow::{Ended, follow};
use crate::cli::interrupt::Interrupts;
use crate::cli::output::counted;
use crate::cli::progress::Progress;
use crate::document::{JobDocument, ScanRequest};
use crate::embedded::{EmbeddedNode, EmbeddedOptions, SavedUnit};
use crate::failure::{ExitCode, Failure};
use crate::feeds::{FeedStore, rules};

/// Time for an interrupted embedded scan to end and hand over what it found.
const CANCEL_TIMEOUT: Duration = Duration::from_secs(5);

/// A scan that wants a node in this process.
pub(crate) struct LocalScan {
    args: ScanArgs,
    request: ScanRequest,
    /// Of which scan `finished` is.
    spec: Digest,
    /// What an earlier run has finished of it.
    finished: Vec<SavedUnit>,
    interrupts: Interrupts,
    context: Context,
}

/// Gets everything ready for the scan but the node.
///
/// # Errors
/// Feeds or rules that cannot be used.
pub(super) fn begin(args: ScanArgs, work: Resume, context: Context) -> Result<Next, Failure> {
    let interrupts = Interrupts::listen()?;
    let feeds = feed::local(&context)?;
    let rules = rules_of(&args, feeds.as_ref())?;
    let options = EmbeddedOptions { name: context.host.name.clone(), feeds, rules };
    let Resume { request, spec, units, .. } = work;
    let scan = LocalScan { args, request, spec, finished: units, interrupts, context };
    Ok(Next::ScanHere { options, scan: Box::new(scan) })
}

/// The rules to know services by, where they are more than the program's own.
fn rules_of(args: &ScanArgs, feeds: Option<&FeedStore>) -> Result<Option<RuleSet>, Failure> {
    if feeds.is_none() && args.fingerprints.is_none() && args.service_probes.is_none() {
        return Ok(None);
    }
    let rules = rules::with_feed(feeds)
        .and_then(|own| rules::with_files(own, args.fingerprints.as_deref(), args.service_probes.as_deref()));
    rules.map(Some).map_err(|why| Failure::new(ExitCode::Failure, why))
}

impl LocalScan {
    /// Scans with `node` and prints what was found.
    ///
    /// # Errors
    /// Every exit code but 0, 3 and 5; see [`ExitCode`].
    pub(crate) async fn run(self, node: &impl EmbeddedNode) -> Result<(), Failure> {
        let Self { args, mut request, spec, finished, mut interrupts, mut context } = self;
        let context = &mut context;
        // Whoever asked for connections needs not be told that there is nothing else.
        if let Some(note) = node.note().filter(|_| request.engine != Some(EngineChoice::Connect)) {
            context.say(format_args!("pentora: {note}"));
        }
        let session = ApiSession::in_process(node.client());
        let job_id = if finished.is_empty() {
            // Another process has to come to the same order.
            request.seed.get_or_insert_with(rand::random);
            session.client.scan(&request).await.map_err(|error| session.failure(&error))?.job_id
        } else {
            node.resume(request.clone(), spec, finished).await?.job_id
        };
        let progress = Progress::new(context);
        let ended = follow(&session, &job_id, &progress, &mut interrupts).await;
        progress.finish();
        match ended? {
            Ended::Job(job) => finish(&args.format, &session, &job, &[], context).await,
            Ended::Interrupted => {
                context.say("interrupted: printing what was found so far (again to stop at once)");
                tokio::select! {
                    biased;
                    () = interrupts.next() => Err(Failure::quiet(ExitCode::Cancelled)),
                    suspended = suspend(&args, request, node, &session, &job_id, context) => suspended,
                }
            }
        }
    }
}

/// Ends an interrupted scan: prints what it found, and saves what is finished of it.
async fn suspend(
    args: &ScanArgs,
    request: ScanRequest,
    node: &impl EmbeddedNode,
    session: &ApiSession,
    job_id: &str,
    context: &mut Context,
) -> Result<(), Failure> {
    let suspended = node.suspend(job_id).await?;
    let job = cancelled(session, job_id).await?;
    let (targets, done) = (job.targets_total, job.targets_scanned);
    let printed = finish(&args.format, session, &job, &suspended.unfinished, context).await;
    let left = counted(targets - done.min(targets), "target");
    if suspended.units.is_empty() {
        context.say(format_args!("{left} are left; nothing is finished, so the same command begins anew"));
    } else {
        let folder = std::env::current_dir().unwrap_or_else(|_| std::env::temp_dir());
        match Resume::new(request, suspended.spec, suspended.units).save(&folder, &jiff::Zoned::now()) {
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
async fn cancelled(session: &ApiSession, job_id: &str) -> Result<JobDocument, Failure> {
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

//! A scan on a node inside this process: begun by the command, carried out once `dispatch` has started the node.

use std::time::Duration;

use pentora_scanner::finding::NotProbedCounts;
use pentora_scanner::spec::EngineChoice;
use pentora_scanner::target::TargetSet;
use pentora_scanner::vendors::Vendors;

use super::resume::Resume;
use super::rule_files::WithNote;
use super::{ScanArgs, finish, last, print_plan, refused, warn_of};
use crate::cli::Next;
use crate::cli::api_session::ApiSession;
use crate::cli::context::Context;
use crate::cli::feed;
use crate::cli::follow::{Ended, follow};
use crate::cli::interrupt::Interrupts;
use crate::cli::output::{counted, grouped};
use crate::cli::progress::Progress;
use crate::cli::results::{self, FormatArgs, Unfinished};
use crate::document::{JobDocument, ScanAccepted, ScanRequest};
use crate::embedded::{EmbeddedNode, EmbeddedOptions, SavedRemarks, Suspended};
use crate::failure::{ExitCode, Failure};

/// Time for an interrupted embedded scan to end and hand over what it found.
const CANCEL_TIMEOUT: Duration = Duration::from_secs(5);

/// What is to be said of a scan that ended before it began.
const NOT_BEGUN: &str = "interrupted before the scan began: no target was asked anything";

/// A scan that wants a node in this process.
pub(crate) struct LocalScan {
    format: FormatArgs,
    /// Whether only the plan is wanted.
    is_plan: bool,
    /// What is to be done, and what an earlier run has finished of it.
    work: Resume,
    interrupts: Interrupts,
    context: Context,
}

/// Gets everything ready for the scan but the node.
///
/// # Errors
/// Feeds, rules or a registry that cannot be used.
pub(super) fn begin(args: &ScanArgs, work: Resume, context: Context) -> Result<Next, Failure> {
    let interrupts = Interrupts::listen()?;
    let feeds = feed::local(&context)?;
    let WithNote { rules, note } = work.rules.rules(feeds.as_ref())?;
    note.iter().for_each(|note| context.warn(note));
    let vendors = work.rules.oui().map(|path| {
        Vendors::read(path).map_err(|error| {
            Failure::new(ExitCode::Usage, format!("--oui {} cannot be used", path.display())).because(error.to_string())
        })
    });
    let options = EmbeddedOptions { name: context.host.name.clone(), feeds, rules, vendors: vendors.transpose()? };
    let format = args.format.or(&work.format);
    let scan = LocalScan { format, is_plan: args.plan, work, interrupts, context };
    Ok(Next::ScanHere { options, scan: Box::new(scan) })
}

impl LocalScan {
    /// Scans with `node` and prints what was found.
    ///
    /// # Errors
    /// Every exit code but 0, 3 and 5; see [`ExitCode`].
    pub(crate) async fn run(self, node: &impl EmbeddedNode) -> Result<(), Failure> {
        let Self { format, is_plan, mut work, mut interrupts, mut context } = self;
        let context = &mut context;
        // Whoever asked for connections needs not be told that there is nothing else.
        if let Some(note) = node.note().filter(|_| work.request.engine != Some(EngineChoice::Connect)) {
            context.say(format_args!("pentora: {note}"));
        }
        let session = ApiSession::in_process(node.client());
        if is_plan {
            return print_plan(&format, &work.request, &session, context).await;
        }
        let accepted = match submit(&mut work, node, &session, &mut interrupts).await {
            Err(failure) if failure.exit == ExitCode::Cancelled => {
                results::print_nothing(targets_of(&work.request), NOT_BEGUN, &format, context)?;
                return Err(failure);
            }
            accepted => accepted?,
        };
        warn_of(&accepted, context);
        let job_id = accepted.job_id;
        let progress = Progress::new(context);
        let ended = follow(&session, &job_id, &progress, &mut interrupts).await;
        progress.finish();
        match ended? {
            Ended::Job(mut job) => {
                remember(&mut job, &work.remarks);
                let copying = last::Copying::begin(context);
                finish(&format, &session, &job, Unfinished::default(), Some(copying), context).await
            }
            Ended::Interrupted => {
                context.say("interrupted: printing what was found so far (again to stop at once)");
                tokio::select! {
                    biased;
                    () = interrupts.again() => Err(Failure::quiet(ExitCode::Cancelled)),
                    suspended = suspend(&format, work, node, &session, &job_id, context) => suspended,
                }
            }
        }
    }
}

/// Has the scan admitted, of which an earlier run may have finished units.
async fn submit(
    work: &mut Resume,
    node: &impl EmbeddedNode,
    session: &ApiSession,
    interrupts: &mut Interrupts,
) -> Result<ScanAccepted, Failure> {
    let finished = std::mem::take(&mut work.units);
    if !finished.is_empty() {
        return unless(interrupts.next(), node.resume(work.request.clone(), work.spec, finished)).await;
    }
    // Another process has to come to the same order.
    work.request.seed.get_or_insert_with(rand::random);
    work.request = unless(interrupts.next(), node.with_link_hosts(work.request.clone())).await?;
    // It is admitted once the names that it excludes are resolved, which may take long.
    let request = &work.request;
    let admitted =
        async { session.client.scan(request).await.map_err(|error| refused(session.failure(&error), request)) };
    unless(interrupts.next(), admitted).await
}

/// How many targets a request asks for, as far as that is known before anything is looked up: names count one, and where links or
/// samples are among them, so does each word of the command.
fn targets_of(request: &ScanRequest) -> u64 {
    let set = |words: &[String], text: Option<&String>| {
        let mut set = TargetSet::builder();
        words.iter().chain(text).try_for_each(|text| set.add_text(text, "targets")).ok()?;
        let set = set.build_uncounted().ok()?;
        (set.is_countable() && request.sample.is_none() && !set.has_zones()).then_some(set)
    };
    let wanted = set(&request.targets, request.target_text.as_ref());
    let excluded = set(&request.exclude, request.exclude_text.as_ref()).unwrap_or_default();
    wanted.map_or(request.targets.len() as u64, |wanted| wanted.exclude(&excluded).count()).max(1)
}

/// What `work` comes to, unless the scan is interrupted before it has begun.
async fn unless<T>(
    interrupted: impl Future<Output = ()>,
    work: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    tokio::select! {
        biased;
        () = interrupted => {
            Err(Failure::new(ExitCode::Cancelled, NOT_BEGUN))
        }
        done = work => done,
    }
}

/// Adds to a job what was remarked on the units that an earlier run has finished, which it does not know of.
fn remember(job: &mut JobDocument, earlier: &SavedRemarks) {
    let missed = earlier.not_probed.total();
    job.targets_scanned = job.targets_scanned.saturating_sub(missed);
    job.not_probed = job.not_probed.and(&earlier.not_probed);
    for note in &earlier.notes {
        if !job.notes.contains(note) {
            job.notes.push(note.clone());
        }
    }
    if missed == 0 {
        return;
    }
    if job.status == "completed" {
        "partial".clone_into(&mut job.status);
    }
    let told = job.not_probed.sentence(job.targets_total, &grouped(job.targets_total));
    // The job's own sentence counts less than the whole.
    let own = job.reason.take().filter(|reason| !NotProbedCounts::is_told_in(reason));
    job.reason = Some(own.map_or(told.clone(), |own| format!("{told}; {own}")));
}

/// Ends an interrupted scan: saves what is finished of it, and prints what it found.
async fn suspend(
    format: &FormatArgs,
    work: Resume,
    node: &impl EmbeddedNode,
    session: &ApiSession,
    job_id: &str,
    context: &mut Context,
) -> Result<(), Failure> {
    let Suspended { spec, units, mut remarks, unfinished, unfinished_probes } = node.suspend(job_id).await?;
    remarks.not_probed = remarks.not_probed.and(&work.remarks.not_probed);
    remarks.notes.extend(work.remarks.notes.iter().cloned());
    // First, because printing may fail: a terminal that has gone, a pipe that is closed.
    let saved = (!units.is_empty()).then(|| {
        let folder = std::env::current_dir().unwrap_or_else(|_| std::env::temp_dir());
        Resume { spec, units, remarks, ..work.clone() }.save(&folder, &jiff::Zoned::now())
    });
    let mut job = cancelled(session, job_id).await?;
    remember(&mut job, &work.remarks);
    let (total, done) = (job.targets_total, job.targets_scanned.saturating_add(job.not_probed.total()));
    job.reason = Some("the scan was interrupted".to_owned());
    let more = Unfinished { hosts: &unfinished, probes: unfinished_probes };
    let printed = finish(format, session, &job, more, None, context).await;
    let saved =
        saved.map(|saved| saved.map(|path| path.file_name().unwrap_or_default().to_string_lossy().into_owned()));
    context.say(what_is_left(total - done.min(total), saved));
    match printed {
        Err(failure) if failure.exit != ExitCode::Cancelled => Err(failure),
        _ => Err(Failure::quiet(ExitCode::Cancelled)),
    }
}

/// What there is to do about the targets that are left of an interrupted scan, of which something was `saved` or nothing is finished.
fn what_is_left(targets: u64, saved: Option<Result<String, impl std::fmt::Display>>) -> String {
    let left = match targets {
        0 => "no target is left".to_owned(),
        1 => "1 target is left".to_owned(),
        more => format!("{} are left", counted(more, "target")),
    };
    match saved {
        None => format!("{left}; nothing is finished, so the same command begins anew"),
        Some(Ok(path)) if targets == 0 => {
            format!("{left}; the results as a whole come with `pentora scan --resume {path}`")
        }
        Some(Ok(path)) => format!("{left}: go on with `pentora scan --resume {path}`"),
        Some(Err(why)) => format!("the scan cannot be taken up again later: {why}"),
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

#[cfg(test)]
mod tests {
    use pentora_scanner::finding::NotProbed;

    use super::*;
    use crate::cli::status::tests::original;

    #[tokio::test]
    async fn whatever_comes_before_a_scan_ends_at_an_interruption_with_a_word() {
        let failure = unless(async {}, std::future::pending::<Result<(), Failure>>()).await.unwrap_err();
        assert_eq!(failure.exit, ExitCode::Cancelled);
        assert!(failure.to_string().contains("before the scan began"), "{failure}");
        assert_eq!(unless(std::future::pending(), async { Ok(7) }).await.unwrap(), 7);
    }

    #[test]
    fn nobody_is_told_to_go_on_with_no_target() {
        let saved = || Some(Ok::<_, String>("x.resume".to_owned()));
        assert_eq!(what_is_left(2_000, saved()), "2,000 targets are left: go on with `pentora scan --resume x.resume`");
        assert_eq!(what_is_left(1, saved()), "1 target is left: go on with `pentora scan --resume x.resume`");
        let all = what_is_left(0, saved());
        assert!(all.starts_with("no target is left; the results as a whole") && !all.contains("go on"), "{all}");
        assert!(what_is_left(3, None::<Result<String, String>>).ends_with("the same command begins anew"));
    }

    #[test]
    fn targets_of_a_scan_that_never_began_are_counted_as_far_as_they_are_known() {
        let request = |targets: &[&str]| ScanRequest {
            targets: targets.iter().map(|text| (*text).to_owned()).collect(),
            ..ScanRequest::default()
        };
        let without = ScanRequest { exclude: vec!["10.0.0.0/25".into()], ..request(&["10.0.0.0/24", "a.example"]) };
        assert_eq!(targets_of(&without), 129);
        let text = ScanRequest { target_text: Some("10.0.0.1\n10.0.0.2".into()), ..request(&["10.0.0.1"]) };
        assert_eq!(targets_of(&text), 2);
        assert_eq!(targets_of(&request(&["fe80::%lo/64"])), 1);
        assert_eq!(targets_of(&ScanRequest { sample: Some(4), ..request(&["fd00::/64", "10.0.0.1"]) }), 2);
        assert_eq!(targets_of(&request(&[])), 1, "it is partial whatever it was");
    }

    #[test]
    fn a_scan_taken_up_again_keeps_what_was_not_probed_before() {
        let mut earlier = SavedRemarks { notes: ["a note".to_owned()].into(), ..SavedRemarks::default() };
        earlier.not_probed.add(NotProbed::NoRoute, 256);
        let whole = JobDocument {
            status: "completed".into(),
            targets_scanned: 10_000,
            targets_total: 10_000,
            reason: None,
            ..original()
        };
        let mut job = whole.clone();
        remember(&mut job, &earlier);
        assert_eq!((job.status.as_str(), job.targets_scanned), ("partial", 9_744));
        assert_eq!(job.reason.as_deref(), Some("256 of 10,000 targets were not probed: no route 256"));
        assert_eq!(job.notes, ["a note"]);
        let mut job = JobDocument {
            status: "partial".into(),
            reason: Some("2 of 9 targets were not probed: x".into()),
            ..whole.clone()
        };
        job.not_probed.add(NotProbed::GatewaySilent, 2);
        remember(&mut job, &earlier);
        assert_eq!(
            job.reason.as_deref(),
            Some("258 of 10,000 targets were not probed: no route 256, gateway silent 2")
        );
        let mut same = whole.clone();
        remember(&mut same, &SavedRemarks::default());
        assert_eq!(same, whole);
    }
}

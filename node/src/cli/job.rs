//! `pentora job list|status|watch|results|events|explain|pause|resume|reprioritize|cancel|export|verify|delete`.

use clap::{Args, Subcommand};
use pentora_raft::state::Priority;

use super::api_session::{ApiSession, NodeArgs, id};
use super::confirm::{YesArgs, confirm, confirm_where_asked};
use super::context::Context;
use super::follow::{Ended, follow, verdict};
use super::interrupt::Interrupts;
use super::job_bundle;
use super::list::{ListArgs, list};
use super::output::{counted, grouped, percent};
use super::plan;
use super::progress::Progress;
use super::results::{self, FormatArgs, Unfinished};
use super::shown::ShownArgs;
use super::status;
use super::table::{Column, NOTHING, Tabular};
use super::watch::{View, show};
use crate::client::Client;
use crate::document::JobDocument;
use crate::failure::{ExitCode, Failure};

/// Most characters of a job's title in a list.
const TITLE_CHARS_MAX: usize = 40;

/// What can be done with jobs.
#[derive(Debug, Subcommand)]
pub(super) enum JobCommand {
    /// Print every job, newest first.
    #[command(before_help = "Examples:\n  pentora job list\n  pentora job list --json")]
    List(ListArgs),
    /// Print a job's progress, workers and expected end.
    #[command(before_help = "Example:\n  pentora job status job-abc123")]
    Status(ViewArgs),
    /// Follow a job to its end; the exit code tells how it ended.
    #[command(before_help = "Example:\n  pentora job watch job-abc123")]
    Watch(JobArgs),
    /// Print what a job found, also while it runs.
    #[command(before_help = "Example:\n  pentora job results job-abc123 -o jsonl > hosts.jsonl")]
    Results(ResultsArgs),
    /// Print a job's history: grants, failures, hand-overs, each with its time.
    #[command(before_help = "Examples:\n  pentora job events job-abc123\n  pentora job events job-abc123 --watch")]
    Events(ViewArgs),
    /// Say who may work on each part of a job, why each other node may not, and what holds it up.
    #[command(before_help = "Examples:\n  pentora job explain job-abc123\n  pentora job explain job-abc123 --watch")]
    Explain(ViewArgs),
    /// Hold a job: nothing of it is sent until `job resume`; what is counted stays.
    #[command(before_help = "Example:\n  pentora job pause job-abc123")]
    Pause(JobArgs),
    /// Let a job go on that is held.
    #[command(before_help = "Example:\n  pentora job resume job-abc123")]
    Resume(JobArgs),
    /// Give a job another priority: its next units are served by it.
    #[command(before_help = "Example:\n  pentora job reprioritize job-abc123 high")]
    Reprioritize(ReprioritizeArgs),
    /// Stop a job; what it found stays.
    #[command(before_help = "Examples:\n  pentora job cancel job-abc123\n  pentora job cancel job-abc123 --yes")]
    Cancel(CancelArgs),
    /// Write a finished job to a file: its order, the audit log's entries, its results, signed.
    #[command(before_help = "Example:\n  pentora job export job-abc123 --output job-abc123.tar.gz")]
    Export(job_bundle::ExportArgs),
    /// Verify who ordered a finished job, that nothing beyond that was done, and that its results are unchanged. From a file
    /// it needs no node.
    #[command(before_help = "Examples:\n  pentora job verify job-abc123\n  \
                             pentora job verify job-abc123 --bundle job-abc123.tar.gz --key ed25519:AbC...")]
    Verify(Box<job_bundle::VerifyArgs>),
    /// Forget ended jobs and their results, on all nodes.
    #[command(before_help = "Example:\n  pentora job delete job-abc123 --yes")]
    Delete(DeleteArgs),
}

/// Which jobs go.
#[derive(Debug, Args)]
pub(super) struct DeleteArgs {
    /// The jobs' ids.
    #[arg(value_name = "JOB", required = true, value_parser = id)]
    job_ids: Vec<String>,
    #[command(flatten)]
    yes: YesArgs,
    #[command(flatten)]
    node: NodeArgs,
}

/// Which job, and who goes first.
#[derive(Debug, Args)]
pub(super) struct ReprioritizeArgs {
    #[command(flatten)]
    job: JobArgs,
    /// Who goes first: critical, high, normal, low.
    #[arg(value_name = "PRIORITY")]
    priority: Priority,
}

/// Which job.
#[derive(Debug, Args)]
pub(super) struct JobArgs {
    /// The job's id.
    #[arg(value_name = "JOB", value_parser = id)]
    job_id: String,
    #[command(flatten)]
    node: NodeArgs,
}

/// Which job is stopped.
#[derive(Debug, Args)]
pub(super) struct CancelArgs {
    #[command(flatten)]
    job: JobArgs,
    #[command(flatten)]
    yes: YesArgs,
}

/// Which job, and how it is printed.
#[derive(Debug, Args)]
pub(super) struct ViewArgs {
    #[command(flatten)]
    form: ShownArgs,
    /// Print again each second until the job has ended.
    #[arg(long)]
    watch: bool,
    #[command(flatten)]
    job: JobArgs,
}

/// Which job's results, and in which form.
#[derive(Debug, Args)]
pub(super) struct ResultsArgs {
    #[command(flatten)]
    format: FormatArgs,
    #[command(flatten)]
    job: JobArgs,
}

impl Tabular for JobDocument {
    fn columns() -> Vec<Column<Self>> {
        vec![
            Column::new("Job ID", |job| job.job_id.clone()),
            Column::new("Scans", |job| shortened(&job.title)),
            Column::new("Status", |job| super::table::aged(&status::title_case(&job.status), job.status_age_ms)),
            Column::new("Priority", |job| job.priority.to_string()),
            Column::new("Progress", |job| {
                format!(
                    "{} / {} ({:.0}%)",
                    grouped(job.targets_scanned),
                    grouped(job.targets_total),
                    percent(job.targets_scanned, job.targets_total).floor()
                )
            }),
            Column::new("Hosts up", |job| grouped(job.results.hosts_up)),
            Column::new("Open ports", |job| grouped(job.results.open_ports)),
            Column::new("Duration", |job| job.duration.clone()),
            Column::new("Submitted", |job| job.submitted_at.clone()),
        ]
    }
}

/// A job's title in as much room as a list has for it: its end stays, where the schedule's name is.
pub(super) fn shortened(title: &str) -> String {
    let (chars, schedule) = (title.chars().count(), title.rfind(" ["));
    if chars <= TITLE_CHARS_MAX {
        return if title.is_empty() { NOTHING.to_owned() } else { title.to_owned() };
    }
    let end = schedule.and_then(|at| title.get(at..)).filter(|end| end.chars().count() < TITLE_CHARS_MAX / 2);
    let end = end.unwrap_or_default();
    let room = TITLE_CHARS_MAX - 3 - end.chars().count();
    format!("{}...{end}", title.chars().take(room).collect::<String>().trim_end())
}

/// Carries the command out.
///
/// # Errors
/// No node answers, or it refuses; for `watch` also how the job ended.
pub(super) async fn run(command: JobCommand, context: &mut Context) -> Result<(), Failure> {
    match command {
        JobCommand::List(args) => list(&args, context, Client::jobs).await,
        JobCommand::Status(args) => {
            let session = ApiSession::open(&args.job.node, context)?;
            show(context, args.watch, async || {
                let job = session.client.job(&args.job.job_id).await.map_err(|error| session.failure(&error))?;
                let text = args.form.text(&job, || status::job_status(&job));
                Ok(View { text, last: job.has_ended() })
            })
            .await
        }
        JobCommand::Watch(args) => watch(args, context).await,
        JobCommand::Results(args) => print_results(args, context).await,
        JobCommand::Events(args) => events(args, context).await,
        JobCommand::Explain(args) => {
            let session = ApiSession::open(&args.job.node, context)?;
            show(context, args.watch, async || {
                let job = session.client.explain_job(&args.job.job_id).await;
                let job = job.map_err(|error| session.failure(&error))?;
                let last = matches!(job.status.as_str(), "completed" | "partial" | "failed" | "cancelled");
                Ok(View { text: args.form.text(&job, || plan::explain(&job)), last })
            })
            .await
        }
        JobCommand::Pause(args) => {
            let session = ApiSession::open(&args.node, context)?;
            let job = session.client.pause_job(&args.job_id).await.map_err(|error| session.failure(&error))?;
            context.say(format_args!("{} is {}; `pentora job resume {0}` lets it go on", job.job_id, job.status));
            Ok(())
        }
        JobCommand::Resume(args) => {
            let session = ApiSession::open(&args.node, context)?;
            let job = session.client.resume_job(&args.job_id).await.map_err(|error| session.failure(&error))?;
            context.say(format_args!("{} is {}", job.job_id, job.status));
            Ok(())
        }
        JobCommand::Reprioritize(args) => {
            let session = ApiSession::open(&args.job.node, context)?;
            let job = session.client.reprioritize(&args.job.job_id, args.priority).await;
            let job = job.map_err(|error| session.failure(&error))?;
            context.say(format_args!("{} has {} priority", job.job_id, job.priority));
            Ok(())
        }
        JobCommand::Cancel(CancelArgs { job: args, yes }) => {
            let session = ApiSession::open(&args.node, context)?;
            confirm_where_asked(yes, &format!("{} is stopped for good; what it found stays", args.job_id), context)?;
            session.client.cancel(&args.job_id).await.map_err(|error| session.failure(&error))?;
            context.say(format_args!("{} is cancelled; `pentora job results {0}` prints what it found", args.job_id));
            Ok(())
        }
        JobCommand::Export(args) => job_bundle::export(args, context).await,
        JobCommand::Verify(args) => job_bundle::check(*args, context).await,
        JobCommand::Delete(args) => delete(args, context).await,
    }
}

async fn delete(args: DeleteArgs, context: &mut Context) -> Result<(), Failure> {
    let session = ApiSession::open(&args.node, context)?;
    let what = format!("{} and all that was found is deleted, on all nodes", args.job_ids.join(", "));
    confirm(args.yes, &what, context)?;
    for job_id in &args.job_ids {
        session.client.delete_job(job_id).await.map_err(|error| session.failure(&error))?;
        context.say(format_args!("{job_id} is deleted; its results go from the disks after `results.grace`"));
    }
    Ok(())
}

async fn watch(args: JobArgs, context: &mut Context) -> Result<(), Failure> {
    let session = ApiSession::open(&args.node, context)?;
    let mut interrupts = Interrupts::listen()?;
    let progress = Progress::new(context);
    let ended = follow(&session, &args.job_id, &progress, &mut interrupts).await;
    progress.finish();
    match ended? {
        Ended::Job(job) => {
            context.output.print(&status::job_status(&job))?;
            verdict(&job)
        }
        Ended::Interrupted => Ok(()),
    }
}

async fn print_results(args: ResultsArgs, context: &mut Context) -> Result<(), Failure> {
    let session = ApiSession::open(&args.job.node, context)?;
    let job = session.client.job(&args.job.job_id).await.map_err(|error| session.failure(&error))?;
    let printed = results::print(&session, &job, Unfinished::default(), &args.format, None, context).await?;
    if job.status != "completed" {
        context.say(format_args!(
            "{} is {}: these are the results of {} of {}",
            job.job_id,
            super::output::clean(&job.status),
            grouped(job.targets_scanned),
            counted(job.targets_total, "target")
        ));
    }
    let printed = args.format.verdict(&printed);
    if job.has_ended() {
        return match printed {
            // What is missing says more than that the job is partial, and that more than what was found.
            Err(missing) if missing.exit == ExitCode::JobIncomplete => Err(missing),
            printed => verdict(&job).and(printed),
        };
    }
    printed
}

/// Prints the history; while watching, only what is new since the last look.
async fn events(args: ViewArgs, context: &mut Context) -> Result<(), Failure> {
    let session = ApiSession::open(&args.job.node, context)?;
    let zone = jiff::tz::TimeZone::system();
    let job_id = &args.job.job_id;
    let mut after = None;
    let mut seen = Vec::new();
    let redraw = context.output.terminal;
    show(context, args.watch, async || {
        // The job first: when it has ended by then, its last event is among those that follow.
        let last = session.client.job(job_id).await.map_err(|error| session.failure(&error))?.has_ended();
        let new = session.client.events(job_id, after).await.map_err(|error| session.failure(&error))?;
        after = new.last().map(|event| event.index).or(after);
        let text = match args.form.data(&new) {
            // A document for each event while watching, and one of all otherwise.
            Some(_) if args.watch => new.iter().filter_map(|event| args.form.data(event)).collect(),
            Some(data) => data,
            None if args.watch && !redraw => status::events(&new, &zone),
            None => {
                seen.extend(new);
                status::events(&seen, &zone)
            }
        };
        Ok(View { text, last })
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::super::status::tests::original;
    use super::super::table::cells;
    use super::*;

    #[test]
    fn a_job_is_listed_with_its_progress_rounded_down() {
        let heads =
            ["Job ID", "Scans", "Status", "Priority", "Progress", "Hosts up", "Open ports", "Duration", "Submitted"];
        let row = [
            "job-abc123",
            "10.0.0.0/16 [nightly]",
            "Running",
            "normal",
            "2,456 / 10,000 (24%)",
            "1,234",
            "2",
            "12m 34s",
            "2025-07-10T12:00:00Z",
        ];
        assert_eq!(cells(&[JobDocument { title: "10.0.0.0/16 [nightly]".into(), ..original() }]), [heads, row]);
    }

    #[test]
    fn a_long_title_keeps_its_beginning_and_the_name_of_its_schedule() {
        for (title, shown) in [
            ("", "-"),
            ("10.0.0.0/8", "10.0.0.0/8"),
            ("10.0.0.0/24, 10.0.1.0/24, 10.0.2.0/24, 10.0.3.0/24", "10.0.0.0/24, 10.0.1.0/24, 10.0.2.0/24..."),
            ("10.0.0.0/24, 10.0.1.0/24, 10.0.2.0/24 [nightly]", "10.0.0.0/24, 10.0.1.0/24, 1... [nightly]"),
        ] {
            assert_eq!(shortened(title), shown);
        }
    }
}

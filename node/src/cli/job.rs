//! `pentora job list|status|watch|results|events|cancel`.

use clap::{Args, Subcommand};

use super::api_session::{ApiSession, NodeArgs, id};
use super::context::Context;
use super::follow::{Ended, follow, verdict};
use super::interrupt::Interrupts;
use super::list::{ListArgs, list};
use super::output::{grouped, percent};
use super::progress::Progress;
use super::results::{self, FormatArgs};
use super::status;
use super::table::{Column, Tabular};
use super::watch::{View, json, show};
use crate::client::Client;
use crate::document::JobDocument;
use crate::failure::Failure;

/// What can be done with jobs.
#[derive(Debug, Subcommand)]
pub(super) enum JobCommand {
    /// Print every job, newest first.
    List(ListArgs),
    /// Print a job's progress, workers and expected end.
    #[command(before_help = "Example:\n  pentora job status job-abc123")]
    Status(ViewArgs),
    /// Follow a job to its end; the exit code tells how it ended.
    Watch(JobArgs),
    /// Print what a job found, also while it runs.
    #[command(before_help = "Example:\n  pentora job results job-abc123 -o jsonl > hosts.jsonl")]
    Results(ResultsArgs),
    /// Print a job's history: grants, failures, hand-overs, each with its time.
    Events(ViewArgs),
    /// Stop a job; what it found stays.
    Cancel(JobArgs),
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

/// Which job, and how it is printed.
#[derive(Debug, Args)]
pub(super) struct ViewArgs {
    /// Print JSON.
    #[arg(long)]
    json: bool,
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
            Column::new("Status", |job| status::title_case(&job.status)),
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
                let text = if args.json { json(&job) } else { status::job_status(&job) };
                Ok(View { text, last: job.has_ended() })
            })
            .await
        }
        JobCommand::Watch(args) => watch(args, context).await,
        JobCommand::Results(args) => print_results(args, context).await,
        JobCommand::Events(args) => events(args, context).await,
        JobCommand::Cancel(args) => {
            let session = ApiSession::open(&args.node, context)?;
            session.client.cancel(&args.job_id).await.map_err(|error| session.failure(&error))?;
            context.say(format_args!("{} is cancelled; `pentora job results {0}` prints what it found", args.job_id));
            Ok(())
        }
    }
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
    let printed = results::print(&session, &job, &[], &args.format, context).await?;
    if job.status != "completed" {
        context.say(format_args!(
            "{} is {}: these are the results of {} of {} targets",
            job.job_id,
            super::output::clean(&job.status),
            grouped(job.targets_scanned),
            grouped(job.targets_total)
        ));
    }
    args.format.verdict(&printed)
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
        let text = if args.json && args.watch {
            new.iter().map(json).collect()
        } else if args.json {
            json(&new)
        } else if args.watch && !redraw {
            status::events(&new, &zone)
        } else {
            seen.extend(new);
            status::events(&seen, &zone)
        };
        Ok(View { text, last })
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::super::status::tests::original;
    use super::super::table::cells;

    #[test]
    fn a_job_is_listed_with_its_progress_rounded_down() {
        let heads = ["Job ID", "Status", "Priority", "Progress", "Hosts up", "Open ports", "Duration", "Submitted"];
        let row = [
            "job-abc123",
            "Running",
            "normal",
            "2,456 / 10,000 (24%)",
            "1,234",
            "2",
            "12m 34s",
            "2025-07-10T12:00:00Z",
        ];
        assert_eq!(cells(&[original()]), [heads, row]);
    }
}

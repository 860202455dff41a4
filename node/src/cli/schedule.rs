//! `pentora schedule add|list|show|next|pause|resume|remove`, and what `pentora scan --schedule` shares with it.

use clap::{Args, Subcommand};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use pentora_raft::state::is_schedule_name;
use pentora_scanner::report::Format;

use super::api_session::{ApiSession, NodeArgs};
use super::confirm::{YesArgs, confirm};
use super::context::Context;
use super::key::SignArgs;
use super::list::{ListArgs, list};
use super::output::{clean, counted};
use super::scan::{RequestArgs, request_of};
use super::shown::ShownArgs;
use super::status::title_case;
use super::table::{Column, NOTHING, Tabular};
use crate::client::Client;
use crate::document::{ScanRequest, ScheduleDocument, ScheduleRequest, ScheduleRun, ScheduleTime, ScheduleTimes};
use crate::failure::{ExitCode, Failure};

const EXAMPLES: &str = "\
Examples:
  pentora schedule add nightly 10.0.0.0/8 --priority low --schedule \"0 2 * * *\" --timezone Europe/Berlin
  pentora schedule add month-end 10.1.0.0/16 --schedule \"30 22 L * *\" --missed run-once
  pentora schedule add patch-day 10.2.0.0/16 --schedule \"0 3 * * wed#2\" --overlap queue
  pentora schedule add signed 10.3.0.0/16 --schedule \"0 1 * * *\" --sign --sign-for 90d
  pentora schedule list
  pentora schedule next nightly --count 10
  pentora schedule pause nightly
";

/// What can be done with schedules.
#[derive(Debug, Subcommand)]
#[command(before_help = EXAMPLES)]
pub(super) enum ScheduleCommand {
    /// Make a scan begin by itself at times.
    #[command(
        before_help = "Example:\n  pentora schedule add nightly 10.0.0.0/8 --schedule \"0 2 * * *\" --timezone Europe/Berlin"
    )]
    Add(Box<AddArgs>),
    /// Print the schedules, with the next and the last run of each.
    #[command(before_help = "Example:\n  pentora schedule list --json")]
    List(ListArgs),
    /// Print a schedule: its times, what it scans, its next and its last runs with what came of each.
    #[command(before_help = "Example:\n  pentora schedule show nightly")]
    Show(ViewArgs),
    /// Print the next times of a schedule, in its zone, in UTC, and in this machine's.
    #[command(before_help = "Example:\n  pentora schedule next nightly --count 10")]
    Next(NextArgs),
    /// Hold a schedule: nothing begins until `schedule resume`; a run that is on goes on.
    #[command(before_help = "Example:\n  pentora schedule pause nightly")]
    Pause(NameArgs),
    /// Let a schedule go on with its next time.
    #[command(before_help = "Example:\n  pentora schedule resume nightly")]
    Resume(NameArgs),
    /// Take a schedule away; its jobs and their results stay.
    #[command(before_help = "Example:\n  pentora schedule remove nightly --yes")]
    Remove(RemoveArgs),
}

/// How a schedule keeps its times.
#[derive(Debug, Clone, Default, Args)]
pub(super) struct WhenArgs {
    /// The zone of these times, by its IANA name [default: this machine's].
    #[arg(long, value_name = "IANA", help_heading = "Schedule")]
    timezone: Option<String>,
    /// What becomes of times at which nothing could be started: skip, or run-once for all of them [default: skip].
    #[arg(long, value_name = "WHAT", value_parser = ["skip", "run-once"], hide_possible_values = true, help_heading = "Schedule")]
    missed: Option<String>,
    /// What becomes of a time at which the run before is not over: skip, queue, allow [default: skip].
    #[arg(long, value_name = "WHAT", value_parser = ["skip", "queue", "allow"], hide_possible_values = true, help_heading = "Schedule")]
    overlap: Option<String>,
}

impl WhenArgs {
    /// Whether anything is said.
    pub(super) fn is_said(&self) -> bool {
        self.timezone.is_some() || self.missed.is_some() || self.overlap.is_some()
    }
}

/// What to scan, and when.
#[derive(Debug, Args)]
pub(super) struct AddArgs {
    /// What the schedule is called.
    #[arg(value_parser = name)]
    name: String,
    #[command(flatten)]
    request: RequestArgs,
    /// Its times: minute, hour, day of the month, month, day of the week, as in cron; or @hourly, @daily, @weekly, @monthly.
    #[arg(long, value_name = "CRON", help_heading = "Schedule")]
    schedule: String,
    #[command(flatten)]
    when: WhenArgs,
    #[command(flatten)]
    sign: SignArgs,
    #[command(flatten)]
    form: ShownArgs,
    #[command(flatten)]
    node: NodeArgs,
}

/// Which schedule.
#[derive(Debug, Args)]
pub(super) struct NameArgs {
    /// The schedule's name.
    #[arg(value_name = "SCHEDULE", value_parser = name)]
    name: String,
    #[command(flatten)]
    node: NodeArgs,
}

/// Which schedule, and how it is printed.
#[derive(Debug, Args)]
pub(super) struct ViewArgs {
    #[command(flatten)]
    name: NameArgs,
    #[command(flatten)]
    form: ShownArgs,
}

/// Which schedule's times, and how many.
#[derive(Debug, Args)]
pub(super) struct NextArgs {
    #[command(flatten)]
    view: ViewArgs,
    /// How many.
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100))]
    count: u32,
}

/// Which schedule goes.
#[derive(Debug, Args)]
pub(super) struct RemoveArgs {
    #[command(flatten)]
    name: NameArgs,
    #[command(flatten)]
    yes: YesArgs,
}

impl Tabular for ScheduleDocument {
    fn columns() -> Vec<Column<Self>> {
        vec![
            Column::new("Name", |schedule| schedule.name.clone()),
            Column::new("Status", |schedule| title_case(&schedule.status)),
            Column::new("Times", |schedule| schedule.cron.clone()),
            Column::new("Zone", |schedule| schedule.timezone.clone()),
            Column::new("Scans", |schedule| schedule.title.clone()),
            Column::new("Next", |schedule| schedule.next.first().map_or_else(|| NOTHING.to_owned(), in_zone)),
            Column::new("Last", |schedule| schedule.runs.first().map_or_else(|| NOTHING.to_owned(), outcome)),
        ]
    }
}

/// Carries the command out.
///
/// # Errors
/// No node answers, or it refuses.
pub(super) async fn run(command: ScheduleCommand, context: &mut Context) -> Result<(), Failure> {
    match command {
        ScheduleCommand::Add(args) => {
            let AddArgs { name, request, schedule, when, sign, form, node } = *args;
            let scan = request_of(&request, Format::Json, context)?;
            let session = ApiSession::open(&node, context)?;
            add(&session, Wanted { name: Some(name), cron: schedule, when, scan, sign, form }, context).await
        }
        ScheduleCommand::List(args) => list(&args, context, Client::schedules).await,
        ScheduleCommand::Show(args) => {
            let session = ApiSession::open(&args.name.node, context)?;
            let asked = session.client.schedule(&args.name.name).await;
            let schedule = asked.map_err(|error| session.failure(&error))?;
            let text = args.form.text(&schedule, || show(&schedule, &TimeZone::system()));
            context.output.print(&text)
        }
        ScheduleCommand::Next(NextArgs { view, count }) => {
            let session = ApiSession::open(&view.name.node, context)?;
            let asked = session.client.schedule_next(&view.name.name, count).await;
            let times = asked.map_err(|error| session.failure(&error))?;
            let text = view.form.text(&times, || next(&times, &TimeZone::system()));
            context.output.print(&text)
        }
        ScheduleCommand::Pause(args) => hold(&args, true, context).await,
        ScheduleCommand::Resume(args) => hold(&args, false, context).await,
        ScheduleCommand::Remove(args) => {
            let name = &args.name.name;
            confirm(args.yes, &format!("the schedule {name} is removed"), context)?;
            let session = ApiSession::open(&args.name.node, context)?;
            session.client.remove_schedule(name).await.map_err(|error| session.failure(&error))?;
            context.say(format_args!("{name} is removed; its jobs stay"));
            Ok(())
        }
    }
}

/// A schedule to be made.
pub(super) struct Wanted {
    pub(super) name: Option<String>,
    pub(super) cron: String,
    pub(super) when: WhenArgs,
    pub(super) scan: ScanRequest,
    pub(super) sign: SignArgs,
    pub(super) form: ShownArgs,
}

/// Makes a schedule, prints its name, and says when it runs next.
///
/// # Errors
/// No node answers, or it refuses.
pub(super) async fn add(session: &ApiSession, wanted: Wanted, context: &mut Context) -> Result<(), Failure> {
    let Wanted { name, cron, when, scan, sign, form } = wanted;
    let here = TimeZone::system();
    let (timezone, whose) = match when.timezone {
        Some(timezone) => (timezone, ""),
        None => (here.iana_name().unwrap_or("UTC").to_owned(), ", this machine's zone (--timezone names another)"),
    };
    let scan = sign.signed(scan, Some((&cron, &timezone)), context)?;
    let request =
        ScheduleRequest { name, cron, timezone: Some(timezone), missed: when.missed, overlap: when.overlap, scan };
    let schedule = session.client.add_schedule(&request).await.map_err(|error| session.failure(&error))?;
    if let Some(text) = form.data(&schedule) {
        return context.output.print(&text);
    }
    context.output.print(&format!("{}\n", clean(&schedule.name)))?;
    let zone = clean(&schedule.timezone);
    context.say(format_args!("{}: {} in {zone}{whose}", clean(&schedule.name), clean(&schedule.cron)));
    context.say(times_text(&schedule.next, &schedule.timezone, &here).trim_end());
    Ok(())
}

async fn hold(args: &NameArgs, paused: bool, context: &mut Context) -> Result<(), Failure> {
    let session = ApiSession::open(&args.node, context)?;
    let held = session.client.hold_schedule(&args.name, paused).await.map_err(|error| session.failure(&error))?;
    match held.next.first() {
        Some(time) => context.say(format_args!("{} runs next at {}", args.name, clean(&in_zone(time)))),
        None if paused => {
            context.say(format_args!("{0} is held; `pentora schedule resume {0}` lets it go on", args.name));
        }
        None => context.say(format_args!("{} has no time any more", args.name)),
    }
    Ok(())
}

fn show(schedule: &ScheduleDocument, reader: &TimeZone) -> String {
    let mut text = format!(
        "Name: {}\nStatus: {}\nScans: {}\nTimes: {} in {}\nMissed: {}\nOverlap: {}\nCreated: {}\n",
        clean(&schedule.name),
        title_case(&schedule.status),
        clean(&schedule.title),
        clean(&schedule.cron),
        clean(&schedule.timezone),
        clean(&schedule.missed),
        clean(&schedule.overlap),
        clean(&schedule.created_at),
    );
    schedule.notes.iter().for_each(|note| text.push_str(&format!("Note: {}\n", clean(note))));
    if !schedule.next.is_empty() {
        text.push_str("\nNext:\n");
        text.push_str(&times_text(&schedule.next, &schedule.timezone, reader));
    }
    if !schedule.runs.is_empty() {
        text.push_str("\nLast:\n");
        for run in &schedule.runs {
            text.push_str(&format!("  {}  {}\n", clean(&in_zone(&run.due)), clean(&outcome(run))));
        }
    }
    text
}

fn next(times: &ScheduleTimes, reader: &TimeZone) -> String {
    let head = format!("{}: {} in {}\n", clean(&times.name), clean(&times.cron), clean(&times.timezone));
    head + &times_text(&times.next, &times.timezone, reader)
}

/// A line for each time: in the schedule's zone, in UTC, and in the reader's where that is another.
fn times_text(times: &[ScheduleTime], zone: &str, reader: &TimeZone) -> String {
    let is_other = reader.iana_name().is_some_and(|name| name != zone && name != "UTC");
    let line = |time: &ScheduleTime| {
        let mut line = format!("  {}", clean(&in_zone(time)));
        if time.zone != "UTC" {
            line.push_str(&format!("  {} UTC", clean(&minute(&time.utc))));
        }
        let here = i64::try_from(time.at_ms).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok());
        if let Some(here) = here.filter(|_| is_other) {
            line.push_str(&here.to_zoned(reader.clone()).strftime("  %Y-%m-%d %H:%M %Z").to_string());
        }
        line + "\n"
    };
    times.iter().map(line).collect()
}

/// `Mon 2026-11-30 02:00 CET`.
fn in_zone(time: &ScheduleTime) -> String {
    let day = time.at.get(..10).and_then(|date| date.parse::<jiff::civil::Date>().ok());
    let day = day.map_or_else(String::new, |date| date.strftime("%a ").to_string());
    format!("{day}{} {}", minute(&time.at), time.zone)
}

/// `2026-11-30 02:00`.
fn minute(rfc3339: &str) -> String {
    rfc3339.get(..16).unwrap_or(rfc3339).replace('T', " ")
}

/// `started job-abc123 (3 times passed over)`.
fn outcome(run: &ScheduleRun) -> String {
    let mut text = match (&run.job_id, &run.reason) {
        (Some(job), _) if run.outcome == "overlapped" => format!("not begun: {job} was not over"),
        (Some(job), _) => format!("{} {job}", run.outcome),
        (None, Some(reason)) => format!("{}: {reason}", run.outcome),
        (None, None) => run.outcome.clone(),
    };
    if run.passed_over > 0 {
        text.push_str(&format!(" ({} passed over)", counted(run.passed_over.into(), "earlier time")));
    }
    text
}

/// A schedule's name as it may stand in a path.
///
/// # Errors
/// A sentence for the usage message.
pub(super) fn name(text: &str) -> Result<String, String> {
    if is_schedule_name(text) {
        return Ok(text.to_owned());
    }
    Err("a schedule's name has 1 to 64 letters, digits, -, _ and .".to_owned())
}

/// What a scan that is to begin later cannot do.
pub(super) fn no_cluster() -> Failure {
    Failure::new(ExitCode::Unreachable, "there is no cluster to keep the schedule")
        .because(
            "no --api, PENTORA_API or client.api is set, and no node with a readable admin.token runs on this host",
        )
        .next("name a node with --api, or start one with `pentora-node start --init`")
}

#[cfg(test)]
mod tests {
    use super::super::table::cells;
    use super::*;

    fn time() -> ScheduleTime {
        ScheduleTime {
            at: "2026-11-30T02:00:00+01:00".into(),
            utc: "2026-11-30T01:00:00.000Z".into(),
            zone: "CET".into(),
            at_ms: 1_796_000_400_000,
        }
    }

    fn schedule() -> ScheduleDocument {
        let run = |outcome: &str, job_id: Option<&str>, reason: Option<&str>, passed_over| ScheduleRun {
            due: time(),
            decided_at: "2026-11-30T01:00:00.250Z".into(),
            outcome: outcome.into(),
            job_id: job_id.map(str::to_owned),
            reason: reason.map(str::to_owned),
            passed_over,
        };
        ScheduleDocument {
            name: "nightly".into(),
            status: "active".into(),
            cron: "0 2 * * *".into(),
            timezone: "Europe/Berlin".into(),
            missed: "skip".into(),
            overlap: "queue".into(),
            title: "10.0.0.0/8".into(),
            created_at: "2026-11-29T12:00:00.000Z".into(),
            next: vec![time()],
            runs: vec![
                run("refused", None, Some("no node can scan 10.0.0.0/8"), 0),
                run("started", Some("job-000009"), None, 2),
                run("overlapped", Some("job-000007"), None, 0),
                run("missed", None, None, 1),
            ],
            scan: None,
            notes: vec!["a note".into()],
        }
    }

    #[test]
    fn a_schedule_is_shown_with_its_next_times_in_both_zones_and_what_came_of_the_last() {
        let expected = "\
Name: nightly
Status: Active
Scans: 10.0.0.0/8
Times: 0 2 * * * in Europe/Berlin
Missed: skip
Overlap: queue
Created: 2026-11-29T12:00:00.000Z
Note: a note

Next:
  Mon 2026-11-30 02:00 CET  2026-11-30 01:00 UTC

Last:
  Mon 2026-11-30 02:00 CET  refused: no node can scan 10.0.0.0/8
  Mon 2026-11-30 02:00 CET  started job-000009 (2 earlier times passed over)
  Mon 2026-11-30 02:00 CET  not begun: job-000007 was not over
  Mon 2026-11-30 02:00 CET  missed (1 earlier time passed over)
";
        assert_eq!(show(&schedule(), &TimeZone::UTC), expected);
    }

    #[test]
    fn a_reader_elsewhere_sees_the_times_of_the_own_zone_as_well() {
        let tokyo = jiff::tz::TimeZoneDatabase::bundled().get("Asia/Tokyo").unwrap();
        let expected = "  Mon 2026-11-30 02:00 CET  2026-11-30 01:00 UTC  2026-11-30 10:00 JST\n";
        assert_eq!(times_text(&[time()], "Europe/Berlin", &tokyo), expected);
    }

    #[test]
    fn a_list_has_a_line_per_schedule() {
        let none = ScheduleDocument { next: Vec::new(), runs: Vec::new(), status: "paused".into(), ..schedule() };
        let heads = ["Name", "Status", "Times", "Zone", "Scans", "Next", "Last"];
        let row = |status, next, last| ["nightly", status, "0 2 * * *", "Europe/Berlin", "10.0.0.0/8", next, last];
        let refused = "refused: no node can scan 10.0.0.0/8";
        assert_eq!(
            cells(&[schedule(), none]),
            [heads, row("Active", "Mon 2026-11-30 02:00 CET", refused), row("Paused", "-", "-")]
        );
    }
}

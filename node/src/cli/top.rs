//! `pentora top`: the cluster, its open jobs and its workers on one screen, as they are now.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use clap::Args;
use futures::future::try_join_all;
use serde::Serialize;

use super::api_session::{ApiSession, NodeArgs};
use super::cluster::{margin, warnings};
use super::context::Context;
use super::job::shortened;
use super::output::{clean, grouped, percent};
use super::shown::ShownArgs;
use super::status::{eta, title_case};
use super::table::{Column, NOTHING, Tabular, aged, table};
use super::watch::{View, show};
use crate::client::{Client, ClientError};
use crate::document::{ClusterDocument, JobDocument, QueueDocument, WorkerDocument};
use crate::failure::Failure;

/// Jobs that are asked for, however high the terminal is: the ones that are served next.
const JOBS_MAX: usize = 20;
/// Lines of a screen whose height nobody tells.
const LINES_ELSEWHERE: usize = 50;
/// Lines of a table beside its rows: its borders, its heads and the one below it that counts the rest.
const LINES_AROUND: usize = 5;
/// Workers tell how far they are every few seconds; a rate over less jumps.
const RATE_OVER: Duration = Duration::from_secs(5);

/// How it is shown.
#[derive(Debug, Args)]
#[command(before_help = "Examples:\n  pentora top\n  pentora top --once\n  pentora top --json")]
pub(super) struct TopArgs {
    #[command(flatten)]
    form: ShownArgs,
    /// Look once. That is what happens where standard output is no terminal, too.
    #[arg(long)]
    once: bool,
    /// Look again each second, also where standard output is no terminal.
    #[arg(long, conflicts_with = "once")]
    watch: bool,
    #[command(flatten)]
    node: NodeArgs,
}

/// What there is to see at one moment.
#[derive(Debug, Serialize)]
struct Look {
    cluster: ClusterDocument,
    queue: QueueDocument,
    jobs: Vec<JobDocument>,
    workers: Vec<WorkerDocument>,
}

impl Look {
    async fn take(client: &Client) -> Result<Self, ClientError> {
        let (cluster, queue, workers) = tokio::try_join!(client.cluster(), client.queue(), client.workers())?;
        let ids = queue.classes.iter().flat_map(|class| &class.jobs).take(JOBS_MAX);
        let jobs = try_join_all(ids.map(|job| async {
            match client.job(&job.job_id).await {
                // It was deleted between the two questions.
                Err(ClientError::Refused { status: 404, .. }) => Ok(None),
                other => other.map(Some),
            }
        }));
        Ok(Self { jobs: jobs.await?.into_iter().flatten().collect(), cluster, queue, workers })
    }
}

/// Carries the command out.
///
/// # Errors
/// No node answers, or it refuses.
pub(super) async fn run(args: TopArgs, context: &mut Context) -> Result<(), Failure> {
    let session = ApiSession::open(&args.node, context)?;
    let watch = args.watch || context.output.terminal && !args.once;
    let unicode = context.output.unicode;
    let mut rates = Rates::default();
    let lines = context.output.lines().unwrap_or(LINES_ELSEWHERE);
    show(context, watch, async || {
        let look = Look::take(&session.client).await.map_err(|error| session.failure(&error))?;
        rates.look(&look.jobs, Instant::now());
        let text = args.form.text(&look, || screen(&look, &rates, unicode, lines));
        Ok(View { text, last: false })
    })
    .await
}

/// How far a job was at one look.
#[derive(Debug, Clone, Copy)]
struct Mark {
    at: Instant,
    targets: u64,
    probes: u64,
}

/// What a job does in a second, over the last few.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Rate {
    targets: f64,
    probes: f64,
}

/// How fast each job is, from how far it was before.
#[derive(Debug, Default)]
struct Rates {
    /// The looks of the last seconds, the oldest first.
    marks: HashMap<String, Vec<Mark>>,
}

impl Rates {
    fn look(&mut self, jobs: &[JobDocument], now: Instant) {
        self.marks.retain(|id, _| jobs.iter().any(|job| &job.job_id == id));
        for job in jobs {
            let marks = self.marks.entry(job.job_id.clone()).or_default();
            // One look from before the window stays: it is where the window begins.
            while marks.get(1).is_some_and(|mark| now.duration_since(mark.at) >= RATE_OVER) {
                marks.remove(0);
            }
            marks.push(Mark {
                at: now,
                targets: job.targets_scanned + job.in_progress.targets,
                probes: job.probes_sent + job.in_progress.probes_sent,
            });
        }
    }

    /// A job's rate; none before there were two looks.
    fn of(&self, job: &str) -> Option<Rate> {
        let marks = self.marks.get(job)?;
        let (first, last) = (marks.first()?, marks.last()?);
        let seconds = last.at.duration_since(first.at).as_secs_f64();
        // Work that is handed on counts less than before: that is no negative speed.
        let over = |before: u64, now: u64| now.saturating_sub(before) as f64 / seconds;
        (seconds > 0.0)
            .then(|| Rate { targets: over(first.targets, last.targets), probes: over(first.probes, last.probes) })
    }
}

/// A job's row.
struct JobRow {
    job: JobDocument,
    rate: Option<Rate>,
}

impl Tabular for JobRow {
    fn columns() -> Vec<Column<Self>> {
        vec![
            Column::new("Job ID", |row| row.job.job_id.clone()),
            Column::new("Scans", |row| shortened(&row.job.title)),
            Column::at_least(7, "Status", |row| aged(&title_case(&row.job.status), row.job.status_age_ms)),
            Column::new("Priority", |row| row.job.priority.to_string()),
            Column::at_least(16, "Progress", |row| {
                let done = row.job.targets_scanned + row.job.in_progress.targets;
                let total = row.job.targets_total;
                format!("{} / {} ({:.1}%)", grouped(done), grouped(total), percent(done, total).min(100.0))
            }),
            Column::new("Workers", |row| grouped(row.job.active_workers.into())),
            Column::at_least(9, "Targets/s", |row| per_second(row.rate.map(|rate| rate.targets))),
            Column::at_least(8, "Probes/s", |row| per_second(row.rate.map(|rate| rate.probes))),
            Column::new("Hosts up", |row| grouped(row.job.results.hosts_up + row.job.in_progress.hosts_up)),
            Column::new("Open ports", |row| grouped(row.job.results.open_ports + row.job.in_progress.open_ports)),
            Column::at_least(7, "ETA", |row| eta(row.job.eta_seconds)),
        ]
    }
}

/// A figure per second; one that is not known yet is a dash.
fn per_second(rate: Option<f64>) -> String {
    rate.map_or_else(|| NOTHING.to_owned(), |rate| format!("{rate:.0}"))
}

/// Everything, in so many lines at most: the jobs first, then as many workers as there is room for.
fn screen(look: &Look, rates: &Rates, unicode: bool, lines: usize) -> String {
    let mut text = head(look, rates);
    text.extend(warnings(&look.cluster));
    text.push('\n');
    let room = lines.saturating_sub(text.lines().count() + 1);
    let open: usize = look.queue.classes.iter().map(|class| class.jobs.len()).sum();
    let half = room / 2;
    let needed = look.workers.len() + LINES_AROUND;
    let for_jobs = if needed < half { room - needed } else { half };
    let rows: Vec<JobRow> =
        look.jobs.iter().map(|job| JobRow { rate: rates.of(&job.job_id), job: job.clone() }).collect();
    let shown = rows.len().min(for_jobs.saturating_sub(LINES_AROUND).max(1));
    if open == 0 {
        text.push_str("No job is open.\n");
    } else {
        text.push_str(&table(unicode, rows.get(..shown).unwrap_or(&rows)));
        text.push_str(&rest(open, shown, "job"));
    }
    text.push('\n');
    let room = lines.saturating_sub(text.lines().count() + LINES_AROUND).max(1);
    let mut workers: Vec<&WorkerDocument> = look.workers.iter().collect();
    // Who works is what somebody looks for; within that the order of the list stays.
    workers.sort_by_key(|worker| std::cmp::Reverse(worker.load.map_or(0, |load| load.running)));
    let shown: Vec<WorkerDocument> = workers.iter().take(room).map(|worker| (*worker).clone()).collect();
    text.push_str(&table(unicode, &shown));
    text.push_str(&rest(workers.len(), shown.len(), "worker"));
    text
}

/// What is not shown of a list.
fn rest(all: usize, shown: usize, what: &str) -> String {
    match all.saturating_sub(shown) {
        0 => String::new(),
        1 => format!("and 1 more {what}\n"),
        more => format!("and {} more {what}s\n", grouped(more as u64)),
    }
}

/// Three lines: the cluster, its workers, its jobs.
fn head(look: &Look, rates: &Rates) -> String {
    let cluster = &look.cluster;
    let leader = cluster.leader.as_deref().map_or_else(|| "none".to_owned(), clean);
    let mut by_status: Vec<(String, u64)> = Vec::new();
    for worker in &look.workers {
        match by_status.iter_mut().find(|(status, _)| *status == worker.status) {
            Some((_, count)) => *count += 1,
            None => by_status.push((worker.status.clone(), 1)),
        }
    }
    let by_status: Vec<String> =
        by_status.iter().map(|(status, count)| format!("{count} {}", clean(status).to_lowercase())).collect();
    let loads = look.workers.iter().filter_map(|worker| worker.load);
    let (running, capacity) = loads.fold((0, 0), |(running, capacity), load| {
        (running + u64::from(load.running), capacity + u64::from(load.capacity))
    });
    let classes = look.queue.classes.iter().map(|class| format!("{} {}", clean(&class.class), class.jobs.len()));
    let known: Vec<Rate> = look.jobs.iter().filter_map(|job| rates.of(&job.job_id)).collect();
    let sum = |of: fn(&Rate) -> f64| (!known.is_empty()).then(|| known.iter().map(of).sum());
    format!(
        "Cluster: leader {leader} (term {}), {}\nWorkers: {}{}; units {running} of {capacity}\n\
         Jobs: {}, {} waiting; targets/s {}, probes/s {}\n",
        cluster.term,
        margin(cluster),
        look.workers.len(),
        if by_status.is_empty() { String::new() } else { format!(" ({})", by_status.join(", ")) },
        classes.collect::<Vec<_>>().join(", "),
        grouped(look.queue.waiting),
        per_second(sum(|rate| rate.targets)),
        per_second(sum(|rate| rate.probes)),
    )
}

#[cfg(test)]
mod tests {
    use super::super::status::tests::original;
    use super::*;
    use crate::document::{NodeDocument, QueueClass, QueuedJob, Quorum};
    use pentora_raft::state::Priority;

    fn worker(number: u32, running: u32) -> WorkerDocument {
        let status = if running > 0 { "Active" } else { "Idle" };
        super::super::workers::tests::worker(&format!("wrk_{number}"), status, "eu", Some((running, 10)), Some(60))
    }

    fn look(jobs: usize, workers: u32) -> Look {
        let jobs: Vec<JobDocument> =
            (0..jobs).map(|id| JobDocument { job_id: format!("job-{id:06}"), ..original() }).collect();
        let queued = jobs.iter().map(|job| QueuedJob {
            job_id: job.job_id.clone(),
            status: "running".into(),
            targets_left: 1,
            age_seconds: 0,
            served_as: "P2".into(),
        });
        Look {
            cluster: ClusterDocument {
                leader: Some("n1".into()),
                term: 4,
                quorum: Quorum { voters: 3, needed: 2, failures_tolerated: Some(1) },
                nodes: vec![NodeDocument { name: "n1".into(), ..NodeDocument::default() }],
                ..ClusterDocument::default()
            },
            queue: QueueDocument {
                classes: vec![QueueClass { priority: Priority::Normal, class: "P2".into(), jobs: queued.collect() }],
                waiting: 0,
                max_waiting: 100,
                status_age_ms: None,
            },
            workers: (0..workers).map(|number| worker(number, u32::from(number == 2) * 3)).collect(),
            jobs,
        }
    }

    #[test]
    fn the_screen_tells_leader_margin_jobs_and_workers_the_busy_ones_first() {
        let text = screen(&look(1, 4), &Rates::default(), true, 50);
        let mut lines = text.lines();
        assert_eq!(lines.next(), Some("Cluster: leader n1 (term 4), survives the loss of 1 of 3 voters"));
        assert_eq!(lines.next(), Some("Workers: 4 (3 idle, 1 active); units 3 of 40"));
        assert_eq!(lines.next(), Some("Jobs: P2 1, 0 waiting; targets/s -, probes/s -"));
        assert!(text.contains("│ job-000000 ") && text.contains("2,456 / 10,000 (24.6%)"), "{text}");
        let (busy, idle) = (text.find("wrk_2").unwrap(), text.find("wrk_0").unwrap());
        assert!(busy < idle, "{text}");
    }

    #[test]
    fn it_never_has_more_lines_than_the_terminal_and_says_what_it_leaves_out() {
        for lines in [24, 30, 50, 200] {
            let text = screen(&look(JOBS_MAX, 300), &Rates::default(), true, lines);
            assert!(text.lines().count() <= lines, "{lines}: {}", text.lines().count());
            assert!(text.contains(" more workers\n"), "{text}");
        }
        let text = screen(&look(0, 0), &Rates::default(), false, 24);
        assert!(text.contains("No job is open.") && text.is_ascii(), "{text}");
    }

    #[test]
    fn rates_are_those_of_the_last_seconds_and_a_job_that_goes_back_has_none_below_zero() {
        let mut rates = Rates::default();
        let begun = Instant::now();
        let job = |targets, probes| JobDocument { targets_scanned: targets, probes_sent: probes, ..original() };
        let id = original().job_id;
        rates.look(&[job(0, 0)], begun);
        assert_eq!(rates.of(&id), None);
        // Ten seconds at a hundred a second, then at ten.
        for second in 1..=10 {
            rates.look(&[job(100 * second, 200 * second)], begun + Duration::from_secs(second));
        }
        assert_eq!(rates.of(&id), Some(Rate { targets: 100.0, probes: 200.0 }));
        for second in 11..=20 {
            rates.look(&[job(1000 + 10 * (second - 10), 2000)], begun + Duration::from_secs(second));
        }
        assert_eq!(rates.of(&id), Some(Rate { targets: 10.0, probes: 0.0 }));
        assert!(rates.marks[&id].len() <= 8, "{}", rates.marks[&id].len());
        rates.look(&[job(0, 0)], begun + Duration::from_secs(21));
        assert_eq!(rates.of(&id), Some(Rate::default()));
        rates.look(&[], begun + Duration::from_secs(22));
        assert!(rates.marks.is_empty());
    }
}

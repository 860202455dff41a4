//! `pentora plan capacity`: how many workers a scan needs, by the formula, or by what past jobs took.

use std::time::Duration;

use clap::{Args, Subcommand};
use serde::Serialize;

use super::api_session::{ApiSession, NodeArgs, id};
use super::context::Context;
use super::output::{clean, counted, grouped};
use super::shown::ShownArgs;
use crate::capacity::{workers_exact, workers_of};
use crate::config::parse_duration;
use crate::document::{CapacityDocument, KeepDocument};
use crate::failure::{ExitCode, Failure};

/// Targets that a worker scans at once where nothing is said, as in the original description.
const CONCURRENCY: u32 = 10;

/// What can be planned.
#[derive(Debug, Subcommand)]
pub(super) enum PlanCommand {
    /// Say how many workers a scan needs to be done in time.
    #[command(before_help = "\
Examples:
  pentora plan capacity --targets 50000 --seconds-per-target 2 --window 1h --concurrency 10
  pentora plan capacity --targets 50000 --window 1h --measured
  pentora plan capacity --targets 50000 --window 1h --job job-abc123
  pentora plan capacity --for keep")]
    Capacity(CapacityArgs),
}

/// How much is to be scanned, and in which time.
#[derive(Debug, Args)]
pub(super) struct CapacityArgs {
    /// How many targets.
    #[arg(long, value_name = "N", required_unless_present = "purpose")]
    targets: Option<u64>,
    /// Seconds that a target takes.
    #[arg(long, value_name = "SECONDS", value_parser = seconds, required_unless_present_any = ["measured", "job", "purpose"])]
    seconds_per_target: Option<f64>,
    /// In which time they are to be scanned.
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, required_unless_present = "purpose")]
    window: Option<Duration>,
    /// What the standing scans need to hold their promises, by what ended jobs took.
    #[arg(long = "for", value_name = "WHAT", value_parser = ["keep"], conflicts_with_all = ["targets", "window", "seconds_per_target", "concurrency", "job"])]
    purpose: Option<String>,
    /// How many targets a worker scans at once [default: 10].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    concurrency: Option<u32>,
    /// Take what the ended jobs of the cluster took, in place of --seconds-per-target and --concurrency.
    #[arg(long, conflicts_with_all = ["seconds_per_target", "concurrency"])]
    measured: bool,
    /// Take what this job took.
    #[arg(long, value_name = "JOB", value_parser = id, conflicts_with_all = ["seconds_per_target", "concurrency"])]
    job: Option<String>,
    #[command(flatten)]
    form: ShownArgs,
    #[command(flatten)]
    node: NodeArgs,
}

/// The answer.
#[derive(Debug, Serialize)]
struct Capacity {
    workers: u64,
    workers_exact: f64,
    targets: u64,
    seconds_per_target: f64,
    window_seconds: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    concurrency: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    measured: Option<CapacityDocument>,
}

/// Carries the command out.
///
/// # Errors
/// Exit 2 for a window of no length; exit 1 where past jobs are asked for and say nothing.
pub(super) async fn run(command: PlanCommand, context: &mut Context) -> Result<(), Failure> {
    let PlanCommand::Capacity(args) = command;
    if args.purpose.is_some() {
        return for_keep(&args, context).await;
    }
    let (targets, window) = (args.targets.unwrap_or_default(), args.window.unwrap_or_default());
    let (seconds_per_target, concurrency, measured) = match args.seconds_per_target {
        Some(seconds) => (seconds, Some(args.concurrency.unwrap_or(CONCURRENCY)), None),
        None => {
            let session = ApiSession::open(&args.node, context)?;
            let asked = session.client.capacity(args.job.as_deref()).await;
            let measured = asked.map_err(|error| session.failure(&error))?;
            let seconds = measured.seconds_per_target.ok_or_else(|| {
                Failure::new(ExitCode::Failure, "no job has ended that says how long a target takes")
                    .next("scan something first, or give --seconds-per-target")
            })?;
            (seconds, None, Some(measured))
        }
    };
    let window_seconds = window.as_secs_f64();
    let exact = workers_exact(targets, seconds_per_target, window_seconds, concurrency.unwrap_or(1));
    let why = if window_seconds > 0.0 {
        "these figures come to no number of workers: fewer targets, fewer seconds of each, or a longer window"
    } else {
        "--window must be longer than nothing"
    };
    let exact = exact.ok_or_else(|| Failure::new(ExitCode::Usage, why))?;
    let capacity = Capacity {
        workers: workers_of(exact),
        workers_exact: exact,
        targets,
        seconds_per_target,
        window_seconds,
        concurrency,
        measured,
    };
    context.output.print(&args.form.text(&capacity, || text(&capacity)))
}

/// What a standing scan needs.
#[derive(Debug, Serialize)]
struct ForKeep {
    name: String,
    #[serde(flatten)]
    capacity: Capacity,
    rate_pps: u64,
    needed_pps: Option<u64>,
    can_be_held: Option<bool>,
}

/// Says of each standing scan how many workers and which budget its promise needs.
async fn for_keep(args: &CapacityArgs, context: &mut Context) -> Result<(), Failure> {
    let session = ApiSession::open(&args.node, context)?;
    let keeps = session.client.keeps().await.map_err(|error| session.failure(&error))?;
    let measured = session.client.capacity(None).await.map_err(|error| session.failure(&error))?;
    let Some(seconds_per_target) = measured.seconds_per_target.filter(|_| !keeps.is_empty()) else {
        return Err(Failure::new(ExitCode::Failure, "no standing scan has ended a pass, so nothing is measured").next(
            "`pentora keep 10.0.0.0/8 --fresh 7d --rate 5000` makes one, `pentora keep status` says how far it is",
        ));
    };
    let needs: Vec<ForKeep> = keeps.into_iter().map(|keep| of_keep(keep, seconds_per_target)).collect();
    context.output.print(&args.form.text(&needs, || needs.iter().map(for_keep_text).collect()))
}

fn of_keep(keep: KeepDocument, seconds_per_target: f64) -> ForKeep {
    let window_seconds = keep.fresh_seconds as f64;
    let targets = keep.targets.saturating_sub(keep.targets_excluded);
    let exact = workers_exact(targets, seconds_per_target, window_seconds, 1).unwrap_or_default();
    let workers = workers_of(exact);
    let capacity = Capacity {
        workers,
        workers_exact: exact,
        targets,
        seconds_per_target,
        window_seconds,
        concurrency: None,
        measured: None,
    };
    let (rate_pps, needed_pps, can_be_held) = (keep.rate_pps, keep.needed_pps, keep.can_be_held);
    ForKeep { name: keep.name, capacity, rate_pps, needed_pps, can_be_held }
}

fn for_keep_text(keep: &ForKeep) -> String {
    let budget = match (keep.can_be_held, keep.needed_pps) {
        (Some(true), Some(needed)) => format!("enough, {} would do", grouped(needed)),
        (Some(false), Some(needed)) => format!("too small, {} are needed", grouped(needed)),
        _ => "not measured yet".to_owned(),
    };
    format!("{}: {}  Budget: {} packets/s: {budget}\n", clean(&keep.name), text(&keep.capacity), grouped(keep.rate_pps))
}

/// The line of the original description, and what was measured.
fn text(capacity: &Capacity) -> String {
    let over = match capacity.concurrency {
        Some(concurrency) => format!("({}s x {concurrency})", number(capacity.window_seconds)),
        None => format!("{}s", number(capacity.window_seconds)),
    };
    let mut text = format!(
        "Workers = ({} x {}s) / {over} = {} -> {} minimum\n",
        grouped(capacity.targets),
        number(capacity.seconds_per_target),
        number(capacity.workers_exact),
        counted(capacity.workers, "worker"),
    );
    if let Some(measured) = &capacity.measured {
        text.push_str(&format!(
            "Measured: {} of {}, {} of one worker for a target\n",
            counted(measured.targets, "target"),
            counted(measured.jobs, "job"),
            format_args!("{}s", number(capacity.seconds_per_target)),
        ));
        for of in &measured.by_workers {
            // Above all of it other jobs are compared, not other numbers of workers: larger ones, or of other ports.
            let percent = (of.efficiency * 100.0).round();
            let efficiency = if percent <= 100.0 { format!(", efficiency {percent:.0}%") } else { String::new() };
            text.push_str(&format!(
                "- {} ({}): {} targets/s each{efficiency}\n",
                counted(of.workers.into(), "worker"),
                counted(of.jobs, "job"),
                number(of.targets_per_worker_second),
            ));
        }
    }
    text
}

/// With as many digits as say something: `3600`, `2.78`, `0.00123`.
fn number(value: f64) -> String {
    let digits = if value >= 1.0 || value == 0.0 { 2 } else { 6 };
    let text = format!("{value:.digits$}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn seconds(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(seconds) if seconds.is_finite() && seconds > 0.0 => Ok(seconds),
        _ => Err("write a number of seconds above 0, such as 2 or 0.5".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::CapacityOf;

    fn capacity() -> Capacity {
        Capacity {
            workers: 3,
            workers_exact: 50_000.0 * 2.0 / 36_000.0,
            targets: 50_000,
            seconds_per_target: 2.0,
            window_seconds: 3_600.0,
            concurrency: Some(10),
            measured: None,
        }
    }

    #[test]
    fn the_answer_is_the_line_of_the_original_description() {
        assert_eq!(text(&capacity()), "Workers = (50,000 x 2s) / (3600s x 10) = 2.78 -> 3 workers minimum\n");
    }

    #[test]
    fn what_was_measured_says_of_how_many_jobs_and_how_efficient_more_workers_are() {
        let of = |workers, targets_per_worker_second, efficiency| CapacityOf {
            workers,
            jobs: 1,
            targets_per_worker_second,
            efficiency,
        };
        let measured = CapacityDocument {
            jobs: 2,
            targets: 2_048,
            worker_seconds: 25.6,
            seconds_per_target: Some(0.0125),
            by_workers: vec![of(1, 100.0, 1.0), of(3, 66.666, 0.66666), of(4, 346.0, 3.46)],
        };
        let capacity = Capacity {
            workers: 1,
            workers_exact: 0.1736,
            seconds_per_target: 0.0125,
            concurrency: None,
            measured: Some(measured),
            ..capacity()
        };
        let expected = "\
Workers = (50,000 x 0.0125s) / 3600s = 0.1736 -> 1 worker minimum
Measured: 2,048 targets of 2 jobs, 0.0125s of one worker for a target
- 1 worker (1 job): 100 targets/s each, efficiency 100%
- 3 workers (1 job): 66.67 targets/s each, efficiency 67%
- 4 workers (1 job): 346 targets/s each
";
        assert_eq!(text(&capacity), expected);
    }

    #[test]
    fn what_a_promise_needs_is_the_same_line_and_its_budget() {
        let keep = ForKeep {
            name: "office".into(),
            capacity: capacity(),
            rate_pps: 5_000,
            needed_pps: Some(7_500),
            can_be_held: Some(false),
        };
        let expected = "\
office: Workers = (50,000 x 2s) / (3600s x 10) = 2.78 -> 3 workers minimum
  Budget: 5,000 packets/s: too small, 7,500 are needed
";
        assert_eq!(for_keep_text(&keep), expected);
    }

    #[test]
    fn seconds_are_a_number_above_nothing() {
        assert_eq!(seconds("0.5"), Ok(0.5));
        for text in ["0", "-1", "NaN", "inf", "2s", ""] {
            assert!(seconds(text).is_err(), "{text}");
        }
    }
}

//! `pentora cluster settings`: how the cluster shares out work, times it and tries it again, by the names that the keys
//! have in `pentora.yaml`.

use clap::Args;

use super::api_session::{ApiSession, NodeArgs};
use super::context::Context;
use super::output::clean;
use super::shown::ShownArgs;
use crate::config::parse_duration;
use crate::document::{SettingsChange, SettingsDocument};
use crate::failure::{ExitCode, Failure};

const EXAMPLES: &str = "\
Examples:
  pentora cluster settings
  pentora cluster settings coordinator.job_retry.timeout=10m
  pentora cluster settings coordinator.worker_failure.action=wait coordinator.load_balancing.strategy=round_robin
";

/// What is to be shown or changed.
#[derive(Debug, Args)]
#[command(before_help = EXAMPLES)]
pub(super) struct SettingsArgs {
    /// What to change, on all nodes from now on; without any, print what holds.
    #[arg(value_name = "KEY=VALUE")]
    changes: Vec<String>,
    #[command(flatten)]
    form: ShownArgs,
    #[command(flatten)]
    node: NodeArgs,
}

/// Carries the command out.
///
/// # Errors
/// A key that is none of them, or no node answers, or it refuses.
pub(super) async fn run(args: SettingsArgs, context: &mut Context) -> Result<(), Failure> {
    let change = changes(&args.changes)?;
    let session = ApiSession::open(&args.node, context)?;
    let settings = match args.changes.is_empty() {
        true => session.client.settings().await,
        false => session.client.change_settings(&change).await,
    };
    let settings = settings.map_err(|error| session.failure(&error))?;
    context.output.print(&args.form.text(&settings, || text(&settings)))
}

fn changes(texts: &[String]) -> Result<SettingsChange, Failure> {
    let mut change = SettingsChange::default();
    for text in texts {
        let wrong = |why: &str| {
            Failure::new(ExitCode::Usage, format!("`{}`: {why}", clean(text)))
                .next("write KEY=VALUE with a key that `pentora cluster settings` prints")
        };
        let (key, value) = text.split_once('=').ok_or_else(|| wrong("there is no = in it"))?;
        let time = || parse_duration(value).map_err(|why| wrong(&why));
        let millis = || time().map(|time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
        let count = || value.parse::<u32>().map_err(|_not_a_number| wrong("it is not a whole number"));
        match key {
            HEARTBEAT => change.heartbeat_ms = Some(millis()?),
            GRACE => change.grace_ms = Some(millis()?),
            ACTION => change.failure_action = Some(value.to_owned()),
            ATTEMPTS => change.max_attempts = Some(count()?),
            BACKOFF => change.backoff = Some(value.to_owned()),
            TIMEOUT => change.attempt_ms = Some(millis()?),
            STRATEGY => change.strategy = Some(value.to_owned()),
            DEPTH => change.max_queue_depth = Some(count()?),
            LOAD => {
                // JSON has no infinity and no NaN: they would travel as nothing said.
                let share = value.parse::<f64>().ok().filter(|share| *share > 0.0 && *share <= 1.0);
                change.worker_max_load = Some(share.ok_or_else(|| wrong("it is not a number above 0 and up to 1"))?);
            }
            _ => return Err(wrong("there is no such key")),
        }
    }
    Ok(change)
}

const HEARTBEAT: &str = "workers.heartbeat_interval";
const GRACE: &str = "coordinator.worker_failure.grace_period";
const ACTION: &str = "coordinator.worker_failure.action";
const ATTEMPTS: &str = "coordinator.job_retry.max_attempts";
const BACKOFF: &str = "coordinator.job_retry.backoff";
const TIMEOUT: &str = "coordinator.job_retry.timeout";
const STRATEGY: &str = "coordinator.load_balancing.strategy";
const DEPTH: &str = "coordinator.load_balancing.thresholds.max_queue_depth";
const LOAD: &str = "coordinator.load_balancing.thresholds.worker_max_load";

fn text(settings: &SettingsDocument) -> String {
    let rows = [
        (HEARTBEAT, time(settings.heartbeat_ms)),
        (GRACE, time(settings.grace_ms)),
        (ACTION, clean(&settings.failure_action)),
        (ATTEMPTS, settings.max_attempts.to_string()),
        (BACKOFF, clean(&settings.backoff)),
        (TIMEOUT, time(settings.attempt_ms)),
        (STRATEGY, clean(&settings.strategy)),
        (DEPTH, settings.max_queue_depth.to_string()),
        (LOAD, settings.worker_max_load.to_string()),
    ];
    rows.iter().map(|(key, value)| format!("{key}={value}\n")).collect()
}

/// Milliseconds as a duration that is read back.
fn time(ms: u64) -> String {
    match ms {
        ms if ms % 60_000 == 0 && ms > 0 => format!("{}m", ms / 60_000),
        ms if ms % 1_000 == 0 => format!("{}s", ms / 1_000),
        ms => format!("{ms}ms"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_printed_is_what_can_be_written_and_a_slip_is_named() {
        let settings = SettingsDocument {
            heartbeat_ms: 250,
            grace_ms: 15_000,
            failure_action: "wait".into(),
            max_attempts: 3,
            backoff: "none".into(),
            attempt_ms: 1_800_000,
            strategy: "least_loaded".into(),
            max_queue_depth: 100,
            worker_max_load: 0.8,
            in_log: true,
        };
        let printed = text(&settings);
        assert!(
            printed.contains("workers.heartbeat_interval=250ms\n") && printed.contains("timeout=30m\n"),
            "{printed}"
        );
        let lines: Vec<String> = printed.lines().map(str::to_owned).collect();
        let change = changes(&lines).unwrap();
        assert_eq!((change.grace_ms, change.worker_max_load), (Some(15_000), Some(0.8)));
        for share in ["NaN", "inf", "-inf", "1e999", "0", "-0.5", "1.5", "x"] {
            let failure = changes(&[format!("{LOAD}={share}")]).unwrap_err();
            assert!(failure.what.contains(LOAD) && failure.what.contains("above 0 and up to 1"), "{failure}");
        }
        for (slip, part) in [("a=b", "no such key"), ("x", "no ="), ("workers.heartbeat_interval=5", "lacks a unit")] {
            let failure = changes(&[slip.to_owned()]).unwrap_err();
            assert!(failure.exit == ExitCode::Usage && failure.what.contains(part), "{failure}");
        }
    }
}

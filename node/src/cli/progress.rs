//! The progress bar: on standard error, and only where a person sees it.

use std::cell::Cell;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use pentora_scanner::port::PortSet;

use super::context::Context;
use super::output::{counted, percent};
use super::status::eta;
use crate::document::JobDocument;

/// Redraws per second; more only costs the terminal time.
const REDRAWS_PER_SECOND: u8 = 8;

/// The rate shown is that of about the last seconds: a look that comes sooner after the one before tells nothing new.
const RATE_WINDOW: f64 = 1.0;
/// Workers of a mesh tell how far they are every few seconds. No news for longer than this is a standstill.
const QUIET_MAX: f64 = 10.0;
/// Below so many targets, one of them is more than a percent: probes tell better how far a scan is.
const FEW_TARGETS: u64 = 100;
/// The most that probes alone tell: whether some have to be sent again is not known before the end.
const PROBES_SHARE_MAX: f64 = 99.9;
/// The whole length of the bar.
const BAR_LENGTH: u64 = 10_000;
/// How much of the rate shown is the latest window's.
const RATE_WEIGHT: f64 = 0.5;

/// A job's progress bar; invisible without a terminal or with `--quiet`.
pub(super) struct Progress {
    bar: ProgressBar,
    rate: Cell<Rate>,
}

impl Progress {
    /// A bar for a job of which nothing is known yet.
    pub(super) fn new(context: &Context) -> Self {
        let target = if context.stderr_terminal && !context.global.quiet {
            ProgressDrawTarget::stderr_with_hz(REDRAWS_PER_SECOND)
        } else {
            ProgressDrawTarget::hidden()
        };
        let bar = ProgressBar::with_draw_target(Some(0), target);
        let template = ProgressStyle::with_template("[{bar:24}] {wide_msg}").expect("the template is well-formed");
        bar.set_style(template.progress_chars("=> "));
        Self { bar, rate: Cell::default() }
    }

    /// Shows the job as it is now.
    pub(super) fn update(&self, job: &JobDocument) {
        let rate = self.rate.get().after(job);
        self.rate.set(rate);
        self.bar.set_length(BAR_LENGTH);
        // A rounded figure is as good: the bar has two dozen places.
        let position = std::time::Duration::try_from_secs_f64(share(job) / 100.0 * BAR_LENGTH as f64);
        self.bar.set_position(position.unwrap_or_default().as_secs());
        self.bar.set_message(line(job, rate.shown));
    }

    /// Shows a sentence in place of the figures.
    pub(super) fn note(&self, text: &str) {
        self.bar.set_message(text.to_owned());
    }

    /// Takes the bar away, so that results follow without it.
    pub(super) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

/// Probes per second, as they follow from looks at the job.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Rate {
    shown: Option<f64>,
    at_seconds: f64,
    probes: u64,
}

impl Rate {
    /// The rate after another look.
    fn after(self, job: &JobDocument) -> Self {
        let (seconds, probes) = (job.elapsed_seconds - self.at_seconds, probes(job));
        let is_news = seconds >= RATE_WINDOW && (probes != self.probes || seconds >= QUIET_MAX);
        if !is_news {
            return self;
        }
        // More than 2^53 probes are beyond any job, and a rounded figure would do.
        let latest = probes.saturating_sub(self.probes) as f64 / seconds;
        let shown = self.shown.map_or(latest, |shown| shown + (latest - shown) * RATE_WEIGHT);
        Self { shown: Some(shown), at_seconds: job.elapsed_seconds, probes }
    }
}

/// Probes sent, those of units that are still out included.
fn probes(job: &JobDocument) -> u64 {
    job.probes_sent.saturating_add(job.in_progress.probes_sent)
}

/// Targets done, those of units that are still out included: a bar that waits for whole units would jump.
fn done(job: &JobDocument) -> u64 {
    job.targets_scanned.saturating_add(job.targets_in_progress).min(job.targets_total)
}

/// How far the job is, in percent: by its targets, or by its probes where it has few targets with many ports each.
fn share(job: &JobDocument) -> f64 {
    let by_targets = percent(done(job), job.targets_total);
    if job.targets_total >= FEW_TARGETS || job.targets_total == 0 {
        return by_targets;
    }
    let ports = job.ports.as_deref().and_then(|ports| ports.parse::<PortSet>().ok()).map_or(0, |ports| ports.count());
    let expected = job.targets_total.saturating_mul(ports.into());
    let by_probes = if expected == 0 { 0.0 } else { percent(probes(job), expected).min(PROBES_SHARE_MAX) };
    by_targets.max(by_probes)
}

/// Seconds left: as the job says, or for few targets as its probes do.
fn seconds_left(job: &JobDocument) -> Option<f64> {
    let share = share(job);
    let is_told = share > 0.0 && job.elapsed_seconds.is_finite() && job.targets_total < FEW_TARGETS;
    let own = is_told.then(|| job.elapsed_seconds * (100.0 - share) / share);
    own.or(job.eta_seconds)
}

/// Share of round trips lost so far, in percent; `None` before anything has answered.
fn loss(job: &JobDocument) -> Option<f64> {
    let parts = [(job.loss_estimate, job.probes_sent), (job.in_progress.loss_estimate, job.in_progress.probes_sent)];
    let measured = || parts.iter().filter_map(|(loss, probes)| Some(((*loss)?, *probes as f64)));
    let probes: f64 = measured().map(|(_, probes)| probes).sum();
    let lost: f64 = measured().map(|(loss, probes)| loss * probes).sum();
    (probes > 0.0).then(|| 100.0 * lost / probes)
}

/// `24.56% of 10,000 targets, 195 probes/s, ETA 38m 16s, 12 open ports on 5 hosts, 0.1% lost`.
fn line(job: &JobDocument, rate: Option<f64>) -> String {
    let rate = rate.filter(|rate| *rate > 0.0).map_or_else(String::new, |rate| format!("{rate:.0} probes/s, "));
    let lost = loss(job).map_or_else(String::new, |lost| format!(", {lost:.1}% lost"));
    format!(
        "{:.2}% of {}, {rate}ETA {}, {} on {}{lost}",
        share(job),
        counted(job.targets_total, "target"),
        eta(seconds_left(job)),
        counted(job.results.open_ports.saturating_add(job.in_progress.open_ports), "open port"),
        counted(job.results.hosts_up.saturating_add(job.in_progress.hosts_up), "host"),
    )
}

#[cfg(test)]
mod tests {
    use super::super::status::tests::original;
    use super::*;
    use crate::document::JobProgress;

    #[test]
    fn one_host_with_many_ports_moves_with_its_probes_and_is_never_done_before_its_end() {
        let at = |probes_sent| {
            let in_progress = JobProgress { probes_sent, ..JobProgress::default() };
            let (ports, elapsed_seconds) = (Some("1-65535".to_owned()), 10.0);
            JobDocument {
                targets_total: 1,
                targets_scanned: 0,
                targets_in_progress: 0,
                probes_sent: 0,
                in_progress,
                ports,
                elapsed_seconds,
                eta_seconds: None,
                ..original()
            }
        };
        assert!(line(&at(16_384), None).starts_with("25.00% of 1 target, ETA 30s"), "{}", line(&at(16_384), None));
        assert!(line(&at(0), None).starts_with("0.00% of 1 target, ETA unknown"));
        assert!(line(&at(200_000), None).starts_with("99.90% of 1 target"), "probes that were sent again");
        assert!((share(&JobDocument { targets_scanned: 1, ..at(70_000) }) - 100.0).abs() < 1e-9);
        let many = JobDocument { targets_total: 1_000, ports: Some("1-2".into()), ..at(4_000) };
        assert!(share(&many) < 1e-9, "of many targets, targets tell");
    }

    #[test]
    fn the_line_tells_share_rate_eta_and_what_was_found() {
        let in_progress =
            JobProgress { probes_sent: 1_000, open_ports: 3, hosts_up: 1, loss_estimate: Some(0.2), targets: 0 };
        let job = JobDocument { probes_sent: 3_000, in_progress, ..original() };
        assert_eq!(
            line(&job, Some(999.6)),
            "24.56% of 10,000 targets, 1000 probes/s, ETA 38m 16s, 5 open ports on 1,235 hosts, 5.0% lost"
        );
        let silent = JobDocument { loss_estimate: None, probes_sent: 3_000, ..original() };
        assert!(!line(&silent, None).contains("lost"), "nothing has answered: {}", line(&silent, None));
        let ahead = JobDocument { targets_in_progress: u64::MAX, ..original() };
        assert!(line(&ahead, None).starts_with("100.00% of 10,000 targets"), "never more than all");
        let early = JobDocument { elapsed_seconds: f64::NAN, eta_seconds: None, ..original() };
        assert_eq!(line(&early, None), "24.56% of 10,000 targets, ETA unknown, 2 open ports on 1,234 hosts");
    }

    #[test]
    fn the_rate_follows_the_latest_seconds_and_is_never_negative() {
        let at = |elapsed_seconds, probes_sent| JobDocument { elapsed_seconds, probes_sent, ..original() };
        let first = Rate::default().after(&at(2.0, 1_000));
        assert_eq!(first.shown, Some(500.0));
        assert_eq!(first.after(&at(2.5, 9_000)), first, "too soon to say");
        assert_eq!(first.after(&at(4.0, 5_000)).shown, Some(1_250.0));
        assert_eq!(first.after(&at(6.0, 1_000)), first, "no news yet");
        assert_eq!(first.after(&at(12.0, 1_000)).shown, Some(250.0), "a standstill");
        assert_eq!(first.after(&at(4.0, 0)).shown, Some(250.0), "a unit that was lost takes its probes with it");
        assert_eq!(first.after(&at(f64::NAN, 5)), first);
    }
}

//! The progress bar: on standard error, and only where a person sees it.

use std::cell::Cell;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

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
        self.bar.set_length(job.targets_total);
        self.bar.set_position(done(job));
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

/// Share of round trips lost so far, in percent; `None` before a probe was sent.
fn loss(job: &JobDocument) -> Option<f64> {
    let (counted, running) = (job.probes_sent as f64, job.in_progress.probes_sent as f64);
    let lost = job.loss_estimate * counted + job.in_progress.loss_estimate * running;
    (counted + running > 0.0).then(|| 100.0 * lost / (counted + running))
}

/// `24.56% of 10,000 targets, 195 probes/s, ETA 38m 16s, 12 open ports on 5 hosts, 0.1% lost`.
fn line(job: &JobDocument, rate: Option<f64>) -> String {
    let rate = rate.filter(|rate| *rate > 0.0).map_or_else(String::new, |rate| format!("{rate:.0} probes/s, "));
    let lost = loss(job).map_or_else(String::new, |lost| format!(", {lost:.1}% lost"));
    format!(
        "{:.2}% of {}, {rate}ETA {}, {} on {}{lost}",
        percent(done(job), job.targets_total),
        counted(job.targets_total, "target"),
        eta(job.eta_seconds),
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
    fn the_line_tells_share_rate_eta_and_what_was_found() {
        let in_progress =
            JobProgress { probes_sent: 1_000, open_ports: 3, hosts_up: 1, loss_estimate: 0.2, targets: 0 };
        let job = JobDocument { probes_sent: 3_000, in_progress, ..original() };
        assert_eq!(
            line(&job, Some(999.6)),
            "24.56% of 10,000 targets, 1000 probes/s, ETA 38m 16s, 5 open ports on 1,235 hosts, 5.0% lost"
        );
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

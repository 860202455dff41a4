//! The progress bar: on standard error, and only where a person sees it.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::context::Context;
use super::output::{counted, percent};
use super::status::eta;
use crate::document::JobDocument;

/// Redraws per second; more only costs the terminal time.
const REDRAWS_PER_SECOND: u8 = 8;

/// A job's progress bar; invisible without a terminal or with `--quiet`.
pub(super) struct Progress {
    bar: ProgressBar,
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
        Self { bar }
    }

    /// Shows the job as it is now.
    pub(super) fn update(&self, job: &JobDocument) {
        self.bar.set_length(job.targets_total);
        self.bar.set_position(done(job));
        self.bar.set_message(line(job));
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

/// Targets done, those of units that are still out included: a bar that waits for whole units would jump.
fn done(job: &JobDocument) -> u64 {
    job.targets_scanned.saturating_add(job.targets_in_progress).min(job.targets_total)
}

/// `24.56% of 10,000 targets, 195 probes/s, ETA 38m 16s, 12 open ports on 5 hosts`.
fn line(job: &JobDocument) -> String {
    let elapsed = Duration::try_from_secs_f64(job.elapsed_seconds).unwrap_or_default().max(Duration::from_millis(1));
    // A rate of a running job; more than 2^53 probes are beyond any job, and a rounded figure would do.
    let rate = job.probes_sent as f64 / elapsed.as_secs_f64();
    let rate = if job.probes_sent == 0 { String::new() } else { format!("{rate:.0} probes/s, ") };
    format!(
        "{:.2}% of {}, {rate}ETA {}, {} on {}",
        percent(done(job), job.targets_total),
        counted(job.targets_total, "target"),
        eta(job.eta_seconds),
        counted(job.results.open_ports, "open port"),
        counted(job.results.hosts_up, "host"),
    )
}

#[cfg(test)]
mod tests {
    use super::super::status::tests::original;
    use super::*;

    #[test]
    fn the_line_tells_share_rate_eta_and_what_was_found() {
        let job = JobDocument { probes_sent: 754_000, ..original() };
        assert_eq!(line(&job), "24.56% of 10,000 targets, 1000 probes/s, ETA 38m 16s, 2 open ports on 1,234 hosts");
        let ahead = JobDocument { targets_in_progress: u64::MAX, ..original() };
        assert!(line(&ahead).starts_with("100.00% of 10,000 targets"), "never more than all");
        let early = JobDocument { elapsed_seconds: f64::NAN, eta_seconds: None, ..original() };
        assert_eq!(line(&early), "24.56% of 10,000 targets, ETA unknown, 2 open ports on 1,234 hosts");
    }
}

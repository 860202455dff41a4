//! `pentora job status` and `job events` as text, as in the original description.

use super::output::{clean, counted, grouped, percent};
use crate::clock::ago;
use crate::document::{JobDocument, JobEvent, duration_words};

/// What a status carries that is not of now.
pub(super) fn since_a_leader(age_ms: Option<u64>) -> String {
    age_ms.map(|age_ms| format!(", {} (no leader is known since)", ago(age_ms))).unwrap_or_default()
}

/// The status of a job.
pub(super) fn job_status(job: &JobDocument) -> String {
    let mut text = format!(
        "Job ID: {}\nStatus: {}{}\nProgress: {} / {} ({:.2}%)\n",
        clean(&job.job_id),
        title_case(&job.status),
        since_a_leader(job.status_age_ms),
        grouped(job.targets_scanned),
        counted(job.targets_total, "target"),
        percent(job.targets_scanned, job.targets_total),
    );
    text.push_str(&match job.has_ended() {
        false => format!("Workers: {} active\n", job.active_workers),
        true => format!("Workers: {} active ({} took part)\n", job.active_workers, job.workers),
    });
    if let Some(reason) = &job.reason {
        text.push_str(&format!("Reason: {}\n", clean(reason)));
    }
    if let Some(key) = &job.signed_by {
        text.push_str(&format!("Signed by: {}\n", clean(key)));
    }
    for line in &job.waits {
        text.push_str(&format!("Waits: {}\n", clean(line)));
    }
    if job.allow_fragile {
        text.push_str("Fragile devices: asked like any other port (--allow-fragile)\n");
    }
    if !job.worker_stats.is_empty() {
        text.push_str("\nWorker Breakdown:\n");
        for stat in &job.worker_stats {
            text.push_str(&format!(
                "- {}: {} ({:.2}%) - {}\n",
                clean(&stat.worker_id),
                counted(stat.targets, "target"),
                percent(stat.targets, job.targets_total),
                clean(&stat.state),
            ));
        }
    }
    text.push_str(&format!("\nElapsed: {}\n", duration_words(whole(job.elapsed_seconds))));
    if job.has_ended() {
        text.push_str(&format!(
            "Results: {} up, {}, {} detected, {}\n",
            counted(job.results.hosts_up, "host"),
            counted(job.results.open_ports, "open port"),
            counted(job.results.services_detected, "service"),
            match job.results.vulnerabilities {
                1 => "1 vulnerability".to_owned(),
                number => format!("{} vulnerabilities", grouped(number)),
            },
        ));
        // Of nothing that was found or sent there is no share to tell.
        if let Some(recall) = job.recall_estimate.filter(|_| job.probes_sent > 0) {
            let lost = job.loss_estimate.map(|loss| format!("{:.2}% of round trips lost, ", 100.0 * loss));
            text.push_str(&format!(
                "Estimates: {}{:.2}% of open ports found{}, by {}\n",
                lost.unwrap_or_default(),
                100.0 * recall,
                if job.targets_scanned < job.targets_total { " (what was not probed counts as missed)" } else { "" },
                counted(job.probes_sent, "probe"),
            ));
        }
        if let Some(measured) = job.recall_measured {
            text.push_str(&format!("Measured: {}\n", measured.of_targets(job.targets_scanned, job.targets_total)));
        }
    } else {
        text.push_str(&format!("ETA: {}\n", eta(job.eta_seconds)));
    }
    text
}

/// Time left, or `unknown` before there is a rate.
pub(super) fn eta(seconds: Option<f64>) -> String {
    seconds.map_or_else(|| "unknown".to_owned(), |seconds| duration_words(whole(seconds)))
}

/// `running` as `Running`.
pub(super) fn title_case(word: &str) -> String {
    let word = clean(word);
    let mut chars = word.chars();
    chars.next().map(|first| first.to_uppercase().chain(chars).collect()).unwrap_or_default()
}

/// A job's history, one line per event: `[12:07:30.123] Worker wrk_1 marked as failed`. Times are those of `zone`; a
/// line with the date stands before the first event of each day.
pub(super) fn events(events: &[JobEvent], zone: &jiff::tz::TimeZone) -> String {
    let mut text = String::new();
    let mut day = None;
    for event in events {
        let time = event.at.parse::<jiff::Timestamp>().map(|at| at.to_zoned(zone.clone()));
        let clock = match &time {
            Ok(time) => time.strftime("%H:%M:%S%.3f").to_string(),
            Err(_) => clean(&event.at),
        };
        if let Ok(time) = time
            && day != Some(time.date())
        {
            day = Some(time.date());
            text.push_str(&format!("{}\n", time.strftime("%Y-%m-%d %Z")));
        }
        text.push_str(&format!("[{clock}] {}\n", clean(&event.message)));
    }
    text
}

/// Seconds for display: rounded, never negative, never endless.
fn whole(seconds: f64) -> u64 {
    std::time::Duration::try_from_secs_f64(seconds.round()).map_or(0, |duration| duration.as_secs())
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::document::{JobResults, WorkerStat};
    use pentora_raft::state::Priority;
    use pentora_scanner::recall::MeasuredRecall;

    /// The running job of the original description.
    pub(in crate::cli) fn original() -> JobDocument {
        let stat = |id: &str, targets| WorkerStat {
            worker_id: id.into(),
            targets,
            duration: "12m 34s".into(),
            state: "Running".into(),
        };
        JobDocument {
            not_probed: Default::default(),
            notes: Vec::new(),
            job_id: "job-abc123".into(),
            status: "running".into(),
            status_age_ms: None,
            workers: 3,
            targets_scanned: 2456,
            duration: "12m 34s".into(),
            results: JobResults { hosts_up: 1234, open_ports: 2, services_detected: 1, vulnerabilities: 0 },
            worker_stats: vec![stat("wrk_us_east_1", 856), stat("wrk_us_east_2", 800), stat("wrk_us_west_1", 800)],
            targets_total: 10_000,
            targets_in_progress: 0,
            ports: None,
            site: None,
            title: String::new(),
            signed_by: None,
            allow_fragile: false,
            priority: Priority::Normal,
            submitted_at: "2025-07-10T12:00:00Z".into(),
            started_at: None,
            finished_at: None,
            elapsed_seconds: 754.0,
            eta_seconds: Some(2296.0),
            active_workers: 3,
            probes_sent: 0,
            loss_estimate: Some(0.0),
            recall_estimate: None,
            recall_measured: None,
            in_progress: crate::document::JobProgress::default(),
            reason: None,
            waits: Vec::new(),
        }
    }

    #[test]
    fn a_running_job_reads_as_in_the_original_description_to_the_letter() {
        let expected = "\
Job ID: job-abc123
Status: Running
Progress: 2,456 / 10,000 targets (24.56%)
Workers: 3 active

Worker Breakdown:
- wrk_us_east_1: 856 targets (8.56%) - Running
- wrk_us_east_2: 800 targets (8.00%) - Running
- wrk_us_west_1: 800 targets (8.00%) - Running

Elapsed: 12m 34s
ETA: 38m 16s
";
        assert_eq!(job_status(&original()), expected);
    }

    #[test]
    fn an_ended_job_has_results_instead_of_an_eta_and_says_why_it_is_partial() {
        let ended = JobDocument {
            status: "partial".into(),
            active_workers: 0,
            reason: Some("2 units failed".into()),
            worker_stats: Vec::new(),
            ..original()
        };
        let expected = "\
Job ID: job-abc123
Status: Partial
Progress: 2,456 / 10,000 targets (24.56%)
Workers: 0 active (3 took part)
Reason: 2 units failed

Elapsed: 12m 34s
Results: 1,234 hosts up, 2 open ports, 1 service detected, 0 vulnerabilities
";
        assert_eq!(job_status(&ended), expected);
        let measured = MeasuredRecall { low: 0.9984, high: 0.9997, silent: 90, asked_again: 8, turned_up: 1 };
        let told = job_status(&JobDocument { recall_measured: Some(measured), ..ended.clone() });
        assert!(told.ends_with(&format!("Measured: {measured}; what was not probed counts as missed\n")), "{told}");
        let estimated = JobDocument { recall_estimate: Some(0.2445), probes_sent: 9, ..ended };
        let lowered = "24.45% of open ports found (what was not probed counts as missed), by 9 probes\n";
        assert!(job_status(&estimated).contains(lowered), "{}", job_status(&estimated));
        let whole =
            JobDocument { targets_scanned: estimated.targets_total, recall_measured: Some(measured), ..estimated };
        let told = job_status(&whole);
        assert!(
            told.contains("of open ports found, by 9 probes") && told.ends_with(&format!("Measured: {measured}\n"))
        );
    }

    #[test]
    fn an_open_job_says_which_workers_take_none_of_it_and_why() {
        let waits = vec!["n2 takes no work: results cannot be written: No space left on device".into()];
        let text = job_status(&JobDocument { waits, ..original() });
        let line = "Workers: 3 active\nWaits: n2 takes no work: results cannot be written: No space left on device\n";
        assert!(text.contains(line), "{text}");
    }

    #[test]
    fn before_there_is_a_rate_the_eta_is_unknown_and_odd_numbers_do_no_harm() {
        assert_eq!(eta(None), "unknown");
        for seconds in [-5.0, f64::NAN, f64::INFINITY] {
            assert_eq!(eta(Some(seconds)), "0s");
        }
    }

    #[test]
    fn events_carry_their_time_and_each_day_its_date() {
        let event = |at: &str, message: &str| JobEvent {
            job_id: String::new(),
            index: 1,
            at: at.into(),
            kind: "k".into(),
            message: message.into(),
            worker: None,
            unit: None,
            node: None,
        };
        let list = [
            event("2025-07-10T12:05:30.5Z", "Worker wrk_1 heartbeat missed"),
            event("2025-07-10T12:07:30.123Z", "Worker wrk_1 marked as failed"),
            event("2025-07-11T00:00:00Z", "done"),
            event("soon\u{1b}", "odd"),
        ];
        let expected = "\
2025-07-10 UTC
[12:05:30.500] Worker wrk_1 heartbeat missed
[12:07:30.123] Worker wrk_1 marked as failed
2025-07-11 UTC
[00:00:00.000] done
[soon\\x1b] odd
";
        assert_eq!(events(&list, &jiff::tz::TimeZone::UTC), expected);
    }
}

//! Ended jobs against limits of age, number and bytes.

use super::super::state_test::Log;
use super::*;

const DAY: u64 = 24 * 3600 * 1000;

/// Three jobs of ten bytes each that ended a day apart, and one that waits.
fn log() -> (Log, [JobId; 3]) {
    let mut log = Log::begun();
    let ended = [b"aaaaaaaaaa", b"bbbbbbbbbb", b"cccccccccc"].map(|bytes| {
        log.at_ms += DAY;
        log.job(&[(bytes, &[1])])
    });
    log.job_with_spec(b"spec", &[1]);
    (log, ended)
}

fn gone(log: &Log, kept: Retention, now_ms: u64) -> Vec<JobId> {
    over(&log.state, &kept, now_ms).into_iter().map(|(job, _)| job).collect()
}

#[test]
fn each_limit_lets_the_oldest_go_and_never_a_job_that_has_not_ended() {
    let (log, [first, second, third]) = log();
    let now_ms = log.at_ms;
    assert_eq!(gone(&log, Retention::default(), u64::MAX), []);
    let days = |days: u64| Some(Duration::from_millis(days * DAY));
    assert_eq!(gone(&log, Retention { max_age: days(1), ..Retention::default() }, now_ms), [first]);
    assert_eq!(
        gone(&log, Retention { max_age: days(1), ..Retention::default() }, now_ms + 2 * DAY),
        [first, second, third]
    );
    assert_eq!(gone(&log, Retention { max_jobs: Some(1), ..Retention::default() }, now_ms), [first, second]);
    assert_eq!(gone(&log, Retention { max_bytes: Some(20), ..Retention::default() }, now_ms), [first]);
    let all = Retention { max_age: days(1), max_jobs: Some(2), max_bytes: Some(19) };
    assert_eq!(gone(&log, all, now_ms), [first, second]);
}

#[test]
fn the_latest_job_stays_however_large_its_results_are() {
    let (log, [first, second, _]) = log();
    assert_eq!(gone(&log, Retention { max_bytes: Some(1), ..Retention::default() }, log.at_ms), [first, second]);
}

#[test]
fn few_jobs_go_at_once_and_the_oldest_first() {
    let mut log = Log::begun();
    let jobs: Vec<JobId> = (0u8..40)
        .map(|number| {
            log.at_ms += 1;
            log.job(&[(&[number], &[1])])
        })
        .collect();
    let over = over(&log.state, &Retention { max_jobs: Some(5), ..Retention::default() }, log.at_ms);
    let gone: Vec<JobId> = over.iter().map(|(job, _)| *job).collect();
    assert_eq!(gone, jobs[..DELETED_MAX]);
    assert!(over[0].1.contains("max_jobs is 5"), "{}", over[0].1);
}

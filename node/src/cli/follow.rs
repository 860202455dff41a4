//! Following a job to its end.

use std::time::{Duration, Instant};

use super::api_session::ApiSession;
use super::interrupt::Interrupts;
use super::progress::Progress;
use crate::document::JobDocument;
use crate::failure::{ExitCode, Failure};

/// First pause between two looks: a scan of one host is over in milliseconds.
const POLL_FIRST: Duration = Duration::from_millis(5);
/// Longest pause: fast enough for a person, and cheap for a node.
const POLL_MAX: Duration = Duration::from_millis(500);
/// Silence of the node before following ends; a job does not need us, and an election takes a second or two.
const PATIENCE: Duration = Duration::from_secs(60);

/// How following ended.
pub(super) enum Ended {
    /// The job ended.
    Job(Box<JobDocument>),
    /// Ctrl-C or SIGTERM came first.
    Interrupted,
}

/// Looks at the job until it has ended or a signal comes, and shows its progress.
///
/// # Errors
/// The node refuses the question, or does not answer for a minute.
pub(super) async fn follow(
    session: &ApiSession,
    job_id: &str,
    progress: &Progress,
    interrupts: &mut Interrupts,
) -> Result<Ended, Failure> {
    let mut pause = POLL_FIRST;
    let mut last_answer = Instant::now();
    loop {
        let answer = tokio::select! {
            biased;
            () = interrupts.next() => return Ok(Ended::Interrupted),
            answer = session.client.job(job_id) => answer,
        };
        match answer {
            Ok(job) if job.has_ended() => return Ok(Ended::Job(Box::new(job))),
            Ok(job) => {
                last_answer = Instant::now();
                progress.update(&job);
            }
            Err(error) if error.is_passing() && last_answer.elapsed() < PATIENCE => {
                progress.note("the node does not answer; the job goes on without us, trying again");
            }
            Err(error) => {
                return Err(session.failure(&error).next(format!("follow again with `pentora job watch {job_id}`")));
            }
        }
        tokio::select! {
            biased;
            () = interrupts.next() => return Ok(Ended::Interrupted),
            () = tokio::time::sleep(pause) => {}
        }
        pause = (pause * 2).min(POLL_MAX);
    }
}

/// What the end of a job means for the command that waited for it.
///
/// # Errors
/// Exit 6 for a job that is partial or failed, 7 for a cancelled one.
pub(super) fn verdict(job: &JobDocument) -> Result<(), Failure> {
    let failure = |exit, what: &str| {
        let failure = Failure::new(exit, format!("{} {what}", job.job_id));
        match &job.reason {
            Some(reason) => failure.because(super::output::clean(reason)),
            None => failure,
        }
    };
    match job.status.as_str() {
        "completed" => Ok(()),
        "partial" => Err(failure(ExitCode::JobIncomplete, "is partial: the results are not all")),
        "cancelled" => Err(failure(ExitCode::Cancelled, "was cancelled: the results are not all")),
        other => Err(failure(ExitCode::JobIncomplete, &format!("ended {}", super::output::clean(other)))),
    }
}

#[cfg(test)]
mod tests {
    use super::super::status::tests::original;
    use super::*;

    #[test]
    fn each_end_of_a_job_has_its_exit_code() {
        for (status, exit) in [
            ("partial", ExitCode::JobIncomplete),
            ("failed", ExitCode::JobIncomplete),
            ("cancelled", ExitCode::Cancelled),
            ("exploded", ExitCode::JobIncomplete),
        ] {
            let job = JobDocument { status: status.into(), reason: Some("2 units".into()), ..original() };
            let failure = verdict(&job).unwrap_err();
            assert_eq!((failure.exit, failure.why.as_deref()), (exit, Some("2 units")), "{status}");
        }
        assert_eq!(verdict(&JobDocument { status: "completed".into(), ..original() }), Ok(()));
    }
}

//! What a cluster holds before a drill and after it, as far as its API tells.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::super::super::api_session::ApiSession;
use super::super::super::output::{clean, counted, grouped};
use crate::client::ClientError;
use crate::document::JobDocument;
use crate::failure::{ExitCode, Failure};

/// Jobs whose results are read whole, the newest ones: enough to see that chunks are there, and soon done.
const READ_JOBS_MAX: usize = 5;

/// How long a cluster that is back may take to answer all of it.
const ANSWERS_WITHIN: Duration = Duration::from_secs(15);
/// Pause between two tries.
const AGAIN_AFTER: Duration = Duration::from_millis(250);

/// What a job has, which only grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct JobKept {
    targets: u64,
    hosts_up: u64,
    open_ports: u64,
    /// Hosts in its report, and units of it that cannot be read; `None` where it was not read.
    report: Option<(u64, usize)>,
}

/// What the cluster holds.
#[derive(Debug)]
pub(super) struct Kept {
    /// The log index of a write that was acknowledged.
    index: u64,
    jobs: BTreeMap<String, JobKept>,
}

/// What was compared, and what is not there any more.
#[derive(Debug, Default, Serialize)]
pub(super) struct Losses {
    #[serde(rename = "jobs_kept")]
    pub(super) jobs: usize,
    /// Hosts in the reports that were read.
    #[serde(rename = "hosts_read")]
    pub(super) hosts: u64,
    /// The log index of the last write before.
    #[serde(rename = "index_kept")]
    pub(super) index: u64,
    /// A sentence for each loss.
    pub(super) lost: Vec<String>,
}

impl Losses {
    /// As people read it.
    pub(super) fn told(&self) -> String {
        if !self.lost.is_empty() {
            return self.lost.iter().map(|what| clean(what)).collect::<Vec<_>>().join("; ");
        }
        let reports = match self.jobs {
            0..=READ_JOBS_MAX => "their reports".to_owned(),
            _ => format!("the reports of the {READ_JOBS_MAX} newest"),
        };
        format!(
            "nothing: {}, {} in {reports}, and the log up to {} are there",
            counted(self.jobs as u64, "job"),
            counted(self.hosts, "host"),
            grouped(self.index)
        )
    }

    /// Fails where something was lost.
    pub(super) fn verdict(&self) -> Result<(), Failure> {
        if self.lost.is_empty() {
            return Ok(());
        }
        Err(Failure::new(ExitCode::Failure, "the cluster lost something").because(self.lost.join("; ")))
    }
}

impl Kept {
    /// Asks a node. A write that changes nothing goes first: what is acknowledged by then must be there later.
    ///
    /// # Errors
    /// It does not answer, or takes no write.
    pub(super) async fn of(session: &ApiSession) -> Result<Self, Failure> {
        let failed = |error: ClientError| session.failure(&error);
        let index = session.client.empty_write().await.map_err(failed)?.index;
        let mut jobs = BTreeMap::new();
        for (place, document) in session.client.jobs().await.map_err(failed)?.into_iter().enumerate() {
            let report = if place < READ_JOBS_MAX { Some(report(session, &document.job_id).await?) } else { None };
            jobs.insert(document.job_id.clone(), JobKept::of(&document, report));
        }
        Ok(Self { index, jobs })
    }

    /// The same after the drill, asked again for a while: a leader may just have come.
    pub(super) async fn after(session: &ApiSession) -> Option<Self> {
        let begun = Instant::now();
        loop {
            match Self::of(session).await {
                Ok(kept) => return Some(kept),
                Err(_) if begun.elapsed() >= ANSWERS_WITHIN => return None,
                Err(_) => tokio::time::sleep(AGAIN_AFTER).await,
            }
        }
    }

    /// What of this is not in `after`.
    pub(super) fn losses(&self, after: Option<&Self>) -> Losses {
        let Some(after) = after else {
            return Losses { lost: vec!["nobody can say: the cluster does not answer".into()], ..Losses::default() };
        };
        let mut lost = Vec::new();
        if after.index < self.index {
            lost.push(format!("the log ends at {}, and had {} before", after.index, self.index));
        }
        for (id, before) in &self.jobs {
            match after.jobs.get(id) {
                None => lost.push(format!("job {id} is gone")),
                Some(now) => before.compare(id, now, &mut lost),
            }
        }
        let hosts = after.jobs.values().filter_map(|job| job.report).map(|(hosts, _)| hosts).sum();
        Losses { jobs: self.jobs.len(), hosts, index: self.index, lost }
    }
}

impl JobKept {
    fn of(document: &JobDocument, report: Option<(u64, usize)>) -> Self {
        Self {
            targets: document.targets_scanned,
            hosts_up: document.results.hosts_up,
            open_ports: document.results.open_ports,
            report,
        }
    }

    fn compare(&self, id: &str, now: &Self, lost: &mut Vec<String>) {
        let figures = [
            ("targets scanned", self.targets, now.targets),
            ("hosts up", self.hosts_up, now.hosts_up),
            ("open ports", self.open_ports, now.open_ports),
        ];
        let report = self.report.zip(now.report).map(|(was, is)| ("hosts in its report", was.0, is.0));
        for (what, was, is) in figures.into_iter().chain(report) {
            if is < was {
                lost.push(format!("job {id}: {what}: {is}, and {was} before"));
            }
        }
        let unreadable = |job: &Self| job.report.map_or(0, |(_, unreadable)| unreadable);
        if unreadable(now) > unreadable(self) {
            lost.push(format!("job {id}: {} of its units cannot be read", unreadable(now)));
        }
    }
}

/// Reads a job's report: how many hosts are in it, and how many units cannot be read.
async fn report(session: &ApiSession, id: &str) -> Result<(u64, usize), Failure> {
    let mut lines = session.client.results(id).await.map_err(|error| session.failure(&error))?;
    let mut hosts = 0;
    while lines.next().await.map_err(|error| session.failure(&error))?.is_some() {
        hosts += 1;
    }
    Ok((hosts, lines.unreadable().len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(index: u64, jobs: &[(&str, JobKept)]) -> Kept {
        Kept { index, jobs: jobs.iter().map(|(id, job)| ((*id).to_owned(), *job)).collect() }
    }

    #[test]
    fn what_grew_is_no_loss_and_what_shrank_or_is_gone_is_named() {
        let job = JobKept { targets: 100, hosts_up: 10, open_ports: 20, report: Some((10, 0)) };
        let before = kept(50, &[("job-a", job), ("job-b", job)]);
        let grown = JobKept { targets: 120, hosts_up: 12, report: Some((12, 0)), ..job };
        let fine = before.losses(Some(&kept(60, &[("job-a", grown), ("job-b", job), ("job-c", job)])));
        assert_eq!((fine.lost.as_slice(), fine.jobs, fine.hosts, fine.index), ([].as_slice(), 2, 32, 50));
        let shrunk = JobKept { targets: 99, open_ports: 19, report: Some((9, 2)), ..job };
        let lost = before.losses(Some(&kept(49, &[("job-a", shrunk)]))).lost;
        assert_eq!(
            lost,
            [
                "the log ends at 49, and had 50 before",
                "job job-a: targets scanned: 99, and 100 before",
                "job job-a: open ports: 19, and 20 before",
                "job job-a: hosts in its report: 9, and 10 before",
                "job job-a: 2 of its units cannot be read",
                "job job-b is gone",
            ]
        );
        assert_eq!(before.losses(None).lost.len(), 1, "silence is no proof");
    }
}

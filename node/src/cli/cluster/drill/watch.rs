//! Watches a cluster through a drill: who leads, whether writes go through, what becomes of the victims' units, and when
//! they are back. Errors of a node that is down are what is watched for, so they end nothing.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use pentora_raft::worker_id;
use tokio::sync::watch::{self, Receiver};

use crate::client::Client;
use crate::document::{ClusterDocument, JobDocument, JobEvent, WorkerDocument};

/// Pause between two looks at who leads: the error of what is measured.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// Pause between two writes.
const TRY_EVERY: Duration = Duration::from_millis(50);
/// Pause between two looks at jobs: each reads the list of all.
const JOBS_EVERY: Duration = Duration::from_millis(100);
/// How long one question may take before it counts as unanswered.
const ANSWER_WITHIN: Duration = Duration::from_secs(3);
/// How long after its end a node may take to be back: a start, an election, and the beats that show it.
const BACK_WITHIN: Duration = Duration::from_secs(90);
/// How long a unit may take to be given to others: a grace period and the round after it.
const GIVEN_ON_WITHIN: Duration = Duration::from_secs(60);
/// Jobs at work whose units are followed.
const JOBS_MAX: usize = 8;

/// Who suffers.
pub(super) struct Subject<'a> {
    pub(super) victims: &'a [String],
    /// Whether their processes end.
    pub(super) kill: bool,
    pub(super) lasts: Duration,
}

/// What was seen, in times since the fault began.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// Whether a victim led, so that another has to.
    pub(super) led: bool,
    /// The next leader, its term, and when it was there.
    pub(super) next_leader: Option<(String, u64, Duration)>,
    /// When the first write went through under it.
    pub(super) next_write: Option<Duration>,
    /// The longest time between two writes that went through.
    pub(super) stood_still: Duration,
    /// How many writes went through.
    pub(super) writes: u64,
    /// How often work was taken from the victims (all of a job's, or one unit), and when first.
    pub(super) taken_back: (usize, Option<Duration>),
    /// Units given to a worker anew after that, and when the first was.
    pub(super) given_on: (usize, Option<Duration>),
    /// When all victims were back.
    pub(super) back: Option<Duration>,
}

/// Watches until all victims are back and their units are at work again, or for too long.
pub(super) async fn watch(client: &Client, subject: &Subject<'_>, before: &ClusterDocument, began: Instant) -> Seen {
    tokio::time::sleep_until(began.into()).await;
    let led = before.leader.as_ref().is_some_and(|leader| subject.victims.contains(leader));
    let mut seen = Seen { led, ..Seen::default() };
    let (over, over_seen) = watch::channel(false);
    let ends = |mut over: Receiver<bool>| async move {
        // The sender lives until all are done.
        let _ = over.wait_for(|over| *over).await;
    };
    let leader = async { if led { next_leader(client, subject, before, began).await } else { None } };
    let leader = async {
        tokio::select! { leader = leader => leader, () = ends(over_seen.clone()) => None }
    };
    let writes = writes(client, began, (led, before.term), over_seen.clone());
    let (returned, are_back) = watch::channel(false);
    let rest = async {
        let back = async {
            let back = back(client, subject, began).await;
            let _ = returned.send(true);
            back
        };
        let both = tokio::join!(units(client, subject, began, are_back), back);
        let _ = over.send(true);
        both
    };
    let (found, (first, stood_still, count), ((taken_back, given_on), back)) = tokio::join!(leader, writes, rest);
    (seen.next_leader, seen.next_write, seen.stood_still, seen.writes) = (found, first, stood_still, count);
    (seen.taken_back, seen.given_on, seen.back) = (taken_back, given_on, back);
    seen
}

/// An answer in time, or none.
async fn asked<T, E>(question: impl Future<Output = Result<T, E>>) -> Option<T> {
    tokio::time::timeout(ANSWER_WITHIN, question).await.ok()?.ok()
}

async fn next_leader(
    client: &Client,
    subject: &Subject<'_>,
    before: &ClusterDocument,
    began: Instant,
) -> Option<(String, u64, Duration)> {
    let end = began + subject.lasts + BACK_WITHIN;
    while Instant::now() < end {
        if let Some(cluster) = asked(client.cluster_once()).await
            && cluster.term > before.term
            && let Some(leader) = cluster.leader
        {
            return Some((leader, cluster.term, began.elapsed()));
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    None
}

/// Writes what changes nothing, again and again until `over`: when the first went through that no old leader can have
/// taken, the longest time without one, and how many there were.
async fn writes(
    client: &Client,
    began: Instant,
    (led, term): (bool, u64),
    over: Receiver<bool>,
) -> (Option<Duration>, Duration, u64) {
    let (mut first, mut longest, mut last, mut count) = (None, Duration::ZERO, began, 0);
    while !*over.borrow() {
        if asked(client.empty_write()).await.is_some() {
            (longest, last, count) = (longest.max(last.elapsed()), Instant::now(), count + 1);
            let took = began.elapsed();
            if first.is_none()
                && (!led || asked(client.cluster_once()).await.is_some_and(|cluster| cluster.term > term))
            {
                first = Some(took);
            }
        }
        tokio::time::sleep(TRY_EVERY).await;
    }
    (first, longest.max(if count == 0 { began.elapsed() } else { Duration::ZERO }), count)
}

/// How often work was taken from the victims and how many units were given to workers anew, each with the first time.
type Units = ((usize, Option<Duration>), (usize, Option<Duration>));

/// Work of a job that a victim lost.
struct Lost {
    job: String,
    is_given_on: bool,
}

/// Follows what becomes of the victims' units until they are back and none of theirs waits any more.
async fn units(client: &Client, subject: &Subject<'_>, began: Instant, are_back: Receiver<bool>) -> Units {
    let ids: Vec<String> = subject.victims.iter().map(|name| worker_id(name)).collect();
    let mut read_to: BTreeMap<String, u64> = BTreeMap::new();
    let mut lost: Vec<Lost> = Vec::new();
    let (mut first_lost, mut first_given, mut given) = (None, None, 0);
    let end = began + subject.lasts + GIVEN_ON_WITHIN;
    // What the first look finds was there before.
    let mut is_first = true;
    while Instant::now() < end {
        let was_back = *are_back.borrow();
        let jobs = asked(client.jobs()).await.unwrap_or_default();
        let is_open = |job: &&JobDocument| job.finished_at.is_none() || read_to.contains_key(&job.job_id);
        let open: Vec<&JobDocument> = jobs.iter().filter(is_open).take(JOBS_MAX).collect();
        for job in &open {
            let events = asked(client.events(&job.job_id, read_to.get(&job.job_id).copied())).await.unwrap_or_default();
            let last = events.iter().map(|event| event.index).max();
            read_to.entry(job.job_id.clone()).and_modify(|to| *to = last.unwrap_or(*to)).or_insert(last.unwrap_or(0));
            for event in events.iter().filter(|_| !is_first) {
                if is_loss(event, &ids) {
                    first_lost.get_or_insert_with(|| began.elapsed());
                    lost.push(Lost { job: job.job_id.clone(), is_given_on: false });
                } else if event.kind == "reassigned" && lost.iter().any(|lost| lost.job == job.job_id) {
                    first_given.get_or_insert_with(|| began.elapsed());
                    given += 1;
                    lost.iter_mut().filter(|lost| lost.job == job.job_id).for_each(|lost| lost.is_given_on = true);
                }
            }
        }
        is_first = false;
        let is_over = |id: &str| open.iter().all(|job| job.job_id != id || job.finished_at.is_some());
        if was_back && lost.iter().all(|lost| lost.is_given_on || is_over(&lost.job)) {
            break;
        }
        tokio::time::sleep(JOBS_EVERY).await;
    }
    ((lost.len(), first_lost), (given, first_given))
}

/// Whether an event says that one of these workers lost work: all that it had of the job, or one unit.
fn is_loss(event: &JobEvent, workers: &[String]) -> bool {
    ["worker_failed", "expired", "released"].contains(&event.kind.as_str())
        && event.worker.as_ref().is_some_and(|worker| workers.contains(worker))
}

/// When all victims were at work again after the fault.
async fn back(client: &Client, subject: &Subject<'_>, began: Instant) -> Option<Duration> {
    let over = began + subject.lasts;
    tokio::time::sleep_until(over.into()).await;
    while over.elapsed() < BACK_WITHIN {
        if let Some(workers) = asked(client.workers()).await
            && subject
                .victims
                .iter()
                .all(|name| is_back(workers.iter().find(|worker| worker.name == *name), subject, began))
        {
            return Some(began.elapsed());
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    None
}

fn is_back(worker: Option<&WorkerDocument>, subject: &Subject<'_>, began: Instant) -> bool {
    let Some(worker) = worker else { return false };
    // One that began anew has run for less than the time since then; told in whole seconds, an old one never has.
    let is_new = worker.uptime_seconds.is_some_and(|seconds| seconds < began.elapsed().as_secs());
    let is_heard = worker.status_age_ms.is_none() && worker.load.is_some() && worker.takes_no_work.is_none();
    is_heard && super::THERE.contains(&worker.status.as_str()) && (is_new || !subject.kill)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_is_lost_with_the_worker_or_unit_by_unit_and_others_losses_are_none() {
        let ids = ["wrk_n3".to_owned()];
        let is_lost = |kind: &str, worker: Option<&str>| {
            let event = JobEvent {
                job_id: String::new(),
                index: 1,
                at: String::new(),
                kind: kind.into(),
                message: String::new(),
                worker: worker.map(str::to_owned),
                unit: None,
                node: None,
            };
            is_loss(&event, &ids)
        };
        assert!(["worker_failed", "expired", "released"].iter().all(|kind| is_lost(kind, Some("wrk_n3"))));
        assert!(!is_lost("worker_failed", Some("wrk_n2")) && !is_lost("expired", None));
        assert!(!is_lost("reassigned", Some("wrk_n3")) && !is_lost("unit_done", Some("wrk_n3")));
    }
}

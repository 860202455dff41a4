//! Watches a cluster one of whose disks is slow: how long writes take before, meanwhile and after, who leads, how far the
//! node falls behind, and how soon writes are as fast as before.

use std::time::{Duration, Instant};

use serde::Serialize;

use super::super::super::output::{clean, counted};
use super::losses::Losses;
use crate::client::Client;
use crate::document::ClusterDocument;
use crate::failure::{ExitCode, Failure};

/// How long writes are measured before the disk is slow, and after they are fast again: some fifty of them.
const BESIDE: Duration = Duration::from_secs(3);
/// Pause between two writes.
const WRITE_EVERY: Duration = Duration::from_millis(50);
/// Pause between two looks at who leads.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// How long one question may take before it counts as unanswered: a write is refused long before.
const ANSWER_WITHIN: Duration = Duration::from_secs(15);
/// How long after its end writes may take to be as fast as before.
const RECOVERED_WITHIN: Duration = Duration::from_secs(60);

/// How long writes took.
#[derive(Debug, Default, Clone, PartialEq, Serialize)]
pub(super) struct Latency {
    writes: usize,
    /// Those that were not taken, or not answered.
    refused: usize,
    p50_ms: f64,
    max_ms: f64,
}

/// Another leader.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct Change {
    leader: String,
    term: u64,
    after_ms: u64,
}

/// What a drill with a slow disk measured. Times are in milliseconds since it was slow.
#[derive(Debug, Serialize)]
pub(super) struct Slow {
    drill: &'static str,
    node: String,
    for_ms: u64,
    delay_ms: u64,
    before: Latency,
    during: Latency,
    after: Latency,
    /// Who led when it began.
    leader: Option<String>,
    leader_changes: Vec<Change>,
    /// Most entries that the node was behind, where the node that answers leads.
    behind_max: Option<u64>,
    /// When a write was as fast as those before, since the end.
    recovered_after_ms: Option<u64>,
    #[serde(flatten)]
    losses: Losses,
}

/// Whose disk is slow, and how.
#[derive(Debug, Clone, Copy)]
pub(super) struct Subject<'a> {
    pub(super) drill: &'static str,
    pub(super) victim: &'a str,
    pub(super) delay: Duration,
    pub(super) lasts: Duration,
}

/// How long each of some writes took; how many were refused.
#[derive(Debug, Default)]
struct Writes {
    took: Vec<Duration>,
    refused: usize,
}

impl Writes {
    /// Writes what changes nothing, again and again until `end`.
    async fn until(client: &Client, end: Instant) -> Self {
        let mut writes = Self::default();
        while Instant::now() < end {
            writes.one(client).await;
        }
        writes
    }

    /// One write, and the pause behind it; how long it took where it was taken.
    async fn one(&mut self, client: &Client) -> Option<Duration> {
        let begun = Instant::now();
        let taken = matches!(tokio::time::timeout(ANSWER_WITHIN, client.empty_write()).await, Ok(Ok(_)));
        let took = taken.then(|| begun.elapsed());
        match took {
            Some(took) => self.took.push(took),
            None => self.refused += 1,
        }
        tokio::time::sleep(WRITE_EVERY).await;
        took
    }

    fn latency(mut self) -> Latency {
        self.took.sort_unstable();
        // To a tenth of a millisecond.
        let ms = |took: Option<&Duration>| took.map_or(0.0, |took| (took.as_secs_f64() * 10_000.0).round() / 10.0);
        Latency {
            writes: self.took.len(),
            refused: self.refused,
            p50_ms: ms(self.took.get(self.took.len() / 2)),
            max_ms: ms(self.took.last()),
        }
    }
}

/// How long writes take while nothing is wrong.
pub(super) async fn before(client: &Client) -> Latency {
    Writes::until(client, Instant::now() + BESIDE).await.latency()
}

/// Watches from when the disk is slow until writes are as fast as before, or for too long.
pub(super) async fn watch(
    client: &Client,
    subject: &Subject<'_>,
    cluster: &ClusterDocument,
    (before, began): (Latency, Instant),
) -> Slow {
    tokio::time::sleep_until(began.into()).await;
    let end = began + subject.lasts;
    let writes = async {
        let during = Writes::until(client, end).await.latency();
        let mut rest = Writes::default();
        let recovered = loop {
            let took = rest.one(client).await;
            if took.is_some_and(|took| took.as_secs_f64() * 1_000.0 <= before.max_ms) {
                break Some(end.elapsed().saturating_sub(WRITE_EVERY));
            }
            if end.elapsed() >= RECOVERED_WITHIN {
                break None;
            }
        };
        let after = Writes::until(client, Instant::now() + BESIDE).await.latency();
        (during, recovered, after)
    };
    let mut leads = Leads { term: cluster.term, ..Leads::default() };
    let (during, recovered, after) = tokio::select! {
        biased;
        writes = writes => writes,
        () = leads.look(client, subject.victim, began) => (Latency::default(), None, Latency::default()),
    };
    Slow {
        drill: subject.drill,
        node: subject.victim.to_owned(),
        for_ms: millis(subject.lasts),
        delay_ms: millis(subject.delay),
        before,
        during,
        after,
        leader: cluster.leader.clone(),
        leader_changes: leads.changes,
        behind_max: leads.behind_max,
        recovered_after_ms: recovered.map(millis),
        losses: Losses::default(),
    }
}

/// Who leads, as far as it was seen.
#[derive(Debug, Default)]
struct Leads {
    term: u64,
    changes: Vec<Change>,
    behind_max: Option<u64>,
}

impl Leads {
    /// Looks until it is dropped.
    async fn look(&mut self, client: &Client, victim: &str, began: Instant) {
        loop {
            if let Ok(Ok(cluster)) = tokio::time::timeout(ANSWER_WITHIN, client.cluster_once()).await {
                self.note(&cluster, victim, began.elapsed());
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    fn note(&mut self, cluster: &ClusterDocument, victim: &str, after: Duration) {
        let behind = cluster.nodes.iter().find(|node| node.name == victim).and_then(|node| node.lag);
        self.behind_max = self.behind_max.max(behind);
        if let Some(leader) = cluster.leader.as_ref().filter(|_| cluster.term > self.term) {
            self.term = cluster.term;
            self.changes.push(Change { leader: leader.clone(), term: cluster.term, after_ms: millis(after) });
        }
    }
}

impl Slow {
    /// With what was lost.
    pub(super) fn with(self, losses: Losses) -> Self {
        Self { losses, ..self }
    }

    /// As people read it.
    pub(super) fn told(&self) -> String {
        let seconds = |ms: u64| format!("{:.2} s", ms as f64 / 1_000.0);
        let node = clean(&self.node);
        let mut lines = vec![
            (self.drill, format!("{node} for {}, each sync {} ms later", seconds(self.for_ms), self.delay_ms)),
            ("before", self.before.told()),
            ("meanwhile", self.during.told()),
            ("after", self.after.told()),
            ("leader", self.leaders()),
        ];
        if let Some(behind) = self.behind_max {
            lines.push(("behind", format!("{node} at most {}", entries(behind))));
        }
        let recovered =
            self.recovered_after_ms.map(|ms| format!("writes as fast as before {} after its end", seconds(ms)));
        lines.push(("recovered", recovered.unwrap_or_else(|| "never".to_owned())));
        lines.push(("lost", self.losses.told()));
        lines.into_iter().map(|(what, told)| format!("{what:<12} {told}\n")).collect()
    }

    fn leaders(&self) -> String {
        let first = self.leader.as_ref().map_or_else(|| "nobody".to_owned(), |leader| clean(leader));
        if self.leader_changes.is_empty() {
            return format!("{first} all the time");
        }
        let next = |change: &Change| {
            let after = change.after_ms as f64 / 1_000.0;
            format!("{} after {after:.2} s (term {})", clean(&change.leader), change.term)
        };
        let next: Vec<String> = self.leader_changes.iter().map(next).collect();
        format!("{first}, then {}", next.join(", "))
    }

    /// How the command ends.
    pub(super) fn verdict(&self) -> Result<(), Failure> {
        self.losses.verdict()?;
        if self.recovered_after_ms.is_none() {
            return Err(Failure::new(ExitCode::Failure, "writes are not as fast as before")
                .next("`pentora cluster status` shows who answers"));
        }
        Ok(())
    }
}

impl Latency {
    fn told(&self) -> String {
        let refused = if self.refused > 0 { format!(", {} refused", self.refused) } else { String::new() };
        let writes = counted(self.writes as u64, "write");
        if self.writes == 0 {
            return format!("{writes}{refused}");
        }
        format!("{writes}{refused}; half within {:.1} ms, the slowest {:.1} ms", self.p50_ms, self.max_ms)
    }
}

fn entries(count: u64) -> String {
    if count == 1 { "1 entry".to_owned() } else { format!("{count} entries") }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::NodeDocument;

    fn latency(writes: usize, refused: usize, p50_ms: f64, max_ms: f64) -> Latency {
        Latency { writes, refused, p50_ms, max_ms }
    }

    #[test]
    fn half_of_the_writes_and_the_slowest_are_told() {
        let took = [900, 1_040, 20_000, 1_000, 1_060].map(Duration::from_micros).to_vec();
        assert_eq!(Writes { took, refused: 2 }.latency(), latency(5, 2, 1.0, 20.0));
        assert_eq!(Writes::default().latency(), Latency::default());
    }

    #[test]
    fn a_leader_of_a_later_term_is_another_one_and_the_node_is_behind_by_the_most_that_was_seen() {
        let seen = |leader: Option<&str>, term: u64, lag: Option<u64>| ClusterDocument {
            leader: leader.map(str::to_owned),
            term,
            nodes: vec![NodeDocument { name: "n1".into(), lag, ..NodeDocument::default() }],
            ..ClusterDocument::default()
        };
        let mut leads = Leads { term: 4, ..Leads::default() };
        for (at, document) in [
            (1, seen(Some("n1"), 4, None)),
            (2, seen(None, 5, Some(7))),
            (3, seen(Some("n2"), 5, Some(3))),
            (4, seen(Some("n2"), 5, None)),
        ] {
            leads.note(&document, "n1", Duration::from_millis(at));
        }
        assert_eq!(leads.changes, [Change { leader: "n2".into(), term: 5, after_ms: 3 }]);
        assert_eq!(leads.behind_max, Some(7));
    }

    #[test]
    fn a_slow_disk_is_told_in_lines_and_fails_where_something_was_lost_or_stays_slow() {
        let slow = |changes: Vec<Change>, recovered_after_ms, lost: Vec<String>| Slow {
            drill: "slow-disk",
            node: "n1".into(),
            for_ms: 10_000,
            delay_ms: 250,
            before: latency(57, 0, 1.2, 4.0),
            during: latency(31, 1, 252.3, 503.9),
            after: latency(58, 0, 1.1, 3.0),
            leader: Some("n1".into()),
            leader_changes: changes,
            behind_max: Some(4),
            recovered_after_ms,
            losses: Losses { jobs: 2, hosts: 9, index: 5_330, lost },
        };
        let expected = "\
slow-disk    n1 for 10.00 s, each sync 250 ms later
before       57 writes; half within 1.2 ms, the slowest 4.0 ms
meanwhile    31 writes, 1 refused; half within 252.3 ms, the slowest 503.9 ms
after        58 writes; half within 1.1 ms, the slowest 3.0 ms
leader       n1 all the time
behind       n1 at most 4 entries
recovered    writes as fast as before 0.05 s after its end
lost         nothing: 2 jobs, 9 hosts in their reports, and the log up to 5,330 are there
";
        let well = slow(Vec::new(), Some(50), Vec::new());
        assert_eq!(well.told(), expected);
        assert!(well.verdict().is_ok());
        let moved = slow(vec![Change { leader: "n2".into(), term: 6, after_ms: 1_204 }], Some(50), Vec::new());
        assert!(moved.told().contains("leader       n1, then n2 after 1.20 s (term 6)\n"), "{}", moved.told());
        assert_eq!(slow(Vec::new(), None, Vec::new()).verdict().unwrap_err().exit, ExitCode::Failure);
        assert!(slow(Vec::new(), Some(1), vec!["job job-a is gone".into()]).verdict().is_err());
    }
}

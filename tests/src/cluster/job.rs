//! A job under test: submitted on one node, followed and read on any.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, bail};
use serde_json::Value;

use super::Cluster;
use crate::lab::{Score, Truth};
use crate::wait;

/// A submitted job's id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job(pub String);

impl Job {
    /// Submits `pentora scan WORDS... --detach` on a node.
    ///
    /// # Errors
    /// Where it is not accepted.
    pub fn submit(cluster: &Cluster, number: usize, words: &[&str]) -> anyhow::Result<Self> {
        let answer = cluster.pentora(number, &[&["scan"], words, &["--detach", "--json"]].concat())?.json()?;
        let id = answer.get("job_id").and_then(Value::as_str).with_context(|| format!("no job_id in {answer}"))?;
        Ok(Self(id.to_owned()))
    }

    /// Its document, as a node has it.
    ///
    /// # Errors
    /// Where the node does not answer.
    pub fn document(&self, cluster: &Cluster, number: usize) -> anyhow::Result<Value> {
        cluster.pentora(number, &["job", "status", &self.0, "--json"])?.json()
    }

    /// Waits until at least `targets` of it are scanned, as a node sees it, so that a fault comes in its middle.
    ///
    /// # Errors
    /// Where that does not come about, or the job has ended before: then the fault would prove nothing.
    pub fn wait_for_progress(&self, cluster: &Cluster, number: usize, targets: u64) -> anyhow::Result<()> {
        wait::until("progress of the job", Duration::from_secs(60), || {
            let document = self.document(cluster, number)?;
            if has_ended(&document) {
                bail!("the job ended before the fault: {document}");
            }
            Ok((document.get("targets_scanned").and_then(Value::as_u64) >= Some(targets)).then_some(()))
        })
    }

    /// Waits for it to end, as a node sees it; the node may be without an answer for a while.
    ///
    /// # Errors
    /// Where it does not within `limit`.
    pub fn wait(&self, cluster: &Cluster, number: usize, limit: Duration) -> anyhow::Result<Value> {
        wait::until(&format!("the end of {}", self.0), limit, || {
            Ok(self.document(cluster, number).ok().filter(has_ended))
        })
    }

    /// Its results in a format of `-o`, whether they are all or the job was not done to its end (exit codes 6 and 7).
    ///
    /// # Errors
    /// Where the node does not have them.
    pub fn results(&self, cluster: &Cluster, number: usize, format: &str) -> anyhow::Result<String> {
        let ran = cluster.pentora(number, &["job", "results", &self.0, "-o", format])?;
        // Results that no holder gives are the same exit code as a job that is partial, and another thing.
        let is_read = matches!(ran.code, 6 | 7) && !ran.stderr.contains("are missing; the rest is printed");
        if is_read { Ok(ran.stdout) } else { ran.ok() }
    }

    /// Its results, as a node has them, held against the truth.
    ///
    /// # Errors
    /// Where the node does not have them.
    pub fn score(&self, cluster: &Cluster, number: usize, truth: &Truth) -> anyhow::Result<Score> {
        truth.score(&self.results(cluster, number, "list")?)
    }

    /// Its events, in their order.
    ///
    /// # Errors
    /// Where the node does not answer, or with something else than a list.
    pub fn events(&self, cluster: &Cluster, number: usize) -> anyhow::Result<Vec<Value>> {
        let text = cluster.pentora(number, &["job", "events", &self.0, "--json"])?.ok()?;
        // One document, or one per line.
        let lines = || text.lines().map(serde_json::from_str).collect::<Result<Vec<Value>, _>>();
        let events = serde_json::from_str::<Vec<Value>>(&text).or_else(|_not_one_document| lines());
        events.with_context(|| format!("the events of {}: {text:?}", self.0))
    }
}

fn has_ended(document: &Value) -> bool {
    ["completed", "partial", "failed", "cancelled"].iter().any(|status| document["status"] == *status)
}

/// How often each unit was counted, by its events: more than once breaks the promise.
#[must_use]
pub fn units_completed(events: &[Value]) -> BTreeMap<String, usize> {
    let mut units = BTreeMap::new();
    for event in events.iter().filter(|event| event["kind"] == "unit_done") {
        if let Some(unit) = event["unit"].as_str() {
            *units.entry(unit.to_owned()).or_insert(0) += 1;
        }
    }
    units
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_unit_counted_twice_shows() {
        let events = [
            json!({"kind": "assigned", "unit": "0:0-9"}),
            json!({"kind": "unit_done", "unit": "0:0-9"}),
            json!({"kind": "unit_done", "unit": "0:9-20"}),
            json!({"kind": "unit_done", "unit": "0:0-9"}),
            json!({"kind": "unit_done"}),
        ];
        assert_eq!(units_completed(&events), BTreeMap::from([("0:0-9".to_owned(), 2), ("0:9-20".to_owned(), 1)]));
    }

    #[test]
    fn a_job_has_ended_in_its_four_last_states_only() {
        for (status, ended) in
            [("completed", true), ("partial", true), ("cancelled", true), ("failed", true), ("running", false)]
        {
            assert_eq!(has_ended(&json!({"status": status})), ended, "{status}");
        }
    }
}

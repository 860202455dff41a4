//! `/metrics` in Prometheus' text format (version 0.0.4). Names are stable.

use std::fmt::Write;

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use pentora_raft::Role;

use super::Node;

pub(super) async fn metrics(State(node): State<Node>) -> Response {
    let text = render(&node);
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response()
}

struct Text(String);

impl Text {
    fn put(&mut self, name: &str, kind: &str, help: &str, value: impl std::fmt::Display) {
        // Writing to a string cannot fail.
        let _ = write!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}\n");
    }
}

fn render(node: &Node) -> String {
    let status = node.raft.status();
    let own = status.node;
    let mut text = Text(String::new());
    let backlog = node.raft.read(|state| {
        let open = state.jobs().filter(|(_, job)| job.is_open());
        open.map(|(_, job)| job.targets().saturating_sub(job.done).saturating_sub(job.dead))
            .fold(0u64, u64::saturating_add)
    });
    let (waiting, leases, own_leases, workers) = node.raft.read(|state| {
        let waiting = state.jobs().filter(|(_, job)| super::jobs::is_waiting(job)).count();
        let own_leases = state.leases().filter(|(_, lease)| lease.node == own).count();
        let workers = state.nodes().filter(|(_, record)| record.takes_leases()).count();
        (waiting, state.leases().count(), own_leases, workers)
    });
    let (units, probes, retransmitted) = node.raft.read(|state| {
        state.jobs().fold((0u64, 0u64, 0u64), |(units, probes, again), (id, job)| {
            let done: u64 = state.job_workers(id).map(|(_, stat)| stat.units).sum();
            (units + done, probes + job.counts.probes_sent, again + job.counts.retransmitted)
        })
    });
    let gauge = "gauge";
    let share = backlog as f64 / workers.max(1) as f64;
    text.put("pentora_queue_depth", gauge, "This node's share of the targets that wait.", share);
    text.put("pentora_cluster_queue_depth", gauge, "Targets that wait in the whole cluster.", backlog);
    text.put("pentora_jobs_queued", gauge, "Jobs without a granted unit.", waiting);
    text.put("pentora_leases", gauge, "Leases that are out.", leases);
    text.put("pentora_leases_own", gauge, "Leases of this node.", own_leases);
    text.put("pentora_units_done", gauge, "Accepted units of the jobs that are kept.", units);
    text.put("pentora_probes_sent", gauge, "Probes of accepted units of the jobs that are kept.", probes);
    text.put("pentora_probes_retransmitted", gauge, "Probes of those that were sent again.", retransmitted);
    text.put("pentora_raft_leader", gauge, "1 where this node leads.", u8::from(status.role == Role::Leader));
    text.put("pentora_raft_term", gauge, "The current term.", status.term);
    text.put("pentora_raft_commit_index", gauge, "The last committed log index known here.", status.commit_index);
    text.put("pentora_raft_applied_index", gauge, "The last log index applied here.", status.applied_index);
    let lag = status.commit_index.saturating_sub(status.applied_index);
    text.put("pentora_raft_apply_lag", gauge, "Committed entries that are not applied here yet.", lag);
    text.put("pentora_uptime_seconds", gauge, "Since this process started.", node.started.elapsed().as_secs());
    text.0
}

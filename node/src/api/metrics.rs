//! `/metrics` in Prometheus' text format (version 0.0.4). Names are stable.

use std::fmt::Write;

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use pentora_raft::{NodeId, Role};

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

/// What the metrics tell of the replicated state.
#[derive(Debug, Default)]
struct StateFigures {
    targets_waiting: u64,
    jobs_waiting: usize,
    leases: usize,
    leases_own: usize,
    workers: usize,
    units_done: u64,
    probes_sent: u64,
    probes_retransmitted: u64,
}

impl StateFigures {
    fn of(state: &pentora_raft::State, own: NodeId) -> Self {
        let mut figures = Self {
            leases: state.leases().count(),
            leases_own: state.leases().filter(|(_, lease)| lease.node == own).count(),
            workers: state.nodes().filter(|(_, record)| record.takes_leases()).count(),
            ..Self::default()
        };
        for (id, job) in state.jobs() {
            if job.is_open() {
                let left = job.targets().saturating_sub(job.done).saturating_sub(job.dead);
                figures.targets_waiting = figures.targets_waiting.saturating_add(left);
            }
            figures.jobs_waiting += usize::from(super::jobs::is_waiting(job));
            figures.units_done += state.job_workers(id).map(|(_, stat)| stat.units).sum::<u64>();
            figures.probes_sent += job.counts.probes_sent;
            figures.probes_retransmitted += job.counts.retransmitted;
        }
        figures
    }
}

fn render(node: &Node) -> String {
    let status = node.raft.status();
    let mut text = Text(String::new());
    let figures = node.raft.read(|state| StateFigures::of(state, status.node));
    let gauge = "gauge";
    let share = figures.targets_waiting as f64 / figures.workers.max(1) as f64;
    text.put("pentora_queue_depth", gauge, "This node's share of the targets that wait.", share);
    text.put("pentora_cluster_queue_depth", gauge, "Targets that wait in the whole cluster.", figures.targets_waiting);
    text.put("pentora_jobs_queued", gauge, "Jobs without a granted unit.", figures.jobs_waiting);
    text.put("pentora_leases", gauge, "Leases that are out.", figures.leases);
    text.put("pentora_leases_own", gauge, "Leases of this node.", figures.leases_own);
    text.put("pentora_units_done", gauge, "Accepted units of the jobs that are kept.", figures.units_done);
    text.put("pentora_probes_sent", gauge, "Probes of accepted units of the jobs that are kept.", figures.probes_sent);
    text.put(
        "pentora_probes_retransmitted",
        gauge,
        "Probes of those that were sent again.",
        figures.probes_retransmitted,
    );
    text.put("pentora_raft_leader", gauge, "1 where this node leads.", u8::from(status.role == Role::Leader));
    text.put("pentora_raft_term", gauge, "The current term.", status.term);
    text.put("pentora_raft_commit_index", gauge, "The last committed log index known here.", status.commit_index);
    text.put("pentora_raft_applied_index", gauge, "The last log index applied here.", status.applied_index);
    let lag = status.commit_index.saturating_sub(status.applied_index);
    text.put("pentora_raft_apply_lag", gauge, "Committed entries that are not applied here yet.", lag);
    text.put("pentora_uptime_seconds", gauge, "Since this process started.", node.started.elapsed().as_secs());
    text.0
}

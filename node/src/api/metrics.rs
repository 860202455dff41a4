//! `/metrics` in Prometheus' text format (version 0.0.4). Names are stable. Who shows no token reads figures alone: what people have
//! called something is for those who may look at it.

mod figures;
mod text;

use std::time::Duration;

use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::{Extension, extract};
use pentora_raft::command::Author;
use pentora_raft::{Digest, Leadership, LogVersion, NodeId, RaftStatus, Role, State};

use self::text::{Kind, Text};
use super::Node;
use super::knowledge::Knowledge;
use crate::keeps::{Held, Standing};
use crate::meters::Meters;
use crate::results::Usage;
use crate::rpc::calls::{Answer, Request};
use crate::rpc::{LogFigures, SoftState};
use crate::traces::Told;

/// Standing scans that are told one by one; a line each for more would make every answer long.
const KEEPS_TOLD_MAX: usize = 100;
/// Characters of what a standing scan is called to strangers. Ours: 48 bits tell a hundred from each other.
const HIDDEN_CHARS: usize = 12;

/// How long a gateway gets to tell the figures of the log: far below what a collector waits.
const FIGURES_WITHIN: Duration = Duration::from_secs(2);

pub(super) async fn metrics(extract::State(node): extract::State<Node>, by: Option<Extension<Author>>) -> Response {
    let soft = node.soft().await;
    let status = node.raft.status();
    let knowledge = Knowledge::of(&node, &status, &soft);
    // A directory that cannot be read is told where results are written; here the lines are absent then.
    let usage = node.exchange.store().usage().await.ok();
    let of_gateway = figures_of_gateway(&node).await;
    let own = node.raft.node();
    let Moment { figures, log_version, mut keeps } = node.raft.read(|state| Moment::of(state, own));
    let now_ms = node.raft.now_ms();
    let figures = if node.raft.is_outside() { of_gateway } else { Some(figures) };
    let mut text = Text::default();
    if let Some(figures) = &figures {
        text.put_work(figures);
        text.put_scanning(figures);
        text.put_nodes(figures);
    }
    text.put_consensus(&status, log_version);
    text.put_leadership(&status, &knowledge);
    text.put_clock(&node, &status, &soft);
    text.put_results(usage, &soft, &knowledge);
    text.put_process(&node);
    let called = |name: &str| if by.is_some() { name.to_owned() } else { hidden(&node, name) };
    for standing in &mut keeps {
        standing.name = called(&standing.name);
    }
    text.put_keeps(&keeps, now_ms);
    let text = text.finish();
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response()
}

/// All that is told of the replicated state, as it is at one moment: figures that are read one after the other say of each other what
/// never was.
struct Moment {
    figures: LogFigures,
    log_version: LogVersion,
    keeps: Vec<Standing>,
}

impl Moment {
    fn of(state: &State, own: NodeId) -> Self {
        let keeps = state.keeps().take(KEEPS_TOLD_MAX).map(|(name, keep)| Standing::of(state, name, keep));
        Self { figures: LogFigures::of(state, own), log_version: state.log_version(), keeps: keeps.collect() }
    }
}

/// The figures of the log, for one that only scans: it is shown its own part of it alone, and asks its gateway. Where none answers,
/// nothing is known, and the lines are absent.
async fn figures_of_gateway(node: &Node) -> Option<LogFigures> {
    let (calls, gateway) = node.proposer.reach(node.raft.gateway()?).ok()?;
    match calls.ask(gateway, &Request::Figures, FIGURES_WITHIN).await {
        Ok(Answer::Figures(figures)) => Some(*figures),
        _ => None,
    }
}

/// What a standing scan is called to whoever shows no token: on all nodes and for as long as it is there the same, so that alerts know
/// one from another, and nothing that its name could be guessed by.
fn hidden(node: &Node, name: &str) -> String {
    let secret = node.psk.as_ref().map(|psk| psk.as_bytes().to_vec()).unwrap_or_default();
    let parts: [&[u8]; 4] = [b"pentora keep ", &secret, &node.cluster.0, name.as_bytes()];
    Digest::of(&parts.concat()).to_string().chars().take(HIDDEN_CHARS).collect()
}

/// Thirds that were added up as the whole number that they are: 22 and not 21.999999999999993.
fn in_millionths(value: f64) -> f64 {
    (value * 1e6).round() / 1e6
}

impl Text {
    fn put_work(&mut self, figures: &LogFigures) {
        self.gauge(
            "pentora_queue_depth",
            "This node's share of the units of work that are not done and that it could take.",
            in_millionths(figures.units_own),
        );
        let help = "Units of work that are not done in the whole cluster; one takes a worker about ten seconds.";
        self.gauge("pentora_cluster_queue_depth", help, figures.units_waiting);
        let help = "Targets that are not done in the whole cluster.";
        self.gauge("pentora_cluster_targets_waiting", help, figures.targets_waiting);
        self.gauge("pentora_jobs_queued", "Jobs without a granted unit.", figures.jobs_waiting);
        self.gauge("pentora_jobs_open", "Jobs that are not over.", figures.jobs_open);
        self.gauge("pentora_leases", "Leases that are out.", figures.leases);
        self.gauge("pentora_leases_own", "Leases of this node.", figures.leases_own);
        self.gauge("pentora_units_done", "Accepted units of the jobs that are kept.", figures.units_done);
    }

    fn put_scanning(&mut self, figures: &LogFigures) {
        let help = "Probes of accepted units of the jobs that are kept.";
        self.gauge("pentora_probes_sent", help, figures.probes_sent);
        let help = "Probes of those that were sent again.";
        self.gauge("pentora_probes_retransmitted", help, figures.probes_retransmitted);
        self.gauge("pentora_probes_received", "Answers to those.", figures.probes_received);
        let help = "Round trips of those that were lost, as far as estimated.";
        self.gauge("pentora_probes_lost", help, in_millionths(figures.probes_lost));
    }

    fn put_consensus(&mut self, status: &RaftStatus, log_version: LogVersion) {
        self.gauge("pentora_raft_leader", "1 where this node leads.", u8::from(status.role == Role::Leader));
        let help = "The version of the log, which every node that follows it reads.";
        self.gauge("pentora_log_version", help, log_version);
        self.gauge("pentora_raft_term", "The current term.", status.term);
        self.gauge("pentora_raft_commit_index", "The last committed log index known here.", status.commit_index);
        self.gauge("pentora_raft_applied_index", "The last log index applied here.", status.applied_index);
        self.gauge("pentora_raft_voters", "Voters.", status.voters.len());
    }

    /// Whether a leader is known, and what can be told only while one is: those lines are absent otherwise.
    fn put_leadership(&mut self, status: &RaftStatus, knowledge: &Knowledge) {
        let known = u8::from(status.leadership.leader().is_some());
        self.gauge("pentora_leader_known", "1 while this node hears a leader.", known);
        if let Leadership::Known { age, .. } = status.leadership {
            let help = "Since the leader's last word, or on the leader since a majority's.";
            self.gauge("pentora_leader_heard_seconds", help, age.as_secs_f64());
            let lag = status.commit_index.saturating_sub(status.applied_index);
            self.gauge("pentora_raft_apply_lag", "Committed entries that are not applied here yet.", lag);
        }
        if let Some(margin) = knowledge.margin {
            self.gauge("pentora_quorum_margin", "Voters that may be lost before writes stop.", margin);
        }
    }

    fn put_nodes(&mut self, figures: &LogFigures) {
        self.family("pentora_nodes", Kind::Gauge, "Nodes by status, as the log has it.");
        for (word, count) in &figures.nodes {
            self.sample("pentora_nodes", &[("status", word.as_str())], count);
        }
    }

    fn put_clock(&mut self, node: &Node, status: &RaftStatus, soft: &SoftState) {
        let help = "How far the cluster's time is ahead of the clocks of most nodes; it goes at half their pace until they have caught up.";
        let ahead = super::cluster::time_ahead(node, status, soft);
        self.gauge("pentora_cluster_time_ahead_seconds", help, ahead.map_or(0.0, |ahead| ahead.ms as f64 / 1e3));
        let help = "Other clusters of this one's name that were met: more than one node went on alone from the same lost majority.";
        self.gauge("pentora_rival_clusters", help, node.rivals.told().len());
        if let Some(ahead_ms) = soft.skew_ms.get(&status.node) {
            let help = "How far this node's clock is ahead of the leader's.";
            self.gauge("pentora_clock_ahead_seconds", help, *ahead_ms as f64 / 1e3);
        }
    }

    fn put_results(&mut self, usage: Option<Usage>, soft: &SoftState, knowledge: &Knowledge) {
        if let Some(Usage { chunks, bytes }) = usage {
            self.gauge("pentora_chunks", "Chunks of results, specs and feeds that are kept here.", chunks);
            self.gauge("pentora_chunk_bytes", "Their bytes, compressed.", bytes);
        }
        let help = "Chunks in the cluster that lack a holder which they should have, by reason.";
        self.family("pentora_chunks_short", Kind::Gauge, help);
        // Only the leader knows, and it is asked.
        if knowledge.is_of_now() {
            for (reason, count) in &soft.results_short {
                self.sample("pentora_chunks_short", &[("reason", reason.as_str())], count);
            }
        }
    }

    fn put_keeps(&mut self, keeps: &[Standing], now_ms: u64) {
        let held: Vec<Held> = keeps.iter().map(|standing| standing.held(now_ms)).collect();
        let named = || keeps.iter().map(|standing| standing.name.as_str());
        let share = "pentora_keep_fresh_share";
        let help = "Share of a standing scan's addresses that may be scanned which were seen within the promised time.";
        self.family(share, Kind::Gauge, help);
        for (name, held) in named().zip(&held) {
            self.sample(share, &[("keep", name)], held.fresh_share());
        }
        let excluded = "pentora_keep_excluded_targets";
        self.family(excluded, Kind::Gauge, "Addresses of a standing scan that the rules leave out.");
        for (name, held) in named().zip(&held) {
            self.sample(excluded, &[("keep", name)], held.excluded);
        }
        let promised = "pentora_keep_promised_seconds";
        self.family(promised, Kind::Gauge, "The promised time of a standing scan.");
        for standing in keeps {
            self.sample(promised, &[("keep", standing.name.as_str())], standing.keep.spec.fresh_ms as f64 / 1e3);
        }
        let oldest = "pentora_keep_oldest_seconds";
        let help = "Since what a standing scan saw longest ago was seen; absent before anything was.";
        self.family(oldest, Kind::Gauge, help);
        for (name, held) in named().zip(&held) {
            if let Some((_, seen_ms)) = held.oldest {
                self.sample(oldest, &[("keep", name)], now_ms.saturating_sub(seen_ms) as f64 / 1e3);
            }
        }
    }

    /// What this process says of itself.
    fn put_process(&mut self, node: &Node) {
        self.put_meters(&node.meters);
        self.put_traces(node.traces.told());
        self.gauge("pentora_uptime_seconds", "Since this process started.", node.started.elapsed().as_secs());
        self.family("pentora_build_info", Kind::Gauge, "The release, as a label.");
        self.sample("pentora_build_info", &[("version", env!("CARGO_PKG_VERSION"))], 1);
    }

    /// What it counted since it started.
    fn put_meters(&mut self, meters: &Meters) {
        let work = meters.work();
        let help = "Probes that this process sent, as its units were counted.";
        self.counter("pentora_node_probes_sent_total", help, work.probes_sent);
        self.counter("pentora_node_probes_received_total", "Answers to those.", work.probes_received);
        self.counter(
            "pentora_node_units_total",
            "Units and parts of units of this process that were counted.",
            work.units,
        );
        self.counter("pentora_node_targets_total", "Their targets.", work.targets);
        self.counter("pentora_node_result_bytes_total", "Their results, compressed.", work.result_bytes);
        let takeovers = meters.takeovers();
        let name = "pentora_raft_failover_seconds";
        self.family(name, Kind::Histogram, "From a leader's last word to the first of the next one, as heard here.");
        self.histogram(name, &[], &takeovers.failover_seconds);
        let name = "pentora_raft_election_seconds";
        let help = "The part of that in which a leader was missed, where one was.";
        self.family(name, Kind::Histogram, help);
        self.histogram(name, &[], &takeovers.election_seconds);
        self.put_requests(meters);
    }

    fn put_traces(&mut self, told: Told) {
        let name = "pentora_trace_spans_total";
        let help = "Spans of traces that telemetry.otlp took (sent), and that it did not or were too many (dropped).";
        self.family(name, Kind::Counter, help);
        self.sample(name, &[("outcome", "sent")], told.sent);
        self.sample(name, &[("outcome", "dropped")], told.dropped);
    }

    fn put_requests(&mut self, meters: &Meters) {
        let requests = meters.requests();
        let name = "pentora_http_request_duration_seconds";
        self.family(name, Kind::Histogram, "Until an answer of the API began, by method and route.");
        for (kind, answers) in &requests {
            self.histogram(name, &[("method", kind.method), ("route", kind.route.as_str())], &answers.seconds);
        }
        let name = "pentora_http_requests_total";
        self.family(name, Kind::Counter, "Answers of the API, by method, route and status.");
        for (kind, answers) in &requests {
            for (status, count) in &answers.by_status {
                let status = status.to_string();
                self.sample(
                    name,
                    &[("method", kind.method), ("route", kind.route.as_str()), ("status", status.as_str())],
                    count,
                );
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::in_millionths;

    #[test]
    fn a_sum_of_thirds_is_told_as_the_whole_number_that_it_is() {
        let sum: f64 = std::iter::repeat_n(1.0 / 3.0, 66).sum();
        assert_ne!(sum.to_string(), "22", "as it is added up");
        assert_eq!(in_millionths(sum).to_string(), "22");
        assert_eq!(in_millionths(0.4).to_string(), "0.4");
    }
}

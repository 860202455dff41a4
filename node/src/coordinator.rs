//! What only the leader does: hear workers, plan and grant units, take them back, choose voters.
//!
//! Everything here is soft: a new leader starts with nothing but the log and gives every worker a fresh full term. Each
//! round looks at the state and at what was heard, and proposes facts; nothing is decided twice, because the state
//! machine refuses what no longer fits.

mod members;
pub mod placement;
pub mod plan;
mod work_sessions;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use pentora_raft::command::{Command, LeaseRef, SpecRef};
use pentora_raft::state::{Lease, NodeStatus};
use pentora_raft::{JobId, NodeId, Raft, Response, Role};
use tokio_util::sync::CancellationToken;

pub use plan::PlanConfig;
pub use work_sessions::{WorkSessions, granted};

use crate::rpc::SoftState;
use crate::spec;

/// How often the leader looks at everything even where nothing seems to have happened.
const ROUND: Duration = Duration::from_millis(100);
/// How often the voters are looked at.
const MEMBERS_ROUND: Duration = Duration::from_millis(300);
/// How long no grant is proposed after one that the state machine refused as a whole: every proposal is an entry of the
/// log, and without this a disagreement between plan and state would fill it.
const REFUSED_PAUSE: Duration = Duration::from_millis(500);
/// A worker is suspected after so many of its beats are missing.
const BEATS_MISSED: u32 = 2;

/// How the coordinator is timed and what it prefers.
#[derive(Debug, Clone)]
pub struct CoordinatorConfig {
    /// How often workers beat.
    pub heartbeat: Duration,
    /// Silence after which a worker is failed and its leases are free; also the term of every lease.
    pub grace: Duration,
    /// Whom to prefer, and how large units are.
    pub plan: PlanConfig,
}

/// The leader's part of a node. Runs on every node and rests while another leads.
#[derive(Debug)]
pub struct Coordinator {
    raft: Raft,
    sessions: Arc<WorkSessions>,
    config: CoordinatorConfig,
    ports: BTreeMap<JobId, u64>,
    leading_since: Option<Instant>,
    members_looked: Option<Instant>,
    refused_at: Option<Instant>,
    has_mesh: bool,
}

impl Coordinator {
    /// A coordinator that hears workers through `sessions`. Without a mesh there are no voters to choose.
    #[must_use]
    pub fn new(raft: Raft, sessions: Arc<WorkSessions>, config: CoordinatorConfig, has_mesh: bool) -> Self {
        Self {
            raft,
            sessions,
            config,
            ports: BTreeMap::new(),
            leading_since: None,
            members_looked: None,
            refused_at: None,
            has_mesh,
        }
    }

    /// Runs until `stop`.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut applied = self.raft.watch_applied();
        let mut woken = self.sessions.watch();
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                _ = applied.changed() => {}
                _ = woken.changed() => {}
                () = self.raft.status_changed(ROUND) => {}
            }
            self.round().await;
        }
    }

    async fn round(&mut self) {
        let now = Instant::now();
        let leads = self.raft.status().role == Role::Leader;
        match (leads, self.leading_since) {
            (false, None) => return,
            (false, Some(_)) => {
                tracing::info!(node = self.raft.node(), "leads no longer");
                self.leading_since = None;
                self.sessions.close();
                return;
            }
            (true, None) => {
                tracing::info!(node = self.raft.node(), term = self.raft.status().term, "leads");
                self.leading_since = Some(now);
                self.sessions.open();
            }
            (true, Some(_)) => {}
        }
        self.hear(now).await;
        self.reconcile();
        self.grant(now).await;
        if self.has_mesh && self.members_looked.is_none_or(|at| now.duration_since(at) >= MEMBERS_ROUND) {
            self.members_looked = Some(now);
            members::step(&self.raft).await;
        }
    }

    /// Proposes what was found of each worker: back, suspected, failed.
    async fn hear(&self, now: Instant) {
        let Some(since) = self.leading_since else { return };
        let heard = self.sessions.heard();
        let nodes: Vec<(NodeId, NodeStatus)> =
            self.raft.read(|state| state.nodes().map(|(id, node)| (id, node.status)).collect());
        for (node, status) in nodes {
            // Nobody is blamed for silence before this node led.
            let last = heard.get(&node).copied();
            let silent = now.saturating_duration_since(last.unwrap_or(since).max(since));
            let command = match status {
                NodeStatus::Joining | NodeStatus::Stale | NodeStatus::Failed
                    if last.is_some() && silent < self.config.heartbeat * BEATS_MISSED =>
                {
                    Command::WorkerBack { node }
                }
                NodeStatus::Stale if silent >= self.config.grace => Command::WorkerFailed { node },
                NodeStatus::Active if silent >= self.config.heartbeat * BEATS_MISSED => Command::WorkerSuspect { node },
                NodeStatus::Draining if silent >= self.config.grace => Command::WorkerFailed { node },
                _ => continue,
            };
            tracing::info!(node, command = command.name(), silent_ms = silent.as_millis(), "worker liveness changed");
            self.propose(command).await;
        }
    }

    /// Tells workers to stop units whose lease is gone, and to work on those that stand.
    fn reconcile(&self) {
        let standing: BTreeMap<LeaseRef, Lease> = self.raft.read(|state| {
            let leases = state.leases();
            leases.map(|(unit, lease)| (LeaseRef { unit, epoch: lease.epoch }, lease.clone())).collect()
        });
        self.sessions.revoke_all_but(&standing);
        self.sessions.remind(&standing);
    }

    async fn grant(&mut self, now: Instant) {
        if self.refused_at.is_some_and(|at| now.duration_since(at) < REFUSED_PAUSE) {
            return;
        }
        self.learn_ports();
        let rates = self.sessions.rates();
        let ports = &self.ports;
        let grants = self.raft.read(|state| plan::plan(state, &rates, ports, &self.config.plan));
        if grants.is_empty() {
            return;
        }
        if let Some(Response::Granted { leases }) = self.propose(Command::Grant { grants }).await {
            self.refused_at = leases.is_empty().then_some(now);
            self.sessions.hand_out(leases);
        }
    }

    /// Looks up how many ports each open job asks of a target, which sizes its units.
    fn learn_ports(&mut self) {
        let unknown: Vec<(JobId, Option<SpecRef>)> = self.raft.read(|state| {
            let open = state.jobs().filter(|(id, job)| job.is_open() && !self.ports.contains_key(id));
            open.map(|(id, _)| (id, state.spec(id).cloned())).collect()
        });
        for (job, spec) in unknown {
            let ports = match spec {
                Some(SpecRef::Inline(bytes)) => spec::decode(&bytes).map_or(1, |spec| u64::from(spec.ports.count())),
                // A spec in a chunk lists many targets; its ports are learnt from the first unit's rate.
                _ => plan::PORTS_UNKNOWN,
            };
            self.ports.insert(job, ports.max(1));
        }
        let open: BTreeSet<JobId> =
            self.raft.read(|state| state.jobs().filter(|(_, job)| job.is_open()).map(|(id, _)| id).collect());
        self.ports.retain(|job, _| open.contains(job));
    }

    async fn propose(&self, command: Command) -> Option<Response> {
        let name = command.name();
        match self.raft.propose(command).await {
            Ok(applied) => Some(applied.response),
            Err(error) => {
                tracing::debug!(command = name, %error, "proposal not applied; the next round looks again");
                None
            }
        }
    }
}

/// What this node knows as the leader; empty where it does not lead.
#[must_use]
pub fn soft_state(raft: &Raft, sessions: &WorkSessions) -> SoftState {
    let status = raft.status();
    if status.role != Role::Leader {
        return SoftState::default();
    }
    let now = Instant::now();
    let mut heard_ms: BTreeMap<NodeId, u64> = sessions
        .heard()
        .into_iter()
        .map(|(node, at)| (node, u64::try_from(now.duration_since(at).as_millis()).unwrap_or(u64::MAX)))
        .collect();
    for (node, ms) in &status.heard_ms {
        heard_ms.entry(*node).and_modify(|heard| *heard = (*heard).min(*ms)).or_insert(*ms);
    }
    heard_ms.insert(status.node, 0);
    let lag = status.matched.iter().map(|(node, at)| (*node, status.last_index.saturating_sub(*at))).collect();
    SoftState { heard_ms, lag, in_progress: sessions.in_progress() }
}

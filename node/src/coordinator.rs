//! What only the leader does: hear workers, plan and grant units, take them back, choose voters.
//!
//! Everything here is soft: a new leader starts with nothing but the log and gives every worker a fresh full term. Each
//! round looks at the state and at what was heard, and proposes facts; nothing is decided twice, because the state
//! machine refuses what no longer fits.

pub mod budgets;
mod closing;
mod copies;
mod deadlines;
mod demotion;
pub mod explain;
mod holds;
mod liveness;
mod members;
mod paces;
pub mod placement;
pub mod plan;
mod rests;
mod retries;
mod tracks;
mod work_sessions;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use pentora_raft::command::{Command, LeaseRef, SpecRef};
use pentora_raft::leadership::Word;
use pentora_raft::state::{FailureAction, NodeStatus, Settings};
use pentora_raft::{JobId, NodeId, Raft, Response, Role};
use tokio_util::sync::CancellationToken;

pub use closing::{HAND_IN, hand_in};
pub use demotion::{demote, is_demotion, retire, retire_noted};
pub use members::plan_removal;
pub use work_sessions::{Standing, WorkSessions, granted};

use crate::results::Exchange;
use crate::rpc::SoftState;
use crate::spec;
use crate::traces::Traces;
use deadlines::{Deadlines, Limits, terms_of};
use holds::Holds;
use liveness::{Watch, terms};
use paces::Paces;
use plan::{Lately, Turns};
use rests::Rests;
use tracks::Tracks;

/// How often the leader looks at everything even where nothing seems to have happened.
const ROUND: Duration = Duration::from_millis(100);
/// How often the voters are looked at.
const MEMBERS_ROUND: Duration = Duration::from_millis(300);
/// How long no grant is proposed after one that the state machine refused as a whole: every proposal is an entry of the
/// log, and without this a disagreement between plan and state would fill it.
const REFUSED_PAUSE: Duration = Duration::from_millis(500);
/// How often the settings are proposed again where they were not applied.
const PROPOSE_AGAIN: Duration = Duration::from_secs(1);
/// A worker whose side ended its connection has so long to come back, before its units are another's. Longer than a worker sends
/// without a session (`worker::fence`), so that two never send for one unit.
const HUNG_UP_FOR: Duration = Duration::from_millis(500);
/// A leader stood still where its rounds are further apart than a heartbeat, and than this.
const STALL_MIN: Duration = Duration::from_millis(300);
/// The release that plans.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// How the coordinator is timed and what it prefers.
#[derive(Debug, Clone)]
pub struct CoordinatorConfig {
    /// What holds where the log has no settings, and what a cluster's first leader writes there.
    pub settings: Settings,
    /// How long a unit of a job whose budget is below what the worker can do should take, in seconds.
    pub paced_unit_seconds: f64,
}

/// The leader's part of a node. Runs on every node and rests while another leads.
#[derive(Debug)]
pub struct Coordinator {
    raft: Raft,
    sessions: Arc<WorkSessions>,
    exchange: Exchange,
    config: CoordinatorConfig,
    holds: Holds,
    ports: BTreeMap<JobId, u64>,
    /// Most packets per second to one host, of the jobs that have such a limit.
    host_pps: BTreeMap<JobId, u64>,
    /// While this node leads: since when it may blame others.
    watch: Option<Watch>,
    /// The term in which this node led last.
    led_term: u64,
    /// The last word of the leader before this one, where this node followed it.
    before: Option<Word>,
    members_looked: Option<Instant>,
    /// When each lease was looked at for how long it is out and how far it is.
    leases_looked: Option<Instant>,
    refused_at: Option<Instant>,
    rests: Rests,
    settings_proposed: Option<Instant>,
    deadlines: Deadlines,
    paces: Paces,
    turns: Turns,
    lately: Lately,
    /// Nodes that said goodbye, with when this leader first saw it: a beat from before that does not call them back.
    left: BTreeMap<NodeId, Instant>,
    has_mesh: bool,
    traces: Traces,
    /// What it tells there; of this reign.
    tracks: Tracks,
}

impl Coordinator {
    /// A coordinator that hears workers through `sessions`. Without a mesh there are no voters to choose.
    #[must_use]
    pub fn new(
        raft: Raft,
        sessions: Arc<WorkSessions>,
        exchange: Exchange,
        config: CoordinatorConfig,
        has_mesh: bool,
    ) -> Self {
        Self {
            raft,
            sessions,
            exchange,
            config,
            holds: Holds::default(),
            ports: BTreeMap::new(),
            host_pps: BTreeMap::new(),
            watch: None,
            led_term: 0,
            before: None,
            members_looked: None,
            leases_looked: None,
            refused_at: None,
            rests: Rests::default(),
            settings_proposed: None,
            deadlines: Deadlines::default(),
            paces: Paces::default(),
            turns: Turns::default(),
            lately: Lately::default(),
            left: BTreeMap::new(),
            has_mesh,
            traces: Traces::default(),
            tracks: Tracks::default(),
        }
    }

    /// The same, telling its part of each job's way.
    #[must_use]
    pub fn telling(self, traces: Traces) -> Self {
        Self { traces, ..self }
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
            let begun = Instant::now();
            self.round().await;
            if let Some(rest) = self.rests.after(begun.elapsed()) {
                tokio::select! {
                    biased;
                    () = stop.cancelled() => return,
                    () = tokio::time::sleep(rest) => {}
                }
            }
        }
    }

    async fn round(&mut self) {
        let now = Instant::now();
        let leads = self.raft.status().role == Role::Leader;
        match (leads, self.watch) {
            (false, None) => return,
            (false, Some(_)) => {
                tracing::info!(node = self.raft.node(), "leads no longer");
                self.watch = None;
                self.sessions.close();
                return;
            }
            (true, None) => {
                let term = self.raft.status().term;
                tracing::info!(node = self.raft.node(), term, "leads");
                self.watch = Some(Watch::new(now));
                self.before = self.raft.last_word().filter(|word| word.term > self.led_term);
                self.led_term = term;
                (self.deadlines, self.paces, self.turns, self.lately, self.holds) = Default::default();
                self.leases_looked = None;
                self.tracks = Tracks::default();
                self.sessions.open();
                if self.raft.read(|state| state.settings().is_some_and(|held| *held != self.config.settings)) {
                    tracing::info!("the cluster's settings hold, which are others than this node's file has");
                }
            }
            (true, Some(_)) => {}
        }
        let settings = self.settings(now).await;
        self.sessions.set_times(settings.heartbeat_ms, settings.grace_ms);
        self.raft.compare_clocks(self.sessions.clocks(self.raft.node()));
        let (heartbeat, _) = terms(&settings);
        if self.watch.as_mut().is_some_and(|watch| watch.look(now, heartbeat.max(STALL_MIN))) {
            if self.has_mesh {
                tracing::warn!("this leader stood still; every worker and every lease begins a fresh term");
            }
            self.before = None;
            self.deadlines.begin_anew();
            self.sessions.wait_anew();
        }
        self.hear(now, &settings).await;
        self.take_back_from_gone(&settings).await;
        let looks_at_leases = self.leases_looked.is_none_or(|at| now.saturating_duration_since(at) >= ROUND);
        if looks_at_leases {
            self.leases_looked = Some(now);
            self.take_back_late(now, &settings).await;
            self.take_back_outgrown().await;
        }
        let now_ms = self.raft.now_ms();
        self.answer_failures(&settings, now_ms).await;
        for command in self.holds.look(&self.raft, &self.exchange, now) {
            self.propose(command).await;
        }
        self.take_back_over_budget().await;
        self.reconcile();
        self.track(now_ms);
        self.grant(now, &settings, now_ms).await;
        if looks_at_leases {
            self.measure(now);
            self.raft.read(|state| self.lately.look(state, now_ms));
        }
        if self.has_mesh && self.members_looked.is_none_or(|at| now.duration_since(at) >= MEMBERS_ROUND) {
            self.members_looked = Some(now);
            let led = self.watch.map_or(Duration::ZERO, |watch| watch.lasts(now));
            members::step(&self.raft, led).await;
        }
        if let Some(watch) = self.watch.as_mut() {
            watch.rest(Instant::now(), terms(&settings).1);
        }
    }

    /// What holds for the work of all nodes: the log's word, and where it has none, this node's own, which the first leader
    /// of a mesh writes there.
    async fn settings(&mut self, now: Instant) -> Settings {
        if let Some(settings) = self.raft.read(|state| state.settings().cloned()) {
            return settings;
        }
        let own = self.config.settings.clone();
        let waits = self.settings_proposed.is_some_and(|at| now.duration_since(at) < PROPOSE_AGAIN);
        if self.has_mesh && !waits {
            self.settings_proposed = Some(now);
            self.propose(Command::SetSettings { settings: Box::new(own.clone()) }).await;
        }
        own
    }

    /// Proposes what was found of each worker: back, suspected, failed.
    async fn hear(&mut self, now: Instant, settings: &Settings) {
        let Some(watch) = self.watch else { return };
        let heard = self.sessions.heard();
        let nodes: Vec<(NodeId, NodeStatus)> =
            self.raft.read(|state| state.nodes().map(|(id, node)| (id, node.status)).collect());
        // They come in the order of their ids.
        let status_of =
            |id: NodeId| nodes.binary_search_by_key(&id, |(node, _)| *node).ok().and_then(|at| nodes.get(at));
        self.left.retain(|left, _| status_of(*left).is_some_and(|(_, status)| *status == NodeStatus::Left));
        for (node, status) in nodes {
            let last = heard.get(&node).copied();
            let before = self.before.filter(|word| word.leader == node).map(|word| word.at);
            let command = match status {
                NodeStatus::Left => {
                    let since = *self.left.entry(node).or_insert(now);
                    // Its last beats may have crossed its goodbye.
                    let beat = Duration::from_millis(settings.heartbeat_ms);
                    last.filter(|at| *at >= since + beat).map(|_| Command::WorkerBack { node })
                }
                _ => watch.verdict(node, status, (last, before), now, settings),
            };
            let Some(command) = command else { continue };
            let silent_ms = last.map(|at| now.saturating_duration_since(at).as_millis());
            tracing::info!(node, command = command.name(), silent_ms, "worker liveness changed");
            self.propose(command).await;
        }
    }

    /// Takes back the leases of workers that hung up and did not come back.
    async fn take_back_from_gone(&self, settings: &Settings) {
        if settings.failure != FailureAction::Reassign {
            return;
        }
        let gone = self.sessions.gone(HUNG_UP_FOR);
        if gone.is_empty() {
            return;
        }
        let holders: BTreeSet<NodeId> = self.raft.read(|state| {
            let held = state.leases().map(|(_, lease)| lease.node);
            held.filter(|node| gone.binary_search(node).is_ok()).collect()
        });
        for node in holders {
            tracing::info!(node, "a worker hung up and did not come back; its leases are taken back");
            self.propose(Command::TakeBack(node)).await;
        }
    }

    /// Takes back the leases whose try takes too long.
    async fn take_back_late(&mut self, now: Instant, settings: &Settings) {
        let limits = |job: JobId| {
            let ports = self.ports.get(&job).copied().unwrap_or(plan::PORTS_UNKNOWN);
            Limits { ports, host_pps: self.host_pps.get(&job).copied() }
        };
        let standing = self.raft.read(|state| terms_of(state.leases(), limits, settings.attempt_ms));
        for (seconds, leases) in self.deadlines.overdue(standing.into_iter(), now) {
            let reason = format!("it took longer than {seconds} s");
            tracing::info!(count = leases.len(), reason, "leases are taken back");
            self.propose(Command::Expire { leases, reason }).await;
        }
    }

    /// Takes back leases that were granted before a budget was written or changed, without blame; what is granted next keeps
    /// within it, and has what there is now.
    async fn take_back_over_budget(&mut self) {
        let mut leases = self.holds.loosened().to_vec();
        leases.extend(self.raft.read(|state| self.holds.budgets().over(state)));
        if !leases.is_empty() {
            tracing::info!(count = leases.len(), "leases that a network's budget does not fit any more are taken back");
            if self.propose(Command::Release { leases }).await.is_some() {
                self.holds.forget_loosened();
            }
        }
    }

    /// Takes back leases whose workers may not have them any more, without blame: what the cluster says of a node has changed.
    async fn take_back_outgrown(&self) {
        let outgrown: Vec<LeaseRef> = self.raft.read(|state| {
            let of_others = state.leases().filter(|(unit, lease)| {
                let why = placement::outgrown(state, unit, lease.node);
                why.inspect(|why| tracing::info!(node = lease.node, job = %unit.job, why, "a lease is taken back"))
                    .is_some()
            });
            of_others.map(|(unit, lease)| LeaseRef { unit, epoch: lease.epoch }).collect()
        });
        if !outgrown.is_empty() {
            self.propose(Command::Release { leases: outgrown }).await;
        }
    }

    /// Says how long what failed rests, and sets workers aside that fail what they get.
    async fn answer_failures(&self, settings: &Settings, now_ms: u64) {
        let is_here = |node| self.sessions.is_here(node);
        let mut commands: Vec<Command> = self.raft.read(|state| {
            let draw = |most| rand::random_range(0..=most);
            let pauses = retries::pauses(state, settings, now_ms, is_here, draw);
            pauses.into_iter().chain(retries::aside(state, now_ms)).collect()
        });
        for command in commands.drain(..) {
            if let Command::SetAside { node, until_ms } = &command {
                tracing::warn!(node, for_ms = until_ms - now_ms, "a worker that fails its units is set aside");
            }
            self.propose(command).await;
        }
    }

    /// Tells workers to stop units whose lease is gone, and to work on those that stand.
    fn reconcile(&self) {
        self.raft.read(|state| {
            let leases = state.leases();
            let standing = leases.map(|(unit, lease)| (LeaseRef { unit, epoch: lease.epoch }, lease)).collect();
            self.sessions.revoke_all_but(&standing, |lease, end| state.was_counted(lease, end));
            self.sessions.remind(&standing);
        });
    }

    /// Tells which leases are gone and which jobs are over.
    fn track(&mut self, now_ms: u64) {
        if self.traces.are_told() {
            let spans = self.raft.read(|state| self.tracks.look(state, now_ms));
            spans.into_iter().for_each(|span| self.traces.tell_of(span));
        }
    }

    async fn grant(&mut self, now: Instant, settings: &Settings, now_ms: u64) {
        if self.refused_at.is_some_and(|at| now.duration_since(at) < REFUSED_PAUSE) {
            return;
        }
        self.learn_ports();
        let began_ns = self.traces.begin();
        let rates = self.sessions.rates();
        let mut grants = self.raft.read(|state| {
            plan::plan(&plan::View {
                state,
                rates: &rates,
                ports: &self.ports,
                turns: &self.turns,
                lately: &self.lately,
                budgets: self.holds.budgets(),
                settings,
                paced_unit_seconds: self.config.paced_unit_seconds,
                version: VERSION,
                now_ms,
            })
        });
        // A job whose time is over is held as soon as nothing of it is out, and one that is to stop does.
        grants.retain(|grant| !self.holds.is_closing(grant.unit.job) && !self.sessions.is_closing(grant.unit.job, now));
        if grants.is_empty() {
            return;
        }
        if let Some(Response::Granted { leases }) = self.propose(Command::Grant { grants }).await {
            self.refused_at = leases.is_empty().then_some(now);
            leases.iter().for_each(|(_, lease)| self.turns.note(lease.node));
            self.raft.read(|state| self.lately.note(state, leases.iter().map(|(unit, _)| unit.job)));
            if self.traces.are_told() {
                self.tracks.granted(&leases);
                tracks::planned(&leases, began_ns, &self.traces);
            }
            self.sessions.hand_out(leases);
        }
    }

    /// Measures how fast each job goes on.
    fn measure(&mut self, now: Instant) {
        let out = self.sessions.in_progress();
        let done: Vec<(JobId, u64)> = self.raft.read(|state| {
            let working = state.jobs().filter(|(_, job)| job.wants_work() && job.started_at_ms.is_some());
            let done = |id, done: u64| done.saturating_add(out.get(&id).map_or(0, |figures| figures.targets));
            working.map(|(id, job)| (id, done(id, job.done))).collect()
        });
        self.paces.look(now, done.into_iter());
        self.sessions.set_paces(self.paces.targets_per_second());
    }

    /// Looks up how many ports each open job asks of a target, which sizes its units.
    fn learn_ports(&mut self) {
        let unknown: Vec<(JobId, Option<SpecRef>)> = self.raft.read(|state| {
            let open = state.jobs().filter(|(id, job)| job.is_open() && !self.ports.contains_key(id));
            open.map(|(id, _)| (id, state.spec(id).cloned())).collect()
        });
        for (job, spec) in unknown {
            let spec = match spec {
                Some(SpecRef::Inline(bytes)) => spec::decode(&bytes).ok(),
                // A spec in a chunk lists many targets; its ports are learnt from the first unit's rate.
                _ => None,
            };
            let ports = spec.as_ref().map_or(plan::PORTS_UNKNOWN, |spec| u64::from(spec.ports.count()));
            if let Some(pps) = spec.and_then(|spec| spec.host_rate_pps) {
                self.host_pps.insert(job, pps);
            }
            self.ports.insert(job, ports.max(1));
        }
        let open: BTreeSet<JobId> =
            self.raft.read(|state| state.jobs().filter(|(_, job)| job.is_open()).map(|(id, _)| id).collect());
        self.ports.retain(|job, _| open.contains(job));
        self.host_pps.retain(|job, _| open.contains(job));
    }

    async fn propose(&self, command: Command) -> Option<Response> {
        let (name, begun) = (command.name(), Instant::now());
        let proposed = self.raft.propose(command).await;
        self.rests.waited(begun.elapsed());
        match proposed {
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
    let targets_per_second = sessions.paces();
    let abouts = sessions.abouts();
    let rests = abouts.iter().filter_map(|(node, about)| Some((*node, about.rests.clone()?))).collect();
    let skew_ms = abouts.iter().filter_map(|(node, about)| Some((*node, about.skew_ms?))).collect();
    let in_progress = sessions.in_progress();
    SoftState { heard_ms, lag, in_progress, targets_per_second, rests, skew_ms, ..SoftState::default() }
}

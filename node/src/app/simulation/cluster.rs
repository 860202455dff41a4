//! The nodes of a simulation: begun, joined, crashed and started again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use pentora_p2p::memory::Network;
use pentora_p2p::{Identity, Incoming, Mesh, MeshConfig, PeerId, PreSharedKey};
use pentora_raft::command::{Command, NodeInfo, NodePolicy, NodeRole, TokenGrant};
use pentora_raft::handle::Viewer;
use pentora_raft::state::{Backoff, FIRST_NODE, Settings};
use pentora_raft::store::{SimulatedDisk, Storage};
use pentora_raft::{ClusterId, Config, Digest, NodeId, Profile, Raft};
use pentora_scanner::engine::Engine;
use rand::RngExt;
use rand::rngs::SmallRng;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::super::addresses::Hints;
use super::super::serve::streams;
use super::super::services::{Parts, Services};
use super::super::{begin_cluster, log_version, membership_sync};
use super::bug::{self, Bug};
use super::checks::Checks;
use super::place::{Below, Place, Running};
use super::scanning::Scanning;
use crate::coordinator::plan::UNIT_SECONDS;
use crate::coordinator::{CoordinatorConfig, VERSION};
use crate::holders::{Holders, HoldersConfig, Retention};
use crate::join::{self, token::JoinToken};
use crate::outside::Outside;
use crate::policy::own::OwnFile;
use crate::raft_transport::MeshTransport;
use crate::results::ChunkStore;
use crate::traces::Traces;

const CLUSTER: ClusterId = ClusterId([9; 16]);
/// The tag of nodes that may do what others may not.
pub(super) const TAG: &str = "inside";

/// All nodes of a simulation, and the network between them.
pub(super) struct Cluster {
    pub(super) network: Network,
    pub(super) places: Vec<Place>,
    pub(super) checks: Arc<Checks>,
    /// From whom nothing comes to whom.
    pub(super) cuts: BTreeSet<(PeerId, PeerId)>,
    pub(super) random: SmallRng,
    /// How many nodes there were before anything went wrong.
    pub(super) founders: usize,
    /// What each node had applied when it was looked at last.
    looked: BTreeMap<NodeId, u64>,
    bug: Option<Bug>,
    psk: PreSharedKey,
    engine: Engine,
    /// Processes that are over, while they end.
    over: TaskTracker,
}

/// Snapshots and purges come often, so that nodes that were away need them.
fn raft_config() -> Config {
    Config {
        profile: Profile::Lan,
        snapshot_after_entries: 120,
        entries_kept: 40,
        lag_before_snapshot: 80,
        ..Config::default()
    }
}

fn settings() -> Settings {
    Settings { heartbeat_ms: 500, grace_ms: 3_000, backoff: Backoff::None, attempt_ms: 60_000, ..Settings::default() }
}

impl Cluster {
    /// One node, which has begun a cluster.
    pub(super) async fn begin(mut random: SmallRng, bug: Option<Bug>, engine: Engine) -> Self {
        let network = Network::new(random.random());
        let mut cluster = Self {
            network,
            places: Vec::new(),
            checks: Arc::default(),
            cuts: BTreeSet::new(),
            random,
            founders: 0,
            looked: BTreeMap::new(),
            bug,
            psk: PreSharedKey::generate(),
            engine: engine.with_stand_in(Arc::new(Scanning)),
            over: TaskTracker::new(),
        };
        let at = cluster.make_place(NodeRole::Auto, VERSION);
        cluster.places[at].node = Some(FIRST_NODE);
        let (mesh, incoming) = cluster.mesh(at);
        cluster.start_inside(at, mesh, incoming).await;
        let place = &cluster.places[at];
        let raft = &place.running.as_ref().unwrap().raft;
        raft.initialize(&place.peer().to_string()).await.unwrap();
        begin_cluster(raft, CLUSTER, place.info.clone(), Digest::of(b"admin")).await.unwrap();
        cluster
    }

    /// A place where no node was yet.
    fn make_place(&mut self, role: NodeRole, version: &str) -> usize {
        let at = self.places.len();
        let host = u8::try_from(at + 1).unwrap();
        let identity = Identity::from_secret([host; 32]);
        let info = NodeInfo {
            name: format!("n{host}"),
            peer: identity.peer_id().to_string(),
            addresses: vec![format!("10.0.0.{host}:7400")],
            version: version.into(),
            tags: if host.is_multiple_of(2) { vec![TAG.into()] } else { Vec::new() },
            max_concurrent_scans: 3,
            max_targets_per_scan: 64,
            role,
            ..NodeInfo::default()
        };
        let below = Below::new(Arc::clone(&self.checks), self.bug, self.random.random());
        self.places.push(Place {
            host,
            identity,
            info,
            disk: SimulatedDisk::new(Arc::clone(&below) as Arc<_>),
            below,
            chunks: ChunkStore::memory(),
            node: None,
            known: Vec::new(),
            running: None,
            is_gone: false,
        });
        at
    }

    fn mesh(&self, at: usize) -> (Mesh, Incoming) {
        let place = &self.places[at];
        let cluster = pentora_p2p::ClusterId::from_bytes(CLUSTER.0);
        let mut config = MeshConfig::new(place.identity.clone(), self.psk.clone(), cluster);
        config.listen = vec![([10, 0, 0, place.host], 7400).into()];
        self.network.start(config).unwrap()
    }

    /// A running member whose word counts now, drawn at random.
    pub(super) fn any_member(&mut self) -> Option<usize> {
        let members: Vec<usize> = (0..self.places.len()).filter(|at| self.is_member(*at)).collect();
        (!members.is_empty()).then(|| members[self.random.random_range(0..members.len())])
    }

    pub(super) fn is_member(&self, at: usize) -> bool {
        self.places[at].running.is_some() && !self.places[at].is_scanner()
    }

    /// Lets a new node join through a member. Answers where it lives, or `None` where it was not let in.
    pub(super) async fn join(&mut self, role: NodeRole, version: &str) -> Option<usize> {
        let through = self.any_member()?;
        let proposer = self.places[through].running.as_ref()?.proposer.clone();
        let address = self.places[through].info.addresses[0].parse().unwrap();
        let token = JoinToken::generate(CLUSTER, &self.psk);
        let policy = NodePolicy { role, ..NodePolicy::default() };
        let (name, by) = ("t".into(), String::new());
        let grant = TokenGrant { token: token.id, key: token.key(), name, ttl_ms: 60_000, uses: 1, policy, by };
        proposer.propose(Command::MakeToken(Box::new(grant))).await.ok()?;
        let at = self.make_place(role, version);
        let (mesh, incoming) = self.mesh(at);
        let said = self.places[at].info.clone();
        let asked = join::request_admission(&mesh, address, &token, said);
        let Ok(Ok(admission)) = tokio::time::timeout(Duration::from_secs(8), asked).await else {
            let over = mesh;
            self.over.spawn(async move { over.shutdown().await });
            return None;
        };
        let welcome = admission.welcome;
        self.places[at].node = Some(welcome.node);
        self.places[at].known.clone_from(&welcome.members);
        mesh.set_members(membership_sync::members(&welcome.members, &BTreeSet::new()));
        self.checks.happens(&format!("node {} joins as {role:?}", welcome.node));
        self.start_with(at, mesh, incoming).await;
        Some(at)
    }

    /// Starts a node again.
    pub(super) async fn restart(&mut self, at: usize) {
        let (mesh, incoming) = self.mesh(at);
        let peer = self.places[at].peer();
        self.cuts.retain(|(from, to)| *from != peer && *to != peer);
        self.cut_again();
        let known = membership_sync::members(&self.places[at].known, &BTreeSet::new());
        mesh.set_members(known);
        self.checks.happens(&format!("node {:?} starts again", self.places[at].node));
        self.start_with(at, mesh, incoming).await;
    }

    async fn start_with(&mut self, at: usize, mesh: Mesh, incoming: Incoming) {
        if self.places[at].is_scanner() {
            let node = self.places[at].node.unwrap();
            let (raft, viewer) = Raft::outside(node, raft_config());
            self.run(at, mesh, incoming, (raft, Some(viewer)));
        } else {
            self.start_inside(at, mesh, incoming).await;
        }
    }

    async fn start_inside(&mut self, at: usize, mesh: Mesh, incoming: Incoming) {
        let node = self.places[at].node.unwrap();
        self.places[at].below.begin(node);
        let storage = Storage::Simulated(self.places[at].disk.clone());
        match Raft::start(node, raft_config(), &storage, MeshTransport::new(mesh.clone())).await {
            Ok(raft) => {
                // The core has read its disk by the time it answers.
                let is_running = raft.is_initialized().await;
                let (found, answered) = (raft.status().term, self.places[at].below.voted_in());
                if is_running.is_ok() && found < answered {
                    self.checks.breaks(format!("node {node} has voted in term {answered} and starts in term {found}"));
                }
                self.run(at, mesh, incoming, (raft, None));
            }
            Err(error) => self.checks.breaks(format!("node {node} does not start: {error}")),
        }
    }

    /// Starts the rooms of a node as `app` does, but for those that reach into the machine.
    fn run(&mut self, at: usize, mesh: Mesh, incoming: Incoming, (raft, viewer): (Raft, Option<Viewer>)) {
        let place = &self.places[at];
        let parts = Parts {
            name: &place.info.name,
            raft: raft.clone(),
            mesh: Some(mesh.clone()),
            store: place.chunks.clone(),
            engine: self.engine.clone(),
            feeds: None,
            coordinator: CoordinatorConfig { settings: settings(), paced_unit_seconds: UNIT_SECONDS },
            copies: 2,
            own: OwnFile::default(),
            traces: Traces::default(),
        };
        let services = Services::make(parts);
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        let (proposer, exchange) = (services.proposer.clone(), services.exchange.clone());
        let for_streams = services.for_streams(&raft, None, None);
        let for_streams =
            if self.bug == Some(Bug::ProposalNotChecked) { bug::unchecked(for_streams) } else { for_streams };
        tasks.spawn(streams(incoming, for_streams, tasks.clone(), stop.clone()));
        tasks.spawn(services.worker.run(services.sessions, Some(mesh.clone()), stop.clone()));
        let (hints, known): (Arc<Hints>, _) = (Arc::default(), place.known.clone());
        if let Some(viewer) = viewer {
            let outside = Outside { raft: raft.clone(), viewer, mesh: mesh.clone(), known, whereabouts: hints };
            let stop = stop.clone();
            tasks.spawn(async move { outside.keep(|_| std::future::ready(()), stop).await });
        } else {
            let (found, _other_version) = tokio::sync::watch::channel(None);
            tasks.spawn(log_version::keep(raft.clone(), proposer.clone(), found, stop.clone()));
            tasks.spawn(services.coordinator.run(stop.clone()));
            tasks.spawn(services.gateway.run(stop.clone()));
            tasks.spawn(membership_sync::keep_members(raft.clone(), mesh.clone(), known, hints, stop.clone()));
            let retention = Retention::default();
            let (grace, scrub_interval) = (Duration::from_secs(3_600), Duration::from_secs(3_600));
            let config = HoldersConfig { grace, scrub_interval, retention };
            let holders = Holders { raft: raft.clone(), exchange, proposer: proposer.clone(), config };
            tasks.spawn(holders.keep(stop.clone()));
        }
        self.places[at].running = Some(Running { mesh, raft, proposer, stop, tasks });
    }

    /// A machine loses its power: its process is gone, and what it had not synced in part.
    pub(super) async fn crash(&mut self, at: usize) {
        let Some(running) = self.places[at].running.take() else { return };
        let peer = self.places[at].peer();
        self.looked.remove(&self.places[at].node.unwrap());
        let mut left = 0;
        let random = &mut self.random;
        self.places[at].disk.crash(|unsynced| {
            left = random.random_range(0..=unsynced);
            left
        });
        self.checks.happens(&format!("node {:?} crashes, {left} unsynced writes are left", self.places[at].node));
        self.network.isolate(peer);
        let others: Vec<PeerId> = self.places.iter().map(Place::peer).filter(|other| *other != peer).collect();
        self.cuts.extend(others.iter().flat_map(|other| [(peer, *other), (*other, peer)]));
        self.places[at].chunks = self.places[at].chunks_after_crash(self.bug).await;
        self.look_at_chunks_of(at).await;
        // What is left of the process reaches nobody and no disk any more; it ends by itself.
        self.over.spawn(running.end());
    }

    /// Whatever the log says that a node holds is on its disk.
    async fn look_at_chunks_of(&self, at: usize) {
        let (Some(node), Some(latest)) = (self.places[at].node, self.latest()) else { return };
        let held: Vec<Digest> = latest.read(|state| {
            let held = state.chunks().filter(|(_, chunk)| chunk.stored.holders.contains(&node));
            held.map(|(_, chunk)| chunk.stored.digest).collect()
        });
        for digest in held {
            if self.places[at].chunk(digest).await.is_none() {
                self.checks
                    .breaks(format!("chunk {digest} was counted, and node {node} does not hold it after a crash"));
            }
        }
    }

    /// The member that has applied most.
    fn latest(&self) -> Option<Raft> {
        let members = self.places.iter().filter(|place| !place.is_scanner());
        let rafts = members.filter_map(|place| Some(&place.running.as_ref()?.raft));
        rafts.max_by_key(|raft| *raft.watch_applied().borrow()).cloned()
    }

    /// Ends the processes of nodes that were taken out of the cluster.
    pub(super) fn end_removed(&mut self) {
        let Some(latest) = self.latest() else { return };
        let applied = *latest.watch_applied().borrow();
        for place in self.places.iter_mut().filter(|place| !place.is_gone) {
            let Some(node) = place.node else { continue };
            if node > applied || latest.read(|state| state.node(node).is_some()) {
                continue;
            }
            self.checks.happens(&format!("node {node} is out of the cluster"));
            place.is_gone = true;
            if let Some(running) = place.running.take() {
                self.over.spawn(running.end());
            }
        }
    }

    /// Has the network be cut as `cuts` says.
    pub(super) fn cut_again(&self) {
        self.network.heal();
        for (from, to) in &self.cuts {
            self.network.oneway(*from, *to);
        }
    }

    /// Looks at all nodes: at the state of each whenever that has changed.
    pub(super) async fn look(&mut self) -> Result<(), String> {
        let mut states: Vec<(NodeId, u64, &Raft)> = Vec::new();
        let mut changed: BTreeSet<NodeId> = BTreeSet::new();
        for place in self.places.iter().filter(|place| !place.is_scanner()) {
            let (Some(running), Some(node)) = (&place.running, place.node) else { continue };
            let raft = &running.raft;
            let status = raft.status();
            if status.role == pentora_raft::Role::Leader {
                self.checks.leads(node, status.term);
            }
            if let Some(why) = status.stopped {
                return Err(format!("consensus has stopped on node {node}: {why}"));
            }
            let applied = *raft.watch_applied().borrow();
            if self.looked.insert(node, applied) != Some(applied) {
                raft.read(|state| self.checks.look(node, applied, state));
                changed.insert(node);
                place.below.sees(place.chunks.list().await.unwrap_or_default().into_keys());
            }
            let alike = states
                .iter()
                .find(|(other, at, _)| *at == applied && (changed.contains(other) || changed.contains(&node)));
            if let Some((other, _, theirs)) = alike
                && !theirs.read(|theirs| raft.read(|ours| theirs == ours))
            {
                return Err(format!("nodes {other} and {node} have applied {applied} and differ"));
            }
            states.push((node, applied, raft));
        }
        for (digest, holders) in self.checks.take_stored() {
            for holder in holders {
                let place = self.places.iter().find(|place| place.node == Some(holder));
                let has = match place {
                    Some(place) => place.chunk(digest).await.is_some(),
                    None => false,
                };
                if !has {
                    return Err(format!("chunk {digest} was counted, and node {holder} does not hold it"));
                }
            }
        }
        self.checks.broken()
    }
}

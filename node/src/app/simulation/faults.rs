//! What goes wrong in a simulation, drawn from its seed.

use std::time::Duration;

use pentora_p2p::PeerId;
use pentora_raft::command::{Command, Completion, LeaseRef, NodeRole, StoredChunk, UnitKey};
use pentora_raft::state::{Counts, Lease};
use pentora_raft::{Digest, Role};
use rand::RngExt;
use tokio::time::Instant;

use super::cluster::Cluster;
use super::place::Place;
use crate::coordinator::VERSION;
use crate::rpc::calls::{Answer, Calls, Request};

/// How many nodes there may be at most.
const NODES_MAX: usize = 10;

/// Faults that go on, with when they end.
pub(super) struct Faults {
    /// Places whose machines are off, with when they are on again.
    off: Vec<(usize, Instant)>,
}

impl Faults {
    pub(super) fn none() -> Self {
        Self { off: Vec::new() }
    }

    /// How long until something else goes wrong.
    pub(super) fn pause(cluster: &mut Cluster) -> Duration {
        Duration::from_millis(cluster.random.random_range(50..1_200))
    }

    /// Something else goes wrong, or right again.
    pub(super) async fn step(&mut self, cluster: &mut Cluster) {
        self.switch_on(cluster, Instant::now()).await;
        let at = cluster.random.random_range(0..cluster.places.len());
        let other = cluster.random.random_range(0..cluster.places.len());
        let peers = (cluster.places[at].peer(), cluster.places[other].peer());
        match cluster.random.random_range(0..100u32) {
            0..12 => cut(cluster, &[peers, (peers.1, peers.0)], "a cut"),
            12..22 => cut(cluster, &[peers], "a loss one way"),
            22..30 => isolate(cluster, at),
            30..48 => heal(cluster),
            48..56 => {
                let (least, spread) = (cluster.random.random_range(0..20), cluster.random.random_range(1..250));
                let loss = if cluster.random.random_bool(0.3) { 0.01 } else { 0.0 };
                cluster.checks.happens(&format!("frames take {least} ms and up to {spread} more, {loss} are lost"));
                cluster.network.set_delay(Duration::from_millis(least), Duration::from_millis(least + spread));
                cluster.network.set_loss(loss);
            }
            56..74 => self.crash(cluster, at).await,
            74..82 => {
                let lasts = Duration::from_millis(cluster.random.random_range(100..4_000));
                cluster.checks.happens(&format!("node {:?} stands still for {lasts:?}", cluster.places[at].node));
                cluster.places[at].below.stall(lasts);
                isolate(cluster, at);
            }
            82..86 => transfer(cluster, at).await,
            86..90 => {
                let role = if cluster.random.random_bool(0.5) { NodeRole::Scanner } else { NodeRole::Auto };
                if cluster.places.len() < NODES_MAX {
                    cluster.join(role, VERSION).await;
                }
            }
            90..92 => cluster.network.reset(peers.0, peers.1),
            92..94 => retire(cluster, at).await,
            94..97 => come_late(cluster).await,
            _ => lie(cluster).await,
        }
    }

    /// A machine goes off for a while. Of members a majority stays on: more can lose what no other has.
    async fn crash(&mut self, cluster: &mut Cluster, at: usize) {
        if cluster.places[at].running.is_some() {
            cluster.crash(at).await;
            let lasts = Duration::from_millis(cluster.random.random_range(10..5_000));
            self.off.push((at, Instant::now() + lasts));
        }
    }

    async fn switch_on(&mut self, cluster: &mut Cluster, now: Instant) {
        let (on, off) = self.off.iter().partition(|(_, until)| *until <= now);
        self.off = off;
        let on: Vec<(usize, Instant)> = on;
        for (at, _) in on {
            if !cluster.places[at].is_gone {
                cluster.restart(at).await;
            }
        }
    }

    /// Nothing is wrong any more.
    pub(super) async fn end(&mut self, cluster: &mut Cluster) {
        cluster.checks.happens("all faults end");
        cluster.network.set_loss(0.0);
        cluster.network.set_delay(Duration::from_millis(1), Duration::from_millis(3));
        let far = Instant::now() + Duration::from_secs(3_600);
        self.switch_on(cluster, far).await;
        cluster.cuts.clear();
        cluster.cut_again();
    }
}

fn cut(cluster: &mut Cluster, ways: &[(PeerId, PeerId)], what: &str) {
    cluster.checks.happens(&format!("{what}: {ways:?}"));
    cluster.cuts.extend(ways.iter().copied().filter(|(from, to)| from != to));
    cluster.cut_again();
}

fn isolate(cluster: &mut Cluster, at: usize) {
    let peer = cluster.places[at].peer();
    let others = cluster.places.iter().map(Place::peer).filter(|other| *other != peer);
    let ways: Vec<(PeerId, PeerId)> = others.flat_map(|other| [(peer, other), (other, peer)]).collect();
    cut(cluster, &ways, "one is alone");
}

/// All cuts end but those of machines that are off.
fn heal(cluster: &mut Cluster) {
    let off: Vec<PeerId> = cluster.places.iter().filter(|place| place.running.is_none()).map(Place::peer).collect();
    cluster.cuts.retain(|(from, to)| off.contains(from) || off.contains(to));
    cluster.checks.happens("cuts end");
    cluster.cut_again();
}

/// A node that joined later leaves for good.
async fn retire(cluster: &mut Cluster, at: usize) {
    let (Some(node), Some(through)) = (cluster.places[at].node, cluster.any_member()) else { return };
    if at < cluster.founders || cluster.places[at].is_gone {
        return;
    }
    let Some(running) = &cluster.places[through].running else { return };
    let proposer = running.proposer.clone();
    cluster.checks.happens(&format!("node {node} is to leave"));
    // Without a majority it stays.
    drop(proposer.propose(Command::Retire { node }).await);
}

/// The leader hands over to another member.
async fn transfer(cluster: &mut Cluster, to: usize) {
    let Some(to) = cluster.places[to].node else { return };
    let leads =
        |place: &&Place| place.running.as_ref().is_some_and(|running| running.raft.status().role == Role::Leader);
    if let Some(running) = cluster.places.iter().find(leads).and_then(|place| place.running.as_ref()) {
        cluster.checks.happens(&format!("leadership goes to node {to}"));
        // That it cannot take over is one of the things that go wrong.
        drop(running.raft.transfer_leader(to).await);
    }
}

/// What a node did under a lease that was taken back comes when another has the unit.
async fn come_late(cluster: &mut Cluster) {
    let Some(through) = cluster.any_member().and_then(|at| cluster.places[at].running.as_ref()) else { return };
    let checks = &cluster.checks;
    let late = through.raft.read(|state| {
        let leases: Vec<(UnitKey, Lease)> = state.leases().map(|(unit, lease)| (unit, lease.clone())).collect();
        leases.into_iter().find_map(|(unit, now)| Some((unit, checks.lease_before(unit, now.epoch)?, now)))
    });
    let Some((unit, before, now)) = late else { return };
    checks.happens(&format!("node {} is late with {unit:?}", before.node));
    let completion = Completion {
        lease: LeaseRef { unit, epoch: before.epoch },
        start: now.start,
        end: now.end,
        goes_on: false,
        node: before.node,
        stored: StoredChunk { digest: Digest::of(b"late"), bytes: 4, holders: vec![through.raft.node()] },
        counts: Counts::default(),
    };
    let command = Command::Complete { completions: vec![completion] };
    // Whatever comes of it: that it is not counted is seen by the checks.
    drop(through.proposer.propose(command).await);
}

/// A node that only scans claims to have done what another is doing, with results that nobody has.
async fn lie(cluster: &mut Cluster) {
    let scanners = cluster.places.iter().filter(|place| place.is_scanner());
    let Some((liar, running)) = scanners.filter_map(|place| Some((place.node?, place.running.as_ref()?))).next() else {
        return;
    };
    let Some(gateway) = running.raft.way() else { return };
    let members = cluster.places.iter().filter(|place| place.node == Some(gateway));
    let Some((peer, theirs)) = members.filter_map(|place| Some((place.peer(), place.running.as_ref()?))).next() else {
        return;
    };
    let of_another = theirs.raft.read(|state| {
        let lease = state.leases().find(|(_, lease)| lease.node != liar);
        lease.map(|(unit, lease)| (unit, lease.clone()))
    });
    let Some((unit, lease)) = of_another else { return };
    let stored = StoredChunk { digest: Digest::of(b"a lie"), bytes: 5, holders: vec![gateway] };
    let completion = Completion {
        lease: LeaseRef { unit, epoch: lease.epoch },
        start: lease.start,
        end: lease.end,
        goes_on: false,
        node: lease.node,
        stored,
        counts: Counts::default(),
    };
    let command = Command::Complete { completions: vec![completion] };
    cluster.checks.happens(&format!("node {liar} lies about {unit:?}"));
    let asked = Calls::new(running.mesh.clone());
    let request = Request::Propose { term: running.raft.status().term, command: Box::new(command) };
    let answer = asked.ask(peer, &request, Duration::from_millis(500)).await;
    if let Ok(Answer::Applied { response, .. }) = answer {
        cluster.checks.happens(&format!("it was believed: {response:?}"));
    }
}

//! A node that stands outside the log: its sessions with the members that are its gateways.
//!
//! It is shown the log by one gateway, and stays connected to a second one that takes over at once when the first is lost.
//! Near members come before far ones, and among equals each node has its own order, so that nodes spread over the members
//! (`order`). Everything else on this node reads what it is shown as it would read its own log.

mod order;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use pentora_p2p::{Class, FrameError, FrameStream, Member, Mesh, PeerId};
use pentora_raft::codec::{self, Kind};
use pentora_raft::handle::Viewer;
use pentora_raft::view::ViewFrame;
use pentora_raft::{NodeId, Raft, State};
use tokio_util::sync::CancellationToken;

use self::order::{Candidate, order};
use crate::gateway::ViewHello;
use crate::member_address::MemberAddress;

/// A gateway that says nothing for so long is lost: several of its words, and less than a lease holds.
const SILENT_MAX: Duration = Duration::from_secs(2);
/// How long a member may take to open a stream that it is connected for; one that is dialed first has the mesh's own limit.
const OPEN_WITHIN: Duration = Duration::from_secs(2);
/// How long a gateway gets for its first word: it may have to catch up first.
const FIRST_WORD_WITHIN: Duration = Duration::from_secs(5);
/// How long a member that was of no use is passed over while there are others.
const PASSED_OVER: Duration = Duration::from_secs(3);
/// How long to wait when no member is of use.
const RETRY: Duration = Duration::from_millis(200);
/// How often it is looked whether a nearer gateway than the present one has come back.
const NEARER_LOOK: Duration = Duration::from_secs(30);
/// How often it is looked at the latest who the members are and where: a gateway's words come more often, and hardly ever change it.
const MEMBERS_LOOK: Duration = Duration::from_secs(1);
/// Members that a node stays connected to.
const GATEWAYS: usize = 2;

/// Where else members may be found than where the log says they are.
pub trait Whereabouts: Send + Sync + std::fmt::Debug {
    /// Adds what was told of members' addresses.
    fn add_to(&self, members: &mut [MemberAddress]);
}

/// What it takes to keep a node's sessions.
#[derive(Debug)]
pub struct Outside {
    /// What is shown to this node.
    pub raft: Raft,
    /// Takes what gateways show.
    pub viewer: Viewer,
    /// The way to them.
    pub mesh: Mesh,
    /// Members that were known before any gateway showed more.
    pub known: Vec<MemberAddress>,
    /// Where members may be found beside.
    pub whereabouts: Arc<dyn Whereabouts>,
}

/// Why a gateway is left.
#[derive(Debug)]
enum Left {
    /// It is of no use: not reached, silent, or not making sense.
    Lost(String),
    /// It does not show this node the log, for this reason.
    Refused(String),
    /// A nearer one is there.
    ForANearer,
}

impl Outside {
    /// Keeps the sessions until `stop`. `remember` is told of the members whenever they, or their addresses, change, so that
    /// a later start finds them.
    pub async fn keep<Noted: Future<Output = ()>>(
        mut self,
        remember: impl Fn(Vec<MemberAddress>) -> Noted,
        stop: CancellationToken,
    ) {
        let mut passed_over: BTreeMap<PeerId, Instant> = BTreeMap::new();
        let mut refused_for: Option<String> = None;
        while !stop.is_cancelled() {
            self.look_at_members(None, &remember).await;
            passed_over.retain(|_, since| since.elapsed() < PASSED_OVER);
            let members = self.candidates();
            let of_use = || members.iter().filter(|peer| !passed_over.contains_key(peer));
            // One that is connected costs no wait; a nearer one is turned to once it is connected as well.
            let connected = of_use().find(|peer| self.mesh.is_connected(**peer));
            let next = connected.or_else(|| of_use().next()).or_else(|| members.first());
            let Some(next) = next.copied() else {
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = tokio::time::sleep(RETRY) => continue,
                }
            };
            let was_passed_over = passed_over.contains_key(&next);
            let left = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                left = self.follow(next, &remember) => left,
            };
            self.viewer.lost();
            if let Left::Refused(why) = &left
                && refused_for.as_ref() != Some(why)
            {
                tracing::warn!(gateway = %next, why, "a member does not show this node the log");
                refused_for = Some(why.clone());
            }
            match left {
                Left::Lost(why) | Left::Refused(why) => {
                    tracing::debug!(gateway = %next, why, "a gateway is lost");
                    passed_over.insert(next, Instant::now());
                    if was_passed_over {
                        tokio::time::sleep(RETRY).await;
                    }
                }
                Left::ForANearer => tracing::info!(gateway = %next, "left for a nearer gateway, which is back"),
            }
        }
    }

    /// Is shown the log by one member for as long as that is of use.
    async fn follow<Noted: Future<Output = ()>>(
        &mut self,
        peer: PeerId,
        remember: &impl Fn(Vec<MemberAddress>) -> Noted,
    ) -> Left {
        let mut stream = match self.begin(peer).await {
            Ok(stream) => stream,
            Err(left) => return left,
        };
        let (mut is_named, mut members_looked) = (false, None::<(u64, Instant)>);
        let (mut limit, mut looked) = (FIRST_WORD_WITHIN, Instant::now());
        loop {
            let frame = match tokio::time::timeout(limit, stream.receive()).await {
                Err(_elapsed) => return Left::Lost("it is silent".into()),
                Ok(Ok(Some(frame))) => frame,
                Ok(Ok(None)) => return Left::Lost("it ended the session".into()),
                Ok(Err(error)) => return left_by(error),
            };
            let taken = codec::decode::<ViewFrame>(Kind::CallFrame, &frame).map_err(|error| error.to_string());
            let is_word = matches!(&taken, Ok(ViewFrame::Word(_)));
            if let Err(why) = taken.and_then(|frame| self.viewer.take(frame).map_err(|error| error.to_string())) {
                return Left::Lost(why);
            }
            if !is_word {
                continue;
            }
            limit = SILENT_MAX;
            if !is_named {
                let Some((node, name)) = self.raft.read(|state| named(state, peer)) else {
                    return Left::Lost("it is no member by its own word".into());
                };
                is_named = true;
                self.viewer.comes_from(Some(node));
                tracing::info!(gateway = node, name, "shown the log by a gateway");
            }
            let revision = self.raft.read(State::nodes_revision);
            let is_old = |(seen, at): (u64, Instant)| seen != revision || at.elapsed() >= MEMBERS_LOOK;
            if members_looked.is_none_or(is_old) {
                members_looked = Some((revision, Instant::now()));
                self.look_at_members(Some(peer), remember).await;
            }
            if looked.elapsed() >= NEARER_LOOK {
                looked = Instant::now();
                let first = self.candidates().first().copied();
                if first.is_some_and(|first| first != peer && self.mesh.is_connected(first)) {
                    return Left::ForANearer;
                }
            }
        }
    }

    async fn begin(&self, peer: PeerId) -> Result<FrameStream, Left> {
        let opening = self.mesh.open(peer, Class::View);
        let opened = if self.mesh.is_connected(peer) {
            tokio::time::timeout(OPEN_WITHIN, opening).await.map_err(|_elapsed| Left::Lost("it is silent".into()))?
        } else {
            opening.await
        };
        let mut stream = opened.map_err(|error| Left::Lost(error.to_string()))?;
        let hello = codec::encode(Kind::CallFrame, &ViewHello { applied: self.viewer.applied() });
        stream.send(hello.into()).await.map_err(left_by)?;
        Ok(stream)
    }

    /// The members, the one to be asked first in front.
    fn candidates(&self) -> Vec<PeerId> {
        let own = self.raft.node();
        let known = self.known.iter().filter_map(|member| member.peer.parse().ok());
        let (place, mut members) = self.raft.read(|state| (order::place(state, own), order::members(state)));
        for peer in known {
            if members.is_empty() || (self.viewer.applied() == 0 && members.iter().all(|it| it.peer != peer)) {
                members.push(Candidate { peer, place: order::Place::default(), is_up: true });
            }
        }
        order(own, &place, members)
    }

    /// Has the mesh know the members, and stay connected to the gateways.
    async fn look_at_members<Noted: Future<Output = ()>>(
        &mut self,
        present: Option<PeerId>,
        remember: &impl Fn(Vec<MemberAddress>) -> Noted,
    ) {
        let shown: Vec<MemberAddress> = self.raft.read(|state| {
            state.nodes().filter(|(_, node)| node.may_vote()).map(|(_, node)| MemberAddress::of(node)).collect()
        });
        if !shown.is_empty() && shown != self.known {
            remember(shown.clone()).await;
            self.known = shown;
        }
        let mut members = self.known.clone();
        self.whereabouts.add_to(&mut members);
        let near: Vec<PeerId> = present.into_iter().chain(self.candidates()).take(GATEWAYS + 1).collect();
        let kept: Vec<PeerId> = near.into_iter().fold(Vec::new(), |mut kept, peer| {
            if kept.len() < GATEWAYS && !kept.contains(&peer) {
                kept.push(peer);
            }
            kept
        });
        let own = self.mesh.peer_id();
        let members = members.iter().filter_map(|MemberAddress { peer, addresses }| {
            let peer_id: PeerId = peer.parse().ok()?;
            let addresses = addresses.iter().filter_map(|address| address.parse().ok()).collect();
            (peer_id != own).then(|| Member { peer_id, addresses, keep_connected: kept.contains(&peer_id) })
        });
        self.mesh.set_members(members.collect());
    }
}

fn left_by(error: FrameError) -> Left {
    match error {
        FrameError::Refused { reason } => Left::Refused(reason),
        error => Left::Lost(error.to_string()),
    }
}

fn named(state: &State, peer: PeerId) -> Option<(NodeId, String)> {
    let peer = peer.to_string();
    state.nodes().find(|(_, node)| node.info.peer == peer).map(|(id, node)| (id, node.info.name.clone()))
}

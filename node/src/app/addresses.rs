//! Where members are beside what the log says: a node that moved tells whom it reaches, and they tell each other, until a
//! leader can put it into the log. What is told here is tried, never believed: whoever answers there proves by its key who
//! it is.
//!
//! While no leader is known, the peers that this start was told of (`--peer`, `mesh.peers`) are dialed as well.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use pentora_p2p::{Mesh, PeerAddress, PeerEvent, PeerId};
use pentora_raft::Raft;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::own_addresses::OwnAddresses;
use super::reminder::Reminder;
use crate::member_address::MemberAddress;
use crate::outside;
use crate::rpc::calls::{Answer, Calls, Request};
use crate::rpc::no_majority::no_majority;

/// How often peers are dialed and asked while no leader is known.
const SEEK_EVERY: Duration = Duration::from_secs(3);
/// How long a leader may be missed before it is told where members were looked for: elections are shorter.
const SAY_AFTER: Duration = Duration::from_secs(10);
/// How long a peer gets to say where others are.
const ASK_WITHIN: Duration = Duration::from_secs(2);
/// Addresses kept of one member beside those in the log; a machine has few.
const ADDRESSES_MAX: usize = 8;

/// What members told of where they are.
#[derive(Debug)]
pub(super) struct Hints {
    told: Mutex<BTreeMap<String, Vec<String>>>,
    changed: watch::Sender<u64>,
}

impl Default for Hints {
    fn default() -> Self {
        Self { told: Mutex::default(), changed: watch::Sender::new(0) }
    }
}

impl Hints {
    /// Changes whenever a hint does.
    pub(super) fn watch(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Takes what `from` told: of itself all that counts, of others what is not known yet.
    pub(super) fn take(&self, from: &str, list: Vec<MemberAddress>) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let mut is_news = false;
        for MemberAddress { peer, addresses } in list {
            let readable = addresses.into_iter().filter(|address| address.parse::<PeerAddress>().is_ok());
            let is_own = peer == from;
            is_news |= !told.contains_key(&peer);
            let known = told.entry(peer).or_default();
            let before = known.clone();
            if is_own {
                *known = readable.take(ADDRESSES_MAX).collect();
            } else {
                for address in readable {
                    if !known.contains(&address) {
                        known.insert(0, address);
                    }
                }
                known.truncate(ADDRESSES_MAX);
            }
            is_news |= *known != before;
        }
        drop(told);
        if is_news {
            self.changed.send_modify(|count| *count = count.wrapping_add(1));
        }
    }

    /// Adds what was told to the addresses of members, and forgets what was told of others.
    pub(super) fn add_to(&self, members: &mut [MemberAddress]) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let known: BTreeSet<&str> = members.iter().map(|member| member.peer.as_str()).collect();
        told.retain(|peer, _| known.contains(peer.as_str()));
        for member in members {
            for address in told.get(&member.peer).into_iter().flatten() {
                if !member.addresses.contains(address) {
                    member.addresses.push(address.clone());
                }
            }
        }
    }
}

impl outside::Whereabouts for Hints {
    fn add_to(&self, members: &mut [MemberAddress]) {
        Self::add_to(self, members);
    }
}

/// What it takes to find members and to be found.
pub(super) struct Seeker {
    pub(super) raft: Raft,
    pub(super) mesh: Mesh,
    pub(super) hints: std::sync::Arc<Hints>,
    /// Where this start was told to look.
    pub(super) peers: Vec<PeerAddress>,
    /// Where this node is.
    pub(super) own: OwnAddresses,
}

impl Seeker {
    /// Exchanges addresses with each member that comes up, and looks for members while no leader is known, until `stop`.
    pub(super) async fn run(self, stop: CancellationToken) {
        let calls = Calls::new(self.mesh.clone());
        let mut events = self.mesh.events();
        let mut reminder = Reminder::default();
        let mut moved = self.own.watch();
        // Whoever came up before there was somebody to listen.
        self.ask_all(&calls).await;
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                event = events.recv() => match event {
                    Ok(PeerEvent::Up { peer, .. }) => self.exchange(&calls, peer).await,
                    Ok(PeerEvent::Down { .. }) => {}
                    // Too many to follow: all are asked.
                    Err(_lagged) => self.ask_all(&calls).await,
                },
                // Those that it still reaches have it at once, whatever becomes of the log.
                Ok(()) = moved.changed() => self.ask_all(&calls).await,
                () = tokio::time::sleep(SEEK_EVERY) => self.seek(&calls, &mut reminder).await,
            }
        }
    }

    async fn seek(&self, calls: &Calls, reminder: &mut Reminder) {
        let Some(why) = no_majority(&self.raft) else { return reminder.over() };
        // Whoever is dialed again from another address takes the connections that it has for lost, in the middle of an election.
        let up: Vec<PeerAddress> =
            self.mesh.peers().into_iter().filter(|info| info.connected).flat_map(|info| info.addresses).collect();
        for address in self.peers.iter().filter(|address| !up.contains(address)) {
            // That it failed is told with all the others, below.
            if let Err(error) = self.mesh.dial(address.clone(), None).await {
                tracing::debug!(%address, %error, "a peer that this start was told of is not reached");
            }
        }
        self.ask_all(calls).await;
        let lost_for = match self.raft.leadership() {
            pentora_raft::Leadership::Lost { since: Some(since), .. } => since,
            _ => SAY_AFTER,
        };
        if lost_for >= SAY_AFTER && reminder.is_due(Instant::now()) {
            let (looked, told) = (self.looked(), self.told());
            tracing::warn!(
                "{why}; looked for {looked}{told}; start nodes that are down, or this one with --peer HOST:7400 of one that moved"
            );
        }
    }

    /// Members without a connection, with where they were looked for.
    fn looked(&self) -> String {
        let peers = self.mesh.peers();
        let lost = peers.iter().filter(|info| info.member && !info.connected);
        let names = self.raft.read(|state| {
            let name = |peer: &PeerId| {
                let peer = peer.to_string();
                state.nodes().find(|(_, node)| node.info.peer == peer).map(|(_, node)| node.info.name.clone())
            };
            let line = |info: &pentora_p2p::PeerInfo| {
                let addresses: Vec<String> = info.addresses.iter().map(ToString::to_string).collect();
                let why = info.last_error.as_deref().unwrap_or("no answer yet");
                let name = name(&info.peer).unwrap_or_else(|| info.peer.to_string());
                format!("{name} at {} ({why})", addresses.join(", "))
            };
            lost.map(line).collect::<Vec<_>>()
        });
        if names.is_empty() { "nobody: every member is connected".to_owned() } else { names.join(", ") }
    }

    fn told(&self) -> String {
        let peers: Vec<String> = self.peers.iter().map(ToString::to_string).collect();
        if peers.is_empty() { String::new() } else { format!(", and for any at {}", peers.join(", ")) }
    }

    async fn ask_all(&self, calls: &Calls) {
        let connected = self.mesh.peers().into_iter().filter(|info| info.member && info.connected);
        for info in connected.collect::<Vec<_>>() {
            self.exchange(calls, info.peer).await;
        }
    }

    async fn exchange(&self, calls: &Calls, peer: PeerId) {
        let request = Request::Addresses(self.view());
        match calls.ask(peer, &request, ASK_WITHIN).await {
            Ok(Answer::Addresses(list)) => self.hints.take(&peer.to_string(), list),
            Ok(_) => tracing::debug!(%peer, "a member says nothing of addresses"),
            Err(error) => tracing::debug!(%peer, %error, "a member could not be asked for addresses"),
        }
    }

    /// This node and all that it has a connection to, by its own dial: the ports of others are not their listening ones.
    fn view(&self) -> Vec<MemberAddress> {
        view(&self.raft, &self.mesh, self.own.now())
    }
}

/// This node, and the addresses of the members that are connected now. Nodes that only scan are none: there may be thousands, and
/// nobody looks for them.
pub(super) fn view(raft: &Raft, mesh: &Mesh, own: MemberAddress) -> Vec<MemberAddress> {
    // A node that has not read of itself yet does not know who the members are, but for those that it was told of.
    let members: Option<Vec<PeerId>> = raft.read(|state| {
        state.node(raft.node())?;
        let members = state.nodes().filter(|(_, node)| node.may_vote());
        Some(members.filter_map(|(_, node)| node.info.peer.parse().ok()).collect())
    });
    let known = match members {
        Some(members) => members.into_iter().filter_map(|peer| mesh.peer(peer)).collect(),
        None => mesh.peers(),
    };
    let others = known.into_iter().filter(|info| info.member && info.connected).map(|info| MemberAddress {
        peer: info.peer.to_string(),
        addresses: info.addresses.iter().map(ToString::to_string).collect(),
    });
    std::iter::once(own).chain(others).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(peer: &str, addresses: &[&str]) -> MemberAddress {
        MemberAddress { peer: peer.into(), addresses: addresses.iter().map(|text| (*text).to_owned()).collect() }
    }

    #[test]
    fn what_a_member_says_of_itself_replaces_what_was_told_and_what_others_say_is_added() {
        let hints = Hints::default();
        hints.take("b", vec![at("b", &["10.0.0.2:7400"]), at("c", &["10.0.0.3:7400"])]);
        hints.take("b", vec![at("b", &["10.1.0.2:7400"]), at("c", &["10.1.0.3:7400", "no address"])]);
        let mut members = [at("b", &["b:7400"]), at("c", &["10.0.0.3:7400"])];
        hints.add_to(&mut members);
        assert_eq!(members[0], at("b", &["b:7400", "10.1.0.2:7400"]));
        assert_eq!(members[1], at("c", &["10.0.0.3:7400", "10.1.0.3:7400"]));
    }

    #[test]
    fn nothing_is_kept_of_strangers_and_no_telling_grows_without_bound() {
        let hints = Hints::default();
        let many: Vec<String> = (0..100).map(|port| format!("10.0.0.2:{port}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        hints.take("b", vec![at("b", &many), at("c", &many), at("stranger", &many)]);
        let mut members = [at("b", &[]), at("c", &[])];
        hints.add_to(&mut members);
        assert!(members.iter().all(|member| member.addresses.len() == ADDRESSES_MAX), "{members:?}");
        assert_eq!(hints.told.lock().unwrap().len(), 2);
    }

    #[test]
    fn only_news_wakes_whoever_watches() {
        let hints = Hints::default();
        let changes = hints.watch();
        hints.take("b", vec![at("b", &["10.0.0.2:7400"])]);
        hints.take("b", vec![at("b", &["10.0.0.2:7400"])]);
        assert_eq!(*changes.borrow(), 1);
    }
}

//! Where this node is, as that changes while it runs: an interface is renumbered, or its file advertises another address and is read
//! again. Members that it reaches are told at once, connections from an address that is gone end at once, and the log has it as
//! soon as it can.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use pentora_p2p::Mesh;
use pentora_raft::command::Command;
use pentora_raft::state::CommandKind;
use pentora_raft::{Raft, State};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::node_info;
use crate::member_address::MemberAddress;
use crate::rpc::proposer::Proposer;

/// How often the interfaces are looked at. Ours: a look takes some ten microseconds, and a second is soon for people.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// At most this often the log is told: interfaces of containers come and go by the dozen.
const TOLD_EVERY: Duration = Duration::from_secs(3);
/// From a start on, this node's whole info is on its way to the log for so long, with its addresses.
const TOLD_AT_START: Duration = Duration::from_secs(20);

/// The addresses that this node's file advertises, as it was read last. Cheap to clone; all clones are one.
#[derive(Debug, Clone)]
pub(super) struct Advertised(Arc<watch::Sender<Vec<String>>>);

impl Advertised {
    /// These, for now.
    pub(super) fn new(addresses: Vec<String>) -> Self {
        Self(Arc::new(watch::Sender::new(addresses)))
    }

    /// These from now on.
    pub(super) fn set(&self, addresses: Vec<String>) {
        self.0.send_if_modified(|known| {
            let is_news = *known != addresses;
            *known = addresses;
            is_news
        });
    }

    /// As they are now.
    pub(super) fn now(&self) -> Vec<String> {
        self.0.borrow().clone()
    }
}

/// Where this node is now. Cheap to clone; all clones are one.
#[derive(Debug, Clone)]
pub(super) struct OwnAddresses {
    peer: String,
    addresses: Arc<watch::Sender<Vec<String>>>,
}

impl OwnAddresses {
    /// A node that is there.
    pub(super) fn new(own: MemberAddress) -> Self {
        Self { peer: own.peer, addresses: Arc::new(watch::Sender::new(own.addresses)) }
    }

    /// As members are told.
    pub(super) fn now(&self) -> MemberAddress {
        MemberAddress { peer: self.peer.clone(), addresses: self.addresses.borrow().clone() }
    }

    /// Changes whenever they do.
    pub(super) fn watch(&self) -> watch::Receiver<Vec<String>> {
        self.addresses.subscribe()
    }

    fn set(&self, addresses: Vec<String>) -> bool {
        self.addresses.send_if_modified(|known| {
            let is_news = *known != addresses;
            *known = addresses;
            is_news
        })
    }
}

/// What it takes to notice that this node is elsewhere, and to say so.
pub(super) struct Watch {
    pub(super) raft: Raft,
    pub(super) proposer: Proposer,
    pub(super) mesh: Mesh,
    pub(super) advertised: Advertised,
    pub(super) own: OwnAddresses,
}

impl Watch {
    /// Watches until `stop`.
    pub(super) async fn keep(self, stop: CancellationToken) {
        tokio::select! {
            biased;
            () = stop.cancelled() => {}
            () = self.look_on() => {}
        }
    }

    async fn look_on(&self) {
        let mut advertised = self.advertised.0.subscribe();
        let (begun, mut told, mut has_changed) = (Instant::now(), None::<Instant>, false);
        let mut interfaces = node_info::interface_addresses();
        loop {
            tokio::select! {
                biased;
                Ok(()) = advertised.changed() => {}
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
            let now = node_info::interface_addresses();
            if is_elsewhere(&interfaces, &now) {
                self.end_from_gone(&interfaces, &now);
                interfaces = now;
            }
            let addresses = node_info::addresses(&self.advertised.now(), &self.mesh, &interfaces);
            if self.own.set(addresses.clone()) {
                has_changed = true;
                tracing::info!(addresses = addresses.join(", "), "this node is reached at other addresses now");
            }
            let is_due = told.is_none_or(|at| at.elapsed() >= TOLD_EVERY);
            if is_due && (has_changed || begun.elapsed() >= TOLD_AT_START) && self.is_news(&addresses) {
                told = Some(Instant::now());
                match self.proposer.propose(Command::SetAddresses(self.raft.node(), addresses)).await {
                    Ok(_) => tracing::info!("the cluster knows where this node is now"),
                    Err(error) => tracing::debug!(%error, "where this node is now is not in the log yet"),
                }
            }
        }
    }

    /// Whether the log has it elsewhere, and can have this. Held against what it said of itself.
    fn is_news(&self, addresses: &[String]) -> bool {
        let node = self.raft.node();
        self.raft.read(|state: &State| {
            let said = state.standings().find(|(id, _)| *id == node).map(|(_, standing)| &standing.says);
            let said = said.or_else(|| state.node(node).map(|record| &record.info));
            said.is_some_and(|said| said.addresses != addresses) && state.holds(CommandKind::SetAddresses).is_ok()
        })
    }

    fn end_from_gone(&self, before: &[IpAddr], now: &[IpAddr]) {
        let stays: BTreeSet<IpAddr> = now.iter().map(IpAddr::to_canonical).collect();
        let gone: BTreeSet<IpAddr> = before.iter().map(IpAddr::to_canonical).filter(|ip| !stays.contains(ip)).collect();
        let ended = self.mesh.end_from(|local| gone.contains(&local));
        if ended > 0 {
            tracing::info!(connections = ended, "connections from an address that is gone were ended");
        }
    }
}

/// Whether a machine with these addresses is elsewhere. One that has none at all, but its loopback, is between two of them.
fn is_elsewhere(before: &[IpAddr], now: &[IpAddr]) -> bool {
    let is_cut_off = now.iter().all(IpAddr::is_loopback) && !before.iter().all(IpAddr::is_loopback);
    before != now && !is_cut_off
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_between_two_addresses_is_not_elsewhere() {
        let of = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect::<Vec<IpAddr>>();
        assert!(is_elsewhere(&of(&["10.0.0.1"]), &of(&["10.0.0.2"])));
        assert!(is_elsewhere(&of(&["10.0.0.1"]), &of(&["10.0.0.1", "fd00::1"])));
        assert!(is_elsewhere(&of(&["127.0.0.1"]), &of(&["10.0.0.1"])));
        assert!(!is_elsewhere(&of(&["10.0.0.1"]), &of(&["127.0.0.1"])), "none at all");
        assert!(!is_elsewhere(&of(&["10.0.0.1"]), &of(&["10.0.0.1"])));
    }
}

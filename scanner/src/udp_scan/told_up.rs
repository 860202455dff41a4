//! The word of another part of the unit on who is up, where that part asks the same targets beside this scan.
//!
//! The silence of a UDP port says nothing of its host, so a host that has not answered is settled only when the other part has found it up,
//! and its silent ports are told, or is over.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::UdpScan;
use super::host::{Host, HostPhase};
use crate::finding::{Reason, ScannedHost};
use crate::slot_map::Key;

/// Hosts that were told to be up.
#[derive(Debug, Default)]
pub(super) struct ToldUp {
    hosts: BTreeSet<(u64, IpAddr)>,
    /// Whether more may be told.
    is_open: bool,
}

impl ToldUp {
    /// Whether a host is one of them.
    pub(super) fn has(&self, host: &ScannedHost) -> bool {
        self.hosts.contains(&(host.target_index, host.address))
    }
}

impl UdpScan {
    /// Another part of the unit asks the same targets, and tells by [`Self::feed`] who is up until it is over.
    pub(crate) fn beside_another(mut self) -> Self {
        // Those that are fed are known to be up.
        self.told_up.is_open = !self.is_fed;
        self
    }

    /// A host was found up by the other part.
    pub(super) fn tell_up(&mut self, index: u64, address: IpAddr) {
        if !self.told_up.is_open || !self.told_up.hosts.insert((index, address)) {
            return;
        }
        let Some(key) = self.by_address.get(&address).copied() else { return };
        if let Some(host) = self.hosts.get_mut(key).filter(|host| host.scanned.target_index == index) {
            host.up.get_or_insert(Reason::UserSet);
            self.rouse(key);
        }
    }

    /// The other part is over: who was not found up is as silent as it seems.
    pub(super) fn end_telling(&mut self) {
        if std::mem::take(&mut self.told_up.is_open) {
            let silent: Vec<Key> = self.hosts.iter().filter(|(_, host)| is_silent(host)).map(|(key, _)| key).collect();
            silent.into_iter().for_each(|key| self.rouse(key));
        }
    }

    /// Whether a host that has been asked everything waits for the other part's word.
    pub(super) fn awaits_word(&self, key: Key) -> bool {
        self.told_up.is_open && self.hosts.get(key).is_some_and(is_silent)
    }
}

/// Whether nothing shows that a host is up, and nothing that it could not be asked.
fn is_silent(host: &Host) -> bool {
    host.up.is_none() && host.not_sent.is_none() && host.phase == HostPhase::Asking
}

//! The figures of a scan: what it counts, what it has left out and what it estimates.
//!
//! The same types from the cores that count up to whoever asked for the unit, so that engines hand figures on as a whole.

use std::fmt;
use std::net::IpAddr;
use std::ops::Add;
use std::sync::Arc;

use crate::finding::NotProbedCounts;

/// Most names that are reported as not resolved, one by one.
const UNRESOLVED_MAX: usize = 100;

/// What is counted while a scan goes on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Targets that are settled.
    pub targets_done: u64,
    /// Hosts that answered.
    pub hosts_up: u64,
    /// Open ports found.
    pub open_ports: u64,
    /// Probes sent, retransmissions included.
    pub probes_sent: u64,
    /// Probes that were sent again.
    pub retransmitted: u64,
    /// Answers of hosts.
    pub replies: u64,
    /// Targets that no probe reached; they are settled as well.
    pub not_probed: NotProbedCounts,
}

impl Tally {
    /// What has been counted since `before`, an earlier state of the same tally.
    #[must_use]
    pub fn since(self, before: Self) -> Self {
        Self {
            targets_done: self.targets_done.saturating_sub(before.targets_done),
            hosts_up: self.hosts_up.saturating_sub(before.hosts_up),
            open_ports: self.open_ports.saturating_sub(before.open_ports),
            probes_sent: self.probes_sent.saturating_sub(before.probes_sent),
            retransmitted: self.retransmitted.saturating_sub(before.retransmitted),
            replies: self.replies.saturating_sub(before.replies),
            not_probed: self.not_probed.since(&before.not_probed),
        }
    }
}

impl Add for Tally {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            targets_done: self.targets_done + other.targets_done,
            hosts_up: self.hosts_up + other.hosts_up,
            open_ports: self.open_ports + other.open_ports,
            probes_sent: self.probes_sent + other.probes_sent,
            retransmitted: self.retransmitted + other.retransmitted,
            replies: self.replies + other.replies,
            not_probed: self.not_probed.and(&other.not_probed),
        }
    }
}

/// What is estimated while a scan goes on, as far as answers have shown.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Estimates {
    /// Share of round trips that are lost.
    pub loss: f64,
    /// The part of it that a slower scan would lose as well, 0 to 1; where that was not found out, all of it.
    pub chance_loss: f64,
    /// How likely an open port of the targets settled so far was found, from the loss that each was asked under and how
    /// often it was asked; 1 while nothing is settled.
    pub recall: f64,
}

impl Default for Estimates {
    /// Nothing done, so nothing missed.
    fn default() -> Self {
        Self { loss: 0.0, chance_loss: 0.0, recall: 1.0 }
    }
}

/// Targets that were not asked, though they were in the unit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LeftOut {
    /// Targets that scope or exclusions forbid, found out at the last check before sending.
    pub refused: u64,
    /// Host names without a usable address; the first hundred.
    pub unresolved: Vec<UnresolvedName>,
    /// How many host names that were.
    pub unresolved_count: u64,
    /// Addresses of names whose other addresses were asked, and broadcast addresses; the first hundred.
    pub addresses: Vec<AddressLeftOut>,
}

/// One of several addresses of a host name, which could not be asked, or an address that is no host's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddressLeftOut {
    /// The name, where it is a name's.
    pub name: Option<Arc<str>>,
    /// The address.
    pub address: IpAddr,
    /// Why it was not asked.
    pub why: &'static str,
}

impl fmt::Display for AddressLeftOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Some(name) => write!(f, "{} of {name} was not probed: {}", self.address, self.why),
            None => write!(f, "{} was not probed: {}", self.address, self.why),
        }
    }
}

/// A host name without a usable address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnresolvedName {
    /// The name.
    pub name: Arc<str>,
    /// Why there is none.
    pub why: String,
}

impl LeftOut {
    /// Notes a name without a usable address.
    pub(crate) fn note_unresolved(&mut self, name: Arc<str>, why: String) {
        self.unresolved_count += 1;
        if self.unresolved.len() < UNRESOLVED_MAX {
            self.unresolved.push(UnresolvedName { name, why });
        }
    }

    /// Notes an address of a name whose other addresses are asked, or one that is no host's.
    pub(crate) fn note_address(&mut self, name: Option<&Arc<str>>, address: IpAddr, why: &'static str) {
        let one = AddressLeftOut { name: name.cloned(), address, why };
        if self.addresses.len() < UNRESOLVED_MAX && !self.addresses.contains(&one) {
            self.addresses.push(one);
        }
    }

    /// What two parts of a unit, which have the same targets, have left out: what one could not ask the other could not
    /// either, as far as it came to it.
    pub(crate) fn together_with(self, other: &Self) -> Self {
        let refused = self.refused.max(other.refused);
        let mut addresses = self.addresses.clone();
        addresses.extend(other.addresses.iter().filter(|one| !self.addresses.contains(one)).cloned());
        addresses.truncate(UNRESOLVED_MAX);
        let names = if other.unresolved_count > self.unresolved_count { other.clone() } else { self };
        Self { refused, addresses, ..names }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::NotProbed;

    #[test]
    fn what_came_since_and_what_was_before_make_the_whole() {
        let mut not_probed = NotProbedCounts::default();
        not_probed.add(NotProbed::NoRoute, 7);
        let before = Tally {
            targets_done: 1,
            hosts_up: 2,
            open_ports: 3,
            probes_sent: 4,
            retransmitted: 5,
            replies: 6,
            not_probed,
        };
        let whole = before + before + Tally { replies: 1, ..Tally::default() };
        assert_eq!(whole.since(before) + before, whole);
        assert_eq!(before.since(whole), Tally::default(), "never less than nothing");
    }

    #[test]
    fn of_two_parts_the_one_that_left_out_more_tells_of_both() {
        let mut names = LeftOut::default();
        (0..150).for_each(|_| names.note_unresolved(Arc::from("a.example"), "it has no address".to_owned()));
        assert_eq!((names.unresolved.len(), names.unresolved_count), (100, 150));
        let refused = LeftOut { refused: 3, ..LeftOut::default() };
        let both = LeftOut { refused: 3, ..names.clone() };
        assert_eq!(refused.clone().together_with(&names), both);
        assert_eq!(names.together_with(&refused), both);
    }
}

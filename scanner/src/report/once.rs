//! What is counted already of an address, so that it is counted once: each name that was asked for has a record of its own.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use crate::finding::HostRecord;
use crate::port::Port;

/// An address, on its link where it has one.
type Address = (IpAddr, Option<String>);

/// The addresses of records with names, of which there are few, and that of the last record without one: in what is sorted by
/// address it comes before its names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Once {
    named: BTreeMap<Address, Known>,
    last: Option<(Address, Known)>,
}

/// What is counted of one address.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Known(BTreeSet<What>);

/// Something that is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum What {
    Host,
    Middlebox,
    Port(Port),
    Service(Port),
}

impl Once {
    /// What is known of the address of a record.
    pub(super) fn of(&mut self, host: &HostRecord) -> &mut Known {
        let address = (host.address, host.identity.zone.clone());
        if host.name.is_none() && !self.named.contains_key(&address) {
            let last = self.last.take().filter(|(last, _)| *last == address);
            return &mut self.last.insert(last.unwrap_or_else(|| (address, Known::default()))).1;
        }
        let before = self.last.take_if(|(last, _)| *last == address);
        self.named.entry(address).or_insert_with(|| before.map(|(_, known)| known).unwrap_or_default())
    }
}

impl Known {
    /// One, the first time.
    pub(super) fn first(&mut self, what: What) -> u64 {
        u64::from(self.0.insert(what))
    }
}

//! Hosts on this machine's own links, which the kernel has to look up by ARP or neighbour discovery before a packet.
//!
//! Its table of neighbours is small (1024 entries unless someone raised `gc_thresh3`), a host that is not there
//! occupies an entry for three seconds, and when the table is full the kernel drops packets to new neighbours without
//! telling anyone: a scan of a large link would miss most of its hosts. So hosts on a link are only begun as fast as
//! entries become free again. Hosts behind a router need one entry together and are not held back.
//!
//! Pure: told the networks and the time. `io/links.rs` reads the networks from the kernel.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use ipnet::IpNet;

use crate::target::address_set::AddressSet;

/// How long an entry of a silent neighbour is in use: three requests, a second apart (`mcast_solicit`,
/// `retrans_time_ms`), and a little.
const SILENT: Duration = Duration::from_millis(3200);
/// How long an entry of a neighbour that answered cannot be reused: five seconds in the kernel's collector, and a little.
const ANSWERED: Duration = Duration::from_millis(5200);

/// The neighbour tables of this machine, as far as scans fill them. Shared by all units.
#[derive(Debug, Default)]
pub struct Neighbours {
    links: RwLock<AddressSet>,
    entries_max: usize,
    v4: Mutex<Table>,
    v6: Mutex<Table>,
}

/// When the entries of one table become free.
#[derive(Debug, Default)]
struct Table {
    silent: VecDeque<Duration>,
    answered: VecDeque<Duration>,
}

impl Neighbours {
    /// Links with these networks and room for this many neighbours at once, per address family.
    #[must_use]
    pub fn new(links: &[IpNet], entries_max: usize) -> Self {
        Self { links: RwLock::new(AddressSet::from_nets(links)), entries_max: entries_max.max(1), ..Self::default() }
    }

    /// Tells of other links; entries in use stay so.
    pub fn set_links(&self, links: &[IpNet]) {
        *self.links.write().unwrap_or_else(PoisonError::into_inner) = AddressSet::from_nets(links);
    }

    /// Takes an entry for a host that is about to be sent to, if it is on a link.
    ///
    /// # Errors
    /// The moment at which an entry becomes free.
    pub fn begin(&self, now: Duration, address: IpAddr) -> Result<(), Duration> {
        if !self.is_neighbour(address) {
            return Ok(());
        }
        let mut table = self.table(address);
        table.forget(now);
        if table.silent.len() + table.answered.len() >= self.entries_max {
            let soonest = [table.silent.front(), table.answered.front()].into_iter().flatten().min();
            return Err(soonest.map_or(now, |at| *at).max(now + Duration::from_millis(1)));
        }
        table.silent.push_back(now + SILENT);
        Ok(())
    }

    /// A host has answered: its entry stays for longer.
    pub fn answered(&self, now: Duration, address: IpAddr) {
        if self.is_neighbour(address) {
            let mut table = self.table(address);
            table.forget(now);
            // Which of the silent ones it was does not matter: all of them last equally long.
            table.silent.pop_back();
            table.answered.push_back(now + ANSWERED);
        }
    }

    /// Whether an address is on one of the links, with no router before it.
    pub(crate) fn is_neighbour(&self, address: IpAddr) -> bool {
        self.links.read().unwrap_or_else(PoisonError::into_inner).contains(address)
    }

    fn table(&self, address: IpAddr) -> MutexGuard<'_, Table> {
        let table = if address.to_canonical().is_ipv4() { &self.v4 } else { &self.v6 };
        table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn forget(&mut self, now: Duration) {
        for queue in [&mut self.silent, &mut self.answered] {
            while queue.front().is_some_and(|free_at| *free_at <= now) {
                queue.pop_front();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(entries: usize) -> Neighbours {
        Neighbours::new(&["10.1.0.0/16".parse().unwrap(), "fd00::/64".parse().unwrap()], entries)
    }

    fn host(number: u8) -> IpAddr {
        IpAddr::from([10, 1, 0, number])
    }

    #[test]
    fn hosts_of_a_link_wait_for_entries_and_others_do_not() {
        let (neighbours, now) = (link(2), Duration::from_secs(1));
        assert_eq!(neighbours.begin(now, host(1)), Ok(()));
        assert_eq!(neighbours.begin(now + SILENT / 2, host(2)), Ok(()));
        assert_eq!(neighbours.begin(now + SILENT / 2, host(3)), Err(now + SILENT));
        assert_eq!(neighbours.begin(now, "10.2.0.1".parse().unwrap()), Ok(()));
        assert_eq!(neighbours.begin(now, "fd00::1".parse().unwrap()), Ok(()), "a table of its own");
        assert_eq!(neighbours.begin(now + SILENT, host(3)), Ok(()));
    }

    #[test]
    fn an_entry_that_was_answered_for_is_not_free_as_soon() {
        let (neighbours, now) = (link(1), Duration::from_secs(1));
        neighbours.begin(now, host(1)).unwrap();
        neighbours.answered(now, host(1));
        assert_eq!(neighbours.begin(now + SILENT, host(2)), Err(now + ANSWERED));
        assert_eq!(neighbours.begin(now + ANSWERED, host(2)), Ok(()));
    }

    #[test]
    fn links_that_come_and_go_are_followed() {
        let (neighbours, now) = (link(1), Duration::from_secs(1));
        neighbours.begin(now, host(1)).unwrap();
        neighbours.set_links(&["10.2.0.0/16".parse().unwrap()]);
        assert_eq!(neighbours.begin(now, host(2)), Ok(()));
        assert!(neighbours.begin(now, "10.2.0.1".parse().unwrap()).is_err(), "the entry in use is still counted");
    }

    #[test]
    fn a_machine_without_links_holds_nobody_back() {
        let neighbours = Neighbours::default();
        assert!((0..=255).all(|number| neighbours.begin(Duration::ZERO, host(number)).is_ok()));
    }
}

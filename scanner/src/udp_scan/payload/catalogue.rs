//! What each UDP port is asked: the requests of the table, and those of a user's own file of service probes.
//!
//! One catalogue serves both who looks whether a port is open and who asks an open one what it is: what a user says is
//! the protocol of a port is what makes its service answer.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Ask, EMPTY, Payload, accepts, has_own, of};

/// Most requests of a user's for one port: each is a datagram per try, of which thousands of silent ports get several.
const OWN_PER_PORT_MAX: usize = 4;
/// Longest request of a user's, in bytes: a datagram that fits one frame over IPv4 and IPv6.
pub(crate) const OWN_BYTES_MAX: usize = 1452;

/// The requests that are sent beside those of the table.
#[derive(Debug, Clone, Default)]
pub(crate) struct Catalogue {
    own: BTreeMap<u16, Vec<Arc<[u8]>>>,
}

impl Catalogue {
    /// Adds a user's request for these ports, the ones that matter most first: what is beyond their number is left out.
    pub(crate) fn add(&mut self, request: &Arc<[u8]>, ports: impl IntoIterator<Item = u16>) {
        for port in ports {
            let own = self.own.entry(port).or_default();
            if own.len() < OWN_PER_PORT_MAX && !own.contains(request) {
                own.push(Arc::clone(request));
            }
        }
    }

    /// Everything that a port is asked in one try; at least one datagram. Of the table alone unless `with_own`.
    pub(crate) fn of(&self, port: u16, with_own: bool) -> Requests<'_> {
        let own = self.own.get(&port).filter(|_| with_own).map_or(&[][..], Vec::as_slice);
        // Instead of nothing, and beside what is usual there.
        let table = if own.is_empty() || has_own(port) { of(port) } else { &[] };
        Requests { table, own }
    }

    /// Whether an answer from a port that was asked all of [`Self::of`] can be the answer to that.
    pub(crate) fn accepts(&self, port: u16, with_own: bool, ask: &Ask, answer: &[u8]) -> bool {
        // Nobody but the user knows what their request is answered by.
        with_own && self.own.contains_key(&port) || accepts(port, ask, answer)
    }
}

/// What a port is asked in one try, one datagram after the other.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Requests<'a> {
    table: &'static [&'static Payload],
    own: &'a [Arc<[u8]>],
}

impl Requests<'_> {
    /// Nothing: what is sent where no payload may be.
    pub(crate) const EMPTY: Self = Self { table: &EMPTY, own: &[] };

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.table.len() + self.own.len()
    }

    /// The datagram at this place.
    pub(crate) fn write(&self, place: usize, ask: &Ask) -> Option<Vec<u8>> {
        match place.checked_sub(self.table.len()) {
            None => self.table.get(place).map(|payload| payload.write(ask)),
            Some(place) => self.own.get(place).map(|request| request.to_vec()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn a_users_requests_go_beside_those_of_the_table_and_so_many_to_a_port() {
        let ask = Ask { token: [7; 8], to: Ipv4Addr::LOCALHOST.into() };
        let mut catalogue = Catalogue::default();
        let request = |text: &str| Arc::from(text.as_bytes());
        catalogue.add(&request("a"), [53, 7777]);
        catalogue.add(&request("a"), [7777]);
        for text in ["b", "c", "d", "e"] {
            catalogue.add(&request(text), 7777..=7778);
        }
        let all = |port: u16, with_own: bool| {
            let requests = catalogue.of(port, with_own);
            let written: Vec<Vec<u8>> = (0..requests.len()).filter_map(|at| requests.write(at, &ask)).collect();
            assert_eq!(requests.write(requests.len(), &ask), None);
            written
        };
        assert_eq!(all(7777, true), [b"a", b"b", b"c", b"d"]);
        assert_eq!(all(7778, true), [b"b", b"c", b"d", b"e"]);
        assert_eq!(all(7777, false), [b""], "none but the table's, which has none for it");
        assert_eq!(all(9, true), [b""]);
        let usual = of(53).len();
        assert_eq!((all(53, true).len(), all(53, false).len()), (usual + 1, usual));
        // An answer in the protocol of the table with another id may be to the user's.
        let stranger = [b"\0\0\x84\0\0\x01\0\0\0\0\0\0".as_slice(), &[0; 5]].concat();
        assert!(catalogue.accepts(53, true, &ask, &stranger) && !catalogue.accepts(53, false, &ask, &stranger));
        assert!(!Catalogue::default().accepts(53, true, &ask, &stranger));
    }
}

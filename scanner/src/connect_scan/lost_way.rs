//! Ways that are lost while a unit is on them: what was out is asked anew once they are back, and what lies behind those that are not
//! is not probed. [`crate::io`] watches them.

use std::net::IpAddr;
use std::time::Duration;

use super::host::{Host, HostPhase};
use super::{ConnectScan, Flight};
use crate::finding::NotProbed;
use crate::pace::flows::SYN_KEPT;
use crate::slot_map::Key;

impl ConnectScan {
    /// Ways have been lost at a time: hosts to which `why` says that there is none any more, and that have not answered since, are
    /// asked nothing more. What they have answered stays found, and of what they have not nothing is known.
    pub(crate) fn lose(&mut self, since: Duration, why: impl Fn(IpAddr) -> Option<NotProbed>) {
        let is_silent = |host: &Host| host.heard_at.is_none_or(|heard_at| heard_at <= since);
        let is_asked = |host: &Host| host.phase != HostPhase::Resolving && host.not_sent.is_none() && is_silent(host);
        let asked = self.hosts.iter().filter(|(_, host)| is_asked(host));
        let lost = asked.filter_map(|(key, host)| Some((key, why(host.scanned.address)?)));
        let lost: Vec<(Key, NotProbed)> = lost.collect();
        self.forget_known(|address| why(address).is_some());
        for (key, why) in lost {
            self.hosts.get_mut(key).into_iter().for_each(|host| host.give_up(why));
            self.settle(key);
        }
    }

    /// A way that was lost is back, and nothing was decided meanwhile: whatever is out may have been heard by nobody, and is asked
    /// anew as if it had not been.
    pub(crate) fn ask_anew(&mut self, now: Duration) {
        let out = self.flights.iter().filter(|(_, flight)| !flight.is_question());
        let out: Vec<Key> = out.map(|(probe, _)| probe).collect();
        for probe in out {
            let Some(flight) = self.land(probe) else { continue };
            self.closing.push(probe);
            self.pace.flows().close(now, flight.attempt.sent_at, SYN_KEPT);
            self.take_void(&flight);
        }
    }

    /// This machine has lost its way to a probe's address for a moment: it is taken back, to be asked once there is one.
    pub(crate) fn on_held_up(&mut self, probe: Key) {
        let Some(flight) = self.land(probe) else { return };
        self.take_back(&flight);
        if flight.is_question() {
            return self.withdraw_question(&flight, true);
        }
        self.take_void(&flight);
    }

    /// A probe says nothing, and is asked again in the same place.
    pub(super) fn take_void(&mut self, flight: &Flight) {
        self.measures.take_back(&flight.attempt);
        let host = self.hosts.get_mut(flight.host);
        host.into_iter().for_each(|host| host.rounds.tries.take_back(flight.attempt.number));
        self.bench.push_back(Flight { is_held: false, is_patient: false, ..*flight });
    }
}

//! A unit in the engine: its scan, its sockets, and the channels to whoever asked for it.

use std::sync::Arc;
use std::time::Duration;

#[cfg(target_os = "linux")]
use super::passage::{Answering, Passages};
use crate::connect_scan::ConnectScan;
#[cfg(target_os = "linux")]
use crate::io::carrier::Carrier;
#[cfg(target_os = "linux")]
use crate::io::clock;
#[cfg(target_os = "linux")]
use crate::io::crowd::Crowd;
use crate::io::delivery::Delivery;
#[cfg(target_os = "linux")]
use crate::io::raw::netlink::TCP;
#[cfg(target_os = "linux")]
use crate::io::reach::{Asked, Broadcasts};
use crate::io::reactor::Driven;
use crate::io::resolve::Found;
#[cfg(target_os = "linux")]
use crate::io::ways::{Change, Lost, Ways};
use crate::neighbours::Neighbours;
use crate::occupancy::Occupancy;
use crate::plan::Plan;
use crate::scan::Scan;
use crate::slot_map::Key;
use crate::unit::{ScanError, UnitOutcome, UnitScan, UnitTask};

/// A unit in work.
#[derive(Debug)]
pub(super) struct Unit {
    pub(super) scan: ConnectScan,
    /// The socket of each probe that is out, by the slot of the probe's key.
    sockets: Vec<Option<Key>>,
    /// What to ask the kernel about at the end.
    #[cfg(target_os = "linux")]
    asked: Asked,
    #[cfg(target_os = "linux")]
    pub(super) ways: Ways,
    #[cfg(target_os = "linux")]
    pub(super) broadcasts: Broadcasts,
    #[cfg(target_os = "linux")]
    crowd: Crowd,
    #[cfg(target_os = "linux")]
    pub(super) passages: Passages,
    #[cfg(target_os = "linux")]
    pub(super) carrier: Carrier,
    delivery: Delivery,
}

impl Unit {
    pub(super) fn new(
        plan: Plan,
        task: UnitTask,
        (neighbours, occupancy): (Arc<Neighbours>, Arc<Occupancy>),
        #[cfg(target_os = "linux")] answering: Arc<Answering>,
    ) -> (Self, UnitScan) {
        let (delivery, handle) = Delivery::new(task.cancel, task.range.end - task.range.start);
        #[cfg(target_os = "linux")]
        let asked = Asked::new(&plan, &task.range, TCP);
        #[cfg(target_os = "linux")]
        let carrier = Carrier::new(clock::now(), plan.target_set());
        #[cfg(target_os = "linux")]
        let ways = Ways::new(TCP, plan.target_set());
        let scan = ConnectScan::new(plan, task.range, task.permit, task.pace).with_neighbours(neighbours);
        let scan = scan.within(occupancy);
        let unit = Self {
            scan,
            sockets: Vec::new(),
            #[cfg(target_os = "linux")]
            asked,
            #[cfg(target_os = "linux")]
            ways,
            #[cfg(target_os = "linux")]
            broadcasts: Broadcasts::default(),
            #[cfg(target_os = "linux")]
            crowd: Crowd::default(),
            #[cfg(target_os = "linux")]
            passages: Passages::now(answering),
            #[cfg(target_os = "linux")]
            carrier,
            delivery,
        };
        (unit, handle)
    }

    /// Whether the reader is so far behind that nothing should be sent.
    pub(super) fn is_blocked(&self) -> bool {
        self.delivery.is_blocked()
    }

    /// Everything is settled.
    pub(super) fn done(&mut self, now: Duration) {
        let results = self.scan.results();
        #[cfg_attr(not(target_os = "linux"), expect(unused_mut, reason = "only Linux says what it has dropped"))]
        let mut tally = results.tally();
        #[cfg(target_os = "linux")]
        {
            // What was refused at once is counted already.
            let silent_names = &results.silent_names;
            let unreached = self.asked.unreached(tally.hosts_up + tally.not_probed.total(), silent_names);
            tally.not_probed = tally.not_probed.and(&unreached);
        }
        self.delivery.done(now, tally, self.scan.estimates(), results.left_out().clone());
    }

    /// Remembers the socket of a probe.
    pub(super) fn set_socket(&mut self, probe: Key, socket: Key) {
        if probe.index() >= self.sockets.len() {
            self.sockets.resize(probe.index() + 1, None);
        }
        if let Some(slot) = self.sockets.get_mut(probe.index()) {
            *slot = Some(socket);
        }
    }

    /// The socket of a probe; it may be gone already.
    pub(super) fn take_socket(&mut self, probe: Key) -> Option<Key> {
        self.sockets.get_mut(probe.index())?.take()
    }
}

impl Driven for Unit {
    fn on_resolved(&mut self, _now: Duration, host: Key, found: Found) {
        self.scan.on_resolved(host, found);
    }

    fn begin_turn(&mut self, now: Duration) -> bool {
        #[cfg(target_os = "linux")]
        match self.ways.look(now) {
            Some(Change::Back) => {
                self.scan.ask_anew(now);
                self.passages.begin_anew(now);
            }
            Some(Change::Lost(Lost { reach, since })) => {
                self.scan.lose(since, |address| reach.lost(address));
                self.passages.end_doubt(now);
            }
            None => {}
        }
        #[cfg(target_os = "linux")]
        if let Some(places) = self.crowd.look(now, self.scan.is_crowded()) {
            self.scan.crowd(|address| places.lacks(address));
        }
        #[cfg(target_os = "linux")]
        self.passages.look(now, &mut self.scan);
        let is_ending = self.delivery.begin_turn(now, self.scan.is_cooling_down());
        if is_ending {
            self.scan.results_mut().cut_short();
        }
        is_ending
    }

    fn end_turn(&mut self, now: Duration) {
        self.delivery.deliver(now, &mut self.scan);
    }

    fn end(&mut self, ending: Result<UnitOutcome, ScanError>) {
        self.delivery.end(ending);
    }

    fn is_over(&self) -> bool {
        self.delivery.is_over(self.scan.results().findings.len())
    }

    fn finish(self) {
        self.delivery.finish();
    }
}

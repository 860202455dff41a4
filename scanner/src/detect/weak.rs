//! Weaknesses of a service that was identified: rules over what it told, and the read-only checks that they wait for.
//!
//! Checks open connections as every other question does: where the gate lets them, at the job's pace, few at once to a host
//! and one at a time to a port, bounded in time, inside TLS where the service is, under the name that the target was given as.

use std::net::SocketAddr;
use std::time::Duration;

use super::connection::Endpoint;
use super::own_time::{OwnTime, Waits};
use super::{Detector, Options};
use crate::finding::Weakness;
use crate::gate::{self, Stage, Verdict};
use crate::occupancy::Slot;
use crate::port::Protocol;
use crate::vuln::check::{self, Admitting, Connecting, Connector, Known, Stream};
use crate::vuln::exposure::Exposures;

impl Detector {
    /// What is weak about a service, the rules' order. `now_s` is the time, seconds since 1970-01-01T00:00:00Z.
    ///
    /// `patience` is what is left of the port's time: a check that is not answered then is the last one.
    /// Read-only, and bounded by [`check::Options`]. Dropping the future ends it and closes its connections.
    pub async fn weaknesses(
        &self,
        known: Known<'_>,
        options: &Options,
        patience: Duration,
        now_s: i64,
    ) -> Vec<Weakness> {
        let bounds = check::Options { patience, ..check::Options::default() };
        let room = self.occupancy.of(known.target, false);
        let asking = Asking { detector: self, options, room, name: known.name, waits: Waits::default() };
        let exposures: &Exposures = match &self.exposures {
            Some(exposures) => exposures,
            None => Exposures::built_in(),
        };
        check::run_of(exposures, known, &bounds, &asking, now_s).await
    }
}

/// Opens the connections of one service's checks, which come one after the other.
struct Asking<'a> {
    detector: &'a Detector,
    options: &'a Options,
    room: Slot,
    name: Option<&'a str>,
    waits: Waits,
}

impl Asking<'_> {
    fn endpoint(&self, target: SocketAddr, is_tls: bool) -> Endpoint<'_> {
        Endpoint {
            address: target,
            name: self.name,
            tls: is_tls.then_some(&self.detector.connector.0),
            speaks_http_2: false,
            gate: &self.options.gate,
            room: &self.room,
            connections: &self.detector.connections,
            pacing: self.options.pacing.as_deref(),
            time: OwnTime::new(&self.waits, self.options.budget, false),
        }
    }
}

impl Connector for Asking<'_> {
    fn permits(&self, target: SocketAddr, protocol: Protocol) -> bool {
        self.options.gate.ask(target.ip(), gate::port_of(target, protocol), Stage::Check) == Verdict::Allow
    }

    fn connect(&self, target: SocketAddr, is_tls: bool) -> Connecting<'_> {
        let endpoint = self.endpoint(target, is_tls);
        Box::pin(async move {
            let connection = endpoint.connect(Stage::Check).await?;
            Ok(Box::new(connection) as Box<dyn Stream>)
        })
    }

    fn datagram(&self, target: SocketAddr) -> Admitting<'_> {
        let endpoint = self.endpoint(target, false);
        Box::pin(async move { self.permits(target, Protocol::Udp) && endpoint.wait_for_slot().await })
    }

    fn waited(&self) -> Duration {
        self.waits.so_far()
    }
}
